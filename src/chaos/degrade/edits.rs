//! The config file edited under a running target: contents that are to be taken, and contents that
//! are not.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::cycle::{Cycle, POLL_INTERVAL};
use super::lane::LEAST_BOUND;
use super::timeline::{Edit, Effective, Step};
use crate::base::json::{merge, sha256_hex};
use crate::target::{Ask, Writing};

/// The event of a content that is not taken.
pub const REJECTED: &str = "slo.config.rejected";

/// A content that is not to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What it is called in messages.
    pub name: &'static str,
    /// The bytes.
    pub text: Vec<u8>,
    /// What a refusal has to name, in path or message; nothing when no key can be named.
    pub names: &'static str,
}

impl Cycle<'_> {
    /// The text of the config file with this change.
    ///
    /// # Errors
    /// When there is no such text.
    pub fn text_with(&self, change: &Value) -> anyhow::Result<Vec<u8>> {
        let mut config = self.instance.setup().config.clone();
        merge(&mut config, change);
        serde_json::to_vec_pretty(&config).context("a config that cannot be written")
    }

    /// Writes a content that is to be taken. It does not wait for it: see [`Cycle::effective`].
    ///
    /// # Errors
    /// What the file system says.
    pub fn edit(&mut self, name: &str, slo: &Value, how: Writing) -> anyhow::Result<()> {
        let change = json!({"slo": slo});
        let text = self.text_with(&change)?;
        let mut config = self.instance.setup().config.clone();
        merge(&mut config, &change);
        let whole = config["slo"].clone();
        self.write(name, &text, how, Some(whole), "")?;
        self.instance.edited(config);
        Ok(())
    }

    /// Writes a content that is not to be taken.
    ///
    /// # Errors
    /// What the file system says.
    pub fn spoil(&mut self, broken: &Broken, how: Writing) -> anyhow::Result<()> {
        self.write(broken.name, &broken.text, how, None, broken.names)
    }

    fn write(
        &mut self,
        name: &str,
        text: &[u8],
        how: Writing,
        slo: Option<Value>,
        names: &str,
    ) -> anyhow::Result<()> {
        let invoked_us = self.clock.now_us();
        self.instance.write_config(text, how)?;
        let edit = Edit {
            name: name.to_owned(),
            invoked_us,
            returned_us: self.clock.now_us(),
            sha256: sha256_hex(text),
            slo,
            names: names.to_owned(),
            pid: self.pid(),
        };
        self.line.push(Step::Edit(edit));
        Ok(())
    }

    /// Looks at the gateway's `/status` until the last edit is in force there, at most `bound`
    /// long. True when it is.
    ///
    /// # Errors
    /// When nothing was edited, or the status is no status.
    pub async fn effective(&mut self, bound: Duration) -> anyhow::Result<bool> {
        let awaited = self.line.edits().filter_map(|edit| edit.slo.clone()).last();
        let awaited = awaited.context("nothing was edited")?;
        let (invoked_us, mut looks) = (self.clock.now_us(), 0);
        loop {
            let exchange = self.client.send(Ask::get("api-gateway", "/status")).await;
            if exchange.status() != 200 {
                bail!("no status: {}", exchange.line());
            }
            looks += 1;
            let slo = exchange.answered()["config"]["slo"].clone();
            let shown = shows(&slo, &awaited);
            let over = self.clock.now_us() > invoked_us + bound.as_micros() as u64;
            if shown || over {
                let effective = Effective {
                    invoked_us,
                    returned_us: self.clock.now_us(),
                    looks,
                    slo,
                    pid: self.pid(),
                };
                self.line.push(Step::Effective(effective));
                return Ok(shown);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Reads the log until it tells of the refusal of the last content, at most `bound` long. True
    /// when it does.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn rejection(&mut self, bound: Duration) -> anyhow::Result<bool> {
        let last = self.line.edits().last().context("nothing was written")?;
        let sha256 = last.sha256.clone();
        let end_us = self.clock.now_us() + bound.as_micros() as u64;
        loop {
            let told = self
                .line
                .events()
                .any(|(event, _)| event.kind == REJECTED && event.data["sha256"] == *sha256);
            if told || self.clock.now_us() > end_us {
                return Ok(told);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
            self.read().await?;
        }
    }

    /// The warnings that the target wrote to stderr, when there are so many, or after
    /// [`LEAST_BOUND`]: what is written goes through a pipe.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn warnings(&self, awaited: usize) -> anyhow::Result<Vec<String>> {
        let end_us = self.clock.now_us() + LEAST_BOUND.as_micros() as u64;
        loop {
            let text = self.instance.stderr()?;
            let warnings = text.lines().filter(|line| line.contains("WARN"));
            let warnings: Vec<String> = warnings.map(str::to_owned).collect();
            if warnings.len() >= awaited || self.clock.now_us() > end_us {
                return Ok(warnings);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn pid(&mut self) -> Option<u32> {
        self.instance.exited();
        self.instance.pid()
    }
}

/// Whether every key that was given is shown with its value. Numbers are compared as numbers:
/// 250 may be shown as 250.0.
pub fn shows(shown: &Value, given: &Value) -> bool {
    match (shown, given) {
        (Value::Object(shown), Value::Object(given)) => given
            .iter()
            .all(|(key, given)| shown.get(key).is_some_and(|shown| shows(shown, given))),
        (Value::Number(shown), Value::Number(given)) => shown.as_f64() == given.as_f64(),
        _ => shown == given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_shows_what_was_given_and_may_show_more() {
        let shown = json!({"window_ms": 10, "thresholds": {"total": {"p95": 250.0, "p99": 300}}});
        assert!(shows(
            &shown,
            &json!({"thresholds": {"total": {"p95": 250}}})
        ));
        assert!(!shows(
            &shown,
            &json!({"thresholds": {"total": {"p95": 251}}})
        ));
        assert!(!shows(&shown, &json!({"breach_windows": 3})));
        assert!(!shows(&Value::Null, &json!({"breach_windows": 3})));
    }
}
