//! Whether the folder of a target can be written at all. A full disk is trouble of the harness,
//! whatever the target made of it.

use std::io::{self, Write};
use std::path::Path;

use nix::errno::Errno;

/// What the probe writes: less than a target's databases need to start.
const PROBE_BYTES: usize = 1 << 20;

/// Why nobody could have written in `folder`, when that is so. The probe leaves nothing behind.
pub(super) fn trouble(folder: &Path) -> Option<io::Error> {
    let probe = || {
        let mut file = tempfile::tempfile_in(folder)?;
        file.write_all(&vec![1; PROBE_BYTES])?;
        file.sync_data()
    };
    probe().err().filter(is_of_the_disk)
}

/// Whether an error tells of the disk, and not of a path or of what is written.
fn is_of_the_disk(error: &io::Error) -> bool {
    let of_disk = [Errno::ENOSPC, Errno::EDQUOT, Errno::EROFS];
    error
        .raw_os_error()
        .is_some_and(|code| of_disk.contains(&Errno::from_raw(code)))
}

/// What is wrong with `folder`, and what helps.
pub(super) fn advice(folder: &Path, error: &io::Error) -> String {
    let (folder, read_only) = (folder.display(), Errno::EROFS as i32);
    match error.raw_os_error() {
        Some(code) if code == read_only => {
            format!("{folder} is read-only: point TMPDIR elsewhere")
        }
        _ => format!("no space left in {folder}: free some space there, or point TMPDIR elsewhere"),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use nix::errno::Errno;

    use super::{advice, is_of_the_disk, trouble};

    fn error(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno as i32)
    }

    #[test]
    fn full_and_read_only_disks_are_trouble_and_nothing_else_is() {
        for errno in [Errno::ENOSPC, Errno::EDQUOT, Errno::EROFS] {
            assert!(is_of_the_disk(&error(errno)), "{errno}");
        }
        for errno in [Errno::EACCES, Errno::ENOENT, Errno::EIO, Errno::EPIPE] {
            assert!(!is_of_the_disk(&error(errno)), "{errno}");
        }
        assert!(!is_of_the_disk(&io::Error::other("no space left")));
    }

    #[test]
    fn the_advice_names_the_folder() {
        let folder = Path::new("/small");
        let full = "no space left in /small: free some space there, or point TMPDIR elsewhere";
        assert_eq!(advice(folder, &error(Errno::ENOSPC)), full);
        assert_eq!(advice(folder, &error(Errno::EDQUOT)), full);
        assert_eq!(
            advice(folder, &error(Errno::EROFS)),
            "/small is read-only: point TMPDIR elsewhere"
        );
    }

    #[test]
    fn a_folder_with_space_is_no_trouble_and_keeps_nothing_of_the_probe() {
        let dir = tempfile::tempdir().unwrap();
        assert!(trouble(dir.path()).is_none());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        // Missing is no trouble of the disk.
        assert!(trouble(&dir.path().join("none")).is_none());
    }
}
