//! Evidence written by hand: a good one, and for each mutant of the gate its bad twin.

use serde_json::json;

use super::*;
use crate::chaos::approvals::round::execution;
use crate::chaos::approvals::{GUARDED_TOOL, Minted, marked};

fn decision(route: Route, number: usize) -> Minted {
    let id = format!("dec_{number}");
    let args = marked(&format!("m-{number}"));
    Minted {
        route,
        id,
        fence: 41,
        args,
        minted_us: 0,
        shown_us: 0,
    }
}

/// An answer at `returned_us` to a request sent at 100.
fn asked(verb: Verb, actor: &str, fence: Shown, returned_us: u64) -> Asked {
    Asked {
        verb,
        actor: actor.into(),
        fence,
        invoked_us: 100,
        returned_us: Some(returned_us),
        status: 200,
        code: String::new(),
        verdict: verb.verdict().into(),
        decided_by: actor.into(),
        execution: execution(verb).into(),
    }
}

fn refused(asked: Asked, winner: &Asked) -> Asked {
    Asked {
        status: 409,
        code: "ALREADY_DECIDED".into(),
        verdict: winner.verdict.clone(),
        decided_by: winner.decided_by.clone(),
        execution: String::new(),
        ..asked
    }
}

fn run(decision: &Minted, at_us: u64) -> Run {
    Run {
        at_us,
        tool: GUARDED_TOOL.into(),
        args: decision.args.clone(),
    }
}

/// A round won by `verb`, as it should be.
fn round(
    route: Route,
    number: usize,
    tool_ms: u64,
    racers: usize,
    verb: Verb,
    mixed: bool,
) -> Round {
    let decision = decision(route, number);
    let shown = [Shown::Nothing, Shown::Header(41), Shown::Body(41)];
    let winner = asked(verb, "op-1", shown[number % 3], 300);
    let other = if mixed && verb == Verb::Approve {
        Verb::Deny
    } else {
        Verb::Approve
    };
    let mut race = vec![winner.clone()];
    for loser in 1..racers {
        let fence = shown[(number + loser) % 3];
        race.push(refused(
            asked(other, "op-2", fence, 300 + loser as u64),
            &winner,
        ));
    }
    let later = |verb| {
        let late = Asked {
            invoked_us: 1_000,
            ..asked(verb, "op-2", Shown::Nothing, 1_100)
        };
        refused(late, &winner)
    };
    let repeats = vec![later(Verb::Approve), later(Verb::Deny)];
    let runs = if verb == Verb::Approve {
        vec![run(&decision, 200)]
    } else {
        vec![]
    };
    Round {
        decision,
        tool_ms,
        race,
        repeats,
        runs: Some(runs),
    }
}

/// Every kind of race on every route, and every kind of direct call.
fn good() -> Evidence {
    let mut rounds = Vec::new();
    for route in Route::ALL {
        for tool_ms in [0, 15] {
            for (verb, mixed) in [
                (Verb::Approve, false),
                (Verb::Approve, true),
                (Verb::Deny, true),
            ] {
                let racers = if rounds.is_empty() { 64 } else { 2 };
                rounds.push(round(route, rounds.len(), tool_ms, racers, verb, mixed));
            }
        }
    }
    let direct = Warrant::ALL.map(|warrant| {
        let (status, code, runs) = warrant.expected();
        let args = marked(&format!("d-{warrant:?}"));
        let run = Run {
            at_us: 2_500,
            tool: "file.read".into(),
            args: args.clone(),
        };
        Direct {
            warrant,
            issuer: "api-gateway".into(),
            args,
            invoked_us: 2_000,
            status,
            code: code.into(),
            runs: Some(vec![run; runs]),
        }
    });
    Evidence {
        ttl_ms: 600_000,
        rounds,
        direct: direct.into(),
    }
}

/// The only violation of `seen`.
fn violation(seen: &Evidence) -> String {
    let judgement = judge(seen);
    assert_eq!(judgement.violations.len(), 1, "{:#?}", judgement.violations);
    judgement.violations[0].clone()
}

fn spoiled(spoil: impl FnOnce(&mut Evidence)) -> Evidence {
    let mut seen = good();
    spoil(&mut seen);
    seen
}

fn says(seen: &Evidence, words: &str) {
    let judgement = judge(seen);
    let said = judgement
        .violations
        .iter()
        .any(|violation| violation.contains(words));
    assert!(said, "expected `{words}` in {:#?}", judgement.violations);
}

