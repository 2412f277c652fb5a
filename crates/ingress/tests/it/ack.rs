//! When a request is answered, and what the answer says of deliveries and repeats.

use super::{EVENT, SeenSink, TestServer, check, check_with, post, start_with};
use expect_test::{Expect, expect};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use twinroute_model::settings::{EndpointSettings, WhenFull};
use twinroute_router::{DuplicateWindow, Router};

const CE: &str = "content-type: application/cloudevents+json";
const BATCH: &str = "content-type: application/cloudevents-batch+json";

/// A server whose endpoint takes nothing.
fn start_stuck(toml: &str) -> TestServer {
    let stuck = SeenSink {
        closed: true,
        ..SeenSink::default()
    };
    start_with(toml, Router::builder(), stuck)
}

/// What `server` answers; nobody waits longer than half a minute.
async fn ask(server: &TestServer, request: &str, expect: Expect) {
    let answer = server.raw(request.as_bytes());
    let answer = timeout(Duration::from_secs(30), answer).await.unwrap();
    expect.assert_eq(&answer);
}

fn other(id: usize) -> String {
    EVENT.replace("\"1\"", &format!("\"{id}\""))
}

#[tokio::test]
async fn delivered_says_what_became_of_the_deliveries() {
    let headers = format!("{CE}\r\ntwinroute-ack: delivered");
    check(&post("/events", &headers, EVENT), expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/json
        twinroute-accepted: 1
        twinroute-unmatched: 0
        twinroute-generation: 1
        content-length: 121

        {"accepted":1,"generation":1,"unmatched":0,"endpoints":{"seen":{"delivered":1,"dead_lettered":0,"discarded":0,"open":0}}}
        => ["1"]
    "#]]).await;
    check_with(
        "ack = \"delivered\"",
        &post("/events", CE, EVENT),
        expect![[r#"
            HTTP/1.1 200 OK
            twinroute-accepted: 1
            twinroute-unmatched: 0
            twinroute-generation: 1
            content-length: 0

            => ["1"]
        "#]],
    )
    .await;
    // Nothing matched.
    let request = post("/instances/plant-1/events", &headers, EVENT);
    check(
        &request,
        expect![[r#"
            HTTP/1.1 200 OK
            content-type: application/json
            twinroute-accepted: 1
            twinroute-unmatched: 1
            twinroute-generation: 1
            content-length: 58

            {"accepted":1,"generation":1,"unmatched":1,"endpoints":{}}
            => []
        "#]],
    )
    .await;
    // The request may ask for less than the setting.
    let headers = format!("{CE}\r\ntwinroute-ack: memory");
    check_with(
        "ack = \"delivered\"",
        &post("/events", &headers, EVENT),
        expect![[r#"
            HTTP/1.1 202 Accepted
            twinroute-accepted: 1
            twinroute-unmatched: 0
            twinroute-generation: 1
            content-length: 0

            => ["1"]
        "#]],
    )
    .await;
}

#[tokio::test]
async fn what_is_open_at_the_deadline_is_accepted() {
    let headers = format!("{CE}\r\ntwinroute-ack: delivered\r\ntwinroute-ack-deadline: 0.05");
    let server = start_stuck("");
    ask(&server, &post("/events", &headers, EVENT), expect![[r#"
        HTTP/1.1 202 Accepted
        content-type: application/json
        twinroute-accepted: 1
        twinroute-unmatched: 0
        twinroute-generation: 1
        twinroute-open: 1
        content-length: 121

        {"accepted":1,"generation":1,"unmatched":0,"endpoints":{"seen":{"delivered":0,"dead_lettered":0,"discarded":0,"open":1}}}"#]]).await;
    assert_eq!(server.router.status().journal.accepted, 1);
    // A webhook of Event Grid takes any of 200 to 204 as success.
    let headers = headers.replace(
        "cloudevents+json",
        "cloudevents+json\r\naeg-event-type: Notification",
    );
    ask(
        &server,
        &post("/events", &headers, &other(2)),
        expect![[r#"
            HTTP/1.1 200 OK
            twinroute-accepted: 1
            twinroute-unmatched: 0
            twinroute-generation: 1
            twinroute-open: 1
            content-length: 0
        "#]],
    )
    .await;
    // A client of an Event Grid topic takes 200 alone, and no body.
    ask(
        &server,
        &post("/api/events", &headers, &other(3)),
        expect![[r#"
            HTTP/1.1 200 OK
            twinroute-accepted: 1
            twinroute-unmatched: 0
            twinroute-generation: 1
            twinroute-open: 1
            content-length: 0
        "#]],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn no_request_waits_longer_than_the_setting() {
    let headers = format!("{CE}\r\ntwinroute-ack: delivered\r\ntwinroute-ack-deadline: 86400");
    let server = start_stuck("ack_deadline = \"50ms\"");
    ask(&server, &post("/events", &headers, EVENT), expect![[r#"
        HTTP/1.1 202 Accepted
        content-type: application/json
        twinroute-accepted: 1
        twinroute-unmatched: 0
        twinroute-generation: 1
        twinroute-open: 1
        content-length: 121

        {"accepted":1,"generation":1,"unmatched":0,"endpoints":{"seen":{"delivered":0,"dead_lettered":0,"discarded":0,"open":1}}}"#]]).await;
    server.stop().await;
}

#[tokio::test]
async fn deadlines_are_seconds() {
    let server = start_stuck("ack = \"delivered\"\nack_deadline = \"10ms\"");
    for word in ["0", "0.0", "-1", "soon", "1e3", "inf", "", ".", "1 s"] {
        let headers = format!("{CE}\r\ntwinroute-ack-deadline: {word}");
        let answer = server
            .raw(post("/events", &headers, EVENT).as_bytes())
            .await;
        let refused = answer.starts_with("HTTP/1.1 400") && answer.contains("InvalidAckDeadline");
        assert!(refused, "{word:?}: {answer}");
    }
    for (index, word) in ["1", "0.5", "30", "99999999999999999999999"]
        .iter()
        .enumerate()
    {
        let headers = format!("{CE}\r\ntwinroute-ack-deadline: {word}");
        let request = post("/events", &headers, &other(index));
        let answer = server.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{word:?}: {answer}");
    }
    let headers = format!("{CE}\r\ntwinroute-ack-deadline: soon");
    ask(&server, &post("/events", &headers, EVENT), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 142

        {"error":{"code":"InvalidAckDeadline","message":"header twinroute-ack-deadline: \"soon\" is no number of seconds above 0, such as 10 or 0.5"}}"#]]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_closes_answers_whoever_waits() {
    let mut server = start_stuck("ack = \"delivered\"\nack_deadline = \"5m\"");
    let (stop, _) = oneshot::channel();
    let stop = std::mem::replace(&mut server.stop, stop);
    let request = post("/events", CE, EVENT);
    let answer = async {
        let answer = server.raw(request.as_bytes()).await;
        expect![[r#"
            HTTP/1.1 202 Accepted
            twinroute-accepted: 1
            twinroute-unmatched: 0
            twinroute-generation: 1
            twinroute-open: 1
            content-length: 0
        "#]]
        .assert_eq(&answer);
    };
    let accepted = async {
        while server.router.status().journal.accepted == 0 {
            tokio::task::yield_now().await;
        }
        stop.send(()).unwrap();
    };
    let both = async { tokio::join!(answer, accepted) };
    timeout(Duration::from_secs(8), both).await.unwrap();
    server.task.await.unwrap();
}

#[tokio::test]
async fn waiting_for_deliveries_holds_no_room_for_bodies() {
    // While a body moves to a larger buffer it counts twice; two of them never fit.
    let limits = "[limits]\nbody_bytes_max = \"1 MiB\"\nbodies_bytes_max = \"2 MiB\"";
    let server = start_stuck(&format!("ack_deadline = \"5m\"\n{limits}"));
    let body = EVENT.replace('}', &format!(",\"data\":\"{}\"}}", "x".repeat(600 << 10)));
    let headers = format!("{CE}\r\ntwinroute-ack: delivered");
    let waiting = post("/events", &headers, &body);
    let next = async {
        while server.router.status().journal.accepted == 0 {
            tokio::task::yield_now().await;
        }
        server.raw(post("/events", CE, &body).as_bytes()).await
    };
    let answer = tokio::select! {
        answer = server.raw(waiting.as_bytes()) => panic!("answered early: {answer}"),
        answer = next => answer,
    };
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_refuses_when_full_is_named() {
    let settings = EndpointSettings::default().with(|own| {
        own.queue_events_max = 1;
        own.when_full = WhenFull::Refuse;
    });
    let stuck = SeenSink {
        closed: true,
        ..SeenSink::default()
    };
    let router = Router::builder()
        .sink_with("tight", stuck, settings)
        .route("some", "tight", "true");
    let server = start_with("", router, SeenSink::default());
    // One is in flight and one waits, at most.
    for id in 0..3 {
        let answer = server.raw(post("/events", CE, &other(id)).as_bytes()).await;
        if answer.starts_with("HTTP/1.1 503") {
            expect![[r#"
                HTTP/1.1 503 Service Unavailable
                content-type: application/json
                retry-after: 5
                content-length: 157

                {"error":{"code":"EndpointFull","message":"endpoint default/tight: its queue is full, and when_full = \"refuse\" refuses what matches it; try again in 5 s"}}"#]].assert_eq(&answer);
            return server.stop().await;
        }
    }
    panic!("nothing was refused");
}

#[tokio::test]
async fn repeats_are_reported() {
    let window = DuplicateWindow::new(Duration::from_secs(600), 100);
    let router = Router::builder().duplicate_window(window);
    let server = start_with("", router, SeenSink::default());
    ask(
        &server,
        &post("/events", CE, EVENT),
        expect![[r#"
            HTTP/1.1 202 Accepted
            twinroute-accepted: 1
            twinroute-unmatched: 0
            twinroute-generation: 1
            content-length: 0
        "#]],
    )
    .await;
    let batch = format!("[{EVENT},{},{}]", other(2), other(2));
    ask(
        &server,
        &post("/events", BATCH, &batch),
        expect![[r#"
            HTTP/1.1 202 Accepted
            twinroute-accepted: 3
            twinroute-unmatched: 0
            twinroute-generation: 1
            twinroute-duplicates: 2
            content-length: 0
        "#]],
    )
    .await;
    // The ends of the first one's deliveries are not known to this request.
    let headers = format!("{CE}\r\ntwinroute-ack: delivered");
    ask(
        &server,
        &post("/events", &headers, EVENT),
        expect![[r#"
            HTTP/1.1 202 Accepted
            content-type: application/json
            twinroute-accepted: 1
            twinroute-unmatched: 0
            twinroute-generation: 1
            twinroute-duplicates: 1
            content-length: 73

            {"accepted":1,"duplicates":1,"generation":1,"unmatched":0,"endpoints":{}}"#]],
    )
    .await;
    server.router.settled().await;
    assert_eq!(*server.seen.ids.lock().unwrap(), ["1", "2"]);
    server.stop().await;
}
