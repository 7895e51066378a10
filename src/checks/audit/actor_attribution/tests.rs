//! Evidence written by hand: a good one, and its bad twins.

use super::*;

fn who(id: &str, via: Option<&str>) -> Named {
    Named {
        id: id.into(),
        role: "operator".into(),
        via: via.map(str::to_owned),
    }
}

fn everybody() -> [Named; 4] {
    let service = Some("_service");
    [
        who("op-1", None),
        who("op-2", None),
        who("_service", None),
        who("op-2", service),
    ]
}

fn entry(chain: &str, by: &Named, outcome: &str) -> Entry {
    Entry {
        chain: chain.into(),
        action: "action.plan".into(),
        actor_id: by.id.clone(),
        actor_role: by.role.clone(),
        via: by.via.clone(),
        outcome: outcome.into(),
    }
}

fn act(route: &str, by: &Named, status: u16) -> Act {
    let outcome = if status == 409 { "refused" } else { "ok" };
    let hop = Named {
        via: Some("_service".into()),
        ..by.clone()
    };
    Act {
        route: route.into(),
        by: by.clone(),
        tried: Tried {
            service: "api-gateway".into(),
            line: "POST /v3/actions/plan".into(),
            id: "cor_1".into(),
            invoked_us: 10,
            returned_us: Some(20),
            status,
            code: String::new(),
        },
        decided_by: None,
        entries: Some(match outcome {
            "ok" => vec![
                entry("api-gateway", by, "ok"),
                entry("openclaw", &hop, "ok"),
            ],
            _ => vec![entry("api-gateway", by, outcome)],
        }),
    }
}

fn good() -> Evidence {
    let routes = floor().filter(|route| route.mutating);
    let acts = routes.flat_map(|route| everybody().map(|by| act(&route.to_string(), &by, 200)));
    let winner = who("op-2", None);
    let decisions = ["cnf_1", "act_1"].map(|id| {
        let statuses = [409, 200, 409, 409];
        let raced = everybody()
            .into_iter()
            .zip(statuses)
            .map(|(by, status)| Act {
                decided_by: Some(winner.clone()),
                ..act("approvals", &by, status)
            });
        Decision {
            id: id.into(),
            acts: raced.collect(),
            record: (id == "act_1").then(|| winner.clone()),
        }
    });
    Evidence {
        trouble: BTreeMap::new(),
        acts: acts.collect(),
        decisions: decisions.into(),
    }
}

fn spoiled(spoil: impl FnOnce(&mut Evidence)) -> Judgement {
    let mut seen = good();
    spoil(&mut seen);
    judge(&seen)
}

fn says(judgement: &Judgement, words: &str) {
    assert_eq!(judgement.violations.len(), 1, "{:?}", judgement.violations);
    let said = &judgement.violations[0];
    assert!(said.contains(words), "{said}: expected `{words}`");
}

/// The entries of the second actor's act on the first route: op-2's.
fn entries(seen: &mut Evidence) -> &mut Vec<Entry> {
    seen.acts[1].entries.as_mut().unwrap()
}

#[test]
fn entries_and_records_that_name_who_it_was_are_no_violation() {
    let judgement = judge(&good());
    assert_eq!(judgement.violations, [""; 0]);
    assert_eq!(judgement.undecided, [""; 0]);
    let routes = floor().filter(|route| route.mutating).count() as u64;
    let counts = [
        ("actors", 4),
        ("effects", 4 * routes + 2),
        ("hops", 4 * routes + 2),
        ("approvals", 2),
        ("records", 1),
        ("lost_races", 6),
    ];
    for (name, n) in counts {
        assert_eq!(judgement.exercised[name], n, "{name}");
    }
}

#[test]
fn an_entry_that_names_somebody_else_is_a_violation() {
    let other = spoiled(|seen| entries(seen)[0].actor_id = "op-1".into());
    says(
        &other,
        "entry ok `action.plan` of api-gateway names `op-1` as `operator`, expected `op-2` as \
         `operator` for 200",
    );
    let role = spoiled(|seen| entries(seen)[0].actor_role = String::new());
    says(&role, "names `op-2` as ``, expected `op-2` as `operator`");
    let via = spoiled(|seen| entries(seen)[0].via = Some("_service".into()));
    says(
        &via,
        "names `op-2` as `operator` via `_service`, expected `op-2` as `operator` for",
    );
}

#[test]
fn a_hop_that_forgets_for_whom_it_acts_is_a_violation() {
    let forgot = spoiled(|seen| {
        let hop = &mut entries(seen)[1];
        (hop.actor_id, hop.via) = ("_service".into(), None);
    });
    says(
        &forgot,
        "of openclaw names `_service` as `operator`, expected `op-2` as `operator` via",
    );
    let direct = spoiled(|seen| entries(seen)[1].via = None);
    says(&direct, "expected `op-2` as `operator` via `_service`");
}

#[test]
fn an_effect_or_a_lost_race_without_its_entry_is_a_violation() {
    let effect = spoiled(|seen| drop(entries(seen).remove(0)));
    says(
        &effect,
        "0 entries ok of api-gateway name `op-2` as `operator` for 200",
    );
    let lost = spoiled(|seen| seen.decisions[0].acts[0].entries = Some(vec![]));
    says(
        &lost,
        "0 entries refused of api-gateway name `op-1` as `operator` for 409",
    );
    let nameless = spoiled(|seen| {
        let loser = seen.decisions[0].acts[0].entries.as_mut().unwrap();
        loser[0].actor_id.clear();
    });
    says(
        &nameless,
        "entry refused `action.plan` of api-gateway names `` as `operator`, expected",
    );
    assert_eq!(nameless.exercised["lost_races"], 5);
}

#[test]
fn an_answer_or_a_record_that_names_another_winner_is_a_violation() {
    let winner = spoiled(|seen| {
        seen.decisions[0].acts[1].decided_by = Some(who("op-1", None));
    });
    says(
        &winner,
        "names `op-1` as `operator` as who decided, expected `op-2` as `operator`",
    );
    let loser = spoiled(|seen| seen.decisions[0].acts[2].decided_by = None);
    says(
        &loser,
        "names nobody as who decided, expected `op-2` as `operator`",
    );
    let record = spoiled(|seen| seen.decisions[1].record = Some(who("op-1", None)));
    says(&record, "act_1: its record names `op-1`");
}

#[test]
fn an_actor_who_is_refused_is_a_violation() {
    let refused = spoiled(|seen| seen.acts[2].tried.status = 403);
    says(
        &refused,
        "`_service` as `operator`: 403 to POST /v3/actions/plan",
    );
}

#[test]
fn what_did_not_happen_is_undecided() {
    let two = spoiled(|seen| {
        let first = seen.decisions[0].acts[0].clone();
        seen.decisions[0].acts[0] = Act {
            tried: seen.decisions[0].acts[1].tried.clone(),
            entries: seen.acts[0].entries.clone(),
            ..first
        };
    });
    assert_eq!(two.violations, [""; 0]);
    assert_eq!(two.undecided, ["cnf_1 has 2 winners, expected 1"]);
    let unread = spoiled(|seen| seen.acts[0].entries = None);
    assert_eq!(unread.undecided.len(), 1);
    assert!(unread.undecided[0].contains("1 of 4 actors did not act"));
    assert!(judge(&Evidence::default()).undecided.len() >= 17);
}
