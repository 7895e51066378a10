//! Gate tool-proxy-canonical: every tool call of the orchestrator passes the safety gate, and a
//! denied one runs nowhere.
//!
//! An agent is given goals; the model answers each with a safe call, two guarded ones, a blocked one
//! and one of a tool that nobody knows. What the tools get is looked for in openclaw's audit log, by
//! the causal parent that came with it: an entry of openclaw that lets this very tool run. What
//! openclaw turned away has its entry there too. Then a person approves one guarded call and denies
//! the other. The back doors are tried as well: openclaw without a decision, and the tool service
//! with a person's key and with none; with the service token it hands on, which is the control.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::deeds::{as_told, send};
use crate::chaos::approvals::{GUARDED_TOOL, marked, markers};
use crate::checks::audit::stored;
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Client, Credential, Instance};
use crate::violation;

/// Goals that the agent is given.
const ACTS: usize = 2;
/// What the model wants for each goal: tool, and what is to become of it.
const WANTED: [(&str, Fate); 5] = [
    ("file.read", Fate::Runs),
    (GUARDED_TOOL, Fate::Approved),
    (GUARDED_TOOL, Fate::Denied),
    ("system.shutdown", Fate::Blocked),
    ("disk.format", Fate::Unknown),
];
/// The safety gate's chain.
const GATE: &str = "openclaw";

/// What is to become of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is safe, and runs.
    Runs,
    /// It is guarded, and runs once a person has approved it.
    Approved,
    /// It is guarded, and a person denies it.
    Denied,
    /// It is blocked.
    Blocked,
    /// No such tool.
    Unknown,
    /// Asked of openclaw without a decision, or of the tool service without its token.
    BackDoor,
    /// Asked of the tool service with its token.
    Control,
}

impl Fate {
    /// How often it runs before a person decides, and after.
    fn runs(self) -> (usize, usize) {
        match self {
            Self::Runs => (1, 1),
            // The back doors are tried at the end.
            Self::Approved | Self::Control => (0, 1),
            _ => (0, 0),
        }
    }

    /// What the agent may say of it.
    fn status(self) -> &'static str {
        match self {
            Self::Runs => "executed",
            Self::Approved | Self::Denied => "approval_required",
            _ => "denied",
        }
    }
}

/// One call that somebody wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// The tool.
    pub tool: String,
    /// The path in its arguments, which no other call here has.
    pub marker: String,
    /// What is to become of it.
    pub fate: Fate,
    /// The correlation id of the request behind it.
    pub id: String,
    /// The request by which a person decided, or which knocked at a back door.
    pub asked: Option<Sent>,
}

/// A call that the tools got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The tool.
    pub tool: String,
    /// The path in its arguments.
    pub marker: String,
    /// `X-Causal-Parent`.
    pub parent: String,
}

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The goals.
    pub acts: Vec<Sent>,
    /// The calls.
    pub wanted: Vec<Wanted>,
    /// What the tools had got when the agent was done and nobody had decided.
    pub undecided_runs: Option<Vec<Run>>,
    /// What they had got at the end.
    pub runs: Option<Vec<Run>>,
    /// The rows of openclaw's audit log.
    pub entries: Option<Vec<Value>>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["allowed_calls", "denied_calls", "back_doors"] {
        judgement.exercised(counter, 0);
    }
    let (Some(before), Some(runs), Some(entries)) =
        (&seen.undecided_runs, &seen.runs, &seen.entries)
    else {
        judgement.undecided("nobody looked at what the tools did and what openclaw wrote of it");
        return judgement;
    };
    for act in seen.acts.iter().filter(|act| act.answered()) {
        judgement.expect(act.ok(), || {
            format!("{}: got {}, expected 200", act.line(), act.status)
        });
    }
    for wanted in &seen.wanted {
        let early = wanted.fate.runs().0;
        counted(
            wanted,
            before,
            early,
            "before anybody decided",
            &mut judgement,
        );
        counted(
            wanted,
            runs,
            wanted.fate.runs().1,
            "in the end",
            &mut judgement,
        );
        wanted.judge_said(seen, &mut judgement);
        wanted.judge_gate(runs, entries, &mut judgement);
    }
    let known = |run: &&Run| !seen.wanted.iter().any(|wanted| wanted.is(run));
    for Run { tool, marker, .. } in runs.iter().filter(known) {
        violation!(judgement, "{tool} ran for {marker}, which nobody wanted");
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} acts of the agent: {} calls allowed by openclaw, each run once, {} denied and run nowhere, \
         {} back doors shut: {} violations",
        seen.acts.len(),
        count("allowed_calls"),
        count("denied_calls"),
        count("back_doors"),
        judgement.violations.len()
    );
    judgement
}

