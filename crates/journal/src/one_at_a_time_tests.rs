//! A full disk whose outcomes come one at a time: more groups than there is room for.

use super::*;

/// Segments for which the counts of two lanes are little.
const MEDIUM: JournalSettings = JournalSettings {
    segment_bytes: 16 << 10,
    ..SETTINGS
};

/// A journal of some lanes on a disk that is full, with what was accepted before.
fn filled_of(settings: JournalSettings, lanes: usize) -> (SimulatedDisk, Vec<u64>) {
    let sim = SimulatedDisk::default();
    sim.set_room(Some(3 * settings.segment_bytes + (12 << 10)));
    let disk = with_past(&sim, settings);
    let lanes: Vec<_> = (0..lanes)
        .map(|id| lane(&disk, &format!("hub-{id}")))
        .collect();
    let mut accepted = Vec::new();
    for id in 0..10_000 {
        let appended = disk.append(vec![new(&id.to_string(), &lanes)]).unwrap();
        let sequence = appended.entries[0].sequence;
        match appended.durable.wait() {
            Ok(()) => accepted.push(sequence),
            Err(_) => {
                crash(&sim, disk, PowerLossRemains::All);
                return (sim, accepted);
            }
        }
    }
    panic!("the disk is never full");
}

/// Has every delivery arrive, and each recorded as soon as may be.
fn deliver_one_by_one(disk: &DiskJournal, lanes: usize, sequences: &[u64]) {
    let lanes: Vec<_> = (0..lanes)
        .map(|id| lane(disk, &format!("hub-{id}")))
        .collect();
    for sequence in sequences {
        for lane in &lanes {
            disk.settle(*lane, &[(*sequence, DeliverySettlement::Delivered)]);
            drop(disk.flush().wait());
        }
    }
}

/// Whether it takes an event in the end.
fn takes_events(disk: &DiskJournal, lane: LaneId) -> bool {
    (0..20).any(|_| {
        let appended = disk.append(vec![new("last", &[lane])]);
        appended.is_ok_and(|appended| appended.durable.wait().is_ok())
    })
}

fn delivered(recovered: &RecoveredJournal) -> Vec<u64> {
    let lanes = recovered.lanes.iter();
    lanes.map(|lane| lane.ledger.delivered).collect()
}

#[test]
fn a_full_disk_of_small_segments_recovers_from_outcomes_that_come_one_at_a_time() {
    for settings in with_and_without_history(SETTINGS) {
        for (segment_bytes, lanes) in [(8 << 10, 1), (16 << 10, 2), (64 << 10, 1), (64 << 10, 4)] {
            let at = format!("{segment_bytes} {lanes}");
            let settings = JournalSettings {
                segment_bytes,
                ..settings
            };
            let (sim, accepted) = filled_of(settings, lanes);
            let (disk, recovered) = open(&sim, settings);
            let first = recovered.lanes[0].number;
            deliver_one_by_one(&disk, lanes, &accepted);
            assert!(takes_events(&disk, first), "{at}: {:?}", disk.health());
            assert_eq!(disk.health(), JournalHealth::Ok, "{at}");
            assert_eq!(usage(&disk).events, 1, "{at}");
            crash(&sim, disk, PowerLossRemains::Nothing);
            let (_, recovered) = open(&sim, settings);
            assert!(recovered.report.is_whole(), "{at}: {}", recovered.report);
            assert_eq!(delivered(&recovered), vec![accepted.len() as u64; lanes]);
            assert_eq!(pending(&recovered, first).len(), 1, "{at}");
        }
    }
}

/// Each process records some outcomes and is killed: what is left of the segment is used up, and what could not be
/// recorded arrives again. One that lives recovers all the same.
#[test]
fn a_full_disk_recovers_after_many_starts_that_each_record_a_little() {
    for settings in with_and_without_history(MEDIUM) {
        let (sim, accepted) = filled_of(settings, 2);
        for start in 0..40 {
            let (disk, recovered) = open(&sim, settings);
            let first = recovered.lanes[0].number;
            let waiting = pending(&recovered, first);
            assert!(recovered.report.is_whole(), "{start}: {}", recovered.report);
            // Some of the second half, so that no segment goes by it.
            let some = &waiting[waiting.len() - 1..];
            deliver_one_by_one(&disk, 1, some);
            match start % 2 {
                0 => crash(&sim, disk, PowerLossRemains::All),
                _ => drop(disk.close()),
            }
        }
        let (disk, recovered) = open(&sim, settings);
        let first = recovered.lanes[0].number;
        deliver_one_by_one(&disk, 2, &accepted);
        assert!(takes_events(&disk, first), "{:?}", disk.health());
        crash(&sim, disk, PowerLossRemains::Nothing);
        let (_, recovered) = open(&sim, settings);
        assert_eq!(delivered(&recovered), [accepted.len() as u64; 2]);
        assert_eq!(recovered.report.lost_all(), 0);
    }
}

