//! Listeners that ask clients for certificates: whose are taken, and what handlers learn of them.
#![allow(clippy::unwrap_used, reason = "test code")]

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use twinroute_listen::{
    ClientCertificate, ClientPeer, HttpLimits, ListenAddress, ListeningSocket, MutualTlsSettings,
    ServerBody, ServerTls, SocketSettings, TlsReload, serve,
};

type TestAuthority = CertifiedIssuer<'static, KeyPair>;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";

fn authority() -> TestAuthority {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn files(folder: &Path, authority: &TestAuthority) -> MutualTlsSettings {
    let settings = MutualTlsSettings {
        certificate: folder.join("server.pem"),
        key: folder.join("server.key"),
        client_ca: Some(folder.join("ca.pem")),
    };
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    std::fs::write(&settings.certificate, certificate.pem()).unwrap();
    std::fs::write(&settings.key, key.serialize_pem()).unwrap();
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&settings.key, mode).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    settings
}

/// A client that trusts `server`, with a certificate that `issuer` signed for `name`.
fn client(
    server: &TestAuthority,
    presented: Option<(&TestAuthority, &str)>,
    offered: &'static SupportedProtocolVersion,
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(server.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[offered])
        .unwrap()
        .with_root_certificates(roots);
    let config = match presented {
        None => builder.with_no_client_auth(),
        Some((issuer, name)) => {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            let certificate = params.signed_by(&key, issuer).unwrap();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            builder
                .with_client_auth_cert(vec![certificate.der().clone()], key)
                .unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

struct TestServer {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

/// Answers with the name that a client's certificate has.
fn start(tls: &ServerTls) -> TestServer {
    let sockets = SocketSettings::default();
    let listener = ListeningSocket::bind(&"127.0.0.1:0".parse().unwrap(), &sockets).unwrap();
    let listener = listener.with_tls(tls);
    let ListenAddress::Tcp(address) = *listener.address() else {
        panic!("a TCP listener");
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let service = |request: Request<Incoming>, _: ClientPeer| async move {
        let view = ClientCertificate::of(&request);
        let text = format!("<{:?}>", view.map(ClientCertificate::name));
        Response::new(ServerBody::new(Bytes::from(text)))
    };
    let task = tokio::spawn(async move {
        let stopped = async { stopped.await.unwrap_or_default() };
        serve(vec![listener], &HttpLimits::default(), service, stopped).await;
    });
    TestServer {
        address,
        stop,
        task,
    }
}

impl TestServer {
    /// The answer's body. With TLS 1.3 a client learns of a refusal when it reads (RFC 8446 §4.4.2.4).
    async fn ask(&self, connector: &TlsConnector) -> std::io::Result<String> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, stream).await?;
        stream.write_all(REQUEST).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer.rsplit("\r\n").next().unwrap().to_owned())
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn who_shows_no_certificate_of_the_authority_gets_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (authority(), authority());
    let tls = ServerTls::load_mutual(&files(folder.path(), &ours)).unwrap();
    let server = start(&tls);
    for offered in [&version::TLS12, &version::TLS13] {
        let known = client(&ours, Some((&ours, "press-7")), offered);
        let answer = server.ask(&known).await.unwrap();
        assert_eq!(answer, "<Some(Some(\"press-7\"))>");
        // The session that it began is resumed, with the same name.
        let answer = server.ask(&known).await.unwrap();
        assert_eq!(answer, "<Some(Some(\"press-7\"))>");
        let odd = client(&ours, Some((&ours, "a\nb")), offered);
        assert_eq!(server.ask(&odd).await.unwrap(), "<Some(None)>");
        let none = server.ask(&client(&ours, None, offered)).await;
        none.unwrap_err();
        let foreign = client(&ours, Some((&other, "press-7")), offered);
        server.ask(&foreign).await.unwrap_err();
    }
    server.stop().await;
}

#[tokio::test]
async fn without_authorities_nobody_is_asked_for_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority();
    let settings = MutualTlsSettings {
        client_ca: None,
        ..files(folder.path(), &ours)
    };
    let server = start(&ServerTls::load_mutual(&settings).unwrap());
    let shows = client(&ours, Some((&ours, "press-7")), &version::TLS13);
    assert_eq!(server.ask(&shows).await.unwrap(), "<None>");
    server.stop().await;
}

#[tokio::test]
async fn authorities_that_were_replaced_vouch_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, next) = (authority(), authority());
    let settings = files(folder.path(), &ours);
    let tls = ServerTls::load_mutual(&settings).unwrap();
    let server = start(&tls);
    let old = client(&ours, Some((&ours, "old")), &version::TLS13);
    let new = client(&ours, Some((&next, "new")), &version::TLS13);
    server.ask(&old).await.unwrap();
    server.ask(&new).await.unwrap_err();

    let ca = settings.client_ca.as_ref().unwrap();
    std::fs::write(ca, "half an author").unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.starts_with("client_ca file "), "{error}");
    server.ask(&old).await.unwrap();

    std::fs::write(ca, next.pem()).unwrap();
    assert_eq!(tls.reload().unwrap(), TlsReload::Renewed);
    server.ask(&old).await.unwrap_err();
    assert_eq!(server.ask(&new).await.unwrap(), "<Some(Some(\"new\"))>");
    server.stop().await;
}
