use super::*;
use crate::app_service::{AppService, ServiceAddress};
use crate::token::{ANSWER_BYTES_MAX, TokenError};
use azure_core::credentials::TokenCredential;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use twinroute_model::clock::{ManualClock, Timestamp};
use twinroute_outgoing::azure::BoundedHttp;

const START: i64 = 1_774_000_000_000;

/// The machine's identity service: answers with a status and a body, or not at all.
struct FakeIdentityService {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

type ScriptedAnswer = Option<(u16, String)>;

fn token(name: &str) -> ScriptedAnswer {
    let seconds = START / 1_000 + 3_600;
    let body = format!(
        r#"{{"access_token":"{name}","client_id":"c","expires_on":"{seconds}","resource":"r","token_type":"Bearer"}}"#
    );
    Some((200, body))
}

impl FakeIdentityService {
    async fn start(answer: ScriptedAnswer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let requests = Arc::clone(&asked);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (requests, answer) = (Arc::clone(&requests), answer.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let header = |name: &str| {
                        let value = request.headers().get(name);
                        value.map_or("-", |value| value.to_str().unwrap())
                    };
                    let (metadata, secret) = (header("metadata"), header("x-identity-header"));
                    let line = format!("{} {metadata} {secret}", request.uri());
                    requests.lock().unwrap().push(line);
                    reply(answer.clone())
                });
                connections.spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    let serving = http.serve_connection(TokioIo::new(stream), service);
                    serving.await.ok();
                });
            }
        });
        Self {
            url,
            asked,
            _tasks: tasks,
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// A client that meets this service wherever it goes.
    fn http(&self) -> Arc<dyn HttpClient> {
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .proxy(reqwest::Proxy::http(&self.url).unwrap())
            .build();
        Arc::new(client.unwrap())
    }

    /// A user-assigned identity of App Service.
    fn app_service(&self) -> TokenSource {
        let variable = |name: &str| match name {
            "IDENTITY_ENDPOINT" => Some("http://localhost:8081/msi/token".to_owned()),
            "IDENTITY_HEADER" => Some("h3ader".to_owned()),
            _ => None,
        };
        let place = ServiceAddress::find(variable).unwrap().unwrap();
        let http = Arc::new(BoundedHttp::new(self.http(), |_| ANSWER_BYTES_MAX));
        let make = move || {
            Ok(Arc::new(AppService {
                place: place.clone(),
                resource_id: "/subscriptions/1/ui".to_owned(),
                http: Arc::clone(&http) as Arc<dyn HttpClient>,
                clock: clock(),
            }) as Arc<dyn TokenCredential>)
        };
        TokenSource::from_credentials(make, clock())
    }
}

async fn reply(answer: ScriptedAnswer) -> Result<Response<Full<Bytes>>, Infallible> {
    let Some((status, body)) = answer else {
        return std::future::pending().await;
    };
    let response = Response::builder().status(status);
    Ok(response.body(Full::from(body)).unwrap())
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_unix_millis(START)))
}

fn assigned(id: &str) -> EndpointIdentity {
    EndpointIdentity::UserAssigned(id.to_owned())
}

#[tokio::test]
async fn each_managed_identity_has_one_source_that_asks_by_its_name() {
    let service = FakeIdentityService::start(token("t")).await;
    let login = LoginMethod::ManagedIdentity { client_id: None };
    let identities = IdentitySet::new(login, service.http(), clock());
    for identity in [
        EndpointIdentity::SystemAssigned,
        assigned("/subscriptions/1/One"),
        EndpointIdentity::SystemAssigned,
        assigned("/subscriptions/1/one"),
        assigned("/subscriptions/1/two"),
    ] {
        let source = identities.clone().tokens(&identity).unwrap();
        let token = source.token(EVENT_HUBS_SCOPE).await.unwrap();
        assert_eq!(token.secret.expose(), "t");
    }
    let query = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2019-08-01\
                 &resource=https%3A%2F%2Feventhubs.azure.net";
    let one = "&msi_res_id=%2Fsubscriptions%2F1%2FOne";
    let two = "&msi_res_id=%2Fsubscriptions%2F1%2Ftwo";
    let expect = ["", one, two].map(|id| format!("{query}{id} true -"));
    assert_eq!(service.asked(), expect);
}

#[tokio::test]
async fn app_service_is_asked_by_its_own_name_for_a_resource_id() {
    let service = FakeIdentityService::start(token("t")).await;
    let token = service.app_service().token(SERVICE_BUS_SCOPE).await;
    let token = token.unwrap();
    let ends = Timestamp::from_unix_millis(START + 3_600_000);
    assert_eq!((token.secret.expose(), token.expires_at), ("t", Some(ends)));
    let expect = "http://localhost:8081/msi/token?api-version=2019-08-01\
                  &resource=https%3A%2F%2Fservicebus.azure.net&mi_res_id=%2Fsubscriptions%2F1%2Fui - h3ader";
    assert_eq!(service.asked(), [expect]);
}

