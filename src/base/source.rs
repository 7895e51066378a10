//! The digest of the sources that this binary was built from, computed by `build.rs`.
//! It says which sources a proof speaks of; it is no signature and protects nothing by itself.

pub use super::tree::{digest, digest_of_contents, digest_of_folder};

/// SHA-256 (64 hex digits) over path and digest of everything under `src/`, `gates/`, `scenarios/`,
/// `fixtures/contract/`, and Cargo.toml, Cargo.lock, build.rs, sonia-config.json.
pub const DIGEST: &str = env!("SONIA_SOURCE_DIGEST");

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    #[test]
    fn the_same_files_give_the_same_digest() {
        let files = [
            ("src/lib.rs", "a"),
            ("gates/v1.toml", "b"),
            ("Cargo.toml", "c"),
        ];
        let reversed = [files[2], files[1], files[0]];
        assert_eq!(
            digest(tree(&files).path()).unwrap(),
            digest(tree(&reversed).path()).unwrap()
        );
    }

    #[test]
    fn a_changed_renamed_moved_or_added_file_changes_the_digest() {
        let clean = digest(tree(&[("src/a.rs", "a"), ("src/b.rs", "b")]).path()).unwrap();
        for other in [
            [("src/a.rs", "A"), ("src/b.rs", "b")],
            [("src/c.rs", "a"), ("src/b.rs", "b")],
            [("src/a.rs", "b"), ("src/b.rs", "a")],
            [("src/x/a.rs", "a"), ("src/b.rs", "b")],
        ] {
            assert_ne!(digest(tree(&other).path()).unwrap(), clean, "{other:?}");
        }
        let more = tree(&[("src/a.rs", "a"), ("src/b.rs", "b"), ("build.rs", "")]);
        assert_ne!(digest(more.path()).unwrap(), clean);
    }

    #[test]
    fn what_does_not_decide_a_gate_does_not_count() {
        let clean = digest(tree(&[("src/a.rs", "a")]).path()).unwrap();
        let beside = tree(&[
            ("src/a.rs", "a"),
            ("README.md", "r"),
            ("releases/v1/x.json", "{}"),
        ]);
        assert_eq!(digest(beside.path()).unwrap(), clean);
    }

    #[test]
    fn the_binary_holds_the_digest_of_the_sources_it_was_built_from() {
        assert_eq!(
            DIGEST,
            digest(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
        );
    }
}
