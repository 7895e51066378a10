//! The judgement: every read gave what was acknowledged or named the break, and no mutation
//! followed a break.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use ed25519_dalek::VerifyingKey;
use serde_json::Value;

use super::{Answer, Attacked, Control, Entry, Evidence, Fork, Forked, How, Look, Outcome, What};
use crate::checks::Judgement;
use crate::checks::audit::stored::digest;
use crate::checks::audit::tampering::Attack;
use crate::contract::checkpoint::head_of;
use crate::contract::merkle::Head;
use crate::contract::{Checkpoint, Consistency, verify_entries};
use crate::violation;

/// How many violations are spelled out; the rest is counted.
const SHOWN: usize = 20;

pub(super) fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    judgement.undecided.extend(seen.trouble.iter().cloned());
    let book = Book::new(seen, &mut judgement);
    for control in &seen.controls {
        book.control(control, &mut judgement);
    }
    for attacked in &seen.attacks {
        book.attacked(attacked, &mut judgement);
    }
    for fork in &seen.forks {
        book.fork(fork, &mut judgement);
    }
    count(&book, &mut judgement);
    let shown = judgement.violations.len().min(SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        violation!(judgement, "and {} more violations", rest.len());
    }
    judgement
}

/// What is known of the chains.
struct Book<'a> {
    seen: &'a Evidence,
    key: Option<VerifyingKey>,
    /// The digests of the acknowledged entries, by chain.
    digests: BTreeMap<&'a str, Vec<String>>,
    /// What notes say, by chain and note: the same few come again and again.
    opened: RefCell<BTreeMap<(String, String), Result<Head, String>>>,
    /// What proofs lead to, by chain and proof.
    led: RefCell<BTreeMap<(String, String), Result<Head, String>>>,
}

/// The chain's name and its entries.
#[derive(Clone, Copy)]
struct Chain<'a> {
    name: &'a str,
    entries: &'a [Value],
    digests: &'a [String],
}

impl<'a> Book<'a> {
    fn new(seen: &'a Evidence, judgement: &mut Judgement) -> Self {
        let digests = |(chain, entries): (&'a String, &'a Vec<Value>)| {
            (chain.as_str(), entries.iter().map(digest).collect())
        };
        let book = Self {
            seen,
            key: key(&seen.pinned),
            digests: seen.acknowledged.iter().map(digests).collect(),
            opened: RefCell::default(),
            led: RefCell::default(),
        };
        book.acknowledged(judgement);
        book
    }

