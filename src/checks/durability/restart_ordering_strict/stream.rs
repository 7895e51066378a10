//! A numbered sequence that only grows: the entries of a chain, or the events of the gateway. It is
//! read whole each time; what had been seen before is kept as a digest, what is new in full.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::json::sha256_hex;

/// One entry: its number, the correlation id, and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry(pub i64, pub String, pub String);

/// A whole reading, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// How many of its entries had been seen before, by their places.
    pub known: usize,
    /// A digest of these.
    pub digest: String,
    /// The others.
    pub fresh: Vec<Entry>,
    /// Why it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl Reading {
    /// Of all entries, of which so many had been seen before.
    #[must_use]
    pub fn new(read: Result<Vec<Entry>, String>, seen: usize) -> Self {
        let (mut entries, trouble) = match read {
            Ok(entries) => (entries, None),
            Err(trouble) => (Vec::new(), Some(trouble)),
        };
        let fresh = entries.split_off(seen.min(entries.len()));
        Self {
            known: entries.len(),
            digest: digest(&entries),
            fresh,
            trouble,
        }
    }
}

fn digest(entries: &[Entry]) -> String {
    let text = serde_json::to_vec(entries).expect("entries are plain data");
    let mut digest = sha256_hex(&text);
    digest.truncate(16);
    digest
}

/// All that was ever read of one sequence.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    /// The entries, in order.
    pub entries: Vec<Entry>,
}

impl Stream {
    /// Goes on with a reading; what is wrong with it.
    pub(super) fn go_on(&mut self, reading: &Reading) -> Vec<String> {
        if let Some(trouble) = &reading.trouble {
            return vec![format!("cannot be read: {trouble}")];
        }
        let mut wrong = Vec::new();
        let (known, seen) = (reading.known, self.entries.len());
        if known < seen {
            let lost = &self.entries[known];
            wrong.push(format!(
                "got {known} of the {seen} that had been seen, expected all: {lost:?} is lost"
            ));
        } else if reading.digest != digest(&self.entries) {
            wrong.push(format!(
                "the {seen} that had been seen are not what they were"
            ));
        }
        for entry in &reading.fresh {
            let last = self.entries.last().map_or(i64::MIN, |last| last.0);
            if entry.0 <= last {
                wrong.push(format!(
                    "number {} comes after {last}, expected a greater",
                    entry.0
                ));
            }
            self.entries.push(entry.clone());
        }
        wrong
    }

    /// Whatever is out of order, when `place` gives the place of what a correlation id stands for.
    #[must_use]
    pub(super) fn disorder(&self, place: &BTreeMap<&str, usize>) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut last: Option<(usize, &Entry)> = None;
        for entry in &self.entries {
            let Some(&at) = place.get(entry.1.as_str()) else {
                continue;
            };
            match last {
                Some((before, earlier)) if at < before => wrong.push(format!(
                    "{entry:?} of operation {at} comes after {earlier:?} of operation {before}"
                )),
                _ => last = Some((at, entry)),
            }
        }
        wrong
    }

    /// What the entries of a correlation id say, in order.
    pub(super) fn of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a str> {
        let own = self.entries.iter().filter(move |entry| entry.1 == id);
        own.map(|entry| entry.2.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: i64, id: &str) -> Entry {
        Entry(number, id.into(), "said".into())
    }

    fn entries(numbers: std::ops::Range<i64>) -> Vec<Entry> {
        numbers
            .map(|number| entry(number, &format!("id-{number}")))
            .collect()
    }

    /// What is wrong with a second reading, after `0..3`.
    fn then(second: Vec<Entry>) -> Vec<String> {
        let mut stream = Stream::default();
        let first = Reading::new(Ok(entries(0..3)), 0);
        assert_eq!(stream.go_on(&first), [""; 0]);
        stream.go_on(&Reading::new(Ok(second), 3))
    }

    #[test]
    fn what_was_seen_stays_and_numbers_rise() {
        assert_eq!(then(entries(0..3)), [""; 0]);
        assert_eq!(then(entries(0..5)), [""; 0]);
        let gap = [entries(0..3), entries(7..8)].concat();
        assert_eq!(
            then(gap),
            [""; 0],
            "numbers rise, and that is all they have to"
        );
    }

    #[test]
    fn a_lost_entry_and_a_number_that_is_given_again_are_seen() {
        assert!(then(entries(0..2))[0].contains("got 2 of the 3 that had been seen"));
        let reused = [entries(0..2), vec![entry(2, "another")]].concat();
        assert!(then(reused)[0].contains("are not what they were"));
        let reset = then(vec![entry(0, "new")]);
        assert!(reset[0].contains("got 1 of the 3"), "{reset:?}");
        let repeated = [entries(0..3), vec![entry(2, "again")]].concat();
        assert_eq!(
            then(repeated),
            ["number 2 comes after 2, expected a greater"]
        );
        let mut stream = Stream::default();
        let closed = Reading::new(Err("locked".into()), 0);
        assert_eq!(stream.go_on(&closed), ["cannot be read: locked"]);
    }

    #[test]
    fn the_order_is_that_of_the_operations() {
        let stream = |ids: &[&str]| Stream {
            entries: (0..)
                .zip(ids)
                .map(|(number, id)| entry(number, id))
                .collect(),
        };
        let place = BTreeMap::from([("a", 0), ("b", 1), ("c", 2)]);
        assert_eq!(stream(&["a", "a", "x", "b", "c"]).disorder(&place), [""; 0]);
        let wrong = stream(&["a", "c", "b", "c"]).disorder(&place);
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].contains("of operation 1 comes after"), "{wrong:?}");
        assert_eq!(stream(&["a", "x", "a"]).of("a").count(), 2);
    }
}
