use super::super::disk::tests::{SETTINGS, append, crash, lane, open};
use super::super::file_names::{MANIFEST, is_left_over};
use super::super::sim::{DiskFault, PowerLossRemains, SimulatedDisk};
use super::super::storage::FolderStorage;
use super::super::{DiskJournal, JournalHealth};
use super::*;
use crate::ledger::DeliverySettlement;
use twinroute_model::clock::SystemClock;

/// Appends until a second segment is used; gives what was appended.
fn fill(disk: &DiskJournal) -> Vec<u64> {
    let hub = lane(disk, "hub");
    (0..40)
        .map(|id| append(disk, &id.to_string(), &[hub]))
        .collect()
}

/// The files of segments, and of the next one.
fn files(sim: &SimulatedDisk) -> Vec<String> {
    let mut names = sim.list().unwrap();
    names.retain(|name| name != MANIFEST);
    names
}

#[test]
fn the_next_segment_is_made_when_half_of_one_is_full() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let mut seen = Vec::new();
    for id in 0..30 {
        append(&disk, &id.to_string(), &[hub]);
        let names = files(&sim);
        let named = (names.iter().any(|name| name == NEXT_SEGMENT), names.len());
        if seen.last() != Some(&named) {
            seen.push(named);
        }
    }
    assert_eq!(seen[..3], [(false, 1), (true, 2), (false, 2)], "{seen:?}");
    // What it takes shows.
    let names = files(&sim).len() as u64;
    disk.flush().wait().unwrap();
    assert_eq!(disk.usage().disk_bytes, names * SETTINGS.segment_bytes);
    disk.close().unwrap();
    assert!(!sim.list().unwrap().iter().any(|name| is_left_over(name)));
}

#[test]
fn left_overs_of_a_crash_go_at_the_next_open() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let mut id = 0;
    while sim.contents(NEXT_SEGMENT).is_none() {
        append(&disk, &id.to_string(), &[hub]);
        id += 1;
    }
    crash(&sim, disk, PowerLossRemains::All);
    assert!(sim.contents(NEXT_SEGMENT).is_some());
    let (_disk, recovered) = open(&sim, SETTINGS);
    assert!(sim.contents(NEXT_SEGMENT).is_none());
    assert_eq!(recovered.lanes[0].pending.len(), id);
}

#[test]
fn no_room_for_the_next_segment_is_no_fault_until_it_is_needed() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    sim.set_room(Some(0));
    // Over the half, and settled with what room is kept for that.
    let first: Vec<u64> = (0..14)
        .map(|id| append(&disk, &id.to_string(), &[hub]))
        .collect();
    assert_eq!(disk.health(), JournalHealth::Ok);
    assert!(sim.contents(NEXT_SEGMENT).is_none());
    sim.set_room(None);
    disk.settle(hub, &[(first[0], DeliverySettlement::Delivered)]);
    let more = fill(&disk);
    assert_eq!(disk.health(), JournalHealth::Ok);
    crash(&sim, disk, PowerLossRemains::Nothing);
    let (_, recovered) = open(&sim, SETTINGS);
    assert_eq!(
        recovered.lanes[0].pending.len(),
        first.len() + more.len() - 1
    );
}

#[test]
fn a_name_that_cannot_be_given_is_made_again() {
    // Each call in turn fails, the renaming among them: a group is abandoned at most.
    for calls in 0..60 {
        let sim = SimulatedDisk::default();
        let (disk, _) = open(&sim, SETTINGS);
        let hub = lane(&disk, "hub");
        disk.flush().wait().unwrap();
        sim.fail_after(calls, DiskFault::NoRoom);
        let mut kept = 0;
        for id in 0..40 {
            let new = super::super::disk::tests::new(&id.to_string(), &[hub]);
            let appended = disk.append(vec![new]).unwrap();
            kept += usize::from(appended.durable.wait().is_ok());
        }
        assert!(kept >= 39, "call {calls}: {kept}");
        assert_eq!(disk.health(), JournalHealth::Ok);
        disk.close().unwrap();
        drop(disk);
        let (_, recovered) = open(&sim, SETTINGS);
        assert_eq!(recovered.lanes[0].pending.len(), kept, "call {calls}");
    }
}

#[test]
fn a_folder_gets_its_segments_from_a_thread_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let storage = || Arc::new(FolderStorage::create(folder.path()).unwrap());
    std::fs::write(folder.path().join(NEXT_SEGMENT), "left over").unwrap();
    let (disk, _) = DiskJournal::open(SETTINGS, storage(), Arc::new(SystemClock)).unwrap();
    let all = fill(&disk);
    assert!(disk.usage().segments > 1);
    disk.close().unwrap();
    drop(disk);
    assert!(!folder.path().join(NEXT_SEGMENT).exists());
    let (disk, recovered) = DiskJournal::open(SETTINGS, storage(), Arc::new(SystemClock)).unwrap();
    assert!(recovered.report.is_whole());
    assert!(disk.read(&all).iter().all(Result::is_ok));
}
