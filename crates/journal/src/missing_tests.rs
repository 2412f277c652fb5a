//! Segments that are gone, cut, emptied, zeroed, swapped or none at all: what is lost is told and counted,
//! exactly, and nothing that was not read whole is removed.

use super::super::disk::tests::{SETTINGS, append, clock, crash, lane, open, pending, repaired};
use super::super::file_names::{MANIFEST, segment_of};
use super::super::keys::EventSealing;
use super::super::record::JournalRecord;
use super::super::report::DamageKind;
use super::super::sim::{DiskFault, PowerLossRemains, SimulatedDisk};
use super::super::storage::{FolderStorage, Storage};
use super::super::{DiskJournal, LaneId, RecoveredJournal, verify};
use super::*;
use crate::ledger::{DeliverySettlement, DiscardReason};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The segments, oldest first.
fn segments(sim: &SimulatedDisk) -> Vec<String> {
    let mut names = sim.list().unwrap();
    names.retain(|name| segment_of(name).is_some());
    names
}

/// Where the used bytes of a file end.
fn used(sim: &SimulatedDisk, name: &str) -> usize {
    let file = sim.contents(name).unwrap();
    file.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

/// A journal of three segments that was killed, with so many events waiting for one lane.
fn three_segments() -> (SimulatedDisk, u64) {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let mut events = 0;
    let mut in_third = 0;
    while in_third < 8 {
        append(&disk, &events.to_string(), &[hub]);
        events += 1;
        in_third += u64::from(segments(&sim).len() == 3);
    }
    crash(&sim, disk, PowerLossRemains::All);
    assert_eq!(segments(&sim).len(), 3);
    (sim, events)
}

const HUB: LaneId = LaneId(1);

/// Everything that is lost, and what waits, as a start has it.
fn accounts(recovered: &RecoveredJournal) -> (u64, u64) {
    let lanes = recovered.lanes.iter();
    let known: u64 = lanes
        .clone()
        .map(|lane| lane.ledger.discarded(DiscardReason::Lost))
        .sum();
    let waiting: usize = lanes.map(|lane| lane.pending.len()).sum();
    let lost = known + recovered.lost_unknown;
    assert_eq!(recovered.report.lost_all(), lost, "{}", recovered.report);
    (lost, waiting as u64)
}

/// Holds all books of a damaged journal against each other, over two starts; gives what was lost.
fn held_against_each_other(sim: &SimulatedDisk, events: u64) -> u64 {
    let report = super::read(sim, &mut |_, _| {}).unwrap().report;
    assert!(!report.is_whole(), "{report}");
    let mut lost_before = None;
    for start in 0..2 {
        let (disk, recovered) = open(sim, SETTINGS);
        let (lost, waiting) = accounts(&recovered);
        assert_eq!(
            lost + waiting,
            events,
            "start {start}: {}",
            recovered.report
        );
        if start == 0 {
            assert!(!recovered.report.is_whole());
            assert_eq!(report.lost_all(), lost, "verify says the same");
        }
        assert!(
            lost_before.is_none_or(|before| before == lost),
            "counted twice"
        );
        lost_before = Some(lost);
        let next = append(&disk, "next", &[HUB]);
        disk.settle(HUB, &[(next, DeliverySettlement::Delivered)]);
        disk.flush().wait().unwrap();
        crash(sim, disk, PowerLossRemains::All);
    }
    lost_before.unwrap()
}

#[test]
fn segments_missing_the_newest_is_gone_or_empty_or_zero() {
    let (sim, events) = three_segments();
    let newest = segments(&sim).pop().unwrap();
    let length = sim.contents(&newest).unwrap().len();
    let alone = |sim: &SimulatedDisk| {
        let mut found = 0;
        super::read(sim, &mut |place, record| {
            let is_new = matches!(record, JournalRecord::Event { .. });
            found += u64::from(is_new && segment_name(place.segment) == newest);
        })
        .unwrap();
        found
    };
    let there = alone(&sim);
    assert!(there > 3);
    for what in ["deleted", "emptied", "zeroed"] {
        let sim = sim.fork();
        match what {
            "deleted" => sim.delete(&newest),
            "emptied" => sim.truncate(&newest, 0),
            _ => sim.overwrite(&newest, 0, &vec![0; length]),
        }
        assert_eq!(held_against_each_other(&sim, events), there, "{what}");
    }
}

#[test]
fn segments_missing_the_newest_is_cut_or_zeroed_anywhere() {
    let (sim, events) = three_segments();
    let newest = segments(&sim).pop().unwrap();
    let (end, length) = (used(&sim, &newest), sim.contents(&newest).unwrap().len());
    let mut seen = BTreeSet::new();
    for at in (1..end).step_by(97).chain([end - 1]) {
        let cut = sim.fork();
        cut.truncate(&newest, at);
        let lost = held_against_each_other(&cut, events);
        let zeroed = sim.fork();
        zeroed.overwrite(&newest, at, &vec![0; length - at]);
        assert_eq!(held_against_each_other(&zeroed, events), lost, "at {at}");
        seen.insert(lost);
    }
    assert!(seen.len() > 3, "{seen:?}");
    // Behind the last record nothing is lost, but the file is not as it was made.
    sim.truncate(&newest, end);
    let (_, recovered) = open(&sim, SETTINGS);
    assert_eq!(accounts(&recovered), (0, events));
    assert_eq!(recovered.report.damage[0].kind, DamageKind::Short);
}

#[test]
fn segments_missing_an_older_one_is_gone_or_all() {
    let (sim, events) = three_segments();
    for gone in 0..3 {
        let sim = sim.fork();
        sim.delete(&segments(&sim)[gone]);
        let lost = held_against_each_other(&sim, events);
        assert!(lost > 3 && lost < events, "{gone}: {lost}");
    }
    for name in segments(&sim) {
        sim.delete(&name);
    }
    assert_eq!(held_against_each_other(&sim, events), events);
}

/// What is settled behind a segment that is gone was not lost with it.
#[test]
fn segments_missing_what_was_settled_later_is_not_lost() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let first = append(&disk, "first", &[hub]);
    let second = append(&disk, "second", &[hub]);
    let mut id = 0;
    while segments(&sim).len() < 2 {
        append(&disk, &id.to_string(), &[hub]);
        id += 1;
    }
    disk.settle(hub, &[(second, DeliverySettlement::Delivered)]);
    disk.flush().wait().unwrap();
    crash(&sim, disk, PowerLossRemains::All);
    let whole = super::read(&sim, &mut |_, _| {}).unwrap().report;
    sim.delete(&segments(&sim)[0]);
    let (_, recovered) = open(&sim, SETTINGS);
    let hub = &recovered.lanes[0];
    let waiting = hub.pending.len() as u64;
    assert_eq!(hub.ledger.delivered, 1, "{}", recovered.report);
    let lost = hub.ledger.discarded(DiscardReason::Lost);
    assert_eq!(
        lost + waiting,
        whole.deliveries_open,
        "{}",
        recovered.report
    );
    assert!(!hub.pending.iter().any(|one| one.sequence == first));
}

