//! Several processes of one target on one data directory, talked to like one [`Instance`]. Each has
//! a config of its own (another clock, say) and hosts some of the services. How they find each
//! other is in those configs: whoever starts them knows addresses that stay the same.

use std::sync::Arc;

use super::client::{Client, Line};
use super::instance::{Instance, StopError};
use super::keys::Credential;
use super::launcher::{Launcher, Setup, StartError};
use super::listening::Listening;

/// Processes that are one target.
pub struct Fleet {
    members: Vec<Instance>,
    line: Arc<Line>,
}

impl Launcher {
    /// Starts one process a setup, all at once, and waits until each is ready. Their keys and their
    /// data directory should be the same.
    ///
    /// # Errors
    /// The first that did not start; the others are gone then.
    ///
    /// # Panics
    /// Without any setup.
    pub async fn start_fleet(&self, setups: Vec<Setup>) -> Result<Fleet, StartError> {
        let first = setups.first().expect("a fleet has a first process").clone();
        let starting = setups.into_iter().map(|setup| self.start(setup));
        let members = futures_util::future::try_join_all(starting).await?;
        let seed = first.seed.child("correlation ids of a fleet");
        let line = Line::new(merged(&members), first.keys, first.clock, seed);
        Ok(Fleet {
            members,
            line: Arc::new(line),
        })
    }
}

/// What the processes say together; the process id is the first one's.
fn merged(members: &[Instance]) -> Listening {
    let mut all = Listening::clone(&members[0].listening());
    for member in &members[1..] {
        let Listening {
            services,
            databases,
            index_files,
            chains,
            commands,
            ..
        } = Listening::clone(&member.listening());
        all.services.extend(services);
        all.databases.extend(databases);
        all.index_files.extend(index_files);
        all.chains.extend(chains);
        all.commands.extend(commands);
    }
    all
}

impl Fleet {
    /// A client of all services under this credential. It survives restarts.
    #[must_use]
    pub fn client(&self, credential: Credential) -> Client {
        Client::new(Arc::clone(&self.line), credential)
    }

    /// Addresses, databases and chains of all processes.
    #[must_use]
    pub fn listening(&self) -> Arc<Listening> {
        self.line.listening()
    }

    /// The processes, in the order of their setups.
    #[must_use]
    pub fn members(&self) -> &[Instance] {
        &self.members
    }

    /// SIGKILL to the process that hosts this service.
    ///
    /// # Errors
    /// See [`Instance::kill`]; [`StopError::NoProcess`] when nobody hosts it.
    pub async fn kill(&mut self, service: &str) -> Result<(), StopError> {
        let member = self.host(service).ok_or(StopError::NoProcess)?;
        member.kill().await
    }

    /// Starts the process of this service again on the same data, after it was stopped.
    ///
    /// # Errors
    /// See [`Instance::start_again`].
    ///
    /// # Panics
    /// When it is still running, or nobody hosts it.
    pub async fn start_again(&mut self, service: &str) -> Result<(), StartError> {
        let member = self.host(service).expect("a service of the fleet");
        member.start_again().await?;
        self.line.moved(merged(&self.members));
        Ok(())
    }

    /// The process that hosts this service, or did when it last ran.
    fn host(&mut self, service: &str) -> Option<&mut Instance> {
        self.members
            .iter_mut()
            .find(|member| member.listening().services.contains_key(service))
    }
}
