//! What stands before every inference: consent that is ACTIVE, and privacy that is on. What is not
//! known, cannot be read or went wrong is a no.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::json;

use super::consent::State;
use crate::reference::privacy;
use crate::reference::service::Service;
use crate::reference::store::Readers;
use crate::reference::web::Refusal;

/// How long a question about privacy waits for a lock.
const BUSY: Duration = Duration::from_millis(250);

/// What is known of a session when something is to be inferred of it.
#[derive(Clone, Debug)]
pub struct Known {
    /// The route that wants to know, `POST /v1/perception/analyze`.
    pub endpoint: String,
    /// Its consent, if there is a record of one, or why that cannot be read.
    pub consent: Result<Option<State>, String>,
    /// What was last said of its privacy, or why that cannot be read.
    pub privacy: Result<Option<bool>, String>,
}

/// Whether what is known is enough.
pub type ConsentRule = fn(&Known) -> bool;

/// The rule of the contract.
pub fn enough(known: &Known) -> bool {
    known.consent == Ok(Some(State::Active)) && known.privacy == Ok(Some(true))
}

/// What is said of a session's privacy, read from vision-capture's database at each question.
pub(super) async fn privacy_of(svc: &Service, session: &str) -> Result<Option<bool>, String> {
    let database = svc.shared.databases.get("vision-capture");
    let database = database.ok_or("vision-capture has no database")?;
    let session = session.to_owned();
    Readers::new(database, BUSY)
        .read(move |sql| privacy::enabled(sql, &session))
        .await
        .map_err(|error| error.to_string())
}

/// Lets through, or counts and refuses.
pub(super) fn pass(svc: &Service, session: &str, known: &Known) -> Result<(), Refusal> {
    if (svc.parts.consent_rule)(known) {
        return Ok(());
    }
    svc.counters.consent_blocks.fetch_add(1, Relaxed);
    if let (Err(why), _) | (_, Err(why)) = (&known.consent, &known.privacy) {
        tracing::warn!(session, why, "denied, because it cannot be known");
    }
    let consent = known.consent.clone();
    let state = consent.map(|state| state.unwrap_or(State::Off).word());
    let privacy = known.privacy.clone().map(|on| on.unwrap_or(false));
    let message = "session_id: no consent that is ACTIVE and has privacy on";
    Err(
        Refusal::new(403, "CONSENT_REQUIRED", message).details(json!({
            "session_id": session, "state": state.ok(), "privacy": privacy.ok(),
        })),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_active_consent_with_privacy_on_is_enough() {
        let wrong = || Err("no such table".to_owned());
        let consents = [
            Ok(None),
            Ok(Some(State::Off)),
            Ok(Some(State::Requested)),
            Ok(Some(State::Granted)),
            Ok(Some(State::Active)),
            Ok(Some(State::Revoked)),
            wrong().map(|()| None),
        ];
        let privacies = [
            Ok(None),
            Ok(Some(false)),
            Ok(Some(true)),
            wrong().map(|()| None),
        ];
        let mut passed = Vec::new();
        for consent in consents {
            for privacy in &privacies {
                let known = Known {
                    endpoint: String::new(),
                    consent: consent.clone(),
                    privacy: privacy.clone(),
                };
                passed.extend(enough(&known).then_some((known.consent, known.privacy)));
            }
        }
        assert_eq!(passed, [(Ok(Some(State::Active)), Ok(Some(true)))]);
    }
}
