//! Drives one gate: attempts, deadlines, and the evidence of the last attempt. Whatever a check
//! does (panic, hang, leave too little), it comes out as a row, and the next gate goes on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::decide::Decision;
use super::event::{Attempt, EVIDENCE_FILE, EvidenceFile, Row};
use super::phases::Phases;
use crate::base::files::write_atomically;
use crate::base::json::sha256_hex;
use crate::base::{Clock, Seed};
use crate::checks::check::INTERRUPTED;
use crate::checks::{Cancel, Check, Cx, CxParts, Ran, Span, cancelled};
use crate::model::{PlannedGate, Status, TargetSpec};
use crate::target::{Keys, Launcher};

/// How often a gate is driven that stays UNKNOWN.
pub(super) const ATTEMPTS: usize = 3;
/// How long a check may take to notice its own deadline, and its end.
pub(super) const DEADLINE_GRACE: Duration = Duration::from_secs(5);
/// A stop for a judge that does not end; judges are bounded by counts and take far less.
const JUDGE_DEADLINE: Duration = Duration::from_secs(120);

tokio::task_local! {
    static IN_CHECK: ();
}

/// Whether the code that is running now is a check's: its panics are caught and become rows.
#[must_use]
pub fn in_check() -> bool {
    IN_CHECK.try_with(|()| ()).is_ok()
}

/// Runs a judge as a part of a check.
pub(super) fn as_in_check<T>(judge: impl FnOnce() -> T) -> T {
    IN_CHECK.sync_scope((), judge)
}

/// What every drive of a run has in common.
#[derive(Clone, Debug)]
pub(super) struct Driver {
    pub(super) target: TargetSpec,
    pub(super) binary: PathBuf,
    pub(super) seed: Seed,
    pub(super) clock: Clock,
    /// Folders of running targets.
    pub(super) scratch: PathBuf,
    /// One folder a gate.
    pub(super) evidence: PathBuf,
    /// How long a check may take to notice its own deadline, and its end.
    pub(super) grace: Duration,
    /// How often a gate is driven that stays UNKNOWN.
    pub(super) attempts: usize,
}

impl Driver {
    /// Drives this gate until it is decided, several times if need be. `begun` is told the
    /// number of each attempt.
    pub(super) async fn gate(
        &self,
        gate: &PlannedGate,
        check: &'static Check,
        cancel: Cancel,
        begun: impl Fn(usize),
    ) -> Row {
        let mut row = Row::settled(gate, Status::Unknown, INTERRUPTED);
        let began = Instant::now();
        for number in 1..=self.attempts {
            if *cancel.borrow() {
                row.interrupted = true;
                break;
            }
            begun(number);
            let seed = attempt_seed(self.seed, &gate.spec.name, number);
            let started = Instant::now();
            let tried = self.attempt(gate, check, number, seed, &cancel).await;
            row.adopt(tried, seed, started.elapsed());
            if row.status != Status::Unknown {
                break;
            }
        }
        row.duration = began.elapsed();
        row
    }

    async fn attempt(
        &self,
        gate: &PlannedGate,
        check: &'static Check,
        number: usize,
        seed: Seed,
        cancel: &Cancel,
    ) -> Tried {
        let evidence_dir = self.evidence.join(&gate.spec.name);
        if let Err(error) = empty_folder(&evidence_dir) {
            return Tried::unknown(format!("cannot make {}: {error}", evidence_dir.display()));
        }
        let dir = self.scratch.join(&gate.spec.name).join(number.to_string());
        let parts = CxParts {
            seed,
            clock: self.clock,
            launcher: Launcher {
                binary: self.binary.clone(),
                spec: self.target.clone(),
            },
            dir: dir.clone(),
            evidence_dir: evidence_dir.clone(),
            minimum: gate.spec.exercised.clone(),
            cancel: cancel.clone(),
        };
        let began = Instant::now();
        let driven = self.driven(parts, check, gate.spec.deadline, cancel).await;
        let drive_time = began.elapsed();
        // What a target left behind is of no use to anybody, and disks are finite.
        let _ = fs::remove_dir_all(&dir);
        let (ran, spans) = match driven {
            Ok(driven) => driven,
            Err(why) => {
                return Tried {
                    interrupted: *cancel.borrow(),
                    ..Tried::unknown(why)
                };
            }
        };
        let judging = Instant::now();
        let mut decision = judged(check, &ran, &gate.spec.exercised).await;
        let interrupted = ran.undecided.is_some() && *cancel.borrow();
        if decision.status == Status::Unknown && interrupted {
            // What else stayed open stayed open because of it.
            decision.detail = INTERRUPTED.to_owned();
        }
        let phases = Phases::of(&spans, drive_time + judging.elapsed(), judging.elapsed());
        let kept = self.keep(&evidence_dir, &ran, seed);
        let evidence = kept.unwrap_or_else(|why| {
            // Without its evidence nobody could judge again; a violation stays one.
            if decision.status == Status::Pass {
                decision = Decision::unknown(why);
            }
            Vec::new()
        });
        Tried {
            decision,
            evidence,
            phases,
            interrupted,
        }
    }

