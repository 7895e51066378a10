//! Gate compile-all: the artefact boots in the production posture, ends with exit code 0 on
//! SIGTERM, and boots again on the same directory.
//!
//! The production posture is what the config's defaults say: authentication and rate limits on.
//! After each boot a session is opened and read back, and without credentials neither works. What
//! the first boot kept is there after the second. A boot that fails and a target that does not end
//! are seen by whoever starts and stops it, and judged with this.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Ask, Client, Credential};

/// Boots on one directory.
const BOOTS: usize = 2;

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every boot that became ready, in order.
    pub boots: Vec<Boot>,
    /// How each SIGTERM ended the process: its exit code, none when a signal did.
    pub terminations: Vec<Option<i32>>,
}

/// One boot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Boot {
    /// A session that is opened.
    pub created: Sent,
    /// The same, read back.
    pub read: Sent,
    /// The session of the boot before, read.
    pub kept: Option<Sent>,
    /// Opening and reading without credentials.
    pub without: Vec<Sent>,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    for counter in ["boots", "refused_without_credentials"] {
        judgement.exercised(counter, 0);
    }
    for (number, boot) in seen.boots.iter().enumerate() {
        let line = |sent: &Sent| format!("boot {}, {}", number + 1, sent.line());
        judgement.exercised("boots", u64::from(boot.created.answered()));
        judgement.expect(boot.created.status == 201, || {
            format!(
                "{}: got {}, expected 201",
                line(&boot.created),
                boot.created.status
            )
        });
        for sent in [Some(&boot.read), boot.kept.as_ref()].into_iter().flatten() {
            judgement.expect(sent.ok(), || {
                format!("{}: got {}, expected 200", line(sent), sent.status)
            });
        }
        let (got, expected) = (
            &boot.read.answer["session_id"],
            &boot.created.answer["session_id"],
        );
        judgement.expect(got == expected && got.is_string(), || {
            format!(
                "{}: got session {got}, expected {expected}",
                line(&boot.read)
            )
        });
        for sent in boot.without.iter().filter(|sent| sent.answered()) {
            let refused = sent.status == 401;
            judgement.exercised("refused_without_credentials", u64::from(refused));
            judgement.expect(refused, || {
                format!(
                    "without credentials {}: got {}, expected 401",
                    line(sent),
                    sent.status
                )
            });
        }
    }
    judgement.exercised("terminations", seen.terminations.len() as u64);
    for code in &seen.terminations {
        judgement.expect(*code == Some(0), || {
            let got = code.map_or("a signal".to_owned(), |code| code.to_string());
            format!("the exit code after SIGTERM: got {got}, expected 0")
        });
    }
    judgement.detail = format!(
        "{} boots on one directory with authentication and rate limits on, {} ends by SIGTERM with \
         exit code 0, {} requests without credentials refused",
        seen.boots.len(),
        seen.terminations
            .iter()
            .filter(|code| **code == Some(0))
            .count(),
        judgement.exercised["refused_without_credentials"]
    );
    judgement
}

/// Drives it.
///
/// # Errors
/// When the target does not start, or does not stop.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut instance = cx.start(json!({"rate_limit": {"enabled": true}})).await?;
    let client = instance.client(Credential::Operator(1));
    for number in 0..BOOTS {
        if number > 0 {
            instance.start_again().await?;
        }
        let before = seen.boots.last().map(|boot| boot.created.clone());
        seen.boots.push(boot(&client, before).await);
        seen.terminations.push(instance.terminate().await?.code());
    }
    Ok(())
}

async fn boot(client: &Client, before: Option<Sent>) -> Boot {
    let created = send(client, open()).await;
    let read = send(client, get(&created)).await;
    let kept = match &before {
        Some(before) => Some(send(client, get(before)).await),
        None => None,
    };
    let nobody = client.under(Credential::None);
    let without = vec![
        send(&nobody, open()).await,
        send(&nobody, get(&created)).await,
    ];
    Boot {
        created,
        read,
        kept,
        without,
    }
}

fn open() -> Ask {
    let body = json!({"user_id": "u-1", "conversation_id": "c-1"});
    Ask::post("api-gateway", "/v3/sessions", body)
}

fn get(created: &Sent) -> Ask {
    let id = created.answer["session_id"].as_str();
    Ask::get(
        "api-gateway",
        &format!("/v3/sessions/{}", id.unwrap_or("ses_none")),
    )
}

async fn send(client: &Client, ask: Ask) -> Sent {
    Sent::new(&client.send(ask).await, client.credential())
}

#[cfg(test)]
#[path = "compile_all_tests.rs"]
mod tests;
