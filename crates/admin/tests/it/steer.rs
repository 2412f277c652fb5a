//! Pausing, resuming, trying again and purging.

use crate::harness::{
    PATIENCE, ScriptedSink, TestServer, away, builder, builder_on_disk, error, events, json,
    rejects,
};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use twinroute_router::sink::DeliveryOutcome;

#[tokio::test]
async fn a_paused_endpoint_takes_nothing_until_it_is_resumed() {
    let sink = ScriptedSink::new(DeliveryOutcome::Delivered);
    let server = TestServer::start(builder(&sink));
    let paused = server.post("/endpoints/demo/grid-1/pause", json!({})).await;
    assert_eq!(
        (paused.status, &json(&paused)["state"]),
        (200, &json!("paused"))
    );
    server.queue(events(3)).await;
    let endpoint = server.endpoint().await;
    assert_eq!(
        (&endpoint["queued"], &endpoint["delivered"]),
        (&json!(3), &json!(0))
    );
    assert!(sink.taken().is_empty());
    // Names are compared without case.
    let resumed = server
        .post("/endpoints/DEMO/Grid-1/resume", json!({}))
        .await;
    assert_eq!(json(&resumed)["state"], "healthy", "{resumed:?}");
    timeout(PATIENCE, server.router.settled()).await.unwrap();
    assert_eq!(sink.taken(), ["1", "2", "3"]);
    server.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_is_back_is_tried_at_once() {
    let sink = ScriptedSink::new(away(Some(Duration::from_secs(3_600))));
    let server = TestServer::start(builder(&sink));
    server.queue(events(1)).await;
    let latest = Instant::now() + PATIENCE;
    while server.endpoint().await["backing_off_ms"].as_u64().unwrap() < 2_000 * PATIENCE.as_secs() {
        assert!(Instant::now() < latest, "{}", server.endpoint().await);
    }
    sink.tell(DeliveryOutcome::Delivered);
    let answer = server
        .post("/endpoints/demo/grid-1/retry-now", json!({}))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    timeout(PATIENCE, server.router.settled()).await.unwrap();
    assert_eq!(sink.taken(), ["1"]);
    server.stop().await;
}

#[tokio::test]
async fn a_purge_needs_the_endpoints_name_and_keeps_dead_letters_unless_told() {
    let sink = ScriptedSink::new(rejects());
    let server = TestServer::start(builder(&sink));
    server.accept(events(2)).await;
    server.router.endpoint(None, "grid-1").unwrap().pause();
    server.queue(events(3)).await;
    let path = "/endpoints/demo/grid-1/purge";
    for body in [
        json!({}),
        json!({ "confirm": "" }),
        json!({ "confirm": "grid-2" }),
    ] {
        let answer = server.post(path, body).await;
        assert_eq!(
            error(&answer),
            "400 Unconfirmed: a purge discards the backlog for good: confirm it with the endpoint's \
             name, \"confirm\": \"grid-1\""
        );
    }
    let typo = server
        .post(path, json!({ "confirm": "grid-1", "deadLetters": true }))
        .await;
    assert!(error(&typo).starts_with("400 InvalidBody: the body: unknown field `deadLetters`"));
    assert_eq!(server.endpoint().await["queued"], 3);
    let purged = server.post(path, json!({ "confirm": "GRID-1" })).await;
    assert_eq!(json(&purged), json!({ "queued": 3, "dead_letters": 0 }));
    assert_eq!(server.endpoint().await["dead_letters"]["local"], 2);
    let purged = server
        .post(path, json!({ "confirm": "grid-1", "dead_letters": true }))
        .await;
    assert_eq!(json(&purged), json!({ "queued": 0, "dead_letters": 2 }));
    let endpoint = server.endpoint().await;
    assert_eq!(endpoint["discarded_by"], json!({ "purged": 5 }));
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_endpoint_is_answered_with_the_known_ones() {
    let sink = ScriptedSink::new(DeliveryOutcome::Delivered);
    let server = TestServer::start(builder(&sink).sink("hub-1", sink.clone()));
    for name in ["demo/grid-2", "plant/grid-1", "x/y"] {
        let answer = server
            .post(&format!("/endpoints/{name}/pause"), json!({}))
            .await;
        assert_eq!(
            error(&answer),
            format!(
                "404 UnknownEndpoint: endpoint {name}: not found; there are \
                 demo/grid-1, demo/hub-1"
            )
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_pause_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let sink = ScriptedSink::new(DeliveryOutcome::Delivered);
    let server = TestServer::start(builder_on_disk(&sink, folder.path()));
    server.post("/endpoints/demo/grid-1/pause", json!({})).await;
    server.queue(events(2)).await;
    server.router.stop(Duration::ZERO).await;
    server.stop().await;
    let server = TestServer::start(builder_on_disk(&sink, folder.path()));
    let endpoint = server.endpoint().await;
    assert_eq!(
        (&endpoint["state"], &endpoint["queued"]),
        (&json!("paused"), &json!(2))
    );
    server
        .post("/endpoints/demo/grid-1/resume", json!({}))
        .await;
    timeout(PATIENCE, server.router.settled()).await.unwrap();
    assert_eq!(sink.taken(), ["1", "2"]);
    assert_eq!(server.json("/ledger").await["total"]["unaccounted"], 0);
    server.stop().await;
}