#[test]
fn one_winner_each_is_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    assert_eq!(judgement.exercised["rounds"], 18);
    assert_eq!(judgement.exercised["overlapping_pairs"], 64 * 63 / 2 + 17);
    assert_eq!(judgement.exercised["direct_executes"], 7);
    let starts = "18 rounds, 134 requests, 2033 overlapping pairs, 7 direct executes: 0 violations";
    assert!(judgement.detail.starts_with(starts), "{}", judgement.detail);
    assert!(
        judgement
            .detail
            .ends_with("at most 15.33 % of races go wrong"),
        "{}",
        judgement.detail
    );
}

#[test]
fn check_then_set_two_winners() {
    let seen = spoiled(|seen| {
        let round = &mut seen.rounds[1];
        round.race[1] = asked(Verb::Deny, "op-2", Shown::Nothing, 300);
    });
    says(
        &seen,
        "2 winners and 0 conflicts of 2 racers, expected 1 and 1",
    );
    says(&seen, "no order of the 4 answers explains them");
}

#[test]
fn check_then_set_two_runs_behind_one_answer() {
    let seen = spoiled(|seen| {
        let round = &mut seen.rounds[1];
        let again = run(&round.decision, 210);
        round.runs.as_mut().unwrap().push(again);
    });
    assert!(violation(&seen).contains("2 runs of the tool (0 before the race, 0 after the first"));
}

#[test]
fn nobody_wins() {
    let seen = spoiled(|seen| {
        let round = &mut seen.rounds[2];
        round.race[0] = round.race[1].clone();
    });
    says(
        &seen,
        "0 winners and 2 conflicts of 2 racers, expected 1 and 1",
    );
    says(&seen, "no order of the 4 answers explains them");
}

#[test]
fn a_repeated_approval_executes_again() {
    let seen = spoiled(|seen| {
        let round = &mut seen.rounds[1];
        let again = run(&round.decision, 1_050);
        round.runs.as_mut().unwrap().push(again);
    });
    let words = "2 runs of the tool (0 before the race, 1 after the first repeat), expected 1";
    assert!(violation(&seen).contains(words));
}

#[test]
fn a_repeat_is_told_that_it_won() {
    let seen = spoiled(|seen| {
        let late = asked(Verb::Approve, "op-2", Shown::Nothing, 1_100);
        seen.rounds[1].repeats[0] = Asked {
            invoked_us: 1_000,
            ..late
        };
    });
    says(
        &seen,
        "later repeat got: approve by op-2: 200 approved, expected 409 ALREADY_DECIDED",
    );
}

#[test]
fn a_loser_gets_200_with_the_winners_answer() {
    let seen = spoiled(|seen| {
        let round = &mut seen.rounds[1];
        round.race[1] = Asked {
            verb: Verb::Deny,
            ..round.race[0].clone()
        };
    });
    says(&seen, "2 winners and 0 conflicts");
    says(
        &seen,
        r#"told ("approved", "op-1", "succeeded"), expected ("denied", "op-1", "")"#,
    );
}

#[test]
fn a_denied_tool_runs() {
    let seen = spoiled(|seen| {
        let round = &mut seen.rounds[2];
        round.runs = Some(vec![run(&round.decision, 400)]);
    });
    assert!(violation(&seen).contains("1 runs of the tool"));
    assert!(violation(&seen).contains("expected 0"));
}

#[test]
fn an_approved_tool_does_not_run() {
    let seen = spoiled(|seen| seen.rounds[1].runs = Some(vec![]));
    assert!(violation(&seen).contains("0 runs of the tool"));
}

#[test]
fn a_guarded_tool_runs_before_anybody_approved_it() {
    let seen = spoiled(|seen| seen.rounds[1].runs.as_mut().unwrap()[0].at_us = 50);
    assert!(violation(&seen).contains("ran at 50 us, before anybody asked to approve it"));
}

