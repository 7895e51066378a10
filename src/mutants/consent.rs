//! Defects of consent, and of what it stands before.

use std::sync::atomic::Ordering::Relaxed;

use super::Mutant;
use super::levers::Levers;
use crate::reference::perception::{Event, State, enough, step};
use crate::reference::web::{Call, Handler, handler};

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "consent-off-to-active",
        must: &["consent-fsm"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                parts.consent_step = |from, event| match (from, event) {
                    (State::Off, Event::Activate) => Some(State::Active),
                    _ => step(from, event),
                };
            });
        },
    },
    Mutant {
        name: "consent-revoked-to-requested",
        must: &["consent-fsm"],
        may: &[],
        apply: |levers| {
            levers.sql("perception", "DROP TRIGGER IF EXISTS consents_stay_revoked");
            levers.part(|parts| {
                parts.consent_step = |from, event| match (from, event) {
                    (State::Revoked, Event::Request) => Some(State::Requested),
                    _ => step(from, event),
                };
            });
        },
    },
    Mutant {
        name: "consent-unknown-allowed",
        must: &["consent-fail-closed"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                parts.consent_rule = |known| known.consent == Ok(None) || enough(known);
            });
        },
    },
    Mutant {
        name: "consent-error-allowed",
        must: &["consent-fail-closed"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                parts.consent_rule = |known| known.consent.is_err() || enough(known);
            });
        },
    },
    Mutant {
        name: "perception-event-route-ungated",
        must: &["perception-consent"],
        may: &[],
        apply: |levers| {
            levers.part(|parts| {
                parts.consent_rule = |known| known.endpoint.ends_with("/events") || enough(known);
            });
        },
    },
    Mutant {
        name: "consent-blocks-not-counted",
        must: &["perception-consent"],
        may: &[],
        apply: |levers| {
            uncounted(levers, "/v1/perception/analyze");
            uncounted(levers, "/v1/perception/events");
        },
    },
];

/// What a route counts is taken back.
fn uncounted(levers: &mut Levers, path: &str) {
    levers.route(("perception", "POST", path), |inner: Handler| {
        handler(move |svc, call: Call| {
            let inner = inner.clone();
            async move {
                let before = svc.counters.consent_blocks.load(Relaxed);
                let reply = inner(svc.clone(), call).await;
                svc.counters.consent_blocks.store(before, Relaxed);
                reply
            }
        })
    });
}
