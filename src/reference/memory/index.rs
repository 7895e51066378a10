//! The vector index in memory: a graph (HNSW) over all vectors, loaded from its file and brought up
//! to the ledger at start. The graph only proposes: what is near is told by the vectors themselves,
//! so that the same question always has the same answer.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hnsw_rs::prelude::{DistCosine, Hnsw};
use serde_json::{Value, json};

use super::file::{Describe, Entry, Files, Found, Manifest, Mismatch, VerifyIndex};

/// Neighbours of a vector in a layer of the graph.
const NEIGHBOURS: usize = 16;
/// How many vectors the graph expects; more are no trouble.
const EXPECTED: usize = 1024;
/// Layers of the graph.
const LAYERS: usize = 16;
/// How far the graph looks when a vector comes.
const REACH_IN: usize = 200;
/// How far it looks, at least, when one is asked for.
const REACH_OUT: usize = 128;

/// The index of a memory-engine.
pub struct Index {
    files: Files,
    embedder: &'static str,
    inner: Mutex<Inner>,
}

struct Inner {
    graph: Graph,
    loaded: &'static str,
    mismatch: Option<Mismatch>,
    manifest: Option<Manifest>,
    /// Changes since it was saved.
    changes: u64,
}

impl Inner {
    /// Whether what is on disk is of no use.
    fn is_unsaved(&self) -> bool {
        self.loaded == "rebuilt" && self.manifest.is_none()
    }
}

/// What the index is to be at start.
pub(super) struct Opening<'a> {
    pub(super) database: &'a Path,
    pub(super) embedder: &'static str,
    pub(super) verify: VerifyIndex,
    pub(super) repair: Repair,
}

/// Of the vectors that the ledger has and the index file has not, those that are put in: how many
/// the file has, and which are missing.
pub type Repair = fn(usize, Vec<Entry>) -> Vec<Entry>;

/// All of them.
pub fn repair(_loaded: usize, missing: Vec<Entry>) -> Vec<Entry> {
    missing
}

