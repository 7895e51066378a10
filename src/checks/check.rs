//! What makes a check of a module with `Evidence`, `judge` and `drive`: deadlines, interrupts and
//! panics are caught here, so that what was recorded is judged in any case.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cx::{Cancel, Cx, Undecided, cancelled};
use crate::chaos::Judgement;
use crate::target::Incident;

/// The version of [`Recorded`].
const RECORD_VERSION: u32 = 3;
/// Why a drive ended early when the whole run was to end.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// What a drive left behind.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Everything a judge needs, as it is stored.
    pub evidence: Value,
    /// Why the drive stopped early, if it did.
    pub undecided: Option<String>,
}

pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Ran> + Send + 'a>>;

/// A gate's check.
pub struct Check {
    /// The gate's name.
    pub gate: &'static str,
    /// Where the code is.
    pub file: &'static str,
    pub(crate) source: &'static str,
    pub(crate) run: for<'a> fn(&'a mut Cx, Duration) -> Running<'a>,
    pub(crate) judge: fn(&Value) -> Result<Judgement, String>,
}

impl Check {
    /// Drives the target. Never fails: a deadline, a panic, an [`Undecided`] and the end of
    /// the run end the drive early, and what was recorded until then is kept.
    pub async fn run(&self, cx: &mut Cx, deadline: Duration) -> Ran {
        (self.run)(cx, deadline).await
    }

    /// How it drives and judges, line by line: what the code says first.
    pub fn how(&self) -> impl Iterator<Item = &'static str> {
        let lines = self.source.lines();
        lines.map_while(|line| line.strip_prefix("//!").map(str::trim))
    }

    /// A check that misbehaves, for the tests of who runs checks.
    #[cfg(test)]
    pub(crate) const fn made_of(
        run: for<'a> fn(&'a mut Cx, Duration) -> Running<'a>,
        judge: fn(&Value) -> Result<Judgement, String>,
    ) -> Self {
        Self {
            gate: "test",
            file: "test",
            source: "",
            run,
            judge,
        }
    }

    /// Judges stored evidence. Pure: the same evidence gives the same judgement.
    ///
    /// # Errors
    /// When this is no evidence of this check.
    pub fn judge(&self, evidence: &Value) -> Result<Judgement, String> {
        (self.judge)(evidence)
    }
}

/// The evidence file: what the drive recorded, and what the targets did unasked.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Recorded<E> {
    version: u32,
    gate: String,
    /// What the drive drew from, as a decimal text: the evidence of another drive is another one's.
    seed: String,
    /// Why the drive stopped early, if it did: no judge may take what is there for all there is.
    stopped: Option<String>,
    incidents: Vec<Incident>,
    seen: E,
}

/// What stored evidence says of its drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// What it drew from, as a decimal text.
    pub seed: String,
    /// Why it stopped early, if it did.
    pub stopped: Option<String>,
}

/// Reads of which drive this stored evidence is.
///
/// # Errors
/// When this is no evidence file.
pub fn drive_of(evidence: &Value) -> Result<Drive, String> {
    let recorded: Recorded<serde::de::IgnoredAny> = serde_path_to_error::deserialize(evidence)
        .map_err(|error| format!("this is no evidence: {error}"))?;
    Ok(Drive {
        seed: recorded.seed,
        stopped: recorded.stopped,
    })
}

/// A [`Check`]: the gate's name, its file and its module.
macro_rules! check {
    ($gate:literal, $file:literal, $($module:ident)::+) => {
        $crate::checks::check::Check {
            gate: $gate,
            file: $file,
            source: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $file)),
            run: |cx, deadline| {
                Box::pin(async move {
                    let mut seen = $($module)::+::Evidence::default();
                    let cancel = cx.cancel.clone();
                    let stopped = $crate::checks::check::supervise(deadline, cancel, $($module)::+::drive(cx, &mut seen)).await;
                    $crate::checks::check::ran($gate, cx, seen, stopped)
                })
            },
            judge: |evidence| $crate::checks::check::judged($gate, evidence, $($module)::+::judge),
        }
    };
}

pub(crate) use check;

/// Runs a drive under its deadline and until the run is to end; tells why it ended early.
pub(crate) async fn supervise(
    deadline: Duration,
    cancel: Cancel,
    drive: impl Future<Output = Result<(), Undecided>>,
) -> Option<String> {
    let guarded = AssertUnwindSafe(drive).catch_unwind();
    // What is done is done, whatever else happened at the same moment.
    tokio::select! {
        biased;
        ended = guarded => match ended {
            Ok(Ok(())) => None,
            Ok(Err(Undecided(why))) => Some(why),
            Err(panic) => Some(format!("the check panicked: {}", words(panic.as_ref()))),
        },
        () = tokio::time::sleep(deadline) => Some(format!(
            "not done within its deadline of {} s",
            deadline.as_secs_f64()
        )),
        () = cancelled(cancel) => Some(INTERRUPTED.to_owned()),
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

pub(crate) fn ran<E: Serialize>(gate: &str, cx: &Cx, seen: E, undecided: Option<String>) -> Ran {
    let recorded = Recorded {
        version: RECORD_VERSION,
        gate: gate.to_owned(),
        seed: cx.seed.to_string(),
        stopped: undecided.clone(),
        incidents: cx.incidents(),
        seen,
    };
    match serde_json::to_value(recorded) {
        Ok(evidence) => Ran {
            evidence,
            undecided,
        },
        Err(error) => Ran {
            evidence: Value::Null,
            undecided: Some(format!("the evidence cannot be written: {error}")),
        },
    }
}

pub(crate) fn judged<E: DeserializeOwned>(
    gate: &str,
    evidence: &Value,
    judge: fn(&E) -> Judgement,
) -> Result<Judgement, String> {
    let recorded: Recorded<E> = serde_path_to_error::deserialize(evidence)
        .map_err(|error| format!("this is no evidence of {gate}: {error}"))?;
    if recorded.version != RECORD_VERSION || recorded.gate != gate {
        return Err(format!(
            "evidence version {} of {}, expected {RECORD_VERSION} of {gate}",
            recorded.version, recorded.gate
        ));
    }
    let mut judgement = judge(&recorded.seen);
    judgement
        .violations
        .extend(recorded.incidents.iter().map(ToString::to_string));
    Ok(judgement)
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
