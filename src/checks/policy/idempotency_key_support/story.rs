//! Everything that was sent with one key, and what contradicts the claim in that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::json::sha256_hex;
use crate::checks::recipes::Again;
use crate::contract::effects::Effect;
use crate::contract::routes::Route;
use crate::target::Exchange;

/// Shorter texts name nothing in particular.
const TELLING_CHARS: usize = 8;

/// Requests about one thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// In its calls and rows.
    pub marker: String,
    /// The requests, in order; those of a race in any.
    pub asked: Vec<Asked>,
    /// What they left behind up to the end of the drive; none if nobody looked.
    pub traces: Option<Traces>,
}

/// What requests left behind that no single one of them can be made answerable for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traces {
    /// Calls of doubles with the marker, from the first request on, by backend.
    pub calls: BTreeMap<String, u64>,
    /// Rows with the marker, by database and table.
    pub rows: BTreeMap<String, u64>,
}

/// What a request is, seen from its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// The first one.
    First,
    /// The same request again.
    Repeat,
    /// Again, with the key in its other spelling.
    Respelled,
    /// Again, over the `/v1` twin.
    Twin,
    /// Again, without credentials.
    NoCredentials,
    /// Again, by another operator.
    OtherActor,
    /// Another body.
    OtherBody,
    /// Another resource under the same route.
    OtherResource,
    /// Another fence in the header.
    OtherFence,
    /// A request of another endpoint.
    Elsewhere,
    /// That one again.
    ElsewhereAgain,
    /// The same request once more, after all of these.
    LastRepeat,
    /// The same request with another key.
    OtherKey,
    /// That one again.
    OtherKeyAgain,
    /// One of many at once.
    Racer,
}

impl Sort {
    /// All there are.
    pub(super) const ALL: [Self; 15] = [
        Self::First,
        Self::Repeat,
        Self::Respelled,
        Self::Twin,
        Self::NoCredentials,
        Self::OtherActor,
        Self::OtherBody,
        Self::OtherResource,
        Self::OtherFence,
        Self::Elsewhere,
        Self::ElsewhereAgain,
        Self::LastRepeat,
        Self::OtherKey,
        Self::OtherKeyAgain,
        Self::Racer,
    ];

    /// Whether it is another request under a key that is taken.
    pub(super) fn is_reuse(self) -> bool {
        matches!(
            self,
            Self::OtherActor | Self::OtherBody | Self::OtherResource | Self::OtherFence
        )
    }

    /// Which request's answer it has to get again, if it is a repeat.
    pub(super) fn repeats(self) -> Option<Self> {
        match self {
            Self::Repeat | Self::Respelled | Self::Twin | Self::LastRepeat => Some(Self::First),
            Self::ElsewhereAgain => Some(Self::Elsewhere),
            Self::OtherKeyAgain => Some(Self::OtherKey),
            _ => None,
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "the first request",
            Self::Repeat => "the same request",
            Self::Respelled => "the same request, the key in its other spelling",
            Self::Twin => "the same request over its twin",
            Self::NoCredentials => "the same request without credentials",
            Self::OtherActor => "the same request by another operator",
            Self::OtherBody => "the key with another body",
            Self::OtherResource => "the key with another resource",
            Self::OtherFence => "the key with another fence in the header",
            Self::Elsewhere => "the key at another endpoint",
            Self::ElsewhereAgain => "the same request at another endpoint",
            Self::LastRepeat => "the same request at last",
            Self::OtherKey => "the same request with another key",
            Self::OtherKeyAgain => "the same request with that other key again",
            Self::Racer => "one of many requests at once",
        })
    }
}

/// A request, what was said to it, and what it left in the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// What it was.
    pub sort: Sort,
    /// `POST /v3/turn of api-gateway`, with the concrete path.
    pub line: String,
    /// Its correlation id.
    pub id: String,
    /// Its body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Value>,
    /// Just before it was sent.
    pub invoked_us: u64,
    /// When the answer was there; none without an answer.
    pub returned_us: Option<u64>,
    /// Its status; 0 without an answer.
    pub status: u16,
    /// Whether `Idempotency-Replayed: true` came with it.
    pub replayed: bool,
    /// The `Retry-After` that came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// Its body.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
    /// Entries that are no refusals, by chain, action and outcome, up to the end of the drive.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entries: BTreeMap<String, u64>,
}

