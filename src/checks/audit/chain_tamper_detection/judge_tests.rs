//! Evidence written by hand: a good one, and its bad twins.

use serde_json::json;

use super::*;
use crate::checks::audit::twin_chains;
use crate::contract::{Consistency, Signed};

const CHAIN: &str = "api-gateway";
const N: usize = 6;

fn chain(n: usize, actor: &str) -> Vec<Value> {
    twin_chains::chain(CHAIN, n, actor)
}

fn note(entries: &[Value], secret: u8) -> String {
    twin_chains::note(CHAIN, entries, secret)
}

fn entries(of: &[Value], note: &str) -> Answer {
    Answer::Entries {
        digests: of.iter().map(digest).collect(),
        checkpoint: Some(note.to_owned()),
    }
}

fn proof(checkpoint: String) -> Answer {
    let chain = CHAIN.to_owned();
    // From six entries to six there is nothing to prove.
    Answer::Proof(Consistency {
        chain,
        from: N as u64,
        proof: Vec::new(),
        checkpoint,
    })
}

/// Reads that give this chain, clean.
fn clean(of: &[Value], secret: u8) -> Vec<Look> {
    let note = note(of, secret);
    let signed = Signed {
        chain: CHAIN.to_owned(),
        checkpoint: note.clone(),
    };
    let look = |what, answer| Look { what, answer };
    vec![
        look(What::Whole, entries(of, &note)),
        look(What::Segment(3, 3), entries(&of[3..=3], &note)),
        look(What::Checkpoint, Answer::Signed(signed)),
        look(What::Consistency, proof(note.clone())),
        look(
            What::Trace(3),
            Answer::Entries {
                digests: vec![digest(&of[3])],
                checkpoint: None,
            },
        ),
    ]
}

fn broken_at(seq: i64) -> Answer {
    let (chain, reason) = (CHAIN.to_owned(), "hash".to_owned());
    Answer::Broken {
        chain,
        seq: Some(seq),
        reason,
    }
}

/// The same reads, each a break at `seq`.
fn refused(seq: i64) -> Vec<Look> {
    let of = clean(&chain(N, "op-1"), 1);
    let answer = broken_at(seq);
    of.into_iter()
        .map(|look| Look {
            answer: answer.clone(),
            ..look
        })
        .collect()
}

fn stored(rows: &[Value]) -> Vec<Entry> {
    let acknowledged = chain(N, "op-1");
    let entry = |row: &Value| match acknowledged.iter().position(|known| known == row) {
        Some(place) => Entry::Same(place),
        None => Entry::Other(row.clone()),
    };
    rows.iter().map(entry).collect()
}

fn attack(how: How, rows: Option<&[Value]>, seq: i64) -> Attacked {
    let status = Outcome {
        status: 503,
        code: "AUDIT_BROKEN".to_owned(),
    };
    Attacked {
        chain: CHAIN.to_owned(),
        how,
        stored: rows.map(stored),
        refused_start: None,
        looks: refused(seq),
        mutation: Some(status),
    }
}

/// Where the attack on entry 3 shows at the latest.
fn shows(what: Attack) -> i64 {
    match what {
        Attack::Delete | Attack::Swap | Attack::Forge => 3,
        Attack::Insert | Attack::Duplicate => 4,
        Attack::CutHead => 0,
        Attack::CutTail => 4,
        Attack::RewriteSuffix => 5,
    }
}

fn fork(how: Forked, rows: &[Value], answer: Answer) -> Fork {
    Fork {
        chain: CHAIN.to_owned(),
        how,
        stored: Some(stored(rows)),
        refused_start: None,
        looks: vec![Look {
            what: What::Consistency,
            answer,
        }],
    }
}

