//! What is kept beside deliveries that go their way: dead letters, replays, lane states, and events
//! that are read back.

use super::super::sim::{DiskFault, PowerLossRemains, SimulatedDisk};
use super::super::{JournalHealth, RecoveredJournal, RecoveredLane};
use super::tests::{SETTINGS, append, crash, lane, new, open, read, usage};
use super::*;
use crate::ledger::DiscardReason;
use std::sync::atomic::{AtomicBool, Ordering};
use twinroute_model::dead_letter::DeadLetterReason;

fn letter(outcome: &str) -> Arc<DeadLetter> {
    Arc::new(DeadLetter {
        reason: DeadLetterReason::Expired,
        attempts: 4,
        died_at: Timestamp::from_unix_millis(5_000),
        last_attempt_at: Some(Timestamp::from_unix_millis(4_000)),
        outcome: DeadLetter::outcome(outcome),
    })
}

/// Enough settled events to roll through several segments and empty the oldest.
fn push_on(disk: &DiskJournal, lane: LaneId) {
    for id in 0..300 {
        let sequence = append(disk, &id.to_string(), &[lane]);
        disk.settle(lane, &[(sequence, DeliverySettlement::Delivered)]);
    }
    for _ in 0..4 {
        disk.flush().wait().unwrap();
    }
}

fn known(recovered: &RecoveredJournal, number: LaneId) -> &RecoveredLane {
    let found = recovered.lanes.iter().find(|lane| lane.number == number);
    let lane = found.unwrap();
    let made = lane.ledger.settled() + lane.pending.len() as u64;
    assert_eq!(lane.ledger.made(), made);
    lane
}

#[test]
fn dead_letters_stay_until_they_are_settled_and_share_their_notes() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let (hub, topic) = (lane(&disk, "hub"), lane(&disk, "topic"));
    let dead: Vec<u64> = (0..5)
        .map(|id| append(&disk, &id.to_string(), &[hub, topic]))
        .collect();
    for sequence in &dead {
        disk.dead_letter(hub, *sequence, letter("503: busy"));
    }
    disk.settle(
        topic,
        &dead
            .iter()
            .map(|one| (*one, DeliverySettlement::Delivered))
            .collect::<Vec<_>>(),
    );
    disk.flush().wait().unwrap();
    push_on(&disk, topic);
    assert!(
        sim.contents("0000000000000001.seg").is_none(),
        "carried forward"
    );
    disk.settle(hub, &[(dead[0], DeliverySettlement::DeadLettered)]);
    disk.settle(
        hub,
        &[(
            dead[1],
            DeliverySettlement::Discarded(DiscardReason::Purged),
        )],
    );
    disk.flush().wait().unwrap();
    crash(&sim, disk, PowerLossRemains::Nothing);

    let (disk, recovered) = open(&sim, SETTINGS);
    let hub = known(&recovered, hub);
    let sequences: Vec<u64> = hub.pending.iter().map(|one| one.sequence).collect();
    assert_eq!(sequences, dead[2..]);
    let first = hub.pending[0].dead.clone().unwrap();
    assert_eq!(first, letter("503: busy"));
    for one in &hub.pending {
        assert!(Arc::ptr_eq(one.dead.as_ref().unwrap(), &first));
    }
    assert_eq!(hub.ledger.dead_lettered, 1);
    assert_eq!(hub.ledger.discarded(DiscardReason::Purged), 1);
    assert_eq!(read(&disk, dead[4]), "4");
    assert_eq!(usage(&disk).events, 3);
}

#[test]
fn a_replay_and_the_end_of_its_dead_letter_are_one() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let dead = append(&disk, "a", &[hub]);
    disk.dead_letter(hub, dead, letter(""));
    let event = disk.read(&[dead]).remove(0).unwrap();
    let replayed = disk.replay(hub, Some(dead), event.clone(), 9).unwrap();
    let replayed_as = replayed.entries[0].sequence;
    replayed.durable.wait().unwrap();
    // The same again: there is nothing to settle any more. And one that was never kept here.
    let again = disk.replay(hub, Some(dead), event.clone(), 9).unwrap();
    again.durable.wait().unwrap();
    let foreign = disk.replay(hub, None, event, 9).unwrap();
    foreign.durable.wait().unwrap();
    assert_eq!(
        disk.read(&[dead]).remove(0).unwrap_err(),
        UnreadableEvent::Settled
    );
    assert_eq!(read(&disk, replayed_as), "a");
    crash(&sim, disk, PowerLossRemains::Nothing);

    let (_, recovered) = open(&sim, SETTINGS);
    let hub = known(&recovered, hub);
    let ledger = hub.ledger;
    assert_eq!((ledger.matched, ledger.replayed), (1, 3));
    assert_eq!((ledger.dead_replayed, hub.pending.len()), (1, 3));
    assert_eq!(
        (hub.pending[0].sequence, hub.pending[0].twin),
        (replayed_as, 9)
    );
    assert_eq!(hub.pending[0].dead, None);
}

