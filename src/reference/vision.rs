//! vision-capture: the newest frames are kept, the oldest make room. Frames are shed in need.

use std::sync::Arc;

use rusqlite::params;
use serde_json::json;

use super::ids;
use super::mutation::{Done, Refused, commit};
use super::privacy;
use super::service::Service;
use super::web::{Call, Field, Longest, Refusal, Reply, Row, Shape, handler};

/// The route.
pub fn routes() -> Vec<Row> {
    vec![
        Row::mutation(
            "vision-capture",
            ("POST", "/v1/vision/frames"),
            "v4.3",
            ("vision.frame", "frame"),
            handler(frame),
        )
        .about("Takes a frame, in base64.")
        .takes(&[
            Field::id("session_id"),
            Field::new("data", Shape::Text(Longest::Body)),
        ])
        .gives(201, &[Field::text("frame_id"), Field::text("session_id")])
        .refuses(&[403]),
    ]
}

async fn frame(svc: Arc<Service>, call: Call) -> Reply {
    let id = ids::make("frm_");
    let (service, request) = (svc.clone(), call.clone());
    commit(&svc, &call, move |tx| {
        let config = service.config();
        let fields = request.fields()?;
        let session_id = fields.text("session_id", config.limits.id_chars)?;
        let data = fields.text("data", config.limits.body_bytes)?;
        if !is_base64(data) {
            return Err(Refusal::schema("data: expected base64").into());
        }
        if privacy::enabled(tx.sql(), session_id)? == Some(false) {
            let message = format!("privacy of {session_id} is switched off: no frame is kept");
            let refusal = Refusal::new(403, "PRIVACY_OFF", message);
            return Err(refusal.details(json!({"session_id": session_id})).into());
        }
        if let Some(refusal) = service.shed("vision_frame") {
            return Err(refusal.into());
        }
        tx.sql()
            .prepare_cached(
                "INSERT INTO frames (id, session_id, data, created_at_us) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![id, session_id, data, tx.now().us()])?;
        tx.sql()
            .prepare_cached(
                "DELETE FROM frames WHERE seq <= \
                 (SELECT seq FROM frames ORDER BY seq DESC LIMIT 1 OFFSET ?1)",
            )?
            .execute([i64::try_from(config.vision.buffer_frames).unwrap_or(i64::MAX)])?;
        let body = json!({"frame_id": id, "session_id": session_id});
        Ok::<_, Refused>(Done::new(201, body).on(format!("frame/{id}")))
    })
    .await
}

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - digits.len() <= 2
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}
