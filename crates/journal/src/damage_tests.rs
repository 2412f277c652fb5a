//! Damage: every bit flipped, every cut, what is told of it, and what a repair leaves.

use super::super::disk::tests::{SETTINGS, append, clock, crash, lane, open, read, repaired};
use super::super::file_names::segment_of;
use super::super::frame::FramePlace;
use super::super::keys::EventSealing;
use super::super::record::JournalRecord;
use super::super::report::{DamageKind, JournalReport};
use super::super::sim::{PowerLossRemains, SimulatedDisk};
use super::super::storage::Storage;
use super::super::{
    DiskJournal, JournalSettings, LaneId, LaneState, LedgerCorrection, LostDelivery, NewEvent,
    repair, sim,
};
use super::*;
use crate::ledger::{DeliverySettlement, DiscardReason};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::{DeadLetter, DeadLetterReason};
use twinroute_model::event::{EventLimits, EventParts};

const SEGMENT: &str = "0000000000000001.seg";

/// The place of a text in the first segment.
fn find(sim: &SimulatedDisk, text: &str) -> usize {
    let file = sim.contents(SEGMENT).unwrap();
    let mut windows = file.windows(text.len());
    windows.position(|bytes| bytes == text.as_bytes()).unwrap()
}

fn lost_deliveries(found: &LogContents) -> Vec<String> {
    found.report.lost.iter().map(ToString::to_string).collect()
}

#[test]
fn what_damage_took_is_named_delivery_by_delivery() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let (hub, topic) = (lane(&disk, "hub"), lane(&disk, "topic"));
    append(&disk, "whole", &[hub]);
    let broken = append(&disk, "broken", &[hub, topic]);
    let headless = append(&disk, "headless", &[hub]);
    disk.settle(topic, &[(broken, DeliverySettlement::Delivered)]);
    disk.flush().wait().unwrap();
    append(&disk, "last", &[hub]);
    crash(&sim, disk, PowerLossRemains::Nothing);
    // In the data of one event, and the magic of the next one's record.
    let at = find(&sim, "broken");
    let brace = find(&sim, "headless");
    sim.flip(SEGMENT, at + 150, 0);
    let file = sim.contents(SEGMENT).unwrap();
    let magic = (0..brace)
        .rev()
        .find(|at| file[*at..].starts_with(&[0xf1, b'T']));
    sim.flip(SEGMENT, magic.unwrap(), 0);

    let found = super::read(&sim, &mut |_, _| {}).unwrap();
    let expect = [
        format!(r#"sequence {broken}: lost for default/hub; event "broken" of "s""#),
        format!(r#"sequence {headless}: lost for default/hub; event "headless" of "s""#),
    ];
    let lost = lost_deliveries(&found);
    assert_eq!(lost, expect, "{}", found.report);
    let correction = &found.report.corrections[0];
    assert_eq!((correction.lost, correction.again), (2, 0));
    let text = found.report.to_string();
    assert!(
        text.contains("default/hub: 2 deliveries counted as lost, 0 to be"),
        "{text}"
    );
    // The next open tells the same, and counts nothing twice.
    for _ in 0..2 {
        let (disk, recovered) = open(&sim, SETTINGS);
        let hub = &recovered.lanes[0];
        assert_eq!(hub.ledger.discarded(DiscardReason::Lost), 2);
        assert_eq!((hub.pending.len(), hub.ledger.matched), (2, 4));
        assert_eq!(recovered.report.lost.len(), 2);
        crash(&sim, disk, PowerLossRemains::Nothing);
    }
}

#[test]
fn a_repair_saves_what_is_damaged_and_keeps_what_is_not() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let all = ["a1", "b2", "c3"].map(|id| append(&disk, id, &[hub]));
    disk.close().unwrap();
    drop(disk);
    let at = find(&sim, "b2");
    sim.flip(SEGMENT, at, 1);
    let mut text = Vec::new();
    let storage: Arc<dyn Storage> = Arc::new(sim.clone());
    repair(Arc::clone(&storage), clock(), &EventSealing::Off, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.ends_with("2 events carried forward, 1 segment removed\n"),
        "{text}"
    );
    let names = storage.list().unwrap();
    let saved = names
        .iter()
        .find(|name| name.starts_with("quarantine-0000000000000001-"));
    let saved = sim.contents(saved.unwrap()).unwrap();
    assert!(saved.windows(6).any(|bytes| bytes == b"source"), "{text}");
    assert!(sim.contents(SEGMENT).is_none());

    let found = super::read(&sim, &mut |_, _| {}).unwrap();
    assert!(found.report.is_whole(), "{}", found.report);
    let mut again = Vec::new();
    repair(storage, clock(), &EventSealing::Off, &mut again).unwrap();
    assert!(again.ends_with(b"nothing to repair\n"));
    let (disk, recovered) = open(&sim, SETTINGS);
    let pending: Vec<u64> = recovered.lanes[0]
        .pending
        .iter()
        .map(|one| one.sequence)
        .collect();
    assert_eq!(pending, [all[0], all[2]]);
    assert_eq!(read(&disk, all[2]), "c3");
    assert_eq!(recovered.lanes[0].ledger.discarded(DiscardReason::Lost), 1);
}

