//! One chain as a whole: its entries, and the checkpoint that it must not go behind. Whoever asks
//! gets it verified from the first entry; nothing that was verified is remembered.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use super::checkpoint::{Checkpoint, Keeper};
use super::merkle::Tree;
use super::verify::{Break, Checked, Reason, Segment, each};
use super::{AuditKey, ChainRule, Entry};
use crate::reference::parts::Parts;

/// How a chain is read.
#[derive(Clone)]
pub struct Ledger {
    chain: String,
    rule: Arc<dyn ChainRule>,
    keeper: Arc<dyn Keeper>,
    file: PathBuf,
}

/// A chain that was verified and signed.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The hashes of its entries.
    pub tree: Tree,
    /// Its checkpoint, a signed note.
    pub note: String,
    /// The entries that were asked for.
    pub segment: Segment,
}

/// Which entries of a chain are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The first.
    pub from: i64,
    /// The last.
    pub to: i64,
    /// At most so many.
    pub limit: usize,
}

impl Range {
    /// None.
    pub const NONE: Self = Self {
        from: 0,
        to: -1,
        limit: 0,
    };

    fn holds(&self, seq: i64, so_far: usize) -> bool {
        (self.from..=self.to).contains(&seq) && so_far < self.limit
    }
}

/// A chain that was verified, and the checkpoint that it goes on from.
struct Read {
    tree: Tree,
    segment: Segment,
    kept: Option<Kept>,
}

struct Kept {
    checkpoint: Checkpoint,
    note: String,
}

impl Ledger {
    /// Of the chain in this database.
    pub fn new(chain: &str, database: &Path, parts: &Parts) -> Self {
        Self {
            chain: chain.to_owned(),
            rule: parts.chain.clone(),
            keeper: parts.keeper.clone(),
            file: database.with_extension("checkpoint"),
        }
    }

    /// The rule of the chain.
    pub fn rule(&self) -> &dyn ChainRule {
        &*self.rule
    }

    /// What the kept checkpoint says: how long the chain was at least; 0 when nothing is kept.
    pub fn kept_size(&self) -> u64 {
        let note = self.keeper.kept(&self.file).ok().flatten();
        let kept = note.and_then(|note| Checkpoint::parse(&self.chain, &note));
        kept.map_or(0, |kept| kept.size)
    }

    /// Whether there is a checkpoint that the chain must not go behind.
    pub fn is_kept(&self) -> bool {
        !matches!(self.keeper.kept(&self.file), Ok(None))
    }

    /// Verifies the whole chain, also against the kept checkpoint.
    ///
    /// # Errors
    /// When the database cannot be read at all just now.
    pub fn verify(
        &self,
        conn: &Connection,
        key: Option<&AuditKey>,
        range: Range,
    ) -> rusqlite::Result<Checked<(Tree, Segment)>> {
        self.select(conn, key, |entry, so_far| range.holds(entry.seq, so_far))
    }

    /// The same, with the entries that `wanted` picks; it is told how many it has picked so far.
    ///
    /// # Errors
    /// When the database cannot be read at all just now.
    pub fn select(
        &self,
        conn: &Connection,
        key: Option<&AuditKey>,
        wanted: impl Fn(&Entry, usize) -> bool,
    ) -> rusqlite::Result<Checked<(Tree, Segment)>> {
        let read = self.read(conn, key, wanted)?;
        Ok(read.map(|Read { tree, segment, .. }| (tree, segment)))
    }

