use super::*;
use crate::disk::tests::{SETTINGS, clock, lane, open_sealed};
use crate::keys::tests::seal;
use crate::ledger::{DeliverySettlement, DiscardReason};
use crate::sim::SimulatedDisk;
use crate::{BatchOrigin, FailedSendFault, JournalSettings, LaneId, NewEvent};
use twinroute_model::event::{EventLimits, EventParts};

const KEEPING: JournalSettings = JournalSettings {
    keep_bytes: 1 << 20,
    ..SETTINGS
};

fn open(sim: &SimulatedDisk, settings: JournalSettings) -> DiskJournal {
    let storage: Arc<dyn Storage> = Arc::new(sim.clone());
    DiskJournal::open(settings, storage, clock()).unwrap().0
}

fn event(id: &str, lanes: &[LaneId], bytes: usize) -> NewEvent {
    let data = format!("\"{}\"", "x".repeat(bytes));
    let parts = EventParts::new(id, "urn:press", "Moved").json(&data);
    NewEvent {
        event: parts.build(&EventLimits::default()).unwrap(),
        twin: 7,
        lanes: lanes.to_vec(),
    }
}

fn append(disk: &DiskJournal, batch: Vec<NewEvent>) -> Vec<u64> {
    let appended = disk.append(batch).unwrap();
    appended.durable.wait().unwrap();
    appended.entries.iter().map(|one| one.sequence).collect()
}

fn all(reader: &HistoryReader) -> Vec<HistoryEvent> {
    let mut after = HistoryCursor::default();
    let mut events = Vec::new();
    loop {
        let selection = HistorySelection::default();
        let page = reader.page(&selection, &mut |_| true, after, 3).unwrap();
        events.extend(page.events);
        after = page.next;
        if page.at_end {
            return events;
        }
    }
}

fn states(events: &[HistoryEvent]) -> Vec<(&str, Vec<HistoryState>)> {
    let states = |event: &HistoryEvent| {
        event
            .deliveries
            .iter()
            .map(|one| one.state.clone())
            .collect()
    };
    events
        .iter()
        .map(|event| (event.event.id(), states(event)))
        .collect()
}

#[test]
fn what_became_of_each_delivery_is_found_with_its_attempts_and_its_origin() {
    let sim = SimulatedDisk::default();
    let disk = open(&sim, KEEPING);
    let (hub, topic) = (lane(&disk, "hub"), lane(&disk, "topic"));
    disk.record_table(3, b"{\"generation\":3}".to_vec());
    let origin = BatchOrigin {
        generation: 3,
        instance: Some(twinroute_model::name::InstanceName::new("default").unwrap()),
        caller: Some("press-7".into()),
        address: Some("192.0.2.1".parse().unwrap()),
    };
    let mut batch = vec![event("a", &[hub, topic], 10), event("b", &[hub], 10)];
    let appended = disk.append_of(&mut batch, origin.clone()).unwrap();
    appended.durable.wait().unwrap();
    disk.record_failed(
        topic,
        FailedSendFault::Event,
        "400: too large".to_owned(),
        vec![1],
    );
    disk.attempt(topic, 1, 1, None);
    disk.settle(hub, &[(1, DeliverySettlement::Delivered)]);
    let purged = DeliverySettlement::Discarded(DiscardReason::Purged);
    disk.settle(hub, &[(2, purged)]);
    disk.record_unmatched(&origin, &[(event("c", &[], 10).event, 7)]);
    disk.flush().wait().unwrap();
    let found = all(&disk.history());
    let delivered = HistoryState::Settled(DeliverySettlement::Delivered, None);
    assert_eq!(
        states(&found),
        [
            ("a", vec![delivered, HistoryState::Retrying(None)]),
            ("b", vec![HistoryState::Settled(purged, None)]),
            ("c", vec![]),
        ]
    );
    let first = &found[0];
    assert_eq!(
        (first.sequence, first.generation, first.twin),
        (Some(1), 3, 7)
    );
    assert_eq!(first.caller.as_deref(), Some("press-7"));
    assert_eq!(first.instance.as_deref(), Some("default"));
    assert_eq!(first.address.unwrap().to_string(), "192.0.2.1");
    assert_eq!(first.table.as_deref(), Some(&b"{\"generation\":3}"[..]));
    let retrying = &first.deliveries[1];
    assert_eq!(retrying.failed_alone, 1);
    assert_eq!(retrying.attempts[0].outcome, "400: too large");
    assert!(first.deliveries[0].at.is_some());
    let name = first.deliveries[0].name.as_ref().unwrap();
    assert_eq!(name.1.as_str(), "hub");
    assert_eq!(
        (found[2].sequence, found[2].caller.as_deref()),
        (None, Some("press-7"))
    );
}

