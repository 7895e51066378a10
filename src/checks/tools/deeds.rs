//! Tools that do what they say, and tools that lie: what a double really does about a call, and how a
//! call about it is planned, approved and looked at. It judges nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checks::{Cx, Sent};
use crate::target::{Ask, Client};

/// No process has such an id: it is past what Linux gives out at most.
const NO_PROCESS: u32 = 4_194_305;

/// What a tool really does, whatever it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// The file is written.
    FileWritten,
    /// No file is written.
    FileMissing,
    /// A file without content is written.
    FileEmpty,
    /// The command ends with 0.
    Exit0,
    /// It ends with 1.
    Exit1,
    /// The process lives.
    ProcessAlive,
    /// It does not.
    ProcessDead,
    /// The clipboard has the text.
    ClipboardSame,
    /// It has something else.
    ClipboardOther,
}

impl Deed {
    /// Every deed.
    pub const ALL: [Self; 9] = [
        Self::FileWritten,
        Self::FileMissing,
        Self::FileEmpty,
        Self::Exit0,
        Self::Exit1,
        Self::ProcessAlive,
        Self::ProcessDead,
        Self::ClipboardOther,
        Self::ClipboardSame,
    ];

    /// Whether it is what the tool says.
    #[must_use]
    pub fn honest(self) -> bool {
        matches!(
            self,
            Self::FileWritten | Self::Exit0 | Self::ProcessAlive | Self::ClipboardSame
        )
    }

    /// The tool.
    #[must_use]
    pub fn tool(self) -> &'static str {
        match self {
            Self::FileWritten | Self::FileMissing | Self::FileEmpty => "file.write",
            Self::Exit0 | Self::Exit1 => "shell.run",
            Self::ProcessAlive | Self::ProcessDead => "process.start",
            Self::ClipboardSame | Self::ClipboardOther => "clipboard.write",
        }
    }

    /// The arguments of a call; the marker is in them.
    fn args(self, marker: &str, world: &World) -> Value {
        match self.tool() {
            "file.write" => json!({"path": world.dir.join(marker), "text": marker}),
            "clipboard.write" => json!({"text": marker}),
            _ => json!({"command": format!("echo {marker}")}),
        }
    }

    /// Does it, and says what a tool that succeeded would.
    fn done(self, marker: &str, world: &World) -> Value {
        let write = |path: &Path, text: &str| {
            // A file that cannot be written shows as one: the honest run then fails.
            drop(std::fs::write(path, text));
        };
        let file = world.dir.join(marker);
        match self {
            Self::FileWritten => write(&file, marker),
            Self::FileEmpty => write(&file, ""),
            Self::ClipboardSame => write(&world.clipboard, marker),
            Self::ClipboardOther => write(&world.clipboard, "something else"),
            _ => {}
        }
        match self {
            Self::Exit0 => json!({"exit_code": 0}),
            Self::Exit1 => json!({"exit_code": 1}),
            Self::ProcessAlive => json!({"pid": std::process::id()}),
            Self::ProcessDead => json!({"pid": NO_PROCESS}),
            _ => json!({"bytes": marker.len()}),
        }
    }
}

/// Where deeds are done, and which one a call gets.
#[derive(Clone)]
pub struct World {
    dir: PathBuf,
    clipboard: PathBuf,
    deeds: BTreeMap<String, Deed>,
}

impl World {
    /// In the folder of this drive; the tools do these deeds from now on, each for its marker, and
    /// say `more` beside what they would say.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn open(
        cx: &Cx,
        deeds: impl IntoIterator<Item = (String, Deed)>,
        more: Value,
    ) -> std::io::Result<Self> {
        let dir = cx.dir.join("world");
        std::fs::create_dir_all(&dir)?;
        let world = Self {
            clipboard: dir.join("clipboard"),
            dir,
            deeds: deeds.into_iter().collect(),
        };
        let own = world.clone();
        cx.tools.script(move |request| {
            let args = request["args"].to_string();
            let mut told = own
                .deeds
                .iter()
                .filter(|(marker, _)| args.contains(*marker));
            let mut result = told
                .next()
                .map_or(json!({}), |(marker, deed)| deed.done(marker, &own));
            crate::base::json::merge(&mut result, &more);
            json!({"ok": true, "result": result})
        });
        Ok(world)
    }

    /// The config of a target that looks at what these tools did.
    #[must_use]
    pub fn config(&self) -> Value {
        json!({"tools": {
            "verify": {
                "file.write": "file", "shell.run": "exit_code", "process.start": "process",
                "clipboard.write": "clipboard",
            },
            "clipboard_file": self.clipboard,
        }})
    }

    /// The arguments of the call that has this deed for its marker.
    #[must_use]
    pub fn args(&self, marker: &str) -> Value {
        self.deeds
            .get(marker)
            .map_or(Value::Null, |deed| deed.args(marker, self))
    }
}

