//! A full journal: who makes room, what is refused, what is never lost for it.

use super::dead_letter_tests::{MemoryStore, ended};
use super::reload_tests::definitions;
use super::tests::{ScriptedSink, endpoint_status};
use super::*;
use crate::accept::share;
use crate::delivery::LaneRoom;
use crate::replay::ReplayRequest;
use crate::sink::{Connect, ConnectError, Sink};
use crate::status::EndpointStatus;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use tokio::time::sleep;
use twinroute_journal::ledger::DiscardReason;
use twinroute_journal::sim::{PowerLossRemains, SimulatedDisk};
use twinroute_journal::{JournalSettings, RecoveredJournal};
use twinroute_model::clock::SystemClock;
use twinroute_model::endpoint::Endpoint;
use twinroute_model::event::{EventLimits, EventParts};
use twinroute_model::settings::{EndpointSettings, KeptDeadLetters};

#[path = "shares_model_tests.rs"]
mod model;

/// An event of about so many bytes.
pub(super) fn event_of(id: usize, event_type: &str, bytes: usize) -> Event {
    EventParts::new(&id.to_string(), "host", event_type)
        .set("subject", &format!("twin-{}", id % 7))
        .unwrap()
        .json(&format!("\"{}\"", "x".repeat(bytes)))
        .build(&EventLimits::default())
        .unwrap()
}

/// A short queue, so that dead letters come soon.
fn short_queue() -> EndpointSettings {
    EndpointSettings::default().with(|own| own.queue_events_max = 10)
}

/// `count` endpoints that each get every event; the first `down` of them take nothing.
fn everything_to_all(
    count: usize,
    down: usize,
    journal_bytes_max: u64,
) -> (Router, Vec<ScriptedSink>) {
    let sinks: Vec<ScriptedSink> = (0..count).map(|_| ScriptedSink::default()).collect();
    let mut builder = Router::builder().journal_bytes_max(journal_bytes_max);
    for (number, sink) in sinks.iter().enumerate() {
        sink.set_down(number < down);
        let name = format!("end{number}");
        builder = builder
            .sink_with(&name, sink.clone(), short_queue())
            .route(&name, &name, "true");
    }
    (builder.build().unwrap(), sinks)
}

fn overflowed(status: &EndpointStatus) -> u64 {
    let discarded = &status.discarded_by;
    discarded
        .get(&DiscardReason::DeadLetterOverflow)
        .copied()
        .unwrap_or_default()
}

/// Ten times what the journal holds goes to all endpoints, of which some are down all the while.
async fn isolated(count: usize, down: usize) {
    let bytes_max = 64 << 10;
    let (router, sinks) = everything_to_all(count, down, bytes_max);
    for id in 0..600 {
        let events = vec![event_of(id, "t", 1_000)];
        let accepted = router.accept(None, events, AckLevel::Memory).await;
        accepted.unwrap_or_else(|error| panic!("event {id} of {count}, {down} down: {error}"));
        sleep(Duration::from_millis(20)).await;
        if id == 30 {
            let statuses = (0..count).map(|name| endpoint_status(&router, &format!("end{name}")));
            let discarded: u64 = statuses.map(|status| status.discarded).sum();
            assert_eq!(discarded, 0, "nothing is discarded while there is room");
        }
    }
    for (number, sink) in sinks.iter().enumerate() {
        let status = endpoint_status(&router, &format!("end{number}"));
        if number < down {
            assert!(overflowed(&status) > 400, "{status:?}");
            assert_eq!(overflowed(&status), status.discarded);
            assert!(status.dead_letters.local > 10, "{status:?}");
        } else {
            assert_eq!(sink.ids().len(), 600, "a healthy endpoint gets everything");
        }
    }
    assert!(router.readiness().ready);
}

#[tokio::test(start_paused = true)]
async fn one_away_of_two_stops_nobody_for_ever() {
    isolated(2, 1).await;
    isolated(5, 1).await;
}

#[tokio::test(start_paused = true)]
async fn one_away_stops_all_no_more_with_all_but_one_away() {
    isolated(2, 1).await;
    isolated(3, 2).await;
    isolated(8, 7).await;
}

