//! Who may change something.

use crate::harness::{ScriptedSink, TestServer, builder, error};
use expect_test::expect;
use serde_json::json;
use twinroute_admin::{ChangeListeners, MetricsRecorder};
use twinroute_listen::ListenAddress;
use twinroute_router::sink::DeliveryOutcome;

fn open(changes: ChangeListeners) -> TestServer {
    let sink = ScriptedSink::new(DeliveryOutcome::Delivered);
    let mut server = TestServer::start_at(
        "0.0.0.0:0",
        builder(&sink),
        MetricsRecorder::none(),
        changes,
    );
    let ListenAddress::Tcp(address) = &mut server.address else {
        panic!("a TCP server");
    };
    address.set_ip([127, 0, 0, 1].into());
    server
}

#[tokio::test]
async fn a_listener_for_other_machines_takes_no_changes_unless_told() {
    let server = open(ChangeListeners::Local);
    for path in ["/endpoints/demo/grid-1/pause", "/replays"] {
        let answer = server.post(path, json!({})).await;
        expect![[r#"403 ChangesNotAllowed: this listener can be reached from other machines, and accepts no changes; use a listener on loopback or a unix socket, set [admin.access], or set allow_changes = true in [admin]"#]]
        .assert_eq(&error(&answer));
    }
    assert_eq!(server.delete("/replays/1").await.status, 403);
    assert_eq!(server.get("/replays").await.status, 200);
    assert_eq!(server.endpoint().await["state"], "healthy");
    server.stop().await;
    let server = open(ChangeListeners::Everywhere);
    let answer = server.post("/endpoints/demo/grid-1/pause", json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(server.endpoint().await["state"], "paused");
    server.stop().await;
}

#[tokio::test]
async fn a_page_in_a_browser_changes_nothing() {
    let sink = ScriptedSink::new(DeliveryOutcome::Delivered);
    let server = TestServer::start(builder(&sink));
    let send = |headers: &str| {
        let request = format!(
            "POST /endpoints/demo/grid-1/pause HTTP/1.1\r\nconnection: close\r\n\
             content-length: 2\r\n{headers}\r\n{{}}"
        );
        let server = &server;
        async move {
            let answer = server.raw(&request).await;
            let status = answer.lines().next().unwrap_or_default().to_owned();
            let code = answer.split("\"code\":\"").nth(1);
            let code = code.and_then(|rest| rest.split('"').next());
            format!("{status} {}", code.unwrap_or("-"))
        }
    };
    let json = "host: 127.0.0.1\r\ncontent-type: application/json\r\n";
    for (headers, expect) in [
        (
            "host: 127.0.0.1\r\ncontent-type: text/plain\r\n".to_owned(),
            "HTTP/1.1 415 Unsupported Media Type UnsupportedContentType",
        ),
        (
            format!("{json}origin: https://evil.example\r\n"),
            "HTTP/1.1 403 Forbidden ForeignOrigin",
        ),
        (
            "host: evil.example\r\ncontent-type: application/json\r\n\
             origin: http://evil.example\r\n"
                .to_owned(),
            "HTTP/1.1 403 Forbidden ForeignHost",
        ),
    ] {
        assert_eq!(send(&headers).await, expect);
        assert_eq!(server.endpoint().await["state"], "healthy");
    }
    let own = send(&format!("{json}origin: http://127.0.0.1\r\n")).await;
    assert_eq!(own, "HTTP/1.1 200 OK -");
    assert_eq!(server.endpoint().await["state"], "paused");
    server.stop().await;
}
