//! The task that empties the queue of spans into a collector.

use crate::collector::CollectorClient;
use crate::headers;
use crate::refused::RefusedSpans;
use crate::settings::Settings;
use crate::span_data::{ClockAnchor, span_data};
use metrics::{Counter, counter, describe_counter};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};
use twinroute_files::text_file::{TextFileError, read_secret};
use twinroute_model::clock::Clock;
use twinroute_model::secret::Secret;
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::trace::{SpanQueue, SpanReceiver, TraceSpan};

/// Bytes of a file of headers.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// After a failure, how long nothing is sent; doubled with each in a row.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How often trouble that goes on is logged.
pub(crate) const REMINDER: Duration = Duration::from_secs(10 * 60);

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A setting cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The file of headers cannot be read, or others may read it.
    #[error(transparent)]
    File(#[from] TextFileError),
    /// What the file holds are no headers.
    #[error("headers_file: {0}")]
    Headers(String),
    /// The exporter cannot be made.
    #[error("the exporter cannot be made: {0}")]
    Exporter(String),
}

/// Exports spans.
pub struct SpanExport {
    receiver: SpanReceiver,
    exporter: SpanExporter,
    client: CollectorClient,
    scope: InstrumentationScope,
    clock: Arc<dyn Clock>,
    anchor: ClockAnchor,
    /// Without what a query may hold.
    collector: String,
    timeout: Duration,
    interval: Duration,
    batch_max: usize,
    exported: Counter,
    lost: Counter,
    refused: RefusedSpans,
    sums: ExportSums,
    trouble: Option<CollectorTrouble>,
}

/// What became of spans, for the log.
#[derive(Debug, Default)]
struct ExportSums {
    exported: u64,
    dropped: u64,
}

/// A collector that takes nothing.
#[derive(Debug)]
struct CollectorTrouble {
    since: Instant,
    logged: Instant,
    lost: u64,
    pause: Duration,
}

impl SpanExport {
    /// The queue for a router's spans, and what empties it; nothing where no endpoint is set. Connects to nobody, and blocks on
    /// the file system where there is a file of headers, whose path is taken as it is.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn new(
        settings: &Settings,
        outgoing: &OutgoingConnections,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<(SpanQueue, Self)>, ExportError> {
        settings.check().map_err(ExportError::Settings)?;
        let Some(url) = settings.url().map_err(ExportError::Settings)? else {
            return Ok(None);
        };
        let failed = |error: &dyn std::fmt::Display| ExportError::Exporter(error.to_string());
        let client = outgoing.http().pool_max_idle_per_host(1).build();
        let client = client.map_err(|error| failed(&error))?;
        let headers = all_headers(&settings.headers, settings.headers_file.as_deref())?;
        let client = CollectorClient::new(client, headers, settings.timeout);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(url.as_str())
            .with_timeout(settings.timeout)
            .with_http_client(client.clone())
            // It would sleep on a thread of the runtime.
            .with_retry_policy(RetryPolicy::default().with_max_retries(0))
            .build();
        let mut exporter = exporter.map_err(|error| failed(&error))?;
        exporter.set_resource(&resource(&settings.service_name));
        let mut without_query = url;
        without_query.set_query(None);
        describe_counter!(
            "twinroute_spans_exported_total",
            "Spans of traces that the collector took"
        );
        let exported = counter!("twinroute_spans_exported_total");
        let lost = counter!("twinroute_spans_dropped_total", "reason" => "export-failed");
        exported.increment(0);
        lost.increment(0);
        let (queue, receiver) = SpanQueue::new(settings.spans());
        let export = Self {
            receiver,
            exporter,
            client,
            scope: InstrumentationScope::builder("twinroute")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
            anchor: ClockAnchor::read(&*clock),
            clock,
            collector: without_query.to_string(),
            timeout: settings.timeout,
            interval: settings.interval,
            batch_max: settings.batch_spans_max,
            exported,
            lost,
            refused: RefusedSpans::new(),
            sums: ExportSums::default(),
            trouble: None,
        };
        Ok(Some((queue, export)))
    }

    /// Exports until `stopped` completes or the router is gone, and then what still waits, for as long as one request may
    /// take. Dropping the future loses what waits.
    pub async fn run(mut self, stopped: impl Future<Output = ()>) {
        let mut stopped = std::pin::pin!(stopped);
        tracing::info!(endpoint = self.collector, "spans of traces are exported");
        let mut spans = Vec::new();
        loop {
            let is_over = self.gather(&mut spans, stopped.as_mut()).await;
            if is_over {
                break;
            }
            self.export(std::mem::take(&mut spans)).await;
            if let Some(trouble) = &self.trouble {
                let until = Instant::now() + trouble.pause;
                tokio::select! {
                    () = sleep_until(until) => {}
                    () = stopped.as_mut() => break,
                }
            }
        }
        self.finish(spans).await;
        let ExportSums { exported, dropped } = self.sums;
        let refused = self.refused.all();
        tracing::info!(
            endpoint = self.collector,
            exported,
            dropped,
            refused,
            "the export of spans has ended"
        );
    }