/// Fills some segments with settled events; gives how many there were.
fn fill(disk: &DiskJournal, hub: LaneId, count: u64) {
    for _ in 0..count {
        let sequence = append(disk, vec![event("e", &[hub], 3_000)]);
        disk.settle(hub, &[(sequence[0], DeliverySettlement::Delivered)]);
        disk.flush().wait().unwrap();
    }
}

#[test]
fn settled_segments_stay_as_history_and_are_there_after_a_restart() {
    let sim = SimulatedDisk::default();
    let disk = open(&sim, KEEPING);
    let hub = lane(&disk, "hub");
    fill(&disk, hub, 20);
    assert!(disk.usage().history_bytes > 0, "{:?}", disk.usage());
    let found = all(&disk.history());
    assert_eq!(found.len(), 20);
    disk.close().unwrap();
    drop(disk);
    let storage: Arc<dyn Storage> = Arc::new(sim.clone());
    let (disk, recovered) = DiskJournal::open(KEEPING, storage, clock()).unwrap();
    assert!(recovered.report.is_whole(), "{}", recovered.report);
    assert!(recovered.lanes[0].pending.is_empty());
    assert_eq!(recovered.lanes[0].ledger.delivered, 20);
    let sequences: Vec<_> = all(&disk.history())
        .iter()
        .map(|one| one.sequence)
        .collect();
    assert!(sequences.iter().copied().eq((1..=20).map(Some)));
}

#[test]
fn no_more_is_kept_than_the_settings_say_and_nothing_where_they_say_so() {
    for (keep_bytes, expect) in [(0, 0), (2 * SETTINGS.segment_bytes, 2)] {
        let sim = SimulatedDisk::default();
        let settings = JournalSettings {
            keep_bytes,
            ..SETTINGS
        };
        let disk = open(&sim, settings);
        let hub = lane(&disk, "hub");
        fill(&disk, hub, 40);
        let history = disk.usage().history_bytes / SETTINGS.segment_bytes;
        assert_eq!(history, expect);
    }
}

#[test]
fn history_makes_room_before_an_event_is_refused() {
    let sim = SimulatedDisk::default();
    let disk = open(&sim, KEEPING);
    let hub = lane(&disk, "hub");
    fill(&disk, hub, 20);
    assert!(disk.usage().history_bytes > 0);
    // The disk is full: from here on only what goes makes room.
    sim.set_room(Some(disk.usage().disk_bytes));
    fill(&disk, hub, 40);
    assert_eq!(disk.health(), crate::JournalHealth::Ok);
    assert_eq!(disk.room().shortage(), None);
    disk.close().unwrap();
}

#[test]
fn damage_in_the_history_costs_no_delivery_and_no_more_than_its_record() {
    let sim = SimulatedDisk::default();
    let disk = open(&sim, KEEPING);
    let hub = lane(&disk, "hub");
    fill(&disk, hub, 20);
    let open_one = append(&disk, vec![event("open", &[hub], 10)]);
    disk.close().unwrap();
    drop(disk);
    sim.flip("0000000000000001.seg", 2_000, 1);
    let storage: Arc<dyn Storage> = Arc::new(sim.clone());
    let (disk, recovered) = DiskJournal::open(KEEPING, storage, clock()).unwrap();
    assert!(recovered.report.is_whole(), "{}", recovered.report);
    let pending: Vec<_> = recovered.lanes[0]
        .pending
        .iter()
        .map(|one| one.sequence)
        .collect();
    assert_eq!(pending, open_one);
    assert_eq!(all(&disk.history()).len(), 20);
}

#[test]
fn a_text_that_an_event_does_not_hold_skips_it_and_an_escaped_one_is_parsed() {
    let sim = SimulatedDisk::default();
    let disk = open(&sim, KEEPING);
    let hub = lane(&disk, "hub");
    append(&disk, vec![event("plain", &[hub], 10)]);
    append(&disk, vec![event("with \"quotes\"", &[hub], 10)]);
    let selection = HistorySelection {
        texts: vec!["nowhere".to_owned()],
        ..HistorySelection::default()
    };
    let page = disk.history();
    let page = page.page(&selection, &mut |_| true, HistoryCursor::default(), 10);
    let ids: Vec<_> = page
        .unwrap()
        .events
        .iter()
        .map(|one| one.event.id().to_owned())
        .collect();
    assert_eq!(ids, ["with \"quotes\""]);
}

