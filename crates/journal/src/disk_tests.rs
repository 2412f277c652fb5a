use super::super::DamageKind;
use super::super::sim::{DiskFault, PowerLossRemains, SimulatedDisk};
use super::super::storage::{FolderStorage, Storage};
use super::super::totals::JournalFull;
use super::super::{InspectError, JournalReport, JournalUsage, RecoveredJournal, repair};
use super::*;
use crate::ledger::DiscardReason;
use twinroute_model::clock::ManualClock;
use twinroute_model::event::{EventLimits, EventParts};

pub(crate) const SETTINGS: JournalSettings = JournalSettings {
    segment_bytes: 8 << 10,
    bytes_max: 8 << 20,
    queue_bytes_max: 1 << 20,
    memory_bytes_max: 1 << 20,
    commit_window: Duration::ZERO,
    settle_delay: Duration::from_secs(3_600),
    retry_delay: Duration::ZERO,
    disk_overdue_after: Duration::from_secs(60),
    keep_bytes: 0,
    keep_for: Duration::ZERO,
};

const SEGMENT: &str = "0000000000000001.seg";

pub(crate) fn event(id: &str) -> Event {
    let data = format!(r#"{{"temperature":"{}"}}"#, "1".repeat(100));
    let parts = EventParts::new(id, "s", "t").json(&data);
    parts.build(&EventLimits::default()).unwrap()
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_unix_millis(1_000)))
}

/// Repairs without a key.
pub(crate) fn repaired(sim: &SimulatedDisk) -> Result<JournalReport, InspectError> {
    let storage = Arc::new(sim.clone());
    repair(storage, clock(), &EventSealing::Off, &mut Vec::new())
}

pub(crate) fn open(
    sim: &SimulatedDisk,
    settings: JournalSettings,
) -> (DiskJournal, RecoveredJournal) {
    open_sealed(sim, settings, &EventSealing::Off)
}

pub(crate) fn open_sealed(
    sim: &SimulatedDisk,
    settings: JournalSettings,
    sealing: &EventSealing,
) -> (DiskJournal, RecoveredJournal) {
    DiskJournal::open_sealed(settings, Arc::new(sim.clone()), clock(), sealing).unwrap()
}

pub(crate) fn lane(disk: &DiskJournal, endpoint: &str) -> LaneId {
    let instance = InstanceName::new("default").unwrap();
    disk.bind(&instance, &EndpointName::new(endpoint).unwrap())
}

/// An event for lanes, with a twin of its own.
pub(crate) fn new(id: &str, lanes: &[LaneId]) -> NewEvent {
    NewEvent {
        event: event(id),
        twin: twin(id),
        lanes: lanes.to_vec(),
    }
}

pub(crate) fn twin(id: &str) -> u64 {
    id.bytes().fold(7, |twin, byte| twin * 31 + u64::from(byte))
}

pub(crate) fn append(disk: &DiskJournal, id: &str, lanes: &[LaneId]) -> u64 {
    let appended = disk.append(vec![new(id, lanes)]).unwrap();
    appended.durable.wait().unwrap();
    appended.entries[0].sequence
}

pub(crate) fn read(disk: &DiskJournal, sequence: u64) -> String {
    let event = disk.read(&[sequence]).remove(0).unwrap();
    event.id().to_owned()
}

pub(crate) fn usage(disk: &DiskJournal) -> JournalUsage {
    disk.gauge().usage()
}

pub(crate) fn crash(sim: &SimulatedDisk, disk: DiskJournal, leaves: PowerLossRemains) {
    sim.power_off();
    drop(disk);
    sim.power_on(leaves);
}

pub(crate) fn pending(recovered: &RecoveredJournal, lane: LaneId) -> Vec<u64> {
    let lanes = recovered.lanes.iter();
    let mut found = lanes.filter(|known| known.number == lane);
    let known = found.next().unwrap();
    assert_eq!(
        known.ledger.made(),
        known.pending.len() as u64 + known.ledger.settled()
    );
    known.pending.iter().map(|one| one.sequence).collect()
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash_and_what_was_settled_is_not() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let (hub, topic) = (lane(&disk, "hub"), lane(&disk, "topic"));
    let first = append(&disk, "a", &[hub, topic]);
    let second = append(&disk, "b", &[hub]);
    disk.settle(hub, &[(first, DeliverySettlement::Delivered)]);
    let due = Timestamp::from_unix_millis(99_000);
    disk.attempt(hub, second, 3, Some(due));
    disk.flush().wait().unwrap();
    crash(&sim, disk, PowerLossRemains::Nothing);

    let (disk, recovered) = open(&sim, SETTINGS);
    assert_eq!(recovered.report.damage, []);
    assert!(!recovered.report.closed);
    assert_eq!(pending(&recovered, hub), [second]);
    assert_eq!(pending(&recovered, topic), [first]);
    let retrying = &recovered.lanes[0].pending[0];
    assert_eq!((retrying.attempts, retrying.due), (3, Some(due)));
    assert_eq!(retrying.accepted_at.unix_millis(), 1_000);
    assert_eq!(retrying.twin, twin("b"));
    assert_eq!(read(&disk, second), "b");
    assert_eq!(recovered.lanes[0].ledger.delivered, 1);
    assert_eq!(lane(&disk, "HUB"), hub, "names compare without case");
    assert!(append(&disk, "c", &[hub]) > second);
    assert_eq!(usage(&disk).events, 3);
}

