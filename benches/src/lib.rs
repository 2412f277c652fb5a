//! What benchmarks take in: events of 1 KiB over many twins, and routers that deliver to memory.

pub mod sending;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, ready};
use std::time::Duration;
use twinroute_model::cloudevents::json;
use twinroute_model::event::{Event, EventLimits};
use twinroute_model::event_grid_schema;
use twinroute_model::settings::EndpointSettings;
use twinroute_router::Router;
use twinroute_router::sink::{BatchLimits, Delivery, DeliveryOutcome, Sink};

/// How many twins events are of.
pub const TWINS: usize = 10_000;
/// How long an event is.
pub const EVENT_BYTES: usize = 1_024;
/// Events of a batch.
pub const BATCH: usize = 100;
/// Has no divisor in common with [`TWINS`], so that all are visited.
pub const LEAP: usize = 3_797;

/// An update of one of [`TWINS`] twins, exactly [`EVENT_BYTES`] long.
pub fn event_json(number: usize, subject: &str) -> String {
    let twin = number % TWINS;
    let head = format!(
        r#"{{"specversion":"1.0","id":"5c1f7a52-0b6e-4f0e-9d3c-{number:012}","type":"Microsoft.DigitalTwins.Twin.Update","source":"contoso-mill.api.neu.digitaltwins.azure.net","data":{{"modelId":"dtmi:contoso:mill:Pump;2","patch":[{{"value":{twin},"path":"/flow","op":"replace"}},{{"value":"#
    );
    let tail = format!(
        r#","path":"/note","op":"add"}}]}},"subject":"{subject}","time":"2026-03-02T06:15:00.1203395Z","datacontenttype":"application/json","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-53995c3f42cd8ad8-01"}}"#
    );
    let filler = EVENT_BYTES - head.len() - tail.len() - 2;
    format!("{head}\"{}\"{tail}", "x".repeat(filler))
}

/// The subject of a twin in one of so many areas.
pub fn in_area(number: usize, areas: usize) -> String {
    format!("area-{:05}/twin-{number:05}", number % areas)
}

/// An event of every twin.
pub fn events(subject: impl Fn(usize) -> String) -> Vec<Event> {
    let parse = |number| {
        let text = event_json(number, &subject(number));
        json::parse(text.into(), &EventLimits::default()).expect("a valid event")
    };
    (0..TWINS).map(parse).collect()
}

/// A batch as a producer posts it.
pub fn batch_json() -> Bytes {
    let items: Vec<String> = (0..BATCH)
        .map(|number| event_json(number, &in_area(number, 10)))
        .collect();
    format!("[{}]", items.join(",")).into()
}

/// Walks a slice round and round, in leaps that no cache foresees.
pub struct LeapingCycle<'a, T>(&'a [T], usize);

impl<'a, T> LeapingCycle<'a, T> {
    /// Begins.
    #[must_use]
    pub fn new(items: &'a [T]) -> Self {
        Self(items, 0)
    }

    /// The next one.
    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> &'a T {
        self.1 = (self.1 + LEAP) % self.0.len();
        &self.0[self.1]
    }
}

/// A batch in the Event Grid schema.
pub fn event_grid_batch(events: &[Event]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        event_grid_schema::write(event, &mut out);
    }
    out.push(b']');
    out
}

/// Takes everything at once.
pub struct MemorySink;

impl Sink for MemorySink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: BATCH,
            bytes_max: 1 << 20,
            in_flight_max: 4,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        ready(vec![DeliveryOutcome::Delivered; batch.len()]).boxed()
    }
}

/// A router with so many routes, of which each event of that many areas matches one.
pub fn router(routes: usize, clause: impl Fn(usize) -> String) -> Router {
    let settings = EndpointSettings::default().with(|own| own.linger = Duration::ZERO);
    let mut builder = Router::builder().sink_with("memory", MemorySink, settings);
    for number in 0..routes {
        let filter = format!(
            "type = 'Microsoft.DigitalTwins.Twin.Update' AND {}",
            clause(number)
        );
        builder = builder.route(&format!("route-{number}"), "memory", &filter);
    }
    builder.build().expect("a valid router")
}

/// A runtime of one thread.
///
/// # Panics
/// When the system gives none.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
