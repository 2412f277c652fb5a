//! Bearer tokens beside access keys, HTTPS, and certificates of clients.

use super::{EVENT, SeenSink, TestServer, check_with, post, start, start_on};
use expect_test::expect;
use http::Request;
use http_body_util::BodyExt as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use twinroute_ingress::{IngressServer, Settings};
use twinroute_listen::{
    ClientPeer, HttpLimits, ListenAddress, ListeningSocket, MutualTlsSettings, ServerTls,
    SocketSettings, TlsSettings, development, serve,
};
use twinroute_model::clock::ManualClock;
use twinroute_router::Router;

const STRUCTURED: &str = "content-type: application/cloudevents+json";
const TOKENS: &str = "[access]\ntokens = [
    { name = 'press', role = 'write', token = 'press-0123456789' },
    { name = 'looks', role = 'read', token = 'looks-0123456789' },
]";

fn roots(ca: Option<&Path>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        let ca = CertificateDer::from_pem_file(ca).unwrap();
        roots.add(ca).unwrap();
    }
    roots
}

/// Trust in the authority of a file, or in nobody.
pub(super) fn trust(ca: Option<&Path>) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(ca))
        .with_no_client_auth()
}

fn with(header: &str) -> String {
    post("/events", &format!("{STRUCTURED}\r\n{header}"), EVENT)
}

async fn status(server: &TestServer, header: &str) -> String {
    let answer = server.raw(with(header).as_bytes()).await;
    answer[9..12].to_owned()
}

#[tokio::test]
async fn a_token_or_a_key_opens_the_door() {
    let server = start(&format!("access_keys = [\"b2xk\"]\n{TOKENS}"));
    for (header, expect) in [
        ("authorization: Bearer press-0123456789", "202"),
        ("aeg-sas-key: b2xk", "202"),
        ("authorization: SharedAccessKey b2xk", "202"),
        (
            "aeg-sas-key: wrong\r\nauthorization: bearer press-0123456789",
            "202",
        ),
        (
            "aeg-sas-key: b2xk\r\nauthorization: Bearer wrong-0123456789",
            "202",
        ),
        ("authorization: Bearer wrong-0123456789", "401"),
        ("authorization: Bearer looks-0123456789", "403"),
        ("authorization: Basic eDp5", "401"),
        ("aeg-sas-key: wrong", "401"),
        ("x: y", "401"),
    ] {
        assert_eq!(status(&server, header).await, expect, "{header}");
    }
    server.stop().await;
}

