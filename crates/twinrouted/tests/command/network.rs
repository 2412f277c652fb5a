//! From which networks an instance is reached, while clients keep their connections open.

use crate::harness::{PATIENCE, TestDaemon, address, exchange, scene, text, with_config, write};
use crate::session::{CommandSession, emulator, fill};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use twinroute_emulator::RunningEmulator;

const CONNECTION: &str = "plant-net";

fn managed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "twinroute.toml",
        "instance = 'plant'\nshutdown_grace = '0s'\n[table]\nsource = 'store'\n\
         [ingress]\nlisten = ['127.0.0.1:0']\n\
         [[ingress.private]]\nlisten = ['127.0.0.1:0']\nconnection = 'plant-net'\n\
         [admin]\nlisten = ['127.0.0.1:0']\n[management]\nlisten = ['127.0.0.1:0']\n\
         [[management.private]]\nlisten = ['127.0.0.1:0']\ninstance = 'plant'\nconnection = 'plant-net'\n\
         [log]\nformat = 'json'\n",
    );
    folder
}

/// Where the private listener of a server is; its log line begins so.
fn private(daemon: &TestDaemon, what: &str) -> String {
    let part = format!("{what} over a private endpoint connection");
    let line = daemon.seen.iter().find(|line| line.contains(&part));
    address(line.unwrap())
}

/// One open connection to the ingress.
enum OpenConnection {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl OpenConnection {
    async fn one(address: &str) -> Self {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self::One(sender)
    }

    async fn two(address: &str) -> Self {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let shaken = http2::handshake(TokioExecutor::new(), stream).await;
        let (sender, connection) = shaken.unwrap();
        tokio::spawn(connection);
        Self::Two(sender)
    }

    /// Posts one event over this connection and no other: the status and the code of a refusal.
    async fn post(&mut self, id: usize) -> (u16, String) {
        self.post_to("/events", id).await
    }

    async fn post_to(&mut self, path: &str, id: usize) -> (u16, String) {
        let event = format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t"}}"#);
        let request = hyper::Request::post(format!("http://localhost{path}"))
            .header("host", "localhost")
            .header("content-type", "application/cloudevents+json")
            .body(Full::from(event))
            .unwrap();
        let answer = match self {
            Self::One(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await
            }
            Self::Two(sender) => sender.send_request(request).await,
        };
        let (head, body) = answer.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        // What is accepted has no body; a refusal says why.
        if head.status == 202 {
            assert!(body.is_empty(), "{body:?}");
            return (202, String::new());
        }
        let json: Value = serde_json::from_slice(&body).unwrap();
        let code = json["error"]["code"].as_str().unwrap_or_default();
        (head.status.as_u16(), code.to_owned())
    }
}

/// Connections that stay open from the first change to the last: two to the public listener, two to the
/// private one.
struct OpenConnections {
    lines: Vec<OpenConnection>,
    ids: Arc<AtomicUsize>,
    accepted: Vec<usize>,
}

impl OpenConnections {
    async fn open(public: &str, private: &str) -> Self {
        let lines = vec![
            OpenConnection::one(public).await,
            OpenConnection::two(public).await,
            OpenConnection::one(private).await,
            OpenConnection::two(private).await,
        ];
        Self {
            lines,
            ids: Arc::default(),
            accepted: Vec::new(),
        }
    }

    async fn check(&mut self, after: &str, expect: [u16; 2]) {
        for (position, line) in self.lines.iter_mut().enumerate() {
            let id = self.ids.fetch_add(1, Ordering::Relaxed);
            let (status, code) = line.post(id).await;
            let expect = expect[position / 2];
            assert_eq!(
                status, expect,
                "connection {position} after {after}: {code}"
            );
            match (status, position / 2) {
                (202, _) => self.accepted.push(id),
                (_, 0) => assert_eq!(code, "PublicNetworkAccessDisabled"),
                (_, _) => assert_eq!(code, "PrivateEndpointConnectionNotApproved"),
            }
        }
    }
}

/// Posts over one HTTP/2 connection, whatever is answered, until it is told to stop: the ids that were accepted.
/// Some hundred a second, so that what is accepted arrives within the time of a test.
async fn flood(address: String, ids: Arc<AtomicUsize>, stop: Arc<AtomicBool>) -> Vec<usize> {
    let mut line = OpenConnection::two(&address).await;
    let mut accepted = Vec::new();
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let id = ids.fetch_add(1, Ordering::Relaxed);
        match line.post(id).await.0 {
            202 => accepted.push(id),
            status => assert_eq!(status, 403),
        }
    }
    accepted
}

