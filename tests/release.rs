//! A release on its way out: bundled, verified, read by other people's tools, and gated by the
//! example for build servers.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signature;
use sonia_gate::contract::bundle::{Envelope, pae, pinned, read_path};

#[path = "foreign/mod.rs"]
mod foreign;

use foreign::left_out;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const WORKFLOW: &str = include_str!("../fixtures/ci/github-actions.yml");
/// Where `.ci/run` installs what other people wrote.
const PYTHON: &str = "target/sonia/python/bin/python";

fn sonia_gate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonia-gate"));
    command
        .env("NO_COLOR", "1")
        .env_remove("SONIA_GATE_SIGN_KEY");
    command.current_dir(ROOT);
    command
}

/// Runs it, and gives what it prints.
#[track_caller]
fn runs(code: i32, arguments: &[&str]) -> String {
    let run = sonia_gate().args(arguments).assert().code(code);
    String::from_utf8_lossy(&run.get_output().stdout).into_owned()
}

/// A folder with keys, and in `release` a signed report of one gate beside the proof of the release.
struct Signed {
    folder: tempfile::TempDir,
}

impl Signed {
    fn new() -> Self {
        let signed = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let (keys, other) = (signed.path("keys"), signed.path("other"));
        runs(0, &["key", "new", "--out", &keys]);
        runs(0, &["key", "new", "--out", &other]);
        let (key, out) = (signed.path("keys/gate.key"), signed.path("release"));
        let gate = [
            "gate",
            "v4.7",
            "wal-mode",
            "--sign-key",
            &key,
            "--out",
            &out,
        ];
        runs(0, &gate);
        let matrix = "releases/v4.7.0/kill-matrix.json";
        let to = signed.path("release/kill-matrix.json");
        fs::copy(Path::new(ROOT).join(matrix), to).unwrap();
        signed
    }

    fn path(&self, inside: &str) -> String {
        self.folder.path().join(inside).display().to_string()
    }

    /// Bundles the release into this archive.
    fn bundle(&self, out: &str, code: i32, more: &[&str]) -> String {
        let (from, out) = (self.path("release"), self.path(out));
        let bundle = ["bundle", "release", "v4.7", "--from", &from, "--out", &out];
        runs(code, &[&bundle, more].concat());
        out
    }
}

#[test]
fn a_bundle_is_made_twice_alike_and_verified_by_whoever_has_the_key() {
    let signed = Signed::new();
    let (key, public) = (signed.path("keys/gate.key"), signed.path("keys/gate.pub"));
    let one = signed.bundle("one/r.tar.gz", 0, &["--sign-key", &key]);
    let two = signed.bundle("two/r.tar.gz", 0, &["--sign-key", &key]);
    assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap());
    let accepted = runs(0, &["bundle", "verify", &one, "--key", &public]);
    assert!(
        accepted.contains("signed by a key that is trusted"),
        "{accepted}"
    );
    let other = signed.path("other/gate.pub");
    let refused = runs(1, &["bundle", "verify", &one, "--key", &other]);
    assert!(refused.contains("no trusted key signed it"), "{refused}");
    let unsigned = signed.bundle("three/r.tar.gz", 3, &[]);
    runs(3, &["bundle", "verify", &unsigned, "--key", &public]);
    // Unpacked by tar as it comes, and then by hand made another.
    let unpacked = signed.folder.path().join("unpacked");
    let archive = flate2::read::GzDecoder::new(fs::File::open(&one).unwrap());
    tar::Archive::new(archive).unpack(&unpacked).unwrap();
    let verify = |code| {
        let path = unpacked.display().to_string();
        runs(code, &["bundle", "verify", &path, "--key", &public])
    };
    verify(0);
    fs::write(unpacked.join("CHANGELOG.md"), "nothing happened\n").unwrap();
    fs::remove_file(unpacked.join("gates/v4.5.toml")).unwrap();
    fs::write(unpacked.join("more"), "").unwrap();
    let refused = verify(1);
    for words in [
        "CHANGELOG.md: changed",
        "gates/v4.5.toml: missing",
        "more: extra",
    ] {
        assert!(refused.contains(words), "no `{words}` in\n{refused}");
    }
    fs::remove_file(signed.path("release/kill-matrix.json")).unwrap();
    signed.bundle("four/r.tar.gz", 2, &["--sign-key", &key]);
}

/// A Python that has other people's verifiers, if there is one.
fn python() -> Option<PathBuf> {
    let modules = "import cryptography, in_toto_attestation.v1.statement, securesystemslib.dsse";
    let candidates = [Path::new(ROOT).join(PYTHON), PathBuf::from("python3")];
    candidates.into_iter().find(|python| {
        let ran = std::process::Command::new(python)
            .args(["-c", modules])
            .output();
        ran.is_ok_and(|output| output.status.success())
    })
}

