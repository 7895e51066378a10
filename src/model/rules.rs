//! What a gates file has to obey beyond its syntax: names, numbering, counts, uniqueness.
//! Every rule names the line and what to do about it.

use std::collections::BTreeMap;

use toml::Spanned;

use super::complaint::ModelError;
use super::read::{EpicRow, GateRow, Source};
use super::suggest::nearest;
use super::target_spec::Capability;

/// The longest deadline a gate may ask for.
const DEADLINE_MAX_S: u64 = 3600;

/// Checks one file by itself.
pub(super) fn check(source: &Source) -> Result<(), ModelError> {
    header(source)?;
    let epics = epics(source, &source.file.epics)?;
    let mut last: BTreeMap<&str, u32> = BTreeMap::new();
    for row in &source.file.gates {
        let gate = row.get_ref();
        words(source, gate)?;
        number(source, gate, &epics, &mut last)?;
        needs(source, gate)?;
        exercised(source, gate)?;
        mutants(source, gate)?;
    }
    let (written, counted) = (&source.file.release.delta, source.file.gates.len());
    if *written.get_ref() != counted {
        return Err(source.complain(
            written.span(),
            format!(
                "delta says {}, counted {counted} gates in this file",
                written.get_ref()
            ),
            "a gate is missing or was added; correct the list, then the number",
        ));
    }
    Ok(())
}

fn header(source: &Source) -> Result<(), ModelError> {
    let release = &source.file.release;
    let name = release.name.get_ref();
    let numbers = name
        .strip_prefix('v')
        .map(|rest| rest.split('.').collect::<Vec<_>>());
    if !numbers.is_some_and(|parts| parts.len() == 2 && parts.iter().all(|part| digits(part))) {
        return Err(source.complain(
            release.name.span(),
            format!("`{name}` is no release name"),
            "write `v` and two numbers, as in `v4.7`",
        ));
    }
    let stem = source
        .path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(".toml");
    if stem != name {
        return Err(source.complain(
            release.name.span(),
            format!("release `{name}` in a file called {stem}.toml"),
            format!("rename the file to {name}.toml, or correct the name"),
        ));
    }
    let version = release.version.get_ref();
    let patch = version
        .strip_prefix(&name[1..])
        .and_then(|rest| rest.strip_prefix('.'));
    if !patch.is_some_and(digits) {
        return Err(source.complain(
            release.version.span(),
            format!("version `{version}` is none of {name}"),
            format!("write `{}.0` or a later patch of it", &name[1..]),
        ));
    }
    if !release
        .schema
        .get_ref()
        .split_once('.')
        .is_some_and(|(a, b)| digits(a) && digits(b))
    {
        return Err(source.complain(
            release.schema.span(),
            format!("`{}` is no schema number", release.schema.get_ref()),
            "write two numbers, as in `14.0`",
        ));
    }
    Ok(())
}

fn epics<'a>(source: &Source, rows: &'a [EpicRow]) -> Result<Vec<&'a str>, ModelError> {
    let mut seen = Vec::new();
    for row in rows {
        let id = row.id.get_ref().as_str();
        if id.len() != 1 || !id.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(source.complain(
                row.id.span(),
                format!("`{id}` is no epic id"),
                "write one capital letter",
            ));
        }
        if seen.contains(&id) {
            return Err(source.complain(
                row.id.span(),
                format!("epic `{id}` is there twice"),
                "keep one of the two",
            ));
        }
        if row.title.get_ref().trim().is_empty() {
            return Err(source.complain(row.title.span(), "an epic without a title", "name it"));
        }
        seen.push(id);
    }
    Ok(seen)
}

fn words(source: &Source, gate: &GateRow) -> Result<(), ModelError> {
    for (value, kind) in [(&gate.name, "gate name"), (&gate.subject, "subject")] {
        if !is_kebab(value.get_ref()) {
            return Err(not_kebab(source, value, kind));
        }
    }
    let claim = gate.claim.get_ref();
    if !claim.ends_with('.') || claim.split_whitespace().count() < 4 {
        return Err(source.complain(
            gate.claim.span(),
            format!(
                "the claim of `{}` is no sentence: \"{claim}\"",
                gate.name.get_ref()
            ),
            "say in a full sentence, with its full stop, what a PASS says",
        ));
    }
    let deadline = *gate.deadline_s.get_ref();
    if !(1..=DEADLINE_MAX_S).contains(&deadline) {
        return Err(source.complain(
            gate.deadline_s.span(),
            format!("deadline_s is {deadline}, expected 1 to {DEADLINE_MAX_S}"),
            "60 is usual; the deadline is a stop for a check that hangs",
        ));
    }
    Ok(())
}

