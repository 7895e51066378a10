//! Processes that a target started, as the system shows them. Ticks are hundredths of a second since
//! the machine started: what every process of it is dated with.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::instance::Instance;

/// A tick, in milliseconds.
pub const TICK_MS: u64 = 10;

/// A process that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Who started it, or has taken it over since.
    pub parent: u32,
    /// When it was started, rounded down.
    pub started_ticks: u64,
}

impl Process {
    /// The process of this id; none when there is none, or only what is left of one.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }
}

/// The line of `/proc/PID/stat` (proc_pid_stat(5)).
fn parse(pid: u32, stat: &str) -> Option<Process> {
    // The name in parentheses may hold anything, so fields are counted behind the last one.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    if fields
        .first()
        .is_none_or(|state| ["Z", "X"].contains(state))
    {
        return None;
    }
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        started_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// Now, rounded down.
#[must_use]
pub fn now_ticks() -> Option<u64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let (seconds, hundredths) = uptime.split_ascii_whitespace().next()?.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 100 + hundredths.parse::<u64>().ok()?)
}

impl Instance {
    /// Whether this process was started by the target that runs now.
    #[must_use]
    pub fn is_parent_of(&self, pid: u32) -> bool {
        self.pid().is_some() && Process::of(pid).map(|process| process.parent) == self.pid()
    }

    /// SIGKILL to a process that the target started. One that is not its child is let be, whatever
    /// the target says: whether it was killed.
    #[must_use]
    pub fn kill_child(&self, pid: u32) -> bool {
        let raw = i32::try_from(pid).ok().filter(|_| self.is_parent_of(pid));
        raw.is_some_and(|raw| kill(Pid::from_raw(raw), Signal::SIGKILL).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_system_is_read_and_a_zombie_is_none() {
        let stat = "42 (a) b) S 7 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 4 0 1479389 1000 5";
        let expected = Process {
            pid: 42,
            parent: 7,
            started_ticks: 1_479_389,
        };
        assert_eq!(parse(42, stat), Some(expected));
        assert_eq!(parse(42, &stat.replace(" S ", " Z ")), None);
        assert_eq!(parse(42, "42 (a"), None);
    }

    #[test]
    fn this_process_was_started_before_now() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(own.started_ticks <= now_ticks().unwrap());
        assert!(Process::of(u32::MAX).is_none());
    }
}
