//! Who means harm over HTTP/2: each attack in frames of its own, and how the connection ended.
#![allow(clippy::unwrap_used, reason = "test code")]

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use twinroute_listen::{
    ClientPeer, HttpLimits, ListenAddress, ListeningSocket, ServerBody, SocketSettings, serve,
};

/// Longer than any end takes here.
const PATIENCE: Duration = Duration::from_secs(20);

/// RFC 9113 §6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

// RFC 9113 §7.
const CALM: Option<u8> = Some(11);
const FRAME_SIZE: Option<u8> = Some(6);
const FLOW_CONTROL: Option<u8> = Some(3);

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET http://h/` out of the static table (RFC 7541, appendix A), and a literal `:authority`.
const GET: &[u8] = b"\x82\x86\x84\x01\x01h";

/// A frame whose length field may lie.
fn framed(length: usize, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(length).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()];
    [head.concat(), payload.to_vec()].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    framed(payload.len(), kind, flags, stream, payload)
}

/// The frame that `make` makes, once for each stream that a client may open.
fn each_stream(count: u32, make: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|number| make(2 * number + 1)).collect()
}

/// The error of the server's goodbye.
fn goodbye(mut bytes: &[u8]) -> Option<u8> {
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = &rest[..length.min(rest.len())];
        if head[3] == GOAWAY {
            return payload.get(7).copied();
        }
        bytes = &rest[payload.len()..];
    }
    None
}

/// Sends each attack and reads until the server closes; then another client must be served.
///
/// With each stands the error that the server may say goodbye with (RFC 9113 §7), and how many requests it
/// may have taken up. A goodbye can be lost when the server closes while the attack is still being sent.
async fn check(limits: HttpLimits, attacks: &[(&str, Option<u8>, usize, Vec<u8>)]) {
    let listener =
        ListeningSocket::bind(&"127.0.0.1:0".parse().unwrap(), &SocketSettings::default());
    let listener = listener.unwrap();
    let ListenAddress::Tcp(address) = listener.address().clone() else {
        panic!("a TCP server");
    };
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let service = move |_request: Request<Incoming>, _peer: ClientPeer| {
        counter.fetch_add(1, Relaxed);
        async { Response::new(ServerBody::new(Bytes::from_static(b"here"))) }
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(async move {
        let stopped = async { stopped.await.unwrap_or_default() };
        serve(vec![listener], &limits, service, stopped).await;
    });
    for (name, error, asked_max, frames) in attacks {
        let before = asked.load(Relaxed);
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let preface = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &frame(SETTINGS, 0, 0, b"")[..],
        ]
        .concat();
        let all = [&preface[..], frames].concat();
        let mut answer = Vec::new();
        // The server may have heard enough before it all was sent.
        let sending = async { drop(writer.write_all(&all).await) };
        let reading = async { drop(reader.read_to_end(&mut answer).await) };
        let both = timeout(PATIENCE, async { tokio::join!(sending, reading) }).await;
        both.expect("the server closes");
        let found = goodbye(&answer);
        assert!(found.is_none() || found == *error, "{name}: {found:?}");
        let asked = asked.load(Relaxed) - before;
        assert!(asked <= *asked_max, "{name}: {asked} requests");
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    let plain = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    stream.write_all(plain).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("here"), "{answer}");
    stop.send(()).unwrap();
    served.await.unwrap();
}

fn limits() -> HttpLimits {
    HttpLimits {
        keep_alive_timeout: Duration::from_millis(400),
        ..HttpLimits::default()
    }
}

fn headers(flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, payload)
}

#[tokio::test]
async fn hostile_headers() {
    // A literal header without a name in the table: `x: ` and 200 bytes.
    let field = [&b"\x00\x01x\x7f\x49"[..], &[b'v'; 200]].concat();
    let more = |payload: &[u8], count| frame(CONTINUATION, 0, 1, payload).repeat(count);
    let begun = headers(END_STREAM, 1, GET);
    // One entry of 3 KB in the dynamic table, named again and again: 1 byte each.
    let entry = [&b"\x40\x01x\x7f\xb9\x16"[..], &[b'v'; 3000]].concat();
    let bomb = [GET, &entry, &[0xbe; 10_000]].concat();
    let attacks = [
        (
            "headers without end",
            CALM,
            0,
            [&begun[..], &more(&field, 20_000)].concat(),
        ),
        (
            "empty pieces of headers",
            CALM,
            0,
            [&begun[..], &more(b"", 100_000)].concat(),
        ),
        (
            "30 MB of headers in 13 KB",
            CALM,
            0,
            headers(END_STREAM | END_HEADERS, 1, &bomb),
        ),
    ];
    check(limits(), &attacks).await;
}

#[tokio::test]
async fn hostile_frames() {
    let asking = |stream| headers(END_HEADERS, stream, GET);
    let reset = |stream| {
        let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        [asking(stream), reset].concat()
    };
    let data = frame(DATA, 0, 1, b"").repeat(20_000);
    let window = frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes());
    let attacks = [
        (
            "requests, each reset at once",
            CALM,
            100,
            each_stream(10_000, reset),
        ),
        (
            "more streams than may be",
            None,
            1_000,
            each_stream(1_000, asking),
        ),
        ("empty data", CALM, 1, [asking(1), data].concat()),
        (
            "a window that overflows",
            FLOW_CONTROL,
            1,
            [asking(1), window].concat(),
        ),
        (
            "a frame of 16 MB",
            FRAME_SIZE,
            0,
            framed(0xff_ffff, DATA, 0, 1, b"x"),
        ),
        ("pings", None, 0, frame(PING, 0, 0, &[0; 8]).repeat(20_000)),
        (
            "settings",
            None,
            0,
            frame(SETTINGS, 0, 0, b"").repeat(20_000),
        ),
        ("garbage", FRAME_SIZE, 0, vec![0xa5; 100_000]),
        ("nothing", None, 0, Vec::new()),
    ];
    check(limits(), &attacks).await;
}
