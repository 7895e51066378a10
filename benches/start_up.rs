//! How long the reference takes from its start to its ready line, and how much memory it holds
//! then: `cargo bench --bench start_up`.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;
use sonia_gate::base::{Clock, Seed};
use sonia_gate::contract::routes;
use sonia_gate::model::TargetSpec;
use sonia_gate::target::{Incidents, Keys, Launcher, Setup};

/// Starts that are measured, after one that is not.
const STARTS: usize = 40;

#[tokio::main]
async fn main() -> Result<()> {
    let mut took_ms = Vec::new();
    let mut most_kib = 0;
    start().await?;
    for _ in 0..STARTS {
        let (ms, kib) = start().await?;
        took_ms.push(ms);
        most_kib = most_kib.max(kib);
    }
    took_ms.sort_by(f64::total_cmp);
    let at = |share: f64| took_ms[((STARTS - 1) as f64 * share) as usize];
    write(&format!(
        "start to ready, {STARTS} starts: median {:.1} ms, p95 {:.1} ms, longest {:.1} ms\n\
         memory at its peak until ready: {:.1} MiB\n",
        at(0.5),
        at(0.95),
        at(1.0),
        most_kib as f64 / 1024.0
    ))
}

/// Milliseconds from start to ready, and the peak of resident memory in KiB.
async fn start() -> Result<(f64, u64)> {
    let folder = tempfile::tempdir()?;
    let launcher = Launcher {
        binary: env!("CARGO_BIN_EXE_sonia-gate").into(),
        spec: TargetSpec::reference(),
    };
    let setup = setup(folder.path());
    let began = Instant::now();
    let instance = launcher.start(setup).await?;
    let took_ms = began.elapsed().as_secs_f64() * 1000.0;
    let pid = instance.pid().context("it runs")?;
    Ok((took_ms, peak_kib(pid)?))
}

fn setup(dir: &std::path::Path) -> Setup {
    let ports: BTreeMap<_, _> = routes::services()
        .into_iter()
        .map(|name| (name, json!({"port": 0})))
        .collect();
    Setup {
        dir: dir.to_owned(),
        data: Setup::data(dir),
        config: json!({
            "services": ports,
            "auth": {"key_file": Setup::key_file(dir)},
            "audit": {"key_file": Setup::audit_key_file(dir)},
        }),
        args: Vec::new(),
        through: Vec::new(),
        env: BTreeMap::new(),
        keys: Keys::new(Seed(1)),
        clock: Clock::start(),
        seed: Seed(1),
        incidents: Incidents::default(),
    }
}

fn peak_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = peak.and_then(|rest| rest.split_whitespace().next());
    number
        .context("the kernel tells VmHWM")?
        .parse()
        .context("VmHWM is a number")
}

fn write(text: &str) -> Result<()> {
    use std::io::Write;
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("stdout")
}
