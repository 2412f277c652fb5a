//! The history from code: searched by pages, and replayed.

use crate::{CollectingSink, event};
use std::time::Instant;
use twinroute::dead_letters::ReplayState;
use twinroute::history::{HistoryOutcome, PastDeliveryPage};
use twinroute::prelude::*;

async fn start(folder: &std::path::Path, sink: impl Sink) -> Router {
    let journal = JournalOptions::new(folder).keep_bytes(1 << 20);
    let builder = Router::builder().journal(journal).sink("archive", sink);
    let builder = builder.route("some", "archive", "id != '4'");
    builder.start().await.unwrap()
}

fn about(page: &PastDeliveryPage) -> Vec<(&str, &str, HistoryOutcome)> {
    let deliveries = page.deliveries.iter();
    deliveries
        .map(|one| (&*one.id, &*one.endpoint, one.outcome))
        .collect()
}

/// What became of deliveries is on disk a little after it became so.
async fn settled(router: &Router, id: usize) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let found = router.history().id(id.to_string()).await.unwrap();
        if found.deliveries.iter().any(|one| one.settled_at.is_some()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("event {id} is not settled");
}

#[tokio::test]
async fn the_history_is_searched_by_pages_and_replayed_to_an_endpoint_that_came_later() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, late) = (CollectingSink::default(), CollectingSink::default());
    let router = start(folder.path(), archive.clone()).await;
    for id in 1..=4 {
        router
            .accept(event(id))
            .ack(AckLevel::Delivered)
            .await
            .unwrap();
    }
    for id in 1..=3 {
        settled(&router, id).await;
    }
    let first = router.history().most(2).await.unwrap();
    let second = router.history().after(first.next.clone().unwrap());
    let second = second.await.unwrap();
    let delivered = HistoryOutcome::Delivered;
    assert_eq!(
        about(&first),
        [("1", "archive", delivered), ("2", "archive", delivered)]
    );
    let unmatched = ("4", "", HistoryOutcome::Unmatched);
    assert_eq!(about(&second), [("3", "archive", delivered), unmatched]);
    assert!(second.next.is_none());
    let one = &first.deliveries[0];
    assert_eq!(
        (one.sequence, one.routes.join(" ")),
        (Some(1), "some".to_owned())
    );
    assert!(
        one.accepted_at <= one.settled_at && !one.is_replay,
        "{one:?}"
    );
    let none = router.history().outcome(HistoryOutcome::Discarded);
    assert!(none.await.unwrap().deliveries.is_empty());
    let events = router.history().endpoint("archive").events().await.unwrap();
    let ids: Vec<&str> = events.events.iter().map(Event::id).collect();
    assert_eq!(ids, ["1", "2", "3"]);

    router.add_sink("late", late.clone()).await.unwrap();
    let replay = router.replay_history().route("some").to("late");
    let replayed = replay.per_second(1_000.0).await.unwrap();
    assert_eq!((replayed.state, replayed.replayed), (ReplayState::Done, 3));
    router.settled().await;
    assert_eq!(
        (archive.ids().len(), late.ids()),
        (3, ["1", "2", "3"].map(str::to_owned).into())
    );
}

#[tokio::test]
async fn what_the_history_cannot_answer_is_refused_by_name() {
    let builder = Router::builder().sink("archive", CollectingSink::default());
    let router = builder.start().await.unwrap();
    let none: twinroute::Error = router.history().await.unwrap_err().into();
    assert!(
        none.to_string().starts_with("there is no history: "),
        "{none}"
    );
    assert_eq!(none.http_status(), 404);
    let slow = router.replay_history().per_second(0.0).await.unwrap_err();
    assert!(slow.to_string().contains("per_second"), "{slow}");
    let unknown = router.replay_history().to("archiv").await.unwrap_err();
    assert!(unknown.to_string().contains("archiv"), "{unknown}");
}
