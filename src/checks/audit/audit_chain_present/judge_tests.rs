//! Evidence written by hand: a story that holds together, and its twins with one thing wrong.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Evidence, judge};
use crate::checks::Sent;
use crate::checks::audit::audit_chain_present::{Reading, ToolRun};
use crate::checks::audit::stored::{CONTROL, Statement, digest};
use crate::contract::audit::{GENESIS, Proof, hash_of, payload_sha256};
use crate::contract::{Effect, Export};

/// Two operators create sessions and one is deleted, a request is refused, nobody is refused, and
/// one is in flight at the kill; then the same once more.
fn good() -> Evidence {
    let mut story = Story::default();
    for epoch in 0..2 {
        let from = epoch * 1000;
        let first = story.create(from + 10, "op-1");
        story.create(from + 20, "op-2");
        story.delete(from + 30, "op-2", &first);
        story.refused(from + 40, "op-1", 422);
        story.nobody(from + 50);
        story.read(from + 100);
        if epoch == 0 {
            story.in_flight(from + 200, true);
            story.in_flight(from + 201, false);
            story.seen.kills_us.push(from + 210);
        }
    }
    story.finish()
}

#[derive(Default)]
struct Story {
    seen: Evidence,
    entries: Vec<Value>,
    sessions: BTreeMap<String, bool>,
}

impl Story {
    fn request(&mut self, at: u64, method: &str, path: &str, actor: Option<&str>) -> &mut Sent {
        let number = self.seen.sent.len();
        self.seen.sent.push(Sent {
            service: "api-gateway".to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            actor: actor.map(str::to_owned),
            role: actor.map(|_| "operator".to_owned()),
            id: format!("cor_{number}"),
            body: (method == "POST").then(|| json!({"user_id": number.to_string()})),
            invoked_us: at,
            returned_us: Some(at + 5),
            status: 201,
            answer: Value::Null,
            error: None,
        });
        self.seen.sent.last_mut().unwrap()
    }

    fn entry(&mut self, action: &str, resource: &str, outcome: &str) {
        let sent = self.seen.sent.last().unwrap();
        let seq = self.entries.len();
        let prev = self
            .entries
            .last()
            .map_or(json!(GENESIS), |entry| entry["hash"].clone());
        let mut entry = json!({
            "chain": "api-gateway", "seq": seq, "ts": "2026-11-22T10:00:00.000000Z",
            "service": "api-gateway", "actor_id": sent.actor, "actor_role": sent.role,
            "via": null, "action": action, "resource": resource, "outcome": outcome,
            "correlation_id": sent.id, "request_id": format!("req_{seq}"),
            "replay_generation": 0, "causal_parent": null,
            "payload_sha256": payload_sha256(sent.body.as_ref()), "prev_hash": prev,
        });
        entry["hash"] = json!(hash_of(&entry));
        self.entries.push(entry);
    }

    fn create(&mut self, at: u64, actor: &str) -> String {
        let id = format!("ses_{}", self.sessions.len());
        self.sessions.insert(id.clone(), true);
        self.request(at, "POST", "/v3/sessions", Some(actor)).answer = json!({"session_id": id});
        self.entry("session.create", &format!("session/{id}"), "ok");
        id
    }

    fn delete(&mut self, at: u64, actor: &str, id: &str) {
        let sent = self.request(at, "DELETE", &format!("/v3/sessions/{id}"), Some(actor));
        (sent.status, sent.answer) = (200, json!({"session_id": id}));
        self.entry("session.delete", &format!("session/{id}"), "ok");
        self.sessions.insert(id.to_owned(), false);
    }

    fn refused(&mut self, at: u64, actor: &str, status: u16) {
        self.request(at, "POST", "/v3/sessions", Some(actor)).status = status;
        self.entry("session.create", "session", "refused");
    }

    fn nobody(&mut self, at: u64) {
        self.request(at, "POST", "/v3/sessions", None).status = 401;
    }

    fn in_flight(&mut self, at: u64, happened: bool) {
        let sent = self.request(at, "POST", "/v3/sessions", Some("op-1"));
        (sent.returned_us, sent.status) = (None, 0);
        sent.error = Some("connection closed".to_owned());
        if happened {
            let id = format!("ses_{}", self.sessions.len());
            self.sessions.insert(id.clone(), true);
            self.entry("session.create", &format!("session/{id}"), "ok");
        }
    }

