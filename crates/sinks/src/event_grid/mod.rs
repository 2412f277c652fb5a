//! The sink of an Event Grid topic: one POST carries many events.
//!
//! | answer | outcome |
//! |---|---|
//! | 200-204 | delivered |
//! | 400, 422 | the request is sent again in halves until one event stands alone: reject |
//! | 413 | likewise; alone: reject, `payload-too-large` |
//! | 401 | the other access key at once; both refused: unavailable, unauthorized |
//! | 403 | unavailable, unauthorized: an IP firewall or a private endpoint |
//! | 404, 410 | unavailable, gone |
//! | 429, 503 | unavailable, throttled, `Retry-After` |
//! | 408, other 5xx | unavailable, unreachable, `Retry-After` |
//! | no connection, no answer in time | unavailable, unreachable; in the latter case the events may have arrived |
//! | 3xx | unavailable, unreachable: redirects are not followed, the key goes nowhere else |
//! | any other | unavailable, unreachable |
//!
//! Sources: Azure Event Grid "Post to custom topic", "Troubleshoot errors"; azure-core 5 retry
//! policy (408, 429, 500, 502, 503, 504). A request is all or nothing.
//!
//! A probe publishes an empty batch, for there is nothing that only asks. It fails on 401 with both keys
//! and on 403, 404 and 410 as above, and when there is no answer at all; with any other answer the
//! topic answers and has let the key pass, whatever it thinks of a batch of no events.
//!
//! A request continues a trace (`traceparent`, `tracestate`) when all its events do, the same one: a header of one of
//! several would be wrong for the others, which have their own in the extension `traceparent`.
//!
//! A duplicate is published again: Event Grid drops none. Receivers know it by `source` and `id`
//! (CloudEvents) or `id` (Event Grid schema).

mod request;
mod response;

use crate::status::{self, PAYLOAD_TOO_LARGE};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use request::BatchRequests;
pub(crate) use request::{BYTES_MAX, request_bytes};
use reqwest::{Client, Url};
use response::ResponseMeaning;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::clock::Clock;
use twinroute_model::endpoint::EventGridTopic;
use twinroute_model::secret::Secret;
use twinroute_model::settings::{EndpointSettings, TopicSchema};
use twinroute_model::trace_context::TraceContext;
use twinroute_outgoing::{OutgoingConnections, failure_text};
use twinroute_router::sink::{
    BatchLimits, CredentialSlot, CredentialState, Delivery, DeliveryOutcome, EndpointFault,
    FailureReason, Sink,
};

/// Source: "Access keys and shared access signatures".
const KEY_HEADER: HeaderName = HeaderName::from_static("aeg-sas-key");
/// W3C Trace Context §3.2, §3.3.
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");
/// The version of the publish API.
const API_VERSION: &str = "2018-01-01";
/// Idle connections to one host that are kept. More than the 64 batches that may be in flight is of no use.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// What the keys are called, by their place.
const SLOTS: [CredentialSlot; 2] = [CredentialSlot::Primary, CredentialSlot::Secondary];

/// The sink of one topic.
pub(crate) struct EventGrid {
    client: Client,
    url: Url,
    keys: Vec<HeaderValue>,
    /// The key that worked last.
    key: AtomicUsize,
    schema: TopicSchema,
    attempt_timeout: Duration,
    in_flight_max: usize,
    clock: Arc<dyn Clock>,
}

/// One POST.
struct TopicRequest<'a> {
    body: Bytes,
    trace: Option<Cow<'a, TraceContext>>,
}

/// What all of some deliveries continue; nothing where they differ.
fn common_trace<'a>(
    mut deliveries: impl Iterator<Item = &'a Delivery>,
) -> Option<Cow<'a, TraceContext>> {
    let first = deliveries.next()?;
    let trace = first.trace_context()?;
    let origin = trace_origin(first);
    // Equal texts say the same: one is parsed for all, since a batch mostly has the texts of one request.
    let is_common = deliveries.all(|other| {
        trace_origin(other) == origin || other.trace_context().as_ref() == Some(&trace)
    });
    is_common.then_some(trace)
}

/// What [`Delivery::trace_context`] is made of.
fn trace_origin(delivery: &Delivery) -> (Option<&TraceContext>, [Option<&str>; 2]) {
    let own = ["traceparent", "tracestate"].map(|name| delivery.event.attribute(name));
    (delivery.trace.as_deref(), own)
}

/// The HTTP client that all topics share; it keeps connections by host.
pub(crate) struct TopicClients {
    outgoing: OutgoingConnections,
    client: OnceLock<Result<Client, String>>,
}

