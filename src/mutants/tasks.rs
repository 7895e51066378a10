//! Defects of eva-os tasks.

use std::sync::Arc;

use rusqlite::OptionalExtension;
use serde_json::json;

use super::levers::Levers;
use super::{May, Mutant};
use crate::reference::web::{Handler, Reply};

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "task-double-delete-200",
        must: &["task-mutation-serial"],
        may: &[
            May {
                gate: "tasks-endpoint",
                reason: "a task that was deleted is not unknown to the next deletion",
            },
            May {
                gate: "idempotency-key-support",
                reason: "a delete under another key is a second one, and is told 200",
            },
        ],
        apply: |levers| {
            levers.route(("eva-os", "DELETE", "/tasks/{id}"), |old| {
                delete_again(&old)
            })
        },
    },
    Mutant {
        name: "task-deleted-resurrected",
        must: &["task-mutation-serial"],
        may: &[],
        // A deletion takes the row, and nobody remembers that the id was given.
        apply: |levers: &mut Levers| {
            levers.sql(
                "eva-os",
                "DROP TRIGGER IF EXISTS tasks_keep_their_rows;
                 CREATE TRIGGER IF NOT EXISTS tasks_are_forgotten
                 AFTER UPDATE OF deleted_at_us ON tasks WHEN NEW.deleted_at_us IS NOT NULL
                 BEGIN DELETE FROM tasks WHERE seq = NEW.seq; END",
            );
        },
    },
];

/// Who deletes what is deleted already is told that it won.
fn delete_again(original: &Handler) -> Handler {
    let original = Arc::clone(original);
    Arc::new(move |service, call| {
        let original = Arc::clone(&original);
        Box::pin(async move {
            let (id, correlation_id) = (call.param("id").to_owned(), call.correlation_id.clone());
            let reply = original(Arc::clone(&service), call).await;
            if reply.value()["error"]["code"] != "TASK_NOT_FOUND" {
                return reply;
            }
            let sql = "SELECT version FROM tasks WHERE id = ? AND deleted_at_us IS NOT NULL";
            let named = id.clone();
            let tombstone = service
                .store
                .read(move |conn| {
                    conn.query_row(sql, [named], |row| row.get::<_, i64>(0))
                        .optional()
                })
                .await;
            match tombstone {
                Ok(Some(version)) => {
                    let body = json!({"task_id": id, "state": "deleted", "version": version});
                    Reply::ok(&correlation_id, body)
                }
                _ => reply,
            }
        })
    })
}
