//! The histories of `fixtures/histories` have the verdicts that their README tells, and events that
//! are not those of a model are refused with their line.

use std::io::BufReader;
use std::path::Path;

use super::*;
use crate::chaos::history::Format;
use crate::chaos::linear::{Bounds, Outcome, check, minimal};

fn open(file: &str) -> BufReader<std::fs::File> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/histories");
    BufReader::new(std::fs::File::open(folder.join(file)).unwrap())
}

fn translated<M: Model>(file: &str) -> Translated<M> {
    let format = match file.rsplit_once('.').unwrap().1 {
        "log" => Format::JepsenLog,
        "edn" => Format::Edn,
        _ => Format::Jsonl,
    };
    Translated::read(format.read(open(file))).unwrap()
}

/// The answers that contradict each other, in words; none of a legal history.
fn reason<M: Model>(file: &str) -> Vec<String> {
    let all = translated::<M>(file);
    let spec = all.model.spec();
    match check(&spec, &all.operations, Bounds::default()) {
        Outcome::Ok { .. } => Vec::new(),
        Outcome::Unknown { key, states } => panic!("{key} was given up at {states}"),
        Outcome::Illegal(illegal) => {
            let reason = minimal(&spec, &all.operations, &illegal);
            assert!(reason.complete, "{file}");
            let words = |op: usize| all.model.words(&all.operations[op]);
            reason.operations.into_iter().map(words).collect()
        }
    }
}

#[test]
fn six_logs_of_jepsen_have_their_verdicts() {
    for log in ["002", "005", "007"] {
        assert!(reason::<CasRegister>(&format!("etcd_{log}.log")).is_empty());
    }
    for log in ["000", "040", "099"] {
        let reason = reason::<CasRegister>(&format!("etcd_{log}.log"));
        assert!((2..=12).contains(&reason.len()), "{log}: {reason:?}");
    }
    let all = translated::<CasRegister>("etcd_000.log");
    let open = all.calls - all.answered - all.failed;
    assert_eq!(
        (all.calls, all.answered, all.failed, open),
        (85, 49, 20, 16)
    );
    assert_eq!(all.operations.len(), all.lines.len());
    assert_eq!(all.lines[0], (1, Some(7)), "the first read and its answer");
}

#[test]
fn each_model_tells_a_good_history_from_its_bad_twin() {
    let none: [&str; 0] = [];
    assert_eq!(reason::<CasRegister>("register.edn"), none);
    assert_eq!(
        reason::<CasRegister>("register-stale.edn"),
        ["write 1", "write 2", "read → 1"]
    );
    assert_eq!(reason::<Kv>("kv.jsonl"), none);
    assert_eq!(
        reason::<Kv>("kv-lost.jsonl"),
        ["put \"a\"", "append \"b\"", "get → \"ac\""]
    );
    assert_eq!(reason::<Confirmation>("confirmation.jsonl"), none);
    assert_eq!(
        reason::<Confirmation>("confirmation-two-winners.jsonl"),
        ["approve with 42 → won", "deny with 42 → won"]
    );
    assert_eq!(reason::<Task>("task.jsonl"), none);
    let updates = reason::<Task>("task-lost-update.jsonl");
    assert_eq!(
        updates,
        ["update 1 to \"b\" → 2 \"b\"", "update 1 to \"c\" → 2 \"c\""]
    );
    assert_eq!(reason::<Idempotency>("idempotency.jsonl"), none);
    let twice = reason::<Idempotency>("idempotency-twice.jsonl");
    assert!(
        twice.iter().any(|one| one.contains("op_1"))
            && twice.iter().any(|one| one.contains("op_2")),
        "{twice:?}"
    );
}

/// What is said of the last of these JSON lines, `'` standing for `"`.
fn refused<M: Model>(lines: &[&str]) -> String {
    let text = lines.join("\n").replace('\'', "\"");
    match Translated::<M>::read(Format::Jsonl.read(text.as_bytes())) {
        Ok(all) => panic!("{} operations", all.operations.len()),
        Err(wrong) => {
            assert_eq!(wrong.line, lines.len(), "{wrong}");
            wrong.to_string()
        }
    }
}

