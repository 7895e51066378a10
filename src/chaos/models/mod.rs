//! What the events of a history mean: each model turns calls into operations of one specification,
//! and operations into words. The shape of its events stands in each file.
//!
//! In every model a `fail` leaves no trace, `info` and a missing end stay open. An `ok` with an answer
//! that the model has no word for stays open too, and is counted: it says that something was
//! answered and not what became of it.

pub mod cas_register;
pub mod confirmation;
pub mod idempotency;
pub mod kv;
pub mod task;

#[cfg(test)]
mod tests;

use serde_json::Value;

pub use cas_register::CasRegister;
pub use confirmation::Confirmation;
pub use idempotency::Idempotency;
pub use kv::Kv;
pub use task::Task;

use super::history::{Call, Located, Malformed, Pairing};
use super::linear::{Operation, Spec};
use super::specs::Ttl;

/// An operation of a model.
pub type OperationOf<M> =
    Operation<<<M as Model>::Spec as Spec>::Input, <<M as Model>::Spec as Spec>::Output>;

/// What the events of a history mean.
pub trait Model: Default {
    /// What they are checked against.
    type Spec: Spec;

    /// The operations that a call is; none for one that tells nothing.
    ///
    /// # Errors
    /// When its events are not those of this model.
    fn take(&mut self, call: &Call, into: &mut Vec<OperationOf<Self>>) -> Result<(), Malformed>;

    /// The specification, when all calls were taken.
    fn spec(&self) -> Self::Spec;

    /// An operation in words: `write 3`, `read → 3`, `write 3 → ?`.
    fn words(&self, operation: &OperationOf<Self>) -> String;

    /// A key of the specification in words.
    fn key(&self, key: &str) -> String {
        key.to_owned()
    }
}

/// The lines of an operation: its invocation's, and its answer's if it had one.
pub type Lines = (u32, Option<u32>);

/// A history, translated.
pub struct Translated<M: Model> {
    /// What it was translated by.
    pub model: M,
    /// The operations, in order of invocation.
    pub operations: Vec<OperationOf<M>>,
    /// The lines of each operation.
    pub lines: Vec<Lines>,
    /// Calls in the history.
    pub calls: usize,
    /// Of these, answered ones.
    pub answered: usize,
    /// Certainly without effect.
    pub failed: usize,
    /// Answered, and nothing here says what that means.
    pub wordless: usize,
}

impl<M: Model> Translated<M> {
    /// Translates events as they are read, holding no more of them than is under way.
    ///
    /// # Errors
    /// The first line that cannot be read, cannot have happened, or is not of this model.
    pub fn read(
        events: impl IntoIterator<Item = Result<Located, Malformed>>,
    ) -> Result<Self, Malformed> {
        let mut all = Self {
            model: M::default(),
            operations: Vec::new(),
            lines: Vec::new(),
            calls: 0,
            answered: 0,
            failed: 0,
            wordless: 0,
        };
        let mut pairing = Pairing::default();
        for event in events {
            if let Some(call) = pairing.take(event?)? {
                all.take(&call)?;
            }
        }
        for call in pairing.rest() {
            all.take(&call)?;
        }
        all.sort();
        Ok(all)
    }

    fn take(&mut self, call: &Call) -> Result<(), Malformed> {
        self.calls += 1;
        if call.failed() {
            self.failed += 1;
            return Ok(());
        }
        let before = self.operations.len();
        self.model.take(call, &mut self.operations)?;
        let lines = (line(&call.invoke), call.answer().map(line));
        self.lines.resize(self.operations.len(), lines);
        if call.answer().is_some() {
            self.answered += 1;
            let new = &self.operations[before..];
            self.wordless += usize::from(new.iter().any(|one| one.answered.is_none()));
        }
        Ok(())
    }

    fn sort(&mut self) {
        let mut both: Vec<_> = std::mem::take(&mut self.operations)
            .into_iter()
            .zip(std::mem::take(&mut self.lines))
            .collect();
        // Stable: of a call that is two operations the first stays the first.
        both.sort_by_key(|(operation, lines)| (operation.invoked, lines.0));
        (self.operations, self.lines) = both.into_iter().unzip();
    }
}

fn line(located: &Located) -> u32 {
    u32::try_from(located.line).unwrap_or(u32::MAX)
}

/// One of these, or what is wrong with a call.
fn unknown_f(call: &Call, known: &str) -> Malformed {
    let event = &call.invoke.event;
    Malformed::new(
        call.invoke.line,
        format!("the operation {}", event.f),
        known,
    )
}

/// Whether it is a value without parts, and there is one.
fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Array(_) | Value::Object(_))
}

/// A scalar as people write it: a string without quotes.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A field that has to be a string.
fn string(located: &Located, field: &str, shape: &str) -> Result<String, Malformed> {
    let value = &located.event.value;
    let text = value[field].as_str().map(str::to_owned);
    text.ok_or_else(|| Malformed::new(located.line, format!("the value {value}"), shape))
}

/// The field `ttl` of an invocation: what its caller's clock said of a time to live. Who does not
/// know says nothing, and then it may have passed.
fn ttl(located: &Located) -> Result<Ttl, Malformed> {
    match &located.event.value["ttl"] {
        Value::Null => Ok(Ttl::MayHavePassed),
        Value::String(word) if word == "running" => Ok(Ttl::Running),
        Value::String(word) if word == "may_have_passed" => Ok(Ttl::MayHavePassed),
        Value::String(word) if word == "passed" => Ok(Ttl::Passed),
        other => Err(Malformed::new(
            located.line,
            format!("ttl {other}"),
            "running, may_have_passed, passed or none",
        )),
    }
}

/// `status` and `code` of an answer.
fn answer(located: &Located) -> Result<(u16, &str), Malformed> {
    let value = &located.event.value;
    let status = value["status"]
        .as_u64()
        .and_then(|status| u16::try_from(status).ok());
    let status = status.ok_or_else(|| {
        let what = format!("the value {value}");
        Malformed::new(located.line, what, "an answer with a status")
    })?;
    Ok((status, value["code"].as_str().unwrap_or_default()))
}
