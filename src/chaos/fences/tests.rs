//! Evidence written by hand: a good one, and for each mutant of the gate its bad twin.

use super::story::{Look, Step};
use super::*;
use crate::chaos::approvals::{Minted, marked};

const APPROVE: Act = Act::Decide(Verb::Approve);
const DENY: Act = Act::Decide(Verb::Deny);

/// When the first KILL was over, and the second.
const KILLS: [u64; 2] = [500_000, 800_000];

/// Answers that a hand-written history needs.
#[derive(Clone, Copy)]
enum Says {
    Done(i64),
    Stale,
    Decided(Verb),
    Expired,
    Malformed,
}

fn attempt(act: Act, aim: Aim, fence: Shown, at_us: u64, says: Says) -> Attempt {
    let (status, code, verdict, told) = match says {
        Says::Done(fence) => (200, "", "", Some(fence)),
        Says::Stale => (409, "FENCE_STALE", "", None),
        Says::Decided(verb) => (409, "ALREADY_DECIDED", verb.verdict(), None),
        Says::Expired => (409, "CONFIRMATION_EXPIRED", "", None),
        Says::Malformed => (400, "MALFORMED", "", None),
    };
    Attempt {
        act,
        aim,
        fence,
        invoked_us: at_us,
        returned_us: Some(at_us + 9),
        status,
        code: code.into(),
        verdict: verdict.into(),
        told,
    }
}

fn asked(act: Act, aim: Aim, fence: Shown, at_us: u64, says: Says) -> Step {
    Step::Asked(attempt(act, aim, fence, at_us, says))
}

fn looked(at_us: u64, fence: Option<i64>) -> Step {
    Step::Looked(Look {
        invoked_us: at_us,
        returned_us: Some(at_us + 9),
        status: 200,
        fence,
    })
}

fn story(route: Route, at_us: u64, fence: i64, runs: u64, steps: Vec<Step>) -> Story {
    let id = format!("dec_{fence}");
    Story {
        decision: Minted {
            route,
            args: marked(&format!("m-{id}")),
            id,
            fence,
            minted_us: at_us,
            shown_us: at_us + 1,
        },
        ttl_ms: 600_000,
        race: Vec::new(),
        steps,
        runs: Some(runs),
    }
}

/// One asked with every wrong fence, and then with the right one.
fn strict(route: Route, from: i64) -> Story {
    let f = from + 1;
    let steps = vec![
        looked(200, Some(f)),
        asked(
            APPROVE,
            Aim::OneLess,
            Shown::Header(f - 1),
            210,
            Says::Stale,
        ),
        asked(APPROVE, Aim::OneMore, Shown::Body(f + 1), 220, Says::Stale),
        asked(DENY, Aim::Anothers, Shown::Body(f + 9), 230, Says::Stale),
        asked(
            APPROVE,
            Aim::HeaderOfLetters,
            Shown::Header(f),
            240,
            Says::Malformed,
        ),
        asked(
            APPROVE,
            Aim::HeaderTooGreat,
            Shown::Header(f),
            250,
            Says::Malformed,
        ),
        asked(
            APPROVE,
            Aim::BodyOfLetters,
            Shown::Body(f),
            260,
            Says::Malformed,
        ),
        asked(
            APPROVE,
            Aim::BodyWithFraction,
            Shown::Body(f),
            270,
            Says::Stale,
        ),
        looked(280, Some(f)),
        asked(APPROVE, Aim::Right, Shown::Header(f), 290, Says::Done(f)),
        looked(300, None),
        asked(
            DENY,
            Aim::Late,
            Shown::Header(f),
            310,
            Says::Decided(Verb::Approve),
        ),
    ];
    story(route, 100, f, 1, steps)
}

/// One reissued: the old fence, and none, are void.
fn reissued(route: Route, from: i64) -> Story {
    let (f, g) = (from + 2, from + 3);
    let steps = vec![
        asked(Act::Reissue, Aim::Right, Shown::Nothing, 400, Says::Done(g)),
        asked(APPROVE, Aim::Voided, Shown::Header(f), 410, Says::Stale),
        asked(APPROVE, Aim::NoneNow, Shown::Nothing, 420, Says::Stale),
        looked(430, Some(g)),
        asked(APPROVE, Aim::Right, Shown::Body(g), 440, Says::Done(g)),
    ];
    story(route, 110, f, 1, steps)
}

