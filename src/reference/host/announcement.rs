//! What a process says of itself as it starts to listen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Options;
use super::doors::{Bound, Urls};
use crate::reference::audit::AuditKey;
use crate::reference::web::Row;
use crate::reference::{addresses, memory};

pub(super) fn listening(
    services: &Urls,
    databases: &BTreeMap<String, PathBuf>,
    identity: &Path,
) -> Value {
    let hosted = databases
        .iter()
        .filter(|(name, _)| services.contains_key(name.as_str()));
    let memory = databases.get("memory-engine");
    let memory = memory.filter(|_| services.contains_key("memory-engine"));
    let index_files = memory.map(|path| memory::files(path).to_vec());
    let index_files = index_files.unwrap_or_default();
    let mut databases: BTreeMap<_, _> = hosted
        .map(|(name, path)| (name.clone(), path.clone()))
        .collect();
    databases.insert("identity".to_owned(), identity.to_owned());
    json!({
        "event": "listening",
        "pid": std::process::id(),
        "services": services,
        "databases": databases,
        "index_files": index_files,
        "chains": {},
        "commands": {},
    })
}

/// The key that verifies each chain, of the services that have effects: what only answers and hands
/// on has no more in its log than those whom it turned away.
pub(super) fn chains(bound: &[Bound], routes: &[Row], key: Option<&AuditKey>) -> Value {
    let acts = |name: &str| routes.iter().any(|row| row.mutating && row.service == name);
    let names = bound.iter().map(|(name, ..)| *name);
    let chains: BTreeMap<_, _> = names
        .filter(|name| acts(name))
        .map(|name| (name, key.map(|key| key.verifier(name))))
        .collect();
    json!(chains)
}

/// What can be done beside this process, and when it is gone: argument vectors that can be run from
/// any folder, and that end where a path has to follow.
pub(super) fn commands(options: &Options, data_dir: &Path, key: &AuditKey) -> Value {
    if options.argv.is_empty() {
        return json!({});
    }
    let config = std::path::absolute(&options.config_file);
    let config = config.unwrap_or_else(|_| options.config_file.clone());
    let data = [
        Path::new("--data"),
        data_dir,
        Path::new("--config"),
        &config,
    ];
    let whole = |rest: Vec<String>| [options.argv.clone(), rest].concat();
    let mut export: Vec<String> = data.map(|part| part.display().to_string()).into();
    export.push("--export-incident".to_owned());
    // All chains sign with one key; any of its names pins it.
    let pinned = key.verifier("bundle");
    let verify = ["--key", &pinned, "--verify-incident"].map(str::to_owned);
    json!({
        "export-incident-bundle": whole(export),
        "verify-incident-bundle": whole(verify.into()),
    })
}

/// For commands that run beside: without it they only cannot ask how the services are.
pub(super) fn note_addresses(data_dir: &Path, services: &Urls) {
    match addresses::write(data_dir, services) {
        Ok(()) => tracing::info!(pid = std::process::id(), ?services, "listening"),
        Err(error) => tracing::warn!(%error, "addresses were not written down"),
    }
}

/// Adds what another process says of itself.
pub(super) fn add(listening: &mut Value, line: &Value) {
    for key in ["services", "databases", "chains"] {
        let (Some(all), Some(own)) = (listening[key].as_object_mut(), line[key].as_object()) else {
            continue;
        };
        all.extend(own.clone());
    }
    if let (Some(all), Some(own)) = (
        listening["index_files"].as_array_mut(),
        line["index_files"].as_array(),
    ) {
        all.extend(own.iter().cloned());
    }
}
