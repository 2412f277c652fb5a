//! A journal that an earlier version wrote still opens. The file is never made anew: a changed layout is
//! a new version with a file of its own.

use std::path::Path;
use std::sync::Arc;
use twinroute_model::clock::{ManualClock, Timestamp};
use twinroute_model::twin::TwinKey;
use twinroute_retry::journal::storage::{Folder, Storage};
use twinroute_retry::journal::{Disk, Settings, dump, verify};

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
    let storage: Arc<dyn Storage> = Arc::new(Folder::create(folder.path()).unwrap());
    let settings = Settings {
        segment_bytes: 1 << 16,
        ..Settings::default()
    };
    let (disk, recovered) = Disk::open(settings, storage, clock).unwrap();
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
    assert!(verify(folder.path()).unwrap().is_whole());
    assert!(verify(&folder.path().join("nowhere")).is_err());
}
