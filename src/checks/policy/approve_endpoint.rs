//! Gate approve-endpoint: an approval permits exactly one run of the very action and arguments it was
//! asked for, a denial none, and an unknown id is 404.
//!
//! Approvals are asked for at eva-os. One is approved while the tool is held, so that its approval is
//! as fresh as it gets: with it, as a service would, other arguments, more arguments, another tool
//! and the same call once more are asked of openclaw, and again after the end. The same is tried with
//! an approval that was denied and with one that nobody decided. What ran is what the tools saw.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::chaos::approvals::{GUARDED_TOOL, marked, markers};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::doubles::{Behaviour, Point};
use crate::target::{Ask, Client, Credential};
use crate::violation;

/// How long an approved call may take to reach the tool: ten times what a local call takes, and at
/// least 10 s.
const ARRIVAL: Duration = Duration::from_secs(10);
/// A guarded tool that nobody here is asked about.
const OTHER_TOOL: &str = "shell.run";
/// Ids that were never issued.
const UNKNOWN: [&str; 2] = ["apr_000000000000", "apr_unknown"];
/// What becomes of the approvals.
const VERDICTS: [Option<&str>; 4] = [Some("approve"), Some("approve"), Some("deny"), None];

/// What an approval is used for that is not its own call, or that comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misuse {
    /// Other arguments.
    OtherArgs,
    /// The same arguments and one more.
    MoreArgs,
    /// The same arguments to another tool.
    OtherTool,
    /// The very call, once more.
    Again,
}

impl Misuse {
    const ALL: [Self; 4] = [
        Self::OtherArgs,
        Self::MoreArgs,
        Self::OtherTool,
        Self::Again,
    ];

    /// Tool and arguments, of which the marker is the approval's.
    fn call(self, marker: &str) -> (&'static str, Value) {
        let args = marked(marker);
        match self {
            Self::OtherArgs => (GUARDED_TOOL, json!({"path": marker, "text": "another"})),
            Self::MoreArgs => {
                let mut args = args;
                args["mode"] = json!("append");
                (GUARDED_TOOL, args)
            }
            Self::OtherTool => (OTHER_TOOL, args),
            Self::Again => (GUARDED_TOOL, args),
        }
    }
}

/// One approval's story.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Story {
    /// `approve`, `deny`, or nothing.
    pub verdict: Option<String>,
    /// The path in its arguments, which no other call here has.
    pub marker: String,
    /// The request that asked for it.
    pub asked: Sent,
    /// The pending list before the decision.
    pub before: Option<Sent>,
    /// The decision.
    pub decided: Option<Sent>,
    /// The pending list while the tool was held, of an approval under which one was.
    pub during: Option<Sent>,
    /// The pending list after the decision.
    pub after: Option<Sent>,
    /// What the approval was used for.
    pub misused: Vec<(Misuse, Sent)>,
}

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Decisions on ids that were never issued.
    pub unknown: Vec<Sent>,
    /// The approvals.
    pub stories: Vec<Story>,
    /// Tool and arguments of every call that the tools got; none while nobody looked.
    pub runs: Option<Vec<(String, Value)>>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["approved", "denied", "unknown_ids", "other_actions"] {
        judgement.exercised(counter, 0);
    }
    for sent in seen.unknown.iter().filter(|sent| sent.answered()) {
        judgement.exercised("unknown_ids", 1);
        judgement.expect(sent.status == 404, || {
            format!("{}: got {}, expected 404", sent.line(), sent.status)
        });
    }
    let Some(runs) = &seen.runs else {
        judgement.undecided("nobody looked at what the tools did");
        return judgement;
    };
    for story in &seen.stories {
        story.judge(&mut judgement);
        story.judge_runs(runs, &mut judgement);
    }
    let known = |path: &Value| {
        seen.stories
            .iter()
            .any(|story| *path == story.marker.as_str())
    };
    for (tool, args) in runs.iter().filter(|(_, args)| !known(&args["path"])) {
        violation!(judgement, "{tool} ran with {args}, which nobody asked for");
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} approved and {} denied approvals, {} calls of another action with one, {} unknown ids; \
         {} tools ran: {} violations",
        count("approved"),
        count("denied"),
        count("other_actions"),
        count("unknown_ids"),
        runs.len(),
        judgement.violations.len()
    );
    judgement
}

