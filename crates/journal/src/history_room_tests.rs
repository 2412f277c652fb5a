//! A full disk with a history: it goes first and at once, and takes no room from what nobody may lose.

use super::*;
use crate::FailedSendFault;
use crate::full_disk::CrowdedSegment;

/// Whoever waits for room is not to wait for the next try.
const PATIENT: JournalSettings = JournalSettings {
    retry_delay: Duration::from_secs(3_600),
    ..CROWDED
};

/// While anything waits for room there is no history.
fn no_history_on_a_tight_disk(disk: &DiskJournal) {
    let (room, usage) = (disk.room(), disk.usage());
    if room.is_tight() || room.shortage().is_some() {
        assert_eq!(usage.history_bytes, 0, "{usage:?}");
    }
}

/// Appends until the disk is full; gives what was accepted.
fn fill(disk: &DiskJournal, hub: LaneId) -> Vec<u64> {
    let mut accepted = Vec::new();
    loop {
        no_history_on_a_tight_disk(disk);
        let appended = disk.append(vec![new(&accepted.len().to_string(), &[hub])]);
        let Ok(appended) = appended else {
            return accepted;
        };
        let sequence = appended.entries[0].sequence;
        match appended.durable.wait() {
            Ok(()) => accepted.push(sequence),
            Err(_) => return accepted,
        }
    }
}

#[test]
fn a_full_disk_accepts_again_as_soon_as_outcomes_make_room() {
    for settings in with_and_without_history(PATIENT) {
        let sim = SimulatedDisk::default();
        sim.set_room(Some(4 * settings.segment_bytes + (16 << 10)));
        let disk = with_past(&sim, settings);
        let hub = lane(&disk, "hub");
        for round in 0..4 {
            let accepted = fill(&disk, hub);
            assert!(accepted.len() > 400, "{round}: {}", accepted.len());
            let settled = accepted.iter();
            let settled = settled.map(|one| (*one, DeliverySettlement::Delivered));
            disk.settle(hub, &settled.collect::<Vec<_>>());
            drop(disk.flush().wait());
            let tries = (0..4).find(|_| disk.flush().wait().is_ok());
            let health = disk.health();
            assert!(tries.is_some(), "{round} {settings:?}: {health:?}");
            assert_eq!(health, JournalHealth::Ok, "{round} {settings:?}");
            no_history_on_a_tight_disk(&disk);
        }
    }
}

/// Discards what the oldest segment holds, as whoever makes room does.
fn empty(disk: &DiskJournal, lane: LaneId, segment: &CrowdedSegment) {
    let reason = DeliverySettlement::Discarded(DiscardReason::DeadLetterOverflow);
    let settled = segment.events.iter().map(|event| (event.sequence, reason));
    disk.settle(lane, &settled.collect::<Vec<_>>());
    disk.room().empty(segment);
}

/// Much more than the disk holds, all of it dead letters: as long as the oldest go, nothing is refused.
#[test]
fn a_full_disk_of_dead_letters_goes_on_for_ever() {
    for settings in with_and_without_history(PATIENT) {
        let sim = SimulatedDisk::default();
        sim.set_room(Some(4 * settings.segment_bytes + (16 << 10)));
        let disk = with_past(&sim, settings);
        let hub = lane(&disk, "hub");
        let letter = Arc::new(DeadLetter {
            reason: DeadLetterReason::Overflow,
            attempts: 0,
            died_at: Timestamp::from_unix_millis(5),
            last_attempt_at: None,
            outcome: "".into(),
        });
        let mut emptied = 0;
        for id in 0..6_000 {
            if let Some(segment) = disk.room().crowded_segment() {
                empty(&disk, hub, &segment);
                emptied += 1;
                drop(disk.flush().wait());
            }
            let sequence = append(&disk, &id.to_string(), &[hub]);
            disk.dead_letter(hub, sequence, Arc::clone(&letter));
            disk.record_failed(
                hub,
                FailedSendFault::Event,
                "413: too large".repeat(20),
                vec![sequence],
            );
            no_history_on_a_tight_disk(&disk);
        }
        assert!(emptied > 20, "{emptied}");
        assert_eq!(disk.health(), JournalHealth::Ok);
    }
}

/// What only the history reads is dropped where there is no room for it: a batch that would fit without it is accepted,
/// and outcomes are recorded.
#[test]
fn a_full_disk_drops_what_only_the_history_reads() {
    for settings in with_and_without_history(PATIENT) {
        let sim = SimulatedDisk::default();
        let disk = with_past(&sim, settings);
        let hub = lane(&disk, "hub");
        let first = append(&disk, "first", &[hub]);
        let many: Vec<u64> = (0..20_000).collect();
        let fails = || {
            disk.record_failed(
                hub,
                FailedSendFault::Endpoint,
                "503".to_owned(),
                many.clone(),
            )
        };
        sim.set_room(Some(0));
        for id in 0..20 {
            fails();
            append(&disk, &id.to_string(), &[hub]);
        }
        fails();
        disk.settle(hub, &[(first, DeliverySettlement::Delivered)]);
        disk.flush().wait().unwrap();
        assert_eq!(disk.health(), JournalHealth::Ok);
        crash(&sim, disk, PowerLossRemains::Nothing);
        let (_, recovered) = open(&sim, settings);
        assert_eq!(pending(&recovered, hub).len(), 20);
    }
}