#[tokio::test]
async fn the_end_of_a_token_is_read_as_text_number_or_date_and_from_now_on() {
    let end = (START + 3_600_000) / 1_000;
    let date = Timestamp::from_unix_millis(START + 3_600_000).rfc3339();
    for member in [
        format!(r#""expires_on":"{end}""#),
        format!(r#""expires_on":{end}"#),
        format!(r#""expires_on":{end}.0"#),
        format!(r#""expires_on":" {end} ","expires_in":"1""#),
        format!(r#""expires_on":"{date}""#),
        r#""expires_in":3600"#.to_owned(),
        r#""expires_in":"3600","expires_on":null"#.to_owned(),
    ] {
        let body = format!(r#"{{"access_token":"t",{member}}}"#);
        let service = FakeIdentityService::start(Some((200, body))).await;
        let token = service.app_service().token(SERVICE_BUS_SCOPE).await;
        let ends = Timestamp::from_unix_millis(end * 1_000);
        assert_eq!(token.unwrap().expires_at, Some(ends), "{member}");
    }
    for member in [
        r#""expires_on":"soon""#,
        r#""expires_in":1e300"#,
        r#""x":1"#,
    ] {
        let body = format!(r#"{{"access_token":"s3cret",{member}}}"#);
        let service = FakeIdentityService::start(Some((200, body))).await;
        let refused = service.app_service().token(SERVICE_BUS_SCOPE).await;
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("holds no token"), "{member}: {text}");
    }
}

#[tokio::test]
async fn a_no_of_the_identity_service_is_told_apart_from_not_now() {
    let long = "x".repeat(200 << 10);
    for (status, body, refused, words) in [
        (429, "slow down", false, "answered 429: slow down"),
        (500, "oh", false, "answered 500: oh"),
        (401, "wrong header", true, "answered 401: wrong header"),
        (400, "No identity", true, "answered 400: No identity"),
        (200, r#"{"access_token":"s3cret"}"#, true, "holds no token"),
        (200, &long, true, "the answer has more than 65536 bytes"),
    ] {
        let service = FakeIdentityService::start(Some((status, body.to_owned()))).await;
        let error = service.app_service().token(SERVICE_BUS_SCOPE).await;
        let error = error.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(words) && !text.contains("s3cret"), "{text}");
        assert_eq!(
            matches!(error, TokenError::Refused { .. }),
            refused,
            "{text}"
        );
        assert_eq!(service.asked().len(), 1);
    }
}

#[tokio::test]
async fn an_identity_service_that_is_silent_costs_a_bounded_wait() {
    let service = FakeIdentityService::start(None).await;
    let source = service.app_service();
    tokio::time::pause();
    let began = Instant::now();
    let error = source.token(SERVICE_BUS_SCOPE).await.unwrap_err();
    assert!(matches!(error, TokenError::Late { .. }), "{error}");
    assert!(began.elapsed() <= Duration::from_millis(10_002));
}

#[test]
fn any_other_login_is_one_for_all_and_none_says_what_to_do() {
    let one = IdentitySet::one(TokenSource::fixed("t".into(), clock()));
    assert!(one.tokens(&assigned("/subscriptions/1/x")).is_ok());
    let error = IdentitySet::none().tokens(&EndpointIdentity::SystemAssigned);
    let error = error.unwrap_err();
    assert!(error.to_string().contains("set `credential` in [identity]"));
    assert_eq!(format!("{one:?}"), "Identities(one)");
}

#[tokio::test]
async fn identities_that_nobody_uses_make_room() {
    let service = FakeIdentityService::start(None).await;
    let login = LoginMethod::ManagedIdentity { client_id: None };
    let identities = IdentitySet::new(login, service.http(), clock());
    let kept: Vec<_> = (0..ASSIGNED_MAX)
        .map(|number| identities.tokens(&assigned(&format!("/{number}"))).unwrap())
        .collect();
    let error = identities.tokens(&assigned("/more")).unwrap_err();
    assert_eq!(error, NoIdentity::TooMany);
    drop(kept);
    assert!(identities.tokens(&assigned("/more")).is_ok());
}

#[test]
fn other_hosts_are_not_taken_for_app_service() {
    let find = |names: &[&str]| {
        ServiceAddress::find(|name| names.contains(&name).then(|| "http://h/".to_owned()))
    };
    assert!(find(&[]).unwrap().is_none());
    assert!(
        find(&["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"])
            .unwrap()
            .is_none()
    );
    let fabric = [
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
        "IDENTITY_SERVER_THUMBPRINT",
    ];
    assert!(find(&fabric).unwrap().is_none());
    assert!(find(&fabric[..2]).unwrap().is_some());
}
