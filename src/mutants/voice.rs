//! Defects of the voice socket, of its providers, and of what passes between them.

use std::sync::Arc;

use axum::extract::ws::Message;
use futures_util::future::{BoxFuture, join};
use serde_json::{Value, json};

use super::{DAY_MS, May, Mutant};
use crate::reference::frames::Frame;
use crate::reference::ids;
use crate::reference::service::Service;
use crate::reference::voice::asr::ByProvider;
use crate::reference::voice::turn::AtGateway;
use crate::reference::voice::{
    Choice, ChosenBy, Ears, Found, Inbound, Kind, Piece, Turns, Unavailable, Understood, Utterance,
    choose, probe, read,
};

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "voice-canned-result",
        must: &["backends-wired"],
        may: &[
            May {
                gate: "asr-config-fix",
                reason: "what was said is not what is understood",
            },
            May {
                gate: "factory-providers",
                reason: "what was said is not what is understood",
            },
            May {
                gate: "ws-audio-framing",
                reason: "what was said is not what is understood",
            },
            May {
                gate: "streaming-asr",
                reason: "what was said is not what is understood",
            },
            May {
                gate: "vad-turn-detect",
                reason: "what was said is not what is understood",
            },
            May {
                gate: "e2e-audio-test",
                reason: "what was said is not what is understood",
            },
        ],
        apply: |levers| levers.part(|parts| parts.voice.ears = Arc::new(Canned)),
    },
    Mutant {
        name: "voice-bytes-truncated",
        must: &["backends-wired"],
        may: &[
            May {
                gate: "asr-config-fix",
                reason: "the end of what was said is not heard",
            },
            May {
                gate: "factory-providers",
                reason: "the end of what was said is not heard",
            },
            May {
                gate: "ws-audio-framing",
                reason: "the end of what was said is not heard",
            },
            May {
                gate: "streaming-asr",
                reason: "the end of what was said is not heard",
            },
            May {
                gate: "vad-turn-detect",
                reason: "the end of what was said is not heard",
            },
            May {
                gate: "e2e-audio-test",
                reason: "the end of what was said is not heard",
            },
        ],
        apply: |levers| levers.part(|parts| parts.voice.ears = Arc::new(Truncates)),
    },
    Mutant {
        name: "asr-missing-key-crashes",
        must: &["asr-config-fix"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.voice.ears = Arc::new(NeedsItsKey)),
    },
    Mutant {
        name: "asr-key-not-sent",
        must: &["asr-config-fix"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.voice.ears = Arc::new(Keyless)),
    },
    Mutant {
        name: "provider-always-builtin",
        must: &["factory-providers"],
        may: &[May {
            gate: "default-backend-auto",
            reason: "what the environment names is not what is taken",
        }],
        apply: |levers| levers.part(|parts| parts.voice.choose = builtin),
    },
    Mutant {
        name: "provider-unknown-crashes",
        must: &["factory-providers"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.voice.choose = known),
    },
    Mutant {
        name: "provider-not-probed",
        must: &["default-backend-auto"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.voice.choose = unseen),
    },
    Mutant {
        name: "provider-probe-hangs-start",
        must: &["default-backend-auto"],
        may: &[],
        apply: |levers| {
            levers.config(json!({"voice": {"probe_ms": DAY_MS}}));
            levers.part(|parts| parts.voice.prepare = look_first);
        },
    },
    Mutant {
        name: "voice-binary-read-as-text",
        must: &["ws-audio-framing"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.voice.framing = as_text),
    },
    Mutant {
        name: "voice-odd-length-closes",
        must: &["ws-audio-framing"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.voice.framing = close_on_odd),
    },
    Mutant {
        name: "voice-wrong-envelope",
        must: &["voice-roundtrip-test"],
        may: &[May {
            gate: "tts-streaming",
            reason: "what was typed comes back with all that was around it",
        }],
        apply: |levers| levers.part(|parts| parts.voice.turns = Arc::new(WholeFrame)),
    },
    Mutant {
        name: "voice-new-correlation-id",
        must: &["voice-roundtrip-test"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.voice.turns = Arc::new(FreshId)),
    },
];

type Heard<'a> = BoxFuture<'a, Result<Understood, Unavailable>>;

/// The same is always understood, and nobody is asked.
struct Canned;

impl Ears for Canned {
    fn hear<'a>(&'a self, _svc: &'a Service, choice: &'a Choice, _piece: &'a Piece) -> Heard<'a> {
        let canned = choice.usable().map(|_| Understood {
            text: "hello there".to_owned(),
        });
        Box::pin(std::future::ready(canned))
    }
}

