//! Deliveries of Event Grid to a webhook (`aeg-event-type: Notification`).
//!
//! Event Grid repeats a delivery after most failures, but never after 400 or 413: what is refused so is lost. So
//! a delivery is taken apart: its events are accepted, and what is none is kept with the reason, see
//! [`Router::keep_unreadable`](twinroute_router::Router::keep_unreadable). What cannot even be kept just now is
//! answered with 503, which Event Grid repeats.
//! Source: Azure Event Grid, "Message delivery and retry" (2026-02-09).

use crate::allowance::CallerAllowance;
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use twinroute_listen::InflateError;
use twinroute_model::cloudevents::http::has_attributes;
use twinroute_model::cloudevents::json;
use twinroute_model::event::{Event, EventLimits};
use twinroute_model::received::{self, ReceivedEvents};
use twinroute_router::UnreadableDelivery;

/// What is sent again after it: nothing that Event Grid repeats is ever answered otherwise.
pub(crate) const REPEAT: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// Statuses after which Event Grid gives a webhook delivery up, but for 401 and 403, which are its credentials'.
pub(crate) fn is_final(status: StatusCode) -> bool {
    status.is_client_error()
        && ![
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::NOT_FOUND,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::TOO_MANY_REQUESTS,
        ]
        .contains(&status)
}

/// Before an event that its caller may not send, and that is kept for that: what follows is no event of anybody's.
const NOT_PERMITTED: &str = r#"{"notPermitted":"#;

/// A delivery's events, and what is none.
pub(crate) struct DeliveryParts {
    pub(crate) events: Vec<Event>,
    pub(crate) unreadable: Vec<UnreadableDelivery>,
}

/// Takes a delivery apart. One without a body carries nothing.
pub(crate) fn take_apart(head: &Parts, body: &Bytes, limits: &EventLimits) -> DeliveryParts {
    let is_binary = has_attributes(head.headers.keys().map(http::HeaderName::as_str));
    let path = head.uri.path();
    let ReceivedEvents { events, unreadable } = if is_binary {
        let headers = head.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        received::read_binary(&headers, body, limits)
    } else if body.is_empty() {
        ReceivedEvents::default()
    } else {
        received::read(body, path, limits)
    };
    let keep = |part: received::UnreadablePart| UnreadableDelivery {
        bytes: part.bytes,
        path: path.to_owned(),
        reason: part.reason.to_string(),
    };
    DeliveryParts {
        events,
        unreadable: unreadable.into_iter().map(keep).collect(),
    }
}

impl DeliveryParts {
    /// Keeps what `caller` may not send with the rest that is no event of his: Event Grid gives a delivery up after
    /// 403, and with it the events that are in order.
    pub(crate) fn set_apart(self, caller: &CallerAllowance, path: &str) -> Self {
        let (events, refused) = caller.set_apart(self.events);
        let mut unreadable = self.unreadable;
        unreadable.extend(refused.into_iter().map(|(event, reason)| {
            // Wrapped: a replay reads bytes again with no caller, and must not accept these.
            let mut bytes = NOT_PERMITTED.as_bytes().to_vec();
            json::write(&event, &mut bytes);
            bytes.push(b'}');
            UnreadableDelivery {
                bytes: bytes.into(),
                path: path.to_owned(),
                reason: reason.to_string(),
            }
        }));
        Self { events, unreadable }
    }
}

/// A delivery of which not even the bytes could be had in plain.
pub(crate) fn undecoded(head: &Parts, body: Bytes, reason: &str) -> DeliveryParts {
    DeliveryParts {
        events: Vec::new(),
        unreadable: vec![UnreadableDelivery {
            bytes: body,
            path: head.uri.path().to_owned(),
            reason: reason.to_owned(),
        }],
    }
}

/// Whether a body that cannot be inflated is kept as it came. One above the limit is asked for again: the limit can
/// be raised meanwhile.
pub(crate) fn is_kept(error: &InflateError) -> bool {
    matches!(error, InflateError::Broken(_))
}
