//! Deliveries of Event Grid to a webhook: nothing of them is lost, whatever is wrong.

use super::{EVENT, SeenSink, TestServer, post, start, start_with};
use expect_test::expect;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use twinroute_router::dead_letters::DeadLetterQuery;
use twinroute_router::{Router, UNREADABLE_ENDPOINT};

const NOTIFICATION: &str =
    "aeg-event-type: Notification\r\ncontent-type: application/json; charset=utf-8";

fn grid(id: &str, subject: &str) -> String {
    format!(
        r#"{{"id":"{id}","topic":"/t","subject":"{subject}","data":{{}},"eventType":"T","eventTime":"2026-01-31T08:15:30Z","dataVersion":"1"}}"#
    )
}

/// The ids that arrived, and the bytes that were kept.
async fn result(server: &TestServer) -> (Vec<String>, Vec<Vec<u8>>) {
    server.router.settled().await;
    let page = server
        .router
        .dead_letters(&DeadLetterQuery::default(), None, 100)
        .await;
    let mut kept = Vec::new();
    for dead in page.dead_letters {
        assert_eq!(dead.endpoint, UNREADABLE_ENDPOINT);
        assert!(dead.outcome.starts_with("unreadable: "), "{}", dead.outcome);
        let instance = Some(dead.instance.as_str());
        let found = server
            .router
            .dead_letter(instance, &dead.endpoint, dead.sequence)
            .await;
        kept.push(found.unwrap().1.payload().bytes.into_owned());
    }
    let ids = server.seen.ids.lock().unwrap().clone();
    (ids, kept)
}

