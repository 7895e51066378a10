//! The list of checks, and what makes one of a module with `Evidence`, `judge` and `drive`:
//! deadlines, interrupts and panics are caught here, so that what was recorded is judged in any case.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cx::{Cancel, Cx, Undecided, cancelled};
use crate::chaos::Judgement;
use crate::target::Incident;

/// The version of [`Recorded`].
const RECORD_VERSION: u32 = 2;
/// Why a drive ended early when the whole run was to end.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// What a drive left behind.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Everything a judge needs, as it is stored.
    pub evidence: Value,
    /// Why the drive stopped early, if it did.
    pub undecided: Option<String>,
}

pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Ran> + Send + 'a>>;

/// A gate's check.
pub struct Check {
    /// The gate's name.
    pub gate: &'static str,
    /// Where the code is.
    pub file: &'static str,
    source: &'static str,
    run: for<'a> fn(&'a mut Cx, Duration) -> Running<'a>,
    judge: fn(&Value) -> Result<Judgement, String>,
}

impl Check {
    /// Drives the target. Never fails: a deadline, a panic, an [`Undecided`] and the end of
    /// the run end the drive early, and what was recorded until then is kept.
    pub async fn run(&self, cx: &mut Cx, deadline: Duration) -> Ran {
        (self.run)(cx, deadline).await
    }

    /// How it drives and judges, line by line: what the code says first.
    pub fn how(&self) -> impl Iterator<Item = &'static str> {
        let lines = self.source.lines();
        lines.map_while(|line| line.strip_prefix("//!").map(str::trim))
    }

    /// A check that misbehaves, for the tests of who runs checks.
    #[cfg(test)]
    pub(crate) const fn made_of(
        run: for<'a> fn(&'a mut Cx, Duration) -> Running<'a>,
        judge: fn(&Value) -> Result<Judgement, String>,
    ) -> Self {
        Self {
            gate: "test",
            file: "test",
            source: "",
            run,
            judge,
        }
    }

    /// Judges stored evidence. Pure: the same evidence gives the same judgement.
    ///
    /// # Errors
    /// When this is no evidence of this check.
    pub fn judge(&self, evidence: &Value) -> Result<Judgement, String> {
        (self.judge)(evidence)
    }
}

/// The evidence file: what the drive recorded, and what the targets did unasked.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Recorded<E> {
    version: u32,
    gate: String,
    /// Why the drive stopped early, if it did: no judge may take what is there for all there is.
    stopped: Option<String>,
    incidents: Vec<Incident>,
    seen: E,
}

/// Why the drive of this stored evidence stopped early, if it did.
///
/// # Errors
/// When this is no evidence file of this version.
pub fn stopped(evidence: &Value) -> Result<Option<String>, String> {
    let recorded: Recorded<serde::de::IgnoredAny> = serde_path_to_error::deserialize(evidence)
        .map_err(|error| format!("this is no evidence: {error}"))?;
    Ok(recorded.stopped)
}

/// One row of [`CHECKS`]: the gate's name, its file and its module.
macro_rules! check {
    ($gate:literal, $file:literal, $($module:ident)::+) => {
        Check {
            gate: $gate,
            file: $file,
            source: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $file)),
            run: |cx, deadline| {
                Box::pin(async move {
                    let mut seen = $($module)::+::Evidence::default();
                    let cancel = cx.cancel.clone();
                    let stopped = supervise(deadline, cancel, $($module)::+::drive(cx, &mut seen)).await;
                    ran($gate, cx, seen, stopped)
                })
            },
            judge: |evidence| judged($gate, evidence, $($module)::+::judge),
        }
    };
}

