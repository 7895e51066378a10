//! Defects of the routes of tasks.

use serde_json::json;

use super::{May, Mutant};
use crate::reference::web::{Call, Reply, handler};

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "tasks-canned-list",
        must: &["tasks-endpoint"],
        may: &[
            May {
                gate: "tasks-persist",
                reason: "the list is not that of the tasks",
            },
            May {
                gate: "task-mutation-serial",
                reason: "the list is not that of the tasks",
            },
            May {
                gate: "restart-ordering-strict",
                reason: "the list is not that of the tasks",
            },
            May {
                gate: "migration-integrity",
                reason: "the list is not that of the older release",
            },
        ],
        apply: |levers| {
            levers.route(("eva-os", "GET", "/tasks"), |_| {
                handler(|_, call: Call| async move {
                    let task = json!({
                        "task_id": "tsk_0a1b2c3d4e5f", "name": "water the plants", "metadata": {},
                        "version": 1, "created_at": "2026-11-22T10:00:00.000000Z",
                        "updated_at": "2026-11-22T10:00:00.000000Z",
                    });
                    let body = json!({"tasks": [task], "next": null});
                    Reply::ok(&call.correlation_id, body)
                })
            });
        },
    },
    Mutant {
        name: "task-delete-is-noop",
        must: &["tasks-endpoint"],
        may: &[
            May {
                gate: "tasks-persist",
                reason: "a task that was deleted is listed",
            },
            May {
                gate: "task-mutation-serial",
                reason: "a task that was deleted is there",
            },
            May {
                gate: "restart-ordering-strict",
                reason: "a task that was deleted is there",
            },
            May {
                gate: "idempotency-key-support",
                reason: "deleting has no effect, so it has not exactly one",
            },
            May {
                gate: "audit-chain-present",
                reason: "an acknowledged deletion has no entry",
            },
            May {
                gate: "audit-export-endpoint",
                reason: "an acknowledged deletion has no entry",
            },
            May {
                gate: "auth-required-mutating",
                reason: "a deletion that is accepted has no effect",
            },
            May {
                gate: "role-enforcement",
                reason: "a deletion that is accepted has no effect",
            },
            May {
                gate: "actor-attribution",
                reason: "a deletion that did not happen has no entry",
            },
            May {
                gate: "restore-ordering",
                reason: "a task that was deleted is restored",
            },
        ],
        apply: |levers| {
            levers.route(("eva-os", "DELETE", "/tasks/{id}"), |_| {
                handler(|_, call: Call| async move {
                    let body =
                        json!({"task_id": call.param("id"), "state": "deleted", "version": 2});
                    Reply::ok(&call.correlation_id, body)
                })
            });
        },
    },
];
