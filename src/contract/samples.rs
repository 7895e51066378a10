//! Every sample of the contract is read by its type, and comes back whole.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answers::{
    Acted, ApiDocument, Body, Chat, Current, Executed, Frame, HandedOn, Health, Memory, Providers,
    Refusal, Selected, SessionAnswer, SessionClosed, Status, Stored, Task, TaskDeleted, Tasks,
    TurnAnswer, Version,
};
use super::audit::Export;
use super::breakers::Breakers;
use super::checkpoint::{Consistency, Signed};
use super::consent::{Consent, Consented, Observation, Privacy, Scene, Switched};
use super::dead_letters::{DeadLetters, Rehearsed, Replayed};
use super::decisions::{
    ActionAnswer, Actions, Approvals, Decided, GateDecision, PendingList, Reissued, Winner,
};
use super::events::{ClosedWindow, Event, Events};
use super::load::Latencies;
use super::recall::{Forgotten, IndexAnswer, Proposal, Proposals, SearchAnswer};
use super::slo::SloStatus;
use super::supervision::{Graph, HealthAll, Maintenance, RestartAsked};
use super::trace::Trace;
use super::users::{KeyRotated, UserCreated, UserRevoked};
use super::voice::VoiceBackends;

fn samples() -> BTreeMap<String, Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/contract/samples");
    fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (
                name,
                serde_json::from_slice(&fs::read(&path).unwrap()).unwrap(),
            )
        })
        .collect()
}

/// Reads and writes again: equal means that every field is known.
fn whole<T: Serialize + DeserializeOwned>(body: &Value) -> Result<(), String> {
    let read: T = super::read(body)?;
    let written = serde_json::to_value(read).unwrap();
    if &written == body {
        Ok(())
    } else {
        Err(format!("{written} is not {body}"))
    }
}

/// How each sample of a 2xx is read. A sample that is missing here fails the test.
fn read_by_name(name: &str, body: &Value) -> Result<(), String> {
    match name {
        "healthz" => whole::<Health>(body),
        "version" => whole::<Version>(body),
        "openapi" => whole::<ApiDocument>(body),
        "status" => whole::<Body<Status>>(body),
        "session-create" | "session-get" | "deprecated-twin" => whole::<Body<SessionAnswer>>(body),
        "session-delete" => whole::<Body<SessionClosed>>(body),
        "turn" => whole::<Body<TurnAnswer>>(body),
        "confirmations-pending" => whole::<Body<PendingList>>(body),
        "approvals" => whole::<Body<Approvals>>(body),
        "confirmation-approve"
        | "confirmation-approve-tool-failed"
        | "confirmation-deny"
        | "key-replayed"
        | "action-approve"
        | "action-approve-unverified"
        | "eva-approve"
        | "eva-deny" => whole::<Body<Decided>>(body),
        "confirmation-reissue" | "action-reissue" | "eva-reissue" => whole::<Body<Reissued>>(body),
        "action-plan" | "action-get" => whole::<Body<ActionAnswer>>(body),
        "actions-list" => whole::<Body<Actions>>(body),
        "gate-tool-call" | "gate-tool-call-safe" | "gate-tool-call-blocked" => {
            whole::<Body<GateDecision>>(body)
        }
        "execute" | "execute-guarded" => whole::<Body<Executed>>(body),
        "task-create" | "task-get" | "task-update" => whole::<Body<Task>>(body),
        "tasks-list" => whole::<Body<Tasks>>(body),
        "task-delete" => whole::<Body<TaskDeleted>>(body),
        "vision-frame" => whole::<Body<Frame>>(body),
        "chat" => whole::<Body<Chat>>(body),
        "select" => whole::<Body<Selected>>(body),
        "providers" => whole::<Body<Providers>>(body),
        "voice-backends" => whole::<Body<VoiceBackends>>(body),
        "tool-run" => whole::<Body<HandedOn>>(body),
        "agent-act" => whole::<Body<Acted>>(body),
        "privacy-enable" | "privacy-disable" | "privacy-disable-all" => {
            whole::<Body<Switched>>(body)
        }
        "privacy" => whole::<Body<Privacy>>(body),
        "consent-request" | "consent-grant" | "consent-activate" | "consent-revoke" => {
            whole::<Body<Consented>>(body)
        }
        "consent" => whole::<Body<Consent>>(body),
        "perception-analyze" => whole::<Body<Scene>>(body),
        "perception-event" => whole::<Body<Observation>>(body),
        "events" => whole::<Body<Events>>(body),
        "audit-checkpoint" => whole::<Body<Signed>>(body),
        "audit-consistency" => whole::<Body<Consistency>>(body),
        "audit-export" | "audit-export-signed" => whole::<Body<Export>>(body),
        "audit-trace" => whole::<Body<Trace>>(body),
        "dead-letters" => whole::<Body<DeadLetters>>(body),
        "dead-letter-replay" | "dead-letter-replay-failed" => whole::<Body<Replayed>>(body),
        "dead-letter-dry-run" => whole::<Body<Rehearsed>>(body),
        "user-create" => whole::<Body<UserCreated>>(body),
        "user-rotate-key" => whole::<Body<KeyRotated>>(body),
        "user-delete" => whole::<Body<UserRevoked>>(body),
        "dependency-graph" => whole::<Body<Graph>>(body),
        "health-all" => whole::<Body<HealthAll>>(body),
        "maintenance-mode" => whole::<Body<Maintenance>>(body),
        "supervision-restart" => whole::<Body<RestartAsked>>(body),
        "breakers" => whole::<Body<Breakers>>(body),
        "latency" => whole::<Body<Latencies>>(body),
        "slo-status" => whole::<Body<SloStatus>>(body),
        other => read_of_memory(other, body),
    }
}

