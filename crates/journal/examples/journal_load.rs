//! What the journal on disk costs.
//!
//! `cargo run --profile dist -p twinroute-journal --example journal_load WHAT [FOLDER [PRODUCERS]]`
//!
//! - `producers`: events a second and CPU time an event, by the number of producers that each wait
//!   for their own event. What the producers need themselves is measured with a stand-in that
//!   answers at once from another thread, and taken off.
//! - `rate`: how long an acknowledgement takes at 2,000 events a second.
//! - `sealed`: events a second and CPU time an event by its size, in the clear and sealed, with 100 events a batch.
//! - `reopen`: how long a journal of 1 GiB with a million queued deliveries takes to open, and what
//!   memory it takes then, in a process of its own each.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use twinroute_journal::ledger::DeliverySettlement;
use twinroute_journal::storage::FolderStorage;
use twinroute_journal::{
    DiskJournal, EventSealing, JournalSettings, LaneId, NewEvent, RecoveredJournal,
};
use twinroute_model::clock::SystemClock;
use twinroute_model::event::{Event, EventLimits, EventParts};
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::seal::SealKey;

const LASTS: Duration = Duration::from_secs(4);

fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    let folder = std::env::args().nth(2).map(PathBuf::from);
    let folder = folder.unwrap_or_else(std::env::temp_dir);
    let folder = folder.join(format!("journal-load-{}", std::process::id()));
    match &*what {
        "producers" => {
            let only = std::env::args()
                .nth(3)
                .and_then(|number| number.parse().ok());
            let numbers = only.map_or(vec![1, 10, 100, 256, 1_000], |number| vec![number]);
            producers(&folder, &numbers);
        }
        "sealed" => sealed(&folder),
        "rate" => rate(&folder),
        "reopen" => reopen(&folder),
        "open" => {
            time_to_open(std::env::args().nth(2).expect("a folder").as_ref());
            return;
        }
        _ => println!("say what: producers, sealed, rate or reopen"),
    }
    drop(std::fs::remove_dir_all(&folder));
}

fn open(folder: &Path, settings: JournalSettings) -> (DiskJournal, RecoveredJournal) {
    let storage = Arc::new(FolderStorage::create(folder).expect("a folder"));
    DiskJournal::open(settings, storage, Arc::new(SystemClock)).expect("a journal")
}