    fn read(&mut self, at: u64) {
        let digests: Vec<String> = self.entries.iter().map(digest).collect();
        self.seen.readings.push(Reading {
            chain: "api-gateway".to_owned(),
            at_us: at,
            answer: "200".to_owned(),
            unreadable: None,
            exported: digests.clone(),
            stored: Some(digests),
            differing: Vec::new(),
        });
        self.seen
            .exports
            .insert("api-gateway".to_owned(), export(&self.entries));
    }

    fn finish(mut self) -> Evidence {
        self.seen.chains = vec!["api-gateway".to_owned()];
        let statement = |name: &str, refused: bool| Statement {
            chain: "api-gateway".to_owned(),
            name: name.to_owned(),
            sql: String::new(),
            error: refused.then(|| "append-only".to_owned()),
            before: "a".to_owned(),
            after: if refused { "a" } else { "b" }.to_owned(),
        };
        self.seen.statements = ["UPDATE", "DELETE", "REPLACE", "INSERT"]
            .map(|name| statement(name, true))
            .into_iter()
            .chain([statement(CONTROL, false)])
            .collect();
        self.seen.pending = Some(Vec::new());
        for (id, there) in std::mem::take(&mut self.sessions) {
            let sent = self.request(5000, "GET", &format!("/v3/sessions/{id}"), Some("op-1"));
            (sent.status, sent.answer) = if there {
                (200, json!({"session_id": id}))
            } else {
                (404, Value::Null)
            };
            let got = self.seen.sent.pop().unwrap();
            self.seen.readback.push(got);
        }
        self.seen
    }
}

fn export(entries: &[Value]) -> Export {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (first, last) = (&entries[0], &entries[entries.len() - 1]);
    let proof = Proof {
        chain: "api-gateway".to_owned(),
        first_seq: first["seq"].as_i64().unwrap(),
        last_seq: last["seq"].as_i64().unwrap(),
        first_hash: text(&first["hash"]),
        last_hash: text(&last["hash"]),
        prev_hash: text(&first["prev_hash"]),
        entry_count: i64::try_from(entries.len()).unwrap(),
        algorithm: "sha256".to_owned(),
        checkpoint: None,
    };
    Export {
        entries: entries.to_vec(),
        proof: Some(proof),
    }
}

fn entries(seen: &mut Evidence) -> &mut Vec<Value> {
    &mut seen.exports.get_mut("api-gateway").unwrap().entries
}

/// Serves other entries, in the export as in the database, with hashes made by `rehash`.
fn rewrite(
    seen: &mut Evidence,
    change: impl Fn(usize, &mut Value),
    rehash: impl Fn(&Value) -> String,
) {
    let mut prev = GENESIS.to_owned();
    let mut list = entries(seen).clone();
    for (place, entry) in list.iter_mut().enumerate() {
        entry["seq"] = json!(place);
        entry["prev_hash"] = json!(prev);
        change(place, entry);
        entry["hash"] = json!(rehash(entry));
        prev = entry["hash"].as_str().unwrap().to_owned();
    }
    let digests: Vec<String> = list.iter().map(digest).collect();
    for reading in &mut seen.readings {
        let n = reading.exported.len().min(digests.len());
        reading.exported = digests[..n].to_vec();
        reading.stored = Some(digests[..n].to_vec());
    }
    seen.exports.insert("api-gateway".to_owned(), export(&list));
}

/// The judge must name the defect.
#[track_caller]
fn bad(change: impl FnOnce(&mut Evidence), expected: &str) {
    let mut seen = good();
    change(&mut seen);
    let found = judge(&seen).violations;
    assert!(
        found.iter().any(|text| text.contains(expected)),
        "no `{expected}` in {found:#?}"
    );
}

#[test]
fn a_story_that_holds_together_is_fine() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, Vec::<String>::new());
    assert_eq!(judgement.undecided, Vec::<String>::new());
    let expected = [("kills", 1), ("mutations", 6), ("refused_statements", 4)];
    assert_eq!(
        judgement.exercised,
        expected.map(|(name, n)| (name.to_owned(), n)).into()
    );
    let detail = "9 entries in 1 chains verified over 1 kills; 6 effects and 7 entries match, 2 requests \
                  open; 4 statements refused";
    assert_eq!(judgement.detail, detail);
}

