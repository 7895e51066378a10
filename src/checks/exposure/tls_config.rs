//! Gate tls-config: with a certificate and its key the target speaks TLS and nothing else; with half
//! of them, a path that leads nowhere, a file that is none or a pair that does not belong together
//! it ends, and opens no port.
//!
//! The certificates are made by an authority of our own, which is the only one that is trusted. The
//! control gets a whole pair: every service is asked over TLS, where the very certificate that was
//! given has to be shown, and over plain HTTP, where nobody may serve; credentials are asked for as
//! ever, and a turn runs its tool through another service. The other targets get what nothing should
//! start with: each has to end with an exit code that is not 0, and while it lived its port was
//! tried all the time.

mod drive;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checks::Judgement;
use crate::checks::starts::Outcome;
use crate::contract::routes;

pub use drive::drive;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Every start.
    pub starts: Vec<Start>,
    /// What the one with a whole pair said; none when it did not start.
    pub served: Option<Served>,
}

/// One start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// With what.
    pub given: Given,
    /// What became of it.
    pub outcome: Outcome,
    /// How often its port was tried until then.
    pub looks: u64,
    /// How often somebody was there.
    pub reached: u64,
}

/// What a target says with a whole pair.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// SHA-256 of the certificate that it was given.
    pub certificate: String,
    /// Each service over TLS.
    pub secure: Vec<Secure>,
    /// Each service over plain HTTP: the status, 0 without an answer.
    pub plain: Vec<(String, u16)>,
    /// A status without credentials and with.
    pub guarded: Vec<u16>,
    /// The tool calls of a turn; null when there was none.
    pub tool_calls: Value,
}

/// One service, asked over TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secure {
    /// The service.
    pub service: String,
    /// SHA-256 of the certificate that was shown; none without a handshake.
    pub shown: Option<String>,
    /// Who answered the health check, and with which status; 0 and why, without an answer.
    pub healthz: (u16, String),
}

/// What a target is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// The control: a certificate and its key.
    Pair,
    /// A certificate alone.
    CertificateOnly,
    /// A key alone.
    KeyOnly,
    /// The path of a certificate that is not there.
    NoCertificate,
    /// The path of a key that is not there.
    NoKey,
    /// The key of another certificate.
    OtherKey,
    /// A certificate that is none.
    Garbage,
    /// An empty file in place of the key.
    EmptyKey,
}

impl Given {
    /// With which nothing may start.
    const BAD: [Self; 7] = [
        Self::CertificateOnly,
        Self::KeyOnly,
        Self::NoCertificate,
        Self::NoKey,
        Self::OtherKey,
        Self::Garbage,
        Self::EmptyKey,
    ];
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pair => "a certificate and its key",
            Self::CertificateOnly => "a certificate alone",
            Self::KeyOnly => "a key alone",
            Self::NoCertificate => "the path of no certificate",
            Self::NoKey => "the path of no key",
            Self::OtherKey => "the key of another certificate",
            Self::Garbage => "a certificate that is none",
            Self::EmptyKey => "an empty key file",
        })
    }
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut refused, mut watched, mut looks) = (0, 0, 0);
    for start in &seen.starts {
        let right = judge_start(start, &mut judgement);
        if start.given != Given::Pair && right {
            refused += 1;
            watched += u64::from(start.looks > 0);
            looks += start.looks;
        }
    }
    for given in std::iter::once(Given::Pair).chain(Given::BAD) {
        if !seen.starts.iter().any(|start| start.given == given) {
            judgement.undecided(format!("nothing was started with {given}"));
        }
    }
    judgement.exercised("refused_starts", refused);
    judgement.exercised("watched_starts", watched);
    for counter in ["handshakes", "refused_plaintext", "tool_calls"] {
        judgement.exercised(counter, 0);
    }
    if let Some(served) = &seen.served {
        judge_served(served, &mut judgement);
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} services spoke TLS under the certificate given, {} refused plain HTTP; {refused} starts \
         refused, {looks} connections tried meanwhile and none made: {} violations",
        count("handshakes"),
        count("refused_plaintext"),
        judgement.violations.len()
    );
    judgement
}

/// Whether a start ended as it should.
fn judge_start(start: &Start, judgement: &mut Judgement) -> bool {
    let Start {
        given,
        outcome,
        looks,
        reached,
    } = start;
    let before = judgement.violations.len();
    if *given == Given::Pair {
        judgement.expect(*outcome == Outcome::Ready, || {
            format!("a start with {given}: {outcome}, expected ready")
        });
        if *outcome == Outcome::Ready && *reached == 0 {
            judgement.undecided(format!(
                "{looks} looks at the port of a target that started saw nobody there"
            ));
        }
        return judgement.violations.len() == before;
    }
    let ended = matches!(outcome, Outcome::Exited(Some(code)) if *code != 0);
    judgement.expect(ended, || {
        format!("a start with {given}: {outcome}, expected an exit code that is not 0")
    });
    judgement.expect(*reached == 0, || {
        format!("a start with {given}: its port was open {reached} times, expected 0")
    });
    judgement.violations.len() == before
}

fn judge_served(served: &Served, judgement: &mut Judgement) {
    let expected = &served.certificate;
    for name in routes::services() {
        let secure = served.secure.iter().find(|one| one.service == name);
        let Some(Secure { shown, healthz, .. }) = secure else {
            judgement.violation(format!(
                "{name} was announced nowhere, expected an https URL"
            ));
            continue;
        };
        let own = shown.as_ref() == Some(expected);
        judgement.expect(own, || {
            let got = shown.as_deref().unwrap_or("none");
            format!(
                "{name} showed certificate {got}, expected {expected}: {}",
                healthz.1
            )
        });
        let answered = healthz.0 == 200 && healthz.1 == name;
        judgement.exercised("handshakes", u64::from(own && answered));
        judgement.expect(answered || !own, || {
            let (status, who) = healthz;
            format!("{name} over TLS: got {status} of {who}, expected 200 of {name}")
        });
    }
    for (name, status) in &served.plain {
        // A server may say in plain words that it wants TLS.
        let refused = *status == 0 || (400..500).contains(status);
        judgement.exercised("refused_plaintext", u64::from(refused));
        judgement.expect(refused, || {
            format!("{name} over plain HTTP: got {status}, expected no answer or a refusal")
        });
    }
    judgement.expect(served.guarded == [401, 200], || {
        format!(
            "the status over TLS is {:?} without credentials and with, expected [401, 200]",
            served.guarded
        )
    });
    let calls = served.tool_calls.as_array().map_or(&[][..], Vec::as_slice);
    let ran = calls.iter().filter(|call| call["status"] == "executed");
    let ran = ran.count() as u64;
    judgement.exercised("tool_calls", ran);
    judgement.expect(ran > 0, || {
        format!(
            "a turn over TLS ran the tools {}, expected one executed by another service",
            served.tool_calls
        )
    });
}
