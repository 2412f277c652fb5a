//! Event Grid topics over plain HTTP.

use crate::client::{self, WAIT};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use twinroute_emulator::{ArrivalCounts, PostAnswer, RunningEmulator};

const EVENT: &str = r#"{"id":"1","source":"s","type":"t","specversion":"1.0","data":{"n":1}}"#;
const QUERY: &str = "?api-version=2018-01-01";

/// Sends one request and returns everything until the server closes.
async fn request(emulator: &RunningEmulator, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(emulator.http_address()).await.unwrap();
    let length = body.len();
    let text =
        format!("{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap_or_default();
    answer
}

async fn post(emulator: &RunningEmulator, query: &str, key: &str, body: &str) -> String {
    let head = format!(
        "POST /topics/grid/api/events{query} HTTP/1.1\r\naeg-sas-key: {key}\r\n\
         Content-Type: application/cloudevents-batch+json; charset=utf-8"
    );
    request(emulator, &head, body).await
}

#[tokio::test]
async fn posts_are_checked_stored_and_readable() {
    let emulator = client::emulator().await;
    let key = emulator.topic_key2("grid");
    let body = format!("[{EVENT},{EVENT}]");
    let accepted = post(&emulator, QUERY, &key, &body).await;
    assert!(accepted.starts_with("HTTP/1.1 200"), "{accepted}");
    assert!(accepted.ends_with("\r\n\r\n"), "{accepted}");
    emulator
        .event_grid()
        .wait_for("grid", 2, WAIT)
        .await
        .unwrap();
    let events = emulator.event_grid().events("grid");
    assert_eq!(events[0].text(), EVENT);
    assert_eq!((events[1].number, events[1].post), (2, 1));

    for (query, key, body, expected) in [
        (QUERY, "d3Jvbmc=", body.as_str(), "401"),
        ("", key.as_str(), body.as_str(), "400"),
        (QUERY, key.as_str(), "[{}]", "400"),
        (QUERY, key.as_str(), &" ".repeat(1024 * 1024 + 1), "413"),
    ] {
        let answer = post(&emulator, query, key, body).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}")),
            "{answer}"
        );
        assert!(
            answer.contains(&format!(r#"{{"error":{{"code":"{expected}""#)),
            "{answer}"
        );
    }
    assert_eq!(
        emulator.event_grid().counts("grid"),
        ArrivalCounts {
            requests: 5,
            stored: 2
        }
    );

    let read = request(&emulator, "GET /events?topic=grid&after=1 HTTP/1.1", "").await;
    let json = read.split("\r\n\r\n").nth(1).unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["events"].as_array().unwrap().len(), 1);
    assert_eq!(json["events"][0]["number"], 2);
    assert_eq!(json["events"][0]["event"]["data"]["n"], 1);

    emulator.event_grid().set_keys("grid", "bmV3", "bmV3ZXI=");
    assert!(
        post(&emulator, QUERY, &key, &body)
            .await
            .starts_with("HTTP/1.1 401")
    );
    let new = emulator.topic_key1("grid");
    assert!(
        post(&emulator, QUERY, &new, &body)
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn scripted_answers_come_once() {
    let emulator = client::emulator().await;
    let faults = emulator.faults();
    let key = emulator.topic_key1("grid");
    let body = format!("[{EVENT}]");
    let send = || post(&emulator, QUERY, &key, &body);
    faults.posts("grid", PostAnswer::Status(429, Some(7)), 1);
    let busy = send().await;
    assert!(
        busy.starts_with("HTTP/1.1 429") && busy.contains("retry-after: 7"),
        "{busy}"
    );
    faults.posts("grid", PostAnswer::Drop, 1);
    assert_eq!(send().await, "");
    faults.posts("grid", PostAnswer::StoreAndDrop, 1);
    assert_eq!(send().await, "");
    faults.posts("grid", PostAnswer::AcceptAfter(Duration::from_millis(5)), 1);
    assert!(send().await.starts_with("HTTP/1.1 200"));
    faults.posts("grid", PostAnswer::Stall, 1);
    assert!(
        tokio::time::timeout(Duration::from_millis(5), send())
            .await
            .is_err()
    );
    assert!(send().await.starts_with("HTTP/1.1 200"));
    assert_eq!(emulator.broker().counts("hub"), ArrivalCounts::default());
    assert_eq!(emulator.event_grid().counts("grid").stored, 3);
}
