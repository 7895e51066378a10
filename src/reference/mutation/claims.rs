//! Idempotency keys in the database: claimed and settled on the writer's connection, inside the
//! transaction of the effect.

use rusqlite::params;

use crate::reference::store::{StoreError, Tx};

/// A key, and the request that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Method and canonical template.
    pub endpoint: String,
    /// The key.
    pub key: String,
    /// See [`super::fingerprint`].
    pub fingerprint: String,
    /// How long a settled key lives.
    pub ttl_ms: u64,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// This request is the first.
    New,
    /// The same request was answered before.
    Replay {
        /// The stored status.
        status: u16,
        /// The stored body, byte for byte.
        body: String,
    },
    /// The same request is running.
    InProgress,
    /// The key belongs to another request.
    Reused,
}

/// How keys are claimed and settled.
pub trait Claims: Send + Sync {
    /// Claims a key for a request, or says whose it is.
    ///
    /// # Errors
    /// The store's.
    fn claim(&self, tx: &mut Tx<'_>, claim: &Claim) -> Result<Claimed, StoreError>;
    /// Stores the answer under a key that this transaction claimed.
    ///
    /// # Errors
    /// The store's.
    fn settle(
        &self,
        tx: &mut Tx<'_>,
        claim: &Claim,
        status: u16,
        body: &str,
    ) -> Result<(), StoreError>;
    /// Gives a key back that this transaction claimed: the answer is not one to be stored.
    ///
    /// # Errors
    /// The store's.
    fn release(&self, tx: &mut Tx<'_>, claim: &Claim) -> Result<(), StoreError>;
    /// Points a key that this transaction claimed at the operation that will settle it.
    ///
    /// # Errors
    /// The store's.
    fn attach(&self, tx: &mut Tx<'_>, claim: &Claim, operation_id: &str) -> Result<(), StoreError>;
    /// Stores the answer of an operation under the key that points at it, if one does.
    ///
    /// # Errors
    /// The store's.
    fn settle_operation(
        &self,
        tx: &mut Tx<'_>,
        operation_id: &str,
        ttl_ms: u64,
        answer: (u16, &str),
    ) -> Result<(), StoreError>;
    /// Gives the key back that points at an operation, if one does: its answer is not one to be
    /// stored.
    ///
    /// # Errors
    /// The store's.
    fn release_operation(&self, tx: &mut Tx<'_>, operation_id: &str) -> Result<(), StoreError>;
    /// Removes expired keys; the answer is how many.
    ///
    /// # Errors
    /// The store's.
    fn prune(&self, tx: &mut Tx<'_>) -> Result<usize, StoreError>;
}

/// The table `idempotency_keys`.
#[derive(Clone, Copy, Debug, Default)]
pub struct DurableClaims;

impl Claims for DurableClaims {
    fn claim(&self, tx: &mut Tx<'_>, claim: &Claim) -> Result<Claimed, StoreError> {
        let Claim {
            endpoint,
            key,
            fingerprint,
            ttl_ms,
        } = claim;
        let now_ms = tx.now().ms();
        let expires_ms = tx.now().plus_ms(*ttl_ms).ms();
        // Insert first and look afterwards: looking first would decide on what is not yet so.
        let inserted = tx
            .sql()
            .prepare_cached(
                "INSERT INTO idempotency_keys (endpoint, idempotency_key, fingerprint, state, \
                 created_at_ms, expires_at_ms) VALUES (?1, ?2, ?3, 'in_progress', ?4, ?5) \
                 ON CONFLICT (endpoint, idempotency_key) DO NOTHING",
            )?
            .execute(params![endpoint, key, fingerprint, now_ms, expires_ms])?;
        if inserted == 1 {
            return Ok(Claimed::New);
        }
        // An expired key is a new one. One in progress does not expire.
        let renewed = tx
            .sql()
            .prepare_cached(
                "UPDATE idempotency_keys SET fingerprint = ?3, state = 'in_progress', \
                 operation_id = NULL, status = NULL, body = NULL, created_at_ms = ?4, \
                 expires_at_ms = ?5 WHERE endpoint = ?1 AND idempotency_key = ?2 \
                 AND state = 'done' AND expires_at_ms <= ?4",
            )?
            .execute(params![endpoint, key, fingerprint, now_ms, expires_ms])?;
        if renewed == 1 {
            return Ok(Claimed::New);
        }
        look(tx, claim)
    }

    fn settle(
        &self,
        tx: &mut Tx<'_>,
        claim: &Claim,
        status: u16,
        body: &str,
    ) -> Result<(), StoreError> {
        let expires_ms = tx.now().plus_ms(claim.ttl_ms).ms();
        tx.sql()
            .prepare_cached(
                "UPDATE idempotency_keys SET state = 'done', status = ?3, body = ?4, \
                 expires_at_ms = ?5 WHERE endpoint = ?1 AND idempotency_key = ?2",
            )?
            .execute(params![claim.endpoint, claim.key, status, body, expires_ms])?;
        Ok(())
    }

    fn release(&self, tx: &mut Tx<'_>, claim: &Claim) -> Result<(), StoreError> {
        tx.sql()
            .prepare_cached(
                "DELETE FROM idempotency_keys WHERE endpoint = ?1 AND idempotency_key = ?2",
            )?
            .execute(params![claim.endpoint, claim.key])?;
        Ok(())
    }

    fn attach(&self, tx: &mut Tx<'_>, claim: &Claim, operation_id: &str) -> Result<(), StoreError> {
        tx.sql()
            .prepare_cached(
                "UPDATE idempotency_keys SET operation_id = ?3 \
                 WHERE endpoint = ?1 AND idempotency_key = ?2",
            )?
            .execute(params![claim.endpoint, claim.key, operation_id])?;
        Ok(())
    }

    fn settle_operation(
        &self,
        tx: &mut Tx<'_>,
        operation_id: &str,
        ttl_ms: u64,
        (status, body): (u16, &str),
    ) -> Result<(), StoreError> {
        let expires_ms = tx.now().plus_ms(ttl_ms).ms();
        tx.sql()
            .prepare_cached(
                "UPDATE idempotency_keys SET state = 'done', status = ?2, body = ?3, \
                 expires_at_ms = ?4 WHERE operation_id = ?1 AND state = 'in_progress'",
            )?
            .execute(params![operation_id, status, body, expires_ms])?;
        Ok(())
    }

    fn release_operation(&self, tx: &mut Tx<'_>, operation_id: &str) -> Result<(), StoreError> {
        tx.sql()
            .prepare_cached(
                "DELETE FROM idempotency_keys WHERE operation_id = ?1 AND state = 'in_progress'",
            )?
            .execute([operation_id])?;
        Ok(())
    }

    fn prune(&self, tx: &mut Tx<'_>) -> Result<usize, StoreError> {
        Ok(tx
            .sql()
            .prepare_cached(
                "DELETE FROM idempotency_keys WHERE state = 'done' AND expires_at_ms <= ?1",
            )?
            .execute([tx.now().ms()])?)
    }
}

fn look(tx: &Tx<'_>, claim: &Claim) -> Result<Claimed, StoreError> {
    type Stored = (String, String, Option<u16>, Option<String>);
    let (fingerprint, state, status, body): Stored = tx
        .sql()
        .prepare_cached(
            "SELECT fingerprint, state, status, body FROM idempotency_keys \
             WHERE endpoint = ?1 AND idempotency_key = ?2",
        )?
        .query_row(params![claim.endpoint, claim.key], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
    Ok(match (status, body) {
        _ if fingerprint != claim.fingerprint => Claimed::Reused,
        (Some(status), Some(body)) if state == "done" => Claimed::Replay { status, body },
        _ => Claimed::InProgress,
    })
}
