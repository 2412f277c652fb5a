//! Full disks: what is refused, what is written all the same, and how room comes back.

use super::super::file_names::{NEXT_SEGMENT, segment_name, segment_of};
use super::super::keys::tests::seal;
use super::super::sim::{DiskFault, PowerLossRemains, SimulatedDisk};
use super::tests::{
    SETTINGS, append, crash, event, lane, new, open, open_sealed, pending, read, usage,
};
use super::*;
use crate::ledger::DiscardReason;
use std::collections::BTreeSet;
use twinroute_model::dead_letter::DeadLetterReason;

#[path = "crowded_tests.rs"]
mod crowded;

#[path = "one_at_a_time_tests.rs"]
mod one_at_a_time;

#[path = "history_room_tests.rs"]
mod history_room;

/// What holds of a full disk holds whether there is a history or not: it goes first, and costs no room.
fn with_and_without_history(settings: JournalSettings) -> [JournalSettings; 2] {
    [0, 1 << 20].map(|keep_bytes| JournalSettings {
        keep_bytes,
        ..settings
    })
}

/// A journal that has some segments of history, if it keeps one.
fn with_past(sim: &SimulatedDisk, settings: JournalSettings) -> DiskJournal {
    let old: Vec<_> = (0..8).map(|id| (event(&format!("old-{id}")), 7)).collect();
    let (disk, _) = open(sim, settings);
    let mut written = 0;
    while disk.keeps_history() && written < 3 * settings.segment_bytes {
        disk.record_unmatched(&BatchOrigin::default(), &old);
        disk.flush().wait().unwrap();
        written += 8 << 8;
    }
    drop(disk);
    open(sim, settings).0
}

#[test]
fn a_full_disk_abandons_its_group_and_goes_on_when_there_is_room() {
    for settings in with_and_without_history(SETTINGS) {
        let sim = SimulatedDisk::default();
        let (disk, _) = open(&sim, settings);
        let hub = lane(&disk, "hub");
        let first = append(&disk, "a", &[hub]);
        sim.fail_after(0, DiskFault::NoRoom);
        sim.set_room(Some(0));
        let ticket = disk.append(vec![new("b", &[hub])]).unwrap().durable;
        assert!(matches!(ticket.wait(), Err(NotDurable::Abandoned(_))));
        assert!(matches!(disk.health(), JournalHealth::Full(_)));
        sim.set_room(None);
        let third = append(&disk, "c", &[hub]);
        assert_eq!(usage(&disk).events, 2, "an abandoned event takes no room");
        assert_eq!(disk.health(), JournalHealth::Ok);
        crash(&sim, disk, PowerLossRemains::All);
        let (_, recovered) = open(&sim, settings);
        assert_eq!(pending(&recovered, hub), [first, third]);
        assert_eq!(recovered.report.damage, []);
    }
}

#[test]
fn settlements_fit_into_the_room_kept_for_them() {
    for settings in with_and_without_history(SETTINGS) {
        let sim = SimulatedDisk::default();
        let (disk, _) = open(&sim, settings);
        let hub = lane(&disk, "hub");
        let first = append(&disk, "a", &[hub]);
        sim.set_room(Some(0));
        let refused = (0..100).find_map(|id| {
            let appended = disk.append(vec![new(&id.to_string(), &[hub])]).unwrap();
            appended.durable.wait().err()
        });
        assert!(matches!(refused, Some(NotDurable::Abandoned(_))));
        disk.settle(hub, &[(first, DeliverySettlement::Delivered)]);
        // The retry comes first and fails; the settlement is written all the same in the end.
        while disk.flush().wait().is_err() {}
        crash(&sim, disk, PowerLossRemains::Nothing);
        sim.set_room(None);
        let (_, recovered) = open(&sim, settings);
        assert_eq!(recovered.lanes[0].ledger.delivered, 1);
        assert!(!pending(&recovered, hub).contains(&first));
    }
}

/// A full disk, and then everything arrives: more settlements than the room kept for them takes at once.
#[test]
fn settlements_of_a_full_disk_make_room_part_by_part() {
    for settings in with_and_without_history(SETTINGS) {
        let sim = SimulatedDisk::default();
        let (disk, _) = open(&sim, settings);
        let hub = lane(&disk, "hub");
        sim.set_room(Some(24 * settings.segment_bytes));
        let mut accepted = Vec::new();
        let refused = (0..10_000).find_map(|id| {
            let appended = disk.append(vec![new(&id.to_string(), &[hub])]).ok()?;
            let sequence = appended.entries[0].sequence;
            match appended.durable.wait() {
                Ok(()) => accepted.push(sequence),
                Err(error) => return Some(error),
            }
            None
        });
        assert!(matches!(refused, Some(NotDurable::Abandoned(_))));
        assert!(
            accepted.len() * 10 > settings.segment_bytes as usize / 16,
            "more than fits"
        );
        let settlements: Vec<_> = accepted
            .iter()
            .map(|sequence| (*sequence, DeliverySettlement::Delivered))
            .collect();
        disk.settle(hub, &settlements);
        // One try may be needed to make room, and one to use it.
        let tries = (0..10).take_while(|_| disk.flush().wait().is_err()).count();
        assert!(tries < 10, "{:?}", disk.health());
        let last = append(&disk, "last", &[hub]);
        assert_eq!(disk.health(), JournalHealth::Ok);
        crash(&sim, disk, PowerLossRemains::Nothing);
        let (_, recovered) = open(&sim, settings);
        assert_eq!(pending(&recovered, hub), [last]);
        assert_eq!(recovered.lanes[0].ledger.delivered, accepted.len() as u64);
    }
}

