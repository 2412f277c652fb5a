use super::*;
use crate::history::{DestinationLimits, RateScope};
use serde_json::value::RawValue;

fn route(id: &str, endpoint: &str, filter: &str) -> RouteSnapshot {
    RouteSnapshot {
        instance: "demo".to_owned(),
        route: id.to_owned(),
        endpoint: endpoint.to_owned(),
        filter: filter.to_owned(),
    }
}

/// A table with an endpoint `hub` that takes events whose payload has up to `bytes_max` bytes.
fn table(routes: Vec<RouteSnapshot>, bytes_max: usize) -> ComparedTable {
    let takes = ComparedDestination {
        limits: DestinationLimits {
            event_bytes_max: bytes_max,
            events_per_second_max: 1,
            bytes_per_second_max: Some(20),
            rate_scope: RateScope::Topic,
        },
        event_bytes: |event| event.payload().bytes.len(),
    };
    ComparedTable {
        routes,
        destinations: [(("Demo".to_owned(), "HUB".to_owned()), takes)].into(),
    }
}

fn past(id: &str, data: &str, accepted_at: &str) -> PastEvent {
    let event =
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t","data":"{data}"}}"#);
    PastEvent {
        sequence: 1,
        accepted_at: accepted_at.to_owned(),
        instance: "DEMO".to_owned(),
        replay: false,
        event: RawValue::from_string(event).unwrap(),
    }
}

fn compare(before: &ComparedTable, after: &ComparedTable) -> PlanReport {
    let mut plan = RoutePlan::new(before, after).unwrap();
    for (id, data, time) in [
        ("a", "xxxx", "2026-11-22T10:00:00.100Z"),
        ("b", "xxxxxxxxxx", "2026-11-22T10:00:00.900Z"),
        ("c", "x", "2026-11-22T10:00:07.000Z"),
    ] {
        plan.add(&past(id, data, time));
    }
    let again = PastEvent {
        replay: true,
        ..past("r", "x", "2026-11-22T09:00:00.000Z")
    };
    plan.add(&again);
    plan.report()
}

#[test]
fn what_is_too_large_and_the_fullest_second_are_those_of_each_table() {
    // Payloads have quotes around their texts.
    let before = table(vec![route("all", "hub", "true")], 12);
    let after = table(vec![route("all", "Hub", "id != 'c'")], 6);
    let report = compare(&before, &after);
    assert_eq!(
        (report.events, &*report.since),
        (3, "2026-11-22T10:00:00.100Z")
    );
    assert_eq!(report.until, "2026-11-22T10:00:07.000Z");
    assert_eq!(
        (report.unmatched.come, &report.unmatched.come_ids[..]),
        (1, &["c".to_owned()][..])
    );
    let [(name, hub)] = &report.endpoints.iter().collect::<Vec<_>>()[..] else {
        panic!("names of endpoints ignore case: {report:?}");
    };
    assert_eq!(*name, "demo/hub");
    assert_eq!(
        (hub.events.before, hub.events.after, hub.events.go),
        (3, 2, 1)
    );
    let large = &hub.too_large;
    assert_eq!(
        (large.before, large.after, &large.come_ids[..]),
        (0, 1, &["b".to_owned()][..])
    );
    assert_eq!(
        (
            hub.load_before.events_per_second,
            hub.load_before.bytes_per_second
        ),
        (2, 18)
    );
    assert_eq!(hub.load_after, hub.load_before);
    assert!(hub.is_above_rate(), "two events where one is published");
    assert_eq!(hub.limits.unwrap().event_bytes_max, 6);
}

#[test]
fn the_same_table_changes_nothing_and_a_smaller_limit_alone_does() {
    let routes = || vec![route("all", "hub", "true"), route("none", "else", "false")];
    let [large, small] = [12, 6].map(|bytes_max| table(routes(), bytes_max));
    assert!(!compare(&large, &large).is_change());
    let report = compare(&large, &small);
    assert!(report.is_change(), "{report:?}");
    let other = &report.endpoints["demo/else"];
    assert!(other.limits.is_none() && !other.is_above_rate());
    assert_eq!(other.events, MatchChange::default());
}

#[test]
fn a_filter_that_cannot_be_read_is_named() {
    let broken = table(vec![route("all", "hub", "a b")], 1);
    let error = RoutePlan::new(&broken, &broken).err().unwrap();
    assert!(
        error.starts_with("route demo/all: Parsing error, "),
        "{error}"
    );
}
