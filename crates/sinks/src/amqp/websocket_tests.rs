//! AMQP within WebSockets: a good server, servers that say no, and servers that mean harm.

use super::hostile_tests::{face_over, unavailable};
use super::target::DialTarget;
use super::testing::broker::{TestBroker, TransferAction};
use super::testing::{PRIMARY_KEY, TestWire, deliveries, manner, short, target};
use super::websocket::WebSocketBytes;
use super::{AmqpSink, SendSettings};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use twinroute_model::settings::{AmqpAuth, AmqpTransport};
use twinroute_router::sink::{DeliveryOutcome, Sink};

/// The broker behind a WebSocket.
pub(super) async fn serve(stream: DuplexStream, broker: Arc<TestBroker>) {
    #[allow(clippy::result_large_err, reason = "the callback's type")]
    let upgrade = |request: &Request, mut response: Response| {
        assert_eq!(request.uri(), "/$servicebus/websocket");
        let subprotocol = &request.headers()["sec-websocket-protocol"];
        assert_eq!(subprotocol, "AMQPWSB10");
        assert_eq!(request.headers()["host"], "ns.example");
        let headers = response.headers_mut();
        headers.insert("sec-websocket-protocol", subprotocol.clone());
        Ok(response)
    };
    let stream: Box<dyn twinroute_outgoing::tunnel::ByteStream> = Box::new(stream);
    let socket = tokio_tungstenite::accept_hdr_async(stream, upgrade);
    broker
        .serve(WebSocketBytes::of(socket.await.unwrap()))
        .await;
}