#[test]
fn changes_act_on_open_connections_and_what_was_accepted_arrives() {
    let runtime = Runtime::new().unwrap();
    let emulator = emulator(&runtime);
    let folder = managed();
    let session = CommandSession::start(folder.path());
    fill(&session, &emulator);
    let public = session.daemon.ingress.clone();
    let private = private(&session.daemon, "accepts events");
    let mut lines = runtime.block_on(OpenConnections::open(&public, &private));
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = [&public, &private]
        .map(|address| flood(address.clone(), Arc::clone(&lines.ids), Arc::clone(&stop)))
        .map(|flood| runtime.spawn(flood))
        .into();
    for (words, expect) in [
        ("instance show", [202, 403]),
        ("private-endpoint create --cn plant-net", [202, 403]),
        ("private-endpoint approve --cn plant-net", [202, 202]),
        ("instance update --pna disabled", [403, 202]),
        ("private-endpoint reject --cn plant-net", [403, 403]),
        ("private-endpoint approve --cn plant-net", [403, 202]),
        ("private-endpoint reject --cn plant-net", [403, 403]),
        ("instance update --pna enabled", [202, 403]),
        ("private-endpoint approve --cn plant-net", [202, 202]),
        ("private-endpoint delete --cn plant-net", [202, 403]),
    ] {
        session.said(&words.split(' ').collect::<Vec<_>>());
        runtime.block_on(lines.check(words, expect));
    }
    stop.store(true, Ordering::Relaxed);
    let mut accepted = lines.accepted;
    for flood in floods {
        accepted.extend(runtime.block_on(flood).unwrap());
    }
    arrived(&runtime, &emulator, accepted);
}

/// Holds what was accepted against what arrived: no more and no less.
fn arrived(runtime: &Runtime, emulator: &RunningEmulator, mut accepted: Vec<usize>) {
    let count = accepted.len() as u64;
    let arrived = emulator.event_grid().wait_for("grid", count, PATIENCE);
    runtime.block_on(arrived).unwrap();
    let events = emulator.event_grid().events("grid");
    let mut found: Vec<usize> = events.iter().map(|event| id(event.text())).collect();
    accepted.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, accepted);
}

fn id(event: &str) -> usize {
    let event: Value = serde_json::from_str(event).unwrap();
    event["id"].as_str().unwrap().parse().unwrap()
}

fn get(address: &str, path: &str) -> (String, String) {
    let answer = exchange(
        address,
        &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"),
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().to_owned();
    (status, body.to_owned())
}

#[test]
fn event_routes_follow_the_instance_and_management_stays_open() {
    let folder = managed();
    let session = CommandSession::start(folder.path());
    session.said(&["instance", "create", "-n", "plant"]);
    let public = session.url.trim_start_matches("http://").to_owned();
    let private = private(&session.daemon, "answers as the management API");
    let routes = |address: &str| get(address, "/eventroutes?api-version=2023-10-31");
    let instances = |address: &str| {
        let subscription = "00000000-0000-0000-0000-000000000000";
        let path = format!(
            "/subscriptions/{subscription}/providers/Microsoft.DigitalTwins/digitalTwinsInstances\
             ?api-version=2023-01-31"
        );
        get(address, &path).0
    };
    assert_eq!(routes(&public).0, "200");
    let (status, body) = routes(&private);
    assert_eq!(status, "403");
    let error: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        error,
        json!({ "error": { "code": "PrivateEndpointConnectionNotApproved", "message":
            "private endpoint connection plant/plant-net is not there (status: none): this listener answers once \
             it is Approved; make it and approve it: twinroute private-endpoint create --dt-name plant \
             --connection-name plant-net, then twinroute private-endpoint approve --dt-name plant \
             --connection-name plant-net" } })
    );
    session.said(&["instance", "update", "--pna", "disabled"]);
    assert_eq!(routes(&public).0, "403");
    for step in ["create", "approve"] {
        session.said(&["private-endpoint", step, "--cn", CONNECTION]);
    }
    assert_eq!(
        (routes(&public).0, routes(&private).0),
        ("403".into(), "200".into())
    );
    let error = session.refused(&["route", "list"]);
    assert!(
        error.contains("PublicNetworkAccessDisabled (403)"),
        "{error}"
    );
    session.said(&["private-endpoint", "reject", "--cn", CONNECTION]);
    for address in [&public, &private] {
        assert_eq!(
            (routes(address).0, instances(address)),
            ("403".into(), "200".into())
        );
    }
    assert_eq!(get(&session.daemon.admin, "/status").0, "200");
}

