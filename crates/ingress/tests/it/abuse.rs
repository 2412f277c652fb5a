//! Who means harm: requests that are made to confuse, to fill memory or to hold a connection, each with the
//! limit that held. After each the server takes a plain event as ever.

use super::{EVENT, TestServer, post, start};
use expect_test::{Expect, expect};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use twinroute_listen::ListenAddress;

/// Longer than any answer takes here.
const PATIENCE: Duration = Duration::from_secs(20);

const TYPE: &str = "content-type: application/cloudevents+json";
const BATCH: &str = "content-type: application/cloudevents-batch+json";

/// An event of its own in a request that somebody smuggles.
const INNER: &str = r#"{"specversion":"1.0","id":"smuggled","source":"s","type":"t"}"#;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A request for one event with more headers and a body; no length unless a header tells it.
fn request(headers: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let headers = headers.join("\r\n");
    let head = format!("POST /events HTTP/1.1\r\nhost: h\r\n{TYPE}\r\n{headers}\r\n\r\n");
    [head.as_bytes(), body.as_ref()].concat()
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

async fn connect(server: &TestServer) -> TcpStream {
    let ListenAddress::Tcp(address) = &server.address else {
        panic!("a TCP server");
    };
    TcpStream::connect(address).await.unwrap()
}

/// The status and codes of all answers until the server closes, which it does soon when nothing more is
/// asked; `-` for none.
async fn answers(server: &TestServer, request: &[u8]) -> String {
    let mut stream = connect(server).await;
    // The server may have heard enough before it all was sent.
    drop(stream.write_all(request).await);
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    drop(read.expect("the server closes"));
    let text = String::from_utf8_lossy(&answer).into_owned();
    let lines = text.lines().filter(|line| line.starts_with("HTTP/1.1 "));
    let codes = text.split("\"code\":\"").skip(1);
    let codes: Vec<&str> = codes.filter_map(|rest| rest.split('"').next()).collect();
    let statuses: Vec<&str> = lines.map(|line| &line[9..12]).collect();
    match statuses.is_empty() {
        true => "-".to_owned(),
        false => [statuses, codes].concat().join(" "),
    }
}

/// What became of each attack, and which events were taken; then a plain event, which must be.
async fn check(limits: &str, attacks: &[(&str, Vec<u8>)], expect: Expect) {
    let mut table = String::new();
    let toml = format!("[limits]\nkeep_alive_timeout = \"200ms\"\n{limits}");
    for (name, request) in attacks {
        let server = start(&toml);
        let answer = answers(&server, request).await;
        server.router.settled().await;
        let taken = server.seen.ids.lock().unwrap().clone();
        table.push_str(&format!("{name}: {answer}, took {taken:?}\n"));
        let plain = server.raw(post("/events", TYPE, EVENT).as_bytes()).await;
        assert!(plain.starts_with("HTTP/1.1 202"), "{name}: {plain}");
        server.stop().await;
    }
    expect.assert_eq(&table);
}

/// Where a request ends must not depend on who reads it: what a proxy in front takes for a body is never
/// read as a request of its own.
#[tokio::test]
async fn smuggled_requests() {
    let inner = post("/events", TYPE, INNER);
    let tail = format!("{}{inner}", chunked(EVENT));
    let coding = "transfer-encoding: chunked";
    let length = format!("content-length: {}", tail.len());
    let both = |first: &str, second: &str| request(&[first, second], &tail);
    let coded = |header: &str| request(&[header], &tail);
    let plain = |header: &str| request(&[header], format!("{EVENT}{inner}"));
    let chunk = |size: &str| request(&[coding], format!("{size}\r\n{EVENT}\r\n0\r\n\r\n{inner}"));
    let attacks = [
        ("length, then chunked", both(&length, coding)),
        ("chunked, then length", both(coding, &length)),
        (
            "other coding last",
            coded("transfer-encoding: chunked, identity"),
        ),
        (
            "coding of another name",
            coded("transfer-encoding: xchunked"),
        ),
        ("coding with a tab", coded("transfer-encoding:\x0bchunked")),
        ("chunk size overflows", chunk("fffffffffffffffff")),
        ("chunk longer than it says", chunk("2")),
        (
            "two lengths",
            plain("content-length: 5\r\ncontent-length: 6"),
        ),
        ("length with a sign", plain("content-length: +54")),
        ("length in hexadecimal", plain("content-length: 0x36")),
        ("lengths in a list", plain("content-length: 54, 5")),
        (
            "length overflows",
            plain("content-length: 99999999999999999999"),
        ),
        ("space before the colon", plain("content-length : 54")),
        ("header in two lines", plain("x: a\r\n content-length: 54")),
        ("null in a header", plain("x: a\0b\r\ncontent-length: 54")),
        // RFC 9112 §2.2 lets a recipient take it for a line's end.
        ("bare line feed", plain("x: a\ncontent-length: 54")),
    ];
    check(
        "",
        &attacks,
        expect![[r#"
            length, then chunked: 202, took ["1"]
            chunked, then length: 202, took ["1"]
            other coding last: 400, took []
            coding of another name: 400, took []
            coding with a tab: 400, took []
            chunk size overflows: 400 BodyBroken, took []
            chunk longer than it says: 400 BodyBroken, took []
            two lengths: 400, took []
            length with a sign: 400, took []
            length in hexadecimal: 400, took []
            lengths in a list: 400, took []
            length overflows: 400, took []
            space before the colon: 400, took []
            header in two lines: 400, took []
            null in a header: 400, took []
            bare line feed: 202 202, took ["1", "smuggled"]
        "#]],
    )
    .await;
}

#[tokio::test]
async fn requests_that_are_too_large() {
    let limits = "body_bytes_max = \"2 MiB\"";
    let long = "x".repeat(40 << 10);
    let many: Vec<String> = (0..200).map(|number| format!("x-{number}: 1")).collect();
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let zip = |body: Vec<u8>| {
        let length = format!("content-length: {}", body.len());
        request(&["content-encoding: gzip", &length], body)
    };
    let coding = ["transfer-encoding: chunked"];
    let endless = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(40);
    let extension = format!("1;{}\r\n{{\r\n", "x".repeat(20 << 10)).repeat(8);
    let attacks = [
        (
            "long path",
            format!("POST /{long} HTTP/1.1\r\n\r\n").into_bytes(),
        ),
        ("long header", request(&[&format!("x: {long}")], "")),
        ("many headers", request(&[&many.join("\r\n")], "")),
        (
            "4 GB announced",
            request(&["content-length: 4000000000"], "{"),
        ),
        ("chunks that never end", request(&coding, endless)),
        ("long extensions of chunks", request(&coding, extension)),
        ("64 MiB in 64 KiB of gzip", zip(bomb)),
        ("gzip in gzip", zip(gzip(&gzip(EVENT.as_bytes())))),
        ("an event in gzip", zip(gzip(EVENT.as_bytes()))),
    ];
    check(
        limits,
        &attacks,
        expect![[r#"
            long path: 431, took []
            long header: 431, took []
            many headers: 431, took []
            4 GB announced: 413 BodyTooLarge, took []
            chunks that never end: 413 BodyTooLarge, took []
            long extensions of chunks: 400 BodyBroken, took []
            64 MiB in 64 KiB of gzip: 413 BodyTooLarge, took []
            gzip in gzip: 400 InvalidEvent, took []
            an event in gzip: 202, took ["1"]
        "#]],
    )
    .await;
}

#[tokio::test]
async fn bodies_that_are_costly_to_read() {
    let deep = |open: &str, close: &str| {
        let data = format!("{}{}", open.repeat(100_000), close.repeat(100_000));
        let event =
            format!(r#"{{"specversion":"1.0","id":"deep","source":"s","type":"t","data":{data}}}"#);
        post("/events", TYPE, &event).into_bytes()
    };
    let same: Vec<String> = (0..50_000)
        .map(|number| format!("\"a{number}\":1"))
        .collect();
    let keys = format!(
        r#"{{"specversion":"1.0","id":"keys","source":"s","type":"t",{}}}"#,
        same.join(",")
    );
    let twice = r#"{"specversion":"1.0","id":"a","id":"b","source":"s","type":"t"}"#;
    let number = format!(
        r#"{{"specversion":"1.0","id":"n","source":"s","type":"t","n":1{}}}"#,
        "0".repeat(100_000)
    );
    let batch = format!("[{}]", vec!["{}"; 300_000].join(","));
    let empty = format!("[{}]", vec![EVENT; 6_000].join(","));
    let attacks = [
        ("arrays in arrays, 100,000 deep", deep("[", "]")),
        ("objects in objects, 100,000 deep", deep("{\"a\":", "}")),
        (
            "50,000 attributes",
            post("/events", TYPE, &keys).into_bytes(),
        ),
        (
            "one attribute twice",
            post("/events", TYPE, twice).into_bytes(),
        ),
        (
            "a number of 100,000 digits",
            post("/events", TYPE, &number).into_bytes(),
        ),
        (
            "300,000 events that are none",
            post("/events", BATCH, &batch).into_bytes(),
        ),
        ("6,000 events", post("/events", BATCH, &empty).into_bytes()),
    ];
    check(
        "",
        &attacks,
        expect![[r#"
            arrays in arrays, 100,000 deep: 202, took ["deep"]
            objects in objects, 100,000 deep: 400 InvalidEvent, took []
            50,000 attributes: 400 InvalidEvent, took []
            one attribute twice: 400 InvalidEvent, took []
            a number of 100,000 digits: 400 InvalidEvent, took []
            300,000 events that are none: 400 InvalidEvent, took []
            6,000 events: 413 EventTooLarge, took []
        "#]],
    )
    .await;
}

/// Clients that hold what they get and give nothing: each connection ends at its time, and others are served
/// all the while.
#[tokio::test]
async fn slow_clients_end_at_their_time() {
    const SLOW: usize = 200;
    let server = start(
        "[limits]\nconnections_max = 300\nheader_read_timeout = \"1s\"\nbody_read_timeout = \"1s\"\n\
         keep_alive_timeout = \"1s\"",
    );
    let beginnings = [
        "",
        "POST /ev",
        "POST /events HTTP/1.1\r\nhost: h\r\nx: ",
        "POST /events HTTP/1.1\r\nhost: h\r\ncontent-type: application/cloudevents+json\r\n\
         content-length: 100\r\n\r\n{",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    let mut slow = Vec::new();
    for number in 0..SLOW {
        let mut stream = connect(&server).await;
        let beginning = beginnings[number % beginnings.len()];
        stream.write_all(beginning.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let plain = server.raw(post("/events", TYPE, EVENT).as_bytes()).await;
    assert!(plain.starts_with("HTTP/1.1 202"), "{plain}");
    for mut stream in slow {
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        drop(ended.expect("the server ends it"));
    }
    server.stop().await;
}

/// Connections that come faster than they go: as many are served as may be, the rest wait in the backlog or
/// are refused by the system, and none of it outlives the flood.
#[tokio::test]
async fn a_flood_of_connections_passes() {
    const AT_A_TIME: usize = 64;
    // A million take minutes: TWINROUTE_TEST_CONNECTIONS=1000000.
    let flood = std::env::var("TWINROUTE_TEST_CONNECTIONS");
    let flood = flood.map_or(5_000, |number| number.parse().unwrap());
    let server = start("[limits]\nconnections_max = 100");
    let ListenAddress::Tcp(address) = server.address.clone() else {
        panic!("a TCP server");
    };
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..AT_A_TIME {
        tasks.spawn(async move {
            let mut open = 0;
            for _ in 0..flood / AT_A_TIME {
                // Refused ones are part of it.
                open += usize::from(TcpStream::connect(address).await.is_ok());
            }
            open
        });
    }
    let opened: usize = tasks.join_all().await.into_iter().sum();
    assert!(opened > flood / 2, "{opened}");
    let plain = server.raw(post("/events", TYPE, EVENT).as_bytes()).await;
    assert!(plain.starts_with("HTTP/1.1 202"), "{plain}");
    server.stop().await;
}
