use super::super::dead_letter_tests::reject;
use super::super::tests::{ScriptedSink, endpoint_status, event};
use super::*;
use crate::accept::AckLevel;
use crate::history::{DeliveryRow, HistoryQueryText};
use twinroute_journal::history::HistoryCursor;

/// A router whose journal is in memory, with a sink for each of two endpoints.
fn router(hub: &ScriptedSink, topic: &ScriptedSink) -> Router {
    Router::builder()
        .sink("hub", hub.clone())
        .route("all", "hub", "subject = 'a'")
        .sink("topic", topic.clone())
        .route("some", "topic", "subject = 'b'")
        .build()
        .unwrap()
}

async fn accept(router: &Router, ids: std::ops::Range<usize>, subject: &str) {
    let events = ids.map(|id| event(id, subject)).collect();
    let accepted = router.accept(None, events, AckLevel::Memory).await;
    accepted.unwrap();
}

async fn rows(router: &Router, query: HistoryQueryText) -> Vec<DeliveryRow> {
    let recent = router.recent_history().unwrap();
    let query = query.parse().unwrap();
    let page = recent.rows(query, HistoryCursor::default(), 10_000).await;
    assert!(page.at_end);
    page.rows
}

fn about(rows: &[DeliveryRow]) -> Vec<(&str, &str, &str, &str)> {
    let about = rows.iter().map(|row| {
        let reason = row.reason.as_str();
        (&*row.id, &*row.endpoint, &*row.outcome, reason)
    });
    about.collect()
}

#[tokio::test]
async fn a_memory_journal_has_the_latest_outcome_of_each_delivery_without_its_body() {
    let (hub, topic) = (ScriptedSink::default(), ScriptedSink::default());
    let router = router(&hub, &topic);
    assert!(router.history().is_none(), "events are not kept");
    hub.answer([reject()]);
    topic.set_down(true);
    accept(&router, 0..2, "a").await;
    router.settled().await;
    accept(&router, 2..3, "nowhere").await;
    accept(&router, 3..4, "b").await;
    let all = rows(&router, HistoryQueryText::default()).await;
    assert_eq!(
        about(&all),
        [
            ("1", "hub", "delivered", ""),
            ("0", "hub", "dead-letter", "rejected"),
            ("2", "", "unmatched", ""),
        ],
        "what is queued has no outcome"
    );
    assert_eq!((all[0].attempts, &*all[0].instance), (1, "default"));
    assert!(!all[0].accepted_at.is_empty() && !all[0].settled_at.is_empty());
    assert!(!all[1].last_outcome.is_empty(), "{:?}", all[1]);
    // What is in flight is not purged.
    while endpoint_status(&router, "topic").failed_attempts == 0 {
        tokio::task::yield_now().await;
    }
    for name in ["hub", "topic"] {
        let purged = router.endpoint(None, name).unwrap().purge(true);
        assert_eq!(purged.queued + purged.dead_letters, 1, "{name}");
    }
    let purged = rows(
        &router,
        HistoryQueryText {
            outcome: "discarded".to_owned(),
            ..HistoryQueryText::default()
        },
    );
    let purged = purged.await;
    assert_eq!(
        about(&purged),
        [
            ("0", "hub", "discarded", "purged"),
            ("3", "topic", "discarded", "purged")
        ]
    );
    let of_twin = HistoryQueryText {
        twin: "b".to_owned(),
        endpoint: "TOPIC".to_owned(),
        ..HistoryQueryText::default()
    };
    assert_eq!(rows(&router, of_twin).await.len(), 1);
}

/// Pages go on where the last one ended, and who follows gets what comes.
#[tokio::test]
async fn recent_outcomes_are_given_page_by_page_and_followed() {
    let hub = ScriptedSink::default();
    let router = router(&hub, &ScriptedSink::default());
    accept(&router, 0..5, "a").await;
    router.settled().await;
    let recent = router.recent_history().unwrap();
    let mut after = HistoryCursor::default();
    let mut found = Vec::new();
    for _ in 0..3 {
        let page = recent.rows(HistoryQuery::default(), after, 2).await;
        after = page.next.parse().unwrap();
        found.extend(page.rows.into_iter().map(|row| row.id));
    }
    assert_eq!(found, ["0", "1", "2", "3", "4"]);
    accept(&router, 5..6, "a").await;
    router.settled().await;
    let page = recent.rows(HistoryQuery::default(), after, 2).await;
    assert_eq!((page.rows[0].id.as_str(), page.at_end), ("5", true));
}

#[tokio::test]
async fn a_memory_journal_keeps_the_last_ten_thousand_outcomes() {
    let hub = ScriptedSink::default();
    let router = router(&hub, &ScriptedSink::default());
    for from in (0..25_000).step_by(500) {
        accept(&router, from..from + 500, "a").await;
        router.settled().await;
    }
    let all = rows(&router, HistoryQueryText::default()).await;
    assert_eq!(all.len(), 10_000);
    let first: usize = all[0].id.parse().unwrap();
    assert!((14_000..=15_000).contains(&first), "{first}");
}
