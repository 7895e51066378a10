//! pipecat: what is heard and said over `WS /v1/voice/{session_id}`, and which providers do it
//! (`GET /voice/backends`).
//!
//! A message is read (`framing`), audio is cut into utterances (`vad`), an utterance is understood
//! (`asr`), what was understood becomes a turn at the gateway (`turn`), and its answer is spoken
//! (`speech`, `tts`). `socket` strings them together; none of them knows the others. Nothing of a
//! conversation is kept here: turns are the gateway's.

pub mod asr;
pub mod conversation;
mod framing;
mod providers;
mod socket;
pub mod speech;
pub mod tts;
pub mod turn;
pub mod vad;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::service::Service;
use super::web::{Call, Field, Reply, Row, handler, may_open};

pub use asr::{Ears, Piece, Transcribe, Transcript, Understood, transcribe};
pub use conversation::{Spoken, Stop};
pub use framing::{Framing, Inbound, read};
pub use providers::{
    Choice, Choose, ChosenBy, Found, Kind, Probed, Providers, choose, discover, probe,
};
pub use speech::{Playing, Speech};
pub use tts::{Mouth, Saying};
pub use turn::{Turns, Utterance};
use vad::{TurnDetector, Vad, VadRule};

/// A provider that is of no use just now, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(pub String);

/// What makes utterances of audio.
pub type Detector = fn(VadRule) -> Box<dyn TurnDetector>;

/// What is done before the first request, which waits for it.
pub type Prepare = fn(Arc<Service>) -> BoxFuture<'static, ()>;

/// What may be swapped.
#[derive(Clone)]
pub struct Seams {
    /// How a message is read.
    pub framing: Framing,
    /// What is looked for before the first request.
    pub prepare: Prepare,
    /// Which provider is in force.
    pub choose: Choose,
    /// What makes utterances of audio.
    pub detector: Detector,
    /// How an utterance is understood.
    pub ears: Arc<dyn Ears>,
    /// What is said of what was understood.
    pub transcribe: Transcribe,
    /// How what was understood becomes a turn.
    pub turns: Arc<dyn Turns>,
    /// How speech is made.
    pub mouth: Arc<dyn Mouth>,
    /// How it is played.
    pub speech: Arc<dyn Speech>,
}

impl Default for Seams {
    fn default() -> Self {
        Self {
            framing: framing::read,
            prepare: |_| Box::pin(std::future::ready(())),
            choose: providers::choose,
            detector: |rule| Box::new(Vad::new(rule)),
            ears: Arc::new(asr::ByProvider),
            transcribe: asr::transcribe,
            turns: Arc::new(turn::AtGateway),
            mouth: Arc::new(tts::ByProvider),
            speech: Arc::new(speech::AsItComes),
        }
    }
}

const SERVICE: &str = "pipecat";

/// What is said of one kind of provider.
const BACKEND: &[Field] = &[
    Field::text("provider").or_null(),
    Field::flag("available"),
    Field::text("chosen_by"),
    Field::text("reason").or_null(),
];

const VAD: &[Field] = &[
    Field::text("provider"),
    Field::flag("available"),
    Field::count("threshold"),
    Field::count("silence_ms"),
];

/// The routes.
pub fn routes() -> Vec<Row> {
    vec![
        Row::get(SERVICE, "/voice/backends", "v4.4", handler(backends))
            .about("Which providers hear and speak, who chose them, and whether they are there.")
            .gives(
                200,
                &[
                    Field::object("asr", BACKEND),
                    Field::object("tts", BACKEND),
                    Field::object("vad", VAD),
                ],
            ),
        Row::socket(
            SERVICE,
            "/v1/voice/{session_id}",
            "v4.4",
            handler(open),
            super::web::socket(socket::speak),
        )
        .about("The audio and the frames of a voice session, over a WebSocket."),
    ]
}

async fn open(_svc: Arc<Service>, _call: Call) -> Reply {
    may_open()
}

async fn backends(svc: Arc<Service>, call: Call) -> Reply {
    Reply::ok(&call.correlation_id, providers::shown(&svc))
}
