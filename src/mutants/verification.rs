//! Defects of verification: what is believed of tools, and what is done about a lie.

use std::sync::Arc;

use super::levers::Levers;
use super::{May, Mutant};
use crate::reference::config::Config;
use crate::reference::verify::{Claim, Looks, Verify};

/// The mutants of this subject.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "verify-always-true",
        must: &["verify-real"],
        may: &[May {
            gate: "verification-tests",
            reason: "nothing is looked at, so no lie is caught on any round trip",
        }],
        apply: |levers| verify(levers, Always(true)),
    },
    Mutant {
        name: "verify-always-false",
        must: &["verify-real"],
        may: &[May {
            gate: "verification-tests",
            reason: "no honest run is accepted on any round trip",
        }],
        apply: |levers| verify(levers, Always(false)),
    },
    Mutant {
        name: "verification-not-looked",
        must: &["verification-tests"],
        may: &[],
        apply: |levers| verify(levers, ItsWord),
    },
    Mutant {
        name: "verification-state-not-updated",
        must: &["verification-tests"],
        may: &[May {
            gate: "verify-real",
            reason: "the state of an action whose tool lied is not what its answer says",
        }],
        apply: |levers| {
            levers.sql(
                "api-gateway",
                "CREATE TRIGGER IF NOT EXISTS lies_change_nothing AFTER UPDATE OF state ON actions
                 WHEN NEW.state = 'failed'
                     AND json_extract(NEW.execution, '$.error.code') = 'VERIFICATION_FAILED'
                 BEGIN
                     UPDATE actions SET state = OLD.state WHERE id = NEW.id;
                 END",
            );
        },
    },
];

fn verify(levers: &mut Levers, rule: impl Verify + 'static) {
    levers.part(|parts| parts.verify = Arc::new(rule));
}

/// Says the same of everything that would be looked at.
struct Always(bool);

impl Verify for Always {
    fn look(&self, config: &Config, claim: Claim<'_>) -> Result<(), String> {
        let looks = config.tools.verify.contains_key(claim.tool_name);
        match self.0 || !looks {
            true => Ok(()),
            false => Err(format!("{}: it is not to be believed", claim.tool_name)),
        }
    }
}

/// Who says that it was verified is not looked after.
struct ItsWord;

impl Verify for ItsWord {
    fn look(&self, config: &Config, claim: Claim<'_>) -> Result<(), String> {
        if claim.result["verified"] == true {
            return Ok(());
        }
        Looks.look(config, claim)
    }
}
