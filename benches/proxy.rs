//! What the fault proxy adds to a request and how many it carries, beside a direct connection in the
//! same run, and how well an injected latency is met: `cargo bench --bench proxy`. The proxy is the
//! program as its users start it; who asks and who answers are threads of this process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Bytes of a request, and of its answer.
const REQUEST: usize = 128;
/// Rounds, direct and proxied in turn, and requests in each.
const ROUNDS: usize = 20;
const REQUESTS: usize = 1_000;
/// Connections that ask at once, and requests of each.
const CONNECTIONS: usize = 8;
const REQUESTS_AT_ONCE: usize = 5_000;
/// What is injected, on how many connections at once, and requests of each.
const INJECTED: Duration = Duration::from_millis(50);
const DELAYED_CONNECTIONS: usize = 10;
const DELAYED_REQUESTS: usize = 40;
const NAPS: usize = 100;

/// The goals.
const MOST_ADDED_US: f64 = 50.0;
const LEAST_A_SECOND: f64 = 15_000.0;
const MOST_LATE_MS: f64 = 2.0;

fn main() -> Result<()> {
    let upstream = echo()?;
    let proxy = Proxy::start()?;
    let listen = proxy.create(upstream)?;
    let (direct, proxied) = medians(upstream, listen)?;
    let added = proxied - direct;
    let a_second = [rate(upstream)?, rate(listen)?];
    proxy.ask(
        "POST",
        "/proxies/bench/toxics",
        &json!({
            "type": "latency", "attributes": {"latency": INJECTED.as_millis() as u64}
        }),
    )?;
    let late = late(listen)?;
    let (p99, plain) = (at(&late, 0.99), at(&naps(), 0.99));
    write(&format!(
        "a request on one connection, median: direct {direct:.1} us, proxied {proxied:.1} us\n\
         the proxy adds {added:.1} us (goal: at most {MOST_ADDED_US:.0}): {}\n\
         requests a second on {CONNECTIONS} connections: direct {:.0}, proxied {:.0} \
         (goal: at least {LEAST_A_SECOND:.0}): {}\n\
         an injected {} ms is late by: median {:.2} ms, p99 {p99:.2} ms, most {:.2} ms \
         (goal: p99 within {MOST_LATE_MS:.0}): {}\n\
         a thread that only sleeps as long wakes late by: p99 {plain:.2} ms\n",
        met(added <= MOST_ADDED_US),
        a_second[0],
        a_second[1],
        met(a_second[1] >= LEAST_A_SECOND),
        INJECTED.as_millis(),
        at(&late, 0.5),
        at(&late, 1.0),
        met(p99 <= MOST_LATE_MS && late[0] >= 0.0),
    ))
}

fn met(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

/// Answers each request with itself; where.
fn echo() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = [0; REQUEST];
    loop {
        stream.read_exact(&mut request)?;
        stream.write_all(&request)?;
    }
}

/// One who asks.
struct Client(TcpStream);

impl Client {
    fn new(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut client = Self(stream);
        // The first request waits for the proxy to connect.
        client.ask()?;
        Ok(client)
    }

    fn ask(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.0.write_all(&[7; REQUEST])?;
        self.0.read_exact(&mut [0; REQUEST])?;
        Ok(began.elapsed())
    }
}

/// Microseconds of a request, direct and proxied.
fn medians(direct: SocketAddr, proxied: SocketAddr) -> Result<(f64, f64)> {
    let mut clients = [Client::new(direct)?, Client::new(proxied)?];
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (client, took) in clients.iter_mut().zip(&mut took) {
            for _ in 0..REQUESTS {
                took.push(client.ask()?.as_secs_f64() * 1e6);
            }
        }
    }
    let [direct, proxied] = took.map(sorted);
    Ok((at(&direct, 0.5), at(&proxied, 0.5)))
}

/// Requests a second of several connections at once.
fn rate(address: SocketAddr) -> Result<f64> {
    let all = all_at_once(address, CONNECTIONS, REQUESTS_AT_ONCE)?;
    Ok((CONNECTIONS * REQUESTS_AT_ONCE) as f64 / all.1.as_secs_f64())
}

/// How much longer than what is injected requests take, in milliseconds, in order.
fn late(address: SocketAddr) -> Result<Vec<f64>> {
    let (took, _) = all_at_once(address, DELAYED_CONNECTIONS, DELAYED_REQUESTS)?;
    Ok(sorted(took.into_iter().map(late_ms).collect()))
}

/// How late this machine wakes a thread that sleeps as long: what no proxy can do better.
fn naps() -> Vec<f64> {
    let naps = (0..NAPS).map(|_| {
        let began = Instant::now();
        thread::sleep(INJECTED);
        late_ms(began.elapsed())
    });
    sorted(naps.collect())
}

fn late_ms(took: Duration) -> f64 {
    (took.as_secs_f64() - INJECTED.as_secs_f64()) * 1e3
}

/// What each request took, and all of them.
fn all_at_once(
    address: SocketAddr,
    connections: usize,
    requests: usize,
) -> Result<(Vec<Duration>, Duration)> {
    let clients = (0..connections).map(|_| Client::new(address));
    let clients: Vec<Client> = clients.collect::<Result<_>>()?;
    let barrier = Barrier::new(connections + 1);
    thread::scope(|scope| {
        let asking = clients.into_iter().map(|mut client| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                (0..requests)
                    .map(|_| client.ask())
                    .collect::<Result<Vec<_>>>()
            })
        });
        let asking: Vec<_> = asking.collect();
        barrier.wait();
        let began = Instant::now();
        let mut all = Vec::new();
        for one in asking {
            all.extend(one.join().ok().context("a client panicked")??);
        }
        Ok((all, began.elapsed()))
    })
}

fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

fn at(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// The proxy, as its users start it.
struct Proxy {
    child: Child,
    api: String,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    fn start() -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sonia-gate"))
            .args(["proxy", "--port", "0", "--seed", "1"])
            .env("NO_COLOR", "1")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("it is piped")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let (_, rest) = line.split_once("http://").context("no address")?;
        let api = rest.split(',').next().context("no address")?.to_owned();
        Ok(Self { child, api })
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let mut stream = TcpStream::connect(&self.api)?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        ensure!(head.contains(" 20"), "{answer}");
        Ok(serde_json::from_str(body)?)
    }

    fn create(&self, upstream: SocketAddr) -> Result<SocketAddr> {
        let told = json!({
            "name": "bench", "listen": "127.0.0.1:0", "upstream": upstream.to_string()
        });
        let said = self.ask("POST", "/proxies", &told)?;
        let listen = said["listen"].as_str().context("it listens")?;
        Ok(listen.parse()?)
    }
}

fn write(text: &str) -> Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("stdout")
}
