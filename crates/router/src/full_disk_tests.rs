//! A disk without room for the journal: what the status says of it.

use super::tests::{ScriptedSink, endpoint_status};
use super::*;
use twinroute_journal::JournalSettings;
use twinroute_journal::sim::SimulatedDisk;
use twinroute_model::clock::SystemClock;
use twinroute_model::event::{EventLimits, EventParts};
use twinroute_model::settings::EndpointSettings;

fn event(id: usize) -> Event {
    EventParts::new(&id.to_string(), "host", "t")
        .json(&format!("\"{}\"", "x".repeat(1_000)))
        .build(&EventLimits::default())
        .unwrap()
}

/// The disk is smaller than the journal may be, so nobody's bound is reached before it is full.
#[tokio::test]
async fn a_disk_full_of_one_endpoints_dead_letters_is_warned_about_with_its_name() {
    let sim = SimulatedDisk::default();
    sim.set_room(Some(70 << 10));
    let settings = JournalSettings {
        segment_bytes: 16 << 10,
        commit_window: Duration::ZERO,
        settle_delay: Duration::from_millis(1),
        ..JournalSettings::default()
    };
    let (disk, recovered) =
        DiskJournal::open(settings, Arc::new(sim), Arc::new(SystemClock)).unwrap();
    let (healthy, down) = (ScriptedSink::default(), ScriptedSink::default());
    down.set_down(true);
    let short_queue = EndpointSettings {
        queue_events_max: 5,
        ..EndpointSettings::default()
    };
    let router = Router::builder()
        .journal_on_disk(disk, recovered)
        .sink("healthy", healthy.clone())
        .sink_with("down", down, short_queue)
        .route("healthy", "healthy", "true")
        .route("down", "down", "true")
        .build()
        .unwrap();
    assert!(router.status().warnings.is_empty());

    let mut taken = 0;
    let refused = loop {
        let accepted = router.accept(None, vec![event(taken)], AckLevel::Durable);
        match accepted.await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100, "the disk has room for 70 of them at most");
    };
    assert!(matches!(refused, AcceptError::Journal { .. }), "{refused}");

    let kept = endpoint_status(&router, "down").dead_letters.local;
    assert!(kept > 5, "{kept}");
    let warnings = router.status().warnings.join("\n");
    for part in [
        "the journal cannot be written, so events for all endpoints are refused",
        "make room on its disk",
        "endpoint default/down has most of the journal",
        "are dead letters that are kept here",
    ] {
        assert!(warnings.contains(part), "{part:?} is not in: {warnings}");
    }
}