#[test]
fn an_abandoned_replay_leaves_its_dead_letter() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let dead = append(&disk, "a", &[hub]);
    disk.dead_letter(hub, dead, letter("x"));
    disk.flush().wait().unwrap();
    let event = disk.read(&[dead]).remove(0).unwrap();
    sim.fail_after(0, DiskFault::NoRoom);
    sim.set_room(Some(0));
    let replayed = disk.replay(hub, Some(dead), event, 9).unwrap();
    assert!(matches!(
        replayed.durable.wait(),
        Err(NotDurable::Abandoned(_))
    ));
    assert!(matches!(disk.health(), JournalHealth::Full(_)));
    crash(&sim, disk, PowerLossRemains::Nothing);
    sim.set_room(None);
    let (_, recovered) = open(&sim, SETTINGS);
    let hub = known(&recovered, hub);
    assert_eq!((hub.ledger.replayed, hub.ledger.dead_replayed), (0, 0));
    assert_eq!(hub.pending[0].dead, Some(letter("x")));
}

#[test]
fn a_lane_finds_its_state_again() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let (hub, topic) = (lane(&disk, "hub"), lane(&disk, "topic"));
    let state = LaneState {
        paused: true,
        still: Duration::from_millis(1_500),
        still_since: Some(Timestamp::from_unix_millis(77)),
    };
    disk.set_lane_state(
        hub,
        LaneState {
            paused: false,
            ..state
        },
    );
    disk.set_lane_state(hub, state);
    push_on(&disk, topic);
    crash(&sim, disk, PowerLossRemains::Nothing);
    let (_, recovered) = open(&sim, SETTINGS);
    assert_eq!(known(&recovered, hub).state, state);
    assert_eq!(known(&recovered, topic).state, LaneState::default());
}

#[test]
fn events_are_read_in_the_order_asked_for() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let all: Vec<u64> = (0..100)
        .map(|id| append(&disk, &id.to_string(), &[hub]))
        .collect();
    disk.settle(hub, &[(all[50], DeliverySettlement::Delivered)]);
    disk.flush().wait().unwrap();
    let asked = [all[70], all[3], all[50], 12_345, all[3], all[99], all[4]];
    let ids: Vec<_> = disk
        .read(&asked)
        .into_iter()
        .map(|read| read.map(|event| event.id().to_owned()))
        .collect();
    let there = |id: &str| Ok(id.to_owned());
    let gone = || Err(UnreadableEvent::Settled);
    let expect = [
        there("70"),
        there("3"),
        gone(),
        gone(),
        there("3"),
        there("99"),
        there("4"),
    ];
    assert_eq!(ids, expect);
}

#[test]
fn a_damaged_event_is_discarded_and_its_neighbours_are_not() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let all = ["left", "broken", "right"].map(|id| append(&disk, id, &[hub]));
    let name = "0000000000000001.seg";
    let file = sim.contents(name).unwrap();
    let at = file.windows(6).position(|bytes| bytes == b"broken");
    sim.flip(name, at.unwrap(), 0);
    let read = disk.read(&all);
    assert_eq!(read[0].as_ref().unwrap().id(), "left");
    assert_eq!(read[1].as_ref().unwrap_err(), &UnreadableEvent::Damaged);
    assert_eq!(read[2].as_ref().unwrap().id(), "right");
    // It does not keep what stands beside it from being carried forward, nor its segment for ever.
    push_on(&disk, hub);
    disk.settle(
        hub,
        &[(all[1], DeliverySettlement::Discarded(DiscardReason::Lost))],
    );
    push_on(&disk, hub);
    assert!(sim.contents(name).is_none());
    assert_eq!(disk.read(&all)[2].as_ref().unwrap().id(), "right");
}

#[test]
fn reading_goes_on_beside_a_writer_that_carries_forward_and_unlinks() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(super::super::storage::FolderStorage::create(folder.path()).unwrap());
    let clock = Arc::new(twinroute_model::clock::SystemClock);
    let (disk, _) = DiskJournal::open(SETTINGS, storage, clock).unwrap();
    let (hub, topic) = (lane(&disk, "hub"), lane(&disk, "topic"));
    let kept: Vec<u64> = (0..20)
        .map(|id| append(&disk, &id.to_string(), &[hub]))
        .collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reads = [(); 2].map(|()| {
            scope.spawn(|| {
                let mut reads = 0;
                while !done.load(Ordering::Relaxed) || reads == 0 {
                    for (id, read) in disk.read(&kept).into_iter().enumerate() {
                        assert_eq!(read.unwrap().id(), id.to_string());
                    }
                    reads += 1;
                }
            })
        });
        let batch = || (0..10).map(|id| new(&id.to_string(), &[topic])).collect();
        for _ in 0..100 {
            let appended = disk.append(batch()).unwrap();
            let settled = appended.entries.iter();
            let settled: Vec<_> = settled
                .map(|entry| (entry.sequence, DeliverySettlement::Delivered))
                .collect();
            appended.durable.wait().unwrap();
            disk.settle(topic, &settled);
        }
        done.store(true, Ordering::Relaxed);
        for read in reads {
            read.join().unwrap();
        }
    });
    assert!(!folder.path().join("0000000000000001.seg").exists());
    assert!(disk.usage().segments < 6, "{:?}", disk.usage());
}
