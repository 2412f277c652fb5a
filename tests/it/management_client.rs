//! The client against the server of our own: definitions are put, and read back as another twinroute
//! would read them.

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::Method;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use twinroute_arm::api::ArmApi;
use twinroute_arm::error::Error;
use twinroute_arm::http::client;
use twinroute_arm::source::{AzureSettings, AzureSource};
use twinroute_credential::overlay::SecretOverlay;
use twinroute_credential::settings::CredentialSettings;
use twinroute_credential::token::TokenSource;
use twinroute_listen::access::{AccessGate, AccessSettings};
use twinroute_listen::{ListenAddress, ListeningSocket, ServerTls, SocketSettings, TlsSettings};
use twinroute_management::{ManagementServer, ProvisioningChecks, Settings, StoreBacking};
use twinroute_model::clock::SystemClock;
use twinroute_model::endpoint::{Endpoint, EndpointDestination, NamespaceAccess};
use twinroute_model::name::InstanceName;
use twinroute_model::settings::EndpointSettings;
use twinroute_router::sink::{BatchLimits, Connect, ConnectError, Delivery, DeliveryOutcome, Sink};

pub(super) const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000000";
pub(super) const TOKEN: &str = "a-token-for-tests-0123456789abcdef";
pub(super) const ARM: &str = "2023-01-31";
pub(super) const ROUTES: &str = "2023-10-31";
pub(super) const HUB: &str =
    "Endpoint=sb://h.example/;SharedAccessKeyName=r;SharedAccessKey=s3cret;EntityPath=e";

/// Ends a test that would wait for ever; nothing waits for its end.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// Takes every endpoint and delivers nothing.
struct Nowhere;

impl Connect for Nowhere {
    fn connect(
        &self,
        _endpoint: &Endpoint,
        _settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        Ok(Arc::new(Self))
    }
}

impl Sink for Nowhere {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 1,
            bytes_max: 1 << 20,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        ready(vec![DeliveryOutcome::Delivered; batch.len()]).boxed()
    }
}

pub(super) struct ServedManagement {
    pub(super) url: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl ServedManagement {
    pub(super) fn start() -> Self {
        Self::listening(None)
    }

    fn listening(tls: Option<&ServerTls>) -> Self {
        let settings = Settings {
            provisioning_checks: ProvisioningChecks::Definitions,
            ..Settings::default()
        };
        let default = InstanceName::new("default").unwrap();
        let clock = Arc::new(SystemClock);
        let connect = Arc::new(Nowhere);
        let management =
            ManagementServer::open(&settings, StoreBacking::Memory, default, connect, clock);
        let management = management.unwrap();
        let address = ListenAddress::Tcp(([127, 0, 0, 1], 0).into());
        let listener = ListeningSocket::bind(&address, &SocketSettings::default()).unwrap();
        let port = match listener.address() {
            ListenAddress::Tcp(address) => address.port(),
            ListenAddress::Unix(_) => unreachable!("TCP was asked for"),
        };
        let (listener, url) = match tls {
            Some(tls) => (listener.with_tls(tls), format!("https://localhost:{port}")),
            None => (listener, format!("http://127.0.0.1:{port}")),
        };
        let gate = gate();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            management.serve(vec![listener], gate, stopped).await;
        });
        Self { url, stop, task }
    }

    pub(super) async fn end(self) {
        drop(self.stop);
        timeout(LIMIT, self.task).await.unwrap().unwrap();
    }
}

/// Lets in who has [`TOKEN`].
fn gate() -> AccessGate {
    let access = serde_json::json!({
        "tokens": [{ "name": "tests", "role": "write", "token": TOKEN }],
    });
    let access: AccessSettings = serde_json::from_value(access).unwrap();
    let trust = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    AccessGate::new(&access, Arc::new(SystemClock), &trust).unwrap()
}

pub(super) fn tokens() -> TokenSource {
    TokenSource::fixed(TOKEN.into(), Arc::new(SystemClock))
}

pub(super) fn settings(url: &str) -> AzureSettings {
    let mut settings = AzureSettings::default();
    settings.management_url = url.to_owned();
    settings.routes_url = Some(format!("{url}/instances/main"));
    settings.subscription = SUBSCRIPTION.to_owned();
    settings.resource_group = "rg".to_owned();
    settings.instance = "main".to_owned();
    settings.credential = Some(CredentialSettings::Token);
    settings
}