#[test]
fn closing_in_order_leaves_no_gap() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let first = append(&disk, "a", &[hub]);
    disk.settle(
        hub,
        &[(first, DeliverySettlement::Discarded(DiscardReason::Expired))],
    );
    disk.close().unwrap();
    let error = disk.append(vec![new("b", &[hub])]).unwrap_err();
    assert_eq!(error, AppendError::Closed);
    assert_eq!(disk.flush().wait(), Err(NotDurable::Closed));

    let (disk, recovered) = open(&sim, SETTINGS);
    assert!(recovered.report.closed);
    assert_eq!(recovered.next_sequence, first + 1);
    assert_eq!(pending(&recovered, hub), [0_u64; 0]);
    assert_eq!(
        recovered.lanes[0].ledger.discarded(DiscardReason::Expired),
        1
    );
    assert_eq!(append(&disk, "b", &[hub]), first + 1);
}

#[test]
fn the_last_group_may_be_cut_at_every_byte() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let first = append(&disk, "a", &[hub]);
    // The write goes well and the power goes at the sync.
    sim.fail_after(1, DiskFault::PowerOff);
    let batch = (0..3).map(|id| new(&format!("b{id}"), &[hub]));
    let appended = disk.append(batch.collect()).unwrap();
    let last = appended.entries[2].sequence;
    assert!(matches!(
        appended.durable.wait(),
        Err(NotDurable::Poisoned(_))
    ));
    drop(disk);
    let (start, written) = sim.last_write(SEGMENT).unwrap();
    let file = sim.contents(SEGMENT).unwrap();
    // An event ends with a brace; behind it stand zeros up to the end of a page.
    let length = file.iter().rposition(|byte| *byte != 0).unwrap() + 1 - start;
    for cut in (0..=length).chain([written]) {
        let torn = sim.fork();
        torn.power_on(PowerLossRemains::LastWriteCut(cut));
        let (_, recovered) = open(&torn, SETTINGS);
        let found = pending(&recovered, hub);
        assert_eq!(found[0], first, "cut at {cut}");
        let whole = found
            .iter()
            .copied()
            .eq(first..=first + found.len() as u64 - 1);
        assert!(whole, "cut at {cut}: {found:?}");
        assert!(recovered.next_sequence > last, "cut at {cut}");
        assert!(recovered.report.is_whole(), "cut at {cut}");
        let is_reported = !recovered.report.damage.is_empty();
        assert_eq!(is_reported, cut > 0 && cut < length, "cut at {cut}");
    }
}

/// What `docs/http-api.md` says of a batch that was not answered: a kill may leave its beginning, a loss of
/// power any of its events, and neither is damage.
#[test]
fn an_unanswered_batch_leaves_its_beginning_after_a_kill_and_any_events_after_a_loss_of_power() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let first = append(&disk, "a", &[hub]);
    sim.fail_after(1, DiskFault::PowerOff);
    let batch = (0..16).map(|id| new(&format!("b{id}"), &[hub]));
    let appended = disk.append(batch.collect()).unwrap();
    let of_batch: Vec<u64> = appended.entries.iter().map(|one| one.sequence).collect();
    assert!(appended.durable.wait().is_err());
    drop(disk);
    let left = |leaves| {
        let torn = sim.fork();
        torn.power_on(leaves);
        let (_, recovered) = open(&torn, SETTINGS);
        assert!(recovered.report.is_whole(), "{}", recovered.report);
        let found = pending(&recovered, hub);
        assert_eq!(found[0], first, "what was answered is there");
        found[1..].to_vec()
    };
    for bytes in (0..4_000).step_by(59) {
        let found = left(PowerLossRemains::LastWriteCut(bytes));
        assert_eq!(found, of_batch[..found.len()], "no gap");
    }
    let mut gaps = 0;
    for seed in 0..40 {
        let found = left(PowerLossRemains::Some(seed));
        assert!(found.iter().all(|one| of_batch.contains(one)));
        gaps += usize::from(found != of_batch[..found.len()]);
    }
    assert!(gaps > 0, "the beginning is not promised");
}

