//! The ingress, mounted in servers of the program's own.

use crate::{CollectingSink, closed};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use tower_service::Service as _;
use twinroute::ingress::{ClientPeer, IngressService, InvalidIngress};
use twinroute::prelude::*;

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"press-7","type":"t"}"#;

fn request(path: &str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(Method::POST).uri(path);
    let request = request.header("content-type", "application/cloudevents+json");
    request.body(Full::from(EVENT)).unwrap()
}

async fn status(service: &IngressService, request: Request<Full<Bytes>>) -> StatusCode {
    let answered = service.clone().call(request).await;
    let Ok(response) = answered;
    response.status()
}

async fn start(sink: impl Sink) -> Router {
    let builder = Router::builder().sink("archive", sink);
    builder
        .route("all", "archive", "true")
        .start()
        .await
        .unwrap()
}

#[tokio::test]
async fn events_come_in_by_the_programs_own_axum_server() {
    let sink = CollectingSink::default();
    let router = start(sink.clone()).await;
    let events = router.ingress().access_key("secret").service().unwrap();
    let app = axum::Router::new().nest_service("/twinroute", events);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let post = |key: &'static str| async move {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /twinroute/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\naeg-sas-key: {key}\r\n\
             content-type: application/cloudevents+json\r\ncontent-length: {}\r\n\r\n{EVENT}",
            EVENT.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let mut reader = tokio::io::BufReader::new(stream);
        tokio::io::AsyncReadExt::read_to_string(&mut reader, &mut answer)
            .await
            .unwrap();
        answer.lines().next().unwrap().to_owned()
    };
    assert_eq!(post("secret").await, "HTTP/1.1 202 Accepted");
    assert_eq!(post("other").await, "HTTP/1.1 401 Unauthorized");
    router.settled().await;
    assert_eq!(sink.ids(), ["1"]);
    serving.abort();
}

#[tokio::test]
async fn it_is_a_service_of_hyper_too() {
    let sink = CollectingSink::default();
    let router = start(sink.clone()).await;
    let service = router.ingress().allow_anonymous().service().unwrap();
    let answered = hyper::service::Service::call(&service, request("/events")).await;
    let Ok(response) = answered;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    router.settled().await;
    assert_eq!(sink.ids(), ["1"]);
}

#[tokio::test]
async fn without_a_key_nobody_sends_who_is_not_known_to_be_here() {
    let router = start(closed()).await;
    let service = router.ingress().service().unwrap();
    assert_eq!(
        status(&service, request("/events")).await,
        StatusCode::UNAUTHORIZED
    );
    let mut local = request("/events");
    local
        .extensions_mut()
        .insert(ClientPeer::Tcp(([127, 0, 0, 1], 9).into()));
    assert_eq!(status(&service, local).await, StatusCode::ACCEPTED);
    let elsewhere = request("/instances/elsewhere/events");
    let open = router.ingress().allow_anonymous().service().unwrap();
    assert_eq!(status(&open, elsewhere).await, StatusCode::NOT_FOUND);
    assert_eq!(
        status(&open, request("/other")).await,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn what_the_program_maps_is_mapped_and_what_it_cannot_accept_is_answered() {
    let sink = CollectingSink::default();
    let builder = Router::builder().sink("archive", sink.clone());
    let builder = builder.route("all", "archive", "site = 'berlin'");
    let builder = builder.map_event(|event: Event| match event.subject() {
        Some(_) => Err("its subject is not ours"),
        None => event.with_extension("site", "berlin").map_err(|_| "never"),
    });
    let router = builder.start().await.unwrap();
    let service = router.ingress().allow_anonymous().service().unwrap();
    assert_eq!(
        status(&service, request("/events")).await,
        StatusCode::ACCEPTED
    );
    let body = EVENT.replace('}', r#","subject":"s"}"#);
    let refused = request("/events").map(|_| Full::from(body));
    assert_eq!(
        status(&service, refused).await,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    router.settled().await;
    assert_eq!(sink.ids(), ["1"]);
}

#[tokio::test]
async fn a_stopped_router_answers_503_and_wrong_settings_are_refused() {
    let router = start(closed()).await;
    let service = router
        .ingress()
        .allow_anonymous()
        .ack(AckLevel::Delivered)
        .service()
        .unwrap();
    let waiting = status(&service, request("/events"));
    let stopping = async {
        tokio::task::yield_now().await;
        router.stop(Duration::ZERO).await
    };
    let (waited, _) = tokio::join!(waiting, stopping);
    // It was accepted, and the stop ended its delivery.
    assert_eq!(waited, StatusCode::OK);
    assert_eq!(
        status(&service, request("/events")).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let wrong = router
        .ingress()
        .settings(|own| own.batch_events_max = 0)
        .service();
    let expect: Option<InvalidIngress> = wrong.err();
    assert_eq!(
        expect.unwrap().to_string(),
        "ingress: batch_events_max must be at least 1"
    );
}
