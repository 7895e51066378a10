use super::{
    Before, Export, FlawKind, GENESIS, hash_of, is_timestamp, payload_sha256, verify_entries,
    verify_export,
};
use crate::contract::Body;
use serde_json::{Value, json};

fn sample() -> Export {
    let text = include_str!("../../fixtures/contract/samples/audit-export.json");
    let sample: Value = serde_json::from_str(text).unwrap();
    let body: Body<Export> = crate::contract::read(&sample["answer"]["body"]).unwrap();
    body.data
}

/// A chain of `n` entries with right hashes.
fn chain(n: i64) -> Vec<Value> {
    let mut prev = GENESIS.to_owned();
    (0..n)
        .map(|seq| {
            let mut entry = sample().entries[0].clone();
            entry["seq"] = json!(seq);
            entry["resource"] = json!(format!("session/{seq}"));
            entry["prev_hash"] = json!(prev);
            entry["hash"] = json!(hash_of(&entry));
            prev = entry["hash"].as_str().unwrap().to_owned();
            entry
        })
        .collect()
}

/// The fields and entries that are flawed, in order.
fn flaws(entries: &[Value], before: Option<&Before>) -> Vec<(i64, &'static str)> {
    verify_entries("api-gateway", entries, before)
        .into_iter()
        .map(|flaw| match flaw.kind {
            FlawKind::Unreadable(_) => (flaw.seq.unwrap(), "unreadable"),
            FlawKind::Field { field, .. } => (flaw.seq.unwrap(), field),
        })
        .collect()
}

#[test]
fn the_contracts_sample_verifies() {
    assert_eq!(verify_export("api-gateway", &sample(), None), Vec::new());
    let payload = json!({
        "user_id": "u-1", "conversation_id": "c-1", "profile": "default", "metadata": {"tz": "UTC"}
    });
    assert_eq!(
        sample().entries[0]["payload_sha256"],
        payload_sha256(Some(&payload))
    );
    assert_eq!(sample().entries[1]["payload_sha256"], payload_sha256(None));
}

#[test]
fn a_change_of_any_field_of_an_entry_is_seen() {
    let clean = chain(3);
    assert_eq!(flaws(&clean, None), Vec::new());
    for field in clean[1].as_object().unwrap().keys() {
        let mut entries = clean.clone();
        entries[1][field] = match &clean[1][field] {
            Value::Null => json!("x"),
            Value::Number(number) => json!(number.as_i64().unwrap() + 1),
            Value::String(text) => json!(text.replacen(|c: char| c.is_ascii_digit(), "f", 1) + "f"),
            other => panic!("no field of an entry is {other}"),
        };
        let found = flaws(&entries, None);
        assert!(
            found.iter().any(|(_, what)| *what == "hash"),
            "{field}: {found:?}"
        );
    }
}

#[test]
fn a_field_too_many_or_too_few_is_seen() {
    let mut extra = chain(2);
    extra[0]["note"] = json!("x");
    extra[0]["hash"] = json!(hash_of(&extra[0]));
    assert_eq!(flaws(&extra, None), [(0, "unreadable"), (1, "prev_hash")]);
    let mut short = chain(2);
    short[1].as_object_mut().unwrap().remove("via");
    // Without the field the rest is still an entry of a target that leaves out nulls, with
    // another hash.
    assert_eq!(flaws(&short, None), [(1, "hash")]);
}

#[test]
fn cut_swapped_inserted_and_doubled_entries_are_seen() {
    let clean = chain(4);
    let cut_head = &clean[1..];
    assert_eq!(flaws(cut_head, None), [(1, "seq"), (1, "prev_hash")]);
    let mut gap = clean.clone();
    gap.remove(1);
    assert_eq!(flaws(&gap, None), [(2, "seq"), (2, "prev_hash")]);
    let mut swapped = clean.clone();
    swapped.swap(1, 2);
    assert_eq!(flaws(&swapped, None).first(), Some(&(2, "seq")));
    let mut doubled = clean.clone();
    doubled.insert(2, clean[1].clone());
    assert_eq!(flaws(&doubled, None), [(1, "seq"), (1, "prev_hash")]);
}