#[test]
fn another_call_runs_than_was_approved() {
    let seen = spoiled(|seen| {
        seen.rounds[1].runs.as_mut().unwrap()[0].args = json!({"path": "m-1", "text": "rm"});
    });
    assert!(violation(&seen).contains(r#"with {"path":"m-1","text":"rm"}, expected file.write"#));
}

#[test]
fn a_loser_is_told_another_verdict_or_another_winner() {
    let verdict = spoiled(|seen| seen.rounds[1].race[1].verdict = "denied".into());
    says(
        &verdict,
        r#"loser was told "denied" by "op-1", expected "approved" by "op-1""#,
    );
    let actor = spoiled(|seen| seen.rounds[1].repeats[0].decided_by = "op-2".into());
    let words = r#"later repeat was told "approved" by "op-2", expected "approved" by "op-1""#;
    assert!(violation(&actor).contains(words));
}

#[test]
fn a_loser_gets_another_refusal_or_no_answer() {
    let busy = spoiled(|seen| seen.rounds[1].race[1].status = 503);
    assert!(violation(&busy).contains("loser got: deny by op-2: 503 ALREADY_DECIDED approved"));
    let silent = spoiled(|seen| {
        let loser = &mut seen.rounds[1].race[1];
        (loser.returned_us, loser.status, loser.code) = (None, 0, String::new());
    });
    assert!(violation(&silent).contains("loser got: deny by op-2: no answer"));
}

#[test]
fn a_loser_returns_before_the_winner_began() {
    let seen = spoiled(|seen| {
        let round = &mut seen.rounds[2];
        round.race[0].invoked_us = 320;
        round.race[0].returned_us = Some(340);
    });
    let words = "no order of the 4 answers explains them: after 0 of them nothing allows approve";
    assert!(violation(&seen).contains(words), "{}", violation(&seen));
}

#[test]
fn a_guarded_tool_runs_without_a_decision() {
    for warrant in [Warrant::Nothing, Warrant::Forged, Warrant::Consumed] {
        let at = Warrant::ALL
            .iter()
            .position(|other| *other == warrant)
            .unwrap();
        let answered = spoiled(|seen| {
            (seen.direct[at].status, seen.direct[at].code) = (200, String::new());
        });
        assert!(violation(&answered).contains(r#"got (200, ""), expected (40"#));
        let ran = spoiled(|seen| {
            let direct = &mut seen.direct[at];
            let run = Run {
                at_us: 2_001,
                tool: GUARDED_TOOL.into(),
                args: direct.args.clone(),
            };
            direct.runs = Some(vec![run]);
        });
        assert!(violation(&ran).contains("led to 1 runs of the tool, expected 0"));
    }
}

#[test]
fn a_gate_that_refuses_everything_fails_its_control() {
    let seen = spoiled(|seen| {
        let control = seen.direct.last_mut().unwrap();
        (control.status, control.code, control.runs) = (403, "TOOL_BLOCKED".into(), Some(vec![]));
    });
    assert_eq!(judge(&seen).violations.len(), 2);
}

#[test]
fn what_did_not_occur_is_undecided() {
    let undecided = |seen: &Evidence| {
        let judgement = judge(seen);
        assert_eq!(judgement.violations, [""; 0]);
        judgement.undecided
    };
    assert!(undecided(&Evidence::default()).len() > 12);
    let no_eva = spoiled(|seen| {
        seen.rounds
            .retain(|round| round.decision.route != Route::EvaOs);
    });
    assert_eq!(undecided(&no_eva).len(), 4);
    let no_denial = spoiled(|seen| {
        seen.rounds
            .retain(|round| round.race[0].verb == Verb::Approve);
    });
    assert_eq!(undecided(&no_denial), ["in no race did a denial win"]);
    let unseen = spoiled(|seen| seen.rounds.iter_mut().for_each(|round| round.runs = None));
    assert_eq!(judge(&unseen).exercised["rounds"], 0);
    let unforged = spoiled(|seen| seen.direct.retain(|one| one.warrant != Warrant::Forged));
    assert_eq!(
        undecided(&unforged),
        ["no direct execute with a forged decision"]
    );
}

#[test]
fn races_one_after_another_do_not_overlap() {
    let seen = spoiled(|seen| {
        for round in &mut seen.rounds {
            for (number, asked) in round.race.iter_mut().enumerate() {
                asked.invoked_us = 100 + 1_000 * number as u64;
                asked.returned_us = Some(600 + 1_000 * number as u64);
            }
            round.repeats.clear();
        }
    });
    assert_eq!(judge(&seen).exercised["overlapping_pairs"], 0);
}

#[test]
fn many_violations_are_counted_not_listed() {
    let seen = spoiled(|seen| {
        for asked in &mut seen.rounds[0].race[1..] {
            asked.code = "CONFLICT".into();
        }
    });
    let violations = judge(&seen).violations;
    assert_eq!(violations.len(), 21);
    assert_eq!(violations[20], "and 43 more violations");
    assert!(judge(&seen).detail.contains(": 63 violations;"));
}

#[test]
fn evidence_survives_storage() {
    let stored = serde_json::to_value(good()).unwrap();
    let again: Evidence = serde_json::from_value(stored).unwrap();
    assert_eq!(again, good());
}
