//! `report.html`: one file that needs nothing else, for people. It shows the report, the proof and
//! what the evidence of a few gates looks like; it decides nothing, and what it does not understand
//! it leaves out.

mod chain;
mod crashes;
mod degrade;
mod gates;
mod proof;
mod races;
mod svg;

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use crate::model::{Plan, Verdict};
use crate::report::{GateReport, KillMatrix};

/// The file's name.
pub const PAGE_FILE: &str = "report.html";

/// Gates whose evidence is drawn, when it is given.
pub const DRAWN: [&str; 4] = [degrade::GATE, races::GATE, crashes::GATE, chain::GATE];

/// What a page is made of.
pub struct Sources<'a> {
    /// The report.
    pub report: &'a GateReport,
    /// The gates' claims.
    pub plan: &'a Plan,
    /// The proof, when there is one.
    pub matrix: Option<&'a KillMatrix>,
    /// `evidence.json` of the gates of [`DRAWN`], by gate, as far as there is any.
    pub evidence: BTreeMap<String, Value>,
}

/// The file's text.
#[must_use]
pub fn page(sources: &Sources<'_>) -> String {
    let report = sources.report;
    let title = format!("{} {}", report.verdict, report.release);
    let seen = |gate: &str| sources.evidence.get(gate).map(|file| &file["seen"]);
    let pictures = [
        (
            "cycle",
            "Degrade cycle",
            seen(degrade::GATE).and_then(degrade::picture),
        ),
        ("races", "Races", seen(races::GATE).and_then(races::picture)),
        (
            "crashes",
            "Crash rounds",
            seen(crashes::GATE).and_then(crashes::picture),
        ),
        (
            "chain",
            "Audit chain",
            seen(chain::GATE).and_then(chain::picture),
        ),
    ];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "sonia-gate: " (title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                a.skip href="#gates" { "To the gates" }
                (head(sources))
                nav aria-label="Sections" {
                    a href="#gates" { "Gates" }
                    @if sources.matrix.is_some() { a href="#proof" { "Proof" } }
                    @for (id, name, picture) in &pictures {
                        @if picture.is_some() { a href={ "#" (id) } { (name) } }
                    }
                }
                main {
                    (gates::section(sources))
                    @if let Some(matrix) = sources.matrix { (proof::section(matrix)) }
                    @for (id, name, picture) in &pictures {
                        @if let Some(picture) = picture {
                            section id=(id) aria-labelledby={ (id) "-title" } {
                                h2 id={ (id) "-title" } { (name) }
                                (picture)
                            }
                        }
                    }
                }
                footer { (footer(report)) }
                script { (PreEscaped(include_str!("script.js"))) }
            }
        }
    }
    .into_string()
}

fn head(sources: &Sources<'_>) -> Markup {
    let (report, counts) = (sources.report, &sources.report.summary);
    let tone = match report.verdict {
        Verdict::Promote => "pass",
        Verdict::Hold => "fail",
        Verdict::Partial => "unknown",
    };
    html! {
        header {
            p.brand { "sonia-gate " (report.release) }
            h1 class={ "verdict " (tone) } { (report.verdict) }
            p.counts {
                strong { (counts.pass) " of " (counts.total) " gates pass" }
                ", " (counts.fail) " fail, " (counts.unknown) " unknown, " (counts.skip) " skipped, "
                (counts.unproven) " unproven. Floor " (counts.floor_pass) "/" (counts.floor_total)
                ", delta " (counts.delta_pass) "/" (counts.delta_total) ", "
                (format!("{:.1}", report.elapsed_s)) " s."
            }
            @for (word, names) in [
                ("Failed", &report.blockers), ("Undecided", &report.undecided),
                ("Unproven", &report.unproven),
            ] {
                @if !names.is_empty() {
                    details.reasons open[word == "Failed"] {
                        summary { (word) ": " (names.len()) }
                        ul { @for name in names { li { a href={ "#" (name) } { (name) } } } }
                    }
                }
            }
            @for remark in &report.remarks { p.remark { (remark) } }
        }
    }
}

fn footer(report: &GateReport) -> Markup {
    html! {
        dl {
            dt { "Target" } dd { (report.target.name) @if report.target.mutated { " (wrong on purpose)" } }
            dt { "Seed" } dd { code { (report.seed) } }
            dt { "Sources" } dd { code { (report.source_digest) } }
            @if let Some(git) = &report.git {
                dt { "Commit" } dd { code { (git.commit) } @if git.dirty { ", changed since" } }
            }
            @if let Some(digest) = &report.proof.matrix_sha256 {
                dt { "Kill matrix" } dd { code { (digest) } }
            }
            dt { "Written" } dd { time datetime=(report.timestamp) { (report.timestamp) } }
        }
        p { "This page is for reading. What a promotion rests on is " code { "gate-report.json" }
            ", its evidence and its signature: " code { "sonia-gate verdict" } " checks them." }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ci_sample::report_of_three;

    #[test]
    fn a_page_has_every_gate_and_reaches_for_nothing() {
        let (plan, mut report) = report_of_three();
        report.gates[0].detail = "<script>alert(1)</script> & more".to_owned();
        let text = page(&Sources {
            report: &report,
            plan: &plan,
            matrix: None,
            evidence: BTreeMap::new(),
        });
        for gate in &plan.gates {
            assert!(
                text.contains(&format!("id=\"{}\"", gate.spec.name)),
                "{}",
                gate.spec.name
            );
        }
        assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; more"));
        assert!(!text.contains("<script>alert(1)"));
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            let plain = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!plain.contains(outside), "{outside}");
        }
        assert!(text.len() < 3_000_000, "{}", text.len());
        // A browser reads the first of two attributes of one name, and says nothing.
        for tag in text.split('<').filter_map(|rest| rest.split_once('>')) {
            assert!(tag.0.matches(" class=").count() < 2, "{}", tag.0);
        }
    }

    #[test]
    fn evidence_that_is_not_understood_is_left_out() {
        let (plan, report) = report_of_three();
        let evidence = DRAWN
            .iter()
            .map(|gate| {
                (
                    (*gate).to_owned(),
                    serde_json::json!({"seen": {"lanes": 7, "double": []}}),
                )
            })
            .collect();
        let text = page(&Sources {
            report: &report,
            plan: &plan,
            matrix: None,
            evidence,
        });
        for id in ["cycle", "races", "crashes", "chain"] {
            assert!(!text.contains(&format!("<section id=\"{id}\"")), "{id}");
        }
    }
}
