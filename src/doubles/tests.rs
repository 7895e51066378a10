//! A double over real connections: what it holds, cuts, counts and forgets.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Behaviour, Double, Kind, Point};
use crate::base::Clock;

/// How long a test waits for something that comes at once.
const SOON: Duration = Duration::from_secs(20);

async fn tools() -> Double {
    Double::start(Kind::Tools, Clock::start()).await.unwrap()
}

async fn run(tools: &Double, key: &str, text: &str) -> reqwest::Result<(u16, Value)> {
    let response = reqwest::Client::new()
        .post(tools.url() + "/run")
        .header("idempotency-key", format!("\"{key}\""))
        .header("x-service-token", "secret")
        .json(&json!({"operation_id": key, "tool_name": "file.write", "args": {"text": text}}))
        .send()
        .await?;
    Ok((response.status().as_u16(), response.json().await?))
}

/// Runs a call in the background.
fn later(
    tools: &Double,
    key: &'static str,
) -> tokio::task::JoinHandle<reqwest::Result<(u16, Value)>> {
    let tools = tools.clone();
    tokio::spawn(async move { run(&tools, key, "hello").await })
}

/// Waits for something that a call does after its caller stopped caring.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + SOON;
    while !condition() {
        assert!(tokio::time::Instant::now() < end, "never {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn answers_have_the_shape_of_the_contracts_samples() {
    let text = include_str!("../../fixtures/contract/doubles.json");
    let samples: Value = serde_json::from_str(text).unwrap();
    for (kind, name) in [
        (Kind::Models, "models"),
        (Kind::Tools, "tools"),
        (Kind::Memory, "memory"),
        (Kind::Embeddings, "embeddings"),
    ] {
        let double = Double::start(kind, Clock::start()).await.unwrap();
        let sample = &samples[name];
        let url = double.url() + sample["path"].as_str().unwrap();
        let request = reqwest::Client::new().post(url).json(&sample["request"]);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let fields = |value: &Value| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(fields(&answer), fields(&sample["answer"]["body"]), "{name}");
    }
}

#[tokio::test]
async fn a_repeated_key_is_two_calls_one_effect_and_the_first_answer() {
    let tools = tools().await;
    let first = run(&tools, "op_1", "hello").await.unwrap();
    let second = run(&tools, "op_1", "other").await.unwrap();
    let third = run(&tools, "op_2", "other!").await.unwrap();
    assert_eq!(first, (200, json!({"ok": true, "result": {"bytes": 5}})));
    assert_eq!(second, first);
    assert_eq!(third.1["result"]["bytes"], 6);
    let (calls, effects) = (tools.calls(), tools.effects());
    assert_eq!((calls.len(), effects.len()), (3, 2));
    assert_eq!((effects[0].calls, effects[0].same_body), (2, false));
    assert_eq!(calls[0].key.as_deref(), Some("op_1"));
    assert_eq!(calls[0].headers["x-service-token"], "<redacted>");
    assert!(
        calls
            .iter()
            .all(|call| call.answered && call.answered_us >= call.committed_us)
    );
}

#[tokio::test]
async fn a_script_answers_and_a_failure_has_no_effect() {
    let tools = tools().await;
    tools.script(|request| json!({"ok": false, "tool": request["tool_name"]}));
    assert_eq!(
        run(&tools, "op_1", "").await.unwrap().1["tool"],
        "file.write"
    );
    tools.behave(Behaviour::fail(503));
    assert_eq!(run(&tools, "op_2", "").await.unwrap().0, 503);
    let wrong = reqwest::get(tools.url() + "/chat").await.unwrap();
    assert_eq!(wrong.status().as_u16(), 404);
    assert_eq!((tools.calls().len(), tools.effects().len()), (3, 1));
}

#[tokio::test]
async fn a_cut_call_gets_no_answer_and_an_effect_only_after_its_commit() {
    let tools = tools().await;
    tools.behave(Behaviour::cut(Point::Arrived));
    assert!(run(&tools, "op_1", "").await.is_err());
    assert_eq!(tools.effects().len(), 0);
    tools.behave(Behaviour::cut(Point::Committed));
    assert!(run(&tools, "op_1", "").await.is_err());
    assert_eq!(tools.effects().len(), 1);
    tools.behave(Behaviour::default());
    assert_eq!(run(&tools, "op_1", "").await.unwrap().0, 200);
    assert_eq!((tools.calls().len(), tools.effects().len()), (3, 1));
    let answered: Vec<bool> = tools.calls().iter().map(|call| call.answered).collect();
    assert_eq!(answered, [false, false, true]);
}

#[tokio::test]
async fn a_held_call_goes_on_when_it_is_released() {
    let tools = tools().await;
    tools.behave(Behaviour::hold(Point::Arrived));
    let calls = [later(&tools, "op_1"), later(&tools, "op_2")];
    tools.held(2, SOON).await.unwrap();
    assert_eq!((tools.calls().len(), tools.effects().len()), (2, 0));
    let too_few = tools.held(3, Duration::from_millis(1)).await.unwrap_err();
    assert_eq!((too_few.got, too_few.expected), (2, 3));
    tools.release();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().0, 200);
    }
    assert!(tools.held(1, Duration::from_millis(1)).await.is_err());
    assert_eq!(tools.effects().len(), 2);
}

