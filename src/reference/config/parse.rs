//! From text to [`Config`]: defaults filled in, overlay applied, paths in every complaint.

use serde_json::Value;

use super::Config;
use crate::reference::parts::Settings;
use crate::reference::slo::shedding::KINDS;
use crate::reference::verify;
use crate::reference::web::cors::origin;

/// Objects whose keys are data: a given one replaces the default as a whole.
const GIVEN_AS_A_WHOLE: &[&str] = &["slo.thresholds", "tools.risk", "tools.verify"];
/// The stages of a turn, as section 4 of the contract lists them.
const STAGES: &[&str] = &[
    "asr",
    "memory_read",
    "model",
    "tool",
    "memory_write",
    "tts",
    "total",
];

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
    fill(&mut value, given, "")?;
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

/// An object takes nothing but an object: serde itself would take an array for a struct.
fn fill(into: &mut Value, given: Value, path: &str) -> Result<(), ConfigError> {
    match (into, given) {
        (Value::Object(into), Value::Object(given)) if !GIVEN_AS_A_WHOLE.contains(&path) => {
            for (key, value) in given {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                fill(into.entry(key).or_insert(Value::Null), value, &path)?;
            }
        }
        (Value::Object(_), given) if !given.is_object() => {
            let path = if path.is_empty() { "config" } else { path };
            return Err(complaint(path, "expected an object"));
        }
        (into, given) => *into = given,
    }
    Ok(())
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
    for text in &config.cors.origins {
        origin(text).map_err(|message| complaint("cors.origins", message))?;
    }
    for (tool, kind) in &config.tools.verify {
        if !verify::KINDS.contains(&kind.as_str()) {
            let message = format!("{kind:?} is not one of {}", verify::KINDS.join(", "));
            return Err(complaint(format!("tools.verify.{tool}"), message));
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
    if config.audit.checkpoint_every == 0 {
        return Err(complaint("audit.checkpoint_every", "has to be positive"));
    }
    let breaker = &config.breaker;
    if breaker.failures == 0 || breaker.open_ms == 0 || breaker.successes == 0 {
        let message = "failures, open_ms and successes have to be positive";
        return Err(complaint("breaker", message));
    }
    if config.dead_letters.max == 0 {
        return Err(complaint("dead_letters.max", "has to be positive"));
    }
    if config.outbox.timeout_ms == 0 || config.outbox.flush_interval_ms == 0 {
        let message = "timeout_ms and flush_interval_ms have to be positive";
        return Err(complaint("outbox", message));
    }
    let memory = &config.memory;
    if memory.limit == 0 || memory.save_every == 0 || memory.repair_interval_ms == 0 {
        let message = "limit, save_every and repair_interval_ms have to be positive";
        return Err(complaint("memory", message));
    }
    queues(config)?;
    if config.limits.page_size == 0 {
        return Err(complaint("limits.page_size", "has to be positive"));
    }
    voice(config)?;
    supervisor(config)?;
    slo(config)
}

fn voice(config: &Config) -> Result<(), ConfigError> {
    let keys = &config.voice;
    let positive = [
        ("asr.timeout_ms", keys.asr.timeout_ms),
        ("tts.timeout_ms", keys.tts.timeout_ms),
        ("vad.threshold", keys.vad.threshold),
        ("vad.silence_ms", keys.vad.silence_ms),
        ("frame_bytes", keys.frame_bytes as u64),
        ("tts_frame_bytes", keys.tts_frame_bytes as u64),
        ("turn_timeout_ms", keys.turn_timeout_ms),
        ("probe_ms", keys.probe_ms),
        ("probe_interval_ms", keys.probe_interval_ms),
    ];
    if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return Err(complaint(format!("voice.{key}"), "has to be positive"));
    }
    // A frame is whole samples.
    if keys.tts_frame_bytes % 2 == 1 {
        return Err(complaint("voice.tts_frame_bytes", "has to be even"));
    }
    Ok(())
}

fn supervisor(config: &Config) -> Result<(), ConfigError> {
    let keys = &config.supervisor;
    let counts = [
        ("probe_interval_ms", keys.probe_interval_ms),
        ("probe_timeout_ms", keys.probe_timeout_ms),
        ("degraded_after", keys.degraded_after),
        ("unreachable_after", keys.unreachable_after),
        ("healthy_after", keys.healthy_after),
        ("window_ms", keys.window_ms),
        ("backoff_ms", keys.backoff_ms.len() as u64),
        ("start_timeout_ms", keys.start_timeout_ms),
    ];
    if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
        let message = "has to be positive";
        return Err(complaint(format!("supervisor.{name}"), message));
    }
    let unknown = |name: &&String| !config.services.contains_key(*name);
    match keys.services.iter().flatten().find(unknown) {
        Some(name) => {
            let message = format!("{name:?} is no service");
            Err(complaint("supervisor.services", message))
        }
        None => Ok(()),
    }
}

