//! Spans of a router, as a collector gets them.
#![allow(clippy::unwrap_used, reason = "test code")]

use futures_util::future::{BoxFuture, FutureExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use twinroute_model::clock::{Clock as _, SystemClock};
use twinroute_model::event::{EventLimits, EventParts};
use twinroute_otlp::{ExportError, Settings, SpanExport};
use twinroute_outgoing::OutgoingConnections;
use twinroute_outgoing::proxy::ProxyTable;
use twinroute_router::Router;
use twinroute_router::accept::AckLevel;
use twinroute_router::sink::{BatchLimits, Delivery, DeliveryOutcome, Sink};
use twinroute_router::trace::SpanQueue;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// In place of a status: no answer at all, and 200 with a mebibyte.
const NEVER: u16 = 1;
const LARGE: u16 = 2;
/// 200, and two spans of the request are refused.
const PARTIAL: u16 = 3;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct CollectedRequest {
    path: String,
    headers: HeaderMap,
    body: ExportTraceServiceRequest,
}

/// A collector that answers with these statuses, then with 200.
struct FakeCollector {
    url: String,
    requests: mpsc::UnboundedReceiver<CollectedRequest>,
    task: JoinHandle<()>,
}

impl Drop for FakeCollector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeCollector {
    async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, requests) = mpsc::unbounded_channel();
        let mut statuses = statuses.to_vec();
        statuses.reverse();
        let statuses = Arc::new(Mutex::new(statuses));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, statuses) = (seen.clone(), statuses.clone());
                let service = service_fn(move |request| {
                    let status = statuses.lock().unwrap().pop().unwrap_or(200);
                    answer(request, status, seen.clone())
                });
                tokio::spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    http.serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok();
                });
            }
        });
        Self {
            url,
            requests,
            task,
        }
    }

    async fn request(&mut self) -> CollectedRequest {
        let request = tokio::time::timeout(PATIENCE, self.requests.recv()).await;
        request.unwrap().unwrap()
    }

    /// The spans of one request.
    async fn spans(&mut self) -> Vec<Span> {
        spans_of(self.request().await.body)
    }
}

async fn answer(
    request: Request<Incoming>,
    status: u16,
    seen: mpsc::UnboundedSender<CollectedRequest>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let request = CollectedRequest {
        path: head.uri.path().to_owned(),
        headers: head.headers,
        body: ExportTraceServiceRequest::decode(body).unwrap(),
    };
    seen.send(request).ok();
    let (status, body) = match status {
        NEVER => std::future::pending().await,
        LARGE => (200, vec![b'x'; 1 << 20]),
        PARTIAL => (200, two_refused()),
        status => (status, Vec::new()),
    };
    let answer = Response::builder().status(status);
    Ok(answer.body(Full::from(body)).unwrap())
}

fn two_refused() -> Vec<u8> {
    let partial_success = Some(ExportTracePartialSuccess {
        rejected_spans: 2,
        error_message: "too old".to_owned(),
    });
    ExportTraceServiceResponse { partial_success }.encode_to_vec()
}

fn spans_of(body: ExportTraceServiceRequest) -> Vec<Span> {
    let resources = body.resource_spans.into_iter();
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

/// An attribute as text.
fn said(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|one| one.key == name);
    match found.and_then(|one| one.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

struct AllTakingSink;

impl Sink for AllTakingSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits::default()
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        async { vec![DeliveryOutcome::Delivered; batch.len()] }.boxed()
    }
}

fn export_of(settings: &Settings) -> Result<Option<(SpanQueue, SpanExport)>, ExportError> {
    let outgoing = OutgoingConnections::of_environment().unwrap();
    let outgoing = outgoing.with_proxies(ProxyTable::none());
    SpanExport::new(settings, &outgoing, Arc::new(SystemClock))
}

fn settings(url: &str, more: &str) -> Settings {
    toml::from_str(&format!("endpoint = '{url}'\ninterval = '100ms'\n{more}")).unwrap()
}

/// A router whose spans are exported until the sender is used.
fn exporting(settings: &Settings) -> (Router, JoinHandle<()>, oneshot::Sender<()>) {
    let (queue, export) = export_of(settings).unwrap().unwrap();
    let builder = Router::builder().spans(queue).sink("quiet", AllTakingSink);
    let router = builder.route("all", "quiet", "true").build().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(export.run(async { drop(stopped.await) }));
    (router, task, stop)
}

