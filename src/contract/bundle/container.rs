//! What is in a folder or an archive, read into memory under bounds. Nothing is written anywhere,
//! no link is followed, and whatever is no plain file under a plain path is a problem of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::bufread::GzDecoder;
use tar::{Archive, EntryType};

use super::{MAX_BYTES, MAX_FILES, MAX_PATH_BYTES, Problem, Wrong};

/// What an archive of the largest bundle needs beside its files.
const ARCHIVE_OVERHEAD: u64 = 16 << 20;
/// How deep folders may nest; the longest path could not be deeper.
const MAX_DEPTH: usize = MAX_PATH_BYTES / 2;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Contents by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whatever is no file of a bundle.
    pub problems: Vec<Problem>,
    bytes: u64,
}

impl Found {
    /// Files of which each is what it should be.
    #[must_use]
    pub fn of(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self {
            files,
            ..Self::default()
        }
    }

    fn problem(&mut self, file: &str, wrong: Wrong, detail: impl Into<String>) {
        self.problems.push(Problem::new(file, wrong, detail));
    }

    /// Takes in one file, unless that would be one too many or too large.
    fn take(&mut self, path: &str, reader: impl Read) -> io::Result<()> {
        if let Some(why) = refuse_path(path) {
            self.problem(path, Wrong::Path, why);
            return Ok(());
        }
        if self.files.contains_key(path) {
            self.problem(path, Wrong::Duplicate, "there twice");
            return Ok(());
        }
        if self.files.len() == MAX_FILES {
            self.problem(
                path,
                Wrong::TooLarge,
                format!("more than {MAX_FILES} files"),
            );
            return Ok(());
        }
        let left = MAX_BYTES - self.bytes;
        let mut content = Vec::new();
        let read = reader.take(left + 1).read_to_end(&mut content)? as u64;
        if read > left {
            let detail = format!("more than {MAX_BYTES} bytes in all files");
            self.problem(path, Wrong::TooLarge, detail);
            return Ok(());
        }
        self.bytes += read;
        self.files.insert(path.to_owned(), content);
        Ok(())
    }
}

/// Why a path is none that a file of a bundle may have.
pub(super) fn refuse_path(path: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let part = |part: &str| !part.is_empty() && part.bytes().all(plain);
    if path.is_empty() || path.len() > MAX_PATH_BYTES {
        Some("empty or too long")
    } else if path.starts_with('/') {
        Some("absolute")
    } else if path.split('/').any(|part| part == ".." || part == ".") {
        Some("leaves the bundle")
    } else if path.split('/').all(part) {
        None
    } else {
        Some("not of plain parts")
    }
}

/// Reads a file that may be the largest archive, and no more of it.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = MAX_BYTES + ARCHIVE_OVERHEAD;
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a folder.
///
/// # Errors
/// What the file system says.
pub fn read_folder(folder: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    walk(folder, "", 0, &mut found)?;
    Ok(found)
}

fn walk(folder: &Path, prefix: &str, depth: usize, found: &mut Found) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    if entries.is_empty() && depth > 0 {
        found.problem(prefix, Wrong::Extra, "an empty folder");
    }
    for entry in entries {
        let name = entry.file_name();
        let (path, kind) = (format!("{prefix}{}", name.display()), entry.file_type()?);
        if kind.is_symlink() {
            found.problem(&path, Wrong::Link, "a symbolic link");
        } else if kind.is_dir() && depth < MAX_DEPTH {
            walk(&entry.path(), &format!("{path}/"), depth + 1, found)?;
        } else if kind.is_file() {
            // Whoever swaps it for a link at this moment gets an error for it.
            let mut opening = File::options();
            opening.read(true).custom_flags(nix::libc::O_NOFOLLOW);
            found.take(&path, opening.open(entry.path())?)?;
        } else {
            found.problem(&path, Wrong::Special, "no regular file");
        }
    }
    Ok(())
}

/// Reads a `.tar.gz`. Extensions of the format are refused like any other special entry: readers
/// differ over them, and so over what is in the archive. For the same reason nothing may follow.
#[must_use]
pub fn read_archive(bytes: &[u8], name: &str) -> Found {
    let mut found = Found::default();
    let outcome = unzip(bytes).and_then(|plain| untar(plain, &mut found));
    if let Err(why) = outcome {
        found.problem(name, Wrong::Unreadable, why);
    }
    found
}

fn unzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut decoder = GzDecoder::new(bytes);
    let mut plain = Vec::new();
    let most = MAX_BYTES + ARCHIVE_OVERHEAD;
    let read = decoder.by_ref().take(most + 1).read_to_end(&mut plain);
    read.map_err(|error| format!("no gzip: {error}"))?;
    if plain.len() as u64 > most {
        return Err(format!("more than {most} bytes when unpacked"));
    }
    match decoder.into_inner() {
        [] => Ok(plain),
        rest => Err(format!("{} bytes after the end of the archive", rest.len())),
    }
}

fn untar(plain: Vec<u8>, found: &mut Found) -> Result<(), String> {
    let wrong = |error: io::Error| format!("no tar: {error}");
    let mut archive = Archive::new(Cursor::new(plain));
    for entry in archive.entries().map_err(wrong)?.raw(true) {
        let mut entry = entry.map_err(wrong)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match entry.header().entry_type() {
            EntryType::Regular => {
                let size = entry.size();
                found.take(&path, &mut entry).map_err(wrong)?;
                let got = found.files.get(&path).map(|content| content.len() as u64);
                if got.is_some_and(|got| got < size) && !super::told(&found.problems, &path) {
                    return Err(format!("it ends inside {path}"));
                }
            }
            EntryType::Symlink | EntryType::Link => {
                found.problem(&path, Wrong::Link, "a link");
            }
            _ => found.problem(&path, Wrong::Special, "no regular file"),
        }
        if found.problems.len() > MAX_FILES {
            return Err(format!("more than {MAX_FILES} entries that are no files"));
        }
    }
    let end = archive.into_inner();
    let (at, plain) = (end.position(), end.into_inner());
    let rest = usize::try_from(at).ok().and_then(|at| plain.get(at..));
    match rest {
        Some(rest) if rest.iter().any(|byte| *byte != 0) => {
            Err("something after the end of the archive".to_owned())
        }
        _ => Ok(()),
    }
}
