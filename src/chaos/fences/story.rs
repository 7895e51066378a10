//! One decision and everything that was asked of it, and what contradicts the claim in that.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Issue, Kill};
use crate::chaos::approvals::{Minted, Shown, Verb};
use crate::chaos::linear::{Bounds, Operation, Outcome, Spec, check};
use crate::chaos::models::confirmation::decided;
use crate::chaos::specs::Ttl;
use crate::chaos::specs::confirmation::{
    Call, Confirmations, Fence, Input, Output, Phase, State, Verdict,
};
use crate::target::Exchange;

/// States that the checker may visit for one decision; a good one takes a handful.
const STATES: u64 = 200_000;
/// The target counts on another clock than the harness.
pub(super) const ROUNDING_US: u64 = 2_000;

/// A decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// How it was issued first.
    pub decision: Minted,
    /// How long its first issue stays open.
    pub ttl_ms: u64,
    /// Requests that were under way at once, or cut by a KILL.
    pub race: Vec<Attempt>,
    /// What was done to it one after the other, after the race if there was one.
    pub steps: Vec<Step>,
    /// How often its tool ran, by its marker, up to the end of the drive; none if nobody looked.
    pub runs: Option<u64>,
}

/// One thing done to a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A request.
    Asked(Attempt),
    /// A look at what is pending.
    Looked(Look),
}

/// What is asked of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// To be decided.
    Decide(Verb),
    /// To be issued again.
    Reissue,
}

impl Act {
    /// The last segment of the path.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Decide(verb) => verb.path(),
            Self::Reissue => "reissue",
        }
    }
}

/// Which fence a request shows, as it was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// The current one; none where none is needed. The control: such a request is done.
    Right,
    /// The current one less 1.
    OneLess,
    /// The current one plus 1.
    OneMore,
    /// That of another decision of the same route, which is open.
    Anothers,
    /// One from before a reissue.
    Voided,
    /// None, after a reissue.
    NoneNow,
    /// A header that is no number.
    HeaderOfLetters,
    /// A header with a number that is too great for any counter.
    HeaderTooGreat,
    /// The current one in the body, as a string.
    BodyOfLetters,
    /// The current one in the body, and a half.
    BodyWithFraction,
    /// Any, on a decision that is decided.
    Late,
}

impl Aim {
    /// All there are.
    pub(super) const ALL: [Self; 11] = [
        Self::Right,
        Self::OneLess,
        Self::OneMore,
        Self::Anothers,
        Self::Voided,
        Self::NoneNow,
        Self::HeaderOfLetters,
        Self::HeaderTooGreat,
        Self::BodyOfLetters,
        Self::BodyWithFraction,
        Self::Late,
    ];

    /// Whether it is a fence, or none, that is not the current one.
    pub(super) fn is_stale(self) -> bool {
        matches!(
            self,
            Self::OneLess | Self::OneMore | Self::Anothers | Self::Voided | Self::NoneNow
        )
    }

    /// Whether it is no fence at all.
    pub(super) fn is_malformed(self) -> bool {
        matches!(
            self,
            Self::HeaderOfLetters
                | Self::HeaderTooGreat
                | Self::BodyOfLetters
                | Self::BodyWithFraction
        )
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Right => "the right fence",
            Self::OneLess => "the fence less 1",
            Self::OneMore => "the fence plus 1",
            Self::Anothers => "another decision's fence",
            Self::Voided => "a fence from before a reissue",
            Self::NoneNow => "no fence after a reissue",
            Self::HeaderOfLetters => "letters in the header",
            Self::HeaderTooGreat => "too great a number in the header",
            Self::BodyOfLetters => "a string in the body",
            Self::BodyWithFraction => "a fraction in the body",
            Self::Late => "a fence after the decision",
        })
    }
}

/// A request for a decision or a reissue, and what was said to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// What was wanted.
    pub act: Act,
    /// Which fence it was meant to show.
    pub aim: Aim,
    /// Which fence it showed; of a malformed one, where.
    pub fence: Shown,
    /// Just before it was sent.
    pub invoked_us: u64,
    /// When the answer was there; none without an answer.
    pub returned_us: Option<u64>,
    /// Its status; 0 without an answer.
    pub status: u16,
    /// `error.code`.
    pub code: String,
    /// The verdict that it names.
    pub verdict: String,
    /// The fence that a 2xx names.
    pub told: Option<i64>,
}

