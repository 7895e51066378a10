//! The digest of a source tree: SHA-256 over path and digest of every file that decides what a
//! gate means. `build.rs` compiles this file too, so that the digest inside the binary and the one
//! computed over a directory at run time come from the same lines. It uses nothing but std and sha2.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use sha2::{Digest, Sha256};

/// Folders that count, with everything below them. One that does not exist counts as empty.
pub const FOLDERS: [&str; 4] = ["fixtures/contract", "gates", "scenarios", "src"];
/// Single files that count. One that does not exist counts as absent.
pub const FILES: [&str; 4] = ["Cargo.lock", "Cargo.toml", "build.rs", "sonia-config.json"];

/// Digest (64 hex digits) of the source tree at `root`: [`FOLDERS`] and [`FILES`], nothing else.
pub fn digest(root: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut files)?;
    }
    files.extend(
        FILES
            .iter()
            .map(|name| root.join(name))
            .filter(|path| path.is_file()),
    );
    digest_of(root, files)
}

/// Digest (64 hex digits) of every file below `folder`, with paths relative to it.
pub fn digest_of_folder(folder: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    digest_of(folder, files)
}

/// Digest of named contents, as if they were the files of a folder.
pub fn digest_of_contents<'a>(contents: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut lines: Vec<String> = contents
        .into_iter()
        .map(|(path, bytes)| line(path, bytes))
        .collect();
    lines.sort();
    hex(&Sha256::digest(lines.concat()))
}

fn digest_of(root: &Path, files: Vec<PathBuf>) -> io::Result<String> {
    let mut contents = Vec::with_capacity(files.len());
    for path in files {
        let inside = path
            .strip_prefix(root)
            .expect("every file collected is below the root");
        // Forward slashes on every platform: the digest names the sources, not the machine.
        let name: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
        contents.push((name.join("/"), fs::read(&path)?));
    }
    Ok(digest_of_contents(
        contents
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice())),
    ))
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else {
            into.push(path);
        }
    }
    Ok(())
}

fn line(path: &str, bytes: &[u8]) -> String {
    format!("{path}\0{}\n", hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
