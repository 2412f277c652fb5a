//! What an answer holds, and how an event may be posted.

use super::{EVENT, check, post, start};
use expect_test::expect;

const STRUCTURED: &str = "content-type: application/cloudevents+json";
const BINARY: &str = "ce-specversion: 1.0\r\nce-id: b\r\nce-source: s\r\nce-type: t";
const PUBLISH: &str = "/api/events?api-version=2018-01-01";

/// A Knative broker takes a 2xx with a body that is no event for a failure, and sends again.
#[tokio::test]
async fn knative_reply_has_a_body_only_for_who_asked() {
    let asks = [
        ("", false),
        ("accept: */*", false),
        ("accept: application/*", false),
        ("accept: application/json;q=0", false),
        ("accept: application/json", true),
        ("accept: text/html, application/json;q=0.5", true),
        ("prefer: return=representation", true),
        ("prefer: return=minimal\r\naccept: application/json", false),
        ("prefer: return=minimal\r\ntwinroute-ack: delivered", false),
        ("twinroute-ack: delivered", true),
        ("twinroute-ack: memory", false),
    ];
    let server = start("");
    for (ask, expect) in asks {
        let separator = if ask.is_empty() { "" } else { "\r\n" };
        let headers = format!("{STRUCTURED}{separator}{ask}");
        let answer = server
            .raw(post("/events", &headers, EVENT).as_bytes())
            .await;
        assert_eq!(
            answer.contains("{\"accepted\":1,"),
            expect,
            "{ask}: {answer}"
        );
        assert_eq!(answer.contains("content-type"), expect, "{ask}: {answer}");
        for header in ["accepted: 1", "unmatched: 0", "generation: 1"] {
            assert!(
                answer.contains(&format!("twinroute-{header}")),
                "{ask}: {answer}"
            );
        }
        let is_applied = answer.contains("preference-applied: return=representation");
        assert_eq!(
            is_applied,
            ask.contains("representation"),
            "{ask}: {answer}"
        );
    }
    server.stop().await;
}

