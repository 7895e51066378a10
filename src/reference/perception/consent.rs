//! Consent of a session to being perceived: a state machine, and its trail. A session of which
//! nothing is known is OFF; REVOKED is for ever.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

use crate::reference::mutation::{Done, Refused, commit};
use crate::reference::service::Service;
use crate::reference::store::Tx;
use crate::reference::time::Timestamp;
use crate::reference::web::{Call, Handler, Refusal, Reply, handler};

/// Where a consent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody asked.
    Off,
    /// Somebody asked.
    Requested,
    /// It was given.
    Granted,
    /// It is made use of.
    Active,
    /// It was taken back.
    Revoked,
}

impl State {
    /// As it is stored and shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::Requested => "REQUESTED",
            Self::Granted => "GRANTED",
            Self::Active => "ACTIVE",
            Self::Revoked => "REVOKED",
        }
    }

    fn named(word: &str) -> Option<Self> {
        let all = [
            Self::Off,
            Self::Requested,
            Self::Granted,
            Self::Active,
            Self::Revoked,
        ];
        all.into_iter().find(|state| state.word() == word)
    }
}

/// What happens to a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is asked for.
    Request,
    /// It is given.
    Grant,
    /// It is made use of.
    Activate,
    /// It is taken back.
    Revoke,
}

impl Event {
    /// The last part of its route.
    pub fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Grant => "grant",
            Self::Activate => "activate",
            Self::Revoke => "revoke",
        }
    }
}

/// From a state by an event to the next state; none when the event is not legal there.
pub type ConsentStep = fn(State, Event) -> Option<State>;

/// The machine of the contract.
pub fn step(from: State, event: Event) -> Option<State> {
    match (from, event) {
        (State::Off, Event::Request) => Some(State::Requested),
        (State::Requested, Event::Grant) => Some(State::Granted),
        (State::Granted, Event::Activate) => Some(State::Active),
        (State::Revoked, Event::Revoke) => None,
        (_, Event::Revoke) => Some(State::Revoked),
        _ => None,
    }
}

/// What a route does with a consent.
pub(super) fn change(event: Event) -> Handler {
    handler(move |svc: Arc<Service>, call: Call| async move {
        let (service, request) = (svc.clone(), call.clone());
        commit(&svc, &call, move |tx| {
            let longest = service.config().limits.id_chars;
            let session = request.fields()?.text("session_id", longest)?;
            let from = state(tx.sql(), session)?.unwrap_or(State::Off);
            let to = (service.parts.consent_step)(from, event);
            let to = to.ok_or_else(|| illegal(session, from, event))?;
            write(tx, &request, session, (from, event, to))?;
            let body = json!({"session_id": session, "state": to.word()});
            Ok::<_, Refused>(Done::new(200, body).on(format!("consent/{session}")))
        })
        .await
    })
}

/// 409: the state stays what it is.
fn illegal(session: &str, state: State, event: Event) -> Refusal {
    let (state, event) = (state.word(), event.word());
    let message = format!("a consent that is {state} cannot take {event}");
    Refusal::conflict("CONSENT_STATE", message)
        .details(json!({"session_id": session, "state": state, "event": event}))
}

fn write(
    tx: &mut Tx<'_>,
    request: &Call,
    session: &str,
    (from, event, to): (State, Event, State),
) -> Result<(), Refused> {
    let (sql, now) = (tx.sql(), tx.now().us());
    sql.prepare_cached(
        "INSERT INTO consents (session_id, state, updated_at_us) VALUES (?1, ?2, ?3)
         ON CONFLICT (session_id) DO UPDATE SET state = ?2, updated_at_us = ?3",
    )?
    .execute(params![session, to.word(), now])?;
    sql.prepare_cached(
        "INSERT INTO consent_trail (session_id, event, from_state, to_state, actor_id, actor_role,
         created_at_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        session,
        event.word(),
        from.word(),
        to.word(),
        request.actor.id,
        request.actor.role,
        now
    ])?;
    Ok(())
}

/// Where the consent of a session stands; nothing when there is no record of it.
///
/// # Errors
/// SQLite's, and a state that nobody knows.
pub(super) fn state(sql: &Connection, session: &str) -> rusqlite::Result<Option<State>> {
    sql.prepare_cached("SELECT state FROM consents WHERE session_id = ?1")?
        .query_row([session], |row| {
            let word: String = row.get(0)?;
            State::named(&word).ok_or_else(|| {
                let (kind, why) = (rusqlite::types::Type::Text, format!("no state {word}"));
                rusqlite::Error::FromSqlConversionFailure(0, kind, why.into())
            })
        })
        .optional()
}

/// `GET /v1/perception/consent/{id}`.
pub(super) async fn look(svc: Arc<Service>, call: Call) -> Reply {
    let id = call.param("id").to_owned();
    let read = svc.store.read(move |sql| {
        let state = state(sql, &id)?.unwrap_or(State::Off);
        let trail = sql
            .prepare_cached(
                "SELECT event, from_state, to_state, actor_id, actor_role, created_at_us
                 FROM consent_trail WHERE session_id = ?1 ORDER BY seq",
            )?
            .query_map([&id], |row| {
                Ok(json!({
                    "event": row.get::<_, String>(0)?,
                    "from": row.get::<_, String>(1)?,
                    "to": row.get::<_, String>(2)?,
                    "actor_id": row.get::<_, String>(3)?,
                    "actor_role": row.get::<_, String>(4)?,
                    "ts": Timestamp(row.get(5)?).to_string(),
                }))
            })?
            .collect::<rusqlite::Result<Vec<Value>>>()?;
        Ok(json!({"session_id": id, "state": state.word(), "audit_trail": trail}))
    });
    match read.await {
        Ok(body) => Reply::ok(&call.correlation_id, body),
        Err(error) => Refusal::store(&error).reply(&call.correlation_id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_twenty_pairs_seven_are_legal() {
        use Event::{Activate, Grant, Request, Revoke};
        use State::{Active, Granted, Off, Requested, Revoked};
        let mut legal = Vec::new();
        for from in [Off, Requested, Granted, Active, Revoked] {
            for event in [Request, Grant, Activate, Revoke] {
                legal.extend(step(from, event).map(|to| (from, event, to)));
            }
        }
        let expected = [
            (Off, Request, Requested),
            (Off, Revoke, Revoked),
            (Requested, Grant, Granted),
            (Requested, Revoke, Revoked),
            (Granted, Activate, Active),
            (Granted, Revoke, Revoked),
            (Active, Revoke, Revoked),
        ];
        assert_eq!(legal, expected);
    }
}