#[test]
fn what_is_not_of_a_register_is_refused() {
    let invoke = |f: &str, value: &str| {
        format!("{{'process':1,'type':'invoke','f':'{f}','value':{value},'time_us':1}}")
    };
    for (f, value, expected) in [
        ("increment", "1", "read, write or cas"),
        ("write", "null", "a number, a string or a boolean"),
        ("write", "{'a':1}", "a number, a string or a boolean"),
        ("read", "3", "no value yet"),
        ("cas", "3", "[from, to]"),
        ("cas", "[1,null]", "a number, a string or a boolean"),
    ] {
        // An operation is understood when it ends.
        let end = format!("{{'process':1,'type':'ok','f':'{f}','value':1,'time_us':2}}");
        let text = [invoke(f, value), end].join("\n").replace('\'', "\"");
        let wrong = Translated::<CasRegister>::read(Format::Jsonl.read(text.as_bytes()));
        let wrong = wrong.err().unwrap();
        assert_eq!(
            (wrong.line, wrong.expected.as_str()),
            (1, expected),
            "{f} {value}"
        );
    }
    let first = "{'process':1,'type':'invoke','f':'write','value':['x',1],'time_us':1}";
    let ok = "{'process':1,'type':'ok','f':'write','value':['x',1],'time_us':2}";
    let read = "{'process':2,'type':'invoke','f':'read','value':['x',null],'time_us':3}";
    let other = "{'process':2,'type':'ok','f':'read','value':['y',1],'time_us':4}";
    let said = refused::<CasRegister>(&[first, ok, read, other]);
    assert!(said.ends_with("expected [\"x\", what was read]"), "{said}");
    let without = "{'process':2,'type':'invoke','f':'write','value':3,'time_us':3}";
    let said = refused::<CasRegister>(&[first, ok, without]);
    assert!(
        said.ends_with("expected a pair with a key, as on line 1"),
        "{said}"
    );
}

#[test]
fn what_is_not_of_the_contract_is_refused_or_stays_open() {
    let approve = "{'process':1,'type':'invoke','f':'approve','value':{'id':'c','first_fence':1},\
                   'time_us':1}";
    let answered = |value: &str| {
        format!("{{'process':1,'type':'ok','f':'approve','value':{value},'time_us':2}}")
    };
    let said = refused::<Confirmation>(&[approve, &answered("{'code':'X'}")]);
    assert!(said.ends_with("expected an answer with a status"), "{said}");
    let text = format!("{approve}\n{}", answered("{'status':500}")).replace('\'', "\"");
    let all = Translated::<Confirmation>::read(Format::Jsonl.read(text.as_bytes())).unwrap();
    assert_eq!((all.answered, all.wordless), (1, 1));
    assert_eq!(all.operations[0].answered, None);
    let other = approve
        .replace("'process':1", "'process':2")
        .replace("_fence':1", "_fence':2");
    let said = refused::<Confirmation>(&[approve, &answered("{'status':404}"), &other]);
    assert!(said.ends_with("expected 1, as before"), "{said}");
    let end = "{'process':1,'type':'ok','f':'request','value':{'status':200},'time_us':2}";
    for (value, expected) in [
        ("{'key':'k'}", "an object with key, request"),
        (
            "{'key':'k','request':'r','ttl':'soon'}",
            "running, may_have_passed, passed or none",
        ),
    ] {
        let asked =
            format!("{{'process':1,'type':'invoke','f':'request','value':{value},'time_us':1}}");
        let text = format!("{asked}\n{end}").replace('\'', "\"");
        let wrong = Translated::<Idempotency>::read(Format::Jsonl.read(text.as_bytes()));
        let wrong = wrong.err().unwrap().to_string();
        assert!(
            wrong.starts_with("line 1: ") && wrong.contains(expected),
            "{wrong}"
        );
    }
}

#[test]
fn what_failed_leaves_no_trace_and_what_is_unknown_stays_open() {
    let text = "{'process':1,'type':'invoke','f':'write','value':1,'time_us':1}
{'process':2,'type':'invoke','f':'write','value':2,'time_us':2}
{'process':3,'type':'invoke','f':'write','value':3,'time_us':3}
{'process':4,'type':'invoke','f':'read','time_us':3}
{'process':1,'type':'fail','f':'write','value':1,'time_us':4}
{'process':2,'type':'info','f':'write','value':2,'time_us':5}
{'process':3,'type':'ok','f':'write','value':3,'time_us':6}"
        .replace('\'', "\"");
    let all = Translated::<CasRegister>::read(Format::Jsonl.read(text.as_bytes())).unwrap();
    let words: Vec<String> = all
        .operations
        .iter()
        .map(|op| all.model.words(op))
        .collect();
    assert_eq!(words, ["write 2 → ?", "write 3"]);
    assert_eq!(
        (all.calls, all.answered, all.failed, all.wordless),
        (4, 1, 1, 0)
    );
    assert_eq!(all.lines, [(2, None), (3, Some(7))]);
}
