//! Replays: begun, looked at, ended.

use crate::harness::{
    PATIENCE, ScriptedSink, TestServer, away, builder, builder_on_disk, error, events, json,
    rejects,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use twinroute_router::sink::DeliveryOutcome;

/// Looks until the replay is in `state`.
async fn until(server: &TestServer, number: u64, state: &str) -> Value {
    let latest = Instant::now() + PATIENCE;
    loop {
        let replay = server.json(&format!("/replays/{number}")).await;
        if replay["state"] == state {
            return replay;
        }
        assert!(Instant::now() < latest, "{replay:#}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_rejected_is_replayed_once_the_endpoint_is_fixed() {
    let folder = tempfile::tempdir().unwrap();
    let memory = |sink: &ScriptedSink| builder(sink);
    let disk = |sink: &ScriptedSink| builder_on_disk(sink, folder.path());
    for make in [&memory as &dyn Fn(&ScriptedSink) -> _, &disk] {
        let sink = ScriptedSink::new(rejects());
        let server = TestServer::start(make(&sink));
        server.accept(events(5)).await;
        sink.tell(DeliveryOutcome::Delivered);
        let begun = server
            .post(
                "/replays",
                json!({ "query": { "endpoint": "grid-1" }, "per_second": 1000 }),
            )
            .await;
        assert_eq!((begun.status, &json(&begun)["number"]), (202, &json!(1)));
        let done = until(&server, 1, "done").await;
        assert_eq!(
            (&done["replayed"], &done["delivered"]),
            (&json!(5), &json!(5))
        );
        assert_eq!(sink.taken(), ["1", "2", "3", "4", "5"]);
        let total = server.json("/ledger").await["total"].clone();
        let dead = json!({ "uploaded": 0, "awaiting_upload": 0, "local": 0, "replayed": 5 });
        assert_eq!(
            (&total["dead_lettered"], &total["replayed"]),
            (&dead, &json!(5))
        );
        assert_eq!(
            (&total["unaccounted"], &total["delivered"]),
            (&json!(0), &json!(5))
        );
        let all = server.json("/replays").await;
        assert_eq!(all["replays"].as_array().unwrap().len(), 1);
        server.stop().await;
    }
}

#[tokio::test]
async fn one_that_waits_is_ended() {
    let sink = ScriptedSink::new(rejects());
    let server = TestServer::start(builder(&sink));
    server.accept(events(2)).await;
    sink.tell(away(None));
    server.queue(events(1)).await;
    let latest = Instant::now() + PATIENCE;
    while server.endpoint().await["state"] != "unreachable" {
        assert!(Instant::now() < latest, "{}", server.endpoint().await);
    }
    let begun = server
        .post("/replays", json!({ "query": { "endpoint": "grid-1" } }))
        .await;
    assert_eq!(begun.status, 202, "{begun:?}");
    until(&server, 1, "waiting").await;
    let ended = server.delete("/replays/1").await;
    assert_eq!(
        (ended.status, &json(&ended)["state"]),
        (200, &json!("cancelled"))
    );
    assert_eq!(server.endpoint().await["dead_letters"]["local"], 2);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_replayed_is_refused() {
    let sink = ScriptedSink::new(DeliveryOutcome::Delivered);
    let server = TestServer::start(builder(&sink));
    for (body, expect) in [
        (
            json!({ "query": { "endpoint": "grid-2" } }),
            "404 UnknownEndpoint: endpoint grid-2: not found; there are demo/grid-1",
        ),
        (
            json!({ "sequences": [1] }),
            "400 InvalidReplay: sequences: name the endpoint too",
        ),
        (
            json!({ "per_second": 0 }),
            "400 InvalidReplay: per_second must be 0.1 to 10000",
        ),
        (
            json!({ "perSecond": 1 }),
            "400 InvalidBody: the body: unknown field `perSecond`, expected one of `query`, \
             `sequences`, `container_prefix`, `history`, `per_second`, `most` at line 1 column 12",
        ),
        (
            json!({ "query": { "endpoint": "x".repeat(300 << 10) } }),
            "413 BodyTooLarge: the body has more than 262144 bytes, which is the limit",
        ),
    ] {
        assert_eq!(error(&server.post("/replays", body).await), expect);
    }
    for answer in [
        server.get("/replays/7").await,
        server.delete("/replays/7").await,
    ] {
        let expect = "404 UnknownReplay: replay 7: not found; GET /replays lists \
                      them";
        assert_eq!(error(&answer), expect);
    }
    assert_eq!(server.json("/replays").await, json!({ "replays": [] }));
    server.stop().await;
}
