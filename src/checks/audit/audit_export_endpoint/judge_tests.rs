//! Evidence written by hand: a good one, and its bad twins.

use serde_json::json;

use super::*;
use crate::checks::Sent;
use crate::checks::audit::audit_chain_present::ToolRun;
use crate::checks::audit::audit_export_endpoint::BadRange;
use crate::checks::audit::twin_chains::{chain, note, public};
use crate::contract::Proof;
use crate::contract::audit::hash_of;

const CHAINS: [&str; 2] = ["api-gateway", "memory-engine"];
const N: usize = 6;

fn export(chain: &str, entries: &[Value], all: &[Value]) -> Export {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    let (first, last) = (&entries[0], &entries[entries.len() - 1]);
    let proof = Proof {
        chain: chain.to_owned(),
        first_seq: first["seq"].as_i64().unwrap(),
        last_seq: last["seq"].as_i64().unwrap(),
        first_hash: text(first, "hash"),
        last_hash: text(last, "hash"),
        prev_hash: text(first, "prev_hash"),
        entry_count: i64::try_from(entries.len()).unwrap(),
        algorithm: "sha256".to_owned(),
        checkpoint: Some(note(chain, all, 1)),
    };
    Export {
        entries: entries.to_vec(),
        proof: Some(proof),
    }
}

fn segment(chain: &str, range: Range, entries: &[Value], all: &[Value]) -> Segment {
    Segment {
        chain: chain.to_owned(),
        path: format!("/v1/audit/export?chain={chain} {range:?}"),
        range,
        at_us: 100,
        answer: "200".to_owned(),
        deprecated: false,
        export: Some(export(chain, entries, all)),
    }
}

fn sent(service: &str, path: &str, id: &str, status: u16, answer: Value) -> Sent {
    let sent = json!({
        "service": service, "method": "POST", "path": path, "actor": "op-1", "role": "operator",
        "id": id, "body": {}, "invoked_us": 1, "returned_us": 2, "status": status, "answer": answer,
    });
    serde_json::from_value(sent).unwrap()
}

fn refused(status: u16, code: &str) -> Sent {
    sent(
        "api-gateway",
        "/x",
        "cor_x",
        status,
        json!({"error": {"code": code}}),
    )
}

/// What one chain is, and the requests that made it.
fn grown(name: &str) -> (Vec<Value>, Vec<Sent>) {
    let mut entries = chain(name, N, "op-1");
    let (path, action, kind, field) = match name {
        "api-gateway" => ("/v3/sessions", "session.create", "session", "session_id"),
        _ => ("/store", "memory.store", "memory", "id"),
    };
    let mut requests = Vec::new();
    for seq in 0..N {
        let id = format!("res_{name}_{seq}");
        entries[seq]["action"] = json!(action);
        entries[seq]["resource"] = json!(format!("{kind}/{id}"));
        if seq > 0 {
            entries[seq]["prev_hash"] = entries[seq - 1]["hash"].clone();
        }
        entries[seq]["hash"] = json!(hash_of(&entries[seq]));
        let correlation = entries[seq]["correlation_id"].as_str().unwrap();
        requests.push(sent(name, path, correlation, 201, json!({ field: id })));
    }
    (entries, requests)
}

fn standing() -> Standing {
    let lists = [
        "api-gateway /v3/confirmations/pending",
        "api-gateway /v3/actions",
    ];
    let list = |name: &str| (name.to_owned(), json!([{"id": "x", "fence_token": 1}]));
    Standing {
        tables: BTreeMap::from([("api-gateway audit_log".to_owned(), "d1".to_owned())]),
        open: lists.into_iter().map(list).collect(),
    }
}

fn good() -> Evidence {
    let mut seen = Evidence {
        pinned: public(1),
        chains: CHAINS.map(str::to_owned).to_vec(),
        before: Some(standing()),
        after: Some(standing()),
        ..Evidence::default()
    };
    for name in CHAINS {
        let (all, requests) = grown(name);
        seen.sent.extend(requests);
        for (range, entries) in [
            (Range::Whole, &all[..]),
            (Range::Between(0, 1), &all[0..=1]),
            (Range::Between(2, 3), &all[2..=3]),
            (Range::Between(4, 5), &all[4..=5]),
            (Range::Between(5, 1_000), &all[5..]),
            (Range::AtMost(1, 2), &all[1..3]),
        ] {
            seen.segments.push(segment(name, range, entries, &all));
        }
        for what in ["empty", "inverted"] {
            let (what, sent) = (what.to_owned(), refused(400, "BAD_RANGE"));
            seen.bad_ranges.push(BadRange { what, sent });
        }
    }
    for route in routes()
        .iter()
        .filter(|route| route.since == "v4.7" && route.min_role != "none")
    {
        for template in route.paths() {
            seen.guarded.push(Guarded {
                service: route.service.clone(),
                method: route.method.clone(),
                template,
                without: refused(401, "UNAUTHENTICATED"),
                with: Some(sent("api-gateway", "/x", "cor_y", 200, Value::Null)),
            });
        }
    }
    seen
}

