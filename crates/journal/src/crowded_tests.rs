//! A full disk whose oldest segment holds dead letters, and what emptying it brings.

use super::*;
use crate::full_disk::CrowdedEvent;

/// A journal of two lanes on a disk without room for one more segment; the second has a dead letter of every event, and
/// of every third the first has not taken it either.
fn crowded(settings: JournalSettings) -> (SimulatedDisk, DiskJournal, [LaneId; 2], Vec<u64>) {
    let sim = SimulatedDisk::default();
    sim.set_room(Some(4 * settings.segment_bytes + (16 << 10)));
    let disk = with_past(&sim, settings);
    let lanes = [lane(&disk, "hub"), lane(&disk, "topic")];
    let mut accepted = Vec::new();
    while disk.room().shortage().is_none() {
        let sequence = append(&disk, &accepted.len().to_string(), &lanes);
        if accepted.len() % 3 > 0 {
            disk.settle(lanes[0], &[(sequence, DeliverySettlement::Delivered)]);
        }
        let letter = DeadLetter {
            reason: DeadLetterReason::Overflow,
            attempts: 0,
            died_at: Timestamp::from_unix_millis(5),
            last_attempt_at: None,
            outcome: "".into(),
        };
        disk.dead_letter(lanes[1], sequence, Arc::new(letter));
        accepted.push(sequence);
    }
    (sim, disk, lanes, accepted)
}

/// It is known while there is room in the active segment, and nothing is refused.
#[test]
fn a_full_disk_is_known_before_an_event_is_refused_for_it() {
    for settings in with_and_without_history(CROWDED) {
        let (sim, disk, lanes, accepted) = crowded(settings);
        assert_eq!(disk.health(), JournalHealth::Ok);
        assert!(disk.room().is_tight());
        let segment = disk.room().crowded_segment().unwrap();
        let first = accepted[..segment.events.len()].to_vec();
        let sequences = segment.events.iter().map(|event| event.sequence);
        assert_eq!(
            sequences.collect::<Vec<_>>(),
            first,
            "all of the oldest segment"
        );
        assert!(segment.held > settings.segment_bytes);
        for (place, event) in segment.events.iter().enumerate() {
            let mut expected = vec![(lanes[0], false), (lanes[1], true)];
            expected.drain(..usize::from(place % 3 > 0));
            assert_eq!(event.lanes, expected, "{place}");
            assert!(event.copied_bytes > event.bytes);
        }
        assert!(segment.fits(first.len(), 0));
        assert!(
            !segment.fits(first.len(), settings.segment_bytes / 2),
            "half is used up"
        );
        append(&disk, "one more", &lanes);
        sim.set_room(None);
    }
}

/// What is discarded goes, what is not is carried forward, and then there is a segment again: also after a kill at any
/// call.
#[test]
fn a_full_disk_has_room_when_its_oldest_segment_was_emptied() {
    for settings in with_and_without_history(CROWDED) {
        let emptied = |calls: Option<u64>, leaves: PowerLossRemains| {
            let (sim, disk, lanes, accepted) = crowded(settings);
            let segment = disk.room().crowded_segment().unwrap();
            let of_one = |event: &&CrowdedEvent| event.lanes.len() == 1;
            let gone: Vec<u64> = segment
                .events
                .iter()
                .filter(of_one)
                .map(|one| one.sequence)
                .collect();
            let reason = DeliverySettlement::Discarded(DiscardReason::DeadLetterOverflow);
            let settled: Vec<_> = gone.iter().map(|one| (*one, reason)).collect();
            if let Some(calls) = calls {
                sim.fail_after(calls, DiskFault::PowerOff);
            }
            disk.settle(lanes[1], &settled);
            disk.room().empty(&segment);
            while calls.is_none() && disk.room().shortage().is_some() {
                std::thread::yield_now();
            }
            let was_emptied = disk.room().shortage().is_none();
            if calls.is_some() {
                drop(disk.flush().wait());
                drop(disk.flush().wait());
            } else {
                for id in 0..20 {
                    append(&disk, &format!("more {id}"), &[lanes[0]]);
                }
                assert_eq!(disk.health(), JournalHealth::Ok);
            }
            crash(&sim, disk, leaves);
            let (_, recovered) = open(&sim, settings);
            assert!(
                recovered.report.is_whole(),
                "{calls:?}: {}",
                recovered.report
            );
            let mut lanes_of = recovered.lanes.iter();
            let down = lanes_of.find(|one| one.number == lanes[1]).unwrap();
            let left = pending(&recovered, lanes[1]);
            assert!(
                accepted
                    .iter()
                    .all(|one| left.contains(one) || gone.contains(one))
            );
            let discarded = down.ledger.discarded(DiscardReason::DeadLetterOverflow);
            assert_eq!(
                discarded + left.len() as u64,
                down.ledger.matched,
                "{calls:?}"
            );
            if calls.is_none() {
                assert_eq!(discarded, gone.len() as u64);
                assert!(was_emptied && sim.contents(&segment_name(segment.number)).is_none());
            }
        };
        emptied(None, PowerLossRemains::All);
        for calls in 0..16 {
            for leaves in [
                PowerLossRemains::All,
                PowerLossRemains::Nothing,
                PowerLossRemains::Some(calls),
            ] {
                emptied(Some(calls), leaves);
            }
        }
    }
}

/// A group with events is not refused since what is carried forward with it has no room.
#[test]
fn a_full_disk_takes_events_though_nothing_can_be_carried_forward() {
    for settings in with_and_without_history(CROWDED) {
        let (_sim, disk, lanes, _) = crowded(settings);
        let segment = disk.room().crowded_segment().unwrap();
        // More than half of a segment, into less than that.
        disk.room().empty(&segment);
        for id in 0..4 {
            append(&disk, &format!("more {id}"), &lanes);
            assert_eq!(disk.health(), JournalHealth::Ok);
        }
        assert_eq!(
            disk.room().crowded_segment().unwrap().number,
            segment.number
        );
    }
}
