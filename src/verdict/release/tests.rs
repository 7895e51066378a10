//! A bundle of a promoted release, and what an adversary may do to it.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use super::*;
use crate::base::tree;
use crate::contract::bundle::{read_archive, read_folder};
use crate::model::Verdict;
use crate::report::release::{Contents, ReleaseError, is_evidence, packed};
use crate::report::{ATTESTATION_FILE, MATRIX_FILE, REPORT_FILE, attestation};
use crate::verdict::tests::{edit, key, model, promoted, sign, trust};
use crate::verdict::{Dossier, Kind, Promotion, Trust, verify};

/// A folder with the sources that a bundle takes along, and the promoted release of them in it.
fn release() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["gates", "scenarios"] {
        fs::create_dir(root.path().join(folder)).unwrap();
        for entry in fs::read_dir(here.join(folder)).unwrap() {
            let from = entry.unwrap().path();
            let to = root.path().join(folder).join(from.file_name().unwrap());
            fs::copy(from, to).unwrap();
        }
    }
    for (file, text) in [
        ("Cargo.lock", "# locked\n"),
        ("CHANGELOG.md", "# Changes\n"),
    ] {
        fs::write(root.path().join(file), text).unwrap();
    }
    let digest = tree::digest(root.path()).unwrap();
    promoted(root.path());
    let matrix = root.path().join(MATRIX_FILE);
    edit(&matrix, |matrix| matrix["proof_digest"] = json!(digest));
    let matrix = sha256_hex(&fs::read(matrix).unwrap());
    edit(&root.path().join(REPORT_FILE), |report| {
        report["source_digest"] = json!(digest);
        report["proof"]["matrix_sha256"] = json!(matrix);
    });
    sign(root.path(), &key());
    root
}

fn gathered(root: &Path) -> Result<Contents, ReleaseError> {
    Contents::gather(root, root)
}

/// The release's bundle, as it is found when nobody touched it.
fn found() -> Found {
    let root = release();
    let contents = gathered(root.path()).unwrap();
    let bundle = contents.bundle(Some(&key())).unwrap();
    read_archive(&bundle.archive, "bundle.tar.gz")
}

/// Reading the gates takes longer than reading a bundle.
static MODEL: LazyLock<Model> = LazyLock::new(model);

fn read(found: &Found) -> BundleReading {
    read_bundle(found, &MODEL, &[key().verifying_key()])
}

/// What is found after this edit of the files, under the manifest that was signed.
fn after(change: impl FnOnce(&mut Found)) -> BundleReading {
    let mut found = found();
    change(&mut found);
    read(&found)
}

/// What is found after this edit, when whoever made it could sign the manifest anew with this key.
fn resigned(by: &SigningKey, change: impl FnOnce(&mut Found)) -> BundleReading {
    after(|found| {
        change(found);
        let manifest: ReleaseManifest =
            serde_json::from_slice(&found.files[MANIFEST_FILE]).unwrap();
        let mut files = found.files.clone();
        let report = serde_json::from_slice(&files[REPORT_FILE]).unwrap();
        files.retain(|path, _| path != MANIFEST_FILE && path != SIGNATURE_FILE);
        let rows = ReleaseManifest::of(&report, &files).files;
        let bytes = ReleaseManifest {
            files: rows,
            ..manifest
        }
        .bytes();
        found.files.insert(MANIFEST_FILE.to_owned(), bytes);
        sign_manifest(found, by);
    })
}

/// Signs the manifest as it stands.
fn sign_manifest(found: &mut Found, by: &SigningKey) {
    let bytes = &found.files[MANIFEST_FILE];
    let manifest = serde_json::from_slice(bytes).unwrap();
    let statement = bundle_statement(&manifest, &sha256_hex(bytes));
    let signer = dsse::Ed25519Signer::from_bytes(by.as_bytes()).unwrap();
    let payload = statement.to_string();
    let envelope = dsse::sign(crate::report::PAYLOAD_TYPE, payload.as_bytes(), &signer);
    let line = envelope.unwrap().to_json().unwrap();
    found.files.insert(SIGNATURE_FILE.to_owned(), line);
}

fn edited(found: &mut Found, file: &str, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&found.files[file]).unwrap();
    change(&mut value);
    let bytes = serde_json::to_vec_pretty(&value).unwrap();
    found.files.insert(file.to_owned(), bytes);
}

