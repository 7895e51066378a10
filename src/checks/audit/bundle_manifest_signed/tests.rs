//! A good target is one that says what our verifier says; every other one is made of it.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

use super::cases::{self, Case, Form, Stuff};
use super::content::Content;
use super::drive::{EXPORT, VERIFY};
use super::edits::{Files, apply};
use super::{Bundle, Evidence, Tampered, Told, judge};
use crate::base::json::hex;
use crate::checks::Sent;
use crate::contract::audit::{GENESIS, hash_of};
use crate::contract::bundle::{
    Envelope, FileRow, MANIFEST_FILE, Manifest, PAYLOAD_TYPE, Signature, Verdict, pae,
    read_archive, verify,
};
use crate::contract::checkpoint::head_of;
use crate::target::Ran;

const TTL_MS: u64 = 1_234_567;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn sign(message: &[u8]) -> [u8; 64] {
    key().sign(message).to_bytes()
}

fn stranger(message: &[u8]) -> [u8; 64] {
    SigningKey::from_bytes(&[8; 32]).sign(message).to_bytes()
}

/// A chain of sessions, one for each id.
fn segment(ids: &[&str]) -> Value {
    let text = include_str!("../../../../fixtures/contract/samples/audit-export.json");
    let sample: Value = serde_json::from_str(text).unwrap();
    let first = &sample["answer"]["body"]["entries"][0];
    let mut prev = GENESIS.to_owned();
    let mut entries = Vec::new();
    for (seq, id) in ids.iter().enumerate() {
        let mut entry = first.clone();
        entry["seq"] = json!(seq);
        entry["correlation_id"] = json!(id);
        entry["prev_hash"] = json!(prev);
        entry["hash"] = json!(hash_of(&entry));
        prev = entry["hash"].as_str().unwrap().to_owned();
        entries.push(entry);
    }
    let (first, last) = (&entries[0], &entries[entries.len() - 1]);
    let proof = json!({
        "chain": "api-gateway", "first_seq": 0, "last_seq": last["seq"],
        "first_hash": first["hash"], "last_hash": last["hash"], "prev_hash": GENESIS,
        "entry_count": entries.len(), "algorithm": "sha256", "checkpoint": checkpoint(&entries),
    });
    json!({
        "chain": "api-gateway", "state": "whole", "entries": entries, "proof": proof, "broken": null,
    })
}

/// A signed note about these entries.
fn checkpoint(entries: &[Value]) -> String {
    let (name, head) = ("sonia.local/api-gateway", head_of(entries).unwrap());
    let root = STANDARD.encode(head.root);
    let text = format!("{name}\n{}\n{root}\n", head.size);
    let typed = [&[1], key().verifying_key().as_bytes().as_slice()].concat();
    let digest = sha256(&[name.as_bytes(), b"\n", &typed].concat());
    let signature = STANDARD.encode([&digest[..4], &sign(text.as_bytes())].concat());
    format!("{text}\n\u{2014} {name} {signature}\n")
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).into()
}

fn files(running: bool, ids: &[&str]) -> Files {
    let state = if running { "up" } else { "down" };
    let files = [
        ("audit/api-gateway.json", segment(ids)),
        ("config.json", json!({"sessions": {"ttl_ms": TTL_MS}})),
        ("git.json", json!({"commit": "unknown"})),
        (
            "health.json",
            json!({"services": {"api-gateway": {"state": state}}}),
        ),
        ("logs/sonia.log", json!("listening")),
        ("summary.json", json!({"n": ids.len()})),
    ];
    let files = files.map(|(path, value)| (path.to_owned(), Content::from(&value)));
    sealed(files.into(), ids.len())
}

/// With a manifest of what is there.
fn sealed(mut files: Files, number: usize) -> Files {
    files.remove(MANIFEST_FILE);
    let manifest = Manifest {
        version: 1,
        kind: "incident".to_owned(),
        bundle_id: format!("inc_{number:012x}"),
        created_at: "2026-11-22T10:00:05.000000Z".to_owned(),
        files: files
            .iter()
            .map(|(path, content)| FileRow::of(path, &content.0))
            .collect(),
    };
    let payload = serde_json::to_vec(&manifest).unwrap();
    let envelope = Envelope {
        payload: STANDARD.encode(&payload),
        payload_type: PAYLOAD_TYPE.to_owned(),
        signatures: vec![Signature {
            keyid: None,
            sig: STANDARD.encode(sign(&pae(PAYLOAD_TYPE, &payload))),
        }],
    };
    let envelope = Content(serde_json::to_vec(&envelope).unwrap());
    files.insert(MANIFEST_FILE.to_owned(), envelope);
    files
}

fn says(verdict: &Verdict) -> Ran {
    Ran {
        code: Some(i32::from(!verdict.ok)),
        stdout: serde_json::to_string(verdict).unwrap() + "\n",
        ..Ran::default()
    }
}

fn verdict(files: &Files, case: &Case) -> Verdict {
    let archive = apply(files, &case.edits).pack();
    verify(&read_archive(&archive, "a.tar.gz"), &key().verifying_key())
}

