//! How chains are attacked, and read afterwards.

use rand::Rng;
use rand::seq::SliceRandom;
use serde_json::Value;

use super::files::Files;
use super::prey::{MAIN, ON_BEHALF, Prey};
use super::{Attacked, Entry, Evidence, Fork, Forked, How, Look, Outcome, What};
use crate::checks::audit::stored;
use crate::checks::audit::tampering::{self, Attack, Tampering, byte_changes};
use crate::checks::{Cx, Sent, Undecided};
use crate::target::{Keys, Setup};

/// Appends that make a fork longer than what the witness saw. openclaw's leave two entries each.
const APPENDS: usize = 4;

/// The stored entries against the acknowledged ones.
fn compared(stored: Vec<Value>, acknowledged: &[Value]) -> Vec<Entry> {
    let digests: Vec<String> = acknowledged.iter().map(stored::digest).collect();
    let entry = |row: Value| {
        let digest = stored::digest(&row);
        match digests.iter().position(|known| *known == digest) {
            Some(place) => Entry::Same(place),
            None => Entry::Other(row),
        }
    };
    stored.into_iter().map(entry).collect()
}

/// Changes each byte of one entry while the target runs, reads, and puts it back.
pub(super) async fn change_bytes(
    cx: &Cx,
    prey: &mut Prey,
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    let _span = cx.span("change bytes");
    let entries = seen.acknowledged.get(MAIN).cloned().unwrap_or_default();
    let Some(entry) = entries.get(ON_BEHALF) else {
        return Err(Undecided(format!("chain {MAIN} has no entry {ON_BEHALF}")));
    };
    let path = prey.databases.get(MAIN);
    let path = path.ok_or_else(|| Undecided(format!("chain {MAIN} names no database")))?;
    let mut tampering = Tampering::open(path).map_err(Undecided)?;
    let mut rng = cx.seed.child("bytes").rng();
    let seq = i64::try_from(ON_BEHALF).unwrap_or(0);
    let (changes, reads) = (byte_changes(entry, &mut rng), prey.around(ON_BEHALF));
    let covering: Vec<What> = reads
        .iter()
        .copied()
        .filter(|what| *what != What::Segment(seq, seq))
        .collect();
    for (number, change) in changes.iter().enumerate() {
        let last = changes
            .get(number + 1)
            .is_none_or(|next| next.column != change.column);
        // The entry by itself each time, and the other reads in turn; all of them once a field.
        let turn = [What::Segment(seq, seq), covering[number % covering.len()]];
        let what = if last { &reads[..] } else { &turn };
        tampering.change(seq, change).map_err(Undecided)?;
        let looks = prey.reader(MAIN, &entries).look(what).await;
        let mutation = if last {
            prey.mutate(cx, MAIN, prey.effects).await.map(told)
        } else {
            None
        };
        tampering.put_back(seq, change).map_err(Undecided)?;
        let how = How::Byte {
            seq,
            column: change.column.clone(),
            byte: change.byte,
            mask: change.mask,
        };
        seen.attacks
            .push(attacked(MAIN, how, None, looks, mutation));
        if last {
            prey.control(MAIN, &format!("after {}", change.column), seen)
                .await;
        }
    }
    tampering.close().map_err(Undecided)
}

fn told(sent: Sent) -> Outcome {
    let code = sent.error.clone().unwrap_or_else(|| sent.code().to_owned());
    let status = sent.status;
    Outcome { status, code }
}

fn attacked(
    chain: &str,
    how: How,
    stored: Option<Vec<Entry>>,
    looks: Vec<Look>,
    mutation: Option<Outcome>,
) -> Attacked {
    Attacked {
        chain: chain.to_owned(),
        how,
        stored,
        refused_start: None,
        looks,
        mutation,
    }
}

