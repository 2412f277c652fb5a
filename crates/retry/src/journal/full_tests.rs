//! Full disks: what is refused, what is written all the same, and how room comes back.

use super::super::sim::{Fault, Leaves, Sim};
use super::tests::{SETTINGS, append, crash, lane, new, open, pending, usage};
use super::*;

#[test]
fn a_full_disk_abandons_its_group_and_goes_on_when_there_is_room() {
    let sim = Sim::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let first = append(&disk, "a", &[hub]);
    sim.fail_after(0, Fault::NoRoom);
    sim.set_room(Some(0));
    let ticket = disk.append(vec![new("b", &[hub])]).unwrap().durable;
    assert!(matches!(ticket.wait(), Err(NotDurable::Abandoned(_))));
    assert!(matches!(disk.health(), Health::Full(_)));
    sim.set_room(None);
    let third = append(&disk, "c", &[hub]);
    assert_eq!(usage(&disk).events, 2, "an abandoned event takes no room");
    assert_eq!(disk.health(), Health::Ok);
    crash(&sim, disk, Leaves::All);
    let (_, recovered) = open(&sim, SETTINGS);
    assert_eq!(pending(&recovered, hub), [first, third]);
    assert_eq!(recovered.report.damage, []);
}

#[test]
fn settlements_fit_into_the_room_kept_for_them() {
    let sim = Sim::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let first = append(&disk, "a", &[hub]);
    sim.set_room(Some(0));
    let refused = (0..100).find_map(|id| {
        let appended = disk.append(vec![new(&id.to_string(), &[hub])]).unwrap();
        appended.durable.wait().err()
    });
    assert!(matches!(refused, Some(NotDurable::Abandoned(_))));
    disk.settle(hub, &[(first, Fate::Delivered)]);
    // The retry comes first and fails; the settlement is written all the same in the end.
    while disk.flush().wait().is_err() {}
    crash(&sim, disk, Leaves::Nothing);
    sim.set_room(None);
    let (_, recovered) = open(&sim, SETTINGS);
    assert_eq!(recovered.lanes[0].ledger.delivered, 1);
    assert!(!pending(&recovered, hub).contains(&first));
}

/// A full disk, and then everything arrives: more settlements than the room kept for them takes at once.
#[test]
fn settlements_of_a_full_disk_make_room_part_by_part() {
    let sim = Sim::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    sim.set_room(Some(24 * SETTINGS.segment_bytes));
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
        accepted.len() * 10 > SETTINGS.segment_bytes as usize / 16,
        "more than fits"
    );
    let fates: Vec<_> = accepted
        .iter()
        .map(|sequence| (*sequence, Fate::Delivered))
        .collect();
    disk.settle(hub, &fates);
    // One try may be needed to make room, and one to use it.
    let tries = (0..10).take_while(|_| disk.flush().wait().is_err()).count();
    assert!(tries < 10, "{:?}", disk.health());
    let last = append(&disk, "last", &[hub]);
    assert_eq!(disk.health(), Health::Ok);
    crash(&sim, disk, Leaves::Nothing);
    let (_, recovered) = open(&sim, SETTINGS);
    assert_eq!(pending(&recovered, hub), [last]);
    assert_eq!(recovered.lanes[0].ledger.delivered, accepted.len() as u64);
}

#[test]
fn a_journal_opens_on_a_full_disk() {
    let sim = Sim::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let first = append(&disk, "a", &[hub]);
    disk.close().unwrap();
    sim.set_room(Some(0));
    let retry_delay = Duration::from_secs(3_600);
    let (disk, recovered) = open(
        &sim,
        Settings {
            retry_delay,
            ..SETTINGS
        },
    );
    assert_eq!(pending(&recovered, hub), [first]);
    assert!(matches!(disk.health(), Health::Full(_)));
    let refused = disk.append(vec![new("b", &[hub])]).unwrap_err();
    assert!(matches!(refused, AppendError::NoRoom(_)));
}
