//! Finds the kill matrix that a whole run rests on: the first one that is of these very sources.

use std::fs;
use std::path::{Path, PathBuf};

use super::exit::Stop;
use super::places::{release_folder, unwritable};
use crate::base::files::write_atomically;
use crate::base::json::sha256_hex;
use crate::model::Plan;
use crate::report::{KillMatrix, MATRIX_FILE, ProofUsed};

/// Looks at `asked`, else in `out`, else in the release's folder; what is accepted is copied to
/// `out`. Without one every gate is unproven, and it is said why.
pub(super) fn find(
    plan: &Plan,
    digest: &str,
    asked: Option<&PathBuf>,
    out: &Path,
) -> Result<ProofUsed, Stop> {
    let places = match asked {
        Some(file) => vec![file.clone()],
        None => vec![
            out.join(MATRIX_FILE),
            release_folder(&plan.release).join(MATRIX_FILE),
        ],
    };
    let mut why = format!("there is no {}", places[0].display());
    for place in &places {
        if asked.is_none() && !place.exists() {
            continue;
        }
        match KillMatrix::read(place) {
            Err(error) if asked.is_some() => {
                return Err(Stop::usage(
                    error.to_string(),
                    "give the kill-matrix.json of a proof",
                ));
            }
            Err(error) => why = error.to_string(),
            Ok(matrix) if matrix.proof_digest != digest => {
                why = format!("{} is the proof of other sources", place.display());
            }
            Ok(matrix) => return accept(plan, &matrix, place, out),
        }
    }
    let every = plan.gates.iter().map(|gate| gate.spec.name.clone());
    Ok(ProofUsed {
        matrix_sha256: None,
        why_not: Some(why),
        unproven: every.collect(),
    })
}

fn accept(plan: &Plan, matrix: &KillMatrix, from: &Path, out: &Path) -> Result<ProofUsed, Stop> {
    let bytes = fs::read(from).map_err(|error| unwritable(from, &error))?;
    let to = out.join(MATRIX_FILE);
    if fs::read(&to).ok().as_ref() != Some(&bytes) {
        write_atomically(&to, &bytes).map_err(|error| unwritable(&to, &error))?;
    }
    Ok(ProofUsed {
        matrix_sha256: Some(sha256_hex(&bytes)),
        why_not: None,
        unproven: matrix.unproven(plan),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::model::{Model, Selection};
    use crate::report::write_json;
    use crate::runner::Proof;

    fn plan() -> Plan {
        Model::embedded()
            .unwrap()
            .plan("v4.7", &Selection::default())
            .unwrap()
    }

    fn matrix(digest: &str) -> KillMatrix {
        KillMatrix::of("v4.7", digest, None, Seed(1), &Proof::default())
    }

    #[test]
    fn a_matrix_of_these_sources_is_accepted_and_copied() {
        let (from, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = from.path().join("some.json");
        write_json(&file, &matrix("mine")).unwrap();
        let used = find(&plan(), "mine", Some(&file), out.path()).unwrap();
        assert_eq!(used.why_not, None);
        let copied = fs::read(out.path().join(MATRIX_FILE)).unwrap();
        assert_eq!(used.matrix_sha256, Some(sha256_hex(&copied)));
        assert_eq!(used.unproven.len(), 84);
    }

    #[test]
    fn a_matrix_of_other_sources_proves_nothing() {
        let out = tempfile::tempdir().unwrap();
        write_json(&out.path().join(MATRIX_FILE), &matrix("theirs")).unwrap();
        let used = find(&plan(), "mine", None, out.path()).unwrap();
        assert_eq!((used.matrix_sha256, used.unproven.len()), (None, 84));
        assert!(used.why_not.unwrap().contains("other sources"));
    }

    #[test]
    fn a_file_that_was_asked_for_has_to_be_a_matrix() {
        let out = tempfile::tempdir().unwrap();
        let file = out.path().join("other.json");
        assert!(find(&plan(), "mine", Some(&file), out.path()).is_err());
        fs::write(&file, "[]").unwrap();
        assert!(find(&plan(), "mine", Some(&file), out.path()).is_err());
    }
}
