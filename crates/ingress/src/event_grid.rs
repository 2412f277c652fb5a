//! `/api/events`: what clients of an Event Grid topic send, and what Event Grid sends to webhooks.

use crate::answer;
use crate::credentials::CallerCredentials;
use crate::error::IngressRefusal;
use crate::excerpt::excerpt;
use crate::target::{API_VERSIONS, query};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header};
use serde::Deserialize;
use std::borrow::Cow;
use twinroute_listen::ServerBody;
use twinroute_model::cloudevents::http::{ContentMode, has_attributes, mode};
use twinroute_model::cloudevents::json;
use twinroute_model::event::{Event, EventLimits};
use twinroute_model::event_grid_schema;
use twinroute_model::received::BodyShape;

// Made once: a name that is a text is read for each request.
const EVENT_TYPE: HeaderName = HeaderName::from_static("aeg-event-type");

/// What Event Grid says it delivers to a webhook.
/// Source: Azure Event Grid, "Webhook event delivery", header `aeg-event-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WebhookKind {
    Notification,
    SubscriptionValidation,
    SubscriptionDeletion,
}

impl WebhookKind {
    /// `None` for requests that are no webhook deliveries.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, IngressRefusal> {
        let Some(word) = headers.get(EVENT_TYPE) else {
            return Ok(None);
        };
        let known = [
            ("Notification", Self::Notification),
            ("SubscriptionValidation", Self::SubscriptionValidation),
            ("SubscriptionDeletion", Self::SubscriptionDeletion),
        ];
        let word = word.as_bytes();
        let found = known
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        match found {
            Some((_, delivery)) => Ok(Some(*delivery)),
            None => Err(IngressRefusal::UnknownDelivery {
                word: excerpt(word),
            }),
        }
    }
}

/// How a body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFormat {
    CloudEvent,
    CloudEvents,
    /// `application/json`: the Event Grid schema, or CloudEvents that do not say so.
    Json,
}

/// `is_required`: senders of events in binary mode know no versions.
pub(crate) fn check_api_version(uri: &Uri, is_required: bool) -> Result<(), IngressRefusal> {
    match query(uri, "api-version") {
        None if !is_required => Ok(()),
        Some(version) if version == API_VERSIONS => Ok(()),
        Some(version) => Err(IngressRefusal::ApiVersion {
            found: excerpt(version.as_bytes()),
        }),
        None => Err(IngressRefusal::NoApiVersion),
    }
}

/// Whether a request is an event in binary mode: it has attributes in headers, and no content type of another mode.
pub(crate) fn is_binary(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let text = content_type.map(|value| value.to_str().unwrap_or_default());
    mode(text) == Some(ContentMode::Binary)
        && has_attributes(headers.keys().map(header::HeaderName::as_str))
}

pub(crate) fn format(headers: &HeaderMap) -> Result<BodyFormat, IngressRefusal> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let text = content_type.map_or("", |value| value.to_str().unwrap_or_default());
    let essence = text.split(';').next().unwrap_or_default().trim();
    match mode(Some(text)) {
        Some(ContentMode::Structured) => Ok(BodyFormat::CloudEvent),
        Some(ContentMode::Batch) => Ok(BodyFormat::CloudEvents),
        Some(ContentMode::Binary) if essence.eq_ignore_ascii_case("application/json") => {
            Ok(BodyFormat::Json)
        }
        Some(ContentMode::Binary) | None => Err(IngressRefusal::ContentType {
            found: content_type.map_or_else(String::new, |value| excerpt(value.as_bytes())),
            taken: "application/json, application/cloudevents+json, \
                    application/cloudevents-batch+json, and any other with an event's attributes \
                    in ce- headers",
        }),
    }
}

/// Reads the events of a request. `path` stands in as `source` where the schema names no topic.
pub(crate) fn events(
    format: BodyFormat,
    path: &str,
    body: Bytes,
    limits: &EventLimits,
) -> Result<Vec<Event>, IngressRefusal> {
    let format = match (format, BodyShape::of(&body)) {
        (BodyFormat::Json, BodyShape::CloudEvent) => BodyFormat::CloudEvent,
        (BodyFormat::Json, BodyShape::CloudEventBatch) => BodyFormat::CloudEvents,
        _ => format,
    };
    Ok(match format {
        BodyFormat::CloudEvent => vec![json::parse(body, limits)?],
        BodyFormat::CloudEvents => json::parse_batch(body, limits)?,
        BodyFormat::Json => event_grid_schema::parse_batch(&body, path, limits)?,
    })
}

/// Answers the handshake of a new webhook subscription.
/// Source: Azure Event Grid, "Endpoint validation with Event Grid event schema".
pub(crate) fn validate(body: &[u8]) -> Result<Response<ServerBody>, IngressRefusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ValidationEvent<'a> {
        #[serde(borrow)]
        event_type: Cow<'a, str>,
        #[serde(borrow)]
        data: ValidationData<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ValidationData<'a> {
        #[serde(borrow)]
        validation_code: Cow<'a, str>,
    }
    let wrong = |reason: String| IngressRefusal::Handshake { reason };
    let [event]: [ValidationEvent<'_>; 1] =
        serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    if event.event_type != "Microsoft.EventGrid.SubscriptionValidationEvent" {
        return Err(wrong("its eventType is another".to_owned()));
    }
    let answer = serde_json::json!({ "validationResponse": event.data.validation_code });
    Ok(answer::json(StatusCode::OK, answer.to_string()))
}

/// Answers a sender that asks whether it may deliver here. CloudEvents HTTP 1.1 web hooks 1.0.2 §4:
/// consent is given by `WebHook-Allowed-Origin`; the rate must be answered where one was asked for,
/// and `*` allows any.
pub(crate) fn consent(
    head: &Parts,
    origins: &[String],
    credentials: &CallerCredentials,
) -> Result<Response<ServerBody>, IngressRefusal> {
    credentials.check_code(head)?;
    let Some(origin) = head.headers.get("webhook-request-origin") else {
        return Err(IngressRefusal::NoOrigin);
    };
    let allowed = origins
        .iter()
        .any(|name| name == "*" || origin.as_bytes().eq_ignore_ascii_case(name.as_bytes()));
    if !allowed {
        return Err(IngressRefusal::Origin);
    }
    let mut response = answer::empty();
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    headers.insert("webhook-allowed-origin", origin.clone());
    headers.insert("webhook-allowed-rate", HeaderValue::from_static("*"));
    Ok(response)
}