/// Does to the list of entries what can be done to it while the target runs, and puts it back.
pub(super) async fn attack_running(
    cx: &Cx,
    prey: &mut Prey,
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    let _span = cx.span("attack while it runs");
    let entries = seen.acknowledged.get(MAIN).cloned().unwrap_or_default();
    let path = prey.databases.get(MAIN).cloned().unwrap_or_default();
    let mut tampering = Tampering::open(&path).map_err(Undecided)?;
    let mut rng = cx.seed.child("attacks").rng();
    for what in Attack::ALL {
        let at = place(&entries, &mut rng)?;
        tampering.put(&what.on(&entries, at)).map_err(Undecided)?;
        let stored = compared(tampering.rows().map_err(Undecided)?, &entries);
        let first = what.first(entries.len(), at);
        let looks = prey.reader(MAIN, &entries).look(&prey.around(first)).await;
        let mutation = prey.mutate(cx, MAIN, prey.effects).await.map(told);
        tampering.put(&entries).map_err(Undecided)?;
        let how = How::Running { what };
        seen.attacks
            .push(attacked(MAIN, how, Some(stored), looks, mutation));
        prey.control(MAIN, &format!("after {what:?}"), seen).await;
    }
    tampering.close().map_err(Undecided)
}

/// A place in the middle, by the seed.
fn place(entries: &[Value], rng: &mut impl Rng) -> Result<usize, Undecided> {
    let middle = entries.len().saturating_sub(3);
    if middle == 0 {
        let n = entries.len();
        return Err(Undecided(format!(
            "a chain of {n} entries is too short to be attacked"
        )));
    }
    Ok(1 + usize::try_from(rng.next_u32()).unwrap_or(0) % middle)
}

/// What waits for a target that starts: a chain, what was done to it, and where to read.
struct Trap {
    chain: String,
    how: How,
    stored: Option<Vec<Entry>>,
    at: usize,
}

/// Starts the target on chains that were attacked while it was stopped, one attack a chain.
pub(super) async fn attack_stopped(
    cx: &Cx,
    prey: &mut Prey,
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    let mut rng = cx.seed.child("at start").rng();
    let mut left: Vec<Option<Attack>> = Attack::ALL.into_iter().map(Some).chain([None]).collect();
    left.shuffle(&mut rng);
    while !left.is_empty() {
        let mut chains: Vec<String> = prey.databases.keys().cloned().collect();
        if chains.is_empty() {
            return Err(Undecided("no chain names a database".to_owned()));
        }
        chains.shuffle(&mut rng);
        let mut traps = Vec::new();
        for chain in &chains {
            let Some(what) = left.pop() else { break };
            let acknowledged = seen.acknowledged.get(chain).cloned().unwrap_or_default();
            traps.push(set(prey, chain, what, &acknowledged, &mut rng)?);
        }
        let clean: Vec<&String> = chains.iter().skip(traps.len()).collect();
        let refused = prey.begin(cx).await?;
        spring(cx, prey, (traps, refused), &clean, seen).await?;
    }
    Ok(())
}

/// Attacks the files of one chain; without an attack it puts the older database in.
fn set(
    prey: &Prey,
    chain: &str,
    what: Option<Attack>,
    acknowledged: &[Value],
    rng: &mut impl Rng,
) -> Result<Trap, Undecided> {
    let path = &prey.databases[chain];
    let at = place(acknowledged, rng)?;
    let (how, at) = match what {
        Some(what) => {
            let mut tampering = Tampering::open(path).map_err(Undecided)?;
            tampering
                .put(&what.on(acknowledged, at))
                .map_err(Undecided)?;
            tampering.close().map_err(Undecided)?;
            (How::Stopped { what }, what.first(acknowledged.len(), at))
        }
        None => {
            let older = Files {
                checkpoint: prey.base[chain].checkpoint.clone(),
                ..prey.older[chain].clone()
            };
            older.restore(path)?;
            (How::Older, acknowledged.len() - 1)
        }
    };
    let stored = tampering::read_closed(path).ok();
    Ok(Trap {
        chain: chain.to_owned(),
        how,
        stored: stored.map(|rows| compared(rows, acknowledged)),
        at,
    })
}

