//! Health, status, metrics and the ledger.

use crate::harness::{PATIENCE, ScriptedSink, TestServer, builder, events, rejects};
use expect_test::expect;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use std::time::Duration;
use twinroute_admin::client::{AdminAnswer, AdminClient};
use twinroute_admin::ledger::LedgerReport;
use twinroute_admin::{AdminServer, CertificateReporter, ChangeListeners, MetricsRecorder};
use twinroute_listen::{CertificateEnd, ListenAddress, ListeningSocket, SocketSettings};
use twinroute_model::clock::{Clock as _, ManualClock, Timestamp};
use twinroute_router::Router;
use twinroute_router::sink::{
    BatchLimits, CredentialSlot, CredentialState, DeadLetterDocument, DeadLetterStore, Delivery,
    DeliveryOutcome, EndpointFault, Sink,
};

const SECOND: Duration = Duration::from_secs(1);

fn start(address: &str, metrics: MetricsRecorder) -> TestServer {
    let sink = ScriptedSink::new(DeliveryOutcome::Delivered);
    TestServer::start_at(address, builder(&sink), metrics, ChangeListeners::Local)
}

#[tokio::test]
async fn health_follows_the_router() {
    let server = start("127.0.0.1:0", MetricsRecorder::none());
    let answer = |status, body: &str| AdminAnswer {
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
    let server = start("127.0.0.1:0", MetricsRecorder::none());
    let status = server.get("/status").await;
    let json: serde_json::Value = serde_json::from_str(&status.body).unwrap();
    assert_eq!(json["instances"][0]["endpoints"][0]["name"], "grid-1");
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
    let server = start("127.0.0.1:0", MetricsRecorder::install().unwrap());
    metrics::counter!("twinroute_test_total", "kind" => "a").increment(3);
    let text = server.get("/metrics").await.body;
    assert!(
        text.contains("twinroute_test_total{kind=\"a\"} 3\n"),
        "{text}"
    );
    let again = MetricsRecorder::install().err().unwrap();
    assert_eq!(again.to_string(), "cannot install the metrics recorder");
    server.stop().await;
}

#[tokio::test]
async fn what_there_is_and_what_there_is_not() {
    let server = start("127.0.0.1:0", MetricsRecorder::none());
    expect![[r#"
        twinroute, operational API

        GET    /livez                     200 while the process runs
        GET    /readyz                    200 while events are accepted, else 503 and why not
        GET    /status                    the router: table, journal, every endpoint and route
        GET    /ledger                    what became of all deliveries, per endpoint and in total
        GET    /cluster                   routers that share a log, and who owns which partition
        GET    /tap                       events as they pass, one a line, until you end it: ?instance route endpoint
                                          type twin filter outcome rate sample body
        GET    /metrics                   counters (Prometheus text)
        GET    /log-level                 the filter of the log
        POST   /log-level                 changes it: {"filter":"debug"}; {} goes back to the configured one
        POST   /endpoints/I/E/pause       instance I, endpoint E: sends nothing from here on
        POST   /endpoints/I/E/resume      goes on
        POST   /endpoints/I/E/retry-now   tries now what waits for a moment
        POST   /endpoints/I/E/purge       discards the backlog: {"confirm":"E","dead_letters":false}
        GET    /dead-letters              ?instance endpoint reason since until type filter after most
        GET    /dead-letters/I/E/N        the dead letter with sequence N, and its event
        GET    /dead-letters/export       all of them, one a line; parameters as above
        GET    /history                   ?instance twin id source type route endpoint outcome unmatched since until after most
        GET    /history/export            events alone, page by page; parameters as above
        GET    /history/events            events in full, with what each route decided; parameters as above
        GET    /replays                   replays under way, and the last that ended
        POST   /replays                   replays dead letters: {"query":{"endpoint":"E"}}
        GET    /replays/N                 how replay N goes
        DELETE /replays/N                 ends it

        JSON; ?pretty indents it. POST needs content-type: application/json.
    "#]]
    .assert_eq(&server.get("/").await.body);
    let unknown = server.get("/stats").await;
    expect![[r#"404 {"error":{"code":"UnknownPath","message":"no such path; GET / lists what there is"}}"#]].assert_eq(&format!("{} {}", unknown.status, unknown.body));
    let request = "POST /status HTTP/1.1\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    let answer = server.raw(request).await;
    expect![[r#"
        HTTP/1.1 405 Method Not Allowed
        content-type: application/json
        allow: GET, HEAD
        connection: close
        content-length: 84

        {"error":{"code":"MethodNotAllowed","message":"only GET and HEAD are allowed here"}}"#]]
    .assert_eq(&answer);
    server.stop().await;
}

#[tokio::test]
async fn unix_sockets_serve_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(
        &format!("unix:{}", folder.path().join("a.sock").display()),
        MetricsRecorder::none(),
    );
    assert_eq!(server.get("/livez").await.body, "ok\n");
    server.stop().await;
}

#[tokio::test]
async fn the_client_says_why_there_is_no_answer() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = ListenAddress::Tcp(silent.local_addr().unwrap());
    let error = AdminClient::plain(address.clone())
        .get("/", Duration::from_millis(20))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("ask {address}: no answer within 20 ms")
    );
    drop(silent);
    let error = AdminClient::plain(address.clone())
        .get("/", SECOND)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("ask {address}: connect"));
}

#[tokio::test]
async fn the_ledger_adds_up_in_every_state() {
    let sink = ScriptedSink::new(DeliveryOutcome::Delivered);
    let server = TestServer::start(builder(&sink).route("some", "grid-1", "false"));
    server.accept(events(3)).await;
    sink.tell(rejects());
    server.accept(events(2)).await;
    let handle = server.router.endpoint(None, "grid-1").unwrap();
    handle.pause();
    server.queue(events(4)).await;
    let ledger = server.json("/ledger").await;
    expect![[r#"
        {
          "endpoints": [
            {
              "dead_lettered": {
                "awaiting_upload": 0,
                "local": 2,
                "replayed": 0,
                "uploaded": 0
              },
              "delivered": 3,
              "discarded": {},
              "endpoint": "grid-1",
              "in_flight": 0,
              "instance": "demo",
              "matched": 9,
              "queued": 4,
              "replayed": 0,
              "retrying": 0,
              "unaccounted": 0
            }
          ],
          "equation": "matched + replayed = queued + in_flight + retrying + delivered + dead_lettered + discarded",
          "total": {
            "dead_lettered": {
              "awaiting_upload": 0,
              "local": 2,
              "replayed": 0,
              "uploaded": 0
            },
            "delivered": 3,
            "discarded": {},
            "in_flight": 0,
            "matched": 9,
            "queued": 4,
            "replayed": 0,
            "retrying": 0,
            "unaccounted": 0
          },
          "unmatched": 0
        }"#]].assert_eq(&format!("{ledger:#}"));
    assert_eq!(handle.purge(true).queued, 4);
    let ledger: LedgerReport = serde_json::from_value(server.json("/ledger").await).unwrap();
    let total = &ledger.total;
    assert_eq!(
        (total.discarded["purged"], total.dead_lettered.all()),
        (6, 0)
    );
    assert_eq!((total.matched, total.unaccounted), (9, 0));
    server.stop().await;
}

#[tokio::test]
async fn one_endpoints_surplus_does_not_hide_what_another_lacks() {
    let sink = ScriptedSink::new(DeliveryOutcome::Delivered);
    let server = TestServer::start(builder(&sink));
    server.accept(events(2)).await;
    let mut status = server.router.status();
    let endpoints = &mut status.instances[0].endpoints;
    let mut lacks = endpoints[0].clone();
    "aaa".clone_into(&mut lacks.name);
    lacks.delivered += 1;
    endpoints[0].delivered -= 1;
    endpoints.push(lacks);
    let ledger = LedgerReport::of(&status);
    let rows = ledger.endpoints.iter();
    let rows: Vec<_> = rows
        .map(|row| (row.endpoint.as_str(), row.counts.unaccounted))
        .collect();
    assert_eq!(rows, [("aaa", -1), ("grid-1", 1)]);
    assert_eq!(ledger.total.unaccounted, 2);
    server.stop().await;
}

#[tokio::test]
async fn gauges_tell_how_endpoints_stand() {
    let sink = ScriptedSink::new(rejects());
    let server = TestServer::start(builder(&sink));
    server.accept(events(2)).await;
    let text = server.get("/metrics").await.body;
    let of = "adt_instance=\"demo\",endpoint=\"grid-1\"";
    for line in [
        format!("twinroute_endpoint_state{{{of},state=\"healthy\"}} 1"),
        format!("twinroute_queue_bytes{{{of}}} 0"),
        format!("twinroute_queue_events{{{of}}} 0"),
        format!("twinroute_oldest_age_seconds{{{of}}} 0"),
        format!("twinroute_dead_letters{{{of},where=\"local\"}} 2"),
        format!("twinroute_unaccounted_deliveries{{{of}}} 0"),
        "# TYPE twinroute_endpoint_state gauge".to_owned(),
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} in {text}");
    }
    server.router.endpoint(None, "grid-1").unwrap().pause();
    server.queue(events(1)).await;
    let text = server.get("/metrics").await.body;
    for line in [
        format!("twinroute_endpoint_state{{{of},state=\"paused\"}} 1"),
        format!("twinroute_queue_events{{{of}}} 1"),
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} in {text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_answers_something_else_is_said() {
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = ListenAddress::Tcp(other.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = other.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-x\r\n")
            .await
            .unwrap();
    });
    let error = AdminClient::plain(address.clone())
        .get("/", PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("ask {address}: no answer in HTTP/1.1")
    );
}

/// A store whose credential ends at this time.
struct ExpiringStore(Timestamp);

impl DeadLetterStore for ExpiringStore {
    fn put<'a>(
        &'a self,
        _letter: DeadLetterDocument<'a>,
    ) -> BoxFuture<'a, Result<(), EndpointFault>> {
        ready(Ok(())).boxed()
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.0)
    }
}

#[tokio::test]
async fn a_credential_that_ends_within_a_week_is_warned_about() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let clock = ManualClock::new(Timestamp::parse_rfc3339("2026-11-01T00:00:00Z").unwrap());
    let sink = ScriptedSink::new(DeliveryOutcome::Delivered);
    let store = ExpiringStore(clock.now().after(8 * DAY));
    let router = builder(&sink).dead_letters(store).clock(clock.clone());
    let server = TestServer::start(router);
    let warnings = async || server.json("/status").await["warnings"].clone();
    assert_eq!(warnings().await, serde_json::json!([]));
    clock.advance(DAY);
    assert_eq!(warnings().await, serde_json::json!([]), "7 days are left");
    clock.advance(Duration::from_secs(1));
    let expect = |ends| {
        serde_json::json!([format!(
            "endpoint demo/grid-1: the credential of its dead-letter container {ends} at \
             2026-11-09T00:00:00Z; put a new SAS into the definition"
        )])
    };
    assert_eq!(warnings().await, expect("ends"));
    let expiry = format!(
        "twinroute_dead_letter_credential_expiry_timestamp_seconds{{adt_instance=\"demo\",endpoint=\"grid-1\"}} {}\n",
        1_794_182_400
    );
    let metrics = server.get("/metrics").await.body;
    assert!(metrics.contains(&expiry), "{metrics}");
    clock.advance(7 * DAY);
    assert_eq!(warnings().await, expect("ended"));
    server.stop().await;
}

/// A sink with a signature that ends, and a key.
struct SignedSink(Timestamp);

impl Sink for SignedSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 1,
            bytes_max: 1,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        ready(vec![DeliveryOutcome::Delivered; batch.len()]).boxed()
    }

    fn credentials(&self) -> Vec<CredentialState> {
        let state = |slot, active, expires_at| CredentialState {
            slot,
            active,
            expires_at,
        };
        vec![
            state(CredentialSlot::Primary, false, Some(self.0)),
            state(CredentialSlot::Secondary, true, None),
        ]
    }
}

