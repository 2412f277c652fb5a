//! What one event costs on its way: parse, match, accept, encode, send; and what a change of the table costs.
//!
//! Inputs are events of 1 KiB over 10,000 twins, since a table that only ever sees one twin stands in the
//! cache whole. Times are those of the processor, so that a busy machine blurs them less; still compare
//! figures of one run only.

mod cpu_time;

use bytes::Bytes;
use cpu_time::CpuTime;
use criterion::{BenchmarkId, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use twinroute_benches::sending::{LANE_BATCH, MeasuredSink, lane_batches, start_emulator};
use twinroute_benches::{
    BATCH, LeapingCycle, MemorySink, TWINS, batch_json, event_grid_batch, event_json, events,
    in_area, router, runtime,
};
use twinroute_filter::eval::{EventFields, EventScope};
use twinroute_filter::{FilterOptions, RouteFilter};
use twinroute_model::cloudevents::{amqp, json};
use twinroute_model::endpoint::{self, Endpoint};
use twinroute_model::event::{Event, EventLimits};
use twinroute_model::event_grid_schema;
use twinroute_model::instance::Instance;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::route::Route;
use twinroute_model::settings::EndpointSettings;
use twinroute_router::Router;
use twinroute_router::accept::AckLevel;
use twinroute_router::sink::{Connect, ConnectError, DeliveryOutcome, Sink};
use twinroute_router::source::Definitions;

type CpuCriterion = criterion::Criterion<CpuTime>;

fn parse(criterion: &mut CpuCriterion) {
    let mut group = criterion.benchmark_group("parse");
    let limits = EventLimits::default();
    let texts: Vec<Bytes> = (0..TWINS)
        .map(|number| event_json(number, &in_area(number, 10)).into())
        .collect();
    let mut texts = LeapingCycle::new(&texts);
    group.throughput(Throughput::Elements(1));
    group.bench_function("one of 1 KiB", |bencher| {
        bencher.iter(|| json::parse(texts.next().clone(), &limits).expect("a valid event"));
    });
    group.throughput(Throughput::Elements(BATCH as u64));
    let batch = batch_json();
    group.bench_function("100 of 1 KiB", |bencher| {
        bencher.iter(|| json::parse_batch(batch.clone(), &limits).expect("a valid batch"));
    });
    let events = json::parse_batch(batch, &limits).expect("a valid batch");
    let batch = event_grid_batch(&events).into();
    group.bench_function("100 of 1 KiB, Event Grid schema", |bencher| {
        bencher.iter(|| {
            event_grid_schema::parse_batch(&batch, "contoso", &limits).expect("a valid batch")
        });
    });
    group.finish();
}

fn encode(criterion: &mut CpuCriterion) {
    let mut group = criterion.benchmark_group("encode");
    let events = events(|number| in_area(number, 10));
    let mut batches = events.chunks_exact(BATCH).cycle();
    let mut out = Vec::new();
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("CloudEvents, 100 of 1 KiB", |bencher| {
        bencher.iter(|| {
            out.clear();
            json::write_batch(batches.next().expect("a cycle"), &mut out);
            black_box(&out);
        });
    });
    group.bench_function("Event Grid schema, 100 of 1 KiB", |bencher| {
        bencher.iter(|| {
            out.clear();
            for event in batches.next().expect("a cycle") {
                event_grid_schema::write(event, &mut out);
            }
            black_box(&out);
        });
    });
    let envelope = amqp::MessageEnvelope {
        partition_key: Some("17"),
        ..amqp::MessageEnvelope::default()
    };
    group.bench_function("AMQP, 100 of 1 KiB", |bencher| {
        bencher.iter(|| {
            out.clear();
            for event in batches.next().expect("a cycle") {
                amqp::write(event, &envelope, &mut out);
            }
            black_box(&out);
        });
    });
    group.finish();
}

fn filter(criterion: &mut CpuCriterion) {
    let mut group = criterion.benchmark_group("filter");
    group.throughput(Throughput::Elements(1));
    let events = events(|number| in_area(number, 10));
    for (name, text) in [
        (
            "envelope",
            "type = 'Microsoft.DigitalTwins.Twin.Update' AND STARTS_WITH(subject, 'area-00003/')",
        ),
        (
            "body",
            "$body.modelId = 'dtmi:contoso:mill:Pump;2' AND $body.flow = 1",
        ),
    ] {
        let filter = RouteFilter::parse(text, &FilterOptions::default()).expect("a valid filter");
        let mut fields = EventFields::new();
        let program = fields.compile(filter.expr());
        let mut events = LeapingCycle::new(&events);
        group.bench_function(BenchmarkId::new(name, "1 KiB"), |bencher| {
            bencher.iter(|| program.matches(&EventScope::new(&fields, events.next())));
        });
    }
    group.finish();
}

fn table(criterion: &mut CpuCriterion) {
    let mut group = criterion.benchmark_group("table");
    group.throughput(Throughput::Elements(1));
    let runtime = runtime();
    let _inside = runtime.enter();
    for routes in [10, 1_000, 10_000] {
        let mut bench = |name: &str, events: Vec<Event>, router: Router| {
            let mut events = LeapingCycle::new(&events);
            group.bench_function(BenchmarkId::new(name, routes), |bencher| {
                bencher.iter(|| {
                    let matched = router.dry_run(None, events.next()).expect("an instance");
                    assert_eq!(matched.len(), 1);
                    matched
                });
            });
        };
        let prefix = |area| format!("STARTS_WITH(subject, 'area-{area:05}/')");
        let in_areas = events(|number| in_area(number, routes));
        bench("subject prefix", in_areas, router(routes, prefix));
        let equal = |twin: usize| format!("subject = 'twin-{twin:05}'");
        let twins = events(|number| format!("twin-{:05}", number % routes));
        bench("subject equal", twins, router(routes, equal));
    }
    group.finish();
}

/// Makes sinks that take everything at once.
struct MemorySinks;

impl Connect for MemorySinks {
    fn connect(
        &self,
        _endpoint: &Endpoint,
        _settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        Ok(Arc::new(MemorySink))
    }
}

/// So many endpoints with a route each. The middle route looks for `text`, the middle endpoint has `key`.
fn definitions(endpoints: usize, text: &str, key: &str) -> Definitions {
    let middle = |number, here, elsewhere| {
        if number == endpoints / 2 {
            here
        } else {
            elsewhere
        }
    };
    let name = |number| EndpointName::new(&format!("endpoint-{number:05}")).expect("a legal name");
    let endpoint = |number| {
        let body = format!(
            r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":"{}",
                "TopicEndpoint":"https://topic-{number:05}.example.net/api/events"}}}}"#,
            middle(number, key, "first")
        );
        endpoint::parse(&name(number), &body).expect("a legal endpoint")
    };
    let route = |number| Route {
        id: RouteId::new(&format!("route-{number}")).expect("a legal id"),
        endpoint_name: name(number),
        filter: format!(
            "STARTS_WITH(subject, 'area-{number:05}/') AND $body.modelId = '{}'",
            middle(number, text, "first")
        ),
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

fn apply(criterion: &mut CpuCriterion) {
    const ENDPOINTS: usize = 10_000;
    let mut group = criterion.benchmark_group("apply");
    group.sample_size(10);
    let runtime = runtime();
    let _inside = runtime.enter();
    let same = definitions(ENDPOINTS, "first", "first");
    let route = definitions(ENDPOINTS, "second", "first");
    let endpoint = definitions(ENDPOINTS, "first", "second");
    for (name, other) in [
        ("same", &same),
        ("one route", &route),
        ("one endpoint", &endpoint),
    ] {
        let router = Router::builder()
            .connect(MemorySinks)
            .definitions(same.clone());
        let router = router.build().expect("valid definitions");
        // There and back, so that each time something changes.
        let mut tables = [other, &same].into_iter().cycle();
        group.bench_function(BenchmarkId::new(name, ENDPOINTS), |bencher| {
            bencher.iter(|| {
                router
                    .apply(tables.next().expect("a cycle"))
                    .expect("valid")
            });
        });
    }
    group.finish();
}

/// Accepts `iterations` batches and lets the lane run after every hundred events or more.
async fn accept_all(router: &Router, events: &[Event], batch: usize, iterations: u64) -> Duration {
    let mut taken = Duration::ZERO;
    let mut batches = events.chunks_exact(batch).cycle();
    let mut left = iterations;
    while left > 0 {
        let round = left.min((BATCH / batch) as u64 * 10);
        left -= round;
        let prepared: Vec<Vec<Event>> = batches
            .by_ref()
            .take(round as usize)
            .map(<[Event]>::to_vec)
            .collect();
        let start = CpuTime::now();
        for (index, events) in prepared.into_iter().enumerate() {
            let accepted = router.accept(None, events, AckLevel::Memory).await;
            assert_eq!(accepted.expect("room").deliveries, batch);
            if ((index + 1) * batch).is_multiple_of(BATCH) {
                tokio::task::yield_now().await;
            }
        }
        router.settled().await;
        taken += CpuTime::now() - start;
    }
    taken
}

fn accept(criterion: &mut CpuCriterion) {
    let mut group = criterion.benchmark_group("accept and deliver to memory");
    let runtime = runtime();
    let _inside = runtime.enter();
    let prefix = |area| format!("STARTS_WITH(subject, 'area-{area:05}/')");
    let router = router(1_000, prefix);
    let events = events(|number| in_area(number, 1_000));
    for batch in [1, BATCH] {
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("1 KiB", batch), |bencher| {
            bencher.iter_custom(|iterations| {
                runtime.block_on(accept_all(&router, &events, batch, iterations))
            });
        });
    }
    let status = router.status();
    let endpoint = &status.instances[0].endpoints[0];
    assert_eq!(endpoint.matched, endpoint.delivered, "{endpoint:?}");
    group.finish();
}

