//! The Event Grid sink against a small HTTP server.

use crate::support::{connect, deliveries, delivery, settings, short};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use twinroute_model::event::{EventLimits, EventParts};
use twinroute_model::settings::{EndpointSettings, TopicSchema};
use twinroute_model::trace_context::TraceContext;
use twinroute_router::sink::{
    CredentialSlot, Delivery, DeliveryOutcome, EndpointFault, FaultKind, Sink,
};

struct SeenRequest {
    target: String,
    headers: HeaderMap,
    ids: Vec<String>,
    bytes: usize,
    body: Bytes,
}

type TopicScript = Box<dyn FnMut(&SeenRequest) -> Option<Response<Full<Bytes>>> + Send>;

/// A topic that answers as its script says; `None` is no answer at all.
struct ScriptedTopic {
    url: String,
    seen: Arc<Mutex<Vec<SeenRequest>>>,
    _tasks: JoinSet<()>,
}

fn reply(status: u16) -> Option<Response<Full<Bytes>>> {
    let body = format!(r#"{{"error":{{"code":"{status}","message":"scripted","details":[]}}}}"#);
    Some(
        Response::builder()
            .status(status)
            .body(Full::from(body))
            .unwrap(),
    )
}

impl ScriptedTopic {
    async fn start(
        script: impl FnMut(&SeenRequest) -> Option<Response<Full<Bytes>>> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/events", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Mutex<TopicScript>> = Arc::new(Mutex::new(Box::new(script)));
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, seen) = (Arc::clone(&script), Arc::clone(&shared));
                let service = service_fn(move |request| {
                    answer(request, Arc::clone(&script), Arc::clone(&seen))
                });
                connections.spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    http.serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok();
                });
            }
        });
        Self {
            url,
            seen,
            _tasks: tasks,
        }
    }

    fn sink(&self, settings: &EndpointSettings) -> Arc<dyn Sink> {
        let properties = format!(
            r#""endpointType":"EventGrid","TopicEndpoint":"{}",
               "accessKey1":"key-one=","accessKey2":"key-two=""#,
            self.url
        );
        connect(&properties, settings)
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn answer(
    request: Request<Incoming>,
    script: Arc<Mutex<TopicScript>>,
    seen: Arc<Mutex<Vec<SeenRequest>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let events: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
    let id = |event: &serde_json::Value| event["id"].as_str().unwrap().to_owned();
    let one = SeenRequest {
        target: head.uri.to_string(),
        headers: head.headers,
        ids: events.iter().map(id).collect(),
        bytes: body.len(),
        body,
    };
    let response = (script.lock().unwrap())(&one);
    seen.lock().unwrap().push(one);
    match response {
        Some(response) => Ok(response),
        None => std::future::pending().await,
    }
}

#[tokio::test]
async fn a_batch_is_one_request_with_key_version_and_content_type() {
    let topic = ScriptedTopic::start(|_| reply(200)).await;
    let sink = topic.sink(&settings());
    assert_eq!(short(&sink.send(&deliveries(0..3)).await), ["delivered"; 3]);
    let grid = settings().with(|own| own.topic_schema = TopicSchema::EventGrid);
    topic.sink(&grid).send(&deliveries(3..4)).await;
    let seen = topic.seen.lock().unwrap();
    assert_eq!(seen[0].target, "/api/events?api-version=2018-01-01");
    assert_eq!(seen[0].headers["aeg-sas-key"], "key-one=");
    assert_eq!(
        seen[0].headers["content-type"],
        "application/cloudevents-batch+json; charset=utf-8"
    );
    assert_eq!(seen[0].ids, ["0", "1", "2"]);
    assert_eq!(
        seen[1].headers["content-type"],
        "application/json; charset=utf-8"
    );
    let event: serde_json::Value = serde_json::from_slice(&seen[1].body).unwrap();
    assert_eq!(event[0]["eventType"], "t");
    assert_eq!(event[0]["dataVersion"], "1.0");
}

#[tokio::test]
async fn requests_stay_under_a_megabyte_and_a_larger_event_is_rejected_unsent() {
    let topic = ScriptedTopic::start(|_| reply(200)).await;
    let sink = topic.sink(&settings());
    let mut batch: Vec<_> = (0..5).map(|id| delivery(id, 400_000)).collect();
    batch.insert(2, delivery(99, 1_000_000));
    let outcomes = short(&sink.send(&batch).await);
    assert_eq!(outcomes[2], "reject payload-too-large");
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| *outcome == "delivered")
            .count(),
        5
    );
    let seen = topic.seen.lock().unwrap();
    let ids: Vec<_> = seen.iter().map(|request| request.ids.join(",")).collect();
    assert_eq!(ids, ["0,1", "2,3", "4"]);
    assert!(seen.iter().all(|request| request.bytes <= 1_000_000));
}

