//! Reports are signed, read as an adversary's, and compared.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::sonia_in;

/// A report of one gate in `out`, signed by `keys/gate.key` if asked.
fn gated(folder: &Path, more: &[&str]) {
    let gate = ["gate", "v4.7", "compile-all", "--quiet", "--out", "out"];
    let ran = sonia_in(folder, &[&gate, more].concat());
    assert!(
        matches!(ran.code, Some(0 | 1 | 3)),
        "{} {}",
        ran.out,
        ran.err
    );
}

fn keys(folder: &Path) {
    let made = sonia_in(folder, &["key", "new", "--out", "keys"]);
    assert_eq!(made.code, Some(0), "{}", made.err);
}

#[test]
fn a_new_key_is_for_its_owner_alone_and_never_replaces_one() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let private = folder.path().join("keys/gate.key");
    let mode = fs::metadata(&private).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(&private).unwrap();
    let again = sonia_in(folder.path(), &["key", "new", "--out", "keys"]);
    assert_eq!(again.code, Some(2), "{}", again.out);
    assert!(again.err.contains("gate.key"), "{}", again.err);
    assert_eq!(fs::read(&private).unwrap(), before);
}

#[test]
fn a_part_of_a_release_is_held_and_its_signature_is_that_of_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    keys(path);
    gated(path, &["--sign-key", "keys/gate.key"]);
    let read = |more: &[&str]| sonia_in(path, &[&["verdict", "out"], more].concat());
    let signed = read(&["--key", "keys/gate.pub", "--rederive"]);
    assert_eq!(signed.code, Some(3), "{} {}", signed.out, signed.err);
    assert!(signed.out.contains("HOLD v4.7"), "{}", signed.out);
    assert!(!signed.out.contains("signature"), "{}", signed.out);
    assert!(!signed.out.contains("rederived"), "{}", signed.out);
    assert!(signed.out.contains("1 judged again"), "{}", signed.out);
    let untrusted = read(&[]);
    assert!(
        untrusted.out.contains("no key is trusted"),
        "{}",
        untrusted.out
    );
    let report = path.join("out/gate-report.json");
    let text = fs::read_to_string(&report).unwrap();
    fs::write(
        &report,
        text.replacen("\"elapsed_s\": ", "\"elapsed_s\": 1", 1),
    )
    .unwrap();
    let edited = read(&["--key", "keys/gate.pub"]);
    assert!(edited.out.contains("signature"), "{}", edited.out);
    assert_eq!(edited.code, Some(3));
}

#[test]
fn a_mutant_is_never_signed_and_an_old_signature_does_not_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    keys(path);
    let attestation = path.join("out/gate-report.intoto.jsonl");
    gated(path, &["--sign-key", "keys/gate.key"]);
    assert!(attestation.exists());
    let mutant = "--mutant=start-panics-with-auth-on";
    gated(path, &["--sign-key", "keys/gate.key", mutant]);
    assert!(!attestation.exists());
    gated(path, &["--sign-key", "keys/gate.key"]);
    gated(path, &[]);
    assert!(!attestation.exists());
    let wrong = ["gate", "v4.7", "compile-all", "--sign-key", "keys/gate.pub"];
    let wrong = sonia_in(path, &wrong);
    assert_eq!(wrong.code, Some(2), "{}", wrong.out);
    assert!(
        wrong.err.contains("no Ed25519 private key"),
        "{}",
        wrong.err
    );
}

#[test]
fn a_gate_that_broke_is_named_by_a_comparison() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    gated(path, &[]);
    let same = sonia_in(path, &["compare", "out", "out"]);
    assert_eq!(same.code, Some(0), "{}", same.err);
    assert!(same.out.contains("0 broken"), "{}", same.out);
    let text = fs::read_to_string(path.join("out/gate-report.json")).unwrap();
    let broken = text.replacen("\"status\": \"PASS\"", "\"status\": \"FAIL\"", 1);
    fs::write(path.join("broken.json"), broken).unwrap();
    let compared = sonia_in(path, &["compare", "out", "broken.json"]);
    assert_eq!(compared.code, Some(1), "{}", compared.out);
    assert!(
        compared.out.contains("compile-all was PASS, is FAIL"),
        "{}",
        compared.out
    );
    let none = sonia_in(path, &["compare", "out", "nowhere"]);
    assert_eq!(none.code, Some(2));
    let none = sonia_in(path, &["verdict", "nowhere"]);
    assert_eq!(none.code, Some(2));
}
