//! How bundle-manifest-signed is driven.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use serde_json::json;

use super::cases::{self, Case, Form, Stuff};
use super::content::Content;
use super::edits::{Files, apply};
use super::{Bundle, Evidence, Tampered, Told};
use crate::base::Seed;
use crate::base::json::hex;
use crate::checks::audit::traffic::{Desk, burst};
use crate::checks::{Cx, Undecided};
use crate::contract::bundle::{Found, MANIFEST_FILE, read_archive, read_folder};
use crate::target::{Instance, Keys, Ran};

/// The commands by their names in the listening line.
pub(super) const EXPORT: &str = "export-incident-bundle";
pub(super) const VERIFY: &str = "verify-incident-bundle";
/// Verifications at a time: each is a process of its own.
const AT_A_TIME: usize = 4;
/// A lifetime that no default has: the bundle has to show the config that is in force.
const SESSIONS_TTL_MS: u64 = 1_234_567;
/// The name of the canary among the secrets.
const URL_PASSWORD: &str = "the password in a URL";

/// Drives it.
///
/// # Errors
/// When the target cannot be driven on.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let password = format!("pw{:016x}", cx.seed.child("password").0);
    let models = cx.models.url();
    let with_password = models.replacen("://", &format!("://sonia:{password}@"), 1);
    let mut instance = cx
        .start(json!({
            "backends": {"models": {"url": with_password}},
            "sessions": {"ttl_ms": SESSIONS_TTL_MS},
        }))
        .await?;
    let listening = instance.listening();
    seen.told = Some(Told {
        services: listening.services.keys().cloned().collect(),
        chains: listening.chains.keys().cloned().collect(),
        commands: listening.commands.clone(),
    });
    seen.sessions_ttl_ms = SESSIONS_TTL_MS;
    let keys = instance.setup().keys.clone();
    seen.public_key = hex(keys.audit_public().as_bytes());
    let desk = Desk::new(&instance);
    let session = desk.session(cx.seed).await;
    let session_id = session.answer["session_id"].as_str().unwrap_or_default();
    let session_id = session_id.to_owned();
    seen.sent.push(session);
    for running in [true, false] {
        let seed = cx.seed.child(if running { "first" } else { "second" });
        write(cx, &desk, seed, &session_id, seen).await;
        if !running {
            // How it ends when it is asked to is a matter of other gates.
            instance.kill().await?;
        }
        let exported = export(cx, &instance, running, &password).await;
        seen.bundles.extend(exported);
    }
    let [first, second] = &seen.bundles[..] else {
        return Ok(());
    };
    let cases = {
        let stranger = Keys::new(cx.seed.child("a stranger"));
        let other = second.files.get(MANIFEST_FILE).cloned();
        cases::plan(&Stuff {
            files: &first.files,
            other: &other.unwrap_or_default(),
            folder: &place(cx, true),
            sign: &|message| keys.audit_sign(message),
            stranger: &|message| stranger.audit_sign(message),
        })
    };
    match cases {
        Ok(cases) => {
            let files = first.files.clone();
            tamper(cx, &instance, &files, cases, seen).await;
        }
        Err(why) => seen
            .trouble
            .push(format!("no case was made of the bundle: {why}")),
    }
    Ok(())
}

/// Effects in every chain. None of them is taken back: what takes back is other gates' matter.
async fn write(cx: &Cx, desk: &Desk, seed: Seed, session_id: &str, seen: &mut Evidence) {
    let _span = cx.span("write");
    let asks = burst(seed, session_id).into_iter();
    let sent = asks.map(|(who, ask)| desk.send(who, ask));
    seen.sent.extend(futures_util::future::join_all(sent).await);
}

/// Where a bundle goes.
fn place(cx: &Cx, running: bool) -> PathBuf {
    cx.dir.join(if running { "bundle-1" } else { "bundle-2" })
}

fn archive_of(folder: &Path) -> PathBuf {
    folder.with_extension("tar.gz")
}

/// Makes a bundle, reads it, and asks the target what it thinks of both of its forms.
async fn export(cx: &Cx, instance: &Instance, running: bool, password: &str) -> Option<Bundle> {
    let _span = cx.span("export");
    let (folder, invoked_us) = (place(cx, running), cx.clock.now_us());
    let ran = instance.command(EXPORT, &folder).await?;
    let mut bundle = Bundle {
        running,
        invoked_us,
        ran,
        ..Bundle::default()
    };
    let archive = std::fs::read(archive_of(&folder)).ok();
    if let Ok(Found {
        files, problems, ..
    }) = read_folder(&folder)
    {
        let kept = files
            .into_iter()
            .map(|(path, bytes)| (path, Content(bytes)));
        bundle.files = kept.collect();
        bundle.strays = problems;
    }
    let keys = &instance.setup().keys;
    for (path, content) in &bundle.files {
        let found = given_away(keys, password, &content.0);
        bundle
            .secrets
            .extend(found.map(|name| (path.clone(), name)));
    }
    if let Some(archive) = &archive {
        for (path, content) in read_archive(archive, "archive").files {
            let found = given_away(keys, password, &content);
            bundle
                .secrets
                .extend(found.map(|name| (format!("{path} in the archive"), name)));
        }
    }
    bundle.archive = archive.map(|bytes| STANDARD.encode(bytes));
    for (form, path) in [
        (Form::Folder, folder.clone()),
        (Form::Archive, archive_of(&folder)),
    ] {
        if let Some(ran) = instance.command(VERIFY, &path).await {
            bundle.verified.insert(form, ran);
        }
    }
    Some(bundle)
}

fn given_away(keys: &Keys, password: &str, text: &[u8]) -> impl Iterator<Item = String> {
    let mut names: Vec<_> = keys
        .given_away(text)
        .into_iter()
        .map(str::to_owned)
        .collect();
    if String::from_utf8_lossy(text).contains(password) {
        names.push(URL_PASSWORD.to_owned());
    }
    names.into_iter()
}

/// Lays out each case and asks the target's verifier, a few at a time, in the order of the cases.
async fn tamper(
    cx: &Cx,
    instance: &Instance,
    files: &Files,
    cases: Vec<Case>,
    seen: &mut Evidence,
) {
    let _span = cx.span("tamper");
    let verify = |(number, case): (usize, Case)| async move {
        let path = cx.dir.join(format!("case-{number}"));
        let path = match lay(&path, files, &case) {
            Ok(path) => path,
            Err(error) => return Err(format!("{}: {error}", case.name)),
        };
        let ran = instance.command(VERIFY, &path).await;
        Ok(ran.map(|ran: Ran| Tampered { case, ran }))
    };
    let numbered: BTreeMap<usize, Case> = cases.into_iter().enumerate().collect();
    let mut done = futures_util::stream::iter(numbered.into_iter().map(verify)).buffered(AT_A_TIME);
    while let Some(one) = done.next().await {
        match one {
            Ok(tampered) => seen.tampered.extend(tampered),
            Err(why) => seen.trouble.push(why),
        }
    }
}

fn lay(path: &Path, files: &Files, case: &Case) -> std::io::Result<PathBuf> {
    let entries = apply(files, &case.edits);
    match case.form {
        Form::Folder => {
            std::fs::create_dir(path)?;
            entries.lay(path)?;
            Ok(path.to_owned())
        }
        Form::Archive => {
            let path = archive_of(path);
            std::fs::write(&path, entries.pack())?;
            Ok(path)
        }
    }
}