fn queues(config: &Config) -> Result<(), ConfigError> {
    let keys = &config.backpressure;
    let counts = [
        ("stream.queue_depth", config.stream.queue_depth),
        ("backpressure.global_depth", keys.global_depth),
        ("backpressure.model_width", keys.model_width),
        ("backpressure.tool_width", keys.tool_width),
    ];
    match counts.iter().find(|(_, count)| *count == 0) {
        Some((path, _)) => Err(complaint(*path, "has to be positive")),
        None => Ok(()),
    }
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
        if !STAGES.contains(&stage.as_str()) {
            // Samples would never have it: a limit that nothing can exceed is a slip of the pen.
            return Err(complaint(path, format!("not one of {}", STAGES.join(", "))));
        }
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
    match slo.shed.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        Some(kind) => Err(complaint(
            "slo.shed",
            format!("{kind:?} is nothing that can be shed"),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<Config, ConfigError> {
        let none: Settings = Arc::new(|value| value);
        parse(&value.to_string(), &none)
    }

    #[test]
    fn the_defaults_are_the_table_of_the_contract() {
        let table: Value =
            serde_json::from_str(include_str!("../../../fixtures/contract/config.json")).unwrap();
        assert_eq!(
            serde_json::to_value(read(&json!({})).unwrap()).unwrap(),
            table
        );
        assert_eq!(serde_json::to_value(read(&table).unwrap()).unwrap(), table);
    }

    #[test]
    fn a_given_key_leaves_its_neighbours_at_their_defaults() {
        let given = json!({
            "harness": {"anything": 1},
            "services": {"openclaw": {"port": 0}},
            "slo": {"thresholds": {"total": {"p95": 0.5}}},
        });
        let config = read(&given).unwrap();
        assert_eq!(
            (
                config.services["openclaw"].port,
                config.services["eva-os"].port
            ),
            (0, 7050)
        );
        assert_eq!(config.services["openclaw"].host, "127.0.0.1");
        assert_eq!(config.slo.min_samples, 5);
        assert_eq!(config.slo.thresholds.len(), 1);
        let shown = serde_json::to_value(&config.slo.thresholds).unwrap();
        assert_eq!(shown, json!({"total": {"p95": 0.5}}));
    }

    #[test]
    fn a_wrong_key_is_named_with_its_path() {
        let wrong = [
            (json!({"servces": {}}), "servces"),
            (
                json!({"services": {"openclaw": {"prot": 1}}}),
                "services.openclaw.prot",
            ),
            (
                json!({"services": {"closedclaw": {"host": "h", "port": 1, "url": null}}}),
                "services.closedclaw",
            ),
            (
                json!({"services": {"openclaw": {"port": "7040"}}}),
                "services.openclaw.port",
            ),
            (json!({"sessions": 7}), "sessions"),
            (json!({"sessions": [1, 2, 3]}), "sessions"),
            (json!({"slo": {"thresholds": []}}), "slo.thresholds"),
            (json!({"sessions": {"ttl_ms": -1}}), "sessions.ttl_ms"),
            (json!({"sessions": {"ttl_ms": null}}), "sessions.ttl_ms"),
            (
                json!({"audit": {"checkpoint_every": 0}}),
                "audit.checkpoint_every",
            ),
            (json!({"audit": {"key_file": 7}}), "audit.key_file"),
            (json!({"breaker": {"failures": 0}}), "breaker"),
            (json!({"dead_letters": {"max": 0}}), "dead_letters.max"),
            (json!({"slo": {"min_samples": 0}}), "slo.min_samples"),
            (
                json!({"slo": {"thresholds": {"total": {"p95": 2, "p99": 1}}}}),
                "slo.thresholds.total.p99",
            ),
            (
                json!({"slo": {"thresholds": {"total": {"p95": 0}}}}),
                "slo.thresholds.total.p95",
            ),
            (
                json!({"slo": {"thresholds": {"total": {"p50": 1}}}}),
                "slo.thresholds.total.p50",
            ),
            (
                json!({"slo": {"thresholds": {"totl": {"p95": 1}}}}),
                "slo.thresholds.totl",
            ),
            (json!({"slo": {"shed": ["turns"]}}), "slo.shed"),
            (json!({"cors": {"origins": ["*"]}}), "cors.origins"),
            (
                json!({"supervisor": {"services": ["closedclaw"]}}),
                "supervisor.services",
            ),
            (
                json!({"supervisor": {"backoff_ms": []}}),
                "supervisor.backoff_ms",
            ),
            (
                json!({"tools": {"risk": {"x": "harmless"}}}),
                "tools.risk.x",
            ),
            (
                json!({"tools": {"verify": {"x": "luck"}}}),
                "tools.verify.x",
            ),
            (json!([1]), "config"),
        ];
        for (given, path) in wrong {
            assert_eq!(
                read(&given).map_err(|error| error.path),
                Err(path.to_owned()),
                "{given}"
            );
        }
    }

    #[test]
    fn the_overlay_is_applied_at_each_read_and_may_set_what_a_file_may_not() {
        let overlay: Settings = Arc::new(|mut value| {
            value["slo"]["recover_windows"] = json!(0);
            value
        });
        let config = parse(r#"{"slo": {"breach_windows": 2}}"#, &overlay).unwrap();
        assert_eq!(
            (config.slo.breach_windows, config.slo.recover_windows),
            (2, 0)
        );
        assert!(read(&json!({"slo": {"recover_windows": 0}})).is_err());
    }
}
