//! `merge`: one report of the parts of a run on several machines.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::exit::{Exit, Stop};
use super::{GatesFolder, key, lines, matrix, papers, places, screen};
use crate::model::{Selection, Status};
use crate::report::{self, GateReport, REPORT_FILE};
use crate::verdict::{merge, read_report};

/// Example: sonia-gate merge part-1 part-2 --out releases/v4.7.0
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A part that is missing, there twice or of another run holds the release.
Exit codes: as of gate.
Example: sonia-gate merge part-1 part-2 --out releases/v4.7.0")]
pub(super) struct Arguments {
    /// The folders that `gate --partition` wrote
    #[arg(value_name = "PART", required = true)]
    parts: Vec<PathBuf>,
    /// Where report and evidence go [default: releases/vX.Y.Z]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The kill matrix that shows that the gates can fail
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// Sign the report with this private key (gate.key of `key new`)
    #[arg(long, value_name = "FILE", env = "SONIA_GATE_SIGN_KEY")]
    sign_key: Option<PathBuf>,
    #[command(flatten)]
    gates_folder: GatesFolder,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    let mut parts: Vec<(String, GateReport)> = Vec::new();
    for folder in &arguments.parts {
        let report = read_report(&folder.join(REPORT_FILE))
            .map_err(|why| Stop::usage(why, "give the folders that `gate --partition` wrote"))?;
        parts.push((folder.display().to_string(), report));
    }
    let model = arguments.gates_folder.model()?;
    let plan = model.plan(&parts[0].1.release, &Selection::default())?;
    let digest = model.proof_digest()?;
    let key = arguments.sign_key.as_deref().map(key::read).transpose()?;
    let out = places::out(arguments.out.as_ref(), &plan.release, true);
    let proof = matrix::find(&plan, &digest, arguments.proof.as_ref(), &out)?;
    let (ruling, written) = merge(&parts, &plan, &digest, proof);
    for row in &written.gates {
        // What an older run left there is evidence of nothing that is reported.
        let own = out.join("evidence").join(&row.name);
        if !arguments.parts.contains(&out) && own.exists() {
            fs::remove_dir_all(&own).map_err(|error| places::unwritable(&own, &error))?;
        }
        let ran = parts.iter().position(|(_, part)| {
            let mut rows = part.gates.iter();
            rows.any(|other| other.name == row.name && other.status != Status::Skip)
        });
        if let Some(part) = ran {
            for file in &row.evidence {
                bring(&arguments.parts[part], &out, &file.path)?;
            }
        }
    }
    let path = out.join(REPORT_FILE);
    report::write_json(&path, &written).map_err(|error| places::unwritable(&path, &error))?;
    papers::write(&out, &written, &plan, key.as_ref())?;
    for row in written
        .gates
        .iter()
        .filter(|row| row.status == Status::Fail)
    {
        let verb = screen::verb(row.status.word());
        screen::print(&format!("{verb} {} {}  {}", row.id, row.name, row.detail));
    }
    screen::print(&format!("{} {}", screen::verb("Report"), path.display()));
    if key.is_none() {
        screen::print(&lines::unsigned());
    }
    let elapsed = Duration::from_secs_f64(written.elapsed_s.max(0.0));
    screen::print(&lines::summary(&ruling, elapsed));
    screen::print(&lines::verdict(&ruling, &plan));
    papers::tell_github(&written, &plan);
    Ok(lines::exit(&ruling))
}

/// Copies a file of evidence; its digest stands in the report, and whoever reads that compares it.
fn bring(part: &Path, out: &Path, path: &str) -> Result<(), Stop> {
    let inside = Path::new(path);
    let plain = inside
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if !plain {
        return Err(Stop::usage(
            format!(
                "{}: evidence at {path} is outside of its part",
                part.display()
            ),
            "run that part again",
        ));
    }
    let (from, to) = (part.join(inside), out.join(inside));
    if from == to {
        return Ok(());
    }
    let bytes = fs::read(&from).map_err(|error| {
        Stop::usage(
            format!("cannot read {}: {error}", from.display()),
            "bring the part's whole folder, with its evidence",
        )
    })?;
    crate::base::files::write_atomically(&to, &bytes)
        .map_err(|error| places::unwritable(&to, &error))
}
