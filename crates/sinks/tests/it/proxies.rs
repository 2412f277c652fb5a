//! Sinks behind an HTTP proxy.

use crate::broker::TestBroker;
use crate::support::{certificate, deliveries, endpoint, hub, settings, short};
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use twinroute_model::clock::{ManualClock, Timestamp};
use twinroute_model::settings::{AmqpTransport, EndpointSettings};
use twinroute_outgoing::OutgoingConnections;
use twinroute_outgoing::proxy::ProxyTable;
use twinroute_router::sink::{Connect, Sink};
use twinroute_sinks::connect::AzureConnector;

/// `p@ss` under `user`.
const AUTHORIZATION: &str = "Proxy-Authorization: Basic dXNlcjpwQHNz";

/// A proxy that leads everywhere to one server, once it has heard the password.
struct TestProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl TestProxy {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(tunnel(stream, server, Arc::clone(&heard)));
            }
        });
        Self {
            address,
            asked,
            _tasks: tasks,
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn proxies(&self, password: &str) -> ProxyTable {
        let url = format!("http://user:{password}@{}", self.address);
        let exempt = ["exempt.example".to_owned()];
        ProxyTable::new(Some(&url.as_str().into()), &exempt, |_| None).unwrap()
    }
}

async fn tunnel(mut stream: TcpStream, server: SocketAddr, asked: Arc<Mutex<Vec<String>>>) {
    let head = head(&mut stream).await;
    let lets_in = head.to_lowercase().contains(&AUTHORIZATION.to_lowercase());
    asked.lock().unwrap().push(head);
    if !lets_in {
        let no = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(no).await.unwrap();
        return;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let mut server = TcpStream::connect(server).await.unwrap();
    tokio::io::copy_bidirectional(&mut stream, &mut server)
        .await
        .ok();
}

/// The head of a request, and no byte of what comes behind it.
pub(crate) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// An Event Grid topic over TLS that takes all.
async fn topic(acceptor: TlsAcceptor) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            take(&mut stream).await;
        }
    });
    (address, tasks)
}

async fn take(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let head = head(stream).await.to_lowercase();
    let (_, length) = head.split_once("content-length: ").unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    let yes = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(yes).await.unwrap();
    stream.flush().await.unwrap();
}

fn sink(
    outgoing: &OutgoingConnections,
    properties: &str,
    settings: &EndpointSettings,
) -> Arc<dyn Sink> {
    let clock = Arc::new(ManualClock::new(Timestamp::from_unix_millis(0)));
    let connector = AzureConnector::new(clock, outgoing.clone());
    connector.connect(&endpoint(properties), settings).unwrap()
}

fn grid(url: &str) -> String {
    format!(
        r#""endpointType":"EventGrid","TopicEndpoint":"{url}","accessKey1":"a-key-that-is-secret""#
    )
}

#[tokio::test]
async fn event_grid_goes_through_the_proxy_and_shows_it_nothing() {
    let (tls, acceptor) = certificate("topic.example");
    let (server, _tasks) = topic(acceptor).await;
    let proxy = TestProxy::start(server).await;
    let outgoing = OutgoingConnections::direct(tls).with_proxies(proxy.proxies("p%40ss"));
    let properties = grid("https://topic.example/api/events");
    let sink = sink(&outgoing, &properties, &settings());
    let outcomes = sink.send(&deliveries(0..3)).await;
    assert_eq!(short(&outcomes), ["delivered"; 3]);
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1);
    assert!(
        asked[0].starts_with("CONNECT topic.example:443 HTTP/1.1\r\n"),
        "{asked:?}"
    );
    assert!(!asked[0].contains("secret"), "{asked:?}");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_a_fault_that_shows_no_password() {
    let (tls, acceptor) = certificate("topic.example");
    let (server, _tasks) = topic(acceptor).await;
    let proxy = TestProxy::start(server).await;
    let outgoing = OutgoingConnections::direct(tls).with_proxies(proxy.proxies("wr0ng"));
    let properties = grid("https://topic.example/api/events");
    let outcomes = sink(&outgoing, &properties, &settings())
        .send(&deliveries(0..1))
        .await;
    assert_eq!(short(&outcomes), ["unreachable connect"]);
    let debug_text = format!("{outcomes:?}");
    assert!(
        debug_text.contains("proxy") && !debug_text.contains("wr0ng"),
        "{debug_text}"
    );
}

