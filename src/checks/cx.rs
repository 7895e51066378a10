//! What a drive is given: a site to start targets on, what the gate asks to be exercised, and a
//! place to leave evidence.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use crate::base::files::write_atomically;
use crate::base::{Clock, Seed};
use crate::chaos::Site;
use crate::target::{Instance, Launcher, Setup};

/// The drive could not go on, for a reason that says nothing about the claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided(pub String);

impl<E: Into<anyhow::Error>> From<E> for Undecided {
    fn from(error: E) -> Self {
        Self(format!("{:#}", error.into()))
    }
}

/// Becomes true once, when a run is to end early.
pub type Cancel = watch::Receiver<bool>;

/// Waits until the run is to end early; for ever when whoever could say so is gone.
pub(crate) async fn cancelled(mut cancel: Cancel) {
    if cancel.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What a [`Cx`] is made of.
#[derive(Clone, Debug)]
pub struct CxParts {
    /// The seed of this gate and attempt.
    pub seed: Seed,
    /// The clock of the run.
    pub clock: Clock,
    /// Starts the target.
    pub launcher: Launcher,
    /// A temporary folder of this attempt.
    pub dir: PathBuf,
    /// Where extra evidence goes.
    pub evidence_dir: PathBuf,
    /// What the gate asks to be exercised.
    pub minimum: BTreeMap<String, u64>,
    /// Ends the drive early.
    pub cancel: Cancel,
}

/// What a drive is given: a [`Site`], and what belongs to a gate.
pub struct Cx {
    /// Where extra evidence goes.
    pub evidence_dir: PathBuf,
    /// What the gate asks to be exercised, so that a drive can plan for it.
    pub minimum: BTreeMap<String, u64>,
    /// Ends the drive early; a drive need not look at it, it is stopped from outside.
    pub cancel: Cancel,
    site: Site,
}

impl Deref for Cx {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl DerefMut for Cx {
    fn deref_mut(&mut self) -> &mut Site {
        &mut self.site
    }
}

impl Cx {
    /// Opens the site.
    ///
    /// # Errors
    /// Without a folder or a port.
    pub async fn open(parts: CxParts) -> io::Result<Self> {
        let CxParts {
            seed,
            clock,
            launcher,
            dir,
            evidence_dir,
            minimum,
            cancel,
        } = parts;
        Ok(Self {
            evidence_dir,
            minimum,
            cancel,
            site: Site::open(seed, clock, launcher, dir).await?,
        })
    }

    /// [`Site::start`]; a target that does not start leaves the drive undecided.
    ///
    /// # Errors
    /// When there is no target to drive.
    pub async fn start(&mut self, patch: Value) -> Result<Instance, Undecided> {
        Ok(self.site.start(patch).await?)
    }

    /// [`Site::start_with`], likewise.
    ///
    /// # Errors
    /// When there is no target to drive.
    pub async fn start_with(&mut self, setup: Setup) -> Result<Instance, Undecided> {
        Ok(self.site.start_with(setup).await?)
    }

    /// [`Site::until`]; a drive that must judge the absence itself records it before it returns.
    ///
    /// # Errors
    /// [`Undecided`], naming what was awaited.
    pub async fn until<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        bound: Duration,
        poll: impl FnMut() -> F,
    ) -> Result<T, Undecided> {
        Ok(self.site.until(what, bound, poll).await?)
    }

    /// Writes an extra evidence file.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn leave(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        write_atomically(&self.evidence_dir.join(name), bytes)
    }
}
