//! What runs beside the requests of a process: tasks, what is kept outside the databases, and the
//! processes that eva-os supervises.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::announcement::add;
use super::{Options, ServeError};
use crate::reference::parts::Parts;
use crate::reference::service::{Service, Shared};
use crate::reference::supervision::spawn::Plan;
use crate::reference::supervision::table::SUPERVISOR;
use crate::reference::supervision::{Booted, boot, met};
use crate::reference::wiring::{CLOSE, OPEN, TASKS};
use crate::reference::{operations, slo as slos};

/// Resumes what was pending, and starts what runs beside the requests.
pub(super) async fn background(
    services: &[Arc<Service>],
    shared: &Shared,
    parts: &Parts,
) -> Result<Vec<JoinHandle<()>>, ServeError> {
    let mut tasks = Vec::from_iter(slo(services, shared).await?);
    tasks.extend(breakers(services));
    for service in services {
        if service.name == SUPERVISOR {
            met(service).await?;
        }
        if service.audit_broken().is_none() {
            operations::resume(service, &parts.resumers).await?;
        }
        let own = TASKS
            .iter()
            .filter(|(name, _)| name.is_empty() || *name == service.name);
        tasks.extend(own.map(|(_, task)| tokio::spawn(task(service.clone()))));
    }
    Ok(tasks)
}

fn gateway(services: &[Arc<Service>]) -> Option<&Arc<Service>> {
    services
        .iter()
        .find(|service| service.name == "api-gateway")
}

/// Restores the SLO machine and starts its clock, where the gateway is.
async fn slo(
    services: &[Arc<Service>],
    shared: &Shared,
) -> Result<Option<JoinHandle<()>>, ServeError> {
    let Some(gateway) = gateway(services) else {
        return Ok(None);
    };
    let slo = slos::restore(gateway).await?;
    shared.set_slo(slo.clone());
    Ok(Some(slo.start()))
}

/// Writes down what the breakers do: in the gateway's events, where the gateway is.
fn breakers(services: &[Arc<Service>]) -> Option<JoinHandle<()>> {
    let teller = gateway(services).or(services.first())?.clone();
    let shared = teller.shared.clone();
    Some(tokio::spawn(
        async move { shared.breakers.tell(teller).await },
    ))
}

/// What is kept beside the databases: opened now, and closed when everything else is over.
pub(super) async fn beside(
    services: &[Arc<Service>],
) -> Result<Vec<BoxFuture<'static, ()>>, ServeError> {
    for (service, open) in of_each(services, OPEN) {
        open(service).await?;
    }
    let closing = of_each(services, CLOSE);
    Ok(closing.map(|(service, close)| close(service)).collect())
}

/// What a list has for these services, in the order of the list.
fn of_each<T: Copy>(
    services: &[Arc<Service>],
    list: &'static [(&str, T)],
) -> impl Iterator<Item = (Arc<Service>, T)> {
    list.iter().filter_map(move |(name, one)| {
        let service = services.iter().find(|service| service.name == *name)?;
        Some((service.clone(), *one))
    })
}

/// Starts the services that eva-os supervises, which is the only one of this process then, and says
/// where everybody is.
pub(super) async fn supervise(
    options: &Options,
    services: &[Arc<Service>],
    data_dir: PathBuf,
    listening: &mut Value,
) -> Result<Option<Booted>, ServeError> {
    let Some(wanted) = options.supervise else {
        return Ok(None);
    };
    let plan = Plan {
        argv: options.argv.clone(),
        data_dir,
        config_file: std::path::absolute(&options.config_file)?,
    };
    let supervisor = services.first().expect("eva-os is hosted");
    let booted = boot(supervisor, plan, wanted).await?;
    booted.lines.iter().for_each(|line| add(listening, line));
    supervisor
        .shared
        .set_supervision(booted.supervision.clone());
    (options.lines)(listening);
    Ok(Some(booted))
}
