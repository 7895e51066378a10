//! Sequential specifications: what one decision, one idempotency key, one task, one register may
//! do, as pure steps for [`super::linear::check`]. They know the contract's words and no HTTP; who
//! builds a history translates answers into outputs.

pub mod confirmation;
pub mod idempotency;
pub mod kv;
pub mod register;
pub mod task;

/// What the caller's clock says of a time to live while an operation was under way.
///
/// A specification has no clock. Whether something can have expired is decided by recorded times: an
/// operation that returned before the earliest possible expiry ran inside, one that was invoked after
/// the latest ran outside, and in between either is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ttl {
    /// It cannot have ended yet.
    Running,
    /// It may have ended.
    MayHavePassed,
    /// It has certainly ended.
    Passed,
}

impl Ttl {
    /// Whether an operation may have seen it running.
    pub fn may_run(self) -> bool {
        self != Self::Passed
    }

    /// Whether an operation may have seen it ended.
    pub fn may_have_passed(self) -> bool {
        self != Self::Running
    }
}