/// An action, from its plan to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Action {
    /// What its tool really did.
    pub deed: Deed,
    /// Its plan.
    pub planned: Sent,
    /// Its approval, whose answer says what became of it.
    pub approved: Sent,
    /// The action afterwards.
    pub looked: Sent,
    /// Calls of its tool.
    pub runs: u64,
}

impl Action {
    /// Plans it, has it approved, and looks at it.
    pub async fn act(cx: &Cx, client: &Client, session: &str, about: (Deed, Value)) -> Self {
        let (deed, args) = about;
        let body = json!({"intent": deed.tool(), "params": args, "session_id": session});
        let planned = send(client, Ask::post("api-gateway", "/v3/actions/plan", body)).await;
        let id = planned.answer["action"]["action_id"]
            .as_str()
            .unwrap_or("act_none");
        let path = format!("/v3/actions/{id}");
        let approve = Ask::post("api-gateway", &format!("{path}/approve"), json!({}));
        let approved = send(client, approve).await;
        let looked = send(client, Ask::get("api-gateway", &path)).await;
        let mine = |call: &crate::doubles::Call| call.body["args"] == args;
        let runs = cx.tools.calls().iter().filter(|call| mine(call)).count() as u64;
        Self {
            deed,
            planned,
            approved,
            looked,
            runs,
        }
    }

    /// What is wrong with how it ended; nothing when it ended as its tool's deed asks for.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        let expected = if self.deed.honest() {
            "succeeded"
        } else {
            "failed"
        };
        let mut found = Vec::new();
        let mut expect = |holds: bool, text: String| {
            if !holds {
                found.push(text);
            }
        };
        let (deed, runs) = (self.deed, self.runs);
        expect(
            runs == 1,
            format!("{deed:?}: its tool ran {runs} times, expected 1"),
        );
        let said = &self.approved.answer["execution"]["status"];
        let line = self.approved.line();
        expect(
            self.approved.status == 200 && said == expected,
            format!("{deed:?}: {line}: got {said}, expected 200 and {expected}"),
        );
        let state = &self.looked.answer["action"]["state"];
        let line = self.looked.line();
        expect(
            self.looked.ok() && state == expected,
            format!("{deed:?}: {line}: got the state {state}, expected {expected}"),
        );
        let kept = &self.looked.answer["action"]["execution"]["status"];
        expect(
            kept == state,
            format!("{deed:?}: {line}: got the execution {kept} in the state {state}"),
        );
        found
    }

    /// Whether every request of it was answered, so that it can be judged.
    #[must_use]
    pub fn told(&self) -> bool {
        self.planned.ok() && self.approved.answered() && self.looked.answered()
    }
}

/// A script for the model: it wants what it is told, in JSON.
#[must_use]
pub fn as_told(request: &Value) -> Value {
    let heard = request["input_text"].as_str().unwrap_or_default();
    let calls: Value = serde_json::from_str(heard).unwrap_or_default();
    json!({"text": "As you wish.", "tool_calls": calls})
}

/// Sends under the client's credential.
pub async fn send(client: &Client, ask: Ask) -> Sent {
    Sent::new(&client.send(ask).await, client.credential())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::checks::by_hand;

    pub(crate) fn sent(status: u16, answer: Value) -> Sent {
        by_hand::sent("api-gateway", "POST", "/v3/actions", status, answer)
    }

    /// An action that ended as it should.
    pub(crate) fn ended(deed: Deed) -> Action {
        let status = if deed.honest() { "succeeded" } else { "failed" };
        let execution = json!({"status": status});
        Action {
            deed,
            planned: sent(201, json!({"action": {"action_id": "act_1"}})),
            approved: sent(200, json!({"execution": execution})),
            looked: sent(
                200,
                json!({"action": {"state": status, "execution": execution}}),
            ),
            runs: 1,
        }
    }

    #[test]
    fn an_action_that_ended_as_its_deed_asks_for_is_not_wrong_and_any_other_is() {
        for deed in Deed::ALL {
            let good = ended(deed);
            assert_eq!(good.wrong(), [""; 0]);
            assert!(good.told());
            let other = if deed.honest() { "failed" } else { "succeeded" };
            let mut bad = ended(deed);
            bad.approved.answer["execution"]["status"] = json!(other);
            assert_eq!(bad.wrong().len(), 1, "{deed:?}");
            let mut bad = ended(deed);
            bad.looked.answer["action"]["state"] = json!(other);
            assert_eq!(bad.wrong().len(), 2, "{deed:?}");
            let mut bad = ended(deed);
            bad.looked.answer["action"]["state"] = json!("executing");
            assert_eq!(bad.wrong().len(), 2, "{deed:?}");
            for runs in [0, 2] {
                let mut bad = ended(deed);
                bad.runs = runs;
                assert!(bad.wrong()[0].contains("expected 1"));
            }
        }
    }
}
