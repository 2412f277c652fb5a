//! The Event Grid sink against servers that mean harm: every answer ends in time and takes little memory.

use crate::proxies::head;
use crate::support::{connect, deliveries, settings, short};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use twinroute_model::settings::EndpointSettings;
use twinroute_router::sink::DeliveryOutcome;

/// What the system's sockets hold beside what we took.
const TAKEN_BYTES_MAX: u64 = 16 << 20;
/// The most memory that this process may ever have used.
const PROCESS_BYTES_MAX: u64 = 512 << 20;

/// A server that answers every request with `begin` and then `again` for ever, each after a pause.
async fn server(
    begin: &'static [u8],
    again: &'static [u8],
    pause: Duration,
) -> (String, Arc<AtomicU64>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/events", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&sent);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(answer(stream, begin, again, pause, Arc::clone(&counting)));
        }
    });
    (url, sent, tasks)
}

async fn answer(
    mut stream: TcpStream,
    begin: &[u8],
    again: &[u8],
    pause: Duration,
    sent: Arc<AtomicU64>,
) {
    let head = head(&mut stream).await.to_lowercase();
    let (_, length) = head.split_once("content-length: ").unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    let again = again.repeat(4_096 / again.len().max(1) * usize::from(pause.is_zero()) + 1);
    let mut next = begin;
    // Errors mean that the sink has hung up.
    while stream.write_all(next).await.is_ok() {
        sent.fetch_add(next.len() as u64, Ordering::SeqCst);
        next = &again;
        if next.is_empty() {
            stream.read_to_end(&mut Vec::new()).await.ok();
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

fn quick() -> EndpointSettings {
    settings().with(|own| own.attempt_timeout = Duration::from_secs(3))
}

struct FacedResult {
    outcome: DeliveryOutcome,
    short: String,
    took: Duration,
    sent: u64,
}

async fn face(begin: &'static [u8], again: &'static [u8], pause: Duration) -> FacedResult {
    let (url, sent, _tasks) = server(begin, again, pause).await;
    let properties = format!(
        r#""endpointType":"EventGrid","TopicEndpoint":"{url}","accessKey1":"a-key-that-is-secret""#
    );
    let sink = connect(&properties, &quick());
    let start = Instant::now();
    let outcome = sink.send(&deliveries(0..1)).await.remove(0);
    assert!(peak_bytes() < PROCESS_BYTES_MAX, "{} bytes", peak_bytes());
    FacedResult {
        short: short(std::slice::from_ref(&outcome)).remove(0),
        outcome,
        took: start.elapsed(),
        sent: sent.load(Ordering::SeqCst),
    }
}

fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n";
const REFUSED: &[u8] = b"HTTP/1.1 400 Bad\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn answers_without_end_are_cut() {
    for (begin, again, expect) in [
        // A head that never ends, in every part of it.
        (b"".as_slice(), b"x".as_slice(), "unreachable http"),
        (b"HTTP/1.1 200 ", b"O", "unreachable http"),
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", "unreachable http"),
        (b"HTTP/1.1 200 OK\r\nx: ", b"yyyyyyyy", "unreachable http"),
        // A body that never ends: the status stands.
        (OK, b"x", "delivered"),
        (REFUSED, b"4\r\nnope\r\n", "reject http-400"),
        (REFUSED, b"ffffffff\r\nnope", "reject http-400"),
        (b"HTTP/1.1 400 Bad\r\n\r\n", b"x", "reject http-400"),
        // A chunk's extension and the trailers.
        (
            b"HTTP/1.1 400 Bad\r\ntransfer-encoding: chunked\r\n\r\n4;",
            b"x",
            "reject http-400",
        ),
        (
            b"HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            b"x: y\r\n",
            "throttled http-503",
        ),
    ] {
        let text = String::from_utf8_lossy(begin);
        let faced = face(begin, again, Duration::ZERO).await;
        assert_eq!(faced.short, expect, "{text}: {:?}", faced.outcome);
        assert!(
            faced.took < Duration::from_secs(3),
            "{text}: {:?}",
            faced.took
        );
        assert!(faced.sent < TAKEN_BYTES_MAX, "{text}: {} bytes", faced.sent);
        let detail = format!("{:?}", faced.outcome);
        assert!(
            detail.len() < 2_000 && !detail.contains("secret"),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn slow_answers_hold_an_attempt_no_longer_than_its_deadline() {
    let pause = Duration::from_millis(50);
    for (begin, again, expect) in [
        (
            b"HTTP/1.1 200 OK\r\n".as_slice(),
            b"x: y\r\n".as_slice(),
            "unreachable timeout",
        ),
        // Informational answers, which HTTP allows any number of.
        (
            b"",
            b"HTTP/1.1 102 Processing\r\n\r\n",
            "unreachable timeout",
        ),
        // What is known counts: the text behind it is not waited for.
        (OK, b"x", "delivered"),
        (REFUSED, b"1\r\nx\r\n", "reject http-400"),
    ] {
        let printed = String::from_utf8_lossy(begin);
        let faced = face(begin, again, pause).await;
        assert_eq!(faced.short, expect, "{printed}: {:?}", faced.outcome);
        assert!(
            faced.took < Duration::from_secs(5),
            "{printed}: {:?}",
            faced.took
        );
    }
}

#[tokio::test]
async fn a_flood_of_informational_answers_ends_at_the_deadline() {
    let faced = face(b"", b"HTTP/1.1 100 Continue\r\n\r\n", Duration::ZERO).await;
    assert!(
        faced.short.starts_with("unreachable "),
        "{:?}",
        faced.outcome
    );
    assert!(faced.took < Duration::from_secs(5), "{:?}", faced.took);
}

#[tokio::test]
async fn a_compressed_answer_is_neither_unpacked_nor_shown() {
    // Ten bytes that gzip begins with, and what would be a bomb.
    let begin = b"HTTP/1.1 400 Bad\r\ncontent-encoding: gzip\r\ncontent-length: 14\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03bomb";
    let faced = face(begin, b"", Duration::ZERO).await;
    assert_eq!(faced.short, "reject http-400");
    let debug_text = format!("{:?}", faced.outcome);
    assert!(!debug_text.contains("bomb"), "{debug_text}");
    assert!(debug_text.contains("content-encoding gzip"), "{debug_text}");
    // Words of a name that is none are cut, and what is not packed is shown.
    for (encoding, text) in [
        ("identity", "plain words"),
        ("", "plain words"),
        ("deflate, gzip", "content-encoding deflate, gzip"),
    ] {
        let begin = format!(
            "HTTP/1.1 400 Bad\r\ncontent-encoding: {encoding}\r\ncontent-length: 11\r\n\r\nplain words"
        );
        let faced = face(begin.leak().as_bytes(), b"", Duration::ZERO).await;
        let debug_text = format!("{:?}", faced.outcome);
        assert!(debug_text.contains(text), "{encoding}: {debug_text}");
    }
}

#[tokio::test]
async fn a_wait_that_makes_no_sense_does_no_harm() {
    for begin in [
        b"HTTP/1.1 503 No\r\nretry-after: 18446744073709551615\r\ncontent-length: 0\r\n\r\n".as_slice(),
        b"HTTP/1.1 503 No\r\nretry-after: 99999999999999999999999\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 503 No\r\nretry-after: -1\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 503 No\r\nretry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 503 No\r\nretry-after: Mon, 00 Foo 0000 99:99:99 GMT\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 503 No\r\nretry-after: \xff\xfe\r\ncontent-length: 0\r\n\r\n",
    ] {
        let faced = face(begin, b"", Duration::ZERO).await;
        assert_eq!(faced.short, "throttled http-503");
    }
}
