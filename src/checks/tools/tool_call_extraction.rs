//! Gate tool-call-extraction: tool calls in a model's answer pass the gate. Safe ones run once,
//! guarded ones ask a person, blocked and malformed ones never run, and at most five count.
//!
//! The model answers each turn with the calls that the turn's text is, in JSON: one sort at a time,
//! seven of a sort, all sorts in one answer, and things that are no calls at all. Every turn answers
//! 200. What ran is what the tools saw; what waits for a person is on the pending list.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::deeds::{as_told, send};
use crate::chaos::approvals::{marked, markers, session};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Client, Credential};
use crate::violation;

/// Calls of a turn that count.
const CAP: usize = 5;
/// Calls of a turn that asks for too many.
const TOO_MANY: usize = 7;
/// Guarded tools, in turn.
const GUARDED: [&str; 3] = ["shell.run", "clipboard.write", "file.write"];

/// What the model wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// A call of a safe tool.
    Safe,
    /// A call of a guarded one.
    Guarded,
    /// A call of a blocked one.
    Blocked,
    /// No call at all, or one of a tool that does not exist.
    Malformed,
}

/// One call of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// What it is.
    pub sort: Sort,
    /// The tool, if it names one.
    pub tool: String,
    /// The path in its arguments, if it has any.
    pub marker: String,
}

/// One turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// What the model wanted.
    pub wanted: Vec<Wanted>,
    /// The request.
    pub sent: Sent,
}

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The turns.
    pub turns: Vec<Turn>,
    /// The pending list at the end.
    pub pending: Option<Sent>,
    /// Tool and path of every call that the tools got; none while nobody looked.
    pub runs: Option<Vec<(String, String)>>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["safe", "guarded", "blocked", "malformed", "capped_turns"] {
        judgement.exercised(counter, 0);
    }
    let pending = seen.pending.as_ref().filter(|sent| sent.ok());
    let pending = pending.and_then(|sent| sent.answer["confirmations"].as_array());
    let (Some(pending), Some(runs)) = (pending, &seen.runs) else {
        judgement.undecided("nobody looked at what the tools did and what waits for a person");
        return judgement;
    };
    let pending: Vec<(&str, &str)> = pending
        .iter()
        .map(|row| (text(&row["tool_name"]), text(&row["args"]["path"])))
        .collect();
    let runs: Vec<(&str, &str)> = runs.iter().map(|(tool, path)| (&**tool, &**path)).collect();
    for turn in &seen.turns {
        turn.judge(&runs, &pending, &mut judgement);
    }
    let wanted = || seen.turns.iter().flat_map(|turn| &turn.wanted);
    for (tool, path) in &runs {
        let known = wanted().any(|one| (&*one.tool, &*one.marker) == (*tool, *path));
        judgement.expect(known, || {
            format!("{tool} ran for {path:?}, which no model wanted")
        });
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} turns: {} safe calls ran once, {} guarded ones wait, {} blocked and {} malformed ones ran \
         nowhere, {} turns capped at {CAP}: {} violations",
        seen.turns.len(),
        count("safe"),
        count("guarded"),
        count("blocked"),
        count("malformed"),
        count("capped_turns"),
        judgement.violations.len()
    );
    judgement
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Turn {
    fn judge(&self, runs: &[(&str, &str)], pending: &[(&str, &str)], judgement: &mut Judgement) {
        let line = self.sent.line();
        if !self.sent.answered() {
            return;
        }
        if self.sent.status != 200 {
            violation!(judgement, "{line}: got {}, expected 200", self.sent.status);
            return;
        }
        let mut ran: BTreeMap<Sort, usize> = BTreeMap::new();
        let mut waits: BTreeMap<Sort, usize> = BTreeMap::new();
        for wanted in &self.wanted {
            let Wanted { sort, tool, marker } = wanted;
            let is = |one: &&(&str, &str)| **one == (&**tool, &**marker);
            let [run, wait] = [runs, pending].map(|all| all.iter().filter(is).count());
            *ran.entry(*sort).or_default() += run;
            *waits.entry(*sort).or_default() += wait;
            let most = [
                usize::from(*sort == Sort::Safe),
                usize::from(*sort == Sort::Guarded),
            ];
            judgement.expect(run <= most[0], || {
                format!(
                    "{sort:?} {tool} for {marker}: got {run} runs, expected {}",
                    most[0]
                )
            });
            judgement.expect(wait <= most[1], || {
                let most = most[1];
                format!(
                    "{sort:?} {tool} for {marker}: got it pending {wait} times, expected {most}"
                )
            });
        }
        let of = |sort| self.wanted.iter().filter(|one| one.sort == sort).count();
        for (sort, all, what) in [
            (Sort::Safe, &ran, "runs"),
            (Sort::Guarded, &waits, "confirmations"),
        ] {
            let (got, expected) = (all.get(&sort).copied().unwrap_or(0), of(sort).min(CAP));
            judgement.expect(got == expected, || {
                let wanted = of(sort);
                format!("{line}: {wanted} {sort:?} calls: got {got} {what}, expected {expected}")
            });
            if got == expected {
                let counter = if sort == Sort::Safe {
                    "safe"
                } else {
                    "guarded"
                };
                judgement.exercised(counter, got as u64);
                judgement.exercised("capped_turns", u64::from(of(sort) > CAP));
            }
        }
        judgement.exercised("blocked", of(Sort::Blocked) as u64);
        self.judge_said(judgement);
    }

    /// Whether the turn's answer tells of each call what became of it.
    fn judge_said(&self, judgement: &mut Judgement) {
        let line = self.sent.line();
        let of = |sort| self.wanted.iter().filter(|one| one.sort == sort).count();
        let said = |status: &str| {
            let calls = self.sent.answer["tool_calls"].as_array();
            let calls = calls.map_or(&[][..], Vec::as_slice);
            calls.iter().filter(|call| call["status"] == status).count()
        };
        for (status, sort) in [
            ("executed", Sort::Safe),
            ("confirmation_required", Sort::Guarded),
            ("blocked", Sort::Blocked),
            ("malformed", Sort::Malformed),
        ] {
            let (got, expected) = (said(status), of(sort).min(CAP));
            judgement.expect(got == expected, || {
                format!("{line}: got {got} calls told to be {status}, expected {expected}")
            });
            if sort == Sort::Malformed && got == expected {
                judgement.exercised("malformed", got as u64);
            }
        }
    }
}

