//! How fail-closed-auth is driven.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use rand::RngExt;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Asked, Evidence, Material, Outcome, Start};
use crate::base::Seed;
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
        let address = give(&mut setup, cx.seed, number, material)?;
        ready.push((material, setup, address));
    }
    let _span = cx.span("starts");
    // Tasks of their own: a process that ends at once has to be looked at at once.
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
/// there is this target.
fn give(
    setup: &mut Setup,
    seed: Seed,
    number: u16,
    material: Material,
) -> Result<SocketAddr, Undecided> {
    let mut rng = seed.child(&format!("address {number}")).rng();
    let host = Ipv4Addr::new(
        127,
        rng.random_range(1..255),
        rng.random_range(1..255),
        rng.random_range(1..255),
    );
    let mut port = 20_000 + 100 * number + rng.random_range(0..50);
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
    let (mut looks, mut reached) = (0, 0);
    let mut tick = tokio::time::interval(LOOK_INTERVAL);
    let mut starting = pin!(launcher.start(setup));
    let started = loop {
        tokio::select! {
            biased;
            started = &mut starting => break started,
            _ = tick.tick() => {
                looks += 1;
                reached += u64::from(somebody_is_there(address).await);
            }
        }
    };
    let (outcome, asked) = match started {
        Ok(instance) => {
            // At the latest now; before, it may have gone too fast to be seen.
            looks += 1;
            reached += u64::from(somebody_is_there(address).await);
            (Outcome::Ready, ask(&instance).await)
        }
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

async fn somebody_is_there(address: SocketAddr) -> bool {
    let connected = tokio::time::timeout(LOOK_TIMEOUT, TcpStream::connect(address)).await;
    matches!(connected, Ok(Ok(_)))
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