/// One that expired before it was reissued.
fn expired(route: Route, from: i64) -> Story {
    let (f, g) = (from + 6, from + 7);
    let steps = vec![
        asked(
            APPROVE,
            Aim::Right,
            Shown::Header(f),
            700_000,
            Says::Expired,
        ),
        looked(700_100, None),
        asked(
            Act::Reissue,
            Aim::Right,
            Shown::Header(f),
            810_000,
            Says::Done(g),
        ),
        asked(APPROVE, Aim::Voided, Shown::Header(f), 810_010, Says::Stale),
        asked(APPROVE, Aim::Right, Shown::Body(g), 810_020, Says::Done(g)),
    ];
    Story {
        ttl_ms: 50,
        ..story(route, 550_000, f, 1, steps)
    }
}

/// An approval against a reissue; `first` is the one that won.
fn raced(route: Route, from: i64, first: Act) -> Story {
    let (f, g) = if first == APPROVE {
        (from + 4, 0)
    } else {
        (from + 5, from + 30)
    };
    let (approve, reissue, late, runs) = match first {
        Act::Reissue => (Says::Stale, Says::Done(g), Says::Done(g), 1),
        Act::Decide(_) => (
            Says::Done(f),
            Says::Decided(Verb::Approve),
            Says::Decided(Verb::Approve),
            1,
        ),
    };
    let steps = vec![asked(
        APPROVE,
        Aim::Right,
        Shown::Body(g.max(f)),
        900_100,
        late,
    )];
    Story {
        race: vec![
            attempt(APPROVE, Aim::Right, Shown::Header(f), 900_000, approve),
            attempt(Act::Reissue, Aim::Right, Shown::Nothing, 900_000, reissue),
        ],
        ..story(
            route,
            120 + u64::from(first == Act::Reissue),
            f,
            runs,
            steps,
        )
    }
}

/// What only has to be won in some way.
fn simple(route: Route, from: i64, nth: i64, act: Verb, shown: fn(i64) -> Shown) -> Story {
    let f = from + 10 + nth;
    let runs = u64::from(act == Verb::Approve);
    let at_us = 130 + nth.cast_unsigned();
    let step = asked(
        Act::Decide(act),
        Aim::Right,
        shown(f),
        850_000,
        Says::Done(f),
    );
    story(route, at_us, f, runs, vec![step])
}

fn on_route(route: Route) -> Vec<Story> {
    let from = 100 * (route as i64);
    vec![
        strict(route, from),
        reissued(route, from),
        raced(route, from, APPROVE),
        raced(route, from, Act::Reissue),
        expired(route, from),
        simple(route, from, 0, Verb::Approve, |_| Shown::Nothing),
        simple(route, from, 1, Verb::Deny, |_| Shown::Nothing),
        simple(route, from, 2, Verb::Deny, Shown::Header),
        simple(route, from, 3, Verb::Deny, Shown::Body),
    ]
}

fn good() -> Evidence {
    let mut seen = Evidence {
        ttl_ms: 600_000,
        stories: Vec::new(),
        kills: KILLS
            .map(|killed_us| Kill {
                killed_us,
                ready_us: Some(killed_us + 10),
            })
            .into(),
    };
    seen.stories = Route::ALL.into_iter().flat_map(on_route).collect();
    renumber(&mut seen.stories);
    seen
}

/// Gives the issues of these decisions new fences, in the order of the clock, as a counter does, and
/// with them every request.
fn renumber(stories: &mut [Story]) {
    let mut order: Vec<(u64, i64)> = Vec::new();
    for story in stories.iter() {
        order.extend(story.issues().map(|issue| (issue.invoked_us, issue.fence)));
    }
    order.sort_unstable();
    // Three apart, so that one less and one more are nobody's.
    let new: BTreeMap<i64, i64> = (1_000..)
        .step_by(3)
        .zip(order)
        .map(|(to, (_, fence))| (fence, to))
        .collect();
    for story in stories {
        let current = new[&story.decision.fence];
        story.decision.fence = current;
        let all = story.steps.iter_mut().filter_map(|step| match step {
            Step::Asked(asked) => Some(asked),
            Step::Looked(look) => {
                look.fence = look.fence.map(|fence| new[&fence]);
                None
            }
        });
        for asked in story.race.iter_mut().chain(all) {
            let move_to = |token: i64| match asked.aim {
                Aim::OneLess => current - 1,
                Aim::OneMore => current + 1,
                Aim::Anothers => current + 50,
                _ => new[&token],
            };
            asked.fence = match asked.fence {
                Shown::Nothing => Shown::Nothing,
                Shown::Header(token) => Shown::Header(move_to(token)),
                Shown::Body(token) => Shown::Body(move_to(token)),
            };
            asked.told = asked.told.map(|fence| new[&fence]);
        }
    }
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

fn step(story: &mut Story, number: usize) -> &mut Attempt {
    match &mut story.steps[number] {
        Step::Asked(asked) => asked,
        Step::Looked(_) => panic!("step {number} is a look"),
    }
}

/// The answer of a request that was done after all.
fn let_through(asked: &mut Attempt) {
    asked.status = 200;
    asked.code = String::new();
    asked.told = asked.fence.token();
}

#[test]
fn the_right_fence_and_no_other_is_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    assert_eq!(judgement.exercised["approval_routes"], 3);
    assert_eq!(judgement.exercised["stale_fences"], 18);
    assert_eq!(judgement.exercised["races"], 6);
    assert_eq!(judgement.exercised["kills"], 2);
    let starts = "3 approval routes, 18 stale fences, 6 races with 6 overlapping pairs, 2 kills: 0";
    assert!(judgement.detail.starts_with(starts), "{}", judgement.detail);
}

