//! A key-value store, as Porcupine's histories have it.
//!
//! | `f`      | `value` of the invocation | `value` of the `ok`         |
//! |----------|---------------------------|-----------------------------|
//! | `get`    | `[key, null]`             | `[key, text]`               |
//! | `put`    | `[key, text]`             | not looked at               |
//! | `append` | `[key, text]`             | not looked at               |
//!
//! In EDN `:key` and `:value` may stand apart. Keys and texts are scalars; `null` that is read is the
//! empty text, which every key holds at first.

use serde_json::Value;

use super::{Model, OperationOf, is_scalar, text, unknown_f};
use crate::chaos::history::{Call, Located, Malformed};
use crate::chaos::linear::Operation;
use crate::chaos::specs::kv::{Call as Asked, Input, Output, Store};

/// A store of texts.
#[derive(Debug, Default)]
pub struct Kv;

const KNOWN: &str = "get, put or append";

/// A key and what stands beside it.
fn pair(located: &Located) -> Result<(&Value, &Value), Malformed> {
    let event = &located.event;
    match event.value.as_array().map(Vec::as_slice) {
        Some([key, value]) if is_scalar(key) => Ok((key, value)),
        _ => {
            let what = format!("{} {}", event.f, event.value);
            Err(Malformed::new(located.line, what, "[key, value]"))
        }
    }
}

/// A text, or what is wrong with it.
fn scalar(located: &Located, value: &Value) -> Result<String, Malformed> {
    if is_scalar(value) {
        return Ok(text(value));
    }
    let what = format!("{} {}", located.event.f, located.event.value);
    Err(Malformed::new(located.line, what, "[key, text]"))
}

impl Model for Kv {
    type Spec = Store;

    fn take(&mut self, call: &Call, into: &mut Vec<OperationOf<Self>>) -> Result<(), Malformed> {
        let invoke = &call.invoke;
        let (key, value) = pair(invoke)?;
        let asked = match invoke.event.f.as_str() {
            "get" if value.is_null() => Asked::Get,
            "get" => {
                let what = format!("get {}", invoke.event.value);
                return Err(Malformed::new(invoke.line, what, "[key, null]"));
            }
            "put" => Asked::Put(scalar(invoke, value)?),
            "append" => Asked::Append(scalar(invoke, value)?),
            _ => return Err(unknown_f(call, KNOWN)),
        };
        let answered = match (call.answer(), &asked) {
            // A get without an answer says nothing and does nothing.
            (None, Asked::Get) => return Ok(()),
            (None, _) => None,
            (Some(end), Asked::Get) => {
                let (own, value) = pair(end)?;
                if own != key {
                    let expected = format!("the key {key}");
                    return Err(Malformed::new(end.line, format!("get {own}"), expected));
                }
                let read = if value.is_null() {
                    String::new()
                } else {
                    scalar(end, value)?
                };
                Some((end.at, Output::Text(read)))
            }
            (Some(end), _) => Some((end.at, Output::Done)),
        };
        let key = text(key);
        into.push(Operation {
            input: Input { key, call: asked },
            invoked: invoke.at,
            answered,
        });
        Ok(())
    }

    fn spec(&self) -> Store {
        Store
    }

    fn words(&self, operation: &OperationOf<Self>) -> String {
        let asked = match &operation.input.call {
            Asked::Get => "get".to_owned(),
            Asked::Put(text) => format!("put {text:?}"),
            Asked::Append(text) => format!("append {text:?}"),
        };
        match operation.output() {
            None => format!("{asked} → ?"),
            Some(Output::Text(text)) => format!("{asked} → {text:?}"),
            Some(Output::Done) => asked,
        }
    }
}
