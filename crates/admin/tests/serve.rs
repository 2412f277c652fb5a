//! The operational API over real sockets, asked with its own client and with raw requests.
#![allow(clippy::unwrap_used, reason = "test code")]

use expect_test::expect;
use futures_util::future::{BoxFuture, FutureExt as _};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use twinroute_admin::client::{Answer, get};
use twinroute_admin::{Admin, Metrics};
use twinroute_listen::{Address, Limits, Listener, SocketSettings};
use twinroute_router::Router;
use twinroute_router::sink::{BatchLimits, Delivery, Outcome, Sink};

const SECOND: Duration = Duration::from_secs(1);

struct Nowhere;

impl Sink for Nowhere {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 1,
            bytes_max: 1,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<Outcome>> {
        async move { batch.iter().map(|_| Outcome::Delivered).collect() }.boxed()
    }
}

struct Server {
    router: Router,
    address: Address,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

fn start(address: &str, metrics: Metrics) -> Server {
    let router = Router::builder()
        .sink("nowhere", Nowhere)
        .route("all", "nowhere", "true");
    let router = router.build().unwrap();
    let listener = Listener::bind(&address.parse().unwrap(), &SocketSettings::default()).unwrap();
    let address = listener.address().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let admin = Admin::new(router.clone(), metrics);
    let task = tokio::spawn(async move {
        let stopped = async { stopped.await.unwrap_or_default() };
        admin
            .serve(vec![listener], &Limits::default(), stopped)
            .await;
    });
    Server {
        router,
        address,
        stop,
        task,
    }
}

impl Server {
    async fn get(&self, path: &str) -> Answer {
        get(&self.address, path, SECOND).await.unwrap()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn health_follows_the_router() {
    let server = start("127.0.0.1:0", Metrics::none());
    let answer = |status, body: &str| Answer {
        status,
        body: body.to_owned(),
    };
    assert_eq!(server.get("/livez").await, answer(200, "ok\n"));
    let ready = "{\"ready\":true,\"reason\":\"\"}\n";
    assert_eq!(server.get("/readyz").await, answer(200, ready));
    server.router.stop(SECOND).await;
    let stopped = server.get("/readyz").await;
    expect![[r#"
        503 {"ready":false,"reason":"stopping"}
    "#]]
    .assert_eq(&format!("{} {}", stopped.status, stopped.body));
    assert_eq!(server.get("/livez").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn the_status_is_the_routers() {
    let server = start("127.0.0.1:0", Metrics::none());
    let status = server.get("/status").await;
    let json: serde_json::Value = serde_json::from_str(&status.body).unwrap();
    assert_eq!(json["instances"][0]["endpoints"][0]["name"], "nowhere");
    assert_eq!(json["instances"][0]["routes"][0]["filter"], "true");
    let pretty = server.get("/status?pretty").await.body;
    assert!(pretty.starts_with("{\n  \"version\": "), "{pretty}");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&pretty).unwrap()["table"],
        json["table"]
    );
    server.stop().await;
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let server = start("127.0.0.1:0", Metrics::install().unwrap());
    metrics::counter!("twinroute_test_total", "kind" => "a").increment(3);
    let text = server.get("/metrics").await.body;
    assert!(
        text.contains("twinroute_test_total{kind=\"a\"} 3\n"),
        "{text}"
    );
    let again = Metrics::install().err().unwrap();
    assert_eq!(again.to_string(), "cannot install the metrics recorder");
    server.stop().await;
}

#[tokio::test]
async fn what_there_is_and_what_there_is_not() {
    let server = start("127.0.0.1:0", Metrics::none());
    expect![[r#"
        twinroute, operational API

        GET /livez    200 while the process runs
        GET /readyz   200 while events are accepted, else 503 and why not
        GET /status   the router: table, journal, every endpoint and route (JSON; ?pretty)
        GET /metrics  counters (Prometheus text)
    "#]]
    .assert_eq(&server.get("/").await.body);
    let unknown = server.get("/stats").await;
    expect![[r#"404 {"error":{"code":"UnknownPath","message":"no such path; GET / lists what there is"}}"#]].assert_eq(&format!("{} {}", unknown.status, unknown.body));
    let Address::Tcp(address) = &server.address else {
        panic!("a TCP server");
    };
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"POST /status HTTP/1.1\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    drop(stream);
    let lines = answer.lines().filter(|line| !line.starts_with("date: "));
    expect![[r#"
        HTTP/1.1 405 Method Not Allowed
        content-type: application/json
        allow: GET, HEAD
        connection: close
        content-length: 82

        {"error":{"code":"MethodNotAllowed","message":"only GET and HEAD are taken here"}}"#]]
    .assert_eq(&lines.collect::<Vec<_>>().join("\n"));
    server.stop().await;
}

#[tokio::test]
async fn unix_sockets_serve_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(
        &format!("unix:{}", folder.path().join("a.sock").display()),
        Metrics::none(),
    );
    assert_eq!(server.get("/livez").await.body, "ok\n");
    server.stop().await;
}

#[tokio::test]
async fn the_client_says_why_there_is_no_answer() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(silent.local_addr().unwrap());
    let error = get(&address, "/", Duration::from_millis(20))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("ask {address}: no answer within 20 ms")
    );
    drop(silent);
    let error = get(&address, "/", SECOND).await.unwrap_err();
    assert_eq!(error.to_string(), format!("ask {address}: connect"));
}
