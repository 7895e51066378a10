//! `cleanroom`, on a repository of which the program is a few lines that hand out a report; and what
//! `promote` asks for before its first step.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sonia_gate::base::tree;

use super::{Ran, sonia_in};

/// What the clone builds: it writes the report that is committed, whatever the gates.
const PROGRAM: &str = r#"
fn main() {
    let words: Vec<String> = std::env::args().collect();
    let after = |name: &str| words[words.iter().position(|word| word == name).unwrap() + 1].clone();
    assert_eq!(words[1..3], ["gate", "v4.7"]);
    assert_eq!(after("--seed"), "7");
    std::fs::create_dir_all(after("--out")).unwrap();
    let head = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output().unwrap();
    let head = String::from_utf8(head.stdout).unwrap();
    let text = std::fs::read_to_string("clean.json").unwrap().replace("THE COMMIT", head.trim());
    std::fs::write(after("--out") + "/gate-report.json", text).unwrap();
}
"#;

fn run(folder: &Path, tool: &str, arguments: &[&str]) {
    let ran = Command::new(tool)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{tool} {arguments:?}: {said}");
}

fn commit(folder: &Path) {
    let identity = ["-c", "user.name=n", "-c", "user.email=e@example.com"];
    run(folder, "git", &["add", "--all"]);
    run(
        folder,
        "git",
        &[&identity[..], &["commit", "--quiet", "-m", "x"]].concat(),
    );
}

/// A report of the sources that lie in the folder now.
fn report(folder: &Path, status: &str) -> Value {
    let row = |name: &str, status: &str| {
        json!({
            "id": "v4.7/A1", "name": name, "status": status,
            "duration_s": 0.1, "detail": "", "exercised": {}, "minimum": {}, "violations": [],
            "undecided": [], "attempts": [], "mutants": [], "evidence": [],
        })
    };
    let mut report: Value = serde_json::from_str(include_str!(
        "../../releases/v4.7.0-baseline/gate-report.json"
    ))
    .unwrap();
    report["seed"] = json!("7");
    report["git"] = json!({"commit": "THE COMMIT", "dirty": false});
    report["target"]["mutated"] = json!(false);
    report["source_digest"] = json!(tree::digest(folder).unwrap());
    let shape = report["gates"][0].as_object().unwrap().clone();
    let rows = [row("one", "PASS"), row("two", status)].map(|row| {
        let mut whole = shape.clone();
        whole.extend(row.as_object().unwrap().clone());
        Value::Object(whole)
    });
    report["gates"] = json!(rows);
    report
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A repository whose tree and clone come to the same.
fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let manifest =
        "[package]\nname = \"sonia-gate\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
    write(folder, "Cargo.toml", manifest);
    write(folder, "src/main.rs", PROGRAM);
    for folders in tree::FOLDERS {
        write(folder, &format!("{folders}/kept"), "");
    }
    write(folder, ".gitignore", "/target\n");
    run(folder, "git", &["init", "--quiet"]);
    run(folder, "cargo", &["generate-lockfile", "--offline"]);
    reports(folder, "PASS", "PASS");
    dir
}

/// Writes and commits what tree and clone come to.
fn reports(folder: &Path, here: &str, clean: &str) {
    let here = report(folder, here).to_string();
    write(folder, "releases/v4.7.0/gate-report.json", &here);
    write(folder, "clean.json", &report(folder, clean).to_string());
    commit(folder);
}

fn cleanroom(folder: &Path, more: &[&str]) -> Ran {
    sonia_in(folder, &[&["cleanroom", "v4.7"], more].concat())
}

