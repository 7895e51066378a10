//! A map of registers with read, write and compare-and-swap: the specification on which the checker
//! itself is tested, and the one to try first on a history of somebody else's.

use crate::chaos::linear::Spec;

/// What can be asked of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Read the value.
    Read,
    /// Replace the value.
    Write(i64),
    /// Replace the value if it is the first of the two.
    Cas(i64, i64),
}

/// A call on one register.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Input {
    /// Which register.
    pub key: u32,
    /// What is asked of it.
    pub call: Call,
}

/// What a register answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// The value that was read; `None` before the first write.
    Value(Option<i64>),
    /// The write took effect.
    Written,
    /// Whether the swap took effect.
    Swapped(bool),
}

/// Registers that start empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers;

impl Spec for Registers {
    type Key = u32;
    type State = Option<i64>;
    type Input = Input;
    type Output = Output;

    fn key(&self, input: &Input) -> u32 {
        input.key
    }

    fn init(&self, _key: &u32) -> Option<i64> {
        None
    }

    fn step(
        &self,
        state: &Option<i64>,
        input: &Input,
        output: Option<&Output>,
        next: &mut Vec<Option<i64>>,
    ) {
        let (answer, after) = match input.call {
            Call::Read => (Output::Value(*state), *state),
            Call::Write(value) => (Output::Written, Some(value)),
            Call::Cas(from, to) if *state == Some(from) => (Output::Swapped(true), Some(to)),
            Call::Cas(..) => (Output::Swapped(false), *state),
        };
        if output.is_none_or(|output| *output == answer) {
            next.push(after);
        }
    }

    fn observes(&self, _input: &Input, output: &Output) -> bool {
        matches!(output, Output::Value(_) | Output::Swapped(false))
    }
}
