//! One task: a register whose every mutation is its next version, with a tombstone.
//!
//! Rules (contract, eva-os): an id is given once, to a task at version 1; an update names the current
//! version and makes the next one, any other is told the task as it is; one deletion wins, makes the
//! last version, and from then on there is no task and its id is gone for good. In each state a call
//! has exactly one answer, so an answer that is off by one version or one word has no explanation.

use crate::chaos::linear::Spec;

/// What is asked of a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Make it, under an id that the caller chose.
    Create {
        /// Its name.
        name: String,
        /// The caller's own, in any one text form.
        metadata: String,
    },
    /// Change what is given, if the version is the current one.
    Update {
        /// The version that the caller has seen.
        version: u64,
        /// The new name.
        name: Option<String>,
        /// The new metadata, instead of the old.
        metadata: Option<String>,
    },
    /// Delete it.
    Delete,
    /// Read it, alone or as a row of a list.
    Read,
    /// Read its row in the database, where a tombstone shows.
    Stored,
}

/// A call on one task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Input {
    /// The task's id.
    pub id: String,
    /// What is asked of it.
    pub call: Call,
}

/// A task as an answer tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// The number of its last mutation, from 1.
    pub version: u64,
    /// Its name.
    pub name: String,
    /// The caller's own.
    pub metadata: String,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// 201, with the new task.
    Created(Task),
    /// 200 to an update, with the task after it.
    Updated(Task),
    /// 200 to a deletion, with its version.
    Deleted {
        /// The version that the deletion made.
        version: u64,
    },
    /// The task, to a reader.
    Found(Task),
    /// 404, or no row in a list.
    NotFound,
    /// 409 TASK_EXISTS, with the task that is there.
    Exists(Task),
    /// 409 TASK_GONE, or a tombstone in the database.
    Gone {
        /// The version of the deletion.
        version: u64,
    },
    /// 409 VERSION_CONFLICT, with the task as it is.
    Stale(Task),
}

/// A task's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// There never was one.
    Absent,
    /// It is there.
    Live(Task),
    /// It was deleted, for ever.
    Deleted {
        /// The version of the deletion.
        version: u64,
    },
}

/// Tasks by id; before the first create there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tasks;

impl Spec for Tasks {
    type Key = String;
    type State = State;
    type Input = Input;
    type Output = Output;

    fn key(&self, input: &Input) -> String {
        input.id.clone()
    }

    fn init(&self, _id: &String) -> State {
        State::Absent
    }

    fn step(&self, state: &State, input: &Input, output: Option<&Output>, next: &mut Vec<State>) {
        let (answer, after) = match state {
            State::Absent => absent(&input.call),
            State::Live(task) => live(task, &input.call),
            State::Deleted { version } => deleted(*version, &input.call),
        };
        if output.is_none_or(|output| *output == answer) {
            next.push(after.unwrap_or_else(|| state.clone()));
        }
    }

    fn observes(&self, _input: &Input, output: &Output) -> bool {
        match output {
            Output::Created(_) | Output::Updated(_) | Output::Deleted { .. } => false,
            Output::Found(_)
            | Output::NotFound
            | Output::Exists(_)
            | Output::Gone { .. }
            | Output::Stale(_) => true,
        }
    }
}

/// The answer, and the state after it if that is another one.
type Answered = (Output, Option<State>);

fn absent(call: &Call) -> Answered {
    let Call::Create { name, metadata } = call else {
        return (Output::NotFound, None);
    };
    let task = Task {
        version: 1,
        name: name.clone(),
        metadata: metadata.clone(),
    };
    (Output::Created(task.clone()), Some(State::Live(task)))
}

fn live(task: &Task, call: &Call) -> Answered {
    let next = task.version + 1;
    match call {
        Call::Create { .. } => (Output::Exists(task.clone()), None),
        Call::Update { version, .. } if *version != task.version => {
            (Output::Stale(task.clone()), None)
        }
        Call::Update { name, metadata, .. } => {
            let task = Task {
                version: next,
                name: name.as_ref().unwrap_or(&task.name).clone(),
                metadata: metadata.as_ref().unwrap_or(&task.metadata).clone(),
            };
            (Output::Updated(task.clone()), Some(State::Live(task)))
        }
        Call::Delete => (
            Output::Deleted { version: next },
            Some(State::Deleted { version: next }),
        ),
        Call::Read | Call::Stored => (Output::Found(task.clone()), None),
    }
}