#[tokio::test]
async fn refusals_have_the_shape_of_the_surface() {
    check_with(
        TOKENS,
        &with("x: y"),
        expect![[r#"
        HTTP/1.1 401 Unauthorized
        content-type: application/json
        www-authenticate: Bearer
        content-length: 81

        {"error":{"code":"Unauthorized","message":"the authorization header is missing"}}
        => []
    "#]],
    )
    .await;
    check_with(
        TOKENS,
        &with("authorization: Bearer looks-0123456789"),
        expect![[r#"
            HTTP/1.1 403 Forbidden
            content-type: application/json
            content-length: 62

            {"error":{"code":"Forbidden","message":"looks may read only"}}
            => []
        "#]],
    )
    .await;
    let publish = post(
        "/api/events?api-version=2018-01-01",
        "content-type: application/json\r\nauthorization: Bearer wrong-0123456789",
        "[]",
    );
    check_with(TOKENS, &publish, expect![[r#"
        HTTP/1.1 401 Unauthorized
        content-type: application/json
        www-authenticate: Bearer
        content-length: 149

        {"error":{"code":"Unauthorized","message":"the access token is invalid","details":[{"code":"Unauthorized","message":"the access token is invalid"}]}}
        => []
    "#]]).await;
    let both = format!("webhook_code = \"c0de\"\n{TOKENS}");
    check_with(&both, &with("x: y"), expect![[r#"
        HTTP/1.1 401 Unauthorized
        content-type: application/json
        www-authenticate: Bearer, SharedAccessKey, SharedAccessSignature
        content-length: 214

        {"error":{"code":"Unauthorized","message":"an access token (header authorization: Bearer) or an access key (header aeg-sas-key, aeg-sas-token or authorization, or query parameter aeg-sas-key or code) is required"}}
        => []
    "#]]).await;
}

#[tokio::test]
async fn settings_that_ask_for_tokens_let_nobody_in_without_a_gate() {
    let settings: Settings = toml::from_str(TOKENS).unwrap();
    let clock = Arc::new(ManualClock::new(super::NOW));
    let ingress = IngressServer::new(&settings, Router::builder().build().unwrap(), clock);
    let request = Request::post("/events")
        .header("authorization", "Bearer press-0123456789")
        .body(http_body_util::Full::<bytes::Bytes>::from(EVENT));
    let peer = ClientPeer::Tcp(([127, 0, 0, 1], 1).into());
    let answer = ingress.handle(request.unwrap(), peer).await;
    assert_eq!(answer.status(), 401);
    drop(answer.into_body().collect().await);
}

/// The answer to a request over TLS.
async fn ask(
    address: &ListenAddress,
    client: ClientConfig,
    request: &str,
) -> std::io::Result<String> {
    let ListenAddress::Tcp(address) = address else {
        panic!("a TCP server");
    };
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let mut stream = connector.connect(name, stream).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn events_come_in_over_https() {
    let folder = tempfile::tempdir().unwrap();
    let made = development::certificates(folder.path(), &[]).unwrap();
    let tls = ServerTls::load(&made.tls).unwrap();
    let server = start_on(TOKENS, Router::builder(), SeenSink::default(), Some(&tls));
    let request = with("authorization: Bearer press-0123456789");
    let answer = ask(&server.address, trust(Some(&made.ca)), &request).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 202 "));
    let answer = ask(&server.address, trust(Some(&made.ca)), &with("x: y")).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 401 "));
    ask(&server.address, trust(None), &request)
        .await
        .unwrap_err();
    server.router.settled().await;
    assert_eq!(*server.seen.ids.lock().unwrap(), ["1"]);
    server.stop().await;
}

type TestAuthority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> TestAuthority {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A client that trusts the file `ca` and shows a certificate of `issuer`.
fn known(ca: &Path, issuer: &TestAuthority) -> ClientConfig {
    named(ca, issuer, "nobody", &[])
}

/// As [`known`], with these names on the certificate.
fn named(ca: &Path, issuer: &TestAuthority, name: &str, others: &[&str]) -> ClientConfig {
    let key = KeyPair::generate().unwrap();
    let others: Vec<_> = others.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(others).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.signed_by(&key, issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(Some(ca)))
        .with_client_auth_cert(vec![certificate.der().clone()], key)
        .unwrap()
}

/// The ingress, asked from another machine as far as it knows.
async fn from_afar(settings: &str, tls: &ServerTls, client: ClientConfig) -> String {
    let listener =
        ListeningSocket::bind(&"127.0.0.1:0".parse().unwrap(), &SocketSettings::default());
    let listener = listener.unwrap().with_tls(tls);
    let address = listener.address().clone();
    let settings: Settings = toml::from_str(settings).unwrap();
    let clock = Arc::new(ManualClock::new(super::NOW));
    let ingress = IngressServer::new(&settings, Router::builder().build().unwrap(), clock);
    let service = move |request, _: ClientPeer| {
        let ingress = ingress.clone();
        let afar = ClientPeer::Tcp(([192, 0, 2, 7], 1).into());
        async move { ingress.handle(request, afar).await }
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap_or_default() };
    let limits = HttpLimits::default();
    let serving = serve(vec![listener], &limits, service, stopped);
    let asking = async {
        let answer = ask(&address, client, &with("x: y")).await;
        stop.send(()).unwrap();
        answer.map_or_else(
            |_| "no connection".to_owned(),
            |answer| answer[9..12].to_owned(),
        )
    };
    tokio::join!(serving, asking).1
}

#[tokio::test]
async fn a_certificate_that_was_taken_is_a_credential() {
    let folder = tempfile::tempdir().unwrap();
    let made = development::certificates(folder.path(), &[]).unwrap();
    let (ours, other) = (authority(), authority());
    let client_ca = folder.path().join("clients.pem");
    std::fs::write(&client_ca, ours.pem()).unwrap();
    let TlsSettings { certificate, key } = made.tls.clone();
    let mutual = ServerTls::load_mutual(&MutualTlsSettings {
        certificate,
        key,
        client_ca: Some(client_ca),
    });
    let (mutual, plain) = (mutual.unwrap(), ServerTls::load(&made.tls).unwrap());
    let keys = "access_keys = [\"b2xk\"]";
    for (settings, tls, client, expect) in [
        ("", &mutual, known(&made.ca, &ours), "202"),
        ("", &mutual, known(&made.ca, &other), "no connection"),
        ("", &mutual, trust(Some(&made.ca)), "no connection"),
        // Nobody looked at this certificate.
        ("", &plain, known(&made.ca, &other), "401"),
        // Where keys are asked for, a certificate is none.
        (keys, &mutual, known(&made.ca, &ours), "401"),
    ] {
        assert_eq!(from_afar(settings, tls, client).await, expect);
    }
    let caller = |sources| {
        format!(
            "{keys}\n[[callers]]\nname = 'p'\nsubjects = ['press-7.plant']\nsources = ['{sources}']"
        )
    };
    let certificates_alone = caller("s").replace(keys, "");
    for (settings, name, others, expect) in [
        (caller("s"), "press-7.plant", &[][..], "202"),
        // The second of the other names will do.
        (caller("s"), "x", &["a.plant", "press-7.plant"][..], "202"),
        (caller("other"), "press-7.plant", &[], "403"),
        (caller("s"), "press-8.plant", &[], "401"),
        (certificates_alone.clone(), "press-8.plant", &[], "403"),
        (certificates_alone, "press-7.plant", &[], "202"),
    ] {
        let client = named(&made.ca, &ours, name, others);
        let answer = from_afar(&settings, &mutual, client).await;
        assert_eq!(answer, expect, "{name} {others:?} {settings}");
    }
}
