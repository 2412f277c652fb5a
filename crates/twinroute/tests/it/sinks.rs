//! What a sink of the program's own may say and do.

use crate::{CollectingSink, event};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use twinroute::dead_letters::DeadLetterReason;
use twinroute::prelude::*;
use twinroute::settings::EndpointSettings;
use twinroute::status::EndpointStatus;

/// A router with one endpoint, for whose sink each call has its own turn.
async fn with_turns(turn: fn(usize, &[Delivery]) -> SendResult) -> Router {
    let turns = AtomicUsize::new(0);
    let sink = sink_fn(move |batch| {
        let result = turn(turns.fetch_add(1, Ordering::Relaxed), &batch);
        async move { result }
    });
    let once = |settings: &mut EndpointSettings| settings.attempts_max = 1;
    let builder = Router::builder().sink("own", SinkSetup::new(sink).settings(once));
    builder.route("all", "own", "true").start().await.unwrap()
}

fn own(router: &Router) -> EndpointStatus {
    router.status().instances[0].endpoints[0].clone()
}

#[tokio::test(start_paused = true)]
async fn an_io_error_is_the_endpoints_and_costs_no_event_an_attempt() {
    let router = with_turns(|turn, _| {
        if turn < 3 {
            std::fs::File::open("/not/there")?;
        }
        Ok(SendOutcome::all_delivered())
    });
    let router = router.await;
    router.accept_batch([event(1), event(2)]).await.unwrap();
    router.settled().await;
    let own = own(&router);
    assert_eq!((own.delivered, own.dead_letters.all()), (2, 0));
    assert!(own.last_error.contains("os error 2"), "{}", own.last_error);
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_each_deliverys_own() {
    let router = with_turns(|_, batch| {
        let outcome = |delivery: &Delivery| match delivery.event.id() {
            "2" => DeliveryOutcome::reject("no such page"),
            "3" => DeliveryOutcome::retry("engaged"),
            _ => DeliveryOutcome::Delivered,
        };
        Ok(batch.iter().map(outcome).collect())
    });
    let router = router.await;
    router.accept_batch((1..=4).map(event)).await.unwrap();
    router.settled().await;
    let own = own(&router);
    // With one attempt each, one that is to be tried again is exhausted.
    assert_eq!((own.delivered, own.dead_letters.local), (2, 2));
    let reasons = own.dead_letters.by_reason;
    assert_eq!(
        (
            reasons[&DeadLetterReason::Rejected],
            reasons[&DeadLetterReason::Exhausted]
        ),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn panics_and_wrong_numbers_of_outcomes_lose_nothing() {
    let router = with_turns(|turn, batch| match turn {
        0 => panic!("of the sink"),
        1 => Ok(SendOutcome::from(vec![
            DeliveryOutcome::Delivered;
            batch.len() + 1
        ])),
        2 => Err(SendError::throttled("slowly").retry_after(Duration::from_secs(7))),
        _ => Ok(SendOutcome::all_delivered()),
    });
    let router = router.await;
    router.accept_batch([event(1), event(2)]).await.unwrap();
    router.settled().await;
    assert_eq!(own(&router).delivered, 2);
}

/// Stores nothing but the ids.
#[derive(Clone, Default)]
struct IdStore(std::sync::Arc<Mutex<Vec<String>>>);

impl twinroute::sink::DeadLetterStore for IdStore {
    fn put<'a>(
        &'a self,
        letter: twinroute::sink::DeadLetterDocument<'a>,
    ) -> futures_util::future::BoxFuture<'a, Result<(), twinroute::sink::EndpointFault>> {
        self.0.lock().unwrap().push(letter.event.id().to_owned());
        Box::pin(async { Ok(()) })
    }

    fn expires_at(&self) -> Option<twinroute::clock::Timestamp> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_has_its_own_dead_letter_store() {
    let reject = |batch: Vec<Delivery>| async move {
        Ok(SendOutcome::from(vec![
            DeliveryOutcome::reject("never");
            batch.len()
        ]))
    };
    let (store, other) = (IdStore::default(), CollectingSink::default());
    let setup = SinkSetup::new(sink_fn(reject)).dead_letters(store.clone());
    let builder = Router::builder()
        .sink("own", setup)
        .sink("other", other.clone());
    let builder = builder
        .route("all", "own", "true")
        .route("both", "other", "true");
    let router = builder.start().await.unwrap();
    router.accept(event(1)).await.unwrap();
    router.settled().await;
    while own_stored(&router) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(*store.0.lock().unwrap(), ["1"]);
    assert_eq!(other.ids(), ["1"]);
}

fn own_stored(router: &Router) -> u64 {
    let status = router.status();
    let mut endpoints = status.instances[0].endpoints.iter();
    let own = endpoints.find(|endpoint| endpoint.name == "own").unwrap();
    own.dead_letters.uploaded
}
