//! Gate asr-config-fix: a keyed provider gets its key; without one there is a clean error frame and the
//! service lives on.
//!
//! Pipecat alone, told to use the keyed provider: with the key in a file, with it in the environment,
//! and with none at all. The provider sees which key each call carries; nobody else does.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::pipecat::{self, PIPECAT, alive, backends, started, understood, unheard};
use super::stage::{Stage, letters};
use super::talk::Line;
use crate::base::json::{merge, sha256_hex};
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Credential};
use crate::violation;

/// The file of the key, in the folder of the config.
const KEY_FILE: &str = "speech.key";

/// Where the key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// In the file that the config names.
    File,
    /// In the environment.
    Environment,
    /// There is none: the config names a file that is not there.
    Nowhere,
    /// There is none, and the config names no file.
    Unnamed,
}

impl Key {
    const ALL: [Self; 4] = [Self::File, Self::Environment, Self::Nowhere, Self::Unnamed];

    fn is_there(self) -> bool {
        matches!(self, Self::File | Self::Environment)
    }
}

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// One start for each place.
    pub tried: Vec<Tried>,
}

/// A start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// Where the key is.
    pub key: Key,
    /// SHA-256 of the `Authorization` header that it makes.
    pub credential: String,
    /// `/voice/backends`; none when it was not ready.
    pub told: Option<Sent>,
    /// The word that was said.
    pub word: String,
    /// What came of it.
    pub lines: Vec<Line>,
    /// What each call of the provider carried, as the SHA-256 of its `Authorization` header.
    pub carried: Vec<Option<String>>,
    /// `/healthz` after all of it.
    pub after: Option<Sent>,
    /// Where the key was seen that is the provider's alone.
    pub leaked: Vec<String>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["keyed_calls", "keyless_errors"] {
        judgement.exercised(counter, 0);
    }
    for tried in &seen.tried {
        one(tried, &mut judgement);
    }
    let count = |what| judgement.exercised.get(what).copied().unwrap_or_default();
    judgement.detail = format!(
        "{} calls carried their key, {} words without one were refused: {} violations",
        count("keyed_calls"),
        count("keyless_errors"),
        judgement.violations.len()
    );
    judgement
}

fn one(tried: &Tried, judgement: &mut Judgement) {
    let about = format!("key {:?}", tried.key);
    let Some(told) = &tried.told else {
        violation!(
            judgement,
            "{about}: got no process that is ready, expected one"
        );
        return;
    };
    let (asr, there) = (&told.answer["asr"], tried.key.is_there());
    // With a key it depends on the provider, too, whether it is available.
    let fits = there || asr["available"] == false && asr["reason"].is_string();
    judgement.expect(asr["provider"] == "keyed" && fits, || {
        format!("{about}: got asr {asr}, expected keyed, unavailable for a reason without a key")
    });
    for place in &tried.leaked {
        violation!(
            judgement,
            "{about}: the key was seen in {place}, expected it nowhere"
        );
    }
    let lives = alive(&tried.lines) && tried.after.as_ref().is_some_and(Sent::ok);
    judgement.expect(lives, || {
        format!("{about}: got no answer after a word was said, expected a service that lives on")
    });
    if there {
        keyed(&about, tried, judgement);
    } else {
        let refused = unheard(&tried.lines).is_some_and(|refusal| {
            let message = refusal.payload["message"].as_str().unwrap_or_default();
            !message.is_empty() && refusal.payload["retryable"].is_boolean()
        });
        judgement.expect(refused && understood(&tried.lines).is_none(), || {
            let got = understood(&tried.lines);
            format!("{about}: got {got:?} for a word, expected an error frame ASR_UNAVAILABLE")
        });
        judgement.expect(tried.carried.is_empty(), || {
            let calls = tried.carried.len();
            format!("{about}: the provider was asked {calls} times, expected never")
        });
        judgement.exercised("keyless_errors", u64::from(refused));
    }
}

fn keyed(about: &str, tried: &Tried, judgement: &mut Judgement) {
    let got = understood(&tried.lines);
    judgement.expect(got == Some(tried.word.as_str()), || {
        format!("{about}: got {got:?} for a word, expected {:?}", tried.word)
    });
    let right = |carried: &&Option<String>| carried.as_deref() == Some(tried.credential.as_str());
    let keyed = tried.carried.iter().filter(right).count();
    judgement.expect(keyed == tried.carried.len() && keyed > 0, || {
        let calls = tried.carried.len();
        format!("{about}: {keyed} of {calls} calls carried the key, expected all")
    });
    judgement.exercised("keyed_calls", keyed as u64);
}

/// Drives it.
///
/// # Errors
/// When that is not the target's fault.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let stage = Stage::open(cx).await?;
    let mut rng = cx.seed.child("keys").rng();
    for key in Key::ALL {
        let secret = format!("asr_{}", letters(&mut rng, 24));
        let mut tried = Tried {
            key,
            credential: sha256_hex(format!("Bearer {secret}").as_bytes()),
            told: None,
            word: letters(&mut rng, 4),
            lines: Vec::new(),
            carried: Vec::new(),
            after: None,
            leaked: Vec::new(),
        };
        attempt(cx, &stage, &secret, &mut tried).await?;
        let mut judgement = Judgement::default();
        one(&tried, &mut judgement);
        seen.tried.push(tried);
        if !judgement.violations.is_empty() {
            // Nothing more is learned from another start.
            break;
        }
    }
    Ok(())
}

async fn attempt(
    cx: &mut Cx,
    stage: &Stage,
    secret: &str,
    tried: &mut Tried,
) -> Result<(), Undecided> {
    let file = (tried.key != Key::Unnamed).then_some(KEY_FILE);
    let mut config = stage.config();
    let keyed = json!({"voice": {"asr": {"provider": "keyed", "key_file": file}}});
    merge(&mut config, &keyed);
    let env = [("SONIA_ASR_KEY", secret)];
    let env = if tried.key == Key::Environment {
        &env[..]
    } else {
        &[]
    };
    let setup = pipecat::setup(cx, config, env);
    if tried.key == Key::File {
        std::fs::create_dir_all(&setup.dir)?;
        std::fs::write(setup.dir.join(KEY_FILE), format!("{secret}\n"))?;
    }
    let Some(mut instance) = started(cx, setup).await? else {
        return Ok(());
    };
    let client = instance.client(Credential::Operator(1));
    let before = stage.asr.asked().len();
    tried.lines = pipecat::word(cx, &client, &tried.word).await?;
    let made = stage.asr.asked().into_iter().skip(before);
    tried.carried = made.map(|call| call.credential).collect();
    let config = Sent::by(&client, Ask::get(PIPECAT, "/v3/config")).await;
    let told = backends(&client).await;
    let after = Sent::by(&client, Ask::get(PIPECAT, "/healthz")).await;
    let lines = serde_json::to_value(&tried.lines)?;
    let places = [
        ("/voice/backends", told.answer.to_string()),
        ("/v3/config", config.answer.to_string()),
        ("what was said", lines.to_string()),
        ("the log", instance.stderr()?),
    ];
    let seen = places.into_iter().filter(|(_, text)| text.contains(secret));
    tried.leaked = seen.map(|(place, _)| place.to_owned()).collect();
    (tried.told, tried.after) = (Some(told), Some(after));
    instance.exited();
    Ok(())
}

#[cfg(test)]
#[path = "asr_config_fix_tests.rs"]
mod tests;
