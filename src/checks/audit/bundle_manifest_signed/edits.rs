//! Edits of a bundle, and a bundle that was edited: as a folder, and as an archive in memory.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use tar::{EntryType, Header};

use super::content::Content;

/// The files of a bundle by path.
pub type Files = BTreeMap<String, Content>;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "snake_case")]
pub enum Edit {
    /// The file has this content, new or instead of the old one.
    Write {
        /// The file.
        path: String,
        /// What is in it then.
        content: Content,
    },
    /// The file goes.
    Remove {
        /// The file.
        path: String,
    },
    /// The file has another name.
    Rename {
        /// Until now.
        from: String,
        /// From now on.
        to: String,
    },
    /// A link stands in the file's place.
    Link {
        /// The file.
        path: String,
        /// Where the link leads: out of the bundle, to the same content.
        to: String,
        /// Whether it is a hard one; there are such in archives only.
        hard: bool,
    },
    /// The file is there once more; there is such in archives only.
    Again {
        /// The file.
        path: String,
        /// What its second copy holds.
        content: Content,
    },
}

/// What stands under a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    File(Content),
    Link { to: String, hard: bool },
}

/// What is in a bundle, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries(Vec<(String, Kind)>);

/// A bundle with these edits.
#[must_use]
pub fn apply(files: &Files, edits: &[Edit]) -> Entries {
    let file = |(path, content): (&String, &Content)| (path.clone(), Kind::File(content.clone()));
    let mut entries: Vec<_> = files.iter().map(file).collect();
    for edit in edits {
        match edit.clone() {
            Edit::Write { path, content } => put(&mut entries, path, Kind::File(content)),
            Edit::Remove { path } => entries.retain(|(there, _)| *there != path),
            Edit::Rename { from, to } => {
                let found = entries.iter_mut().find(|(path, _)| *path == from);
                if let Some((path, _)) = found {
                    *path = to;
                }
            }
            Edit::Link { path, to, hard } => put(&mut entries, path, Kind::Link { to, hard }),
            Edit::Again { path, content } => entries.push((path, Kind::File(content))),
        }
    }
    Entries(entries)
}

fn put(entries: &mut Vec<(String, Kind)>, path: String, kind: Kind) {
    match entries.iter_mut().find(|(there, _)| *there == path) {
        Some((_, there)) => *there = kind,
        None => entries.push((path, kind)),
    }
}

impl Entries {
    /// Writes the folder.
    ///
    /// # Errors
    /// What the file system says; a path that leads out of the folder is refused.
    pub fn lay(&self, folder: &Path) -> io::Result<()> {
        for (path, kind) in &self.0 {
            if path.starts_with('/') || path.split('/').any(|part| part == "..") {
                return Err(io::Error::other(format!("{path} leads out of the folder")));
            }
            let at = folder.join(path);
            std::fs::create_dir_all(at.parent().unwrap_or(folder))?;
            match kind {
                Kind::File(content) => std::fs::write(at, &content.0)?,
                Kind::Link { to, .. } => std::os::unix::fs::symlink(to, at)?,
            }
        }
        Ok(())
    }

    /// The archive, the same bytes for the same entries.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let zipped = GzEncoder::new(Vec::new(), Compression::fast());
        let mut archive = tar::Builder::new(zipped);
        for (path, kind) in &self.0 {
            let (kind, content) = match kind {
                Kind::File(content) => (EntryType::Regular, content.0.as_slice()),
                Kind::Link { hard: true, .. } => (EntryType::Link, &[][..]),
                Kind::Link { .. } => (EntryType::Symlink, &[][..]),
            };
            let header = header(path, kind, content.len() as u64);
            archive
                .append(&header, content)
                .expect("memory takes what is written");
        }
        let packed = archive.into_inner().and_then(GzEncoder::finish);
        let mut packed = packed.expect("memory takes what is written");
        packed.flush().expect("memory takes what is written");
        packed
    }
}

/// A header by hand: the library would write no path that leads out.
fn header(path: &str, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    let old = header.as_old_mut();
    let length = path.len().min(old.name.len());
    old.name[..length].copy_from_slice(&path.as_bytes()[..length]);
    if kind != EntryType::Regular {
        old.linkname[..6].copy_from_slice(b"a-link");
    }
    header.set_cksum();
    header
}
