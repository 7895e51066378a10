//! Gate index-manifest: the saved index carries a manifest that is true, and an index that is not as
//! its manifest says is reported and rebuilt.
//!
//! Memories are stored, a search is made and the target is stopped: the manifest has to name the
//! digest of its file and the number of memories. Started again, nothing is wrong. Then one byte of
//! the file is changed while the target is stopped: the next start has to say which digest it
//! expected and which it got, and the same search has to have the same results from a whole index.

use std::path::Path;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::space::{index, results, search, store};
use crate::base::json::sha256_hex;
use crate::base::random_id;
use crate::checks::{Cx, Judgement, Sent, Undecided};
use crate::target::{Client, Credential, Instance};
use crate::violation;

/// Memories that are stored.
const MEMORIES: usize = 8;
/// Results that are asked for.
const LIMIT: u64 = 20;
/// What the name of a manifest ends in.
const MANIFEST: &str = ".manifest.json";

/// What the drive saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The memories.
    pub stored: Vec<Sent>,
    /// The search, before anything was stopped.
    pub first: Option<Sent>,
    /// The manifests beside the files after the first stop.
    pub manifests: Vec<Saved>,
    /// The start on untouched files.
    pub clean: Option<Start>,
    /// The file whose byte was changed, and its digest since.
    pub flipped: Option<(String, String)>,
    /// The start after that.
    pub changed: Option<Start>,
}

/// A manifest, and the file that it names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// Its name.
    pub name: String,
    /// What it says; null when it cannot be read.
    pub manifest: Value,
    /// The digest of the file that it names, if there is such a file.
    pub sha256: Option<String>,
}

/// What a started target says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// Of its index.
    pub index: Sent,
    /// To the search.
    pub search: Sent,
}

/// Judges it.
#[must_use]
pub fn judge(seen: &Evidence) -> Judgement {
    let mut judgement = Judgement::default();
    let documents = seen.stored.iter().filter(|sent| sent.ok()).count() as u64;
    judgement.exercised("manifests", 0);
    for saved in &seen.manifests {
        manifest(saved, documents, &mut judgement);
        judgement.exercised("manifests", 1);
    }
    let flipped = seen.flipped.as_ref();
    judgement.exercised("flipped_bytes", u64::from(flipped.is_some()));
    judgement.exercised(
        "searches",
        u64::from(seen.first.as_ref().is_some_and(Sent::ok)),
    );
    if let Some(start) = &seen.clean {
        let mismatch = &start.index.answer["mismatch"];
        judgement.expect(start.index.ok() && mismatch.is_null(), || {
            format!(
                "untouched, {}: got mismatch {mismatch}, expected none",
                start.index.line()
            )
        });
        as_before(seen, start, "untouched", documents, &mut judgement);
    }
    if let (Some(start), Some((file, got))) = (&seen.changed, flipped) {
        let expected = seen
            .manifests
            .iter()
            .find(|saved| saved.manifest["file"] == **file);
        let expected = expected.map_or(&Value::Null, |saved| &saved.manifest["sha256"]);
        let mismatch = &start.index.answer["mismatch"];
        for (field, wanted) in [("expected_sha256", expected), ("got_sha256", &json!(got))] {
            judgement.expect(!mismatch[field].is_null() && mismatch[field] == *wanted, || {
                let line = start.index.line();
                format!("a byte of {file} changed, {line}: got mismatch {mismatch}, expected {field} {wanted}")
            });
        }
        let loaded = &start.index.answer["loaded"];
        judgement.expect(loaded == "rebuilt", || {
            format!("a byte of {file} changed: got loaded {loaded}, expected rebuilt")
        });
        as_before(seen, start, "rebuilt", documents, &mut judgement);
    }
    judgement.detail = format!(
        "{} manifests for {documents} memories; {}: {} violations",
        seen.manifests.len(),
        match seen.changed {
            Some(_) => "one byte changed, the index is reported and rebuilt",
            None => "no start on a changed index was seen",
        },
        judgement.violations.len()
    );
    judgement
}

fn manifest(saved: &Saved, documents: u64, judgement: &mut Judgement) {
    let (name, told) = (&saved.name, &saved.manifest);
    let got = &told["sha256"];
    judgement.expect(
        got.is_string() && got.as_str() == saved.sha256.as_deref(),
        || {
            let expected = saved.sha256.as_deref().unwrap_or("a file that is there");
            format!("{name}: got sha256 {got}, expected {expected}")
        },
    );
    let count = &told["entry_count"];
    judgement.expect(count.as_u64() == Some(documents), || {
        format!("{name}: got entry_count {count}, expected {documents}")
    });
}

/// The index is whole, and the search finds what it found.
fn as_before(
    seen: &Evidence,
    start: &Start,
    when: &str,
    documents: u64,
    judgement: &mut Judgement,
) {
    let vectors = &start.index.answer["vectors"];
    judgement.expect(vectors.as_u64() == Some(documents), || {
        format!(
            "{when}, {}: got {vectors} vectors, expected {documents}",
            start.index.line()
        )
    });
    let first = seen.first.as_ref().and_then(results);
    let (Some(first), Some(now)) = (first, results(&start.search)) else {
        violation!(
            judgement,
            "{when}, {}: got no results to compare",
            start.search.line()
        );
        return;
    };
    judgement.expect(first == now && !now.is_empty(), || {
        format!(
            "{when}, {}: got {}, expected {}",
            start.search.line(),
            json!(now),
            json!(first)
        )
    });
    judgement.exercised("searches", 1);
}