#[tokio::test]
async fn held_after_its_commit_it_has_its_effect_and_after_its_answer_it_holds_nobody() {
    let tools = tools().await;
    tools.behave(Behaviour::hold(Point::Committed));
    let call = later(&tools, "op_1");
    tools.held(1, SOON).await.unwrap();
    assert_eq!(
        (tools.effects().len(), tools.calls()[0].answered),
        (1, false)
    );
    tools.release();
    assert_eq!(call.await.unwrap().unwrap().0, 200);
    tools.behave(Behaviour::hold(Point::Answered));
    assert_eq!(run(&tools, "op_2", "").await.unwrap().0, 200);
    tools.held(1, SOON).await.unwrap();
    assert!(tools.calls()[1].answered);
}

#[tokio::test]
async fn a_held_call_whose_caller_dies_is_abandoned_and_blocks_nobody() {
    let tools = tools().await;
    tools.behave(Behaviour::hold(Point::Arrived));
    let call = later(&tools, "op_1");
    tools.held(1, SOON).await.unwrap();
    call.abort();
    eventually("abandoned", || tools.calls()[0].abandoned).await;
    assert!(
        tools.held(1, Duration::from_millis(1)).await.is_err(),
        "it is still counted"
    );
    tools.behave(Behaviour::default());
    assert_eq!(run(&tools, "op_1", "").await.unwrap().0, 200);
    tools.release();
    assert_eq!((tools.calls().len(), tools.effects().len()), (2, 1));
}

#[tokio::test]
async fn a_slow_double_is_slow_before_the_effect() {
    let tools = tools().await;
    tools.behave(Behaviour::slow(30));
    assert_eq!(run(&tools, "op_1", "").await.unwrap().0, 200);
    let call = &tools.calls()[0];
    let late = call.committed_us.unwrap() - call.at_us;
    assert!(late >= 30_000, "{late} us");
}

#[tokio::test]
async fn a_probe_is_answered_slowly_too_and_has_no_effect_and_no_script() {
    let models = Double::start(Kind::Models, Clock::start()).await.unwrap();
    models.script(|_| json!({"text": "x", "tool_calls": [{"tool_name": "file.read"}]}));
    models.behave(Behaviour {
        delay_ms: 20,
        ..Behaviour::hold(Point::Arrived)
    });
    let text = include_str!("../../fixtures/contract/doubles.json");
    let samples: Value = serde_json::from_str(text).unwrap();
    let sample = &samples["models"]["probe"];
    let url = models.url() + "/chat";
    let probe = reqwest::Client::new().post(url).header("x-probe", "true");
    let answer = probe.json(&sample["request"]).send().await.unwrap();
    assert_eq!(
        answer.json::<Value>().await.unwrap(),
        sample["answer"]["body"]
    );
    let call = &models.calls()[0];
    assert!(call.probe && call.answered_us.unwrap() - call.at_us >= 20_000);
    assert_eq!(models.effects(), Vec::new());
}
