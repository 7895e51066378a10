//! Who may import whom. What judges and what is judged share nothing: a wrong field name, hash or
//! parser must not be able to pass on both sides. The table only shrinks.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot unwrap fails, as it should"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folder of src, and the folders it may import.
const TABLE: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("model", &["base"]),
    ("contract", &["base"]),
    ("target", &["base", "model", "contract"]),
    ("doubles", &["base", "contract"]),
    ("chaos", &["base", "contract", "target", "doubles"]),
    (
        "checks",
        &["base", "model", "contract", "target", "doubles", "chaos"],
    ),
    (
        "runner",
        &[
            "base", "model", "contract", "target", "doubles", "chaos", "checks",
        ],
    ),
    ("report", &["base", "model", "contract", "runner", "chaos"]),
    (
        "verdict",
        &["base", "model", "contract", "target", "runner", "report"],
    ),
    ("reference", &["base"]),
    (
        "mutants",
        &["base", "model", "contract", "target", "chaos", "reference"],
    ),
];

/// Folders that may import everything.
const FREE: &[&str] = &["cli"];

/// The wall: of these, even tests never see what is judged.
const JUDGES: &[&str] = &[
    "checks", "chaos", "contract", "doubles", "target", "runner", "report", "verdict",
];

/// Ends the process itself when its parent is gone: nobody is left to return an error to.
const ENDS_WITH_ITS_PARENT: &str = "src/reference/host/parent.rs";

/// Starts the services that it supervises, as processes of the program that it is told.
const STARTS_SERVICES: &str = "src/reference/supervision/spawn.rs";

/// Of base the reference may only use these: seeds and ids judge nothing.
const REFERENCE_BASE: &[&str] = &["ids", "seed", "Seed", "random_id"];

/// A file of src.
struct Source {
    /// Relative to the repository, with forward slashes.
    path: String,
    /// The folder of src that it is in; empty for src/lib.rs and src/main.rs.
    folder: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    assert!(
        files.len() > 50,
        "only {} files found under src",
        files.len()
    );
    files
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(root).unwrap();
            let parts: Vec<_> = inside.iter().map(|part| part.to_str().unwrap()).collect();
            let folder = if parts.len() > 2 {
                parts[1].to_owned()
            } else {
                String::new()
            };
            Source {
                path: parts.join("/"),
                folder,
                text: fs::read_to_string(&path).unwrap(),
            }
        })
        .collect()
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The text without its line comments (documentation may name what code may not).
fn code(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

impl Source {
    /// What is not for tests. Tests stand at the end of a file, or in a file of their own.
    fn shipped(&self) -> &str {
        if self.path.ends_with("tests.rs") {
            return "";
        }
        self.text
            .split("#[cfg(test)]\nmod ")
            .next()
            .unwrap_or_default()
    }
}

/// Every first segment after `crate::`, with the second one: `crate::base::Seed` is (base, Seed).
fn imports(text: &str) -> BTreeSet<(String, String)> {
    let code = code(text);
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|letter| letter == '$' || letter.is_alphanumeric() || letter == '_') {
            continue;
        }
        for path in branches(&code[at + "crate::".len()..]) {
            let (first, rest) = path.split_once("::").unwrap_or((path.as_str(), ""));
            let seconds = branches(rest);
            let seconds = if seconds.is_empty() {
                vec![String::new()]
            } else {
                seconds
            };
            for second in seconds {
                let second = second.split("::").next().unwrap_or_default().to_owned();
                found.insert((first.to_owned(), second));
            }
        }
    }
    found
}

/// The paths that a use tree begins with: `{a::{b, c}, d}` is `a::{b, c}` and `d`; `a::b;` is `a::b`.
fn branches(text: &str) -> Vec<String> {
    let Some(inside) = text.strip_prefix('{') else {
        let end = text.find(|letter: char| !(letter.is_alphanumeric() || "_:".contains(letter)));
        let (path, rest) = text.split_at(end.unwrap_or(text.len()));
        let tree = if path.ends_with("::") && rest.starts_with('{') {
            group(rest)
        } else {
            ""
        };
        let whole = format!("{path}{tree}");
        return if whole.is_empty() {
            Vec::new()
        } else {
            vec![whole]
        };
    };
    let (mut depth, mut part, mut parts) = (0, String::new(), Vec::new());
    for letter in inside.chars() {
        match letter {
            '}' if depth == 0 => break,
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            _ => {
                depth += i32::from(letter == '{') - i32::from(letter == '}');
                part.push(letter);
            }
        }
    }
    parts.push(part);
    parts
        .into_iter()
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect()
}