impl TopicClients {
    pub(crate) fn new(outgoing: OutgoingConnections) -> Self {
        Self {
            outgoing,
            client: OnceLock::new(),
        }
    }

    fn client(&self) -> Result<Client, String> {
        let client = self.client.get_or_init(|| {
            let http = self.outgoing.http();
            http.pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
                .build()
                .map_err(|error| format!("HTTP client: {error}"))
        });
        client.clone()
    }
}

impl std::fmt::Debug for EventGrid {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("EventGrid")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

impl EventGrid {
    /// Does no I/O.
    ///
    /// # Errors
    /// What is wrong with the topic's URL or keys; never the values.
    pub(crate) fn new(
        topic: &EventGridTopic,
        settings: &EndpointSettings,
        clock: Arc<dyn Clock>,
        clients: &TopicClients,
    ) -> Result<Self, String> {
        let url = publish_url(&topic.endpoint)?;
        let keys = std::iter::once((&topic.access_key1, "accessKey1"))
            .chain(topic.access_key2.as_ref().map(|key| (key, "accessKey2")))
            .map(|(key, name)| key_header(key, name))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            client: clients.client()?,
            url,
            keys,
            key: AtomicUsize::new(0),
            schema: settings.topic_schema,
            attempt_timeout: settings.attempt_timeout,
            in_flight_max: settings.batches_in_flight_max,
            clock,
        })
    }

    async fn send_all(&self, batch: &[Delivery]) -> Vec<DeliveryOutcome> {
        let deadline = Instant::now() + self.attempt_timeout;
        let mut outcomes = vec![DeliveryOutcome::Delivered; batch.len()];
        let requests =
            BatchRequests::encode(self.schema, batch.iter().map(|delivery| &*delivery.event));
        for (place, bytes) in requests.too_large() {
            let detail =
                format!("{bytes} bytes encoded, and Event Grid accepts {BYTES_MAX} (1 MB)");
            outcomes[place] =
                DeliveryOutcome::Reject(FailureReason::new(PAYLOAD_TOO_LARGE, detail));
        }
        // Ranges still to be sent, the next one last.
        let mut open: Vec<Range<usize>> = requests.split().rev().collect();
        while let Some(range) = open.pop() {
            let many = range.len() > 1;
            let deliveries = range.clone().map(|item| &batch[requests.place(item)]);
            let request = TopicRequest {
                body: requests.body(&range),
                trace: common_trace(deliveries),
            };
            let (_, answer) = self.deliver(request, deadline).await;
            let outcome = match answer {
                ResponseMeaning::Delivered => DeliveryOutcome::Delivered,
                ResponseMeaning::Refused(_) if many && Instant::now() >= deadline => {
                    DeliveryOutcome::Retry {
                        after: None,
                        reason: FailureReason::new(
                            "http-400",
                            "no time left to find the event at fault",
                        ),
                    }
                }
                ResponseMeaning::Refused(_) if many => {
                    let middle = range.start + range.len() / 2;
                    open.push(middle..range.end);
                    open.push(range.start..middle);
                    continue;
                }
                ResponseMeaning::Refused(reason) => DeliveryOutcome::Reject(reason),
                ResponseMeaning::Unavailable(fault) => {
                    // The rest would fare no better; sending it could only put it out of order.
                    open.push(range);
                    for place in open.drain(..).flatten() {
                        outcomes[requests.place(place)] =
                            DeliveryOutcome::Unavailable(fault.clone());
                    }
                    break;
                }
            };
            for item in range {
                outcomes[requests.place(item)] = outcome.clone();
            }
        }
        outcomes
    }

    async fn ask(&self) -> Result<(), EndpointFault> {
        let deadline = Instant::now() + self.attempt_timeout;
        let empty = TopicRequest {
            body: Bytes::from_static(b"[]"),
            trace: None,
        };
        match self.deliver(empty, deadline).await {
            (0 | 401 | 403 | 404 | 410, ResponseMeaning::Unavailable(fault)) => Err(fault),
            _ => Ok(()),
        }
    }

    /// Sends one request, and once more with the other key when the first is refused. Gives the status
    /// (0 for none) and what it means.
    async fn deliver(
        &self,
        request: TopicRequest<'_>,
        deadline: Instant,
    ) -> (u16, ResponseMeaning) {
        let first = self.key.load(Ordering::Relaxed);
        let mut refused = None;
        for turn in 0..self.keys.len() {
            let index = (first + turn) % self.keys.len();
            match self.post(&self.keys[index], &request, deadline).await {
                (401, answer) => refused = Some((401, answer)),
                (0, answer) => return (0, answer),
                answered => {
                    if refused.is_some() {
                        let slot = SLOTS[index].as_str();
                        let host = self.url.host_str();
                        tracing::warn!(host, slot, "a credential was refused; this one is used");
                    }
                    self.key.store(index, Ordering::Relaxed);
                    return answered;
                }
            }
        }
        refused.unwrap_or_else(|| {
            (
                0,
                ResponseMeaning::Unavailable(status::unreachable("no-key", "")),
            )
        })
    }

    /// The status (0 for none) and what it means.
    async fn post(
        &self,
        key: &HeaderValue,
        request: &TopicRequest<'_>,
        deadline: Instant,
    ) -> (u16, ResponseMeaning) {
        let content_type = match self.schema {
            TopicSchema::EventGrid => "application/json; charset=utf-8",
            // Azure's clients send a batch even for one event.
            _ => "application/cloudevents-batch+json; charset=utf-8",
        };
        let exchange = async {
            let mut post = self
                .client
                .post(self.url.clone())
                .header(KEY_HEADER, key)
                .header(CONTENT_TYPE, content_type);
            if let Some(trace) = &request.trace {
                post = post.header(TRACE_PARENT, trace.parent().as_str());
                if let Some(state) = trace.state() {
                    post = post.header(TRACE_STATE, state);
                }
            }
            let response = post.body(request.body.clone()).send().await?;
            Ok(response::read(response, &*self.clock).await)
        };
        match tokio::time::timeout_at(deadline, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => (0, ResponseMeaning::Unavailable(transport_fault(error))),
            Err(_) => {
                let detail = "no answer in time";
                (
                    0,
                    ResponseMeaning::Unavailable(status::unreachable("timeout", detail)),
                )
            }
        }
    }
}