#[test]
fn a_power_cut_in_a_repair_loses_nothing() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    for id in ["a1", "b2", "c3"] {
        append(&disk, id, &[hub]);
    }
    disk.close().unwrap();
    drop(disk);
    let at = find(&sim, "b2");
    sim.flip(SEGMENT, at, 1);
    for calls in 0.. {
        let sim = sim.fork();
        sim.fail_after(calls, sim::DiskFault::PowerOff);
        let done = repaired(&sim).is_ok();
        sim.power_off();
        sim.power_on(PowerLossRemains::Some(calls));
        repaired(&sim).unwrap();
        let (_, recovered) = open(&sim, SETTINGS);
        assert!(
            recovered.report.is_whole(),
            "call {calls}: {}",
            recovered.report
        );
        assert_eq!(recovered.lanes[0].pending.len(), 2, "call {calls}");
        assert_eq!(
            recovered.lanes[0].ledger.discarded(DiscardReason::Lost),
            1,
            "call {calls}"
        );
        if done {
            assert!(calls > 8);
            break;
        }
    }
}

/// A small journal that has records of all kinds, and was not closed in order. The lanes that were
/// ever used are 1 and 2, the sequences up to what is given back.
fn of_all_kinds() -> (SimulatedDisk, u64) {
    let sim = SimulatedDisk::default();
    let small = |segment_bytes| JournalSettings {
        segment_bytes,
        ..SETTINGS
    };
    let tiny = |id: u64, lanes: &[LaneId]| NewEvent {
        event: EventParts::new(&id.to_string(), "s", "t")
            .build(&EventLimits::default())
            .unwrap(),
        twin: id,
        lanes: lanes.to_vec(),
    };
    let put = |disk: &DiskJournal, id: u64, lanes: &[LaneId]| {
        let appended = disk.append(vec![tiny(id, lanes)]).unwrap();
        appended.durable.wait().unwrap();
        appended.entries[0].sequence
    };
    let (disk, _) = open(&sim, small(700));
    let (hub, topic) = (lane(&disk, "hub"), lane(&disk, "topic"));
    let kept = put(&disk, 1, &[hub, topic]);
    let letter = Arc::new(DeadLetter {
        reason: DeadLetterReason::Expired,
        attempts: 1,
        died_at: Timestamp::from_unix_millis(9),
        last_attempt_at: None,
        outcome: "x".into(),
    });
    for id in 2..8 {
        let settled = put(&disk, id, &[topic]);
        disk.settle(topic, &[(settled, DeliverySettlement::Delivered)]);
        disk.flush().wait().unwrap();
    }
    crash(&sim, disk, PowerLossRemains::Nothing);
    let (disk, _) = open(&sim, small(2_500));
    let dead = put(&disk, 16, &[hub]);
    disk.dead_letter(hub, dead, Arc::clone(&letter));
    disk.attempt(hub, kept, 2, Some(Timestamp::from_unix_millis(7)));
    let state = LaneState {
        paused: true,
        still: Duration::ZERO,
        still_since: None,
    };
    disk.set_lane_state(hub, state);
    let replay = disk
        .replay(hub, Some(dead), tiny(16, &[]).event, 16)
        .unwrap();
    replay.durable.wait().unwrap();
    let next = put(&disk, 17, &[hub, topic]);
    disk.settle(topic, &[(next, DeliverySettlement::Delivered)]);
    disk.dead_letter(hub, next, letter);
    disk.flush().wait().unwrap();
    crash(&sim, disk, PowerLossRemains::Nothing);
    (sim, next)
}