fn number<'a>(
    source: &Source,
    gate: &'a GateRow,
    epics: &[&str],
    last: &mut BTreeMap<&'a str, u32>,
) -> Result<(), ModelError> {
    let (id, epic) = (gate.id.get_ref(), gate.epic.get_ref());
    if !epic.is_empty() && !epics.contains(&epic.as_str()) {
        return Err(source.complain(
            gate.epic.span(),
            format!("epic `{epic}` is not declared in this file"),
            "add an [[epic]] with this id, or correct the letter",
        ));
    }
    let letter = id
        .get(..1)
        .filter(|letter| letter.bytes().all(|byte| byte.is_ascii_uppercase()));
    let numbered = letter.and_then(|letter| Some((letter, id[1..].parse::<u32>().ok()?)));
    let Some((letter, number)) = numbered else {
        return Err(source.complain(
            gate.id.span(),
            format!("`{id}` is no gate id"),
            "write a capital letter and a number, as in `B1`",
        ));
    };
    let stray = epic.is_empty() && epics.contains(&letter);
    if (!epic.is_empty() && epic != letter) || stray {
        return Err(source.complain(
            gate.id.span(),
            format!("gate `{id}` is said to be of epic `{epic}`"),
            "the id starts with the letter of the epic",
        ));
    }
    let expected = last.get(letter).copied().unwrap_or(0) + 1;
    if number != expected {
        return Err(source.complain(
            gate.id.span(),
            format!("got gate `{id}`, expected `{letter}{expected}`"),
            format!(
                "gates stand in order without gaps; add {letter}{expected} before it, or renumber"
            ),
        ));
    }
    last.insert(letter, number);
    Ok(())
}

fn needs(source: &Source, gate: &GateRow) -> Result<(), ModelError> {
    for (index, need) in gate.needs.iter().enumerate() {
        let name = need.get_ref();
        if Capability::named(name).is_none() {
            let known = Capability::ALL.map(Capability::name);
            let hint = match nearest(name, known) {
                Some(right) => format!("write `{right}`"),
                None => format!("there are: {}", known.join(", ")),
            };
            return Err(source.complain(need.span(), format!("unknown capability `{name}`"), hint));
        }
        if gate.needs[..index]
            .iter()
            .any(|before| before.get_ref() == name)
        {
            return Err(source.complain(
                need.span(),
                format!("`{name}` is needed twice"),
                "keep one of the two",
            ));
        }
    }
    Ok(())
}

fn exercised(source: &Source, gate: &GateRow) -> Result<(), ModelError> {
    let table = gate.exercised.get_ref();
    if table.is_empty() {
        return Err(source.complain(
            gate.exercised.span(),
            format!("`{}` asks for nothing to be exercised", gate.name.get_ref()),
            "name at least one count, or a target that does nothing would pass",
        ));
    }
    for (name, count) in table {
        if !is_words(name, '_') {
            return Err(source.complain(
                count.span(),
                format!("count `{name}` is not in snake case"),
                "use lower-case letters, digits and single underscores",
            ));
        }
        if *count.get_ref() == 0 {
            return Err(source.complain(
                count.span(),
                format!("`{name} = 0` asks for nothing"),
                "write at least 1, or remove it",
            ));
        }
    }
    Ok(())
}

fn mutants(source: &Source, gate: &GateRow) -> Result<(), ModelError> {
    let list = gate.mutants.get_ref();
    if list.is_empty() {
        return Err(source.complain(
            gate.mutants.span(),
            format!("`{}` names no mutant", gate.name.get_ref()),
            "a gate that was never seen to fail proves nothing; name what it has to notice",
        ));
    }
    match list.iter().find(|name| !is_kebab(name.get_ref())) {
        Some(name) => Err(not_kebab(source, name, "mutant")),
        None => Ok(()),
    }
}

fn not_kebab(source: &Source, value: &Spanned<String>, kind: &str) -> ModelError {
    source.complain(
        value.span(),
        format!("{kind} `{}` is not in kebab case", value.get_ref()),
        "use lower-case letters, digits and single hyphens, beginning with a letter",
    )
}

/// A place and its line, for whatever may be there only once in all files.
pub(super) struct Seen(BTreeMap<String, String>);

impl Seen {
    pub(super) fn nothing() -> Self {
        Self(BTreeMap::new())
    }

    /// Notes a name; an error when it was noted before.
    pub(super) fn once(
        &mut self,
        source: &Source,
        kind: &str,
        name: &Spanned<String>,
    ) -> Result<(), ModelError> {
        let here = format!("{}:{}", source.path, source.line(name.span()));
        match self.0.insert(name.get_ref().clone(), here) {
            None => Ok(()),
            Some(before) => Err(source.complain(
                name.span(),
                format!("{kind} `{}` is there twice", name.get_ref()),
                format!("the first one is at {before}; rename one of them"),
            )),
        }
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_kebab(text: &str) -> bool {
    is_words(text, '-')
}

fn is_words(text: &str, between: char) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.split(between).all(|word| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            !word.is_empty() && word.bytes().all(plain)
        })
}
