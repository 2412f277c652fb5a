//! A container played by a list of answers, and a dead letter to put into it.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderName};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use twinroute_model::clock::Timestamp;
use twinroute_model::cloudevents::json;
use twinroute_model::dead_letter::{DeadLetter, DeadLetterReason};
use twinroute_model::endpoint::location::ContainerLocation;
use twinroute_model::event::EventLimits;
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::secret::Secret;
use twinroute_retry::dead_letter::container::{ContainerClient, LetterContainer, PutOutcome};
use twinroute_retry::dead_letter::document::DeadLetterDocument;
use twinroute_retry::dead_letter::fault::StoreFault;

pub(crate) const SIGNATURE: &str = "c2lnbmF0dXJlLW9mLXRoZS1jb250YWluZXI%3D";

/// 2026-03-02T00:00:00Z, within the times of [`sas`].
pub(crate) const NOW: Timestamp = Timestamp::from_unix_millis(1_772_409_600_000);
/// When [`sas`] ends.
pub(crate) const LATER: Timestamp = Timestamp::from_unix_millis(1_777_593_600_000);

pub(crate) const EVENT: &str = r#"{"specversion":"1.0","id":"1/2","source":"contoso.api.weu.digitaltwins.azure.net","type":"Microsoft.DigitalTwins.Twin.Delete","data":{"n":1.10}}"#;

pub(crate) fn sas(permissions: &str) -> String {
    format!(
        "sv=2024-11-04&st=2026-03-01T00:00:00Z&se=2026-05-01T00:00:00Z&sr=c&sp={permissions}&sig={SIGNATURE}"
    )
}

pub(crate) fn location(address: &str, permissions: &str) -> ContainerLocation {
    let uri = format!("http://{address}/account/dead?{}", sas(permissions));
    ContainerLocation::from_secret(&Secret::new(uri)).unwrap()
}

/// Made as a program makes it, but for the trust in servers, which plain HTTP does not need.
pub(crate) fn client() -> ContainerClient {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap();
    ContainerClient::new(Arc::new(http), 1 << 20)
}

pub(crate) fn dead() -> DeadLetter {
    DeadLetter {
        reason: DeadLetterReason::Exhausted,
        attempts: 30,
        died_at: NOW,
        last_attempt_at: Some(NOW),
        outcome: "http-404: nicht gefunden: größer".into(),
    }
}

/// Puts [`EVENT`] as a dead letter.
pub(crate) async fn putting(
    container: &LetterContainer,
    now: Timestamp,
) -> Result<PutOutcome, StoreFault> {
    let event = json::parse(EVENT.into(), &EventLimits::default()).unwrap();
    let letter = DeadLetterDocument {
        instance: &InstanceName::new("contoso").unwrap(),
        endpoint: &EndpointName::new("hub").unwrap(),
        event: &event,
        accepted_at: NOW,
        dead: &dead(),
    };
    container.put(&letter, now).await
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct FakeAnswer {
    /// `None`: the connection is cut instead.
    status: Option<u16>,
    headers: Vec<(String, String)>,
    body: String,
}

impl FakeAnswer {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    pub(crate) fn cut() -> Self {
        Self {
            status: None,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// An error as Azure writes it.
    pub(crate) fn code(status: u16, code: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code>\
             <Message>In words.\nRequestId:1\nTime:2</Message></Error>"
        );
        Self::status(status)
            .with("x-ms-error-code", code)
            .with_body(body)
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn with_body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct SeenRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Default)]
struct FakeState {
    answers: VecDeque<FakeAnswer>,
    seen: Vec<SeenRequest>,
    connections: usize,
}

/// The server. Out of answers it cuts connections.
pub(crate) struct FakeContainer {
    address: String,
    state: Arc<Mutex<FakeState>>,
    _tasks: JoinSet<()>,
}

impl FakeContainer {
    pub(crate) async fn start(answers: impl IntoIterator<Item = FakeAnswer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(FakeState {
            answers: answers.into_iter().collect(),
            ..FakeState::default()
        }));
        let shared = Arc::clone(&state);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                shared.lock().unwrap().connections += 1;
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| answer(request, Arc::clone(&state)));
                connections.spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    http.serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok();
                });
            }
        });
        Self {
            address,
            state,
            _tasks: tasks,
        }
    }

    pub(crate) fn container(&self, permissions: &str) -> LetterContainer {
        LetterContainer::with_sas(&client(), location(&self.address, permissions)).unwrap()
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    pub(crate) fn seen(&self) -> Vec<SeenRequest> {
        self.state.lock().unwrap().seen.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<FakeState>>,
) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut state = state.lock().unwrap();
    state.seen.push(SeenRequest {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    });
    let cut = || io::Error::other("cut");
    let answer = state.answers.pop_front().ok_or_else(cut)?;
    let mut response = Response::new(Full::from(answer.body));
    let status = answer.status.ok_or_else(cut)?;
    *response.status_mut() = status.try_into().unwrap();
    for (name, value) in answer.headers {
        let name: HeaderName = name.parse().unwrap();
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    Ok(response)
}