/// Sends a lane's batches to an emulator, which runs on a thread of its own: its time is not counted.
fn send(criterion: &mut CpuCriterion) {
    let mut group = criterion.benchmark_group("send");
    group.sample_size(10);
    group.throughput(Throughput::Elements(LANE_BATCH as u64));
    let (endpoints, received) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let emulator = std::thread::spawn(move || {
        runtime().block_on(async {
            let emulator = start_emulator().await;
            let found = MeasuredSink::ALL.map(|sink| sink.endpoint(&emulator));
            endpoints.send(found).expect("the benchmark waits for them");
            stopped.await.ok();
        });
    });
    let endpoints = received.recv().expect("an emulator");
    let batches = lane_batches();
    for (measured, endpoint) in MeasuredSink::ALL.into_iter().zip(&endpoints) {
        let runtime = runtime();
        let sink = measured.connect(endpoint);
        let mut batches = batches.iter().cycle();
        group.bench_function(BenchmarkId::new(measured.name(), LANE_BATCH), |bencher| {
            bencher.iter(|| {
                let batch = batches.next().expect("a cycle");
                let outcomes = runtime.block_on(sink.send(batch));
                assert_eq!(outcomes, vec![DeliveryOutcome::Delivered; batch.len()]);
            });
        });
        // Its tasks end before its runtime does.
        drop(sink);
    }
    drop(stop);
    emulator.join().expect("the emulator ended");
    group.finish();
}

criterion_group! {
    name = benches;
    config = criterion::Criterion::default().with_measurement(CpuTime);
    targets = parse, encode, filter, table, apply, accept, send
}
criterion_main!(benches);