fn bundle(running: bool, files: Files, at_us: u64) -> Bundle {
    let clean = Case {
        name: String::new(),
        form: Form::Archive,
        edits: Vec::new(),
        offends: Vec::new(),
    };
    let seen = verdict(&files, &clean);
    let exported = json!({
        "ok": true, "bundle_id": seen.bundle_id.clone().unwrap_or_default(), "directory": "/b",
        "archive": "/b.tar.gz", "files": seen.files, "broken_chains": [],
    });
    Bundle {
        running,
        invoked_us: at_us,
        ran: Ran {
            code: Some(0),
            stdout: exported.to_string(),
            ..Ran::default()
        },
        archive: Some(STANDARD.encode(apply(&files, &[]).pack())),
        files,
        verified: [Form::Folder, Form::Archive]
            .map(|form| (form, says(&seen)))
            .into(),
        ..Bundle::default()
    }
}

fn sent(id: &str, at_us: u64) -> Sent {
    Sent {
        service: "api-gateway".to_owned(),
        method: "POST".to_owned(),
        path: "/v3/sessions".to_owned(),
        actor: Some("op-1".to_owned()),
        role: Some("operator".to_owned()),
        id: id.to_owned(),
        body: None,
        invoked_us: at_us,
        returned_us: Some(at_us + 5),
        status: 201,
        answer: json!({}),
        error: None,
    }
}

fn good() -> Evidence {
    let first = files(true, &["a", "b", "c"]);
    let second = files(false, &["a", "b", "c", "d"]);
    let cases = cases::plan(&Stuff {
        files: &first,
        other: &second[MANIFEST_FILE],
        folder: Path::new("/b"),
        sign: &sign,
        stranger: &stranger,
    })
    .unwrap();
    let tampered = cases.into_iter().map(|case| Tampered {
        ran: says(&verdict(&first, &case)),
        case,
    });
    let commands = [EXPORT, VERIFY].map(|name| (name.to_owned(), vec!["sonia".to_owned()]));
    Evidence {
        told: Some(Told {
            services: vec!["api-gateway".to_owned()],
            chains: vec!["api-gateway".to_owned()],
            commands: commands.into(),
        }),
        public_key: hex(key().verifying_key().as_bytes()),
        sessions_ttl_ms: TTL_MS,
        sent: vec![sent("a", 10), sent("b", 20), sent("c", 30), sent("d", 200)],
        tampered: tampered.collect(),
        bundles: vec![bundle(true, first, 100), bundle(false, second, 300)],
        trouble: Vec::new(),
    }
}

/// What is found of a good target after `change`; of its cases the first two and the control.
fn found(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut seen = good();
    let mut number = 0;
    seen.tampered.retain(|one| {
        number += 1;
        number <= 2 || one.case.offends.is_empty()
    });
    change(&mut seen);
    judge(&seen).violations
}

fn finds(wanted: &str, change: impl FnOnce(&mut Evidence)) {
    let found = found(change);
    let hit = found.iter().any(|text| text.contains(wanted));
    assert!(hit, "no `{wanted}` in {found:#?}");
}

/// Puts another content into the first bundle, which is sealed again, and taken for clean.
fn retold(seen: &mut Evidence, path: &str, value: &Value) {
    let mut files = seen.bundles[0].files.clone();
    files.insert(path.to_owned(), Content::from(value));
    seen.bundles[0] = bundle(true, sealed(files, 3), 100);
    seen.tampered.clear();
}

#[test]
fn a_good_target_passes_and_every_case_is_exercised() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, Vec::<String>::new());
    assert_eq!(judgement.undecided, Vec::<String>::new());
    assert_eq!(judgement.exercised["clean_bundles"], 4);
    assert_eq!(judgement.exercised["tampered_bundles"], 34);
    let stored = serde_json::to_value(good()).unwrap();
    let back: Evidence = serde_json::from_value(stored).unwrap();
    assert_eq!(judge(&back), judgement);
}

#[test]
fn what_was_never_done_is_not_exercised() {
    let judgement = judge(&Evidence::default());
    assert!(judgement.violations.is_empty());
    assert_eq!(judgement.exercised["clean_bundles"], 0);
    assert_eq!(judgement.exercised["tampered_bundles"], 0);
}

#[test]
fn a_target_without_the_commands_is_none() {
    finds("expected export-incident-bundle", |seen| {
        seen.told.as_mut().unwrap().commands.remove(EXPORT);
    });
    finds("expected verify-incident-bundle", |seen| {
        seen.told
            .as_mut()
            .unwrap()
            .commands
            .insert(VERIFY.to_owned(), Vec::new());
    });
}

