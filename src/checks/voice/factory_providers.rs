//! Gate factory-providers: environment and config pick the provider, config first, and an unknown name
//! is unavailable, not a crash.
//!
//! Pipecat alone is started with every combination of what the config says and what the environment
//! says, both of what hears and of what speaks. Each says which provider it has, who chose it and
//! whether it is of use; a word is said to it, so that the provider that it tells of is also the one
//! that hears; and it has to be there afterwards.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pipecat::{self, PIPECAT, alive, backends_until, started, understood, unheard};
use super::stage::{Stage, letters};
use super::talk::{BOUND, Line};
use crate::base::json::merge;
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Credential};
use crate::violation;

/// A name that no provider has.
const UNKNOWN: &str = "unheard-of";

/// What the config says and what the environment says.
type Named = (Option<&'static str>, Option<&'static str>);

/// The combinations. What speaks is tried with the same ones, from the last to the first.
const MATRIX: [Named; 10] = [
    (None, Some("http")),
    (None, Some("builtin")),
    (None, Some("none")),
    (None, Some(UNKNOWN)),
    (Some("builtin"), Some("http")),
    (Some("http"), Some("builtin")),
    (Some("none"), Some("http")),
    (Some(UNKNOWN), Some("builtin")),
    (Some("http"), Some(UNKNOWN)),
    (Some("builtin"), None),
];

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// One start after the other.
    pub tried: Vec<Tried>,
}

/// A start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tried {
    /// What hears: what the config says and what the environment says.
    pub asr: (Option<String>, Option<String>),
    /// What speaks.
    pub tts: (Option<String>, Option<String>),
    /// What it says of its providers; none when it was not ready.
    pub told: Option<Sent>,
    /// The word that was said to it.
    pub word: String,
    /// What came of it.
    pub lines: Vec<Line>,
    /// How often the speech provider was asked.
    pub asked: usize,
    /// `/healthz` after all of it.
    pub after: Option<Sent>,
}

/// Which provider is to be in force, who chose it, and whether it is of use. The doubles are up.
fn expected((config, environment): &(Option<String>, Option<String>)) -> (&str, &str, bool) {
    let (name, chosen_by) = match (config, environment) {
        (Some(name), _) => (name, "config"),
        (None, Some(name)) => (name, "environment"),
        (None, None) => return ("http", "discovery", true),
    };
    (
        name,
        chosen_by,
        ["http", "builtin"].contains(&name.as_str()),
    )
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["combinations", "unknown_names"] {
        judgement.exercised(counter, 0);
    }
    for tried in &seen.tried {
        let before = judgement.violations.len();
        let known = one(tried, &mut judgement);
        let right = judgement.violations.len() == before;
        judgement.exercised("combinations", u64::from(right));
        judgement.exercised("unknown_names", u64::from(right && !known));
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} of {} combinations of config and environment as expected, {} of them with an unknown \
         name: {} violations",
        count("combinations"),
        seen.tried.len(),
        count("unknown_names"),
        judgement.violations.len()
    );
    judgement
}

fn is_right(tried: &Tried) -> bool {
    let mut judgement = Judgement::default();
    one(tried, &mut judgement);
    judgement.violations.is_empty()
}

