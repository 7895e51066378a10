//! The repository's gates against the numbers that the releases are known by, and what is said
//! about gates files that are broken.

use super::*;

const GOOD: &str = r#"[release]
name = "v1.0"
version = "1.0.0"
schema = "1.0"
floor = 0
delta = 2

[[epic]]
id = "A"
title = "First things"

[[gate]]
id = "A1"
name = "first-gate"
epic = "A"
subject = "audit"
claim = "The first thing is always true."
needs = ["restart"]
deadline_s = 60
exercised = { rounds = 1 }
mutants = ["first-is-false"]

[[gate]]
id = "A2"
name = "second-gate"
epic = "A"
subject = "audit"
claim = "The second thing is always true."
needs = []
deadline_s = 60
exercised = { rounds = 2 }
mutants = ["second-is-false", "second-is-late"]
"#;

fn child(name: &str, inherits: &str, floor: usize) -> (String, String) {
    let version = &name[1..];
    let text = format!(
        "[release]\nname = \"{name}\"\nversion = \"{version}.0\"\nschema = \"2.0\"\n\
         inherits = \"{inherits}\"\nfloor = {floor}\ndelta = 0\n"
    );
    (format!("gates/{name}.toml"), text)
}

fn load(text: &str) -> Result<Model, ModelError> {
    Model::of(vec![("gates/v1.0.toml".to_owned(), text.to_owned())])
}

