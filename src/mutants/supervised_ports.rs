//! Defects of where the supervisor believes its services to be. Both are about services whose
//! addresses no other gate asks the supervisor for.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::levers::Levers;
use super::{May, Mutant};
use crate::reference::service::Service;
use crate::reference::supervision::Locate;
use crate::reference::supervision::table::Row;

/// Each is believed where the other one is.
const SWAPPED: [&str; 2] = ["model-router", "tool-service"];
/// Is believed where it was.
const STALE: &str = "pipecat";

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "supervisor-ports-swapped",
        must: &["supervisor-ports-clean"],
        may: &[May {
            gate: "vision-supervised",
            reason: "the supervisor looks for services where others are",
        }],
        apply: |levers| locate(levers, swapped),
    },
    Mutant {
        name: "supervisor-port-stale",
        must: &["supervisor-ports-clean"],
        may: &[],
        apply: |levers| locate(levers, stale),
    },
];

/// Another place, made of what is asked and where the service is.
type Instead = fn(&Service, &str, String) -> String;

fn locate(levers: &mut Levers, instead: Instead) {
    levers.part(|parts| {
        let honest: Locate = Arc::clone(&parts.supervision.locate);
        parts.supervision.locate = Arc::new(move |svc: &Service, row: &Row, line: &Value| {
            instead(svc, row.service, honest(svc, row, line))
        });
    });
}

fn swapped(svc: &Service, service: &str, right: String) -> String {
    match SWAPPED.iter().position(|one| *one == service) {
        Some(at) => svc.peer(SWAPPED[1 - at]),
        None => right,
    }
}

/// What an earlier supervisor found is believed; what this one finds is right.
fn stale(svc: &Service, service: &str, right: String) -> String {
    if service != STALE {
        return right;
    }
    let file = svc.store.path().with_extension("found.json");
    let own = std::process::id();
    let found = std::fs::read(&file).unwrap_or_default();
    let found: Value = serde_json::from_slice(&found).unwrap_or_default();
    if found["by"].is_u64() && found["by"] != own {
        return found["url"].as_str().unwrap_or_default().to_owned();
    }
    remember(file, &json!({"by": own, "url": right}));
    right
}

fn remember(file: PathBuf, found: &Value) {
    // Without it this is the reference, and survives.
    let _ = std::fs::write(file, found.to_string());
}
