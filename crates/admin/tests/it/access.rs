//! Who may look and who may change, where tokens are asked for; and HTTPS.

use crate::harness::{PATIENCE, ScriptedSink, TestServer, builder, error, json};
use expect_test::expect;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use twinroute_admin::client::{AdminAnswer, AdminClient};
use twinroute_admin::{AdminServer, MetricsRecorder, Settings};
use twinroute_listen::access::AccessGate;
use twinroute_listen::{ListenAddress, ListeningSocket, ServerTls, SocketSettings, development};
use twinroute_model::clock::SystemClock;
use twinroute_model::secret::Secret;
use twinroute_router::sink::DeliveryOutcome;

const READER: &str = "reader-0123456789";
const WRITER: &str = "writer-0123456789";
const ACCESS: &str = "[access]\ntokens = [
    { name = 'looks', role = 'read', token = 'reader-0123456789' },
    { name = 'steers', role = 'write', token = 'writer-0123456789' },
]";

/// Trust in the authorities of a file, or in nobody.
fn trust(ca: Option<&Path>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        let ca = CertificateDer::from_pem_file(ca).unwrap();
        roots.add(ca).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn listener(address: &str) -> ListeningSocket {
    ListeningSocket::bind(&address.parse().unwrap(), &SocketSettings::default()).unwrap()
}

fn start(listener: ListeningSocket) -> TestServer {
    let settings: Settings = toml::from_str(ACCESS).unwrap();
    settings.check().unwrap();
    let gate = AccessGate::new(&settings.access, Arc::new(SystemClock), &trust(None)).unwrap();
    let sink = ScriptedSink::new(DeliveryOutcome::Delivered);
    TestServer::start_on(listener, builder(&sink), |router| {
        AdminServer::new(router, MetricsRecorder::none()).gate(gate)
    })
}

fn with(client: AdminClient, token: &str) -> AdminClient {
    if token.is_empty() {
        return client;
    }
    client.with_token(&Secret::new(token)).unwrap()
}

async fn pause(client: &AdminClient) -> AdminAnswer {
    let path = "/endpoints/demo/grid-1/pause";
    let answer = client.post(path, "{}".to_owned(), PATIENCE).await;
    answer.unwrap()
}

async fn purge(client: &AdminClient) -> AdminAnswer {
    let json = r#"{"confirm":"grid-1"}"#.to_owned();
    let path = "/endpoints/demo/grid-1/purge";
    client.post(path, json, PATIENCE).await.unwrap()
}

#[tokio::test]
async fn reads_need_a_token_and_changes_one_that_may_write() {
    let server = start(listener("127.0.0.1:0"));
    let ask = |token| with(server.client(), token);
    for path in [
        "/",
        "/status",
        "/metrics",
        "/ledger",
        "/cluster",
        "/dead-letters",
        "/replays",
    ] {
        for (token, expect) in [("", 401), ("wrong-0123456789", 401), (READER, 200)] {
            let answer = ask(token).get(path, PATIENCE).await.unwrap();
            assert_eq!(answer.status, expect, "{path} {token}");
        }
    }
    expect!["401 Unauthorized: the authorization header is missing"]
        .assert_eq(&error(&purge(&ask("")).await));
    expect!["401 Unauthorized: the access token is invalid"]
        .assert_eq(&error(&purge(&ask("wrong-0123456789")).await));
    expect!["403 Forbidden: looks may read only"].assert_eq(&error(&purge(&ask(READER)).await));
    let gone = ask(READER).delete("/replays/1", PATIENCE).await.unwrap();
    assert_eq!(gone.status, 403);
    assert_eq!(pause(&ask(READER)).await.status, 403);
    let status = ask(READER).get("/status", PATIENCE).await.unwrap();
    let endpoint = &json(&status)["instances"][0]["endpoints"][0];
    assert_eq!(endpoint["state"], "healthy");
    assert_eq!(pause(&ask(WRITER)).await.status, 200);
    assert_eq!(purge(&ask(WRITER)).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_says_which_scheme_is_asked_for() {
    let server = start(listener("127.0.0.1:0"));
    let answer = server
        .raw("GET /status HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .await;
    expect![[r#"
        HTTP/1.1 401 Unauthorized
        content-type: application/json
        www-authenticate: Bearer
        connection: close
        content-length: 81

        {"error":{"code":"Unauthorized","message":"the authorization header is missing"}}"#]]
    .assert_eq(&answer);
    server.stop().await;
}

#[tokio::test]
async fn probes_need_no_token_and_learn_no_reason() {
    let server = start(listener("127.0.0.1:0"));
    assert_eq!(server.get("/livez").await.status, 200);
    let ready = server.get("/readyz").await;
    assert_eq!(json(&ready)["reason"], "");
    let wrong = with(server.client(), "wrong-0123456789");
    let answer = wrong.get("/readyz", PATIENCE).await.unwrap();
    assert_eq!(answer.status, 401);
    server.stop().await;
}

#[tokio::test]
async fn a_token_changes_things_where_other_machines_reach() {
    let mut server = start(listener("0.0.0.0:0"));
    let ListenAddress::Tcp(address) = &mut server.address else {
        panic!("a TCP server");
    };
    address.set_ip([127, 0, 0, 1].into());
    assert_eq!(pause(&server.client()).await.status, 401);
    assert_eq!(pause(&with(server.client(), WRITER)).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_unix_socket_asks_for_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", folder.path().join("a.sock").display());
    let server = start(listener(&address));
    assert_eq!(server.get("/status").await.status, 200);
    assert_eq!(pause(&server.client()).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn over_https() {
    let folder = tempfile::tempdir().unwrap();
    let made = development::certificates(folder.path(), &[]).unwrap();
    let listener = listener("127.0.0.1:0").with_tls(&ServerTls::load(&made.tls).unwrap());
    let server = start(listener);
    let ListenAddress::Tcp(address) = &server.address else {
        panic!("a TCP server");
    };
    let trust_it = || trust(Some(&made.ca));
    let port = address.port();
    for url in [
        format!("https://localhost:{port}"),
        format!("https://{address}/"),
    ] {
        let client = AdminClient::https(&url, trust_it()).unwrap();
        assert_eq!(pause(&with(client.clone(), READER)).await.status, 403);
        assert_eq!(pause(&with(client, WRITER)).await.status, 200);
    }
    let stranger = AdminClient::https(&format!("https://{address}"), trust(None)).unwrap();
    let error = stranger.get("/status", PATIENCE).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("ask https://{address}: agree on TLS")
    );
    for url in ["https://", "http://h:1", "https://u@h", "https://h/admin"] {
        assert!(AdminClient::https(url, trust_it()).is_err(), "{url}");
    }
    let debug_text = format!("{:?}", with(stranger, WRITER));
    assert!(!debug_text.contains(WRITER), "{debug_text}");
    server.stop().await;
}