#[test]
fn a_flipped_bit_below_the_watermark_is_named_and_costs_its_record_only() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let sequences: Vec<u64> = (0..4)
        .map(|id| append(&disk, &id.to_string(), &[hub]))
        .collect();
    let file = sim.contents(SEGMENT).unwrap();
    let end = file.iter().rposition(|byte| *byte != 0).unwrap();
    crash(&sim, disk, PowerLossRemains::Nothing);
    for byte in 0..end {
        let broken = sim.fork();
        broken.flip(SEGMENT, byte, (byte % 8) as u8);
        let (disk, recovered) = open(&broken, SETTINGS);
        let [damage] = &recovered.report.damage[..] else {
            panic!("byte {byte}: {:?}", recovered.report.damage);
        };
        if recovered.lanes.is_empty() {
            // The binding: the lane is known by its events again.
            panic!("byte {byte}");
        }
        let found = pending(&recovered, hub);
        assert!(found.len() >= 3, "byte {byte}: {found:?}");
        for lost in sequences
            .iter()
            .filter(|sequence| !found.contains(sequence))
        {
            assert_eq!(damage.sequences, Some(*lost..=*lost), "byte {byte}");
        }
        let last_group = damage.kind == DamageKind::Cut;
        assert!(!last_group || byte > end - 450, "byte {byte}");
        drop(disk);
        let (_, again) = open(&broken, SETTINGS);
        assert_eq!(pending(&again, hub), found, "byte {byte}");
        assert_eq!(again.report.corrections, [], "byte {byte}");
    }
}

#[test]
fn damage_behind_a_checkpoint_is_counted_as_lost() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let first = append(&disk, "a", &[hub]);
    append(&disk, "b", &[hub]);
    disk.close().unwrap();
    drop(open(&sim, SETTINGS));
    let file = sim.contents(SEGMENT).unwrap();
    let at = file
        .windows(8)
        .position(|bytes| bytes == br#""id":"a""#)
        .unwrap();
    sim.flip(SEGMENT, at, 3);
    let (_, recovered) = open(&sim, SETTINGS);
    assert_eq!(pending(&recovered, hub), [first + 1]);
    assert_eq!(recovered.lanes[0].ledger.discarded(DiscardReason::Lost), 1);
    let [damage] = &recovered.report.damage[..] else {
        panic!("{:?}", recovered.report);
    };
    assert_eq!(damage.kind, DamageKind::Quarantined);
    assert_eq!(damage.sequences, Some(first..=first));
    assert!(!recovered.report.is_whole());
}

#[test]
fn a_failed_sync_poisons_until_the_next_open() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    append(&disk, "a", &[hub]);
    sim.fail_after(1, DiskFault::Error);
    let ticket = disk.append(vec![new("b", &[hub])]).unwrap().durable;
    let error = ticket.wait().unwrap_err();
    let text = "the journal is poisoned until a restart: segment 1 of the journal: sync failed: \
                the disk does not answer";
    assert_eq!(error.to_string(), text);
    let refused = disk.append(vec![new("c", &[hub])]).unwrap_err();
    assert!(matches!(refused, AppendError::Poisoned(_)));
    assert!(matches!(disk.health(), JournalHealth::Poisoned(_)));
    assert!(disk.close().is_err());
    drop(disk);
    let (disk, _) = open(&sim, SETTINGS);
    assert_eq!(disk.health(), JournalHealth::Ok);
    append(&disk, "d", &[hub]);
}

#[test]
fn segments_go_when_all_is_settled_and_the_counts_stay() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    for id in 0..200 {
        let sequence = append(&disk, &id.to_string(), &[hub]);
        disk.settle(hub, &[(sequence, DeliverySettlement::Delivered)]);
    }
    disk.flush().wait().unwrap();
    disk.flush().wait().unwrap();
    assert!(disk.usage().segments <= 2, "{:?}", disk.usage());
    crash(&sim, disk, PowerLossRemains::Nothing);
    let (_, recovered) = open(&sim, SETTINGS);
    assert_eq!(recovered.lanes[0].ledger.delivered, 200);
    assert_eq!(pending(&recovered, hub), [0_u64; 0]);
    assert_eq!(recovered.report.damage, []);
}

#[test]
fn a_retrying_event_does_not_keep_the_segments_behind_it() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let (hub, topic) = (lane(&disk, "hub"), lane(&disk, "topic"));
    let retrying = append(&disk, "retrying", &[hub, topic]);
    let due = Timestamp::from_unix_millis(5);
    disk.attempt(hub, retrying, 2, Some(due));
    for id in 0..300 {
        let sequence = append(&disk, &id.to_string(), &[hub]);
        disk.settle(hub, &[(sequence, DeliverySettlement::Delivered)]);
    }
    for _ in 0..4 {
        disk.flush().wait().unwrap();
    }
    assert!(disk.usage().segments <= 4, "{:?}", disk.usage());
    crash(&sim, disk, PowerLossRemains::Nothing);
    assert!(sim.contents(SEGMENT).is_none());
    let (disk, recovered) = open(&sim, SETTINGS);
    assert_eq!(pending(&recovered, hub), [retrying]);
    assert_eq!(pending(&recovered, topic), [retrying]);
    let known = &recovered.lanes[0].pending[0];
    assert_eq!((known.attempts, known.due), (2, Some(due)));
    assert_eq!(known.twin, twin("retrying"));
    assert_eq!(read(&disk, retrying), "retrying");
}

