//! `/events` in its three content modes.

use super::{EVENT, check, check_with, post, start};
use expect_test::expect;

const STRUCTURED: &str = "content-type: application/cloudevents+json";
const BATCH: &str = "content-type: application/cloudevents-batch+json; charset=utf-8";

#[tokio::test]
async fn one_event() {
    check(
        &post("/events", STRUCTURED, EVENT),
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
async fn a_batch_for_an_instance() {
    let headers = format!("{BATCH}\r\ntwinroute-ack: memory");
    let body = format!("[{EVENT},{}]", EVENT.replace("\"1\"", "\"2\""));
    check(
        &post("/instances/plant-1/events", &headers, &body),
        expect![[r#"
            HTTP/1.1 202 Accepted
            twinroute-accepted: 2
            twinroute-unmatched: 2
            twinroute-generation: 1
            content-length: 0

            => []
        "#]],
    )
    .await;
}

#[tokio::test]
async fn an_empty_batch() {
    check(
        &post("/events", BATCH, "[]"),
        expect![[r#"
            HTTP/1.1 202 Accepted
            twinroute-accepted: 0
            twinroute-unmatched: 0
            twinroute-generation: 1
            content-length: 0

            => []
        "#]],
    )
    .await;
}

#[tokio::test]
async fn binary_mode() {
    let attributes = "ce-specversion: 1.0\r\nce-id: a%20b\r\nce-source: s\r\nce-type: t";
    let headers = format!("{attributes}\r\ncontent-type: application/json");
    check(
        &post("/events", &headers, "{}"),
        expect![[r#"
            HTTP/1.1 202 Accepted
            twinroute-accepted: 1
            twinroute-unmatched: 0
            twinroute-generation: 1
            content-length: 0

            => ["a b"]
        "#]],
    )
    .await;
    // An event without data needs no body.
    let request = format!("POST /events HTTP/1.1\r\nconnection: close\r\n{attributes}\r\n\r\n");
    check(
        &request,
        expect![[r#"
            HTTP/1.1 202 Accepted
            twinroute-accepted: 1
            twinroute-unmatched: 0
            twinroute-generation: 1
            content-length: 0

            => ["a b"]
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_chunked_body() {
    let (first, second) = EVENT.split_at(20);
    let request = format!(
        "POST /events HTTP/1.1\r\nconnection: close\r\n{STRUCTURED}\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    check(
        &request,
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
async fn requests_follow_one_another_on_one_connection() {
    let server = start("");
    let one = post("/events", STRUCTURED, EVENT);
    let keep = one.replace("connection: close\r\n", "");
    let answers = server.raw(format!("{keep}{keep}{one}").as_bytes()).await;
    assert_eq!(
        answers.matches("HTTP/1.1 202 Accepted").count(),
        3,
        "{answers}"
    );
    server.router.settled().await;
    assert_eq!(server.seen.ids.lock().unwrap().len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn a_batch_is_accepted_whole_or_not_at_all() {
    let body = format!(
        "[{EVENT},{EVENT},{EVENT},{{\"specversion\":\"1.0\",\"id\":\"4\",\"source\":\"a b\",\"type\":\"t\"}}]"
    );
    check(&post("/events", BATCH, &body), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 169

        {"error":{"code":"InvalidEvent","message":"event 3: attribute `source`: a URI-reference has no blanks or control characters (at byte 1)","index":3,"attribute":"source"}}
        => []
    "#]]).await;
}

#[tokio::test]
async fn events_that_break_a_rule_are_named() {
    check(&post("/events", STRUCTURED, "{}"), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 118

        {"error":{"code":"InvalidEvent","message":"attribute `specversion`: required, but missing","attribute":"specversion"}}
        => []
    "#]]).await;
    check(
        &post("/events", "content-type: application/json", "{}"),
        expect![[r#"
            HTTP/1.1 400 Bad Request
            content-type: application/json
            content-length: 207

            {"error":{"code":"InvalidEvent","message":"no ce- header came: an event has its attributes in ce-specversion, ce-id, ce-source and ce-type, or is sent whole with content-type: application/cloudevents+json"}}
            => []
        "#]],
    )
    .await;
    let wrong_data = EVENT.replace('}', ",\"data\":1,\"data_base64\":\"AA==\"}");
    check(&post("/events", STRUCTURED, &wrong_data), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 108

        {"error":{"code":"InvalidEvent","message":"`data`: must not stand beside `data_base64`","attribute":"data"}}
        => []
    "#]]).await;
}

#[tokio::test]
async fn events_and_batches_above_their_limits() {
    let toml = "event_bytes_max = \"60 B\"\nbatch_events_max = 1";
    let long = EVENT.replace("\"t\"", "\"ttttttttttttttttt\"");
    check_with(
        toml,
        &post("/events", STRUCTURED, &long),
        expect![[r#"
            HTTP/1.1 413 Payload Too Large
            content-type: application/json
            content-length: 86

            {"error":{"code":"EventTooLarge","message":"the event has 70 bytes; the limit is 60"}}
            => []
        "#]],
    )
    .await;
    let two = format!("[{EVENT},{EVENT}]");
    check_with(toml, &post("/events", BATCH, &two), expect![[r#"
        HTTP/1.1 413 Payload Too Large
        content-type: application/json
        content-length: 99

        {"error":{"code":"EventTooLarge","message":"the batch has more than 1 events, which is the limit"}}
        => []
    "#]]).await;
}