async fn accept(router: &Router, id: &str) {
    let event = EventParts::new(id, "host", "t").set("traceparent", PARENT);
    let event = event.unwrap().build(&EventLimits::default()).unwrap();
    let accepted = router.accept(None, vec![event], AckLevel::Memory).await;
    accepted.unwrap();
    router.settled().await;
}

async fn ended(task: JoinHandle<()>) {
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_collector_gets_the_spans_of_a_trace() {
    let mut collector = FakeCollector::start(&[]).await;
    let more = "service_name = 'plant-router'\nheaders = ['api-key: s3cret']";
    let settings = settings(&collector.url, more);
    let (router, task, stop) = exporting(&settings);
    accept(&router, "1").await;
    stop.send(()).unwrap();
    ended(task).await;

    let mut spans = Vec::new();
    while let Ok(request) = collector.requests.try_recv() {
        assert_eq!(request.path, "/v1/traces");
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        assert_eq!(request.headers["api-key"], "s3cret");
        let resource = request.body.resource_spans[0].resource.as_ref().unwrap();
        let is_name = |value: &Value| *value == Value::StringValue("plant-router".to_owned());
        let mut attributes = resource.attributes.iter();
        let name = attributes.find(|one| one.key == "service.name").unwrap();
        assert!(is_name(
            name.value.as_ref().unwrap().value.as_ref().unwrap()
        ));
        spans.extend(spans_of(request.body));
    }
    assert_eq!(names(&spans), ["journal", "accept", "attempt"]);
    let [journal, accept, attempt] = &spans[..] else {
        panic!("three spans");
    };
    let trace = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
    assert!(spans.iter().all(|span| span.trace_id == trace));
    assert_eq!(
        accept.parent_span_id,
        0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()
    );
    assert_eq!(journal.parent_span_id, accept.span_id);
    assert_eq!(attempt.parent_span_id, accept.span_id);
    assert_eq!(said(attempt, "twinroute.endpoint"), "quiet");
    assert_eq!(said(attempt, "twinroute.attempt"), "1");
    assert_eq!(said(accept, "cloudevents.event_id"), "1");
    // Times of the wall's clock, of a moment ago.
    let now = SystemClock.now().unix_millis() as u64 * 1_000_000;
    for span in &spans {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        let off = now.abs_diff(span.start_time_unix_nano);
        assert!(off < PATIENCE.as_nanos() as u64);
    }
}

#[tokio::test]
async fn a_batch_goes_once_its_first_span_has_waited_long_enough() {
    let mut collector = FakeCollector::start(&[]).await;
    let (router, _task, _stop) = exporting(&settings(&collector.url, ""));
    accept(&router, "1").await;
    let mut spans = Vec::new();
    while spans.len() < 3 {
        spans.extend(collector.spans().await);
    }
    assert_eq!(names(&spans), ["journal", "accept", "attempt"]);
}

#[tokio::test]
async fn a_batch_that_is_full_waits_for_nothing() {
    let mut collector = FakeCollector::start(&[]).await;
    let mut settings = settings(&collector.url, "batch_spans_max = 2");
    settings.interval = Duration::from_secs(60);
    let (router, task, stop) = exporting(&settings);
    accept(&router, "1").await;
    accept(&router, "2").await;
    for _ in 0..3 {
        assert_eq!(collector.spans().await.len(), 2);
    }
    // At a stop what waits is sent at once.
    accept(&router, "3").await;
    assert_eq!(collector.spans().await.len(), 2);
    stop.send(()).unwrap();
    ended(task).await;
    assert_eq!(names(&collector.spans().await), ["attempt"]);
}

#[tokio::test]
async fn a_collector_that_refuses_costs_spans_and_no_events() {
    let mut collector = FakeCollector::start(&[503]).await;
    let mut settings = settings(&collector.url, "batch_spans_max = 3");
    settings.interval = Duration::from_secs(60);
    let (router, _task, _stop) = exporting(&settings);
    accept(&router, "1").await;
    assert_eq!(collector.spans().await.len(), 3);
    accept(&router, "2").await;
    // Those of the first are not sent again.
    let spans = collector.spans().await;
    assert_eq!(said(&spans[1], "cloudevents.event_id"), "2");
    assert_eq!(router.status().instances[0].endpoints[0].delivered, 2);
}

/// Counters by name and labels, for what is made while it is the recorder.
#[derive(Default)]
struct CounterRecorder(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl CounterRecorder {
    fn value(&self, series: &str) -> u64 {
        self.0.lock().unwrap()[series].load(Ordering::Relaxed)
    }
}

impl Recorder for CounterRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels = key.labels().map(|label| label.value().to_owned());
        let series = [vec![key.name().to_owned()], labels.collect()].concat();
        let mut counters = self.0.lock().unwrap();
        Counter::from_arc(Arc::clone(counters.entry(series.join(" ")).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// OTLP 1.9, "Partial Success": a collector says in a 200 how many spans it refused.
#[tokio::test]
async fn spans_that_a_partial_success_refuses_are_counted() {
    let mut collector = FakeCollector::start(&[PARTIAL, 200, 503]).await;
    let mut settings = settings(&collector.url, "batch_spans_max = 3");
    settings.interval = Duration::from_secs(60);
    let recorder = CounterRecorder::default();
    let (router, task, stop) = with_local_recorder(&recorder, || exporting(&settings));
    for id in ["1", "2", "3"] {
        accept(&router, id).await;
        assert_eq!(collector.spans().await.len(), 3);
    }
    stop.send(()).unwrap();
    ended(task).await;
    let dropped = |reason: &str| recorder.value(&format!("twinroute_spans_dropped_total {reason}"));
    assert_eq!((dropped("refused"), dropped("export-failed")), (2, 3));
    assert_eq!(recorder.value("twinroute_spans_exported_total"), 1 + 3);
}

#[tokio::test]
async fn a_collector_that_means_harm_holds_one_request_for_a_while() {
    let mut collector = FakeCollector::start(&[NEVER, LARGE]).await;
    let mut settings = settings(&collector.url, "batch_spans_max = 3\ntimeout = '100ms'");
    settings.interval = Duration::from_secs(60);
    let (router, task, stop) = exporting(&settings);
    for id in ["1", "2", "3"] {
        accept(&router, id).await;
        assert_eq!(collector.spans().await.len(), 3);
    }
    stop.send(()).unwrap();
    ended(task).await;
}

#[tokio::test]
async fn a_collector_that_is_not_there_delays_nobody() {
    // Nobody listens where somebody did a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let (router, task, stop) = exporting(&settings(&url, "queue_spans_max = 1"));
    for id in ["1", "2", "3"] {
        accept(&router, id).await;
    }
    assert_eq!(router.status().instances[0].endpoints[0].delivered, 3);
    stop.send(()).unwrap();
    ended(task).await;
}

#[tokio::test]
async fn a_router_that_is_gone_ends_the_export() {
    let mut collector = FakeCollector::start(&[]).await;
    let (router, task, _stop) = exporting(&settings(&collector.url, ""));
    accept(&router, "1").await;
    drop(router);
    ended(task).await;
    assert!(!collector.spans().await.is_empty());
}

#[tokio::test]
async fn headers_may_stand_in_a_file_for_this_process_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headers");
    let with_file = |text: &str, mode: u32| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let path = Path::to_str(&file).unwrap();
        let more = format!("headers = ['a: 1']\nheaders_file = '{path}'");
        let made = export_of(&settings("http://127.0.0.1:9", &more));
        made.map(|made| format!("{made:?}"))
            .map_err(|error| error.to_string())
    };
    let made = with_file("b: s3cret\n\nauthorization: Bearer s3cret\n", 0o600).unwrap();
    assert!(!made.contains("s3cret"), "{made}");
    let refused = with_file("b: s3cret\n", 0o644).unwrap_err();
    assert!(refused.contains("headers"), "{refused}");
    let refused = with_file("b: 1\ns3cret\n", 0o600).unwrap_err();
    assert_eq!(
        refused,
        "headers_file: line 2 must be a header, as name: value"
    );
    let refused = with_file("A: s3cret\n", 0o600).unwrap_err();
    assert_eq!(refused, "headers_file: the header a stands in headers too");
}

#[tokio::test]
async fn without_an_endpoint_there_is_no_export() {
    let none = export_of(&Settings::default()).unwrap();
    assert!(none.is_none());
}