/// Every check there is, in the order of the gates.
pub const CHECKS: &[Check] = &[
    check!(
        "file-exists",
        "src/checks/boot/file_exists.rs",
        super::boot::file_exists
    ),
    check!(
        "compile-all",
        "src/checks/boot/compile_all.rs",
        super::boot::compile_all
    ),
    check!(
        "durable-state-tables",
        "src/checks/durability/durable_state_tables.rs",
        super::durability::durable_state_tables
    ),
    check!(
        "wal-mode",
        "src/checks/durability/wal_mode.rs",
        super::durability::wal_mode
    ),
    check!(
        "session-restore",
        "src/checks/durability/session_restore.rs",
        super::durability::session_restore
    ),
    check!(
        "confirmation-restore",
        "src/checks/durability/confirmation_restore.rs",
        super::durability::confirmation_restore
    ),
    check!(
        "outbox-pattern",
        "src/checks/durability/outbox_pattern.rs",
        super::durability::outbox_pattern
    ),
    check!(
        "lifespan-wiring",
        "src/checks/boot/lifespan_wiring.rs",
        super::boot::lifespan_wiring
    ),
    check!(
        "hnsw-wired",
        "src/checks/memory/hnsw_wired.rs",
        super::memory::hnsw_wired
    ),
    check!(
        "index-manifest",
        "src/checks/memory/index_manifest.rs",
        super::memory::index_manifest
    ),
    check!(
        "token-budget",
        "src/checks/memory/token_budget.rs",
        super::memory::token_budget
    ),
    check!(
        "memory-lifespan",
        "src/checks/memory/memory_lifespan.rs",
        super::memory::memory_lifespan
    ),
    check!(
        "consent-fsm",
        "src/checks/perception/consent_fsm.rs",
        super::perception::consent_fsm
    ),
    check!(
        "consent-fail-closed",
        "src/checks/perception/consent_fail_closed.rs",
        super::perception::consent_fail_closed
    ),
    check!(
        "perception-consent",
        "src/checks/perception/perception_consent.rs",
        super::perception::perception_consent
    ),
    check!(
        "backpressure",
        "src/checks/load/backpressure.rs",
        super::load::backpressure
    ),
    check!(
        "latency-budget",
        "src/checks/load/latency_budget.rs",
        super::load::latency_budget
    ),
    check!(
        "stream-backpressure",
        "src/checks/load/stream_backpressure.rs",
        super::load::stream_backpressure
    ),
    check!(
        "bind-audit",
        "src/checks/exposure/bind_audit.rs",
        super::exposure::bind_audit
    ),
    check!(
        "auth-coverage",
        "src/checks/auth/auth_coverage.rs",
        super::auth::auth_coverage
    ),
    check!(
        "tls-config",
        "src/checks/exposure/tls_config.rs",
        super::exposure::tls_config
    ),
    check!(
        "cors-env",
        "src/checks/exposure/cors_env.rs",
        super::exposure::cors_env
    ),
    check!(
        "service-token",
        "src/checks/auth/service_token.rs",
        super::auth::service_token
    ),
    check!(
        "backends-wired",
        "src/checks/voice/backends_wired.rs",
        super::voice::backends_wired
    ),
    check!(
        "asr-config-fix",
        "src/checks/voice/asr_config_fix.rs",
        super::voice::asr_config_fix
    ),
    check!(
        "factory-providers",
        "src/checks/voice/factory_providers.rs",
        super::voice::factory_providers
    ),
    check!(
        "ws-audio-framing",
        "src/checks/voice/ws_audio_framing.rs",
        super::voice::ws_audio_framing
    ),
    check!(
        "voice-roundtrip-test",
        "src/checks/voice/voice_roundtrip_test.rs",
        super::voice::voice_roundtrip_test
    ),
    check!(
        "restart-method",
        "src/checks/supervision/restart_method.rs",
        super::supervision::restart_method
    ),
    check!(
        "restart-policy",
        "src/checks/supervision/restart_policy.rs",
        super::supervision::restart_policy
    ),
    check!(
        "tasks-endpoint",
        "src/checks/policy/tasks_endpoint.rs",
        super::policy::tasks_endpoint
    ),
    check!(
        "approve-endpoint",
        "src/checks/policy/approve_endpoint.rs",
        super::policy::approve_endpoint
    ),
    check!(
        "health-restart-trigger",
        "src/checks/supervision/health_restart_trigger.rs",
        super::supervision::health_restart_trigger
    ),
    check!(
        "orchestrator-supervised",
        "src/checks/supervision/orchestrator_supervised.rs",
        super::supervision::orchestrator_supervised
    ),
    check!(
        "orchestrator-boot",
        "src/checks/supervision/orchestrator_boot.rs",
        super::supervision::orchestrator_boot
    ),
    check!(
        "tool-proxy-canonical",
        "src/checks/tools/tool_proxy_canonical.rs",
        super::tools::tool_proxy_canonical
    ),
    check!(
        "memory-proxy-canonical",
        "src/checks/memory/memory_proxy_canonical.rs",
        super::memory::memory_proxy_canonical
    ),
    check!(
        "vision-supervised",
        "src/checks/supervision/vision_supervised.rs",
        super::supervision::vision_supervised
    ),
    check!(
        "verify-real",
        "src/checks/tools/verify_real.rs",
        super::tools::verify_real
    ),
    check!(
        "tool-call-extraction",
        "src/checks/tools/tool_call_extraction.rs",
        super::tools::tool_call_extraction
    ),
    check!(
        "memory-risk-tier",
        "src/checks/memory/memory_risk_tier.rs",
        super::memory::memory_risk_tier
    ),
    check!(
        "supervisor-ports-clean",
        "src/checks/supervision/supervisor_ports_clean.rs",
        super::supervision::supervisor_ports_clean
    ),
    check!(
        "verification-tests",
        "src/checks/tools/verification_tests.rs",
        super::tools::verification_tests
    ),
    check!(
        "default-backend-auto",
        "src/checks/voice/default_backend_auto.rs",
        super::voice::default_backend_auto
    ),
    check!(
        "streaming-asr",
        "src/checks/voice/streaming_asr.rs",
        super::voice::streaming_asr
    ),
    check!(
        "vad-turn-detect",
        "src/checks/voice/vad_turn_detect.rs",
        super::voice::vad_turn_detect
    ),
    check!(
        "tts-streaming",
        "src/checks/voice/tts_streaming.rs",
        super::voice::tts_streaming
    ),
    check!(
        "e2e-audio-test",
        "src/checks/voice/e2e_audio_test.rs",
        super::voice::e2e_audio_test
    ),
    check!(
        "auth-required-mutating",
        "src/checks/auth/auth_required_mutating.rs",
        super::auth::auth_required_mutating
    ),
    check!(
        "deny-invalid-token",
        "src/checks/auth/deny_invalid_token.rs",
        super::auth::deny_invalid_token
    ),
    check!(
        "role-enforcement",
        "src/checks/auth/role_enforcement.rs",
        super::auth::role_enforcement
    ),
    check!(
        "key-rotation",
        "src/checks/auth/key_rotation.rs",
        super::auth::key_rotation
    ),
    check!(
        "actor-attribution",
        "src/checks/audit/actor_attribution.rs",
        super::audit::actor_attribution
    ),
    check!(
        "fail-closed-auth",
        "src/checks/auth/fail_closed_auth.rs",
        super::auth::fail_closed_auth
    ),
    check!(
        "tasks-persist",
        "src/checks/durability/tasks_persist.rs",
        super::durability::tasks_persist
    ),
    check!(
        "approvals-restore",
        "src/checks/durability/approvals_restore.rs",
        super::durability::approvals_restore
    ),
    check!(
        "supervisor-budget-persist",
        "src/checks/supervision/supervisor_budget_persist.rs",
        super::supervision::supervisor_budget_persist
    ),
    check!(
        "outbox-idempotent",
        "src/checks/durability/outbox_idempotent.rs",
        super::durability::outbox_idempotent
    ),
    check!(
        "restore-ordering",
        "src/checks/boot/restore_ordering.rs",
        super::boot::restore_ordering
    ),
    check!(
        "migration-integrity",
        "src/checks/boot/migration_integrity.rs",
        super::boot::migration_integrity
    ),
    check!(
        "global-backpressure",
        "src/checks/load/global_backpressure.rs",
        super::load::global_backpressure
    ),
    check!(
        "slo-enforcement",
        "src/checks/slo/slo_enforcement.rs",
        super::slo::slo_enforcement
    ),
    check!(
        "chaos-flap",
        "src/checks/reliability/chaos_flap.rs",
        super::reliability::chaos_flap
    ),
    check!(
        "chaos-partial",
        "src/checks/reliability/chaos_partial.rs",
        super::reliability::chaos_partial
    ),
    check!(
        "replay-determinism",
        "src/checks/policy/replay_determinism.rs",
        super::policy::replay_determinism
    ),
    check!(
        "queue-storm",
        "src/checks/reliability/queue_storm.rs",
        super::reliability::queue_storm
    ),
    check!(
        "audit-chain-present",
        "src/checks/audit/audit_chain_present.rs",
        super::audit::audit_chain_present
    ),
    check!(
        "chain-tamper-detection",
        "src/checks/audit/chain_tamper_detection.rs",
        super::audit::chain_tamper_detection
    ),
    check!(
        "bundle-manifest-signed",
        "src/checks/audit/bundle_manifest_signed.rs",
        super::audit::bundle_manifest_signed
    ),
    check!(
        "replay-provenance",
        "src/checks/audit/replay_provenance.rs",
        super::audit::replay_provenance
    ),
    check!(
        "cross-service-trace",
        "src/checks/audit/cross_service_trace.rs",
        super::audit::cross_service_trace
    ),
    check!(
        "audit-export-endpoint",
        "src/checks/audit/audit_export_endpoint.rs",
        super::audit::audit_export_endpoint
    ),
    check!(
        "approval-race-safe",
        "src/checks/policy/approval_race_safe.rs",
        super::policy::approval_race_safe
    ),
    check!(
        "task-mutation-serial",
        "src/checks/policy/task_mutation_serial.rs",
        super::policy::task_mutation_serial
    ),
    check!(
        "idempotency-key-support",
        "src/checks/policy/idempotency_key_support.rs",
        super::policy::idempotency_key_support
    ),
    check!(
        "idempotency-store-durable",
        "src/checks/policy/idempotency_store_durable.rs",
        super::policy::idempotency_store_durable
    ),
    check!(
        "restart-ordering-strict",
        "src/checks/durability/restart_ordering_strict.rs",
        super::durability::restart_ordering_strict
    ),
    check!(
        "fence-token-enforcement",
        "src/checks/policy/fence_token_enforcement.rs",
        super::policy::fence_token_enforcement
    ),
    check!(
        "sustained-breach-detect",
        "src/checks/slo/sustained_breach_detect.rs",
        super::slo::sustained_breach_detect
    ),
    check!(
        "degrade-mode-transition",
        "src/checks/slo/degrade_mode_transition.rs",
        super::slo::degrade_mode_transition
    ),
    check!(
        "recovery-exit-criteria",
        "src/checks/slo/recovery_exit_criteria.rs",
        super::slo::recovery_exit_criteria
    ),
    check!(
        "slo-diagnostics-endpoint",
        "src/checks/slo/slo_diagnostics_endpoint.rs",
        super::slo::slo_diagnostics_endpoint
    ),
    check!(
        "chaos-degrade-cycle",
        "src/checks/slo/chaos_degrade_cycle.rs",
        super::slo::chaos_degrade_cycle
    ),
    check!(
        "slo-config-dynamic",
        "src/checks/slo/slo_config_dynamic.rs",
        super::slo::slo_config_dynamic
    ),
];

