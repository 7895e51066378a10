//! `WS /v3/stream/{session_id}`: turns of a session as frames, one after the other, and frames of
//! its camera.
//!
//! A turn is the one of `POST /v3/turn`, by the same code. It waits in its session's queue, and who
//! asked is told when it is shed there. The socket itself waits for nothing but its client: turns and
//! frames run beside it, so that a ping is answered however much is queued.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::backpressure::{Lane, Shed, Ticket};
use super::frames::{self, Frame, failure};
use super::ids;
use super::outbound::{OnBehalfOf, Outbound, Sent};
use super::service::Service;
use super::sessions;
use super::turns;
use super::web::{Call, Refusal, Reply, Row, Twin, handler, may_open, socket};

/// Frames that wait to be written to a client that reads slowly; whoever has one more waits.
const UNWRITTEN_FRAMES: usize = 64;
/// Frames of a camera under way at once; more are rejected.
const VISION_AT_ONCE: usize = 4;
/// How long vision-capture may take.
const VISION_BOUND: Duration = Duration::from_secs(5);

/// The route.
pub fn routes() -> Vec<Row> {
    vec![
        Row::socket(
            "api-gateway",
            "/v3/stream/{session_id}",
            "v4.3",
            handler(open),
            socket(speak),
        )
        .about("The frames of a session, over a WebSocket.")
        .twin(Twin::Deprecated),
    ]
}

/// A stream belongs to an active session.
async fn open(svc: Arc<Service>, call: Call) -> Reply {
    let (id, now) = (call.param("session_id").to_owned(), svc.now());
    let idle_ms = svc.config().sessions.idle_ms;
    let found = svc
        .store
        .read(move |conn| sessions::active(conn, &id, now, idle_ms));
    match found.await {
        Ok(Some(_)) => may_open(),
        Ok(None) => sessions::unknown(call.param("session_id")).reply(&call.correlation_id),
        Err(error) => Refusal::store(&error).reply(&call.correlation_id),
    }
}

