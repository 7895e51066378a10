//! Decisions over a KILL, on any of the three approval routes: minted, perhaps decided, and asked
//! for again after the restart. Shared by the gates that keep decisions over a crash.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::chaos::approvals::{Minted, Shown, Verb};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Client, Instance};
use crate::violation;

/// How a decision stood when the target was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Open, to be approved afterwards.
    Open,
    /// Open, to be denied afterwards.
    OpenToDeny,
    /// Approved, and its tool has run.
    Approved,
    /// Denied.
    Denied,
    /// Over: nobody decided in time.
    Expired,
}

/// One decision's story.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// The decision as it was minted.
    pub minted: Minted,
    /// How it stood.
    pub fate: Fate,
    /// The request that decided it before the KILL.
    pub decided: Option<Sent>,
    /// What was asked of it after the KILL, in order.
    pub after: Vec<Sent>,
    /// How often its tool has run at the end.
    pub runs: Option<u64>,
}

impl Standing {
    /// A decision that nothing was done with yet.
    #[must_use]
    pub fn new(minted: Minted, fate: Fate) -> Self {
        Self {
            minted,
            fate,
            decided: None,
            after: Vec::new(),
            runs: None,
        }
    }

    /// Decides it as its fate says, before the KILL.
    pub async fn decide(&mut self, client: &Client) {
        let verb = match self.fate {
            Fate::Approved => Verb::Approve,
            Fate::Denied => Verb::Deny,
            Fate::Open | Fate::OpenToDeny | Fate::Expired => return,
        };
        self.decided = Some(ask(client, &self.minted, verb).await);
    }

    /// Asks for it again after the KILL: first what its fate leaves open or forbids, then once more.
    pub async fn ask_again(&mut self, client: &Client) {
        let verbs = match self.fate {
            Fate::Open => [Verb::Approve, Verb::Approve],
            Fate::OpenToDeny => [Verb::Deny, Verb::Approve],
            Fate::Approved => [Verb::Deny, Verb::Approve],
            Fate::Denied | Fate::Expired => [Verb::Approve, Verb::Deny],
        };
        for verb in verbs {
            self.after.push(ask(client, &self.minted, verb).await);
        }
    }

    /// Counts the runs of its tool so far.
    pub fn count_runs(&mut self, cx: &Cx) {
        let marker = self.minted.marker();
        let effects = cx.tools.effects();
        let own = effects
            .iter()
            .filter(|effect| effect.body["args"]["path"] == marker);
        self.runs = Some(own.count() as u64);
    }

    /// Judges it; whether its story could be followed to its end.
    pub fn judge(&self, judgement: &mut Judgement) -> bool {
        let decided = matches!(self.fate, Fate::Approved | Fate::Denied);
        let reached = !decided || self.decided.as_ref().is_some_and(Sent::ok);
        let answered = self.after.len() == 2 && self.after.iter().all(Sent::answered);
        let (true, true, Some(runs)) = (reached, answered, self.runs) else {
            return false;
        };
        for (sent, expected) in self.after.iter().zip(self.expected()) {
            let got = Told::of(sent);
            judgement.expect(got == expected, || {
                format!(
                    "after the KILL {self} answered {}: got {got}, expected {expected}",
                    sent.line()
                )
            });
        }
        let expected_runs = u64::from(matches!(self.fate, Fate::Open | Fate::Approved));
        if runs != expected_runs {
            violation!(
                judgement,
                "{self} ran: got {runs}, expected {expected_runs}"
            );
        }
        true
    }

    fn expected(&self) -> [Told; 2] {
        let decided = |verdict: &str| Told::Decided(verdict.to_owned());
        match self.fate {
            Fate::Open => [Told::Won("approved".to_owned()), decided("approved")],
            Fate::OpenToDeny => [Told::Won("denied".to_owned()), decided("denied")],
            Fate::Approved => [decided("approved"), decided("approved")],
            Fate::Denied => [decided("denied"), decided("denied")],
            Fate::Expired => [Told::Expired, Told::Expired],
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = match self.fate {
            Fate::Open | Fate::OpenToDeny => "open",
            Fate::Approved => "approved",
            Fate::Denied => "denied",
            Fate::Expired => "expired",
        };
        write!(
            f,
            "{} {} ({fate} before)",
            self.minted.route, self.minted.id
        )
    }
}

/// What an answer says of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Won(String),
    Decided(String),
    Expired,
    Other(u16, String),
}

impl Told {
    fn of(sent: &Sent) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or("no verdict").to_owned();
        match (sent.status, sent.code()) {
            (200..300, _) => Self::Won(text(&sent.answer["verdict"])),
            (409, "ALREADY_DECIDED") => {
                Self::Decided(text(&sent.answer["error"]["details"]["verdict"]))
            }
            (409, "CONFIRMATION_EXPIRED") => Self::Expired,
            (status, code) => Self::Other(status, code.to_owned()),
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Won(verdict) => write!(f, "200 {verdict}"),
            Self::Decided(verdict) => write!(f, "409 ALREADY_DECIDED {verdict}"),
            Self::Expired => f.write_str("409 CONFIRMATION_EXPIRED"),
            Self::Other(status, code) => write!(f, "{status} {code}"),
        }
    }
}

/// Decides without a fence, as a v4.6 client does.
async fn ask(client: &Client, minted: &Minted, verb: Verb) -> Sent {
    let ask = minted.route.ask(&minted.id, verb.path(), Shown::Nothing);
    Sent::new(&client.send(ask).await, client.credential())
}

/// Kills the target and starts it again with `patch` over its config.
///
/// # Errors
/// When it cannot be killed or does not start.
pub async fn over_kill(instance: &mut Instance, patch: &Value) -> Result<(), Undecided> {
    instance.kill().await?;
    let mut config = instance.setup().config.clone();
    crate::base::json::merge(&mut config, patch);
    Ok(instance.start_again_with(config).await?)
}

/// Waits until the time to live of what was minted until now is surely over, by our clock.
///
/// # Errors
/// When that takes longer than `bound`.
pub async fn past(cx: &Cx, ttl_ms: u64, bound: Duration) -> Result<(), Undecided> {
    let (clock, end_us) = (cx.clock, cx.clock.now_us() + ttl_ms * 1_000);
    cx.until("the end of a time to live", bound, || async move {
        (clock.now_us() > end_us).then_some(())
    })
    .await
}

#[cfg(test)]
#[path = "standing_tests.rs"]
pub(super) mod tests;
