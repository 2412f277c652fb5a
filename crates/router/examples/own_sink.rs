//! A router inside a program, with sinks of the program's own.
//!
//! ```console
//! $ cargo run -p twinroute-router --example own_sink
//! ```
//!
//! Three sinks: one counts events by type, one appends them to a file as JSON lines and is away at first,
//! one fails some events alone. The ledger at the end accounts for every delivery. Takes about ten seconds,
//! because that is how long an event waits that failed alone.

use futures_util::future::{BoxFuture, FutureExt};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use twinroute_model::cloudevents::json;
use twinroute_model::event::{Event, EventLimits, EventParts, EventProblem};
use twinroute_router::Router;
use twinroute_router::accept::AckLevel;
use twinroute_router::sink::{
    BatchLimits, Delivery, DeliveryOutcome, EndpointFault, FailureReason, FaultKind, Sink,
};
use twinroute_router::status::EndpointStatus;

const HOST: &str = "contoso.api.weu.digitaltwins.azure.net";
const TELEMETRY: &str = "microsoft.iot.telemetry";
const UPDATE: &str = "Microsoft.DigitalTwins.Twin.Update";

/// How large batches for the sinks here may be.
const LIMITS: BatchLimits = BatchLimits {
    events_max: 100,
    bytes_max: 1 << 20,
    in_flight_max: 1,
};

/// Counts events by type. A duplicate is counted twice.
struct Tally(Arc<Mutex<BTreeMap<String, u64>>>);

impl Sink for Tally {
    fn limits(&self) -> BatchLimits {
        LIMITS
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for delivery in batch {
            let event_type = delivery.event.event_type().to_owned();
            *counts.entry(event_type).or_default() += 1;
        }
        std::future::ready(vec![DeliveryOutcome::Delivered; batch.len()]).boxed()
    }
}

/// Appends events to a file, one JSON line each. A duplicate is a second line with the same `id`.
struct JsonLines {
    file: PathBuf,
    /// Batches that still find the file away.
    away: AtomicU32,
}

impl JsonLines {
    fn append(&self, batch: &[Delivery]) -> std::io::Result<()> {
        let one_less = |left: u32| left.checked_sub(1);
        let away = self
            .away
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        if away.is_ok() {
            return Err(std::io::Error::other("the share is not mounted"));
        }
        let mut lines = Vec::new();
        for delivery in batch {
            json::write(&delivery.event, &mut lines);
            lines.push(b'\n');
        }
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(true);
        options.open(&self.file)?.write_all(&lines)
    }
}

impl Sink for JsonLines {
    fn limits(&self) -> BatchLimits {
        LIMITS
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        let outcome = match self.append(batch) {
            Ok(()) => DeliveryOutcome::Delivered,
            // Not the events' fault: they keep their attempts, and the lane looks again soon.
            Err(error) => DeliveryOutcome::Unavailable(EndpointFault {
                kind: FaultKind::Unreachable,
                after: None,
                reason: FailureReason::new("file", error.to_string()),
            }),
        };
        std::future::ready(vec![outcome; batch.len()]).boxed()
    }
}

/// Prints alarms. The first attempt of every third event fails: of that event alone.
struct Pager;

impl Sink for Pager {
    fn limits(&self) -> BatchLimits {
        LIMITS
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        let page = |delivery: &Delivery| {
            if delivery.attempts == 0 && delivery.sequence.is_multiple_of(3) {
                return DeliveryOutcome::Retry {
                    after: None,
                    reason: FailureReason::new("busy", "the line is engaged"),
                };
            }
            let attempt = delivery.attempts + 1;
            println!("         page: {}, attempt {attempt}", delivery.event.id());
            DeliveryOutcome::Delivered
        };
        std::future::ready(batch.iter().map(page).collect()).boxed()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let counts = Arc::new(Mutex::new(BTreeMap::new()));
    let file = std::env::temp_dir().join(format!("own_sink-{}.jsonl", std::process::id()));
    let archive = JsonLines {
        file: file.clone(),
        away: AtomicU32::new(2),
    };
    let router = Router::builder()
        .sink("tally", Tally(Arc::clone(&counts)))
        .sink("archive", archive)
        .sink("pager", Pager)
        .route("everything", "tally", "true")
        .route("telemetry", "archive", "type = 'microsoft.iot.telemetry'")
        // An event that matches two routes to one endpoint is delivered there once.
        .route("warm", "archive", "$body.temperature > 20")
        .route("alarms", "pager", "$body.temperature >= 25")
        .build()?;

    let events = (1..=9).map(event).collect::<Result<Vec<_>, _>>()?;
    let accepted = router.accept(None, events, AckLevel::Memory).await?;
    println!(
        "accepted {} events for {} deliveries",
        accepted.events, accepted.deliveries
    );
    watch(&router).await;

    let status = router.stop(Duration::from_secs(1)).await;
    println!("\nendpoint   matched = delivered + discarded + waiting");
    for endpoint in &status.instances[0].endpoints {
        let waiting = endpoint.queued + endpoint.in_flight + endpoint.retrying;
        println!(
            "{:<10} {:>7} = {:>9} + {:>9} + {waiting:>7}",
            endpoint.name, endpoint.matched, endpoint.delivered, endpoint.discarded
        );
        assert_eq!(endpoint.unaccounted(), 0);
    }
    println!("\nroute      matched");
    for route in &status.instances[0].routes {
        println!("{:<10} {:>7}", route.id, route.matched);
    }
    let lines = std::fs::read_to_string(&file)?.lines().count();
    std::fs::remove_file(&file)?;
    println!("\nlines in the archive: {lines}");
    for (event_type, count) in &*counts.lock().unwrap_or_else(PoisonError::into_inner) {
        println!("{event_type}: {count}");
    }
    Ok(())
}

/// Two of three events are telemetry, warmer each time.
fn event(number: u32) -> Result<Event, EventProblem> {
    let id = format!("event-{number}");
    let parts = if number % 3 == 1 {
        EventParts::new(&id, HOST, UPDATE)
            .set("subject", "room1")?
            .json(r#"{"modelId":"dtmi:contoso:Room;1","patch":[]}"#)
    } else {
        let source = format!("{HOST}/digitaltwins/room1");
        let temperature = 15 + 2 * number;
        EventParts::new(&id, &source, TELEMETRY)
            .json(&format!(r#"{{"temperature":{temperature}}}"#))
    };
    parts.build(&EventLimits::default())
}

/// Prints what the endpoints do, whenever it changes, until every delivery is settled.
async fn watch(router: &Router) {
    let started = Instant::now();
    let mut last = Vec::new();
    let settled = router.settled();
    tokio::pin!(settled);
    loop {
        let status = router.status();
        let lines: Vec<String> = status.instances[0].endpoints.iter().map(line).collect();
        for line in lines.iter().filter(|line| !last.contains(*line)) {
            println!("{:>5.1} s  {line}", started.elapsed().as_secs_f64());
        }
        last = lines;
        tokio::select! {
            () = &mut settled => return,
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
}

fn line(endpoint: &EndpointStatus) -> String {
    let mut line = format!(
        "{:<8} {:<12} queued {} retrying {} delivered {}",
        endpoint.name, endpoint.state, endpoint.queued, endpoint.retrying, endpoint.delivered
    );
    if endpoint.queued + endpoint.retrying > 0 && !endpoint.last_error.is_empty() {
        line.push_str(&format!("  ({})", endpoint.last_error));
    }
    line
}
