//! What ten taps cost an event on its way: the processor time of the router's thread without and with them, in turns.
//!
//! `cargo run --release -p twinroute-benches --example taps [PAIRS]`

#[path = "../instructions/path.rs"]
mod path;

use path::{PathJournal, WholePath};
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use twinroute_benches::BATCH;
use twinroute_router::tap::{EventTap, TapRequest};

/// Taps that are open at a time.
const TAPS: usize = 10;
/// How long each half of a pair goes on: taps count by the second.
const HALF: Duration = Duration::from_secs(2);
/// Pairs unless it is said otherwise.
const PAIRS: usize = 10;

fn main() {
    let pairs = std::env::args().nth(1).and_then(|word| word.parse().ok());
    let pairs = pairs.unwrap_or(PAIRS);
    println!(
        "{:<16} {:>14} {:>14} {:>9} {:>9}",
        "", "without, ns", "ten taps, ns", "more, %", "from, to"
    );
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
        let mut found: Vec<(f64, f64)> = (0..pairs).map(|pair| measure(&mut path, pair)).collect();
        found.sort_by(|left, right| more(*left).total_cmp(&more(*right)));
        let (without, with) = found[found.len() / 2];
        let last = found[found.len() - 1];
        println!(
            "{name:<16} {without:>14.0} {with:>14.0} {:>9.1} {:>4.1},{:>5.1}",
            more((without, with)),
            more(found[0]),
            more(last),
        );
    }
}

/// How much more, in percent.
fn more((without, with): (f64, f64)) -> f64 {
    (with / without - 1.0) * 100.0
}

/// Nanoseconds for an event, without and with taps; which of them is first changes.
fn measure(path: &mut WholePath, pair: usize) -> (f64, f64) {
    if pair.is_multiple_of(2) {
        let without = half(path);
        (without, tapped(path))
    } else {
        let with = tapped(path);
        (half(path), with)
    }
}

fn tapped(path: &mut WholePath) -> f64 {
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

/// Nanoseconds of the router's thread for an event.
fn half(path: &mut WholePath) -> f64 {
    let (begun, used) = (Instant::now(), used(path));
    let mut events = 0;
    while begun.elapsed() < HALF {
        path.round();
        events += BATCH;
    }
    let used = crate::used(path) - used;
    used.as_nanos() as f64 / events as f64
}

/// Processor time of the thread that the runtime has.
fn used(path: &WholePath) -> Duration {
    let asked = path
        .runtime
        .spawn(async { clock_gettime(ClockId::ThreadCPUTime) });
    let used = path.runtime.block_on(asked).expect("the runtime runs");
    Duration::try_from(used).expect("time used is not negative")
}
