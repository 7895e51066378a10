//! Lines of Jepsen's log: `INFO  jepsen.util - 3<TAB>:invoke<TAB>:cas<TAB>[3 0]`, in newer ones
//! `2026-01-01 00:00:00,000 INFO [jepsen worker 3] jepsen.util: 3 :invoke :cas [3 0]`.
//!
//! Other loggers' lines are passed over, and the nemesis's, whose acts are no operations. There is no
//! clock that could be trusted, so events are ordered as their lines are, as Jepsen does.

use super::edn::{self, Form};
use super::malformed::excerpt;
use super::{Event, Kind, Located, Malformed};

/// The logger whose lines are events.
const LOGGER: &str = "jepsen.util";

/// What a line should say after the logger.
const SHAPE: &str = "a process, :invoke, :ok, :fail or :info, an operation and its value";

/// The event of a line, the `number`th of the log; none on a line that is about something else.
///
/// # Errors
/// When the line is of the logger and no event.
pub(super) fn event(line: usize, number: u64, text: &str) -> Result<Option<Located>, Malformed> {
    let Some((_, said)) = text.split_once(LOGGER) else {
        return Ok(None);
    };
    let wrong = || Malformed::new(line, excerpt(text), SHAPE);
    let said = said.trim_start();
    let said = said.strip_prefix(['-', ':']).unwrap_or(said);
    let (process, rest) = word(said).ok_or_else(wrong)?;
    if process == edn::NEMESIS {
        return Ok(None);
    }
    let process = process.parse().map_err(|_| wrong())?;
    let (kind, rest) = word(rest).ok_or_else(wrong)?;
    let kind = kind.strip_prefix(':').and_then(Kind::named);
    let (f, rest) = word(rest).ok_or_else(wrong)?;
    let f = f.strip_prefix(':').filter(|f| !f.is_empty());
    // After the value there may be an error: what went wrong is no part of the operation.
    let value = match edn::first(rest) {
        Ok(Some(Form::Value(value))) => value,
        _ => return Err(wrong()),
    };
    let (Some(kind), Some(f)) = (kind, f) else {
        return Err(wrong());
    };
    let event = Event {
        process,
        kind,
        f: f.to_owned(),
        value,
        time_us: number,
        correlation_id: None,
    };
    Ok(Some(Located {
        line,
        at: number,
        event,
    }))
}

/// The first word and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Option<Event>, String> {
        let event = event(7, 3, text).map_err(|error| error.to_string())?;
        Ok(event.map(|located| {
            assert_eq!((located.line, located.at), (7, 3));
            located.event
        }))
    }

    #[test]
    fn lines_of_the_logger_are_events_and_others_are_not() {
        let cas = Event {
            process: 3,
            kind: Kind::Invoke,
            f: "cas".into(),
            value: json!([3, 0]),
            time_us: 3,
            correlation_id: None,
        };
        for line in [
            "INFO  jepsen.util - 3\t:invoke\t:cas\t[3 0]",
            "2026-01-01 00:00:00,000 INFO [jepsen worker 3] jepsen.util: 3 :invoke :cas [3 0]",
            "INFO  jepsen.util - 3\t:invoke\t:cas\t[3 0]\t:some-error",
        ] {
            assert_eq!(read(line), Ok(Some(cas.clone())), "{line}");
        }
        let timed_out = read("INFO  jepsen.util - 4\t:info\t:write\t:timed-out").unwrap();
        let timed_out = timed_out.unwrap();
        assert_eq!(
            (timed_out.kind, timed_out.value),
            (Kind::Info, json!(":timed-out"))
        );
        for other in [
            "INFO  jepsen.core - Everything looks good!",
            "INFO  jepsen.util - :nemesis\t:info\t:start\tnil",
        ] {
            assert_eq!(read(other), Ok(None), "{other}");
        }
    }

    #[test]
    fn a_line_of_the_logger_that_is_no_event_is_refused() {
        for wrong in [
            "3",
            "3\t:begin\t:read\tnil",
            "x\t:invoke\t:read\tnil",
            "3\t:ok\t:read\t[1",
        ] {
            let said = read(&format!("INFO  jepsen.util - {wrong}")).unwrap_err();
            assert!(
                said.starts_with("line 7: `INFO") && said.contains("expected a process"),
                "{said}"
            );
        }
    }
}
