//! Jepsen's EDN: `{:process 0, :type :invoke, :f :read, :value nil, :time 123}`, one map a line or all
//! of them in one vector, with or without the tag of Jepsen's record.
//!
//! Values become JSON: keywords are strings that keep their colon, maps are objects. What JSON cannot
//! hold (sets, ratios, other tags) is refused and not approximated. Of other fields `:key` is read,
//! which Porcupine's histories have, and `:correlation-id`, which is written here; the rest is
//! Jepsen's own. The nemesis's acts are no operations and are passed over.
//!
//! Events are ordered as they stand: that is Jepsen's order. `:time` is in nanoseconds there and in
//! microseconds here, so a written history does not have the last three digits of the one that was
//! read.

use clojure_reader::edn::{self, Edn};
use serde_json::{Map, Number, Value, json};

use super::malformed::excerpt;
use super::{Event, Kind, Located, Malformed};

/// Whose acts are no operations.
pub(super) const NEMESIS: &str = ":nemesis";

/// How Jepsen prints an operation when it says that it is one.
const RECORD: &str = "jepsen.history.Op";
/// And a pair of a key and a value.
const TUPLE: &str = "jepsen.independent/tuple";

/// What an event should be.
const SHAPE: &str = "a map with :process (a number or :nemesis), :type (:invoke, :ok, :fail, :info), \
                     :f and :value";

/// A form of EDN.
pub(super) enum Form {
    /// One that JSON can say.
    Value(Value),
    /// One that it cannot.
    Foreign,
}

/// The first form of a text; none when there is none.
///
/// # Errors
/// What is wrong with it.
pub(super) fn first(text: &str) -> Result<Option<Form>, String> {
    let (form, _) = read(text)?;
    Ok(form.map(|form| value(&form).map_or(Form::Foreign, Form::Value)))
}

/// Reads the events of a text one by one.
pub(super) struct Reader {
    text: String,
    /// Where the next form begins, and on which line.
    at: usize,
    line: usize,
    in_vector: bool,
    /// Whether something was read.
    began: bool,
    /// How many events were read.
    number: u64,
    /// Nothing is read after an error.
    failed: bool,
}

impl Reader {
    pub(super) fn new(text: String) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            in_vector: false,
            began: false,
            number: 0,
            failed: false,
        }
    }

    /// The next event, unless there is none.
    pub(super) fn next_event(&mut self) -> Option<Result<Located, Malformed>> {
        if self.failed {
            return None;
        }
        let next = self.event().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }

    fn event(&mut self) -> Result<Option<Located>, Malformed> {
        loop {
            self.skip_blanks();
            let rest = &self.text[self.at..];
            if !self.began && rest.starts_with('[') {
                (self.in_vector, self.began) = (true, true);
                self.advance(1);
                continue;
            }
            self.began = true;
            if rest.is_empty() {
                let closed = !self.in_vector;
                return if closed {
                    Ok(None)
                } else {
                    Err(Malformed::new(self.line, "the end", "`]`"))
                };
            }
            if self.in_vector && rest.starts_with(']') {
                self.advance(1);
                self.skip_blanks();
                let rest = &self.text[self.at..];
                if rest.is_empty() {
                    self.in_vector = false;
                    return Ok(None);
                }
                return Err(Malformed::new(
                    self.line,
                    excerpt(first_line(rest)),
                    "the end",
                ));
            }
            let line = self.line;
            let (form, after) = read(rest).map_err(|why| Malformed::new(line, why, SHAPE))?;
            let read = rest.len() - after.len();
            let event = form.map(|form| event(line, self.number, &form));
            let event = event.transpose()?;
            self.advance(read);
            if let Some(event) = event.flatten() {
                self.number += 1;
                return Ok(Some(event));
            }
        }
    }

    fn advance(&mut self, bytes: usize) {
        let over = &self.text[self.at..self.at + bytes];
        self.line += over.matches('\n').count();
        self.at += bytes;
    }

    /// Passes blanks, which a comma is too, and comments.
    fn skip_blanks(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let blank = |letter: char| letter.is_whitespace() || letter == ',';
            let trimmed = rest.trim_start_matches(blank);
            let blanks = rest.len() - trimmed.len();
            if !trimmed.starts_with(';') {
                self.advance(blanks);
                return;
            }
            let comment = trimmed.find('\n').unwrap_or(trimmed.len());
            self.advance(blanks + comment);
        }
    }
}

