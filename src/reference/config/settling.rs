//! When a file that is being written may be read: once it has looked the same for a while.
//!
//! Pure. Times are arguments, and so is what the file held when somebody looked.

use std::time::Duration;

/// What a look at the file found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// It is not there, or cannot be read, and why.
    Absent(String),
}

/// What is to be done after a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// The file holds what was told last: nothing, until somebody writes.
    Rest,
    /// It changed: look again after this long.
    Again(Duration),
    /// It has held this for long enough. Told once, until it holds something else.
    Settled(Content),
}

/// The looks so far.
#[derive(Debug)]
pub(super) struct Settling {
    quiet: Duration,
    told: Content,
    seen: Content,
    since: Duration,
}

impl Settling {
    /// A file that was read already. It counts as settled after `quiet` without a change.
    pub(super) fn read(content: Content, quiet: Duration) -> Self {
        Self {
            quiet,
            told: content.clone(),
            seen: content,
            since: Duration::ZERO,
        }
    }

    /// Somebody looked. A content that differs from the last look begins the wait anew. `now` is
    /// on any monotonic clock.
    pub(super) fn look(&mut self, now: Duration, found: Content) -> Next {
        if found != self.seen {
            self.seen = found;
            self.since = now;
        }
        // Back to what was told, as a writer that changed its mind: nobody needs to hear it again.
        if self.seen == self.told {
            return Next::Rest;
        }
        let quiet = now.saturating_sub(self.since);
        if quiet < self.quiet {
            return Next::Again(self.quiet - quiet);
        }
        self.told = self.seen.clone();
        Next::Settled(self.told.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(50);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn bytes(text: &str) -> Content {
        Content::Bytes(text.into())
    }

    fn settled(text: &str) -> Next {
        Next::Settled(bytes(text))
    }

    /// Looks at these times (ms), and what each of them leads to.
    fn check(looks: &[(u64, Content, Next)]) {
        let mut settling = Settling::read(bytes("old"), QUIET);
        for (at, found, expected) in looks {
            assert_eq!(
                &settling.look(ms(*at), found.clone()),
                expected,
                "at {at} ms"
            );
        }
    }

    #[test]
    fn a_file_is_read_when_it_has_been_the_same_for_the_whole_time_and_once() {
        check(&[
            (0, bytes("old"), Next::Rest),
            (10, bytes("new"), Next::Again(ms(50))),
            (59, bytes("new"), Next::Again(ms(1))),
            (60, bytes("new"), settled("new")),
            (61, bytes("new"), Next::Rest),
            (900, bytes("new"), Next::Rest),
        ]);
    }

    #[test]
    fn every_change_begins_the_wait_anew() {
        check(&[
            (0, bytes("{"), Next::Again(ms(50))),
            (40, bytes("{\"a\""), Next::Again(ms(50))),
            (80, bytes("{\"a\":1}"), Next::Again(ms(50))),
            (129, bytes("{\"a\":1}"), Next::Again(ms(1))),
            (130, bytes("{\"a\":1}"), settled("{\"a\":1}")),
        ]);
    }

    #[test]
    fn half_a_file_that_stays_is_told_and_the_whole_one_after_it_too() {
        check(&[
            (0, bytes("{"), Next::Again(ms(50))),
            (50, bytes("{"), settled("{")),
            (70, bytes("{}"), Next::Again(ms(50))),
            (120, bytes("{}"), settled("{}")),
        ]);
    }

    #[test]
    fn a_change_that_is_taken_back_in_time_is_none() {
        check(&[
            (0, bytes("new"), Next::Again(ms(50))),
            (30, bytes("old"), Next::Rest),
            (70, bytes("new"), Next::Again(ms(50))),
            (120, bytes("new"), settled("new")),
        ]);
    }

    #[test]
    fn a_file_that_goes_and_comes_back_is_told_twice() {
        let gone = Content::Absent("no such file".into());
        check(&[
            (0, gone.clone(), Next::Again(ms(50))),
            (50, gone.clone(), Next::Settled(gone.clone())),
            (60, bytes("old"), Next::Again(ms(50))),
            (110, bytes("old"), settled("old")),
        ]);
        // Away for the instant between two renames: nobody hears of it.
        check(&[
            (0, gone, Next::Again(ms(50))),
            (20, bytes("old"), Next::Rest),
        ]);
    }
}
