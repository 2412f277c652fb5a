//! Events for tests: the seven types of Azure Digital Twins, each in its three forms on the wire.

use crate::cloudevents::json;
use crate::event::{Event, EventLimits};
use bytes::Bytes;
use serde_json::Value;

/// One event in its three forms.
pub(crate) struct EventFixture {
    pub(crate) name: &'static str,
    pub(crate) cloudevents: &'static str,
    /// As a subscriber sees it: with the `topic` and `metadataVersion` that Event Grid adds.
    pub(crate) event_grid: &'static str,
    /// The sections of the message, as JSON.
    pub(crate) amqp: &'static str,
    /// Its `TwinKey`.
    pub(crate) twin: &'static str,
}

macro_rules! fixture {
    ($name:literal, $twin:literal) => {
        EventFixture {
            name: $name,
            cloudevents: include_str!(concat!("../tests/data/events/", $name, ".cloudevents.json")),
            event_grid: include_str!(concat!("../tests/data/events/", $name, ".event-grid.json")),
            amqp: include_str!(concat!("../tests/data/events/", $name, ".amqp.json")),
            twin: concat!("contoso-mill.api.neu.digitaltwins.azure.net/", $twin),
        }
    };
}

pub(crate) const ALL: [EventFixture; 8] = [
    fixture!("twin-create", "pump-17"),
    fixture!("twin-delete", "valve.4~b"),
    fixture!("twin-update", "pump-17"),
    fixture!("relationship-create", "pump-17"),
    fixture!("relationship-delete", "pump-17"),
    fixture!("relationship-update", "pump-17"),
    fixture!("telemetry", "pump-17"),
    fixture!("telemetry-component", "pump-17"),
];

impl EventFixture {
    /// Read from its CloudEvents form.
    pub(crate) fn event(&self) -> Event {
        json::parse(
            Bytes::from_static(self.cloudevents.as_bytes()),
            &EventLimits::default(),
        )
        .unwrap_or_else(|invalid| panic!("{}: {invalid}", self.name))
    }
}

/// `text` as a value, for comparisons that look over blanks and the order of members.
pub(crate) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

mod tests {
    use super::*;
    use crate::event::ADT_TYPES;
    use crate::twin::TwinKey;
    use std::collections::BTreeSet;

    #[test]
    fn they_cover_the_seven_types_and_name_their_twins() {
        let mut types = BTreeSet::new();
        for fixture in ALL {
            let event = fixture.event();
            types.insert(event.event_type().to_owned());
            let twin = TwinKey::of(&event).to_string();
            assert_eq!(twin, fixture.twin, "{}", fixture.name);
        }
        assert_eq!(types, ADT_TYPES.map(str::to_owned).into());
    }
}