impl Story {
    fn id(&self) -> &str {
        self.asked.answer["approval_id"]
            .as_str()
            .unwrap_or_default()
    }

    /// Whether this list has the approval; nothing when it could not be read.
    fn listed(&self, list: Option<&Sent>) -> Option<bool> {
        let rows = list.filter(|list| list.ok())?.answer["approvals"].as_array()?;
        Some(rows.iter().any(|row| {
            let [tool, args] = ["tool_name", "args"].map(|field| &row[field]);
            row["approval_id"] == self.id()
                && *tool == GUARDED_TOOL
                && *args == marked(&self.marker)
        }))
    }

    fn judge(&self, judgement: &mut Judgement) {
        let verb = self.verdict.as_deref();
        let lists = [
            ("before its decision", self.before.as_ref(), true),
            ("while its tool runs", self.during.as_ref(), false),
            ("after its decision", self.after.as_ref(), verb.is_none()),
        ];
        for (when, list, expected) in lists {
            let Some(got) = self.listed(list) else {
                continue;
            };
            let word = |listed| if listed { "pending" } else { "not pending" };
            judgement.expect(got == expected, || {
                let (id, got, expected) = (self.id(), word(got), word(expected));
                format!("{id} {when}: got it {got}, expected it {expected}")
            });
        }
        if let Some(decided) = self.decided.as_ref().filter(|sent| sent.answered()) {
            judgement.expect(decided.ok(), || {
                format!("{}: got {}, expected 200", decided.line(), decided.status)
            });
        }
        for (misuse, sent) in self.misused.iter().filter(|(_, sent)| sent.answered()) {
            if *misuse != Misuse::Again {
                judgement.exercised("other_actions", 1);
            }
            judgement.expect(!sent.ok(), || {
                let (what, verdict) = (sent.line(), verb.unwrap_or("nothing"));
                format!(
                    "{misuse:?} with {} ({verdict}): {what}, expected a refusal",
                    self.id()
                )
            });
        }
    }

    /// What ran with this approval's path: its own call once if it was approved, and nothing else.
    fn judge_runs(&self, runs: &[(String, Value)], judgement: &mut Judgement) {
        let mine = || {
            runs.iter()
                .filter(|(_, args)| args["path"] == self.marker.as_str())
        };
        let own =
            |(tool, args): &&(String, Value)| tool == GUARDED_TOOL && *args == marked(&self.marker);
        let got = mine().filter(own).count();
        let verb = self.verdict.as_deref();
        let decided = self.decided.as_ref().is_some_and(Sent::ok);
        let expected = usize::from(verb == Some("approve") && decided);
        let judged = verb.is_none() || self.decided.as_ref().is_some_and(Sent::answered);
        if judged {
            judgement.expect(got == expected, || {
                let verb = verb.unwrap_or("nothing");
                format!(
                    "{} ({verb}): its call ran {got} times, expected {expected}",
                    self.id()
                )
            });
        }
        for (tool, args) in mine().filter(|run| !own(run)) {
            violation!(judgement, "{} let {tool} run with {args}", self.id());
        }
        let listed = self.listed(self.before.as_ref()).is_some()
            && self.listed(self.after.as_ref()).is_some();
        let tried = !self.id().is_empty() && self.misused.len() >= Misuse::ALL.len();
        let counter = match verb {
            Some("approve") => "approved",
            Some(_) => "denied",
            None => return,
        };
        judgement.exercised(counter, u64::from(decided && listed && tried));
    }
}