#[test]
fn an_older_fence_is_let_through() {
    let seen = spoiled(|seen| let_through(step(&mut seen.stories[0], 1)));
    says(&seen, "approve with the fence less 1");
    says(&seen, "200, expected 409 FENCE_STALE");
    let seen = spoiled(|seen| let_through(step(&mut seen.stories[1], 1)));
    says(&seen, "approve with a fence from before a reissue");
}

#[test]
fn a_newer_fence_and_another_decisions_fence_are_let_through() {
    let seen = spoiled(|seen| let_through(step(&mut seen.stories[0], 2)));
    says(&seen, "approve with the fence plus 1");
    let seen = spoiled(|seen| let_through(step(&mut seen.stories[0], 3)));
    says(&seen, "deny with another decision's fence");
}

#[test]
fn a_decision_without_a_fence_wins_after_a_reissue() {
    let seen = spoiled(|seen| let_through(step(&mut seen.stories[1], 2)));
    says(
        &seen,
        "approve with no fence after a reissue: 200, expected 409 FENCE_STALE",
    );
}

#[test]
fn what_is_no_fence_is_let_through_or_breaks_the_service() {
    let seen = spoiled(|seen| let_through(step(&mut seen.stories[0], 6)));
    says(&seen, "a string in the body");
    let seen = spoiled(|seen| step(&mut seen.stories[0], 5).status = 500);
    says(
        &seen,
        "500 MALFORMED , expected 400, 422 or 409 FENCE_STALE",
    );
}

#[test]
fn a_refusal_runs_the_tool_all_the_same() {
    let seen = spoiled(|seen| seen.stories[0].runs = Some(2));
    says(&seen, "2 runs of the tool, expected 1");
    let seen = spoiled(|seen| seen.stories[6].runs = Some(1));
    says(&seen, "1 runs of the tool, expected 0");
    let seen = spoiled(|seen| seen.stories[0].runs = Some(0));
    says(&seen, "0 runs of the tool, expected 1");
}

#[test]
fn a_refusal_closes_the_decision_or_changes_its_fence() {
    let look = |fence| spoiled(move |seen| seen.stories[0].steps[8] = looked(280, fence));
    says(
        &look(None),
        "a look at what is pending got 200 with fence None, expected 200 with Some(",
    );
    says(&look(Some(7)), "got 200 with fence Some(7)");
    let seen = spoiled(|seen| seen.stories[0].steps[10] = looked(300, Some(1_000)));
    says(&seen, "expected 200 with None");
}

#[test]
fn a_reissue_that_does_not_raise_the_fence() {
    let seen = spoiled(|seen| {
        let old = seen.stories[1].decision.fence;
        step(&mut seen.stories[1], 0).told = Some(old);
    });
    says(&seen, "expected 200 with a greater fence");
}

#[test]
fn fences_that_begin_anew_after_a_kill() {
    let seen = spoiled(|seen| seen.stories[4].decision.fence = 1);
    says(&seen, "api-gateway: dec_6 got fence 1 after ");
    let seen = spoiled(|seen| {
        let other = seen.stories[1].decision.fence;
        seen.stories[2].decision.fence = other;
    });
    says(&seen, "expected ");
}

