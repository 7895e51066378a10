//! The toxics of one link: a list in the order in which they were added, names unique.
//!
//! It only keeps them. Connections compare it with what they run, by identity: a toxic that was
//! removed and added anew under its old name is another one.

use std::sync::Arc;

use super::toxic::{Toxic, ToxicError};

/// One toxic in force. An update makes a new entry with the same id.
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) toxic: Toxic,
}

#[derive(Clone, Default)]
pub(super) struct Roster {
    entries: Vec<Arc<Entry>>,
    ids: u64,
}

impl Roster {
    pub(super) fn add(&mut self, toxic: Toxic) -> Result<(), ToxicError> {
        toxic.check()?;
        if self.at(&toxic.name).is_ok() {
            return Err(ToxicError::Exists(toxic.name));
        }
        self.ids += 1;
        let id = self.ids;
        self.entries.push(Arc::new(Entry { id, toxic }));
        Ok(())
    }

    pub(super) fn update(&mut self, toxic: Toxic) -> Result<(), ToxicError> {
        toxic.check()?;
        let at = self.at(&toxic.name)?;
        let old = &self.entries[at];
        let kept = (old.toxic.kind.word(), old.toxic.stream);
        if kept != (toxic.kind.word(), toxic.stream) {
            return Err(ToxicError::Other(toxic.name));
        }
        let id = old.id;
        self.entries[at] = Arc::new(Entry { id, toxic });
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<(), ToxicError> {
        let at = self.at(name)?;
        self.entries.remove(at);
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    fn at(&self, name: &str) -> Result<usize, ToxicError> {
        let at = self
            .entries
            .iter()
            .position(|entry| entry.toxic.name == name);
        at.ok_or_else(|| ToxicError::NotFound(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::link::{Stream, ToxicKind};

    fn timeout(name: &str, timeout_ms: u64) -> Toxic {
        Toxic::new(ToxicKind::Timeout { timeout_ms }, Stream::Upstream).named(name)
    }

    #[test]
    fn names_are_unique_and_an_update_keeps_the_place() {
        let mut roster = Roster::default();
        roster.add(timeout("a", 1)).unwrap();
        roster.add(timeout("b", 2)).unwrap();
        assert_eq!(
            roster.add(timeout("a", 3)),
            Err(ToxicError::Exists("a".into()))
        );
        roster.update(timeout("a", 4)).unwrap();
        let kept: Vec<_> = roster
            .entries()
            .iter()
            .map(|entry| (entry.id, &entry.toxic))
            .collect();
        assert_eq!(kept, [(1, &timeout("a", 4)), (2, &timeout("b", 2))]);
        roster.remove("a").unwrap();
        roster.add(timeout("a", 5)).unwrap();
        let ids: Vec<u64> = roster.entries().iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [2, 3], "added anew, it is another one");
    }

    #[test]
    fn what_is_not_there_or_would_become_another_is_refused() {
        let mut roster = Roster::default();
        let missing = Err(ToxicError::NotFound("a".into()));
        assert_eq!(roster.update(timeout("a", 1)), missing);
        assert_eq!(roster.remove("a"), missing);
        roster.add(timeout("a", 1)).unwrap();
        let other = Err(ToxicError::Other("a".into()));
        let downstream = Toxic {
            stream: Stream::Downstream,
            ..timeout("a", 1)
        };
        assert_eq!(roster.update(downstream), other);
        let slow_close = Toxic::new(ToxicKind::SlowClose { delay_ms: 1 }, Stream::Upstream);
        assert_eq!(roster.update(slow_close.named("a")), other);
        assert!(matches!(
            roster.add(timeout("", 1)),
            Err(ToxicError::Wrong(_))
        ));
    }
}