/// The history of an earlier process gives way to the first segment of the next one.
#[test]
fn a_start_on_a_full_disk_takes_the_room_of_the_history() {
    let [_, settings] = with_and_without_history(PATIENT);
    let sim = SimulatedDisk::default();
    let disk = with_past(&sim, settings);
    let hub = lane(&disk, "hub");
    let first = append(&disk, "first", &[hub]);
    assert!(disk.usage().history_bytes > 0);
    crash(&sim, disk, PowerLossRemains::All);
    sim.set_room(Some(0));
    let (disk, recovered) = open(&sim, settings);
    assert_eq!(pending(&recovered, hub), [first]);
    assert!(
        matches!(disk.health(), JournalHealth::Full(_)),
        "no room at all"
    );
    assert_eq!(disk.usage().history_bytes, 0);
}

/// A start finds no room at all: what was done before is no history then, but room for a segment.
#[test]
fn a_start_on_a_full_disk_accepts_as_soon_as_dead_letters_make_room() {
    for settings in with_and_without_history(PATIENT) {
        let sim = SimulatedDisk::default();
        sim.set_room(Some(4 * settings.segment_bytes + (16 << 10)));
        let disk = with_past(&sim, settings);
        let hub = lane(&disk, "hub");
        fill(&disk, hub);
        crash(&sim, disk, PowerLossRemains::All);
        let (disk, _) = open(&sim, settings);
        assert!(matches!(disk.health(), JournalHealth::Full(_)));
        let segment = disk.room().crowded_segment().unwrap();
        empty(&disk, hub, &segment);
        let is_well = |_: &usize| disk.flush().wait().is_ok() && disk.health() == JournalHealth::Ok;
        assert!((0..4).find(is_well).is_some(), "{:?}", disk.health());
        append(&disk, "next", &[hub]);
        no_history_on_a_tight_disk(&disk);
    }
}

/// Where it is known how much room there is, a history leaves some for others, and no file is begun that has none.
#[test]
fn a_history_leaves_room_where_the_disk_says_how_much_it_has() {
    let [_, settings] = with_and_without_history(PATIENT);
    let sim = SimulatedDisk::default();
    sim.report_room();
    sim.set_room(Some(12 * settings.segment_bytes));
    let disk = with_past(&sim, settings);
    let hub = lane(&disk, "hub");
    let mut most = 0;
    let deliver = |id: usize| {
        let sequence = append(&disk, &id.to_string(), &[hub]);
        disk.settle(hub, &[(sequence, DeliverySettlement::Delivered)]);
        // The answer came before the writer had looked after the room.
        disk.flush().wait().unwrap();
        disk.flush().wait().unwrap();
        let free = sim.free_bytes().unwrap();
        assert!(free >= settings.segment_bytes, "{id}: {free}");
        assert!(!disk.room().is_tight(), "{id}");
        disk.usage().history_bytes
    };
    for id in 0..3_000 {
        most = most.max(deliver(id));
    }
    assert!(most > 4 * settings.segment_bytes, "{most}");
    // Somebody else takes what is free: the history goes with the next group, as far as it has to.
    let length = |name: &String| sim.len(name).unwrap();
    sim.set_room(Some(sim.list().unwrap().iter().map(length).sum()));
    let left = deliver(3_000);
    assert!(left > 0 && left < most, "{left} of {most}");
    // And before anything is written at a start.
    crash(&sim, disk, PowerLossRemains::All);
    sim.delete(NEXT_SEGMENT);
    let length = |name: &String| sim.len(name).unwrap();
    sim.set_room(Some(sim.list().unwrap().iter().map(length).sum()));
    let (disk, _) = open_sealed(&sim, settings, &seal(1));
    assert!(disk.usage().history_bytes < left);
}

/// Others that need the room of the disk get it though nothing is written to the journal.
#[test]
fn a_history_gives_its_room_to_others_while_nothing_is_written() {
    let [_, settings] = with_and_without_history(PATIENT);
    let sim = SimulatedDisk::default();
    sim.report_room();
    let disk = with_past(&sim, settings);
    assert!(disk.usage().history_bytes > 0);
    sim.set_room(Some(0));
    while disk.usage().history_bytes > 0 {
        std::thread::yield_now();
    }
    let names = sim.list().unwrap();
    let segments = names.iter().filter(|name| segment_of(name).is_some());
    assert!((1..=2).contains(&segments.count()), "what is needed stays");
}
