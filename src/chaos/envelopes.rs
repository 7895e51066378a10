//! Turns whose decision is known beforehand: the same envelope gives the same decision and hash,
//! whenever and however it is written, and another one gives another hash.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::approvals::{marked, markers};
use super::{Judgement, Sent};
use crate::base::Seed;
use crate::base::json::merge;
use crate::target::{Ask, Client};
use crate::violation;

const GATEWAY: &str = "api-gateway";
/// How often each envelope is sent in each spelling between two starts.
const TIMES: usize = 2;

/// A turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// The number of its envelope.
    pub envelope: usize,
    /// Whether the keys of its objects were written the other way round.
    pub reordered: bool,
    /// How many KILLs were before it.
    pub kills: u64,
    /// The request.
    pub sent: Sent,
}

/// The decision of a turn.
fn decision(sent: &Sent) -> Option<(&str, &str)> {
    let decision = &sent.answer["decision"];
    let pair = (decision["class"].as_str()?, decision["hash"].as_str()?);
    (!pair.0.is_empty() && !pair.1.is_empty()).then_some(pair)
}

/// Judges turns: counts `replays`, `reordered`, `other_envelopes` and `kills`, and gives how many
/// envelopes were decided on.
pub fn judge(turns: &[Turn], judgement: &mut Judgement) -> usize {
    let mut first: BTreeMap<usize, &Turn> = BTreeMap::new();
    let mut kills = 0;
    for turn in turns {
        kills = kills.max(replay(turn, &mut first, judgement));
    }
    judgement.exercised("kills", kills);
    others(&first, judgement);
    first.len()
}

/// Holds a turn against the first of its envelope; how many KILLs lie between them when they agree.
fn replay<'a>(
    turn: &'a Turn,
    first: &mut BTreeMap<usize, &'a Turn>,
    judgement: &mut Judgement,
) -> u64 {
    let sent = &turn.sent;
    if !sent.answered() {
        return 0;
    }
    if sent.status != 200 {
        violation!(
            judgement,
            "{}: got {}, expected 200",
            sent.line(),
            sent.status
        );
        return 0;
    }
    let Some(got) = decision(sent) else {
        let got = &sent.answer["decision"];
        violation!(
            judgement,
            "{}: got decision {got}, expected a class and a hash",
            sent.line()
        );
        return 0;
    };
    let Some(one) = first.get(&turn.envelope) else {
        first.insert(turn.envelope, turn);
        return 0;
    };
    let expected = decision(&one.sent).unwrap_or_default();
    if got != expected {
        let order = if turn.reordered {
            ", keys the other way round"
        } else {
            ""
        };
        violation!(
            judgement,
            "envelope {}{order}, after {} KILLs, {}: got {got:?}, expected {expected:?} as in {}",
            turn.envelope,
            turn.kills,
            sent.line(),
            one.sent.line()
        );
        return 0;
    }
    judgement.exercised("replays", 1);
    judgement.exercised("reordered", u64::from(turn.reordered != one.reordered));
    turn.kills.saturating_sub(one.kills)
}

/// Each envelope has a hash of its own.
fn others(first: &BTreeMap<usize, &Turn>, judgement: &mut Judgement) {
    let mut hashes: BTreeMap<&str, &Turn> = BTreeMap::new();
    for turn in first.values() {
        let (_, hash) = decision(&turn.sent).unwrap_or_default();
        match hashes.insert(hash, turn) {
            None => judgement.exercised("other_envelopes", u64::from(hashes.len() > 1)),
            Some(other) => violation!(
                judgement,
                "envelopes {} and {}: got the hash {hash} for both, {} and {}, expected two",
                other.envelope,
                turn.envelope,
                other.sent.line(),
                turn.sent.line()
            ),
        }
    }
}

/// The model answers a text with the call that it begins with, if any.
#[must_use]
pub fn as_wanted(request: &Value) -> Value {
    let heard = request["input_text"].as_str().unwrap_or_default();
    let calls = match heard.split_once(':') {
        Some(("read", marker)) => json!([{"tool_name": "file.read", "args": marked(marker)}]),
        Some(("write", marker)) => json!([{"tool_name": "file.write", "args": marked(marker)}]),
        _ => json!([]),
    };
    json!({"text": "As you wish.", "tool_calls": calls})
}

/// Bodies of turns, each another one in one thing.
#[must_use]
pub fn all(seed: Seed) -> Vec<Value> {
    let marker = &markers(seed, "envelope", 1)[0];
    let base = json!({
        "input_text": format!("read:{marker}"),
        "envelope": {
            "channel": "text", "locale": "de", "steps": [1, 2, 3],
            "origin": {"device": "desk", "build": 7, "flags": {"quiet": false, "late": true}},
        },
    });
    let changed = |patch: Value| {
        let mut body = base.clone();
        merge(&mut body, &patch);
        body
    };
    vec![
        base.clone(),
        changed(json!({"input_text": format!("read:{marker} ")})),
        changed(json!({"input_text": format!("write:{marker}")})),
        changed(json!({"input_text": format!("say:{marker}")})),
        changed(json!({"envelope": null})),
        changed(json!({"envelope": {"locale": "en"}})),
        changed(json!({"envelope": {"steps": [1, 3, 2]}})),
        changed(json!({"envelope": {"origin": {"flags": {"late": false}}}})),
        changed(json!({"envelope": {"origin": {"build": "7"}}})),
    ]
}

/// Every envelope in both spellings, all of them at once, and that several times.
pub async fn round(
    client: &Client,
    session: &str,
    envelopes: &[Value],
    kills: u64,
    seen: &mut Vec<Turn>,
) {
    for _ in 0..TIMES {
        let asks = envelopes.iter().enumerate().flat_map(|(envelope, body)| {
            [false, true].map(|reordered| (envelope, body, reordered))
        });
        let turns = asks.map(async |(envelope, body, reordered)| {
            let mut body = body.clone();
            body["session_id"] = json!(session);
            let text = written(&body, reordered);
            let ask = Ask::post(GATEWAY, "/v3/turn", body).written(text);
            Turn {
                envelope,
                reordered,
                kills,
                sent: Sent::by(client, ask).await,
            }
        });
        seen.extend(join_all(turns).await);
    }
}

/// JSON, the keys of every object in order or the other way round.
#[must_use]
pub(crate) fn written(value: &Value, reversed: bool) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}:{}", json!(key), written(value, reversed)))
                .collect();
            if reversed {
                fields.reverse();
            }
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(all) => {
            let all: Vec<String> = all.iter().map(|one| written(one, reversed)).collect();
            format!("[{}]", all.join(","))
        }
        other => other.to_string(),
    }
}