#[tokio::test]
async fn what_is_in_the_clear_exempt_or_amqp_asks_no_proxy() {
    let broker = Arc::new(TestBroker::default());
    let (address, _tasks) = broker.listen("127.0.0.1:0").await;
    let proxy = TestProxy::start(address).await;
    let (tls, _) = certificate("topic.example");
    let outgoing = OutgoingConnections::direct(tls).with_proxies(proxy.proxies("p%40ss"));
    let quick = settings();
    for (properties, expect) in [
        (
            grid("http://topic.invalid/api/events"),
            "unreachable connect",
        ),
        (
            grid("https://exempt.example.invalid:1/x"),
            "unreachable connect",
        ),
        (
            hub("Endpoint=sb://ns.invalid;SharedAccessKeyName=a;SharedAccessKey=b;EntityPath=hub"),
            "unreachable connect",
        ),
        (
            hub(&format!(
                "Endpoint=sb://{address};SharedAccessKeyName=a;SharedAccessKey=b;EntityPath=hub;UseDevelopmentEmulator=true"
            )),
            "delivered",
        ),
    ] {
        let outcomes = sink(&outgoing, &properties, &quick)
            .send(&deliveries(0..1))
            .await;
        assert_eq!(short(&outcomes), [expect], "{properties}");
    }
    let through: Vec<_> = proxy.asked();
    // The one that is not exempt: `exempt.example` is no end of its name.
    assert_eq!(through.len(), 1, "{through:?}");
    assert!(through[0].starts_with("CONNECT exempt.example.invalid:1 "));
}

/// A namespace on port 443: TLS, in it WebSockets, in them the broker.
async fn namespace(acceptor: TlsAcceptor, broker: &Arc<TestBroker>) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let broker = Arc::clone(broker);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, broker) = (acceptor.clone(), Arc::clone(&broker));
            connections.spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let socket = tokio_tungstenite::accept_hdr_async(stream, upgrade).await;
                let (near, far) = tokio::io::duplex(1 << 16);
                tokio::join!(broker.serve(near), pump(socket.unwrap(), far));
            });
        }
    });
    (address, tasks)
}

#[allow(clippy::result_large_err, reason = "the callback's type")]
fn upgrade(
    request: &Request,
    mut response: Response,
) -> Result<Response, tokio_tungstenite::tungstenite::handshake::server::ErrorResponse> {
    assert_eq!(request.uri(), "/$servicebus/websocket");
    let name = "sec-websocket-protocol";
    let headers = response.headers_mut();
    headers.insert(name, request.headers()[name].clone());
    Ok(response)
}

async fn pump<S>(socket: WebSocketStream<S>, pipe: tokio::io::DuplexStream)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sending, mut receiving) = socket.split();
    let (mut reader, mut writer) = tokio::io::split(pipe);
    let outwards = async {
        let mut chunk = vec![0; 1_000];
        while let Ok(read @ 1..) = reader.read(&mut chunk).await {
            let message = Message::binary(chunk[..read].to_vec());
            sending.send(message).await.ok();
        }
    };
    let inwards = async {
        while let Some(Ok(message)) = receiving.next().await {
            if let Message::Binary(bytes) = message {
                writer.write_all(&bytes).await.ok();
            }
        }
    };
    tokio::select! {
        () = outwards => {}
        () = inwards => {}
    }
}

#[tokio::test]
async fn amqp_within_websockets_goes_through_the_proxy_under_tls() {
    let (tls, acceptor) = certificate("ns.example");
    let broker = Arc::new(TestBroker::default());
    let (server, _tasks) = namespace(acceptor, &broker).await;
    let proxy = TestProxy::start(server).await;
    let websocket = settings().with(|own| own.amqp_transport = AmqpTransport::Websocket);
    let text = |host: &str| {
        format!("Endpoint=sb://{host}/;SharedAccessKeyName=a;SharedAccessKey=b;EntityPath=hub")
    };
    let outgoing = OutgoingConnections::direct(tls).with_proxies(proxy.proxies("p%40ss"));
    // The port of AMQP itself is not that of WebSockets.
    for host in ["ns.example", "ns.example:5671"] {
        let sink = sink(&outgoing, &hub(&text(host)), &websocket);
        let outcomes = sink.send(&deliveries(0..50)).await;
        assert_eq!(short(&outcomes), ["delivered"; 50], "{host}");
    }
    assert_eq!(broker.ids().len(), 100);
    let asked = proxy.asked();
    assert_eq!(asked.len(), 2);
    for asked in asked {
        assert!(
            asked.starts_with("CONNECT ns.example:443 HTTP/1.1\r\n"),
            "{asked}"
        );
    }
    let outgoing = outgoing.with_proxies(proxy.proxies("wr0ng"));
    let sink = sink(&outgoing, &hub(&text("ns.example")), &websocket);
    let outcomes = sink.send(&deliveries(0..1)).await;
    assert_eq!(short(&outcomes), ["unreachable proxy"]);
    let debug_text = format!("{outcomes:?}");
    assert!(
        debug_text.contains("name or password") && !debug_text.contains("wr0ng"),
        "{debug_text}"
    );
}
