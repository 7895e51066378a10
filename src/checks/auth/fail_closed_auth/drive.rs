//! How fail-closed-auth is driven.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Asked, Evidence, Material, Start};
use crate::checks::auth::tried::Tried;
use crate::checks::starts::{WATCHED, attempt, place};
use crate::checks::{Cx, Undecided};
use crate::target::{Ask, Client, Credential, Instance, Launcher, Setup};

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

/// Writes the key material, and an address of its own.
fn give(setup: &mut Setup, number: u16, material: Material) -> Result<SocketAddr, Undecided> {
    write(setup, material)?;
    place(setup, number)
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
    let attempt = attempt(&launcher, setup, address).await?;
    let asked = match &attempt.target {
        Some(instance) => ask(instance).await,
        None => Vec::new(),
    };
    Ok(Start {
        material,
        outcome: attempt.outcome,
        looks: attempt.looks,
        reached: attempt.reached,
        asked,
    })
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