#[test]
fn a_journal_opens_on_a_full_disk() {
    for settings in with_and_without_history(SETTINGS) {
        let sim = SimulatedDisk::default();
        let (disk, _) = open(&sim, settings);
        let hub = lane(&disk, "hub");
        let first = append(&disk, "a", &[hub]);
        disk.close().unwrap();
        sim.set_room(Some(0));
        let retry_delay = Duration::from_secs(3_600);
        let (disk, recovered) = open(
            &sim,
            JournalSettings {
                retry_delay,
                ..settings
            },
        );
        assert_eq!(pending(&recovered, hub), [first]);
        assert!(matches!(disk.health(), JournalHealth::Full(_)));
        let refused = disk.append(vec![new("b", &[hub])]).unwrap_err();
        assert!(matches!(refused, AppendError::NoRoom(_)));
    }
}

/// A journal on a disk that is full, with what was accepted before it was.
fn filled(settings: JournalSettings, segments: u64) -> (SimulatedDisk, Vec<u64>) {
    let sim = SimulatedDisk::default();
    sim.set_room(Some(segments * settings.segment_bytes + (12 << 10)));
    let disk = with_past(&sim, settings);
    let hub = lane(&disk, "hub");
    let mut accepted = Vec::new();
    for id in 0..10_000 {
        let appended = disk.append(vec![new(&id.to_string(), &[hub])]).unwrap();
        let sequence = appended.entries[0].sequence;
        match appended.durable.wait() {
            Ok(()) => accepted.push(sequence),
            Err(error) => {
                assert!(matches!(error, NotDurable::Abandoned(_)), "{error}");
                crash(&sim, disk, PowerLossRemains::All);
                return (sim, accepted);
            }
        }
    }
    panic!("the disk is never full");
}

/// Every state that a process comes out of by itself, a start comes out of too.
#[test]
fn full_disk_restart_records_outcomes_in_what_is_left_and_takes_events_again() {
    for settings in with_and_without_history(SETTINGS) {
        for segments in [2, 3, 6] {
            let (sim, accepted) = filled(settings, segments);
            for leaves in [PowerLossRemains::All, PowerLossRemains::Nothing] {
                let sim = sim.fork();
                let (disk, recovered) = open(&sim, settings);
                let hub = lane(&disk, "hub");
                assert_eq!(pending(&recovered, hub), accepted);
                assert!(matches!(disk.health(), JournalHealth::Full(_)));
                // The first half arrives, and the process is killed.
                let (first, second) = accepted.split_at(accepted.len() / 2);
                let settle = |disk: &DiskJournal, sequences: &[u64]| {
                    let settlements = sequences
                        .iter()
                        .map(|one| (*one, DeliverySettlement::Delivered));
                    disk.settle(hub, &settlements.collect::<Vec<_>>());
                    (0..10_000).find(|_| disk.flush().wait().is_ok())
                };
                assert!(
                    settle(&disk, first).is_some(),
                    "{segments}: {:?}",
                    disk.health()
                );
                crash(&sim, disk, leaves);
                let (disk, recovered) = open(&sim, settings);
                assert_eq!(pending(&recovered, hub), second, "nothing is sent again");
                assert!(recovered.report.is_whole(), "{}", recovered.report);
                assert!(
                    settle(&disk, second).is_some(),
                    "{segments} {leaves:?} {}: {:?}",
                    accepted.len(),
                    disk.health()
                );
                append(&disk, "next", &[hub]);
                assert_eq!(disk.health(), JournalHealth::Ok);
                crash(&sim, disk, leaves);
                let (_, recovered) = open(&sim, settings);
                assert_eq!(pending(&recovered, hub).len(), 1);
                assert_eq!(recovered.lanes[0].ledger.delivered, accepted.len() as u64);
                assert_eq!(recovered.report.lost_all(), 0);
            }
        }
    }
}

