//! `history`: verdicts and exit codes on the histories of `fixtures/histories`, and what is said of
//! files that are no history.

use std::fs;
use std::path::Path;

use super::{refused, sonia, sonia_in};

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/histories");
    folder.join(name).to_str().unwrap().to_owned()
}

fn check(name: &str, model: &str) -> super::Ran {
    sonia(&["history", "check", &fixture(name), "--model", model])
}

#[test]
fn good_histories_end_with_0_and_their_twins_with_1() {
    for (model, good, bad) in [
        ("cas-register", "etcd_002.log", "etcd_000.log"),
        ("cas-register", "etcd_005.log", "etcd_040.log"),
        ("cas-register", "etcd_007.log", "etcd_099.log"),
        ("cas-register", "register.edn", "register-stale.edn"),
        ("kv", "kv.jsonl", "kv-lost.jsonl"),
        (
            "confirmation",
            "confirmation.jsonl",
            "confirmation-two-winners.jsonl",
        ),
        ("task", "task.jsonl", "task-lost-update.jsonl"),
        (
            "idempotency",
            "idempotency.jsonl",
            "idempotency-twice.jsonl",
        ),
    ] {
        let ran = check(good, model);
        assert_eq!(
            (ran.code, ran.err.as_str()),
            (Some(0), ""),
            "{good}: {}",
            ran.out
        );
        assert!(ran.out.contains("LEGAL"), "{}", ran.out);
        let ran = check(bad, model);
        assert_eq!(
            (ran.code, ran.err.as_str()),
            (Some(1), ""),
            "{bad}: {}",
            ran.out
        );
        assert!(
            ran.out.contains("ILLEGAL") && ran.out.contains("Minimal"),
            "{}",
            ran.out
        );
    }
}

#[test]
fn a_stale_read_is_explained_in_words_lines_and_bars() {
    let ran = check("register-stale.edn", "cas-register");
    let said = "x: after 2 operations nothing allows read → 1 (line 7 and 8)";
    assert!(ran.out.contains(said), "{}", ran.out);
    assert!(ran.out.contains("edn (guessed)"), "{}", ran.out);
    assert!(
        ran.out.contains("3 answers contradict each other\n"),
        "{}",
        ran.out
    );
    let bar = ran
        .out
        .lines()
        .find(|line| line.contains("nothing allows this"));
    assert!(
        bar.unwrap().contains("read → 1") && bar.unwrap().contains('├'),
        "{}",
        ran.out
    );
    assert!(
        !ran.out.contains("write 1 y"),
        "the other key is fine: {}",
        ran.out
    );
}

#[test]
fn what_is_given_up_ends_with_3() {
    let file = fixture("etcd_000.log");
    let ran = sonia(&[
        "history",
        "check",
        &file,
        "--model",
        "cas-register",
        "--states",
        "5",
    ]);
    assert_eq!(ran.code, Some(3), "{}", ran.out);
    assert!(
        ran.out
            .contains("UNKNOWN the register was given up after 5 states"),
        "{}",
        ran.out
    );
    assert!(ran.err.contains("hint: say more --states"), "{}", ran.err);
}

#[test]
fn a_page_is_written_whole_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = fixture("etcd_000.log");
    let asked = [
        "history",
        "check",
        &file,
        "--model",
        "cas-register",
        "--html",
        "out/h.html",
    ];
    let ran = sonia_in(folder.path(), &asked);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let page = fs::read_to_string(folder.path().join("out/h.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    assert!(page.contains("class=\"stuck") && page.contains("nothing allows"));
    let bare = page.replace("http://www.w3.org/2000/svg", "");
    assert!(
        !bare.contains("http") && !bare.contains("<script"),
        "it needs no network"
    );
}

#[test]
fn a_history_is_shown_and_written_in_other_formats_with_the_same_verdict() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["etcd_000.log", "etcd_002.log"] {
        let shown = sonia(&["history", "show", &fixture(name)]);
        assert_eq!(shown.code, Some(0), "{}", shown.err);
        assert!(shown.out.contains("jepsen-log (guessed)") && shown.out.contains(" info, "));
        let verdict = check(name, "cas-register").code;
        for format in ["edn", "jsonl"] {
            let written = sonia(&["history", "show", &fixture(name), "--as", format]);
            assert_eq!(written.code, Some(0), "{}", written.err);
            fs::write(folder.path().join("history"), &written.out).unwrap();
            let asked = ["history", "check", "history", "--model", "cas-register"];
            let again = sonia_in(folder.path(), &asked);
            assert_eq!(again.code, verdict, "{format}: {}", again.out);
            assert!(
                again.out.contains(&format!("{format} (guessed)")),
                "{}",
                again.out
            );
        }
    }
}

#[test]
fn what_is_no_history_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = "{\"process\":1,\"type\":\"invoke\",\"f\":\"read\",\"time_us\":1}\n";
    let bad = write("bad.jsonl", &format!("{good}{{\"process\":1}}\n"));
    let model = ["--model", "cas-register"];
    refused(
        &["history", "check", &bad, model[0], model[1]],
        "bad.jsonl: line 2: `{\"process\":1}`: missing field",
        "`sonia-gate history check --help` has the shapes",
    );
    let busy = write("busy.jsonl", &good.repeat(2));
    refused(
        &["history", "show", &busy],
        "line 2: process 1 invokes read, expected the end of the read that it invoked on line 1",
        "correct the line",
    );
    let table = write("table.csv", "process,type\n1,invoke\n");
    refused(
        &["history", "check", &table, model[0], model[1]],
        "no known format of histories",
        "say --format jsonl, jepsen-log or edn",
    );
    refused(
        &["history", "check", "nowhere.edn", model[0], model[1]],
        "cannot read nowhere.edn",
        "readable",
    );
    refused(
        &[
            "history",
            "show",
            &fixture("register.edn"),
            "--as",
            "jepsen-log",
        ],
        "read and not written",
        "--as edn",
    );
    for wrong in [
        &["history", "check", &bad, "--model", "queue"][..],
        &["history", "check", &bad],
        &[
            "history", "check", &bad, model[0], model[1], "--format", "xml",
        ],
    ] {
        let ran = sonia(wrong);
        assert_eq!(ran.code, Some(2), "{wrong:?}");
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{wrong:?}");
    }
}

#[test]
fn help_shows_the_shapes_and_an_example() {
    for (command, example) in [
        (
            &["history", "check", "--help"][..],
            "Example: sonia-gate history check",
        ),
        (
            &["history", "show", "--help"],
            "Example: sonia-gate history show",
        ),
        (&["history", "--help"], "Example: sonia-gate history check"),
    ] {
        let ran = sonia(command);
        assert_eq!(ran.code, Some(0));
        assert!(ran.out.contains(example), "{}", ran.out);
    }
    let ran = sonia(&["history", "check", "--help"]);
    for word in [
        "first_fence",
        "may_have_passed",
        "Exit codes: 0 legal",
        "correlation_id",
    ] {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
}
