//! The examples do what they say.

use crate::CollectingSink;
use tempfile::tempdir;
use twinroute::prelude::*;

#[cfg(feature = "ingress")]
#[path = "../../examples/in_axum.rs"]
mod in_axum;
#[path = "../../examples/minimal.rs"]
mod minimal;
#[path = "../../examples/own_sink.rs"]
mod own_sink;
#[path = "../../examples/own_source.rs"]
mod own_source;
#[cfg(all(feature = "azure", feature = "watch"))]
#[path = "../../examples/real_sinks.rs"]
mod real_sinks;
#[path = "../../examples/replay_history.rs"]
mod replay_history;

const WARM: &str =
    r#"{"specversion":"1.0","id":"1","source":"press-7","type":"t","data":{"temperature":21}}"#;
const COLD: &str =
    r#"{"specversion":"1.0","id":"2","source":"press-7","type":"t","data":{"temperature":19}}"#;

#[tokio::test]
async fn minimal_writes_the_event_that_matches() {
    let folder = tempdir().unwrap();
    minimal::route(folder.path(), &[WARM, COLD]).await.unwrap();
    let written = std::fs::read(folder.path().join("out.jsonl")).unwrap();
    let written = Event::from_json(written).unwrap();
    assert_eq!(written.id(), "1");
    assert_eq!(
        written.extension("site"),
        Some(ExtensionValue::String("berlin"))
    );
}

#[tokio::test]
async fn own_sink_passes_the_kit_and_writes_its_pages() {
    let folder = tempdir().unwrap();
    let passed = own_sink::check(&folder.path().join("checked"))
        .await
        .unwrap();
    assert_eq!(passed.len(), 10);
    let written = own_sink::route(&folder.path().join("pages")).await.unwrap();
    let ids: Vec<&str> = written.iter().map(Event::id).collect();
    assert_eq!(ids, ["1"]);
}

#[cfg(feature = "ingress")]
#[tokio::test]
async fn in_axum_takes_events_beside_its_own_pages() {
    use tower_service::Service as _;
    let sink = CollectingSink::default();
    let builder = Router::builder().sink("archive", sink.clone());
    let router = builder
        .route("all", "archive", "true")
        .start()
        .await
        .unwrap();
    let mut app = in_axum::app(&router).unwrap();
    let request = http::Request::post("/twinroute/events").header("aeg-sas-key", "secret");
    let request = request.header("content-type", "application/cloudevents+json");
    let posted = app
        .call(request.body(axum::body::Body::from(WARM)).unwrap())
        .await;
    assert_eq!(posted.unwrap().status(), http::StatusCode::ACCEPTED);
    router.settled().await;
    assert_eq!(sink.ids(), ["1"]);
    let view = http::Request::get("/delivered").body(axum::body::Body::empty());
    let view = app.call(view.unwrap()).await.unwrap();
    let body = http_body_util::BodyExt::collect(view.into_body())
        .await
        .unwrap();
    assert_eq!(&body.to_bytes()[..], b"1");
}

#[cfg(all(feature = "azure", feature = "watch"))]
#[tokio::test]
async fn real_sinks_deliver_by_a_folder_of_definitions() {
    let folder = tempdir().unwrap();
    let events = [WARM, COLD].map(|text| Event::from_json(text).unwrap());
    let arrived = real_sinks::route(folder.path(), events.into())
        .await
        .unwrap();
    assert_eq!(arrived, [r#"{"temperature":21}"#]);
}

#[tokio::test(start_paused = true)]
async fn own_source_is_followed() {
    let sink = CollectingSink::default();
    let (wishes, changes) = tokio::sync::watch::channel(own_source::Wishes::new());
    let (router, _followed) = own_source::follow(sink.clone(), changes).await.unwrap();
    let event = || Event::from_json(WARM).unwrap();
    assert_eq!(router.accept(event()).await.unwrap().unmatched, 1);
    wishes.send_modify(|all| {
        all.insert("warm".to_owned(), "$body.temperature > 20".to_owned());
    });
    crate::until(|| router.dry_run(None, &event()).unwrap().len() == 1).await;
    router.accept(event()).await.unwrap();
    router.settled().await;
    assert_eq!(sink.ids(), ["1"]);
}

#[tokio::test]
async fn replay_history_delivers_to_a_sink_that_came_later() {
    let folder = tempdir().unwrap();
    let arrived = replay_history::catch_up(folder.path()).await.unwrap();
    assert_eq!(arrived, ["1", "2", "3"]);
}
