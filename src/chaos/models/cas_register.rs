//! Registers with read, write and compare-and-swap, as Jepsen's histories have them.
//!
//! | `f`     | `value` of the invocation  | `value` of the `ok` |
//! |---------|----------------------------|---------------------|
//! | `read`  | `null`                     | what was read       |
//! | `write` | what is written            | not looked at       |
//! | `cas`   | `[from, to]`               | not looked at       |
//!
//! Values are numbers, strings or booleans; a register that was not written yet reads as `null`. A
//! swap that did not happen ends in `fail`. Of many registers each value is a pair of its key and
//! the value above, as Jepsen's independent keys are: `["x", null]`, `["x", 3]`, `["x", [3, 4]]`.

use std::collections::HashMap;

use serde_json::Value;

use super::{Model, OperationOf, is_scalar, text, unknown_f};
use crate::chaos::history::{Call, Located, Malformed};
use crate::chaos::linear::Operation;
use crate::chaos::specs::register::{Call as Asked, Input, Output, Registers};

/// Texts by number, and the other way round.
#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<String, u32>,
    texts: Vec<String>,
}

impl Names {
    fn number(&mut self, text: String) -> u32 {
        let next = self.texts.len() as u32;
        *self.numbers.entry(text).or_insert_with_key(|text| {
            self.texts.push(text.clone());
            next
        })
    }

    fn text(&self, number: u32) -> &str {
        &self.texts[number as usize]
    }
}

/// Registers by key, or one alone.
#[derive(Debug, Default)]
pub struct CasRegister {
    keys: Names,
    /// Values as JSON: 1 and "1" are two.
    values: Names,
    /// Whether the operations name keys, and the line of the first.
    keyed: Option<(bool, usize)>,
}

const KNOWN: &str = "read, write or cas";

impl CasRegister {
    fn value(&mut self, located: &Located, value: &Value) -> Result<i64, Malformed> {
        if is_scalar(value) {
            return Ok(i64::from(self.values.number(value.to_string())));
        }
        let what = format!("{} {value}", located.event.f);
        let expected = "a number, a string or a boolean";
        Err(Malformed::new(located.line, what, expected))
    }

    /// The key of an invocation, and the value without it.
    fn split<'a>(&mut self, call: &'a Call) -> Result<(Option<&'a Value>, &'a Value), Malformed> {
        let (event, line) = (&call.invoke.event, call.invoke.line);
        let value = &event.value;
        let pair = value.as_array().filter(|pair| pair.len() == 2);
        let pair = match (event.f.as_str(), pair) {
            ("cas", Some(pair)) => pair[1].is_array().then_some(pair),
            (_, pair) => pair,
        };
        let (was_keyed, first) = *self.keyed.get_or_insert((pair.is_some(), line));
        if was_keyed != pair.is_some() {
            let like = if was_keyed {
                "a pair with a key"
            } else {
                "no key"
            };
            let what = format!("{} {value}", event.f);
            return Err(Malformed::new(
                line,
                what,
                format!("{like}, as on line {first}"),
            ));
        }
        Ok(match pair {
            Some(pair) => (Some(&pair[0]), &pair[1]),
            None => (None, value),
        })
    }

    fn asked(&mut self, call: &Call, value: &Value) -> Result<Asked, Malformed> {
        let invoke = &call.invoke;
        let wrong = |expected: &str| {
            let what = format!("{} {value}", invoke.event.f);
            Err(Malformed::new(invoke.line, what, expected))
        };
        match (invoke.event.f.as_str(), value) {
            ("read", Value::Null) => Ok(Asked::Read),
            ("read", _) => wrong("no value yet"),
            ("write", value) => Ok(Asked::Write(self.value(invoke, value)?)),
            ("cas", Value::Array(pair)) if pair.len() == 2 => {
                let from = self.value(invoke, &pair[0])?;
                Ok(Asked::Cas(from, self.value(invoke, &pair[1])?))
            }
            ("cas", _) => wrong("[from, to]"),
            _ => Err(unknown_f(call, KNOWN)),
        }
    }

    /// What a read was answered.
    fn told(&mut self, end: &Located, key: Option<&Value>) -> Result<Output, Malformed> {
        let told = &end.event.value;
        let value = match (key, told.as_array().map(Vec::as_slice)) {
            (None, _) => told,
            (Some(key), Some([own, value])) if own == key => value,
            (Some(key), _) => {
                let expected = format!("[{key}, what was read]");
                return Err(Malformed::new(end.line, format!("read {told}"), expected));
            }
        };
        let read = if value.is_null() {
            None
        } else {
            Some(self.value(end, value)?)
        };
        Ok(Output::Value(read))
    }

    fn show(&self, value: i64) -> String {
        let number = u32::try_from(value).expect("values are numbered from 0");
        self.values.text(number).to_owned()
    }
}

impl Model for CasRegister {
    type Spec = Registers;

    fn take(&mut self, call: &Call, into: &mut Vec<OperationOf<Self>>) -> Result<(), Malformed> {
        let (key, value) = self.split(call)?;
        let asked = self.asked(call, value)?;
        let output = match (call.answer(), asked) {
            (None, _) => None,
            (Some(end), Asked::Read) => Some((end.at, self.told(end, key)?)),
            (Some(end), Asked::Write(_)) => Some((end.at, Output::Written)),
            (Some(end), Asked::Cas(..)) => Some((end.at, Output::Swapped(true))),
        };
        // A read without an answer says nothing and does nothing.
        if output.is_none() && asked == Asked::Read {
            return Ok(());
        }
        into.push(Operation {
            input: Input {
                key: self.keys.number(key.map(text).unwrap_or_default()),
                call: asked,
            },
            invoked: call.invoke.at,
            answered: output,
        });
        Ok(())
    }

    fn spec(&self) -> Registers {
        Registers
    }

    fn words(&self, operation: &OperationOf<Self>) -> String {
        let asked = match operation.input.call {
            Asked::Read => "read".to_owned(),
            Asked::Write(value) => format!("write {}", self.show(value)),
            Asked::Cas(from, to) => format!("cas {} to {}", self.show(from), self.show(to)),
        };
        match operation.output() {
            None => format!("{asked} → ?"),
            Some(Output::Value(Some(value))) => format!("{asked} → {}", self.show(*value)),
            Some(Output::Value(None)) => format!("{asked} → nothing"),
            Some(Output::Swapped(false)) => format!("{asked} → not swapped"),
            Some(Output::Written | Output::Swapped(true)) => asked,
        }
    }

    fn key(&self, key: &str) -> String {
        let name = key.parse().map(|number| self.keys.text(number));
        match name {
            Ok("") | Err(_) => "the register".to_owned(),
            Ok(name) => name.to_owned(),
        }
    }
}
