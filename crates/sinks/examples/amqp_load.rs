//! How much CPU the AMQP sink takes for an event, without that of the broker.
//!
//! The process starts itself a second time as the broker, so that its own CPU is the sender's
//! alone. Events have 1 KiB of data and 10,000 distinct twins.
//!
//! ```text
//! cargo run --release -p twinroute-sinks --example amqp_load -- [events per batch] [batches at a time] [events]
//! ```

#[path = "../tests/broker/mod.rs"]
mod broker;

use broker::TestBroker;
use broker::deliveries::delivery_of;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use twinroute_model::clock::SystemClock;
use twinroute_model::endpoint;
use twinroute_model::event::EventParts;
use twinroute_model::name::EndpointName;
use twinroute_model::settings::{EndpointSettings, PartitionKey};
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::sink::{Connect, Delivery, DeliveryOutcome, Sink};
use twinroute_sinks::connect::AzureConnector;

const TWINS: usize = 10_000;
const DATA_BYTES: usize = 1_024;
/// Unless the third argument says another number.
const EVENTS: usize = 400_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    if arguments.first().is_some_and(|word| word == "broker") {
        return runtime.block_on(serve());
    }
    let number = |place: usize, default: usize| {
        arguments
            .get(place)
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let (events, at_a_time, total) = (number(0, 100), number(1, 4), number(2, EVENTS));
    let mut child = Command::new(std::env::current_exe().expect("own path"))
        .arg("broker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the broker");
    let mut address = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut address)
        .expect("an address");
    for key in [PartitionKey::Bucket, PartitionKey::Twin, PartitionKey::None] {
        runtime.block_on(load(address.trim(), key, events, at_a_time, total));
    }
    child.kill().expect("the broker runs");
    child.wait().expect("the broker ended");
}

/// Accepts everything until it is killed.
async fn serve() {
    let broker = Arc::new(TestBroker {
        fast: true,
        ..TestBroker::default()
    });
    let (address, mut tasks) = broker.listen("127.0.0.1:0").await;
    println!("{address}");
    tasks.join_next().await;
}

async fn load(address: &str, key: PartitionKey, events: usize, at_a_time: usize, total: usize) {
    let sink = sink(address, key);
    let deliveries = deliveries();
    // Connects, and warms up.
    sink.send(&deliveries[..events]).await;
    let batches = total / events;
    let mut running = FuturesUnordered::new();
    let (cpu, start) = (cpu_time(), Instant::now());
    let mut delivered = 0;
    for batch in 0..batches {
        if running.len() == at_a_time {
            delivered += count(running.next().await.unwrap_or_default());
        }
        let first = batch * events % (TWINS - events + 1);
        running.push(sink.send(&deliveries[first..first + events]));
    }
    while let Some(outcomes) = running.next().await {
        delivered += count(outcomes);
    }
    let (cpu, wall) = (cpu_time() - cpu, start.elapsed());
    let total = batches * events;
    assert_eq!(delivered, total, "some events were not delivered");
    let per_event = |time: Duration| time.as_secs_f64() * 1e6 / total as f64;
    println!(
        "partition_key {key:?}: {total} events in batches of {events}, {at_a_time} at a time: \
         {:.2} us CPU an event, {:.0} events/s",
        per_event(cpu),
        1e6 / per_event(wall),
    );
}

fn count(outcomes: Vec<DeliveryOutcome>) -> usize {
    let delivered = |outcome: &&DeliveryOutcome| **outcome == DeliveryOutcome::Delivered;
    outcomes.iter().filter(delivered).count()
}

fn sink(address: &str, partition_key: PartitionKey) -> Arc<dyn Sink> {
    let name = EndpointName::new("load").expect("a legal name");
    let body = format!(
        r#"{{"properties":{{"endpointType":"EventHub","connectionStringPrimaryKey":
        "Endpoint=sb://{address};SharedAccessKeyName=a;SharedAccessKey=b;EntityPath=hub;UseDevelopmentEmulator=true"}}}}"#
    );
    let endpoint = endpoint::parse(&name, &body).expect("a legal endpoint");
    let settings = EndpointSettings::default().with(|own| own.partition_key = partition_key);
    let outgoing = OutgoingConnections::of_environment().expect("the trust store");
    AzureConnector::new(Arc::new(SystemClock), outgoing)
        .connect(&endpoint, &settings)
        .expect("a sink")
}

fn deliveries() -> Vec<Delivery> {
    let delivery = |id| {
        let parts = EventParts::new(
            &format!("event-{id}"),
            "contoso.api.weu.digitaltwins.azure.net",
            "Microsoft.DigitalTwins.Twin.Update",
        );
        let parts = parts.set("time", "2026-01-01T00:00:00.000Z");
        let subject = format!("room-{id}");
        delivery_of(id, parts.expect("legal"), &subject, DATA_BYTES - 2)
    };
    (0..TWINS).map(delivery).collect()
}

/// User and system time of this process, by `/proc/self/stat` (proc(5), fields 14 and 15).
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u64 = [fields[11], fields[12]]
        .iter()
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum();
    // A tick is 10 ms on Linux (USER_HZ).
    Duration::from_millis(ticks * 10)
}
