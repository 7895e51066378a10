//! One service of a supervised target, killed, and what becomes of it. Shared by the gates whose
//! claim is that it comes back.

use serde::{Deserialize, Serialize};

use super::stack::{BOUND, Happened, Stack, Standing, count, kinds};
use crate::checks::{Cx, Judgement, Sent};
use crate::target::process::now_ticks;
use crate::violation;

/// What happens to a service that is killed and comes back, in this order and once each.
const COURSE: [&str; 4] = ["degraded", "unreachable", "restarted", "healthy"];

/// What was seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recovery {
    /// The service.
    pub service: String,
    /// Before the KILL, when it should be well.
    pub before: Option<Standing>,
    /// What the service itself said then.
    pub answered_before: Option<Sent>,
    /// When it was killed, in ticks of the system; none when there was no process to kill.
    pub killed_ticks: Option<u64>,
    /// After it, when it should be well again.
    pub after: Option<Standing>,
    /// What the service itself said then.
    pub answered_after: Option<Sent>,
    /// What the target says happened since the KILL.
    pub events: Vec<Happened>,
}

/// Waits until the service is well, kills it, and waits until it is well again.
pub(super) async fn recover(cx: &Cx, stack: &Stack, service: &str) -> Recovery {
    let mut seen = Recovery {
        service: service.to_owned(),
        ..Recovery::default()
    };
    seen.before = stack
        .watch(cx, service, BOUND, |now| now.state == "healthy")
        .await;
    let Some(before) = seen.before.clone() else {
        return seen;
    };
    seen.answered_before = Some(stack.healthz(service, &before).await);
    let events = stack.events(service, 0).await;
    let after = events.last().map_or(0, |event| event.seq);
    let at = now_ticks();
    if before.state != "healthy" || !before.pid.is_some_and(|pid| stack.instance.kill_child(pid)) {
        return seen;
    }
    seen.killed_ticks = at;
    // The event first: until it is there the service may still be called well.
    let restarted = || async {
        let events = stack.events(service, after).await;
        (count(&events, "restarted") > 0).then_some(())
    };
    // Its absence is judged by the events that are read at the end.
    drop(cx.until("a restart", BOUND, restarted).await);
    seen.after = stack
        .watch(cx, service, BOUND, |now| now.state == "healthy")
        .await;
    if let Some(after) = &seen.after {
        seen.answered_after = Some(stack.healthz(service, after).await);
    }
    seen.events = stack.events(service, after).await;
    seen
}

impl Recovery {
    /// Judges it; whether it could be followed to its end.
    pub(super) fn judge(&self, judgement: &mut Judgement) -> bool {
        let service = &self.service;
        let Some(before) = &self.before else {
            return false;
        };
        if before.state != "healthy" {
            let state = &before.state;
            violation!(
                judgement,
                "{service} before the KILL: got state {state}, expected healthy"
            );
            return false;
        }
        self.answers(self.answered_before.as_ref(), "before the KILL", judgement);
        let (Some(killed), Some(after)) = (self.killed_ticks, &self.after) else {
            return false;
        };
        let restarts = count(&self.events, "restarted");
        judgement.expect(restarts == 1, || {
            format!("{service} after 1 KILL: got {restarts} restarted events, expected 1")
        });
        let kinds = kinds(&self.events);
        judgement.expect(restarts != 1 || kinds == COURSE, || {
            format!("{service} after the KILL: got events {kinds:?}, expected {COURSE:?}")
        });
        judgement.expect(after.state == "healthy", || {
            let bound = BOUND.as_secs();
            let state = &after.state;
            format!("{service} {bound} s after the KILL: got state {state}, expected healthy")
        });
        self.process(killed, before, after, judgement);
        self.answers(self.answered_after.as_ref(), "after the KILL", judgement);
        true
    }

    /// The process that is shown is one of the target's, and was started after the KILL.
    fn process(&self, killed: u64, before: &Standing, after: &Standing, judgement: &mut Judgement) {
        let service = &self.service;
        let (was, is) = (before.pid, after.pid);
        judgement.expect(is.is_some() && is != was, || {
            let shown = |pid: Option<u32>| pid.map_or("none".to_owned(), |pid| pid.to_string());
            format!(
                "{service} after the KILL of process {}: got process {}, expected another one",
                shown(was),
                shown(is)
            )
        });
        match &after.process {
            // A tick is rounded down on both sides.
            Some(process) => judgement.expect(process.started_ticks >= killed, || {
                let (got, pid) = (process.started_ticks, process.pid);
                format!("{service}: process {pid} was started at {got}, expected {killed} or later")
            }),
            None => violation!(
                judgement,
                "{service} after the KILL: the process that is shown does not run as one of the target's"
            ),
        }
    }

    fn answers(&self, sent: Option<&Sent>, when: &str, judgement: &mut Judgement) {
        let Some(sent) = sent else { return };
        let name = sent.answer["service"].as_str().unwrap_or("nobody");
        judgement.expect(sent.status == 200 && name == self.service, || {
            let line = sent.line();
            let service = &self.service;
            format!("{when} {line} by {name}: expected 200 by {service}")
        });
    }

    /// Whether the service came back, so that more can be asked of it.
    pub(super) fn is_whole(&self) -> bool {
        let after = self.after.as_ref();
        after.is_some_and(|now| now.state == "healthy") && self.restarts() > 0
    }

    /// How often it was seen well, of the two ends.
    pub(super) fn healthy_looks(&self) -> u64 {
        let looks = [&self.before, &self.after];
        let well =
            |look: &&&Option<Standing>| look.as_ref().is_some_and(|now| now.state == "healthy");
        looks.iter().filter(well).count() as u64
    }

    /// How often it was restarted, as it says.
    pub(super) fn restarts(&self) -> u64 {
        count(&self.events, "restarted")
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
pub(super) mod tests;