    fn chain(&'a self, name: &'a str) -> Chain<'a> {
        Chain {
            name,
            entries: self.seen.acknowledged.get(name).map_or(&[], Vec::as_slice),
            digests: self.digests.get(name).map_or(&[], Vec::as_slice),
        }
    }

    /// What was served before any attack is a chain, and holds what was acknowledged.
    fn acknowledged(&self, judgement: &mut Judgement) {
        for (chain, entries) in &self.seen.acknowledged {
            if let Some(flaw) = verify_entries(chain, entries, None).first() {
                judgement.violation(format!("before any attack: {flaw}"));
            }
        }
        let ids: BTreeSet<&str> = self
            .seen
            .acknowledged
            .values()
            .flatten()
            .filter_map(|entry| entry["correlation_id"].as_str())
            .collect();
        let lost = |sent: &&crate::checks::Sent| sent.ok() && !ids.contains(sent.id.as_str());
        for sent in self.seen.sent.iter().filter(lost) {
            violation!(
                judgement,
                "{}: no chain has an entry of it, expected 1",
                sent.line()
            );
        }
    }

    /// A clean chain verifies and takes mutations.
    fn control(&self, control: &Control, judgement: &mut Judgement) {
        let chain = self.chain(&control.chain);
        let Control { when, .. } = control;
        for look in &control.looks {
            let complaint = match &look.answer {
                Answer::Broken { seq, reason, .. } => {
                    Some(format!("CHAIN_BROKEN at {seq:?} ({reason})"))
                }
                answer => self.not_as_acknowledged(chain, look.what, answer),
            };
            if let Some(got) = complaint {
                let (name, what) = (chain.name, look.what);
                violation!(
                    judgement,
                    "clean chain {name}, {when}, {what:?}: {got}, expected it clean"
                );
            }
        }
        if let Some(Outcome { status, code }) = &control.mutation
            && !(200..300).contains(status)
        {
            let name = chain.name;
            violation!(
                judgement,
                "clean chain {name}, {when}: a mutation got {status} {code}, expected 2xx"
            );
        }
    }

    fn attacked(&self, attacked: &Attacked, judgement: &mut Judgement) {
        let chain = self.chain(&attacked.chain);
        let bounds = bounds(attacked, chain);
        let place = || format!("chain {}, {}", chain.name, said(&attacked.how));
        for look in &attacked.looks {
            let complaint = match &look.answer {
                Answer::Broken {
                    chain: named, seq, ..
                } => broken(chain, look.what, (named, *seq), &bounds),
                answer => self
                    .not_as_acknowledged(chain, look.what, answer)
                    .map(|got| format!("{got}, expected the acknowledged entries or CHAIN_BROKEN")),
            };
            if let Some(got) = complaint {
                violation!(judgement, "{}, {:?}: {got}", place(), look.what);
            }
        }
        let found = attacked.looks.iter().any(|look| look.is_broken(chain.name));
        if let Some(Outcome { status, code }) = &attacked.mutation
            && found
            && (*status, code.as_str()) != (503, "AUDIT_BROKEN")
        {
            violation!(
                judgement,
                "{}: a mutation got {status} {code}, expected 503 AUDIT_BROKEN",
                place()
            );
        }
    }

    /// What contradicts that this answer is about the acknowledged entries.
    fn not_as_acknowledged(&self, chain: Chain<'_>, what: What, answer: &Answer) -> Option<String> {
        match (what, answer) {
            (
                What::Whole,
                Answer::Entries {
                    digests,
                    checkpoint,
                },
            ) => self.entries(chain, 0..=last(chain), digests, checkpoint.as_deref()),
            (
                What::Segment(from, to),
                Answer::Entries {
                    digests,
                    checkpoint,
                },
            ) => self.entries(chain, from..=to, digests, checkpoint.as_deref()),
            (What::Trace(seq), Answer::Entries { digests, .. }) => {
                let known =
                    |digest: &&String| self.digests.values().flatten().any(|one| one == *digest);
                let foreign = digests.iter().filter(|digest| !known(digest)).count();
                let asked = usize::try_from(seq)
                    .ok()
                    .and_then(|seq| chain.digests.get(seq));
                let there = asked.is_some_and(|digest| digests.contains(digest));
                (foreign > 0 || !there).then(|| {
                    format!("{foreign} entries that were never acknowledged, entry {seq} among them: {there}")
                })
            }
            (What::Checkpoint, Answer::Signed(signed)) => self.note(chain, &signed.checkpoint),
            // What was never kept leads nowhere, and is among what stays undecided.
            (What::Consistency, Answer::Proof(_))
                if !self.seen.witnessed.contains_key(chain.name) =>
            {
                None
            }
            (What::Consistency, Answer::Proof(proof)) => match self.leads_to(chain, proof) {
                Err(why) => Some(why),
                Ok(now) => (Some(now) != head_of(chain.entries)).then(|| {
                    let (n, size) = (chain.entries.len(), now.size);
                    format!("it leads to {size} entries and another root than that of the {n}")
                }),
            },
            (_, Answer::Other(Outcome { status, code })) => Some(format!("{status} {code}")),
            _ => Some("an answer of another kind".to_owned()),
        }
    }

    fn entries(
        &self,
        chain: Chain<'_>,
        range: RangeInclusive<i64>,
        digests: &[String],
        checkpoint: Option<&str>,
    ) -> Option<String> {
        let from = usize::try_from(*range.start()).ok()?;
        let to = usize::try_from(*range.end() + 1).ok()?;
        let expected = chain.digests.get(from..to).unwrap_or_default();
        if digests != expected {
            let same = digests.iter().zip(expected).filter(|(a, b)| a == b).count();
            return Some(format!(
                "{} entries with a clean proof, {same} of them as the {} that were acknowledged",
                digests.len(),
                expected.len()
            ));
        }
        match checkpoint {
            Some(note) => self.note(chain, note),
            None => Some("an export without a checkpoint".to_owned()),
        }
    }

    /// What contradicts that this note is the checkpoint of the acknowledged entries.
    fn note(&self, chain: Chain<'_>, note: &str) -> Option<String> {
        match self.head(chain, note) {
            Err(why) => Some(format!("a checkpoint of which {why}")),
            Ok(head) if Some(head) != head_of(chain.entries) => {
                let (n, size) = (chain.entries.len(), head.size);
                Some(format!("a checkpoint of {size} entries, not of the {n}"))
            }
            Ok(_) => None,
        }
    }

    /// What a note says under the pinned key.
    fn head(&self, chain: Chain<'_>, note: &str) -> Result<Head, String> {
        let place = (chain.name.to_owned(), note.to_owned());
        let open = || {
            let key = self.key.as_ref().ok_or("no key is pinned")?;
            Checkpoint::open(note, chain.name, key).map(|opened| opened.head)
        };
        self.opened
            .borrow_mut()
            .entry(place)
            .or_insert_with(open)
            .clone()
    }

    /// Where a proof leads to from one of the checkpoints that the harness kept.
    fn leads_to(&self, chain: Chain<'_>, proof: &Consistency) -> Result<Head, String> {
        let place = (chain.name.to_owned(), format!("{proof:?}"));
        let lead = || {
            let key = self.key.as_ref().ok_or("no key is pinned")?;
            let notes = [&self.seen.witnessed, &self.seen.early];
            let kept = notes.into_iter().filter_map(|notes| notes.get(chain.name));
            let led = kept.map(|note| proof.verify(chain.name, &self.head(chain, note)?, key));
            led.reduce(Result::or)
                .unwrap_or(Err("no checkpoint was kept".to_owned()))
        };
        self.led
            .borrow_mut()
            .entry(place)
            .or_insert_with(lead)
            .clone()
    }

    /// No proof leads from what the witness has seen to another chain.
    fn fork(&self, fork: &Fork, judgement: &mut Judgement) {
        let chain = self.chain(&fork.chain);
        if !is_another(fork.stored.as_deref(), chain) {
            return;
        }
        let witnessed = self.seen.witnessed.get(chain.name);
        let head = witnessed.and_then(|note| self.head(chain, note).ok());
        let (Some(head), Some(key)) = (head, &self.key) else {
            return;
        };
        let (name, how) = (chain.name, fork.how);
        for look in &fork.looks {
            let got = match &look.answer {
                Answer::Broken { .. } => continue,
                Answer::Proof(proof) if proof.verify(name, &head, key).is_err() => continue,
                Answer::Proof(_) => "a proof that verifies".to_owned(),
                Answer::Other(Outcome { status, code }) => format!("{status} {code}"),
                _ => "an answer of another kind".to_owned(),
            };
            violation!(
                judgement,
                "chain {name}, {how:?}: consistency with the {} entries that the witness saw is {got}, \
                 expected 409 CHAIN_BROKEN, or nothing that verifies",
                head.size
            );
        }
    }
}

