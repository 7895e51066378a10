//! The `slo` key of the config: window sizes, thresholds, N and M, and what is shed.
//!
//! Parsing and validation only. A window keeps the settings it was opened with, so a change is
//! effective with the next window.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The `slo` key. Missing keys have the contract's defaults; unknown ones are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A window closes after this many milliseconds.
    pub window_ms: u64,
    /// A window closes as soon as it holds this many samples; 0: by time only.
    pub window_max_samples: u64,
    /// A window with fewer samples is neutral.
    pub min_samples: u64,
    /// N: consecutive breached windows until the service is degraded.
    pub breach_windows: u64,
    /// M: consecutive healthy windows until it is normal again.
    pub recover_windows: u64,
    /// Whether a window without enough traffic is filled by calls of our own while not normal.
    pub self_probe: bool,
    /// How many breached windows are remembered.
    pub history_limit: usize,
    /// Thresholds by stage (`total`, `model`, `asr`, ...). The map given replaces the defaults.
    pub thresholds: BTreeMap<String, Threshold>,
    /// Kinds of work that are refused while not normal.
    pub shed: BTreeSet<ShedKind>,
}

/// Upper limits of one stage, in milliseconds; an absent one limits nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Limit of the 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// Limit of the 99th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
}

/// Work that can be refused while the service is not normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShedKind {
    /// A frame at vision-capture.
    VisionFrame,
    /// A memory write of priority `low`.
    MemoryWriteLow,
}

impl ShedKind {
    /// Every kind there is, in the order of the status answer.
    pub const ALL: [Self; 2] = [Self::VisionFrame, Self::MemoryWriteLow];

    /// The name in config, status and refusals.
    pub fn name(self) -> &'static str {
        match self {
            Self::VisionFrame => "vision_frame",
            Self::MemoryWriteLow => "memory_write_low",
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let limit = |p95, p99| Threshold {
            p95: Some(p95),
            p99,
        };
        Self {
            window_ms: 10_000,
            window_max_samples: 0,
            min_samples: 5,
            breach_windows: 3,
            recover_windows: 5,
            self_probe: true,
            history_limit: 200,
            thresholds: BTreeMap::from([
                ("total".to_owned(), limit(8_000.0, Some(12_000.0))),
                ("model".to_owned(), limit(5_000.0, None)),
                ("asr".to_owned(), limit(500.0, None)),
            ]),
            shed: ShedKind::ALL.into(),
        }
    }
}

/// Why settings were refused: the path of the key and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("slo.{path}: {what}")]
pub struct SettingsError {
    /// The key under `slo`.
    pub path: String,
    /// What is wrong and what was expected.
    pub what: String,
}

impl Settings {
    /// Refuses what a type cannot: numbers that are not positive and a p99 under its p95.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let positive = [
            ("window_ms", self.window_ms),
            ("min_samples", self.min_samples),
            ("breach_windows", self.breach_windows),
            ("recover_windows", self.recover_windows),
            ("history_limit", self.history_limit as u64),
        ];
        for (path, value) in positive {
            if value == 0 {
                return Err(refused(path.to_owned(), "0, expected a positive number"));
            }
        }
        for (stage, threshold) in &self.thresholds {
            threshold.validate(stage)?;
        }
        Ok(())
    }
}

impl Threshold {
    fn validate(&self, stage: &str) -> Result<(), SettingsError> {
        for (name, limit) in [("p95", self.p95), ("p99", self.p99)] {
            if let Some(limit) = limit
                && !(limit.is_finite() && limit > 0.0)
            {
                let what = format!("{limit}, expected a positive number");
                return Err(refused(format!("thresholds.{stage}.{name}"), &what));
            }
        }
        match (self.p95, self.p99) {
            (Some(p95), Some(p99)) if p99 < p95 => {
                let what = format!("{p99}, expected at least the p95 of {p95}");
                Err(refused(format!("thresholds.{stage}.p99"), &what))
            }
            _ => Ok(()),
        }
    }
}

fn refused(path: String, what: &str) -> SettingsError {
    SettingsError {
        path,
        what: what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn absent_keys_have_the_contracts_defaults() {
        let config: Value =
            serde_json::from_str(include_str!("../../../fixtures/contract/config.json")).unwrap();
        let written: Settings = serde_json::from_value(config["slo"].clone()).unwrap();
        let absent: Settings = serde_json::from_value(json!({})).unwrap();
        assert_eq!(absent, written);
        assert_eq!((absent.breach_windows, absent.recover_windows), (3, 5));
        assert_eq!(absent.validate(), Ok(()));
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_refused() {
        for bad in [
            json!({"windows_ms": 5}),
            json!({"min_samples": -1}),
            json!({"min_samples": "5"}),
            json!({"thresholds": {"total": {"p90": 5}}}),
            json!({"shed": ["turns"]}),
        ] {
            assert!(
                serde_json::from_value::<Settings>(bad.clone()).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn numbers_without_a_meaning_are_refused_with_their_path() {
        let check = |slo: Value| {
            serde_json::from_value::<Settings>(slo)
                .unwrap()
                .validate()
                .map_err(|e| e.path)
        };
        for key in [
            "window_ms",
            "min_samples",
            "breach_windows",
            "recover_windows",
        ] {
            assert_eq!(check(json!({key: 0})), Err(key.to_owned()));
            assert_eq!(check(json!({key: 1})), Ok(()));
        }
        assert_eq!(
            check(json!({"history_limit": 0})),
            Err("history_limit".to_owned())
        );
        let thresholds =
            |p95: f64, p99: f64| json!({"thresholds": {"a": {"p95": p95, "p99": p99}}});
        assert_eq!(check(thresholds(5.0, 5.0)), Ok(()));
        assert_eq!(
            check(thresholds(5.0, 4.0)),
            Err("thresholds.a.p99".to_owned())
        );
        assert_eq!(
            check(thresholds(0.0, 4.0)),
            Err("thresholds.a.p95".to_owned())
        );
        assert_eq!(
            check(thresholds(-1.0, 4.0)),
            Err("thresholds.a.p95".to_owned())
        );
    }
}