fn good() -> Evidence {
    let all = chain(N, "op-1");
    let byte = |byte| How::Byte {
        seq: 3,
        column: "ts".to_owned(),
        byte,
        mask: 1,
    };
    let mut attacks = vec![attack(byte(0), None, 3), attack(byte(1), None, 3)];
    for what in Attack::ALL {
        let rows = what.on(&all, 3);
        attacks.push(attack(How::Running { what }, Some(&rows), shows(what)));
        attacks.push(attack(How::Stopped { what }, Some(&rows), shows(what)));
    }
    attacks.push(attack(How::Older, Some(&all[..4]), 4));
    attacks.push(attack(How::Bit { offset: 9, bit: 1 }, None, 2));
    let unharmed = Attacked {
        looks: clean(&all, 1),
        mutation: None,
        ..attack(How::Bit { offset: 8, bit: 1 }, Some(&all), 0)
    };
    let would_not = Attacked {
        looks: Vec::new(),
        mutation: None,
        refused_start: Some("damaged".to_owned()),
        ..attack(How::Bit { offset: 7, bit: 1 }, None, 0)
    };
    attacks.extend([unharmed, would_not]);
    let (rewritten, longer) = (chain(N, "mallory"), chain(N + 1, "mallory"));
    let forks = vec![
        fork(Forked::OlderPair, &all[..4], broken_at(4)),
        fork(Forked::Appended, &longer, broken_at(5)),
        fork(
            Forked::NewKeyRewritten,
            &rewritten,
            proof(note(&rewritten, 2)),
        ),
        fork(Forked::NewKey, &all, proof(note(&all, 2))),
        fork(Forked::NewKeyBeside, &all, broken_at(0)),
    ];
    let done = Outcome {
        status: 201,
        code: String::new(),
    };
    let control = Control {
        chain: CHAIN.to_owned(),
        when: "at start".to_owned(),
        looks: clean(&all, 1),
        mutation: Some(done),
    };
    let by_chain = |note| BTreeMap::from([(CHAIN.to_owned(), note)]);
    Evidence {
        pinned: twin_chains::public(1),
        chains: vec![CHAIN.to_owned()],
        sent: Vec::new(),
        acknowledged: BTreeMap::from([(CHAIN.to_owned(), all.clone())]),
        early: by_chain(note(&all[..4], 1)),
        witnessed: by_chain(note(&all, 1)),
        controls: vec![control],
        attacks,
        forks,
        trouble: Vec::new(),
    }
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

/// The attack of this kind.
fn of(seen: &mut Evidence, how: How) -> &mut Attacked {
    let found = seen.attacks.iter_mut().find(|attacked| attacked.how == how);
    found.unwrap()
}

fn running(what: Attack) -> How {
    How::Running { what }
}

#[test]
fn breaks_that_are_named_and_entries_that_were_acknowledged_are_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let counted = |what: &str| judgement.exercised[what];
    assert_eq!(counted("changed_bytes"), 2);
    assert_eq!(counted("attacks"), 17);
    assert_eq!((counted("bit_flips"), counted("noticed_flips")), (3, 2));
    assert_eq!(counted("clean_reads"), 5);
    assert_eq!(counted("witnessed_forks"), 3);
    let detail =
        "2 bytes of an entry, 17 attacks on the list, 3 flipped bits (2 noticed): 105 reads";
    assert!(judgement.detail.starts_with(detail), "{}", judgement.detail);
}

#[test]
fn a_changed_entry_is_served_with_a_clean_proof() {
    let mut forged = chain(N, "op-1");
    forged[3]["ts"] = json!("2027-11-22T10:00:00.000000Z");
    let looks = clean(&forged, 1);
    for (at, words) in [
        (
            0,
            "Whole: 6 entries with a clean proof, 5 of them as the 6 that were acknowledged",
        ),
        (
            1,
            "Segment(3, 3): 1 entries with a clean proof, 0 of them as the 1",
        ),
        (
            4,
            "Trace(3): 1 entries that were never acknowledged, entry 3 among them: false",
        ),
    ] {
        let said = complaint(|seen| seen.attacks[0].looks[at] = looks[at].clone());
        let place = "chain api-gateway, byte 0 of ts of entry 3 changed by 0x01";
        assert!(said.starts_with(place) && said.contains(words), "{said}");
    }
}

#[test]
fn a_cut_tail_is_served_with_a_shorter_checkpoint() {
    let cut = chain(4, "op-1");
    let shorter = clean(&cut, 1);
    for at in [0, 2, 3] {
        let look = shorter[at].clone();
        complaint(|seen| of(seen, running(Attack::CutTail)).looks[at] = look);
    }
    let said = complaint(|seen| {
        of(seen, running(Attack::CutTail)).looks[2] = shorter[2].clone();
    });
    assert!(
        said.contains("a checkpoint of 4 entries, not of the 6"),
        "{said}"
    );
}

#[test]
fn a_range_whose_entries_are_gone_is_no_bad_range() {
    let bad = Outcome {
        status: 400,
        code: "BAD_RANGE".to_owned(),
    };
    let said = complaint(|seen| {
        of(seen, running(Attack::CutTail)).looks[1].answer = Answer::Other(bad);
    });
    assert!(
        said.contains("Segment(3, 3): 400 BAD_RANGE, expected the acknowledged"),
        "{said}"
    );
}

