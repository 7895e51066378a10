//! The contract's own bundle, made by another program, and a negative twin for every refusal.

use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use dsse::{Ed25519Signer, Ed25519Verifier};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::{EntryType, Header};

use super::*;

fn fixture() -> Value {
    let text = include_str!("../../../fixtures/contract/bundle.json");
    serde_json::from_str(text).unwrap()
}

/// The secret key behind the fixture's public one.
fn secret() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn key() -> VerifyingKey {
    pinned(fixture()["public_key"].as_str().unwrap()).unwrap()
}

fn clean() -> BTreeMap<String, Vec<u8>> {
    let files = fixture()["files"].as_object().unwrap().clone();
    let bytes = |content: Value| content.as_str().unwrap().as_bytes().to_vec();
    files
        .into_iter()
        .map(|(path, content)| (path, bytes(content)))
        .collect()
}

fn manifest() -> Manifest {
    serde_json::from_value(fixture()["manifest"].clone()).unwrap()
}

fn sealed(manifest: &Manifest) -> Vec<u8> {
    let signer = Ed25519Signer::from_bytes(secret().as_bytes()).unwrap();
    let payload = serde_json::to_vec(manifest).unwrap();
    let envelope = dsse::sign(PAYLOAD_TYPE, &payload, &signer).unwrap();
    envelope.to_json().unwrap()
}

/// What is said of the clean bundle after `change`: file and problem.
fn after(change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> Vec<(String, String)> {
    let mut files = clean();
    change(&mut files);
    said(&verify(&Found::of(files), &key()))
}

fn said(verdict: &Verdict) -> Vec<(String, String)> {
    assert_eq!(verdict.ok, verdict.problems.is_empty());
    let pair = |problem: &Problem| (problem.file.clone(), problem.problem.to_string());
    verdict.problems.iter().map(pair).collect()
}

fn one(file: &str, problem: &str) -> Vec<(String, String)> {
    vec![(file.to_owned(), problem.to_owned())]
}

/// After the manifest was changed and signed again, rightly.
fn resigned(change: impl FnOnce(&mut Manifest)) -> Vec<(String, String)> {
    let mut manifest = manifest();
    change(&mut manifest);
    after(|files| drop(files.insert(MANIFEST_FILE.to_owned(), sealed(&manifest))))
}

/// After a file was changed, and the manifest with it.
fn retold(path: &str, change: impl FnOnce(&mut Value)) -> Verdict {
    let (mut files, mut manifest) = (clean(), manifest());
    let mut value: Value = serde_json::from_slice(&files[path]).unwrap();
    change(&mut value);
    let content = value.to_string().into_bytes();
    let row = manifest.files.iter_mut().find(|row| row.path == path);
    *row.unwrap() = FileRow::of(path, &content);
    files.insert(path.to_owned(), content);
    files.insert(MANIFEST_FILE.to_owned(), sealed(&manifest));
    verify(&Found::of(files), &key())
}

#[test]
fn the_contracts_bundle_is_accepted_and_its_answers_are_read() {
    let verdict = verify(&Found::of(clean()), &key());
    let accepted: Verdict = serde_json::from_value(fixture()["accepted"].clone()).unwrap();
    assert_eq!(verdict, accepted);
    let refused = fixture()["refused"].clone();
    let read: Verdict = serde_json::from_value(refused.clone()).unwrap();
    assert!(read.names("logs/sonia.log") && !read.names("config.json"));
    assert_eq!(serde_json::to_value(&read).unwrap(), refused);
    let exported = fixture()["exported"].clone();
    let read: Exported = serde_json::from_value(exported.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), exported);
}

#[test]
fn words_and_limits_are_those_of_the_contract() {
    for word in fixture()["problems"].as_object().unwrap().keys() {
        let wrong: Wrong = serde_json::from_value(json!(word)).unwrap();
        assert_eq!(wrong.to_string(), *word);
    }
    assert_eq!(fixture()["problems"].as_object().unwrap().len(), 11);
    let limits = json!({"files": MAX_FILES, "bytes": MAX_BYTES, "path_bytes": MAX_PATH_BYTES});
    assert_eq!(fixture()["limits"], limits);
    assert_eq!(fixture()["payload_type"], PAYLOAD_TYPE);
}

