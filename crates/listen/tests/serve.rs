//! The server over real sockets: limits, timeouts, panics, both protocols, an orderly end.
#![allow(clippy::unwrap_used, reason = "test code")]

use bytes::Bytes;
use expect_test::{Expect, expect};
use futures_util::stream::unfold;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use twinroute_listen::{
    BindError, BrokenOff, ClientPeer, HttpLimits, ListenAddress, ListeningSocket, ServerBody,
    SocketSettings, read_body, serve,
};

/// Ten digits, one each 20 ms; breaks off before the one at `end`.
fn slow(end: u32) -> ServerBody {
    ServerBody::pieces(unfold(0, move |digit| async move {
        if digit == end && end < 10 {
            return Some((Err(BrokenOff("told to".to_owned())), digit));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        (digit < 10).then(|| (Ok(Bytes::from(digit.to_string())), digit + 1))
    }))
}

/// Has no end, and tells when it is let go.
fn endless(gone: Arc<Notify>) -> ServerBody {
    struct EchoService(Arc<Notify>);
    impl Drop for EchoService {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    ServerBody::pieces(unfold(EchoService(gone), |tell| async {
        Some((Ok(Bytes::from_static(&[b'x'; 64 << 10])), tell))
    }))
}

struct TestServer {
    address: ListenAddress,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    /// Released by a test to let a request at `/wait` go on.
    go: Arc<Notify>,
    /// Told when a request at `/wait` has begun.
    begun: Arc<Notify>,
}

fn limits() -> HttpLimits {
    HttpLimits {
        body_bytes_max: bytesize::ByteSize::b(10),
        body_read_timeout: Duration::from_millis(50),
        header_read_timeout: Duration::from_millis(50),
        shutdown_grace: Duration::from_secs(5),
        ..HttpLimits::default()
    }
}

fn start_at(address: &str, limits: HttpLimits) -> TestServer {
    let listener =
        ListeningSocket::bind(&address.parse().unwrap(), &SocketSettings::default()).unwrap();
    let address = listener.address().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let (go, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (bytes_max, timeout) = (limits.body_bytes(), limits.body_read_timeout);
    let (wait, begin) = (Arc::clone(&go), Arc::clone(&begun));
    let service = move |request: Request<Incoming>, peer: ClientPeer| {
        let (wait, begin) = (Arc::clone(&wait), Arc::clone(&begin));
        async move {
            let version = request.version();
            match request.uri().path() {
                "/panic" => panic!("told to"),
                "/wait" => {
                    begin.notify_one();
                    wait.notified().await;
                }
                "/slow" => return Response::new(slow(10)),
                "/broken" => return Response::new(slow(2)),
                "/endless" => return Response::new(endless(begin)),
                _ => {}
            }
            let (status, text) = match read_body(request.into_body(), bytes_max, timeout).await {
                Ok(body) => (200, format!("{version:?} {} {body:?}", peer.is_local())),
                Err(error) => (413, error.to_string()),
            };
            let mut response = Response::new(ServerBody::new(Bytes::from(text)));
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            response
        }
    };
    let task = tokio::spawn(async move {
        let stopped = async { stopped.await.unwrap_or_default() };
        serve(vec![listener], &limits, service, stopped).await;
    });
    TestServer {
        address,
        stop,
        task,
        go,
        begun,
    }
}

fn start(limits: HttpLimits) -> TestServer {
    start_at("127.0.0.1:0", limits)
}

impl TestServer {
    async fn connect(&self) -> TcpStream {
        match &self.address {
            ListenAddress::Tcp(address) => TcpStream::connect(address).await.unwrap(),
            _ => panic!("a TCP server"),
        }
    }

    /// Sends `request`, reads until the server closes.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        read_all(&mut stream).await
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

async fn read_all(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8(answer).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("date: "));
    lines.collect::<Vec<_>>().join("\n")
}

async fn check(request: &str, expect: Expect) {
    let server = start(limits());
    expect.assert_eq(&server.raw(request.as_bytes()).await);
    server.stop().await;
}

#[tokio::test]
async fn bodies_are_read_within_their_limit() {
    check(
        "POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 10\r\n\r\n0123456789",
        expect![[r#"
            HTTP/1.1 200 OK
            connection: close
            content-length: 27

            HTTP/1.1 true b"0123456789""#]],
    )
    .await;
    check(
        "POST / HTTP/1.1\r\ncontent-length: 11\r\n\r\n",
        expect![[r#"
            HTTP/1.1 413 Payload Too Large
            content-length: 51

            the body has more than 10 bytes, which is the limit"#]],
    )
    .await;
    check(
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
         6\r\n012345\r\n5\r\n67890\r\n0\r\n\r\n",
        expect![[r#"
            HTTP/1.1 413 Payload Too Large
            connection: close
            content-length: 51

            the body has more than 10 bytes, which is the limit"#]],
    )
    .await;
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let server = start(limits());
    let mut stream = server.connect().await;
    let head = "POST / HTTP/1.1\r\ncontent-length: 3000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; 3_000_000]).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn slow_clients_are_let_go() {
    // Nothing at all, half a head, half a second head: the server closes without a word.
    check("", expect![""]).await;
    check("GET / HTT", expect![""]).await;
    check(
        "GET / HTTP/1.1\r\n\r\nGET / HTT",
        expect![[r#"
            HTTP/1.1 200 OK
            content-length: 17

            HTTP/1.1 true b"""#]],
    )
    .await;
    check(
        "POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\n01234",
        expect![[r#"
            HTTP/1.1 413 Payload Too Large
            content-length: 56

            the body did not arrive within 50 ms, which is the limit"#]],
    )
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = start(HttpLimits {
        keep_alive_timeout: Duration::from_millis(40),
        header_read_timeout: Duration::from_secs(60),
        ..limits()
    });
    let answer = server.raw(b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn headers_are_limited_in_bytes_and_number() {
    let server = start(HttpLimits {
        header_bytes_max: bytesize::ByteSize::kib(1),
        headers_max: 5,
        ..limits()
    });
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(2000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(6));
    for request in [long, many] {
        let answer = server.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn headers_are_counted_over_http2_too() {
    let server = start(HttpLimits {
        headers_max: 1,
        ..limits()
    });
    let io = TokioIo::new(server.connect().await);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://x/").header("a", "1").header("b", "2");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 431);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let text = r#"{"error":{"code":"TooManyHeaders","message":"the request has more than 1 headers, which is the limit"}}"#;
    assert_eq!(body, text);
    drop(client);
    connection.await.unwrap().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_panic_is_answered_and_the_connection_goes_on() {
    check(
        "GET /panic HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nconnection: close\r\n\r\n",
        expect![[r#"
            HTTP/1.1 500 Internal Server Error
            content-type: application/json
            content-length: 110

            {"error":{"code":"InternalError","message":"this request met a defect in twinroute, which its log describes"}}HTTP/1.1 200 OK
            connection: close
            content-length: 17

            HTTP/1.1 true b"""#]],
    )
    .await;
}

#[tokio::test]
async fn http2_with_prior_knowledge_works_and_ends_in_order() {
    let server = start(limits());
    let io = TokioIo::new(server.connect().await);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = |path: &str, body: &'static str| {
        let uri = format!("http://x{path}");
        Request::post(uri)
            .body(Full::new(Bytes::from_static(body.as_bytes())))
            .unwrap()
    };
    let text = |response: Response<Incoming>| async move {
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        format!("{status} {}", std::str::from_utf8(&body).unwrap())
    };
    let answer = client
        .send_request(request("/", "0123456789"))
        .await
        .unwrap();
    assert_eq!(text(answer).await, "200 HTTP/2.0 true b\"0123456789\"");
    let answer = client
        .send_request(request("/", "0123456789+"))
        .await
        .unwrap();
    assert_eq!(
        text(answer).await,
        "413 the body has more than 10 bytes, which is the limit"
    );
    let answer = client.send_request(request("/panic", "")).await.unwrap();
    assert!(text(answer).await.starts_with("500 {\"error\""));
    // A request that runs while the server stops is answered.
    let running = tokio::spawn(client.send_request(request("/wait", "")));
    server.begun.notified().await;
    server.stop.send(()).unwrap();
    server.go.notify_one();
    let answer = running.await.unwrap().unwrap();
    assert_eq!(text(answer).await, "200 HTTP/2.0 true b\"\"");
    server.task.await.unwrap();
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn stopping_lets_requests_end_and_closes_idle_connections() {
    let server = start(HttpLimits {
        header_read_timeout: Duration::from_secs(60),
        ..limits()
    });
    let mut idle = server.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\n\r\n").await.unwrap();
    server.begun.notified().await;
    let silent = server.connect().await;
    server.stop.send(()).unwrap();
    assert!(read_all(&mut idle).await.ends_with("b\"\""));
    server.go.notify_one();
    assert!(read_all(&mut busy).await.starts_with("HTTP/1.1 200 OK"));
    server.task.await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn stopping_cuts_off_what_does_not_end() {
    let grace = Duration::from_millis(20);
    let server = start(HttpLimits {
        shutdown_grace: grace,
        ..limits()
    });
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\n\r\n").await.unwrap();
    server.begun.notified().await;
    server.stop().await;
    assert_eq!(read_all(&mut busy).await, "");
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_their_turn() {
    let limits = HttpLimits {
        connections_max: 1,
        header_read_timeout: Duration::from_secs(60),
        ..limits()
    };
    let server = start(limits);
    let mut first = server.connect().await;
    first
        .write_all(b"GET /wait HTTP/1.1\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    server.begun.notified().await;
    let mut second = server.connect().await;
    second
        .write_all(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    server.go.notify_one();
    assert!(read_all(&mut first).await.starts_with("HTTP/1.1 200 OK"));
    assert!(read_all(&mut second).await.starts_with("HTTP/1.1 200 OK"));
    server.stop().await;
}

#[tokio::test]
async fn unix_sockets_are_private_and_replaced_only_when_left_behind() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let address = format!("unix:{}", path.display());
    let bind = || ListeningSocket::bind(&address.parse().unwrap(), &SocketSettings::default());

    // A socket file whose process is gone.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = start_at(&address, limits());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert!(matches!(bind(), Err(BindError::InUse { .. })));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(read_all(&mut stream).await.ends_with("HTTP/1.1 true b\"\""));
    server.stop().await;
    assert!(!path.exists());

    std::fs::write(&path, "precious").unwrap();
    let error = bind().unwrap_err().to_string();
    let expected = format!("listen on {address}: the path exists and is not a socket");
    assert_eq!(error, expected);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let server = start(limits());
    let error = ListeningSocket::bind(&server.address, &SocketSettings::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("listen on {}: cannot bind", server.address)
    );
    server.stop().await;
}

fn impatient() -> HttpLimits {
    HttpLimits {
        keep_alive_timeout: Duration::from_millis(60),
        ..limits()
    }
}

async fn raw(server: &TestServer, path: &str) -> String {
    let mut stream = server.connect().await;
    let request = format!("GET {path} HTTP/1.1\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn an_answer_in_pieces_outlasts_the_time_for_idle_connections() {
    let server = start(impatient());
    let pieces = raw(&server, "/slow").await;
    let expect: String = (0..10).map(|digit| format!("1\r\n{digit}\r\n")).collect();
    assert_eq!(pieces, format!("{expect}0\r\n\r\n"));
    server.stop().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_has_no_end() {
    let server = start(impatient());
    // The piece before may go down with the connection.
    let pieces = raw(&server, "/broken").await;
    assert!(pieces.starts_with("1\r\n0\r\n"), "{pieces:?}");
    assert!(!pieces.ends_with("0\r\n\r\n"), "{pieces:?}");
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_take_an_answer_is_disconnected() {
    let server = start(impatient());
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /endless HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let gone = tokio::time::timeout(Duration::from_secs(20), server.begun.notified());
    gone.await.unwrap();
    drop(stream);
    server.stop().await;
}