#[tokio::test]
async fn a_refused_key_gives_way_to_the_other_which_is_remembered() {
    let topic = ScriptedTopic::start(|seen| {
        let second = seen.headers["aeg-sas-key"] == "key-two=";
        reply(if second { 200 } else { 401 })
    })
    .await;
    let sink = topic.sink(&settings());
    assert_eq!(short(&sink.send(&deliveries(0..1)).await), ["delivered"]);
    assert_eq!(topic.requests(), 2);
    assert_eq!(short(&sink.send(&deliveries(1..2)).await), ["delivered"]);
    assert_eq!(topic.requests(), 3);
}

#[tokio::test]
async fn the_first_key_is_tried_again_when_the_second_is_refused() {
    let good = Arc::new(Mutex::new("key-two="));
    let taken = Arc::clone(&good);
    let topic = ScriptedTopic::start(move |seen| {
        let known = seen.headers["aeg-sas-key"] == *taken.lock().unwrap();
        reply(if known { 200 } else { 401 })
    })
    .await;
    let sink = topic.sink(&settings());
    for (key, slot, requests) in [
        ("key-two=", CredentialSlot::Secondary, 2),
        ("key-two=", CredentialSlot::Secondary, 3),
        ("key-one=", CredentialSlot::Primary, 5),
        ("key-one=", CredentialSlot::Primary, 6),
    ] {
        *good.lock().unwrap() = key;
        assert_eq!(short(&sink.send(&deliveries(0..1)).await), ["delivered"]);
        assert_eq!(topic.requests(), requests);
        let active = sink.credentials().into_iter().find(|one| one.active);
        assert_eq!(active.map(|one| one.slot), Some(slot));
    }
}

#[tokio::test]
async fn both_keys_refused_is_the_endpoints_fault_and_shows_neither() {
    let topic = ScriptedTopic::start(|_| reply(401)).await;
    let outcomes = topic.sink(&settings()).send(&deliveries(0..2)).await;
    assert_eq!(short(&outcomes), ["unauthorized http-401"; 2]);
    assert_eq!(topic.requests(), 2);
    let debug_text = format!("{outcomes:?}");
    assert!(debug_text.contains("401: scripted"), "{debug_text}");
    assert!(
        !debug_text.contains("key-one") && !debug_text.contains("key-two"),
        "{debug_text}"
    );
}

#[tokio::test]
async fn the_event_at_fault_is_found_within_the_batch() {
    for (status, code) in [(400, "http-400"), (413, "payload-too-large")] {
        let topic = ScriptedTopic::start(move |seen| {
            let poison = seen.ids.iter().any(|id| id == "5");
            reply(if poison { status } else { 200 })
        })
        .await;
        let outcomes = short(&topic.sink(&settings()).send(&deliveries(0..16)).await);
        for (id, outcome) in outcomes.iter().enumerate() {
            let expected = if id == 5 {
                format!("reject {code}")
            } else {
                "delivered".into()
            };
            assert_eq!(*outcome, expected, "{id}");
        }
        // One of 16: two requests for each of four halvings, and the first.
        assert_eq!(topic.requests(), 9);
    }
}

