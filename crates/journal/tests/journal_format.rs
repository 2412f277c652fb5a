//! A journal that an earlier version wrote still opens. The file is never written again: a changed layout is
//! a new version with a file of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use twinroute_journal::storage::{FolderStorage, Storage};
use twinroute_journal::{DiskJournal, EventSealing, JournalSettings, dump, verify};
use twinroute_model::clock::{ManualClock, Timestamp};
use twinroute_model::dead_letter::DeadLetterReason;
use twinroute_model::twin::TwinKey;

const SEGMENT: &str = "0000000000000001.seg";

fn golden() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/version-1.seg");
    std::fs::copy(data, folder.path().join(SEGMENT)).expect("a copy");
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
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/version-1-later");
    for entry in std::fs::read_dir(data).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, folder.path().join(from.file_name().unwrap())).unwrap();
    }
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
