//! The look at what entities hold, over HTTP.

use crate::client::{self, AmqpClient, message};
use serde_json::{Value, json};
use std::sync::Arc;
use twinroute_emulator::{BlobSettings, QueueSettings, RunningEmulator, Settings};
use twinroute_model::clock::SystemClock;

async fn emulator() -> RunningEmulator {
    let mut settings = Settings {
        blob: BlobSettings {
            containers: vec!["letters".to_owned()],
            ..BlobSettings::default()
        },
        ..client::settings()
    };
    settings.broker.hubs[0]
        .consumer_groups
        .push("readers".to_owned());
    let mut by_session = QueueSettings::new("by-session");
    by_session.requires_session = true;
    settings.broker.queues.push(by_session);
    RunningEmulator::start(settings, Arc::new(SystemClock))
        .await
        .unwrap()
}

async fn get(emulator: &RunningEmulator, path: &str) -> (u16, Value) {
    let url = format!("http://{}{path}", emulator.http_address());
    let answer = reqwest::get(url).await.unwrap();
    let status = answer.status().as_u16();
    (
        status,
        serde_json::from_str(&answer.text().await.unwrap()).unwrap(),
    )
}

async fn events(emulator: &RunningEmulator, query: &str) -> Vec<Value> {
    let (status, answer) = get(emulator, &format!("/events?{query}")).await;
    assert_eq!(status, 200, "{answer}");
    answer["events"].as_array().unwrap().clone()
}

#[tokio::test]
async fn look_inside_lists_every_entity_with_what_it_holds() {
    let emulator = emulator().await;
    let mut client = AmqpClient::connect(&emulator).await;
    for entity in ["hub/Partitions/1", "topic", "by-session"] {
        client
            .sender(entity)
            .await
            .send(message("a", b"{}"))
            .await
            .unwrap();
    }
    emulator
        .blob_account()
        .put_blob("letters", "one.json", "{}");
    let (status, answer) = get(&emulator, "/entities").await;
    assert_eq!(status, 200);
    let queue = |name, sessions, messages| json!({ "name": name, "sessions": sessions, "messages": messages, "deadLetters": 0 });
    let expect = json!({
        "hubs": [{ "name": "hub", "partitions": 4, "consumerGroups": ["$Default", "readers"], "events": 1 }],
        "topics": [{ "name": "topic", "subscriptions": [queue("one", false, 1), queue("two", false, 1)] }],
        "queues": [queue("by-session", true, 1), queue("queue", false, 0)],
        "eventGridTopics": [{ "name": "grid", "events": 0 }],
        "containers": [{ "name": "letters", "blobs": 1 }],
    });
    assert_eq!(answer, expect);
}

#[tokio::test]
async fn look_inside_shows_the_messages_of_that_entity_and_keeps_them() {
    let emulator = emulator().await;
    let mut client = AmqpClient::connect(&emulator).await;
    let mut hub = client.sender("hub/Partitions/1").await;
    for id in ["a", "b", "c"] {
        hub.send(message(id, id.as_bytes())).await.unwrap();
    }
    client
        .sender("by-session")
        .await
        .send(message("q", b"\xff\x00"))
        .await
        .unwrap();
    let all = events(&emulator, "hub=HUB").await;
    assert_eq!(all.len(), 3);
    let first = &all[0];
    assert_eq!(
        (&first["body"], &first["partition"]),
        (&json!("a"), &json!(1))
    );
    assert_eq!(first["properties"], json!({ "cloudEvents:type": "sample" }));
    assert_eq!(first["contentType"], "application/json");
    assert_eq!(
        events(&emulator, "hub=hub&partition=0").await,
        [] as [Value; 0]
    );
    let after = &first["number"];
    let rest = events(&emulator, &format!("hub=hub&after={after}&max=1")).await;
    assert_eq!(rest[0]["messageId"], "b");
    let (_, page) = get(&emulator, "/events?hub=hub&max=2").await;
    assert_eq!(
        (page["more"].clone(), page["hub"].clone()),
        (json!(true), json!("hub"))
    );
    for _ in 0..2 {
        let queue = events(&emulator, "queue=by-session").await;
        assert_eq!(queue[0]["sessionId"], "session");
        assert_eq!(queue[0]["bodyBase64"], "/wA=");
        assert_eq!(queue[0]["deliveryCount"], 0);
    }
    assert_eq!(
        events(&emulator, "subscription=topic/one").await,
        [] as [Value; 0]
    );
    emulator
        .blob_account()
        .put_blob("letters", "one.json", "{\"n\":1}");
    let (_, container) = get(&emulator, "/events?container=letters").await;
    assert_eq!(container["blobs"][0]["body"], "{\"n\":1}");
}

/// `/events?hub=telemetry` answered with the events of an Event Grid topic.
#[tokio::test]
async fn look_inside_refuses_what_is_not_known_with_what_is() {
    let emulator = emulator().await;
    for (path, status, text) in [
        (
            "/events?hubs=hub",
            400,
            "known are hub, queue, subscription, topic, container",
        ),
        ("/events?topic=grid&x=1", 400, "parameter \"x\": known are"),
        ("/entities?x=1", 400, "parameter \"x\": there are none here"),
        (
            "/topics/grid/events?topic=other",
            400,
            "the path names the topic grid already",
        ),
        (
            "/events?hub=other",
            404,
            "hub \"other\" is not here: there are hub",
        ),
        ("/events?hub=queue", 404, "did you mean queue=queue?"),
        (
            "/events?topic=hub",
            404,
            "there are grid; did you mean hub=hub?",
        ),
        (
            "/events?topic=topic",
            404,
            "did you mean subscription=topic/one?",
        ),
        (
            "/events?subscription=topic",
            400,
            "is not <topic>/<subscription>",
        ),
        (
            "/events?subscription=topic/x",
            404,
            "there are topic/one, topic/two",
        ),
        (
            "/events?hub=hub&partition=9",
            404,
            "hub hub has the partitions 0 to 3",
        ),
        ("/else", 404, "/entities and /events show what is here"),
    ] {
        let (code, answer) = get(&emulator, path).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert_eq!(code, status, "{path}: {message}");
        assert!(message.contains(text), "{path}: {message}");
    }
    let (status, only) = get(&emulator, "/events").await;
    assert_eq!((status, only["topic"].clone()), (200, json!("grid")));
    let url = format!("http://{}/events", emulator.http_address());
    let posted = reqwest::Client::new().post(url).send().await.unwrap();
    assert_eq!(posted.status(), 405);
}

#[tokio::test]
async fn look_inside_shows_no_one_of_several_topics_without_a_name() {
    let mut settings = client::settings();
    let second = twinroute_emulator::EventGridTopicSettings::new("second");
    settings.event_grid.topics.push(second);
    let emulator = RunningEmulator::start(settings, Arc::new(SystemClock))
        .await
        .unwrap();
    let (status, answer) = get(&emulator, "/events").await;
    assert_eq!(status, 400);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("say which entity"), "{message}");
}
