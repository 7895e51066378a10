//! Checkpoints (C2SP tlog-checkpoint): how long a chain is and what it holds, in a signed note.
//! The last one is kept beside the database: a chain cannot see by itself that its tail was cut
//! off or that all of it was written again.
//!
//! The kept file is trusted to be no older than the last checkpoint that was signed: whoever can
//! put an older pair of database and checkpoint in place is seen only by a witness outside, who
//! asks for consistency with the checkpoint that it has seen.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::AuditKey;
use super::merkle::{Hash, Tree};

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many entries the chain had.
    pub size: u64,
    /// The root over their hashes.
    pub root: Hash,
}

impl Checkpoint {
    /// Of this tree.
    pub fn of(tree: &Tree) -> Self {
        Self {
            size: tree.size(),
            root: tree.root(),
        }
    }

    /// The text that is signed.
    pub fn text(&self, chain: &str) -> String {
        let (origin, root) = (AuditKey::origin(chain), STANDARD.encode(self.root));
        format!("{origin}\n{}\n{root}\n", self.size)
    }

    /// Reads the text of a note of ours: anything that we would have written otherwise is none.
    pub fn parse(chain: &str, note: &str) -> Option<Self> {
        let (text, _) = note.split_once("\n\n")?;
        let mut lines = text.lines().skip(1);
        let size = lines.next()?.parse().ok()?;
        let root = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        let read = Self { size, root };
        (read.text(chain) == format!("{text}\n")).then_some(read)
    }
}

/// Where the last signed checkpoint of a chain is kept, and what it forbids.
pub trait Keeper: Send + Sync {
    /// The note that was kept last.
    ///
    /// # Errors
    /// Whatever the file system says; a missing file is no error.
    fn kept(&self, file: &Path) -> io::Result<Option<String>>;
    /// Keeps a note in the place of the last one, durably.
    ///
    /// # Errors
    /// Whatever the file system says; the last one is still there then.
    fn keep(&self, file: &Path, note: &str) -> io::Result<()>;
    /// The first entry that is certainly not as the kept checkpoint says: the first one missing
    /// when the chain is shorter, else the last one that the checkpoint covers.
    fn behind(&self, kept: &Checkpoint, tree: &Tree) -> Option<u64>;
}

/// A file, replaced in one rename.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeptFile;

impl Keeper for KeptFile {
    fn kept(&self, file: &Path) -> io::Result<Option<String>> {
        match fs::read_to_string(file) {
            Ok(note) => Ok(Some(note)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn keep(&self, file: &Path, note: &str) -> io::Result<()> {
        let mut fresh = file.as_os_str().to_owned();
        fresh.push(".new");
        let mut written = File::create(&fresh)?;
        written.write_all(note.as_bytes())?;
        written.sync_all()?;
        fs::rename(&fresh, file)?;
        // Without this the rename itself may be lost with the power.
        File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
    }

    fn behind(&self, kept: &Checkpoint, tree: &Tree) -> Option<u64> {
        match tree.root_at(kept.size) {
            None => Some(tree.size()),
            Some(root) if root != kept.root => Some(kept.size.saturating_sub(1)),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(of: &[u8]) -> Tree {
        let mut tree = Tree::default();
        of.iter().for_each(|leaf| tree.push(&[*leaf]));
        tree
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else_is() {
        let checkpoint = Checkpoint::of(&tree(&[1, 2, 3]));
        let text = checkpoint.text("eva-os");
        let note = format!("{text}\n\u{2014} sonia.local/eva-os AAAA\n");
        assert_eq!(Checkpoint::parse("eva-os", &note), Some(checkpoint));
        for wrong in [
            note.replace("eva-os\n3", "eva-os\n03"),
            note.replace("eva-os\n3", "eva-os\n3 "),
            note.replace("=\n", "\n"),
            note.replacen("\n\n", "\nmore\n\n", 1),
            text,
            String::new(),
        ] {
            assert_eq!(Checkpoint::parse("eva-os", &wrong), None, "{wrong}");
        }
        assert_eq!(Checkpoint::parse("openclaw", &note), None);
    }

    #[test]
    fn a_shorter_and_another_chain_are_behind_and_a_longer_one_is_not() {
        let kept = Checkpoint::of(&tree(&[1, 2, 3]));
        let behind = |leaves: &[u8]| KeptFile.behind(&kept, &tree(leaves));
        assert_eq!(behind(&[1, 2, 3]), None);
        assert_eq!(behind(&[1, 2, 3, 4]), None);
        assert_eq!(behind(&[1, 2]), Some(2));
        assert_eq!(behind(&[1, 9, 3, 4]), Some(2));
        let nothing = Checkpoint::of(&tree(&[]));
        assert_eq!(KeptFile.behind(&nothing, &tree(&[1])), None);
    }

    #[test]
    fn a_kept_note_comes_back_and_a_missing_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("eva-os.checkpoint");
        assert_eq!(KeptFile.kept(&file).unwrap(), None);
        KeptFile.keep(&file, "one").unwrap();
        KeptFile.keep(&file, "two").unwrap();
        assert_eq!(KeptFile.kept(&file).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(KeptFile.kept(folder.path()).is_err());
    }
}
