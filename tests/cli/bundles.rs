//! `bundle incident`, `bundle verify`, and the commands of the reference that a listening line names.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Ran, refused, sonia, sonia_in};

/// An Ed25519 key and its public half, PKCS#8 and SPKI in PEM, made with OpenSSL.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH
-----END PRIVATE KEY-----
";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=
-----END PUBLIC KEY-----
";

/// A data directory that nothing has run in yet, a config and a key.
fn deployment() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    write("audit.pem", KEY);
    write("audit.pub", PUBLIC);
    write(
        "config.json",
        &json!({"audit": {"key_file": "audit.pem"}}).to_string(),
    );
    write("unsigned.json", "{}");
    dir
}

fn incident(folder: &Path, config: &str, out: &str) -> Ran {
    let arguments = [
        "bundle", "incident", "--data", "data", "--config", config, "--out", out,
    ];
    sonia_in(folder, &arguments)
}

fn verify(folder: &Path, path: &str, key: &str) -> Ran {
    sonia_in(folder, &["bundle", "verify", path, "--key", key])
}

#[test]
fn a_bundle_is_made_verified_and_refused_by_name() {
    let dir = deployment();
    let folder = dir.path();
    let made = incident(folder, "config.json", "one");
    assert_eq!(made.code, Some(0), "{}", made.err);
    assert!(made.out.contains("MADE inc_"), "{}", made.out);
    for form in ["one", "one.tar.gz"] {
        let accepted = verify(folder, form, "audit.pub");
        assert_eq!(accepted.code, Some(0), "{}", accepted.out);
        assert!(accepted.out.contains("PASS"), "{}", accepted.out);
    }
    fs::write(folder.join("one/git.json"), "{}").unwrap();
    let ran = verify(folder, "one", "audit.pub");
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(
        ran.out.contains("one: git.json: changed: 2 bytes"),
        "{}",
        ran.out
    );
    let again = incident(folder, "config.json", "one");
    assert_eq!(again.code, Some(2), "{}", again.out);
    assert!(again.err.contains("is there already"), "{}", again.err);
    let unsigned = incident(folder, "unsigned.json", "two");
    assert_eq!(unsigned.code, Some(2), "{}", unsigned.out);
    assert!(
        unsigned.err.contains("audit.key_file names no key"),
        "{}",
        unsigned.err
    );
    assert!(!folder.join("two").exists());
    let nothing = verify(folder, "none", "audit.pub");
    assert_eq!(nothing.code, Some(2), "{}", nothing.err);
    let no_key = verify(folder, "one", "audit.pem");
    assert_eq!(no_key.code, Some(2), "{}", no_key.err);
    assert!(
        no_key.err.contains("no Ed25519 public key"),
        "{}",
        no_key.err
    );
}

#[test]
fn the_commands_of_the_reference_say_one_line_of_json() {
    let dir = deployment();
    let folder = dir.path();
    let (data, config) = (folder.join("data"), folder.join("config.json"));
    let (data, config) = (data.display().to_string(), config.display().to_string());
    let (out, key) = (folder.join("one"), folder.join("audit.pub"));
    let (out, key) = (out.display().to_string(), key.display().to_string());
    let export = [
        "serve",
        "--data",
        &data,
        "--config",
        &config,
        "--export-incident",
        &out,
    ];
    let ran = sonia(&export);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&said["ok"], &said["directory"]),
        (&json!(true), &json!(out))
    );
    let archive = said["archive"].as_str().unwrap();
    let ran = sonia(&["serve", "--key", &key, "--verify-incident", archive]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    fs::remove_file(Path::new(&out).join("config.json")).unwrap();
    let ran = sonia(&["serve", "--key", &key, "--verify-incident", &out]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(said["problems"][0]["file"], "config.json");
    refused(
        &export,
        "one is there already",
        "nothing is ever overwritten",
    );
    refused(
        &["serve", "--key", &key, "--verify-incident", "/no/bundle"],
        "/no/bundle",
        "folder",
    );
    refused(
        &["serve", "--key", &config, "--verify-incident", &out],
        "no Ed25519",
        "PEM",
    );
    assert_eq!(sonia(&["serve", "--verify-incident", &out]).code, Some(2));
}
