//! What there has to be after a script: the state as a client sees it, each list in the order in which
//! its things were made. It knows no ids and no times, only markers.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::deed::Deed;
use super::{Look, Op};

/// A list that a target serves whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum List {
    /// `GET /tasks`: id, version and name.
    Tasks,
    /// `GET /v3/actions`: marker and state.
    Actions,
    /// `GET /v3/confirmations/pending`: marker.
    Confirmations,
    /// `GET /approvals` of eva-os: marker.
    Approvals,
}

impl List {
    /// All there are.
    pub const ALL: [Self; 4] = [
        Self::Tasks,
        Self::Actions,
        Self::Confirmations,
        Self::Approvals,
    ];

    /// Service and path.
    #[must_use]
    pub fn line(self) -> (&'static str, &'static str) {
        match self {
            Self::Tasks => ("eva-os", "/tasks"),
            Self::Actions => ("api-gateway", "/v3/actions"),
            Self::Confirmations => ("api-gateway", "/v3/confirmations/pending"),
            Self::Approvals => ("eva-os", "/approvals"),
        }
    }

    /// The rows of an answer, of each only what the oracle knows.
    #[must_use]
    pub fn rows(self, answer: &Value) -> Option<Vec<Value>> {
        let (name, keep): (_, fn(&Value) -> Value) = match self {
            Self::Tasks => ("tasks", |row| {
                json!([row["task_id"], row["version"], row["name"]])
            }),
            Self::Actions => ("actions", |row| {
                json!([row["params"]["path"], row["state"]])
            }),
            Self::Confirmations => ("confirmations", |row| json!([row["args"]["path"]])),
            Self::Approvals => ("approvals", |row| json!([row["args"]["path"]])),
        };
        Some(answer[name].as_array()?.iter().map(keep).collect())
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tasks => "the tasks",
            Self::Actions => "the actions",
            Self::Confirmations => "the open confirmations",
            Self::Approvals => "the open approvals",
        })
    }
}

