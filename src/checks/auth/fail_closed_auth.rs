//! Gate fail-closed-auth: without usable key material nothing starts; the development bypass is a
//! setting of its own, and shows.
//!
//! Targets are started with a key file that is missing, empty or malformed in several ways. Each has
//! to end with an exit code that is not 0, and while it lived its port was tried all the time: nobody
//! may ever have been let in. Such a start is what this gate asks for and no incident. The controls
//! start on the same kind of address: one with its key file, which asks for credentials and can be
//! reached, one without a key file and with the bypass set, which says so in its status.

mod drive;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::tried::Tried;
use crate::checks::Judgement;
use crate::checks::starts::Outcome;

pub use drive::drive;

/// What the drive saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Every start.
    pub starts: Vec<Start>,
}

/// One start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// With which keys.
    pub material: Material,
    /// What became of it.
    pub outcome: Outcome,
    /// How often its port was tried until then.
    pub looks: u64,
    /// How often somebody was there.
    pub reached: u64,
    /// Its status, asked without credentials and then under an operator's key, if it started.
    pub asked: Vec<Asked>,
}

/// What a target that started said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The request.
    pub tried: Tried,
    /// `auth_posture` of the answer, if there is one.
    pub posture: Option<String>,
}

/// What the target is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Material {
    /// The control: a key file as it should be.
    Good,
    /// The other control: no key file, and authentication set off.
    Bypass,
    /// No key file, and nothing said about authentication.
    Missing,
    /// A folder in its place.
    Folder,
    /// An empty file.
    Empty,
    /// Half of a file.
    CutOff,
    /// No JSON.
    NoJson,
    /// JSON, without the service token.
    NoToken,
    /// A list of nobody.
    Nobody,
    /// A key's hash that is none.
    NoHash,
    /// Somebody without a role.
    NoRole,
}

impl Material {
    /// With which nothing may start.
    const BAD: [Self; 9] = [
        Self::Missing,
        Self::Folder,
        Self::Empty,
        Self::CutOff,
        Self::NoJson,
        Self::NoToken,
        Self::Nobody,
        Self::NoHash,
        Self::NoRole,
    ];
}

impl fmt::Display for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "a good key file",
            Self::Bypass => "the bypass and no key file",
            Self::Missing => "no key file",
            Self::Folder => "a folder as key file",
            Self::Empty => "an empty key file",
            Self::CutOff => "half a key file",
            Self::NoJson => "a key file that is no JSON",
            Self::NoToken => "a key file without a service token",
            Self::Nobody => "a key file that names nobody",
            Self::NoHash => "a key file with a hash that is none",
            Self::NoRole => "a key file with somebody without a role",
        })
    }
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let (mut refused, mut watched, mut good, mut bypass, mut looks) = (0, 0, 0, 0, 0);
    let posture = |start: &Start| start.asked.iter().find_map(|asked| asked.posture.clone());
    let of = |material| seen.starts.iter().find(|start| start.material == material);
    let guarded = of(Material::Good).and_then(posture);
    for start in &seen.starts {
        let before = judgement.violations.len();
        match start.material {
            Material::Good => judge_good(start, &mut judgement),
            Material::Bypass => judge_bypass(start, guarded.as_deref(), &mut judgement),
            _ => judge_bad(start, &mut judgement),
        }
        let right = u64::from(judgement.violations.len() == before);
        match start.material {
            Material::Good => good += right,
            Material::Bypass => bypass += right,
            _ => {
                refused += right;
                watched += right * u64::from(start.looks > 0);
                looks += start.looks;
            }
        }
    }
    let all = [Material::Good, Material::Bypass].into_iter();
    for material in all.chain(Material::BAD) {
        if of(material).is_none() {
            judgement.undecided(format!("nothing was started with {material}"));
        }
    }
    judgement.exercised("refused_starts", refused);
    judgement.exercised("watched_starts", watched);
    judgement.exercised("good_starts", good);
    judgement.exercised("bypass_starts", bypass);
    judgement.detail = format!(
        "{refused} starts refused with bad key material, {looks} connections tried meanwhile and \
         none made; {good} with good material, {bypass} with the bypass: {} violations",
        judgement.violations.len()
    );
    judgement
}

fn judge_bad(start: &Start, judgement: &mut Judgement) {
    let Start {
        material,
        outcome,
        reached,
        ..
    } = start;
    let right = matches!(outcome, Outcome::Exited(Some(code)) if *code != 0);
    judgement.expect(right, || {
        format!("a start with {material}: {outcome}, expected an exit code that is not 0")
    });
    judgement.expect(*reached == 0, || {
        format!("a start with {material}: its port was open {reached} times, expected 0")
    });
    for Asked { tried, .. } in &start.asked {
        judgement.violation(format!(
            "started with {material}, it said {tried}, expected nobody there"
        ));
    }
}

fn judge_good(start: &Start, judgement: &mut Judgement) {
    let material = start.material;
    if !started(start, judgement) {
        return;
    }
    let statuses: Vec<u16> = start.asked.iter().map(|asked| asked.tried.status).collect();
    judgement.expect(statuses == [401, 200], || {
        format!(
            "{material}: the status is {statuses:?} without credentials and with, expected [401, 200]"
        )
    });
    if start.reached == 0 {
        judgement.undecided(format!(
            "{} looks at the port of a target that started saw nobody there",
            start.looks
        ));
    }
}

fn judge_bypass(start: &Start, guarded: Option<&str>, judgement: &mut Judgement) {
    let material = start.material;
    if !started(start, judgement) {
        return;
    }
    for Asked { tried, posture } in &start.asked {
        judgement.expect(tried.status == 200, || {
            format!("{material}: {tried}, expected 200")
        });
        let shows = posture
            .as_deref()
            .is_some_and(|word| !word.is_empty() && Some(word) != guarded);
        judgement.expect(shows, || {
            format!(
                "{material}: auth_posture is {posture:?}, expected another one than {guarded:?}"
            )
        });
    }
    if start.asked.is_empty() || guarded.is_none() {
        judgement.undecided("nobody told the two postures apart");
    }
}

fn started(start: &Start, judgement: &mut Judgement) -> bool {
    let ready = start.outcome == Outcome::Ready;
    judgement.expect(ready, || {
        format!(
            "a start with {}: {}, expected ready",
            start.material, start.outcome
        )
    });
    ready
}
