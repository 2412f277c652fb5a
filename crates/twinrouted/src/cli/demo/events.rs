//! The events of a small building, as realistic as a demo needs.

use fastrand::Rng;
use twinroute_model::clock::Timestamp;

const HOST: &str = "twinroute-demo.api.weu.digitaltwins.azure.net";
const ROOMS: usize = 24;

/// The building's state and its next events.
pub(super) struct BuildingEvents {
    rng: Rng,
    number: u64,
    temperatures: [f64; ROOMS],
}

impl BuildingEvents {
    /// The same seed gives the same events.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            number: 0,
            temperatures: std::array::from_fn(|room| 20.0 + (room % 8) as f64),
        }
    }

    /// The next event, in CloudEvents JSON format.
    pub(super) fn next(&mut self, now: Timestamp) -> String {
        self.number += 1;
        let room = self.rng.usize(0..ROOMS);
        self.temperatures[room] += self.rng.f64() * 2.0 - 0.9;
        if self.temperatures[room] > 31.0 {
            self.temperatures[room] = 20.0;
        }
        match self.rng.u8(0..20) {
            0 => self.twin("Create", room, now),
            1 => self.relationship("Create", room, now),
            2 => self.relationship("Delete", room, now),
            3 => self.twin("Delete", room, now),
            4 => self.floor_update(now),
            5..=9 => self.room_update(room, now),
            _ => self.telemetry(room),
        }
    }

    fn event(&mut self, kind: &str, source: &str, attributes: &str, data: &str) -> String {
        let (trace, span) = (self.rng.u128(..), self.rng.u64(..));
        format!(
            r#"{{"specversion":"1.0","id":"{:08x}-{:08}","type":"{kind}","source":"{source}",{attributes}"datacontenttype":"application/json","traceparent":"00-{trace:032x}-{span:016x}-01","data":{data}}}"#,
            self.rng.u32(..),
            self.number
        )
    }

    fn telemetry(&mut self, room: usize) -> String {
        let source = format!("{HOST}/digitaltwins/{}", name(room));
        let temperature = self.temperatures[room];
        let humidity = 35 + self.rng.u8(0..30);
        let attributes = r#""dataschema":"dtmi:example:building:Room;2","#;
        let data = format!(r#"{{"temperature":{temperature:.2},"humidity":{humidity}}}"#);
        self.event("microsoft.iot.telemetry", &source, attributes, &data)
    }

    fn room_update(&mut self, room: usize, now: Timestamp) -> String {
        let temperature = self.temperatures[room];
        let data = format!(
            r#"{{"modelId":"dtmi:example:building:Room;2","patch":[{{"value":{temperature:.2},"path":"/temperature","op":"replace"}}]}}"#
        );
        let attributes = about(&name(room), now);
        self.event(
            "Microsoft.DigitalTwins.Twin.Update",
            HOST,
            &attributes,
            &data,
        )
    }

    fn floor_update(&mut self, now: Timestamp) -> String {
        let floor = self.rng.u8(1..5);
        let people = self.rng.u8(..);
        let data = format!(
            r#"{{"modelId":"dtmi:example:building:Floor;1","patch":[{{"value":{people},"path":"/people","op":"replace"}}]}}"#
        );
        let attributes = about(&format!("floor{floor}"), now);
        self.event(
            "Microsoft.DigitalTwins.Twin.Update",
            HOST,
            &attributes,
            &data,
        )
    }

    fn twin(&mut self, what: &str, room: usize, now: Timestamp) -> String {
        let sensor = format!("{}-sensor{}", name(room), self.rng.u8(0..9));
        let etag = self.rng.u64(..);
        let data = format!(
            r#"{{"$dtId":"{sensor}","$etag":"W/\"{etag:016x}\"","battery":{},"$metadata":{{"$model":"dtmi:example:building:Sensor;1"}}}}"#,
            self.rng.u8(20..100)
        );
        let kind = format!("Microsoft.DigitalTwins.Twin.{what}");
        self.event(&kind, HOST, &about(&sensor, now), &data)
    }

    fn relationship(&mut self, what: &str, room: usize, now: Timestamp) -> String {
        let room = name(room);
        let sensor = self.rng.u8(0..9);
        let subject = format!("{room}/relationships/contains-sensor{sensor}");
        let etag = self.rng.u64(..);
        let data = format!(
            r#"{{"$relationshipId":"contains-sensor{sensor}","$etag":"W/\"{etag:016x}\"","$sourceId":"{room}","$relationshipName":"contains","$targetId":"{room}-sensor{sensor}"}}"#
        );
        let kind = format!("Microsoft.DigitalTwins.Relationship.{what}");
        self.event(&kind, HOST, &about(&subject, now), &data)
    }
}

fn name(room: usize) -> String {
    if room == 0 {
        "server-room".to_owned()
    } else {
        format!("room{}", 100 + room)
    }
}

fn about(subject: &str, now: Timestamp) -> String {
    format!(r#""subject":"{subject}","time":"{}","#, now.rfc3339())
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinroute_model::cloudevents::json;
    use twinroute_model::event::{ADT_TYPES, EventLimits};

    #[test]
    fn every_event_is_valid_and_most_types_occur() {
        let mut events = BuildingEvents::new(1);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..500 {
            let event = events.next(Timestamp::from_unix_millis(1_700_000_000_000));
            let event = json::parse(event.into(), &EventLimits::default()).unwrap();
            assert!(
                ADT_TYPES.contains(&event.event_type()),
                "{}",
                event.event_type()
            );
            seen.insert(event.event_type().to_owned());
        }
        assert_eq!(seen.len(), 6, "all but relationship updates: {seen:?}");
    }
}
