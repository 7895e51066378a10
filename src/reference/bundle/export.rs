//! Makes a bundle of a data directory, beside a running process or after it: a folder and an archive
//! of the same files. Both appear whole or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dsse::Ed25519Signer;
use ed25519_dalek::{SigningKey, VerifyingKey};
use serde_json::{Value, json};

use super::container::{write_archive, write_folder};
use super::content::{Content, Scene};
use super::manifest::{FileRow, MANIFEST_FILE, Manifest};
use crate::reference::audit::{Break, KeyError};
use crate::reference::config::{ConfigError, LiveConfig};
use crate::reference::host::{self, Options};
use crate::reference::parts::Parts;
use crate::reference::store::StoreError;
use crate::reference::time::{Clock, Offset};
use crate::reference::{digest, identity, ids};

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The config file.
    #[error("{file}: {error}")]
    Config {
        /// The file.
        file: PathBuf,
        /// What is wrong, and where in it.
        error: ConfigError,
    },
    /// Nothing signs.
    #[error("audit.key_file names no key: a bundle that nobody signed proves nothing")]
    NoKey,
    /// The key that should sign.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Something has the name already.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// A database is locked.
    #[error("chain {chain} cannot be read: {source}")]
    Chain {
        /// The chain.
        chain: String,
        /// What the store says.
        source: StoreError,
    },
    /// A file or folder.
    #[error("{path}: {source}")]
    Files {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The signature.
    #[error("the manifest cannot be signed: {0}")]
    Sign(#[from] dsse::Error),
}

/// A bundle that was made.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Its id.
    pub bundle_id: String,
    /// What its signature verifies with.
    pub key: VerifyingKey,
    /// The folder.
    pub directory: PathBuf,
    /// The archive.
    pub archive: PathBuf,
    /// How many files its manifest names.
    pub files: usize,
    /// Chains that are broken; the bundle has them as they are.
    pub broken: Vec<Break>,
}

impl Exported {
    /// What the command prints.
    pub fn value(&self) -> Value {
        let broken: Vec<&String> = self.broken.iter().map(|broken| &broken.chain).collect();
        json!({
            "ok": broken.is_empty(),
            "bundle_id": self.bundle_id,
            "directory": self.directory,
            "archive": self.archive,
            "files": self.files,
            "broken_chains": broken,
        })
    }
}

/// Makes the bundle of a data directory: the folder `out`, and `out.tar.gz`.
///
/// # Errors
/// See [`BundleError`]; nothing is left behind then.
pub async fn export(options: &Options, parts: &Parts, out: &Path) -> Result<Exported, BundleError> {
    let live = LiveConfig::load(&options.config_file, parts.settings.clone()).map_err(|error| {
        BundleError::Config {
            file: options.config_file.clone(),
            error,
        }
    })?;
    let config = live.current();
    let key = Arc::new(host::audit_key(options, &config)?.ok_or(BundleError::NoKey)?);
    let places = Places::of(out)?;
    let data_dir = (options.data_dir.canonicalize()).map_err(at(&options.data_dir))?;
    let now = Offset {
        clock: parts.clock.clone(),
        ahead_ms: config.clock.offset_ms,
    }
    .now();
    let bundle_id = ids::make("inc_");
    let scene = Scene {
        data_dir: &data_dir,
        config: &config,
        key: &key,
        secrets: &identity::secrets(&host::beside_config(options, &config.auth.key_file)),
        bundle_id: &bundle_id,
        now,
    };
    let Content { mut files, broken } = scene.gather(parts).await?;
    let row = |(path, content): (&String, &Vec<u8>)| FileRow {
        path: path.clone(),
        size: content.len() as u64,
        sha256: parts.bundle.digest(path, content),
    };
    let manifest = Manifest {
        version: 1,
        kind: "incident".to_owned(),
        bundle_id: bundle_id.clone(),
        created_at: now.to_string(),
        files: files.iter().map(row).collect(),
    };
    let envelope = seal(&manifest, key.key(), parts)?;
    files.insert(MANIFEST_FILE.to_owned(), envelope);
    let made_at_s = u64::try_from(now.ms() / 1000).unwrap_or_default();
    let Places { directory, archive } = places.fill(|directory, archive| {
        write_folder(directory, &files)?;
        write_archive(archive, &files, made_at_s)
    })?;
    Ok(Exported {
        bundle_id,
        key: key.key().verifying_key(),
        directory,
        archive,
        files: manifest.files.len(),
        broken,
    })
}

fn seal(manifest: &Manifest, key: &SigningKey, parts: &Parts) -> Result<Vec<u8>, dsse::Error> {
    let payload = serde_json::to_vec_pretty(manifest).expect("a manifest is plain data");
    let key_id = digest::sha256(key.verifying_key().as_bytes());
    let signer = Ed25519Signer::from_bytes(key.as_bytes())?.with_key_id(key_id);
    let mut envelope = parts.bundle.seal(&payload, &signer)?.to_json()?;
    envelope.push(b'\n');
    Ok(envelope)
}

/// Where a bundle goes.
struct Places {
    directory: PathBuf,
    archive: PathBuf,
}

impl Places {
    fn of(out: &Path) -> Result<Self, BundleError> {
        let directory = std::path::absolute(out).map_err(at(out))?;
        let mut archive = directory.clone().into_os_string();
        archive.push(".tar.gz");
        let archive = PathBuf::from(archive);
        for path in [&directory, &archive] {
            if path.symlink_metadata().is_ok() {
                return Err(BundleError::Exists(path.clone()));
            }
        }
        Ok(Self { directory, archive })
    }

    /// Both are made beside their places and moved there when they are whole.
    fn fill(
        self,
        make: impl FnOnce(&Path, &Path) -> std::io::Result<()>,
    ) -> Result<Self, BundleError> {
        let folder = self.directory.parent().unwrap_or(Path::new("/"));
        let moved = || {
            std::fs::create_dir_all(folder)?;
            let fresh = tempfile::Builder::new()
                .prefix(".incident-")
                .tempdir_in(folder)?;
            let (directory, archive) = (fresh.path().join("d"), fresh.path().join("a"));
            make(&directory, &archive)?;
            std::fs::rename(&archive, &self.archive)?;
            std::fs::rename(&directory, &self.directory)
        };
        moved().map_err(at(folder))?;
        Ok(self)
    }
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> BundleError + use<'_> {
    |source| BundleError::Files {
        path: path.to_owned(),
        source,
    }
}