impl Asked {
    /// The row of an exchange.
    pub(super) fn new(sort: Sort, exchange: &Exchange) -> Self {
        let header = |name: &str| {
            exchange
                .answer
                .as_ref()
                .and_then(|answer| answer.headers.get(name))
        };
        let Exchange {
            method,
            path,
            service,
            ..
        } = exchange;
        Self {
            sort,
            line: format!("{method} {path} of {service}"),
            id: exchange.correlation_id.clone(),
            sent: exchange.body.clone(),
            invoked_us: exchange.invoked_us,
            returned_us: exchange.returned_us,
            status: exchange.status(),
            replayed: header("idempotency-replayed").is_some_and(|value| value == "true"),
            retry_after: header("retry-after").cloned(),
            body: without_secret(exchange.answered().clone()),
            entries: BTreeMap::new(),
        }
    }

    /// Whether it was answered with a 2xx.
    pub(super) fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether it got an answer at all.
    pub(super) fn answered(&self) -> bool {
        self.returned_us.is_some()
    }

    /// `error.code` of a refusal, or the empty string.
    pub(super) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    /// Whether it was told that the first request still runs.
    pub(super) fn in_progress(&self) -> bool {
        self.status == 409 && self.code() == "KEY_IN_PROGRESS"
    }

    /// Whether it is this answer again, as a stored one.
    pub(super) fn replays(&self, first: &Self) -> bool {
        self.replayed && self.status == first.status && self.body == first.body
    }

    /// What of another answer this one tells: ids, times and digests that nobody sent with it.
    fn reveals(&self, first: &Self) -> Option<String> {
        let mut secrets = BTreeSet::new();
        telling(&first.body, &mut secrets);
        let known = format!(
            "{}{}",
            self.line,
            self.sent.as_ref().unwrap_or(&Value::Null)
        );
        let told = self.body.to_string();
        let mut secrets = secrets.into_iter();
        secrets.find(|secret| told.contains(secret.as_str()) && !known.contains(secret.as_str()))
    }
}

/// Evidence never holds a key: its digest says as well whether two answers tell the same one.
fn without_secret(mut body: Value) -> Value {
    if let Some(key) = body.get("api_key").and_then(Value::as_str) {
        body["api_key"] = format!("sha256:{}", sha256_hex(key.as_bytes())).into();
    }
    body
}

/// The texts of an answer that could not have been guessed.
fn telling(body: &Value, into: &mut BTreeSet<String>) {
    match body {
        Value::String(text) => {
            let odd = text.bytes().any(|byte| byte.is_ascii_digit());
            if odd && text.len() >= TELLING_CHARS {
                into.insert(text.clone());
            }
        }
        Value::Array(all) => all.iter().for_each(|one| telling(one, into)),
        Value::Object(fields) => fields.values().for_each(|one| telling(one, into)),
        _ => {}
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sort, line, status, ..
        } = self;
        write!(f, "{sort} ({line}): ")?;
        match (self.answered(), self.code()) {
            (false, _) => f.write_str("no answer")?,
            (true, "") => write!(f, "{status}")?,
            (true, code) => write!(f, "{status} {code}")?,
        }
        if self.replayed {
            f.write_str(" (replayed)")?;
        }
        Ok(())
    }
}

impl Story {
    /// The request of that sort.
    pub(super) fn get(&self, sort: Sort) -> Option<&Asked> {
        self.asked.iter().find(|asked| asked.sort == sort)
    }

    /// One execution leaves one entry of the action that the contract names, or it is none. That it
    /// leaves one at all, another gate asks.
    pub(super) fn judge_footprint(&self, route: &Route, found: &mut Vec<String>) {
        let (Some(asked), Some(_)) = (self.asked.first(), &self.traces) else {
            return;
        };
        let path = asked.line.split(' ').nth(1).unwrap_or_default();
        let Some(row) = Effect::of(&route.service, &route.method, path) else {
            return;
        };
        let action = format!("{} {} ", route.service, row.action);
        let n: u64 = asked
            .entries
            .iter()
            .filter_map(|(entry, n)| entry.starts_with(&action).then_some(n))
            .sum();
        if n > 1 {
            found.push(format!(
                "{asked}, with {n} entries {}, expected 1",
                row.action
            ));
        }
    }

