//! Where a process listens, as the kernel has it: whatever the process says of itself, these are the
//! addresses that can be connected to.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The TCP listeners of a process and of whatever else is in its process group, in order; a socket
/// that two of them share is there once, two sockets on one address are there twice.
///
/// # Errors
/// When `/proc` cannot be read; a process that ends meanwhile has no listeners.
pub fn of_group(pid: u32) -> io::Result<Vec<SocketAddr>> {
    let mut inodes = BTreeSet::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        if group(&path) == Some(pid) {
            sockets(&path.join("fd"), &mut inodes);
        }
    }
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        // Without IPv6 there is no second table.
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}"));
        for line in text.unwrap_or_default().lines().skip(1) {
            if let Some((address, inode)) = listener(line)
                && inodes.contains(&inode)
            {
                found.push(address);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The process group of a process, by its folder in `/proc`.
fn group(folder: &Path) -> Option<u32> {
    folder.file_name()?.to_str()?.parse::<u32>().ok()?;
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    // The name may hold anything; what follows it is state, parent, group.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(2)?.parse().ok()
}

/// Adds the inodes of the sockets that these descriptors are.
fn sockets(descriptors: &Path, inodes: &mut BTreeSet<u64>) {
    let Ok(entries) = std::fs::read_dir(descriptors) else {
        return;
    };
    for entry in entries.flatten() {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let inode = target.to_str().and_then(|name| {
            let number = name.strip_prefix("socket:[")?.strip_suffix(']')?;
            number.parse::<u64>().ok()
        });
        inodes.extend(inode);
    }
}

/// Address and inode of a line of the table, if it is a listening socket.
fn listener(line: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    (state == LISTEN).then_some(())?;
    let (host, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddr::new(host_of(host)?, port), inode))
}

/// The kernel prints words of 32 bits in the order of the machine.
fn host_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_line_of_the_kernels_table_is_read() {
        let line = |local: &str, state: &str| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 \
                 0 0 4711 1 0 100 0 0 10 0"
            )
        };
        let v4 = listener(&line("0100007F:1B58", "0A"));
        assert_eq!(v4, Some(("127.0.0.1:7000".parse().unwrap(), 4711)));
        let v6 = listener(&line("00000000000000000000000001000000:0050", "0A"));
        assert_eq!(v6, Some(("[::1]:80".parse().unwrap(), 4711)));
        assert_eq!(listener(&line("0100007F:1B58", "01")), None);
        assert_eq!(listener("sl local_address"), None);
    }

    #[test]
    fn a_listener_of_this_process_is_found_while_it_is_there() {
        // Whoever runs the tests leads the group.
        let own = group(Path::new("/proc/self").canonicalize().unwrap().as_path()).unwrap();
        let found = |address| of_group(own).unwrap().contains(&address);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(found(address));
        drop(listener);
        assert!(!found(address));
    }
}