/// Queues whose caps are larger than their shares fill the journal without one dead letter.
#[tokio::test(start_paused = true)]
async fn queues_above_their_share_make_room_too() {
    let (healthy, down) = (ScriptedSink::default(), ScriptedSink::default());
    down.set_down(true);
    let mut builder = Router::builder()
        .journal_bytes_max(64 << 10)
        .sink("healthy", healthy.clone())
        .route("h", "healthy", "true");
    for name in ["down-a", "down-b", "down-c"] {
        builder = builder.sink(name, down.clone()).route(name, name, "true");
    }
    let router = builder.build().unwrap();
    for id in 0..300 {
        let events = vec![event_of(id, "t", 1_000)];
        router.accept(None, events, AckLevel::Memory).await.unwrap();
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(healthy.ids().len(), 300);
    let status = endpoint_status(&router, "down-a");
    assert!(
        overflowed(&status) > 200 && status.queued > 20,
        "{status:?}"
    );
}

/// An outage of all endpoints but one, whose containers answer: nothing that was accepted is lost.
#[tokio::test(start_paused = true)]
async fn queues_above_their_share_go_to_containers_before_the_journal_is_full() {
    let (healthy, down) = (ScriptedSink::default(), ScriptedSink::default());
    down.set_down(true);
    let mut builder = Router::builder()
        .journal_bytes_max(64 << 10)
        .sink("healthy", healthy.clone())
        .route("h", "healthy", "true");
    let names = ["down-a", "down-b", "down-c"];
    let shelves: Vec<MemoryStore> = names.iter().map(|_| MemoryStore::default()).collect();
    for (name, shelf) in names.iter().zip(&shelves) {
        builder = builder
            .sink(name, down.clone())
            .dead_letters(shelf.clone())
            .route(name, name, "true");
    }
    let router = builder.build().unwrap();
    for id in 0..300 {
        let events = vec![event_of(id, "t", 1_000)];
        router.accept(None, events, AckLevel::Memory).await.unwrap();
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(healthy.ids().len(), 300);
    for (name, shelf) in names.iter().zip(&shelves) {
        let status = endpoint_status(&router, name);
        assert_eq!(status.discarded, 0, "{status:?}");
        assert!(status.queued >= 16, "its share stays queued: {status:?}");
        let stored = shelf.ids().len() as u64;
        assert!(
            stored >= 200 && stored == status.dead_letters.uploaded,
            "{status:?}"
        );
    }
}

/// A slow endpoint that still takes what it is sent is not cut short for want of a processor.
#[tokio::test(start_paused = true)]
async fn the_queue_of_an_endpoint_that_could_be_sent_to_is_left_alone() {
    let sink = ScriptedSink::default();
    let router = Router::builder()
        .journal_bytes_max(16 << 10)
        .sink("only", sink.clone())
        .sink("other", ScriptedSink::default())
        .route("all", "only", "true")
        .build()
        .unwrap();
    // The lane's task gets no turn in between.
    let mut accepted = 0;
    let refused = loop {
        let events = vec![event_of(accepted, "t", 1_000)];
        match router.accept(None, events, AckLevel::Memory).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AcceptError::Full { .. }), "{refused}");
    router.settled().await;
    let status = endpoint_status(&router, "only");
    assert_eq!((status.delivered, status.discarded), (accepted as u64, 0));
}

#[tokio::test(start_paused = true)]
async fn only_when_nobody_is_above_its_share_a_request_is_refused() {
    let (router, _) = everything_to_all(1, 1, 16 << 10);
    let mut refused = None;
    let mut id = 0;
    while refused.is_none() && id < 100 {
        let events = vec![event_of(id, "t", 1_000)];
        refused = router.accept(None, events, AckLevel::Memory).await.err();
        id += 1;
        sleep(Duration::from_millis(20)).await;
    }
    let refused = refused.expect("the journal holds less than that");
    assert!(matches!(refused, AcceptError::Full { .. }), "{refused}");
    let status = endpoint_status(&router, "end0");
    assert_eq!(status.discarded, 0, "its share is the whole journal");
    let too_large = vec![event_of(id, "t", 17 << 10)];
    let refused = router.accept(None, too_large, AckLevel::Memory).await;
    assert!(matches!(refused, Err(AcceptError::TooLarge { .. })));
    assert_eq!(endpoint_status(&router, "end0").discarded, 0);
}

#[tokio::test(start_paused = true)]
async fn keep_all_breaks_isolation_and_says_so() {
    let (healthy, down) = (ScriptedSink::default(), ScriptedSink::default());
    down.set_down(true);
    let settings = short_queue().with(|own| own.dead_letters_kept = KeptDeadLetters::KeepAll);
    let router = Router::builder()
        .journal_bytes_max(16 << 10)
        .sink("healthy", healthy.clone())
        .sink_with("down", down, settings)
        .route("h", "healthy", "true")
        .route("d", "down", "true")
        .build()
        .unwrap();
    let mut refused = None;
    for id in 0..30 {
        let events = vec![event_of(id, "t", 1_000)];
        let accepted = router.accept(None, events, AckLevel::Memory).await;
        refused = refused.or(accepted.err());
        sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(refused, Some(AcceptError::Full { .. })));
    assert_eq!(endpoint_status(&router, "down").discarded, 0);
    let warnings = router.status().table.warnings.join("\n");
    assert!(
        warnings.contains("endpoint default/down: dead_letters_kept"),
        "{warnings}"
    );
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_warned_about_from_half_the_journal_on() {
    let (router, _) = everything_to_all(2, 1, 64 << 10);
    let mut warned_at = None;
    for id in 0..60 {
        let events = vec![event_of(id, "t", 1_000)];
        router.accept(None, events, AckLevel::Memory).await.unwrap();
        sleep(Duration::from_millis(20)).await;
        let status = router.status();
        let kept = endpoint_status(&router, "end0").dead_letters.bytes;
        let warned = status
            .warnings
            .iter()
            .any(|text| text.contains("default/end0"));
        assert_eq!(warned, kept >= 32 << 10, "{kept}: {:?}", status.warnings);
        warned_at = warned_at.or(warned.then_some(id));
    }
    assert!(warned_at.is_some());
}

/// What the replay of a dead letter takes is what the dead letter had.
#[tokio::test(start_paused = true)]
async fn a_replay_goes_on_in_a_full_journal() {
    let (router, sinks) = everything_to_all(1, 1, 16 << 10);
    let mut id = 0;
    while router
        .accept(None, vec![event_of(id, "t", 1_000)], AckLevel::Memory)
        .await
        .is_ok()
    {
        id += 1;
        sleep(Duration::from_millis(20)).await;
    }
    sinks[0].set_down(false);
    router.endpoint(None, "end0").unwrap().retry_now();
    let dead = endpoint_status(&router, "end0").dead_letters.local;
    let replay = router.replay(ReplayRequest::default()).await.unwrap();
    let replay = ended(&router, replay.number).await;
    assert_eq!(
        (replay.replayed, replay.delivered),
        (dead, dead),
        "{replay:?}"
    );
}
