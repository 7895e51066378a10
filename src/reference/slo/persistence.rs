//! Where counted windows are kept: two tables of the gateway's database, written in the
//! transaction that writes the events.

use std::collections::VecDeque;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::feed::{Change, Restored};
use super::machine::{Degraded, Event, Mode, State};
use super::status::Breach;

/// Type and data of an event, as `fixtures/contract/events.json` shows it.
pub fn shown(event: &Event) -> (&'static str, Value) {
    match event {
        Event::Window { metrics, .. } => ("slo.window", json!(metrics)),
        Event::Entered { reason, windows } => (
            "slo.degrade.entered",
            json!({"reason": reason, "windows": windows}),
        ),
        Event::Exited { time_in_degrade } => (
            "slo.degrade.exited",
            json!({"time_in_degrade": time_in_degrade}),
        ),
    }
}

/// Writes state and history. False when this window was written before: a commit whose answer was
/// lost is tried again, and its events must not be doubled.
///
/// # Errors
/// What SQLite says.
pub fn save(sql: &Connection, change: &Change) -> rusqlite::Result<bool> {
    let state = &change.state;
    let changed = sql
        .prepare_cached(
            "INSERT INTO slo_state VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
             ON CONFLICT (id) DO UPDATE SET mode = excluded.mode, \
             consecutive_breach = excluded.consecutive_breach, \
             consecutive_healthy = excluded.consecutive_healthy, streak = excluded.streak, \
             entered_at_us = excluded.entered_at_us, reason = excluded.reason, \
             window_index = excluded.window_index, closed_at_us = excluded.closed_at_us \
             WHERE excluded.window_index > window_index",
        )?
        .execute(params![
            word(state.mode),
            count(state.consecutive_breach),
            count(state.consecutive_healthy),
            text(&state.streak),
            state.degraded.as_ref().map(|degraded| degraded.since_us),
            state.degraded.as_ref().map(|degraded| &degraded.reason),
            count(change.index),
            change.at_us,
        ])?;
    if changed == 0 {
        return Ok(false);
    }
    if let Some(breach) = &change.breach {
        remember(sql, breach, change.history_limit)?;
    }
    Ok(true)
}

fn remember(sql: &Connection, breach: &Breach, limit: usize) -> rusqlite::Result<()> {
    let Breach {
        index,
        at_us,
        reason,
        samples,
        p95,
        p99,
    } = breach;
    sql.prepare_cached("INSERT INTO slo_breaches VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            count(*index),
            at_us,
            reason,
            count(*samples),
            text(p95),
            text(p99)
        ])?;
    sql.prepare_cached(
        "DELETE FROM slo_breaches WHERE window_index NOT IN \
         (SELECT window_index FROM slo_breaches ORDER BY window_index DESC LIMIT ?1)",
    )?
    .execute([count(limit as u64)])?;
    Ok(())
}

/// Reads what was kept; nothing is a machine in its first state.
///
/// # Errors
/// What SQLite says, or a stored text that is not what was written.
pub fn load(sql: &Connection) -> rusqlite::Result<Restored> {
    let mut found = sql.prepare("SELECT * FROM slo_breaches ORDER BY window_index")?;
    let history = found
        .query_map([], breach)?
        .collect::<rusqlite::Result<VecDeque<Breach>>>()?;
    let kept = sql
        .query_row("SELECT * FROM slo_state", [], state)
        .optional()?;
    Ok(match kept {
        Some((state, index, at_us)) => Restored {
            state,
            history,
            last: Some((index, at_us)),
        },
        None => Restored {
            history,
            ..Restored::default()
        },
    })
}

fn breach(row: &Row<'_>) -> rusqlite::Result<Breach> {
    Ok(Breach {
        index: number(row, "window_index")?,
        at_us: row.get("closed_at_us")?,
        reason: row.get("reason")?,
        samples: number(row, "samples")?,
        p95: parsed(row, "p95")?,
        p99: parsed(row, "p99")?,
    })
}

fn state(row: &Row<'_>) -> rusqlite::Result<(State, u64, i64)> {
    let entered_at_us: Option<i64> = row.get("entered_at_us")?;
    let reason: Option<String> = row.get("reason")?;
    let degraded = entered_at_us
        .zip(reason)
        .map(|(since_us, reason)| Degraded { since_us, reason });
    let mode = match row.get_ref("mode")?.as_str()? {
        "degraded" => Mode::Degraded,
        "recovering" => Mode::Recovering,
        _ => Mode::Normal,
    };
    let state = State {
        mode,
        consecutive_breach: number(row, "consecutive_breach")?,
        consecutive_healthy: number(row, "consecutive_healthy")?,
        degraded,
        streak: parsed(row, "streak")?,
    };
    Ok((
        state,
        number(row, "window_index")?,
        row.get("closed_at_us")?,
    ))
}

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Normal => "normal",
        Mode::Degraded => "degraded",
        Mode::Recovering => "recovering",
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    let at = row.as_ref().column_index(column)?;
    let number: i64 = row.get(at)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, number))
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data can be written as JSON")
}

