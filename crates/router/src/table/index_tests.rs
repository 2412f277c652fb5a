use super::*;
use twinroute_filter::FilterOptions;
use twinroute_filter::eval::EventFields;
use twinroute_model::event::{Event, EventLimits, EventParts};

const FILTERS: [&str; 16] = [
    "true",
    "false",
    "type = 'a'",
    "type = 'a' OR type = 'b'",
    "type = 'a' AND subject = 'room1'",
    "type = 'a' AND STARTS_WITH(subject, 'room')",
    "STARTS_WITH(subject, 'ro')",
    "STARTS_WITH(subject, 'röm')",
    "STARTS_WITH(subject, 'room1') OR source = 'host'",
    "subject = 'room1'",
    "subject = 'room1' AND $body.x = 1",
    "$body.modelId = 'dtmi:m;1'",
    "STARTS_WITH($body.$metadata.$model, 'dtmi:')",
    "dataschema = 'dtmi:m;1' OR $body.modelId = 'dtmi:m;1'",
    "subject != 'room1'",
    "CONTAINS(subject, 'm1')",
];

fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for kind in ["a", "b", "c"] {
        for subject in [
            None,
            Some("r"),
            Some("room"),
            Some("room1"),
            Some("room12"),
            Some("römer"),
        ] {
            for data in [
                r#"{"x":1}"#,
                r#"{"modelId":"dtmi:m;1"}"#,
                r#"{"$metadata":{"$model":"dtmi:m;1"}}"#,
                "7",
            ] {
                let mut parts = EventParts::new("1", "host", kind).json(data);
                if let Some(subject) = subject {
                    parts = parts.set("subject", subject).unwrap();
                }
                events.push(parts.build(&EventLimits::default()).unwrap());
            }
        }
    }
    events
}

/// Whichever routes stand together in a table, the index hides none that matches.
#[test]
fn the_index_finds_what_a_walk_over_all_filters_finds() {
    let parse = |text: &&str| RouteFilter::parse(text, &FilterOptions::default()).unwrap();
    let all: Vec<RouteFilter> = FILTERS.iter().map(parse).collect();
    let events = events();
    let mut candidates = RouteNumbers::new();
    for subset in 1_u32..1 << FILTERS.len() {
        // All pairs and some of the rest.
        if subset.count_ones() > 2 && subset % 97 != 0 {
            continue;
        }
        let table = all.iter().enumerate();
        let table: Vec<&RouteFilter> = table
            .filter(|(number, _)| subset >> number & 1 == 1)
            .map(|(_, filter)| filter)
            .collect();
        let index = RouteIndex::new(table.iter().copied());
        let mut fields = EventFields::new();
        let programs: Vec<_> = table
            .iter()
            .map(|filter| fields.compile(filter.expr()))
            .collect();
        for event in &events {
            let scope = EventScope::new(&fields, event);
            index.candidates(&scope, &mut candidates);
            assert!(candidates.is_sorted_by(|left, right| left < right));
            for (number, program) in programs.iter().enumerate() {
                let found = candidates.contains(&(number as RouteNumber));
                assert!(
                    found || !program.matches(&scope),
                    "{} {event:?}",
                    table[number]
                );
            }
        }
    }
}

#[test]
fn routes_that_require_something_else_are_not_looked_at() {
    let parse = |number: usize| {
        let text = format!("type = 'a' AND subject = 'room{number}'");
        RouteFilter::parse(&text, &FilterOptions::default()).unwrap()
    };
    let filters: Vec<RouteFilter> = (0..100).map(parse).collect();
    let index = RouteIndex::new(&filters);
    let fields = EventFields::new();
    let event = EventParts::new("1", "host", "a")
        .set("subject", "room7")
        .unwrap();
    let event = event.build(&EventLimits::default()).unwrap();
    let mut candidates = RouteNumbers::new();
    index.candidates(&EventScope::new(&fields, &event), &mut candidates);
    assert_eq!(candidates.as_slice(), [7]);
}
