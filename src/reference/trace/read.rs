//! Reading one conversation from all chains, each verified as a whole.

use std::sync::Arc;

use super::order::{Gap, Reason, arrange, parse};
use crate::reference::audit::{Entry, Source};
use crate::reference::service::Service;
use crate::reference::web::Refusal;

/// Chains are read one after the other: an entry may name a parent that was written after its
/// chain was read. So often everything is read again before a parent counts as missing.
const READINGS: u32 = 3;

/// The entries of this id in their order, and the gaps.
pub(super) async fn conversation(
    svc: &Arc<Service>,
    id: &str,
) -> Result<(Vec<Entry>, Vec<Gap>), Refusal> {
    let mut readings = 0;
    loop {
        readings += 1;
        let mut entries = Vec::new();
        for chain in chains(svc) {
            let (source, id) = (Source::named(svc, chain)?, id.to_owned());
            let own = source.select(move |entry| entry.correlation_id == id);
            entries.extend(own.await?);
        }
        let (entries, mut gaps) = arrange(entries);
        for gap in &mut gaps {
            gap.reason = reason(svc, &gap.causal_parent).await?;
        }
        let open = gaps.iter().any(|gap| gap.reason == Reason::Missing);
        if !open || readings == READINGS {
            return Ok((entries, gaps));
        }
    }
}

/// The chains of this data directory.
fn chains(svc: &Service) -> impl Iterator<Item = &str> {
    let databases = svc.shared.databases.iter();
    databases
        .filter(|(_, path)| path.exists())
        .map(|(chain, _)| chain.as_str())
}

/// Why the parent of this name is not in the trace.
async fn reason(svc: &Arc<Service>, named: &str) -> Result<Reason, Refusal> {
    let Some(((chain, seq), hash)) = parse(named) else {
        return Ok(Reason::Missing);
    };
    if !chains(svc).any(|known| known == chain) {
        return Ok(Reason::Missing);
    }
    let hash = hash.to_owned();
    let source = Source::named(svc, &chain)?;
    let found = source.select(move |entry| entry.seq == seq && entry.hash == hash);
    Ok(match found.await?.is_empty() {
        true => Reason::Missing,
        false => Reason::Foreign,
    })
}
