//! Gate cors-env: cross-origin requests are allowed from the origins that the environment lists,
//! from the default list without one, and from nowhere else.
//!
//! Two targets: one whose environment says nothing, one whose environment lists origins made of the
//! seed. Each is asked from every origin of both lists, and from others that are nearly one of them.
//! A preflight carries no credentials and has to be answered all the same. A request from an origin
//! that is not listed is served like any other: it is the browser that keeps the answer, because
//! nothing in it allows the origin.

mod drive;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::checks::Judgement;

pub use drive::drive;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Every origin that a target was asked from.
    pub origins: Vec<From>,
}

/// One target, asked from one origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct From {
    /// The service.
    pub service: String,
    /// The origins that its environment lists; none when it says nothing.
    pub environment: Option<Vec<String>>,
    /// The origins that are listed: those, or the default ones.
    pub listed: Vec<String>,
    /// The origin.
    pub origin: String,
    /// A preflight without credentials.
    pub preflight: Said,
    /// A request under an operator's key.
    pub request: Said,
}

/// What an answer says about origins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The status; 0 without an answer.
    pub status: u16,
    /// `access-control-allow-origin`.
    pub origin: Option<String>,
    /// `access-control-allow-methods`.
    pub methods: Option<String>,
    /// `access-control-allow-headers`.
    pub headers: Option<String>,
}

impl From {
    fn name(&self) -> String {
        let list = match &self.environment {
            Some(list) => format!("with {} in the environment", list.join(",")),
            None => "with the default list".to_owned(),
        };
        format!("{} of {}, {list}", self.origin, self.service)
    }
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in [
        "allowed_origins",
        "refused_origins",
        "allowed_by_default",
        "allowed_by_environment",
    ] {
        judgement.exercised(counter, 0);
    }
    for one in &seen.origins {
        let before = judgement.violations.len();
        let listed = one.listed.contains(&one.origin);
        answered(one, &mut judgement);
        if listed {
            allowed(one, &mut judgement);
        } else {
            refused(one, &mut judgement);
        }
        let right = u64::from(judgement.violations.len() == before);
        match (listed, &one.environment) {
            (false, _) => judgement.exercised("refused_origins", right),
            (true, None) => judgement.exercised("allowed_by_default", right),
            (true, Some(_)) => judgement.exercised("allowed_by_environment", right),
        }
        judgement.exercised("allowed_origins", right * u64::from(listed));
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} origins allowed by default, {} by the environment, {} refused: {} violations",
        count("allowed_by_default"),
        count("allowed_by_environment"),
        count("refused_origins"),
        judgement.violations.len()
    );
    judgement
}

/// Preflights are answered without credentials, and requests whatever their origin is.
fn answered(one: &From, judgement: &mut Judgement) {
    let status = one.preflight.status;
    judgement.expect((200..300).contains(&status), || {
        format!("preflight from {}: got {status}, expected 2xx", one.name())
    });
    let status = one.request.status;
    judgement.expect(status == 200, || {
        format!("request from {}: got {status}, expected 200", one.name())
    });
}

fn allowed(one: &From, judgement: &mut Judgement) {
    for (what, said) in [("preflight", &one.preflight), ("request", &one.request)] {
        judgement.expect(said.origin.as_ref() == Some(&one.origin), || {
            let (got, name) = (&said.origin, one.name());
            format!(
                "{what} from {name}: allowed origin {got:?}, expected {:?}",
                one.origin
            )
        });
    }
    let has = |list: &Option<String>, word: &str| {
        let words = list.as_deref().unwrap_or_default().split(',');
        words
            .into_iter()
            .any(|one| one.trim().eq_ignore_ascii_case(word))
    };
    let Said {
        methods, headers, ..
    } = &one.preflight;
    for (list, word) in [(methods, "POST"), (headers, "authorization")] {
        judgement.expect(has(list, word), || {
            format!(
                "preflight from {}: {list:?} is allowed, expected {word}",
                one.name()
            )
        });
    }
}

fn refused(one: &From, judgement: &mut Judgement) {
    for (what, said) in [("preflight", &one.preflight), ("request", &one.request)] {
        judgement.expect(said.origin.is_none(), || {
            let (got, name) = (&said.origin, one.name());
            format!("{what} from {name}: allowed origin {got:?}, expected none")
        });
    }
}
