//! A checkpoint every so many entries, so that a tail which nobody has asked about cannot be cut
//! off unseen either.

use std::sync::Arc;

use super::{Range, Source};
use crate::reference::service::Service;

/// Signs `audit.checkpoint_every` entries after the last kept checkpoint, again and again, until
/// the chain is broken. Nothing is done without a key.
pub async fn sign_periodically(svc: Arc<Service>) {
    let Ok(source) = Source::named(&svc, svc.name) else {
        return;
    };
    if source.key().is_err() {
        return;
    }
    let mut written = svc.store.written();
    let mut signed = source.kept_size();
    loop {
        let due = |entries: &u64| {
            let every = svc.config().audit.checkpoint_every;
            *entries >= signed.saturating_add(every)
        };
        let Ok(newest) = written.wait_for(due).await.map(|entries| *entries) else {
            return;
        };
        // One that cannot be kept just now is signed with the next one that is due.
        signed = match source.seal(Range::NONE).await {
            Ok(sealed) => sealed.tree.size(),
            Err(_) if svc.audit_broken().is_some() => return,
            Err(_) => newest,
        };
    }
}
