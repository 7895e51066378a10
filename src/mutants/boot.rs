//! Defects of starting and ending.

use std::sync::Arc;

use axum::http::StatusCode;
use rusqlite::params;
use serde_json::{Value, json};

use super::levers::Levers;
use super::wire::{Ask, Reply, Rewrite};
use super::{May, Mutant};
use crate::reference::service::Service;
use crate::reference::time::{Clock, SystemClock, Timestamp};
use crate::reference::web;

/// Whoever lists confirmations after a restart misses those from before.
const CONFIRMATIONS_OVER_A_RESTART: &[May] = &[
    May {
        gate: "confirmation-restore",
        reason: "it lists the confirmations from before a KILL",
    },
    May {
        gate: "restore-ordering",
        reason: "it lists the confirmations from before five boots",
    },
    May {
        gate: "restart-ordering-strict",
        reason: "the restored state is not the state before the KILL",
    },
    May {
        gate: "fence-token-enforcement",
        reason: "it asks for the fences that are shown after a KILL",
    },
    May {
        gate: "migration-integrity",
        reason: "the confirmations of the older release are not listed",
    },
];

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "route-dropped",
        must: &["file-exists"],
        may: &[May {
            gate: "role-enforcement",
            reason: "an observer is to be served on every route of the table",
        }],
        apply: |levers| levers.without_route(("model-router", "GET", "/providers")),
    },
    Mutant {
        name: "service-wrong-name",
        must: &["file-exists"],
        may: &[
            May {
                gate: "bind-audit",
                reason: "it asks who answers where each service is announced",
            },
            May {
                gate: "tls-config",
                reason: "it asks each service over TLS who it is",
            },
            May {
                gate: "bundle-manifest-signed",
                reason: "a bundle tells how each service is, by the name it gives itself",
            },
            May {
                gate: "vision-supervised",
                reason: "a service that answers under another name is not healthy",
            },
            May {
                gate: "supervisor-ports-clean",
                reason: "a name leads to a service that says another one",
            },
        ],
        apply: |levers| {
            levers.route(("perception", "GET", "/healthz"), |original| {
                Arc::new(move |service, call| {
                    let original = Arc::clone(&original);
                    Box::pin(async move {
                        let mut reply = original(service, call).await;
                        if let web::Body::Json(body) = &mut reply.body {
                            body["service"] = json!("vision-capture");
                        }
                        reply
                    })
                })
            });
        },
    },
    Mutant {
        name: "start-panics-with-auth-on",
        must: &["compile-all"],
        may: &[May {
            gate: "file-exists",
            reason: "what nobody configured starts in the production posture",
        }],
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
        may: &[
            May {
                gate: "restore-ordering",
                reason: "it stops the target between its boots",
            },
            May {
                gate: "migration-integrity",
                reason: "it stops the target before it goes back a release",
            },
            May {
                gate: "memory-lifespan",
                reason: "it stops the target between its starts",
            },
            May {
                gate: "index-manifest",
                reason: "it stops the target between its starts",
            },
            May {
                gate: "token-budget",
                reason: "it stops the target between its starts",
            },
            May {
                gate: "supervisor-ports-clean",
                reason: "it stops the target between its starts",
            },
        ],
        apply: |levers| {
            levers.part(|parts| parts.at_stop = Arc::new(|| Box::pin(std::future::pending())));
        },
    },
    Mutant {
        name: "serves-before-restore",
        must: &["lifespan-wiring"],
        may: &[],
        apply: |levers| levers.wire(Arc::new(ServesFromNothing)),
    },
    Mutant {
        name: "confirmation-manager-not-wired",
        must: &["lifespan-wiring"],
        may: CONFIRMATIONS_OVER_A_RESTART,
        apply: knows_its_own_only,
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

/// A gateway that does not wait for its sessions: what it does not have yet is not there.
struct ServesFromNothing;

impl Rewrite for ServesFromNothing {
    fn after(&self, ask: &Ask, reply: Reply) -> Reply {
        let asks = ask.method == "GET" && ask.path.starts_with("/v3/sessions/");
        let mut body = reply.value();
        if !asks || body["error"]["code"] != "STARTING" {
            return reply;
        }
        body["error"]["code"] = json!("SESSION_NOT_FOUND");
        body["error"]["message"] = json!("no such session is active");
        Reply::json(StatusCode::NOT_FOUND, &body)
    }
}

/// The list of confirmations is kept by a process for itself, and restored by nobody.
fn knows_its_own_only(levers: &mut Levers) {
    let began = SystemClock.now();
    levers.route(
        ("api-gateway", "GET", "/v3/confirmations/pending"),
        |original| {
            Arc::new(move |service, call| {
                let original = Arc::clone(&original);
                Box::pin(async move {
                    let mut reply = original(Arc::clone(&service), call).await;
                    let older = older(&service, began).await;
                    if let web::Body::Json(body) = &mut reply.body
                        && let Some(list) = body["confirmations"].as_array_mut()
                    {
                        let id = |one: &Value| one["confirmation_id"].as_str().map(str::to_owned);
                        list.retain(|one| id(one).is_none_or(|id| !older.contains(&id)));
                    }
                    reply
                })
            })
        },
    );
}

/// The confirmations from before this moment.
async fn older(service: &Service, than: Timestamp) -> Vec<String> {
    let read = service.store.read(move |conn| {
        conn.prepare("SELECT id FROM decisions WHERE created_at_us < ?1")?
            .query_map(params![than.us()], |row| row.get(0))?
            .collect()
    });
    read.await.unwrap_or_default()
}