#[test]
fn a_clean_room_gives_what_the_tree_gives_or_says_what_differs() {
    let dir = repository();
    let folder = dir.path();
    let same = cleanroom(folder, &[]);
    assert_eq!(same.code, Some(0), "{}{}", same.out, same.err);
    assert!(same.out.contains("PARITY v4.7"), "{}", same.out);
    assert!(same.err.contains("Building offline"), "{}", same.err);
    reports(folder, "PASS", "FAIL");
    let broken = cleanroom(folder, &[]);
    assert_eq!(broken.code, Some(1), "{}", broken.err);
    let words = "DIFFERS two: here PASS, in the clean room FAIL";
    assert!(broken.out.contains(words), "{}", broken.out);
    assert!(
        broken.out.contains("DIFFERENT v4.7: 1 difference"),
        "{}",
        broken.out
    );
    reports(folder, "PASS", "PASS");
    // What is not committed is not in the room.
    write(folder, "gates/more", "not committed");
    let lock = fs::read_to_string(folder.join("Cargo.lock")).unwrap();
    write(folder, "Cargo.lock", &format!("{lock}\n"));
    let changed = cleanroom(folder, &["--json"]);
    assert_eq!(changed.code, Some(1), "{}", changed.err);
    let said: Value = serde_json::from_str(&changed.out).unwrap();
    let differences = said["differences"].as_array().unwrap();
    let about: Vec<&str> = differences
        .iter()
        .map(|one| one["what"].as_str().unwrap())
        .collect();
    let expected = [
        "Cargo.lock",
        "the sources",
        "the sources of the report here",
    ];
    assert_eq!(about, expected, "{said}");
}

#[test]
fn a_clone_that_does_not_build_or_gates_nothing_is_no_parity() {
    let dir = repository();
    let folder = dir.path();
    write(folder, "src/main.rs", "fn main() { 1 }");
    reports(folder, "PASS", "PASS");
    let broken = cleanroom(folder, &[]);
    assert_eq!(broken.code, Some(1), "{}", broken.out);
    assert!(
        broken.out.contains("the clone does not build"),
        "{}",
        broken.out
    );
    write(folder, "src/main.rs", "fn main() {}");
    reports(folder, "PASS", "PASS");
    let silent = cleanroom(folder, &[]);
    assert_eq!(silent.code, Some(3), "{}", silent.out);
    assert!(silent.err.contains("no report"), "{}", silent.err);
    fs::remove_file(folder.join("releases/v4.7.0/gate-report.json")).unwrap();
    let none = cleanroom(folder, &[]);
    assert_eq!(none.code, Some(2), "{}", none.out);
}

#[test]
fn a_room_that_is_kept_is_the_commit() {
    let dir = repository();
    let folder = dir.path();
    let rooms = tempfile::tempdir().unwrap();
    let room = rooms.path().join("room");
    let kept = cleanroom(folder, &["--keep", room.to_str().unwrap()]);
    assert_eq!(kept.code, Some(0), "{}{}", kept.out, kept.err);
    assert_eq!(tree::digest(&room).unwrap(), tree::digest(folder).unwrap());
    let again = cleanroom(folder, &["--keep", room.to_str().unwrap()]);
    assert_eq!(again.code, Some(2), "{}", again.out);
}

#[test]
fn a_promotion_is_of_a_commit_and_of_the_sources_of_the_binary() {
    let dir = repository();
    let folder = dir.path();
    let promote = |more: &[&str]| sonia_in(folder, &[&["promote", "v4.7"], more].concat());
    let others = promote(&[]);
    assert_eq!(others.code, Some(2), "{}", others.out);
    assert!(
        others.err.contains("this binary is built from"),
        "{}",
        others.err
    );
    write(folder, "gates/more", "not committed");
    let dirty = promote(&[]);
    assert_eq!(dirty.code, Some(2), "{}", dirty.out);
    assert!(dirty.err.contains("differs from commit"), "{}", dirty.err);
    let nowhere = tempfile::tempdir().unwrap();
    let none = sonia_in(nowhere.path(), &["promote", "v4.7"]);
    assert_eq!(none.code, Some(2), "{}", none.out);
    assert!(none.err.contains("no git repository"), "{}", none.err);
}
