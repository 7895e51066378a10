//! The kill matrix: every mutant, its lever, and what each gate came to that it names.

use maud::{Markup, html};

use super::gates::tone;
use crate::model::Status;
use crate::report::KillMatrix;

pub(super) fn section(matrix: &KillMatrix) -> Markup {
    let run = matrix
        .mutants
        .iter()
        .filter(|mutant| !mutant.results.is_empty())
        .count();
    let killed = |name: &str| {
        matrix.mutants.iter().any(|mutant| {
            mutant.name == name
                && mutant
                    .must
                    .iter()
                    .all(|gate| mutant.results.get(gate) == Some(&Status::Fail))
        })
    };
    let dead = matrix
        .mutants
        .iter()
        .filter(|mutant| killed(&mutant.name))
        .count();
    let passed: usize = matrix
        .null_targets
        .iter()
        .map(|null| null.passed.len())
        .sum();
    html! {
        section #proof aria-labelledby="proof-title" {
            h2 #proof-title { "Proof" }
            p { "A gate that was never seen to fail is no gate. Of " (run) " targets that are wrong on purpose, "
                (dead) " are killed by every gate that has to notice them; "
                (matrix.null_targets.len()) " targets that do nothing passed " (passed) " gates. "
                "Without a defect " (matrix.control.values().filter(|status| **status == Status::Pass).count())
                " gates pass. Seed " code { (matrix.seed) } "." }
            details {
                summary { "All " (matrix.mutants.len()) " mutants" }
                div.scroll {
                    table.matrix {
                        thead { tr {
                            th scope="col" { "Mutant" } th scope="col" { "Lever" }
                            th scope="col" { "Has to fail" } th scope="col" { "May fail, and why" }
                        } }
                        tbody {
                            @for mutant in &matrix.mutants {
                                tr {
                                    th scope="row" { (mutant.name) }
                                    td { (mutant.lever) }
                                    td { @for gate in &mutant.must { (cell(gate, mutant.results.get(gate).copied())) } }
                                    td { @for may in &mutant.may {
                                        (cell(&may.gate, mutant.results.get(&may.gate).copied()))
                                        " " span.reason { (may.reason) }
                                        br;
                                    } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(gate: &str, status: Option<Status>) -> Markup {
    let (class, word) = match status {
        Some(status) => (tone(status), status.word()),
        None => ("skip", "not run"),
    };
    html! { a class={ "cell " (class) } href={ "#" (gate) } { (gate) " " b { (word) } } " " }
}