impl Attempt {
    /// The row of an exchange.
    pub(super) fn new(act: Act, aim: Aim, fence: Shown, exchange: &Exchange) -> Self {
        let answer = exchange.answered();
        let told = if exchange.ok() {
            answer
        } else {
            &answer["error"]["details"]
        };
        Self {
            act,
            aim,
            fence,
            invoked_us: exchange.invoked_us,
            returned_us: exchange.returned_us,
            status: exchange.status(),
            code: exchange.code().to_owned(),
            verdict: told["verdict"].as_str().unwrap_or_default().to_owned(),
            told: answer["fence_token"].as_i64().filter(|_| exchange.ok()),
        }
    }

    /// Whether it was done.
    pub(super) fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// When it was under way, if it was answered: only then it surely reached the target.
    pub(super) fn interval(&self) -> Option<(u64, u64)> {
        Some((self.invoked_us, self.returned_us?))
    }

    fn call(&self) -> Call {
        let fence = self.fence.token().map(i64::cast_unsigned);
        match self.act {
            Act::Decide(Verb::Approve) => Call::Approve { fence },
            Act::Decide(Verb::Deny) => Call::Deny { fence },
            Act::Reissue => Call::Reissue { fence },
        }
    }

    /// What the specification calls the answer; none for one that it has no word for.
    fn output(&self) -> Option<Output> {
        if self.ok() && self.act == Act::Reissue {
            let fence = self.told?.cast_unsigned();
            return Some(Output::Reissued { fence });
        }
        decided(self.status, &self.code, &self.verdict)
    }

    /// Whether a fence that is none was refused as the contract has it: malformed, against the
    /// schema, or not the current one.
    fn refused_as_malformed(&self) -> bool {
        matches!(self.status, 400 | 422) || (self.status == 409 && self.code == "FENCE_STALE")
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (act, aim) = (self.act.path(), self.aim);
        match self.fence {
            Shown::Nothing => write!(f, "{act} with {aim}: ")?,
            Shown::Header(token) => write!(f, "{act} with {aim} ({token}, header): ")?,
            Shown::Body(token) => write!(f, "{act} with {aim} ({token}, body): ")?,
        }
        match self.returned_us {
            None => f.write_str("no answer"),
            Some(_) if self.code.is_empty() => write!(f, "{}", self.status),
            Some(_) => write!(f, "{} {} {}", self.status, self.code, self.verdict),
        }
    }
}

/// What the target shows of a decision: the fence it is pending with, none if it is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Before the request.
    pub invoked_us: u64,
    /// After the answer; none without one.
    pub returned_us: Option<u64>,
    /// The status; 0 without an answer.
    pub status: u16,
    /// The fence beside the id.
    pub fence: Option<i64>,
}

impl Look {
    /// The row of an exchange, whose answer shows this of the decision, null for nothing.
    pub(super) fn new(exchange: &Exchange, shown: &Value) -> Self {
        Self {
            invoked_us: exchange.invoked_us,
            returned_us: exchange.returned_us,
            status: exchange.status(),
            fence: shown["fence_token"].as_i64(),
        }
    }
}

