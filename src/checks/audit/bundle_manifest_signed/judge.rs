//! The judgement: clean bundles are accepted and tell what happened, wronged ones are refused by
//! name. Our own verifier runs here, over what was recorded.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;

use super::cases::Form;
use super::drive::{EXPORT, VERIFY};
use super::edits::{Files, apply};
use super::{Bundle, Evidence, Tampered, Told};
use crate::checks::{Judgement, Sent};
use crate::contract::audit::AuditEntry;
use crate::contract::bundle::{Exported, Found, Segment, Verdict, read_archive, verify};
use crate::target::Ran;
use crate::violation;

/// How many problems of one bundle are spelled out.
const SHOWN: usize = 3;

pub(super) fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut clean, mut refused) = (0, 0);
    if let Some(told) = &seen.told {
        commands(told, &mut judgement);
        match key(&seen.public_key) {
            None => judgement.undecided("no public key was recorded"),
            Some(key) => {
                for bundle in &seen.bundles {
                    clean += judge_bundle(bundle, told, seen, &key, &mut judgement);
                }
                two_differ(&seen.bundles, &mut judgement);
                for tampered in &seen.tampered {
                    refused += judge_tampered(tampered, seen, &key, &mut judgement);
                }
            }
        }
    }
    judgement.undecided.extend(seen.trouble.iter().cloned());
    judgement.exercised("clean_bundles", clean);
    judgement.exercised("tampered_bundles", refused);
    let wronged = seen
        .tampered
        .iter()
        .filter(|one| !one.case.offends.is_empty());
    judgement.detail = format!(
        "{} exports; {clean} clean bundles accepted by both verifiers, {refused} of {} wronged ones \
         refused by name: {} violations",
        seen.bundles.len(),
        wronged.count(),
        judgement.violations.len(),
    );
    judgement
}