/// Every delivery that is open; holds the counts against them.
fn deliveries(found: &LogContents) -> BTreeSet<(u32, u64)> {
    let mut open = BTreeSet::new();
    for (sequence, live) in found.index.events.from(0) {
        open.extend(live.open.as_slice().iter().map(|one| (one.lane, sequence)));
    }
    for (number, lane) in &found.index.lanes {
        let here = open.iter().filter(|(lane, _)| lane == number).count() as u64;
        assert_eq!(lane.ledger.made(), lane.ledger.settled() + here);
    }
    open
}

/// Whether a report says that a delivery is lost, or may be.
fn is_reported(report: &JournalReport, (lane, sequence): (u32, u64)) -> bool {
    let named = |one: &LostDelivery| {
        let of_lane = one.lane.as_ref().is_none_or(|(number, _)| *number == lane);
        of_lane && one.sequence == sequence
    };
    // A record whose kind cannot be read is known by the counts behind it alone.
    let counted = |one: &LedgerCorrection| one.lane == lane && one.lost > 0;
    report.damage[0].kind == DamageKind::Cut
        || report.lost.iter().any(named)
        || report.corrections.iter().any(counted)
}

#[test]
fn any_flipped_bit_costs_its_record_only_and_is_reported() {
    let (sim, last) = of_all_kinds();
    let whole = super::read(&sim, &mut |_, _| {}).unwrap();
    let (open, report) = (deliveries(&whole), &whole.report);
    assert!(
        report.damage.is_empty() && open.len() == 4,
        "{open:?}: {report}"
    );
    let mut kinds = BTreeSet::new();
    super::read(&sim, &mut |_, record| {
        kinds.insert(
            format!("{record:?}")
                .split([' ', '(', '{'])
                .next()
                .map(str::to_owned),
        );
    })
    .unwrap();
    // All but the cut that is told once and the end that was not reached.
    assert_eq!(kinds.len(), 15, "{kinds:?}");
    let names = sim.list().unwrap();
    let names = names.iter().filter(|name| segment_of(name).is_some());
    let newest = names.clone().next_back().unwrap();
    for name in names {
        let file = sim.contents(name).unwrap();
        // Where others end is known: what stands behind is not read.
        let behind = if name == newest { 2 } else { 0 };
        let end = file.iter().rposition(|byte| *byte != 0).unwrap() + 1 + behind;
        let used = 0..end.min(file.len());
        let bits = used.flat_map(|byte| {
            // Inside an event one bit is as good as another.
            let in_json = file[..byte]
                .iter()
                .rev()
                .take_while(|byte| byte.is_ascii_graphic());
            let all = in_json.count() < 12;
            (0..8)
                .filter(move |bit| all || byte % 8 == *bit)
                .map(move |bit| (byte, bit as u8))
        });
        for (byte, bit) in bits {
            sim.flip(name, byte, bit);
            let found = super::read(&sim, &mut |_, _| {}).unwrap();
            sim.flip(name, byte, bit);
            let at = || format!("{name} byte {byte} bit {bit}: {}", found.report);
            assert!(!found.report.damage.is_empty(), "{}", at());
            let left = deliveries(&found);
            for lost in open.difference(&left) {
                assert!(is_reported(&found.report, *lost), "{lost:?} {}", at());
            }
            for again in left.difference(&open) {
                assert!(again.0 <= 2 && again.1 <= last, "{again:?} {}", at());
            }
        }
    }
}