/// The target was started on these chains, or has refused to: sends each a mutation before anything
/// is read, reads it, and puts everything back. Chains that were left as they were are read too.
async fn spring(
    cx: &Cx,
    prey: &mut Prey,
    (traps, refused): (Vec<Trap>, Option<String>),
    clean: &[&String],
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    for trap in traps {
        let entries = seen
            .acknowledged
            .get(&trap.chain)
            .map_or(&[][..], Vec::as_slice);
        let (mut mutation, mut looks) = (None, Vec::new());
        // A bit may have changed nothing that matters: then a mutation would change the chain
        // before it is read.
        let certain = !matches!(trap.how, How::Bit { .. });
        if refused.is_none() {
            if certain {
                mutation = prey.mutate(cx, &trap.chain, prey.effects).await.map(told);
            }
            let reads = if certain {
                prey.around(trap.at)
            } else {
                Prey::across(trap.at)
            };
            looks = prey.reader(&trap.chain, entries).look(&reads).await;
            if !certain && looks.iter().any(|look| look.is_broken(&trap.chain)) {
                mutation = prey.mutate(cx, &trap.chain, prey.effects).await.map(told);
            }
        }
        seen.attacks.push(Attacked {
            refused_start: refused.clone(),
            ..attacked(&trap.chain, trap.how, trap.stored, looks, mutation)
        });
    }
    if refused.is_none() {
        for chain in clean {
            prey.control(chain, "at start", seen).await;
            let mutation = prey.mutate(cx, chain, prey.effects).await.map(told);
            if let Some(control) = seen.controls.last_mut() {
                control.mutation = mutation;
            }
        }
    }
    prey.instance.kill().await?;
    prey.restore()
}

/// Flips bits of the database files, by the seed, one a chain and start: a quarter of them anywhere,
/// the others in pages that hold entries.
pub(super) async fn flip_bits(
    cx: &Cx,
    prey: &mut Prey,
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    let _span = cx.span("flip bits");
    let wanted = cx.minimum.get("bit_flips").copied().unwrap_or_default();
    let mut rng = cx.seed.child("bits").rng();
    let mut waiting: Vec<Vec<(String, usize, u8)>> = Vec::new();
    let chains: Vec<String> = prey.base.keys().cloned().collect();
    for number in 0..usize::try_from(wanted).unwrap_or(usize::MAX) {
        let chain = &chains[number % chains.len()];
        let offset = target_of(prey, seen, chain, number % 4 == 0, &mut rng);
        let bit = u8::try_from(rng.next_u32() % 8).unwrap_or(0);
        if number % chains.len() == 0 {
            waiting.push(Vec::new());
        }
        let batch = waiting.last_mut().expect("pushed just now");
        batch.push((chain.clone(), offset, bit));
    }
    while let Some(batch) = waiting.pop() {
        let mut traps = Vec::new();
        for (chain, offset, bit) in &batch {
            let (path, entries) = (&prey.databases[chain], &seen.acknowledged[chain]);
            prey.base[chain].flipped(*offset, *bit).restore(path)?;
            let stored = tampering::read_closed(path).ok();
            traps.push(Trap {
                chain: chain.clone(),
                how: How::Bit {
                    offset: *offset,
                    bit: *bit,
                },
                stored: stored.map(|rows| compared(rows, entries)),
                at: entries.len() / 2,
            });
        }
        let refused = prey.begin(cx).await?;
        // A target that refuses one of several files has said nothing of the others.
        if refused.is_some() && batch.len() > 1 {
            prey.restore()?;
            let (some, others) = batch.split_at(batch.len() / 2);
            waiting.extend([some.to_vec(), others.to_vec()]);
            continue;
        }
        spring(cx, prey, (traps, refused), &[], seen).await?;
    }
    Ok(())
}

fn target_of(
    prey: &Prey,
    seen: &Evidence,
    chain: &str,
    anywhere: bool,
    rng: &mut impl Rng,
) -> usize {
    let files = &prey.base[chain];
    let hashes: Vec<&str> = seen
        .acknowledged
        .get(chain)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["hash"].as_str())
        .collect();
    let pages = files.pages_with(&hashes);
    let mut nth = |n: usize| usize::try_from(rng.next_u64() % n.max(1) as u64).unwrap_or(0);
    if anywhere || pages.is_empty() {
        return nth(files.database.len());
    }
    let page = &pages[nth(pages.len())];
    page.start + nth(page.len())
}