fn deleted(version: u64, call: &Call) -> Answered {
    match call {
        Call::Create { .. } | Call::Stored => (Output::Gone { version }, None),
        Call::Update { .. } | Call::Delete | Call::Read => (Output::NotFound, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::linear::{Bounds, Operation, Outcome, check};

    /// A call, its answer, and when it was invoked and returned.
    type Row = (Call, Output, u64, u64);

    fn legal(history: &[Row]) -> bool {
        legal_with(history, &[])
    }

    fn legal_with(history: &[Row], open: &[(Call, u64)]) -> bool {
        let on = |call: &Call| Input {
            id: "tsk_1".into(),
            call: call.clone(),
        };
        let mut operations: Vec<_> = history
            .iter()
            .map(|(call, output, from, to)| Operation::closed(on(call), output.clone(), *from, *to))
            .collect();
        operations.extend(
            open.iter()
                .map(|(call, from)| Operation::open(on(call), *from)),
        );
        matches!(
            check(&Tasks, &operations, Bounds::default()),
            Outcome::Ok { .. }
        )
    }

    fn task(version: u64, name: &str) -> Task {
        Task {
            version,
            name: name.into(),
            metadata: "{}".into(),
        }
    }

    fn create(name: &str) -> Call {
        Call::Create {
            name: name.into(),
            metadata: "{}".into(),
        }
    }

    fn rename(version: u64, name: &str) -> Call {
        Call::Update {
            version,
            name: Some(name.into()),
            metadata: None,
        }
    }

    /// `a` is made, from 0 to 1.
    fn made() -> Row {
        (create("a"), Output::Created(task(1, "a")), 0, 1)
    }

    /// It is deleted, from 2 to 3.
    fn gone() -> Row {
        (Call::Delete, Output::Deleted { version: 2 }, 2, 3)
    }

    #[test]
    fn of_two_creates_one_wins_and_the_other_sees_its_task() {
        let won = |name: &str| (create(name), Output::Created(task(1, name)), 0, 9);
        let lost = |name: &str, sees: &str| (create(name), Output::Exists(task(1, sees)), 0, 9);
        assert!(legal(&[won("a"), lost("b", "a")]));
        assert!(!legal(&[won("a"), won("b")]), "two winners");
        assert!(!legal(&[won("a"), lost("b", "b")]), "it sees itself");
        assert!(!legal(&[lost("a", "b"), lost("b", "a")]), "no winner");
    }

    #[test]
    fn a_version_has_one_winner_and_the_loser_sees_what_won() {
        let won = |name: &str| (rename(1, name), Output::Updated(task(2, name)), 2, 9);
        let lost = |name: &str, sees| (rename(1, name), Output::Stale(sees), 2, 9);
        assert!(legal(&[made(), won("b"), lost("c", task(2, "b"))]));
        assert!(!legal(&[made(), won("b"), won("c")]), "a lost update");
        assert!(
            !legal(&[made(), won("b"), lost("c", task(1, "a"))]),
            "it was current then"
        );
        assert!(!legal(&[made(), lost("c", task(2, "b"))]), "of whom?");
    }

    #[test]
    fn an_update_leaves_alone_what_it_does_not_name() {
        let metadata = Call::Update {
            version: 1,
            name: None,
            metadata: Some("{\"n\":1}".into()),
        };
        let after = Task {
            metadata: "{\"n\":1}".into(),
            ..task(2, "a")
        };
        let emptied = Task {
            name: String::new(),
            ..after.clone()
        };
        assert!(legal(&[
            made(),
            (metadata.clone(), Output::Updated(after), 2, 3)
        ]));
        assert!(!legal(&[
            made(),
            (metadata, Output::Updated(emptied), 2, 3)
        ]));
    }

    #[test]
    fn a_version_that_was_skipped_or_repeated_has_no_explanation() {
        let to = |version| {
            [
                made(),
                (rename(1, "b"), Output::Updated(task(version, "b")), 2, 3),
            ]
        };
        assert!(legal(&to(2)));
        assert!(!legal(&to(1)));
        assert!(!legal(&to(3)));
    }

    #[test]
    fn one_deletion_wins_and_every_other_finds_nothing() {
        let not_found = (Call::Delete, Output::NotFound, 2, 3);
        assert!(legal(&[made(), gone(), not_found.clone()]));
        assert!(!legal(&[made(), gone(), gone()]), "two deletions");
        assert!(!legal(&[made(), not_found.clone()]), "it was there");
        assert!(legal(&[
            not_found,
            (create("a"), Output::Created(task(1, "a")), 4, 5)
        ]));
    }

    #[test]
    fn a_deleted_task_never_comes_back() {
        let again = |output| (create("b"), output, 4, 5);
        assert!(legal(&[made(), gone(), again(Output::Gone { version: 2 })]));
        assert!(!legal(&[
            made(),
            gone(),
            again(Output::Created(task(1, "b")))
        ]));
        assert!(!legal(&[
            made(),
            gone(),
            again(Output::Created(task(3, "b")))
        ]));
        let update = |output| (rename(2, "b"), output, 4, 5);
        assert!(legal(&[made(), gone(), update(Output::NotFound)]));
        assert!(!legal(&[
            made(),
            gone(),
            update(Output::Updated(task(3, "b")))
        ]));
    }

    #[test]
    fn a_race_of_update_and_deletion_has_two_outcomes_and_no_third() {
        let renamed = (rename(1, "b"), Output::Updated(task(2, "b")), 2, 9);
        let deleted = |version| (Call::Delete, Output::Deleted { version }, 2, 9);
        let too_late = (rename(1, "b"), Output::NotFound, 2, 9);
        assert!(legal(&[made(), renamed.clone(), deleted(3)]));
        assert!(legal(&[made(), too_late.clone(), deleted(2)]));
        assert!(!legal(&[made(), renamed, deleted(2)]), "both at version 2");
        assert!(
            !legal(&[made(), too_late, deleted(3)]),
            "nobody made version 2"
        );
    }

    #[test]
    fn a_reader_sees_what_is_there_and_the_database_the_tombstone() {
        let read = |output, from| (Call::Read, output, from, from + 1);
        let row = |output, from| (Call::Stored, output, from, from + 1);
        let found = Output::Found(task(1, "a"));
        let tombstone = Output::Gone { version: 2 };
        assert!(legal(&[
            made(),
            read(found.clone(), 1),
            row(found.clone(), 1),
            gone()
        ]));
        assert!(legal(&[
            made(),
            gone(),
            read(Output::NotFound, 4),
            row(tombstone.clone(), 4)
        ]));
        assert!(
            !legal(&[made(), gone(), read(found.clone(), 4)]),
            "a phantom"
        );
        assert!(!legal(&[made(), gone(), row(found, 4)]), "a phantom row");
        assert!(
            !legal(&[made(), gone(), row(Output::NotFound, 4)]),
            "no tombstone"
        );
        assert!(
            !legal(&[made(), read(Output::NotFound, 2)]),
            "it was acknowledged"
        );
        assert!(!legal(&[
            made(),
            gone(),
            row(Output::Gone { version: 3 }, 4)
        ]));
        assert!(!legal(&[row(tombstone, 0)]), "of what?");
    }

    #[test]
    fn a_call_without_an_answer_may_have_happened_or_not_and_stays_open() {
        let read = |output| (Call::Read, output, 8, 9);
        let renamed = Output::Found(task(2, "b"));
        let open = [(rename(1, "b"), 5)];
        assert!(legal_with(&[made(), read(renamed.clone())], &open));
        assert!(legal_with(
            &[made(), read(Output::Found(task(1, "a")))],
            &open
        ));
        assert!(!legal_with(
            &[made(), read(Output::Found(task(2, "c")))],
            &open
        ));
        assert!(!legal_with(
            &[made(), read(renamed.clone())],
            &[(rename(1, "b"), 10)]
        ));
        assert!(!legal(&[made(), read(renamed.clone())]), "by whom?");
        let then = (Call::Read, Output::Found(task(1, "a")), 10, 11);
        assert!(
            !legal_with(&[made(), read(renamed), then], &open),
            "and back"
        );
    }

    #[test]
    fn an_unanswered_deletion_explains_one_tombstone_and_no_return() {
        let open = [(Call::Delete, 5)];
        let row = (Call::Stored, Output::Gone { version: 2 }, 8, 9);
        let again = (create("b"), Output::Created(task(1, "b")), 10, 11);
        assert!(legal_with(&[made(), row.clone()], &open));
        assert!(!legal_with(&[made(), row, again], &open));
        assert!(legal_with(
            &[made(), (Call::Delete, Output::NotFound, 8, 9)],
            &open
        ));
        let later = (Call::Delete, Output::NotFound, 6, 7);
        let alive = (Call::Read, Output::Found(task(1, "a")), 8, 9);
        assert!(!legal_with(&[made(), later, alive], &open));
    }

    #[test]
    fn tasks_do_not_influence_one_another() {
        let on = |id: &str, output| {
            let input = Input {
                id: id.into(),
                call: create("a"),
            };
            Operation::closed(input, output, 0, 1)
        };
        let created = || Output::Created(task(1, "a"));
        let both = [on("tsk_1", created()), on("tsk_2", created())];
        assert!(matches!(
            check(&Tasks, &both, Bounds::default()),
            Outcome::Ok { .. }
        ));
        let twice = [on("tsk_1", created()), on("tsk_1", created())];
        let Outcome::Illegal(illegal) = check(&Tasks, &twice, Bounds::default()) else {
            panic!("two creates of one id won");
        };
        assert_eq!(illegal.key, "tsk_1");
    }
}