impl Story {
    /// Every request.
    pub(super) fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        let asked = self.steps.iter().filter_map(|step| match step {
            Step::Asked(asked) => Some(asked),
            Step::Looked(_) => None,
        });
        self.race.iter().chain(asked)
    }

    /// The fences that it was issued with.
    pub(super) fn issues(&self) -> impl Iterator<Item = Issue<'_>> {
        let Minted {
            id,
            fence,
            minted_us,
            shown_us,
            ..
        } = &self.decision;
        let first = Issue {
            id,
            fence: *fence,
            invoked_us: *minted_us,
            returned_us: *shown_us,
        };
        let reissued = self.attempts().filter(|asked| asked.act == Act::Reissue);
        let reissued = reissued.filter_map(move |asked| {
            Some(Issue {
                id,
                fence: asked.told?,
                invoked_us: asked.invoked_us,
                returned_us: asked.returned_us?,
            })
        });
        std::iter::once(first).chain(reissued)
    }

    /// Whether it was reissued when its time was over, and won with the new fence.
    pub(super) fn won_after_expiry(&self, reissue_ttl_ms: u64) -> bool {
        let mut attempts = self.attempts();
        let over = |asked: &Attempt| {
            self.ttl(asked.invoked_us, asked.returned_us, reissue_ttl_ms) == Ttl::Passed
        };
        attempts.any(|asked| asked.act == Act::Reissue && asked.ok() && over(asked))
            && attempts.any(|asked| asked.act == Act::Decide(Verb::Approve) && asked.ok())
    }

    /// Whether it was issued before this KILL and decided after it.
    pub(super) fn crosses(&self, kill: &Kill) -> bool {
        let after = |asked: &Attempt| {
            let late = kill.ready_us.is_some_and(|ready| asked.invoked_us >= ready);
            late && asked.act != Act::Reissue && asked.ok()
        };
        self.decision.shown_us < kill.killed_us && self.attempts().any(after)
    }

    /// What contradicts the claim.
    pub(super) fn violations(
        &self,
        reissue_ttl_ms: u64,
        undecided: &mut Vec<String>,
    ) -> Vec<String> {
        let mut found = Vec::new();
        if self.race.is_empty() {
            self.judge_steps(reissue_ttl_ms, &mut found);
        } else {
            self.judge_history(reissue_ttl_ms, &mut found, undecided);
        }
        for asked in self.attempts() {
            if asked.aim.is_malformed() && !asked.refused_as_malformed() {
                found.push(format!("{asked}, expected 400, 422 or 409 FENCE_STALE"));
            }
            let decided = asked.ok() && asked.act != Act::Reissue && !asked.aim.is_malformed();
            let shown = asked.fence.token().unwrap_or(self.decision.fence);
            if decided && asked.told != Some(shown) {
                found.push(format!(
                    "{asked}, with fence {:?}, expected {shown}",
                    asked.told
                ));
            }
        }
        self.judge_runs(&mut found);
        let Minted { route, id, .. } = &self.decision;
        found
            .into_iter()
            .map(|what| format!("{route} {id}: {what}"))
            .collect()
    }

    /// One step after the other: each answer and each look is what the specification allows.
    fn judge_steps(&self, reissue_ttl_ms: u64, found: &mut Vec<String>) {
        let spec = self.spec();
        let mut state = spec.init(&self.decision.id);
        for step in &self.steps {
            match step {
                Step::Looked(look) => {
                    if let Some(wrong) = self.misses(look, &state, reissue_ttl_ms) {
                        found.push(wrong);
                    }
                }
                Step::Asked(asked) if asked.aim.is_malformed() => {}
                Step::Asked(asked) => {
                    let input = self.input(asked, reissue_ttl_ms);
                    let output = asked.output().filter(|_| asked.returned_us.is_some());
                    let next = output.and_then(|output| after(&spec, &state, &input, output));
                    let Some(next) = next else {
                        let expected = allowed(&spec, &state, &input);
                        found.push(format!("{asked}, expected {expected}"));
                        // What the state is now, nobody knows.
                        return;
                    };
                    state = next;
                }
            }
        }
    }

    /// A look at a pending decision shows its fence, one at any other does not show it.
    fn misses(&self, look: &Look, state: &State, reissue_ttl_ms: u64) -> Option<String> {
        let ttl = self.ttl(look.invoked_us, look.returned_us, reissue_ttl_ms);
        let fence = match state.fence {
            Fence::Known(fence) => Some(fence.cast_signed()),
            Fence::Above(_) => None,
        };
        let pending = state.phase == Phase::Pending;
        let right = match look.fence {
            _ if look.status != 200 => false,
            None => !pending || ttl.may_have_passed(),
            shown => pending && ttl.may_run() && shown == fence,
        };
        let expected = fence.filter(|_| pending && ttl.may_run());
        let Look { status, fence, .. } = look;
        (!right).then(|| {
            format!("a look at what is pending got {status} with fence {fence:?}, expected 200 with {expected:?}")
        })
    }

    /// There is one order that explains every answer.
    fn judge_history(
        &self,
        reissue_ttl_ms: u64,
        found: &mut Vec<String>,
        undecided: &mut Vec<String>,
    ) {
        let asked: Vec<&Attempt> = self
            .attempts()
            .filter(|one| !one.aim.is_malformed())
            .collect();
        let history: Vec<_> = asked
            .iter()
            .map(|asked| Operation {
                input: self.input(asked, reissue_ttl_ms),
                invoked: asked.invoked_us,
                answered: asked.returned_us.zip(asked.output()),
            })
            .collect();
        for one in asked
            .iter()
            .filter(|one| one.status != 0 && one.output().is_none())
        {
            found.push(format!(
                "{one}, expected 200 or one of the contract's refusals"
            ));
        }
        match check(&self.spec(), &history, Bounds::of_states(STATES)) {
            Outcome::Ok { .. } => {}
            Outcome::Illegal(illegal) => found.push(format!(
                "no order of the {} answers explains them: after {} of them nothing allows {}",
                history.len(),
                illegal.prefix.len(),
                asked[illegal.stuck],
            )),
            Outcome::Unknown { key, states } => {
                undecided.push(format!(
                    "the history of {key} was given up after {states} states"
                ));
            }
        }
    }

    /// The tool ran once if an approval won, else never.
    fn judge_runs(&self, found: &mut Vec<String>) {
        let Some(runs) = self.runs else { return };
        let approvals = || {
            self.attempts()
                .filter(|one| one.act == Act::Decide(Verb::Approve))
        };
        let won = approvals().any(Attempt::ok);
        let open = approvals().any(|asked| asked.returned_us.is_none());
        let (least, most) = (u64::from(won), u64::from(won || open));
        if !(least..=most).contains(&runs) {
            found.push(format!("{runs} runs of the tool, expected {most}"));
        }
    }

    fn spec(&self) -> Confirmations {
        let Minted { id, fence, .. } = &self.decision;
        Confirmations::one(id, fence.cast_unsigned())
    }

    fn input(&self, asked: &Attempt, reissue_ttl_ms: u64) -> Input {
        Input {
            id: self.decision.id.clone(),
            call: asked.call(),
            ttl: self.ttl(asked.invoked_us, asked.returned_us, reissue_ttl_ms),
        }
    }

    /// Whether the last issue that was known by then can have ended. A reissue under way at the
    /// same time only makes it live longer, as the first issues of races do in any case.
    fn ttl(&self, invoked_us: u64, returned_us: Option<u64>, reissue_ttl_ms: u64) -> Ttl {
        let known = self
            .issues()
            .filter(|issue| issue.returned_us <= invoked_us);
        let Some(issue) = known.max_by_key(|issue| issue.returned_us) else {
            return Ttl::Running;
        };
        let first = issue.returned_us == self.decision.shown_us;
        let ttl_us = 1_000 * if first { self.ttl_ms } else { reissue_ttl_ms };
        if invoked_us > issue.returned_us + ttl_us + ROUNDING_US {
            return Ttl::Passed;
        }
        match returned_us {
            Some(at) if at + ROUNDING_US < issue.invoked_us + ttl_us => Ttl::Running,
            _ => Ttl::MayHavePassed,
        }
    }
}

/// The state after this answer, if it can be.
fn after(spec: &Confirmations, state: &State, input: &Input, output: Output) -> Option<State> {
    let mut next = Vec::new();
    spec.step(state, input, Some(&output), &mut next);
    next.pop()
}

/// The answers that the specification allows, in the contract's words.
fn allowed(spec: &Confirmations, state: &State, input: &Input) -> String {
    let candidates = [
        (Output::Won, "200"),
        (
            Output::Reissued { fence: u64::MAX },
            "200 with a greater fence",
        ),
        (
            Output::Decided(Verdict::Approved),
            "409 ALREADY_DECIDED approved",
        ),
        (
            Output::Decided(Verdict::Denied),
            "409 ALREADY_DECIDED denied",
        ),
        (Output::Stale, "409 FENCE_STALE"),
        (Output::Expired, "409 CONFIRMATION_EXPIRED"),
    ];
    let words = candidates.into_iter();
    let words = words.filter(|(output, _)| after(spec, state, input, *output).is_some());
    let words: Vec<&str> = words.map(|(_, words)| words).collect();
    words.join(" or ")
}
