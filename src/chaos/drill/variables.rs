//! What `${name}` in a file stands for: its configuration and its secrets, those of the environment
//! included. The environment comes as a map: who runs a drill reads it.
//!
//! As in Chaos Toolkit a text that is one `${name}` becomes the value with its type, any other text
//! stays one, `$name` counts there too, and `$$` is a dollar. A name that nobody knows is left as it
//! stands where the text is somebody else's, and is an error in what only we read.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::read::{At, Fields, Malformed};

/// Names and values of an environment.
pub type Environment = BTreeMap<String, String>;

/// Names and values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Variables(BTreeMap<String, Value>);

impl Variables {
    /// The `configuration` and the `secrets` of a file. A name of both is that of the configuration.
    pub(super) fn read(top: &Fields<'_>, environment: &Environment) -> Result<Self, Malformed> {
        let mut known = BTreeMap::new();
        if let Some(at) = top.get("configuration") {
            for (name, at) in named(&at)? {
                known.insert(name.to_owned(), configured(&at, environment)?);
            }
        }
        if let Some(at) = top.get("secrets") {
            for (_, scope) in named(&at)? {
                for (name, at) in named(&scope)? {
                    let secret = secret(&at, environment)?;
                    known.entry(name.to_owned()).or_insert(secret);
                }
            }
        }
        Ok(Self(known))
    }

    /// A value with every text in it filled in; what nobody knows is left as it stands.
    pub(super) fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(map) => {
                let filled = map.iter();
                let filled = filled.map(|(name, value)| (name.clone(), self.fill(value)));
                Value::Object(filled.collect::<Map<_, _>>())
            }
            plain => plain.clone(),
        }
    }

    /// The same where each name has to be known.
    pub(super) fn fill_all(&self, at: &At<'_>) -> Result<Value, Malformed> {
        Ok(match at.value {
            Value::Array(_) => {
                let items = at.items()?;
                let items = items.iter().map(|item| self.fill_all(item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(_) => {
                let filled = named(at)?
                    .into_iter()
                    .map(|(name, at)| Ok((name.to_owned(), self.fill_all(&at)?)));
                Value::Object(filled.collect::<Result<Map<_, _>, _>>()?)
            }
            value => match self.fill(value) {
                Value::String(text) if text.contains("${") => {
                    let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
                    let known = known.join(", ");
                    return Err(
                        at.expected(format!("${{NAME}}, NAME one of the configuration: {known}"))
                    );
                }
                filled => filled,
            },
        })
    }

    fn text(&self, text: &str) -> Value {
        let whole = text
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'));
        if let Some(value) = whole.and_then(|name| self.0.get(name)) {
            return value.clone();
        }
        let mut filled = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            filled.push_str(&rest[..at]);
            let tail = &rest[at..];
            let (name, length) = mention(tail);
            match name.and_then(|name| self.0.get(name)) {
                _ if tail.starts_with("$$") => filled.push('$'),
                Some(value) => filled.push_str(&shown(value)),
                None => filled.push_str(&tail[..length]),
            }
            rest = &tail[length..];
        }
        filled.push_str(rest);
        Value::String(filled)
    }
}

/// The name at the head of a text that begins with a dollar, and how much of the text that is.
fn mention(text: &str) -> (Option<&str>, usize) {
    let name = |text: &str| {
        let letter = |(at, one): (usize, char)| {
            !(one == '_' || one.is_ascii_alphabetic() || (at > 0 && one.is_ascii_digit()))
        };
        let end = text.char_indices().find(|one| letter(*one));
        end.map_or(text.len(), |(at, _)| at)
    };
    if text.starts_with("$$") {
        return (None, 2);
    }
    if let Some(rest) = text.strip_prefix("${") {
        let length = name(rest);
        return match length > 0 && rest[length..].starts_with('}') {
            true => (Some(&rest[..length]), length + 3),
            false => (None, 2),
        };
    }
    let length = name(&text[1..]);
    ((length > 0).then(|| &text[1..=length]), length + 1)
}

/// A value within a text, in Python's words: those files are written for it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Null => "None".to_owned(),
        other => other.to_string(),
    }
}

fn named<'a>(at: &At<'a>) -> Result<Vec<(&'a str, At<'a>)>, Malformed> {
    let map = at.value.as_object();
    let map = map.ok_or_else(|| at.expected("an object of names and values"))?;
    let names: Vec<&str> = map.keys().map(String::as_str).collect();
    Ok(at.fields(&names)?.all().collect())
}

fn configured(at: &At<'_>, environment: &Environment) -> Result<Value, Malformed> {
    match at.value["type"].as_str() {
        Some("env") => {
            let fields = at.fields(&["type", "key", "default", "env_var_type"])?;
            let key = fields.need("key")?.text()?;
            let given = environment.get(key).map(|text| Value::from(text.as_str()));
            let value = given.or_else(|| fields.get("default").map(|at| at.value.clone()));
            let value = value.ok_or_else(|| {
                at.wrong(format!(
                    "the environment has no {key}, and there is no default"
                ))
            })?;
            typed(&fields, &value)
        }
        Some("probe") => Err(at.wrong(
            "a probe is not run for a value of the configuration; name the value, or type `env`",
        )),
        _ => Ok(at.value.clone()),
    }
}

