//! The server over TLS: both protocols, the scheme that handlers see, renewal, slow handshakes.
#![allow(clippy::unwrap_used, reason = "test code")]

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, version};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use twinroute_listen::{
    ClientPeer, HttpLimits, ListenAddress, ListeningSocket, RequestScheme, ServerBody, ServerTls,
    SocketSettings, TlsReload, TlsSettings, serve,
};

/// An authority, and the files of a server that it vouches for.
struct TlsFiles {
    authority: CertifiedIssuer<'static, KeyPair>,
    settings: TlsSettings,
    _folder: tempfile::TempDir,
}

impl TlsFiles {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let settings = TlsSettings {
            certificate: folder.path().join("server.pem"),
            key: folder.path().join("server.key"),
        };
        let files = Self {
            authority,
            settings,
            _folder: folder,
        };
        files.renew();
        files
    }

    fn renew(&self) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        std::fs::write(&self.settings.certificate, certificate.pem()).unwrap();
        std::fs::write(&self.settings.key, key.serialize_pem()).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&self.settings.key, mode).unwrap();
    }

    fn connector(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        alpn: &[&str],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        // A resumed session would show the certificate that it began with.
        config.resumption = Resumption::disabled();
        TlsConnector::from(Arc::new(config))
    }
}

struct TestServer {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Answers with what it knows of each request.
fn start(tls: &ServerTls, limits: HttpLimits) -> TestServer {
    let sockets = SocketSettings::default();
    let listener = ListeningSocket::bind(&"127.0.0.1:0".parse().unwrap(), &sockets).unwrap();
    let listener = listener.with_tls(tls);
    let ListenAddress::Tcp(address) = *listener.address() else {
        panic!("a TCP listener");
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let service = |request: Request<Incoming>, peer: ClientPeer| async move {
        let (version, scheme) = (request.version(), RequestScheme::of(&request).as_str());
        let text = format!("{version:?} {scheme} {}", peer.is_local());
        Response::new(ServerBody::new(Bytes::from(text)))
    };
    let task = tokio::spawn(async move {
        let stopped = async { stopped.await.unwrap_or_default() };
        serve(vec![listener], &limits, service, stopped).await;
    });
    TestServer {
        address,
        stop,
        task,
    }
}

impl TestServer {
    async fn connect(&self, connector: &TlsConnector) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        connector.connect(name, stream).await.unwrap()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

async fn read_all(stream: &mut TlsStream<TcpStream>) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn server_certificate(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

const CLOSE: &[u8] = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn http1_over_both_versions_of_tls() {
    let files = TlsFiles::new();
    let server = start(
        &ServerTls::load(&files.settings).unwrap(),
        HttpLimits::default(),
    );
    for (offered, spoken) in [
        (&version::TLS12, ProtocolVersion::TLSv1_2),
        (&version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let connector = files.connector(&[offered], &["http/1.1"]);
        let mut stream = server.connect(&connector).await;
        let connection = stream.get_ref().1;
        assert_eq!(connection.protocol_version(), Some(spoken));
        assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(CLOSE).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.ends_with("\r\n\r\nHTTP/1.1 https true"), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn http2_is_chosen_where_the_client_offers_it() {
    let files = TlsFiles::new();
    let server = start(
        &ServerTls::load(&files.settings).unwrap(),
        HttpLimits::default(),
    );
    let connector = files.connector(rustls::ALL_VERSIONS, &["http/1.1", "h2"]);
    let stream = server.connect(&connector).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = TokioIo::new(stream);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("https://localhost/").body(Full::<Bytes>::default());
    let answer = client.send_request(request.unwrap()).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "HTTP/2.0 https true");
    drop(client);
    connection.await.unwrap().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_for_new_connections_and_open_ones_go_on() {
    let files = TlsFiles::new();
    let tls = ServerTls::load(&files.settings).unwrap();
    let server = start(&tls, HttpLimits::default());
    let connector = files.connector(rustls::ALL_VERSIONS, &[]);
    let mut open = server.connect(&connector).await;
    let first = server_certificate(&open);
    open.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    open.read_exact(&mut answer).await.unwrap();

    std::fs::write(&files.settings.certificate, "half a certi").unwrap();
    tls.reload().unwrap_err();
    assert_eq!(server_certificate(&server.connect(&connector).await), first);

    files.renew();
    assert_eq!(tls.reload().unwrap(), TlsReload::Renewed);
    let mut second = server.connect(&connector).await;
    assert_ne!(server_certificate(&second), first);
    for stream in [&mut open, &mut second] {
        stream.write_all(CLOSE).await.unwrap();
        let answer = read_all(stream).await;
        assert!(answer.ends_with("HTTP/1.1 https true"), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_server_itself_looks_for_a_renewed_certificate() {
    let files = TlsFiles::new();
    let server = start(
        &ServerTls::load(&files.settings).unwrap(),
        HttpLimits::default(),
    );
    let connector = files.connector(rustls::ALL_VERSIONS, &[]);
    let first = server_certificate(&server.connect(&connector).await);
    files.renew();
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(61)).await;
    tokio::time::resume();
    let second = server_certificate(&server.connect(&connector).await);
    assert_ne!(second, first);
    let on_disk = CertificateDer::from_pem_file(&files.settings.certificate).unwrap();
    assert_eq!(second, on_disk);
    server.stop().await;
}

#[tokio::test]
async fn a_slow_handshake_is_cut_off_and_keeps_nobody_waiting() {
    let files = TlsFiles::new();
    let limits = HttpLimits {
        header_read_timeout: Duration::from_millis(300),
        ..HttpLimits::default()
    };
    let server = start(&ServerTls::load(&files.settings).unwrap(), limits);
    // Nothing at all, and the beginning of a handshake record (RFC 8446 §5.1).
    let mut slow = Vec::new();
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        slow.push(stream);
    }
    let connector = files.connector(rustls::ALL_VERSIONS, &[]);
    let mut quick = server.connect(&connector).await;
    quick.write_all(CLOSE).await.unwrap();
    assert!(read_all(&mut quick).await.starts_with("HTTP/1.1 200"));
    for mut stream in slow {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_speaks_no_tls_or_another_protocol_gets_no_answer() {
    let files = TlsFiles::new();
    let server = start(
        &ServerTls::load(&files.settings).unwrap(),
        HttpLimits::default(),
    );
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(CLOSE).await.unwrap();
    let mut answer = Vec::new();
    // An alert (RFC 8446 §6), then the end or a reset, since the request was not read to its end.
    drop(plain.read_to_end(&mut answer).await);
    assert!(!answer.windows(4).any(|bytes| bytes == b"HTTP"));
    let connector = files.connector(rustls::ALL_VERSIONS, &["smtp"]);
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, stream).await.unwrap_err();
    server.stop().await;
}

#[tokio::test]
async fn a_unix_socket_stays_plain() {
    let files = TlsFiles::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let address = format!("unix:{}", path.display()).parse().unwrap();
    let listener = ListeningSocket::bind(&address, &SocketSettings::default()).unwrap();
    let listener = listener.with_tls(&ServerTls::load(&files.settings).unwrap());
    let service = |request: Request<Incoming>, _: ClientPeer| async move {
        let text = RequestScheme::of(&request).as_str();
        Response::new(ServerBody::new(Bytes::from(text)))
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap_or_default() };
    let limits = HttpLimits::default();
    let serving = serve(vec![listener], &limits, service, stopped);
    let asking = async {
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        stream.write_all(CLOSE).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        stop.send(()).unwrap();
        answer
    };
    let ((), answer) = tokio::join!(serving, asking);
    assert!(answer.ends_with("\r\n\r\nhttp"), "{answer}");
}