/// What the judge says of the good evidence, spoiled.
fn complaints(spoil: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut seen = good();
    spoil(&mut seen);
    judge(&seen).violations
}

/// The only complaint.
fn complaint(spoil: impl FnOnce(&mut Evidence)) -> String {
    let all = complaints(spoil);
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0].clone()
}

fn proof(seen: &mut Evidence, at: usize) -> &mut Proof {
    seen.segments[at]
        .export
        .as_mut()
        .unwrap()
        .proof
        .as_mut()
        .unwrap()
}

#[test]
fn proofs_that_hold_and_refusals_are_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    assert_eq!(judgement.exercised["segments"], 12);
    assert_eq!(judgement.exercised["refused_ranges"], 4);
    assert!(judgement.exercised["refused_without_credentials"] >= 10);
    let starts = "12 exports of 12 entries in 2 chains verified; 4 bad ranges and ";
    assert!(judgement.detail.starts_with(starts), "{}", judgement.detail);
}

#[test]
fn every_field_of_a_proof_is_recomputed() {
    let said = complaint(|seen| proof(seen, 2).entry_count += 1);
    assert!(
        said.contains("proof.entry_count is 3, expected 2"),
        "{said}"
    );
    let said = complaint(|seen| proof(seen, 2).first_seq = 0);
    assert!(said.contains("proof.first_seq is 0, expected 2"), "{said}");
    complaint(|seen| proof(seen, 2).last_seq = 5);
    complaint(|seen| proof(seen, 2).first_hash = "00".to_owned());
    complaint(|seen| proof(seen, 2).chain = "eva-os".to_owned());
    complaint(|seen| proof(seen, 2).algorithm = "md5".to_owned());
    // These two also say with whom the segment joins.
    assert_eq!(
        complaints(|seen| proof(seen, 2).last_hash = "00".to_owned()).len(),
        2
    );
    assert_eq!(
        complaints(|seen| proof(seen, 2).prev_hash = "00".to_owned()).len(),
        2
    );
    complaint(|seen| seen.segments[0].export.as_mut().unwrap().proof = None);
}

#[test]
fn the_proof_of_the_whole_chain_stands_beside_a_segment() {
    let said = complaints(|seen| {
        let whole = proof(seen, 0).clone();
        *proof(seen, 2) = whole;
    });
    assert!(
        said.iter()
            .any(|said| said.contains("proof.first_seq is 0, expected 2")),
        "{said:?}"
    );
    assert!(
        said.iter()
            .any(|said| said.contains("proof.entry_count is 6, expected 2")),
        "{said:?}"
    );
}

#[test]
fn a_segment_has_other_entries_than_were_asked_for() {
    let (all, _) = grown("api-gateway");
    let fewer = segment("api-gateway", Range::Between(2, 3), &all[2..3], &all);
    let said = complaint(|seen| seen.segments[2] = fewer);
    assert!(
        said.contains("1 entries, expected the 2 of the whole export"),
        "{said}"
    );
    let more = segment("api-gateway", Range::AtMost(1, 2), &all[1..4], &all);
    let said = complaint(|seen| seen.segments[5] = more);
    assert!(
        said.contains("3 entries, expected the 2 of the whole export"),
        "{said}"
    );
    let mut forged = all.clone();
    forged[2]["actor_id"] = json!("mallory");
    forged[2]["hash"] = json!(hash_of(&forged[2]));
    let other = segment("api-gateway", Range::Between(2, 3), &forged[2..4], &all);
    let said = complaints(|seen| seen.segments[2] = other);
    assert!(
        said[0].contains("the first other one at place 0"),
        "{said:?}"
    );
}

#[test]
fn the_link_to_the_entry_before_the_first_is_checked() {
    let (all, _) = grown("api-gateway");
    let mut cut = all.clone();
    cut[2]["prev_hash"] = json!("00");
    cut[2]["hash"] = json!(hash_of(&cut[2]));
    let apart = segment("api-gateway", Range::Between(2, 2), &cut[2..3], &all);
    let said = complaints(|seen| seen.segments[2] = apart);
    assert!(
        said.iter()
            .any(|said| said.contains("prev_hash is 00, expected")),
        "{said:?}"
    );
}