#[test]
fn one_fence_for_two_decisions_at_once() {
    let seen = spoiled(|seen| {
        let taken = seen.stories[5].decision.clone();
        let other = &mut seen.stories[6].decision;
        (other.fence, other.minted_us, other.shown_us) =
            (taken.fence, taken.minted_us, taken.shown_us);
        let step = step(&mut seen.stories[6], 0);
        step.told = Some(taken.fence);
    });
    says(&seen, "both got fence");
}

#[test]
fn a_race_that_both_sides_win() {
    let seen = spoiled(|seen| let_through(&mut seen.stories[3].race[0]));
    says(&seen, "no order of the 3 answers explains them");
}

#[test]
fn a_race_answered_with_an_error_of_the_service() {
    let seen = spoiled(|seen| {
        seen.stories[3].race[0].status = 500;
        seen.stories[3].race[0].code = "INTERNAL".into();
    });
    says(
        &seen,
        "500 INTERNAL , expected 200 or one of the contract's refusals",
    );
}

#[test]
fn an_expired_decision_wins_or_cannot_be_reissued() {
    let seen = spoiled(|seen| let_through(step(&mut seen.stories[4], 0)));
    says(&seen, "200, expected 409 CONFIRMATION_EXPIRED");
    let seen = spoiled(|seen| {
        let asked = step(&mut seen.stories[4], 2);
        (asked.status, asked.code, asked.told) = (409, "CONFIRMATION_EXPIRED".into(), None);
    });
    says(&seen, "reissue with the right fence");
}

#[test]
fn an_answer_that_names_another_fence() {
    let seen = spoiled(|seen| step(&mut seen.stories[0], 9).told = Some(7));
    says(&seen, "with fence Some(7), expected ");
}

#[test]
fn a_request_without_an_answer_in_its_bound() {
    let seen = spoiled(|seen| {
        let asked = step(&mut seen.stories[0], 9);
        (asked.status, asked.returned_us, asked.told) = (0, None, None);
    });
    says(&seen, "no answer, expected 200");
}

#[test]
fn what_a_kill_cut_may_have_happened() {
    let cut = |late: Says, token: i64| {
        let mut cut = simple(Route::Actions, 100, 20, Verb::Approve, Shown::Body);
        let first = cut.decision.fence;
        let mut reissue = attempt(
            Act::Reissue,
            Aim::Right,
            Shown::Nothing,
            840_000,
            Says::Stale,
        );
        (reissue.status, reissue.returned_us) = (0, None);
        cut.race.push(reissue);
        cut.steps = vec![asked(
            APPROVE,
            Aim::Right,
            Shown::Body(first + token),
            850_000,
            late,
        )];
        cut.runs = Some(u64::from(matches!(late, Says::Done(_))));
        cut.violations(600_000, &mut Vec::new())
    };
    let first = 130;
    assert_eq!(cut(Says::Done(first), 0), [""; 0], "it did not happen");
    assert_eq!(cut(Says::Stale, 0), [""; 0], "it did");
    assert_ne!(
        cut(Says::Done(first - 1), -1),
        [""; 0],
        "a fence never falls"
    );
}

#[test]
fn too_little_is_undecided() {
    let undecided = |spoil: fn(&mut Evidence), words: &str| {
        let judgement = judge(&spoiled(spoil));
        let said = judgement.undecided.iter().any(|open| open.contains(words));
        assert!(said, "expected `{words}` in {:#?}", judgement.undecided);
        assert_eq!(judgement.violations, [""; 0]);
    };
    undecided(
        |seen| drop(seen.stories.remove(0)),
        "nothing was asked of confirmations with",
    );
    undecided(
        |seen| drop(seen.stories.remove(4)),
        "nothing expired was reissued and approved",
    );
    undecided(
        |seen| drop(seen.stories.remove(8)),
        "no deny won with its fence in the body",
    );
    undecided(|seen| seen.kills.clear(), "no open decision crossed a KILL");
    let all = |seen: &mut Evidence, act: Act| {
        seen.stories.retain(|story| {
            !story
                .race
                .iter()
                .any(|asked| asked.act == act && asked.ok())
        });
    };
    let judgement = judge(&spoiled(|seen| all(seen, APPROVE)));
    assert_eq!(
        judgement.undecided,
        ["no approval won a race with a reissue"]
    );
    let judgement = judge(&spoiled(|seen| all(seen, Act::Reissue)));
    assert_eq!(
        judgement.undecided,
        ["no reissue won a race with an approval"]
    );
    let judgement = judge(&Evidence::default());
    assert_eq!(judgement.exercised["approval_routes"], 0);
    assert_eq!(judgement.violations, [""; 0]);
}