#[test]
fn a_changed_missing_extra_or_renamed_file_is_named() {
    let turn = |path: &'static str| after(move |files| files.get_mut(path).unwrap()[0] ^= 1);
    assert_eq!(turn("config.json"), one("config.json", "changed"));
    assert_eq!(
        turn("audit/api-gateway.json"),
        one("audit/api-gateway.json", "changed")
    );
    let grown = after(|files| files.get_mut("git.json").unwrap().push(b' '));
    assert_eq!(grown, one("git.json", "changed"));
    let gone = after(|files| drop(files.remove("git.json")));
    assert_eq!(gone, one("git.json", "missing"));
    let more = after(|files| drop(files.insert("more.txt".to_owned(), Vec::new())));
    assert_eq!(more, one("more.txt", "extra"));
    let renamed = after(|files| {
        let content = files.remove("git.json").unwrap();
        files.insert("tig.json".to_owned(), content);
    });
    let both = [one("git.json", "missing"), one("tig.json", "extra")].concat();
    assert_eq!(renamed, both);
}

#[test]
fn an_edited_manifest_and_a_wrong_or_absent_signature_are_refused() {
    let refused = one(MANIFEST_FILE, "signature");
    let envelope = |change: &dyn Fn(&mut Envelope)| {
        after(|files| {
            let mut envelope = serde_json::from_slice(&files[MANIFEST_FILE]).unwrap();
            change(&mut envelope);
            let bytes = serde_json::to_vec(&envelope).unwrap();
            files.insert(MANIFEST_FILE.to_owned(), bytes);
        })
    };
    let edited = envelope(&|envelope| {
        let mut manifest = manifest();
        manifest.created_at = "2027-01-01T00:00:00.000000Z".to_owned();
        envelope.payload = STANDARD.encode(serde_json::to_vec(&manifest).unwrap());
    });
    assert_eq!(edited, refused);
    assert_eq!(
        envelope(&|envelope| envelope.payload_type = "x".to_owned()),
        refused
    );
    assert_eq!(envelope(&|envelope| envelope.signatures.clear()), refused);
    assert_eq!(
        envelope(&|envelope| envelope.signatures[0].sig.clear()),
        refused
    );
    let stranger = SigningKey::from_bytes(&[8; 32]);
    assert_eq!(
        said(&verify(&Found::of(clean()), &stranger.verifying_key())),
        refused
    );
    // A hint is no more than that, and a signature of somebody else beside ours does no harm.
    assert!(envelope(&|envelope| envelope.signatures[0].keyid = None).is_empty());
    let another = envelope(&|envelope| {
        let sig = STANDARD.encode([1; 64]);
        envelope
            .signatures
            .insert(0, Signature { keyid: None, sig });
    });
    assert!(another.is_empty());
    let crowd = envelope(&|envelope| {
        let ours = envelope.signatures[0].clone();
        envelope.signatures = vec![ours; 65];
    });
    assert_eq!(crowd, refused);
    let gone = after(|files| drop(files.remove(MANIFEST_FILE)));
    assert_eq!(gone, one(MANIFEST_FILE, "missing"));
    let garbled = after(|files| files.get_mut(MANIFEST_FILE).unwrap().push(b'}'));
    assert_eq!(garbled, one(MANIFEST_FILE, "unreadable"));
}

