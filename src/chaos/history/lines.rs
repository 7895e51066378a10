//! JSON lines: one event a line, with a clock.

use std::io::BufRead;

use super::malformed::excerpt;
use super::{Event, Located, Malformed};

/// What a line should be.
const SHAPE: &str = "an object with process, type (invoke, ok, fail, info), f and time_us, and with \
                     value and correlation_id if there are any";

/// The event of a line.
///
/// # Errors
/// When it is no event.
pub(super) fn event(line: usize, text: &str) -> Result<Located, Malformed> {
    let event: Event = serde_json::from_str(text)
        .map_err(|error| Malformed::new(line, format!("{}: {error}", excerpt(text)), SHAPE))?;
    Ok(Located {
        line,
        at: event.time_us,
        event,
    })
}

/// The lines of a text, numbered from 1, without empty ones.
pub(super) fn numbered<R: BufRead>(
    text: R,
) -> impl Iterator<Item = Result<(usize, String), Malformed>> {
    let lines = text.lines().enumerate().map(|(index, line)| {
        let number = index + 1;
        let line = line
            .map_err(|error| Malformed::new(number, error.to_string(), "a readable UTF-8 text"))?;
        Ok((number, line))
    });
    lines.filter(|line| !matches!(line, Ok((_, text)) if text.trim().is_empty()))
}