    /// Every request that is none of a race.
    pub(super) fn judge(
        &self,
        plain: &Self,
        again: Again,
        elsewhere: Option<&Asked>,
        found: &mut Vec<String>,
    ) {
        for asked in &self.asked {
            self.judge_answer(asked, again, found);
        }
        let looked = self.traces.is_some() && plain.traces.is_some();
        let Some(one) = plain.asked.first().filter(|_| looked) else {
            return;
        };
        let mut executions = 0;
        for asked in &self.asked {
            let of = match asked.sort {
                Sort::First => Some(one),
                Sort::OtherKey if again == Again::Done => Some(one),
                Sort::Elsewhere => elsewhere,
                _ => None,
            };
            executions += u64::from(asked.sort != Sort::Elsewhere && of.is_some());
            let nothing = BTreeMap::new();
            let expected = of.map_or(&nothing, |one| &one.entries);
            if asked.entries != *expected && (asked.sort != Sort::Elsewhere || of.is_some()) {
                let got = &asked.entries;
                found.push(format!(
                    "{asked}, with audit entries {got:?}, expected {expected:?}"
                ));
            }
        }
        self.judge_traces(plain, executions, found);
    }

    /// Calls and rows are those of so many executions.
    pub(super) fn judge_traces(&self, plain: &Self, executions: u64, found: &mut Vec<String>) {
        let (Some(got), Some(one)) = (&self.traces, &plain.traces) else {
            return;
        };
        let times = |counts: &BTreeMap<String, u64>| -> BTreeMap<String, u64> {
            counts
                .iter()
                .map(|(name, n)| (name.clone(), n * executions))
                .collect()
        };
        for (what, got, expected) in [
            ("calls", &got.calls, times(&one.calls)),
            ("rows", &got.rows, times(&one.rows)),
        ] {
            if *got != expected {
                found.push(format!(
                    "{executions} executions left {what} {got:?}, expected {expected:?}"
                ));
            }
        }
    }

    fn judge_answer(&self, asked: &Asked, again: Again, found: &mut Vec<String>) {
        let expected = match asked.sort {
            Sort::Racer => return,
            Sort::First | Sort::Elsewhere => self.expect_new(asked),
            Sort::OtherKey => match again {
                Again::Done => self.expect_new(asked),
                Again::Refused(status, code) => expect_refusal(asked, status, code),
            },
            Sort::NoCredentials => self.expect_silence(asked, 401, ""),
            sort if sort.is_reuse() => self.expect_silence(asked, 422, "KEY_REUSED"),
            sort => {
                let first = sort.repeats().and_then(|first| self.get(first));
                let Some(first) = first.filter(|first| first.answered()) else {
                    return;
                };
                (!asked.replays(first)).then(|| {
                    let same = if asked.body == first.body {
                        "the same"
                    } else {
                        "another"
                    };
                    format!(
                        "with {same} body, expected {} again, replayed",
                        first.status
                    )
                })
            }
        };
        if let Some(expected) = expected {
            found.push(format!("{asked}, {expected}"));
        }
    }

    /// An execution: done, not replayed, and no other answer again.
    fn expect_new(&self, asked: &Asked) -> Option<String> {
        let before = self
            .asked
            .iter()
            .take_while(|one| !std::ptr::eq(*one, asked));
        let known = before
            .filter(|one| one.ok())
            .any(|one| one.body == asked.body);
        let right = asked.ok() && !asked.replayed && !known;
        (!right).then(|| "expected 2xx, executed now".to_owned())
    }

    /// A refusal that tells nothing of what the key's first request was told.
    fn expect_silence(&self, asked: &Asked, status: u16, code: &str) -> Option<String> {
        let refused = expect_refusal(asked, status, code);
        refused.or_else(|| {
            let secret = asked.reveals(self.get(Sort::First)?)?;
            Some(format!(
                "tells {secret} of the first answer, expected nothing of it"
            ))
        })
    }
}

/// This status and, if one is named, this code, and nothing replayed.
fn expect_refusal(asked: &Asked, status: u16, code: &str) -> Option<String> {
    let right = asked.status == status && !asked.replayed;
    let right = right && (code.is_empty() || asked.code() == code);
    (!right).then(|| format!("expected {status} {code}").trim_end().to_owned())
}
