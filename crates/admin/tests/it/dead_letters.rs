//! Dead letters: listed, shown, exported.

use crate::harness::{
    PATIENCE, ScriptedSink, TestServer, builder, builder_on_disk, error, event, events, rejects,
    typed,
};
use bytes::Bytes;
use expect_test::expect;
use serde_json::{Value, json};
use twinroute_model::cloudevents::json as cloudevents;
use twinroute_model::event::EventLimits;

async fn exported(server: &TestServer, query: &str) -> Vec<Value> {
    let mut out = Vec::new();
    let path = format!("/dead-letters/export{query}");
    let answer = server.client().download(&path, PATIENCE, &mut out).await;
    assert_eq!(answer.unwrap().status, 200);
    let text = String::from_utf8(out).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn sequences(page: &Value) -> Vec<u64> {
    let letters = page["dead_letters"].as_array().unwrap().iter();
    letters
        .map(|letter| letter["sequence"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn they_are_listed_by_page_and_by_what_is_asked() {
    let sink = ScriptedSink::new(rejects());
    let server = TestServer::start(builder(&sink).sink("hub-1", sink.clone()));
    server
        .accept(vec![event(1), typed(2, "other"), event(3)])
        .await;
    let first = server.json("/dead-letters?most=2").await;
    assert_eq!(sequences(&first), [1, 2]);
    let next = first["next"].as_str().unwrap();
    assert_eq!(next, "demo/grid-1/2");
    let second = server
        .json(&format!("/dead-letters?most=2&after={next}"))
        .await;
    assert_eq!((sequences(&second), &second["next"]), (vec![3], &json!("")));
    for (query, expect) in [
        ("type=other", &[2][..]),
        ("filter=type%20=%20%27other%27", &[2]),
        ("filter=id+!%3D+%272%27", &[1, 3]),
        ("endpoint=GRID-1&instance=Demo&reason=rejected", &[1, 2, 3]),
        ("reason=expired", &[]),
        ("endpoint=hub-1", &[]),
        ("until=2020-01-01T00:00:00Z", &[]),
        ("since=2020-01-01T00:00:00Z", &[1, 2, 3]),
    ] {
        let page = server.json(&format!("/dead-letters?{query}")).await;
        assert_eq!(sequences(&page), expect, "{query}");
    }
    for (query, expect) in [
        (
            "endpoint=grid-2",
            "404 UnknownEndpoint: endpoint */grid-2: not found; there are \
             demo/grid-1, demo/hub-1",
        ),
        (
            "most=1001",
            "400 InvalidQuery: most: 1001 is above 1000; go on with after=<next>",
        ),
        (
            "reason=bad",
            "400 InvalidQuery: reason: \"bad\" is not a reason; there are overflow, rejected, \
             exhausted, expired, removed",
        ),
    ] {
        for path in ["/dead-letters", "/dead-letters/export"] {
            if path.ends_with("export") && query.starts_with("most") {
                continue;
            }
            let answer = server.get(&format!("{path}?{query}")).await;
            assert_eq!(error(&answer), expect);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn one_is_shown_with_its_event_as_it_was_accepted() {
    let sink = ScriptedSink::new(rejects());
    let server = TestServer::start(builder(&sink));
    let accepted = "{\"specversion\":\"1.0\",\r\n  \"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\n\
                    \"data\":{\"text\":\"a\\nb\",\"big\":12345678901234567890123}}";
    let parsed = cloudevents::parse(Bytes::from(accepted), &EventLimits::default()).unwrap();
    server.accept(vec![parsed]).await;
    let response = server.get("/dead-letters/demo/grid-1/1").await;
    let (view, event) = response.body.split_once(",\"event\":").unwrap();
    assert_eq!(event, format!("{accepted}}}\n"));
    let view: Value = serde_json::from_str(&format!("{view}}}")).unwrap();
    let view = &view["dead_letter"];
    assert_eq!(
        (
            &view["reason"],
            &view["outcome"],
            &view["type"],
            &view["id"]
        ),
        (
            &json!("rejected"),
            &json!("too-large: as the test says"),
            &json!("t"),
            &json!("1")
        )
    );
    let lines = exported(&server, "").await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["event"]["data"]["text"], "a\nb");
    let none = server.get("/dead-letters/demo/grid-1/9").await;
    expect![[r#"404 UnknownDeadLetter: dead letter demo/grid-1/9: is not kept here, or no longer; GET /dead-letters lists them"#]]
    .assert_eq(&error(&none));
    let none = server.get("/dead-letters/demo/grid-2/1").await;
    assert!(error(&none).starts_with("404 UnknownEndpoint"), "{none:?}");
    server.stop().await;
}

#[tokio::test]
async fn an_export_has_all_of_them_from_disk_too_and_comes_in_pieces() {
    const COUNT: usize = 1_234;
    let folder = tempfile::tempdir().unwrap();
    let sink = ScriptedSink::new(rejects());
    let server = TestServer::start(builder_on_disk(&sink, folder.path()));
    server.accept(events(COUNT)).await;
    let lines = exported(&server, "").await;
    let ids: Vec<&str> = lines
        .iter()
        .map(|line| line["event"]["id"].as_str().unwrap())
        .collect();
    let expect: Vec<String> = (1..=COUNT).map(|id| id.to_string()).collect();
    assert_eq!(ids, expect);
    assert_eq!(lines[7]["dead_letter"]["sequence"], 8);
    let some = exported(&server, "?most=3&after=demo/grid-1/1000").await;
    let ids: Vec<&str> = some
        .iter()
        .map(|line| line["event"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["1001", "1002", "1003"]);
    let raw = "GET /dead-letters/export HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = server.raw(raw).await;
    let (head, body) = answer.split_once("\n\n").unwrap();
    expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/x-ndjson
        connection: close
        transfer-encoding: chunked"#]]
    .assert_eq(head);
    let first = body.lines().next().unwrap();
    let first = usize::from_str_radix(first, 16).unwrap();
    assert!(
        (64 << 10..66 << 10).contains(&first),
        "a first piece of {first} bytes"
    );
    server.stop().await;
}