#[test]
fn the_releases_have_the_counts_and_schemas_they_are_known_by() {
    let model = Model::embedded().unwrap();
    let seen: Vec<_> = model
        .releases()
        .iter()
        .map(|one| {
            let total: usize = model
                .lineage(one)
                .iter()
                .map(|release| release.gates.len())
                .sum();
            (
                one.name.as_str(),
                one.schema.as_str(),
                one.gates.len(),
                one.floor + one.delta,
                total,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("v4.3", "10.0", 18, 18, 18),
            ("v4.4", "11.0", 15, 33, 33),
            ("v4.5", "12.0", 15, 48, 48),
            ("v4.6", "13.0", 18, 66, 66),
            ("v4.7", "14.0", 18, 84, 84),
        ]
    );
}

#[test]
fn the_84_gates_name_194_mutants() {
    let model = Model::embedded().unwrap();
    let gates: Vec<_> = model.releases().iter().flat_map(|one| &one.gates).collect();
    let mutants: usize = gates.iter().map(|gate| gate.mutants.len()).sum();
    assert_eq!((gates.len(), mutants), (84, 194));
}

#[test]
fn a_gate_keeps_the_line_where_it_stands() {
    let model = load(GOOD).unwrap();
    let gates = &model.newest().gates;
    assert_eq!((gates[0].line, gates[1].line), (12, 23));
    assert_eq!(gates[0].check_file(), "src/checks/audit/first_gate.rs");
    for release in Model::embedded().unwrap().releases() {
        let text = std::fs::read_to_string(&release.gates[0].file).unwrap();
        for gate in &release.gates {
            assert_eq!(
                text.lines().nth(gate.line - 1),
                Some("[[gate]]"),
                "{}",
                gate.name
            );
        }
    }
}

/// What is replaced, by what, and then: the line, words of what is wrong, words of the hint.
const BROKEN: &[(&str, &str, usize, &str, &str)] = &[
    (
        "claim = \"The first",
        "clam = \"The first",
        17,
        "unknown field `clam`",
        "`claim`",
    ),
    (
        "deadline_s = 60",
        "deadline_s = \"60\"",
        19,
        "invalid type",
        "correct the line",
    ),
    (
        "deadline_s = 60",
        "deadline_s = 0",
        19,
        "deadline_s is 0",
        "60 is usual",
    ),
    (
        "epic = \"A\"\nsubject",
        "epic = \"B\"\nsubject",
        15,
        "epic `B` is not declared",
        "[[epic]]",
    ),
    (
        "delta = 2",
        "delta = 3",
        6,
        "delta says 3, counted 2 gates",
        "missing",
    ),
    (
        "floor = 0",
        "floor = 1",
        5,
        "floor says 1, counted 0",
        "missing",
    ),
    (
        "id = \"A2\"",
        "id = \"A3\"",
        24,
        "got gate `A3`, expected `A2`",
        "add A2 before it",
    ),
    (
        "id = \"A2\"",
        "id = \"A1\"",
        24,
        "got gate `A1`, expected `A2`",
        "renumber",
    ),
    (
        "id = \"A2\"",
        "id = \"second\"",
        24,
        "`second` is no gate id",
        "`B1`",
    ),
    (
        "\"second-gate\"",
        "\"first-gate\"",
        25,
        "gate `first-gate` is there twice",
        "gates/v1.0.toml:14",
    ),
    (
        "\"second-gate\"",
        "\"Second Gate\"",
        25,
        "not in kebab case",
        "lower-case",
    ),
    (
        "\"second-is-late\"",
        "\"first-is-false\"",
        32,
        "mutant `first-is-false` is there twice",
        ":21",
    ),
    (
        "\"second-is-late\"",
        "\"second-is-false\"",
        32,
        "mutant `second-is-false` is there twice",
        ":32",
    ),
    (
        "\"second-is-late\"",
        "\"second_is_late\"",
        32,
        "mutant `second_is_late` is not in kebab",
        "hyphens",
    ),
    (
        "mutants = [\"first-is-false\"]",
        "mutants = []",
        21,
        "names no mutant",
        "notice",
    ),
    (
        "{ rounds = 1 }",
        "{}",
        20,
        "nothing to be exercised",
        "would pass",
    ),
    (
        "{ rounds = 1 }",
        "{ rounds = 0 }",
        20,
        "asks for nothing",
        "at least 1",
    ),
    (
        "[\"restart\"]",
        "[\"restrat\"]",
        18,
        "unknown capability `restrat`",
        "`restart`",
    ),
    (
        "[\"restart\"]",
        "[\"restart\", \"restart\"]",
        18,
        "needed twice",
        "keep one",
    ),
    (
        "always true.\"\nneeds = []",
        "always true\"\nneeds = []",
        28,
        "is no sentence",
        "full stop",
    ),
    (
        "\"v1.0\"",
        "\"v1.1\"",
        2,
        "in a file called v1.0.toml",
        "rename",
    ),
    ("\"v1.0\"", "\"one\"", 2, "no release name", "`v4.7`"),
    ("\"1.0.0\"", "\"1.1.0\"", 3, "is none of v1.0", "`1.0.0`"),
    (
        "\"1.0\"\nfloor",
        "\"one\"\nfloor",
        4,
        "no schema number",
        "`14.0`",
    ),
    (
        "schema = \"1.0\"\n",
        "",
        1,
        "missing field `schema`",
        "add a line",
    ),
    ("[[epic]]", "[[epic", 8, "", "correct the line"),
];

#[test]
fn a_broken_file_is_named_with_its_line_and_what_to_do() {
    for (from, to, line, what, hint) in BROKEN.iter().copied() {
        assert!(GOOD.contains(from), "{from}");
        let error = load(&GOOD.replacen(from, to, 1)).unwrap_err();
        assert_eq!(
            error.file.as_deref(),
            Some("gates/v1.0.toml"),
            "{to}: {error}"
        );
        assert_eq!(error.line, Some(line), "{to}: {error}");
        assert!(error.what.contains(what), "{to}: {error}");
        assert!(
            error.hint.contains(hint),
            "{to}: {error}, hint: {}",
            error.hint
        );
    }
}

#[test]
fn a_release_inherits_what_is_there_and_counts_it() {
    let first = ("gates/v1.0.toml".to_owned(), GOOD.to_owned());
    let model = Model::of(vec![child("v1.1", "v1.0", 2), first.clone()]).unwrap();
    assert_eq!(model.newest().name, "v1.1");
    let error = Model::of(vec![child("v1.1", "v1.0", 3), first.clone()]).unwrap_err();
    assert_eq!(error.what, "floor says 3, counted 2 inherited gates");
    let error = Model::of(vec![child("v1.1", "v0.9", 2), first]).unwrap_err();
    assert_eq!(
        (error.what.as_str(), error.line),
        ("inherits `v0.9`, and there is no such release", Some(5))
    );
}

#[test]
fn a_circle_of_releases_is_an_error() {
    let error = Model::of(vec![child("v1.1", "v1.2", 0), child("v1.2", "v1.1", 0)]).unwrap_err();
    assert!(error.what.contains("in a circle: v1.1, v1.2"), "{error}");
    let error = Model::of(vec![child("v1.1", "v1.1", 0)]).unwrap_err();
    assert!(error.what.contains("in a circle: v1.1"), "{error}");
}

#[test]
fn a_folder_without_gates_is_an_error() {
    let empty = tempfile::tempdir().unwrap();
    assert!(
        Model::load(empty.path())
            .unwrap_err()
            .what
            .contains("no gates file")
    );
    let error = Model::load(&empty.path().join("missing")).unwrap_err();
    assert!(error.what.contains("cannot be read"), "{error}");
}

#[test]
fn an_unknown_release_is_answered_with_those_there_are() {
    let model = Model::embedded().unwrap();
    let error = model.release("v4.8").unwrap_err();
    assert_eq!(error.what, "unknown release `v4.8`");
    assert!(
        error.hint.contains("v4.3, v4.4, v4.5, v4.6, v4.7"),
        "{}",
        error.hint
    );
}

#[test]
fn a_proof_of_the_same_gates_counts_wherever_they_were_read() {
    let built_in = Model::embedded().unwrap();
    assert_eq!(built_in.proof_digest().unwrap(), source::DIGEST);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("gates");
    assert_eq!(
        Model::load(&folder).unwrap().proof_digest().unwrap(),
        source::DIGEST
    );
    let other = load(GOOD).unwrap().proof_digest().unwrap();
    assert_ne!(other, source::DIGEST);
    let raised = load(&GOOD.replace("rounds = 2", "rounds = 3")).unwrap();
    assert_ne!(raised.proof_digest().unwrap(), other);
}
