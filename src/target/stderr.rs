//! What a target says on stderr: its last bytes are kept in memory, and all of it in a file as
//! long as that can be written.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How much of stderr is shown.
const TAIL_BYTES: usize = 2000;
/// How long the last words of a process that is gone may take through the pipe. A child of its own
/// may hold the pipe open for longer.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The stderr of one start.
#[derive(Clone, Debug)]
pub(super) struct Stderr {
    kept: Arc<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    ring: Mutex<Ring>,
    closed: Condvar,
}

#[derive(Debug, Default)]
struct Ring {
    bytes: VecDeque<u8>,
    closed: bool,
}

impl Ring {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let surplus = self.bytes.len().saturating_sub(TAIL_BYTES);
        self.bytes.drain(..surplus);
    }
}

impl Stderr {
    /// Reads `pipe` to its end, on a thread of its own: a runtime that is busy must never make
    /// the target wait.
    pub(super) fn follow(pipe: OwnedFd, log: &Path) -> io::Result<Self> {
        let kept = Arc::new(Kept::default());
        // Without a file the memory is what is left.
        let log = File::options().create(true).append(true).open(log).ok();
        let into = Arc::clone(&kept);
        std::thread::Builder::new()
            .name("stderr".to_owned())
            .spawn(move || into.read(File::from(pipe), log))?;
        Ok(Self { kept })
    }

    /// The last bytes, at most [`TAIL_BYTES`]; of a process that has ended its very last ones.
    pub(super) fn tail(&self) -> String {
        let (ring, closed) = (self.kept.lock(), &self.kept.closed);
        let waited = closed.wait_timeout_while(ring, LAST_WORDS, |ring| !ring.closed);
        let (ring, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = ring.bytes.iter().copied().collect();
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }
}

impl Kept {
    fn read(&self, mut pipe: File, mut log: Option<File>) {
        let mut buffer = [0; 4096];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
                Ok(count) => {
                    let bytes = &buffer[..count];
                    // A log with a hole would mislead: after the first error it ends.
                    log = log.and_then(|mut file| file.write_all(bytes).is_ok().then_some(file));
                    self.lock().push(bytes);
                }
            }
        }
        self.lock().closed = true;
        self.closed.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ring, TAIL_BYTES};

    #[test]
    fn the_ring_keeps_the_last_bytes_and_no_more() {
        let mut ring = Ring::default();
        ring.push(&[b'a'; TAIL_BYTES]);
        ring.push(b"end");
        let kept: Vec<u8> = ring.bytes.iter().copied().collect();
        assert_eq!(kept.len(), TAIL_BYTES);
        assert!(kept.ends_with(b"aend"));
    }
}
