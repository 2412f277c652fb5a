//! Layers around a sink.

use crate::{CollectingSink, event};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;
use tracing_subscriber::layer::SubscriberExt as _;
use twinroute::layers::SinkLayers as _;
use twinroute::prelude::*;

async fn start(sink: impl Sink) -> Router {
    let builder = Router::builder().sink("own", sink);
    builder.route("all", "own", "true").start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_takes_too_long_is_the_endpoints_fault_and_is_sent_again() {
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let hangs_once = sink_fn(move |_| {
        let turn = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            if turn == 0 {
                std::future::pending::<()>().await;
            }
            Ok(SendOutcome::all_delivered())
        }
    });
    let router = start(hangs_once.time_limit(Duration::from_secs(2))).await;
    let began = Instant::now();
    router.accept(event(1)).await.unwrap();
    router.settled().await;
    assert!(began.elapsed() < Duration::from_secs(10));
    let own = &router.status().instances[0].endpoints[0];
    assert_eq!((own.delivered, turns.load(Ordering::Relaxed)), (1, 2));
    assert!(
        own.last_error.starts_with("time-limit: "),
        "{}",
        own.last_error
    );
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_over_all_batches() {
    let sink = CollectingSink::default();
    let router = start(sink.clone().rate_limit(10)).await;
    let began = Instant::now();
    router.accept_batch((0..100).map(event)).await.unwrap();
    router.settled().await;
    let took = began.elapsed();
    let expect = Duration::from_secs(9)..Duration::from_secs(11);
    assert!(expect.contains(&took), "{took:?}");
    assert_eq!(sink.ids().len(), 100);
}

/// Keeps the names and fields of spans.
#[derive(Clone, Default)]
struct SpanLog(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for SpanLog {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        _: &tracing::span::Id,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) {
        let metadata = attributes.metadata();
        if metadata.target() == "twinroute::sink" {
            let text = format!("{} {}", metadata.name(), attributes.values());
            self.0.lock().unwrap().push(text);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn batches_are_spans() {
    let spans = SpanLog::default();
    let subscriber = tracing_subscriber::registry().with(spans.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let sink = CollectingSink::default();
    let router = start(sink.clone().traced("archive")).await;
    router.accept_batch((0..3).map(event)).await.unwrap();
    router.settled().await;
    assert_eq!(sink.ids().len(), 3);
    let spans = spans.0.lock().unwrap();
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0], "send {sink: \"archive\", events: 3}");
}
