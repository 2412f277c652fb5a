//! Cuts a lane's batch into requests by encoded size.

use bytes::Bytes;
use std::ops::Range;
use twinroute_model::cloudevents::json;
use twinroute_model::event::Event;
use twinroute_model::event_grid_schema;
use twinroute_model::settings::TopicSchema;

/// Events in one request.
/// Source: Azure Event Grid "Limits": 5,000 events a batch.
pub(crate) const EVENTS_MAX: usize = 5_000;
/// Bytes of one request.
///
/// The limit is published as "1 MB" without saying which; the smaller reading is safe.
pub(crate) const BYTES_MAX: usize = 1_000_000;

/// The events of a lane's batch, encoded one after the other as one JSON array.
///
/// Items are the events that fit a request, in order; their places are those in the lane's batch.
pub(crate) struct BatchRequests {
    /// The array of all items: what nearly every batch is sent as, without another copy.
    text: Bytes,
    /// Where each item starts; one more for the end.
    starts: Vec<usize>,
    places: Vec<usize>,
    too_large: Vec<(usize, usize)>,
    bytes_max: usize,
    events_max: usize,
}

impl BatchRequests {
    /// Encodes `events` in the topic's schema.
    pub(crate) fn encode<'a>(
        schema: TopicSchema,
        events: impl Iterator<Item = &'a Event> + Clone,
    ) -> Self {
        Self::bounded(schema, events, BYTES_MAX, EVENTS_MAX)
    }

    fn bounded<'a>(
        schema: TopicSchema,
        events: impl Iterator<Item = &'a Event> + Clone,
        bytes_max: usize,
        events_max: usize,
    ) -> Self {
        // What events hold in memory is a little more than their text: room for all of them, taken once.
        let room: usize = events.clone().map(Event::size).sum();
        let mut text = Vec::with_capacity(room);
        text.push(b'[');
        let (mut starts, mut places) = (vec![text.len()], Vec::new());
        let mut too_large = Vec::new();
        for (place, event) in events.enumerate() {
            let start = text.len();
            match schema {
                TopicSchema::EventGrid => event_grid_schema::write(event, &mut text),
                _ => json::write(event, &mut text),
            }
            text.push(b',');
            // The item and its comma, plus one bracket: what a request of this item alone has.
            let alone = text.len() - start + 1;
            if alone > bytes_max {
                text.truncate(start);
                too_large.push((place, alone));
            } else {
                starts.push(text.len());
                places.push(place);
            }
        }
        // In place of the last comma, or of no item at all.
        text.truncate(text.len() - usize::from(!places.is_empty()));
        text.push(b']');
        Self {
            text: text.into(),
            starts,
            places,
            too_large,
            bytes_max,
            events_max,
        }
    }

    /// Places of events that fit no request, and what a request of each alone would have.
    pub(crate) fn too_large(&self) -> impl Iterator<Item = (usize, usize)> {
        self.too_large.iter().copied()
    }

    /// The place in the lane's batch of an item.
    pub(crate) fn place(&self, item: usize) -> usize {
        self.places[item]
    }

    /// Ranges of items, each one request.
    pub(crate) fn split(&self) -> impl DoubleEndedIterator<Item = Range<usize>> {
        let mut ranges = Vec::new();
        let mut first = 0;
        for item in 0..self.places.len() {
            // Brackets take two bytes and the last comma gives one back.
            let bytes = self.starts[item + 1] - self.starts[first] + 1;
            if bytes > self.bytes_max || item - first >= self.events_max {
                ranges.push(first..item);
                first = item;
            }
        }
        if first < self.places.len() {
            ranges.push(first..self.places.len());
        }
        ranges.into_iter()
    }

    /// The body of the request for `range`.
    pub(crate) fn body(&self, range: &Range<usize>) -> Bytes {
        if *range == (0..self.places.len()) {
            return self.text.clone();
        }
        let items = &self.text[self.starts[range.start]..self.starts[range.end] - 1];
        let mut body = Vec::with_capacity(items.len() + 2);
        body.push(b'[');
        body.extend_from_slice(items);
        body.push(b']');
        body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use twinroute_model::event::{EventLimits, EventParts};

    fn event(id: usize, data_bytes: usize) -> Event {
        EventParts::new(&id.to_string(), "h", "t")
            .json(&format!("\"{}\"", "x".repeat(data_bytes)))
            .build(&EventLimits::default())
            .unwrap()
    }

    proptest! {
        #[test]
        fn requests_keep_order_and_limits_and_lose_nothing(
            sizes in prop::collection::vec(0_usize..400, 0..60),
            schema in prop::sample::select(vec![TopicSchema::CloudEvents, TopicSchema::EventGrid]),
        ) {
            let events: Vec<Event> =
                sizes.iter().enumerate().map(|(id, size)| event(id, *size)).collect();
            let requests = BatchRequests::bounded(schema, events.iter(), 400, 7);
            let mut seen: Vec<usize> = requests.too_large().map(|(place, _)| place).collect();
            for range in requests.split() {
                let body = requests.body(&range);
                prop_assert!(body.len() <= 400 && range.len() <= 7);
                let items: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
                let ids: Vec<usize> =
                    items.iter().map(|item| item["id"].as_str().unwrap().parse().unwrap()).collect();
                let places: Vec<usize> = range.map(|item| requests.place(item)).collect();
                prop_assert_eq!(&ids, &places);
                seen.extend(places);
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..sizes.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_event_at_the_limit_goes_and_one_above_does_not() {
        let one = event(0, 10);
        let alone = BatchRequests::encode(TopicSchema::CloudEvents, [&one].into_iter());
        let bytes = alone.body(&(0..1)).len();
        for (bytes_max, refused) in [(bytes, 0), (bytes - 1, 1)] {
            let requests =
                BatchRequests::bounded(TopicSchema::CloudEvents, [&one].into_iter(), bytes_max, 9);
            assert_eq!(requests.too_large().count(), refused);
            assert!(requests.too_large().all(|found| found == (0, bytes)));
        }
    }

    #[test]
    fn size_reserve_is_none_in_a_request() {
        let events: Vec<Event> = (0..20).map(|id| event(id, 10)).collect();
        for schema in [TopicSchema::CloudEvents, TopicSchema::EventGrid] {
            let all = BatchRequests::encode(schema, events.iter());
            let bytes = all.body(&(0..20)).len();
            let split = |bytes_max, events_max| {
                let requests = BatchRequests::bounded(schema, events.iter(), bytes_max, events_max);
                let ranges: Vec<_> = requests.split().collect();
                assert!(
                    ranges
                        .iter()
                        .all(|range| requests.body(range).len() <= bytes_max)
                );
                ranges.len()
            };
            assert_eq!(
                [bytes + 1, bytes, bytes - 1].map(|max| split(max, 99)),
                [1, 1, 2]
            );
            assert_eq!([21, 20, 19].map(|max| split(bytes, max)), [1, 1, 2]);
        }
    }

    #[test]
    fn an_event_of_a_million_bytes_goes_and_one_byte_more_does_not() {
        let around = BatchRequests::encode(TopicSchema::CloudEvents, [&event(0, 0)].into_iter());
        let around = around.body(&(0..1)).len();
        for (bytes, refused) in [(BYTES_MAX - 1, 0), (BYTES_MAX, 0), (BYTES_MAX + 1, 1)] {
            let one = event(0, bytes - around);
            let requests = BatchRequests::encode(TopicSchema::CloudEvents, [&one].into_iter());
            assert_eq!(requests.too_large().count(), refused, "{bytes}");
        }
    }
}
