//! What came of asking for a decision: one row of evidence, and one operation of a history.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Minted, Shown, Verb};
use crate::chaos::linear::Operation;
use crate::chaos::models::confirmation::decided;
use crate::chaos::specs::Ttl;
use crate::chaos::specs::confirmation::{Call, Input, Output};
use crate::target::Exchange;

/// A decision that was asked for, and what was said to it. There are thousands in a drive, so each is
/// stored as one line: `approve op-1 body:41 1200 1950 200 - approved op-1 succeeded`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Asked {
    /// What was wanted.
    pub verb: Verb,
    /// Who asked.
    pub actor: String,
    /// With which fence.
    pub fence: Shown,
    /// Just before it was sent.
    pub invoked_us: u64,
    /// When the answer was there; none without an answer.
    pub returned_us: Option<u64>,
    /// Its status; 0 without an answer.
    pub status: u16,
    /// `error.code`.
    pub code: String,
    /// The verdict it names, of this request or of the winner.
    pub verdict: String,
    /// The actor it names, likewise.
    pub decided_by: String,
    /// How the execution went, if it speaks of one.
    pub execution: String,
}

impl From<Asked> for String {
    fn from(asked: Asked) -> Self {
        let fence = match asked.fence {
            Shown::Nothing => "-".to_owned(),
            Shown::Header(token) => format!("header:{token}"),
            Shown::Body(token) => format!("body:{token}"),
        };
        let returned_us = asked
            .returned_us
            .map_or("-".to_owned(), |us| us.to_string());
        [
            asked.verb.path(),
            &word(&asked.actor),
            &fence,
            &asked.invoked_us.to_string(),
            &returned_us,
            &asked.status.to_string(),
            &word(&asked.code),
            &word(&asked.verdict),
            &word(&asked.decided_by),
            &word(&asked.execution),
        ]
        .join(" ")
    }
}

impl TryFrom<String> for Asked {
    type Error = String;

    fn try_from(line: String) -> Result<Self, String> {
        read_line(&line).ok_or_else(|| format!("`{line}` is no decision that was asked for"))
    }
}

fn read_line(line: &str) -> Option<Asked> {
    let words: Vec<&str> = line.split(' ').collect();
    let [
        verb,
        actor,
        fence,
        invoked,
        returned,
        status,
        code,
        verdict,
        by,
        execution,
    ] = words[..]
    else {
        return None;
    };
    Some(Asked {
        verb: match verb {
            "approve" => Verb::Approve,
            "deny" => Verb::Deny,
            _ => return None,
        },
        actor: unword(actor)?,
        fence: match fence.split_once(':') {
            None if fence == "-" => Shown::Nothing,
            Some(("header", token)) => Shown::Header(token.parse().ok()?),
            Some(("body", token)) => Shown::Body(token.parse().ok()?),
            _ => return None,
        },
        invoked_us: invoked.parse().ok()?,
        returned_us: if returned == "-" {
            None
        } else {
            Some(returned.parse().ok()?)
        },
        status: status.parse().ok()?,
        code: unword(code)?,
        verdict: unword(verdict)?,
        decided_by: unword(by)?,
        execution: unword(execution)?,
    })
}

/// Text of the target as one word: `-` is nothing, `%` and two hex digits a byte that a word cannot
/// hold. A target may answer with anything, and the line must still be read as it was written.
fn word(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    let mut word = String::new();
    for (index, byte) in text.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
        if plain || byte == b'-' && index > 0 {
            word.push(char::from(byte));
        } else {
            word.push_str(&format!("%{byte:02x}"));
        }
    }
    word
}