#[test]
fn the_action_names_of_this_story_are_the_contracts() {
    let create = Effect::of("api-gateway", "POST", "/v3/sessions").unwrap();
    assert_eq!(create.action, "session.create");
}

#[test]
fn a_constant_prev_hash_is_seen() {
    let constant = |_: usize, entry: &mut Value| entry["prev_hash"] = json!(GENESIS);
    bad(
        |seen| rewrite(seen, constant, hash_of),
        "entry 1: prev_hash is 000",
    );
}

#[test]
fn a_new_genesis_after_the_kill_is_seen() {
    let genesis = |place: usize, entry: &mut Value| {
        if place == 6 {
            entry["prev_hash"] = json!(GENESIS);
        }
    };
    bad(
        |seen| rewrite(seen, genesis, hash_of),
        "entry 6: prev_hash is 000",
    );
    let renumbered = |place: usize, entry: &mut Value| {
        if place >= 6 {
            entry["seq"] = json!(place - 6);
        }
    };
    bad(
        |seen| rewrite(seen, renumbered, hash_of),
        "entry 0: seq is 0, expected 6",
    );
}

#[test]
fn a_hash_without_actor_or_payload_is_seen() {
    for left_out in ["actor_id", "payload_sha256"] {
        let rehash = |entry: &Value| {
            let mut covered = entry.clone();
            covered.as_object_mut().unwrap().remove(left_out);
            hash_of(&covered)
        };
        bad(|seen| rewrite(seen, |_, _| {}, rehash), "entry 0: hash is");
    }
}

#[test]
fn a_statement_that_passes_is_seen_and_so_is_a_log_that_takes_nothing() {
    let accept = |seen: &mut Evidence| {
        seen.statements[2].error = None;
        seen.statements[2].after = "c".to_owned();
    };
    bad(accept, "REPLACE changed the log, expected refused");
    bad(
        |seen| seen.statements[0].error = None,
        "UPDATE is passed over, expected refused",
    );
    bad(
        |seen| seen.statements[3].after = "c".to_owned(),
        "INSERT changed the log",
    );
    bad(
        |seen| seen.statements[4].error = Some("no".to_owned()),
        "is refused (no), expected accepted",
    );
    let mut none = good();
    none.statements.clear();
    assert_eq!(judge(&none).undecided.len(), 1);
}

#[test]
fn an_effect_without_its_entry_is_seen() {
    // The entry of the delete, and not a gap: the chain closes behind it.
    let drop_entry = |seen: &mut Evidence| {
        entries(seen).remove(2);
        rewrite(seen, |_, _| {}, hash_of);
    };
    bad(
        drop_entry,
        "DELETE /v3/sessions/ses_0 of api-gateway (cor_2): 200: 0 entries ok",
    );
    let ran = |seen: &mut Evidence| {
        let run = |key: &str| ToolRun {
            key: key.to_owned(),
            tool_name: "file.read".to_owned(),
            id: "cor_1".to_owned(),
            at_us: 5,
        };
        seen.effects = vec![run("op_1")];
    };
    bad(
        ran,
        "file.read ran for cor_1 (op_1): 0 entries ok `tool.result`, expected 1",
    );
    bad(
        |seen| seen.sent[1].answer = json!({"ok": true}),
        "names no session/{session_id}",
    );
}

#[test]
fn an_entry_without_its_effect_is_seen() {
    bad(
        |seen| seen.sent[1].status = 503,
        "ok `session.create` on session/ses_1): but POST",
    );
    bad(|seen| drop(seen.sent.remove(1)), "nobody sent cor_1");
    let other = |seen: &mut Evidence| {
        rewrite(
            seen,
            |place, entry| {
                if place == 1 {
                    entry["resource"] = json!("session/ses_9");
                }
            },
            hash_of,
        );
    };
    bad(other, "not an effect of POST /v3/sessions");
    let twice = |seen: &mut Evidence| {
        let copy = entries(seen)[1].clone();
        entries(seen).insert(2, copy);
        rewrite(seen, |_, _| {}, hash_of);
    };
    bad(twice, "told twice, expected once");
    bad(
        |seen| seen.sent[3].status = 201,
        "refused `session.create` on session): but POST",
    );
}