/// Drives it.
///
/// # Errors
/// When there is no target, or no session.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    cx.models.script(as_told);
    let instance = cx.start(json!({})).await?;
    let client = instance.client(Credential::Operator(1));
    let session = session(&client).await?;
    for (number, sorts) in turns().iter().enumerate() {
        let markers = markers(cx.seed, &format!("extract-{number}"), sorts.len());
        let calls = sorts.iter().zip(&markers).enumerate();
        let (wanted, calls): (Vec<Wanted>, Vec<Value>) = calls
            .map(|(at, (sort, marker))| want(*sort, at, marker))
            .unzip();
        turn(&client, &session, wanted, &json!(calls), seen).await;
    }
    for odd in [json!("file.read"), json!({"tool_name": 7})] {
        let wanted = want(Sort::Malformed, 0, "odd").0;
        turn(&client, &session, vec![wanted], &odd, seen).await;
    }
    let path = format!("/v3/confirmations/pending?session_id={session}");
    seen.pending = Some(send(&client, Ask::get("api-gateway", &path)).await);
    let calls = cx.tools.calls().into_iter();
    let run = |call: crate::doubles::Call| {
        let args = &call.body["args"]["path"];
        (
            text(&call.body["tool_name"]).to_owned(),
            text(args).to_owned(),
        )
    };
    seen.runs = Some(calls.map(run).collect());
    Ok(())
}

/// The sorts of the calls of each turn.
fn turns() -> Vec<Vec<Sort>> {
    use Sort::{Blocked, Guarded, Malformed, Safe};
    vec![
        vec![Safe],
        vec![Guarded; GUARDED.len()],
        vec![Blocked],
        vec![Malformed; 4],
        vec![Safe; TOO_MANY],
        vec![Guarded; TOO_MANY],
        vec![Malformed, Safe, Guarded, Blocked, Safe],
    ]
}

/// A call of this sort, at this place of the answer, and how it is written there.
fn want(sort: Sort, at: usize, marker: &str) -> (Wanted, Value) {
    let args = marked(marker);
    let call = |tool: &str| json!({"tool_name": tool, "args": args});
    let (tool, written) = match sort {
        Sort::Safe => ("file.read", call("file.read")),
        Sort::Guarded => (
            GUARDED[at % GUARDED.len()],
            call(GUARDED[at % GUARDED.len()]),
        ),
        Sort::Blocked => ("system.shutdown", call("system.shutdown")),
        Sort::Malformed => match at % 4 {
            0 => ("no.such.tool", call("no.such.tool")),
            1 => ("", json!({"args": args})),
            2 => (
                "file.read",
                json!({"tool_name": "file.read", "args": marker}),
            ),
            _ => ("", json!(7)),
        },
    };
    let wanted = Wanted {
        sort,
        tool: tool.to_owned(),
        marker: marker.to_owned(),
    };
    (wanted, written)
}