#[track_caller]
fn refused(reading: &BundleReading, file: &str, wrong: Wrong, words: &str) {
    let fits =
        |one: &Problem| one.file == file && one.problem == wrong && one.detail.contains(words);
    let problems = &reading.problems;
    assert!(
        problems.iter().any(fits),
        "no {file}: {wrong}: `{words}` in {problems:#?}, {:#?}",
        reading.unvouched
    );
}

#[track_caller]
fn accepted(reading: &BundleReading) {
    assert_eq!(reading.problems, []);
    assert_eq!(reading.unvouched, Vec::<String>::new());
}

const EVIDENCE: &str = "evidence/wal-mode/evidence.json";

#[test]
fn a_bundle_is_the_same_bytes_from_the_same_inputs_and_is_accepted_in_both_forms() {
    let (one, other) = (release(), release());
    let made = |root: &Path| gathered(root).unwrap().bundle(Some(&key())).unwrap();
    let (bundle, again) = (made(one.path()), made(other.path()));
    assert_eq!(sha256_hex(&bundle.archive), sha256_hex(&again.archive));
    assert!(bundle.signed && bundle.evidence_bytes > 0);
    let found = read_archive(&bundle.archive, "bundle.tar.gz");
    accepted(&read(&found));
    assert_eq!(found.files[MANIFEST_FILE], bundle.manifest_bytes);
    assert_eq!(found.files.len(), bundle.manifest.files.len() + 2);
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in &found.files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    accepted(&read(&read_folder(folder.path()).unwrap()));
}

#[test]
fn each_file_that_is_changed_or_missing_is_named() {
    let whole = found();
    for path in whole.files.keys() {
        let mut found = whole.clone();
        found.files.remove(path);
        let reading = read(&found);
        if path == SIGNATURE_FILE {
            assert!(reading.unvouched[0].contains("is not signed"));
        } else {
            refused(&reading, path, Wrong::Missing, "");
        }
        let mut found = whole.clone();
        found.files.get_mut(path).unwrap()[0] ^= 1;
        let reading = read(&found);
        let expected = match path.as_str() {
            MANIFEST_FILE => Wrong::Unreadable,
            SIGNATURE_FILE => Wrong::Signature,
            _ => Wrong::Changed,
        };
        refused(&reading, path, expected, "");
    }
}

#[test]
fn what_is_there_in_excess_is_named() {
    for path in ["more.txt", "evidence/wal-mode/more.json", "gates/v9.9.toml"] {
        let more = |found: &mut Found| drop(found.files.insert(path.to_owned(), vec![1]));
        refused(&after(more), path, Wrong::Extra, "there, not listed");
    }
    let listed = |path: &'static str| {
        resigned(&key(), |found| {
            found.files.insert(path.to_owned(), vec![1]);
        })
    };
    let no_part = "no part of a release";
    refused(&listed("more.txt"), "more.txt", Wrong::Extra, no_part);
    refused(
        &listed("gates/run.sh"),
        "gates/run.sh",
        Wrong::Extra,
        no_part,
    );
    let more = "evidence/wal-mode/more.json";
    refused(&listed(more), more, Wrong::Extra, "does not name");
}

#[test]
fn a_manifest_that_another_key_signed_is_refused() {
    let other = SigningKey::from_bytes(&[8; 32]);
    let reading = resigned(&other, |_| {});
    refused(&reading, SIGNATURE_FILE, Wrong::Signature, "no trusted key");
    let reading = after(|found| {
        edited(found, MANIFEST_FILE, |manifest| {
            manifest["files"].as_array_mut().unwrap().remove(0);
        });
    });
    let words = "something else than this manifest";
    refused(&reading, SIGNATURE_FILE, Wrong::Signature, words);
    // A line that the right key signed, about something else.
    let reading = after(|found| {
        let lines = found.files[ATTESTATION_FILE].clone();
        let line = lines.split(|byte| *byte == b'\n').next().unwrap().to_vec();
        found.files.insert(SIGNATURE_FILE.to_owned(), line);
    });
    refused(&reading, SIGNATURE_FILE, Wrong::Signature, words);
    let reading = after(|found| {
        let line = found.files[SIGNATURE_FILE].clone();
        let twice = [line.clone(), line].concat();
        found.files.insert(SIGNATURE_FILE.to_owned(), twice);
    });
    refused(&reading, SIGNATURE_FILE, Wrong::Signature, "2 lines");
}