/// The first form of a text and what follows it.
fn read(text: &str) -> Result<(Option<Edn<'_>>, &str), String> {
    if text.trim().is_empty() {
        return Ok((None, ""));
    }
    match edn::read(text) {
        Ok((form, rest)) => Ok((Some(form), rest)),
        Err(error) => Err(format!("{}: {:?}", excerpt(first_line(text)), error.code)),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The event that a form is; none for one of the nemesis.
fn event(line: usize, number: u64, form: &Edn<'_>) -> Result<Option<Located>, Malformed> {
    let wrong = |what: String| Malformed::new(line, what, SHAPE);
    let map = match form {
        Edn::Tagged(tag, inner) if tag == RECORD => inner,
        form => form,
    };
    let Edn::Map(fields) = map else {
        return Err(wrong(excerpt(&form.to_string())));
    };
    let field = |name: &'static str| fields.get(&Edn::key(name));
    let keyword = |name: &'static str| match field(name) {
        Some(Edn::Key(word)) => Ok(word.to_string()),
        Some(other) => Err(wrong(format!(":{name} {other}"))),
        None => Err(wrong(format!(
            "no :{name} in {}",
            excerpt(&map.to_string())
        ))),
    };
    let process = match field("process") {
        Some(Edn::Key(word)) if format!(":{word}") == NEMESIS => return Ok(None),
        Some(Edn::Int(process)) => u64::try_from(*process).ok(),
        _ => None,
    };
    let process = process.ok_or_else(|| match field("process") {
        Some(process) => wrong(format!(":process {process}")),
        None => wrong(format!("no :process in {}", excerpt(&map.to_string()))),
    })?;
    let kind = keyword("type")?;
    let kind = Kind::named(&kind).ok_or_else(|| wrong(format!(":type :{kind}")))?;
    let time_us = match field("time") {
        None => Some(number),
        Some(Edn::Int(time)) => u64::try_from(*time).ok().map(|time_ns| time_ns / 1_000),
        Some(_) => None,
    };
    let time_us = time_us.ok_or_else(|| wrong("a :time that is no number from 0".to_owned()))?;
    let json = |name: &'static str| match field(name) {
        None => Ok(None),
        Some(form) => match value(form) {
            Some(value) => Ok(Some(value)),
            None => Err(wrong(format!(":{name} {form}, which JSON cannot hold"))),
        },
    };
    let told = json("value")?.unwrap_or_default();
    let event = Event {
        process,
        kind,
        f: keyword("f")?,
        value: match json("key")? {
            Some(key) => json!([key, told]),
            None => told,
        },
        time_us,
        correlation_id: match field("correlation-id") {
            Some(Edn::Str(id)) => Some(id.to_string()),
            _ => None,
        },
    };
    Ok(Some(Located {
        line,
        at: number,
        event,
    }))
}

/// A form as JSON, if JSON can say it.
fn value(form: &Edn<'_>) -> Option<Value> {
    Some(match form {
        Edn::Nil => Value::Null,
        Edn::Bool(one) => json!(one),
        Edn::Int(one) => json!(one),
        Edn::Double(one) => Value::Number(Number::from_f64(one.into_inner())?),
        Edn::Str(one) => json!(one),
        Edn::Key(one) => json!(format!(":{one}")),
        Edn::Symbol(one) => json!(one),
        Edn::Vector(many) | Edn::List(many) => {
            Value::Array(many.iter().map(value).collect::<Option<_>>()?)
        }
        Edn::Map(fields) => {
            let field = |(name, one): (&Edn<'_>, &Edn<'_>)| match name {
                Edn::Key(name) | Edn::Str(name) => Some((name.to_string(), value(one)?)),
                _ => None,
            };
            Value::Object(fields.iter().map(field).collect::<Option<Map<_, _>>>()?)
        }
        Edn::Tagged(tag, inner) if tag == TUPLE => value(inner)?,
        _ => return None,
    })
}

/// One event as a line of Jepsen's EDN, the `index`th of its history.
pub(super) fn line(index: usize, event: &Event) -> String {
    let Event {
        process,
        kind,
        f,
        value,
        time_us,
        correlation_id,
    } = event;
    let id = correlation_id.as_ref();
    let id = id.map_or(String::new(), |id| {
        format!(", :correlation-id {}", Edn::string(id.as_str()))
    });
    format!(
        "{{:index {index}, :time {}, :type :{}, :process {process}, :f {}, :value {}{id}}}",
        u128::from(*time_us) * 1_000,
        kind.name(),
        keyword(f),
        form(value),
    )
}

/// A name as a keyword if it can be one, else as a string.
fn keyword(name: &str) -> Edn<'_> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.?!*+".contains(letter);
    let begins = name.starts_with(|letter: char| letter.is_ascii_alphabetic());
    if begins && name.chars().all(plain) {
        Edn::key(name)
    } else {
        Edn::string(name)
    }
}

/// JSON as EDN.
fn form(value: &Value) -> Edn<'_> {
    match value {
        Value::Null => Edn::Nil,
        Value::Bool(one) => Edn::Bool(*one),
        Value::Number(one) => match (one.as_i64(), one.is_f64().then(|| one.as_f64())) {
            (Some(one), _) => Edn::Int(one),
            (None, Some(Some(one))) => Edn::Double(one.into()),
            // An integer beyond 64 bits, as EDN writes those.
            (None, _) => Edn::symbol(format!("{one}N")),
        },
        Value::String(one) => match one.strip_prefix(':') {
            Some(word) => match keyword(word) {
                word @ Edn::Key(_) => word,
                _ => Edn::string(one.as_str()),
            },
            None => Edn::string(one.as_str()),
        },
        Value::Array(many) => Edn::Vector(many.iter().map(form).collect()),
        Value::Object(fields) => Edn::Map(
            fields
                .iter()
                .map(|(name, one)| (keyword(name), form(one)))
                .collect(),
        ),
    }
}
