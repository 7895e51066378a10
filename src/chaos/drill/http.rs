//! A request to a URL as Chaos Toolkit makes it, redirects and all: any answer is an output, its
//! headers spelled as they came; no connection and no answer in time are failures.

mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use serde_json::{Map, Value, json};

use super::foreign::{Failed, seconds};
use super::read::{At, Malformed};
use super::variables::Variables;
use wire::{Answer, Trouble};

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 30;
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    url: Url,
    method: String,
    headers: BTreeMap<String, String>,
    body: Option<Bytes>,
    /// To connect, and between two pieces of the answer.
    timeouts: (Option<Duration>, Option<Duration>),
    verify: Verify,
    /// How often a connection that does not come about is tried again.
    retries: u64,
    /// The one status that its author calls good.
    pub(super) expected_status: Option<u16>,
}

/// Which certificates are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verify {
    /// Those of the system's authorities.
    System,
    /// Those of the authorities in this file.
    File(String),
    /// Any.
    Nothing,
}

const KNOWN: [&str; 10] = [
    "type",
    "url",
    "method",
    "headers",
    "arguments",
    "timeout",
    "expected_status",
    "secrets",
    "verify_tls",
    "max_retries",
];

impl Http {
    pub(super) fn read(at: &At<'_>, variables: &Variables) -> Result<Self, Malformed> {
        let fields = at.fields(&KNOWN)?;
        let url = fields.need("url")?;
        let text = variables.fill(url.value);
        let parsed = text.as_str().and_then(|text| Url::parse(text).ok());
        let parsed = parsed.filter(|url| ["http", "https"].contains(&url.scheme()));
        let mut parsed = parsed.ok_or_else(|| url.expected("a URL of http or https"))?;
        let method = match fields.get("method") {
            Some(method) => method.text()?.to_uppercase(),
            None => "GET".to_owned(),
        };
        let mut headers = BTreeMap::new();
        if let Some(at) = fields.get("headers") {
            let filled = variables.fill(at.value);
            let map = filled.as_object();
            for (name, value) in map.ok_or_else(|| at.expected("an object of headers"))? {
                headers.insert(name.clone(), word(value));
            }
        }
        let arguments = fields.get("arguments").map(|at| variables.fill(at.value));
        let arguments = arguments.filter(|given| !given.is_null());
        let body = match arguments {
            Some(arguments) if method == "GET" => {
                let query = form(&arguments);
                let known = parsed.query().filter(|known| !known.is_empty());
                let query = match known {
                    Some(known) => format!("{known}&{query}"),
                    None => query,
                };
                parsed.set_query(Some(&query).filter(|query| !query.is_empty()).map(|q| &**q));
                None
            }
            Some(arguments) => Some(body(&arguments, &mut headers)),
            None => None,
        };
        let verify = match fields.get("verify_tls").map(|at| (at.value.clone(), at)) {
            None | Some((Value::Bool(true), _)) => Verify::System,
            Some((Value::Bool(false), _)) => Verify::Nothing,
            Some((Value::String(file), _)) => Verify::File(file),
            Some((_, at)) => return Err(at.expected("true, false or a file of certificates")),
        };
        let status = |at: At<'_>| Ok(u16::try_from(at.whole(100..=999)?).unwrap_or(0));
        Ok(Self {
            url: parsed,
            method,
            headers,
            body,
            timeouts: match fields.get("timeout") {
                Some(at) => timeouts(&at, &variables.fill(at.value))?,
                None => (None, None),
            },
            verify,
            retries: match fields.get("max_retries") {
                Some(retries) => retries.whole(0..=100)?,
                None => 0,
            },
            expected_status: fields.get("expected_status").map(status).transpose()?,
        })
    }

