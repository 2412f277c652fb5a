//! The filter of the log, shown and changed.

use crate::harness::{ScriptedSink, TestServer, builder};
use serde_json::json;
use std::sync::{Arc, Mutex};
use twinroute_admin::{AdminServer, LogControl, MetricsRecorder};
use twinroute_listen::{ListenAddress, ListeningSocket, SocketSettings};
use twinroute_router::sink::DeliveryOutcome;

/// The filters that the log was given, and a server that changes it.
fn start() -> (TestServer, Arc<Mutex<Vec<String>>>) {
    let applied = Arc::new(Mutex::new(Vec::new()));
    let filters = Arc::clone(&applied);
    let log = LogControl::new("info", move |filter| {
        if filter == "loud" {
            return Err("loud is no level".to_owned());
        }
        filters.lock().unwrap().push(filter.to_owned());
        Ok(())
    });
    let address: ListenAddress = "127.0.0.1:0".parse().unwrap();
    let listener = ListeningSocket::bind(&address, &SocketSettings::default()).unwrap();
    let sink = ScriptedSink::new(DeliveryOutcome::Delivered);
    let server = TestServer::start_on(listener, builder(&sink), |router| {
        AdminServer::new(router, MetricsRecorder::none()).log(log)
    });
    (server, applied)
}

#[tokio::test]
async fn the_log_filter_is_shown_changed_and_set_back() {
    let (server, applied) = start();
    let filter = |present: &str| json!({ "filter": present, "configured": "info" });
    assert_eq!(server.json("/log-level").await, filter("info"));
    let changed = server
        .post("/log-level", json!({ "filter": "debug" }))
        .await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(server.json("/log-level").await, filter("debug"));
    let back = server.post("/log-level", json!({})).await;
    assert_eq!(back.status, 200, "{}", back.body);
    assert_eq!(server.json("/log-level").await, filter("info"));
    assert_eq!(*applied.lock().unwrap(), ["debug", "info"]);
    server.stop().await;
}

#[tokio::test]
async fn a_log_filter_that_is_none_changes_nothing() {
    let (server, applied) = start();
    let long = "a".repeat(5_000);
    for (body, expect) in [
        (
            json!({ "filter": "loud" }),
            "the log filter: loud is no level",
        ),
        (
            json!({ "filter": long }),
            "the log filter: it must have at most 4096 characters",
        ),
        (json!({ "level": "debug" }), "unknown field `level`"),
    ] {
        let refused = server.post("/log-level", body).await;
        assert_eq!(refused.status, 400);
        assert!(refused.body.contains(expect), "{}", refused.body);
    }
    assert_eq!(server.json("/log-level").await["filter"], "info");
    assert_eq!(*applied.lock().unwrap(), Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn a_program_with_its_own_log_has_no_path_for_it() {
    let sink = ScriptedSink::new(DeliveryOutcome::Delivered);
    let server = TestServer::start(builder(&sink));
    assert_eq!(server.get("/log-level").await.status, 404);
    let change = server
        .post("/log-level", json!({ "filter": "debug" }))
        .await;
    assert_eq!(change.status, 404);
    server.stop().await;
}
