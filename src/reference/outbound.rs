//! Calls to other services and to backends: the headers every one of them carries, and how often
//! one is made. It knows nothing of tools or models beyond what an answer's status says.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::reference::http::{Fault, Http};
use crate::reference::tools::{Outcome, Patience};

/// Back-off doubles up to this many times the first pause.
const MAX_BACK_OFF: u32 = 8;

/// One call with an effect. Every repetition is the same bytes under the same key.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Where to, with path.
    pub url: String,
    /// The operation id, sent as `Idempotency-Key`.
    pub operation_id: String,
    /// Of the request that caused this.
    pub correlation_id: String,
    /// `chain/seq/hash` of the committed audit entry that precedes the call; empty for a call that
    /// no decision precedes.
    pub causal_parent: String,
    /// Sent as `X-Replay-Generation` unless it is 0.
    pub replay_generation: i64,
    /// Token and `actor_id;role` when the callee is a service of the stack.
    pub on_behalf_of: Option<OnBehalfOf>,
    /// The body.
    pub body: Value,
    /// Bound of one try.
    pub timeout: Duration,
}

/// What a service shows another service.
#[derive(Debug, Clone)]
pub struct OnBehalfOf {
    /// `x-service-token`.
    pub service_token: String,
    /// `actor_id;role` of the person who caused the call.
    pub actor: String,
}

/// What became of one try.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    /// An answer, its body read as JSON (null when it is none).
    Answered(u16, Value),
    /// No connection was made: the callee has seen nothing.
    NotSent(String),
    /// Sent, and no answer: it may have happened.
    InDoubt(String),
}

impl Outbound {
    /// One try.
    pub async fn send(&self, http: &Http, timeout: Duration) -> Sent {
        let mut request = http
            .post(&self.url)
            .header("idempotency-key", format!("\"{}\"", self.operation_id))
            .header("x-correlation-id", &self.correlation_id)
            .json(&self.body);
        if !self.causal_parent.is_empty() {
            request = request.header("x-causal-parent", &self.causal_parent);
        }
        if self.replay_generation > 0 {
            request = request.header("x-replay-generation", self.replay_generation);
        }
        if let Some(person) = &self.on_behalf_of {
            request = request
                .header("x-service-token", &person.service_token)
                .header("x-on-behalf-of", &person.actor);
        }
        match http.send(request, timeout).await {
            Err(Fault::NotSent(why)) => Sent::NotSent(why),
            Err(Fault::InDoubt(why)) => Sent::InDoubt(why),
            Ok((status, bytes)) => {
                let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                Sent::Answered(status, body)
            }
        }
    }

    /// Tries until `settle` makes an outcome of an answer. An answer that it leaves undecided, and a
    /// try without one, are repeated with the same key while `patience` lasts. `repeatable` is false
    /// for a callee that does not honour keys: then nothing that may have arrived is sent again.
    /// What has not arrived is given up at once where the breaker lets nothing through.
    pub async fn insist(
        &self,
        http: &Http,
        patience: Patience,
        repeatable: bool,
        settle: impl Fn(u16, &Value) -> Option<Outcome>,
    ) -> Outcome {
        let started = Instant::now();
        let mut in_doubt = patience.resumed;
        let mut refused = 0;
        let mut pause = patience.retry;
        loop {
            let left = patience.within.saturating_sub(started.elapsed());
            let why = match self.send(http, self.timeout.min(left)).await {
                Sent::Answered(status, body) => match settle(status, &body) {
                    Some(outcome) => return outcome,
                    None => format!("status {status}"),
                },
                Sent::NotSent(why) if in_doubt => why,
                Sent::NotSent(why) => {
                    refused += 1;
                    if refused >= patience.connect_tries || http.refuses() {
                        return Outcome::failed("TOOL_UNAVAILABLE", why);
                    }
                    why
                }
                Sent::InDoubt(why) if !repeatable => return Outcome::unknown(why),
                Sent::InDoubt(why) => {
                    in_doubt = true;
                    why
                }
            };
            if started.elapsed() + pause >= patience.within {
                return if in_doubt {
                    Outcome::unknown(why)
                } else {
                    Outcome::failed("TOOL_UNAVAILABLE", why)
                };
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(patience.retry * MAX_BACK_OFF);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(url: String) -> Outbound {
        Outbound {
            url,
            operation_id: "op_000000000001".into(),
            correlation_id: "c-1".into(),
            causal_parent: "api-gateway/0/ab".into(),
            replay_generation: 0,
            on_behalf_of: None,
            body: json!({}),
            timeout: Duration::from_secs(5),
        }
    }

    fn patience(resumed: bool) -> Patience {
        let (within, retry) = (Duration::from_millis(200), Duration::from_millis(1));
        Patience {
            within,
            retry,
            resumed,
            connect_tries: 3,
        }
    }

    /// A port that nobody listens on.
    fn closed() -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/run", listener.local_addr().unwrap())
    }

    /// Accepts, reads, and hangs up without an answer: a call that may have happened.
    async fn hangs_up() -> (String, std::sync::Arc<std::sync::atomic::AtomicU32>) {
        use std::sync::atomic::{AtomicU32, Ordering};
        use tokio::io::AsyncReadExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/run", listener.local_addr().unwrap());
        let seen = std::sync::Arc::new(AtomicU32::new(0));
        let counted = seen.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        (url, seen)
    }

    fn code(outcome: Outcome) -> String {
        match outcome {
            Outcome::Failed { code, .. } => code,
            Outcome::Succeeded { result } => panic!("succeeded: {result}"),
        }
    }

    #[tokio::test]
    async fn a_refused_connection_is_unavailable_and_after_a_crash_unknown() {
        let http = Http::from(reqwest::Client::new());
        let fresh = call(closed())
            .insist(&http, patience(false), true, |_, _| None)
            .await;
        assert_eq!(code(fresh), "TOOL_UNAVAILABLE");
        let resumed = call(closed())
            .insist(&http, patience(true), true, |_, _| None)
            .await;
        assert_eq!(code(resumed), "OUTCOME_UNKNOWN");
    }

    #[tokio::test]
    async fn a_call_in_doubt_is_repeated_only_where_keys_are_honoured() {
        use std::sync::atomic::Ordering;
        let http = Http::from(reqwest::Client::new());
        let (url, seen) = hangs_up().await;
        let outcome = call(url)
            .insist(&http, patience(false), false, |_, _| None)
            .await;
        assert_eq!(
            (code(outcome).as_str(), seen.load(Ordering::SeqCst)),
            ("OUTCOME_UNKNOWN", 1)
        );
        let (url, seen) = hangs_up().await;
        let outcome = call(url)
            .insist(&http, patience(false), true, |_, _| None)
            .await;
        assert_eq!(code(outcome), "OUTCOME_UNKNOWN");
        assert!(
            seen.load(Ordering::SeqCst) > 1,
            "the same key may be sent again"
        );
    }
}
