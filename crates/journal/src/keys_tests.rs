use super::super::disk::tests::{SETTINGS, clock, crash, lane, pending, repaired};
use super::super::frame;
use super::super::record::JournalRecord;
use super::super::sim::{DiskFault, PowerLossRemains, SimulatedDisk};
use super::super::{
    DamageKind, DiskJournal, LaneId, NewEvent, RecoveredJournal, UnreadableEvent, recover,
};
use super::*;
use crate::ledger::DeliverySettlement;
use proptest::prelude::*;
use std::sync::Arc;
use twinroute_model::event::{EventLimits, EventParts};

const MARK: &str = "marked-by-the-producer";

pub(crate) fn seal(byte: u8) -> EventSealing {
    EventSealing::Seal(Box::new(key(byte)))
}

fn key(byte: u8) -> SealKey {
    SealKey::new(&[byte; KEY_BYTES])
}

fn try_open(
    sim: &SimulatedDisk,
    sealing: &EventSealing,
) -> Result<(DiskJournal, RecoveredJournal), JournalOpenError> {
    DiskJournal::open_sealed(SETTINGS, Arc::new(sim.clone()), clock(), sealing)
}

fn open(sim: &SimulatedDisk, sealing: &EventSealing) -> (DiskJournal, RecoveredJournal) {
    try_open(sim, sealing).unwrap()
}