/// The text up to the brace that closes its first one.
fn group(text: &str) -> &str {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        if depth == 0 {
            return &text[..=at];
        }
    }
    text
}

#[test]
fn every_folder_imports_only_what_the_table_allows() {
    let mut offenders = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| !FREE.contains(&source.folder.as_str()))
    {
        if source.folder.is_empty() {
            continue;
        }
        let row = TABLE.iter().find(|(folder, _)| *folder == source.folder);
        let (_, allowed) = row.unwrap_or_else(|| {
            panic!(
                "src/{} is in no row of the table; give it one, as short as can be",
                source.folder
            )
        });
        for (folder, item) in imports(source.shipped()) {
            let known =
                TABLE.iter().any(|(name, _)| *name == folder) || FREE.contains(&folder.as_str());
            let own = folder == source.folder;
            if known && !own && !allowed.contains(&folder.as_str()) {
                offenders.push(format!("{} imports crate::{folder}::{item}", source.path));
            }
        }
    }
    assert!(
        offenders.is_empty(),
        "not in the table; move what is needed to where both may see it, or do without:\n{}",
        offenders.join("\n")
    );
}

#[test]
fn what_judges_never_sees_what_is_judged_not_even_in_tests() {
    for source in sources()
        .iter()
        .filter(|source| JUDGES.contains(&source.folder.as_str()))
    {
        for (folder, item) in imports(&source.text) {
            assert!(
                !["reference", "mutants", "cli"].contains(&folder.as_str()),
                "{} imports crate::{folder}::{item}; write it from the contract, or move the test to tests/",
                source.path
            );
        }
    }
}

#[test]
fn the_reference_takes_only_seeds_and_ids_from_base() {
    let offenders: Vec<String> = sources()
        .iter()
        .filter(|source| source.folder == "reference")
        .flat_map(|source| {
            let imports = imports(&source.text).into_iter();
            let base = imports.filter(|(folder, item)| {
                folder == "base" && !REFERENCE_BASE.contains(&item.as_str())
            });
            base.map(|(_, item)| format!("{} uses crate::base::{item}", source.path))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(
        offenders.is_empty(),
        "the judge and the judged would share it; write the reference's own:\n{}",
        offenders.join("\n")
    );
}

#[test]
fn the_reference_has_no_word_about_what_judges_it() {
    for source in sources()
        .iter()
        .filter(|source| source.folder == "reference")
    {
        let text = source.text.to_lowercase();
        for word in ["mutant", "harness kernel", "null target"] {
            let line = text
                .lines()
                .position(|line| line.contains(word))
                .map(|line| line + 1);
            assert!(
                line.is_none(),
                "{}:{}: says `{word}`",
                source.path,
                line.unwrap_or(0)
            );
        }
    }
}

#[test]
fn only_target_starts_processes_and_only_cli_ends_ours() {
    for source in sources() {
        let code = code(source.shipped());
        let starts = code.contains("process::Command") || code.contains("Command::new(");
        assert!(
            !starts || source.folder == "target" || source.path == STARTS_SERVICES,
            "{} starts a process; ask src/target to",
            source.path
        );
        let ends = code.contains("process::exit") || code.contains("process::abort");
        assert!(
            !ends || source.folder == "cli" || source.path == ENDS_WITH_ITS_PARENT,
            "{} ends the process; return an error",
            source.path
        );
    }
}

#[test]
fn only_cli_prints() {
    for source in sources().iter().filter(|source| source.folder != "cli") {
        let code = code(&source.text);
        for word in ["println!(", "print!(", "dbg!("] {
            let at = code.match_indices(word).find(|(at, _)| {
                // Part of a longer name, such as a macro of another crate.
                !code[..*at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_')
            });
            assert!(
                at.is_none(),
                "{} uses {word}...); return what is to be said",
                source.path
            );
        }
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let found = |text: &str| {
        imports(text)
            .into_iter()
            .map(|(one, two)| format!("{one}::{two}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(found("use crate::base::Seed;"), ["base::Seed"]);
    assert_eq!(
        found("use crate::base::{Clock, Seed};"),
        ["base::Clock", "base::Seed"]
    );
    assert_eq!(
        found("use crate::base::json::{self, merge};"),
        ["base::json"]
    );
    assert_eq!(
        found("use crate::{base::{self, ids::random_id}, model};"),
        ["base::ids", "base::self", "model::"]
    );
    assert_eq!(
        found("let x = crate::reference::serve(y);"),
        ["reference::serve"]
    );
    assert_eq!(found("pub(crate) use crate::model;"), ["model::"]);
    assert!(found("// use crate::reference::Parts;").is_empty());
    assert!(found("use some_crate::reference;").is_empty());
}