#[tokio::test]
async fn the_good_events_of_a_delivery_are_accepted_and_the_bad_one_is_kept() {
    for path in ["/events", "/api/events"] {
        let server = start("");
        let bad = grid("2", "");
        let body = format!("[{}, {bad} ,{}]", grid("1", "s"), grid("3", "s"));
        let answer = server.raw(post(path, NOTIFICATION, &body).as_bytes()).await;
        expect![[r#"
            HTTP/1.1 200 OK
            twinroute-accepted: 2
            twinroute-unmatched: 0
            twinroute-generation: 1
            twinroute-unreadable: 1
            content-length: 0
        "#]]
        .assert_eq(&answer);
        let expected = (vec!["1".to_owned(), "3".to_owned()], vec![bad.into_bytes()]);
        assert_eq!(result(&server).await, expected, "{path}");
        server.stop().await;
    }
}

#[tokio::test]
async fn whatever_a_delivery_is_it_is_kept_whole() {
    let gzip = |body: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let cut = gzip(b"[1,2,3]")[..15].to_vec();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("", b"no JSON at all".to_vec()),
        ("", b"\xff\xfe\x00".to_vec()),
        ("", b"[1".to_vec()),
        ("content-type: application/xml", b"<a/>".to_vec()),
        (
            "content-type: application/cloudevents+protobuf",
            b"\x08\x01".to_vec(),
        ),
        (
            "content-type: application/cloudevents+json",
            b"{\"specversion\":\"1.0\"}".to_vec(),
        ),
        ("content-encoding: br", b"\x0b\x02\x80".to_vec()),
        ("content-encoding: gzip", b"no gzip".to_vec()),
        ("content-encoding: gzip", cut),
        ("twinroute-ack: surely", b"7".to_vec()),
        ("twinroute-ack-deadline: soon", b"8".to_vec()),
        ("twinroute-ack: durable", b"9".to_vec()),
    ];
    for (headers, body) in cases {
        let server = start("");
        let separator = if headers.is_empty() { "" } else { "\r\n" };
        let mut request = format!(
            "POST /events HTTP/1.1\r\nhost: h\r\nconnection: close\r\naeg-event-type: Notification{separator}{headers}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        let answer = server.raw(&request).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{headers}: {answer}");
        assert!(
            answer.contains("twinroute-unreadable: 1"),
            "{headers}: {answer}"
        );
        assert_eq!(result(&server).await, (vec![], vec![body]), "{headers}");
        server.stop().await;
    }
}

#[tokio::test]
async fn an_event_in_binary_mode_is_kept_with_its_attributes() {
    let server = start("");
    let binary = "aeg-event-type: Notification\r\nce-specversion: 1.0\r\nce-id: 7\r\nce-source: a b\r\nce-type: t\r\ncontent-type: text/plain";
    let answer = server
        .raw(post("/events", binary, "hello").as_bytes())
        .await;
    assert!(
        answer.contains("twinroute-accepted: 1"),
        "a source is kept as it is: {answer}"
    );
    let bad = binary.replace("ce-type: t", "ce-subject: ");
    let answer = server.raw(post("/events", &bad, "hello").as_bytes()).await;
    assert!(answer.contains("twinroute-unreadable: 1"), "{answer}");
    let (ids, kept) = result(&server).await;
    assert_eq!(ids, ["7"]);
    let kept: serde_json::Value = serde_json::from_slice(&kept[0]).unwrap();
    let expected = serde_json::json!({
        "specversion": "1.0", "id": "7", "source": "a b", "subject": "", "datacontenttype": "text/plain",
        "data_base64": "aGVsbG8=",
    });
    assert_eq!(kept, expected);
    server.stop().await;
}

#[tokio::test]
async fn limits_lose_nothing_of_a_delivery() {
    let server = start("event_bytes_max = \"150 B\"\nbatch_events_max = 1");
    let large = grid("2", &"s".repeat(100));
    let body = format!("[{},{large},{}]", grid("1", "s"), grid("3", "s"));
    let answer = server
        .raw(post("/events", NOTIFICATION, &body).as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let expected = (
        vec!["1".to_owned(), "3".to_owned()],
        vec![large.into_bytes()],
    );
    assert_eq!(result(&server).await, expected);
    server.stop().await;
}

/// Event Grid never repeats a delivery that was answered with 400 or 413.
#[tokio::test]
async fn what_cannot_be_kept_is_asked_for_again() {
    let server = start("event_bytes_max = \"100 B\"\n[limits]\nbody_bytes_max = \"100 B\"");
    let body = format!("[{}]", grid("1", "s"));
    let answer = server
        .raw(post("/events", NOTIFICATION, &body).as_bytes())
        .await;
    expect![[r#"
        HTTP/1.1 503 Service Unavailable
        content-type: application/json
        retry-after: 60
        content-length: 98

        {"error":{"code":"BodyTooLarge","message":"the body has more than 100 bytes, which is the limit"}}"#]].assert_eq(&answer);
    server.stop().await;
    // Full: neither the good nor the bad.
    let router = Router::builder().journal_bytes_max(300);
    let server = start_with("", router, SeenSink::default());
    for body in [
        format!("[{}]", grid("1", &"s".repeat(300))),
        "x".repeat(400),
    ] {
        let answer = server
            .raw(post("/events", NOTIFICATION, &body).as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    assert_eq!(result(&server).await, (vec![], vec![]));
    server.stop().await;
    // Stopping.
    let server = start("");
    server.router.stop(std::time::Duration::ZERO).await;
    for body in ["x".to_owned(), EVENT.to_owned()] {
        let answer = server
            .raw(post("/events", NOTIFICATION, &body).as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn credentials_are_asked_of_a_delivery_too() {
    let server = start("webhook_code = \"c0de\"");
    let answer = server
        .raw(post("/events", NOTIFICATION, "x").as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let answer = server
        .raw(post("/events?code=c0de", NOTIFICATION, "[]").as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = server
        .raw(post("/instances/none/events?code=c0de", NOTIFICATION, "x").as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert_eq!(result(&server).await, (vec![], vec![]));
    server.stop().await;
}

/// Event Grid never repeats a webhook delivery after 403.
#[tokio::test]
async fn notification_batch_keeps_what_its_caller_may_not_send_and_takes_the_rest() {
    let server = start(
        "[[callers]]\nname = 'grid'\nkeys = ['a2V5LW9mLXRoZS1jYWxsZXI=']\nsources = ['/mine']",
    );
    let head = format!("{NOTIFICATION}\r\nauthorization: SharedAccessKey a2V5LW9mLXRoZS1jYWxsZXI=");
    let from = |id: &str, topic: &str| grid(id, "s").replace("/t", topic);
    let body = format!("[{},{}]", from("1", "/mine"), from("2", "/theirs"));
    let answer = server.raw(post("/events", &head, &body).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (ids, kept) = result(&server).await;
    assert_eq!((ids, kept.len()), (vec!["1".to_owned()], 1), "{answer}");
    let kept = String::from_utf8(kept[0].clone()).unwrap();
    assert!(kept.contains(r#""id":"2""#), "{kept}");
    assert!(
        kept.starts_with(r#"{"notPermitted":{"#),
        "no replay accepts it: {kept}"
    );
    // All of them: nothing is accepted, and still nothing lost.
    let body = format!("[{}]", from("3", "/theirs"));
    let answer = server.raw(post("/events", &head, &body).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (ids, kept) = result(&server).await;
    assert_eq!((ids, kept.len()), (vec!["1".to_owned()], 2));
    server.stop().await;
}
