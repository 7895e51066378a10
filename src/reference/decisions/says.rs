//! What the decision routes of all three kinds read and give.

use crate::reference::web::{Field, Longest, Most, Row, Shape};

use super::settle::REASON_CHARS;

/// Somebody, as `decided_by` names them.
pub const ACTOR: &[Field] = &[
    Field::text("actor_id"),
    Field::text("actor_role"),
    Field::text("via").or_null(),
];

/// How an approved call went.
pub const EXECUTION: &[Field] = &[
    Field::text("operation_id"),
    Field::word("status", &["succeeded", "failed"]),
    Field::new("result", Shape::Any),
    Field::object("error", FAULT).or_null(),
];

/// What a tool said went wrong.
pub const FAULT: &[Field] = &[Field::text("code"), Field::text("message")];

const DECIDED: &[Field] = &[
    Field::word("verdict", &["approved", "denied"]),
    Field::object("decided_by", ACTOR),
    Field::count("fence_token"),
    Field::object("execution", EXECUTION).or_null(),
];

const REISSUED: &[Field] = &[
    Field::count("fence_token"),
    Field::number("remaining_seconds"),
];

const FENCE: Field = Field::new("fence_token", Shape::Integer(i64::MIN, Most::Open)).optional();

/// What a decision route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// The call runs, once.
    Approve,
    /// The call never runs.
    Deny,
    /// The decision gets a new fence and a new time to live.
    Reissue,
}

/// Says of a row that it decides: `named` is read from the body beside the rest, `told` is in the
/// answer beside the rest.
pub fn says(row: Row, verb: Verb, named: &[Field], told: &[Field]) -> Row {
    let reason = Field::new("reason", Shape::Text(Longest::Chars(REASON_CHARS))).optional();
    let row = row.refuses(&[404]);
    match verb {
        Verb::Approve => row
            .about("Approves: the call runs once; every loser is told the winner's verdict.")
            .takes(&[named, &[FENCE]].concat())
            .gives(200, &[told, DECIDED].concat()),
        Verb::Deny => row
            .about("Denies: the call never runs.")
            .takes(&[named, &[FENCE, reason]].concat())
            .gives(200, &[told, DECIDED].concat()),
        Verb::Reissue => row
            .about("Gives a pending or expired decision a new fence and a new time to live.")
            .takes(&[named, &[FENCE]].concat())
            .gives(200, &[told, REISSUED].concat()),
    }
}