struct FakeNamespace {
    broker: Arc<TestBroker>,
    sink: AmqpSink,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

fn namespace(manner: SendSettings) -> FakeNamespace {
    let broker = Arc::new(TestBroker::default());
    let tasks = Arc::new(Mutex::new(JoinSet::new()));
    let mut target = target(&TestWire::to(&broker), PRIMARY_KEY, AmqpAuth::Cbs);
    target.transport = AmqpTransport::Websocket;
    let (serving, behind) = (Arc::clone(&tasks), Arc::clone(&broker));
    target.dial = DialTarget::Memory(Arc::new(move || {
        let (near, far) = tokio::io::duplex(64 << 10);
        let mut tasks = serving.lock().unwrap();
        tasks.spawn(serve(far, Arc::clone(&behind)));
        Ok(near)
    }));
    FakeNamespace {
        broker,
        sink: AmqpSink::new(vec![target], manner),
        tasks,
    }
}

#[tokio::test(start_paused = true)]
async fn events_go_and_the_token_is_renewed() {
    let namespace = namespace(manner());
    let many = deliveries(0..3_000);
    let outcomes = short(&namespace.sink.send(&many).await);
    assert!(outcomes.iter().all(|outcome| outcome == "delivered"));
    assert_eq!(namespace.broker.ids().len(), 3_000);
    let tokens = || namespace.broker.tokens.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(49 * 60)).await;
    assert_eq!((tokens(), namespace.broker.connections()), (2, 1));
    let audience = namespace.broker.tokens.lock().unwrap()[1].0.clone();
    assert_eq!(audience, "sb://ns.example/hub");
    let outcomes = namespace.sink.send(&deliveries(0..1)).await;
    assert_eq!(short(&outcomes), ["delivered"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_larger_than_a_websocket_message_of_ours_arrives_whole() {
    let namespace = namespace(manner());
    let large = [super::testing::delivery(0, 900_000)];
    assert_eq!(short(&namespace.sink.send(&large).await), ["delivered"]);
    assert_eq!(
        namespace.broker.transfers()[0].events[0].data.len(),
        900_002
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_is_found_at_once_and_again() {
    let namespace = namespace(manner());
    namespace.broker.script(|_| TransferAction::Hold);
    let tasks = Arc::clone(&namespace.tasks);
    let broker = Arc::clone(&namespace.broker);
    let cut = tokio::spawn(async move {
        while broker.ids().is_empty() {
            tokio::task::yield_now().await;
        }
        let mut tasks = std::mem::take(&mut *tasks.lock().unwrap());
        tasks.shutdown().await;
    });
    let start = tokio::time::Instant::now();
    let outcomes = short(&namespace.sink.send(&deliveries(0..1)).await);
    assert!(outcomes[0].starts_with("unreachable"), "{outcomes:?}");
    assert!(start.elapsed() < Duration::from_secs(1));
    cut.await.unwrap();
    namespace.broker.script(|_| TransferAction::Accept);
    let outcomes = namespace.sink.send(&deliveries(0..1)).await;
    assert_eq!(short(&outcomes), ["delivered"]);
}

/// Reads a request's head; gives the value of its key.
async fn key(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let (_, key) = head.split_once("Sec-WebSocket-Key: ").unwrap();
    key.split("\r\n").next().unwrap().to_owned()
}

fn accepted(key: &str, more: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{more}\r\n",
        derive_accept_key(key.as_bytes())
    )
    .into_bytes()
}

/// What becomes of a handshake with this answer.
async fn answered(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> (String, u64) {
    let answer = Arc::new(answer);
    let faced = face_over(AmqpTransport::Websocket, move |mut stream, _| {
        let answer = Arc::clone(&answer);
        Box::pin(async move {
            let key = key(&mut stream).await;
            stream.write_all(&answer(&key)).await.ok();
            stream.read_to_end(&mut Vec::new()).await.ok();
        })
    })
    .await;
    (faced.short.clone(), faced.took.as_secs())
}

#[tokio::test(start_paused = true)]
async fn retry_after_forms_and_clock_skew_are_read_of_the_handshake_too() {
    // The clock says 2023-11-14T22:13:20Z.
    for (status, more, after, words) in [
        (429, "Retry-After: 7", Some(7), ""),
        (429, "Retry-After: 1", Some(4), ""),
        (
            503,
            "Retry-After: Tuesday, 14-Nov-23 22:13:50 GMT",
            Some(30),
            "",
        ),
        (503, "Retry-After: Tue Nov 14 22:13:50 2023", Some(30), ""),
        (500, "X: y", None, ""),
        (
            401,
            "Date: Wed, 15 Nov 2023 01:13:20 GMT",
            None,
            "clock is 3 h 0 min behind",
        ),
    ] {
        let faced = face_over(AmqpTransport::Websocket, move |mut stream, _| {
            Box::pin(async move {
                key(&mut stream).await;
                let answer = format!("HTTP/1.1 {status} X\r\n{more}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.ok();
                stream.read_to_end(&mut Vec::new()).await.ok();
            })
        })
        .await;
        let DeliveryOutcome::Unavailable(fault) = faced.outcome else {
            panic!("{more}: {:?}", faced.outcome);
        };
        assert_eq!(fault.after.map(|after| after.as_secs()), after, "{more}");
        assert!(fault.reason.detail.contains(words), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_answer_to_the_handshake_has_its_outcome() {
    for (status, expect) in [
        (401, "unauthorized websocket-401"),
        (403, "unauthorized websocket-403"),
        (404, "gone websocket-404"),
        (410, "gone websocket-410"),
        (429, "throttled websocket-429"),
        (503, "throttled websocket-503"),
        (302, "unreachable websocket-302"),
        (307, "unreachable websocket-307"),
        (200, "unreachable websocket-200"),
        (500, "unreachable websocket-500"),
    ] {
        let answer = move |_: &str| {
            let location = "Location: https://elsewhere.example/\r\n";
            format!("HTTP/1.1 {status} X\r\n{location}content-length: 3\r\n\r\nno!").into_bytes()
        };
        assert_eq!(answered(answer).await, (expect.to_owned(), 0));
    }
    let headers = |count: usize| "X: y\r\n".repeat(count);
    let long = format!("X: {}\r\n", "y".repeat(100_000));
    for more in [
        String::new(),
        "Sec-WebSocket-Protocol: other\r\n".to_owned(),
        headers(2_000),
        long,
    ] {
        let answer = move |key: &str| accepted(key, &more);
        let (outcome, _) = answered(answer).await;
        assert_eq!(outcome, "unreachable websocket");
    }
    let foreign = |_: &str| accepted("another", "Sec-WebSocket-Protocol: AMQPWSB10\r\n");
    assert_eq!(answered(foreign).await.0, "unreachable websocket");
    let accept = |_: &str| {
        let long = "A".repeat(400);
        format!("HTTP/1.1 101 X\r\nSec-WebSocket-Accept: {long}\r\n\r\n").into_bytes()
    };
    assert_eq!(answered(accept).await.0, "unreachable websocket");
    assert_eq!(
        answered(|_| b"SSH-2.0-x\r\n\r\n".to_vec()).await.0,
        "unreachable websocket"
    );
    let silent = answered(|_| Vec::new()).await;
    assert_eq!(silent, ("unreachable websocket-timeout".to_owned(), 10));
}

/// A server's frame with any head.
fn raw(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
    [&[first], length, payload].concat()
}

/// Bytes after which an endless attack ends by itself, so that a test does.
const ATTACK_BYTES_MAX: u64 = 1 << 20;

/// What becomes of a connection on which this comes after a good handshake, again and again.
async fn attacked(attack: Vec<u8>, repeated: Vec<u8>) -> (String, String, Duration, u64) {
    let faced = face_over(AmqpTransport::Websocket, move |mut stream, written| {
        let (attack, repeated) = (attack.clone(), repeated.clone());
        Box::pin(async move {
            let key = key(&mut stream).await;
            let yes = accepted(&key, "Sec-WebSocket-Protocol: AMQPWSB10\r\n");
            stream.write_all(&[yes, attack].concat()).await.ok();
            if repeated.is_empty() {
                stream.read_to_end(&mut Vec::new()).await.ok();
                return;
            }
            // It reads nothing: what is answered has nowhere to go.
            while stream.write_all(&repeated).await.is_ok() {
                let bytes = repeated.len() as u64;
                let before = written.fetch_add(bytes, Ordering::SeqCst);
                if before > ATTACK_BYTES_MAX {
                    return;
                }
            }
        })
    })
    .await;
    let detail = unavailable(&faced.outcome).reason.detail.clone();
    (faced.short.clone(), detail, faced.took, faced.written)
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_none_of_amqp_end_the_connection() {
    let huge = [127, 0, 0, 0, 1, 0, 0, 0, 0];
    for (attack, expect) in [
        (raw(0x81, &[2], b"hi"), "text"),
        (raw(0x82, &huge, &[]), ""),
        (raw(0x82, &[0x82, 1, 2, 3, 4], b"xx"), ""),
        (raw(0xf2, &[1], b"x"), ""),
        (raw(0x89, &[126, 1, 0], &[0; 256]), ""),
        (raw(0x88, &[2], &[3, 0xe8]), ""),
        (raw(0x82, &[8], b"NOT AMQP"), "something else than AMQP"),
    ] {
        let (outcome, detail, took, _) = attacked(attack.clone(), Vec::new()).await;
        assert!(
            outcome.starts_with("unreachable "),
            "{attack:02x?}: {outcome}"
        );
        assert!(
            detail.contains(expect),
            "{attack:02x?}: {outcome}: {detail}"
        );
        assert!(took < Duration::from_secs(1), "{attack:02x?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_without_end_take_no_memory() {
    let fragment = raw(0x00, &[126, 0x40, 0], &[0; 16_384]);
    let (outcome, _, took, written) = attacked(raw(0x02, &[1], b"A"), fragment).await;
    assert!(outcome.starts_with("unreachable "), "{outcome}");
    assert!(
        written < ATTACK_BYTES_MAX + (1 << 20) && took.as_secs() < 1,
        "{written} bytes, {took:?}"
    );
    // Pings are answered with one pong at most, which takes no memory, and empty fragments take none:
    // both end with the attempt, or here with the attack.
    for endless in [raw(0x89, &[4], b"ping"), raw(0x00, &[0], &[])] {
        let (outcome, _, took, _) = attacked(raw(0x02, &[0], &[]), endless).await;
        assert!(outcome.starts_with("unreachable "), "{outcome}");
        assert!(took <= Duration::from_secs(30), "{took:?}");
    }
}
