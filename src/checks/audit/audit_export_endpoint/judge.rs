//! The judgement: proofs say what their entries say, segments are parts of their chain, and nobody
//! gets anything without credentials.

use std::collections::BTreeMap;

use ed25519_dalek::VerifyingKey;
use serde_json::Value;

use super::{Evidence, Guarded, Range, Segment, Standing};
use crate::checks::Judgement;
use crate::checks::audit::audit_chain_present::{self, Reading};
use crate::checks::audit::stored::digest;
use crate::contract::audit::Before;
use crate::contract::checkpoint::head_of;
use crate::contract::{Checkpoint, Export, routes, verify_export};
use crate::violation;

/// How many violations are spelled out; the rest is counted.
const SHOWN: usize = 20;

pub(super) fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    judgement.undecided.extend(seen.trouble.iter().cloned());
    let wholes = wholes(seen);
    let mut good = 0;
    for segment in &seen.segments {
        let found = complaints(segment, &wholes, seen);
        good += u64::from(found.is_empty());
        for what in found {
            violation!(judgement, "{}: {what}", segment.path);
        }
    }
    judge_joints(seen, &mut judgement);
    judge_story(seen, &wholes, &mut judgement);
    let refused = judge_ranges(seen, &mut judgement);
    let guarded = judge_guards(seen, &mut judgement);
    judgement.exercised("segments", good);
    judgement.exercised("refused_ranges", refused);
    judgement.exercised("refused_without_credentials", guarded);
    let entries: usize = wholes.values().map(|entries| entries.len()).sum();
    judgement.detail = format!(
        "{good} exports of {entries} entries in {} chains verified; {refused} bad ranges and \
         {guarded} requests without credentials refused",
        wholes.len(),
    );
    let shown = judgement.violations.len().min(SHOWN);
    let rest = judgement.violations.split_off(shown);
    if !rest.is_empty() {
        violation!(judgement, "and {} more violations", rest.len());
    }
    judgement
}

/// The entries of each chain, by its first whole export.
fn wholes(seen: &Evidence) -> BTreeMap<&str, &[Value]> {
    let mut wholes = BTreeMap::new();
    for segment in seen
        .segments
        .iter()
        .filter(|segment| segment.range == Range::Whole)
    {
        if let Some(export) = &segment.export {
            wholes
                .entry(segment.chain.as_str())
                .or_insert(export.entries.as_slice());
        }
    }
    wholes
}

/// What is wrong with one export.
fn complaints(
    segment: &Segment,
    wholes: &BTreeMap<&str, &[Value]>,
    seen: &Evidence,
) -> Vec<String> {
    let chain = segment.chain.as_str();
    let all = wholes.get(chain).copied().unwrap_or_default();
    let Some(export) = &segment.export else {
        return vec![format!("{}, expected 200 and an export", segment.answer)];
    };
    let mut found = Vec::new();
    if segment.deprecated {
        found.push("called deprecated, expected a route of its own right".to_owned());
    }
    let from = match segment.range {
        Range::Whole => 0,
        Range::Between(from, _) | Range::AtMost(from, _) => {
            usize::try_from(from).unwrap_or(usize::MAX)
        }
    };
    let to = match segment.range {
        Range::Whole => all.len(),
        Range::Between(_, to) => usize::try_from(to + 1).unwrap_or(0).min(all.len()),
        Range::AtMost(_, limit) => from.saturating_add(limit).min(all.len()),
    };
    let expected = all.get(from..to).unwrap_or_default();
    if export.entries != expected {
        let (got, n) = (export.entries.len(), expected.len());
        let other = export
            .entries
            .iter()
            .zip(expected)
            .position(|(a, b)| a != b);
        let first = other.map_or(String::new(), |place| {
            format!(", the first other one at place {place}")
        });
        found.push(format!(
            "{got} entries, expected the {n} of the whole export{first}"
        ));
    }
    let before = from
        .checked_sub(1)
        .and_then(|place| all.get(place))
        .map(|entry| Before {
            seq: entry["seq"].as_i64().unwrap_or_default(),
            hash: entry["hash"].as_str().unwrap_or_default().to_owned(),
        });
    let flaws = verify_export(chain, export, before.as_ref());
    found.extend(flaws.iter().map(ToString::to_string));
    found.extend(checkpoint(chain, export, all, &seen.pinned));
    found
}

/// What is wrong with the checkpoint in a proof: it is of the whole chain, whatever the segment.
fn checkpoint(chain: &str, export: &Export, all: &[Value], pinned: &str) -> Option<String> {
    let Some(note) = export.proof.as_ref()?.checkpoint.as_ref() else {
        return Some("proof.checkpoint is null, expected a signed note".to_owned());
    };
    let opened = key(pinned).ok_or("no key is pinned".to_owned());
    match opened.and_then(|key| Checkpoint::open(note, chain, &key)) {
        Err(why) => Some(format!("proof.checkpoint: {why}")),
        Ok(opened) if Some(opened.head) != head_of(all) => {
            let (size, n) = (opened.head.size, all.len());
            Some(format!(
                "proof.checkpoint is of {size} entries, expected the {n} of the chain"
            ))
        }
        Ok(_) => None,
    }
}

fn key(digits: &str) -> Option<VerifyingKey> {
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    VerifyingKey::from_bytes(bytes?.as_slice().try_into().ok()?).ok()
}

