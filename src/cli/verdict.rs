//! `verdict`: reads a release as an adversary's, and says whether it may be promoted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::exit::{Exit, Stop};
use super::settings::Harness;
use super::{GatesFolder, compare, places, screen};
use crate::contract::bundle;
use crate::model::{Model, Verdict};
use crate::mutants;
use crate::verdict::{self, Comparison, Dossier, Kind, Promotion, Trust, verify};

/// Example: sonia-gate verdict releases/v4.7.0 --key gate.pub --rederive
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 PROMOTE; 1 a gate failed; 2 wrong usage; 3 nothing failed, and something stands against it.
Example: sonia-gate verdict releases/v4.7.0 --key gate.pub --rederive")]
pub(super) struct Arguments {
    /// A release's folder, or its bundle (.tar.gz) [default: the folder of the newest release]
    #[arg(value_name = "PATH")]
    release: Option<PathBuf>,
    /// A public key whose signature counts; may be given again [default: harness.trusted_keys]
    #[arg(long, value_name = "PUB")]
    key: Vec<String>,
    /// Judge all evidence again
    #[arg(long)]
    rederive: bool,
    /// How old the report may be: 24h, 7d
    #[arg(long, value_name = "DURATION")]
    max_age: Option<SignedDuration>,
    /// The binary that is to be promoted: it has to be the one that was gated
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The commit that is to be promoted: the report has to be of it
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,
    /// The report, or its folder, to say what changed since [default: the last release that is kept]
    #[arg(long, value_name = "PATH")]
    since: Option<PathBuf>,
    /// Print JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print Markdown
    #[arg(long)]
    markdown: bool,
    #[command(flatten)]
    gates_folder: GatesFolder,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    let model = arguments.gates_folder.model()?;
    let folder = match &arguments.release {
        Some(folder) => folder.clone(),
        None => places::release_folder(model.newest()),
    };
    if !folder.is_dir() && !folder.is_file() {
        return Err(Stop::usage(
            format!("there is no folder or bundle {}", folder.display()),
            "give the folder of a gate-report.json, or a .tar.gz of `bundle release`",
        ));
    }
    let trust = Trust {
        source_digest: model.proof_digest()?,
        keys: keys(&arguments.key)?,
        now: Timestamp::now(),
        max_age: arguments.max_age.map(age).transpose()?,
        binary_sha256: arguments.binary.as_deref().map(digest).transpose()?,
        commit: arguments.commit.clone(),
        declared: mutants::all(),
        rederive: arguments.rederive,
    };
    let dossier = Dossier::read(&folder);
    let promotion = verify(&dossier, &model, &trust);
    let since = since(arguments, &model, &dossier)?;
    if arguments.json {
        screen::print(&as_json(&promotion, since.as_ref()).to_string());
    } else {
        let lines = match arguments.markdown {
            true => as_markdown(&promotion, &folder, since.as_ref()),
            false => as_text(&promotion, &folder, since.as_ref()),
        };
        lines.iter().for_each(|line| screen::print(line));
    }
    Ok(exit(&promotion))
}

/// How old a report may be: a time that has passed.
fn age(asked: SignedDuration) -> Result<Duration, Stop> {
    Duration::try_from(asked).map_err(|_| {
        Stop::usage(
            "--max-age is before now",
            "give a time that has passed: 24h, 7d",
        )
    })
}

/// The digest of a file that has to be there.
fn digest(path: &Path) -> Result<String, Stop> {
    places::digest(path).ok_or_else(|| {
        Stop::usage(
            format!("cannot read {}", path.display()),
            "give the binary that is to be promoted",
        )
    })
}

/// What changed, and since which report.
struct Since {
    path: PathBuf,
    all: Comparison,
}

/// Compares with the last release: the one that was asked for, else one that is kept. It is read
/// from this tree, never from what is judged.
fn since(arguments: &Arguments, model: &Model, dossier: &Dossier) -> Result<Option<Since>, Stop> {
    let Ok(report) = &dossier.report else {
        return Ok(None);
    };
    let report = &report.value;
    let path = match (&arguments.since, model.release(&report.release)) {
        (Some(path), _) => Some(path.clone()),
        (None, Ok(release)) => places::before(model, release),
        (None, Err(_)) => None,
    };
    let Some(path) = path else {
        return Ok(None);
    };
    match compare::report(&path) {
        Ok(last) => {
            let all = verdict::compare(&last, report);
            Ok(Some(Since { path, all }))
        }
        // What nobody asked for is no reason to say nothing at all.
        Err(stop) if arguments.since.is_none() => {
            screen::complain("warning", &stop.to_string());
            Ok(None)
        }
        Err(stop) => Err(stop),
    }
}

