//! A journal that an earlier version wrote still opens. The file is never written again: a changed layout is
//! a new version with a file of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use twinroute_journal::history::{
    HistoryCursor, HistoryEvent, HistoryReader, HistorySelection, HistoryState,
};
use twinroute_journal::ledger::{DeliverySettlement, DiscardReason};
use twinroute_journal::storage::{FolderStorage, Storage};
use twinroute_journal::{
    DiskJournal, EventSealing, FailedSendFault, JournalSettings, dump, verify,
};
use twinroute_model::clock::{ManualClock, Timestamp};
use twinroute_model::dead_letter::DeadLetterReason;
use twinroute_model::seal::SealKey;
use twinroute_model::twin::TwinKey;

const SEGMENT: &str = "0000000000000001.seg";

fn golden() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/version-1.seg");
    std::fs::copy(data, folder.path().join(SEGMENT)).expect("a copy");
    folder
}

/// The files of a folder of data.
fn copy_of(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for entry in std::fs::read_dir(data.join(name)).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, folder.path().join(from.file_name().unwrap())).unwrap();
    }
    folder
}

#[test]
fn version_1_opens() {
    let folder = golden();
    let clock = Arc::new(ManualClock::new(Timestamp::from_unix_millis(2_000)));
    let storage: Arc<dyn Storage> = Arc::new(FolderStorage::create(folder.path()).unwrap());
    let settings = JournalSettings {
        segment_bytes: 1 << 16,
        ..JournalSettings::default()
    };
    let (disk, recovered) = DiskJournal::open(settings, storage, clock).unwrap();
    assert!(recovered.report.closed);
    assert!(recovered.report.is_whole());
    assert_eq!(recovered.next_sequence, 4);
    let [hub, topic] = &recovered.lanes[..] else {
        panic!("{:?}", recovered.lanes);
    };
    let (instance, endpoint) = hub.name.as_ref().unwrap();
    assert_eq!((instance.as_str(), endpoint.as_str()), ("default", "Hub"));
    let pending: Vec<_> = hub.pending.iter().map(|one| one.sequence).collect();
    assert_eq!(pending, [2, 3]);
    assert_eq!((hub.ledger.matched, hub.ledger.delivered), (3, 1));
    assert_eq!(hub.pending[0].attempts, 2);
    assert_eq!(
        hub.pending[0].due,
        Some(Timestamp::from_unix_millis(11_000))
    );
    let event = disk.read(&[3]).remove(0).unwrap();
    assert_eq!(event.id(), "event-3");
    // Its record does not hold the twin.
    assert_eq!(hub.pending[1].twin, TwinKey::of(&event).stable_hash());
    assert_eq!(topic.ledger.settled(), 1);
    assert!(topic.pending.is_empty());
}

#[test]
fn version_1_is_shown() {
    let folder = golden();
    let mut text = Vec::new();
    dump(folder.path(), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    expect_test::expect_file!["data/version-1.txt"].assert_eq(&text);
    assert!(
        verify(folder.path(), &EventSealing::Off)
            .unwrap()
            .is_whole()
    );
    assert!(verify(&folder.path().join("nowhere"), &EventSealing::Off).is_err());
}

/// Two segments with the kinds of records that came later in version 1: events with their twins,
/// copies, replays, dead letters, lane states, counts of replays.
#[test]
fn later_kinds_of_version_1_open() {
    let folder = copy_of("version-1-later");
    let mut text = Vec::new();
    dump(folder.path(), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    expect_test::expect_file!["data/version-1-later.txt"].assert_eq(&text);

    let clock = Arc::new(ManualClock::new(Timestamp::from_unix_millis(2_000)));
    let storage: Arc<dyn Storage> = Arc::new(FolderStorage::create(folder.path()).unwrap());
    let (disk, recovered) = DiskJournal::open(JournalSettings::default(), storage, clock).unwrap();
    assert!(recovered.report.closed && recovered.report.is_whole());
    let [hub, topic] = &recovered.lanes[..] else {
        panic!("{:?}", recovered.lanes);
    };
    assert!(hub.state.paused);
    assert_eq!(hub.state.still, Duration::from_millis(2_500));
    let ledger = hub.ledger;
    assert_eq!((ledger.replayed, ledger.dead_replayed), (1, 1));
    let pending: Vec<_> = hub.pending.iter().map(|one| one.sequence).collect();
    assert_eq!(pending, [1, 2, 30]);
    let letter = hub.pending[0].dead.as_ref().unwrap();
    assert_eq!(
        (letter.reason, &*letter.outcome),
        (DeadLetterReason::Exhausted, "503: busy")
    );
    assert_eq!((hub.pending[1].attempts, hub.pending[1].twin), (3, 2));
    assert_eq!(disk.read(&[30]).remove(0).unwrap().id(), "event-3");
    assert_eq!(topic.ledger.delivered, 27);
}

/// What only the history reads: times, origins, tables, failures, events without a route. The first segment is history, the
/// second one is sealed.
#[test]
fn history_kinds_of_version_1_are_shown_and_searched() {
    let folder = copy_of("version-1-history");
    let mut text = Vec::new();
    dump(folder.path(), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    expect_test::expect_file!["data/version-1-history.txt"].assert_eq(&text);
    for kind in ["clock ", "origin ", "table ", "failed ", "unmatched "] {
        assert!(text.contains(kind), "{kind}");
    }

    let sealing = EventSealing::Open(Box::new(SealKey::new(&[7; 32])));
    let reader = HistoryReader::open(folder.path(), &sealing).unwrap();
    let (selection, start) = (HistorySelection::default(), HistoryCursor::default());
    let page = reader.page(&selection, &mut |_| true, start, 100).unwrap();
    let found = |event: &HistoryEvent| {
        let states = event.deliveries.iter().map(|one| one.state.clone());
        (
            event.event.id().to_owned(),
            event.sequence,
            states.collect(),
        )
    };
    let found: Vec<(String, Option<u64>, Vec<HistoryState>)> =
        page.events.iter().map(found).collect();
    let delivered = HistoryState::Settled(DeliverySettlement::Delivered, None);
    let purged = DeliverySettlement::Discarded(DiscardReason::Purged);
    let expect = [
        ("a", Some(1), vec![delivered.clone()]),
        ("b", Some(2), vec![HistoryState::Settled(purged, None)]),
        ("lost", None, vec![]),
        ("c", Some(3), vec![delivered]),
        ("d", Some(4), vec![HistoryState::Queued]),
        ("nowhere", None, vec![]),
    ];
    assert_eq!(
        found,
        expect.map(|(id, sequence, states)| (id.to_owned(), sequence, states))
    );
    for (event, address) in page
        .events
        .iter()
        .zip([["192.0.2.1"; 3], ["2001:db8::7"; 3]].concat())
    {
        assert_eq!(
            (event.generation, event.caller.as_deref()),
            (3, Some("press-7"))
        );
        assert_eq!(event.address.unwrap().to_string(), address);
        assert_eq!(event.table.as_deref(), Some(&b"{\"generation\":3}"[..]));
    }
    let attempts = &page.events[1].deliveries[0].attempts;
    let attempts: Vec<_> = attempts
        .iter()
        .map(|one| (one.fault, one.outcome.as_str()))
        .collect();
    assert_eq!(
        attempts,
        [
            (FailedSendFault::Endpoint, "503: busy"),
            (FailedSendFault::Event, "400: too large")
        ]
    );
}