#[test]
fn segments_missing_swapped_names_are_read_as_what_they_hold() {
    let (sim, events) = three_segments();
    let names = segments(&sim);
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let sim = sim.fork();
        sim.swap(&names[one], &names[other]);
        let report = super::read(&sim, &mut |_, _| {}).unwrap().report;
        assert!(!report.is_whole());
        assert_eq!(
            (report.events_open, report.lost_all()),
            (events, 0),
            "{report}"
        );
        let (_, recovered) = open(&sim, SETTINGS);
        assert!(!recovered.report.is_whole());
        assert_eq!(accounts(&recovered), (0, events));
        let report = super::read(&sim, &mut |_, _| {}).unwrap().report;
        assert!(report.is_whole(), "{report}");
    }
}

/// The power may go at any step of giving swapped files their names back.
#[test]
fn segments_missing_swapped_names_survive_a_crash_in_between() {
    let (sim, events) = three_segments();
    let names = segments(&sim);
    sim.swap(&names[0], &names[1]);
    for calls in 0..6 {
        for leaves in [
            PowerLossRemains::All,
            PowerLossRemains::Nothing,
            PowerLossRemains::Some(calls),
        ] {
            let sim = sim.fork();
            sim.fail_after(calls, DiskFault::PowerOff);
            let storage = Arc::new(sim.clone());
            drop(DiskJournal::open(SETTINGS, storage, clock()));
            sim.power_off();
            sim.power_on(leaves);
            let (_, recovered) = open(&sim, SETTINGS);
            let at = format!("call {calls}, {leaves:?}: {}", recovered.report);
            assert_eq!(accounts(&recovered), (0, events), "{at}");
        }
    }
}