/// Where one segment ends and another begins, the proofs say so too.
fn judge_joints(seen: &Evidence, judgement: &mut Judgement) {
    let proof = |segment: &Segment| segment.export.as_ref()?.proof.clone();
    for chain in &seen.chains {
        let of_chain = seen
            .segments
            .iter()
            .filter(|segment| &segment.chain == chain);
        let parts: Vec<_> = of_chain
            .filter(|segment| matches!(segment.range, Range::Between(..)))
            .filter_map(proof)
            .collect();
        let mut joints = 0;
        for left in &parts {
            for right in parts
                .iter()
                .filter(|right| right.first_seq == left.last_seq + 1)
            {
                joints += 1;
                judgement.expect(right.prev_hash == left.last_hash, || {
                    let (got, expected) = (&right.prev_hash, &left.last_hash);
                    let seq = right.first_seq;
                    format!(
                        "chain {chain}: the segment from {seq} joins {got}, expected {expected}"
                    )
                });
            }
        }
        if joints == 0 {
            judgement.undecided(format!("chain {chain}: no two consecutive segments"));
        }
    }
}

/// Each acknowledged effect has its entry in what was exported, and each entry its effect.
fn judge_story(seen: &Evidence, wholes: &BTreeMap<&str, &[Value]>, judgement: &mut Judgement) {
    let export = |(chain, entries): (&&str, &&[Value])| {
        let (entries, proof) = (entries.to_vec(), None);
        ((*chain).to_owned(), Export { entries, proof })
    };
    let readings = seen
        .segments
        .iter()
        .filter(|segment| segment.export.is_some());
    let story = audit_chain_present::Evidence {
        chains: seen.chains.clone(),
        sent: seen.sent.clone(),
        readings: readings
            .map(|segment| Reading {
                chain: segment.chain.clone(),
                at_us: segment.at_us,
                ..Reading::default()
            })
            .collect(),
        exports: wholes.iter().map(export).collect(),
        effects: seen.effects.clone(),
        ..audit_chain_present::Evidence::default()
    };
    judgement
        .violations
        .extend(audit_chain_present::effects_and_entries(&story));
}

/// Refused with 400, and with a code.
fn judge_ranges(seen: &Evidence, judgement: &mut Judgement) -> u64 {
    let mut refused = 0;
    for bad in &seen.bad_ranges {
        let right = bad.sent.status == 400 && !bad.sent.code().is_empty();
        refused += u64::from(right);
        judgement.expect(right, || {
            format!(
                "a range that is {}: {}, expected 400",
                bad.what,
                bad.sent.line()
            )
        });
    }
    for what in ["empty", "inverted"] {
        if !seen.bad_ranges.iter().any(|bad| bad.what == what) {
            judgement.undecided(format!("no range that is {what}"));
        }
    }
    refused
}

fn judge_guards(seen: &Evidence, judgement: &mut Judgement) -> u64 {
    let mut refused = 0;
    for guarded in &seen.guarded {
        let Guarded {
            service,
            method,
            template,
            without,
            with,
        } = guarded;
        let route = format!("{method} {template} of {service}");
        refused += u64::from(without.status == 401);
        judgement.expect(without.status == 401, || {
            format!(
                "{route} without credentials: {} {}, expected 401",
                without.status,
                without.code()
            )
        });
        match with {
            Some(with) if with.status == 401 || !with.answered() => {
                violation!(
                    judgement,
                    "{route} with credentials: {}, expected another answer than 401",
                    with.line()
                );
            }
            // The control: what was refused to nobody is granted to somebody.
            Some(with) if template.ends_with("/reissue") && !with.ok() => {
                violation!(
                    judgement,
                    "{route} with credentials: {}, expected 2xx",
                    with.line()
                );
            }
            Some(_) => {}
            None => judgement.undecided(format!("{route} was not asked with credentials")),
        }
    }
    judge_standing(seen, judgement);
    for route in routes()
        .iter()
        .filter(|route| route.since == "v4.7" && route.min_role != "none")
    {
        for path in route.paths() {
            let asked = |guarded: &Guarded| {
                (&guarded.service, &guarded.method, &guarded.template)
                    == (&route.service, &route.method, &path)
            };
            if !seen.guarded.iter().any(asked) {
                let (method, service) = (&route.method, &route.service);
                judgement.undecided(format!("{method} {path} of {service} was never asked"));
            }
        }
    }
    refused
}

/// Requests of nobody change nothing.
fn judge_standing(seen: &Evidence, judgement: &mut Judgement) {
    let (Some(before), Some(after)) = (&seen.before, &seen.after) else {
        judgement.undecided("what stood around the requests without credentials is not known");
        return;
    };
    let Standing { tables, open } = before;
    for (table, was) in tables {
        judgement.expect(after.tables.get(table) == Some(was), || {
            format!("requests without credentials changed {table}, expected nothing changed")
        });
    }
    for (list, was) in open {
        judgement.expect(after.open.get(list) == Some(was), || {
            let is = after.open.get(list).map(digest);
            let was = digest(was);
            format!("requests without credentials changed {list}: {is:?}, expected {was}")
        });
        if was.as_array().is_none_or(Vec::is_empty) {
            judgement.undecided(format!("{list}: nothing was open that could have changed"));
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