/// The power goes at any call, also between a new segment and its first group: what room that segment took is
/// the only one that the next start has.
#[test]
fn full_disk_restart_accepts_again_after_a_loss_of_power_at_any_call() {
    for settings in with_and_without_history(SETTINGS) {
        let (sim, _) = filled(settings, 2);
        for calls in 0..24 {
            let sim = sim.fork();
            let (disk, recovered) = open(&sim, settings);
            let hub = lane(&disk, "hub");
            let settle = |disk: &DiskJournal, sequences: &[u64]| {
                let settlements = sequences
                    .iter()
                    .map(|one| (*one, DeliverySettlement::Delivered));
                disk.settle(hub, &settlements.collect::<Vec<_>>());
                (0..1_000).any(|_| disk.flush().wait().is_ok())
            };
            let found = pending(&recovered, hub);
            let (first, second) = found.split_at(found.len() * 2 / 3);
            assert!(settle(&disk, first), "{calls}");
            sim.fail_after(calls, DiskFault::PowerOff);
            settle(&disk, second);
            crash(&sim, disk, PowerLossRemains::All);
            let (disk, recovered) = open(&sim, settings);
            assert!(recovered.report.is_whole(), "{calls}: {}", recovered.report);
            let left = pending(&recovered, hub);
            assert!(settle(&disk, &left), "{calls}: {:?}", disk.health());
            append(&disk, "next", &[hub]);
            assert_eq!(disk.health(), JournalHealth::Ok, "{calls}");
        }
    }
}

/// Start after start, with outcomes in between and the power going at any call.
#[test]
fn full_disk_restart_survives_a_loss_of_power_at_any_call() {
    for settings in with_and_without_history(SETTINGS) {
        let (sim, accepted) = filled(settings, 3);
        for calls in 0..12 {
            for leaves in [
                PowerLossRemains::All,
                PowerLossRemains::Nothing,
                PowerLossRemains::Some(calls),
            ] {
                let sim = sim.fork();
                let mut waiting = accepted.clone();
                let mut said: BTreeSet<u64> = BTreeSet::new();
                for start in 0..6 {
                    let (disk, recovered) = open(&sim, settings);
                    let hub = lane(&disk, "hub");
                    let found = pending(&recovered, hub);
                    let at = format!("{calls} {leaves:?} {start}: {}", recovered.report);
                    assert!(recovered.report.is_whole(), "{at}");
                    assert!(found.iter().all(|one| waiting.contains(one)), "{at}");
                    assert!(
                        waiting
                            .iter()
                            .all(|one| found.contains(one) || said.contains(one))
                    );
                    waiting = found;
                    said = waiting.iter().take(9).copied().collect();
                    let settlements = said.iter().map(|one| (*one, DeliverySettlement::Delivered));
                    sim.fail_after(calls, DiskFault::PowerOff);
                    disk.settle(hub, &settlements.collect::<Vec<_>>());
                    drop(disk.flush().wait());
                    drop(disk.flush().wait());
                    crash(&sim, disk, leaves);
                }
            }
        }
    }
}

/// The last group before the disk was full may be torn: what follows stands behind it.
#[test]
fn full_disk_restart_goes_on_behind_a_torn_group() {
    for settings in with_and_without_history(SETTINGS) {
        let (sim, accepted) = filled(settings, 2);
        let names = sim.list().unwrap();
        let last = names.iter().rfind(|name| name.ends_with(".seg")).unwrap();
        let file = sim.contents(last).unwrap();
        let end = file.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        sim.overwrite(
            last,
            end,
            &[0xf1, b'T', b'W', b'J', 1, 13, 0, 0, 200, 0, 0, 0, 9, 9],
        );
        let (disk, recovered) = open(&sim, settings);
        let hub = lane(&disk, "hub");
        assert_eq!(recovered.report.damage.len(), 1);
        disk.settle(hub, &[(accepted[0], DeliverySettlement::Delivered)]);
        assert!((0..10).any(|_| disk.flush().wait().is_ok()));
        crash(&sim, disk, PowerLossRemains::All);
        let (_, recovered) = open(&sim, settings);
        assert_eq!(recovered.report.damage, [], "it is reported once");
        assert_eq!(pending(&recovered, hub), accepted[1..]);
        assert_eq!(recovered.report.lost_all(), 0);
    }
}

/// A sealed journal gets a new key at each start: there is room for its file on a disk that is full.
#[test]
fn full_disk_restart_of_a_sealed_journal() {
    for settings in with_and_without_history(SETTINGS) {
        let sim = SimulatedDisk::default();
        let (disk, _) = open_sealed(&sim, settings, &seal(1));
        let hub = lane(&disk, "hub");
        let first = append(&disk, "a", &[hub]);
        crash(&sim, disk, PowerLossRemains::All);
        let names = sim.list().unwrap();
        let taken = names
            .iter()
            .map(|name| sim.contents(name).unwrap().len() as u64);
        sim.set_room(Some(taken.sum()));
        for _ in 0..4 {
            let (disk, recovered) = open_sealed(&sim, settings, &seal(1));
            assert_eq!(pending(&recovered, hub), [first]);
            assert_eq!(read(&disk, first), "a");
            assert!(matches!(disk.health(), JournalHealth::Full(_)));
            crash(&sim, disk, PowerLossRemains::All);
        }
    }
}