/// Restores an older database with its checkpoint, which no target can notice, asks as the witness,
/// and again when the fork has grown longer than what the witness has seen.
pub(super) async fn fork(cx: &Cx, prey: &mut Prey, seen: &mut Evidence) -> Result<(), Undecided> {
    let _span = cx.span("fork");
    for (chain, files) in &prey.older {
        files.restore(&prey.databases[chain])?;
    }
    let refused = prey.begin(cx).await?;
    let chains: Vec<String> = prey.databases.keys().cloned().collect();
    for chain in &chains {
        let stored = stored_now(cx, prey, chain, seen);
        witness(prey, chain, (Forked::OlderPair, stored, &refused), seen).await;
    }
    if refused.is_none() {
        for chain in &chains {
            for number in 0..APPENDS {
                prey.mutate(cx, chain, prey.effects + 1 + number).await;
            }
            let stored = stored_now(cx, prey, chain, seen);
            witness(prey, chain, (Forked::Appended, stored, &refused), seen).await;
        }
    }
    prey.instance.kill().await?;
    prey.restore()
}

/// The entries of a running target's chain, from a copy of its database.
fn stored_now(cx: &Cx, prey: &Prey, chain: &str, seen: &mut Evidence) -> Option<Vec<Entry>> {
    let copy = cx.dir.join(format!("copy-of-{chain}.db"));
    let read = || {
        if copy.exists() {
            std::fs::remove_file(&copy).map_err(|error| error.to_string())?;
        }
        stored::copy(&prey.databases[chain], &copy)?;
        stored::rows(&copy, chain)
    };
    let acknowledged = seen.acknowledged.get(chain).map_or(&[][..], Vec::as_slice);
    match read() {
        Ok(rows) => Some(compared(rows, acknowledged)),
        Err(why) => {
            seen.trouble.push(why);
            None
        }
    }
}

type State<'a> = (Forked, Option<Vec<Entry>>, &'a Option<String>);

async fn witness(prey: &Prey, chain: &str, (how, stored, refused): State<'_>, seen: &mut Evidence) {
    let looks = match refused {
        Some(_) => Vec::new(),
        None => prey.reader(chain, &[]).look(&[What::Consistency]).await,
    };
    seen.forks.push(Fork {
        chain: chain.to_owned(),
        how,
        stored,
        refused_start: refused.clone(),
        looks,
    });
}

/// Starts the target with another key, on chains that were rewritten and on chains that were not.
pub(super) async fn sign_anew(
    cx: &Cx,
    prey: &mut Prey,
    seen: &mut Evidence,
) -> Result<(), Undecided> {
    let _span = cx.span("sign anew");
    let pem = Setup::audit_key_file(&prey.instance.setup().dir);
    let other = Keys::new(cx.seed.child("another key")).audit_pem();
    crate::base::files::write_atomically(&pem, other.as_bytes())?;
    let ways = [
        Forked::NewKeyRewritten,
        Forked::NewKey,
        Forked::NewKeyBeside,
    ];
    let chains: Vec<String> = prey.databases.keys().cloned().collect();
    let mut states = Vec::new();
    for (chain, how) in chains.iter().zip(ways.into_iter().cycle()) {
        let (path, entries) = (&prey.databases[chain], &seen.acknowledged[chain]);
        if how == Forked::NewKeyRewritten {
            let mut tampering = Tampering::open(path).map_err(Undecided)?;
            let rewritten = Attack::RewriteSuffix.on(entries, 1);
            tampering.put(&rewritten).map_err(Undecided)?;
            tampering.close().map_err(Undecided)?;
        }
        if how != Forked::NewKeyBeside {
            let files = Files {
                checkpoint: None,
                ..Files::read(path)?
            };
            files.restore(path)?;
        }
        let stored = tampering::read_closed(path).ok();
        states.push((chain, how, stored.map(|rows| compared(rows, entries))));
    }
    let refused = prey.begin(cx).await?;
    for (chain, how, stored) in states {
        witness(prey, chain, (how, stored, &refused), seen).await;
    }
    prey.instance.kill().await?;
    Ok(())
}
