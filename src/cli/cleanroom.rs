//! `cleanroom`: a fresh clone of HEAD, built offline from its lock file and gated, against this tree.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use super::exit::{Exit, Stop};
use super::{block_on, compare, interrupt, lines, places, screen};
use crate::base::tree;
use crate::model::{Model, Release};
use crate::report::{GateReport, MATRIX_FILE, REPORT_FILE};
use crate::target::clean::{CleanRoom, ToolError};
use crate::target::tools;
use crate::verdict::{Difference, Side, parity, read_report};

/// What is compared besides the sources.
const LOCK_FILE: &str = "Cargo.lock";

/// Example: sonia-gate cleanroom v4.7
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing of this tree but its commit is in the room: no changes, no build, no report; the gates there
are given this tree's kill matrix, which counts if it is of the sources that were cloned. Crates come
from cargo's own cache or a vendored folder that is committed; nothing is downloaded. What git, cargo and the gates say
goes to stderr.
Exit codes: 0 parity; 1 differences, each on a line, or a clone that does not build; 2 no report or
repository here; 3 the room could not be made, or the run was interrupted.
Example: sonia-gate cleanroom v4.7")]
pub(super) struct Arguments {
    /// v4.3 ... v4.7 [default: the newest]
    release: Option<String>,
    /// The tree that is compared, in a git repository
    #[arg(long, value_name = "DIR", default_value = ".")]
    tree: PathBuf,
    /// The folder of its report [default: releases/vX.Y.Z of the tree]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Make the room here, and leave it; the folder must not be there yet
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Build with the release profile
    #[arg(long = "release")]
    optimised: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    let model = Model::embedded()?;
    let release = match &arguments.release {
        Some(name) => model.release(name)?,
        None => model.newest(),
    };
    let folder = arguments.from.clone();
    let folder = folder.unwrap_or_else(|| arguments.tree.join(places::release_folder(release)));
    let here = here(arguments, &folder)?;
    let scratch = places::scratch()?;
    let room = match &arguments.keep {
        Some(room) => room.clone(),
        None => scratch.path().join("room"),
    };
    let work = Work {
        arguments,
        release,
        folder,
        here,
    };
    block_on(work.carry_out(&room))?
}

/// This tree: its lock file, its sources as they lie there, and its report.
fn here(arguments: &Arguments, folder: &Path) -> Result<Side, Stop> {
    let report = read_report(&folder.join(REPORT_FILE))
        .map_err(|why| Stop::usage(why, "gate the release here first, or say --from DIR"))?;
    // What this tree's own report was made of is compared by its sources.
    side(&arguments.tree, "", report)
}

fn side(tree: &Path, commit: &str, report: GateReport) -> Result<Side, Stop> {
    let unread = |error: std::io::Error| {
        let what = format!("cannot read the sources in {}: {error}", tree.display());
        Stop::usage(what, "give the top of a source tree with --tree")
    };
    Ok(Side {
        lock_sha256: places::digest(&tree.join(LOCK_FILE)),
        source_digest: tree::digest(tree).map_err(unread)?,
        commit: commit.to_owned(),
        report,
    })
}

/// What is compared with what.
struct Work<'a> {
    arguments: &'a Arguments,
    release: &'a Release,
    /// That of the report here.
    folder: PathBuf,
    here: Side,
}

