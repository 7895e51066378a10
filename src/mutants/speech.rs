//! Defects of what is heard and said: how an utterance is understood, where it ends, how its answer is
//! played, and what becomes of a provider that is down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::ws::Message;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{DAY_MS, May, Mutant};
use crate::reference::service::Service;
use crate::reference::voice::conversation::Stopper;
use crate::reference::voice::speech::AsItComes;
use crate::reference::voice::tts::Pcm;
use crate::reference::voice::vad::{FRAME_BYTES, Heard, TurnDetector, Vad, VadRule};
use crate::reference::voice::{
    Choice, Ears, Mouth, Piece, Playing, Saying, Seams, Speech, Spoken, Stop, Transcript, Turns,
    Unavailable, Understood, Utterance, transcribe,
};

/// Messages that wait to be put in another order.
const WAITING: usize = 8;

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "asr-batch-only",
        must: &["streaming-asr"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| parts.voice.ears = Arc::new(InOnePiece::new(&parts.voice)));
        },
    },
    Mutant {
        name: "asr-two-finals",
        must: &["streaming-asr"],
        may: &[May {
            gate: "backends-wired",
            reason: "an utterance has two transcripts at its end",
        }],
        apply: |levers| levers.part(|parts| parts.voice.transcribe = twice_at_the_end),
    },
    Mutant {
        name: "vad-turn-never-ends",
        must: &["vad-turn-detect"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.voice.detector = |rule| Box::new(endless(rule))),
    },
    Mutant {
        name: "vad-turn-per-frame",
        must: &["vad-turn-detect"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| parts.voice.detector = |rule| Box::new(FrameByFrame::new(rule)));
        },
    },
    Mutant {
        name: "vad-no-barge-in",
        must: &["vad-turn-detect"],
        may: &[],
        apply: |levers| levers.part(|parts| parts.voice.speech = Arc::new(NotInterrupted)),
    },
    Mutant {
        name: "tts-single-blob",
        must: &["tts-streaming"],
        may: &[May {
            gate: "vad-turn-detect",
            reason: "what is not played before it is whole cannot be interrupted while it is made",
        }],
        apply: |levers| levers.part(|parts| parts.voice.speech = Arc::new(AtOnce)),
    },
    Mutant {
        name: "tts-frames-reordered",
        must: &["tts-streaming"],
        may: &[
            May {
                gate: "e2e-audio-test",
                reason: "speech in another order decodes to another text",
            },
            May {
                gate: "vad-turn-detect",
                reason: "the speech after an interruption is not what was synthesized",
            },
            May {
                gate: "backends-wired",
                reason: "what is heard is not what the backend gave",
            },
        ],
        apply: |levers| levers.part(|parts| parts.voice.speech = Arc::new(InPairs)),
    },
    Mutant {
        name: "voice-down-is-silence",
        must: &["e2e-audio-test"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                let before = parts.voice.clone();
                parts.voice.ears = Arc::new(Silent(before.clone()));
                parts.voice.turns = Arc::new(Silent(before.clone()));
                parts.voice.mouth = Arc::new(Silent(before));
            });
        },
    },
    Mutant {
        name: "voice-down-hangs",
        must: &["e2e-audio-test"],
        may: &[],
        apply: |levers| {
            levers.config(json!({"voice": {
                "asr": {"timeout_ms": DAY_MS}, "tts": {"timeout_ms": DAY_MS},
                "turn_timeout_ms": DAY_MS,
            }}));
        },
    },
];

/// An utterance is sent to be understood when it is over.
struct InOnePiece {
    ears: Arc<dyn Ears>,
    waiting: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl InOnePiece {
    fn new(before: &Seams) -> Self {
        Self {
            ears: Arc::clone(&before.ears),
            waiting: Mutex::default(),
        }
    }

    /// All of the utterance, once this piece is the last.
    fn whole(&self, piece: &Piece) -> Option<Piece> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let pcm = waiting.entry(piece.stream.clone()).or_default();
        pcm.extend_from_slice(&piece.pcm);
        if !piece.last {
            return None;
        }
        Some(Piece {
            pcm: waiting.remove(&piece.stream).unwrap_or_default(),
            sequence: 0,
            before: 0,
            ..piece.clone()
        })
    }
}

impl Ears for InOnePiece {
    fn hear<'a>(
        &'a self,
        svc: &'a Service,
        choice: &'a Choice,
        piece: &'a Piece,
    ) -> BoxFuture<'a, Result<Understood, Unavailable>> {
        Box::pin(async move {
            match self.whole(piece) {
                Some(whole) => self.ears.hear(svc, choice, &whole).await,
                None => Ok(Understood {
                    text: String::new(),
                }),
            }
        })
    }
}

/// What was final is said again.
fn twice_at_the_end(piece: &Piece, understood: &Understood, said: &str) -> Vec<Transcript> {
    let said = transcribe(piece, understood, said);
    let again: Vec<_> = said
        .iter()
        .filter(|transcript| matches!(transcript, Transcript::Final(_)))
        .cloned()
        .collect();
    [said, again].concat()
}

/// No silence is long enough.
fn endless(rule: VadRule) -> Vad {
    Vad::new(VadRule {
        silence_ms: u64::MAX,
        ..rule
    })
}