#[tokio::test]
async fn a_fault_of_the_endpoint_ends_the_batch_and_keeps_its_wait() {
    let mut turn = 0;
    let topic = ScriptedTopic::start(move |_| {
        turn += 1;
        let mut response = reply(if turn == 1 { 200 } else { 503 }).unwrap();
        let date = "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap();
        response.headers_mut().insert("retry-after", date);
        Some(response)
    })
    .await;
    let batch: Vec<_> = (0..4).map(|id| delivery(id, 600_000)).collect();
    let outcomes = topic.sink(&settings()).send(&batch).await;
    let throttled = "throttled http-503";
    assert_eq!(
        short(&outcomes),
        ["delivered", throttled, throttled, throttled]
    );
    assert_eq!(topic.requests(), 2);
    let DeliveryOutcome::Unavailable(fault) = &outcomes[3] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(fault.after, Some(Duration::from_secs(30)));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = ScriptedTopic::start(|_| reply(200)).await;
    let location = elsewhere.url.clone();
    let topic = ScriptedTopic::start(move |_| {
        let mut response = reply(307).unwrap();
        response
            .headers_mut()
            .insert("location", location.parse().unwrap());
        Some(response)
    })
    .await;
    let outcomes = topic.sink(&settings()).send(&deliveries(0..1)).await;
    assert_eq!(short(&outcomes), ["unreachable http-307"]);
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn no_answer_ends_with_the_attempt_timeout_and_no_server_at_once() {
    let topic = ScriptedTopic::start(|_| None).await;
    let quick = settings().with(|own| own.attempt_timeout = Duration::from_millis(200));
    let start = Instant::now();
    let outcomes = topic.sink(&quick).send(&deliveries(0..2)).await;
    assert_eq!(short(&outcomes), ["unreachable timeout"; 2]);
    assert!(start.elapsed() < Duration::from_secs(4));
    let sink = topic.sink(&settings());
    drop(topic);
    let outcomes = sink.send(&deliveries(0..1)).await;
    assert_eq!(short(&outcomes), ["unreachable connect"]);
    let debug_text = format!("{outcomes:?}");
    assert!(
        !debug_text.contains("api-version"),
        "the query may hold a key: {debug_text}"
    );
}

#[tokio::test]
async fn an_endless_error_text_is_cut() {
    let topic = ScriptedTopic::start(|_| {
        let body = Full::from(vec![b'x'; 4 << 20]);
        Some(Response::builder().status(500).body(body).unwrap())
    })
    .await;
    let outcomes = topic.sink(&settings()).send(&deliveries(0..1)).await;
    let DeliveryOutcome::Unavailable(fault) = &outcomes[0] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert_eq!(fault.reason.detail.len(), 1_000);
}

#[tokio::test]
async fn a_key_in_the_topics_query_is_not_shown() {
    let properties = r#""endpointType":"EventGrid","accessKey1":"k",
        "TopicEndpoint":"http://127.0.0.1:1/api/events?aeg-sas-key=hidden""#;
    let outcomes = connect(properties, &settings())
        .send(&deliveries(0..1))
        .await;
    assert_eq!(short(&outcomes), ["unreachable connect"]);
    assert!(!format!("{outcomes:?}").contains("hidden"), "{outcomes:?}");
}

fn probed(probed: Result<(), EndpointFault>) -> String {
    match probed {
        Ok(()) => "ok".to_owned(),
        Err(fault) => format!("{} {}", fault.kind.as_str(), fault.reason.code),
    }
}

#[tokio::test]
async fn a_probe_publishes_no_event_and_tells_what_the_key_and_the_topic_are_worth() {
    for (status, expected, requests) in [
        (200, "ok", 1),
        (400, "ok", 1),
        (401, "unauthorized http-401", 2),
        (403, "unauthorized http-403", 1),
        (404, "gone http-404", 1),
        (410, "gone http-410", 1),
        (429, "ok", 1),
        (503, "ok", 1),
    ] {
        let topic = ScriptedTopic::start(move |_| reply(status)).await;
        let sink = topic.sink(&settings());
        assert_eq!(probed(sink.probe().await), expected, "{status}");
        assert_eq!(topic.requests(), requests, "{status}");
        let seen = topic.seen.lock().unwrap();
        assert_eq!(&seen[0].body[..], b"[]");
        assert_eq!(seen[0].headers["aeg-sas-key"], "key-one=");
    }
}

#[tokio::test]
async fn a_probe_keeps_the_key_that_works() {
    let topic = ScriptedTopic::start(|seen| match seen.headers["aeg-sas-key"] == "key-two=" {
        true => reply(200),
        false => reply(401),
    })
    .await;
    let sink = topic.sink(&settings());
    assert_eq!(probed(sink.probe().await), "ok");
    assert_eq!(short(&sink.send(&deliveries(0..1)).await), ["delivered"]);
    assert_eq!(topic.requests(), 3, "the batch went with the second key");
}

#[tokio::test]
async fn a_probe_without_an_answer_says_so_in_time() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/events", nobody.local_addr().unwrap());
    drop(nobody);
    let properties =
        format!(r#""endpointType":"EventGrid","TopicEndpoint":"{url}","accessKey1":"k""#);
    let refused = connect(&properties, &settings()).probe().await;
    assert_eq!(probed(refused), "unreachable connect");
    let topic = ScriptedTopic::start(|_| None).await;
    let settings = settings().with(|own| own.attempt_timeout = Duration::from_secs(1));
    let start = Instant::now();
    let silent = topic.sink(&settings).probe().await;
    assert_eq!(probed(silent), "unreachable timeout");
    assert!(start.elapsed() < Duration::from_secs(4));
}

/// Deliveries of events with these extensions `traceparent`; the last one came with the trace of a request.
fn traced(parents: [&str; 2], request: &str) -> Vec<Delivery> {
    let of = |(id, parent): (usize, &str)| {
        let event = EventParts::new(&id.to_string(), "h", "t");
        let event = event.set("traceparent", parent).unwrap();
        let trace = TraceContext::parse(request).map(|trace| trace.with_state("a=1"));
        let event = event.build(&EventLimits::default()).unwrap();
        let mut delivery = Delivery::new(id as u64, event);
        delivery.trace = trace.map(Arc::new);
        delivery
    };
    parents.into_iter().enumerate().map(of).collect()
}

#[tokio::test]
async fn a_request_continues_the_one_trace_of_its_events() {
    const ONE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const BELOW_ONE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-b7ad6b7169203331-01";
    for (batch, expect) in [
        (deliveries(0..2), [None, None]),
        (traced([ONE, ONE], "00-x"), [Some(ONE), None]),
        (traced([ONE, OTHER], "00-x"), [None, None]),
        (traced([ONE, "00-x"], "00-x"), [None, None]),
        (traced(["00-x", "00-x"], OTHER), [Some(OTHER), Some("a=1")]),
        // An event's own counts for more than that of its request.
        (traced([ONE, "00-x"], OTHER), [None, None]),
        (traced([ONE, ONE], OTHER), [Some(ONE), None]),
        // Texts that differ may still continue the same.
        (
            traced([ONE, "00-x"], BELOW_ONE),
            [Some(BELOW_ONE), Some("a=1")],
        ),
    ] {
        let topic = ScriptedTopic::start(|_| reply(200)).await;
        let outcomes = topic.sink(&settings()).send(&batch).await;
        assert_eq!(outcomes, vec![DeliveryOutcome::Delivered; 2]);
        let seen = topic.seen.lock().unwrap();
        let header = |name: &str| {
            let value = seen[0].headers.get(name);
            value.map(|value| value.to_str().unwrap())
        };
        assert_eq!([header("traceparent"), header("tracestate")], expect);
    }
}
