//! Does one thing of the hot path so many times, to be counted from outside: see `cargo xtask instructions`.
//!
//! ```text
//! instructions NAME TIMES [timed]
//! ```
//!
//! Its last line has the allocations and the bytes allocated of the whole process, and with `timed` the nanoseconds
//! of processor time, else 0; what set-up takes goes when the figures of two runs are subtracted.
//!
//! What sinks send to is an emulator in a process of its own, which is not counted: `instructions emulator`.

mod path;

use path::PathJournal;
use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use twinroute_benches::sending::{MeasuredSink, lane_batches, start_emulator};
use twinroute_benches::{
    BATCH, LeapingCycle, batch_json, event_json, events, in_area, router, runtime,
};
use twinroute_filter::eval::{EventFields, EventScope};
use twinroute_filter::{FilterOptions, RouteFilter};
use twinroute_model::cloudevents::{amqp, json};
use twinroute_model::event::EventLimits;
use twinroute_model::event_grid_schema;
use twinroute_router::accept::AckLevel;
use twinroute_router::sink::DeliveryOutcome;

/// Counts what is allocated, at about ten instructions each time.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const FILTER: &str =
    "type = 'Microsoft.DigitalTwins.Twin.Update' AND $body.modelId = 'dtmi:contoso:mill:Pump;2'";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    if name == "emulator" {
        return emulate();
    }
    let times = arguments.next().and_then(|times| times.parse().ok());
    let Some(times) = times else {
        eprintln!("usage: instructions NAME TIMES [timed]");
        std::process::exit(2);
    };
    match name.as_str() {
        "parse-one" => parse_one(times),
        "parse-batch" => parse_batch(times),
        "encode-cloudevents" | "encode-event-grid" | "encode-amqp" => encode(&name, times),
        "filter" => filter(times),
        "match-1000-routes" => match_routes(times),
        "accept-one" => accept(1, times),
        "accept-batch" => accept(BATCH, times),
        "path-single-memory" => walk(false, PathJournal::Memory, times),
        "path-batch-memory" => walk(true, PathJournal::Memory, times),
        "path-single-journal" => walk(false, PathJournal::Disk, times),
        "path-batch-journal" => walk(true, PathJournal::Disk, times),
        "path-single-history" => walk(false, PathJournal::History, times),
        "path-batch-history" => walk(true, PathJournal::History, times),
        _ => {
            let Some(sink) = sink(&name) else {
                eprintln!("there is no {name}");
                std::process::exit(2);
            };
            send(sink, times);
        }
    }
    let counted = ALLOCATOR.stats();
    // Valgrind hides what rustix asks the time of, so it is asked only without.
    let used = arguments.next().map_or(0, |_| {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        used.tv_sec * 1_000_000_000 + used.tv_nsec
    });
    println!(
        "{} {} {used}",
        counted.allocations + counted.reallocations,
        counted.bytes_allocated,
    );
}

fn parse_one(times: u64) {
    let limits = EventLimits::default();
    for number in 0..times as usize {
        let text = event_json(number, &in_area(number, 10));
        drop(black_box(json::parse(text.into(), &limits)));
    }
}

fn parse_batch(times: u64) {
    let limits = EventLimits::default();
    let batch = batch_json();
    for _ in 0..times {
        drop(black_box(json::parse_batch(batch.clone(), &limits)));
    }
}

fn encode(name: &str, times: u64) {
    let events = events(|number| in_area(number, 10));
    let batches = events.chunks_exact(BATCH).cycle();
    let envelope = amqp::MessageEnvelope::default();
    let mut out = Vec::new();
    for batch in batches.take(times as usize) {
        out.clear();
        match name {
            "encode-cloudevents" => json::write_batch(batch, &mut out),
            "encode-event-grid" => {
                for event in batch {
                    event_grid_schema::write(event, &mut out);
                }
            }
            _ => {
                for event in batch {
                    amqp::write(event, &envelope, &mut out);
                }
            }
        }
        black_box(&out);
    }
}

fn filter(times: u64) {
    let events = events(|number| in_area(number, 10));
    let filter = RouteFilter::parse(FILTER, &FilterOptions::default()).expect("a valid filter");
    let mut fields = EventFields::new();
    let program = fields.compile(filter.expr());
    let mut events = LeapingCycle::new(&events);
    for _ in 0..times {
        black_box(program.matches(&EventScope::new(&fields, events.next())));
    }
}

fn match_routes(times: u64) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let router = router(1_000, |area| {
        format!("STARTS_WITH(subject, 'area-{area:05}/')")
    });
    let events = events(|number| in_area(number, 1_000));
    let mut events = LeapingCycle::new(&events);
    for _ in 0..times {
        drop(black_box(router.dry_run(None, events.next())));
    }
}

/// Accepts and delivers `times` batches.
fn accept(batch: usize, times: u64) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let router = router(1_000, |area| {
        format!("STARTS_WITH(subject, 'area-{area:05}/')")
    });
    let events = events(|number| in_area(number, 1_000));
    let batches = events.chunks_exact(batch).cycle();
    runtime.block_on(async {
        for (number, events) in batches.take(times as usize).enumerate() {
            let accepted = router.accept(None, events.to_vec(), AckLevel::Memory).await;
            assert!(accepted.is_ok());
            if ((number + 1) * batch).is_multiple_of(BATCH) {
                router.settled().await;
            }
        }
        router.settled().await;
    });
}

fn sink(name: &str) -> Option<MeasuredSink> {
    MeasuredSink::ALL
        .into_iter()
        .find(|sink| sink.name() == name)
}

/// Says where every sink finds its endpoint, a line each, and takes everything until its input ends.
fn emulate() {
    runtime().block_on(async {
        let emulator = start_emulator().await;
        for sink in MeasuredSink::ALL {
            println!("{}", sink.endpoint(&emulator));
        }
        let mut input = tokio::io::stdin();
        let ended = tokio::io::copy(&mut input, &mut tokio::io::sink()).await;
        ended.expect("an input");
    });
}

/// Sends `times` batches of a lane, one after the other.
fn send(sink: MeasuredSink, times: u64) {
    let program = std::env::current_exe().expect("a path of its own");
    let mut emulator = Command::new(program)
        .arg("emulator")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("an emulator");
    let lines = BufReader::new(emulator.stdout.take().expect("a pipe")).lines();
    // All of them: an emulator whose lines nobody takes ends.
    let endpoints: Vec<String> = lines
        .map_while(Result::ok)
        .take(MeasuredSink::ALL.len())
        .collect();
    let mut named = MeasuredSink::ALL.iter().zip(endpoints);
    let endpoint = named.find(|(one, _)| **one == sink);
    let batches = lane_batches();
    runtime().block_on(async {
        let (_, endpoint) = endpoint.expect("the emulator's endpoints");
        let sink = sink.connect(&endpoint);
        for batch in batches.iter().cycle().take(times as usize) {
            let outcomes = sink.send(batch).await;
            let delivered = |outcome: &DeliveryOutcome| *outcome == DeliveryOutcome::Delivered;
            assert!(outcomes.iter().all(delivered), "{outcomes:?}");
        }
    });
    drop(emulator.stdin.take());
    emulator.wait().expect("the emulator ended");
}

/// Posts and delivers so many rounds.
fn walk(is_batch: bool, journal: path::PathJournal, rounds: u64) {
    let mut path = path::WholePath::start(is_batch, journal);
    for _ in 0..rounds {
        path.round();
    }
}