/// A value of the environment as the type that the file wants.
fn typed(fields: &Fields<'_>, value: &Value) -> Result<Value, Malformed> {
    let Some(at) = fields.get("env_var_type") else {
        return Ok(value.clone());
    };
    let text = match value {
        Value::String(text) => text.trim(),
        other => &other.to_string(),
    };
    let wrong = |what: &str| at.wrong(format!("got {text:?}, expected {what}"));
    Ok(match at.text()? {
        "str" | "string" | "bytes" => value.clone(),
        "int" | "integer" => {
            let number: Result<i64, _> = text.parse();
            number.map_err(|_| wrong("a whole number"))?.into()
        }
        "float" | "number" => {
            let number: Result<f64, _> = text.parse();
            number.map_err(|_| wrong("a number"))?.into()
        }
        "bool" => {
            let no = ["false", "0", "no"].contains(&text.to_lowercase().as_str());
            Value::Bool(!no)
        }
        "json" if text.is_empty() => value.clone(),
        "json" => serde_json::from_str(text).map_err(|_| wrong("JSON"))?,
        _ => return Err(at.expected("one of str, int, float, bytes, bool, json")),
    })
}

fn secret(at: &At<'_>, environment: &Environment) -> Result<Value, Malformed> {
    match at.value["type"].as_str() {
        Some("env") => {
            let fields = at.fields(&["type", "key"])?;
            let key = fields.need("key")?.text()?;
            let value = environment.get(key);
            let value = value.ok_or_else(|| at.wrong(format!("the environment has no {key}")))?;
            Ok(Value::from(value.as_str()))
        }
        Some("vault") => Err(at.wrong("nobody is asked for secrets: use type `env`")),
        _ => Ok(at.value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(file: &Value) -> Result<Variables, Malformed> {
        let environment = [("HOST", "h.example"), ("PORT", "80"), ("ON", "No")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let top = At::root(file).fields(&["configuration", "secrets"])?;
        Variables::read(&top, &environment.into())
    }

    fn known() -> Variables {
        let env = |key: &str, kind: &str| json!({"type": "env", "key": key, "env_var_type": kind});
        read(&json!({
            "configuration": {
                "who": "me", "n": 3, "on": env("ON", "bool"), "port": env("PORT", "int"),
                "far": {"type": "env", "key": "FAR", "default": "1.5", "env_var_type": "float"},
                "list": [1, 2],
            },
            "secrets": {"a": {"host": {"type": "env", "key": "HOST"}, "who": "nobody"}},
        }))
        .unwrap()
    }

    #[test]
    fn a_whole_mention_keeps_its_type_and_a_part_of_a_text_is_text() {
        for (text, filled) in [
            ("${n}", json!(3)),
            ("${on}", json!(false)),
            ("${port}", json!(80)),
            ("${far}", json!(1.5)),
            ("${list}", json!([1, 2])),
            ("${host}", json!("h.example")),
            ("${who}", json!("me")),
            ("$n", json!("3")),
            ("a ${who} $n/${on}", json!("a me 3/False")),
            ("${none} $none ${who", json!("${none} $none ${who")),
            ("$$who $${n} $", json!("$who ${n} $")),
            ("${a-b} ${}", json!("${a-b} ${}")),
        ] {
            assert_eq!(known().fill(&json!(text)), filled, "{text}");
        }
        assert_eq!(known().fill(&json!({"a": ["${n}"]})), json!({"a": [3]}));
    }

    #[test]
    fn what_only_we_read_has_no_name_that_nobody_knows() {
        let wrong = known().fill_all(&At::root(&json!({"a": ["${none}"]})));
        let wrong = wrong.unwrap_err();
        assert_eq!(wrong.place, "$.a[0]");
        assert!(wrong.what.contains("far, host, list, n"), "{wrong}");
        let good = known().fill_all(&At::root(&json!(["${n}", "x"]))).unwrap();
        assert_eq!(good, json!([3, "x"]));
    }

    #[test]
    fn a_value_that_cannot_be_had_is_refused_with_its_place() {
        for (file, place) in [
            (json!({"configuration": []}), "$.configuration"),
            (
                json!({"configuration": {"a": {"type": "env", "key": "NONE"}}}),
                "$.configuration.a",
            ),
            (
                json!({"configuration": {"a": {"type": "probe", "name": "p"}}}),
                "$.configuration.a",
            ),
            (
                json!({"configuration": {"a": {"type": "env", "key": "HOST", "env_var_type": "int"}}}),
                "$.configuration.a.env_var_type",
            ),
            (json!({"secrets": {"a": "b"}}), "$.secrets.a"),
            (
                json!({"secrets": {"a": {"b": {"type": "env", "key": "NONE"}}}}),
                "$.secrets.a.b",
            ),
            (
                json!({"secrets": {"a": {"b": {"type": "vault", "path": "p"}}}}),
                "$.secrets.a.b",
            ),
        ] {
            assert_eq!(read(&file).unwrap_err().place, place, "{file}");
        }
    }
}