impl Index {
    /// Loads what is on disk and brings it up to the ledger; a file that is no good is left alone,
    /// and everything comes from the ledger.
    pub(super) fn open(opening: &Opening<'_>, ledger: Vec<Entry>) -> io::Result<Self> {
        let files = Files::beside(opening.database);
        let found = files.load(opening.embedder, opening.verify)?;
        let mut graph = Graph::new();
        let (loaded, mismatch, manifest) = match found {
            Found::Useless(mismatch) => {
                ledger.into_iter().for_each(|entry| graph.put(entry));
                ("rebuilt", mismatch, None)
            }
            Found::Nothing => {
                let missing = (opening.repair)(0, ledger);
                missing.into_iter().for_each(|entry| graph.put(entry));
                ("new", None, None)
            }
            Found::Good(entries, manifest) => {
                bring_up(&mut graph, entries, ledger, opening.repair);
                ("verified", None, Some(manifest))
            }
        };
        if let Some(mismatch) = &mismatch {
            let said = mismatch.value();
            tracing::warn!(%said, "the index is not as its manifest says: rebuilt from the ledger");
        }
        let inner = Mutex::new(Inner {
            graph,
            loaded,
            mismatch,
            manifest,
            changes: 0,
        });
        Ok(Self {
            files,
            embedder: opening.embedder,
            inner,
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a vector in, in the place of an older one of the same memory.
    pub(super) fn put(&self, entry: Entry) {
        let mut inner = self.inner();
        inner.graph.put(entry);
        inner.changes += 1;
    }

    /// Takes a memory's vector out, if there is one.
    pub(super) fn remove(&self, id: &str) {
        let mut inner = self.inner();
        inner.changes += u64::from(inner.graph.remove(id));
    }

    /// The nearest memories and how near they are, nearest first, older ones first where they are
    /// equally near.
    pub(super) fn nearest(&self, vector: &[f32], most: usize) -> Vec<(String, f64)> {
        self.inner().graph.nearest(vector, most)
    }

    /// Whether what is on disk is of no use.
    pub(super) fn is_unsaved(&self) -> bool {
        self.inner().is_unsaved()
    }

    /// Changes since it was saved.
    pub(super) fn changes(&self) -> u64 {
        self.inner().changes
    }

    /// Writes it down, unless it is what was written last.
    pub(super) fn save(&self, describe: Describe) -> io::Result<()> {
        let entries = {
            let mut inner = self.inner();
            let as_saved = inner.manifest.as_ref().map(|manifest| manifest.entry_count);
            let same = as_saved.unwrap_or(0) == inner.graph.at.len();
            if inner.changes == 0 && same && !inner.is_unsaved() {
                return Ok(());
            }
            inner.changes = 0;
            inner.graph.entries()
        };
        let manifest = self.files.save(self.embedder, entries, describe)?;
        self.inner().manifest = Some(manifest);
        Ok(())
    }

    /// As `GET /v1/index` shows it.
    pub(super) fn value(&self) -> Value {
        let inner = self.inner();
        json!({
            "vectors": inner.graph.at.len(),
            "embedder": self.embedder,
            "loaded": inner.loaded,
            "mismatch": inner.mismatch.as_ref().map(Mismatch::value),
            "manifest": inner.manifest,
        })
    }
}

/// The files of the index of the memory-engine with this database.
pub fn files(database: &Path) -> [PathBuf; 2] {
    let files = Files::beside(database);
    [files.index, files.manifest]
}

/// Loaded vectors that the ledger still has, and of the others those that the repair brings.
fn bring_up(graph: &mut Graph, loaded: Vec<Entry>, ledger: Vec<Entry>, repair: Repair) {
    let count = loaded.len();
    let current: HashMap<String, i64> = ledger
        .iter()
        .map(|entry| (entry.id.clone(), entry.version))
        .collect();
    for entry in loaded {
        if current.get(&entry.id) == Some(&entry.version) {
            graph.put(entry);
        }
    }
    let missing = ledger
        .into_iter()
        .filter(|entry| !graph.at.contains_key(&entry.id));
    let missing = repair(count, missing.collect());
    missing.into_iter().for_each(|entry| graph.put(entry));
}

/// Vectors by slot. The graph cannot forget, so a slot that is empty is passed over, and everything
/// is put into a new graph when most of them are.
struct Graph {
    links: Hnsw<'static, f32, DistCosine>,
    slots: Vec<Option<Entry>>,
    at: HashMap<String, usize>,
}

impl Graph {
    fn new() -> Self {
        Self {
            links: Hnsw::new(NEIGHBOURS, EXPECTED, LAYERS, REACH_IN, DistCosine),
            slots: Vec::new(),
            at: HashMap::new(),
        }
    }

    fn put(&mut self, entry: Entry) {
        self.remove(&entry.id);
        let dimension = self.slots.iter().flatten().next();
        if dimension.is_some_and(|other| other.vector.len() != entry.vector.len()) {
            tracing::warn!(id = entry.id, "a vector of another dimension is left out");
            return;
        }
        let slot = self.slots.len();
        self.links.insert((&entry.vector, slot));
        self.at.insert(entry.id.clone(), slot);
        self.slots.push(Some(entry));
    }

    fn remove(&mut self, id: &str) -> bool {
        let Some(slot) = self.at.remove(id) else {
            return false;
        };
        self.slots[slot] = None;
        if self.slots.len() > REACH_OUT && self.at.len() < self.slots.len() / 2 {
            let mut fresh = Self::new();
            let kept = std::mem::take(&mut self.slots).into_iter().flatten();
            kept.for_each(|entry| fresh.put(entry));
            *self = fresh;
        }
        true
    }

    fn nearest(&self, vector: &[f32], most: usize) -> Vec<(String, f64)> {
        let first = self.slots.iter().flatten().next();
        if first.is_none_or(|entry| entry.vector.len() != vector.len()) {
            return Vec::new();
        }
        let empty = self.slots.len() - self.at.len();
        let reach = (most + empty).max(REACH_OUT);
        let proposed = self.links.search(vector, reach, reach);
        let live = proposed
            .iter()
            .filter_map(|near| self.slots[near.d_id].as_ref());
        let mut near: Vec<_> = live
            .map(|entry| (dot(vector, &entry.vector), entry))
            .collect();
        near.sort_by(|(one, a), (two, b)| two.total_cmp(one).then(a.seq.cmp(&b.seq)));
        near.truncate(most);
        let told = near.into_iter();
        told.map(|(nearness, entry)| (entry.id.clone(), nearness))
            .collect()
    }

    fn entries(&self) -> Vec<Entry> {
        self.slots.iter().flatten().cloned().collect()
    }
}

/// Of vectors of length 1 the cosine of their angle.
fn dot(one: &[f32], two: &[f32]) -> f64 {
    let products = one
        .iter()
        .zip(two)
        .map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: i64, version: i64) -> Entry {
        let angle = seq as f32 * 0.01;
        Entry {
            id: format!("mem_{seq}"),
            seq,
            version,
            vector: vec![angle.cos(), angle.sin()],
        }
    }

    #[test]
    fn the_nearest_are_those_that_a_look_at_all_of_them_finds() {
        let mut graph = Graph::new();
        (0..300).for_each(|seq| graph.put(entry(seq, 1)));
        (0..300).step_by(3).for_each(|seq| {
            graph.remove(&format!("mem_{seq}"));
        });
        let asked = entry(150, 1).vector;
        let mut all: Vec<_> = graph.entries();
        all.sort_by(|a, b| {
            let [a_near, b_near] = [a, b].map(|entry| dot(&asked, &entry.vector));
            b_near.total_cmp(&a_near).then(a.seq.cmp(&b.seq))
        });
        let found = graph.nearest(&asked, 10);
        let ids: Vec<_> = found.iter().map(|(id, _)| id).collect();
        assert_eq!(ids, all[..10].iter().map(|e| &e.id).collect::<Vec<_>>());
        assert!(graph.nearest(&[1.0], 10).is_empty());
        assert!(Graph::new().nearest(&asked, 10).is_empty());
    }

    #[test]
    fn a_loaded_index_is_brought_up_to_the_ledger() {
        let mut graph = Graph::new();
        let loaded = vec![entry(1, 1), entry(2, 1), entry(3, 1)];
        let ledger = vec![entry(1, 1), entry(2, 2), entry(4, 1)];
        bring_up(&mut graph, loaded, ledger, repair);
        let mut held: Vec<_> = graph.entries().iter().map(|e| (e.seq, e.version)).collect();
        held.sort_unstable();
        assert_eq!(held, [(1, 1), (2, 2), (4, 1)]);
    }
}
