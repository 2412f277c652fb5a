//! Replays while the router has more to do than it can: they wait where producers wait, and keep none of them out.

use super::dead_letter_tests::{ended, reject};
use super::tests::{endpoint_status, event};
use super::*;
use crate::accept::AcceptedBatch;
use crate::replay::{ReplayRequest, ReplayState, ReplayStatus};
use crate::sink::{BatchLimits, Delivery, DeliveryOutcome, Sink};
use futures_util::future::{BoxFuture, FutureExt as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;
use twinroute_model::settings::EndpointSettings;

/// At so many bytes before the disk no turn is given.
const UNSYNCED_BYTES: u64 = 4 << 20;

const DEAD: usize = 600;

/// What an endpoint does with a batch.
const REJECTS: usize = 0;
const TAKES: usize = 1;
const STALLS: usize = 2;

#[derive(Clone, Default)]
struct ChangingSink(Arc<AtomicUsize>);

impl ChangingSink {
    fn set(&self, manner: usize) {
        self.0.store(manner, Ordering::Relaxed);
    }
}

impl Sink for ChangingSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 200,
            bytes_max: 1 << 20,
            in_flight_max: 4,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        async move {
            match self.0.load(Ordering::Relaxed) {
                REJECTS => return vec![reject(); batch.len()],
                STALLS => sleep(Duration::from_secs(5)).await,
                _ => {}
            }
            vec![DeliveryOutcome::Delivered; batch.len()]
        }
        .boxed()
    }
}

async fn batch(router: &Router, count: usize) -> Result<AcceptedBatch, AcceptError> {
    let events = (0..count).map(|n| event(n, &format!("room{n}"))).collect();
    router.accept(None, events, AckLevel::Memory).await
}

/// A router whose one endpoint rejected `dead` events and takes what comes from here on.
async fn with_dead_letters(dead: usize) -> (Router, ChangingSink) {
    let sink = ChangingSink::default();
    let settings = EndpointSettings::default().with(|own| {
        own.queue_events_max = 2_000;
        own.linger = Duration::from_millis(1);
    });
    let router = Router::builder()
        .sink_with("only", sink.clone(), settings)
        .route("all", "only", "true")
        .build()
        .unwrap();
    batch(&router, dead).await.unwrap();
    router.settled().await;
    assert_eq!(
        endpoint_status(&router, "only").dead_letters.local as usize,
        dead
    );
    sink.set(TAKES);
    batch(&router, 1).await.unwrap();
    router.settled().await;
    (router, sink)
}

async fn replay(router: &Router) -> u64 {
    let request = ReplayRequest {
        per_second: 10_000.0,
        ..ReplayRequest::default()
    };
    router.replay(request).await.unwrap().number
}

fn status_of(router: &Router, number: u64) -> ReplayStatus {
    let mut replays = router.replays().into_iter();
    replays.find(|replay| replay.number == number).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_replay_waits_for_its_turn_as_producers_do() {
    let (router, _) = with_dead_letters(DEAD).await;
    let admission = &router.parts.acceptor.admission;
    let full = admission.unsynced(UNSYNCED_BYTES);
    let number = replay(&router).await;
    sleep(Duration::from_secs(30)).await;
    let waits = status_of(&router, number);
    assert_eq!(waits.state, ReplayState::Waiting, "{waits:?}");
    assert_eq!((waits.replayed, waits.skipped), (0, 0));
    assert_eq!(waits.reason, "the router has more to do than it can");
    let view = admission.status();
    assert_eq!(
        (view.state.as_str(), view.waiting),
        ("open", 0),
        "no producer waits"
    );
    drop(full);
    let replay = ended(&router, number).await;
    assert_eq!(replay.state, ReplayState::Done, "{replay:?}");
    assert_eq!(replay.delivered as usize, DEAD);
}

#[tokio::test(start_paused = true)]
async fn a_replay_without_a_turn_stops_and_keeps_its_dead_letters() {
    let (router, _) = with_dead_letters(DEAD).await;
    let full = router.parts.acceptor.admission.unsynced(UNSYNCED_BYTES);
    let number = replay(&router).await;
    let replay = ended(&router, number).await;
    assert_eq!(replay.state, ReplayState::Stopped);
    let expect = "endpoint default/only: the router has more to do than it can: the replay waited 60 s for its turn";
    assert_eq!(replay.reason, expect);
    assert_eq!(
        endpoint_status(&router, "only").dead_letters.local as usize,
        DEAD
    );
    drop(full);
}

#[tokio::test(start_paused = true)]
async fn a_replay_waits_for_a_lane_that_is_behind_for_the_routers_sake() {
    let (router, sink) = with_dead_letters(1).await;
    sink.set(STALLS);
    batch(&router, 1_400).await.unwrap();
    let number = replay(&router).await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(status_of(&router, number).replayed, 0, "the lane is behind");
    sleep(Duration::from_millis(300)).await;
    assert_eq!(
        status_of(&router, number).replayed,
        1,
        "it is slow from here on"
    );
}

/// Many replays beside a flood: producers wait no longer than their line is.
#[tokio::test(start_paused = true)]
async fn replays_keep_no_producer_out() {
    let (router, _) = with_dead_letters(DEAD).await;
    let mut replays = Vec::new();
    for _ in 0..4 {
        replays.push(replay(&router).await);
    }
    let mut producers = JoinSet::new();
    for _ in 0..64 {
        let router = router.clone();
        producers.spawn(async move {
            for _ in 0..10 {
                batch(&router, 20).await.unwrap();
            }
        });
    }
    let begun = Instant::now();
    producers.join_all().await;
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(250), "{took:?}");
    let mut replayed = 0;
    for number in replays {
        let replay = ended(&router, number).await;
        assert_eq!(replay.state, ReplayState::Done, "{replay:?}");
        replayed += replay.replayed as usize;
    }
    assert_eq!(replayed, DEAD);
    router.settled().await;
    let status = endpoint_status(&router, "only");
    assert_eq!(status.dead_letters.local, 0, "{status:?}");
    assert_eq!(status.delivered as usize, DEAD + 1 + 64 * 10 * 20);
}