#[test]
fn a_manifest_that_is_rightly_signed_can_still_be_wrong() {
    assert!(resigned(|_| {}).is_empty());
    let row = |path: &str| FileRow::of(path, b"");
    for path in [
        "/etc/passwd",
        "../a",
        "a/../b",
        "./a",
        "a//b",
        "a\\b",
        "a b",
        "",
    ] {
        let found = resigned(|manifest| manifest.files.push(row(path)));
        assert_eq!(found, one(path, "path"), "{path}");
    }
    let twice = resigned(|manifest| manifest.files.push(manifest.files[1].clone()));
    assert_eq!(twice, one("audit/eva-os.json", "duplicate"));
    let itself = resigned(|manifest| manifest.files.push(row(MANIFEST_FILE)));
    assert_eq!(itself, one(MANIFEST_FILE, "duplicate"));
    let version = resigned(|manifest| manifest.version = 2);
    assert_eq!(version, one(MANIFEST_FILE, "unreadable"));
    let kind = resigned(|manifest| manifest.kind = "release".to_owned());
    assert_eq!(kind, one(MANIFEST_FILE, "unreadable"));
    let nothing = resigned(|manifest| manifest.files.retain(|row| row.path.starts_with("audit/")));
    for missing in [
        "config.json",
        "git.json",
        "health.json",
        "summary.json",
        "logs/",
    ] {
        assert!(
            nothing.contains(&(missing.to_owned(), "missing".to_owned())),
            "{missing}"
        );
    }
    let silent = resigned(|manifest| manifest.files.retain(|row| !row.path.starts_with("audit/")));
    assert!(silent.contains(&("audit/".to_owned(), "missing".to_owned())));
}

#[test]
fn a_type_that_is_signed_too_is_not_lent_to_another() {
    let signer = Ed25519Signer::from_bytes(secret().as_bytes()).unwrap();
    let payload = serde_json::to_vec(&manifest()).unwrap();
    let other = dsse::sign("application/json", &payload, &signer).unwrap();
    let found =
        after(|files| drop(files.insert(MANIFEST_FILE.to_owned(), other.to_json().unwrap())));
    assert_eq!(found, one(MANIFEST_FILE, "unreadable"));
}

#[test]
fn a_segment_that_does_not_hold_together_is_refused() {
    const FILE: &str = "audit/api-gateway.json";
    assert!(retold(FILE, |_| {}).ok);
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Value));
    let changes: [Change<'_>; 11] = [
        ("hash is", &|segment| {
            segment["entries"][0]["actor_id"] = json!("op-9")
        }),
        ("prev_hash is", &|segment| {
            let entry = &mut segment["entries"][0];
            entry["actor_id"] = json!("op-9");
            entry["hash"] = json!(crate::contract::audit::hash_of(entry));
        }),
        ("entry_count", &|segment| {
            segment["proof"]["entry_count"] = json!(3)
        }),
        ("last_hash", &|segment| {
            segment["proof"]["last_hash"] = json!("0")
        }),
        ("no entries", &|segment| segment["entries"] = json!([])),
        ("no proof", &|segment| segment["proof"] = Value::Null),
        ("there is none", &|segment| {
            segment["proof"]["checkpoint"] = Value::Null
        }),
        ("expected `api-gateway`", &|segment| {
            segment["chain"] = json!("eva-os")
        }),
        ("does not fit", &|segment| segment["state"] = json!("empty")),
        ("broken at seq 1: hash", &|segment| {
            segment["state"] = json!("broken");
            segment["broken"] = json!({"seq": 1, "reason": "hash"});
        }),
        ("no audit segment", &|segment| segment["more"] = json!(1)),
    ];
    for (wanted, change) in changes {
        let verdict = retold(FILE, change);
        assert!(!verdict.ok && verdict.names(FILE), "{wanted}");
        let hit = verdict
            .problems
            .iter()
            .any(|problem| problem.detail.contains(wanted));
        assert!(hit, "no `{wanted}` in {:?}", verdict.problems);
        assert!(
            verdict
                .problems
                .iter()
                .all(|problem| problem.problem == Wrong::Chain)
        );
    }
}

/// Cut to one entry, with a proof that fits: only the checkpoint knows of the second.
#[test]
fn a_tail_that_is_cut_off_is_seen_by_the_checkpoint() {
    let verdict = retold("audit/api-gateway.json", |segment| {
        let entries = segment["entries"].as_array_mut().unwrap();
        entries.pop();
        let hash = entries[0]["hash"].clone();
        let proof = &mut segment["proof"];
        (proof["last_seq"], proof["entry_count"]) = (json!(0), json!(1));
        proof["last_hash"] = hash;
    });
    let detail = "proof.checkpoint: it is of 2 entries, expected 1";
    assert_eq!(verdict.problems.len(), 1);
    assert_eq!(verdict.problems[0].detail, detail);
}

