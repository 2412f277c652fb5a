//! What the journal on disk costs: events a second and CPU time an event, by the number of
//! producers that wait for their own event each.
//!
//! `cargo run --profile dist -p twinroute-retry --example journal_load [folder]`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use twinroute_model::clock::SystemClock;
use twinroute_model::event::{Event, Limits, Parts};
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_retry::journal::storage::Folder;
use twinroute_retry::journal::{Disk, LaneNumber, NewEvent, Settings};
use twinroute_retry::ledger::Fate;

const LASTS: Duration = Duration::from_secs(1);

fn main() {
    let folder = std::env::args().nth(1).map(PathBuf::from);
    let folder = folder.unwrap_or_else(std::env::temp_dir);
    println!("producers  window  events/s  CPU us/event  p50 ms  p99 ms");
    for window in [Duration::ZERO, Duration::from_millis(1)] {
        for producers in [1, 10, 100, 1_000] {
            let folder = folder.join(format!("journal-load-{}", std::process::id()));
            run(&folder, producers, window);
            std::fs::remove_dir_all(&folder).expect("the folder is ours");
        }
    }
}

/// Each producer appends one event, waits for it, has it settled, and goes on.
fn run(folder: &std::path::Path, producers: usize, commit_window: Duration) {
    let settings = Settings {
        commit_window,
        ..Settings::default()
    };
    let storage = Arc::new(Folder::create(folder).expect("a folder"));
    let (disk, _) = Disk::open(settings, storage, Arc::new(SystemClock)).expect("a journal");
    let instance = InstanceName::new("default").expect("a name");
    let lane = disk.bind(&instance, &EndpointName::new("hub").expect("a name"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let event = event();
    let done = Arc::new(AtomicU64::new(0));
    let (begun, cpu) = (Instant::now(), cpu_time());
    let mut waits: Vec<Duration> = runtime.block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..producers {
            let (disk, event, done) = (disk.clone(), event.clone(), Arc::clone(&done));
            tasks.push(tokio::spawn(produce(disk, event, lane, begun, done)));
        }
        let mut waits = Vec::new();
        for task in tasks {
            waits.extend(task.await.expect("a producer"));
        }
        waits
    });
    let (passed, cpu) = (begun.elapsed(), cpu_time() - cpu);
    waits.sort_unstable();
    let events = done.load(Ordering::Relaxed) as f64;
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{producers:>9}  {:>6}  {:>8.0}  {:>12.2}  {:>6.2}  {:>6.2}",
        format!("{commit_window:?}"),
        events / passed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / events,
        at(0.5),
        at(0.99)
    );
    disk.close().expect("closed in order");
}

async fn produce(
    disk: Disk,
    event: Event,
    lane: LaneNumber,
    begun: Instant,
    done: Arc<AtomicU64>,
) -> Vec<Duration> {
    let mut waits = Vec::new();
    while begun.elapsed() < LASTS {
        let start = Instant::now();
        let appended = disk
            .append(vec![NewEvent {
                event: event.clone(),
                twin: 7,
                lanes: vec![lane],
            }])
            .expect("room");
        appended.durable.await.expect("a sync");
        waits.push(start.elapsed());
        disk.settle(lane, &[(appended.entries[0].sequence, Fate::Delivered)]);
        done.fetch_add(1, Ordering::Relaxed);
    }
    waits
}

fn event() -> Event {
    let parts = Parts::new("0f8fad5b-d9cb-469f-a165-70867728950e", "twins/hall-1", "t");
    let data = format!(r#"{{"text":"{}"}}"#, "x".repeat(900));
    parts
        .json(&data)
        .build(&Limits::default())
        .expect("an event")
}

/// CPU time of this process, user and system (`/proc/self/stat`, fields 14 and 15; 100 ticks a
/// second).
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: u64 = fields.skip(11).take(2).flat_map(str::parse::<u64>).sum();
    Duration::from_millis(ticks * 10)
}
