//! From text to [`Config`]: defaults filled in, overlay applied, paths in every complaint.

use serde_json::Value;

use super::Config;
use crate::reference::parts::Settings;

/// Objects whose keys are data: a given one replaces the default as a whole.
const GIVEN_AS_A_WHOLE: &[&str] = &["slo.thresholds", "tools.risk"];
/// What may be shed.
const SHED_KINDS: &[&str] = &["vision_frame", "memory_write_low"];

/// What is wrong with a config, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ConfigError {
    /// The key, `slo.thresholds.total.p95`, or the file.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

/// Parses the text of a config file.
///
/// # Errors
/// Not JSON, an unknown key, a wrong type, a value that makes no sense.
pub fn parse(text: &str, settings: &Settings) -> Result<Config, ConfigError> {
    let mut given: Value = serde_json::from_str(text)
        .map_err(|error| complaint("config", format!("not JSON: {error}")))?;
    if let Value::Object(keys) = &mut given {
        keys.remove("harness");
    }
    let mut value = serde_json::to_value(Config::default()).expect("the defaults are plain data");
    fill(&mut value, given, "");
    check(&typed(value.clone())?)?;
    // The overlay is a deployment's own business: it may set what a file may not.
    typed(settings(value))
}

fn complaint(path: impl Into<String>, message: impl Into<String>) -> ConfigError {
    ConfigError {
        path: path.into(),
        message: message.into(),
    }
}

fn fill(into: &mut Value, given: Value, path: &str) {
    match (into, given) {
        (Value::Object(into), Value::Object(given)) if !GIVEN_AS_A_WHOLE.contains(&path) => {
            for (key, value) in given {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                fill(into.entry(key).or_insert(Value::Null), value, &path);
            }
        }
        (into, given) => *into = given,
    }
}

fn typed(value: Value) -> Result<Config, ConfigError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        complaint(
            if path == "." {
                "config".to_owned()
            } else {
                path
            },
            error.into_inner().to_string(),
        )
    })
}

fn check(config: &Config) -> Result<(), ConfigError> {
    let known = Config::default().services;
    if let Some(name) = config
        .services
        .keys()
        .find(|name| !known.contains_key(*name))
    {
        return Err(complaint(format!("services.{name}"), "no such service"));
    }
    for (tool, risk) in &config.tools.risk {
        if !["safe", "guarded", "blocked"].contains(&risk.as_str()) {
            let message = format!("{risk:?} is not one of safe, guarded, blocked");
            return Err(complaint(format!("tools.risk.{tool}"), message));
        }
    }
    if config.rate_limit.per_second == 0 || config.rate_limit.burst == 0 {
        return Err(complaint(
            "rate_limit",
            "per_second and burst have to be positive",
        ));
    }
    if config.idempotency.prune_interval_ms == 0 || config.operations.retry_ms == 0 {
        let message = "prune_interval_ms and operations.retry_ms have to be positive";
        return Err(complaint("idempotency", message));
    }
    if config.limits.page_size == 0 {
        return Err(complaint("limits.page_size", "has to be positive"));
    }
    slo(config)
}

fn slo(config: &Config) -> Result<(), ConfigError> {
    let slo = &config.slo;
    let counts = [
        ("window_ms", slo.window_ms),
        ("min_samples", slo.min_samples),
        ("breach_windows", slo.breach_windows),
        ("recover_windows", slo.recover_windows),
        ("history_limit", slo.history_limit as u64),
    ];
    if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Err(complaint(format!("slo.{name}"), "has to be positive"));
    }
    for (stage, limit) in &slo.thresholds {
        let path = format!("slo.thresholds.{stage}");
        for (name, ms) in [("p95", limit.p95), ("p99", limit.p99)] {
            if ms.is_some_and(|ms| !(ms.0.is_finite() && ms.0 > 0.0)) {
                return Err(complaint(format!("{path}.{name}"), "has to be positive"));
            }
        }
        if let (Some(p95), Some(p99)) = (limit.p95, limit.p99)
            && p99 < p95
        {
            let message = format!("{} ms is under p95, {} ms", p99.0, p95.0);
            return Err(complaint(format!("{path}.p99"), message));
        }
    }
    match slo
        .shed
        .iter()
        .find(|kind| !SHED_KINDS.contains(&kind.as_str()))
    {
        Some(kind) => Err(complaint(
            "slo.shed",
            format!("{kind:?} is nothing that can be shed"),
        )),
        None => Ok(()),
    }
}