fn key(digits: &str) -> Option<VerifyingKey> {
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    VerifyingKey::from_bytes(bytes?.as_slice().try_into().ok()?).ok()
}

fn last(chain: Chain<'_>) -> i64 {
    i64::try_from(chain.entries.len()).unwrap_or(0) - 1
}

/// Whether the stored entries are others than the acknowledged ones, or more, or fewer.
fn is_another(stored: Option<&[Entry]>, chain: Chain<'_>) -> bool {
    let Some(stored) = stored else { return true };
    let same = |(place, entry): (usize, &Entry)| matches!(entry, Entry::Same(at) if *at == place);
    stored.len() != chain.entries.len() || !stored.iter().enumerate().all(same)
}

/// Between which places the first bad seq has to be: from the first entry that is another one, to
/// the first where the chain itself shows it. A chain that shows nothing is contradicted by its
/// checkpoint: at the first missing entry, or at the latest at the last one that it covers.
fn bounds(attacked: &Attacked, chain: Chain<'_>) -> RangeInclusive<i64> {
    if let How::Byte { seq, .. } = attacked.how {
        return seq..=seq;
    }
    let Some(stored) = &attacked.stored else {
        return 0..=last(chain).max(0);
    };
    let number = |place: usize| i64::try_from(place).unwrap_or(i64::MAX);
    // A file with a bit flipped is searched by its own broken order: an entry may be missed that is
    // there, and a row that is none may be met anywhere. The first one that is gone is bad for sure.
    if matches!(attacked.how, How::Bit { .. }) {
        let there = |place: &usize| stored.contains(&Entry::Same(*place));
        return 0..=number((0..chain.entries.len()).take_while(there).count());
    }
    let same = |(place, entry): (usize, &Entry)| matches!(entry, Entry::Same(at) if *at == place);
    let first = stored
        .iter()
        .enumerate()
        .take_while(|row| same(*row))
        .count();
    let rows: Vec<Value> = stored
        .iter()
        .map(|entry| match entry {
            Entry::Same(place) => chain.entries[*place].clone(),
            Entry::Other(row) => row.clone(),
        })
        .collect();
    let shown =
        (0..rows.len()).find(|end| !verify_entries(chain.name, &rows[..=*end], None).is_empty());
    let shown = shown.unwrap_or(if rows.len() < chain.entries.len() {
        rows.len()
    } else {
        chain.entries.len().saturating_sub(1)
    });
    number(first)..=number(shown).max(number(first))
}

