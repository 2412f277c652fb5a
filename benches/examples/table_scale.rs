//! What a large table costs: 10,000 endpoints of all three kinds, each with a sink as the daemon makes it
//! and a route of its own.
//!
//! ```text
//! cargo run --release -p twinroute-benches --example table_scale [-- ENDPOINTS [JOURNAL-FOLDER]]
//! ```
//!
//! Prints the time of the first table, of tables in which nothing, one route and one endpoint changed, and
//! of a look at the status; and what the process has in memory, lanes idle and metrics recorded. Nothing is
//! connected to. Each table is given again, as a source gives it.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use twinroute_journal::storage::FolderStorage;
use twinroute_journal::{DiskJournal, JournalSettings};
use twinroute_model::clock::SystemClock;
use twinroute_model::endpoint;
use twinroute_model::instance::Instance;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::route::Route;
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::Router;
use twinroute_router::source::Definitions;
use twinroute_sinks::connect::AzureConnector;

const ENDPOINTS: usize = 10_000;
/// Tables that are applied for one figure.
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoints = match arguments.next() {
        None => ENDPOINTS,
        Some(number) => number.parse()?,
    };
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    metrics::set_global_recorder(recorder).map_err(|_| "there is a recorder already")?;
    let connector = AzureConnector::new(
        Arc::new(SystemClock),
        OutgoingConnections::of_environment()?,
    );
    let mut builder = Router::builder().connect(connector);
    if let Some(folder) = arguments.next() {
        let folder = FolderStorage::create(Path::new(&folder))?;
        let (disk, recovered) = DiskJournal::open(
            JournalSettings::default(),
            Arc::new(folder),
            Arc::new(SystemClock),
        )?;
        builder = builder.journal_on_disk(disk, recovered);
    }
    let router = builder.build()?;
    print_memory("before");

    let first = definitions(endpoints, "a", "first");
    let (applied, took) = measure(|| router.apply(&first));
    applied?;
    print_time("first table", took);
    drop(first);
    print_memory("lanes idle");

    let mut round = 0;
    let mut apply =
        |what: &str, change: &dyn Fn(usize) -> Definitions| -> Result<(), Box<dyn Error>> {
            let mut worst = [Duration::ZERO; 2];
            for _ in 0..ROUNDS {
                round += 1;
                let definitions = change(round);
                let (applied, took) = measure(|| router.apply(&definitions));
                applied?;
                worst = [worst[0].max(took[0]), worst[1].max(took[1])];
            }
            print_time(what, worst);
            Ok(())
        };
    apply("nothing changed, worst of 5", &|_| {
        definitions(endpoints, "a", "first")
    })?;
    apply("one route changed, worst of 5", &|round| {
        definitions(endpoints, &round.to_string(), "first")
    })?;
    apply("one endpoint changed, worst of 5", &|round| {
        definitions(endpoints, "a", &round.to_string())
    })?;
    let (_, took) = measure(|| black_box(router.status()));
    print_time("status", took);
    print_memory("afterwards");
    router.stop(Duration::ZERO).await;
    Ok(())
}

/// A listing in which the middle route looks for `text` and the middle endpoint has `key`.
fn definitions(endpoints: usize, text: &str, key: &str) -> Definitions {
    let middle = endpoints / 2;
    let name = |number: usize| EndpointName::new(&format!("endpoint-{number:05}"));
    let endpoint = |number: usize| {
        let key = if number == middle { key } else { "first" };
        let name = name(number).expect("a legal name");
        endpoint::parse(&name, &body(number, key)).expect("a legal endpoint")
    };
    let route = |number: usize| {
        let text = if number == middle { text } else { "a" };
        let filter = format!(
            "type = 'Microsoft.DigitalTwins.Twin.Update' AND \
             STARTS_WITH(subject, 'area-{number:05}/') AND $body.modelId = 'dtmi:contoso:{text};1'"
        );
        Route {
            id: RouteId::new(&format!("route-{number:05}")).expect("a legal id"),
            endpoint_name: name(number).expect("a legal name"),
            filter,
        }
    };
    let instance = Instance {
        name: InstanceName::new("default").expect("a legal name"),
        endpoints: (0..endpoints).map(endpoint).collect(),
        routes: (0..endpoints).map(route).collect(),
        network: twinroute_model::network::NetworkAccess::default(),
    };
    Definitions {
        instances: vec![instance],
        ..Definitions::default()
    }
}

/// One of the three kinds, each with two credentials.
fn body(number: usize, key: &str) -> String {
    let string = |key: &str, entity: &str| {
        format!(
            "Endpoint=sb://contoso-{number:05}.servicebus.windows.net/;SharedAccessKeyName=send;\
             SharedAccessKey={key}-0123456789012345678901234567890123456789=;EntityPath={entity}"
        )
    };
    let properties = match number % 3 {
        0 => format!(
            r#""endpointType":"EventGrid","accessKey1":"{key}-0123456789","accessKey2":"second",
               "TopicEndpoint":"https://topic-{number:05}.neu-1.eventgrid.azure.net/api/events""#
        ),
        1 => format!(
            r#""endpointType":"EventHub","connectionStringPrimaryKey":"{}",
               "connectionStringSecondaryKey":"{}""#,
            string(key, "hub"),
            string("second", "hub")
        ),
        _ => format!(
            r#""endpointType":"ServiceBus","primaryConnectionString":"{}",
               "secondaryConnectionString":"{}""#,
            string(key, "topic"),
            string("second", "topic")
        ),
    };
    format!(r#"{{"properties":{{{properties}}}}}"#)
}

/// Does something and tells what it took of the clock on the wall and of this thread's processor time.
fn measure<T>(work: impl FnOnce() -> T) -> (T, [Duration; 2]) {
    let used = || {
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(
            used.tv_sec.unsigned_abs(),
            used.tv_nsec.unsigned_abs() as u32,
        )
    };
    let (start, start_used) = (Instant::now(), used());
    let done = work();
    (done, [start.elapsed(), used() - start_used])
}

fn print_time(what: &str, times: [Duration; 2]) {
    let [wall, used] = times.map(|time| time.as_secs_f64() * 1_000.0);
    println!("{what:34} {wall:9.1} ms, {used:9.1} ms of processor time");
}

/// Linux: what of the process is in memory.
fn print_memory(when: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    println!(
        "{:34} {}",
        format!("resident, {when}"),
        resident.unwrap_or("unknown").trim()
    );
}