#[test]
fn each_case_that_is_accepted_is_found_by_its_name() {
    let all = good();
    let clean = &all.bundles[0].verified[&Form::Folder];
    for tampered in &all.tampered {
        let mut seen = Evidence {
            bundles: vec![all.bundles[0].clone()],
            tampered: vec![tampered.clone()],
            ..all.clone()
        };
        assert_eq!(judge(&seen).violations, Vec::<String>::new());
        seen.tampered[0].ran = clean.clone();
        let (case, found) = (&tampered.case, judge(&seen).violations);
        let Case { form, name, .. } = case;
        let wanted = format!("{form}, {name}: the target's verifier says exit 0");
        match found.as_slice() {
            [] if case.offends.is_empty() => {}
            [only] => assert!(only.starts_with(&wanted), "{wanted}: {only}"),
            _ => panic!("{name}: {found:#?}"),
        }
    }
}

#[test]
fn a_refusal_has_to_name_the_file_and_to_be_one() {
    finds("does not name config.json", |seen| {
        let other = says(&verdict(&seen.bundles[0].files, &seen.tampered[1].case));
        seen.tampered[0].ran = other;
    });
    finds("no verdict", |seen| seen.tampered[0].ran.stdout.clear());
    finds("exit 2", |seen| seen.tampered[0].ran.code = Some(2));
    finds("not done within 20000 ms", |seen| {
        let error = Some("not done within 20000 ms".to_owned());
        seen.tampered[0].ran = Ran {
            error,
            ..Ran::default()
        };
    });
    finds(
        "signed anew by the same key: the target's verifier says exit 1",
        |seen| {
            let control = seen
                .tampered
                .iter()
                .position(|one| one.case.offends.is_empty());
            seen.tampered[control.unwrap()].ran = seen.tampered[0].ran.clone();
        },
    );
}

#[test]
fn a_clean_bundle_has_to_be_accepted_by_both() {
    finds("the target's verifier refuses its archive", |seen| {
        let refused = seen.tampered[0].ran.clone();
        seen.bundles[0].verified.insert(Form::Archive, refused);
    });
    finds("nobody could ask the target about its folder", |seen| {
        seen.bundles[1].verified.remove(&Form::Folder);
    });
    finds(
        "our verifier refuses its folder: manifest.dsse.json: signature",
        |seen| {
            seen.public_key = hex(SigningKey::from_bytes(&[9; 32]).verifying_key().as_bytes());
        },
    );
    finds(
        "our verifier refuses its folder: config.json: changed",
        |seen| {
            let content = Content::from(&json!({"sessions": {"ttl_ms": TTL_MS}, "x": 1}));
            seen.bundles[0]
                .files
                .insert("config.json".to_owned(), content);
        },
    );
    finds(
        "our verifier refuses its archive: the archive: unreadable",
        |seen| {
            seen.bundles[0].archive = None;
        },
    );
    finds("the archive holds other files than the folder", |seen| {
        seen.bundles[0].archive = seen.bundles[1].archive.clone();
    });
}

#[test]
fn an_export_that_fails_or_gives_away_secrets_is_found() {
    finds("the export ended with exit 2 (no key)", |seen| {
        seen.bundles[0].ran.code = Some(2);
        seen.bundles[0].ran.stderr = "no key\n".to_owned();
    });
    finds("the export says no such thing", |seen| {
        seen.bundles[0].ran.stdout.clear()
    });
    finds("config.json has the service token in it", |seen| {
        let found = ("config.json".to_owned(), "the service token".to_owned());
        seen.bundles[0].secrets.push(found);
    });
}

#[test]
fn a_bundle_that_tells_less_than_happened_is_found() {
    finds(
        "leaves out 1 effects, the first: POST /v3/sessions of api-gateway (e): 201",
        |seen| {
            seen.sent.push(sent("e", 40));
        },
    );
    // What was not acknowledged before the export began may be in it or not.
    assert!(found(|seen| seen.sent.push(sent("e", 297))).is_empty());
    finds("is \"down\", expected \"up\"", |seen| {
        let down = json!({"services": {"api-gateway": {"state": "down"}}});
        retold(seen, "health.json", &down);
    });
    finds("sessions.ttl_ms is 1800000, expected 1234567", |seen| {
        retold(
            seen,
            "config.json",
            &json!({"sessions": {"ttl_ms": 1_800_000}}),
        );
    });
    finds("commit is null", |seen| {
        retold(seen, "git.json", &json!({}))
    });
    finds("no segment of chain eva-os", |seen| {
        seen.told.as_mut().unwrap().chains.push("eva-os".to_owned());
    });
    finds("not one line", |seen| {
        let mut files = seen.bundles[0].files.clone();
        files.insert("logs/sonia.log".to_owned(), Content::default());
        seen.bundles[0] = bundle(true, sealed(files, 3), 100);
        seen.tampered.clear();
    });
}

#[test]
fn the_second_bundle_has_to_be_another_and_to_go_on() {
    finds("two bundles have the id inc_000000000003", |seen| {
        seen.bundles[1] = bundle(false, files(false, &["a", "b", "c"]), 150);
    });
    finds("do not begin with the 3 of the first", |seen| {
        seen.bundles[1] = bundle(false, files(false, &["a", "b", "x", "c", "d"]), 300);
    });
}
