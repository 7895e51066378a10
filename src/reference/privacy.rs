//! vision-capture's privacy switch, of one session or of all; the later word counts. Nothing is
//! analysed until somebody has switched it on, and no frame is kept once somebody has switched it
//! off: a session of which nobody said anything has its frames, and nobody looks at them.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use super::mutation::{Done, Refused, commit};
use super::service::Service;
use super::web::{Call, Field, Handler, Refusal, Reply, Row, handler};

const SERVICE: &str = "vision-capture";
/// What answers call all sessions.
const ALL: &str = "all";

/// The routes.
pub fn routes() -> Vec<Row> {
    let switch = |path, action, enabled| {
        Row::mutation(
            SERVICE,
            ("POST", path),
            "v4.3",
            (action, "privacy"),
            switched(enabled),
        )
        .takes(&[Field::id("session_id").optional()])
        .gives(200, &[Field::text("scope"), Field::flag("enabled")])
    };
    vec![
        switch("/v1/vision/privacy/enable", "privacy.enable", true)
            .about("Lets frames be kept and analysed, of a session or of all."),
        switch("/v1/vision/privacy/disable", "privacy.disable", false)
            .about("Clears the buffer and keeps no more frames, of a session or of all."),
        Row::get(SERVICE, "/v1/vision/privacy", "v4.3", handler(look))
            .about("Whether frames of a session may be analysed.")
            .asks(&[Field::text("session_id").optional()])
            .gives(
                200,
                &[Field::text("session_id").or_null(), Field::flag("enabled")],
            ),
    ]
}

fn switched(enabled: bool) -> Handler {
    handler(move |svc: Arc<Service>, call: Call| async move {
        let (service, request) = (svc.clone(), call.clone());
        commit(&svc, &call, move |tx| {
            let longest = service.config().limits.id_chars;
            let session = request.fields()?.optional_text("session_id", longest)?;
            let word = tx.counter("privacy")?;
            tx.sql()
                .prepare_cached(
                    "INSERT INTO privacy (session_id, enabled, word) VALUES (?1, ?2, ?3)
                     ON CONFLICT (session_id) DO UPDATE SET enabled = ?2, word = ?3",
                )?
                .execute(params![session.unwrap_or_default(), enabled, word])?;
            if !enabled {
                tx.sql()
                    .prepare_cached("DELETE FROM frames WHERE ?1 IS NULL OR session_id = ?1")?
                    .execute([session])?;
            }
            let scope = session.unwrap_or(ALL);
            let body = json!({"scope": scope, "enabled": enabled});
            Ok::<_, Refused>(Done::new(200, body).on(format!("privacy/{scope}")))
        })
        .await
    })
}

async fn look(svc: Arc<Service>, call: Call) -> Reply {
    let asked = call.query.iter().find(|(name, _)| name == "session_id");
    let session = asked.map(|(_, id)| id.clone());
    let of = session.clone().unwrap_or_default();
    match svc.store.read(move |sql| enabled(sql, &of)).await {
        Ok(enabled) => {
            let body = json!({"session_id": session, "enabled": enabled == Some(true)});
            Reply::ok(&call.correlation_id, body)
        }
        Err(error) => Refusal::store(&error).reply(&call.correlation_id),
    }
}

/// What was last said of a session; nothing, when nobody said anything.
///
/// # Errors
/// SQLite's.
pub fn enabled(sql: &Connection, session_id: &str) -> rusqlite::Result<Option<bool>> {
    sql.prepare_cached(
        "SELECT enabled FROM privacy WHERE session_id IN ('', ?1) ORDER BY word DESC LIMIT 1",
    )?
    .query_row([session_id], |row| row.get(0))
    .optional()
}