/// What a setting asks for is no wish of the producer's.
#[tokio::test]
async fn knative_reply_has_no_body_where_an_acknowledgement_level_is_set() {
    let server = start("ack = \"delivered\"");
    let answer = server
        .raw(post("/events", STRUCTURED, EVENT).as_bytes())
        .await;
    expect![[r#"
        HTTP/1.1 200 OK
        twinroute-accepted: 1
        twinroute-unmatched: 0
        twinroute-generation: 1
        content-length: 0
    "#]]
    .assert_eq(&answer);
    server.stop().await;
}

/// Clients of Azure name JSON in `Accept`, for errors.
#[tokio::test]
async fn the_event_grid_surface_answers_as_a_topic_does() {
    let server = start("");
    for (ask, expect) in [
        ("accept: application/json", false),
        ("twinroute-ack: delivered", false),
        ("prefer: return=representation", true),
    ] {
        let headers = format!("{STRUCTURED}\r\n{ask}");
        let answer = server.raw(post(PUBLISH, &headers, EVENT).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert_eq!(
            answer.contains("{\"accepted\":1,"),
            expect,
            "{ask}: {answer}"
        );
        assert!(answer.contains("twinroute-accepted: 1"), "{ask}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn knative_reply_to_binary_mode_at_api_events() {
    let server = start("");
    for (path, headers, body) in [
        (
            PUBLISH,
            format!("{BINARY}\r\ncontent-type: application/json"),
            "{}",
        ),
        (
            "/api/events",
            format!("{BINARY}\r\ncontent-type: text/plain"),
            "hello",
        ),
        ("/api/events", BINARY.to_owned(), "hello"),
    ] {
        let answer = server.raw(post(path, &headers, body).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{path}: {answer}");
    }
    let request = format!("POST /api/events HTTP/1.1\r\nconnection: close\r\n{BINARY}\r\n\r\n");
    let answer = server.raw(request.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK"),
        "without a body: {answer}"
    );
    server.router.settled().await;
    assert_eq!(*server.seen.ids.lock().unwrap(), ["b"; 4]);
    // A version that is named must be known all the same.
    let answer = server
        .raw(post("/api/events?api-version=1", BINARY, "x").as_bytes())
        .await;
    assert!(answer.contains("UnsupportedApiVersion"), "{answer}");
    server.stop().await;
}

/// Binary mode has no media type that would be assumed.
#[tokio::test]
async fn no_content_type_is_taken_as_it_is() {
    let server = start("");
    for body in ["hello world", "<a/>", "{oops", "\u{feff}x"] {
        let answer = server.raw(post("/events", BINARY, body).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{body}: {answer}");
        let empty = format!("{BINARY}\r\ncontent-type: ");
        let answer = server.raw(post("/events", &empty, body).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{body}: {answer}");
    }
    let json = format!("{BINARY}\r\ncontent-type: application/json");
    let answer = server
        .raw(post("/events", &json, "\u{feff}{\"a\":1}").as_bytes())
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 202"),
        "a byte order mark before JSON: {answer}"
    );
    server.stop().await;
}

#[tokio::test]
async fn null_data_is_unset() {
    let server = start("");
    for members in [
        r#""data":{"a":1},"data_base64":null"#,
        r#""data":null,"data_base64":"AAH/""#,
        r#""data":null,"data_base64":null"#,
        r#""subject":null,"time":null,"dataschema":null,"datacontenttype":null,"ext":null"#,
    ] {
        let event = EVENT.replace('}', &format!(",{members}}}"));
        let answer = server
            .raw(post("/events", STRUCTURED, &event).as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{members}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn json_content_type_is_refused_with_the_right_one() {
    let json = "content-type: application/json";
    check(&post("/events", json, EVENT), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 174

        {"error":{"code":"InvalidEvent","message":"no ce- header came, and the body looks like an event in structured mode: send it with content-type: application/cloudevents+json"}}
        => []
    "#]]).await;
    check(&post("/events", json, &format!("[{EVENT}]")), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 170

        {"error":{"code":"InvalidEvent","message":"no ce- header came, and the body looks like a batch of events: send it with content-type: application/cloudevents-batch+json"}}
        => []
    "#]]).await;
    check(
        &post("/events", "x: y", &format!("\u{feff} {EVENT}")),
        expect![[r#"
            HTTP/1.1 400 Bad Request
            content-type: application/json
            content-length: 174

            {"error":{"code":"InvalidEvent","message":"no ce- header came, and the body looks like an event in structured mode: send it with content-type: application/cloudevents+json"}}
            => []
        "#]],
    )
    .await;
    let grid = r#"[{"id":"1","subject":"s","eventType":"T","eventTime":"2026-01-31T08:15:30Z","data":{}}]"#;
    check(&post("/events", json, grid), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 170

        {"error":{"code":"InvalidEvent","message":"no ce- header came, and the body looks like events of the Event Grid schema: post them to /api/events?api-version=2018-01-01"}}
        => []
    "#]]).await;
    check(
        &post("/events", STRUCTURED, &format!("[{EVENT}]")),
        expect![[r#"
            HTTP/1.1 400 Bad Request
            content-type: application/json
            content-length: 244

            {"error":{"code":"InvalidEvent","message":"the event is not a JSON object: invalid type: sequence, expected a CloudEvent at line 1 column 0; the body looks like a batch of events: send it with content-type: application/cloudevents-batch+json"}}
            => []
        "#]],
    )
    .await;
    let batch = "content-type: application/cloudevents-batch+json";
    check(&post("/events", batch, EVENT), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 220

        {"error":{"code":"InvalidEvent","message":"the batch is not a JSON array of events: expected `[` at byte 0; the body looks like one event: send it with content-type: application/cloudevents+json, or as an array of one"}}
        => []
    "#]]).await;
}