fn key(text: &str) -> Option<VerifyingKey> {
    let digits = |at: usize| text.get(at..at + 2);
    let byte = |at: usize| u8::from_str_radix(digits(at * 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    VerifyingKey::try_from(bytes?.as_slice()).ok()
}

fn commands(told: &Told, judgement: &mut Judgement) {
    for name in [EXPORT, VERIFY] {
        let named = told.commands.get(name).is_some_and(|argv| !argv.is_empty());
        judgement.expect(named, || {
            let names: Vec<_> = told.commands.keys().collect();
            format!("the listening line names the commands {names:?}, expected {name} among them")
        });
    }
}

/// Judges a bundle as the target made it; gives the forms of it that both verifiers accepted.
fn judge_bundle(
    bundle: &Bundle,
    told: &Told,
    seen: &Evidence,
    key: &VerifyingKey,
    judgement: &mut Judgement,
) -> u64 {
    let when = if bundle.running { "running" } else { "stopped" };
    let before = judgement.violations.len();
    let mut wrong = |text: String| violation!(judgement, "bundle of the {when} target: {text}");
    let exported: Result<Exported, _> = serde_json::from_str(bundle.ran.stdout.trim());
    match (&exported, bundle.ran.code) {
        (Ok(exported), Some(0)) if exported.ok => {}
        (Err(error), Some(0)) => wrong(format!(
            "the export says no such thing as is asked: {error}"
        )),
        _ => wrong(format!(
            "the export ended with {}, expected exit 0",
            bundle.ran.line()
        )),
    }
    for stray in &bundle.strays {
        wrong(format!("the folder has a stray: {stray}"));
    }
    for (file, secret) in &bundle.secrets {
        wrong(format!("{file} has {secret} in it, expected no secret"));
    }
    let archive = bundle
        .archive
        .as_deref()
        .and_then(|text| STANDARD.decode(text).ok());
    let archive = read_archive(&archive.unwrap_or_default(), "the archive");
    let folder = Found::of(plain(&bundle.files));
    if archive.problems.is_empty() && archive.files != folder.files {
        wrong("the archive holds other files than the folder, expected the same".to_owned());
    }
    let mut accepted = 0;
    for (form, found) in [(Form::Folder, &folder), (Form::Archive, &archive)] {
        let ours = verify(found, key);
        if !ours.ok {
            wrong(format!(
                "our verifier refuses its {form}: {}",
                problems(&ours)
            ));
        }
        let theirs = bundle.verified.get(&form).map(Answer::of);
        match &theirs {
            None => wrong(format!("nobody could ask the target about its {form}")),
            Some(theirs) if !theirs.accepts() => {
                wrong(format!(
                    "the target's verifier refuses its {form}: {theirs}"
                ));
            }
            Some(_) => accepted += u64::from(ours.ok),
        }
    }
    for text in tells(bundle, told, seen) {
        wrong(text);
    }
    if judgement.violations.len() == before {
        accepted
    } else {
        0
    }
}

fn plain(files: &Files) -> BTreeMap<String, Vec<u8>> {
    let plain =
        |(path, content): (&String, &super::content::Content)| (path.clone(), content.0.clone());
    files.iter().map(plain).collect()
}

fn problems(verdict: &Verdict) -> String {
    let shown = verdict.problems.iter().take(SHOWN);
    let shown: Vec<String> = shown.map(ToString::to_string).collect();
    match verdict.problems.len().saturating_sub(SHOWN) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

/// What a target's verifier said.
struct Answer<'a> {
    ran: &'a Ran,
    verdict: Result<Verdict, String>,
}

impl<'a> Answer<'a> {
    fn of(ran: &'a Ran) -> Self {
        let verdict = serde_json::from_str(ran.stdout.trim()).map_err(|error| error.to_string());
        Self { ran, verdict }
    }

    fn accepts(&self) -> bool {
        let ok = self
            .verdict
            .as_ref()
            .is_ok_and(|verdict| verdict.ok && verdict.problems.is_empty());
        ok && self.ran.code == Some(0)
    }

    fn refuses(&self) -> bool {
        let refused = self.verdict.as_ref().is_ok_and(|verdict| !verdict.ok);
        refused && self.ran.code == Some(1)
    }
}

impl std::fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.verdict {
            Ok(verdict) => write!(f, "{}, {}", self.ran.line(), problems(verdict)),
            Err(error) => write!(f, "{}, and no verdict ({error})", self.ran.line()),
        }
    }
}

/// What a clean bundle does not tell and should: of the services, of the config, and of every
/// effect that was acknowledged before it was made.
fn tells(bundle: &Bundle, told: &Told, seen: &Evidence) -> Vec<String> {
    let mut wrong = Vec::new();
    let json = |path: &str| bundle.files.get(path).map(super::content::Content::json);
    let json = |path: &str| json(path).unwrap_or_default();
    let (health, config, git) = (json("health.json"), json("config.json"), json("git.json"));
    let expected = if bundle.running { "up" } else { "down" };
    for service in &told.services {
        let state = &health["services"][service]["state"];
        if state != expected {
            wrong.push(format!(
                "health.json: {service} is {state}, expected \"{expected}\""
            ));
        }
    }
    let ttl = &config["sessions"]["ttl_ms"];
    if ttl != seen.sessions_ttl_ms {
        let expected = seen.sessions_ttl_ms;
        wrong.push(format!(
            "config.json: sessions.ttl_ms is {ttl}, expected {expected}"
        ));
    }
    if !git["commit"].is_string() {
        wrong.push(format!(
            "git.json: commit is {}, expected a text",
            git["commit"]
        ));
    }
    let logged = |(path, content): (&String, &super::content::Content)| {
        path.starts_with("logs/") && !content.0.is_empty()
    };
    if !bundle.files.iter().any(logged) {
        wrong.push("logs/: not one line, expected what the target logged".to_owned());
    }
    for chain in &told.chains {
        let Some(entries) = entries(bundle, chain) else {
            wrong.push(format!("there is no segment of chain {chain}"));
            continue;
        };
        let ok = |entry: &&AuditEntry| entry.outcome == "ok";
        let told: BTreeSet<_> = entries
            .iter()
            .filter(ok)
            .map(|entry| &entry.correlation_id)
            .collect();
        let done = |sent: &&Sent| sent.ok() && &sent.service == chain;
        let before = |sent: &&Sent| sent.returned_us.is_some_and(|at| at < bundle.invoked_us);
        let untold: Vec<_> = (seen.sent.iter().filter(done).filter(before))
            .filter(|sent| !told.contains(&sent.id))
            .collect();
        if let Some(first) = untold.first() {
            let (count, line) = (untold.len(), first.line());
            wrong.push(format!(
                "audit/{chain}.json leaves out {count} effects, the first: {line}"
            ));
        }
    }
    wrong
}