/// The keys given, else those that the configuration trusts.
pub(super) fn keys(given: &[String]) -> Result<Vec<VerifyingKey>, Stop> {
    let given = match given {
        [] => Harness::read()?.trusted_keys,
        given => given.to_vec(),
    };
    let pinned = given.iter().map(|given| {
        bundle::pinned(given).map_err(|error| {
            Stop::usage(
                error.to_string(),
                "give a PEM file with an Ed25519 public key; `sonia-gate key new` makes one",
            )
        })
    });
    pinned.collect()
}

fn exit(promotion: &Promotion) -> Exit {
    let failed =
        |one: &crate::verdict::Finding| one.kind == Kind::Fail || one.kind == Kind::Refuted;
    match promotion.verdict {
        Verdict::Promote => Exit::Green,
        _ if promotion.findings.iter().any(failed) => Exit::Red,
        _ => Exit::Open,
    }
}

/// `        HOLD v4.7: 3 findings`
fn last_line(promotion: &Promotion) -> String {
    let release = promotion.release.as_deref().unwrap_or("no release");
    let why = match promotion.findings.len() {
        0 => "every gate passes, is proven and signed for".to_owned(),
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    };
    format!(
        "{} {release}: {why}",
        screen::verb(promotion.verdict.word())
    )
}

fn as_text(promotion: &Promotion, folder: &Path, since: Option<&Since>) -> Vec<String> {
    let mut lines = vec![format!("{} {}", screen::verb("Reading"), folder.display())];
    for one in &promotion.findings {
        lines.push(format!("{:>12} {}", one.kind, one.text));
    }
    for one in &promotion.invariants {
        let state = if one.holds { "holds" } else { "broken" };
        let broken = match one.broken.len() {
            0 => String::new(),
            count => format!(", {count} of them not PASS"),
        };
        lines.push(format!(
            "{} {} {}: {state}, carried by {} gates{broken}",
            screen::verb("Invariant"),
            one.number,
            one.name,
            one.gates
        ));
    }
    if let Some(ruling) = &promotion.ruling {
        let (all, floor, delta) = (
            ruling.summary.all,
            ruling.summary.floor,
            ruling.summary.delta,
        );
        lines.push(format!(
            "{} {} gates: {} pass, {} fail, {} unknown, {} skip; floor {}/{}, delta {}/{}; {} judged again",
            screen::verb("Summary"),
            all.total(),
            all.pass,
            all.fail,
            all.unknown,
            all.skip,
            floor.pass,
            floor.total(),
            delta.pass,
            delta.total(),
            promotion.rederived
        ));
    }
    for gate in &promotion.regressions {
        lines.push(format!(
            "{} {gate}: inherited, and not PASS",
            screen::verb("REGRESSION")
        ));
    }
    if let Some(since) = since {
        let (path, counted) = (since.path.display(), compare::counted(&since.all));
        lines.push(format!("{} {path}: {counted}", screen::verb("Since")));
        lines.extend(compare::changes(&since.all));
    }
    lines.push(last_line(promotion));
    lines
}

fn as_markdown(promotion: &Promotion, folder: &Path, since: Option<&Since>) -> Vec<String> {
    let release = promotion.release.as_deref().unwrap_or("no release");
    let mut lines = vec![
        format!("# {} {release}", promotion.verdict.word()),
        String::new(),
        format!("Read from `{}`.", folder.display()),
        String::new(),
        "| invariant | holds | gates | not PASS |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    for one in &promotion.invariants {
        let holds = if one.holds { "yes" } else { "no" };
        lines.push(format!(
            "| {} {} | {holds} | {} | {} |",
            one.number,
            one.name,
            one.gates,
            one.broken.join(", ")
        ));
    }
    lines.push(String::new());
    if promotion.findings.is_empty() {
        lines.push("Nothing stands against it.".to_owned());
    }
    for one in &promotion.findings {
        let text = one.text.replace('|', "\\|");
        lines.push(format!("- **{}**: {text}", one.kind));
    }
    let regressed = promotion.regressions.iter();
    lines.extend(
        regressed.map(|gate| format!("- **regression**: {gate} is inherited, and not PASS")),
    );
    if let Some(since) = since {
        let (path, counted) = (since.path.display(), compare::counted(&since.all));
        lines.extend([
            String::new(),
            format!("Since `{path}`: {counted}."),
            String::new(),
        ]);
        let changes = compare::changes(&since.all).into_iter();
        lines.extend(changes.map(|line| format!("- {}", line.trim_start())));
    }
    lines
}

fn as_json(promotion: &Promotion, since: Option<&Since>) -> Value {
    json!({
        "verdict": promotion.verdict,
        "release": promotion.release,
        "findings": promotion.findings,
        "summary": promotion.ruling.as_ref().map(crate::report::SummaryPart::of),
        "regressions": promotion.regressions,
        "invariants": promotion.invariants,
        "since": since.map(|since| json!({"path": since.path, "changes": since.all})),
        "rederived": promotion.rederived,
    })
}
