//! Defects of starting and ending.

use std::sync::Arc;

use super::Mutant;

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "start-panics-with-auth-on",
        must: &["compile-all"],
        may: &[],
        // Authentication is on everywhere; the production posture has rate limits as well.
        apply: |levers| {
            levers.part(|parts| {
                parts.settings = Arc::new(|settings| {
                    let production = settings["auth"]["enabled"] == true
                        && settings["rate_limit"]["enabled"] == true;
                    assert!(!production, "nobody thought of the production posture");
                    settings
                });
            });
        },
    },
    Mutant {
        name: "stop-hangs-on-term",
        must: &["compile-all"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| parts.at_stop = Arc::new(|| Box::pin(std::future::pending())));
        },
    },
    Mutant {
        name: "restore-reversed",
        must: &["restore-ordering"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                parts.restore_order = |stages| stages.iter().rev().map(|one| vec![one]).collect();
            });
        },
    },
    Mutant {
        name: "restore-parallel",
        must: &["restore-ordering"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| parts.restore_order = |stages| vec![stages.iter().collect()]);
        },
    },
];
