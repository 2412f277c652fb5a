//! What searching the history costs, and what it costs those who append meanwhile.
//!
//! `cargo run --release -p twinroute-journal --example history_load [FOLDER]`
//!
//! It makes 1 GiB of history, of events of 1 KiB for 10,000 twins, and searches it with one thread: for an id that is
//! nowhere, for a twin, for everything since the last 1 % of it; then it appends a thousand events a second, with and
//! without a search beside.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use twinroute_journal::history::{HistoryCursor, HistoryEvent, HistoryReader, HistorySelection};
use twinroute_journal::ledger::DeliverySettlement;
use twinroute_journal::storage::FolderStorage;
use twinroute_journal::{DiskJournal, JournalSettings, LaneId, NewEvent};
use twinroute_model::clock::SystemClock;
use twinroute_model::event::{Event, EventLimits, EventParts};
use twinroute_model::name::{EndpointName, InstanceName};

const HISTORY_BYTES: u64 = 1 << 30;
const BATCH: u64 = 1_000;
const TWINS: u64 = 10_000;
const LASTS: Duration = Duration::from_secs(5);

fn main() {
    let folder = std::env::args().nth(1).map(PathBuf::from);
    let folder = folder.unwrap_or_else(std::env::temp_dir);
    let folder = folder.join(format!("history-load-{}", std::process::id()));
    let (disk, lane) = filled(&folder);
    let reader = disk.history();
    for (what, texts) in [
        ("an id that is nowhere", vec!["no-such-id".to_owned()]),
        ("a twin", vec!["twin-4711\"".to_owned()]),
        ("everything", Vec::new()),
    ] {
        let selection = HistorySelection {
            texts,
            ..HistorySelection::default()
        };
        for round in ["first", "again"] {
            let (begun, cpu) = (Instant::now(), thread_cpu_time());
            let found = search(&reader, &selection);
            println!(
                "{what}, {round}: {found} events in {:.2?}, CPU {:.2?}",
                begun.elapsed(),
                thread_cpu_time() - cpu
            );
        }
    }
    for is_searched in [false, true, false, true] {
        beside(&disk, lane, is_searched);
    }
    disk.close().expect("closed in order");
    drop(std::fs::remove_dir_all(&folder));
}

/// A journal with a history.
fn filled(folder: &Path) -> (DiskJournal, LaneId) {
    let settings = JournalSettings {
        keep_bytes: 2 * HISTORY_BYTES,
        ..JournalSettings::default()
    };
    let storage = Arc::new(FolderStorage::create(folder).expect("a folder"));
    let opened = DiskJournal::open(settings, storage, Arc::new(SystemClock));
    let (disk, _) = opened.expect("a journal");
    let instance = InstanceName::new("default").expect("a name");
    let lane = disk.bind(&instance, &EndpointName::new("hub").expect("a name"));
    let mut id = 0;
    while disk.usage().history_bytes < HISTORY_BYTES {
        let events = (id..id + BATCH).map(|id| new(id, lane));
        deliver(&disk, lane, events.collect());
        id += BATCH;
    }
    println!(
        "{id} events, {} bytes of history",
        disk.usage().history_bytes
    );
    (disk, lane)
}

fn deliver(disk: &DiskJournal, lane: LaneId, events: Vec<NewEvent>) {
    let appended = disk.append(events).expect("room");
    let sequences = appended.entries.iter().map(|entry| entry.sequence);
    let settled = sequences.map(|sequence| (sequence, DeliverySettlement::Delivered));
    let settled: Vec<_> = settled.collect();
    appended.durable.wait().expect("a sync");
    disk.settle(lane, &settled);
}

/// Searches all of it; gives how many events were found.
fn search(reader: &HistoryReader, selection: &HistorySelection) -> u64 {
    let (mut after, mut found) = (HistoryCursor::default(), 0);
    loop {
        let mut wants = |_: &HistoryEvent| {
            found += 1;
            // None is kept: what counts is finding them.
            false
        };
        let page = reader.page(selection, &mut wants, after, 1_000);
        let page = page.expect("a folder that can be read");
        after = page.next;
        if page.at_end {
            return found;
        }
    }
}

/// A thousand events a second, each appended alone, with or without a search beside.
fn beside(disk: &DiskJournal, lane: LaneId, is_searched: bool) {
    let is_over = AtomicBool::new(false);
    let mut waits = Vec::new();
    let (_never, pause) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let selection = HistorySelection {
                texts: vec!["no-such-id".to_owned()],
                ..HistorySelection::default()
            };
            while is_searched && !is_over.load(Ordering::Relaxed) {
                search(&disk.history(), &selection);
            }
        });
        let begun = Instant::now();
        while begun.elapsed() < LASTS {
            let start = Instant::now();
            deliver(disk, lane, vec![new(0, lane)]);
            waits.push(start.elapsed());
            let left = Duration::from_millis(1).saturating_sub(start.elapsed());
            let _paused = pause.recv_timeout(left);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "appends {} a search: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        if is_searched { "beside" } else { "without" },
        waits.len() as f64 / LASTS.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn new(id: u64, lane: LaneId) -> NewEvent {
    NewEvent {
        event: event(id),
        twin: id % TWINS,
        lanes: vec![lane],
    }
}

/// 1 KiB of CloudEvents JSON.
fn event(id: u64) -> Event {
    let name = format!("0f8fad5b-d9cb-469f-a165-{id:012}");
    let data = format!(r#"{{"text":"{}"}}"#, "x".repeat(850));
    EventParts::new(&name, "plant.api.weu.digitaltwins.azure.net", "Moved")
        .set("subject", &format!("twin-{}", id % TWINS))
        .expect("a subject")
        .json(&data)
        .build(&EventLimits::default())
        .expect("an event")
}

fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
