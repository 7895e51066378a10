//! How fail-closed-auth is driven.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::RngExt;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use super::{Asked, Evidence, Material, Outcome, Start};
use crate::checks::auth::tried::Tried;
use crate::checks::{Cx, Undecided};
use crate::target::{Ask, Client, Credential, Instance, Launcher, Setup, StartError};

/// How often a port is tried while its target starts.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// How long one try may take.
const LOOK_TIMEOUT: Duration = Duration::from_millis(200);
/// Whose port is tried; it is bound before the others.
const WATCHED: &str = "api-gateway";

/// Drives it.
///
/// # Errors
/// When a start fails for a reason that says nothing of the target.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let mut ready = Vec::new();
    let all = [Material::Good, Material::Bypass].into_iter();
    for (number, material) in (0..).zip(all.chain(Material::BAD)) {
        let mut setup = cx.setup(json!({}));
        let address = give(&mut setup, number, material)?;
        ready.push((material, setup, address));
    }
    let _span = cx.span("starts");
    let mut starts = JoinSet::new();
    for (material, setup, address) in ready {
        starts.spawn(start(cx.launcher.clone(), material, setup, address));
    }
    while let Some(started) = starts.join_next().await {
        seen.starts.push(started??);
    }
    seen.starts.sort_by_key(|start| start.material);
    Ok(())
}

/// Writes the key material, and an address that no other process has a reason to use: what answers
/// there is this target. It is made of no seed: the same gate may run twice at once under one.
fn give(setup: &mut Setup, number: u16, material: Material) -> Result<SocketAddr, Undecided> {
    let mut rng = rand::rng();
    let mut byte = || rng.random_range(1..255);
    let host = Ipv4Addr::new(127, byte(), byte(), byte());
    let mut port = 20_000 + 100 * number;
    let mut watched = None;
    if let Some(services) = setup.config["services"].as_object_mut() {
        for (name, service) in services {
            service["host"] = json!(host);
            service["port"] = json!(port);
            if name == WATCHED {
                watched = Some(SocketAddr::from((host, port)));
            }
            port += 1;
        }
    }
    write(setup, material)?;
    watched.ok_or_else(|| Undecided(format!("the config names no {WATCHED}")))
}

fn write(setup: &mut Setup, material: Material) -> Result<(), Undecided> {
    let file = setup.dir.join("given-keys.json");
    let keys = setup.keys.file();
    let without = |change: fn(&mut Value)| {
        let mut keys = keys.clone();
        change(&mut keys);
        Some(keys.to_string())
    };
    let text = match material {
        Material::Good => return Ok(()),
        Material::Bypass => {
            setup.config["auth"]["enabled"] = json!(false);
            None
        }
        Material::Missing | Material::Folder => None,
        Material::Empty => Some(String::new()),
        Material::CutOff => {
            let text = keys.to_string();
            Some(text[..text.len() / 2].to_owned())
        }
        Material::NoJson => Some("service_token: svc".to_owned()),
        Material::NoToken => without(|keys| {
            keys.as_object_mut()
                .map(|keys| keys.remove("service_token"));
        }),
        Material::Nobody => without(|keys| keys["operators"] = json!([])),
        Material::NoHash => without(|keys| keys["operators"][0]["key_sha256"] = json!("key")),
        Material::NoRole => without(|keys| {
            keys["operators"][0]
                .as_object_mut()
                .map(|one| one.remove("role"));
        }),
    };
    setup.config["auth"]["key_file"] = json!(file);
    std::fs::create_dir_all(&setup.dir)?;
    match text {
        Some(text) => std::fs::write(&file, text)?,
        None if material == Material::Folder => std::fs::create_dir_all(&file)?,
        None => {}
    }
    Ok(())
}

/// Starts a target and tries its port all the while.
async fn start(
    launcher: Launcher,
    material: Material,
    setup: Setup,
    address: SocketAddr,
) -> Result<Start, Undecided> {
    let watch = Watch::begin(address);
    let started = launcher.start(setup).await;
    let (looks, reached) = watch.end().await?;
    let (outcome, asked) = match started {
        Ok(instance) => (Outcome::Ready, ask(&instance).await),
        Err(StartError::Exited { status, .. }) => (Outcome::Exited(status.code()), Vec::new()),
        Err(error) if error.by_target() => (Outcome::Stuck(error.to_string()), Vec::new()),
        Err(error) => return Err(error.into()),
    };
    Ok(Start {
        material,
        outcome,
        looks,
        reached,
        asked,
    })
}

/// Tries a port again and again, on a thread of its own: a runtime that is busy must not keep it
/// from looking. It ends when this is dropped.
struct Watch {
    over: Arc<AtomicBool>,
    counts: JoinHandle<(u64, u64)>,
}

impl Watch {
    fn begin(address: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let counts = tokio::task::spawn_blocking(move || {
            let (mut looks, mut reached) = (0, 0);
            loop {
                // Once more after the end, when the answer is certain.
                let last = stop.load(Ordering::Acquire);
                looks += 1;
                reached += u64::from(TcpStream::connect_timeout(&address, LOOK_TIMEOUT).is_ok());
                if last {
                    return (looks, reached);
                }
                std::thread::sleep(LOOK_INTERVAL);
            }
        });
        Self { over, counts }
    }

    /// How often it looked, and how often somebody was there.
    async fn end(mut self) -> Result<(u64, u64), Undecided> {
        self.over.store(true, Ordering::Release);
        Ok((&mut self.counts).await?)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
    }
}

async fn ask(instance: &Instance) -> Vec<Asked> {
    let nobody = instance.client(Credential::None);
    let operator = instance.client(Credential::Operator(1));
    vec![status(&nobody).await, status(&operator).await]
}

async fn status(client: &Client) -> Asked {
    let exchange = client.send(Ask::get(WATCHED, "/status")).await;
    let posture = exchange.answered()["auth_posture"].as_str();
    Asked {
        tried: Tried::new(&exchange),
        posture: posture.map(str::to_owned),
    }
}
