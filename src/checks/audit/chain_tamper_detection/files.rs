//! The files of the chains of a stopped target: the database and, beside it, the checkpoint.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::checks::Undecided;
use crate::checks::audit::{stored, tampering};

/// Where the databases of the chains are.
pub(super) type Databases = BTreeMap<String, PathBuf>;

/// What is on disk of one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) database: Vec<u8>,
    pub(super) checkpoint: Option<Vec<u8>>,
}

impl Files {
    /// Of a stopped target.
    pub(super) fn read(database: &Path) -> Result<Self, Undecided> {
        tampering::fold_closed(database).map_err(Undecided)?;
        Self::as_they_are(database)
    }

    /// Of a running target, in `folder`: the database through SQLite's backup.
    pub(super) fn copy(database: &Path, folder: &Path) -> Result<Self, Undecided> {
        let copy = folder.join("older.db");
        remove(&copy)?;
        stored::copy(database, &copy).map_err(Undecided)?;
        Ok(Self {
            checkpoint: Self::as_they_are(database)?.checkpoint,
            ..Self::as_they_are(&copy)?
        })
    }

    fn as_they_are(database: &Path) -> Result<Self, Undecided> {
        let checkpoint = match fs::read(beside(database)) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let database = fs::read(database)?;
        Ok(Self {
            database,
            checkpoint,
        })
    }

    /// Puts them in place of whatever is there.
    pub(super) fn restore(&self, database: &Path) -> Result<(), Undecided> {
        for log in ["-wal", "-shm"] {
            let mut path = database.as_os_str().to_owned();
            path.push(log);
            remove(Path::new(&path))?;
        }
        fs::write(database, &self.database)?;
        match &self.checkpoint {
            Some(bytes) => fs::write(beside(database), bytes)?,
            None => remove(&beside(database))?,
        }
        Ok(())
    }

    /// With one bit of the database another.
    pub(super) fn flipped(&self, offset: usize, bit: u8) -> Self {
        let mut other = self.clone();
        other.database[offset] ^= 1 << bit;
        other
    }

    /// The pages of the database that hold one of these texts, as ranges of bytes.
    pub(super) fn pages_with(&self, texts: &[&str]) -> Vec<std::ops::Range<usize>> {
        // The page size is a big-endian number at offset 16; 1 stands for 65536.
        let size = match self.database.get(16..18) {
            Some([0, 1]) => 65_536,
            Some([high, low]) => usize::from(*high) << 8 | usize::from(*low),
            _ => return Vec::new(),
        };
        let holds = |page: &[u8], text: &str| {
            page.windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        let pages = self.database.chunks(size.max(512)).enumerate();
        pages
            .filter(|(_, page)| texts.iter().any(|text| holds(page, text)))
            .map(|(number, page)| number * size..number * size + page.len())
            .collect()
    }
}

/// The kept checkpoint of the chain in this database, where the contract puts it.
fn beside(database: &Path) -> PathBuf {
    database.with_extension("checkpoint")
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkpoint_is_where_the_contract_says() {
        let text = include_str!("../../../../fixtures/contract/process.json");
        let process: serde_json::Value = serde_json::from_str(text).unwrap();
        let named = |what: &str| Path::new(process["checkpoint_file"][what].as_str().unwrap());
        assert_eq!(beside(named("database")), named("checkpoint"));
    }

    #[test]
    fn what_was_read_is_put_back_and_a_checkpoint_that_was_not_there_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES ('needle')")
            .unwrap();
        drop(db);
        let before = Files::read(&path).unwrap();
        assert_eq!(before.checkpoint, None);
        fs::write(beside(&path), "note").unwrap();
        fs::write(folder.path().join("a.db-wal"), "log").unwrap();
        let other = before.flipped(5_000, 3);
        other.restore(&path).unwrap();
        assert!(!beside(&path).exists() && !folder.path().join("a.db-wal").exists());
        assert_eq!(fs::read(&path).unwrap(), other.database);
        assert_ne!(other, before);
        assert_eq!(other.flipped(5_000, 3), before);
        let pages = before.pages_with(&["needle"]);
        let only = pages.first().map(|page| (page.start, page.end));
        assert_eq!((only, pages.len()), (Some((4096, 8192)), 1));
        assert!(before.pages_with(&["nothing"]).is_empty());
    }
}
