//! `proxy`: a fault proxy behind Toxiproxy's HTTP API, until it is told to end.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::exit::{Exit, Stop};
use super::{block_on, interrupt, screen};
use crate::base::Seed;
use crate::chaos::toxiproxy::{Proxies, serve};

/// How long requests that are under way may take once it is to end.
const GRACE: Duration = Duration::from_secs(2);

/// Example: sonia-gate proxy --port 8474 --seed 7
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Where the API listens
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// Its port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8474)]
    port: u16,
    /// Repeats every draw (toxicity, jitter, slices): a number, decimal or 0x-hexadecimal
    #[arg(long, value_name = "N")]
    seed: Option<Seed>,
    /// Proxies to begin with: Toxiproxy's config file, a JSON array of proxies (ours may have `toxics`)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
One line on stdout says where the API listens, and the seed. SIGINT and SIGTERM end it.
Exit codes: 0 ended as it was told; 2 wrong usage, or the place or the file cannot be used.
Example: sonia-gate proxy --port 8474 --seed 7
         curl -d '{\"name\": \"db\", \"listen\": \"127.0.0.1:0\", \"upstream\": \"127.0.0.1:5432\",
                   \"toxics\": [{\"type\": \"latency\", \"attributes\": {\"latency\": 50}}]}' \\
              127.0.0.1:8474/proxies";

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Stop> {
    let config = arguments.config.as_ref().map(|path| {
        fs::read(path).map_err(|error| {
            Stop::usage(
                format!("cannot read {}: {error}", path.display()),
                "name a readable JSON file with --config",
            )
        })
    });
    let config = config.transpose()?;
    block_on(until_told(arguments, config))?
}

async fn until_told(arguments: &Arguments, config: Option<Vec<u8>>) -> Result<Exit, Stop> {
    let mut cancel = interrupt::cancel()?;
    let place = (arguments.host.as_str(), arguments.port);
    let cannot = |error| {
        Stop::usage(
            format!("cannot listen on {}:{}: {error}", place.0, place.1),
            "stop what uses the port, or give another one with --port (0: any)",
        )
    };
    let listener = TcpListener::bind(place).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let seed = arguments.seed.unwrap_or_else(|| Seed(rand::random()));
    let proxies = Arc::new(Proxies::new(seed));
    if let (Some(config), Some(path)) = (config, &arguments.config) {
        proxies.populate(&config).await.map_err(|refusal| {
            Stop::usage(
                format!("{}: {refusal}", path.display()),
                "expected a JSON array of {\"name\", \"listen\", \"upstream\"}",
            )
        })?;
    }
    screen::print(&format!(
        "{} http://{address}, seed {seed}",
        screen::verb("Listening")
    ));
    let mut stop = cancel.clone();
    let served = serve(listener, proxies, async move {
        told(&mut stop).await;
    });
    let overdue = async {
        told(&mut cancel).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = served => served.map_err(cannot)?,
        () = overdue => {}
    }
    Ok(Exit::Green)
}

/// When it is told to end. A sender that is gone has nothing more to tell.
async fn told(cancel: &mut crate::runner::Cancel) {
    let _ = cancel.wait_for(|told| *told).await;
}