/// One start; whether all its names are known.
fn one(tried: &Tried, judgement: &mut Judgement) -> bool {
    let about = format!("asr {:?}, tts {:?}", tried.asr, tried.tts);
    let Some(told) = &tried.told else {
        violation!(
            judgement,
            "{about}: got no process that is ready, expected one"
        );
        return true;
    };
    for (kind, named) in [("asr", &tried.asr), ("tts", &tried.tts)] {
        let (provider, chosen_by, available) = expected(named);
        let got = &told.answer[kind];
        let right = got["provider"] == provider
            && got["chosen_by"] == chosen_by
            && got["available"] == available
            && (available || got["reason"].as_str().is_some_and(|why| !why.is_empty()));
        judgement.expect(right, || {
            let word = if available {
                "available"
            } else {
                "unavailable for a reason"
            };
            format!("{about}: got {kind} {got}, expected {provider} by {chosen_by}, {word}")
        });
    }
    hears(&about, tried, judgement);
    let there = tried.after.as_ref().is_some_and(Sent::ok);
    judgement.expect(alive(&tried.lines) && there, || {
        format!("{about}: got no answer after a word was said, expected a service that lives on")
    });
    let known = |(config, environment): &(Option<String>, Option<String>)| {
        let names = [config, environment];
        !names.into_iter().flatten().any(|name| name == UNKNOWN)
    };
    known(&tried.asr) && known(&tried.tts)
}

/// The provider that is told of is the one that hears.
fn hears(about: &str, tried: &Tried, judgement: &mut Judgement) {
    let (provider, _, available) = expected(&tried.asr);
    let (got, refusal) = (understood(&tried.lines), unheard(&tried.lines));
    judgement.expect(
        got.is_some() == available && refusal.is_some() != available,
        || {
            let wanted = if available {
                "a transcript"
            } else {
                "ASR_UNAVAILABLE"
            };
            format!("{about}: got {got:?} for a word, and {refusal:?}, expected {wanted}")
        },
    );
    let asked = tried.asked > 0;
    judgement.expect(asked == (provider == "http"), || {
        let times = tried.asked;
        format!("{about}: the speech provider was asked {times} times under {provider}")
    });
    if provider == "http" && got.is_some() {
        let word = tried.word.as_str();
        judgement.expect(got == Some(word), || {
            format!("{about}: got {got:?} for a word, expected {word:?}")
        });
    }
}

/// Drives it.
///
/// # Errors
/// When that is not the target's fault.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let stage = Stage::open(cx).await?;
    let mut rng = cx.seed.child("words").rng();
    for (asr, tts) in MATRIX.into_iter().zip(MATRIX.into_iter().rev()) {
        let owned = |(config, environment): Named| {
            (config.map(str::to_owned), environment.map(str::to_owned))
        };
        let mut tried = Tried {
            asr: owned(asr),
            tts: owned(tts),
            word: letters(&mut rng, 4),
            ..Tried::default()
        };
        attempt(cx, &stage, (asr, tts), &mut tried).await?;
        let right = is_right(&tried);
        seen.tried.push(tried);
        if !right {
            // Nothing more is learned from another start.
            break;
        }
    }
    Ok(())
}

async fn attempt(
    cx: &mut Cx,
    stage: &Stage,
    (asr, tts): (Named, Named),
    tried: &mut Tried,
) -> Result<(), Undecided> {
    let mut config = stage.config();
    let names = json!({"voice": {
        "asr": {"provider": asr.0}, "tts": {"provider": tts.0}, "probe_interval_ms": 50,
    }});
    merge(&mut config, &names);
    let env: Vec<_> = [("SONIA_ASR_PROVIDER", asr.1), ("SONIA_TTS_PROVIDER", tts.1)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let setup = pipecat::setup(cx, config, &env);
    let Some(mut instance) = started(cx, setup).await? else {
        return Ok(());
    };
    let client = instance.client(Credential::Operator(1));
    let settled = |told: &Value| {
        let one = |kind: &str, named| told[kind]["available"] == expected(named).2;
        one("asr", &tried.asr) && one("tts", &tried.tts)
    };
    let told = backends_until(cx, &client, BOUND, settled).await;
    let before = stage.asr.asked().len();
    tried.lines = pipecat::word(cx, &client, &tried.word).await?;
    tried.asked = stage.asr.asked().len() - before;
    tried.told = Some(told);
    tried.after = Some(Sent::by(&client, Ask::get(PIPECAT, "/healthz")).await);
    instance.exited();
    Ok(())
}

#[cfg(test)]
#[path = "factory_providers_tests.rs"]
mod tests;