async fn speak(svc: Arc<Service>, call: Call, mut socket: WebSocket) {
    let (out, mut unwritten) = mpsc::channel(UNWRITTEN_FRAMES);
    let mut stream = Stream {
        out,
        waiting: Vec::new(),
        vision: Arc::new(Semaphore::new(VISION_AT_ONCE)),
        svc,
        call,
    };
    let mut shed = 0;
    loop {
        let frame = tokio::select! {
            biased;
            Some(frame) = unwritten.recv() => frame,
            heard = socket.recv() => match heard {
                Some(Ok(Message::Text(text))) => {
                    let (answer, work) = stream.hear(&text);
                    // What comes of a frame comes after its answer.
                    if socket.send(Message::text(answer.to_string())).await.is_err() {
                        return;
                    }
                    stream.begin(work);
                    continue;
                }
                Some(Ok(Message::Binary(_))) => frames::control(""),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
        };
        shed += u64::from(frame["type"] == "backpressure.shed");
        if !(stream.svc.parts.queues.stays_open)(shed) {
            return;
        }
        if socket.send(Message::text(frame.to_string())).await.is_err() {
            return;
        }
    }
}

/// An open stream. When it is dropped, what of it waits is not made any more.
struct Stream {
    svc: Arc<Service>,
    call: Call,
    /// To the client.
    out: mpsc::Sender<Value>,
    /// Turns that wait, or did, and what takes them out of the queue.
    waiting: Vec<(String, oneshot::Sender<()>)>,
    vision: Arc<Semaphore>,
}

/// What follows from a frame.
enum Work {
    Nothing,
    Turn(Box<Waiting>),
    Vision { id: Option<String>, data: Value },
}

/// A turn in its queue.
struct Waiting {
    id: String,
    text: String,
    ticket: Ticket,
    stop: oneshot::Receiver<()>,
}

impl Stream {
    /// The answer to a frame, and what follows from it. A turn is queued when this returns: frames
    /// are queued in their order.
    fn hear(&mut self, text: &str) -> (Value, Work) {
        let frame = match Frame::read(text) {
            Ok(frame) => frame,
            Err(refusal) => return (refusal, Work::Nothing),
        };
        let id = frame.turn_id.clone();
        match frame.kind.as_str() {
            "input.text" => match frame.payload["text"].as_str() {
                Some(text) if self.fits(text, id.as_deref()) => {
                    let waiting = self.queue(id, text);
                    let frame = Frame {
                        turn_id: Some(waiting.id.clone()),
                        ..frame
                    };
                    (frame.ack(), Work::Turn(Box::new(waiting)))
                }
                _ => (malformed(id.as_deref(), "payload.text"), Work::Nothing),
            },
            "input.vision.frame" => match &frame.payload["data"] {
                data @ Value::String(_) => {
                    let data = data.clone();
                    (frame.ack(), Work::Vision { id, data })
                }
                _ => (malformed(id.as_deref(), "payload.data"), Work::Nothing),
            },
            "control.cancel" => {
                self.cancel(id.as_deref());
                (frame.ack(), Work::Nothing)
            }
            _ => (frames::control(text), Work::Nothing),
        }
    }

    fn fits(&self, text: &str, id: Option<&str>) -> bool {
        let limits = &self.svc.config().limits;
        let short = |id: &str| !id.is_empty() && id.chars().count() <= limits.id_chars;
        !text.is_empty() && text.chars().count() <= limits.input_chars && id.is_none_or(short)
    }

    fn queue(&mut self, id: Option<String>, text: &str) -> Waiting {
        let session = (self.svc.parts.queues.session)(self.call.param("session_id"));
        let (stops, stop) = oneshot::channel();
        let id = id.unwrap_or_else(|| ids::make("str_"));
        self.waiting.retain(|(_, stops)| !stops.is_closed());
        self.waiting.push((id.clone(), stops));
        Waiting {
            id,
            text: text.to_owned(),
            ticket: self.svc.queue(Lane::Stream(session)),
            stop,
        }
    }

    /// Takes a turn out of its queue, or all of this stream.
    fn cancel(&mut self, id: Option<&str>) {
        let named = |waiting: &(String, _)| id.is_none_or(|id| waiting.0 == id);
        let all = std::mem::take(&mut self.waiting).into_iter();
        let (stopped, waiting): (Vec<_>, Vec<_>) = all.partition(named);
        self.waiting = waiting;
        for (_, stops) in stopped {
            // One that is in flight is not stopped.
            let _ = stops.send(());
        }
    }

    fn begin(&self, work: Work) {
        let (svc, out) = (Arc::clone(&self.svc), self.out.clone());
        match work {
            Work::Nothing => {}
            Work::Turn(waiting) => {
                let call = turn_call(&self.call, &waiting.text);
                tokio::spawn(wait(svc, call, *waiting, out));
            }
            Work::Vision { id, data } => {
                let (call, slots) = (self.call.clone(), Arc::clone(&self.vision));
                tokio::spawn(async move {
                    let answer = match slots.try_acquire() {
                        Ok(_slot) => hand_on(&svc, &call, data).await,
                        Err(_) => Err(json!({
                            "code": "BUSY", "message": "too many frames are under way",
                        })),
                    };
                    let (kind, payload) = match answer {
                        Ok(payload) => ("vision.accepted", payload),
                        Err(payload) => ("vision.rejected", payload),
                    };
                    let frame = json!({"type": kind, "turn_id": id, "payload": payload});
                    // A stream that is closed wants to know nothing.
                    let _ = out.send(frame).await;
                });
            }
        }
    }
}

/// The request that a frame stands for.
fn turn_call(call: &Call, text: &str) -> Call {
    Call {
        endpoint: "POST /v3/turn".to_owned(),
        method: "POST",
        path: "/v3/turn".to_owned(),
        body: json!({"session_id": call.param("session_id"), "input_text": text}),
        request_id: ids::make("req_"),
        action: "turn.begin",
        resource: "turn".to_owned(),
        ..call.clone()
    }
}

/// A turn from its queue to its end. Once it is called it goes on, whoever still listens.
async fn wait(svc: Arc<Service>, call: Call, waiting: Waiting, out: mpsc::Sender<Value>) {
    let Waiting {
        id, ticket, stop, ..
    } = waiting;
    let called = tokio::select! {
        biased;
        stopped = stop => match stopped {
            Ok(()) => {
                let cancelled = failure(Some(&id), "CANCELLED", "it was taken out of its queue", false);
                let _ = out.send(cancelled).await;
                return;
            }
            Err(_) => return,
        },
        called = ticket => called,
    };
    let permit = match called {
        Ok(permit) => permit,
        Err(Shed { reason, .. }) => {
            let payload = json!({"reason": reason});
            let frame = json!({"type": "backpressure.shed", "turn_id": id, "payload": payload});
            let _ = out.send(frame).await;
            return;
        }
    };
    let reply = turns::turn(svc, call).await;
    for frame in told(&id, &reply) {
        if out.send(frame).await.is_err() {
            break;
        }
    }
    drop(permit);
}

/// The frames that a turn's answer becomes.
fn told(id: &str, reply: &Reply) -> Vec<Value> {
    let answer = reply.value();
    if reply.status != 200 {
        let text = |field: &str| {
            answer["error"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let retryable = answer["error"]["retryable"] == true;
        return vec![failure(Some(id), &text("code"), text("message"), retryable)];
    }
    let frame =
        |kind: &str, payload: &Value| json!({"type": kind, "turn_id": id, "payload": payload});
    let calls = answer["tool_calls"].as_array().into_iter().flatten();
    let mut frames: Vec<Value> = calls
        .map(|call| match call["status"].as_str() {
            Some("confirmation_required") => frame("safety.confirmation.required", call),
            _ => frame("tool.call.result", call),
        })
        .collect();
    frames.push(frame("response.final", &answer));
    frames
}

/// Hands a frame on to vision-capture: what it says of it, or why it does not take it.
async fn hand_on(svc: &Service, call: &Call, data: Value) -> Result<Value, Value> {
    let outbound = Outbound {
        url: format!("{}/v1/vision/frames", svc.peer("vision-capture")),
        operation_id: ids::make("op_"),
        correlation_id: call.correlation_id.clone(),
        causal_parent: String::new(),
        replay_generation: 0,
        on_behalf_of: Some(OnBehalfOf {
            service_token: svc.shared.identity.service_token().to_owned(),
            actor: format!("{};{}", call.actor.id, call.actor.role),
        }),
        body: json!({"session_id": call.param("session_id"), "data": data}),
        timeout: VISION_BOUND,
    };
    match outbound.send(&svc.http, outbound.timeout).await {
        Sent::Answered(201, answer) => Ok(json!({"frame_id": answer["frame_id"]})),
        Sent::Answered(_, answer) => Err(json!({
            "code": answer["error"]["code"], "message": answer["error"]["message"],
        })),
        Sent::NotSent(why) | Sent::InDoubt(why) => Err(json!({
            "code": "VISION_UNAVAILABLE", "message": why,
        })),
    }
}

fn malformed(id: Option<&str>, field: &str) -> Value {
    let message = format!("{field}: expected a text within the limits");
    failure(id, "FRAME_MALFORMED", message, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_the_frames_of_the_contract() {
        let text = include_str!("../../fixtures/contract/frames.json");
        let file: Value = serde_json::from_str(text).unwrap();
        let frame = |kind: &str| {
            let frames = file["stream"]["target"].as_array().unwrap();
            let found = frames.iter().find(|frame| frame["type"] == kind);
            found.unwrap().clone()
        };
        let (ran, asks) = (
            frame("tool.call.result"),
            frame("safety.confirmation.required"),
        );
        let mut last = frame("response.final");
        last["payload"]["tool_calls"] = json!([ran["payload"], asks["payload"]]);
        let reply = Reply::json(200, last["payload"].clone());
        assert_eq!(told("t-1", &reply), [ran, asks, last]);
        let error = frame("error");
        let refusal = json!({"ok": false, "error": error["payload"]});
        assert_eq!(told("t-1", &Reply::json(503, refusal)), [error]);
    }
}
