//! Traffic at a rate, whatever becomes of it: requests are sent when they are due, not when the one
//! before has its answer, and their latency counts from when they were due. A target that stalls is
//! seen to stall for everybody who would have come.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::is_declared;
use crate::base::Clock;
use crate::chaos::{Judgement, Sent};
use crate::target::{Ask, Client};

/// Who is asked.
pub(in crate::chaos::drill) const SERVICE: &str = "model-router";
/// How long an answer may take.
const ANSWER_BOUND: Duration = Duration::from_secs(15);
/// Refusals that are written out.
const SHOWN: usize = 3;

/// Traffic, and what came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Load {
    /// Requests a second.
    pub rate: u64,
    /// How many were due.
    pub due: u64,
    /// Each that was sent.
    pub requests: Vec<Request>,
}

/// One request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// When it was due.
    pub due_us: u64,
    /// What came of it.
    pub sent: Sent,
}

impl Request {
    /// From when it was due until the whole answer was there.
    fn latency_us(&self) -> Option<u64> {
        Some(self.sent.returned_us?.saturating_sub(self.due_us))
    }
}

/// Sends so many chats a second for so long to a service: they need the model.
pub(in crate::chaos::drill) async fn drive(
    client: &Client,
    clock: Clock,
    (service, rate, seconds): (&'static str, u64, u64),
    into: &mut Vec<Load>,
) -> Value {
    let due = rate * seconds;
    into.push(Load {
        rate,
        due,
        requests: Vec::new(),
    });
    let (begin, begin_us) = (tokio::time::Instant::now(), clock.now_us());
    let mut flying = JoinSet::new();
    for number in 0..due {
        let at_us = number * 1_000_000 / rate;
        tokio::time::sleep_until(begin + Duration::from_micros(at_us)).await;
        let client = client.clone();
        flying.spawn(async move {
            let body = json!({"input_text": format!("load {number}")});
            let ask = Ask::post(service, "/chat", body).within(ANSWER_BOUND);
            Request {
                due_us: begin_us + at_us,
                sent: Sent::by(&client, ask).await,
            }
        });
    }
    let mut requests = flying.join_all().await;
    requests.sort_by_key(|request| request.due_us);
    let load = into.last_mut().expect("a load was added");
    load.requests = requests;
    let [p50, p95, p99] = [50, 95, 99].map(|percent| load.percentile_ms(percent));
    json!({"sent": load.requests.len(), "served": load.served(), "p50_ms": p50, "p95_ms": p95,
        "p99_ms": p99})
}

impl Load {
    fn served(&self) -> usize {
        self.requests.iter().filter(|one| one.sent.ok()).count()
    }

    /// The smallest latency with at least so many percent at or below it, in milliseconds; none when
    /// that is one of a request without an answer.
    #[must_use]
    pub fn percentile_ms(&self, percent: usize) -> Option<f64> {
        let mut all: Vec<u64> = self
            .requests
            .iter()
            .map(|one| one.latency_us().unwrap_or(u64::MAX))
            .collect();
        all.sort_unstable();
        let place = (all.len() * percent).div_ceil(100);
        let us = *all.get(place.checked_sub(1)?)?;
        (us != u64::MAX).then(|| (us as f64 / 100.0).round() / 10.0)
    }

    /// Judges it: every request is served or refused with a reason, in time.
    pub(super) fn judge(&self, judgement: &mut Judgement) -> String {
        let wrong = self.requests.iter().filter(|one| !is_declared(&one.sent));
        let wrong: Vec<&Request> = wrong.collect();
        for one in wrong.iter().take(SHOWN) {
            judgement.violation(format!(
                "{}: expected what was asked for, or a refusal with a code, within {} ms",
                one.sent.line(),
                ANSWER_BOUND.as_millis()
            ));
        }
        if let Some(more) = wrong.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            judgement.violation(format!("and {more} more requests likewise"));
        }
        if (self.requests.len() as u64) < self.due || self.due == 0 {
            let (sent, due) = (self.requests.len(), self.due);
            judgement.undecided(format!("{sent} of {due} requests were sent"));
        }
        let shown = |percent| match self.percentile_ms(percent) {
            Some(ms) => format!("{ms:.1} ms"),
            None => "no answer".to_owned(),
        };
        format!(
            "{} requests at {} a second, {} served; from when they were due p50 {}, p95 {}, p99 {}",
            self.requests.len(),
            self.rate,
            self.served(),
            shown(50),
            shown(95),
            shown(99)
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::base::Seed;
    use crate::chaos::Site;
    use crate::doubles::{Behaviour, Double, Kind};
    use crate::model::{TargetKind, TargetSpec};
    use crate::target::{Credential, Launcher};

    fn request(due_us: u64, invoked_us: u64, returned_us: Option<u64>, status: u16) -> Request {
        let sent = json!({
            "service": "model-router", "method": "POST", "path": "/chat", "actor": "op-1",
            "role": "operator", "id": "cor_1", "invoked_us": invoked_us, "returned_us": returned_us,
            "status": status, "answer": {"error": {"code": "MODEL_UNAVAILABLE"}},
        });
        Request {
            due_us,
            sent: serde_json::from_value(sent).unwrap(),
        }
    }

    fn load(requests: Vec<Request>) -> Load {
        Load {
            rate: 10,
            due: requests.len() as u64,
            requests,
        }
    }

    #[test]
    fn latency_counts_from_when_a_request_was_due() {
        // Sent late, because whoever sends was held up: the wait is not hidden.
        let one = request(1_000, 900_000, Some(1_001_000), 200);
        assert_eq!(load(vec![one]).percentile_ms(50), Some(1_000.0));
        let quick = |number| request(number, number, Some(number + 2_000), 200);
        let mut all: Vec<_> = (0..98).map(quick).collect();
        all.push(request(98, 98, Some(50_098), 200));
        all.push(request(99, 99, None, 0));
        let load = load(all);
        assert_eq!(load.percentile_ms(95), Some(2.0));
        assert_eq!(load.percentile_ms(99), Some(50.0));
        assert_eq!(load.percentile_ms(100), None);
    }

    #[test]
    fn a_refusal_with_a_code_is_good_and_a_fault_or_no_answer_is_not() {
        let judged = |requests| {
            let mut judgement = Judgement::default();
            load(requests).judge(&mut judgement);
            (judgement.violations.len(), judgement.undecided.len())
        };
        assert_eq!(
            judged(vec![
                request(0, 0, Some(9), 503),
                request(0, 0, Some(9), 200)
            ]),
            (0, 0)
        );
        assert_eq!(
            judged(vec![request(0, 0, Some(9), 500), request(0, 0, None, 0)]),
            (2, 0)
        );
        assert_eq!(judged(vec![]), (0, 1));
    }

    #[tokio::test]
    async fn requests_are_sent_when_they_are_due_and_not_when_the_one_before_is_answered() {
        let clock = Clock::start();
        let double = Double::start(Kind::Models, clock).await.unwrap();
        double.behave(Behaviour::slow(300));
        let launcher = Launcher {
            binary: PathBuf::new(),
            spec: TargetSpec {
                name: "the double".to_owned(),
                kind: TargetKind::Remote { url: double.url() },
            },
        };
        let dir = tempfile::tempdir().unwrap();
        let site = Site::open(Seed(1), clock, launcher, dir.path().to_owned());
        let mut site = site.await.unwrap();
        let instance = site.start(json!({})).await.unwrap();
        let client = instance.client(Credential::Operator(1));
        let mut loads = Vec::new();
        drive(&client, clock, ("api-gateway", 50, 1), &mut loads).await;
        let load = &loads[0];
        assert_eq!((load.requests.len(), load.served()), (50, 50));
        // One after the other they would have taken 50 times as long.
        let last = load
            .requests
            .iter()
            .filter_map(|one| one.sent.returned_us)
            .max();
        assert!(last.unwrap() - load.requests[0].due_us < 50 * 300_000 / 2);
        assert!(load.percentile_ms(50).unwrap() >= 300.0);
    }
}