/// Drives it.
///
/// # Errors
/// When the target is gone for good, or names no index file.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut rng = cx.seed.child("memories").rng();
    let mut target = cx.start(json!({})).await?;
    let client = target.client(Credential::Operator(1));
    let word = random_id("w", &mut rng);
    for _ in 0..MEMORIES {
        let text = format!("{word} {}", random_id("t", &mut rng));
        seen.stored.push(store(&client, &text).await);
    }
    seen.first = Some(search(&client, &word, LIMIT).await);
    let files = target.listening().index_files.clone();
    target.terminate().await?;
    let manifests = files.iter().filter(|path| name(path).ends_with(MANIFEST));
    seen.manifests = manifests.map(|path| saved(path)).collect();
    seen.clean = Some(started(&mut target, &client, &word).await?);
    target.terminate().await?;
    let file = files.iter().find(|path| !name(path).ends_with(MANIFEST));
    let file = file.ok_or_else(|| Undecided("the target names no index file".to_owned()))?;
    let mut bytes = std::fs::read(file)?;
    if bytes.is_empty() {
        return Err(Undecided(format!("{} is empty", file.display())));
    }
    let at = rng.random_range(0..bytes.len());
    bytes[at] ^= 1 << rng.random_range(0..8u32);
    std::fs::write(file, &bytes)?;
    seen.flipped = Some((name(file), sha256_hex(&bytes)));
    seen.changed = Some(started(&mut target, &client, &word).await?);
    target.exited();
    Ok(())
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn saved(path: &Path) -> Saved {
    let read = std::fs::read(path).unwrap_or_default();
    let manifest: Value = serde_json::from_slice(&read).unwrap_or_default();
    let file = manifest["file"]
        .as_str()
        .map(|file| path.with_file_name(file));
    let bytes = file.and_then(|file| std::fs::read(file).ok());
    Saved {
        name: name(path),
        sha256: bytes.map(|bytes| sha256_hex(&bytes)),
        manifest,
    }
}

async fn started(target: &mut Instance, client: &Client, word: &str) -> Result<Start, Undecided> {
    target.start_again().await?;
    Ok(Start {
        index: index(client).await,
        search: search(client, word, LIMIT).await,
    })
}

#[cfg(test)]
mod tests {
    use super::super::space::tests::sent;
    use super::*;

    fn good() -> Evidence {
        let found = || {
            sent(
                "/search",
                200,
                json!({"results": [{"id": "mem_1", "score": 0.5}]}),
            )
        };
        let start = |loaded: &str, mismatch: Value| Start {
            index: sent(
                "/v1/index",
                200,
                json!({"vectors": 1, "loaded": loaded, "mismatch": mismatch}),
            ),
            search: found(),
        };
        let mismatch = json!({"file": "i.index", "expected_sha256": "aa", "got_sha256": "bb"});
        Evidence {
            stored: vec![sent("/store", 201, json!({"id": "mem_1"}))],
            first: Some(found()),
            manifests: vec![Saved {
                name: "i.index.manifest.json".to_owned(),
                manifest: json!({"file": "i.index", "sha256": "aa", "entry_count": 1}),
                sha256: Some("aa".to_owned()),
            }],
            clean: Some(start("verified", Value::Null)),
            flipped: Some(("i.index".to_owned(), "bb".to_owned())),
            changed: Some(start("rebuilt", mismatch)),
        }
    }

    #[test]
    fn a_true_manifest_and_a_reported_mismatch_are_no_violation() {
        let judgement = judge(&good());
        assert_eq!(judgement.violations, [""; 0]);
        let counts: Vec<_> = judgement.exercised.into_iter().collect();
        let expected = [("flipped_bytes", 1), ("manifests", 1), ("searches", 3)];
        assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
    }

    fn index_of(start: &mut Option<Start>) -> &mut Value {
        &mut start.as_mut().unwrap().index.answer
    }

    /// Words of the violation, and what makes good evidence bad.
    type Case = (&'static str, fn(&mut Evidence));

    #[test]
    fn a_manifest_that_lies_and_a_mismatch_that_nobody_reports_are_violations() {
        let cases: [Case; 8] = [
            ("got sha256", |seen| {
                seen.manifests[0].sha256 = Some("cc".to_owned())
            }),
            ("a file that is there", |seen| {
                seen.manifests[0].sha256 = None
            }),
            ("entry_count", |seen| {
                seen.manifests[0].manifest["entry_count"] = json!(0)
            }),
            ("untouched", |seen| {
                index_of(&mut seen.clean)["mismatch"] = json!({})
            }),
            ("got_sha256", |seen| {
                index_of(&mut seen.changed)["mismatch"]["got_sha256"] = json!("aa");
            }),
            ("expected rebuilt", |seen| {
                index_of(&mut seen.changed)["loaded"] = json!("verified")
            }),
            ("0 vectors", |seen| {
                index_of(&mut seen.changed)["vectors"] = json!(0)
            }),
            ("rebuilt, ", |seen| {
                seen.changed.as_mut().unwrap().search.answer["results"] = json!([]);
            }),
        ];
        for (words, spoil) in cases {
            let mut seen = good();
            spoil(&mut seen);
            let found = judge(&seen).violations;
            assert!(
                found.len() == 1 && found[0].contains(words),
                "{words}: {found:?}"
            );
        }
        let mut seen = good();
        index_of(&mut seen.changed)["mismatch"] = Value::Null;
        assert_eq!(judge(&seen).violations.len(), 2);
    }
}