fn lane(disk: &DiskJournal) -> LaneId {
    let instance = InstanceName::new("default").expect("a name");
    disk.bind(&instance, &EndpointName::new("hub").expect("a name"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

fn new(event: &Event, lane: LaneId) -> NewEvent {
    NewEvent {
        event: event.clone(),
        twin: 7,
        lanes: vec![lane],
    }
}

fn producers(folder: &Path, numbers: &[usize]) {
    println!("producers  events/s  CPU us/event (user)  of it producers  p50 ms  p99 ms  max ms");
    for producers in numbers.iter().copied() {
        let (own, _) = measure(producers, stand_in());
        let (disk, _) = open(folder, JournalSettings::default());
        let lane = lane(&disk);
        let (all, mut waits) = measure(producers, Target::Disk(disk.clone(), lane));
        waits.sort_unstable();
        println!(
            "{producers:>9}  {:>8.0}  {:>12.2} ({:.2})  {:>15.2}  {:>6.2}  {:>6.2}  {:>6.2}",
            waits.len() as f64 / LASTS.as_secs_f64(),
            all.total,
            all.user,
            own.total,
            at(&waits, 0.5),
            at(&waits, 0.99),
            at(&waits, 1.0),
        );
        disk.close().expect("closed in order");
        drop(disk);
        std::fs::remove_dir_all(folder).expect("the folder is ours");
    }
}

/// CPU time of one event in microseconds.
struct Cost {
    total: f64,
    user: f64,
}

/// Who takes the events.
#[derive(Clone)]
enum Target {
    Disk(DiskJournal, LaneId),
    StandIn(mpsc::Sender<oneshot::Sender<()>>),
}

/// Answers whatever has come, as fast as a disk that needs half a millisecond a group.
fn stand_in() -> Target {
    let (sender, receiver) = mpsc::channel::<oneshot::Sender<()>>();
    std::thread::spawn(move || {
        let (_never, pause) = mpsc::channel::<()>();
        while let Ok(first) = receiver.recv() {
            let _paused = pause.recv_timeout(Duration::from_micros(500));
            for waiter in std::iter::once(first).chain(receiver.try_iter()) {
                waiter.send(()).expect("a producer");
            }
        }
    });
    Target::StandIn(sender)
}

/// Each producer appends one event, waits for it, has it settled, and goes on. CPU time an event,
/// in microseconds, of all threads; and how long each waited.
fn measure(producers: usize, target: Target) -> (Cost, Vec<Duration>) {
    let event = event(0);
    let (begun, cpu, user) = (Instant::now(), cpu_time(), user_time());
    let waits: Vec<Duration> = runtime().block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..producers {
            tasks.push(tokio::spawn(produce(target.clone(), event.clone(), begun)));
        }
        let mut waits = Vec::new();
        for task in tasks {
            waits.extend(task.await.expect("a producer"));
        }
        waits
    });
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / waits.len() as f64;
    let cost = Cost {
        total: each(cpu_time() - cpu),
        user: each(user_time() - user),
    };
    (cost, waits)
}

async fn produce(target: Target, event: Event, begun: Instant) -> Vec<Duration> {
    let mut waits = Vec::new();
    while begun.elapsed() < LASTS {
        let start = Instant::now();
        match &target {
            Target::Disk(disk, lane) => {
                let appended = disk.append(vec![new(&event, *lane)]).expect("room");
                let sequence = appended.entries[0].sequence;
                appended.durable.await.expect("a sync");
                disk.settle(*lane, &[(sequence, DeliverySettlement::Delivered)]);
            }
            Target::StandIn(sender) => {
                let (waiter, ticket) = oneshot::channel();
                // The producer makes the event, whoever takes it.
                let made = vec![new(&event, LaneId(1))];
                sender.send(waiter).expect("a thread");
                ticket.await.expect("an answer");
                drop(made);
            }
        }
        waits.push(start.elapsed());
    }
    waits
}

fn sealed(folder: &Path) {
    println!("data bytes  sealed  events/s  CPU us/event");
    let key = SealKey::new(&[7; 32]);
    for bytes in [200, 1_000, 64_000] {
        for round in 0..4 {
            let sealing = match round % 2 {
                0 => EventSealing::Off,
                _ => EventSealing::Seal(Box::new(key.clone())),
            };
            let storage = Arc::new(FolderStorage::create(folder).expect("a folder"));
            let (settings, clock) = (JournalSettings::default(), Arc::new(SystemClock));
            let opened = DiskJournal::open_sealed(settings, storage, clock, &sealing);
            let (disk, _) = opened.expect("a journal");
            let lane = lane(&disk);
            let event = sized(0, bytes);
            let (begun, cpu, mut events) = (Instant::now(), cpu_time(), 0_u64);
            while begun.elapsed() < LASTS {
                let batch: Vec<_> = (0..100).map(|_| new(&event, lane)).collect();
                let appended = disk.append(batch).expect("room");
                let entries = appended.entries.iter();
                let settlements =
                    entries.map(|entry| (entry.sequence, DeliverySettlement::Delivered));
                let settlements: Vec<_> = settlements.collect();
                appended.durable.wait().expect("a sync");
                disk.settle(lane, &settlements);
                events += 100;
            }
            println!(
                "{bytes:>10}  {:>6}  {:>8.0}  {:>12.2}",
                round % 2 == 1,
                events as f64 / begun.elapsed().as_secs_f64(),
                (cpu_time() - cpu).as_secs_f64() * 1e6 / events as f64,
            );
            disk.close().expect("closed in order");
            drop(disk);
            std::fs::remove_dir_all(folder).expect("the folder is ours");
        }
    }
}

fn rate(folder: &Path) {
    let (disk, _) = open(folder, JournalSettings::default());
    let lane = lane(&disk);
    let event = event(0);
    let (begun, cpu) = (Instant::now(), cpu_time());
    let mut waits = runtime().block_on(async {
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        let mut tasks = Vec::new();
        while begun.elapsed() < LASTS {
            tick.tick().await;
            for _ in 0..2 {
                let (disk, event) = (disk.clone(), event.clone());
                tasks.push(tokio::spawn(async move {
                    let start = Instant::now();
                    let appended = disk.append(vec![new(&event, lane)]).expect("room");
                    let sequence = appended.entries[0].sequence;
                    appended.durable.await.expect("a sync");
                    disk.settle(lane, &[(sequence, DeliverySettlement::Delivered)]);
                    start.elapsed()
                }));
            }
        }
        let mut waits = Vec::new();
        for task in tasks {
            waits.push(task.await.expect("a producer"));
        }
        waits
    });
    waits.sort_unstable();
    println!(
        "{:.0} events/s: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms, CPU {:.2} us/event",
        waits.len() as f64 / begun.elapsed().as_secs_f64(),
        at(&waits, 0.5),
        at(&waits, 0.99),
        at(&waits, 1.0),
        (cpu_time() - cpu).as_secs_f64() * 1e6 / waits.len() as f64
    );
    disk.close().expect("closed in order");
}

fn reopen(folder: &Path) {
    const EVENTS: u64 = 1_000_000;
    let settings = JournalSettings {
        bytes_max: 4 << 30,
        ..JournalSettings::default()
    };
    let (disk, _) = open(folder, settings);
    let lane = lane(&disk);
    for first in (0..EVENTS).step_by(5_000) {
        let batch = (first..first + 5_000).map(|id| new(&event(id), lane));
        let appended = disk.append(batch.collect()).expect("room");
        appended.durable.wait().expect("a sync");
    }
    println!("{} bytes on disk", disk.usage().disk_bytes);
    disk.close().expect("closed in order");
    drop(disk);
    for cache in ["cold", "warm"] {
        if cache == "cold" && std::fs::write("/proc/sys/vm/drop_caches", "3").is_err() {
            println!("the cache cannot be dropped");
            continue;
        }
        println!("{cache}:");
        let program = std::env::current_exe().expect("a program");
        let opened = std::process::Command::new(program)
            .arg("open")
            .arg(folder)
            .status();
        assert!(opened.is_ok_and(|status| status.success()));
    }
}

/// Opens a journal once.
fn time_to_open(folder: &Path) {
    let (before, begun) = (resident(), Instant::now());
    let settings = JournalSettings {
        bytes_max: 4 << 30,
        ..JournalSettings::default()
    };
    let (disk, recovered) = open(folder, settings);
    let took = begun.elapsed();
    let events = recovered.lanes[0].pending.len() as u64;
    let with = resident() - before;
    drop(recovered);
    println!(
        "{events} events in {took:.2?}, CPU {:.2?}; {} bytes each with what was recovered, {} without",
        cpu_time(),
        with / events,
        (resident() - before) / events
    );
    disk.close().expect("closed in order");
}

fn at(waits: &[Duration], share: f64) -> f64 {
    waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
}

/// 1 KiB of CloudEvents JSON.
fn event(id: u64) -> Event {
    sized(id, 890)
}

/// An event with so many bytes of data.
fn sized(id: u64, bytes: usize) -> Event {
    let id = format!("0f8fad5b-d9cb-469f-a165-{id:012}");
    let parts = EventParts::new(&id, "twins/hall-1", "t");
    let data = format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes));
    parts
        .json(&data)
        .build(&EventLimits::default())
        .expect("an event")
}

/// CPU time of this process, user and system (`/proc/self/stat`, fields 14 and 15; 100 ticks a
/// second).
fn cpu_time() -> Duration {
    ticks(2)
}

fn user_time() -> Duration {
    ticks(1)
}

fn ticks(fields_summed: usize) -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: u64 = fields
        .skip(11)
        .take(fields_summed)
        .flat_map(str::parse::<u64>)
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Bytes in memory (`/proc/self/statm`, field 2; pages of 4 KiB).
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|field| field.parse().ok());
    pages.unwrap_or(0_u64) * 4_096
}