fn counted(wanted: &Wanted, runs: &[Run], expected: usize, when: &str, judgement: &mut Judgement) {
    let got = runs.iter().filter(|run| wanted.is(run)).count();
    let Wanted {
        tool, marker, fate, ..
    } = wanted;
    judgement.expect(got == expected, || {
        format!("{tool} for {marker} ({fate:?}) {when}: got {got} runs, expected {expected}")
    });
}

impl Wanted {
    fn is(&self, run: &Run) -> bool {
        (&run.tool, &run.marker) == (&self.tool, &self.marker)
    }

    /// What the agent says of this call, if it is one of its calls.
    fn said<'a>(&self, seen: &'a Evidence) -> Option<&'a Value> {
        let act = seen.acts.iter().find(|act| act.id == self.id && act.ok())?;
        let calls = act.answer["tool_calls"].as_array()?;
        calls
            .iter()
            .find(|call| call["args"]["path"] == self.marker.as_str())
    }

    fn judge_said(&self, seen: &Evidence, judgement: &mut Judgement) {
        let (tool, marker, fate) = (&self.tool, &self.marker, self.fate);
        match fate {
            Fate::BackDoor | Fate::Control => {
                let Some(sent) = self.asked.as_ref().filter(|sent| sent.answered()) else {
                    return;
                };
                let expected = fate == Fate::Control;
                judgement.expect(sent.ok() == expected, || {
                    let word = if expected { "200" } else { "a refusal" };
                    format!("{}: got {}, expected {word}", sent.line(), sent.status)
                });
                let refused = !expected && !sent.ok();
                judgement.exercised("back_doors", u64::from(refused));
            }
            _ => {
                let Some(said) = self.said(seen) else {
                    judgement.undecided(format!("the agent says nothing of {tool} for {marker}"));
                    return;
                };
                let (got, expected) = (&said["status"], fate.status());
                judgement.expect(got == expected, || {
                    format!("the agent of {tool} for {marker}: got {got}, expected {expected}")
                });
            }
        }
    }

    /// Whether openclaw's log has its decision on this call.
    fn judge_gate(&self, runs: &[Run], entries: &[Value], judgement: &mut Judgement) {
        if matches!(self.fate, Fate::BackDoor | Fate::Control) {
            return;
        }
        let (tool, marker) = (&self.tool, &self.marker);
        let about = |entry: &&Value| {
            entry["action"] == "tool.execute" && entry["resource"] == format!("tool/{tool}")
        };
        let mut allowed = 0;
        for run in runs.iter().filter(|run| self.is(run)) {
            let behind = entries.iter().find(|entry| place(entry) == run.parent);
            let lets = behind.is_some_and(|entry| about(&entry) && entry["outcome"] == "ok");
            judgement.expect(lets, || {
                let parent = &run.parent;
                format!(
                    "{tool} ran for {marker} behind {parent:?}, expected an entry of openclaw that \
                     lets it run"
                )
            });
            allowed += u64::from(lets);
        }
        judgement.exercised("allowed_calls", allowed);
        // A tool that does not exist is 404, of which the log says nothing.
        let refusals = matches!(self.fate, Fate::Approved | Fate::Denied | Fate::Blocked);
        let refused = entries.iter().filter(about).any(|entry| {
            entry["outcome"] == "refused" && entry["correlation_id"] == self.id.as_str()
        });
        if refusals {
            judgement.expect(refused, || {
                let id = &self.id;
                format!(
                    "openclaw wrote no refusal of {tool} for {id}, expected one: the agent's call \
                     did not come by"
                )
            });
        }
        let denied = self.fate.runs().1 == 0 && (refused || self.fate == Fate::Unknown);
        judgement.exercised("denied_calls", u64::from(denied));
    }
}

