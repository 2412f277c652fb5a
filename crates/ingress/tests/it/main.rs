//! The ingress over real sockets, with requests as bytes.
#![allow(clippy::unwrap_used, reason = "test code")]

mod abuse;
mod access;
mod ack;
mod answers;
mod any_bytes;
mod callers;
mod cloudevents;
mod credentials;
mod event_grid;
mod network;
mod notifications;
mod overload;
mod refusals;
mod traces;
mod webhook;

use expect_test::Expect;
use futures_util::future::{BoxFuture, FutureExt as _};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use twinroute_ingress::{IngressServer, Settings};
use twinroute_listen::access::AccessGate;
use twinroute_listen::{InstanceNetworks, ListenAddress, ListeningSocket, ServerTls};
use twinroute_model::clock::{ManualClock, Timestamp};
use twinroute_model::instance::Instance;
use twinroute_model::name::InstanceName;
use twinroute_router::Router;
use twinroute_router::RouterBuilder;
use twinroute_router::sink::{BatchLimits, Delivery, DeliveryOutcome, Sink};
use twinroute_router::source::Definitions;

/// 2023-11-14T22:13:20Z.
const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);

/// A CloudEvent that breaks no rule.
const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;

/// Keeps the ids of what a route sends it; while `closed`, answers nothing.
#[derive(Clone, Default)]
struct SeenSink {
    ids: Arc<Mutex<Vec<String>>>,
    closed: bool,
}

impl Sink for SeenSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 10,
            bytes_max: 1 << 20,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        async move {
            if self.closed {
                std::future::pending::<()>().await;
            }
            let ids = batch.iter().map(|delivery| delivery.event.id().to_owned());
            self.ids.lock().unwrap().extend(ids);
            vec![DeliveryOutcome::Delivered; batch.len()]
        }
        .boxed()
    }
}

struct TestServer {
    address: ListenAddress,
    router: Router,
    seen: SeenSink,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

/// Starts a server with settings in TOML. The default instance sends everything to `Seen`; the instance
/// `plant-1` has no routes, so that its events count as unmatched.
fn start(toml: &str) -> TestServer {
    start_with(toml, Router::builder(), SeenSink::default())
}

fn start_with(toml: &str, router: RouterBuilder, seen: SeenSink) -> TestServer {
    start_on(toml, router, seen, None)
}

/// Over TLS, if there is a certificate. The gate is that of the settings.
fn start_on(
    toml: &str,
    router: RouterBuilder,
    seen: SeenSink,
    tls: Option<&ServerTls>,
) -> TestServer {
    let mut settings: Settings = toml::from_str(toml).unwrap();
    settings.listen = vec!["127.0.0.1:0".parse().unwrap()];
    settings.check().unwrap();
    let mut listeners = ListeningSocket::bind_all(&settings.listen, &settings.sockets()).unwrap();
    let address = listeners[0].address().clone();
    if let Some(tls) = tls {
        listeners = listeners
            .into_iter()
            .map(|listener| listener.with_tls(tls))
            .collect();
    }
    let plant = Instance {
        name: InstanceName::new("plant-1").unwrap(),
        endpoints: Vec::new(),
        routes: Vec::new(),
        network: twinroute_model::network::NetworkAccess::default(),
    };
    let definitions = Definitions {
        instances: vec![plant],
        ..Definitions::default()
    };
    let router = router
        .unreadable(settings.unreadable())
        .definitions(definitions)
        .sink("seen", seen.clone())
        .route("all", "seen", "true");
    let router = router.build().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let clock = Arc::new(ManualClock::new(NOW));
    let gate = AccessGate::new(&settings.access, clock.clone(), &access::trust(None)).unwrap();
    let ingress = IngressServer::with_gate(
        &settings,
        router.clone(),
        clock,
        gate,
        InstanceNetworks::default(),
    );
    let task = tokio::spawn(async move {
        ingress
            .serve(listeners, async { stopped.await.unwrap_or_default() })
            .await;
    });
    TestServer {
        address,
        router,
        seen,
        stop,
        task,
    }
}

impl TestServer {
    /// Sends bytes, reads until the server closes.
    async fn raw(&self, request: &[u8]) -> String {
        let ListenAddress::Tcp(address) = &self.address else {
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

/// The answer to `request`, and which events arrived.
async fn check_with(toml: &str, request: &str, expect: Expect) {
    let server = start(toml);
    let answer = server.raw(request.as_bytes()).await;
    server.router.settled().await;
    let seen = format!("{:?}", server.seen.ids.lock().unwrap());
    expect.assert_eq(&format!("{answer}\n=> {seen}\n"));
    server.stop().await;
}

async fn check(request: &str, expect: Expect) {
    check_with("", request, expect).await;
}
