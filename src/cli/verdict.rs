//! `verdict`: reads a release as an adversary's, and says whether it may be promoted.

use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::exit::{Exit, Stop};
use super::settings::Harness;
use super::{GatesFolder, places, screen};
use crate::contract::bundle;
use crate::model::Verdict;
use crate::verdict::{Dossier, Kind, Promotion, Trust, verify};

/// Example: sonia-gate verdict releases/v4.7.0 --key gate.pub --rederive
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 PROMOTE; 1 a gate failed; 2 wrong usage; 3 nothing failed, and something stands against it.
Example: sonia-gate verdict releases/v4.7.0 --key gate.pub --rederive")]
pub(super) struct Arguments {
    /// A release's folder [default: that of the newest release]
    #[arg(value_name = "DIR")]
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
    if !folder.is_dir() {
        return Err(Stop::usage(
            format!("there is no folder {}", folder.display()),
            "give the folder of a gate-report.json",
        ));
    }
    let trust = Trust {
        source_digest: model.proof_digest()?,
        keys: keys(&arguments.key)?,
        now: Timestamp::now(),
        max_age: arguments.max_age.map(SignedDuration::unsigned_abs),
        rederive: arguments.rederive,
    };
    let promotion = verify(&Dossier::read(&folder), &model, &trust);
    if arguments.json {
        screen::print(&as_json(&promotion).to_string());
    } else if arguments.markdown {
        as_markdown(&promotion, &folder)
            .iter()
            .for_each(|line| screen::print(line));
    } else {
        as_text(&promotion, &folder)
            .iter()
            .for_each(|line| screen::print(line));
    }
    Ok(exit(&promotion))
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
    let failed = |one: &crate::verdict::Finding| one.kind == Kind::Fail;
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

fn as_text(promotion: &Promotion, folder: &Path) -> Vec<String> {
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
    lines.push(last_line(promotion));
    lines
}

fn as_markdown(promotion: &Promotion, folder: &Path) -> Vec<String> {
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
    lines
}

fn as_json(promotion: &Promotion) -> Value {
    json!({
        "verdict": promotion.verdict,
        "release": promotion.release,
        "findings": promotion.findings,
        "invariants": promotion.invariants,
        "rederived": promotion.rederived,
    })
}
