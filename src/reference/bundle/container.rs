//! The two forms of a bundle on disk: written from contents in memory, and read back into memory.
//! Reading follows no link, extracts nothing and stops at the limits.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::verify::Problem;
use super::{MAX_BYTES, MAX_FILES, MAX_PATH_BYTES};

/// Contents by path.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// What an archive has beside contents, at most: a header and padding for each entry, and the end.
const OVERHEAD: u64 = (MAX_FILES as u64 + 8) * 1024;

/// Writes the folder, which must not be there yet.
pub(super) fn write_folder(folder: &Path, files: &Files) -> io::Result<()> {
    fs::create_dir(folder)?;
    for (path, content) in files {
        let to = folder.join(path);
        if let Some(above) = to.parent() {
            fs::create_dir_all(above)?;
        }
        fs::write(to, content)?;
    }
    Ok(())
}

/// Writes the archive: the same files under the same paths, and nothing else.
pub(super) fn write_archive(to: &Path, files: &Files, made_at_s: u64) -> io::Result<()> {
    let zipped = GzEncoder::new(File::create_new(to)?, Compression::default());
    let mut archive = Builder::new(zipped);
    for (path, content) in files {
        let mut header = Header::new_ustar();
        header.set_path(path)?;
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(made_at_s);
        header.set_cksum();
        archive.append(&header, content.as_slice())?;
    }
    archive.into_inner()?.finish()?.flush()
}

/// What was read, and what of it is no file of a bundle.
#[derive(Default)]
pub(super) struct Reading {
    /// Contents by path.
    pub(super) files: Files,
    /// What is wrong with the rest.
    pub(super) problems: Vec<Problem>,
    bytes: u64,
}

/// Reads a bundle, whichever form it has.
///
/// # Errors
/// What the file system says.
pub(super) fn read(path: &Path) -> io::Result<Reading> {
    let mut reading = Reading::default();
    if path.metadata()?.is_dir() {
        reading.folder(path, "")?;
    } else {
        let mut zipped = BufReader::new(File::open(path)?);
        if let Err(error) = reading.archive(&mut zipped) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            reading.refuse(&name, "unreadable", error.to_string());
        }
    }
    Ok(reading)
}

impl Reading {
    fn refuse(&mut self, file: &str, problem: &'static str, detail: impl Into<String>) {
        self.problems.push(Problem::new(file, problem, detail));
    }

    fn folder(&mut self, folder: &Path, above: &str) -> io::Result<()> {
        let mut empty = true;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            empty = false;
            let path = format!("{above}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                self.refuse(&path, "link", "a symbolic link");
            } else if kind.is_file() {
                let mut opening = File::options();
                opening.read(true).custom_flags(nix::libc::O_NOFOLLOW);
                self.file(&path, opening.open(entry.path())?)?;
            } else if kind.is_dir() && path.len() < MAX_PATH_BYTES {
                self.folder(&entry.path(), &format!("{path}/"))?;
            } else {
                self.refuse(&path, "special", "no regular file");
            }
        }
        if empty && !above.is_empty() {
            self.refuse(above, "extra", "an empty folder");
        }
        Ok(())
    }

    fn archive(&mut self, zipped: &mut impl io::BufRead) -> io::Result<()> {
        let unzipped = GzDecoder::new(&mut *zipped).take(MAX_BYTES + OVERHEAD);
        let mut archive = tar::Archive::new(unzipped);
        let mut seen = 0;
        // Extensions would have to be believed before their entry is seen: an archive needs none.
        for entry in archive.entries()?.raw(true) {
            let mut entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            seen += 1;
            if seen > MAX_FILES {
                self.refuse(&path, "too-large", format!("more than {MAX_FILES} entries"));
                return Ok(());
            }
            match entry.header().entry_type() {
                EntryType::Regular => {
                    let size = entry.size();
                    let read = self.file(&path, &mut entry)?;
                    if read.is_some_and(|read| read < size) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                EntryType::Link | EntryType::Symlink => self.refuse(&path, "link", "a link"),
                _ => self.refuse(&path, "special", "no regular file"),
            }
        }
        let mut rest = archive.into_inner();
        let mut buffer = [0; 4096];
        loop {
            match rest.read(&mut buffer)? {
                0 => break,
                read if buffer[..read].iter().all(|byte| *byte == 0) => {}
                _ => return Err(io::Error::other("something after the end of the archive")),
            }
        }
        if rest.limit() == 0 {
            return Err(io::Error::other("it is past the limit"));
        }
        drop(rest);
        match zipped.fill_buf()? {
            [] => Ok(()),
            _ => Err(io::Error::other("something after the end of the archive")),
        }
    }

    /// Takes in one file; gives its size when it is one of a bundle.
    fn file(&mut self, path: &str, content: impl Read) -> io::Result<Option<u64>> {
        if let Some(why) = unusable(path) {
            self.refuse(path, "path", why);
        } else if self.files.contains_key(path) {
            self.refuse(path, "duplicate", "it is there twice");
        } else if self.files.len() >= MAX_FILES {
            self.refuse(path, "too-large", format!("more than {MAX_FILES} files"));
        } else {
            let mut bytes = Vec::new();
            let left = MAX_BYTES - self.bytes;
            content.take(left + 1).read_to_end(&mut bytes)?;
            let read = bytes.len() as u64;
            if read > left {
                self.refuse(path, "too-large", format!("more than {MAX_BYTES} bytes"));
                return Ok(None);
            }
            self.bytes += read;
            self.files.insert(path.to_owned(), bytes);
            return Ok(Some(read));
        }
        Ok(None)
    }
}

/// Why no file of a bundle may have this path.
pub(super) fn unusable(path: &str) -> Option<&'static str> {
    if path.starts_with('/') {
        return Some("it is absolute");
    }
    if path.len() > MAX_PATH_BYTES {
        return Some("it is too long");
    }
    let mut parts = path.split('/');
    if parts.clone().any(|part| matches!(part, "." | "..")) {
        return Some("it leads out of the bundle");
    }
    let letters = |part: &str| {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        !part.is_empty() && part.chars().all(allowed)
    };
    (!parts.all(letters)).then_some("it has other letters than a bundle's paths")
}
