//! The end of a process whose parent is gone.

use std::io::Read;

/// Ends the process when whoever started it is gone: stdin is closed then, however it went.
pub(super) fn end_with_parent() -> Result<(), std::io::Error> {
    let watch = || {
        let mut buffer = [0; 256];
        loop {
            match std::io::stdin().read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
        end();
    };
    std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(watch)
        .map(drop)
}

#[expect(
    clippy::exit,
    reason = "nobody is left who could be told anything else"
)]
fn end() -> ! {
    std::process::exit(0)
}
