//! What memory-engine answers about finding, forgetting, its index and proposals.

use serde::{Deserialize, Serialize};

use super::answers::Memory;

/// `DELETE /recall/{id}` of the memory-engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forgotten {
    /// `mem_...`.
    pub id: String,
    /// `deleted`.
    pub state: String,
}

/// `POST /search` of the memory-engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchAnswer {
    /// Best first.
    pub results: Vec<SearchResult>,
    /// `hybrid_vector` or `bm25`.
    pub search_mode: String,
    /// Estimated tokens of all results.
    pub total_tokens: u64,
}

/// A memory that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchResult {
    /// The memory.
    #[serde(flatten)]
    pub memory: Memory,
    /// More is better.
    pub score: f64,
    /// `bm25`, `vector` or `both`.
    pub source: String,
    /// Its estimated tokens.
    pub tokens: u64,
}

/// `GET /v1/index` of the memory-engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexAnswer {
    /// `ready` or `repairing`.
    pub state: String,
    /// Vectors in the index.
    pub vectors: u64,
    /// Memories in the ledger.
    pub documents: u64,
    /// Who embeds.
    pub embedder: String,
    /// `new`, `verified` or `rebuilt`.
    pub loaded: String,
    /// What was wrong with the file at the start.
    pub mismatch: Option<IndexMismatch>,
    /// What was last saved.
    pub manifest: Option<IndexManifest>,
}

/// A file that was not as its manifest said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexMismatch {
    /// The file.
    pub file: String,
    /// What the manifest said.
    pub expected_sha256: String,
    /// What it was.
    pub got_sha256: String,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexManifest {
    /// Its version.
    pub format: u64,
    /// The file beside it.
    pub file: String,
    /// Of the file's bytes.
    pub sha256: String,
    /// Vectors in the file.
    pub entry_count: u64,
}

/// A proposal of the memory-engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// `prp_...`.
    pub proposal_id: String,
    /// The memory's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// From 0 to 1.
    pub confidence: f64,
    /// The text.
    pub content: String,
    /// `auto_low`, `guarded_medium` or `guarded_high`.
    pub tier: String,
    /// Whether it is written only when it is approved.
    pub approval_required: bool,
    /// `pending`, `written` or `rejected`.
    pub state: String,
    /// The memory, once it is written.
    pub memory_id: Option<String>,
    /// RFC 3339.
    pub created_at: String,
}

/// `GET /v1/proposals` of the memory-engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposals {
    /// Those that nobody has decided, oldest first.
    pub proposals: Vec<Proposal>,
}
