//! Dead letters, replays and endpoints that are steered from code.

use crate::event;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use twinroute::dead_letters::{DeadLetterReason, PurgeScope, ReplayState};
use twinroute::prelude::*;

/// A router whose sink rejects all until it is set to accept.
async fn rejecting() -> (Router, Arc<AtomicBool>) {
    let rejects = Arc::new(AtomicBool::new(true));
    let rejecting = Arc::clone(&rejects);
    let sink = sink_fn(move |batch: Vec<Delivery>| {
        let outcome = match rejecting.load(Ordering::Relaxed) {
            true => DeliveryOutcome::reject("not today"),
            false => DeliveryOutcome::Delivered,
        };
        async move { Ok(SendOutcome::from(vec![outcome; batch.len()])) }
    });
    let builder = Router::builder().sink("archive", sink);
    let router = builder
        .route("all", "archive", "true")
        .start()
        .await
        .unwrap();
    (router, rejects)
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_listed_by_pages_and_replayed() {
    let (router, rejects) = rejecting().await;
    router.accept_batch((1..=5).map(event)).await.unwrap();
    router.settled().await;
    let first = router
        .dead_letters()
        .endpoint("archive")
        .most(3)
        .await
        .unwrap();
    let next = router
        .dead_letters()
        .endpoint("archive")
        .after(first.next.unwrap());
    let ids = |page: &[twinroute::dead_letters::DeadLetterView]| -> Vec<String> {
        page.iter().map(|letter| letter.id.clone()).collect()
    };
    assert_eq!(ids(&first.dead_letters), ["1", "2", "3"]);
    let second = next.await.unwrap();
    assert_eq!(ids(&second.dead_letters), ["4", "5"]);
    assert!(second.next.is_none());
    let one = &second.dead_letters[0];
    let (_, whole) = router.dead_letter("archive", one.sequence).await.unwrap();
    assert_eq!(whole.id(), "4");
    let none = router.dead_letters().reason(DeadLetterReason::Expired);
    assert!(none.await.unwrap().dead_letters.is_empty());
    rejects.store(false, Ordering::Relaxed);
    let some = router
        .replay()
        .endpoint("archive")
        .sequences([one.sequence]);
    let some = some.await.unwrap();
    assert_eq!((some.state, some.replayed), (ReplayState::Done, 1));
    let rest = router
        .replay()
        .reason(DeadLetterReason::Rejected)
        .await
        .unwrap();
    assert_eq!(rest.replayed, 4);
    router.settled().await;
    let status = &router.status().instances[0].endpoints[0];
    assert_eq!((status.delivered, status.dead_letters.local), (5, 0));
    assert_eq!(router.replays().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_watched_and_cancelled() {
    let (router, rejects) = rejecting().await;
    router.accept_batch((1..=50).map(event)).await.unwrap();
    router.settled().await;
    rejects.store(false, Ordering::Relaxed);
    let running = router.replay().per_second(1.0).begin().await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!((5..=15).contains(&running.status().replayed));
    running.cancel();
    assert_eq!(running.ended().await.state, ReplayState::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_waited_for_ends_with_its_router() {
    let (router, _) = rejecting().await;
    router.accept_batch((1..=50).map(event)).await.unwrap();
    router.settled().await;
    let running = router.replay().per_second(0.1).begin().await.unwrap();
    let stop = router.stop(Duration::ZERO);
    let (ended, _) = tokio::join!(running.ended(), stop);
    assert_ne!(ended.state, ReplayState::Done);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_understood_is_refused_by_name() {
    let (router, _) = rejecting().await;
    for (refused, expect) in [
        (router.replay().per_second(0.0).await, "per_second"),
        (
            router.replay().sequences([1]).await,
            "name the endpoint too",
        ),
        (router.replay().filter("$body.t >").await, "filter: "),
        (
            router.replay().endpoint("archiv").await,
            "endpoint archiv: not found",
        ),
    ] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(expect), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_paused_resumed_and_purged() {
    let (router, _) = rejecting().await;
    let endpoint = router.endpoint("archive").unwrap();
    assert!(router.endpoint("elsewhere").is_none());
    assert!(router.endpoint_of("default", "archive").is_some());
    router.accept(event(1)).await.unwrap();
    router.settled().await;
    endpoint.pause();
    router.accept_batch([event(2), event(3)]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let state = || router.status().instances[0].endpoints[0].clone();
    assert_eq!((state().state.as_str(), state().queued), ("paused", 2));
    let purged = endpoint.purge(PurgeScope::Queued);
    assert_eq!((purged.queued, purged.dead_letters), (2, 0));
    let purged = endpoint.purge(PurgeScope::QueuedAndDeadLetters);
    assert_eq!((purged.queued, purged.dead_letters), (0, 1));
    endpoint.resume();
    router.accept(event(4)).await.unwrap();
    router.settled().await;
    assert_eq!(state().dead_letters.local, 1);
}