#[test]
fn a_segment_may_begin_in_the_middle() {
    let cut = |before: &dyn Fn(&mut Value)| {
        retold("audit/api-gateway.json", |segment| {
            let first = segment["entries"].as_array_mut().unwrap().remove(0);
            let second = segment["entries"][0]["hash"].clone();
            let proof = &mut segment["proof"];
            (proof["first_seq"], proof["entry_count"]) = (json!(1), json!(1));
            (proof["first_hash"], proof["prev_hash"]) = (second, first["hash"].clone());
            before(segment);
        })
    };
    assert!(cut(&|_| {}).ok);
    assert!(!cut(&|segment| segment["proof"]["prev_hash"] = json!("0")).ok);
}

/// The vector of protocol.md, the two alphabets of envelope.md, and the other implementation.
#[test]
fn envelopes_are_those_of_the_protocol() {
    let (kind, body) = ("http://example.com/HelloWorld", b"hello world");
    let vector = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
    assert_eq!(pae(kind, body), vector);
    for (kind, body) in [("", &b""[..]), ("\u{e9}", b"\xff 1 "), ("a 1", b"b")] {
        assert_eq!(pae(kind, body), dsse::pae(kind, body));
    }
    let verifier = Ed25519Verifier::from_bytes(key().as_bytes()).unwrap();
    let theirs = dsse::Envelope::from_json(&clean()[MANIFEST_FILE]).unwrap();
    let payload = dsse::verify(&theirs, &[&verifier], 1).unwrap().payload;
    let opened = envelope::open(&clean()[MANIFEST_FILE], PAYLOAD_TYPE, &key()).unwrap();
    assert_eq!(opened, payload);
    let signed = |engine: &dyn Fn(&[u8]) -> String| {
        let payload = [0xfb, 0xef, 0xff, 0xfe];
        let sig = secret().sign(&pae("t", &payload)).to_bytes();
        json!({
            "payload": engine(&payload), "payloadType": "t", "later": [1],
            "signatures": [{"sig": engine(&sig), "later": 1}],
        })
    };
    for engine in [
        &(|bytes: &[u8]| STANDARD.encode(bytes)) as &dyn Fn(&[u8]) -> String,
        &|bytes| URL_SAFE.encode(bytes),
    ] {
        let text = signed(engine).to_string();
        assert_eq!(
            envelope::open(text.as_bytes(), "t", &key()).unwrap(),
            [0xfb, 0xef, 0xff, 0xfe]
        );
    }
    let mut sloppy = signed(&|bytes| STANDARD.encode(bytes));
    sloppy["payload"] = json!("++//+");
    assert!(envelope::open(sloppy.to_string().as_bytes(), "t", &key()).is_err());
    let doubled = r#"{"payload": "", "payload": "", "payloadType": "t", "signatures": []}"#;
    assert!(envelope::open(doubled.as_bytes(), "t", &key()).is_err());
}

/// An archive of entries: path, type, content.
fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    zip(&tarball(entries))
}

