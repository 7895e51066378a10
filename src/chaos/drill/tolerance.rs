//! What a probe of a hypothesis may say, as Chaos Toolkit has it: one value, a list, a range, a
//! pattern, a path into JSON, or whatever another probe says of it.

use regex::Regex;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::read::{At, Malformed};
use super::variables::Variables;

/// Which values are tolerated.
#[derive(Clone, Debug, PartialEq)]
pub enum Tolerance {
    /// This one; a whole number is also that of an output's `status`.
    Is(Value),
    /// One of these, which an output's `status` may be; two are a range for any other output.
    Among(Vec<Value>),
    /// A number from, to, both included. This one and the next two: of this part of an output; none,
    /// or one that it has not, is the whole.
    Range(f64, f64, Option<String>),
    /// A text in which this is found.
    Pattern(Pattern, Option<String>),
    /// JSON in which this path leads to something.
    Path(Path, Option<String>),
    /// What another probe, given the value as its argument `value`, ends well on.
    Probe(Value),
}

/// A pattern; two of the same text are the same.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// A path, what has to be found by it, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    path: JsonPath,
    expect: Option<Value>,
    count: Option<u64>,
}

const TYPES: [(&str, ()); 4] = [
    ("range", ()),
    ("regex", ()),
    ("jsonpath", ()),
    ("probe", ()),
];

impl Tolerance {
    /// Reads it. `ours` says whether the probe is one of ours: of those it is known what they say, so
    /// that a list of two that is no range is a mistake.
    pub(super) fn read(at: &At<'_>, variables: &Variables, ours: bool) -> Result<Self, Malformed> {
        match at.value {
            Value::String(_) => Ok(Self::Is(variables.fill(at.value))),
            Value::Bool(_) | Value::Number(_) => Ok(Self::Is(at.value.clone())),
            Value::Array(items) if ours => list(at, items),
            Value::Array(items) => Ok(Self::Among(items.clone())),
            Value::Object(_) => object(at, variables),
            Value::Null => Err(at.expected("a value, an array or an object with a `type`")),
        }
    }

    /// Whether a value is tolerated. Of another probe nobody knows until it is asked.
    pub(super) fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Is(expected) => {
                let status = value.get("status").filter(|_| expected.is_i64());
                same(status.unwrap_or(value), expected)
            }
            Self::Among(values) => match (value.get("status"), values.as_slice()) {
                (Some(status), _) => values.iter().any(|one| same(status, one)),
                (None, [least, most]) => between(value, least, most),
                (None, _) => values.iter().any(|one| same(value, one)),
            },
            Self::Range(least, most, target) => {
                let number = match part(value, target) {
                    Value::String(text) => text.trim().parse().ok(),
                    other => other.as_f64(),
                };
                number.is_some_and(|number| (*least..=*most).contains(&number))
            }
            Self::Pattern(pattern, target) => {
                let text = part(value, target).as_str();
                text.is_some_and(|text| pattern.0.is_match(text))
            }
            Self::Path(path, target) => path.leads(part(value, target)),
            Self::Probe(_) => false,
        }
    }
}

impl Path {
    fn leads(&self, value: &Value) -> bool {
        let read = value.as_str().map(serde_json::from_str);
        let read = read.and_then(Result::ok);
        let found = self.path.query(read.as_ref().unwrap_or(value)).all();
        match (&self.expect, self.count) {
            (Some(Value::Array(all)), _) => {
                found.len() == all.len() && found.iter().zip(all).all(|(got, one)| same(got, one))
            }
            (Some(one), _) => matches!(found.as_slice(), [got] if same(got, one)),
            (None, Some(count)) => found.len() as u64 == count,
            (None, None) => !found.is_empty(),
        }
    }
}

fn part<'a>(value: &'a Value, target: &Option<String>) -> &'a Value {
    let part = target.as_ref().and_then(|target| value.get(target));
    part.unwrap_or(value)
}

/// Whether two values are equal; numbers by what they stand for.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(_), Value::Number(_)) => one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

fn between(value: &Value, least: &Value, most: &Value) -> bool {
    match (value, least, most) {
        (Value::String(text), Value::String(least), Value::String(most)) => {
            (least..=most).contains(&text)
        }
        _ => match (value.as_f64(), least.as_f64(), most.as_f64()) {
            (Some(number), Some(least), Some(most)) => (least..=most).contains(&number),
            _ => false,
        },
    }
}

/// As in Chaos Toolkit an array of two is a range, and any other a list of values.
fn list(at: &At<'_>, items: &[Value]) -> Result<Tolerance, Malformed> {
    match items {
        [least, most] => {
            let (least, most) = range(at, least, most)?;
            Ok(Tolerance::Range(least, most, None))
        }
        [] => Err(at.wrong("got an empty array, expected values or a range of two")),
        many if many.iter().all(|one| !one.is_object() && !one.is_array()) => {
            Ok(Tolerance::Among(many.to_vec()))
        }
        _ => Err(at.expected("an array of plain values")),
    }
}