fn parsed<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let at = row.as_ref().column_index(column)?;
    serde_json::from_str(row.get_ref(at)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, error.into()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::machine::{Class, Metrics};
    use super::*;

    fn database() -> Connection {
        let sql = Connection::open_in_memory().unwrap();
        sql.execute_batch(include_str!("../store/sql/slo.sql"))
            .unwrap();
        sql
    }

    fn metrics(index: u64) -> Metrics {
        let values = BTreeMap::from([("model".into(), 310.25), ("total".into(), 322.0)]);
        Metrics {
            index,
            class: Class::Breach,
            samples: 5,
            p95: values.clone(),
            p99: values,
        }
    }

    fn breached(index: u64, mode: Mode, limit: usize) -> Change {
        let reason = "total p95 322 ms > 250 ms".to_owned();
        let event = Event::Window {
            metrics: metrics(index),
            reason: Some(reason.clone()),
        };
        let degraded = Degraded {
            since_us: 4,
            reason,
        };
        let normal = mode == Mode::Normal;
        Change {
            state: State {
                mode,
                consecutive_breach: index,
                consecutive_healthy: 0,
                degraded: (!normal).then_some(degraded),
                streak: if normal {
                    vec![metrics(index)]
                } else {
                    Vec::new()
                },
            },
            index,
            at_us: 1_000 + index as i64,
            breach: Breach::of(&event, 1_000 + index as i64),
            events: vec![event],
            history_limit: limit,
        }
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let sql = database();
        assert_eq!(load(&sql).unwrap(), Restored::default());
        for mode in [Mode::Normal, Mode::Degraded, Mode::Recovering, Mode::Normal] {
            let index = load(&sql).unwrap().last.map_or(1, |(index, _)| index + 1);
            let change = breached(index, mode, 200);
            assert!(save(&sql, &change).unwrap());
            let found = load(&sql).unwrap();
            assert_eq!(found.state, change.state);
            assert_eq!(found.last, Some((change.index, change.at_us)));
            assert_eq!(found.history.back(), change.breach.as_ref());
        }
    }

    #[test]
    fn the_history_keeps_the_newest_up_to_its_limit() {
        let sql = database();
        for index in 1..=7 {
            save(&sql, &breached(index, Mode::Degraded, 3)).unwrap();
        }
        let indexes: Vec<u64> = load(&sql)
            .unwrap()
            .history
            .iter()
            .map(|b| b.index)
            .collect();
        assert_eq!(indexes, [5, 6, 7]);
    }

    #[test]
    fn a_window_that_was_kept_is_not_kept_again() {
        let sql = database();
        let change = breached(4, Mode::Degraded, 3);
        assert!(save(&sql, &change).unwrap());
        assert!(!save(&sql, &change).unwrap());
        assert!(!save(&sql, &breached(3, Mode::Normal, 3)).unwrap());
        assert_eq!(load(&sql).unwrap().state, change.state);
    }

    #[test]
    fn the_database_refuses_a_degradation_without_its_beginning() {
        let sql = database();
        let mut change = breached(1, Mode::Degraded, 3);
        change.state.degraded = None;
        assert!(save(&sql, &change).is_err());
    }

    #[test]
    fn a_damaged_text_is_an_error_and_not_a_fresh_start() {
        let sql = database();
        save(&sql, &breached(1, Mode::Normal, 3)).unwrap();
        sql.execute("UPDATE slo_state SET streak = '['", [])
            .unwrap();
        assert!(load(&sql).is_err());
    }

    #[test]
    fn events_have_the_fields_of_the_contract() {
        let fixture = include_str!("../../../fixtures/contract/events.json");
        let fixture: Value = serde_json::from_str(fixture).unwrap();
        let total = |ms: f64| BTreeMap::from([("model".to_owned(), 310.0), ("total".into(), ms)]);
        let window = Metrics {
            index: 7,
            class: Class::Breach,
            samples: 5,
            p95: total(322.0),
            p99: total(322.0),
        };
        let reason = "total p95 322 ms > 250 ms".to_owned();
        let events = [
            Event::Window {
                metrics: window.clone(),
                reason: Some(reason.clone()),
            },
            Event::Entered {
                reason,
                windows: vec![window],
            },
            Event::Exited {
                time_in_degrade: 2.5,
            },
        ];
        for event in events {
            let (kind, data) = shown(&event);
            let samples = fixture["events"].as_array().unwrap();
            let sample = samples
                .iter()
                .find(|sample| sample["type"] == kind)
                .unwrap();
            assert_eq!(data, sample["data"], "{kind}");
        }
    }
}