fn append(disk: &DiskJournal, id: &str, lane: LaneId) -> u64 {
    let parts = EventParts::new(&format!("{MARK}-{id}"), &format!("{MARK}-source"), MARK);
    let event = parts.json(&format!(r#"{{"{MARK}":"{MARK}"}}"#));
    let event = event.build(&EventLimits::default()).unwrap();
    let (twin, lanes) = (7, vec![lane]);
    let appended = disk.append(vec![NewEvent { event, twin, lanes }]).unwrap();
    appended.durable.wait().unwrap();
    appended.entries[0].sequence
}

fn id(disk: &DiskJournal, sequence: u64) -> String {
    let event = disk.read(&[sequence]).remove(0).unwrap();
    event.id().strip_prefix(MARK).unwrap()[1..].to_owned()
}

fn files(sim: &SimulatedDisk) -> BTreeMap<String, Vec<u8>> {
    let names = sim.list().unwrap().into_iter();
    let files = names.map(|name| (name.clone(), sim.contents(&name).unwrap()));
    files.collect()
}

fn is_marked(sim: &SimulatedDisk) -> bool {
    let mark = MARK.as_bytes();
    files(sim)
        .values()
        .any(|file| file.windows(mark.len()).any(|part| part == mark))
}

/// Stamps that were seen on disk, with what was sealed under them.
#[derive(Default)]
pub(crate) struct SeenStamps(BTreeMap<SealStamp, Vec<u8>>);

impl SeenStamps {
    /// Looks at all sealed records whose checksum holds, also at those that no recovery looks at.
    pub(crate) fn check(&mut self, sim: &SimulatedDisk) {
        // The journal may be open and remove files meanwhile.
        let sim = &sim.fork();
        // It is checked again once the power is on.
        if sim.list().is_err() {
            return;
        }
        for (name, bytes) in files(sim) {
            let Some(segment) = super::super::file_names::segment_of(&name) else {
                continue;
            };
            let mut at = 0;
            while let Some(found) = frame::find(&bytes, at, segment) {
                let frame = frame::read(&bytes, found, segment).unwrap();
                at = found + frame.len();
                let event = JournalRecord::event_in(&frame);
                if let Some((event, stamp)) = event.and_then(|event| Some((event, event.stamp?))) {
                    let known = self
                        .0
                        .entry(stamp)
                        .or_insert_with(|| event.content.to_vec());
                    assert_eq!(known, event.content, "{stamp:?} sealed two events");
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[test]
fn what_producers_say_is_in_no_file_and_comes_back() {
    for (sealing, marked) in [(EventSealing::Off, true), (seal(1), false)] {
        let sim = SimulatedDisk::default();
        let (disk, _) = open(&sim, &sealing);
        let hub = lane(&disk, "hub");
        let first = append(&disk, "1", hub);
        let event = disk.read(&[first]).remove(0).unwrap();
        let replayed = disk.replay(hub, Some(first), event, 7).unwrap();
        replayed.durable.wait().unwrap();
        let second = replayed.entries[0].sequence;
        let third = append(&disk, "3", hub);
        assert_eq!(id(&disk, third), "3");
        assert_eq!(is_marked(&sim), marked);
        crash(&sim, disk, PowerLossRemains::Nothing);
        let (disk, recovered) = open(&sim, &sealing);
        assert!(recovered.report.is_whole());
        assert_eq!(recovered.lanes[0].pending[1].twin, 7);
        assert_eq!(pending(&recovered, hub), [second, third]);
        assert_eq!(
            (id(&disk, second), id(&disk, third)),
            ("1".to_owned(), "3".to_owned())
        );
        assert_eq!(is_marked(&sim), marked);
    }
}

#[test]
fn carried_forward_it_stays_sealed_and_can_be_read() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, &seal(1));
    let hub = lane(&disk, "hub");
    let kept = append(&disk, "kept", hub);
    for number in 0..300 {
        let sequence = append(&disk, &number.to_string(), hub);
        disk.settle(hub, &[(sequence, DeliverySettlement::Delivered)]);
    }
    for _ in 0..4 {
        disk.flush().wait().unwrap();
    }
    assert!(sim.contents("0000000000000001.seg").is_none());
    assert_eq!(id(&disk, kept), "kept");
    assert!(!is_marked(&sim));
    // Its key stays as long as it does; those without a record go.
    let mut last = disk;
    for _ in 0..5 {
        crash(&sim, last, PowerLossRemains::Nothing);
        let (disk, recovered) = open(&sim, &seal(1));
        assert_eq!(pending(&recovered, hub), [kept]);
        assert_eq!(id(&disk, kept), "kept");
        let keys = sealed_file(&sim).unwrap().unwrap();
        assert_eq!(DataKeys::opened(&key(1), &keys).unwrap().keys.len(), 2);
        last = disk;
    }
}

#[test]
fn a_journal_whose_key_is_away_is_refused_as_it_is() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, &seal(1));
    let hub = lane(&disk, "hub");
    let sequence = append(&disk, "1", hub);
    crash(&sim, disk, PowerLossRemains::All);
    let before = files(&sim);
    for sealing in [
        EventSealing::Off,
        seal(2),
        EventSealing::Open(Box::new(key(2))),
    ] {
        let error = try_open(&sim, &sealing).unwrap_err().to_string();
        assert!(error.contains("bring back the key"), "{error}");
        assert!(!format!("{sealing:?}").contains('1'), "{sealing:?}");
        assert_eq!(files(&sim), before);
    }
    let without = sim.fork();
    without.remove(KEYS).unwrap();
    let error = try_open(&without, &seal(1)).unwrap_err();
    assert!(
        matches!(error, JournalOpenError::KeyGone { number: 1, .. }),
        "{error}"
    );
    // Looking needs no key, and neither does a repair.
    let mut found = recover::read(&sim, &mut |_, _| {}).unwrap();
    found.check_events(&sim, &EventSealing::Off).unwrap();
    assert!(found.report.is_whole());
    let report = found.report.to_string();
    assert!(
        report.contains("segment 1: events are sealed; their records are whole, but"),
        "{report}"
    );
    repaired(&sim).unwrap();
    let (disk, _) = open(&sim, &seal(1));
    assert_eq!(id(&disk, sequence), "1");
}

#[test]
fn sealed_and_plain_events_stand_side_by_side() {
    let sim = SimulatedDisk::default();
    let mut sequences = Vec::new();
    let open_with = |byte| EventSealing::Open(Box::new(key(byte)));
    for sealing in [
        EventSealing::Off,
        seal(1),
        open_with(1),
        seal(1),
        open_with(1),
    ] {
        let (disk, recovered) = open(&sim, &sealing);
        assert!(recovered.report.is_whole());
        let hub = lane(&disk, "hub");
        sequences.push(append(&disk, &sequences.len().to_string(), hub));
        for (number, sequence) in sequences.iter().enumerate() {
            assert_eq!(id(&disk, *sequence), number.to_string());
        }
    }
    // With the last sealed one the keys are gone, and no key is needed.
    let (disk, _) = open(&sim, &open_with(1));
    let hub = lane(&disk, "hub");
    let settlements: Vec<_> = sequences
        .iter()
        .map(|one| (*one, DeliverySettlement::Delivered))
        .collect();
    disk.settle(hub, &settlements);
    for _ in 0..3 {
        disk.flush().wait().unwrap();
    }
    drop(disk);
    drop(open(&sim, &open_with(1)));
    drop(open(&sim, &EventSealing::Off));
}

#[test]
fn new_keys_are_sealed_whole_or_not_at_all() {
    for fault in 0..8 {
        let sim = SimulatedDisk::default();
        let (disk, _) = open(&sim, &seal(1));
        let hub = lane(&disk, "hub");
        let sequence = append(&disk, "1", hub);
        drop(disk);
        sim.fail_after(fault, DiskFault::Error);
        let failed = reseal(&sim, &key(1), &key(2)).is_err();
        sim.heal();
        sim.power_off();
        sim.power_on(PowerLossRemains::Nothing);
        let old = try_open(&sim.fork(), &seal(1)).is_ok();
        let new = try_open(&sim.fork(), &seal(2)).is_ok();
        assert!(old != new, "{fault}");
        assert!(failed || new, "{fault}");
        assert!(reseal(&sim, &key(1), &key(2)).unwrap());
        assert!(try_open(&sim, &seal(1)).is_err());
        assert_eq!(id(&open(&sim, &seal(2)).0, sequence), "1");
    }
    assert!(!reseal(&SimulatedDisk::default(), &key(1), &key(2)).unwrap());
}

proptest! {
    #[test]
    fn a_changed_byte_is_reported_as_damage(at: prop::sample::Index, flip in 1_u8..) {
        let sim = SimulatedDisk::default();
        let (disk, _) = open(&sim, &seal(1));
        let hub = lane(&disk, "hub");
        let sequence = append(&disk, "1", hub);
        let mut place = None;
        recover::read(&sim, &mut |found, record| {
            if record.event().is_some() {
                place = Some(found);
            }
        }).unwrap();
        let place = place.unwrap();
        let name = super::super::file_names::segment_name(place.segment);
        let file = sim.contents(&name).unwrap();
        let mut record = file[place.offset as usize..][..place.bytes as usize].to_vec();
        // From the stamp on; the checksum is made to hold again.
        let head = frame::HEADER_BYTES + 8 + 8 + 8 + 4 + 4;
        let at = head + at.index(record.len() - head);
        record[at] ^= flip;
        frame::seal(&mut record, place.segment, place.offset);
        sim.overwrite(&name, place.offset as usize, &record);
        prop_assert_eq!(disk.read(&[sequence]).remove(0).unwrap_err(), UnreadableEvent::Damaged);
        drop(disk);
        let mut found = recover::read(&sim, &mut |_, _| {}).unwrap();
        if at >= head + 4 {
            found.check_events(&sim, &seal(1)).unwrap();
            prop_assert_eq!(found.report.damage.len(), 1);
            prop_assert_eq!(found.report.damage[0].kind, DamageKind::Unreadable);
        } else {
            // No such key: nothing is begun that could make it worse.
            prop_assert!(found.check_events(&sim, &seal(1)).is_err());
        }
    }
}
