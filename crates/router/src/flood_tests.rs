//! More producers than the router has time for: they wait, and what was accepted goes on.

use super::tests::{endpoint_status, event, fault};
use super::*;
use crate::accept::AcceptedBatch;
use crate::sink::{BatchLimits, Delivery, DeliveryOutcome, FaultKind, Sink};
use crate::status::EndpointStatus;
use futures_util::future::{BoxFuture, FutureExt};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Poll;
use tokio::task::JoinSet;
use tokio::time::sleep;
use twinroute_model::settings::EndpointSettings;

/// Turns of the runtime between a batch and its answer: the connection's task writes, the answer comes, it
/// reads, the lane hears of it.
const HOPS: usize = 4;

const PRODUCERS: usize = 64;
const BATCHES: usize = 10;
const BATCH_EVENTS: usize = 20;
const EVENTS: u64 = (PRODUCERS * BATCHES * BATCH_EVENTS) as u64;

/// What an endpoint does with a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SinkManner {
    /// Takes it at once, as soon as the runtime lets it.
    Prompt,
    /// Takes it after a while.
    Slow(Duration),
    Hangs,
    Refuses,
}

struct FloodEndpoint(SinkManner);

impl Sink for FloodEndpoint {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 200,
            bytes_max: 1 << 20,
            in_flight_max: 4,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        async move {
            match self.0 {
                SinkManner::Prompt => hops(HOPS).await,
                SinkManner::Slow(delay) => sleep(delay).await,
                SinkManner::Hangs => std::future::pending().await,
                SinkManner::Refuses => {
                    let outcome = DeliveryOutcome::Unavailable(fault(FaultKind::Unreachable));
                    return vec![outcome; batch.len()];
                }
            }
            vec![DeliveryOutcome::Delivered; batch.len()]
        }
        .boxed()
    }
}