fn object(at: &At<'_>, variables: &Variables) -> Result<Tolerance, Malformed> {
    let kind = at.value["type"].as_str().unwrap_or_default();
    let known: &[&str] = match kind {
        "range" => &["type", "range", "target"],
        "regex" => &["type", "pattern", "target"],
        "jsonpath" => &["type", "path", "target", "expect", "count"],
        "probe" => return Ok(Tolerance::Probe(at.value.clone())),
        _ => &["type"],
    };
    let fields = at.fields(known)?;
    fields.need("type")?.word(&TYPES)?;
    let target = match fields.get("target") {
        Some(target) => Some(target.text()?.to_owned()),
        None => None,
    };
    let text = |at: &At<'_>| match variables.fill(at.value) {
        Value::String(text) if !text.trim().is_empty() => Ok(text),
        _ => Err(at.expected("a text that is not empty")),
    };
    match kind {
        "range" => {
            let bounds = fields.need("range")?;
            match bounds.value.as_array().map(Vec::as_slice) {
                Some([least, most]) => {
                    let (least, most) = range(&bounds, least, most)?;
                    Ok(Tolerance::Range(least, most, target))
                }
                _ => Err(bounds.expected("an array of two numbers")),
            }
        }
        "regex" => {
            let at = fields.need("pattern")?;
            let pattern = Regex::new(&text(&at)?);
            let pattern = pattern.map_err(|error| at.wrong(format!("no pattern: {error}")))?;
            Ok(Tolerance::Pattern(Pattern(pattern), target))
        }
        _ => {
            let at = fields.need("path")?;
            let path = JsonPath::parse(text(&at)?.trim());
            let path = path.map_err(|error| at.wrong(format!("no path (RFC 9535): {error}")))?;
            let expect = fields.get("expect").map(|at| variables.fill(at.value));
            let count = fields.get("count");
            let count = count.map(|at| at.whole(0..=u64::MAX)).transpose()?;
            let path = Path {
                path,
                expect,
                count,
            };
            Ok(Tolerance::Path(path, target))
        }
    }
}

fn range(at: &At<'_>, least: &Value, most: &Value) -> Result<(f64, f64), Malformed> {
    match (least.as_f64(), most.as_f64()) {
        (Some(least), Some(most)) if least <= most => Ok((least, most)),
        _ => Err(at.wrong(format!(
            "got {least} to {most}, expected two numbers in order"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value, ours: bool) -> Result<Tolerance, String> {
        let read = Tolerance::read(&At::root(&value), &Variables::default(), ours);
        read.map_err(|wrong| wrong.what)
    }

    fn check(tolerance: Value, ours: bool, holds: &Value, not: &Value) {
        let read = read(tolerance.clone(), ours).unwrap();
        assert!(read.holds(holds), "{tolerance} {holds}");
        assert!(!read.holds(not), "{tolerance} {not}");
        assert!(!read.holds(&Value::Null), "{tolerance}");
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
                json!("0.6"),
            ),
        ] {
            check(tolerance, true, &holds, &not);
        }
    }

    #[test]
    fn a_number_or_a_list_may_mean_the_status_of_an_output() {
        let of = |status| json!({"status": status, "stdout": "7", "body": {"a": [1, 2]}});
        check(json!(200), false, &of(200), &of(503));
        check(json!([404, 200]), false, &of(200), &of(300));
        check(json!([200, 201, 204]), false, &of(204), &of(202));
        check(json!(["a", "c"]), false, &json!("b"), &json!("d"));
        let range = json!({"type": "range", "range": [5, 9], "target": "stdout"});
        check(range, false, &of(0), &json!({"stdout": "10"}));
    }

    #[test]
    fn patterns_are_searched_for_and_paths_lead_to_what_is_expected() {
        let of = |text: &str| json!({"status": 0, "stdout": text});
        let regex = json!({"type": "regex", "pattern": "re[ad]+y", "target": "stdout"});
        check(regex, false, &of("is ready."), &of("no"));
        let path = |more: Value| {
            let mut path = json!({"type": "jsonpath", "path": "$.a[*].b", "target": "stdout"});
            path.as_object_mut()
                .unwrap()
                .append(&mut more.as_object().unwrap().clone());
            path
        };
        let (one, two) = (
            of(r#"{"a": [{"b": 1}]}"#),
            of(r#"{"a": [{"b": 1}, {"b": 2}]}"#),
        );
        check(path(json!({})), false, &one, &of(r#"{"a": []}"#));
        check(path(json!({"count": 2})), false, &two, &one);
        check(path(json!({"expect": 1})), false, &one, &two);
        check(path(json!({"expect": [1, 2]})), false, &two, &one);
    }

    #[test]
    fn what_is_no_tolerance_is_refused() {
        for bad in [
            json!(null),
            json!([]),
            json!([3, 1]),
            json!(["a", "b"]),
            json!([1, 2, [3]]),
            json!({"type": "regex", "pattern": "x("}),
            json!({"type": "regex"}),
            json!({"type": "jsonpath", "path": "a["}),
            json!({"type": "jsonpath", "path": "$.a", "count": -1}),
            json!({"type": "wish"}),
            json!({"type": "range"}),
            json!({"type": "range", "range": [1]}),
        ] {
            assert!(read(bad.clone(), true).is_err(), "{bad}");
        }
    }
}
