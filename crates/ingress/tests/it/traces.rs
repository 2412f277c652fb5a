//! The trace of a request goes on to the destinations of its events.

use super::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Keeps what each delivery continues.
#[derive(Clone, Default)]
struct TraceSink(Arc<Mutex<Vec<String>>>);

impl Sink for TraceSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits::default()
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        let seen = |delivery: &Delivery| match delivery.trace_context() {
            None => "none".to_owned(),
            Some(trace) => {
                let state = trace
                    .state()
                    .map_or_else(String::new, |state| format!(" {state}"));
                format!("{}{state}", trace.parent().as_str())
            }
        };
        self.0.lock().unwrap().extend(batch.iter().map(seen));
        async { vec![DeliveryOutcome::Delivered; batch.len()] }.boxed()
    }
}

/// What the destination continues of a request with these headers and this body.
async fn continued(headers: &str, body: &str) -> Vec<String> {
    let sink = TraceSink::default();
    let router = Router::builder()
        .sink("traced", sink.clone())
        .route("traced", "traced", "true");
    let server = start_with("", router, SeenSink::default());
    let form = match body.starts_with('[') {
        true => "cloudevents-batch+json",
        false => "cloudevents+json",
    };
    let headers = format!("content-type: application/{form}{headers}");
    let answer = server.raw(post("/events", &headers, body).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    server.router.settled().await;
    let seen = sink.0.lock().unwrap().clone();
    server.stop().await;
    seen
}

fn event(id: &str, parent: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t","traceparent":"{parent}"}}"#
    )
}

#[tokio::test]
async fn a_requests_trace_is_continued() {
    let header = format!("\r\ntraceparent: {PARENT}");
    assert_eq!(continued(&header, EVENT).await, [PARENT]);
    let state = format!("{header}\r\ntracestate: a=1\r\ntracestate: b=2");
    assert_eq!(
        continued(&state, EVENT).await,
        [format!("{PARENT} a=1,b=2")]
    );
    assert_eq!(continued("", EVENT).await, ["none"]);
}

#[tokio::test]
async fn a_trace_that_breaks_a_rule_is_as_good_as_none_and_refuses_nothing() {
    for headers in [
        format!("\r\ntraceparent: {PARENT}\r\ntraceparent: {PARENT}"),
        format!("\r\ntraceparent: {PARENT}\r\ntraceparent: {OTHER}"),
        format!("\r\ntraceparent: {PARENT}, {OTHER}"),
        "\r\ntraceparent: 00-x".to_owned(),
        "\r\ntraceparent: \u{e9}".to_owned(),
        "\r\ntracestate: a=1".to_owned(),
    ] {
        assert_eq!(continued(&headers, EVENT).await, ["none"], "{headers}");
    }
    // A state that breaks a rule costs the state alone.
    let state = format!("\r\ntraceparent: {PARENT}\r\ntracestate: a=1\r\ntracestate: \u{e9}");
    assert_eq!(continued(&state, EVENT).await, [PARENT]);
}

#[tokio::test]
async fn an_events_own_trace_counts_for_more_than_that_of_its_request() {
    let header = format!("\r\ntraceparent: {OTHER}");
    let batch = format!("[{},{},{EVENT}]", event("2", PARENT), event("3", "00-x"));
    assert_eq!(continued(&header, &batch).await, [PARENT, OTHER, OTHER]);
    assert_eq!(continued("", &event("2", PARENT)).await, [PARENT]);
    // Where both are of one trace, the request is the nearer part of it.
    let nearer = PARENT.replace("00f067aa0ba902b7", "00f067aa0ba902b8");
    let header = format!("\r\ntraceparent: {nearer}");
    assert_eq!(continued(&header, &event("2", PARENT)).await, [nearer]);
}