    /// Sends it, and follows where it is sent on to.
    pub(super) async fn send(&self) -> Result<Value, Failed> {
        let mut request = self.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = request.once().await?;
            match request.redirected(&answer) {
                Some(next) => request = next,
                None => return output(answer),
            }
        }
        Err(Failed::Aborts(format!(
            "more than {MOST_REDIRECTS} redirects from {}",
            self.url
        )))
    }

    async fn once(&self) -> Result<Answer, Failed> {
        let mut tried = 0;
        loop {
            match wire::exchange(self).await {
                Err(Trouble::NoConnection(_)) if tried < self.retries => tried += 1,
                Err(Trouble::NoConnection(why)) => {
                    let url = &self.url;
                    return Err(Failed::Step(format!("failed to connect to {url}: {why}")));
                }
                Err(Trouble::TooLong) => {
                    let text = "activity took too long to complete";
                    return Err(Failed::Step(text.to_owned()));
                }
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// The request to where an answer sends this one on.
    fn redirected(&self, answer: &Answer) -> Option<Self> {
        let again = match answer.status {
            301 if self.method == "POST" => "GET",
            302 | 303 if self.method != "HEAD" => "GET",
            301..=303 | 307 | 308 => &self.method,
            _ => return None,
        };
        let url = self.url.join(answer.header("location")?).ok()?;
        let mut next = Self {
            url,
            method: again.to_owned(),
            ..self.clone()
        };
        if next.method != self.method {
            next.body = None;
            next.headers
                .retain(|name, _| !name.to_lowercase().starts_with("content-"));
        }
        if next.url.host() != self.url.host() {
            next.headers
                .retain(|name, _| !name.eq_ignore_ascii_case("authorization"));
        }
        Some(next)
    }
}

fn output(answer: Answer) -> Result<Value, Failed> {
    let kind = answer.header("content-type").unwrap_or_default();
    let text = if kind.starts_with("text/") && !kind.contains("charset") {
        // RFC 2616 says so, and so does the library that the other tool asks with.
        answer.body.iter().copied().map(char::from).collect()
    } else {
        String::from_utf8_lossy(&answer.body).into_owned()
    };
    let body = if kind == JSON {
        let read = serde_json::from_str(&text);
        read.map_err(|error| Failed::Aborts(format!("the answer is no JSON: {error}")))?
    } else {
        json!(text)
    };
    let mut headers = Map::new();
    for (name, value) in &answer.headers {
        let same = headers
            .keys()
            .find(|known| known.eq_ignore_ascii_case(name));
        let name = same.unwrap_or(name).clone();
        let joined = match headers.get(&name).and_then(Value::as_str) {
            Some(first) => format!("{first}, {value}"),
            None => value.clone(),
        };
        headers.insert(name, json!(joined));
    }
    Ok(json!({"status": answer.status, "headers": headers, "body": body}))
}

fn timeouts(
    at: &At<'_>,
    filled: &Value,
) -> Result<(Option<Duration>, Option<Duration>), Malformed> {
    let one = |value: &Value| match value {
        Value::Null => Ok(None),
        value => {
            let at = At {
                value,
                ..at.clone()
            };
            seconds(&at).map(Some)
        }
    };
    match filled {
        Value::Array(both) => match both.as_slice() {
            [connect, read] => Ok((one(connect)?, one(read)?)),
            _ => Err(at.expected("seconds, or two of them: to connect and to read")),
        },
        both => Ok((one(both)?, one(both)?)),
    }
}

/// The body, and the header that says what it is, unless there is one.
fn body(arguments: &Value, headers: &mut BTreeMap<String, String>) -> Bytes {
    if headers.get("Content-Type").is_some_and(|kind| kind == JSON) {
        return Bytes::from(arguments.to_string());
    }
    let text = match arguments {
        Value::String(text) => return Bytes::from(text.clone()),
        other => form(other),
    };
    let named = |name: &String| name.eq_ignore_ascii_case("content-type");
    if !headers.keys().any(named) {
        headers.insert("Content-Type".to_owned(), FORM.to_owned());
    }
    Bytes::from(text)
}

/// Names and values as forms and queries have them; a list is its name again and again.
fn form(arguments: &Value) -> String {
    let mut url = Url::parse("http://form").expect("a URL");
    {
        let mut pairs = url.query_pairs_mut();
        for (name, value) in arguments.as_object().into_iter().flatten() {
            match value {
                Value::Null => {}
                Value::Array(items) => {
                    for item in items {
                        pairs.append_pair(name, &word(item));
                    }
                }
                one => drop(pairs.append_pair(name, &word(one))),
            }
        }
    }
    match arguments {
        Value::String(text) => text.clone(),
        _ => url.query().unwrap_or_default().to_owned(),
    }
}

/// A plain value as a text, in Python's words.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "http/tests.rs"]
mod tests;
