//! Endpoints with an identity in place of keys, end to end: the identity service of a container, TLS, the
//! emulator's namespace and its storage account.

use crate::harness::{Daemon, PATIENCE, write};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use twinroute_emulator::{Emulator, HubSettings, SendAnswer, Settings, TopicSettings};
use twinroute_model::clock::{Clock as _, SystemClock};

const USER_ASSIGNED: &str = "/subscriptions/1/resourceGroups/g/providers/Microsoft.ManagedIdentity/\
                             userAssignedIdentities/router";

/// Gives tokens once it is willing, as App Service does.
struct IdentityService {
    url: String,
    willing: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl IdentityService {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/msi/token", listener.local_addr().unwrap());
        let willing = Arc::new(AtomicBool::new(false));
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (open, noted) = (Arc::clone(&willing), Arc::clone(&asked));
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let (status, body) = match open.load(Ordering::SeqCst) {
                    true => (200, token(&head)),
                    false => (400, json!({ "statusCode": 400, "message": "No identity" })),
                };
                noted.lock().unwrap().push(head);
                let body = body.to_string();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                     connection: close\r\n\r\n{body}",
                    body.len()
                );
                drop(stream.write_all(answer.as_bytes()));
            }
        });
        Self {
            url,
            willing,
            asked,
        }
    }
}

/// A token for the resource that a request names.
fn token(head: &str) -> Value {
    let (_, rest) = head.split_once("resource=").unwrap();
    let resource = rest.split(['&', ' ']).next().unwrap();
    let resource = resource.replace("%3A", ":").replace("%2F", "/");
    let ends = SystemClock.now().unix_seconds() + 3_600;
    let claims = json!({ "aud": resource, "exp": ends }).to_string();
    json!({
        "access_token": format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims)),
        "expires_on": ends.to_string(),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": "c",
    })
}

/// TLS in front of what speaks none, as `localhost`.
fn tls_before(runtime: &Runtime, server: &Arc<ServerConfig>, target: SocketAddr) -> u16 {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::clone(server));
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut near) = acceptor.accept(stream).await else {
                    return;
                };
                let mut far = TcpStream::connect(target).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
            });
        }
    });
    port
}

/// A certificate for `localhost`, written where the daemon looks for what it trusts.
fn certificate(file: &Path) -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(file, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let ring = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key);
    Arc::new(server.unwrap())
}

fn until(daemon: &Daemon, wanted: impl Fn(&Value) -> bool) {
    let latest = Instant::now() + PATIENCE;
    loop {
        let endpoints = daemon.status()["instances"][0]["endpoints"].clone();
        if endpoints.as_array().unwrap().iter().all(&wanted) {
            return;
        }
        assert!(Instant::now() < latest, "{endpoints:#}");
        std::thread::yield_now();
    }
}

fn scene(folder: &Path, amqp: u16, container: &str) {
    write(
        folder,
        "twinroute.toml",
        "instance = 'demo'\ndefinitions = 'table'\nshutdown_grace = '0s'\n\
         [ingress]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = ['127.0.0.1:0']\n\
         [identity]\ncredential = 'managed-identity'\n[log]\nformat = 'json'\n",
    );
    let uri = format!("sb://localhost:{amqp}/");
    let user = json!({ "type": "UserAssigned", "userAssignedIdentity": USER_ASSIGNED });
    for (name, kind, entity, identity) in [
        (
            "hub-1",
            "EventHub",
            "hub",
            json!({ "type": "SystemAssigned" }),
        ),
        ("topic-1", "ServiceBus", "topic", user),
    ] {
        let endpoint = json!({ "properties": {
            "endpointType": kind, "authenticationType": "IdentityBased", "endpointUri": uri,
            "entityPath": entity, "identity": identity, "deadLetterUri": container,
        } });
        let file = format!("table/endpoints/{name}.json");
        write(folder, &file, &endpoint.to_string());
        let route = json!({ "endpointName": name, "filter": "true" }).to_string();
        write(folder, &format!("table/routes/{name}.json"), &route);
    }
}

#[test]
fn identities_open_hub_topic_and_container_and_nothing_is_lost_while_they_are_refused() {
    let runtime = Runtime::new().unwrap();
    let settings = Settings {
        hubs: vec![HubSettings::new("hub")],
        topics: vec![TopicSettings::new("topic", &["sub"])],
        blob_containers: vec!["letters".to_owned()],
        ..Settings::default()
    };
    let started = Emulator::start(settings, Arc::new(SystemClock));
    let emulator = runtime.block_on(started).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    let server = certificate(&roots);
    let amqp = tls_before(&runtime, &server, emulator.amqp_address());
    let blob = tls_before(&runtime, &server, emulator.blob_address());
    let container = format!("https://localhost:{blob}/devstoreaccount1/letters");
    scene(folder.path(), amqp, &container);
    let service = IdentityService::start();
    let daemon = Daemon::start_in(
        folder.path(),
        &[
            ("SSL_CERT_FILE", roots.to_str().unwrap()),
            ("IDENTITY_ENDPOINT", &service.url),
            ("IDENTITY_HEADER", "the-header"),
        ],
    );
    for id in 0..3 {
        assert!(daemon.post(id).starts_with("HTTP/1.1 202"));
    }
    until(&daemon, |of| of["state"] == "unauthorized");
    let waiting = |of: &Value| {
        let counts = ["queued", "in_flight", "parked"].map(|key| of[key].as_u64().unwrap());
        counts.iter().sum::<u64>()
    };
    until(&daemon, |of| waiting(of) == 3 && of["delivered"] == 0);

    service.willing.store(true, Ordering::SeqCst);
    until(&daemon, |of| {
        of["state"] == "healthy" && of["delivered"] == 3
    });
    assert_eq!(emulator.store().hub_events("hub").len(), 3);
    let arrived = emulator.store().subscription_messages("topic", "sub");
    assert_eq!(arrived.len(), 3);

    for entity in ["hub", "topic"] {
        let refuse = SendAnswer::Reject("amqp:not-allowed".to_owned());
        emulator.faults().sends(entity, refuse, 1);
    }
    assert!(daemon.post(3).starts_with("HTTP/1.1 202"));
    let stored = emulator.store().wait_for_blobs("letters", 2, PATIENCE);
    runtime.block_on(stored).unwrap();

    let asked = service.asked.lock().unwrap();
    assert!(
        asked
            .iter()
            .all(|head| head.contains("x-identity-header: the-header"))
    );
    let about = |resource: &'static str| asked.iter().filter(move |head| head.contains(resource));
    assert!(about("eventhubs.azure.net").all(|head| !head.contains("mi_res_id")));
    let router = "&mi_res_id=%2Fsubscriptions%2F1%2FresourceGroups%2Fg%2Fproviders%2F\
                  Microsoft.ManagedIdentity%2FuserAssignedIdentities%2Frouter ";
    assert!(about("servicebus.azure.net").all(|head| head.contains(router)));
    assert!(asked.iter().any(|head| head.contains("storage.azure.com")));
}
