//! One engine for every decision of a person: gateway confirmations, gateway actions and eva-os
//! approvals. A decision is a row; who wins it is one UPDATE; its fence comes from one durable
//! counter of its database. It does not run anything: an approved call goes through openclaw.

mod rules;
mod says;
mod settle;
mod table;

pub use rules::{Decisions, Durable};
pub use says::{ACTOR, EXECUTION, FAULT, Verb, says};
pub use settle::{Kind, approve, carry_out, deny, reissue, resumer};
pub use table::{Ask, Decision, Draft, OPEN, Verdict, find, mark, mint, pending};
