//! What goes into an incident bundle.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::container::Files;
use super::export::BundleError;
use super::segment;
use crate::reference::audit::{AuditKey, Break};
use crate::reference::config::Config;
use crate::reference::parts::Parts;
use crate::reference::time::Timestamp;
use crate::reference::wiring::SERVICES;
use crate::reference::{addresses, log, redact, status};

/// How long a service may take to say how it is.
const HEALTH_DEADLINE: Duration = Duration::from_secs(2);
/// The commit that the build was told of, if it was.
const COMMIT: Option<&str> = option_env!("SONIA_COMMIT");

/// Everything but the manifest, and the chains that are broken.
pub(super) struct Content {
    /// Contents by path.
    pub(super) files: Files,
    /// Broken chains.
    pub(super) broken: Vec<Break>,
}

/// Of what an incident is told.
pub(super) struct Scene<'a> {
    /// The data directory.
    pub(super) data_dir: &'a Path,
    /// The config in force.
    pub(super) config: &'a Config,
    /// What signs checkpoints.
    pub(super) key: &'a Arc<AuditKey>,
    /// What must not be told.
    pub(super) secrets: &'a [String],
    /// Which bundle.
    pub(super) bundle_id: &'a str,
    /// When.
    pub(super) now: Timestamp,
}

impl Scene<'_> {
    /// Gathers it; changes nothing but the kept checkpoints.
    pub(super) async fn gather(&self, parts: &Parts) -> Result<Content, BundleError> {
        let mut files = Files::new();
        let (segments, broken) = self.audit(parts).await?;
        let health = self.health().await;
        let states: BTreeMap<_, _> = health
            .iter()
            .map(|(name, health)| (*name, health["state"].clone()))
            .collect();
        let chains: BTreeMap<_, _> = segments
            .iter()
            .map(|segment| (&segment.chain, segment.summary()))
            .collect();
        let summary = json!({
            "bundle_id": self.bundle_id,
            "created_at": self.now.to_string(),
            "version": status::VERSION,
            "contract_version": status::CONTRACT_VERSION,
            "services": states,
            "chains": chains,
        });
        files.insert("summary.json".to_owned(), text(&summary));
        let config = serde_json::to_value(self.config).expect("a config is plain data");
        files.insert("config.json".to_owned(), text(&redact::value(config)));
        let asked = json!({"asked_at": self.now.to_string(), "services": health});
        files.insert("health.json".to_owned(), text(&asked));
        let git = json!({
            "commit": COMMIT.unwrap_or("unknown"),
            "dirty": null,
            "source_digest": env!("SONIA_SOURCE_DIGEST"),
        });
        files.insert("git.json".to_owned(), text(&git));
        for segment in segments {
            let value = serde_json::to_value(&segment).expect("a segment is plain data");
            files.insert(format!("audit/{}.json", segment.chain), text(&value));
        }
        self.logs(&mut files)?;
        Ok(Content { files, broken })
    }

    async fn audit(
        &self,
        parts: &Parts,
    ) -> Result<(Vec<segment::Segment>, Vec<Break>), BundleError> {
        let busy = Duration::from_millis(self.config.store.busy_timeout_ms);
        let (mut segments, mut broken) = (Vec::new(), Vec::new());
        for chain in SERVICES {
            let path = self.data_dir.join(format!("{chain}.db"));
            let read = segment::read(&path, chain, (parts, self.key), busy).await;
            let (segment, found) = read.map_err(|source| BundleError::Chain {
                chain: (*chain).to_owned(),
                source,
            })?;
            segments.push(segment);
            broken.extend(found);
        }
        Ok((segments, broken))
    }

    async fn health(&self) -> BTreeMap<&'static str, Value> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(HEALTH_DEADLINE)
            .build();
        let ask = |service: &&'static str| {
            let (service, client) = (*service, client.as_ref().ok());
            async move { (service, self.ask(service, client).await) }
        };
        join_all(SERVICES.iter().map(ask))
            .await
            .into_iter()
            .collect()
    }

    async fn ask(&self, service: &str, client: Option<&reqwest::Client>) -> Value {
        let down = |url: Value, error: &str| json!({"state": "down", "url": url, "status": null, "body": null, "error": error});
        let Some(address) = addresses::read(self.data_dir, service) else {
            return down(Value::Null, "it left no address");
        };
        let url = Value::from(redact::all(&address.url, self.secrets));
        let Some(client) = client else {
            return down(url, "it could not be asked");
        };
        let asked = client.get(format!("{}/healthz", address.url)).send().await;
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) => return down(url, &redact::all(&error.to_string(), self.secrets)),
        };
        let status = answer.status().as_u16();
        let body = answer.json::<Value>().await.unwrap_or_default();
        // Ports are used again: whoever answers there may be somebody else.
        if body["service"] != service {
            return down(url, "another program answers there");
        }
        let state = if status == 200 { "up" } else { "starting" };
        let body = redact::value(body);
        json!({"state": state, "url": url, "status": status, "body": body, "error": null})
    }

    fn logs(&self, files: &mut Files) -> Result<(), BundleError> {
        let logs = log::read_all(self.data_dir).map_err(|source| BundleError::Files {
            path: self.data_dir.join(log::FOLDER),
            source,
        })?;
        // A process that never ran has said nothing, which is worth a file as well.
        files.insert("logs/sonia.log".to_owned(), Vec::new());
        for (name, content) in logs {
            let clean = redact::all(&String::from_utf8_lossy(&content), self.secrets);
            files.insert(format!("logs/{name}"), clean.into_bytes());
        }
        Ok(())
    }
}

fn text(value: &Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("a JSON value can be written");
    text.push(b'\n');
    text
}
