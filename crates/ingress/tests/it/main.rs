//! The ingress over real sockets, with requests as bytes.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod any_bytes;
mod cloudevents;
mod credentials;
mod event_grid;
mod refusals;
mod webhook;

use expect_test::Expect;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use twinroute_ingress::stub::Router;
use twinroute_ingress::{Ingress, Settings};
use twinroute_listen::{Address, Listener};
use twinroute_model::clock::{ManualClock, Timestamp};
use twinroute_router::accept::{AcceptError, Accepted};

/// 2023-11-14T22:13:20Z.
const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);

/// A CloudEvent that breaks no rule.
const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;

/// What reached the router: instance, events and level as text.
type Taken = Arc<Mutex<Vec<String>>>;

struct Server {
    address: Address,
    taken: Taken,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

/// Starts a server with settings in TOML; the router answers `refusal`, or accepts when there is none.
fn start(toml: &str, refusal: Option<AcceptError>) -> Server {
    let mut settings: Settings = toml::from_str(toml).unwrap();
    settings.listen = vec!["127.0.0.1:0".parse().unwrap()];
    settings.check().unwrap();
    let listeners = Listener::bind_all(&settings.listen, &settings.sockets()).unwrap();
    let address = listeners[0].address().clone();
    let taken = Taken::default();
    let noted = Arc::clone(&taken);
    let router = Router::new(move |instance, events, level| {
        if let Some(refusal) = &refusal {
            return Err(refusal.clone());
        }
        let ids: Vec<&str> = events.iter().map(|event| event.id()).collect();
        let instance = instance.unwrap_or("default");
        noted
            .lock()
            .unwrap()
            .push(format!("{instance} {ids:?} {}", level.as_str()));
        Ok(Accepted {
            events: events.len(),
            deliveries: 0,
            unmatched: events.len(),
            generation: 7,
        })
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let ingress = Ingress::new(&settings, router, Arc::new(ManualClock::new(NOW)));
    let task = tokio::spawn(async move {
        ingress
            .serve(listeners, async { stopped.await.unwrap_or_default() })
            .await;
    });
    Server {
        address,
        taken,
        stop,
        task,
    }
}

impl Server {
    /// Sends bytes, reads until the server closes.
    async fn raw(&self, request: &[u8]) -> String {
        let Address::Tcp(address) = &self.address else {
            panic!("a TCP server");
        };
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let text = String::from_utf8(answer).unwrap();
        let dull = |line: &&str| !line.starts_with("date: ") && *line != "connection: close";
        text.lines().filter(dull).collect::<Vec<_>>().join("\n")
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// A POST that closes the connection.
fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The answer to `request`, and what reached the router.
async fn check_with(toml: &str, refusal: Option<AcceptError>, request: &str, expect: Expect) {
    let server = start(toml, refusal);
    let answer = server.raw(request.as_bytes()).await;
    let taken = server.taken.lock().unwrap().join("\n");
    let taken = if taken.is_empty() {
        "nothing".to_owned()
    } else {
        taken
    };
    expect.assert_eq(&format!("{answer}\n=> {taken}\n"));
    server.stop().await;
}

async fn check(request: &str, expect: Expect) {
    check_with("", None, request, expect).await;
}
