//! The gates: by release and epic, each with its claim, numbers, duration and evidence.

use maud::{Markup, html};

use super::Sources;
use crate::model::{PlannedGate, Status};
use crate::report::{GatePart, KillMatrix};

pub(super) fn section(sources: &Sources<'_>) -> Markup {
    let statuses = [Status::Fail, Status::Unknown, Status::Pass, Status::Skip];
    let count = |status| {
        sources
            .report
            .gates
            .iter()
            .filter(|row| row.status == status)
            .count()
    };
    html! {
        section #gates aria-labelledby="gates-title" {
            h2 #gates-title { "Gates" }
            div.tools role="search" {
                label for="search" { "Search" }
                input #search type="search" placeholder="name, claim, number" autocomplete="off";
                div.filters role="group" aria-label="Show only" {
                    @for status in statuses {
                        @if count(status) > 0 {
                            button type="button" data-filter=(status.word()) aria-pressed="false"
                                class=(tone(status)) { (status.word()) " " (count(status)) }
                        }
                    }
                }
                p #shown role="status" aria-live="polite" {}
            }
            @for (title, rows) in groups(sources) {
                section.group aria-label=(title) {
                    h3 { (title) }
                    div.grid { @for (row, gate) in rows { (card(row, gate, sources.matrix)) } }
                }
            }
        }
    }
}

pub(super) fn tone(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Fail => "fail",
        Status::Unknown => "unknown",
        Status::Skip => "skip",
    }
}

type Card<'a> = (&'a GatePart, &'a PlannedGate);

/// The newest release first, each by epic, in the order of the report.
fn groups<'a>(sources: &'a Sources<'_>) -> Vec<(String, Vec<Card<'a>>)> {
    let mut groups: Vec<(String, String, Vec<Card<'a>>)> = Vec::new();
    let release = &sources.plan.release;
    for row in &sources.report.gates {
        let Some(gate) = sources
            .plan
            .gates
            .iter()
            .find(|gate| gate.spec.name == row.name)
        else {
            continue;
        };
        let of = gate.spec.release.clone();
        let epic = release
            .epics
            .iter()
            .find(|epic| of == release.name && epic.id == gate.spec.epic);
        let title = match (epic, gate.spec.epic.as_str()) {
            (Some(epic), letter) => format!("{of} epic {letter}: {}", epic.title),
            (None, "") => format!("{of}: deliverables"),
            (None, letter) => format!("{of} epic {letter}"),
        };
        match groups.last_mut() {
            Some((_, last, cards)) if *last == title => cards.push((row, gate)),
            _ => groups.push((of, title, vec![(row, gate)])),
        }
    }
    let mut ordered: Vec<(String, Vec<Card<'a>>)> = Vec::new();
    let (own, inherited): (Vec<_>, Vec<_>) = groups
        .into_iter()
        .partition(|group| group.0 == release.name);
    for (_, title, cards) in own.into_iter().chain(inherited) {
        ordered.push((title, cards));
    }
    ordered
}

fn card(row: &GatePart, gate: &PlannedGate, matrix: Option<&KillMatrix>) -> Markup {
    let proven = matrix.and_then(|matrix| matrix.gates.iter().find(|one| one.name == row.name));
    html! {
        article id=(row.name) class={ "gate " (tone(row.status)) } data-status=(row.status.word()) {
            details {
                summary {
                    span.status { (row.status.word()) }
                    span.id { (row.id) }
                    span.name { (row.name) }
                    span.time { (format!("{:.2} s", row.duration_s)) }
                    span.detail { (row.detail) }
                }
                p.claim { (gate.spec.claim) }
                @for (word, texts) in [("Violations", &row.violations), ("Open", &row.undecided)] {
                    @if !texts.is_empty() {
                        h4 { (word) }
                        ul { @for text in texts.iter().take(50) { li { (text) } } }
                        @if texts.len() > 50 { p { (texts.len() - 50) " more, in the report" } }
                    }
                }
                @if !row.minimum.is_empty() {
                    h4 { "Exercised" }
                    table { tbody {
                        @for (name, least) in &row.minimum {
                            tr {
                                th scope="row" { (name) }
                                td { (row.exercised.get(name).copied().unwrap_or(0)) }
                                td { "at least " (least) }
                            }
                        }
                    } }
                }
                h4 { "Has to notice" }
                ul.mutants {
                    @for mutant in &row.mutants {
                        li {
                            (mutant)
                            @if proven.is_some_and(|gate| gate.killed_by.contains(mutant)) {
                                span.killed { " killed" }
                            }
                        }
                    }
                }
                @if !row.evidence.is_empty() {
                    h4 { "Evidence" }
                    ul { @for file in &row.evidence {
                        li { code { (file.path) } " " code.digest { (file.sha256) } }
                    } }
                }
                p.where { "Row " code { (gate.spec.file) ":" (gate.spec.line) }
                    ", check " code { (gate.spec.check_file()) } }
            }
        }
    }
}
