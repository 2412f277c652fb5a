//! The journal on real file systems: full, read only, of a newer version, and with many lanes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use twinroute_journal::ledger::DeliverySettlement;
use twinroute_journal::sim::SimulatedDisk;
use twinroute_journal::storage::{FolderStorage, Storage};
use twinroute_journal::{
    DiskJournal, EventSealing, JournalHealth, JournalOpenError, JournalSettings, LaneId, NewEvent,
    NotDurable, RecoveredJournal, verify,
};
use twinroute_model::clock::{ManualClock, SystemClock, Timestamp};
use twinroute_model::event::{EventLimits, EventParts};
use twinroute_model::name::{EndpointName, InstanceName};

const SMALL: JournalSettings = JournalSettings {
    segment_bytes: 64 << 10,
    bytes_max: 64 << 20,
    queue_bytes_max: 8 << 20,
    memory_bytes_max: 1 << 20,
    commit_window: Duration::ZERO,
    settle_delay: Duration::from_secs(3_600),
    retry_delay: Duration::ZERO,
    disk_overdue_after: Duration::from_secs(60),
    keep_bytes: 0,
    keep_for: Duration::ZERO,
};

fn open(folder: &Path) -> Result<(DiskJournal, RecoveredJournal), JournalOpenError> {
    let storage = FolderStorage::create(folder).unwrap();
    DiskJournal::open(SMALL, Arc::new(storage), Arc::new(SystemClock))
}

fn lane(disk: &DiskJournal, name: &str) -> LaneId {
    let instance = InstanceName::new("default").unwrap();
    disk.bind(&instance, &EndpointName::new(name).unwrap())
}

fn new(lane: LaneId, data: usize) -> NewEvent {
    let parts = EventParts::new("1", "s", "t").json(&format!("\"{}\"", "x".repeat(data)));
    NewEvent {
        event: parts.build(&EventLimits::default()).unwrap(),
        twin: 1,
        lanes: vec![lane],
    }
}

/// Names the test that runs in a process of its own, and the folder it is given.
const CHILD: &str = "TWINROUTE_JOURNAL_CHILD";

/// Runs one test of this file again, by itself: a shell, in `spaces`, sets a limit first.
fn in_a_shell(spaces: &[&str], test: &str, limit: &str, folder: &Path) {
    let program = std::env::current_exe().unwrap();
    let script = format!(r#"{limit} && exec "$0" --exact {test} --nocapture"#);
    let words: Vec<&str> = spaces
        .iter()
        .copied()
        .chain(["sh", "-c", &script])
        .collect();
    let output = Command::new(words[0])
        .args(&words[1..])
        .arg(program)
        .env(CHILD, folder)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{complaints}");
    assert!(printed.contains("child done"), "{printed}");
}

fn child_folder() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD).map(Into::into)
}

/// Fills the disk, makes room, goes on, and finds everything that was acknowledged.
fn fill_and_recover(folder: &Path, make_room: impl FnOnce()) {
    let (disk, _) = open(folder).unwrap();
    let hub = lane(&disk, "hub");
    let mut kept = Vec::new();
    let refused = loop {
        let appended = disk.append(vec![new(hub, 10_000)]).unwrap();
        let sequence = appended.entries[0].sequence;
        match appended.durable.wait() {
            Ok(()) => kept.push(sequence),
            Err(refused) => break refused,
        }
        assert!(kept.len() < 10_000, "the disk is never full");
    };
    assert!(matches!(refused, NotDurable::Abandoned(_)), "{refused}");
    let JournalHealth::Full(reason) = disk.health() else {
        panic!("{:?}", disk.health());
    };
    assert!(reason.contains("segment"), "{reason}");
    assert!(kept.len() > 4, "{kept:?}");
    make_room();
    let appended = disk.append(vec![new(hub, 10_000)]).unwrap();
    kept.push(appended.entries[0].sequence);
    appended.durable.wait().unwrap();
    assert_eq!(disk.health(), JournalHealth::Ok);
    disk.close().unwrap();
    drop(disk);
    let (disk, recovered) = open(folder).unwrap();
    assert!(recovered.report.is_whole(), "{}", recovered.report);
    let pending = recovered.lanes[0].pending.iter();
    assert!(pending.map(|one| one.sequence).eq(kept.iter().copied()));
    assert!(disk.read(&kept).iter().all(Result::is_ok));
}