fn tarball(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, kind, content) in entries {
        let mut header = Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        archive.append(&header, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

fn zip(bytes: &[u8]) -> Vec<u8> {
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    zipped.write_all(bytes).unwrap();
    zipped.finish().unwrap()
}

fn in_archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<(String, String)> {
    problems_of(&read_archive(&archive(entries), "a.tar.gz"))
}

fn problems_of(found: &Found) -> Vec<(String, String)> {
    let pair = |problem: &Problem| (problem.file.clone(), problem.problem.to_string());
    found.problems.iter().map(pair).collect()
}

#[test]
fn an_archive_of_plain_files_is_read_and_everything_else_is_refused() {
    use EntryType::{Directory, Fifo, Link, Regular, Symlink, XHeader};
    let files = clean();
    let entries = files
        .iter()
        .map(|(path, bytes)| (path.as_str(), Regular, &bytes[..]));
    let read = read_archive(&archive(&entries.collect::<Vec<_>>()), "a.tar.gz");
    assert!(verify(&read, &key()).ok);
    for path in ["/abs", "../up", "a/../../up", "./a", "a/", "a\nb"] {
        assert_eq!(
            in_archive(&[(path, Regular, b"x")]),
            one(path, "path"),
            "{path:?}"
        );
    }
    assert_eq!(in_archive(&[("a", Symlink, b"")]), one("a", "link"));
    assert_eq!(in_archive(&[("a", Link, b"")]), one("a", "link"));
    for kind in [Directory, Fifo, XHeader] {
        assert_eq!(
            in_archive(&[("a", kind, b"")]),
            one("a", "special"),
            "{kind:?}"
        );
    }
    let twice = [("a", Regular, &b"1"[..]), ("a", Regular, b"1")];
    assert_eq!(in_archive(&twice), one("a", "duplicate"));
}

#[test]
fn an_archive_ends_where_it_ends() {
    let plain = tarball(&[("a", EntryType::Regular, &[b'x'; 600])]);
    let good = zip(&plain);
    assert_eq!(read_archive(&good, "n").problems, Vec::new());
    let unreadable = one("n", "unreadable");
    let more = [plain.clone(), tarball(&[("b", EntryType::Regular, b"y")])].concat();
    for bad in [
        [good.clone(), zip(&plain)].concat(),
        [&good[..], b"\0"].concat(),
        zip(&more),
        zip(&plain[..700]),
        good[..good.len() - 9].to_vec(),
        plain.clone(),
        Vec::new(),
    ] {
        assert_eq!(problems_of(&read_archive(&bad, "n")), unreadable);
    }
    let mut flipped = good;
    let at = flipped.len() - 6;
    flipped[at] ^= 1;
    assert_eq!(problems_of(&read_archive(&flipped, "n")), unreadable);
}

#[test]
fn a_bomb_is_not_unpacked() {
    let zeros = zip(&vec![0; 1 << 20]);
    // A member that announces nothing: 512 MiB of zeros in a few hundred kilobytes.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..300 {
        bomb.write_all(&[0; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(zeros.len() < 1 << 20 && bomb.len() < 4 << 20);
    assert_eq!(
        problems_of(&read_archive(&bomb, "n")),
        one("n", "unreadable")
    );
}

#[test]
fn a_folder_is_read_and_links_and_strays_in_it_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("bundle");
    for (path, content) in clean() {
        let to = folder.join(path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, content).unwrap();
    }
    assert!(verify_path(&folder, &key()).unwrap().ok);
    let outside = dir.path().join("git.json");
    std::fs::rename(folder.join("git.json"), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, folder.join("git.json")).unwrap();
    let verdict = verify_path(&folder, &key()).unwrap();
    assert_eq!(said(&verdict), one("git.json", "link"));
    std::fs::create_dir(folder.join("empty")).unwrap();
    let verdict = verify_path(&folder, &key()).unwrap();
    assert!(said(&verdict).contains(&("empty/".to_owned(), "extra".to_owned())));
    let fifo = folder.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let verdict = verify_path(&folder, &key()).unwrap();
    assert!(said(&verdict).contains(&("fifo".to_owned(), "special".to_owned())));
    assert!(verify_path(&dir.path().join("none"), &key()).is_err());
}

#[test]
fn a_key_is_a_file_or_a_text_and_nothing_else() {
    use ed25519_dalek::pkcs8::EncodePublicKey;
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let vkey = fixture()["public_key"].as_str().unwrap().to_owned();
    let pem = key().to_public_key_pem(LineEnding::LF).unwrap();
    assert_eq!(pinned(&file("pem", &pem)).unwrap(), key());
    assert_eq!(pinned(&file("vkey", &format!("{vkey}\n"))).unwrap(), key());
    let refused = |given: &str| pinned(given).unwrap_err().to_string();
    assert!(refused(&file("none", "no key")).ends_with("none: no Ed25519 public key"));
    assert!(refused("/no/such/file").starts_with("/no/such/file: "));
    // Another name has another id.
    assert!(pinned(&vkey.replace("gateway", "getaway")).is_err());
}