/// Once somebody paused, every frame of speech is an utterance of its own.
struct FrameByFrame {
    vad: Vad,
    paused: bool,
}

impl FrameByFrame {
    fn new(rule: VadRule) -> Self {
        Self {
            vad: Vad::new(rule),
            paused: false,
        }
    }

    fn frame(&mut self, frame: &[u8], heard: &mut Vec<Heard>) {
        let silent = frame.iter().all(|byte| *byte == 0);
        if self.paused && !silent {
            heard.extend([Heard::Ended, Heard::Began]);
        }
        self.paused |= silent;
        heard.push(Heard::Audio(frame.to_vec()));
    }
}

impl TurnDetector for FrameByFrame {
    fn hear(&mut self, pcm: &[u8]) -> Vec<Heard> {
        let mut heard = Vec::new();
        for one in self.vad.hear(pcm) {
            match one {
                Heard::Audio(pcm) => {
                    for frame in pcm.chunks(FRAME_BYTES) {
                        self.frame(frame, &mut heard);
                    }
                }
                Heard::Began => {
                    self.paused = false;
                    heard.push(one);
                }
                Heard::Ended => heard.push(one),
            }
        }
        heard
    }

    fn end(&mut self) -> Vec<Heard> {
        self.vad.end()
    }
}

type Played<'a> = BoxFuture<'a, Result<(), Unavailable>>;

/// Who speaks is not listened to while something is played.
struct NotInterrupted;

impl Speech for NotInterrupted {
    fn play<'a>(&'a self, playing: Playing, to: &'a Spoken, stop: &'a mut Stop) -> Played<'a> {
        Box::pin(async move {
            let stopper = Stopper::default();
            let mut own = stopper.subscribe();
            let hand_on = async {
                loop {
                    let reason = stop.asked().await;
                    if reason != "barge_in" {
                        stopper.stop(reason);
                    }
                }
            };
            tokio::select! {
                played = AsItComes.play(playing, to, &mut own) => played,
                () = hand_on => Ok(()),
            }
        })
    }
}

/// Speech is played when all of it is there.
struct AtOnce;

impl Speech for AtOnce {
    fn play<'a>(&'a self, playing: Playing, to: &'a Spoken, stop: &'a mut Stop) -> Played<'a> {
        let whole = Playing {
            frame_bytes: usize::MAX,
            ..playing
        };
        AsItComes.play(whole, to, stop)
    }
}

/// Of two frames the later one goes first.
struct InPairs;

impl Speech for InPairs {
    fn play<'a>(&'a self, playing: Playing, to: &'a Spoken, stop: &'a mut Stop) -> Played<'a> {
        Box::pin(async move {
            let (out, mut leaving) = mpsc::channel(WAITING);
            let play = async {
                let spoken = Spoken::new(out);
                AsItComes.play(playing, &spoken, stop).await
            };
            let swap = async {
                let mut kept = None;
                while let Some(message) = leaving.recv().await {
                    match (message, kept.take()) {
                        (Message::Binary(later), Some(earlier)) => {
                            to.play(later).await;
                            to.play(earlier).await;
                        }
                        (Message::Binary(earlier), None) => kept = Some(earlier),
                        (Message::Text(text), earlier) => {
                            if let Some(earlier) = earlier {
                                to.play(earlier).await;
                            }
                            let frame: Value = serde_json::from_str(&text).unwrap_or_default();
                            to.frame(&frame).await;
                        }
                        _ => {}
                    }
                }
            };
            join(play, swap).await.0
        })
    }
}

/// A backend that is down has said nothing.
struct Silent(Seams);

impl Ears for Silent {
    fn hear<'a>(
        &'a self,
        svc: &'a Service,
        choice: &'a Choice,
        piece: &'a Piece,
    ) -> BoxFuture<'a, Result<Understood, Unavailable>> {
        Box::pin(async move {
            let heard = self.0.ears.hear(svc, choice, piece).await;
            let nothing = || Understood {
                text: String::new(),
            };
            heard.or_else(|why| asked(choice).then(nothing).ok_or(why))
        })
    }
}

impl Turns for Silent {
    fn take<'a>(
        &'a self,
        svc: &'a Service,
        utterance: &'a Utterance,
    ) -> BoxFuture<'a, Result<Value, Unavailable>> {
        Box::pin(async move {
            let taken = self.0.turns.take(svc, utterance).await;
            taken.or_else(|_| Ok(json!({"assistant_text": ""})))
        })
    }
}

impl Mouth for Silent {
    fn speak<'a>(
        &'a self,
        svc: &'a Service,
        choice: &'a Choice,
        saying: &'a Saying,
    ) -> BoxFuture<'a, Result<Pcm, Unavailable>> {
        Box::pin(async move {
            let spoken = self.0.mouth.speak(svc, choice, saying).await;
            let nothing = || stream::empty().boxed();
            spoken.or_else(|why| asked(choice).then(nothing).ok_or(why))
        })
    }
}

/// Whether a backend was asked that needs no more than to be there: what cannot be asked at all is
/// told.
fn asked(choice: &Choice) -> bool {
    choice.usable() == Ok("http")
}