fn unword(word: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = if word == "-" { "" } else { word }.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

impl Asked {
    /// The row of an exchange.
    #[must_use]
    pub fn new(verb: Verb, actor: String, fence: Shown, exchange: &Exchange) -> Self {
        let answer = exchange.answered();
        let told = if exchange.ok() {
            answer
        } else {
            &answer["error"]["details"]
        };
        let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            verb,
            actor,
            fence,
            invoked_us: exchange.invoked_us,
            returned_us: exchange.returned_us,
            status: exchange.status(),
            code: exchange.code().to_owned(),
            verdict: string(&told["verdict"]),
            decided_by: string(&told["decided_by"]["actor_id"]),
            execution: string(&told["execution"]["status"]),
        }
    }

    /// Whether it was told that it decided.
    #[must_use]
    pub fn won(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// When it was under way, if it was answered: only then it surely reached the target.
    #[must_use]
    pub fn interval(&self) -> Option<(u64, u64)> {
        Some((self.invoked_us, self.returned_us?))
    }

    /// What the checker is told. An answer that the specification has no word for, and none at
    /// all, leave the operation open.
    #[must_use]
    pub fn operation(&self, decision: &Minted, ttl_ms: u64) -> Operation<Input, Output> {
        let fence = self.fence.token().map(i64::cast_unsigned);
        let call = match self.verb {
            Verb::Approve => Call::Approve { fence },
            Verb::Deny => Call::Deny { fence },
        };
        let output = decided(self.status, &self.code, &self.verdict);
        let expires_us = decision.minted_us + ttl_ms * 1_000;
        let ttl = match self.returned_us {
            Some(returned_us) if returned_us < expires_us => Ttl::Running,
            _ => Ttl::MayHavePassed,
        };
        Operation {
            input: Input {
                id: decision.id.clone(),
                call,
                ttl,
            },
            invoked: self.invoked_us,
            answered: self.returned_us.zip(output),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}: ", self.verb.path(), self.actor)?;
        match self.returned_us {
            None => f.write_str("no answer"),
            Some(_) if self.code.is_empty() => write!(f, "{} {}", self.status, self.verdict),
            Some(_) => write!(f, "{} {} {}", self.status, self.code, self.verdict),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_contracts_answers_become_rows_and_rows_survive_storage() {
        let exchange = |sample: &str| {
            let sample: Value = serde_json::from_str(sample).unwrap();
            let answer = json!({
                "status": sample["answer"]["status"],
                "headers": {},
                "body": sample["answer"]["body"],
            });
            let exchange = json!({
                "service": "api-gateway", "method": "POST", "path": "/", "correlation_id": "c",
                "headers": {}, "body": null, "invoked_us": 5, "returned_us": 9,
                "answer": answer, "error": null,
            });
            serde_json::from_value::<Exchange>(exchange).unwrap()
        };
        let row = |sample| {
            let asked = Asked::new(
                Verb::Approve,
                "op-1".into(),
                Shown::Body(41),
                &exchange(sample),
            );
            let stored = serde_json::to_value(&asked).unwrap();
            assert!(stored.is_string());
            assert_eq!(serde_json::from_value::<Asked>(stored).unwrap(), asked);
            asked
        };
        let won = row(include_str!(
            "../../../fixtures/contract/samples/confirmation-approve.json"
        ));
        assert!(won.won());
        let told = (
            won.verdict.as_str(),
            won.decided_by.as_str(),
            won.execution.as_str(),
        );
        assert_eq!(told, ("approved", "op-1", "succeeded"));
        let lost = row(include_str!(
            "../../../fixtures/contract/samples/confirmation-decided.json"
        ));
        assert!(!lost.won());
        assert_eq!((lost.status, lost.code.as_str()), (409, "ALREADY_DECIDED"));
        assert_eq!(
            (lost.verdict.as_str(), lost.decided_by.as_str()),
            ("approved", "op-1")
        );
        let denied = row(include_str!(
            "../../../fixtures/contract/samples/confirmation-deny.json"
        ));
        assert_eq!(
            (denied.verdict.as_str(), denied.execution.as_str()),
            ("denied", "")
        );
    }
}