#[test]
fn a_real_folder_has_one_owner_and_keeps_its_events() {
    let folder = tempfile::tempdir().unwrap();
    let storage =
        || -> Arc<dyn Storage> { Arc::new(FolderStorage::create(folder.path()).unwrap()) };
    let (disk, _) = DiskJournal::open(SETTINGS, storage(), clock()).unwrap();
    let hub = lane(&disk, "hub");
    let first = append(&disk, "a", &[hub]);
    let error = DiskJournal::open(SETTINGS, storage(), clock()).unwrap_err();
    assert!(matches!(error, JournalOpenError::Locked { .. }));
    drop(disk);
    let (_, recovered) = DiskJournal::open(SETTINGS, storage(), clock()).unwrap();
    assert_eq!(pending(&recovered, hub), [first]);
    assert!(recovered.report.closed);
}

#[test]
fn caps_refuse_whole_batches_until_what_is_live_is_settled() {
    let sim = SimulatedDisk::default();
    let frame = encode_batch(
        &[new("a", &[LaneId(1)])],
        encode::NewEventContext {
            accepted_at: Timestamp::from_unix_millis(0),
            stamper: None,
        },
    );
    let bytes = frame.unwrap().len() as u64;
    let settings = JournalSettings {
        bytes_max: 3 * bytes,
        ..SETTINGS
    };
    let (disk, _) = open(&sim, settings);
    let hub = lane(&disk, "hub");
    let two = || vec![new("a", &[hub]), new("b", &[hub])];
    let held = disk.append(two()).unwrap();
    held.durable.wait().unwrap();
    drop(held.entries);
    let full = JournalFull {
        bytes: 2 * bytes,
        bytes_new: 2 * bytes,
        bytes_max: 3 * bytes,
    };
    assert_eq!(disk.append(two()).unwrap_err(), AppendError::Full(full));
    disk.settle(hub, &[(1, DeliverySettlement::Delivered)]);
    disk.flush().wait().unwrap();
    assert_eq!((usage(&disk).events, usage(&disk).bytes), (1, bytes));
    assert_eq!(usage(&disk).bytes_released, bytes);
    let next = disk.append(two()).unwrap();
    let first = next.entries[0].sequence;
    assert_eq!(first, 3, "a refused batch takes no numbers");
    next.durable.wait().unwrap();
    crash(&sim, disk, PowerLossRemains::Nothing);
    let (disk, _) = open(&sim, settings);
    assert_eq!((usage(&disk).events, usage(&disk).bytes), (3, 3 * bytes));
    assert_eq!(disk.gauge().memory_bytes(), 0);
}

#[test]
fn a_lone_settlement_is_written_without_being_asked_for() {
    let sim = SimulatedDisk::default();
    let settle_delay = Duration::from_millis(2);
    let (disk, _) = open(
        &sim,
        JournalSettings {
            settle_delay,
            ..SETTINGS
        },
    );
    let hub = lane(&disk, "hub");
    let first = append(&disk, "a", &[hub]);
    let before = sim.contents(SEGMENT);
    disk.settle(hub, &[(first, DeliverySettlement::DeadLettered)]);
    while sim.contents(SEGMENT) == before || sim.last_write(SEGMENT).is_some() {
        std::thread::yield_now();
    }
    crash(&sim, disk, PowerLossRemains::Nothing);
    let (_, recovered) = open(&sim, SETTINGS);
    assert_eq!(recovered.lanes[0].ledger.dead_lettered, 1);
}

#[test]
fn producers_share_groups_and_keep_the_order_of_calls() {
    let sim = SimulatedDisk::default();
    let (disk, _) = open(&sim, SETTINGS);
    let hub = lane(&disk, "hub");
    let mut sequences: Vec<u64> = std::thread::scope(|scope| {
        let produce = || {
            (0..50)
                .map(|_| append(&disk, "x", &[hub]))
                .collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(produce)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined
            .inspect(|own| assert!(own.is_sorted()))
            .flatten()
            .collect()
    });
    sequences.sort_unstable();
    assert!(sequences.iter().copied().eq(1..=400));
    crash(&sim, disk, PowerLossRemains::Nothing);
    let (_, recovered) = open(&sim, SETTINGS);
    assert_eq!(pending(&recovered, hub), sequences);
}