#[test]
fn a_constant_prev_and_a_new_genesis_are_seen_although_every_hash_is_right() {
    let mut constant = chain(3);
    for entry in &mut constant {
        entry["prev_hash"] = json!(GENESIS);
        entry["hash"] = json!(hash_of(entry));
    }
    assert_eq!(flaws(&constant, None), [(1, "prev_hash"), (2, "prev_hash")]);
    let mut restarted = chain(2);
    restarted.extend(chain(2));
    assert_eq!(flaws(&restarted, None), [(0, "seq"), (0, "prev_hash")]);
}

#[test]
fn a_digest_that_leaves_out_actor_and_payload_is_seen() {
    let mut entries = chain(1);
    let mut covered = entries[0].clone();
    for left_out in ["actor_id", "payload_sha256"] {
        covered.as_object_mut().unwrap().remove(left_out);
    }
    entries[0]["hash"] = json!(hash_of(&covered));
    assert_eq!(flaws(&entries, None), [(0, "hash")]);
}

#[test]
fn a_segment_goes_on_from_the_entry_before_it() {
    let clean = chain(4);
    let hash = |seq: usize| clean[seq]["hash"].as_str().unwrap().to_owned();
    let right = Before {
        seq: 1,
        hash: hash(1),
    };
    assert_eq!(flaws(&clean[2..], Some(&right)), Vec::new());
    let wrong = Before {
        seq: 1,
        hash: hash(0),
    };
    assert_eq!(flaws(&clean[2..], Some(&wrong)), [(2, "prev_hash")]);
}

#[test]
fn every_field_of_a_proof_is_compared() {
    let right = serde_json::to_value(sample().proof.unwrap()).unwrap();
    for field in right
        .as_object()
        .unwrap()
        .keys()
        .filter(|field| *field != "checkpoint")
    {
        let mut wrong = right.clone();
        wrong[field] = match &right[field] {
            Value::Number(number) => json!(number.as_i64().unwrap() + 1),
            other => json!(format!("{}x", other.as_str().unwrap())),
        };
        let export = Export {
            proof: serde_json::from_value(wrong).unwrap(),
            ..sample()
        };
        let found = verify_export("api-gateway", &export, None);
        assert_eq!(found.len(), 1, "{field}: {found:?}");
        assert!(
            found[0].to_string().contains(field),
            "{field}: {}",
            found[0]
        );
    }
    assert_eq!(
        verify_export(
            "api-gateway",
            &Export {
                proof: None,
                ..sample()
            },
            None
        )
        .len(),
        1
    );
    assert_eq!(
        verify_export(
            "api-gateway",
            &Export {
                entries: vec![],
                ..sample()
            },
            None
        )
        .len(),
        1
    );
}

#[test]
fn a_flaw_says_what_it_got_and_what_it_expected() {
    let mut entries = chain(2);
    entries[1]["prev_hash"] = json!(GENESIS);
    entries[1]["hash"] = json!(hash_of(&entries[1]));
    let flaw = verify_entries("api-gateway", &entries, None)
        .remove(0)
        .to_string();
    let expected = entries[0]["hash"].as_str().unwrap();
    assert_eq!(
        flaw,
        format!("chain api-gateway, entry 1: prev_hash is {GENESIS}, expected {expected}")
    );
}

#[test]
fn timestamps_are_utc_with_microseconds() {
    assert!(is_timestamp("2026-11-22T10:00:00.000000Z"));
    for bad in [
        "2026-11-22T10:00:00Z",
        "2026-11-22T10:00:00.000000+01",
        "2026-13-22T10:00:00.000000Z",
        "2026-11-22 10:00:00.000000Z",
        "",
    ] {
        assert!(!is_timestamp(bad), "{bad}");
    }
}
