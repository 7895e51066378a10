//! Where the services of a data directory listen: written by whoever hosts them, read by commands
//! that run beside. An address that nobody took away may be one of a process that is gone.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The folder in the data directory: one file a service.
const FOLDER: &str = "run";

/// Where one service listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The process.
    pub pid: u32,
    /// The base URL.
    pub url: String,
}

/// Writes down where these services listen. Nothing but health checks needs it, so it is not
/// waited for until it is on disk.
///
/// # Errors
/// What the file system says.
pub fn write(data_dir: &Path, services: &BTreeMap<&str, String>) -> io::Result<()> {
    let folder = data_dir.join(FOLDER);
    std::fs::create_dir_all(&folder)?;
    for (service, url) in services {
        let (pid, url) = (std::process::id(), url.clone());
        let text = serde_json::to_vec(&Address { pid, url })?;
        let fresh = folder.join(format!("{service}.{pid}"));
        std::fs::write(&fresh, text)?;
        std::fs::rename(fresh, folder.join(format!("{service}.json")))?;
    }
    Ok(())
}

/// Where a service listened last; none when it never did.
pub fn read(data_dir: &Path, service: &str) -> Option<Address> {
    let file = data_dir.join(FOLDER).join(format!("{service}.json"));
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}