    /// Keeps the evidence, or says why not: it is for everybody, and so holds no secret.
    fn keep(&self, folder: &Path, ran: &Ran, seed: Seed) -> Result<Vec<EvidenceFile>, String> {
        let given_away = Keys::new(seed).given_away(ran.evidence.to_string().as_bytes());
        if !given_away.is_empty() {
            let _ = empty_folder(folder);
            let what = given_away.join(", ");
            return Err(format!("its evidence would give away {what}"));
        }
        store(&self.evidence, folder, ran)
            .map_err(|error| format!("cannot keep the evidence in {}: {error}", folder.display()))
    }

    /// Runs the check in a task of its own, so that whatever it does stays there. A check stops by
    /// itself at its deadline and when the run is cut short, and gives what it recorded. One that
    /// does not is dropped after the grace, and with it every target that it started.
    async fn driven(
        &self,
        parts: CxParts,
        check: &'static Check,
        deadline: Duration,
        cancel: &Cancel,
    ) -> Result<(Ran, Vec<Span>), String> {
        let mut task = tokio::spawn(IN_CHECK.scope((), async move {
            let mut cx = Cx::open(parts)
                .await
                .map_err(|error| format!("no doubles: {error}"))?;
            let ran = check.run(&mut cx, deadline).await;
            Ok((ran, cx.spans()))
        }));
        let bound = deadline + self.grace;
        tokio::select! {
            ended = &mut task => ended.unwrap_or_else(|error| Err(format!("the check died: {error}"))),
            () = tokio::time::sleep(bound) => {
                task.abort();
                Err(format!("the check hangs, and its deadline of {} s cannot stop it", deadline.as_secs()))
            }
            () = async {
                cancelled(cancel.clone()).await;
                tokio::time::sleep(self.grace).await;
            } => {
                task.abort();
                // Its targets are killed when the task is dropped; wait until it is.
                let _ = tokio::time::timeout(DEADLINE_GRACE, task).await;
                Err(INTERRUPTED.to_owned())
            }
        }
    }
}

/// One attempt's outcome.
struct Tried {
    decision: Decision,
    evidence: Vec<EvidenceFile>,
    phases: Phases,
    /// Whether it ended early because the run did.
    interrupted: bool,
}

impl Tried {
    fn unknown(why: String) -> Self {
        Self {
            decision: Decision::unknown(why),
            evidence: Vec::new(),
            phases: Phases::default(),
            interrupted: false,
        }
    }
}

impl Row {
    fn adopt(&mut self, tried: Tried, seed: Seed, duration: Duration) {
        let Tried {
            decision,
            evidence,
            phases,
            interrupted,
        } = tried;
        let Decision {
            status,
            detail,
            violations,
            undecided,
            exercised,
        } = decision;
        self.attempts.push(Attempt {
            seed,
            status,
            detail: detail.clone(),
            duration,
        });
        self.status = status;
        self.detail = match self.attempts.len() {
            1 => detail,
            tries => format!("{detail} (attempt {tries})"),
        };
        self.violations = violations;
        self.undecided = undecided;
        self.exercised = exercised;
        self.evidence = evidence;
        self.phases = phases;
        self.driven = true;
        self.interrupted = interrupted;
    }
}

/// Judges on a thread of its own: judges compute, and may panic.
async fn judged(
    check: &'static Check,
    ran: &Ran,
    minimum: &std::collections::BTreeMap<String, u64>,
) -> Decision {
    let evidence = ran.evidence.clone();
    let judging = tokio::task::spawn_blocking(move || as_in_check(|| check.judge(&evidence)));
    let stopped = ran.undecided.clone();
    match tokio::time::timeout(JUDGE_DEADLINE, judging).await {
        Ok(Ok(Ok(judgement))) => Decision::on(judgement, stopped, minimum),
        Ok(Ok(Err(why))) => Decision::unknown(stopped.unwrap_or(why)),
        Ok(Err(panic)) => Decision::unknown(format!("the judge panicked: {panic}")),
        Err(_) => Decision::unknown(format!(
            "the judge did not end in {} s",
            JUDGE_DEADLINE.as_secs()
        )),
    }
}

/// The seed of a drive of a gate, 1 the first, in a run with this seed.
#[must_use]
pub fn attempt_seed(run: Seed, gate: &str, number: usize) -> Seed {
    match number {
        1 => run.child(gate),
        again => run.child(&format!("{gate} #{again}")),
    }
}

fn empty_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(folder),
    }
}

/// Writes the evidence, and gives every file of the gate's folder with its digest.
fn store(root: &Path, folder: &Path, ran: &Ran) -> io::Result<Vec<EvidenceFile>> {
    let text = serde_json::to_vec_pretty(&ran.evidence)?;
    write_atomically(&folder.join(EVIDENCE_FILE), &text)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            let sha256 = sha256_hex(&fs::read(&path)?);
            let inside = path.strip_prefix(root).unwrap_or(&path);
            let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
            files.push(EvidenceFile {
                path: parts.join("/"),
                sha256,
            });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

#[cfg(test)]
#[path = "drive_tests.rs"]
mod tests;