#[test]
fn what_nobody_signed_or_is_trusted_for_is_not_vouched_for() {
    let nobody = read_bundle(&found(), &MODEL, &[]);
    assert_eq!(nobody.problems, []);
    assert!(nobody.unvouched[0].contains("no key is trusted"));
    let unsigned = resigned(&key(), |found| {
        found.files.remove(ATTESTATION_FILE);
    });
    assert_eq!(unsigned.problems, []);
    assert!(unsigned.unvouched[0].contains("the report is not signed"));
}

#[test]
fn a_manifest_signed_over_half_of_a_release_or_another_one_is_refused() {
    for path in [
        EVIDENCE,
        REPORT_FILE,
        MATRIX_FILE,
        "Cargo.lock",
        "gates/v4.4.toml",
    ] {
        let mut whole = found();
        whole.files.remove(path);
        edited(&mut whole, MANIFEST_FILE, |manifest| {
            let rows = manifest["files"].as_array_mut().unwrap();
            rows.retain(|row| row["path"] != path);
        });
        sign_manifest(&mut whole, &key());
        refused(&read(&whole), path, Wrong::Missing, "");
    }
    let none = resigned(&key(), |found| {
        found
            .files
            .retain(|path, _| !path.starts_with("scenarios/"));
    });
    refused(&none, "scenarios/", Wrong::Missing, "");
    // Swapped evidence, with every digest but the report's made anew.
    let swapped = resigned(&key(), |found| {
        found.files.insert(EVIDENCE.to_owned(), b"{}".to_vec());
    });
    refused(&swapped, EVIDENCE, Wrong::Changed, "the report names");
    let matrix = resigned(&key(), |found| {
        edited(found, MATRIX_FILE, |matrix| matrix["seed"] = json!("2"));
    });
    refused(&matrix, MATRIX_FILE, Wrong::Changed, "the report names");
    // The report says HOLD; manifest and bundle are signed as those of a promotion.
    let held = resigned(&key(), |found| {
        edited(found, REPORT_FILE, |report| {
            report["verdict"] = json!("HOLD")
        });
    });
    let words = "verdict is PROMOTE, and the report's HOLD";
    refused(&held, MANIFEST_FILE, Wrong::Changed, words);
    refused(&held, ATTESTATION_FILE, Wrong::Signature, "");
    for (field, value) in [
        ("kind", "incident"),
        ("version", "4.7.1"),
        ("commit", "c0ffef"),
        ("source_digest", "0ther"),
        ("timestamp", "2026-11-25T11:00:01Z"),
    ] {
        let reading = resigned(&key(), |found| {
            edited(found, MANIFEST_FILE, |manifest| {
                manifest[field] = json!(value);
            });
        });
        refused(&reading, MANIFEST_FILE, Wrong::Changed, field);
    }
}

#[test]
fn a_report_that_another_key_signed_is_refused_in_a_bundle_of_the_right_one() {
    let reading = resigned(&key(), |found| {
        let bytes = &found.files[REPORT_FILE];
        let report = serde_json::from_slice(bytes).unwrap();
        let other = SigningKey::from_bytes(&[8; 32]);
        let lines = attestation(&report, &sha256_hex(bytes), &other).unwrap();
        found
            .files
            .insert(ATTESTATION_FILE.to_owned(), lines.into_bytes());
    });
    refused(
        &reading,
        ATTESTATION_FILE,
        Wrong::Signature,
        "no trusted key",
    );
}

#[test]
fn an_archive_that_is_cut_or_longer_than_itself_is_refused() {
    let archive = packed(&found().files).unwrap();
    let read = |bytes: &[u8]| read(&read_archive(bytes, "bundle.tar.gz"));
    accepted(&read(&archive));
    let cut = read(&archive[..archive.len() / 2]);
    refused(&cut, "bundle.tar.gz", Wrong::Unreadable, "");
    refused(&cut, MANIFEST_FILE, Wrong::Missing, "");
    let more = read(&[archive.as_slice(), b"more"].concat());
    refused(&more, "bundle.tar.gz", Wrong::Unreadable, "after the end");
}

