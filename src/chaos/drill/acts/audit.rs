//! What holds whatever happens: every audit chain hangs together from its first entry and goes on from
//! where it was seen before, and the contract that is served is the one that is pinned. And what a
//! target may not do over time: need more and more memory or files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::chaos::Judgement;
use crate::contract::audit::{Export, verify_entries};
use crate::target::{Ask, Client, Instance};

/// Where chains are read.
const READER: &str = "api-gateway";
/// Entries of an answer.
const PAGE: usize = 1000;
/// The contract that services serve until the release is out.
const CONTRACT: &str = "v4.6.0";
/// Files that may be open more than at first: the connections of a storm, which are kept for a while.
const MORE_FILES: u64 = 512;
/// Memory that may be used more than twice that of the beginning, in KiB: caches that fill.
const MORE_KIB: u64 = 64 << 10;

/// One look at all chains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// By the chain's name.
    pub chains: BTreeMap<String, Chain>,
    /// The contract that the gateway says it serves.
    pub contract: Option<String>,
}

/// What was seen of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// How many entries were read.
    pub entries: usize,
    /// What does not hold.
    pub flaws: Vec<String>,
    /// The hash of the last entry.
    pub last: Option<String>,
    /// The hash of the entry that was the last one at the look before; none if there was no look
    /// before, or there is no such entry any more.
    pub at_known: Option<String>,
    /// Why not all of it was read.
    pub unread: Option<String>,
}

/// What the process needed at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// Which process.
    pub pid: u32,
    /// Memory in RAM, in KiB.
    pub rss_kib: u64,
    /// Open files, sockets included.
    pub files: u64,
}

impl Needs {
    /// Asks the kernel; none when the process is gone or another one's.
    pub(in crate::chaos::drill) fn of(instance: &Instance) -> Option<Self> {
        let pid = instance.pid()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let rss = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(Self {
            pid,
            rss_kib: rss.trim().trim_end_matches(" kB").parse().ok()?,
            files: std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
        })
    }
}

/// Reads every chain.
pub(in crate::chaos::drill) async fn drive(
    instance: &Instance,
    client: &Client,
    into: &mut Vec<Audit>,
) -> Value {
    let health = client.send(Ask::get(READER, "/healthz")).await;
    let mut audit = Audit {
        contract: health.answered()["contract_version"]
            .as_str()
            .map(str::to_owned),
        ..Audit::default()
    };
    for name in instance.listening().chains.keys() {
        let known = into.last().and_then(|last| last.chains.get(name));
        let known = known
            .filter(|chain| chain.entries > 0)
            .map(|chain| chain.entries - 1);
        let chain = read(client, name, known).await;
        audit.chains.insert(name.clone(), chain);
    }
    let entries = audit.entries();
    into.push(audit);
    json!({"entries": entries})
}

async fn read(client: &Client, name: &str, known: Option<usize>) -> Chain {
    let (mut entries, mut chain) = (Vec::new(), Chain::default());
    loop {
        let from = entries.len();
        let path = format!("/v3/audit/export?chain={name}&from_seq={from}&limit={PAGE}");
        let exchange = client.send(Ask::get(READER, &path)).await;
        // There is no entry of that number: that was all. What was there before is missed.
        if exchange.answered()["error"]["code"] == "BAD_RANGE" {
            break;
        }
        match crate::contract::read::<Export>(exchange.answered()) {
            Ok(export) if exchange.ok() => {
                let got = export.entries.len();
                entries.extend(export.entries);
                if got < PAGE {
                    break;
                }
            }
            _ => {
                chain.unread = Some(format!("{path}: {}", exchange.answered()));
                break;
            }
        }
    }
    let hash = |entry: &Value| entry["hash"].as_str().map(str::to_owned);
    let flaws = verify_entries(name, &entries, None);
    chain.flaws = flaws.iter().map(ToString::to_string).collect();
    chain.at_known = known.and_then(|known| hash(entries.get(known)?));
    chain.last = entries.last().and_then(hash);
    chain.entries = entries.len();
    chain
}

impl Audit {
    /// How many entries there were in all.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.chains.values().map(|chain| chain.entries).sum()
    }
}

