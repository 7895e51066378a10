//! A dead letter that is replayed again and again, over restarts: each replay is one generation on, in
//! the conversation of the call that failed.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::chaos::{Judgement, Sent};
use crate::target::{Ask, Client};

const GATEWAY: &str = "api-gateway";
/// What the path of a call begins with that fails.
pub(in crate::chaos::drill) const LOST: &str = "lost";

/// One replay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Replay {
    /// Of the letter, as it was listed before; none when it was not there.
    pub before: Option<(i64, String)>,
    /// The request.
    pub sent: Sent,
    /// Of the letter after it, by the answer.
    pub after: Option<(i64, String)>,
}

/// Replays the one letter so often; makes it first when there is none.
pub(in crate::chaos::drill) async fn drive(
    client: &Client,
    session: &str,
    times: u64,
    into: &mut Vec<Replay>,
) -> anyhow::Result<Value> {
    for _ in 0..times {
        let mut letter = letter(client).await;
        if letter.is_none() && into.is_empty() {
            let text = format!("read {LOST} {LOST}/1.txt");
            let body = json!({"session_id": session, "input_text": text});
            let sent = Sent::by(client, Ask::post(GATEWAY, "/v3/turn", body)).await;
            anyhow::ensure!(sent.ok(), "no turn whose call fails: {}", sent.line());
            letter = self::letter(client).await;
            anyhow::ensure!(letter.is_some(), "no dead letter of a call that failed");
        }
        let id = letter
            .as_ref()
            .and_then(|letter| letter["dead_letter_id"].as_str());
        let path = format!("/v3/dead-letters/{}/replay", id.unwrap_or("none"));
        let sent = Sent::by(client, Ask::post(GATEWAY, &path, json!({}))).await;
        into.push(Replay {
            before: letter.as_ref().and_then(place),
            after: place(&sent.answer["dead_letter"]),
            sent,
        });
    }
    Ok(json!({"replays": into.len()}))
}

/// The generation of a letter, and its conversation.
fn place(letter: &Value) -> Option<(i64, String)> {
    let conversation = letter["correlation_id"].as_str()?;
    Some((
        letter["replay_generation"].as_i64()?,
        conversation.to_owned(),
    ))
}

async fn letter(client: &Client) -> Option<Value> {
    let list = client.send(Ask::get(GATEWAY, "/v3/dead-letters")).await;
    let letters = list.answered()["dead_letters"].as_array()?;
    let ours = |letter: &&Value| {
        let path = letter["args"]["path"].as_str();
        path.is_some_and(|path| path.starts_with(LOST))
    };
    letters.iter().find(ours).cloned()
}

/// Judges all, in order.
pub(super) fn judge(replays: &[Replay], judgement: &mut Judgement) -> Option<String> {
    let (mut expected, mut conversation) = (0, None::<&str>);
    for replay in replays {
        let line = replay.sent.line();
        match &replay.before {
            None => judgement.violation(format!("{line}: the dead letter is gone")),
            Some((generation, of)) => {
                judgement.expect(*generation == expected, || {
                    format!("before {line}: got generation {generation}, expected {expected}")
                });
                let first = *conversation.get_or_insert(of);
                judgement.expect(of == first, || {
                    format!("before {line}: got the conversation {of}, expected {first}")
                });
            }
        }
        if !replay.sent.answered() {
            judgement.undecided(format!("{line}: whether it was replayed is not known"));
            continue;
        }
        judgement.expect(replay.sent.ok(), || format!("{line}: expected 200"));
        expected += 1;
        let got = replay.after.as_ref().map(|(generation, _)| *generation);
        judgement.expect(got == Some(expected), || {
            format!("{line}: got generation {got:?}, expected {expected}")
        });
    }
    (!replays.is_empty()).then(|| format!("{} replays, {expected} generations", replays.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(before: i64, after: i64) -> Replay {
        let sent = json!({
            "service": GATEWAY, "method": "POST", "path": "/replay", "actor": "op-1",
            "role": "operator", "id": "cor_9", "invoked_us": 1, "returned_us": 2, "status": 200,
        });
        let at = |generation| Some((generation, "cor_1".to_owned()));
        Replay {
            before: at(before),
            after: at(after),
            sent: serde_json::from_value(sent).unwrap(),
        }
    }

    fn found(replays: &[Replay]) -> String {
        let mut judgement = Judgement::default();
        judge(replays, &mut judgement);
        judgement.violations.join(" | ")
    }

    #[test]
    fn each_replay_is_one_generation_on_in_the_same_conversation() {
        assert_eq!(found(&[replay(0, 1), replay(1, 2), replay(2, 3)]), "");
        let reset = found(&[replay(0, 1), replay(0, 1)]);
        assert!(reset.contains("got generation 0, expected 1"), "{reset}");
        let mut fresh = replay(1, 2);
        fresh.before = Some((1, "cor_2".to_owned()));
        assert!(found(&[replay(0, 1), fresh]).contains("got the conversation cor_2"));
        let mut gone = replay(1, 2);
        gone.before = None;
        assert!(found(&[replay(0, 1), gone]).contains("the dead letter is gone"));
    }
}
