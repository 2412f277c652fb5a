//! The sink of an event hub.
//!
//! | answer | outcome |
//! |---|---|
//! | `accepted` | delivered: stored |
//! | `rejected`, `released`, `modified` | by the table of [`crate::status`] |
//! | link, session or connection ended | unavailable, by its condition; the events may have arrived |
//! | no outcome by the deadline | unavailable, `timeout`; the events may have arrived |
//!
//! A probe connects, has the credential checked and attaches the link, which later batches use; a link
//! that stands is an answer. What keeps it from that is the fault that a batch would meet.
//!
//! A duplicate is stored again: Event Hubs drops none. Receivers know it by `cloudEvents:source`
//! and `cloudEvents:id`.

use crate::amqp::MessageRouting;
use twinroute_model::settings::EndpointSettings;

/// What goes beside the events: a partition key in the annotation `x-opt-partition-key`.
pub(crate) fn routing(settings: &EndpointSettings) -> MessageRouting {
    MessageRouting::EventHubs(settings.partition_key)
}