/// Drives it.
///
/// # Errors
/// When there is no target.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let instance = cx.start(json!({})).await?;
    let desk = Desk {
        client: instance.client(Credential::Operator(1)),
        service: instance.client(Credential::Service),
    };
    for id in UNKNOWN {
        for verb in ["approve", "deny"] {
            let ask = Ask::post("eva-os", &format!("/{verb}"), json!({"approval_id": id}));
            seen.unknown.push(send(&desk.client, ask).await);
        }
    }
    let markers = markers(cx.seed, "approve", VERDICTS.len());
    for (number, (marker, verdict)) in markers.into_iter().zip(VERDICTS).enumerate() {
        let args = marked(&marker);
        let body = json!({"tool_name": GUARDED_TOOL, "args": args});
        let story = Story {
            verdict: verdict.map(str::to_owned),
            marker,
            asked: send(&desk.client, Ask::post("eva-os", "/gate-tool-call", body)).await,
            before: None,
            decided: None,
            during: None,
            after: None,
            misused: Vec::new(),
        };
        seen.stories.push(story);
        let Some(story) = seen.stories.last_mut() else {
            continue;
        };
        if story.id().is_empty() {
            let line = story.asked.line();
            return Err(Undecided(format!("no approval_id in the answer to {line}")));
        }
        // The first one is looked at while its call is under way.
        desk.decide(cx, story, number == 0).await;
    }
    seen.runs = Some(runs(cx));
    Ok(())
}

/// What the tools were asked to do.
fn runs(cx: &Cx) -> Vec<(String, Value)> {
    let calls = cx.tools.calls().into_iter();
    calls
        .map(|call| {
            let tool = call.body["tool_name"].as_str().unwrap_or_default();
            (tool.to_owned(), call.body["args"].clone())
        })
        .collect()
}

struct Desk {
    client: Client,
    service: Client,
}

impl Desk {
    async fn decide(&self, cx: &Cx, story: &mut Story, held: bool) {
        story.before = Some(self.list().await);
        if let Some(verb) = &story.verdict {
            let body = json!({"approval_id": story.id()});
            let ask = Ask::post("eva-os", &format!("/{verb}"), body);
            if held {
                cx.tools.behave(Behaviour::hold(Point::Arrived));
                let decision = send(&self.client, ask);
                let (decided, ()) = tokio::join!(decision, self.meanwhile(cx, story));
                story.decided = Some(decided);
            } else {
                story.decided = Some(send(&self.client, ask).await);
            }
        }
        story.after = Some(self.list().await);
        self.misuse(story).await;
    }

    /// What is tried while the approved call is at the tool.
    async fn meanwhile(&self, cx: &Cx, story: &mut Story) {
        // Whether it got there is judged by what the tools saw.
        drop(cx.tools.held(1, ARRIVAL).await);
        // What is held stays held; what is let through by mistake is not.
        cx.tools.behave(Behaviour::default());
        story.during = Some(self.list().await);
        self.misuse(story).await;
        cx.tools.release();
    }

    async fn misuse(&self, story: &mut Story) {
        for misuse in Misuse::ALL {
            let (tool, args) = misuse.call(&story.marker);
            let decision = json!({
                "issuer": "eva-os", "id": story.id(),
                "fence_token": story.asked.answer["fence_token"],
            });
            let body = json!({"tool_name": tool, "args": args, "decision": decision});
            let ask = Ask::post("openclaw", "/execute", body);
            story.misused.push((misuse, send(&self.service, ask).await));
        }
    }

    async fn list(&self) -> Sent {
        send(&self.client, Ask::get("eva-os", "/approvals")).await
    }
}

async fn send(client: &Client, ask: Ask) -> Sent {
    Sent::new(&client.send(ask).await, client.credential())
}

#[cfg(test)]
#[path = "approve_endpoint_tests.rs"]
mod tests;