impl Sink for EventGrid {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: request::EVENTS_MAX,
            bytes_max: request::BYTES_MAX,
            in_flight_max: self.in_flight_max,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        self.send_all(batch).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), EndpointFault>> {
        self.ask().boxed()
    }

    fn credentials(&self) -> Vec<CredentialState> {
        let active = self.key.load(Ordering::Relaxed);
        let slots = SLOTS.into_iter().take(self.keys.len()).enumerate();
        let state = |(index, slot)| CredentialState {
            slot,
            active: index == active,
            expires_at: None,
        };
        slots.map(state).collect()
    }
}

fn publish_url(endpoint: &str) -> Result<Url, String> {
    let mut url = Url::parse(endpoint).map_err(|error| format!("TopicEndpoint: {error}"))?;
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Err("TopicEndpoint must be an https URL".to_owned());
    }
    if !url.query_pairs().any(|(name, _)| name == "api-version") {
        url.query_pairs_mut()
            .append_pair("api-version", API_VERSION);
    }
    Ok(url)
}

fn key_header(key: &Secret, name: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(key.expose())
        .map_err(|_| format!("{name} holds characters that no access key has"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The causes of a failed exchange, without its URL.
fn transport_fault(error: reqwest::Error) -> EndpointFault {
    let code = if error.is_connect() {
        "connect"
    } else if error.is_timeout() {
        "timeout"
    } else {
        "http"
    };
    status::unreachable(code, failure_text(&error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topics_query_and_path_are_kept() {
        let check = |endpoint: &str| publish_url(endpoint).map(|url| url.to_string());
        assert_eq!(
            check("https://t.weu-1.eventgrid.azure.net/api/events").unwrap(),
            "https://t.weu-1.eventgrid.azure.net/api/events?api-version=2018-01-01"
        );
        assert_eq!(
            check("http://localhost:1/api/events?a=b").unwrap(),
            "http://localhost:1/api/events?a=b&api-version=2018-01-01"
        );
        assert_eq!(
            check("https://h/?api-version=2020-01-01").unwrap(),
            "https://h/?api-version=2020-01-01"
        );
        assert!(check("ftp://h").is_err() && check("h").is_err());
    }

    #[test]
    fn a_key_that_no_header_can_hold_is_refused_without_being_shown() {
        let error = key_header(&Secret::new("secret\n"), "accessKey2").unwrap_err();
        assert_eq!(error, "accessKey2 holds characters that no access key has");
        let header = key_header(&Secret::new("secret"), "accessKey1").unwrap();
        assert!(!format!("{header:?}").contains("secret"));
    }
}
