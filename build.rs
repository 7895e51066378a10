//! Puts the digest of the sources into the binary as `SONIA_SOURCE_DIGEST`.

#[path = "src/base/tree.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the crate shows this file to the world and uses all of it"
)]
mod tree;

use std::path::Path;

fn main() {
    // Of what is missing only the absence counts, and cargo would rerun this at every build for a
    // path that does not exist. A new folder comes with code that reads it, and src is watched.
    for path in tree::FOLDERS
        .iter()
        .chain(&tree::FILES)
        .filter(|path| Path::new(path).exists())
    {
        println!("cargo::rerun-if-changed={path}");
    }
    let digest = tree::digest(Path::new(".")).expect("the sources can be read");
    println!("cargo::rustc-env=SONIA_SOURCE_DIGEST={digest}");
}