#[test]
fn segments_missing_one_copied_over_another_costs_that_one_alone() {
    let (sim, events) = three_segments();
    let names = segments(&sim);
    let copied = sim.contents(&names[1]).unwrap();
    sim.overwrite(&names[0], 0, &copied);
    let lost = held_against_each_other(&sim, events);
    assert!(lost > 3 && lost < events / 2, "{lost}");
    let aside = sim.list().unwrap();
    let aside: Vec<_> = aside
        .iter()
        .filter(|name| name.starts_with("misnamed-"))
        .collect();
    assert_eq!(sim.contents(aside[0]).unwrap(), copied, "it is kept");
}

/// A segment that was not read whole is never removed.
#[test]
fn segments_missing_what_is_damaged_is_set_aside_when_it_is_done() {
    let (sim, _) = three_segments();
    let oldest = segments(&sim)[0].clone();
    let middle = used(&sim, &oldest) / 2;
    sim.overwrite(&oldest, middle, &[0xff; 300]);
    let damaged = sim.contents(&oldest).unwrap();
    let (disk, recovered) = open(&sim, SETTINGS);
    let settlements = pending(&recovered, HUB)
        .into_iter()
        .map(|sequence| (sequence, DeliverySettlement::Delivered));
    disk.settle(HUB, &settlements.collect::<Vec<_>>());
    for _ in 0..4 {
        disk.flush().wait().unwrap();
    }
    assert_eq!(sim.contents(&oldest), None);
    assert_eq!(segments(&sim).len(), 1, "all others are removed");
    let kept = format!("quarantine-{oldest}");
    assert_eq!(sim.contents(&kept).unwrap(), damaged);
    drop(disk);
    let (_, recovered) = open(&sim, SETTINGS);
    assert!(recovered.report.is_whole(), "{}", recovered.report);
}

#[test]
fn segments_missing_bytes_that_the_disk_does_not_give_back_cost_what_is_in_them() {
    let (sim, events) = three_segments();
    let names = segments(&sim);
    for (name, range) in [
        (&names[1], 0..100),
        (&names[1], 4_096..4_097),
        (&names[2], 0..9_000),
    ] {
        let sim = sim.fork();
        sim.break_reads(name, range.clone());
        let (_, recovered) = open(&sim, SETTINGS);
        let at = format!("{name} {range:?}: {}", recovered.report);
        assert!(!recovered.report.is_whole(), "{at}");
        let (lost, waiting) = accounts(&recovered);
        assert!(lost > 0 && lost + waiting == events, "{at}");
    }
}

#[test]
fn segments_missing_the_manifest_itself() {
    let (sim, events) = three_segments();
    for what in ["deleted", "zeroed"] {
        let sim = sim.fork();
        match what {
            "deleted" => sim.delete(MANIFEST),
            _ => sim.overwrite(MANIFEST, 0, &[0; 12 << 10]),
        }
        let (disk, recovered) = open(&sim, SETTINGS);
        assert_eq!(
            recovered.report.damage[0].kind,
            DamageKind::Unlisted,
            "{what}"
        );
        assert_eq!(accounts(&recovered), (0, events));
        drop(disk);
        let report = super::read(&sim, &mut |_, _| {}).unwrap().report;
        assert!(report.is_whole(), "{what}: {report}");
    }
}

