//! A disk on which nothing more can be written: what the target cannot store it refuses, and does not
//! do; what it acknowledged is there when there is space again.
//!
//! The kernel refuses every write of the process beyond a few kilobytes of a file (RLIMIT_FSIZE, as
//! `EFBIG` where a full disk says `ENOSPC`), which needs no root and no disk of its own.

use serde::{Deserialize, Serialize};

use super::ms;
use super::work::Work;
use crate::chaos::Judgement;

/// Beyond this many bytes of a file nothing can be written: less than any database has.
pub(in crate::chaos::drill) const LIMIT_BYTES: u64 = 4096;

/// From when to when the disk was full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Full {
    /// Nothing could be written from here on.
    pub from_us: u64,
    /// Until here; none if it still is.
    pub to_us: Option<u64>,
}

impl Full {
    /// Judges it, with what was asked meanwhile.
    pub(super) fn judge(&self, work: &Work, judgement: &mut Judgement) -> String {
        let to_us = self.to_us.unwrap_or(u64::MAX);
        let meanwhile = work.operations.iter().flat_map(|asked| {
            let tries = asked.tries.iter();
            let tries = tries.filter(|entry| {
                let returned = entry.returned_us.unwrap_or(to_us);
                entry.invoked_us > self.from_us && returned <= to_us
            });
            tries.map(move |entry| asked.succeeded(entry))
        });
        let meanwhile: Vec<bool> = meanwhile.collect();
        let served = meanwhile.iter().filter(|served| **served).count();
        let refused = meanwhile.len() - served;
        if refused == 0 {
            judgement.undecided("the disk was full, and nothing that was asked needed it");
        }
        if self.to_us.is_none() {
            judgement.undecided("the disk was full to the end");
        }
        format!(
            "a full disk for {} ms: {refused} requests not served, {served} served",
            ms(to_us.saturating_sub(self.from_us))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_that_nobody_noticed_is_no_fault() {
        let full = Full {
            from_us: 1_000,
            to_us: Some(501_000),
        };
        let mut judgement = Judgement::default();
        let line = full.judge(&Work::default(), &mut judgement);
        assert_eq!(
            line,
            "a full disk for 500 ms: 0 requests not served, 0 served"
        );
        assert!(judgement.undecided[0].contains("nothing that was asked needed it"));
        let for_ever = Full {
            to_us: None,
            ..full
        };
        for_ever.judge(&Work::default(), &mut judgement);
        assert!(
            judgement
                .undecided
                .iter()
                .any(|why| why.contains("to the end"))
        );
    }
}