/// The entries of a chain in a bundle that can be read as such.
fn entries(bundle: &Bundle, chain: &str) -> Option<Vec<AuditEntry>> {
    let content = bundle.files.get(&format!("audit/{chain}.json"))?;
    let segment: Segment = serde_json::from_slice(&content.0).ok()?;
    let entries = segment.entries.iter().map(crate::contract::read);
    Some(entries.filter_map(Result::ok).collect())
}

/// The second bundle is another one, and goes on from the first.
fn two_differ(bundles: &[Bundle], judgement: &mut Judgement) {
    let [first, second] = bundles else {
        return;
    };
    let id = |bundle: &Bundle| {
        let said: Option<Exported> = serde_json::from_str(bundle.ran.stdout.trim()).ok();
        said.map(|said| said.bundle_id)
    };
    if let (Some(one), Some(other)) = (id(first), id(second))
        && one == other
    {
        violation!(judgement, "two bundles have the id {one}, expected two ids");
    }
    for path in first.files.keys() {
        let Some(chain) = path
            .strip_prefix("audit/")
            .and_then(|name| name.strip_suffix(".json"))
        else {
            continue;
        };
        if let (Some(old), Some(new)) = (entries(first, chain), entries(second, chain)) {
            judgement.expect(new.starts_with(&old), || {
                let (old, new) = (old.len(), new.len());
                format!(
                    "{path}: the {new} entries of the second bundle do not begin with the {old} of the first"
                )
            });
        }
    }
}

/// Judges one case; 1 when it is a wrong that was refused as it has to be.
fn judge_tampered(
    tampered: &Tampered,
    seen: &Evidence,
    key: &VerifyingKey,
    judgement: &mut Judgement,
) -> u64 {
    let case = &tampered.case;
    let theirs = Answer::of(&tampered.ran);
    let (name, form) = (&case.name, case.form);
    let Some(first) = seen.bundles.first() else {
        judgement.undecided(format!("{form}, {name}: of no bundle"));
        return 0;
    };
    let ours = verify(
        &read_archive(&apply(&first.files, &case.edits).pack(), "archive"),
        key,
    );
    if case.offends.is_empty() {
        judgement.expect(theirs.accepts(), || {
            format!("{form}, {name}: the target's verifier says {theirs}, expected accepted")
        });
        return 0;
    }
    // The bundle itself may be at fault, and is judged for that; else it is our verifier.
    let blind = case.offends.iter().find(|file| !ours.names(file));
    if let Some(file) = blind
        && verify(&Found::of(plain(&first.files)), key).ok
    {
        let said = problems(&ours);
        judgement.undecided(format!(
            "{form}, {name}: our verifier does not name {file}: {said}"
        ));
    }
    if !theirs.refuses() {
        violation!(
            judgement,
            "{form}, {name}: the target's verifier says {theirs}, expected exit 1 and {}",
            case.offends.join(" and ")
        );
        return 0;
    }
    let named = |file: &&String| {
        theirs
            .verdict
            .as_ref()
            .is_ok_and(|verdict| verdict.names(file))
    };
    match case.offends.iter().find(|file| !named(file)) {
        Some(file) => {
            violation!(
                judgement,
                "{form}, {name}: the target's verifier does not name {file}: {theirs}"
            );
            0
        }
        None => 1,
    }
}
