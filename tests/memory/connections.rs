//! Producers over connections of their own: what the connections hold beside the bodies.

use super::cost;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Response, StatusCode};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use twinroute_listen::{
    ContentEncoding, HttpLimits, ListenAddress, ListeningSocket, ServerBody, SocketSettings,
    inflate, read_body_within, serve,
};

/// At a time; both ends of each are in this process.
const CONNECTIONS: usize = 400;

/// What a connection takes beside what is counted: a buffer, its tasks, and its client.
const CONNECTION_BYTES_MAX: usize = 40 << 10;

pub(crate) async fn attack() {
    let mut limits = HttpLimits::default();
    limits.body_bytes_max.0 = 1 << 20;
    limits.bodies_bytes_max.0 = 24 << 20;
    let spaces = vec![b' '; 1 << 20];
    let mut noise = vec![0; 700 << 10];
    fastrand::Rng::with_seed(7).fill(&mut noise);
    for (name, encoding, body) in [
        ("gzip bombs", "gzip", gzip(&spaces)),
        ("gzip that saves nothing", "gzip", gzip(&noise)),
        ("bodies as they are", "identity", noise.clone()),
    ] {
        let name = format!(
            "producer: {CONNECTIONS} connections with {name}, {} bytes each",
            body.len()
        );
        let bytes_max = usize::try_from(limits.bodies_bytes_max.as_u64()).unwrap();
        let bytes_max = bytes_max + CONNECTIONS * CONNECTION_BYTES_MAX;
        cost(&name, bytes_max, post_all(&limits, encoding, body.into())).await;
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// All of them send all but the last byte, and then that.
async fn post_all(limits: &HttpLimits, encoding: &str, body: Bytes) {
    let address = ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = ListeningSocket::bind(&address, &SocketSettings::default()).unwrap();
    let ListenAddress::Tcp(address) = *listener.address() else {
        unreachable!("it was bound to TCP");
    };
    let limits = limits.clone();
    let serving = tokio::spawn(async move { serve_bodies(listener, &limits).await });
    let head = format!(
        "POST / HTTP/1.1\r\nhost: t\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (head, barrier) = (Arc::new(head), Arc::new(Barrier::new(CONNECTIONS)));
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (head, body, barrier) = (Arc::clone(&head), body.clone(), Arc::clone(&barrier));
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // Whoever is refused early cannot send all.
            drop(stream.write_all(head.as_bytes()).await);
            let (last, first) = body.split_last().unwrap();
            drop(stream.write_all(first).await);
            barrier.wait().await;
            drop(stream.write_all(&[*last]).await);
            let mut answer = [0; 64];
            drop(stream.read(&mut answer).await);
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    serving.abort();
}

/// Reads and inflates bodies as every server of ours does.
async fn serve_bodies(listener: ListeningSocket, limits: &HttpLimits) {
    let bodies = Arc::new(limits.budget());
    let (bytes_max, timeout) = (limits.body_bytes(), limits.body_read_timeout);
    let service = move |request: http::Request<_>, _| {
        let bodies = Arc::clone(&bodies);
        async move {
            let encoding = ContentEncoding::of(request.headers()).unwrap();
            let mut hold = bodies.hold();
            let read = read_body_within(request.into_body(), bytes_max, timeout, &mut hold).await;
            let inflated = match read {
                Ok(body) => inflate(encoding, body, bytes_max, &mut hold).await.ok(),
                Err(_) => None,
            };
            // Held as a request holds it while its events are read.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            let mut response = Response::new(ServerBody::default());
            if inflated.is_none() {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        }
    };
    serve(vec![listener], limits, service, std::future::pending()).await;
}