/// The state.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    sessions: Vec<Session>,
    tasks: Vec<(String, u64, String)>,
    actions: Vec<(String, &'static str)>,
    confirmations: Vec<String>,
    approvals: Vec<String>,
    memories: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Session {
    marker: String,
    turns: u64,
    open: bool,
}

impl Model {
    /// What it is after `op`.
    pub(super) fn apply(&mut self, op: &Op) {
        let about = &op.about;
        match op.deed {
            Deed::OpenSession => self.sessions.push(Session {
                marker: about.clone(),
                turns: 0,
                open: true,
            }),
            Deed::CloseSession => self.session(about, |session| session.open = false),
            Deed::Turn => self.session(&op.session, |session| session.turns += 1),
            Deed::AskInTurn => {
                self.session(&op.session, |session| session.turns += 1);
                self.confirmations.push(about.clone());
            }
            Deed::ApproveConfirmation | Deed::DenyConfirmation => {
                self.confirmations.retain(|one| one != about);
            }
            Deed::PlanAction => self.actions.push((about.clone(), "pending_approval")),
            Deed::ApproveAction => self.action(about, "succeeded"),
            Deed::DenyAction => self.action(about, "denied"),
            Deed::AskEva => self.approvals.push(about.clone()),
            Deed::ApproveEva | Deed::DenyEva => self.approvals.retain(|one| one != about),
            Deed::CreateTask => self.tasks.push((about.clone(), 1, op.id.clone())),
            Deed::UpdateTask => {
                for (_, version, name) in self.tasks.iter_mut().filter(|(id, ..)| id == about) {
                    *version += 1;
                    name.clone_from(&op.id);
                }
            }
            Deed::DeleteTask => self.tasks.retain(|(id, ..)| id != about),
            Deed::Remember => self.memories.push(about.clone()),
            Deed::TakeFrame => {}
        }
    }

    fn session(&mut self, marker: &str, change: impl Fn(&mut Session)) {
        self.sessions
            .iter_mut()
            .filter(|session| session.marker == marker)
            .for_each(change);
    }

    fn action(&mut self, marker: &str, state: &'static str) {
        for (_, was) in self.actions.iter_mut().filter(|(one, _)| one == marker) {
            *was = state;
        }
    }

    /// The rows that a list has to have, in this order.
    #[must_use]
    pub(super) fn list(&self, list: List) -> Vec<Value> {
        let one = |marker: &String| json!([marker]);
        match list {
            List::Tasks => self.tasks.iter().map(|task| json!(task)).collect(),
            List::Actions => self.actions.iter().map(|action| json!(action)).collect(),
            List::Confirmations => self.confirmations.iter().map(one).collect(),
            List::Approvals => self.approvals.iter().map(one).collect(),
        }
    }

    /// Status and facts of the one session or memory with this marker, if there ever was one.
    fn one(&self, marker: &str) -> Option<(u16, Value)> {
        let mut sessions = self.sessions.iter();
        if let Some(session) = sessions.find(|session| session.marker == marker) {
            let facts = json!([session.marker, session.turns]);
            return Some(if session.open {
                (200, facts)
            } else {
                (404, json!([null, null]))
            });
        }
        let known = self.memories.iter().any(|one| one == marker);
        known.then(|| (200, json!([marker])))
    }

    /// What a look saw that this state is not.
    #[must_use]
    pub(super) fn differences(&self, look: &Look) -> Vec<String> {
        let mut found = Vec::new();
        for (list, seen) in &look.lists {
            match &seen.rows {
                Some(rows) => found.extend(difference(*list, rows, &self.list(*list))),
                None => found.push(format!("{list} got {}, expected 200 with all", seen.status)),
            }
        }
        for one in &look.ones {
            let Some((status, facts)) = self.one(&one.marker) else {
                found.push(format!("{} was never made", one.marker));
                continue;
            };
            if (one.status, &one.facts) != (status, &facts) {
                let (marker, got) = (&one.marker, format!("{} {}", one.status, one.facts));
                found.push(format!("{marker} got {got}, expected {status} {facts}"));
            }
        }
        found
    }
}

/// The first place at which two lists differ.
fn difference(list: List, got: &[Value], expected: &[Value]) -> Option<String> {
    let longest = got.len().max(expected.len());
    let at = (0..longest).find(|&at| got.get(at) != expected.get(at))?;
    let word = |row: Option<&Value>| row.map_or("nothing".to_owned(), ToString::to_string);
    let (number, first) = (at + 1, [word(got.get(at)), word(expected.get(at))]);
    let mut sorted = [got.to_vec(), expected.to_vec()];
    for rows in &mut sorted {
        rows.sort_by_key(ToString::to_string);
    }
    let order = if sorted[0] == sorted[1] {
        ", in another order"
    } else {
        ""
    };
    Some(format!(
        "{list}: got {} rows, expected {}{order}: number {number} is {}, expected {}",
        got.len(),
        expected.len(),
        first[0],
        first[1],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(deeds: &[(Deed, &str, &str)]) -> Model {
        let mut model = Model::default();
        for (number, (deed, about, session)) in deeds.iter().enumerate() {
            model.apply(&Op {
                deed: *deed,
                about: (*about).into(),
                session: (*session).into(),
                id: format!("op-{number}"),
                invoked_us: 0,
                returned_us: Some(1),
                status: 200,
                code: String::new(),
            });
        }
        model
    }

    #[test]
    fn lists_are_in_the_order_of_making_and_lose_what_is_over() {
        let model = after(&[
            (Deed::CreateTask, "t-b", ""),
            (Deed::CreateTask, "t-a", ""),
            (Deed::UpdateTask, "t-b", ""),
            (Deed::CreateTask, "t-c", ""),
            (Deed::DeleteTask, "t-a", ""),
        ]);
        let tasks = [json!(["t-b", 2, "op-2"]), json!(["t-c", 1, "op-3"])];
        assert_eq!(model.list(List::Tasks), tasks);
        let model = after(&[
            (Deed::PlanAction, "a-1", "s"),
            (Deed::PlanAction, "a-2", "s"),
            (Deed::PlanAction, "a-3", "s"),
            (Deed::DenyAction, "a-1", ""),
            (Deed::ApproveAction, "a-2", ""),
        ]);
        let actions = [
            json!(["a-1", "denied"]),
            json!(["a-2", "succeeded"]),
            json!(["a-3", "pending_approval"]),
        ];
        assert_eq!(model.list(List::Actions), actions);
    }

    #[test]
    fn a_turn_counts_and_may_ask() {
        let model = after(&[
            (Deed::OpenSession, "s-1", ""),
            (Deed::OpenSession, "s-2", ""),
            (Deed::Turn, "s-1", "s-1"),
            (Deed::AskInTurn, "c-1", "s-1"),
            (Deed::AskInTurn, "c-2", "s-1"),
            (Deed::DenyConfirmation, "c-1", ""),
            (Deed::CloseSession, "s-2", ""),
        ]);
        assert_eq!(model.one("s-1"), Some((200, json!(["s-1", 3]))));
        assert_eq!(model.one("s-2"), Some((404, json!([null, null]))));
        assert_eq!(model.one("s-3"), None);
        assert_eq!(model.list(List::Confirmations), [json!(["c-2"])]);
    }

    #[test]
    fn a_difference_says_where_and_whether_it_is_the_order() {
        let [a, b] = [json!(["a"]), json!(["b"])];
        let rows = |rows: &[&Value]| rows.iter().map(|&row| row.clone()).collect::<Vec<_>>();
        let told = |got: &[&Value], expected: &[&Value]| {
            difference(List::Approvals, &rows(got), &rows(expected))
        };
        assert_eq!(told(&[&a, &b], &[&a, &b]), None);
        let swapped = told(&[&b, &a], &[&a, &b]).unwrap();
        let words = "the open approvals: got 2 rows, expected 2, in another order: \
                     number 1 is [\"b\"], expected [\"a\"]";
        assert_eq!(swapped, words);
        let lost = told(&[&a], &[&a, &b]).unwrap();
        assert!(lost.ends_with("got 1 rows, expected 2: number 2 is nothing, expected [\"b\"]"));
    }
}
