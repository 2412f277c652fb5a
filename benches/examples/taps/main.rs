//! What ten taps cost an event on its way: processor time without and with them, in turns.
//!
//! `cargo run --release -p twinroute-benches --example taps [PAIRS]`
//!
//! The machine may have other work to do: time that passes is not compared. Each pair has one half with taps and one without,
//! one after the other, and gives a ratio; the median of the ratios is judged. The process has the producer in it too, so
//! the thread of the router alone is shown beside it.

#[path = "../instructions/path.rs"]
mod path;

use path::{PathJournal, WholePath};
use rustix::time::{ClockId, clock_gettime};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use twinroute_benches::BATCH;
use twinroute_router::tap::{EventTap, TapRequest};

/// Taps that are open at a time.
const TAPS: usize = 10;
/// How long each half of a pair is measured: short, so that what else the machine does meets both.
const HALF: Duration = Duration::from_millis(400);
/// How long it goes on before that: the burst that taps may look at after a while without any is over then.
const BEFORE: Duration = Duration::from_millis(100);
/// Pairs unless it is said otherwise.
const PAIRS: usize = 40;
/// The most that they may cost, in percent of what the process uses.
const MORE_MAX: f64 = 3.0;

fn main() -> ExitCode {
    let pairs = std::env::args().nth(1).and_then(|word| word.parse().ok());
    let pairs = pairs.unwrap_or(PAIRS);
    println!(
        "{:<16} {:>12} {:>13} {:>8} {:>13} {:>10}",
        "", "without, ns", "ten taps, ns", "more, %", "from, to", "router, %"
    );
    let mut worst = f64::MIN;
    for (name, is_batch, journal) in [
        ("single-memory", false, PathJournal::Memory),
        ("batch-memory", true, PathJournal::Memory),
        ("single-journal", false, PathJournal::Disk),
        ("batch-history", true, PathJournal::History),
    ] {
        let mut path = WholePath::start(is_batch, journal);
        for _ in 0..100 {
            path.round();
        }
        let found: Vec<TapPair> = (0..pairs).map(|pair| measure(&mut path, pair)).collect();
        let process = sorted(found.iter().map(|pair| more(pair, |cost| cost.process)));
        let router = sorted(found.iter().map(|pair| more(pair, |cost| cost.router)));
        let without = sorted(found.iter().map(|pair| pair.without.process));
        let with = sorted(found.iter().map(|pair| pair.with.process));
        println!(
            "{name:<16} {:>12.0} {:>13.0} {:>8.1} {:>6.1},{:>6.1} {:>10.1}",
            median(&without),
            median(&with),
            median(&process),
            process[0],
            process[process.len() - 1],
            median(&router),
        );
        worst = worst.max(median(&process));
    }
    println!("at most {worst:.1} % more, of {MORE_MAX} % that it may be");
    match worst <= MORE_MAX {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Nanoseconds of the processor for an event.
#[derive(Clone, Copy)]
struct EventCost {
    /// Of all threads.
    process: f64,
    /// Of the thread that the router's runtime has.
    router: f64,
}

struct TapPair {
    without: EventCost,
    with: EventCost,
}

/// How much more, in percent.
fn more(pair: &TapPair, of: impl Fn(EventCost) -> f64) -> f64 {
    (of(pair.with) / of(pair.without) - 1.0) * 100.0
}

fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len().is_multiple_of(2) {
        true => (sorted[middle - 1] + sorted[middle]) / 2.0,
        false => sorted[middle],
    }
}

/// Both halves; which of them is first changes.
fn measure(path: &mut WholePath, pair: usize) -> TapPair {
    if pair.is_multiple_of(2) {
        let without = half(path);
        let with = tapped(path);
        TapPair { without, with }
    } else {
        let with = tapped(path);
        let without = half(path);
        TapPair { without, with }
    }
}

fn tapped(path: &mut WholePath) -> EventCost {
    let watchers: Vec<JoinHandle<()>> = (0..TAPS).map(|number| watch(path, number)).collect();
    let cost = half(path);
    watchers.iter().for_each(JoinHandle::abort);
    for watcher in watchers {
        drop(path.runtime.block_on(watcher));
    }
    cost
}

/// Half of them show all that they may, bodies too for one; the others compare each event and show none.
fn watch(path: &WholePath, number: usize) -> JoinHandle<()> {
    let request = TapRequest {
        filter: match number.is_multiple_of(2) {
            true => String::new(),
            false => "$body.modelId = 'dtmi:contoso:mill:None;1'".to_owned(),
        },
        body: if number == 0 {
            "true".to_owned()
        } else {
            String::new()
        },
        ..TapRequest::default()
    };
    let selection = request.parse().expect("a legal selection");
    let mut tap: EventTap = path.router.tap(selection).expect("there is room for it");
    path.runtime
        .spawn(async move { while tap.next().await.is_some() {} })
}

/// What an event costs.
fn half(path: &mut WholePath) -> EventCost {
    rounds(path, BEFORE);
    let before = used(path);
    let events = rounds(path, HALF);
    let after = used(path);
    EventCost {
        process: (after.process - before.process) / events as f64,
        router: (after.router - before.router) / events as f64,
    }
}

/// Sends events for so long; gives how many.
fn rounds(path: &mut WholePath, time: Duration) -> usize {
    let begun = Instant::now();
    let mut events = 0;
    while begun.elapsed() < time {
        path.round();
        events += BATCH;
    }
    events
}

/// Processor time used so far, in nanoseconds.
fn used(path: &WholePath) -> EventCost {
    let read = |clock| {
        let time = Duration::try_from(clock_gettime(clock)).expect("time used is not negative");
        time.as_nanos() as f64
    };
    let asked = path
        .runtime
        .spawn(async move { read(ClockId::ThreadCPUTime) });
    EventCost {
        process: read(ClockId::ProcessCPUTime),
        router: path.runtime.block_on(asked).expect("the runtime runs"),
    }
}