#[test]
fn a_page_waits_for_what_is_about_to_be_sent() {
    let sim = SimulatedDisk::default();
    let disk = open(&sim, KEEPING);
    let hub = lane(&disk, "hub");
    let sequences = append(&disk, vec![event("a", &[hub], 10)]);
    let selection = HistorySelection {
        untried_after: Some(twinroute_model::clock::Timestamp::from_unix_millis(0)),
        ..HistorySelection::default()
    };
    let page = |after| {
        disk.history()
            .page(&selection, &mut |_| true, after, 10)
            .unwrap()
    };
    let first = page(HistoryCursor::default());
    assert!(first.events.is_empty() && !first.at_end);
    disk.settle(hub, &[(sequences[0], DeliverySettlement::Delivered)]);
    disk.flush().wait().unwrap();
    let second = page(first.next);
    assert_eq!((second.events.len(), second.at_end), (1, true));
}

#[test]
fn a_folder_that_nobody_has_open_is_searched() {
    let folder = tempfile::tempdir().unwrap();
    let storage = || Arc::new(crate::storage::FolderStorage::create(folder.path()).unwrap());
    let (disk, _) = DiskJournal::open(KEEPING, storage(), clock()).unwrap();
    let hub = lane(&disk, "hub");
    append(&disk, vec![event("a", &[hub], 10)]);
    let busy = HistoryReader::open(folder.path(), &EventSealing::Off).unwrap_err();
    assert!(
        busy.to_string().contains("another process has it open"),
        "{busy}"
    );
    disk.close().unwrap();
    drop(disk);
    let reader = HistoryReader::open(folder.path(), &EventSealing::Off).unwrap();
    assert_eq!(states(&all(&reader)), [("a", vec![HistoryState::Queued])]);
}

/// Each start seals with a key of its own: those of settled events are kept as long as the history may have some.
#[test]
fn a_sealed_history_is_searched_with_its_key_over_restarts_and_not_without() {
    let sim = SimulatedDisk::default();
    for start in 0..3 {
        let (disk, _) = open_sealed(&sim, KEEPING, &seal(1));
        let hub = lane(&disk, "hub");
        let sequences = append(&disk, vec![event(&format!("sealed-{start}"), &[hub], 10)]);
        disk.settle(hub, &[(sequences[0], DeliverySettlement::Delivered)]);
        disk.record_unmatched(
            &BatchOrigin::default(),
            &[(event(&format!("unmatched-{start}"), &[], 10).event, 7)],
        );
        disk.flush().wait().unwrap();
        let selection = HistorySelection {
            texts: vec!["sealed-0".to_owned()],
            ..HistorySelection::default()
        };
        let mut wants = |event: &HistoryEvent| event.event.id() == "sealed-0";
        let found = disk
            .history()
            .page(&selection, &mut wants, HistoryCursor::default(), 10);
        assert_eq!(
            found.unwrap().events.len(),
            1,
            "a text that is sealed is looked for all the same"
        );
        assert_eq!(all(&disk.history()).len(), 2 * (start + 1));
    }
    let names = sim.list().unwrap();
    let holds = |name: &String| {
        let bytes = sim.contents(name).unwrap();
        memchr::memmem::find(&bytes, b"unmatched").is_some()
    };
    assert!(!names.iter().any(holds), "nothing stands in the clear");
    let folder = tempfile::tempdir().unwrap();
    for name in &names {
        std::fs::write(folder.path().join(name), sim.contents(name).unwrap()).unwrap();
    }
    let reader = HistoryReader::open(folder.path(), &seal(1)).unwrap();
    assert_eq!(all(&reader).len(), 6);
    drop(reader);
    for sealing in [EventSealing::Off, seal(2)] {
        assert!(HistoryReader::open(folder.path(), &sealing).is_err());
    }
}

#[test]
fn starts_do_not_fill_the_history_with_segments_that_hold_little() {
    let folder = tempfile::tempdir().unwrap();
    let settings = JournalSettings {
        segment_bytes: 64 << 10,
        keep_bytes: 128 << 10,
        ..KEEPING
    };
    for id in 0..8 {
        let storage = crate::storage::FolderStorage::create(folder.path()).unwrap();
        let (disk, recovered) = DiskJournal::open(settings, Arc::new(storage), clock()).unwrap();
        assert!(recovered.report.is_whole(), "{}", recovered.report);
        let hub = lane(&disk, "hub");
        let sequence = append(&disk, vec![event(&id.to_string(), &[hub], 10)]);
        disk.settle(hub, &[(sequence[0], DeliverySettlement::Delivered)]);
        disk.close().unwrap();
    }
    let manifest = folder.path().join("manifest");
    for is_listed in [true, false] {
        if !is_listed {
            // Then all of the log is folded, history included.
            std::fs::remove_file(&manifest).unwrap();
        }
        let reader = HistoryReader::open(folder.path(), &EventSealing::Off).unwrap();
        assert_eq!(all(&reader).len(), 8, "{is_listed}");
    }
    let report = crate::verify(folder.path(), &EventSealing::Off).unwrap();
    let short = report
        .damage
        .iter()
        .filter(|one| one.kind == crate::DamageKind::Short);
    assert_eq!(short.count(), 0, "{report}");
}