#[test]
fn a_cut_anywhere_in_the_last_segment_leaves_all_groups_before_it() {
    let (sim, _) = of_all_kinds();
    let names = sim.list().unwrap();
    let segments = names.iter().filter(|name| segment_of(name).is_some());
    let name = segments.max().unwrap();
    let file = sim.contents(name).unwrap();
    let mut groups = Vec::new();
    super::read(&sim, &mut |FramePlace {
                                segment, offset, ..
                            },
                            record| {
        if segment_name(segment) == *name && matches!(record, JournalRecord::Group(_)) {
            groups.push(usize::try_from(offset).unwrap());
        }
    })
    .unwrap();
    groups.push(file.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    let cut_at = |at: usize| {
        let cut = sim.fork();
        cut.overwrite(name, at, &vec![0; file.len() - at]);
        super::read(&cut, &mut |_, _| {}).unwrap()
    };
    assert!(groups.len() > 3, "{groups:?}");
    for group in groups.windows(2) {
        let (before, after) = (deliveries(&cut_at(group[0])), deliveries(&cut_at(group[1])));
        for at in group[0]..group[1] {
            let found = deliveries(&cut_at(at));
            let kept = before.intersection(&after).all(|one| found.contains(one));
            assert!(kept, "cut at {at}");
            let known = found
                .iter()
                .all(|one| before.contains(one) || after.contains(one));
            assert!(known, "cut at {at}");
        }
    }
}

/// A killed journal with five deliveries of three events that wait for three lanes.
fn five_waiting() -> SimulatedDisk {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let [one, two, three] = ["one", "two", "three"].map(|name| lane(&disk, name));
    for lanes in [&[one, three][..], &[one, two], &[three]] {
        append(&disk, "waits", lanes);
    }
    crash(&sim, disk, PowerLossRemains::All);
    sim
}

/// What is lost in all and what waits are those five, at this start and at the next.
fn are_five(damaged: &SimulatedDisk, what: &str) {
    for start in 0..2 {
        let (disk, recovered) = open(damaged, SETTINGS);
        let waiting: usize = recovered.lanes.iter().map(|lane| lane.pending.len()).sum();
        let report = &recovered.report;
        let all = report.lost_all() + waiting as u64;
        assert_eq!(all, 5, "{what}, start {start}: {report}");
        crash(damaged, disk, PowerLossRemains::All);
    }
}

fn zeroed(sim: &SimulatedDisk, segment: u64, from: u64, to: u64) -> SimulatedDisk {
    let damaged = sim.fork();
    let zeros = vec![0; usize::try_from(to - from).unwrap()];
    let name = crate::file_names::segment_name(segment);
    damaged.overwrite(&name, usize::try_from(from).unwrap(), &zeros);
    damaged
}

/// Where damage takes the counts of some lanes and leaves those of others, behind events that were carried
/// forward: what the lanes without counts have lost is counted too.
#[test]
fn counts_that_stand_in_damage_are_not_taken_for_those_of_all_lanes() {
    let sim = five_waiting();
    // The next start begins a segment, with counts and with what is carried into it.
    let (disk, _) = open(&sim, SETTINGS);
    while sim.contents(SEGMENT).is_some() {
        disk.flush().wait().unwrap();
    }
    crash(&sim, disk, PowerLossRemains::All);
    let mut places = Vec::new();
    super::read(&sim, &mut |place, _| places.push(place)).unwrap();
    let ends = places.iter().map(|one| one.offset + u64::from(one.bytes));
    let ends: Vec<_> = ends.collect();
    for (first, from) in places.iter().enumerate() {
        for to in &ends[first..] {
            let damaged = zeroed(&sim, from.segment, from.offset, *to);
            are_five(&damaged, &format!("{} to {to}", from.offset));
        }
    }
}

/// An event that was carried forward stands in two places for a while: a damaged head of the second, whatever
/// sequence it seems to have, makes no loss of it.
#[test]
fn a_damaged_head_of_what_was_carried_forward_is_no_loss_while_the_first_is_there() {
    let sim = five_waiting();
    let (disk, _) = open(&sim, SETTINGS);
    let carried = (0..200).find_map(|_| {
        disk.flush().wait().unwrap();
        let killed = sim.fork();
        killed.power_off();
        killed.power_on(PowerLossRemains::All);
        let (mut copies, mut is_first_there) = (Vec::new(), false);
        super::read(&killed, &mut |place, record| match record {
            JournalRecord::Copy { .. } => copies.push(place),
            JournalRecord::Event { .. } => is_first_there = true,
            _ => {}
        })
        .unwrap();
        (is_first_there && !copies.is_empty()).then_some((killed, copies))
    });
    let (sim, copies) = carried.expect("the first is let go later than it is carried forward");
    for place in copies {
        for (at, bytes) in (0..64).flat_map(|at| [1, 4, 11].map(|bytes| (at, bytes))) {
            let from = place.offset + at;
            let damaged = zeroed(&sim, place.segment, from, from + bytes);
            are_five(&damaged, &format!("{bytes} at {at} of {place:?}"));
        }
    }
}