impl Work<'_> {
    async fn carry_out(&self, room: &Path) -> Result<Exit, Stop> {
        let mut cancel = interrupt::cancel()?;
        tokio::select! {
            // Dropping the work kills the tool that is under way.
            _ = cancel.wait_for(|asked| *asked) => {
                screen::complain("warning", "interrupted; nothing was compared");
                Ok(Exit::Open)
            }
            ended = self.compared(room) => ended,
        }
    }

    async fn compared(&self, room: &Path) -> Result<Exit, Stop> {
        let (tree, name) = (&self.arguments.tree, &self.release.name);
        let state = tools::git_state(tree).await;
        let Some(git) = state.filter(|_| tree.join(".git").exists()) else {
            return Err(Stop::usage(
                format!("{} is not the top of a git repository", tree.display()),
                "commit the sources first, and give their top; a clean room is made of a commit",
            ));
        };
        if room.exists() {
            return Err(Stop::usage(
                format!("{} is there already", room.display()),
                "give --keep a folder that is not there yet",
            ));
        }
        let began = Instant::now();
        say("Cloning", &git.commit);
        let room = match CleanRoom::clone(tree, &git.commit, room, self.arguments.optimised).await {
            Ok(room) => room,
            Err(error) => return Ok(open(&error)),
        };
        say("Building", "offline, what Cargo.lock names");
        match room.build().await {
            Ok(()) => say("Built", &lines::time(began.elapsed())),
            Err(error @ ToolError::Start { .. }) => return Ok(open(&error)),
            Err(error) => {
                let text = format!("{name}: the clone does not build: {error}");
                screen::print(&format!("{} {text}", screen::verb("DIFFERENT")));
                return Ok(Exit::Red);
            }
        }
        match self.gated(&room).await {
            Ok(report) => Ok(self.close(&side(room.folder(), &git.commit, report)?)),
            Err(why) => {
                screen::complain("error", &why);
                Ok(Exit::Open)
            }
        }
    }

    /// The report of the gates in the room, or why there is none.
    async fn gated(&self, room: &CleanRoom) -> Result<GateReport, String> {
        let (seed, name) = (&self.here.report.seed, &self.release.name);
        say("Gating", &format!("{name} with seed {seed}"));
        // Inside of what git ignores, so that the room stays the commit.
        let out = Path::new("target").join("clean-report");
        let proof = std::path::absolute(self.folder.join(MATRIX_FILE)).ok();
        let proof = proof.filter(|path| path.is_file());
        let mut words = ["gate", name, "--quiet", "--seed", seed, "--out"]
            .map(OsStr::new)
            .to_vec();
        words.push(out.as_os_str());
        if let Some(proof) = &proof {
            words.extend([OsStr::new("--proof"), proof.as_os_str()]);
        }
        let status = room.run(&words).await.map_err(|error| error.to_string())?;
        let path = room.folder().join(&out).join(REPORT_FILE);
        // Whatever the gates came to, they came to an end.
        if path.is_file() && matches!(status.code(), Some(0 | 1 | 3)) {
            return read_report(&path);
        }
        Err(format!("the gates left no report and ended with {status}"))
    }

    fn close(&self, clean: &Side) -> Exit {
        let (differences, name) = (parity(&self.here, clean), &self.release.name);
        let same = differences.is_empty();
        if self.arguments.json {
            let text = json!({"release": name, "parity": same, "differences": differences});
            screen::print(&text.to_string());
        } else {
            differences.iter().for_each(show);
            let all = crate::verdict::compare(&self.here.report, &clean.report);
            say("Compared", &compare::counted(&all));
            let (word, text) = match differences.len() {
                0 => (
                    "PARITY",
                    "the clean room gives what this tree gives".to_owned(),
                ),
                1 => ("DIFFERENT", "1 difference".to_owned()),
                count => ("DIFFERENT", format!("{count} differences")),
            };
            screen::print(&format!("{} {name}: {text}", screen::verb(word)));
        }
        if same { Exit::Green } else { Exit::Red }
    }
}

fn show(one: &Difference) {
    let Difference { what, here, clean } = one;
    let text = format!("{what}: here {here}, in the clean room {clean}");
    screen::print(&format!("{} {text}", screen::verb("DIFFERS")));
}

/// What is going on.
fn say(word: &str, text: &str) {
    screen::tell(&format!("{} {text}", screen::verb(word)));
}

fn open(error: &ToolError) -> Exit {
    screen::complain("error", &error.to_string());
    screen::complain(
        "hint",
        "nothing was compared; git and cargo have to be there",
    );
    Exit::Open
}
