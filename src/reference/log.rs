//! The log file of a process: in its data directory, bounded, and without the credentials of URLs.
//! Headers and bodies are never logged, so that nothing else in it could be a secret.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::redact;

/// The folder in the data directory.
pub const FOLDER: &str = "logs";
/// A file that has grown to this size makes way for a new one; one old file is kept.
const MAX_BYTES: u64 = 1 << 20;

/// Where lines go. It is made with the first line, and only in a data directory that is there.
pub struct LogFile {
    data_dir: PathBuf,
    name: String,
    open: Option<(File, u64)>,
}

impl LogFile {
    /// The log `NAME.log` of this data directory; several processes of one directory have a name
    /// each.
    pub fn new(data_dir: &Path, name: &str) -> Self {
        let (data_dir, name) = (data_dir.to_owned(), name.to_owned());
        Self {
            data_dir,
            name,
            open: None,
        }
    }

    fn path(&self) -> PathBuf {
        self.data_dir
            .join(FOLDER)
            .join(format!("{}.log", self.name))
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        if let Some((_, size)) = self.open
            && size + line.len() as u64 > MAX_BYTES
        {
            self.open = None;
            fs::rename(self.path(), self.path().with_extension("log.1"))?;
        }
        if self.open.is_none() {
            if !self.data_dir.is_dir() {
                return Ok(());
            }
            fs::create_dir_all(self.data_dir.join(FOLDER))?;
            let file = File::options()
                .create(true)
                .append(true)
                .open(self.path())?;
            let size = file.metadata()?.len();
            self.open = Some((file, size));
        }
        if let Some((file, size)) = &mut self.open {
            file.write_all(line.as_bytes())?;
            *size += line.len() as u64;
        }
        Ok(())
    }
}

/// Each call is a whole line.
impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        // A disk that is full is told on stderr, which has the same lines.
        if self.append(&redact::urls(&text)).is_err() {
            self.open = None;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The logs of a data directory: names and contents, the old ones too.
///
/// # Errors
/// What the file system says; a directory without logs has none.
pub fn read_all(data_dir: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let folder = data_dir.join(FOLDER);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && (name.ends_with(".log") || name.ends_with(".log.1")) {
            logs.push((name, fs::read(entry.path())?));
        }
    }
    logs.sort();
    Ok(logs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_over_a_restart_without_credentials() {
        let dir = tempfile::tempdir().unwrap();
        for line in ["one\n", "two http://u:p@h/\n"] {
            let mut log = LogFile::new(dir.path(), "sonia");
            log.write_all(line.as_bytes()).unwrap();
        }
        let logs = read_all(dir.path()).unwrap();
        let text = b"one\ntwo http://<redacted>@h/\n".to_vec();
        assert_eq!(logs, [("sonia.log".to_owned(), text)]);
    }

    #[test]
    fn it_stays_bounded_and_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(dir.path(), "sonia");
        for number in 0..40 {
            let line = format!("{number:065535}\n");
            log.write_all(line.as_bytes()).unwrap();
        }
        let logs = read_all(dir.path()).unwrap();
        let names: Vec<&str> = logs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["sonia.log", "sonia.log.1"]);
        assert!(logs.iter().all(|(_, text)| text.len() as u64 <= MAX_BYTES));
        assert!(logs[0].1.ends_with(b"039\n"));
    }

    #[test]
    fn a_directory_that_is_not_there_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        LogFile::new(&data, "sonia").write_all(b"one\n").unwrap();
        assert!(!data.exists());
        assert_eq!(read_all(&data).unwrap(), Vec::new());
    }
}