fn read_of_memory(name: &str, body: &Value) -> Result<(), String> {
    match name {
        "memory-store" => whole::<Body<Stored>>(body),
        "memory-recall" | "memory-update" => whole::<Body<Memory>>(body),
        "memory-delete" => whole::<Body<Forgotten>>(body),
        "memory-search" => whole::<Body<SearchAnswer>>(body),
        "memory-index" | "memory-index-rebuilt" => whole::<Body<IndexAnswer>>(body),
        "proposal-create" | "proposal-create-auto" | "proposal-approve" | "proposal-reject" => {
            whole::<Body<Proposal>>(body)
        }
        "proposals" => whole::<Body<Proposals>>(body),
        other => Err(format!("no type reads the sample {other}: name it here")),
    }
}

#[test]
fn every_sample_is_read_by_its_type_and_comes_back_whole() {
    let samples = samples();
    assert!(samples.len() >= 60, "{} samples", samples.len());
    for (name, sample) in samples {
        let answer = &sample["answer"];
        let refused = answer["status"].as_u64().unwrap() >= 400;
        let outcome = match (refused, name.as_str()) {
            (true, "healthz-starting") => whole::<Health>(&answer["body"]),
            (true, _) => whole::<Body<Refusal>>(&answer["body"]),
            (false, name) => read_by_name(name, &answer["body"]),
        };
        assert_eq!(outcome, Ok(()), "{name}");
    }
}

#[test]
fn a_sample_with_a_field_missing_or_of_another_type_is_refused() {
    fn refuses<T: DeserializeOwned + Debug>(body: &Value, field: &str) {
        let mut missing = body.clone();
        missing.as_object_mut().unwrap().remove(field);
        assert!(super::read::<T>(&missing).is_err(), "without {field}");
        let mut wrong = body.clone();
        wrong[field] = serde_json::json!([1]);
        assert!(
            super::read::<T>(&wrong).is_err(),
            "with an array as {field}"
        );
    }
    let samples = samples();
    let body = |name: &str| &samples[name]["answer"]["body"];
    refuses::<Body<SessionAnswer>>(body("session-get"), "expires_at");
    refuses::<Body<TurnAnswer>>(body("turn"), "turn_id");
    refuses::<Body<Decided>>(body("confirmation-deny"), "fence_token");
    refuses::<Body<SloStatus>>(body("slo-status"), "current_mode");
    refuses::<Body<Refusal>>(body("fence-stale"), "correlation_id");
}

#[test]
fn the_winner_is_in_the_details_of_the_losers_409() {
    let samples = samples();
    let details = &samples["confirmation-decided"]["answer"]["body"]["error"]["details"];
    let winner: Winner = super::read(details).unwrap();
    assert_eq!(
        (winner.verdict.as_str(), winner.fence_token),
        ("approved", 41)
    );
}

#[test]
fn the_task_as_it_is_stands_in_the_details_of_the_409() {
    let samples = samples();
    for (name, version) in [("task-exists", 1), ("task-version-conflict", 2)] {
        let details = &samples[name]["answer"]["body"]["error"]["details"];
        assert_eq!(whole::<Current>(details), Ok(()), "{name}");
        let Current { current } = super::read(details).unwrap();
        assert_eq!(current.version, version, "{name}");
    }
}

#[test]
fn every_sample_of_an_event_is_read() {
    let text = include_str!("../../fixtures/contract/events.json");
    let file: Value = serde_json::from_str(text).unwrap();
    let mut windows = 0;
    for event in file["events"].as_array().unwrap() {
        assert_eq!(whole::<Event>(event), Ok(()));
        if event["type"] == "slo.window" {
            assert_eq!(whole::<ClosedWindow>(&event["data"]), Ok(()));
            windows += 1;
        }
    }
    assert_eq!(windows, 1);
}
