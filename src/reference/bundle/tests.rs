//! The contract's bundle is accepted, and what the contract calls wrong is called so.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::container::{Files, write_archive, write_folder};
use super::*;
use crate::reference::parts::Parts;

fn fixture() -> Value {
    let text = include_str!("../../../fixtures/contract/bundle.json");
    serde_json::from_str(text).unwrap()
}

fn clean() -> Files {
    let files = fixture()["files"].as_object().unwrap().clone();
    let bytes = |content: Value| content.as_str().unwrap().as_bytes().to_vec();
    files
        .into_iter()
        .map(|(path, content)| (path, bytes(content)))
        .collect()
}

struct Place {
    _dir: tempfile::TempDir,
    folder: PathBuf,
    archive: PathBuf,
}

/// Both forms of a bundle of these files.
fn written(files: &Files) -> Place {
    let dir = tempfile::tempdir().unwrap();
    let (folder, archive) = (dir.path().join("b"), dir.path().join("b.tar.gz"));
    write_folder(&folder, files).unwrap();
    write_archive(&archive, files, 0).unwrap();
    Place {
        _dir: dir,
        folder,
        archive,
    }
}

fn verdict(path: &Path) -> Verdict {
    let key = pinned(fixture()["public_key"].as_str().unwrap()).unwrap();
    verify(path, &key, &Parts::default()).unwrap()
}

/// What both forms are refused for.
fn refused(change: impl FnOnce(&mut Files)) -> Vec<(String, &'static str)> {
    let mut files = clean();
    change(&mut files);
    let place = written(&files);
    let said = |path: &Path| {
        let verdict = verdict(path);
        assert_eq!(verdict.ok, verdict.problems.is_empty());
        let pairs = verdict.problems.into_iter();
        pairs.map(|one| (one.file, one.problem)).collect::<Vec<_>>()
    };
    let folder = said(&place.folder);
    assert_eq!(said(&place.archive), folder);
    folder
}

#[test]
fn the_contracts_bundle_is_accepted_in_both_forms() {
    let place = written(&clean());
    for path in [&place.folder, &place.archive] {
        let said = serde_json::to_value(verdict(path)).unwrap();
        assert_eq!(said, fixture()["accepted"]);
    }
    let limits = json!({"files": MAX_FILES, "bytes": MAX_BYTES, "path_bytes": MAX_PATH_BYTES});
    assert_eq!(fixture()["limits"], limits);
    assert_eq!(fixture()["payload_type"], PAYLOAD_TYPE);
}

#[test]
fn the_contracts_refusal_is_ours_to_the_letter() {
    let mut files = clean();
    files.insert("logs/sonia.log".to_owned(), Vec::new());
    let mut said = serde_json::to_value(verdict(&written(&files).folder)).unwrap();
    let size = clean()["logs/sonia.log"].len();
    assert_eq!(
        said["problems"][0]["detail"],
        format!("0 bytes, expected {size}")
    );
    said["problems"][0]["detail"] = fixture()["refused"]["problems"][0]["detail"].clone();
    assert_eq!(said, fixture()["refused"]);
}

#[test]
fn files_and_manifest_are_named_with_the_contracts_words() {
    let words = fixture()["problems"].as_object().unwrap().clone();
    let found = [
        refused(|files| files.get_mut("config.json").unwrap()[0] ^= 1),
        refused(|files| drop(files.remove("git.json"))),
        refused(|files| drop(files.insert("more.txt".to_owned(), Vec::new()))),
        refused(|files| drop(files.remove(MANIFEST_FILE))),
        refused(|files| files.get_mut(MANIFEST_FILE).unwrap().push(b'}')),
        refused(|files| {
            let text = String::from_utf8(files[MANIFEST_FILE].clone()).unwrap();
            let text = text.replace("payloadType\": \"", "payloadType\": \"x");
            files.insert(MANIFEST_FILE.to_owned(), text.into_bytes());
        }),
    ];
    let expected = [
        ("config.json", "changed"),
        ("git.json", "missing"),
        ("more.txt", "extra"),
        (MANIFEST_FILE, "missing"),
        (MANIFEST_FILE, "unreadable"),
        (MANIFEST_FILE, "signature"),
    ];
    for (found, (file, word)) in found.iter().zip(expected) {
        assert_eq!(found, &[(file.to_owned(), word)]);
        assert!(words.contains_key(word));
    }
}

#[test]
fn links_and_strays_in_a_folder_are_refused() {
    let place = written(&clean());
    let git = place.folder.join("git.json");
    let outside = place.folder.with_extension("outside");
    std::fs::rename(&git, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &git).unwrap();
    std::fs::create_dir(place.folder.join("empty")).unwrap();
    let said: Vec<_> = verdict(&place.folder).problems;
    let mut said: Vec<_> = said
        .iter()
        .map(|one| (one.file.as_str(), one.problem))
        .collect();
    said.sort_unstable();
    assert_eq!(said, [("empty/", "extra"), ("git.json", "link")]);
}

#[test]
fn an_archive_ends_where_it_ends() {
    let place = written(&clean());
    let good = std::fs::read(&place.archive).unwrap();
    for bad in [
        [good.clone(), good.clone()].concat(),
        [&good[..], b"\0"].concat(),
        good[..good.len() - 20].to_vec(),
        b"no archive".to_vec(),
    ] {
        std::fs::write(&place.archive, bad).unwrap();
        let problems = verdict(&place.archive).problems;
        let hit = problems
            .iter()
            .any(|one| one.file == "b.tar.gz" && one.problem == "unreadable");
        assert!(hit, "{problems:?}");
    }
}

#[test]
fn a_key_that_is_none_is_named() {
    assert!(
        pinned("/no/such/file")
            .unwrap_err()
            .to_string()
            .starts_with("/no/such/file: ")
    );
    let vkey = fixture()["public_key"].as_str().unwrap().to_owned();
    assert!(pinned(&vkey.replace("gateway", "getaway")).is_err());
}