/// What is wrong with a break that was named.
fn broken(
    chain: Chain<'_>,
    what: What,
    (named, seq): (&str, Option<i64>),
    bounds: &RangeInclusive<i64>,
) -> Option<String> {
    // A trace covers all chains, and another one may be broken too.
    if named != chain.name && matches!(what, What::Trace(_)) {
        return None;
    }
    if named != chain.name {
        return Some(format!(
            "CHAIN_BROKEN of chain {named:?}, expected {:?}",
            chain.name
        ));
    }
    // Whoever reads a segment alone finds the first bad entry of that segment.
    let to = match what {
        What::Segment(_, to) => to.max(*bounds.end()),
        _ => *bounds.end(),
    };
    let right = seq.is_some_and(|seq| (*bounds.start()..=to).contains(&seq));
    let seq = seq.map_or("no seq".to_owned(), |seq| format!("seq {seq}"));
    (!right).then(|| {
        format!(
            "CHAIN_BROKEN names {seq}, expected {} to {to}",
            bounds.start()
        )
    })
}

fn said(how: &How) -> String {
    match how {
        How::Byte {
            seq,
            column,
            byte,
            mask,
        } => format!("byte {byte} of {column} of entry {seq} changed by {mask:#04x}"),
        How::Running { what } => format!("{what:?} while it runs"),
        How::Stopped { what } => format!("{what:?} before a start"),
        How::Older => "an older database beside its newer checkpoint".to_owned(),
        How::Bit { offset, bit } => format!("bit {bit} of byte {offset} of the file flipped"),
    }
}

/// What has to have occurred for the numbers to mean anything.
fn count(book: &Book<'_>, judgement: &mut Judgement) {
    let seen = book.seen;
    let noticed = |attacked: &&Attacked| {
        let broken = |look: &Look| look.is_broken(&attacked.chain);
        attacked.refused_start.is_some() || attacked.looks.iter().any(broken)
    };
    let of = |wanted: fn(&How) -> bool| seen.attacks.iter().filter(move |one| wanted(&one.how));
    let bytes = of(|how| matches!(how, How::Byte { .. }))
        .filter(noticed)
        .count();
    let running = of(|how| matches!(how, How::Running { .. }))
        .filter(noticed)
        .count();
    let stopped = of(|how| matches!(how, How::Stopped { .. } | How::Older))
        .filter(noticed)
        .count();
    let flips = of(|how| matches!(how, How::Bit { .. })).count();
    let noticed_flips = of(|how| matches!(how, How::Bit { .. }))
        .filter(noticed)
        .count();
    let clean: usize = seen
        .controls
        .iter()
        .map(|control| control.looks.len())
        .sum();
    let witnessed = seen.forks.iter().filter(|fork| {
        (fork.refused_start.is_some() || !fork.looks.is_empty())
            && is_another(fork.stored.as_deref(), book.chain(&fork.chain))
    });
    let witnessed = witnessed.count();
    for (what, n) in [
        ("changed_bytes", bytes),
        ("attacks", running + stopped),
        ("bit_flips", flips),
        ("noticed_flips", noticed_flips),
        ("clean_reads", clean),
        ("witnessed_forks", witnessed),
    ] {
        judgement.exercised(what, n as u64);
    }
    coverage(seen, judgement);
    let reads: usize = seen
        .attacks
        .iter()
        .map(|attacked| attacked.looks.len())
        .sum();
    judgement.detail = format!(
        "{bytes} bytes of an entry, {} attacks on the list, {flips} flipped bits ({noticed_flips} \
         noticed): {reads} reads and {witnessed} of a witness gave nothing that was forged; \
         {clean} clean reads verified",
        running + stopped,
    );
}

fn coverage(seen: &Evidence, judgement: &mut Judgement) {
    for chain in &seen.chains {
        if !seen.witnessed.contains_key(chain) {
            judgement.undecided(format!(
                "chain {chain}: no checkpoint for the witness to keep"
            ));
        }
    }
    let is = |how: How| seen.attacks.iter().any(|attacked| attacked.how == how);
    for what in Attack::ALL {
        for (how, when) in [
            (How::Running { what }, "while the target runs"),
            (How::Stopped { what }, "before a start"),
        ] {
            if !is(how) {
                judgement.undecided(format!("no {what:?} {when}"));
            }
        }
    }
    if !is(How::Older) {
        judgement.undecided("no older database beside a newer checkpoint");
    }
    for how in [
        Forked::OlderPair,
        Forked::Appended,
        Forked::NewKeyRewritten,
        Forked::NewKey,
        Forked::NewKeyBeside,
    ] {
        if !seen.forks.iter().any(|fork| fork.how == how) {
            judgement.undecided(format!("no fork of the kind {how:?}"));
        }
    }
    if !seen
        .controls
        .iter()
        .any(|control| control.mutation.is_some())
    {
        judgement.undecided("no mutation of a clean chain beside attacked ones");
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
