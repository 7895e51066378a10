//! A conversation: what comes is read and never waits for what is made of it. Three queues, each in
//! order: the pieces of utterances, the utterances that become turns and are answered aloud, and
//! what goes to the client.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocket;
use futures_util::stream::SplitStream;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::asr::{Piece, Transcript};
use super::conversation::{Spoken, Stop, Stopper};
use super::framing::Inbound;
use super::providers::{Kind, in_force};
use super::speech::Playing;
use super::tts::Saying;
use super::turn::Utterance;
use super::vad::{Heard, TurnDetector, VadRule};
use crate::reference::frames::{Frame, error};
use crate::reference::ids;
use crate::reference::service::Service;
use crate::reference::web::{Actor, Call};

/// Messages on their way to the client; past it whoever speaks waits.
const LEAVING: usize = 8;
/// Pieces that are not understood yet; past it no more is read.
const PIECES: usize = 64;
/// Utterances that are no turn yet, likewise.
const UTTERANCES: usize = 16;

/// An utterance, and the word to stop its answer.
type Asked = (Utterance, Stop);

/// Speaks on the socket until it is closed.
pub(super) async fn speak(svc: Arc<Service>, call: Call, socket: WebSocket) {
    let (mut sink, stream) = socket.split();
    let (out, mut leaving) = mpsc::channel(LEAVING);
    let (pieces, heard) = mpsc::channel(PIECES);
    let (utterances, asked) = mpsc::channel(UTTERANCES);
    let (to, stopper) = (Spoken::new(out), Stopper::default());
    let who = Who {
        session_id: call.param("session_id").to_owned(),
        correlation_id: call.correlation_id.clone(),
        actor: call.actor.clone(),
    };
    let leave = async {
        while let Some(message) = leaving.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
    };
    let desk = Desk {
        svc: &svc,
        to: &to,
        stopper: &stopper,
        who: &who,
    };
    tokio::select! {
        () = leave => {}
        () = desk.listen(stream, pieces, utterances.clone()) => {}
        () = desk.understand(heard, utterances) => {}
        () = desk.answer(asked) => {}
    }
}

/// Who speaks.
struct Who {
    session_id: String,
    correlation_id: String,
    actor: Actor,
}

#[derive(Clone, Copy)]
struct Desk<'a> {
    svc: &'a Service,
    to: &'a Spoken,
    stopper: &'a Stopper,
    who: &'a Who,
}

