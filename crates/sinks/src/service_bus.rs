//! The sink of a Service Bus topic.
//!
//! | answer | outcome |
//! |---|---|
//! | `accepted` | delivered: stored, or dropped as a duplicate |
//! | `rejected`, `released`, `modified` | by the table of [`crate::status`] |
//! | link, session or connection ended | unavailable, by its condition; the events may have arrived |
//! | no outcome by the deadline | unavailable, `timeout`; the events may have arrived |
//!
//! A probe connects, has the credential checked and attaches the link, which later batches use; a link
//! that stands is an answer. What keeps it from that is the fault that a batch would meet.
//!
//! A duplicate is accepted and dropped where the topic detects duplicates: `message-id` is the
//! same for every attempt. Where a session is set, `x-opt-partition-key` is equal to it, as
//! Service Bus demands.

use crate::amqp::MessageRouting;
use twinroute_model::settings::EndpointSettings;

/// What goes beside the events: a message id, and the session in `group-id`.
pub(crate) fn routing(settings: &EndpointSettings) -> MessageRouting {
    MessageRouting::ServiceBus(settings.session)
}