#[test]
fn what_is_signed_verifies_with_other_peoples_tools() {
    let signed = Signed::new();
    let (key, public) = (signed.path("keys/gate.key"), signed.path("keys/gate.pub"));
    let archive = signed.bundle("out/r.tar.gz", 0, &["--sign-key", &key]);
    let files = read_path(Path::new(&archive)).unwrap().files;
    // The verifier of incident bundles is our own code, and the signer is a library.
    let trusted = pinned(&public).unwrap();
    for name in ["gate-report.intoto.jsonl", "release-manifest.intoto.jsonl"] {
        for line in files[name]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let envelope: Envelope = serde_json::from_slice(line).unwrap();
            let payload = STANDARD.decode(&envelope.payload).unwrap();
            let signature = STANDARD.decode(&envelope.signatures[0].sig).unwrap();
            let signature = Signature::from_slice(&signature).unwrap();
            let signed = pae(&envelope.payload_type, &payload);
            trusted.verify_strict(&signed, &signature).unwrap();
        }
    }
    let Some(python) = python() else {
        return left_out("securesystemslib and in-toto-attestation: no Python that has them");
    };
    let at = |name: &str| {
        let path = signed.folder.path().join(name);
        fs::write(&path, &files[name]).unwrap();
        path.display().to_string()
    };
    let verify = |key: &str, subject: &str, statements: &str| {
        let mut command = std::process::Command::new(&python);
        command.arg(Path::new(ROOT).join("tests/foreign/attestation.py"));
        command.args([key, subject, statements]).output().unwrap()
    };
    for (subject, statements, count) in [
        ("gate-report.json", "gate-report.intoto.jsonl", 2),
        ("release-manifest.json", "release-manifest.intoto.jsonl", 1),
    ] {
        let (subject, statements) = (at(subject), at(statements));
        let answer = verify(&public, &subject, &statements);
        let said = String::from_utf8_lossy(&answer.stderr);
        assert!(answer.status.success(), "{said}");
        let lines = String::from_utf8_lossy(&answer.stdout).lines().count();
        assert_eq!(lines, count);
        let other = verify(&signed.path("other/gate.pub"), &subject, &statements);
        assert!(!other.status.success(), "another key verified {statements}");
        let another = verify(&public, &public, &statements);
        assert!(!another.status.success(), "{statements} is of another file");
        // One bit of what is signed.
        let text = fs::read_to_string(&statements).unwrap();
        fs::write(&statements, text.replacen("\"ey", "\"fy", 1)).unwrap();
        let edited = verify(&public, &subject, &statements);
        assert!(!edited.status.success(), "an edited statement verified");
    }
}

/// The arguments of every command of the workflow that is ours, for the first machine.
fn commands() -> Vec<Vec<String>> {
    let lines = WORKFLOW
        .lines()
        .filter(|line| !line.trim().starts_with('#'));
    let ours = lines.filter_map(|line| line.split_once("sonia-gate "));
    let words = |line: &str| {
        let line = line.replace("${{ matrix.part }}", "1");
        let line = line.replace("${{ github.run_id }}", "17");
        assert!(!line.contains("${{"), "unknown expression in {line}");
        let line = line.split(">>").next().unwrap().replace('"', "");
        line.split_whitespace().map(str::to_owned).collect()
    };
    ours.map(|(_, line)| words(line)).collect()
}

#[test]
fn the_example_workflow_says_what_the_program_understands() {
    let commands = commands();
    let named: BTreeSet<&str> = commands.iter().map(|words| words[0].as_str()).collect();
    assert_eq!(named, ["bundle", "gate", "merge", "verdict"].into());
    for words in &commands {
        sonia_gate().args(words).arg("--help").assert().success();
    }
    // A misspelt option is noticed, with --help behind it, too.
    let misspelt = ["merge", "part-1", "--sign-kee", "x", "--help"];
    sonia_gate().args(misspelt).assert().code(2);
}

#[test]
fn the_example_workflow_merges_every_part_that_it_runs() {
    let (_, list) = WORKFLOW.split_once("part: [").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    let parts: Vec<&str> = list.split(", ").collect();
    let count = parts.len();
    assert!(WORKFLOW.contains(&format!("--partition ${{{{ matrix.part }}}}/{count} ")));
    let merge = commands().into_iter().find(|words| words[0] == "merge");
    let merged: Vec<String> = merge.unwrap().into_iter().skip(1).take(count + 1).collect();
    let expected: Vec<String> = parts.iter().map(|part| format!("part-{part}")).collect();
    assert_eq!(merged[..count], expected);
    assert!(merged[count].starts_with("--"), "{merged:?}");
}
