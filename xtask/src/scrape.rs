//! `cargo xtask scrape`: how long a scrape of many endpoints takes and how large it is, of an optimised router.

use crate::cores;
use crate::programs;
use crate::router::{MeasuredRouter, RouterSetup, event_grid_topic};
use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The most of the processor that a scrape may take, the median of all.
const USED_MAX: Duration = Duration::from_millis(300);

/// The most bytes that it may have.
const BYTES_MAX: usize = 5_000_000;

/// Events of a request.
const BATCH: usize = 100;

/// How long a part of an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Metrics of the lanes that both a named endpoint and the remainder have.
const REMAINDER: &str = "endpoint=\"_other\"";

/// What is scraped, and how often.
#[derive(Args, Clone, Debug)]
pub(super) struct ScrapeOptions {
    /// So many endpoints, each with a route
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    endpoints: u32,
    /// So many scrapes, one after the other
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    scrapes: u32,
    /// Takes the program that lies in DIR instead of building it
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// One scrape.
struct ScrapeFigures {
    took: Duration,
    /// Seconds of the processor, in hundredths.
    used: f64,
    bytes: usize,
    series: usize,
    remainder: usize,
}

/// Measures; true when time and size are within their limits.
///
/// # Errors
/// The router does not start, or refuses an event.
pub(super) fn run(options: &ScrapeOptions) -> anyhow::Result<bool> {
    let release = match &options.programs {
        Some(folder) => folder.clone(),
        None => {
            let release = programs::folder()?.with_file_name("release");
            programs::build(&release, &[])?;
            release
        }
    };
    let lock = programs::alone(&release, "scrape")?;
    // Nobody listens there any more: each endpoint has trouble, and so the most series.
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let cores: Vec<String> = cores::allowed()?.iter().map(ToString::to_string).collect();
    let numbers = 0..options.endpoints;
    let endpoint = |number| (format!("hub-{number:06}"), event_grid_topic(closed));
    let router = MeasuredRouter::start(&RouterSetup {
        program: &release.join("twinroute"),
        folder: &lock.folder,
        cores: &cores.join(","),
        config: "",
        endpoints: numbers.clone().map(endpoint).collect(),
        routes: numbers.clone().map(route).collect(),
    })?;
    let idle = measure(&router, options.scrapes)?;
    let is_idle_fine = judge(options.endpoints, "idle", idle);
    // Each is sent an event, which none takes: so each has the most series, and attempts go on meanwhile.
    for first in numbers.step_by(BATCH) {
        let last = (first + BATCH as u32).min(options.endpoints);
        let batch: Vec<Value> = (first..last).map(event).collect();
        post(router.ingress(), &Value::from(batch).to_string())?;
    }
    let in_trouble = measure(&router, options.scrapes)?;
    let is_trouble_fine = judge(options.endpoints, "in trouble", in_trouble);
    Ok(is_idle_fine && is_trouble_fine)
}

/// One scrape after the other.
fn measure(router: &MeasuredRouter, count: u32) -> anyhow::Result<Vec<ScrapeFigures>> {
    let mut scrapes = Vec::new();
    for _ in 0..count {
        let before = cores::seconds_used(router.process().id())?;
        let mut one = scrape(router.admin())?;
        one.used = cores::seconds_used(router.process().id())? - before;
        scrapes.push(one);
    }
    Ok(scrapes)
}

fn judge(endpoints: u32, state: &str, mut scrapes: Vec<ScrapeFigures>) -> bool {
    for one in &scrapes {
        println!(
            "{:>8.1} ms, {:>4.0} of the processor {:>10} bytes {:>7} series, {} of the remainder",
            one.took.as_secs_f64() * 1_000.0,
            one.used * 1_000.0,
            one.bytes,
            one.series,
            one.remainder,
        );
    }
    let largest = scrapes.iter().map(|one| one.bytes).max();
    let largest = largest.unwrap_or_default();
    scrapes.sort_by_key(|one| one.took);
    let (quickest, middle) = (scrapes[0].took, scrapes[scrapes.len() / 2].took);
    scrapes.sort_by(|left, right| left.used.total_cmp(&right.used));
    let (least, used) = (scrapes[0].used, scrapes[scrapes.len() / 2].used);
    println!(
        "{endpoints} endpoints {state}: {:.0} ms, the quickest {:.0}; {:.0} ms of the processor, the least {:.0}, at most \
         {}; {largest} bytes, at most {BYTES_MAX}",
        middle.as_secs_f64() * 1_000.0,
        quickest.as_secs_f64() * 1_000.0,
        used * 1_000.0,
        least * 1_000.0,
        USED_MAX.as_millis(),
    );
    used <= USED_MAX.as_secs_f64() && largest <= BYTES_MAX
}

fn route(number: u32) -> (String, Value) {
    let name = format!("hub-{number:06}");
    let filter = format!("subject = 'twin-{number:06}'");
    let route = json!({"endpointName": name, "filter": filter});
    (name, route)
}

fn event(number: u32) -> Value {
    json!({
        "specversion": "1.0", "id": number.to_string(), "source": "plant", "type": "Moved",
        "subject": format!("twin-{number:06}"),
    })
}

fn post(ingress: SocketAddr, body: &str) -> anyhow::Result<()> {
    let head = format!(
        "POST /events HTTP/1.1\r\nhost: {ingress}\r\nconnection: close\r\n\
         content-type: application/cloudevents-batch+json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let answer = exchange(ingress, &(head + body))?;
    ensure!(answer.starts_with("HTTP/1.1 202"), "refused: {answer}");
    Ok(())
}

fn scrape(admin: SocketAddr) -> anyhow::Result<ScrapeFigures> {
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    let begun = Instant::now();
    let answer = exchange(admin, &request)?;
    let took = begun.elapsed();
    let (head, body) = answer.split_once("\r\n\r\n").context("no whole answer")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "refused: {head}");
    let series = || body.lines().filter(|line| !line.starts_with('#'));
    Ok(ScrapeFigures {
        took,
        used: 0.0,
        bytes: body.len(),
        series: series().count(),
        remainder: series().filter(|line| line.contains(REMAINDER)).count(),
    })
}

fn exchange(address: SocketAddr, request: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