/// A definition in files of the connection that the private listener stands for.
fn decided(folder: &Path, public: &str, status: &str) {
    let state = json!({ "status": status, "description": "" });
    let connection = json!({ "name": CONNECTION,
        "properties": { "privateLinkServiceConnectionState": state } });
    let instance = json!({ "properties": {
        "publicNetworkAccess": public, "privateEndpointConnections": [connection] } });
    write(folder, "table/instance.json", &instance.to_string());
}

#[test]
fn files_say_it_too() {
    let folder = scene();
    let config = std::fs::read_to_string(folder.path().join("twinroute.toml")).unwrap();
    let private_listener =
        "[[ingress.private]]\nlisten = ['127.0.0.1:0']\nconnection = 'plant-net'\n";
    write(
        folder.path(),
        "twinroute.toml",
        &format!("{config}{private_listener}"),
    );
    let output = with_config("validate", folder.path());
    assert_eq!(output.status.code(), Some(0));
    let expect = "warning: [ingress]: no definition names the private endpoint connection \
                  demo/plant-net, so its listeners answer nobody\n";
    let warnings = text(&output.stderr);
    assert!(warnings.contains(expect), "{warnings}");
    decided(folder.path(), "Disabled", "Approved");
    let warnings = text(&with_config("validate", folder.path()).stderr);
    assert!(
        !warnings.contains("private endpoint connection"),
        "{warnings}"
    );

    let runtime = Runtime::new().unwrap();
    let mut daemon = TestDaemon::start(folder.path());
    let private = private(&daemon, "accepts events");
    let mut lines = runtime.block_on(OpenConnections::open(&daemon.ingress, &private));
    runtime.block_on(lines.check("the start", [403, 202]));
    decided(folder.path(), "Enabled", "Rejected");
    daemon.line("instances are reached has changed");
    runtime.block_on(lines.check("the change", [202, 403]));
}

#[test]
fn addresses_that_a_rule_rejects_get_no_connection() {
    let folder = scene();
    let config = std::fs::read_to_string(folder.path().join("twinroute.toml")).unwrap();
    let rules =
        "[ingress]\nip_rules = [{ name = 'nobody', action = 'reject', ip_mask = '127.0.0.0/8' }]\n";
    let config = config.replace("[ingress]\n", rules);
    write(folder.path(), "twinroute.toml", &config);
    let mut daemon = TestDaemon::start(folder.path());
    let runtime = Runtime::new().unwrap();
    let asked = runtime.block_on(async {
        let mut stream = TcpStream::connect(&daemon.ingress).await.unwrap();
        // It may be closed before this is written, or after.
        drop(stream.write_all(b"POST /events HTTP/1.1\r\n\r\n").await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        answer
    });
    assert_eq!(text(&asked), "");
    let line = daemon.line("connections are closed by ip_rules");
    assert!(line.contains("\"rule\":\"nobody\""), "{line}");
    let metrics = daemon.metrics();
    let count = "twinroute_connections_rejected_total{server=\"ingress\",rule=\"nobody\"} 1";
    assert!(metrics.contains(count), "{metrics}");
}

#[test]
fn what_a_caller_may_not_send_is_counted_by_its_name() {
    let folder = scene();
    let config = std::fs::read_to_string(folder.path().join("twinroute.toml")).unwrap();
    let caller =
        "[[ingress.callers]]\nname = 'press-7'\nkeys = ['b2xk']\nsources = ['urn:press-7']\n";
    write(
        folder.path(),
        "twinroute.toml",
        &format!("{config}{caller}"),
    );
    let daemon = TestDaemon::start(folder.path());
    let (status, _) = Runtime::new().unwrap().block_on(async {
        let mut line = OpenConnection::one(&daemon.ingress).await;
        line.post_to("/events?aeg-sas-key=b2xk", 1).await
    });
    assert_eq!(status, 403);
    let metrics = daemon.metrics();
    let count = "twinroute_ingress_refused_total{caller=\"press-7\",reason=\"source\"} 1";
    assert!(
        metrics.contains(count) && !metrics.contains("b2xk"),
        "{metrics}"
    );
}