/// Judges all looks, in order.
pub(super) fn judge(audits: &[Audit], judgement: &mut Judgement) -> Option<String> {
    let mut before: Option<&Audit> = None;
    for audit in audits {
        let contract = audit.contract.as_deref();
        judgement.expect(contract == Some(CONTRACT), || {
            format!("the contract that is served: got {contract:?}, expected {CONTRACT}")
        });
        for (name, chain) in &audit.chains {
            judgement.violations.extend(chain.flaws.iter().cloned());
            if let Some(why) = &chain.unread {
                judgement.undecided(format!("the chain of {name} was not read: {why}"));
                continue;
            }
            let known = before.and_then(|before| before.chains.get(name)?.last.as_ref());
            let goes_on = known.is_none_or(|known| chain.at_known.as_ref() == Some(known));
            judgement.expect(goes_on, || {
                let (got, known) = (&chain.at_known, known.cloned().unwrap_or_default());
                format!("the chain of {name}: got {got:?} where {known} was, expected it to go on")
            });
        }
        before = Some(audit);
    }
    let last = audits.last()?;
    if last.entries() == 0 {
        judgement.undecided("no chain has an entry: nothing was audited");
    }
    let (looks, chains) = (audits.len(), last.chains.len());
    Some(format!(
        "{} entries in {chains} chains, whole at {looks} looks",
        last.entries()
    ))
}

/// Judges what processes needed: each against itself.
pub(super) fn judge_needs(needs: &[Needs], judgement: &mut Judgement) -> Option<String> {
    let mut first: BTreeMap<u32, &Needs> = BTreeMap::new();
    for now in needs {
        let then = *first.entry(now.pid).or_insert(now);
        judgement.expect(now.files <= then.files + MORE_FILES, || {
            format!(
                "open files: got {} after {}, expected them given back",
                now.files, then.files
            )
        });
        judgement.expect(now.rss_kib <= 2 * then.rss_kib + MORE_KIB, || {
            let (got, then) = (now.rss_kib, then.rss_kib);
            format!("memory: got {got} KiB after {then} KiB, expected it given back")
        });
    }
    let (last, most) = (
        needs.last()?,
        needs.iter().map(|needs| needs.rss_kib).max()?,
    );
    Some(format!(
        "{} MiB at most, {} files in the end",
        most >> 10,
        last.files
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(chain: Chain) -> Audit {
        Audit {
            chains: BTreeMap::from([("eva-os".to_owned(), chain)]),
            contract: Some(CONTRACT.to_owned()),
        }
    }

    fn chain(entries: usize, at_known: Option<&str>, last: &str) -> Chain {
        Chain {
            entries,
            last: Some(last.to_owned()),
            at_known: at_known.map(str::to_owned),
            ..Chain::default()
        }
    }

    fn judged(audits: &[Audit]) -> (Vec<String>, Vec<String>) {
        let mut judgement = Judgement::default();
        judge(audits, &mut judgement);
        (judgement.violations, judgement.undecided)
    }

    #[test]
    fn a_chain_goes_on_from_where_it_was() {
        let first = audit(chain(3, None, "c"));
        let good = audit(chain(5, Some("c"), "e"));
        assert_eq!(judged(&[first.clone(), good]), (vec![], vec![]));
        for bad in [chain(5, Some("x"), "e"), chain(2, None, "b")] {
            let (violations, _) = judged(&[first.clone(), audit(bad)]);
            assert!(
                violations[0].contains("expected it to go on"),
                "{violations:?}"
            );
        }
    }

    #[test]
    fn a_flaw_another_contract_and_nothing_at_all_are_noticed() {
        let mut flawed = chain(3, None, "c");
        flawed.flaws.push("eva-os: entry 1".to_owned());
        assert_eq!(judged(&[audit(flawed)]).0, ["eva-os: entry 1"]);
        let mut other = audit(chain(3, None, "c"));
        other.contract = Some("v4.7.0".to_owned());
        assert!(judged(&[other]).0[0].contains("expected v4.6.0"));
        let none = audit(Chain::default());
        assert!(judged(&[none]).1[0].contains("nothing was audited"));
        let mut unread = chain(0, None, "");
        unread.unread = Some("503".to_owned());
        assert!(judged(&[audit(unread)]).1[0].contains("was not read"));
        assert_eq!(judge(&[], &mut Judgement::default()), None);
    }

    #[test]
    fn a_process_is_held_against_itself() {
        let needs = |pid, rss_kib, files| Needs {
            pid,
            rss_kib,
            files,
        };
        let found = |all: &[Needs]| {
            let mut judgement = Judgement::default();
            judge_needs(all, &mut judgement);
            judgement.violations
        };
        assert_eq!(
            found(&[needs(1, 20_000, 60), needs(1, 90_000, 500)]),
            [""; 0]
        );
        assert_eq!(
            found(&[needs(1, 20_000, 60), needs(2, 400_000, 900)]),
            [""; 0]
        );
        assert!(found(&[needs(1, 20_000, 60), needs(1, 20_000, 600)])[0].contains("open files"));
        assert!(found(&[needs(1, 20_000, 60), needs(1, 400_000, 60)])[0].contains("memory"));
    }
}
