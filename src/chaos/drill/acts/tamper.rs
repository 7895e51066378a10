//! A chain whose database is changed while nobody has it open, by somebody who can write files: the
//! target refuses to start, or says that the chain is broken. Then the file is put back.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::chaos::tampering::{Attack, Tampering, fold_closed, read_closed};
use crate::chaos::{Judgement, Sent, database};
use crate::target::{Ask, Client, Instance};

/// Where the chain of a service is read.
const READER: &str = "api-gateway";
/// The place that is attacked: neither the first entry nor one of the last two.
const PLACE: usize = 1;
/// Entries below which a chain is too short to be attacked.
const LEAST: usize = 4;

/// What was done to a chain, and what was said of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tampered {
    /// What was done.
    pub attack: Attack,
    /// The chain.
    pub chain: String,
    /// Its entries before and after.
    pub entries: (usize, usize),
    /// What was said of it before.
    pub before: Vec<Sent>,
    /// Why the target did not start on it, if it did not.
    pub refused: Option<String>,
    /// What was said of it after a start.
    pub after: Vec<Sent>,
    /// What was said of it once it was put back.
    pub again: Vec<Sent>,
}

/// Stops the target, changes the chain, starts it, looks, and puts the chain back.
pub(in crate::chaos::drill) async fn drive(
    instance: &mut Instance,
    client: &Client,
    (attack, chain): (Attack, &str),
    into: &mut Vec<Tampered>,
) -> anyhow::Result<Value> {
    let path = database::file(instance, chain)?;
    let before = looks(client, chain).await;
    instance.terminate().await?;
    fold_closed(&path).map_err(anyhow::Error::msg)?;
    let whole = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let entries = change(&path, chain, attack)?;
    let refused = instance.start_or_refuse().await.err();
    let mut tampered = Tampered {
        attack,
        chain: chain.to_owned(),
        entries,
        before,
        refused: refused.map(|error| error.to_string()),
        after: Vec::new(),
        again: Vec::new(),
    };
    if tampered.refused.is_none() {
        tampered.after = looks(client, chain).await;
        instance.kill().await?;
    }
    into.push(tampered);
    put_back(&path, &whole)?;
    instance.start_again().await?;
    let tampered = into.last_mut().expect("it was added");
    tampered.again = looks(client, chain).await;
    Ok(json!({"entries": entries.0, "left": entries.1, "noticed": tampered.noticed()}))
}

fn change(path: &Path, chain: &str, attack: Attack) -> anyhow::Result<(usize, usize)> {
    let mut tampering = Tampering::open(path).map_err(anyhow::Error::msg)?;
    let entries = tampering.rows().map_err(anyhow::Error::msg)?;
    let (own, others): (Vec<Value>, Vec<Value>) = entries
        .into_iter()
        .partition(|entry| entry["chain"] == chain);
    let n = own.len();
    ensure!(
        n >= LEAST,
        "a chain of {n} entries is too short to be attacked"
    );
    let changed = [others.clone(), attack.on(&own, PLACE)].concat();
    tampering.put(&changed).map_err(anyhow::Error::msg)?;
    tampering.close().map_err(anyhow::Error::msg)?;
    let left = read_closed(path).map_err(anyhow::Error::msg)?.len();
    Ok((n, left - others.len()))
}

/// The file as it was, and nothing beside it that another content left there.
fn put_back(path: &Path, whole: &[u8]) -> anyhow::Result<()> {
    for beside in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(beside);
        // Not there is what is wanted.
        let _ = std::fs::remove_file(name);
    }
    std::fs::write(path, whole).with_context(|| path.display().to_string())
}

async fn looks(client: &Client, chain: &str) -> Vec<Sent> {
    let mut looks = Vec::new();
    for what in ["checkpoint", "export"] {
        let ask = Ask::get(READER, &format!("/v3/audit/{what}?chain={chain}"));
        looks.push(Sent::by(client, ask).await);
    }
    looks
}

fn is_broken(sent: &Sent) -> bool {
    sent.status == 409 && sent.code() == "CHAIN_BROKEN"
}

impl Tampered {
    fn noticed(&self) -> bool {
        self.refused.is_some() || self.after.iter().any(is_broken)
    }

    /// Judges it.
    pub(super) fn judge(&self, judgement: &mut Judgement) -> String {
        let Self { attack, chain, .. } = self;
        let (before, left) = self.entries;
        for (when, looks) in [("before", &self.before), ("put back", &self.again)] {
            let bad = looks.iter().find(|sent| !sent.ok());
            if let Some(sent) = bad {
                judgement.undecided(format!(
                    "{chain} {when}: {}: it could not be read",
                    sent.line()
                ));
            } else if looks.is_empty() {
                judgement.undecided(format!("{chain} {when}: nobody looked"));
            }
        }
        let answered = self.after.iter().any(Sent::answered);
        if !self.noticed() && !answered {
            judgement.undecided(format!("{chain} after {attack:?}: nobody looked"));
        } else if !self.noticed() {
            let said: Vec<String> = self.after.iter().map(Sent::line).collect();
            judgement.violation(format!(
                "{chain} after {attack:?} ({before} entries, {left} left): got {}, expected no start \
                 or 409 CHAIN_BROKEN",
                said.join(", ")
            ));
        }
        let noticed = match (&self.refused, self.noticed()) {
            (Some(_), _) => "the target did not start on it",
            (None, true) => "it was said to be broken",
            (None, false) => "nobody noticed",
        };
        format!("{chain} after {attack:?} ({before} entries, {left} left): {noticed}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(status: u16, code: &str) -> Sent {
        let answer = match code {
            "" => json!({}),
            code => json!({"error": {"code": code}}),
        };
        let sent = json!({
            "service": READER, "method": "GET", "path": "/v3/audit/export", "actor": "op-1",
            "role": "operator", "id": "cor_1", "invoked_us": 1, "returned_us": 2,
            "status": status, "answer": answer,
        });
        serde_json::from_value(sent).unwrap()
    }

    fn judged(change: impl Fn(&mut Tampered)) -> (String, String) {
        let mut tampered = Tampered {
            attack: Attack::CutTail,
            chain: READER.to_owned(),
            entries: (9, 7),
            before: vec![sent(200, "")],
            refused: None,
            after: vec![sent(200, ""), sent(409, "CHAIN_BROKEN")],
            again: vec![sent(200, "")],
        };
        change(&mut tampered);
        let mut judgement = Judgement::default();
        tampered.judge(&mut judgement);
        (
            judgement.violations.join(" | "),
            judgement.undecided.join(" | "),
        )
    }

    #[test]
    fn a_refusal_and_a_word_of_it_are_good_silence_is_not_and_no_look_is_undecided() {
        assert_eq!(judged(|_| {}), Default::default());
        let refused = |tampered: &mut Tampered| {
            tampered.after.clear();
            tampered.refused = Some("exit 1".to_owned());
        };
        assert_eq!(judged(refused), Default::default());
        let (violations, _) = judged(|tampered| tampered.after = vec![sent(200, "")]);
        assert!(violations.contains("9 entries, 7 left"), "{violations}");
        for change in [
            (|tampered: &mut Tampered| tampered.after.clear()) as fn(&mut Tampered),
            |tampered| tampered.before = vec![sent(503, "BUSY")],
            |tampered| tampered.again.clear(),
        ] {
            let (violations, undecided) = judged(change);
            assert!(
                violations.is_empty() && !undecided.is_empty(),
                "{violations}"
            );
        }
    }
}