/// The last sample of each piece is left out.
struct Truncates;

impl Ears for Truncates {
    fn hear<'a>(&'a self, svc: &'a Service, choice: &'a Choice, piece: &'a Piece) -> Heard<'a> {
        let mut piece = piece.clone();
        piece.pcm.truncate(piece.pcm.len().saturating_sub(2));
        Box::pin(async move { ByProvider.hear(svc, choice, &piece).await })
    }
}

/// Where a key is missing there is nothing to go on with.
struct NeedsItsKey;

impl Ears for NeedsItsKey {
    fn hear<'a>(&'a self, svc: &'a Service, choice: &'a Choice, piece: &'a Piece) -> Heard<'a> {
        Box::pin(async move {
            if choice.provider.as_deref() == Some("keyed") {
                choice.usable().expect("a keyed provider has its key");
            }
            ByProvider.hear(svc, choice, piece).await
        })
    }
}

/// A keyed provider is asked as any other.
struct Keyless;

impl Ears for Keyless {
    fn hear<'a>(&'a self, svc: &'a Service, choice: &'a Choice, piece: &'a Piece) -> Heard<'a> {
        let mut choice = choice.clone();
        if choice.provider.as_deref() == Some("keyed") {
            choice.provider = Some("http".to_owned());
        }
        Box::pin(async move { ByProvider.hear(svc, &choice, piece).await })
    }
}

/// Whatever the environment names, it is the built-in one.
fn builtin(kind: Kind, svc: &Service, found: &Found) -> Choice {
    let choice = choose(kind, svc, found);
    match choice.chosen_by {
        ChosenBy::Environment => Choice {
            provider: Some("builtin".to_owned()),
            unusable: None,
            there: Ok(()),
            ..choice
        },
        ChosenBy::Config | ChosenBy::Discovery => choice,
    }
}

/// A name that nobody has is not reckoned with.
fn known(kind: Kind, svc: &Service, found: &Found) -> Choice {
    let choice = choose(kind, svc, found);
    let names = ["http", "keyed", "builtin", "none"];
    if let Some(name) = choice.provider.as_deref() {
        names
            .iter()
            .position(|one| *one == name)
            .expect("a provider of this name");
    }
    choice
}

/// Where nobody names one, nothing is ever found.
fn unseen(kind: Kind, svc: &Service, found: &Found) -> Choice {
    let choice = choose(kind, svc, found);
    match choice.chosen_by {
        ChosenBy::Discovery => choose(kind, svc, &Found::default()),
        ChosenBy::Config | ChosenBy::Environment => choice,
    }
}

/// Nothing is served before both backends were looked at, however long that takes.
fn look_first(svc: Arc<Service>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        // What was found does not matter here.
        let _ = join(probe(&svc, Kind::Asr), probe(&svc, Kind::Tts)).await;
    })
}

/// Audio that reads as a frame is one.
fn as_text(message: Message, longest: usize) -> Inbound {
    match message {
        Message::Binary(pcm) => match Frame::read(&String::from_utf8_lossy(&pcm)) {
            Ok(frame) => Inbound::Frame(frame),
            Err(_) => read(Message::Binary(pcm), longest),
        },
        message => read(message, longest),
    }
}

/// Half a sample ends the conversation.
fn close_on_odd(message: Message, longest: usize) -> Inbound {
    match message {
        Message::Binary(pcm) if pcm.len() <= longest && pcm.len() % 2 == 1 => Inbound::Close,
        message => read(message, longest),
    }
}

type Taken<'a> = BoxFuture<'a, Result<Value, Unavailable>>;

/// What was typed is handed on with all that was around it.
struct WholeFrame;

impl Turns for WholeFrame {
    fn take<'a>(&'a self, svc: &'a Service, utterance: &'a Utterance) -> Taken<'a> {
        let mut utterance = utterance.clone();
        if utterance.typed {
            let payload = json!({"text": utterance.text});
            utterance.text = json!({"type": "input.text", "payload": payload}).to_string();
        }
        Box::pin(async move { AtGateway.take(svc, &utterance).await })
    }
}

/// What was typed becomes a turn under an id of its own.
struct FreshId;

impl Turns for FreshId {
    fn take<'a>(&'a self, svc: &'a Service, utterance: &'a Utterance) -> Taken<'a> {
        let mut utterance = utterance.clone();
        if utterance.typed {
            utterance.correlation_id = ids::make("req_");
        }
        Box::pin(async move { AtGateway.take(svc, &utterance).await })
    }
}