    /// Takes spans until a batch is full or its first has waited long enough; true at the end.
    async fn gather(
        &mut self,
        spans: &mut Vec<TraceSpan>,
        mut stopped: Pin<&mut impl Future<Output = ()>>,
    ) -> bool {
        let mut until = None;
        while spans.len() < self.batch_max {
            let room = self.batch_max - spans.len();
            let due = async {
                match until {
                    None => std::future::pending().await,
                    Some(until) => sleep_until(until).await,
                }
            };
            tokio::select! {
                biased;
                () = stopped.as_mut() => return true,
                taken = self.receiver.take(spans, room) => match taken {
                    0 => return true,
                    _ => until = until.or_else(|| Some(Instant::now() + self.interval)),
                },
                () = due => return false,
            }
        }
        false
    }

    /// Sends what waits at the end.
    async fn finish(&mut self, mut spans: Vec<TraceSpan>) {
        let until = Instant::now() + self.timeout;
        loop {
            let room = self.batch_max.saturating_sub(spans.len());
            if room > 0 {
                // What is there, without a wait for more.
                drop(timeout_at(Instant::now(), self.receiver.take(&mut spans, room)).await);
            }
            if spans.is_empty() {
                return;
            }
            let batch = std::mem::take(&mut spans);
            let count = batch.len() as u64;
            if timeout_at(until, self.export(batch)).await.is_err() {
                self.lose(count);
                return;
            }
        }
    }

    fn lose(&mut self, spans: u64) {
        self.lost.increment(spans);
        self.sums.dropped += spans;
    }

    async fn export(&mut self, spans: Vec<TraceSpan>) {
        if spans.is_empty() {
            return;
        }
        let count = spans.len() as u64;
        self.anchor = self.anchor.checked(&*self.clock);
        let spans = spans.into_iter();
        let batch = spans.map(|span| span_data(span, &self.scope, self.anchor));
        match self.exporter.export(batch.collect()).await {
            Ok(()) => {
                let refusal = self.client.take_refused();
                let taken = count - self.refused.count(&refusal, count, &self.collector);
                self.exported.increment(taken);
                self.sums.exported += taken;
                if let Some(trouble) = self.trouble.take() {
                    let (lost, lasted) = (trouble.lost, trouble.since.elapsed());
                    tracing::info!(
                        endpoint = self.collector,
                        lost,
                        ?lasted,
                        "the collector takes spans again"
                    );
                }
            }
            Err(error) => {
                self.lose(count);
                let reason = match self.client.take_fault() {
                    fault if fault.is_empty() => error.to_string(),
                    fault => fault,
                };
                self.note_trouble(count, &reason);
            }
        }
    }

    /// Logs that the collector takes nothing: at first, and then seldom, with how much it cost.
    fn note_trouble(&mut self, count: u64, reason: &str) {
        let now = Instant::now();
        match &mut self.trouble {
            None => {
                tracing::warn!(
                    endpoint = self.collector,
                    reason,
                    "the collector takes no spans; they are dropped until it does, and events go on as ever"
                );
                self.trouble = Some(CollectorTrouble {
                    since: now,
                    logged: now,
                    lost: count,
                    pause: PAUSE,
                });
            }
            Some(trouble) => {
                trouble.lost += count;
                trouble.pause = (trouble.pause * 2).min(PAUSE_MAX);
                if now - trouble.logged >= REMINDER {
                    trouble.logged = now;
                    let (lost, lasts) = (trouble.lost, now - trouble.since);
                    tracing::warn!(
                        endpoint = self.collector,
                        reason,
                        lost,
                        ?lasts,
                        "the collector still takes no spans"
                    );
                }
            }
        }
    }
}

fn all_headers(settings: &[Secret], file: Option<&Path>) -> Result<http::HeaderMap, ExportError> {
    let lines = settings.iter().map(Secret::expose);
    let mut all = headers::parse(lines).map_err(ExportError::Settings)?;
    let Some(file) = file else {
        return Ok(all);
    };
    let text = read_secret("headers_file", file, FILE_BYTES_MAX)?;
    let more = headers::parse(text.expose().lines()).map_err(ExportError::Headers)?;
    for (name, value) in &more {
        if all.contains_key(name) {
            let rule = format!("the header {name} stands in headers too");
            return Err(ExportError::Headers(rule));
        }
        all.insert(name, value.clone());
    }
    Ok(all)
}

/// Who these spans are of.
fn resource(service_name: &str) -> Resource {
    Resource::builder_empty()
        .with_service_name(service_name.to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

impl std::fmt::Debug for SpanExport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SpanExport")
            .field("endpoint", &self.collector)
            .finish_non_exhaustive()
    }
}
