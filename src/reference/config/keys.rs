//! The keys and their defaults.

#![expect(
    missing_docs,
    reason = "the contract describes the keys; units are in their names"
)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::voice::Voice;

/// The whole file, defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub services: BTreeMap<String, Address>,
    pub backends: Backends,
    pub auth: Auth,
    pub tls: TlsKeys,
    pub cors: Cors,
    pub audit: Audit,
    pub clock: ClockKeys,
    pub rate_limit: RateLimit,
    pub sessions: Sessions,
    pub confirmations: Confirmations,
    pub turns: Turns,
    pub tools: Tools,
    pub idempotency: Idempotency,
    pub operations: Operations,
    pub breaker: Breaker,
    pub dead_letters: DeadLetters,
    pub outbox: Outbox,
    pub memory: Memory,
    pub stream: Stream,
    pub backpressure: Backpressure,
    pub vision: Vision,
    pub voice: Voice,
    pub slo: Slo,
    pub supervisor: Supervisor,
    pub store: StoreKeys,
    pub limits: Limits,
}

/// Where a service listens, and where others find it (default: where it listens).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    pub host: String,
    pub port: u16,
    pub url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backends {
    pub models: Models,
    pub embeddings: Embeddings,
    pub tools: ToolBackend,
    pub asr: SpeechBackend,
    pub tts: SpeechBackend,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeechBackend {
    pub url: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Models {
    pub url: String,
    pub timeout_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embeddings {
    /// Without one memory-engine embeds by itself.
    pub url: Option<String>,
    pub timeout_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolBackend {
    pub url: String,
    pub timeout_ms: u64,
    /// Whether a call that is repeated with the same key has one effect.
    pub honours_keys: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub enabled: bool,
    /// Relative to the config file's folder.
    pub key_file: String,
    /// Relative to the data directory.
    pub identity_db: String,
    /// How long the keys before a rotation are still good.
    pub rotation_window_ms: u64,
    /// How long a request waits for a lock on the identity database.
    pub busy_timeout_ms: u64,
}

/// Both or none; relative to the config file's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsKeys {
    pub cert: Option<String>,
    pub key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    pub origins: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The Ed25519 key that signs, PKCS#8 in PEM, relative to the config file's folder; without
    /// one nothing is signed.
    pub key_file: Option<String>,
    /// A checkpoint is signed and kept whenever a chain has grown by this many entries.
    pub checkpoint_every: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockKeys {
    /// How far this process's clock is ahead of the machine's.
    pub offset_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    pub enabled: bool,
    pub per_second: u32,
    pub burst: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    pub ttl_ms: u64,
    pub idle_ms: u64,
    pub max_active: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmations {
    pub ttl_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turns {
    pub max_tool_calls: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tools {
    /// Tool name to `safe`, `guarded` or `blocked`; given as a whole.
    pub risk: BTreeMap<String, String>,
    /// Tool name to what is looked at when it says that it is done; given as a whole.
    pub verify: BTreeMap<String, String>,
    /// Where the clipboard is read, if there is one.
    pub clipboard_file: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idempotency {
    pub ttl_ms: u64,
    pub prune_interval_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operations {
    pub retry_ms: u64,
    pub give_up_ms: u64,
}

/// When the breaker before a dependency opens, and when it closes again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// So many calls in a row that went wrong.
    pub failures: u64,
    /// Until one is tried again.
    pub open_ms: u64,
    /// So many tries in a row that went well.
    pub successes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetters {
    /// Past it the oldest resolved letters go first, then the oldest open ones.
    pub max: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbox {
    /// How long one try waits for the memory engine.
    pub timeout_ms: u64,
    /// Between two tries of what waits.
    pub flush_interval_ms: u64,
    /// Delivered writes that are remembered.
    pub keep_delivered: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Results of a search that names no limit.
    pub limit: usize,
    /// What is less near than this, as a cosine, is not found by nearness.
    pub min_similarity: f64,
    /// The index is saved whenever it has changed so often, and when the process stops.
    pub save_every: u64,
    /// Between two looks for memories that have no vector.
    pub repair_interval_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// How many turns of a session may wait, not counting the one in flight.
    pub queue_depth: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backpressure {
    /// How much may wait in all queues of a process together.
    pub global_depth: usize,
    /// Calls of the model backend at once.
    pub model_width: usize,
    /// Calls of the tool backend at once.
    pub tool_width: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vision {
    pub buffer_frames: u64,
}

/// The only key that is read again while running.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    pub window_ms: u64,
    /// 0: windows close by time alone.
    pub window_max_samples: u64,
    pub min_samples: u64,
    pub breach_windows: u64,
    pub recover_windows: u64,
    pub self_probe: bool,
    pub history_limit: usize,
    /// Stage to thresholds; given as a whole.
    pub thresholds: BTreeMap<String, Threshold>,
    pub shed: Vec<String>,
}

/// Limits of one stage; an absent one is not looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<Ms>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<Ms>,
}

/// Milliseconds, possibly with a fraction. 250 is printed as 250, not as 250.0.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Deserialize)]
#[serde(transparent)]
pub struct Ms(pub f64);

impl Serialize for Ms {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && (0.0..9e15).contains(&self.0) {
            serializer.serialize_u64(self.0 as u64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

/// How services are watched that run as processes of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervisor {
    /// Those that are supervised; none named: all that there are.
    pub services: Option<Vec<String>>,
    pub probe_interval_ms: u64,
    pub probe_timeout_ms: u64,
    /// So many failed probes in a row.
    pub degraded_after: u64,
    pub unreachable_after: u64,
    /// So many good ones in a row.
    pub healthy_after: u64,
    /// In each window, after the first start.
    pub max_restarts: u64,
    pub window_ms: u64,
    /// Before the first restart of a window, the second, and so on; past its end the last one.
    pub backoff_ms: Vec<u64>,
    pub start_timeout_ms: u64,
    pub stop_timeout_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreKeys {
    pub busy_timeout_ms: u64,
    pub start_deadline_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub body_bytes: usize,
    pub id_chars: usize,
    pub page_size: u64,
    pub input_chars: usize,
    /// Of a WebSocket.
    pub frame_bytes: usize,
}

/// Service names and their default ports.
const PORTS: &[(&str, u16)] = &[
    ("api-gateway", 7000),
    ("model-router", 7010),
    ("memory-engine", 7020),
    ("pipecat", 7030),
    ("openclaw", 7040),
    ("eva-os", 7050),
    ("vision-capture", 7060),
    ("perception", 7070),
    ("tool-service", 7080),
    ("orchestrator", 8000),
];

/// Where a console is served while somebody works on it.
const ORIGINS: [&str; 2] = ["http://127.0.0.1:3000", "http://localhost:3000"];

const RISKS: &[(&str, &str)] = &[
    ("file.read", "safe"),
    ("file.list", "safe"),
    ("file.write", "guarded"),
    ("shell.run", "guarded"),
    ("clipboard.write", "guarded"),
    ("process.start", "guarded"),
    ("system.shutdown", "blocked"),
];

const LOOKS: &[(&str, &str)] = &[
    ("file.write", "file"),
    ("shell.run", "exit_code"),
    ("process.start", "process"),
    ("clipboard.write", "clipboard"),
];

fn addresses() -> BTreeMap<String, Address> {
    let address = |port| Address {
        host: "127.0.0.1".to_owned(),
        port,
        url: None,
    };
    let all = PORTS.iter();
    all.map(|(name, port)| ((*name).to_owned(), address(*port)))
        .collect()
}

fn words(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(one, other): &(&str, &str)| ((*one).to_owned(), (*other).to_owned());
    pairs.iter().map(owned).collect()
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            enabled: true,
            key_file: "sonia-keys.json".to_owned(),
            identity_db: "identity.db".to_owned(),
            rotation_window_ms: 86_400_000,
            busy_timeout_ms: 5000,
        }
    }
}

impl Default for Backends {
    fn default() -> Self {
        Self {
            models: Models {
                url: "http://127.0.0.1:7110".to_owned(),
                timeout_ms: 30_000,
            },
            embeddings: Embeddings::default(),
            tools: ToolBackend {
                url: "http://127.0.0.1:7180".to_owned(),
                timeout_ms: 30_000,
                honours_keys: true,
            },
            asr: SpeechBackend {
                url: "http://127.0.0.1:7130".to_owned(),
            },
            tts: SpeechBackend {
                url: "http://127.0.0.1:7140".to_owned(),
            },
        }
    }
}

impl Default for Embeddings {
    fn default() -> Self {
        Self {
            url: None,
            timeout_ms: 2000,
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            limit: 10,
            min_similarity: 0.25,
            save_every: 500,
            repair_interval_ms: 1000,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            services: addresses(),
            backends: Backends::default(),
            auth: Auth::default(),
            tls: TlsKeys {
                cert: None,
                key: None,
            },
            cors: Cors {
                origins: ORIGINS.map(str::to_owned).into(),
            },
            audit: Audit {
                key_file: None,
                checkpoint_every: 1000,
            },
            clock: ClockKeys { offset_ms: 0 },
            rate_limit: RateLimit {
                enabled: true,
                per_second: 20,
                burst: 40,
            },
            sessions: Sessions {
                ttl_ms: 1_800_000,
                idle_ms: 600_000,
                max_active: 100,
            },
            confirmations: Confirmations { ttl_ms: 120_000 },
            turns: Turns { max_tool_calls: 5 },
            tools: Tools {
                risk: words(RISKS),
                verify: words(LOOKS),
                clipboard_file: None,
            },
            idempotency: Idempotency {
                ttl_ms: 300_000,
                prune_interval_ms: 1000,
            },
            operations: Operations {
                retry_ms: 50,
                give_up_ms: 60_000,
            },
            breaker: Breaker {
                failures: 5,
                open_ms: 30_000,
                successes: 2,
            },
            dead_letters: DeadLetters { max: 1000 },
            outbox: Outbox {
                timeout_ms: 2000,
                flush_interval_ms: 1000,
                keep_delivered: 1000,
            },
            memory: Memory::default(),
            stream: Stream { queue_depth: 10 },
            backpressure: Backpressure {
                global_depth: 1000,
                model_width: 256,
                tool_width: 256,
            },
            vision: Vision { buffer_frames: 32 },
            voice: Voice::default(),
            slo: Slo::default(),
            supervisor: Supervisor::default(),
            store: StoreKeys {
                busy_timeout_ms: 2000,
                start_deadline_ms: 30_000,
            },
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1_048_576,
            id_chars: 128,
            page_size: 1000,
            input_chars: 32_768,
            frame_bytes: 1_048_576,
        }
    }
}

impl Default for Supervisor {
    fn default() -> Self {
        Self {
            services: None,
            probe_interval_ms: 5000,
            probe_timeout_ms: 2000,
            degraded_after: 1,
            unreachable_after: 3,
            healthy_after: 2,
            max_restarts: 3,
            window_ms: 300_000,
            backoff_ms: vec![2000, 4000, 8000],
            start_timeout_ms: 30_000,
            stop_timeout_ms: 3000,
        }
    }
}

impl Default for Slo {
    fn default() -> Self {
        let limit = |p95, p99: Option<f64>| Threshold {
            p95: Some(Ms(p95)),
            p99: p99.map(Ms),
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
                ("total".to_owned(), limit(8000.0, Some(12_000.0))),
                ("model".to_owned(), limit(5000.0, None)),
                ("asr".to_owned(), limit(500.0, None)),
            ]),
            shed: vec!["vision_frame".to_owned(), "memory_write_low".to_owned()],
        }
    }
}