#[test]
fn a_checkpoint_that_does_not_verify_is_seen() {
    let (all, _) = grown("api-gateway");
    for (note, words) in [
        (None, "proof.checkpoint is null"),
        (
            Some(note("api-gateway", &all, 2)),
            "not signed by the pinned key",
        ),
        (
            Some(note("api-gateway", &all[..5], 1)),
            "is of 5 entries, expected the 6",
        ),
        (
            Some(note("memory-engine", &all, 1)),
            "not signed by the pinned key",
        ),
    ] {
        let said = complaint(|seen| proof(seen, 2).checkpoint = note);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn the_two_paths_are_routes_of_their_own_right_and_answer() {
    let said = complaint(|seen| seen.segments[0].deprecated = true);
    assert!(said.contains("called deprecated"), "{said}");
    let said = complaint(|seen| {
        let segment = &mut seen.segments[2];
        (segment.export, segment.answer) = (None, "404 ROUTE_NOT_FOUND".to_owned());
    });
    assert!(
        said.contains("404 ROUTE_NOT_FOUND, expected 200 and an export"),
        "{said}"
    );
}

#[test]
fn effects_and_entries_tell_the_same_story() {
    let lost = |seen: &mut Evidence| {
        let answer = json!({"session_id": "ses_lost"});
        seen.sent
            .push(sent("api-gateway", "/v3/sessions", "cor_lost", 201, answer));
    };
    let said = complaint(lost);
    assert!(
        said.contains("0 entries ok `session.create` on session/ses_lost, expected 1"),
        "{said}"
    );
    let said = complaint(|seen| drop(seen.sent.remove(3)));
    assert!(
        said.contains("chain api-gateway, entry 3") && said.contains("nobody sent"),
        "{said}"
    );
    let said = complaints(|seen| {
        seen.effects.push(ToolRun {
            tool_name: "file.read".to_owned(),
            ..ToolRun::default()
        });
    });
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn a_bad_range_is_served_or_fails() {
    for (status, code) in [(200, ""), (500, "INTERNAL"), (404, "X"), (400, "")] {
        let said = complaint(|seen| seen.bad_ranges[0].sent = refused(status, code));
        assert!(
            said.contains("a range that is empty: ") && said.contains("expected 400"),
            "{said}"
        );
    }
}

#[test]
fn a_route_is_open_or_closed_to_everybody() {
    let said = complaint(|seen| seen.guarded[0].without = refused(200, ""));
    assert!(
        said.contains("without credentials: 200 , expected 401"),
        "{said}"
    );
    complaint(|seen| seen.guarded[0].without = refused(404, "X"));
    let said = complaint(|seen| seen.guarded[0].with = Some(refused(401, "UNAUTHENTICATED")));
    assert!(said.contains("expected another answer than 401"), "{said}");
    // The control: a reissue really is one.
    let said = complaint(|seen| {
        let reissue = |guarded: &&mut Guarded| guarded.template.ends_with("/reissue");
        let guarded = seen.guarded.iter_mut().find(reissue).unwrap();
        guarded.with = Some(refused(404, "X"));
    });
    assert!(said.contains("expected 2xx"), "{said}");
}

#[test]
fn requests_of_nobody_change_something() {
    let said = complaint(|seen| {
        let tables = &mut seen.after.as_mut().unwrap().tables;
        tables.insert("api-gateway audit_log".to_owned(), "d2".to_owned());
    });
    assert!(said.contains("changed api-gateway audit_log"), "{said}");
    let said = complaint(|seen| {
        let open = &mut seen.after.as_mut().unwrap().open;
        open.insert(
            "api-gateway /v3/actions".to_owned(),
            json!([{"id": "x", "fence_token": 2}]),
        );
    });
    assert!(said.contains("changed api-gateway /v3/actions"), "{said}");
}

#[test]
fn what_did_not_occur_is_undecided() {
    let undecided = |spoil: fn(&mut Evidence)| {
        let mut seen = good();
        spoil(&mut seen);
        let judgement = judge(&seen);
        assert_eq!(judgement.violations, [""; 0]);
        judgement.undecided
    };
    assert!(judge(&Evidence::default()).undecided.len() > 10);
    assert_eq!(undecided(|seen| seen.after = None).len(), 1);
    assert_eq!(undecided(|seen| drop(seen.guarded.pop())).len(), 1);
    assert_eq!(undecided(|seen| seen.guarded[0].with = None).len(), 1);
    assert_eq!(
        undecided(|seen| seen.bad_ranges.retain(|bad| bad.what != "empty")).len(),
        1
    );
    let joined = |segment: &Segment| !matches!(segment.range, Range::Between(..));
    let seen = good();
    let alone = Evidence {
        segments: seen
            .segments
            .iter()
            .filter(|one| joined(one))
            .cloned()
            .collect(),
        ..seen
    };
    assert_eq!(judge(&alone).undecided.len(), CHAINS.len());
    let nothing_open = undecided(|seen| {
        for standing in [&mut seen.before, &mut seen.after].into_iter().flatten() {
            standing
                .open
                .values_mut()
                .for_each(|list| *list = json!([]));
        }
    });
    assert_eq!(nothing_open.len(), 2);
}

#[test]
fn evidence_survives_storage() {
    let value = serde_json::to_value(good()).unwrap();
    let again: Evidence = serde_json::from_value(value).unwrap();
    assert_eq!(again, good());
}