/// `chain/seq/hash`, as a call carries it.
fn place(entry: &Value) -> String {
    let text = |field: &str| match &entry[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!("{}/{}/{}", text("chain"), text("seq"), text("hash"))
}

/// Drives it.
///
/// # Errors
/// When there is no target, or openclaw's log cannot be read.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    cx.models.script(as_told);
    let instance = cx.start(json!({})).await?;
    let client = instance.client(Credential::Operator(1));
    let markers = markers(cx.seed, "proxy", ACTS * WANTED.len());
    for markers in markers.chunks(WANTED.len()) {
        act(&client, markers, seen).await;
    }
    seen.undecided_runs = Some(runs(cx));
    for number in 0..seen.wanted.len() {
        decide(&client, seen, number).await;
    }
    back_doors(cx, &client, seen).await;
    seen.runs = Some(runs(cx));
    seen.entries = Some(log(cx, &instance)?);
    Ok(())
}

async fn act(client: &Client, markers: &[String], seen: &mut Evidence) {
    let calls = WANTED.iter().zip(markers);
    let call = |((tool, _), marker): (&(&str, Fate), &String)| json!({"tool_name": tool, "args": marked(marker)});
    let goal: Vec<Value> = calls.clone().map(call).collect();
    let body = json!({"goal": json!(goal).to_string()});
    let act = send(client, Ask::post("orchestrator", "/agent/act", body)).await;
    let wanted = |((tool, fate), marker): (&(&str, Fate), &String)| Wanted {
        tool: (*tool).to_owned(),
        marker: marker.clone(),
        fate: *fate,
        id: act.id.clone(),
        asked: None,
    };
    seen.wanted.extend(calls.map(wanted));
    seen.acts.push(act);
}

/// A person decides what waits for one.
async fn decide(client: &Client, seen: &mut Evidence, number: usize) {
    let wanted = &seen.wanted[number];
    let verb = match wanted.fate {
        Fate::Approved => "approve",
        Fate::Denied => "deny",
        _ => return,
    };
    let id = wanted
        .said(seen)
        .map_or(Value::Null, |said| said["approval_id"].clone());
    let ask = Ask::post("eva-os", &format!("/{verb}"), json!({"approval_id": id}));
    // The run of an approved call belongs to who approved it.
    let decided = send(client, ask).await;
    seen.wanted[number].asked = Some(decided);
}

/// Ways to a tool that do not lead by a decision.
async fn back_doors(cx: &Cx, client: &Client, seen: &mut Evidence) {
    let of = |marker: &str, tool: &str| {
        json!({
            "operation_id": format!("op_{marker}"), "tool_name": tool, "args": marked(marker),
        })
    };
    let doors = [
        (
            GATE,
            "/execute",
            GUARDED_TOOL,
            Credential::Operator(1),
            Fate::BackDoor,
        ),
        (
            GATE,
            "/execute",
            GUARDED_TOOL,
            Credential::Service,
            Fate::BackDoor,
        ),
        (
            "tool-service",
            "/run",
            "file.read",
            Credential::Operator(1),
            Fate::BackDoor,
        ),
        (
            "tool-service",
            "/run",
            "file.read",
            Credential::None,
            Fate::BackDoor,
        ),
        (
            "tool-service",
            "/run",
            "file.read",
            Credential::Service,
            Fate::Control,
        ),
    ];
    let markers = markers(cx.seed, "door", doors.len());
    for ((service, path, tool, who, fate), marker) in doors.into_iter().zip(markers) {
        let ask = Ask::post(service, path, of(&marker, tool));
        let asked = send(&client.under(who), ask).await;
        seen.wanted.push(Wanted {
            tool: tool.to_owned(),
            marker,
            fate,
            id: asked.id.clone(),
            asked: Some(asked),
        });
    }
}

fn runs(cx: &Cx) -> Vec<Run> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let calls = cx.tools.calls().into_iter();
    calls
        .map(|call| Run {
            tool: text(&call.body["tool_name"]),
            marker: text(&call.body["args"]["path"]),
            parent: call
                .headers
                .get("x-causal-parent")
                .cloned()
                .unwrap_or_default(),
        })
        .collect()
}

/// The rows of openclaw's log, from a copy of its database.
fn log(cx: &Cx, instance: &Instance) -> Result<Vec<Value>, Undecided> {
    let listening = instance.listening();
    let path = listening.databases.get(GATE);
    let path = path.ok_or_else(|| Undecided("openclaw names no database".to_owned()))?;
    let copy = cx.dir.join("openclaw-copy.db");
    stored::copy(path, &copy).map_err(Undecided)?;
    stored::rows(&copy, GATE).map_err(Undecided)
}

#[cfg(test)]
#[path = "tool_proxy_canonical_tests.rs"]
mod tests;