pub(super) async fn put(
    api: &ArmApi,
    path: &str,
    version: &str,
    body: &str,
) -> Result<String, Error> {
    let body = Some(body.to_owned().into());
    let put = api.call_and_wait(Method::PUT, path, version, body, LIMIT);
    let answer = put.await?;
    Ok(String::from_utf8(answer.body.to_vec()).unwrap())
}

/// Puts the instance `main` with two endpoints and two routes.
async fn define(api: &ArmApi, path: &str) {
    let hub = format!(r#"{{"endpointType":"EventHub","connectionStringPrimaryKey":"{HUB}"}}"#);
    let bus = r#"{"endpointType":"ServiceBus","authenticationType":"IdentityBased",
                  "endpointUri":"sb://n.example","entityPath":"t"}"#;
    for (name, body) in [
        ("", r#"{"location":"westus2"}"#.to_owned()),
        ("/endpoints/hub-1", format!(r#"{{"properties":{hub}}}"#)),
        ("/endpoints/bus-1", format!(r#"{{"properties":{bus}}}"#)),
    ] {
        let made = put(api, &format!("{path}{name}"), ARM, &body)
            .await
            .unwrap();
        assert!(
            made.contains(r#""provisioningState":"Succeeded""#),
            "{made}"
        );
        assert!(!made.contains("s3cret"), "{made}");
    }
    for (id, name) in [("r1", "hub-1"), ("r2", "bus-1")] {
        let body = format!(r#"{{"endpointName":"{name}","filter":"true"}}"#);
        let path = format!("/instances/main/eventroutes/{id}");
        put(api, &path, ROUTES, &body).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_put_is_read_back_as_definitions_that_lack_their_secrets() {
    let server = ServedManagement::start();
    let settings = settings(&server.url);
    let path = settings.path();
    let http = client(&outgoing(), None).unwrap();
    let clock = Arc::new(SystemClock);
    let api = ArmApi::new(&server.url, "scope", tokens(), http, clock.clone()).unwrap();
    define(&api, &path).await;
    let wrong = r#"{"endpointName":"hub-9","filter":"true"}"#;
    let error = put(&api, "/instances/main/eventroutes/r3", ROUTES, wrong)
        .await
        .unwrap_err();
    assert_eq!(error.refusal().unwrap().code, "EventRouteEndpointInvalid");

    let folder = tempfile::tempdir().unwrap();
    let overlay = SecretOverlay::new(Some(folder.path().to_owned()), []);
    let source = AzureSource::open(&settings, tokens(), overlay, None, clock, &outgoing()).unwrap();
    let source = Arc::new(source);
    let running = tokio::spawn({
        let source = Arc::clone(&source);
        async move { source.run(std::future::pending()).await }
    });
    timeout(LIMIT, source.polled()).await.unwrap();
    let status = source.status();
    assert_eq!(status.last_error, None);
    assert_eq!(status.warnings, [] as [&str; 0]);
    let snapshot = source.definitions().unwrap();
    let instance = &snapshot.instances[0];
    assert_eq!(instance.routes.len(), 2, "{status:?}");
    let [bus, hub] = instance.endpoints.as_slice() else {
        panic!("{instance:?}");
    };
    assert!(matches!(
        &bus.destination,
        EndpointDestination::ServiceBus(NamespaceAccess::Identity { .. })
    ));
    assert!(matches!(&hub.destination, EndpointDestination::Waiting(_)));
    timeout(LIMIT, source.changed()).await.unwrap();

    std::fs::create_dir(folder.path().join("hub-1")).unwrap();
    let secret = folder.path().join("hub-1/connectionStringPrimaryKey");
    let file = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(secret);
    file.unwrap().write_all(HUB.as_bytes()).unwrap();
    // A look between the two would find no secret, and the definitions as they were.
    timeout(LIMIT, source.changed()).await.unwrap();
    let snapshot = source.definitions().unwrap();
    let hub = &snapshot.instances[0].endpoints[1].destination;
    assert!(
        matches!(
            hub,
            EndpointDestination::EventHub(NamespaceAccess::Keys { .. })
        ),
        "{hub:?}"
    );
    running.abort();

    let gone = api
        .call_and_wait(Method::DELETE, &path, ARM, None, LIMIT)
        .await
        .unwrap();
    assert!(gone.status < 300);
    let error = api.get(&path, ARM).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().status, 404);
    server.end().await;
}

/// A server's files in `folder`, and its authority in `ca.pem`.
fn certificates(folder: &std::path::Path) -> TlsSettings {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let settings = TlsSettings {
        certificate: folder.join("server.pem"),
        key: folder.join("server.key"),
    };
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(&settings.certificate, certificate.pem()).unwrap();
    std::fs::write(&settings.key, key.serialize_pem()).unwrap();
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&settings.key, mode).unwrap();
    settings
}

#[tokio::test]
async fn a_server_is_trusted_by_the_file_of_its_authority_alone() {
    let folder = tempfile::tempdir().unwrap();
    let tls = ServerTls::load(&certificates(folder.path())).unwrap();
    let server = ServedManagement::listening(Some(&tls));
    let ca_file = folder.path().join("ca.pem");
    let ask = async |ca_file, token: &'static str| {
        let http = client(&outgoing(), ca_file).unwrap();
        let clock = Arc::new(SystemClock);
        let tokens = TokenSource::fixed(token.into(), clock.clone());
        let api = ArmApi::new(&server.url, "scope", tokens, http, clock).unwrap();
        api.get("/providers/Microsoft.DigitalTwins/operations", ARM)
            .await
    };
    assert_eq!(ask(Some(&*ca_file), TOKEN).await.unwrap().status, 200);
    let error = ask(Some(&*ca_file), "another").await.unwrap_err();
    assert_eq!(error.refusal().unwrap().status, 401);
    let error = ask(None, TOKEN).await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    server.end().await;
}

/// What no client should send, over a real connection: each is answered in ARM's shape, and changes nothing.
#[tokio::test]
async fn hostile_requests_are_answered_and_change_nothing() {
    let server = ServedManagement::start();
    let http = client(&outgoing(), None).unwrap();
    let instance = format!(
        "{}/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.DigitalTwins/digitalTwinsInstances",
        server.url
    );
    let put = |name: &str, body: Vec<u8>| {
        let url = format!("{instance}/{name}?api-version={ARM}");
        let request = http.put(url).bearer_auth(TOKEN);
        let request = request.header("content-type", "application/json");
        request.body(body).send()
    };
    let large = format!(
        r#"{{"location":"westus2","tags":{{"a":"{}"}}}}"#,
        "x".repeat(10 << 20)
    );
    let deep = "[".repeat(100_000);
    for (name, body, status, code) in [
        ("one", large.into_bytes(), 413, "RequestEntityTooLarge"),
        ("one", deep.into_bytes(), 400, "InvalidRequestContent"),
        (
            "one",
            b"{\"location\":\"\xff\"}".to_vec(),
            400,
            "InvalidRequestContent",
        ),
        (
            "one",
            br#"{"location":"a","location":"b"}"#.to_vec(),
            400,
            "InvalidRequestContent",
        ),
        ("%2e%2e%2fetc", b"{}".to_vec(), 400, "InvalidResourceName"),
        ("%00", b"{}".to_vec(), 400, "InvalidResourceName"),
        (
            "%3Cscript%3E",
            br#"{"location":"westus2"}"#.to_vec(),
            400,
            "InvalidResourceName",
        ),
    ] {
        let answer = timeout(LIMIT, put(name, body)).await.unwrap().unwrap();
        assert_eq!(answer.status().as_u16(), status, "{name}");
        let text = answer.text().await.unwrap();
        let body: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["error"]["code"], code, "{text}");
    }
    let list = http
        .get(format!("{instance}?api-version={ARM}"))
        .bearer_auth(TOKEN);
    let list = list.send().await.unwrap();
    assert_eq!(list.status().as_u16(), 404, "no group was made");
    server.end().await;
}

pub(super) fn outgoing() -> twinroute_outgoing::OutgoingConnections {
    twinroute_outgoing::OutgoingConnections::of_environment().unwrap()
}