/// The check of this gate.
#[must_use]
pub fn find(gate: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.gate == gate)
}

/// Runs a drive under its deadline and until the run is to end; tells why it ended early.
pub(crate) async fn supervise(
    deadline: Duration,
    cancel: Cancel,
    drive: impl Future<Output = Result<(), Undecided>>,
) -> Option<String> {
    let guarded = AssertUnwindSafe(drive).catch_unwind();
    // What is done is done, whatever else happened at the same moment.
    tokio::select! {
        biased;
        ended = guarded => match ended {
            Ok(Ok(())) => None,
            Ok(Err(Undecided(why))) => Some(why),
            Err(panic) => Some(format!("the check panicked: {}", words(panic.as_ref()))),
        },
        () = tokio::time::sleep(deadline) => Some(format!(
            "not done within its deadline of {} s",
            deadline.as_secs_f64()
        )),
        () = cancelled(cancel) => Some(INTERRUPTED.to_owned()),
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

fn ran<E: Serialize>(gate: &str, cx: &Cx, seen: E, undecided: Option<String>) -> Ran {
    let recorded = Recorded {
        version: RECORD_VERSION,
        gate: gate.to_owned(),
        stopped: undecided.clone(),
        incidents: cx.incidents(),
        seen,
    };
    match serde_json::to_value(recorded) {
        Ok(evidence) => Ran {
            evidence,
            undecided,
        },
        Err(error) => Ran {
            evidence: Value::Null,
            undecided: Some(format!("the evidence cannot be written: {error}")),
        },
    }
}

fn judged<E: DeserializeOwned>(
    gate: &str,
    evidence: &Value,
    judge: fn(&E) -> Judgement,
) -> Result<Judgement, String> {
    let recorded: Recorded<E> = serde_path_to_error::deserialize(evidence)
        .map_err(|error| format!("this is no evidence of {gate}: {error}"))?;
    if recorded.version != RECORD_VERSION || recorded.gate != gate {
        return Err(format!(
            "evidence version {} of {}, expected {RECORD_VERSION} of {gate}",
            recorded.version, recorded.gate
        ));
    }
    let mut judgement = judge(&recorded.seen);
    judgement
        .violations
        .extend(recorded.incidents.iter().map(ToString::to_string));
    Ok(judgement)
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