/// A disk of 2 MiB, in name spaces of one's own. Where those are not allowed, the length of
/// files is limited instead, which any user may do.
#[test]
fn a_full_disk_is_survived() {
    const TEST: &str = "a_full_disk_is_survived";
    if let Some(folder) = child_folder() {
        let ballast = folder.join("ballast");
        if ballast.exists() {
            fill_and_recover(&folder.join("journal"), || {
                std::fs::remove_file(ballast).unwrap()
            });
        } else {
            over_the_limit(&folder);
        }
        println!("child done");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let mount = format!(
        "mount -t tmpfs -o size=2m none '{path}' && \
         dd if=/dev/zero of='{path}/ballast' bs=1024 count=512 2>/dev/null"
    );
    let spaces = ["unshare", "-Urm"];
    let probe = Command::new(spaces[0]).args([spaces[1], "true"]).status();
    if probe.is_ok_and(|status| status.success()) {
        in_a_shell(&spaces, TEST, &mount, folder.path());
    } else {
        in_a_shell(&[], TEST, SHORT_FILES, folder.path());
    }
}

/// In blocks of 512 or 1,024 bytes. The signal would end the process.
const SHORT_FILES: &str = "trap '' XFSZ && ulimit -f 16";

/// Files may not get as long as a segment is: nothing is ever acknowledged, and nothing breaks.
fn over_the_limit(folder: &Path) {
    let (disk, _) = open(&folder.join("journal")).unwrap();
    assert!(
        matches!(disk.health(), JournalHealth::Full(_)),
        "{:?}",
        disk.health()
    );
    let hub = lane(&disk, "hub");
    let appended = disk.append(vec![new(hub, 10)]).unwrap();
    let refused = appended.durable.wait().unwrap_err();
    assert!(matches!(refused, NotDurable::Abandoned(_)), "{refused}");
}

/// The other way of filling a disk always runs too.
#[test]
fn a_limit_on_files_is_survived() {
    const TEST: &str = "a_limit_on_files_is_survived";
    if let Some(folder) = child_folder() {
        over_the_limit(&folder);
        println!("child done");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    in_a_shell(&[], TEST, SHORT_FILES, folder.path());
}

#[test]
fn what_cannot_be_written_to_is_named() {
    // Permissions do not bind root; a file where a folder is needed binds all.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "x").unwrap();
    assert!(FolderStorage::create(&path).is_err());
    let error = verify(&path, &EventSealing::Off).unwrap_err();
    let text = format!("journal {}: opening", path.display());
    assert_eq!(error.to_string(), text);
    // The lock is a folder: it can be neither opened nor written.
    let journal = folder.path().join("journal");
    std::fs::create_dir_all(journal.join("lock")).unwrap();
    let error = open(&journal).unwrap_err();
    let text = format!("journal {}: locking", journal.display());
    assert_eq!(error.to_string(), text);
    // What is no file is no segment either, and is kept.
    let journal = folder.path().join("other");
    std::fs::create_dir_all(journal.join("0000000000000001.seg")).unwrap();
    let (_, recovered) = open(&journal).unwrap();
    assert!(!recovered.report.is_whole());
    assert!(journal.join("quarantine-0000000000000001.seg").is_dir());
}

#[test]
fn a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, _) = open(folder.path()).unwrap();
    disk.close().unwrap();
    drop(disk);
    // A frame of version 2 behind what is there: its checksum is right.
    let segment = folder.path().join("0000000000000001.seg");
    let before = std::fs::read(&segment).unwrap();
    let at = before
        .iter()
        .rposition(|byte| *byte != 0)
        .unwrap()
        .next_multiple_of(512);
    let mut frame = vec![0xf1, b'T', b'W', b'J', 2, 99, 0, 0, 1, 0, 0, 0];
    let place = [1_u64.to_le_bytes(), (at as u64).to_le_bytes()].concat();
    let body = [7];
    let crc = crc32c::crc32c(&[&place[..], &frame, &body].concat());
    frame.extend_from_slice(&crc.to_le_bytes());
    frame.extend_from_slice(&body);
    let mut newer = before;
    newer[at..at + frame.len()].copy_from_slice(&frame);
    let mut file = std::fs::File::create(&segment).unwrap();
    file.write_all(&newer).unwrap();
    // Zeros between a journal and a later frame are damage, reported with it.
    let error = open(folder.path()).unwrap_err();
    let text = format!(
        "segment 1 of the journal: the record at offset {at} has version 2 and kind 99, which this \
         program does not know; a newer one wrote it"
    );
    assert_eq!(error.to_string(), text);
    assert_eq!(
        std::fs::read(&segment).unwrap(),
        newer,
        "nothing was changed"
    );
}

#[test]
fn one_paused_lane_of_a_thousand_does_not_keep_the_disk() {
    let sim = SimulatedDisk::default();
    let clock = Arc::new(ManualClock::new(Timestamp::from_unix_millis(0)));
    let storage: Arc<dyn Storage> = Arc::new(sim);
    let settings = JournalSettings {
        segment_bytes: 256 << 10,
        ..SMALL
    };
    let (disk, _) = DiskJournal::open(settings, storage, clock).unwrap();
    let lanes: Vec<_> = (0..1_000)
        .map(|n| lane(&disk, &format!("lane-{n:04}")))
        .collect();
    let mut most = 0;
    for round in 0..200 {
        // About a segment for the others, and one event for the lane that is paused.
        let mut batch: Vec<_> = lanes[1..].iter().map(|lane| new(*lane, 100)).collect();
        batch.push(new(lanes[0], 100));
        let appended = disk.append(batch).unwrap();
        let entries = appended.entries;
        appended.durable.wait().unwrap();
        for (lane, entry) in lanes[1..].iter().zip(&entries) {
            disk.settle(*lane, &[(entry.sequence, DeliverySettlement::Delivered)]);
        }
        disk.flush().wait().unwrap();
        if round > 20 {
            most = most.max(disk.usage().disk_bytes);
        }
    }
    // 200 events are left, far below one segment: what is live, as much that is dead, the active
    // segment, the next one, and one that is on its way out.
    assert!(most <= 6 * (256 << 10), "{most} bytes");
    disk.close().unwrap();
}