#[test]
fn a_wrong_actor_role_or_payload_is_seen() {
    for (field, wrong) in [
        ("actor_id", "op-1"),
        ("actor_role", "observer"),
        ("payload_sha256", "0"),
    ] {
        let change = |place: usize, entry: &mut Value| {
            if place == 1 {
                entry[field] = json!(wrong);
            }
        };
        bad(
            |seen| rewrite(seen, change, hash_of),
            &format!("entry 1: {field} is {wrong}, expected"),
        );
    }
}

#[test]
fn refusals_without_entry_and_entries_of_nobody_are_seen() {
    let missing = |seen: &mut Evidence| {
        seen.sent[4].status = 409;
        seen.sent[4].actor = Some("op-1".to_owned());
    };
    bad(missing, "(cor_4): 409: 0 entries refused, expected 1");
    bad(
        |seen| seen.sent[3].status = 401,
        "(cor_3): 401: 1 entries, expected 0",
    );
}

#[test]
fn stored_rows_that_change_vanish_or_differ_from_the_export_are_seen() {
    let change = |seen: &mut Evidence| {
        seen.readings[0].stored.as_mut().unwrap()[1] = "other".to_owned();
        seen.readings[0].exported[1] = "other".to_owned();
    };
    bad(
        change,
        "chain api-gateway: the stored entry 1 is another than before",
    );
    let fall = |seen: &mut Evidence| {
        let reading = &mut seen.readings[0];
        reading.exported.extend((0..20).map(|n| n.to_string()));
        reading.stored = Some(reading.exported.clone());
    };
    bad(fall, "9 entries, expected at least 24");
    let differ = |seen: &mut Evidence| {
        seen.readings[1].stored.as_mut().unwrap().pop();
    };
    bad(differ, "9 entries exported and 8 stored, expected the same");
    let broken = |seen: &mut Evidence| {
        seen.readings[1].answer = "409 CHAIN_BROKEN".to_owned();
        seen.readings[1].unreadable = Some("missing field `entries`".to_owned());
    };
    bad(broken, "chain api-gateway: the export is 409 CHAIN_BROKEN");
}

#[test]
fn a_resource_that_is_gone_or_still_there_is_seen() {
    bad(
        |seen| seen.readback[1].status = 404,
        "its entries say that it is there",
    );
    let revive = |seen: &mut Evidence, place: usize, id: &str| {
        assert_eq!(seen.readback[place].status, 404, "{id} is not deleted");
        seen.readback[place].status = 200;
        seen.readback[place].answer = json!({"session_id": id});
    };
    bad(
        |seen| revive(seen, 3, "ses_3"),
        "its entries say that it is deleted",
    );
    // Deleted before the KILL: not of this gate.
    let mut seen = good();
    revive(&mut seen, 0, "ses_0");
    assert_eq!(judge(&seen).violations, Vec::<String>::new());
}

#[test]
fn a_target_without_chains_or_effects_passes_nothing() {
    let mut empty = good();
    empty.chains.clear();
    empty.exports.clear();
    empty.readings.clear();
    empty.statements.clear();
    let judgement = judge(&empty);
    assert!(
        judgement
            .violations
            .iter()
            .any(|text| text.contains("lists 0 chains"))
    );
    assert_eq!(judgement.exercised["mutations"], 0);
    let nothing = judge(&Evidence::default());
    assert_eq!(
        nothing.exercised["mutations"] + nothing.exercised["kills"],
        0
    );
    // It never ran: that is no list without chains.
    assert_eq!(nothing.violations, Vec::<String>::new());
}

#[test]
fn what_was_sent_after_the_last_reading_is_not_missed() {
    let mut seen = good();
    let mut late = seen.sent[1].clone();
    late.id = "cor_late".to_owned();
    (late.invoked_us, late.returned_us) = (9000, Some(9001));
    seen.sent.push(late);
    assert_eq!(judge(&seen).violations, Vec::<String>::new());
}

#[test]
fn a_run_without_a_mutation_is_undecided() {
    let mut seen = good();
    seen.kills_us.push(8000);
    let undecided = judge(&seen).undecided;
    assert_eq!(
        undecided,
        ["chain api-gateway: no acknowledged mutation in run 2 of 0 to 2"]
    );
}
