//! What is said of a peer that breaks off: sentences, since they stand in `last_error`, never Rust debug text.

use crate::support::{connect, deliveries, hub, settings};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use twinroute_router::sink::DeliveryOutcome;

/// How a peer breaks off.
#[derive(Clone, Copy, Debug)]
enum PeerBreak {
    /// Nobody listens.
    Refused,
    /// The connection is reset (TCP RST) at once, or behind these bytes.
    Reset(&'static [u8]),
    /// It is closed behind these bytes.
    Closed(&'static [u8]),
}

async fn peer(way: PeerBreak) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    if !matches!(way, PeerBreak::Refused) {
        tasks.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                break_off(stream, way).await;
            }
        });
    }
    (port, tasks)
}

async fn break_off(mut stream: TcpStream, way: PeerBreak) {
    stream.read_exact(&mut [0; 8]).await.ok();
    match way {
        PeerBreak::Refused => {}
        PeerBreak::Reset(bytes) => {
            stream.write_all(bytes).await.ok();
            stream.set_zero_linger().ok();
        }
        PeerBreak::Closed(bytes) => {
            stream.write_all(bytes).await.ok();
            stream.shutdown().await.ok();
        }
    }
}

const AMQP: &[u8] = b"AMQP\x00\x01\x00\x00";
const SASL: &[u8] = b"AMQP\x03\x01\x00\x00";

#[tokio::test]
async fn last_error_holds_sentences_and_no_debug_text() {
    let settings = settings().with(|own| own.attempt_timeout = Duration::from_secs(2));
    for way in [
        PeerBreak::Refused,
        PeerBreak::Reset(b""),
        PeerBreak::Reset(AMQP),
        PeerBreak::Reset(SASL),
        PeerBreak::Closed(b""),
        PeerBreak::Closed(AMQP),
        PeerBreak::Closed(SASL),
        PeerBreak::Closed(b"AMQP\x03\x01\x00\x00\x00\x00\x00\x09"),
        PeerBreak::Closed(b"HTTP/1.1 200 OK\r\n"),
        PeerBreak::Closed(b"\x15\x03\x03\x00\x02\x02\x28"),
    ] {
        let (port, _tasks) = peer(way).await;
        let string = format!(
            "Endpoint=sb://localhost:{port};SharedAccessKeyName=n;SharedAccessKey=a2V5;EntityPath=hub;UseDevelopmentEmulator=true"
        );
        let grid = format!(
            r#""endpointType":"EventGrid","TopicEndpoint":"http://127.0.0.1:{port}/api/events","accessKey1":"a2V5""#
        );
        let secure = format!(
            r#""endpointType":"EventGrid","TopicEndpoint":"https://127.0.0.1:{port}/api/events","accessKey1":"a2V5""#
        );
        for properties in [hub(&string), grid, secure] {
            let sink = connect(&properties, &settings);
            let outcome = sink.send(&deliveries(0..1)).await.remove(0);
            let DeliveryOutcome::Unavailable(fault) = outcome else {
                panic!("{way:?}: {outcome:?}");
            };
            let text = fault.reason.to_string();
            for mark in [
                "{ ",
                " }",
                "Some(",
                "None",
                "Os {",
                "Custom {",
                "kind:",
                "Error(",
                "(\"",
                "client error (",
            ] {
                assert!(!text.contains(mark), "{way:?}: {text}");
            }
            assert!(text.len() > 15, "{way:?}: says nothing: {text}");
        }
    }
}
