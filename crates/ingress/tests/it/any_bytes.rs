//! Whatever a client sends, the answer is never a defect.

use super::{EVENT, NOW};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use proptest::prelude::*;
use std::sync::Arc;
use twinroute_ingress::{IngressServer, Settings};
use twinroute_listen::ClientPeer;
use twinroute_model::clock::ManualClock;
use twinroute_router::Router;

fn ingress(toml: &str) -> IngressServer {
    let settings: Settings = toml::from_str(toml).unwrap();
    let router = Router::builder().build().unwrap();
    IngressServer::new(&settings, router, Arc::new(ManualClock::new(NOW)))
}

fn paths() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "/events",
        "/api/events?api-version=2018-01-01",
        "/instances/a/events",
        "/events?code=%ff",
        "/events?aeg-sas-key=a",
    ]);
    prop_oneof![
        known.prop_map(str::to_owned),
        "/[ -~&&[^#<>\\\\^`{|}\" ]]{0,20}"
    ]
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let name = prop::sample::select(vec![
        "content-type",
        "aeg-event-type",
        "aeg-sas-key",
        "aeg-sas-token",
        "authorization",
        "twinroute-ack",
        "ce-specversion",
        "ce-id",
        "ce-source",
        "ce-type",
        "ce-x",
        "ce-time",
        "content-encoding",
        "webhook-request-origin",
    ]);
    let likely = prop::sample::select(vec![
        "application/json",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "Notification",
        "SubscriptionValidation",
        "1.0",
        "memory",
        "r=a&e=b&s=c",
        "SharedAccessSignature r=%&e=%&s=%",
        "identity",
    ]);
    let value = prop_oneof![
        likely.prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec((name, value), 0..8)
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let cut = (0..=EVENT.len()).prop_map(|end| EVENT.as_bytes()[..end].to_vec());
    let wrapped = prop::sample::select(vec!["[", "[[", "{\"specversion\":", " [{", "]"]);
    let wrapped = wrapped.prop_map(|before| format!("{before}{EVENT}]").into_bytes());
    prop_oneof![cut, wrapped, prop::collection::vec(any::<u8>(), 0..100)]
}

proptest! {
    #[test]
    fn any_request_is_answered_below_500(
        path in paths(),
        options in any::<bool>(),
        headers in headers(),
        body in bodies(),
        guarded in any::<bool>(),
    ) {
        let Ok(mut request) = Request::builder().uri(path).body(Full::new(Bytes::from(body))) else {
            return Ok(());
        };
        *request.method_mut() = if options { Method::OPTIONS } else { Method::POST };
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                request.headers_mut().append(HeaderName::from_static(name), value);
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let ingress = ingress(if guarded { "access_keys = [\"a\"]\nwebhook_code = \"b\"" } else { "" });
        let answer = runtime.block_on(ingress.handle(request, ClientPeer::Unix));
        prop_assert!(answer.status().as_u16() < 500, "{:?}", answer);
    }
}

/// The same as bytes on a socket, through the HTTP parser.
#[test]
fn any_bytes_on_a_socket_are_answered_below_500() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let server = super::start("limits = { header_read_timeout = \"20ms\" }");
    let close = "connection: close\r\n";
    let starts = prop::sample::select(vec![
        "",
        "POST /events HTTP/1.1\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]);
    let strategy = (starts, prop::collection::vec(any::<u8>(), 0..60));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(40));
    runner
        .run(&strategy, |(start, bytes)| {
            let request = [start.as_bytes(), close.as_bytes(), &bytes, b"\r\n\r\n"].concat();
            let answer = runtime.block_on(raw(&server, &request));
            prop_assert!(!answer.starts_with(b"HTTP/1.1 5"));
            Ok(())
        })
        .unwrap();
    runtime.block_on(server.stop());
}

async fn raw(server: &super::TestServer, request: &[u8]) -> Vec<u8> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let twinroute_listen::ListenAddress::Tcp(address) = &server.address else {
        panic!("a TCP server");
    };
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A connection reset by the server is an answer too: no 5xx.
    stream.read_to_end(&mut answer).await.unwrap_or_default();
    answer
}
