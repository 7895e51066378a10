//! Which `slo` settings a window may have closed under, while the config file is edited.
//!
//! A window has the settings that were in force when it was opened. After an edit the next batch
//! may be of a window that was open before; the one after it is not, once the target has shown
//! that the edit is in force, or has had the time that the gate gives it.

use serde_json::Value;

use super::edits::shows;
use super::timeline::{Edit, Effective};
use super::{Batch, Class, Rules};

/// The time after which an edit counts as in force whatever the target shows: the product reads a
/// file that is unchanged for 50 ms, and nobody but the product itself moves that on.
pub const EDIT_BOUND_US: u64 = 10_000_000;

/// From an `slo` key to the counts that its windows are held to.
pub type RulesOf<'a> = &'a dyn Fn(&Value) -> Rules;

#[derive(Debug, Clone, PartialEq)]
struct Setting {
    slo: Value,
    rules: Rules,
}

/// The settings that the next window may have, oldest first; one when it is certain.
#[derive(Debug, Clone, Default)]
pub struct InForce {
    maybe: Vec<Setting>,
    edited_us: u64,
    /// Batches since the newest was shown to be in force; none when it was not shown yet.
    since_shown: Option<u32>,
    /// Edits whose effect is certain.
    pub effects: u64,
}

impl InForce {
    /// The target was started with these.
    pub fn started(&mut self, slo: &Value, rules_of: RulesOf) {
        self.maybe = vec![Setting {
            slo: slo.clone(),
            rules: rules_of(slo),
        }];
    }

    /// The file has another content. One that is not to be taken changes nothing.
    pub fn edited(&mut self, edit: &Edit, rules_of: RulesOf) {
        let Some(slo) = &edit.slo else { return };
        self.maybe.push(Setting {
            slo: slo.clone(),
            rules: rules_of(slo),
        });
        (self.edited_us, self.since_shown) = (edit.returned_us, None);
    }

    /// The target was asked what is in force.
    pub fn looked(&mut self, look: &Effective) {
        let Some(newest) = self.maybe.last() else {
            return;
        };
        let over = look.returned_us.saturating_sub(self.edited_us) >= EDIT_BOUND_US;
        if self.since_shown.is_none() && (over || shows(&look.slo, &newest.slo)) {
            self.since_shown = Some(0);
        }
    }

    /// A batch begins, which is one window.
    pub fn batch(&mut self) {
        if self.maybe.len() < 2 {
            return;
        }
        match &mut self.since_shown {
            None => {}
            Some(0) => self.since_shown = Some(1),
            Some(_) => {
                let newest = self.maybe.len() - 1;
                self.maybe.drain(..newest);
                self.effects += 1;
            }
        }
    }

    /// Whether it is known which settings a window has.
    pub fn certain(&self) -> bool {
        self.maybe.len() < 2
    }

    /// The counts that the windows of this batch may have.
    pub fn rules(&self) -> Vec<Rules> {
        let mut rules: Vec<Rules> = Vec::new();
        for setting in &self.maybe {
            if !rules.contains(&setting.rules) {
                rules.push(setting.rules);
            }
        }
        rules
    }

    /// The class of a window with exactly these turns, if it is the same under all of them.
    pub fn class(&self, batch: &Batch) -> Option<Class> {
        let classes = self
            .maybe
            .iter()
            .map(|each| batch.class(&each.slo["thresholds"]));
        let mut classes: Vec<_> = classes.collect();
        classes.dedup();
        match classes[..] {
            [class] => class,
            _ => None,
        }
    }

    /// The limit of the 95th percentile of `total` in milliseconds, when it is certain.
    pub fn threshold_ms(&self) -> Option<f64> {
        match &self.maybe[..] {
            [one] => one.slo["thresholds"]["total"]["p95"].as_f64(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::walk::exact;
    use super::*;

    fn edit(slo: Option<Value>) -> Edit {
        Edit {
            name: "edit".to_owned(),
            invoked_us: 0,
            returned_us: 1000,
            sha256: String::new(),
            slo,
            names: String::new(),
            pid: Some(1),
        }
    }

    fn look(at_us: u64, slo: &Value) -> Effective {
        Effective {
            invoked_us: at_us,
            returned_us: at_us,
            looks: 1,
            slo: slo.clone(),
            pid: Some(1),
        }
    }

    fn started(n: u64) -> (InForce, Value, Value) {
        let (old, new) = (
            json!({"breach_windows": n}),
            json!({"breach_windows": n + 1}),
        );
        let mut force = InForce::default();
        force.started(&old, &exact);
        (force, old, new)
    }

    #[test]
    fn an_edit_is_certain_with_the_second_window_after_it_was_shown() {
        let (mut force, old, new) = started(3);
        force.edited(&edit(Some(new.clone())), &exact);
        force.batch();
        assert_eq!(force.rules(), [exact(&old), exact(&new)]);
        force.looked(&look(2000, &old));
        force.batch();
        assert_eq!(force.rules().len(), 2, "it is not in force yet");
        force.looked(&look(3000, &new));
        force.batch();
        assert_eq!(
            force.rules().len(),
            2,
            "its window may have been open before"
        );
        force.batch();
        assert_eq!((force.rules(), force.effects), (vec![exact(&new)], 1));
    }

    #[test]
    fn a_target_that_shows_nothing_has_its_time_and_no_more() {
        let (mut force, old, new) = started(3);
        force.edited(&edit(Some(new.clone())), &exact);
        force.looked(&look(1000 + EDIT_BOUND_US, &old));
        force.batch();
        force.batch();
        assert_eq!(force.rules(), [exact(&new)]);
    }

    #[test]
    fn what_is_not_to_be_taken_changes_nothing() {
        let (mut force, old, _) = started(3);
        force.edited(&edit(None), &exact);
        force.batch();
        assert_eq!((force.rules(), force.effects), (vec![exact(&old)], 0));
    }
}
