//! A router with more to do than it can: requests wait before their bodies are read, and not for ever.

use super::{EVENT, NOW};
use bytes::Bytes;
use expect_test::expect;
use futures_util::future::{BoxFuture, FutureExt as _};
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};
use twinroute_ingress::{IngressServer, Settings};
use twinroute_listen::ClientPeer;
use twinroute_model::clock::ManualClock;
use twinroute_model::settings::EndpointSettings;
use twinroute_router::Router;
use twinroute_router::sink::{BatchLimits, Delivery, DeliveryOutcome, Sink};
use twinroute_router::status::AdmissionState;

/// Answers at once, until it stalls.
#[derive(Clone, Default)]
struct StallingSink(Arc<AtomicBool>);

impl Sink for StallingSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 100,
            bytes_max: 1 << 20,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        async move {
            if self.0.load(Relaxed) {
                sleep(Duration::from_secs(60)).await;
            }
            vec![DeliveryOutcome::Delivered; batch.len()]
        }
        .boxed()
    }
}

/// A body that counts how often it is asked for.
struct CountedBody {
    body: Full<Bytes>,
    polls: Arc<AtomicUsize>,
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.polls.fetch_add(1, Relaxed);
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

fn start(sink: &StallingSink, admission_wait_max: Duration) -> (Router, IngressServer) {
    let settings = EndpointSettings::default().with(|own| own.queue_events_max = 2_000);
    let router = Router::builder()
        .sink_with("only", sink.clone(), settings)
        .route("all", "only", "true")
        .build()
        .unwrap();
    let mut settings = Settings::default();
    settings.admission_wait_max = admission_wait_max;
    let clock = Arc::new(ManualClock::new(NOW));
    let ingress = IngressServer::new(&settings, router.clone(), clock);
    (router, ingress)
}

fn batch(events: usize) -> (Request<CountedBody>, Arc<AtomicUsize>) {
    let events: Vec<String> = (0..events)
        .map(|id| EVENT.replace("\"1\"", &format!("\"{id}\"")))
        .collect();
    let polls = Arc::new(AtomicUsize::new(0));
    let body = CountedBody {
        body: Full::new(format!("[{}]", events.join(",")).into()),
        polls: Arc::clone(&polls),
    };
    let request = Request::post("/events")
        .header(header::CONTENT_TYPE, "application/cloudevents-batch+json")
        .body(body);
    (request.unwrap(), polls)
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_its_turn_is_not_read() {
    let (router, ingress) = start(&StallingSink::default(), Duration::from_secs(5));
    // Others spend what there is.
    while let Some(admitted) = router
        .admit(100 << 10, Duration::from_secs(5))
        .now_or_never()
    {
        drop(admitted.unwrap());
    }
    let (request, polls) = batch(3);
    let mut answer = pin!(ingress.handle(request, ClientPeer::Unix));
    assert!(answer.as_mut().now_or_never().is_none());
    assert_eq!(polls.load(Relaxed), 0);
    assert_eq!(router.status().admission.waiting, 1);
    assert_eq!(answer.await.status(), 202);
    assert!(polls.load(Relaxed) > 0);
    assert_eq!(router.status().admission.waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waited_too_long_is_answered_503_and_nothing_of_it_is_kept() {
    let sink = StallingSink::default();
    let (router, ingress) = start(&sink, Duration::from_millis(20));
    let (request, _) = batch(1);
    assert_eq!(
        ingress.handle(request, ClientPeer::Unix).await.status(),
        202
    );
    router.settled().await;
    sink.0.store(true, Relaxed);
    let (request, _) = batch(1_000);
    assert_eq!(
        ingress.handle(request, ClientPeer::Unix).await.status(),
        202
    );
    yield_now().await;

    let begun = Instant::now();
    let (request, _) = batch(3);
    let answer = ingress.handle(request, ClientPeer::Unix).await;
    assert_eq!(begun.elapsed(), Duration::from_millis(20));
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&body).unwrap();
    expect![[r#"503 Service Unavailable Some("1") {"error":{"code":"Overloaded","message":"twinroute has more to do than it can: the request waited 20 ms for its turn; try again in 1 s"}}"#]]
        .assert_eq(&format!(
            "{} {:?} {text}",
            head.status,
            head.headers.get(header::RETRY_AFTER)
        ));
    let status = router.status();
    assert_eq!(status.journal.accepted, 1_001);
    assert_eq!(status.instances[0].endpoints[0].matched, 1_001);
    assert_eq!(status.admission.refused, 1);
    assert_eq!(status.admission.state, AdmissionState::Refusing);
    expect![[r#"["the router has more to do than it can, for 0 s: producers waited up to 20 ms, 1 were answered 503; give it more CPU or a quicker disk, or send less"]"#]]
        .assert_eq(&format!("{:?}", status.warnings));
}