/// A crash at any call, whatever it leaves, is no damage: the manifest never says too much.
#[test]
fn segments_missing_is_never_said_of_a_crash() {
    for calls in 0..60 {
        for leaves in [
            PowerLossRemains::All,
            PowerLossRemains::Nothing,
            PowerLossRemains::Some(calls),
        ] {
            let sim = SimulatedDisk::default();
            let (disk, _) = open(&sim, SETTINGS);
            let hub = lane(&disk, "hub");
            for id in 0..24 {
                append(&disk, &id.to_string(), &[hub]);
            }
            sim.fail_after(calls, DiskFault::PowerOff);
            let mut acknowledged = Vec::new();
            for id in 24..64 {
                let batch = vec![super::super::disk::tests::new(&id.to_string(), &[hub])];
                let Ok(appended) = disk.append(batch) else {
                    break;
                };
                if appended.durable.wait().is_err() {
                    break;
                }
                let sequence = appended.entries[0].sequence;
                acknowledged.push(sequence);
                disk.settle(hub, &[(sequence - 20, DeliverySettlement::Delivered)]);
            }
            crash(&sim, disk, leaves);
            let (_, recovered) = open(&sim, SETTINGS);
            let at = format!("call {calls}, {leaves:?}: {}", recovered.report);
            assert!(recovered.report.is_whole(), "{at}");
            assert_eq!(recovered.report.lost_all(), 0, "{at}");
            let found = pending(&recovered, hub);
            let last = acknowledged.last().copied();
            assert!(last.is_none_or(|last| found.contains(&last)), "{at}");
        }
    }
}

/// Files that only look like segments, of numbers that there never were.
#[test]
fn segment_number_that_there_never_was_is_set_aside() {
    for odd in [
        "ffffffffffffffff.seg",
        "0000000000000000.seg",
        "00000000000000ff.seg",
    ] {
        for bytes in [0, 20_000] {
            let (sim, events) = three_segments();
            sim.create(odd, bytes).unwrap();
            if bytes > 0 {
                sim.overwrite(odd, 9, b"what somebody left here");
            }
            let report = super::read(&sim, &mut |_, _| {}).unwrap().report;
            assert!(!report.is_whole(), "{odd}");
            for start in 0..2 {
                let (disk, recovered) = open(&sim, SETTINGS);
                assert_eq!(accounts(&recovered), (0, events), "{odd}");
                assert_eq!(recovered.report.is_whole(), start > 0, "{odd}");
                append(&disk, "next", &[HUB]);
                disk.settle(
                    HUB,
                    &[(recovered.next_sequence, DeliverySettlement::Delivered)],
                );
                disk.flush().wait().unwrap();
                crash(&sim, disk, PowerLossRemains::All);
            }
            assert!(
                sim.contents(&format!("quarantine-{odd}")).is_some(),
                "{odd}"
            );
        }
    }
}

/// On a real file system: folders, links and pipes with a segment's name.
#[test]
fn segment_number_of_a_folder_or_a_link_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let open = || {
        let storage: Arc<dyn Storage> = Arc::new(FolderStorage::create(path).unwrap());
        DiskJournal::open(SETTINGS, storage, clock()).unwrap()
    };
    let (disk, _) = open();
    let hub = lane(&disk, "hub");
    append(&disk, "a", &[hub]);
    drop(disk);
    std::fs::create_dir(path.join("0000000000000002.seg")).unwrap();
    let target = path.join("elsewhere");
    std::fs::write(&target, b"elsewhere").unwrap();
    std::os::unix::fs::symlink(&target, path.join("0000000000000003.seg")).unwrap();
    let report = verify(path, &EventSealing::Off).unwrap();
    assert_eq!(
        (report.damage.len(), report.events_open),
        (2, 1),
        "{report}"
    );
    let (_disk, recovered) = open();
    assert_eq!(accounts(&recovered), (0, 1), "{}", recovered.report);
    assert!(path.join("quarantine-0000000000000002.seg").is_dir());
    assert!(path.join("quarantine-0000000000000003.seg").is_symlink());
    assert_eq!(std::fs::read(&target).unwrap(), b"elsewhere");
}

#[test]
fn segments_missing_are_made_good_by_a_repair() {
    let (sim, events) = three_segments();
    let names = segments(&sim);
    for gone in &names {
        let sim = sim.fork();
        sim.delete(gone);
        repaired(&sim).unwrap();
        let report = super::read(&sim, &mut |_, _| {}).unwrap().report;
        assert!(report.is_whole(), "{gone}: {report}");
        assert_eq!(
            report.deliveries_open + report.lost_all(),
            events,
            "{report}"
        );
    }
}