#[test]
fn a_release_that_is_not_whole_or_not_of_these_sources_is_not_bundled() {
    let refusal = |change: &dyn Fn(&Path)| {
        let root = release();
        change(root.path());
        let bundled = gathered(root.path()).and_then(|contents| contents.bundle(Some(&key())));
        bundled.map(|_| "nothing").unwrap_err().to_string()
    };
    let edit_report = |change: &dyn Fn(&mut Value)| {
        refusal(&|root| edit(&root.join(REPORT_FILE), |report| change(report)))
    };
    let told = |text: String, words: &str| assert!(text.contains(words), "{text}");
    let gone = |path: &'static str| refusal(&|root| fs::remove_file(root.join(path)).unwrap());
    for path in [REPORT_FILE, MATRIX_FILE, EVIDENCE, "CHANGELOG.md"] {
        told(gone(path), path);
    }
    told(gone("Cargo.lock"), "the report is of the sources");
    told(
        refusal(&|root| fs::write(root.join("gates/v4.7.toml"), "").unwrap()),
        "the report is of the sources",
    );
    told(
        refusal(&|root| fs::write(root.join(EVIDENCE), "{}").unwrap()),
        "evidence/wal-mode/evidence.json has the digest",
    );
    told(
        refusal(&|root| fs::write(root.join(REPORT_FILE), "{").unwrap()),
        REPORT_FILE,
    );
    told(
        edit_report(&|report| report["target"]["mutated"] = json!(true)),
        "wrong on purpose",
    );
}

#[test]
fn more_evidence_than_there_is_room_for_is_an_error() {
    let root = release();
    // What is random cannot be packed.
    let noise: Vec<u8> = (0..6 << 20).map(|_| rand::random()).collect();
    fs::write(root.path().join(EVIDENCE), &noise).unwrap();
    edit(&root.path().join(REPORT_FILE), |report| {
        let rows = report["gates"].as_array_mut().unwrap();
        let row = rows.iter_mut().find(|row| row["name"] == "wal-mode");
        row.unwrap()["evidence"][0]["sha256"] = json!(sha256_hex(&noise));
    });
    let contents = gathered(root.path()).unwrap();
    assert!(contents.files.keys().any(|path| is_evidence(path)));
    let refused = contents.bundle(None).map(|_| "nothing").unwrap_err();
    assert!(matches!(refused, ReleaseError::TooMuchEvidence { got } if got > 6 << 20));
}

#[test]
fn a_verdict_over_a_bundle_is_that_over_its_folder_and_holds_what_the_bundle_holds() {
    let root = release();
    let contents = gathered(root.path()).unwrap();
    let bundle = contents.clone().bundle(Some(&key())).unwrap();
    let archive = root.path().join("bundle.tar.gz");
    let read = |bytes: &[u8]| {
        fs::write(&archive, bytes).unwrap();
        let trust = Trust {
            source_digest: contents.report.source_digest.clone(),
            ..trust()
        };
        verify(&Dossier::read(&archive), &MODEL, &trust)
    };
    let whole = read(&bundle.archive);
    assert_eq!(whole.findings, []);
    assert_eq!(whole.verdict, Verdict::Promote);
    let unsigned = contents.clone().bundle(None).unwrap();
    let held = |promotion: &Promotion, kind: Kind| {
        let kinds: Vec<Kind> = promotion.findings.iter().map(|one| one.kind).collect();
        assert!(kinds.contains(&kind), "{:?}", promotion.findings);
        assert_eq!(promotion.verdict, Verdict::Hold);
    };
    held(&read(&unsigned.archive), Kind::Signature);
    held(
        &read(&bundle.archive[..bundle.archive.len() / 2]),
        Kind::Unreadable,
    );
    held(&read(b"no archive"), Kind::Bundle);
    let mut edited = contents.clone();
    edited
        .files
        .insert("CHANGELOG.md".to_owned(), b"# Nothing\n".to_vec());
    let edited = edited
        .bundle(Some(&SigningKey::from_bytes(&[9; 32])))
        .unwrap();
    held(&read(&edited.archive), Kind::Bundle);
    let mut swapped = contents.clone();
    let evidence = swapped
        .files
        .keys()
        .find(|path| is_evidence(path))
        .unwrap()
        .clone();
    swapped.files.insert(evidence, b"{}".to_vec());
    let swapped = swapped.bundle(Some(&key())).unwrap();
    held(&read(&swapped.archive), Kind::Evidence);
}