impl Desk<'_> {
    /// Reads what comes.
    async fn listen(
        self,
        mut stream: SplitStream<WebSocket>,
        pieces: mpsc::Sender<Piece>,
        utterances: mpsc::Sender<Asked>,
    ) {
        let (config, seams) = (self.svc.config(), &self.svc.parts.voice);
        let voice = &config.voice;
        let detector = (seams.detector)(VadRule {
            threshold: voice.vad.threshold as f64,
            silence_ms: voice.vad.silence_ms,
        });
        let mut cutting = Cutting {
            desk: self,
            detector,
            pieces,
            current: None,
        };
        while let Some(Ok(message)) = stream.next().await {
            match (seams.framing)(message, voice.frame_bytes) {
                Inbound::Close => return,
                Inbound::Nothing => {}
                Inbound::Refused(frame) => self.to.frame(&frame).await,
                Inbound::Audio(pcm) => {
                    let heard = cutting.detector.hear(&pcm);
                    cutting.cut(heard).await;
                }
                Inbound::Frame(frame) => self.frame(frame, &mut cutting, &utterances).await,
            }
        }
    }

    async fn frame(
        self,
        frame: Frame,
        cutting: &mut Cutting<'_>,
        utterances: &mpsc::Sender<Asked>,
    ) {
        match frame.kind.as_str() {
            "control.ping" => self.to.frame(&frame.ack()).await,
            "control.cancel" => {
                self.to.frame(&frame.ack()).await;
                self.stopper.stop("cancelled");
            }
            "input.audio.end" => {
                self.to.frame(&frame.ack()).await;
                let heard = cutting.detector.end();
                cutting.cut(heard).await;
            }
            "input.text" => match frame.payload["text"].as_str() {
                Some(text) => {
                    self.to.frame(&frame.ack()).await;
                    self.ask(text, frame.turn_id.clone(), true, utterances)
                        .await;
                }
                None => {
                    let id = frame.turn_id.as_deref();
                    let message = "payload.text: expected a string";
                    self.to.frame(&error(id, "FRAME_MALFORMED", message)).await;
                }
            },
            _ => self.to.frame(&frame.unknown()).await,
        }
    }

    /// What says something becomes a turn.
    async fn ask(
        self,
        text: &str,
        id: Option<String>,
        typed: bool,
        utterances: &mpsc::Sender<Asked>,
    ) {
        if text.trim().is_empty() {
            return;
        }
        let utterance = Utterance {
            id,
            text: text.to_owned(),
            typed,
            session_id: self.who.session_id.clone(),
            correlation_id: self.who.correlation_id.clone(),
            actor: self.who.actor.clone(),
        };
        // The other end is gone only when the conversation is over.
        let _ = utterances.send((utterance, self.stopper.subscribe())).await;
    }

    /// Understands pieces, one after the other.
    async fn understand(self, mut pieces: mpsc::Receiver<Piece>, utterances: mpsc::Sender<Asked>) {
        // Of the utterance that is heard: what was said of it, or that the rest is not heard.
        let (mut said, mut given_up) = (String::new(), false);
        let seams = &self.svc.parts.voice;
        while let Some(piece) = pieces.recv().await {
            if piece.sequence == 0 {
                (said, given_up) = (String::new(), false);
            }
            if given_up {
                continue;
            }
            let choice = in_force(Kind::Asr, self.svc);
            let id = Some(piece.stream.as_str());
            let (ears, transcribe) = (&seams.ears, seams.transcribe);
            match ears.hear(self.svc, &choice, &piece).await {
                Err(why) => {
                    given_up = true;
                    self.to.unavailable(id, "ASR_UNAVAILABLE", &why).await;
                }
                Ok(understood) => {
                    for transcript in transcribe(&piece, &understood, &said) {
                        let (kind, text) = match transcript {
                            Transcript::Partial(text) => ("transcript.partial", text),
                            Transcript::Final(text) => ("transcript.final", text),
                        };
                        self.to.say(kind, id, json!({"text": text})).await;
                        said = text;
                    }
                    if piece.last {
                        let id = id.map(str::to_owned);
                        self.ask(&understood.text, id, false, &utterances).await;
                    }
                }
            }
        }
        // Nobody speaks any more, and somebody may still be answered.
        std::future::pending::<()>().await;
    }

    /// Makes turns of utterances, one after the other, and answers aloud.
    async fn answer(self, mut utterances: mpsc::Receiver<Asked>) {
        while let Some((utterance, stop)) = utterances.recv().await {
            let id = utterance.id.as_deref();
            match self.svc.parts.voice.turns.take(self.svc, &utterance).await {
                Err(why) => self.to.unavailable(id, "TURN_FAILED", &why).await,
                Ok(response) => {
                    self.to.say("response.final", id, response.clone()).await;
                    self.aloud(&utterance, &response, stop).await;
                }
            }
        }
        std::future::pending::<()>().await;
    }

    async fn aloud(self, utterance: &Utterance, response: &Value, mut stop: Stop) {
        let text = response["assistant_text"].as_str().unwrap_or_default();
        if text.is_empty() || stop.was_asked() {
            return;
        }
        let saying = Saying {
            text: text.to_owned(),
            correlation_id: utterance.correlation_id.clone(),
        };
        let (voice, seams) = (&self.svc.config().voice, &self.svc.parts.voice);
        let choice = in_force(Kind::Tts, self.svc);
        let played = async {
            let pcm = seams.mouth.speak(self.svc, &choice, &saying).await?;
            let playing = Playing {
                id: utterance.id.clone(),
                pcm,
                frame_bytes: voice.tts_frame_bytes,
                patience: Duration::from_millis(voice.tts.timeout_ms),
            };
            seams.speech.play(playing, self.to, &mut stop).await
        };
        let played = played.await;
        self.to.quiet();
        if let Err(why) = played {
            let id = utterance.id.as_deref();
            self.to.unavailable(id, "TTS_UNAVAILABLE", &why).await;
        }
    }
}

/// Audio on its way into pieces.
struct Cutting<'a> {
    desk: Desk<'a>,
    detector: Box<dyn TurnDetector>,
    pieces: mpsc::Sender<Piece>,
    /// The next piece of the utterance that is heard.
    current: Option<Piece>,
}

impl Cutting<'_> {
    async fn cut(&mut self, heard: Vec<Heard>) {
        for heard in heard {
            match heard {
                Heard::Began => self.begin(),
                Heard::Audio(pcm) => self.piece(pcm, false).await,
                Heard::Ended => self.piece(Vec::new(), true).await,
            }
        }
    }

    /// Who speaks interrupts.
    fn begin(&mut self) {
        if self.desk.to.is_playing() {
            self.desk.stopper.stop("barge_in");
        }
        self.current = Some(Piece {
            stream: ids::make("utt_"),
            sequence: 0,
            last: false,
            pcm: Vec::new(),
            before: 0,
            correlation_id: self.desk.who.correlation_id.clone(),
        });
    }

    async fn piece(&mut self, pcm: Vec<u8>, last: bool) {
        let Some(current) = self.current.take() else {
            return;
        };
        let piece = Piece {
            last,
            pcm,
            ..current
        };
        if !last {
            self.current = Some(Piece {
                sequence: piece.sequence + 1,
                before: piece.before + piece.pcm.len(),
                pcm: Vec::new(),
                ..piece.clone()
            });
        }
        // The other end is gone only when the conversation is over.
        let _ = self.pieces.send(piece).await;
    }
}
