//! Every refusal that is not about an event or a credential.

use super::{EVENT, SeenSink, check, check_with, post, start, start_with};
use expect_test::expect;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use twinroute_listen::ListenAddress;
use twinroute_router::Router;

const STRUCTURED: &str = "content-type: application/cloudevents+json";

#[tokio::test]
async fn unknown_paths() {
    check(&post("/event", STRUCTURED, EVENT), expect![[r#"
        HTTP/1.1 404 Not Found
        content-type: application/json
        content-length: 198

        {"error":{"code":"UnknownPath","message":"no such path; events are accepted at /events and /instances/{name}/events (CloudEvents), and at /api/events and /instances/{name}/api/events (Event Grid)"}}
        => []
    "#]]).await;
    check("GET /?secret=1 HTTP/1.0\r\n\r\n", expect![[r#"
        HTTP/1.0 404 Not Found
        content-type: application/json
        content-length: 198

        {"error":{"code":"UnknownPath","message":"no such path; events are accepted at /events and /instances/{name}/events (CloudEvents), and at /api/events and /instances/{name}/api/events (Event Grid)"}}
        => []
    "#]]).await;
}

#[tokio::test]
async fn other_methods() {
    check("GET /events HTTP/1.0\r\n\r\n", expect![[r#"
        HTTP/1.0 405 Method Not Allowed
        content-type: application/json
        allow: POST, OPTIONS
        content-length: 126

        {"error":{"code":"MethodNotAllowed","message":"method GET is not allowed here; allowed are POST and, from webhooks, OPTIONS"}}
        => []
    "#]]).await;
    check("PUT /api/events HTTP/1.0\r\n\r\n", expect![[r#"
        HTTP/1.0 405 Method Not Allowed
        content-type: application/json
        allow: POST, OPTIONS
        content-length: 255

        {"error":{"code":"MethodNotAllowed","message":"method PUT is not allowed here; allowed are POST and, from webhooks, OPTIONS","details":[{"code":"MethodNotAllowed","message":"method PUT is not allowed here; allowed are POST and, from webhooks, OPTIONS"}]}}
        => []
    "#]]).await;
}

#[tokio::test]
async fn other_content_types() {
    let headers = "content-type: application/cloudevents+protobuf";
    check(&post("/events", headers, EVENT), expect![[r#"
        HTTP/1.1 415 Unsupported Media Type
        content-type: application/json
        content-length: 262

        {"error":{"code":"UnsupportedContentType","message":"content type \"application/cloudevents+protobuf\" is not accepted here; accepted are application/cloudevents+json, application/cloudevents-batch+json, and any other with an event's attributes in ce- headers"}}
        => []
    "#]]).await;
    let headers = "content-type: text/xml";
    check(
        &post("/api/events?api-version=2018-01-01", headers, EVENT),
        expect![[r#"
            HTTP/1.1 415 Unsupported Media Type
            content-type: application/json
            content-length: 513

            {"error":{"code":"UnsupportedMediaType","message":"content type \"text/xml\" is not accepted here; accepted are application/json, application/cloudevents+json, application/cloudevents-batch+json, and any other with an event's attributes in ce- headers","details":[{"code":"UnsupportedContentType","message":"content type \"text/xml\" is not accepted here; accepted are application/json, application/cloudevents+json, application/cloudevents-batch+json, and any other with an event's attributes in ce- headers"}]}}
            => []
        "#]],
    )
    .await;
    let headers = format!("{STRUCTURED}\r\ncontent-encoding: br");
    check(&post("/events", &headers, EVENT), expect![[r#"
        HTTP/1.1 415 Unsupported Media Type
        content-type: application/json
        accept-encoding: gzip
        content-length: 140

        {"error":{"code":"UnsupportedContentEncoding","message":"content encoding \"br\" is not accepted; accepted is gzip, and the body as it is"}}
        => []
    "#]]).await;
}

#[tokio::test]
async fn bodies_without_a_length() {
    let request = format!("POST /events HTTP/1.1\r\nconnection: close\r\n{STRUCTURED}\r\n\r\n");
    check(&request, expect![[r#"
        HTTP/1.1 411 Length Required
        content-type: application/json
        content-length: 126

        {"error":{"code":"LengthRequired","message":"a body is required, with a content-length header or transfer-encoding: chunked"}}
        => []
    "#]]).await;
}

#[tokio::test]
async fn bodies_above_the_limit() {
    let toml = "event_bytes_max = \"20 B\"\nlimits = { body_bytes_max = \"20 B\" }";
    check_with(toml, &post("/events", STRUCTURED, EVENT), expect![[r#"
        HTTP/1.1 413 Payload Too Large
        content-type: application/json
        content-length: 97

        {"error":{"code":"BodyTooLarge","message":"the body has more than 20 bytes, which is the limit"}}
        => []
    "#]]).await;
    let chunked = format!(
        "POST /events HTTP/1.1\r\nconnection: close\r\n{STRUCTURED}\r\ntransfer-encoding: chunked\r\n\r\n\
         10\r\n0123456789abcdef\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
    );
    check_with(toml, &chunked, expect![[r#"
        HTTP/1.1 413 Payload Too Large
        content-type: application/json
        content-length: 97

        {"error":{"code":"BodyTooLarge","message":"the body has more than 20 bytes, which is the limit"}}
        => []
    "#]]).await;
}

#[tokio::test]
async fn bodies_that_do_not_arrive() {
    let toml = "limits = { body_read_timeout = \"40ms\" }";
    let request = format!("POST /events HTTP/1.1\r\n{STRUCTURED}\r\ncontent-length: 9\r\n\r\n[");
    check_with(toml, &request, expect![[r#"
        HTTP/1.1 408 Request Timeout
        content-type: application/json
        content-length: 101

        {"error":{"code":"BodyTooSlow","message":"the body did not arrive within 40 ms, which is the limit"}}
        => []
    "#]]).await;
}

#[tokio::test]
async fn bodies_that_hold_too_much_together() {
    let toml = "event_bytes_max = \"60 B\"\n\
                limits = { body_bytes_max = \"60 B\", bodies_bytes_max = \"100 B\" }";
    let server = start(toml);
    let ListenAddress::Tcp(address) = &server.address else {
        panic!("a TCP server");
    };
    // Half a body that the server reads and keeps: the answer to the first request says that it does. While it is
    // moved to a buffer of its own it counts twice.
    let mut slow = TcpStream::connect(address).await.unwrap();
    let first = "GET /events HTTP/1.1\r\n\r\n";
    let half = format!(
        "POST /events HTTP/1.1\r\n{STRUCTURED}\r\ncontent-length: 60\r\n\r\n{:40}",
        "{"
    );
    slow.write_all(format!("{first}{half}").as_bytes())
        .await
        .unwrap();
    let mut status = [0; 12];
    slow.read_exact(&mut status).await.unwrap();
    let request = post("/events", STRUCTURED, EVENT);
    let mut answer = server.raw(request.as_bytes()).await;
    while answer.contains(" 202 ") {
        answer = server.raw(request.as_bytes()).await;
    }
    expect![[r#"
        HTTP/1.1 503 Service Unavailable
        content-type: application/json
        retry-after: 1
        content-length: 112

        {"error":{"code":"TooManyBodies","message":"the bodies being read hold 100 bytes together, which is the limit"}}"#]].assert_eq(&answer);
    drop(slow);
    server.stop().await;
}

#[tokio::test]
async fn malformed_chunks() {
    let request = format!(
        "POST /events HTTP/1.1\r\n{STRUCTURED}\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
    );
    check(
        &request,
        expect![[r#"
            HTTP/1.1 400 Bad Request
            content-type: application/json
            content-length: 79

            {"error":{"code":"BodyBroken","message":"the body is broken off or malformed"}}
            => []
        "#]],
    )
    .await;
}

#[tokio::test]
async fn unknown_acknowledgement_levels() {
    let headers = format!("{STRUCTURED}\r\ntwinroute-ack: fast");
    check(&post("/events", &headers, EVENT), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 137

        {"error":{"code":"UnknownAckLevel","message":"header twinroute-ack: level \"fast\" is unknown; known are memory, durable and delivered"}}
        => []
    "#]]).await;
}

#[tokio::test]
async fn unknown_instances() {
    let request = post("/instances/plant-9/events", STRUCTURED, EVENT);
    check(&request, expect![[r#"
        HTTP/1.1 404 Not Found
        content-type: application/json
        content-length: 112

        {"error":{"code":"UnknownInstance","message":"instance plant-9: not in the table; known are: default, plant-1"}}
        => []
    "#]]).await;
}

#[tokio::test]
async fn levels_that_the_journal_cannot_give() {
    let headers = format!("{STRUCTURED}\r\ntwinroute-ack: durable");
    check(&post("/events", &headers, EVENT), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        content-length: 157

        {"error":{"code":"AckUnavailable","message":"acknowledgement level \"durable\" is not available: the journal is in memory; use \"memory\" or \"delivered\""}}
        => []
    "#]]).await;
}

#[tokio::test]
async fn a_router_that_stops() {
    let server = start("");
    server.router.stop(Duration::ZERO).await;
    let answer = server
        .raw(post("/events", STRUCTURED, EVENT).as_bytes())
        .await;
    expect![[r#"
        HTTP/1.1 503 Service Unavailable
        content-type: application/json
        retry-after: 5
        content-length: 90

        {"error":{"code":"Stopping","message":"twinroute is stopping and accepts no more events"}}"#]].assert_eq(&answer);
    server.stop().await;
}

#[tokio::test]
async fn a_full_journal_asks_to_come_back() {
    let seen = SeenSink {
        closed: true,
        ..SeenSink::default()
    };
    let server = start_with("", Router::builder().journal_bytes_max(1000), seen);
    let mut answers = Vec::new();
    while answers.len() < 20
        && answers
            .iter()
            .all(|answer: &String| answer.contains(" 202 "))
    {
        answers.push(
            server
                .raw(post("/events", STRUCTURED, EVENT).as_bytes())
                .await,
        );
    }
    let last = answers.last().unwrap();
    assert!(
        last.starts_with("HTTP/1.1 503 Service Unavailable"),
        "{last}"
    );
    assert!(
        last.contains("\nretry-after: ") && last.contains("JournalFull"),
        "{last}"
    );
    server.stop().await;
}

#[tokio::test]
async fn slow_headers_end_the_connection_without_a_word() {
    let server = start("limits = { header_read_timeout = \"40ms\" }");
    assert_eq!(server.raw(b"POST /events HTTP/1.1\r\nhost").await, "");
    server.stop().await;
}