/// The power goes at any call while segments are let go by counts: what is settled by them counts once, whether or not
/// their files are gone.
#[test]
fn a_full_disk_counts_once_what_it_lets_go_by_counts_after_a_loss_of_power_at_any_call() {
    for settings in with_and_without_history(MEDIUM) {
        let (sim, accepted) = filled_of(settings, 2);
        for calls in 0..40 {
            for leaves in [
                PowerLossRemains::All,
                PowerLossRemains::Nothing,
                PowerLossRemains::Some(calls),
            ] {
                let at = format!("{calls} {leaves:?}");
                let sim = sim.fork();
                let (disk, recovered) = open(&sim, settings);
                let first = recovered.lanes[0].number;
                // All but the last of the oldest segment: nothing goes yet, and there is no room for more.
                deliver_one_by_one(&disk, 2, &accepted[1..]);
                sim.fail_after(calls, DiskFault::PowerOff);
                deliver_one_by_one(&disk, 2, &accepted[..1]);
                drop(disk.flush().wait());
                crash(&sim, disk, leaves);
                let (disk, recovered) = open(&sim, settings);
                assert_eq!(recovered.report.lost_all(), 0, "{at}: {}", recovered.report);
                let numbers: Vec<_> = recovered.lanes.iter().map(|lane| lane.number).collect();
                for (lane, number) in recovered.lanes.iter().zip(&numbers) {
                    let open = pending(&recovered, *number).len() as u64;
                    assert_eq!(lane.ledger.made(), lane.ledger.delivered + open, "{at}");
                }
                let left = pending(&recovered, numbers[0]);
                deliver_one_by_one(&disk, 2, &left);
                let others = pending(&recovered, numbers[1]);
                deliver_one_by_one(&disk, 2, &others);
                assert!(takes_events(&disk, first), "{at}: {:?}", disk.health());
                assert_eq!(usage(&disk).events, 1, "{at}");
            }
        }
    }
}

/// Outcomes that wait for room are none that a segment has to be emptied of: when the dead letters beside them are
/// discarded it goes, however little room there is for notes.
#[test]
fn a_full_disk_is_emptied_of_dead_letters_while_outcomes_wait_for_room() {
    for settings in with_and_without_history(MEDIUM) {
        let (sim, accepted) = filled_of(settings, 2);
        let (disk, recovered) = open(&sim, settings);
        let lanes: Vec<_> = recovered.lanes.iter().map(|lane| lane.number).collect();
        deliver_one_by_one(&disk, 1, &accepted);
        let segment = disk.room().crowded_segment().unwrap();
        let of_second = segment.events.iter().all(|event| {
            let lanes_of: Vec<_> = event.lanes.iter().map(|(lane, _)| *lane).collect();
            lanes_of == [lanes[1]]
        });
        assert!(of_second, "what waits is not open: {segment:?}");
        assert!(segment.fits(segment.events.len(), 0));
        let reason = DeliverySettlement::Discarded(DiscardReason::DeadLetterOverflow);
        let discards = segment.events.iter().map(|event| (event.sequence, reason));
        disk.settle(lanes[1], &discards.collect::<Vec<_>>());
        disk.room().empty(&segment);
        let emptied = (0..50).any(|_| {
            drop(disk.flush().wait());
            sim.contents(&segment_name(segment.number)).is_none()
        });
        assert!(emptied, "{:?}", disk.health());
        assert!(takes_events(&disk, lanes[0]), "{:?}", disk.health());
        crash(&sim, disk, PowerLossRemains::Nothing);
        let (_, recovered) = open(&sim, settings);
        assert!(recovered.report.is_whole(), "{}", recovered.report);
        for lane in &recovered.lanes {
            let open = pending(&recovered, lane.number).len() as u64;
            assert_eq!(lane.ledger.made(), lane.ledger.settled() + open);
        }
        let discarded = DiscardReason::DeadLetterOverflow;
        let discarded = recovered.lanes[1].ledger.discarded(discarded);
        assert_eq!(discarded, segment.events.len() as u64);
    }
}