/// Lets everything that is ready have its turn, so many times: as input that is there already, this does not
/// wait for the runtime to be idle.
async fn hops(count: usize) {
    for _ in 0..count {
        let mut polled = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

fn settings() -> EndpointSettings {
    EndpointSettings::default().with(|own| {
        own.queue_events_max = 2_000;
        own.linger = Duration::from_millis(1);
    })
}

/// A router whose every endpoint gets every event.
fn router(endpoints: &[(&str, SinkManner)]) -> Router {
    let mut builder = Router::builder();
    for (name, manner) in endpoints {
        builder = builder
            .sink_with(name, FloodEndpoint(*manner), settings())
            .route(name, name, "true");
    }
    builder.build().unwrap()
}

/// Posts batches as fast as they are answered, and gives what was refused.
async fn flood(router: &Router, level: AckLevel) -> Vec<AcceptError> {
    let mut producers = JoinSet::new();
    for producer in 0..PRODUCERS {
        let router = router.clone();
        producers.spawn(async move {
            let mut refused = Vec::new();
            for batch in 0..BATCHES {
                // The request is there already.
                hops(2).await;
                let id = |n: usize| (producer * BATCHES + batch) * BATCH_EVENTS + n;
                let events = (0..BATCH_EVENTS).map(|n| event(id(n), &format!("room{}", id(n))));
                let accepted = router.accept(None, events.collect(), level).await;
                refused.extend(accepted.err());
            }
            refused
        });
    }
    producers.join_all().await.concat()
}

#[track_caller]
fn has_everything(status: &EndpointStatus) {
    let EndpointStatus { name, matched, .. } = status;
    assert_eq!(*matched, EVENTS, "{name}");
    assert_eq!(status.delivered, EVENTS, "{name}: {status:?}");
    assert_eq!(status.dead_letters.local, 0, "{name}");
    assert_eq!(status.discarded, 0, "{name}");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_healthy_endpoints_dead_letters_nothing() {
    let router = router(&[
        ("grid-a", SinkManner::Prompt),
        ("grid-b", SinkManner::Prompt),
        ("grid-c", SinkManner::Prompt),
    ]);
    let most = watch_queues(&router);
    assert_eq!(flood(&router, AckLevel::Memory).await, []);
    router.settled().await;
    for name in ["grid-a", "grid-b", "grid-c"] {
        has_everything(&endpoint_status(&router, name));
    }
    let most = most.load(Ordering::Relaxed);
    assert!(most < 1_500, "lanes lag by up to {most} events");
    assert_eq!(router.parts.acceptor.admission.waiting(), 0);
}

/// Watches, as often as the runtime comes by, how many events wait for an endpoint.
fn watch_queues(router: &Router) -> Arc<AtomicU64> {
    let most = Arc::new(AtomicU64::new(0));
    let (router, watched) = (router.clone(), Arc::clone(&most));
    drop(tokio::spawn(async move {
        while !router.parts.acceptor.appender.is_stopping() {
            let endpoints = &router.status().instances[0].endpoints;
            let queued = endpoints.iter().map(|endpoint| endpoint.queued).max();
            watched.fetch_max(queued.unwrap_or_default(), Ordering::Relaxed);
            hops(10).await;
        }
    }));
    most
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_take_nothing_slow_nobody_in_a_flood() {
    let router = router(&[
        ("healthy", SinkManner::Prompt),
        ("slow", SinkManner::Slow(Duration::from_secs(1))),
        ("hangs", SinkManner::Hangs),
        ("refuses", SinkManner::Refuses),
    ]);
    let begun = Instant::now();
    assert_eq!(flood(&router, AckLevel::Memory).await, []);
    let passed = begun.elapsed();
    assert!(
        passed < Duration::from_millis(10),
        "somebody waited: {passed:?}"
    );
    router.lane(None, "healthy").unwrap().idle().await;
    has_everything(&endpoint_status(&router, "healthy"));
    for name in ["slow", "hangs", "refuses"] {
        let status = endpoint_status(&router, name);
        assert_eq!(status.matched, EVENTS, "{name}");
        assert!(
            status.dead_letters.local >= EVENTS - 4_000,
            "{name} fills its own queue: {status:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_that_waits_for_its_deliveries_gets_them() {
    let router = router(&[
        ("grid-a", SinkManner::Prompt),
        ("grid-b", SinkManner::Prompt),
    ]);
    assert_eq!(flood(&router, AckLevel::Delivered).await, []);
    for name in ["grid-a", "grid-b"] {
        has_everything(&endpoint_status(&router, name));
    }
}

/// An endpoint that has answered at once, and now keeps what it is sent.
#[derive(Clone, Default)]
struct StallingSink(Arc<AtomicBool>);

impl Sink for StallingSink {
    fn limits(&self) -> BatchLimits {
        FloodEndpoint(SinkManner::Prompt).limits()
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        async move {
            if self.0.load(Ordering::Relaxed) {
                sleep(Duration::from_secs(5)).await;
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

/// Four batches of 200 in flight, 600 behind them.
async fn stalled(stalls: &StallingSink) -> Router {
    let router = Router::builder()
        .sink_with("only", stalls.clone(), settings())
        .route("all", "only", "true")
        .build()
        .unwrap();
    batch(&router, 1).await.unwrap();
    router.settled().await;
    stalls.0.store(true, Ordering::Relaxed);
    batch(&router, 1_400).await.unwrap();
    hops(20).await;
    router
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_only_endpoint_waits_no_longer_than_it_is_prompt() {
    let router = stalled(&StallingSink::default()).await;
    let begun = Instant::now();
    batch(&router, 1).await.unwrap();
    let waited = begun.elapsed();
    let expect = Duration::from_millis(250)..Duration::from_millis(400);
    assert!(expect.contains(&waited), "{waited:?}");
    let begun = Instant::now();
    batch(&router, 5_000).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "it is slow from here on");
    let status = endpoint_status(&router, "only");
    assert!(
        status.dead_letters.local > 0,
        "its queue is its own: {status:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_that_waited_too_long_nothing_is_kept() {
    let router = stalled(&StallingSink::default()).await;
    let before = endpoint_status(&router, "only").matched;
    let admitted = router.admit(1, Duration::from_millis(20)).await.unwrap();
    let never = std::future::pending();
    let refused =
        router.accept_admitted(admitted, None, vec![event(1, "a")], AckLevel::Memory, never);
    let refused = refused.await.unwrap_err();
    let expect = AcceptError::Overloaded {
        waited: Duration::from_millis(20),
        retry_after: Duration::from_secs(1),
    };
    assert_eq!(refused, expect);
    assert_eq!(endpoint_status(&router, "only").matched, before);
    assert_eq!(router.status().journal.accepted, before);
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_those_who_wait() {
    let router = stalled(&StallingSink::default()).await;
    let waits = tokio::spawn({
        let router = router.clone();
        async move { batch(&router, 1).await }
    });
    hops(5).await;
    assert_eq!(router.parts.acceptor.admission.waiting(), 1);
    let last = router.stop(Duration::from_secs(60)).await;
    assert_eq!(waits.await.unwrap(), Err(AcceptError::Stopping));
    let endpoint = &last.instances[0].endpoints[0];
    assert_eq!((endpoint.delivered, endpoint.discarded), (1_401, 0));
}
