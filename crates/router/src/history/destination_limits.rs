//! What destinations are published to take, as a plan asks it of whoever knows them.

use serde::{Deserialize, Serialize};
use twinroute_model::event::Event;

/// What an endpoint's destination takes, and how events are measured there.
#[derive(Clone, Copy, Debug)]
pub struct ComparedDestination {
    /// What is published of it.
    pub limits: DestinationLimits,
    /// Bytes of an event on its way there.
    pub event_bytes: fn(&Event) -> usize,
}

/// What a kind of destination takes, as its service publishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationLimits {
    /// Bytes of one event.
    pub event_bytes_max: usize,
    /// Events a second.
    pub events_per_second_max: u64,
    /// Bytes a second; nothing where events alone are counted.
    pub bytes_per_second_max: Option<u64>,
    /// What the two rates are published for.
    pub rate_scope: RateScope,
}

/// What a published rate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateScope {
    /// An Event Grid topic.
    Topic,
    /// A throughput unit of an Event Hubs namespace, of which one can have more.
    ThroughputUnit,
    /// A Service Bus namespace of the Standard tier.
    StandardNamespace,
}

impl RateScope {
    /// In words for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "a topic",
            Self::ThroughputUnit => "a throughput unit",
            Self::StandardNamespace => "a Standard namespace",
        }
    }
}
