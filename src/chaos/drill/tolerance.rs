//! What a probe of a hypothesis may say: one value, one of several, a range.

use serde_json::Value;

use super::read::{At, Malformed};

/// Which values are tolerated.
#[derive(Clone, Debug, PartialEq)]
pub enum Tolerance {
    /// This one.
    Is(Value),
    /// One of these.
    OneOf(Vec<Value>),
    /// A number from, to, both included.
    Range(f64, f64),
}

impl Tolerance {
    /// Reads it. As in Chaos Toolkit an array of two is a range, and any other a list of values.
    pub(super) fn read(at: &At<'_>) -> Result<Self, Malformed> {
        match at.value {
            Value::Bool(_) | Value::String(_) | Value::Number(_) => Ok(Self::Is(at.value.clone())),
            Value::Array(items) => match items.as_slice() {
                [least, most] => range(at, least, most),
                [] => Err(at.wrong("got an empty array, expected values or a range of two")),
                many if many.iter().all(|one| !one.is_object() && !one.is_array()) => {
                    Ok(Self::OneOf(many.to_vec()))
                }
                _ => Err(at.expected("an array of plain values")),
            },
            Value::Object(_) => {
                let known = at.fields(&["type", "range"])?;
                known.need("type")?.word(&[("range", ())])?;
                let bounds = known.need("range")?;
                match bounds.value.as_array().map(Vec::as_slice) {
                    Some([least, most]) => range(&bounds, least, most),
                    _ => Err(bounds.expected("an array of two numbers")),
                }
            }
            Value::Null => Err(at.expected("a value, an array or a range")),
        }
    }

    /// Whether a value is tolerated.
    pub(super) fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Is(expected) => value == expected,
            Self::OneOf(values) => values.contains(value),
            Self::Range(least, most) => value
                .as_f64()
                .is_some_and(|number| (*least..=*most).contains(&number)),
        }
    }
}

fn range(at: &At<'_>, least: &Value, most: &Value) -> Result<Tolerance, Malformed> {
    match (least.as_f64(), most.as_f64()) {
        (Some(least), Some(most)) if least <= most => Ok(Tolerance::Range(least, most)),
        _ => Err(at.wrong(format!(
            "got {least} to {most}, expected two numbers in order"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Tolerance, String> {
        Tolerance::read(&At::root(&value)).map_err(|wrong| wrong.what)
    }

    #[test]
    fn values_lists_and_ranges_hold_for_what_they_say_and_nothing_else() {
        for (tolerance, holds, not) in [
            (json!(true), json!(true), json!("true")),
            (json!("normal"), json!("normal"), json!("degraded")),
            (json!(0), json!(0), json!(1)),
            (json!([1, 3]), json!(3), json!(4)),
            (json!([1, 2, 4]), json!(4), json!(3)),
            (
                json!({"type": "range", "range": [0, 0.5]}),
                json!(0.5),
                json!("0"),
            ),
        ] {
            let read = read(tolerance.clone()).unwrap();
            assert!(read.holds(&holds), "{tolerance} {holds}");
            assert!(!read.holds(&not), "{tolerance} {not}");
            assert!(!read.holds(&Value::Null), "{tolerance}");
        }
    }

    #[test]
    fn what_is_no_tolerance_is_refused() {
        for bad in [
            json!(null),
            json!([]),
            json!([3, 1]),
            json!(["a", "b"]),
            json!([1, 2, [3]]),
            json!({"type": "regex", "pattern": "x"}),
            json!({"type": "range"}),
            json!({"type": "range", "range": [1]}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