async fn turn(
    client: &Client,
    session: &str,
    wanted: Vec<Wanted>,
    calls: &Value,
    seen: &mut Evidence,
) {
    let body = json!({"session_id": session, "input_text": calls.to_string()});
    let sent = send(client, Ask::post("api-gateway", "/v3/turn", body)).await;
    seen.turns.push(Turn { wanted, sent });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::by_hand;

    fn sent(path: &str, answer: Value) -> Sent {
        by_hand::sent("api-gateway", "POST", path, 200, answer)
    }

    const STATUS: [&str; 4] = ["executed", "confirmation_required", "blocked", "malformed"];

    fn good() -> Evidence {
        let mut seen = Evidence::default();
        let (mut rows, mut runs) = (Vec::new(), Vec::new());
        for (number, sorts) in turns().iter().enumerate() {
            let mut wanted = Vec::new();
            let mut said = Vec::new();
            for (at, sort) in sorts.iter().enumerate() {
                let one = want(*sort, at, &format!("m-{number}-{at}")).0;
                if at < CAP {
                    said.push(json!({"status": STATUS[*sort as usize]}));
                    let (tool, path) = (one.tool.clone(), one.marker.clone());
                    match sort {
                        Sort::Safe => runs.push((tool, path)),
                        Sort::Guarded => {
                            rows.push(json!({"tool_name": tool, "args": {"path": path}}));
                        }
                        _ => {}
                    }
                } else {
                    said.push(json!({"status": "over_limit"}));
                }
                wanted.push(one);
            }
            let sent = sent("/v3/turn", json!({"tool_calls": said}));
            seen.turns.push(Turn { wanted, sent });
        }
        seen.pending = Some(sent(
            "/v3/confirmations/pending",
            json!({"confirmations": rows}),
        ));
        seen.runs = Some(runs);
        seen
    }

    #[test]
    fn calls_that_are_treated_by_their_sort_are_no_violation_and_count() {
        let judgement = judge(&good());
        assert_eq!(judgement.violations, [""; 0]);
        assert_eq!(judgement.undecided, [""; 0]);
        let counts: Vec<_> = judgement.exercised.into_iter().collect();
        let expected = [
            ("blocked", 2),
            ("capped_turns", 2),
            ("guarded", 9),
            ("malformed", 5),
            ("safe", 8),
        ];
        assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
    }

    fn also_runs(seen: &mut Evidence, turn: usize, at: usize) {
        let one = seen.turns[turn].wanted[at].clone();
        seen.runs.as_mut().unwrap().push((one.tool, one.marker));
    }

    #[test]
    fn every_wrong_treatment_is_seen() {
        type Case = (&'static str, fn(&mut Evidence));
        let cases: [Case; 10] = [
            ("got 500, expected 200", |seen| {
                seen.turns[3].sent.status = 500
            }),
            ("Safe file.read for m-0-0: got 2 runs, expected 1", |seen| {
                also_runs(seen, 0, 0)
            }),
            (
                "Guarded shell.run for m-1-0: got 1 runs, expected 0",
                |seen| also_runs(seen, 1, 0),
            ),
            ("Blocked system.shutdown for m-2-0: got 1 runs", |seen| {
                also_runs(seen, 2, 0)
            }),
            ("Malformed no.such.tool for m-3-0: got 1 runs", |seen| {
                also_runs(seen, 3, 0)
            }),
            ("7 Safe calls: got 6 runs, expected 5", |seen| {
                also_runs(seen, 4, 6)
            }),
            ("7 Guarded calls: got 4 confirmations, expected 5", |seen| {
                let pending = seen.pending.as_mut().unwrap();
                pending.answer["confirmations"]
                    .as_array_mut()
                    .unwrap()
                    .remove(4);
            }),
            ("1 Safe calls: got 0 runs, expected 1", |seen| {
                seen.runs.as_mut().unwrap().remove(0);
            }),
            ("got 3 calls told to be malformed, expected 4", |seen| {
                seen.turns[3].sent.answer["tool_calls"][0]["status"] = json!("executed");
            }),
            ("ran for \"elsewhere\", which no model wanted", |seen| {
                let stray = ("file.read".to_owned(), "elsewhere".to_owned());
                seen.runs.as_mut().unwrap().push(stray);
            }),
        ];
        for (words, spoil) in cases {
            by_hand::violated(judge, good(), spoil, words);
        }
    }

    #[test]
    fn what_nobody_looked_at_is_undecided() {
        let mut seen = good();
        seen.runs = None;
        assert_eq!(judge(&seen).undecided.len(), 1);
        assert_eq!(judge(&Evidence::default()).undecided.len(), 1);
    }
}