#[tokio::test]
async fn credentials_are_shown_with_their_ends() {
    let clock = ManualClock::new(Timestamp::parse_rfc3339("2026-11-01T00:00:00Z").unwrap());
    let end = clock.now().after(Duration::from_secs(90));
    let router = Router::builder()
        .default_instance("demo")
        .sink("hub-1", SignedSink(end))
        .clock(clock.clone());
    let known = CertificateEnd {
        what: "client_ca",
        path: "ca.pem".into(),
        ends_at: end,
    };
    let certificates = move || vec![known.status("admin", clock.now())];
    let certificates = CertificateReporter::new(Duration::from_secs(100), certificates);
    let listener =
        ListeningSocket::bind(&"127.0.0.1:0".parse().unwrap(), &SocketSettings::default());
    let server = TestServer::start_on(listener.unwrap(), router, |router| {
        AdminServer::new(router, MetricsRecorder::none()).certificates(certificates)
    });
    let status = server.json("/status").await;
    let certificate = serde_json::json!([{
        "server": "admin", "what": "client_ca", "path": "ca.pem",
        "expires_at": "2026-11-01T00:01:30Z", "expires_in_s": 90,
    }]);
    assert_eq!(status["certificates"], certificate);
    let view = &status["instances"][0]["endpoints"][0]["credentials"];
    let expect = serde_json::json!([
        { "slot": "primary", "active": false, "expires_at": "2026-11-01T00:01:30Z", "expires_in_s": 90 },
        { "slot": "secondary", "active": true, "expires_at": "", "expires_in_s": null },
    ]);
    assert_eq!(*view, expect);
    let warning = status["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("its primary connection string ends at"),
        "{warning}"
    );
    let warning = "[admin.tls]: the client_ca in ca.pem ends at 2026-11-01T00:01:30Z; put a renewed one there";
    assert_eq!(status["warnings"][1], warning);
    let metrics = server.get("/metrics").await.body;
    let of = "adt_instance=\"demo\",endpoint=\"hub-1\"";
    for line in [
        format!("twinroute_credential_active{{{of},slot=\"secondary\"}} 1"),
        format!("twinroute_credential_expiry_timestamp_seconds{{{of},slot=\"primary\"}} 1793491290"),
        "twinroute_certificate_expiry_timestamp_seconds{server=\"admin\",what=\"client_ca\"} 1793491290".to_owned(),
    ] {
        assert!(
            metrics.contains(&format!("{line}\n")),
            "{line} in {metrics}"
        );
    }
    for absent in [
        format!("twinroute_credential_active{{{of},slot=\"primary\"}}"),
        format!("expiry_timestamp_seconds{{{of},slot=\"secondary\"}}"),
    ] {
        assert!(!metrics.contains(&absent), "{absent} in {metrics}");
    }
    server.stop().await;
}