/// A group that is longer than a segment is leaves room for outcomes in the segment it gets.
#[test]
fn full_disk_restart_after_a_group_that_fills_its_segment() {
    for settings in with_and_without_history(SETTINGS) {
        let sim = SimulatedDisk::default();
        let (disk, _) = open(&sim, settings);
        let hub = lane(&disk, "hub");
        let many = (0..60).map(|id| new(&id.to_string(), &[hub]));
        let appended = disk.append(many.collect()).unwrap();
        let sequences: Vec<u64> = appended.entries.iter().map(|one| one.sequence).collect();
        appended.durable.wait().unwrap();
        sim.set_room(Some(0));
        crash(&sim, disk, PowerLossRemains::All);
        for sequences in sequences.chunks(20) {
            let (disk, recovered) = open(&sim, settings);
            assert_eq!(pending(&recovered, hub)[0], sequences[0]);
            let settlements = sequences
                .iter()
                .map(|one| (*one, DeliverySettlement::Delivered));
            disk.settle(hub, &settlements.collect::<Vec<_>>());
            assert!(
                (0..10).any(|_| disk.flush().wait().is_ok()),
                "{:?}",
                disk.health()
            );
            crash(&sim, disk, PowerLossRemains::All);
        }
        let (_, recovered) = open(&sim, settings);
        assert_eq!(pending(&recovered, hub), [0_u64; 0]);
    }
}

/// The first group of a new segment is cut anywhere: what is left of it is no reason not to use that segment, which
/// is all the room there is.
#[test]
fn full_disk_restart_after_a_torn_first_group() {
    for settings in with_and_without_history(SETTINGS) {
        let (sim, accepted) = filled(settings, 3);
        let (disk, _) = open(&sim, settings);
        let hub = lane(&disk, "hub");
        let (first, left) = accepted.split_at(accepted.len() * 2 / 3);
        let settle = |disk: &DiskJournal, sequences: &[u64]| {
            let settlements = sequences.iter();
            let settlements = settlements.map(|one| (*one, DeliverySettlement::Delivered));
            disk.settle(hub, &settlements.collect::<Vec<_>>());
            (0..1_000).any(|_| disk.flush().wait().is_ok())
        };
        assert!(settle(&disk, first));
        append(&disk, "a", &[hub]);
        crash(&sim, disk, PowerLossRemains::All);
        // A start removes it, which would give room.
        sim.delete(NEXT_SEGMENT);
        let names = sim.list().unwrap();
        let newest = names.iter().rfind(|name| name.ends_with(".seg")).unwrap();
        // What a kill leaves of the first group of the segment that comes next.
        let group = sim.contents(newest).unwrap();
        let next = segment_name(segment_of(newest).unwrap() + 1);
        let mut torn = 0;
        for cut in [1, 7, 40, 100, 300] {
            for has_room in [false, true] {
                let sim = sim.fork();
                sim.set_room(None);
                sim.create(&next, settings.segment_bytes).unwrap();
                sim.sync_dir().unwrap();
                sim.overwrite(&next, 0, &group[..cut]);
                if !has_room {
                    let length = |name: &String| sim.contents(name).unwrap().len() as u64;
                    sim.set_room(Some(sim.list().unwrap().iter().map(length).sum()));
                }
                let about = format!("{cut} {has_room}");
                let (disk, recovered) = open(&sim, settings);
                torn += usize::from(!recovered.report.damage.is_empty());
                let found = pending(&recovered, hub);
                assert!(left.iter().all(|one| found.contains(one)), "{about}");
                assert!(settle(&disk, &found), "{about}: {:?}", disk.health());
                append(&disk, "next", &[hub]);
                assert_eq!(disk.health(), JournalHealth::Ok, "{about}");
                crash(&sim, disk, PowerLossRemains::All);
                let (_, recovered) = open(&sim, settings);
                assert_eq!(recovered.report.damage, [], "{about}: it is reported once");
                assert_eq!(pending(&recovered, hub).len(), 1, "{about}");
                assert_eq!(recovered.report.lost_all(), 0, "{about}");
            }
        }
        assert!(torn > 6, "{torn}");
    }
}

/// Segments in which what stands beside events is little.
const CROWDED: JournalSettings = JournalSettings {
    segment_bytes: 64 << 10,
    ..SETTINGS
};
