//! What destinations take, as their services publish it: for plans. What a destination really takes it says itself.

use crate::amqp::MessageRouting;
use crate::event_grid;
use twinroute_model::endpoint::EndpointType;
use twinroute_model::settings::{PartitionKey, SessionKey};
use twinroute_router::history::{ComparedDestination, DestinationLimits, RateScope};

/// What an endpoint of this type takes, with the settings that it has unless they are set.
#[must_use]
pub fn destination(endpoint_type: EndpointType) -> ComparedDestination {
    match endpoint_type {
        // Azure Event Grid, "Quotas and limits", custom topics: 1 MB an event, 5,000 events or 5 MB a second.
        EndpointType::EventGrid => ComparedDestination {
            limits: DestinationLimits {
                event_bytes_max: event_grid::BYTES_MAX,
                events_per_second_max: 5_000,
                bytes_per_second_max: Some(5_000_000),
                rate_scope: RateScope::Topic,
            },
            event_bytes: event_grid::request_bytes,
        },
        // Azure Event Hubs, "Quotas and limits", Standard: 1 MB an event; "Scaling with Event Hubs": 1,000 events or
        // 1 MB a second for each throughput unit.
        EndpointType::EventHub => ComparedDestination {
            limits: DestinationLimits {
                event_bytes_max: 1 << 20,
                events_per_second_max: 1_000,
                bytes_per_second_max: Some(1 << 20),
                rate_scope: RateScope::ThroughputUnit,
            },
            event_bytes: |event| {
                MessageRouting::EventHubs(PartitionKey::Bucket).message_bytes(event)
            },
        },
        // Azure Service Bus, "Quotas": 256 KB a message in the Standard tier; "Throttling operations": 1,000 credits
        // a second for a namespace, one a message.
        EndpointType::ServiceBus => ComparedDestination {
            limits: DestinationLimits {
                event_bytes_max: 256 << 10,
                events_per_second_max: 1_000,
                bytes_per_second_max: None,
                rate_scope: RateScope::StandardNamespace,
            },
            event_bytes: |event| MessageRouting::ServiceBus(SessionKey::None).message_bytes(event),
        },
    }
}
