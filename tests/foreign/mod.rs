//! What the tests that compare with other people's tools share.

use std::io::Write;

/// Says what a test leaves out, where its harness does not swallow it.
#[expect(
    clippy::explicit_write,
    reason = "what eprintln writes is kept for tests that fail"
)]
pub(crate) fn left_out(what: &str) {
    writeln!(std::io::stderr(), "left out: {what}").unwrap();
}