#[test]
fn the_first_bad_seq_is_named_and_no_other() {
    for (what, wrong) in [
        (Attack::Delete, 2),
        (Attack::Delete, 4),
        (Attack::Swap, 4),
        (Attack::Insert, 2),
        (Attack::Insert, 5),
        (Attack::Duplicate, 3),
        (Attack::CutHead, 1),
        (Attack::CutTail, 3),
        (Attack::CutTail, 5),
        (Attack::RewriteSuffix, 2),
        (Attack::RewriteSuffix, 6),
        (Attack::Forge, 2),
    ] {
        let said = complaint(|seen| of(seen, running(what)).looks[0].answer = broken_at(wrong));
        let words = format!("CHAIN_BROKEN names seq {wrong}, expected ");
        assert!(said.contains(&words), "{what:?}: {said}");
    }
    let byte = complaint(|seen| seen.attacks[0].looks[0].answer = broken_at(4));
    assert!(byte.contains("names seq 4, expected 3 to 3"), "{byte}");
    let none = complaint(|seen| {
        let (chain, reason) = (CHAIN.to_owned(), String::new());
        seen.attacks[0].looks[0].answer = Answer::Broken {
            chain,
            seq: None,
            reason,
        };
    });
    assert!(none.contains("names no seq"), "{none}");
    let other = complaint(|seen| {
        let (chain, reason) = ("eva-os".to_owned(), String::new());
        seen.attacks[0].looks[0].answer = Answer::Broken {
            chain,
            seq: Some(3),
            reason,
        };
    });
    assert!(
        other.contains(r#"CHAIN_BROKEN of chain "eva-os", expected "api-gateway""#),
        "{other}"
    );
    // Whoever reads the entry behind alone finds it bad by itself.
    assert_eq!(
        complaints(|seen| {
            let look = &mut of(seen, running(Attack::Insert)).looks[1];
            (look.what, look.answer) = (What::Segment(5, 5), broken_at(5));
        }),
        [""; 0]
    );
}

#[test]
fn a_mutation_follows_a_break() {
    let done = Outcome {
        status: 201,
        code: String::new(),
    };
    for how in [
        running(Attack::Delete),
        How::Older,
        How::Bit { offset: 9, bit: 1 },
    ] {
        let said = complaint(|seen| of(seen, how.clone()).mutation = Some(done.clone()));
        assert!(
            said.contains("a mutation got 201 , expected 503 AUDIT_BROKEN"),
            "{said}"
        );
    }
    let busy = Outcome {
        status: 503,
        code: "STORE_UNAVAILABLE".to_owned(),
    };
    complaint(|seen| of(seen, How::Older).mutation = Some(busy));
    // Nothing was found, because the acknowledged entries were served.
    let unharmed = How::Bit { offset: 8, bit: 1 };
    assert_eq!(
        complaints(|seen| of(seen, unharmed).mutation = Some(done)),
        [""; 0]
    );
}

#[test]
fn a_flipped_bit_gives_neither_the_entries_nor_a_break() {
    let (how, all) = (How::Bit { offset: 8, bit: 1 }, chain(N, "op-1"));
    let failed = Outcome {
        status: 500,
        code: "INTERNAL".to_owned(),
    };
    let said = complaint(|seen| of(seen, how.clone()).looks[0].answer = Answer::Other(failed));
    assert!(
        said.contains("bit 1 of byte 8 of the file flipped, Whole: 500 INTERNAL"),
        "{said}"
    );
    let fewer = entries(&all[..5], &note(&all[..5], 1));
    complaint(|seen| of(seen, how).looks[0].answer = fewer);
}

#[test]
fn a_flipped_bit_is_noticed_no_later_than_at_the_first_entry_that_is_gone() {
    let mut rows = stored(&chain(N, "op-1"));
    rows.remove(3);
    // A row that is none, and that sorts before all others.
    rows.insert(0, Entry::Other(json!({"seq": null})));
    let how = How::Bit { offset: 9, bit: 1 };
    for seq in 0..=4 {
        let said = complaints(|seen| {
            let attacked = of(seen, how.clone());
            (attacked.stored, attacked.looks) = (Some(rows.clone()), refused(seq));
        });
        // The segment from 3 to 3, and whatever covers all of the chain.
        assert_eq!(said.is_empty(), seq <= 3, "{seq}: {said:#?}");
    }
}

#[test]
fn a_clean_chain_is_refused_or_does_not_verify() {
    let said = complaint(|seen| seen.controls[0].looks[0].answer = broken_at(3));
    assert!(
        said.contains("clean chain api-gateway, at start, Whole: CHAIN_BROKEN at Some(3)"),
        "{said}"
    );
    let stopped = Outcome {
        status: 503,
        code: "AUDIT_BROKEN".to_owned(),
    };
    let said = complaint(|seen| seen.controls[0].mutation = Some(stopped));
    assert!(
        said.contains("a mutation got 503 AUDIT_BROKEN, expected 2xx"),
        "{said}"
    );
    let foreign = clean(&chain(N, "op-1"), 2);
    for at in [0, 1, 2, 3] {
        let said = complaint(|seen| seen.controls[0].looks[at] = foreign[at].clone());
        assert!(said.contains("not signed by the pinned key"), "{said}");
    }
    let said = complaint(|seen| {
        let Answer::Entries { checkpoint, .. } = &mut seen.controls[0].looks[0].answer else {
            panic!("an export");
        };
        *checkpoint = None;
    });
    assert!(said.contains("an export without a checkpoint"), "{said}");
    // The trace holds the entry that it was asked about, and no foreign one.
    let (none, foreign) = (
        Vec::new(),
        vec![digest(&chain(N, "op-1")[3]), "foreign".to_owned()],
    );
    for digests in [none, foreign] {
        complaint(|seen| {
            let checkpoint = None;
            seen.controls[0].looks[4].answer = Answer::Entries {
                digests,
                checkpoint,
            };
        });
    }
}

#[test]
fn a_proof_leads_from_the_witness_to_a_fork() {
    // The target signs what the witness has seen, whatever it holds now.
    let lie = proof(note(&chain(N, "op-1"), 1));
    for at in 0..3 {
        let said = complaint(|seen| seen.forks[at].looks[0].answer = lie.clone());
        assert!(
            said.contains("is a proof that verifies, expected 409"),
            "{said}"
        );
    }
    // The right entries may verify.
    for at in 3..5 {
        assert_eq!(
            complaints(|seen| seen.forks[at].looks[0].answer = lie.clone()),
            [""; 0]
        );
    }
    // A trace covers all chains, and may stop at another one.
    let elsewhere = Answer::Broken {
        chain: "eva-os".to_owned(),
        seq: Some(99),
        reason: "hash".to_owned(),
    };
    assert_eq!(
        complaints(|seen| {
            let unharmed = of(seen, How::Bit { offset: 8, bit: 1 });
            unharmed.looks[4].answer = elsewhere;
            unharmed.mutation = Some(Outcome {
                status: 201,
                code: String::new(),
            });
        }),
        [""; 0]
    );
    let down = Answer::Other(Outcome {
        status: 503,
        code: String::new(),
    });
    complaint(|seen| seen.forks[0].looks[0].answer = down);
}

#[test]
fn what_was_served_first_has_to_be_a_chain_with_everything_that_was_acknowledged() {
    let said = complaints(|seen| {
        seen.acknowledged.get_mut(CHAIN).unwrap()[2]["actor_id"] = json!("mallory");
    });
    assert!(
        said[0].contains("before any attack: chain api-gateway, entry 2: hash is"),
        "{said:?}"
    );
    let exchange = |id: &str| {
        let sent = json!({
            "service": CHAIN, "method": "POST", "path": "/v3/sessions", "actor": "op-1",
            "role": "operator", "id": id, "invoked_us": 1, "returned_us": 2, "status": 201,
        });
        serde_json::from_value::<crate::checks::Sent>(sent).unwrap()
    };
    assert_eq!(
        complaints(|seen| seen.sent.push(exchange("cor_api-gateway_3"))),
        [""; 0]
    );
    let lost = complaint(|seen| seen.sent.push(exchange("cor_9")));
    assert!(lost.contains("no chain has an entry of it"), "{lost}");
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
    let nothing = judge(&Evidence::default());
    assert!(nothing.undecided.len() > 20 && nothing.violations.is_empty());
    assert_eq!(
        undecided(|seen| seen.attacks.retain(|one| one.how != How::Older)).len(),
        1
    );
    assert_eq!(
        undecided(|seen| drop(seen.forks.pop())),
        ["no fork of the kind NewKeyBeside"]
    );
    assert_eq!(undecided(|seen| seen.witnessed.clear()).len(), 1);
    assert_eq!(undecided(|seen| seen.controls[0].mutation = None).len(), 1);
    assert_eq!(
        undecided(|seen| seen.trouble.push("locked".to_owned())),
        ["locked"]
    );
}

#[test]
fn an_attack_that_nobody_noticed_is_not_counted() {
    let mut seen = good();
    for attacked in &mut seen.attacks {
        attacked.looks = clean(&chain(N, "op-1"), 1);
        attacked.mutation = None;
        attacked.refused_start = None;
    }
    let judgement = judge(&seen);
    assert_eq!(judgement.violations, [""; 0]);
    for what in ["changed_bytes", "attacks", "noticed_flips"] {
        assert_eq!(judgement.exercised[what], 0, "{what}");
    }
}

#[test]
fn many_violations_are_counted_not_listed() {
    let all = complaints(|seen| {
        for attacked in &mut seen.attacks {
            attacked
                .looks
                .iter_mut()
                .for_each(|look| look.answer = broken_at(99));
        }
    });
    assert_eq!(all.len(), SHOWN + 1);
    assert!(all[SHOWN].starts_with("and "), "{}", all[SHOWN]);
}

#[test]
fn evidence_survives_storage() {
    let value = serde_json::to_value(good()).unwrap();
    let again: Evidence = serde_json::from_value(value).unwrap();
    assert_eq!(again, good());
}