    fn read(
        &self,
        conn: &Connection,
        key: Option<&AuditKey>,
        wanted: impl Fn(&Entry, usize) -> bool,
    ) -> rusqlite::Result<Checked<Read>> {
        // Read before the entries are: what is kept meanwhile may be longer than this snapshot.
        let kept = match self.kept(key) {
            Ok(kept) => kept,
            Err(broken) => return Ok(Checked::Broken(broken)),
        };
        let (mut tree, mut entries) = (Tree::default(), Vec::new());
        let found = each(conn, &*self.rule, &self.chain, |entry| {
            let leaf = leaf(&entry).ok_or(Reason::Hash)?;
            tree.push(&leaf);
            if wanted(&entry, entries.len()) {
                entries.push(entry);
            }
            Ok(())
        })?;
        if let Some(broken) = found {
            return Ok(Checked::Broken(broken));
        }
        let behind = kept
            .as_ref()
            .and_then(|kept| self.keeper.behind(&kept.checkpoint, &tree));
        Ok(match behind {
            Some(seq) => Checked::Broken(self.not_as_kept(seq)),
            None => Checked::Clean(Read {
                tree,
                segment: Segment { entries },
                kept,
            }),
        })
    }

    /// Verifies the whole chain, signs its checkpoint and keeps it. One at a time, over all
    /// processes: of two that sign, the slower one would put the older checkpoint last.
    ///
    /// # Errors
    /// Outside, the database's; inside, that the checkpoint cannot be kept: then nobody gets it.
    pub fn seal(
        &self,
        conn: &Connection,
        key: &AuditKey,
        range: Range,
    ) -> rusqlite::Result<io::Result<Checked<Sealed>>> {
        let _lock = match self.lock() {
            Ok(lock) => lock,
            Err(error) => return Ok(Err(error)),
        };
        let Read {
            tree,
            segment,
            kept,
        } = match self.read(conn, Some(key), |entry, so_far| {
            range.holds(entry.seq, so_far)
        })? {
            Checked::Clean(read) => read,
            Checked::Broken(broken) => return Ok(Ok(Checked::Broken(broken))),
        };
        let now = Checkpoint::of(&tree);
        let note = match kept {
            // A chain that has not grown has its checkpoint already.
            Some(kept) if kept.checkpoint == now => kept.note,
            _ => {
                let note = key.sign_note(&self.chain, &now.text(&self.chain));
                if let Err(error) = self.keeper.keep(&self.file, &note) {
                    return Ok(Err(error));
                }
                note
            }
        };
        Ok(Ok(Checked::Clean(Sealed {
            tree,
            note,
            segment,
        })))
    }

    /// The kept checkpoint. Without a key its signature cannot be verified; it is believed all the
    /// same, because starting once without a key must not be the way around it. One that is not
    /// ours is a break: a person has to look and to move it away.
    fn kept(&self, key: Option<&AuditKey>) -> Result<Option<Kept>, Break> {
        let Ok(note) = self.keeper.kept(&self.file) else {
            return Err(self.not_as_kept(0));
        };
        let Some(note) = note else { return Ok(None) };
        let kept = Checkpoint::parse(&self.chain, &note);
        // An Ed25519 signature of a text is always the same.
        let ours = |kept: &Checkpoint| {
            key.is_none_or(|key| note == key.sign_note(&self.chain, &kept.text(&self.chain)))
        };
        match kept.filter(ours) {
            Some(checkpoint) => Ok(Some(Kept { checkpoint, note })),
            None => Err(self.not_as_kept(0)),
        }
    }

    fn not_as_kept(&self, seq: u64) -> Break {
        Break {
            chain: self.chain.clone(),
            seq: i64::try_from(seq).unwrap_or(i64::MAX),
            reason: Reason::Checkpoint,
        }
    }

    fn lock(&self) -> io::Result<File> {
        let mut file = File::options();
        let file = file.create(true).append(true);
        let file = file.open(self.file.with_extension("lock"))?;
        file.lock()?;
        Ok(file)
    }
}

/// The 32 bytes of an entry's hash.
pub fn leaf(entry: &Entry) -> Option<[u8; 32]> {
    let digits = entry.hash.as_bytes();
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut leaf = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in leaf.iter_mut().zip(digits.chunks_exact(2)) {
        let value = digit(&pair[0])? * 16 + digit(&pair[1])?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(leaf)
}
