//! Callers with names: what they may send, how fast, and by which credential they are known.

use super::{TestServer, check_with, post, start};
use expect_test::expect;

const STRUCTURED: &str = "content-type: application/cloudevents+json";
const BATCH: &str = "content-type: application/cloudevents-batch+json";
const CALLERS: &str = "access_keys = ['c2hhcmVk']
    [access]
    tokens = [{ name = 'robot', role = 'write', token = 'robot-0123456789' }]
    [[callers]]
    name = 'press-7'
    keys = ['b2xk', 'bmV3']
    sources = ['urn:plant:press-7', 'urn:lab:']
    types = ['com.plant.']
    [[callers]]
    name = 'robot'
    tokens = ['robot']
    sources = ['urn:robot']
    [[callers]]
    name = 'slow'
    keys = ['c2xvdw==']
    events_per_second = 1
    events_burst = 2
    bytes_per_second = '100 KB'";

fn event(id: usize, source: &str, kind: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"{source}","type":"{kind}"}}"#)
}

fn batch(sources: &[&str]) -> String {
    let events = sources.iter().enumerate();
    let events = events.map(|(id, source)| event(id, source, "com.plant.moved"));
    format!("[{}]", events.collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn a_batch_with_one_foreign_source_is_refused_whole() {
    let ours = batch(&["urn:plant:press-7", "urn:lab:9"]);
    let key = format!("{BATCH}\r\naeg-sas-key: bmV3");
    check_with(
        CALLERS,
        &post("/events", &key, &ours),
        expect![[r#"
            HTTP/1.1 202 Accepted
            twinroute-accepted: 2
            twinroute-unmatched: 0
            twinroute-generation: 1
            content-length: 0

            => ["0", "1"]
        "#]],
    )
    .await;
    let foreign = batch(&["urn:plant:press-7", "urn:plant:press-8"]);
    check_with(CALLERS, &post("/events", &key, &foreign), expect![[r#"
        HTTP/1.1 403 Forbidden
        content-type: application/json
        content-length: 216

        {"error":{"code":"SourceNotAllowed","message":"event 1: source \"urn:plant:press-8\" is not one that caller press-7 may send; it must begin with \"urn:plant:press-7\" or \"urn:lab:\"","index":1,"attribute":"source"}}
        => []
    "#]]).await;
    let publish = "/api/events?api-version=2018-01-01";
    check_with(CALLERS, &post(publish, &key, &foreign), expect![[r#"
        HTTP/1.1 403 Forbidden
        content-type: application/json
        content-length: 366

        {"error":{"code":"Forbidden","message":"event 1: source \"urn:plant:press-8\" is not one that caller press-7 may send; it must begin with \"urn:plant:press-7\" or \"urn:lab:\"","details":[{"code":"SourceNotAllowed","message":"event 1: source \"urn:plant:press-8\" is not one that caller press-7 may send; it must begin with \"urn:plant:press-7\" or \"urn:lab:\""}]}}
        => []
    "#]]).await;
    let kind = event(1, "urn:lab:1", "org.else");
    let key = format!("{STRUCTURED}\r\nauthorization: SharedAccessKey b2xk");
    check_with(CALLERS, &post("/events", &key, &kind), expect![[r#"
        HTTP/1.1 403 Forbidden
        content-type: application/json
        content-length: 178

        {"error":{"code":"TypeNotAllowed","message":"event 0: type \"org.else\" is not one that caller press-7 may send; it must begin with \"com.plant.\"","index":0,"attribute":"type"}}
        => []
    "#]]).await;
    // Whoever shows a key that is nobody's own has no limits.
    let shared = format!("{BATCH}\r\naeg-sas-key: c2hhcmVk");
    check_with(
        CALLERS,
        &post("/events", &shared, &foreign),
        expect![[r#"
            HTTP/1.1 202 Accepted
            twinroute-accepted: 2
            twinroute-unmatched: 0
            twinroute-generation: 1
            content-length: 0

            => ["0", "1"]
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_token_belongs_to_a_caller_too() {
    let token = format!("{STRUCTURED}\r\nauthorization: Bearer robot-0123456789");
    let ours = post("/events", &token, &event(1, "urn:robot:1", "t"));
    check_with(
        CALLERS,
        &ours,
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
    let foreign = post("/events", &token, &event(1, "urn:plant:press-7", "t"));
    check_with(CALLERS, &foreign, expect![[r#"
        HTTP/1.1 403 Forbidden
        content-type: application/json
        content-length: 190

        {"error":{"code":"SourceNotAllowed","message":"event 0: source \"urn:plant:press-7\" is not one that caller robot may send; it must begin with \"urn:robot\"","index":0,"attribute":"source"}}
        => []
    "#]]).await;
    // The key's caller counts.
    let both = format!("{token}\r\naeg-sas-key: b2xk");
    let both = post("/events", &both, &event(1, "urn:robot:1", "com.plant.t"));
    check_with(CALLERS, &both, expect![[r#"
        HTTP/1.1 403 Forbidden
        content-type: application/json
        content-length: 210

        {"error":{"code":"SourceNotAllowed","message":"event 0: source \"urn:robot:1\" is not one that caller press-7 may send; it must begin with \"urn:plant:press-7\" or \"urn:lab:\"","index":0,"attribute":"source"}}
        => []
    "#]]).await;
}

async fn send(server: &TestServer, body: &str) -> String {
    let key = format!("{BATCH}\r\naeg-sas-key: c2xvdw==");
    server.raw(post("/events", &key, body).as_bytes()).await
}

#[tokio::test]
async fn who_sends_too_fast_is_reported_when_to_try_again() {
    let server = start(CALLERS);
    let two = batch(&["a", "b"]);
    assert!(send(&server, &two).await.starts_with("HTTP/1.1 202 "));
    let answer = send(&server, &two).await;
    let (head, body) = answer.split_once("\n\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    // Two seconds are to pass in all; some of them may have.
    let after = head.split_once("retry-after: ").unwrap().1;
    let after: u64 = after.lines().next().unwrap().parse().unwrap();
    assert!((1..=2).contains(&after), "{after}");
    let expect = format!(
        r#"{{"error":{{"code":"RateExceeded","message":"caller slow sends more than 1 events a second; try again in {after} s"}}}}"#
    );
    assert_eq!(body, expect);
    expect![[r#"
        HTTP/1.1 413 Payload Too Large
        content-type: application/json
        content-length: 155

        {"error":{"code":"BatchAboveBurst","message":"the batch has 3 events; caller slow may send 2 at once (events_burst) and 1 a second; send smaller batches"}}"#]].assert_eq(&send(&server, &batch(&["a", "b", "c"])).await);
    // Others are not slowed down by it.
    let shared = post(
        "/events",
        &format!("{BATCH}\r\naeg-sas-key: c2hhcmVk"),
        &two,
    );
    let answer = server.raw(shared.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 202 "));
    server.router.settled().await;
    assert_eq!(server.seen.ids.lock().unwrap().len(), 4);
    server.stop().await;
}
