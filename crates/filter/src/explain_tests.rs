//! Explanations as people read them.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use twinroute_model::event::{Event, EventLimits, EventParts};

use crate::explain::explain;
use crate::{FilterOptions, RouteFilter};

fn event(json: &str) -> Event {
    let parts = EventParts::new(
        "1",
        "contoso.api.weu.digitaltwins.azure.net",
        "Microsoft.DigitalTwins.Twin.Update",
    );
    let parts = parts.set("subject", "room1").expect("a legal subject");
    parts
        .json(json)
        .build(&EventLimits::default())
        .expect("a legal event")
}

fn check(text: &str, json: &str, expect: Expect) {
    let filter = RouteFilter::parse(text, &FilterOptions::default()).expect(text);
    expect.assert_eq(&explain(&filter, &event(json)).to_string());
}

const UPDATE: &str = r#"{"modelId": "dtmi:a:Room;1", "patch": [{"path": "/t", "value": 1}],
    "temperature": 21, "on": "true", "deep": {"er": {"Name": null}}}"#;

#[test]
fn values_seen_and_missing() {
    check(
        "type = 'Microsoft.DigitalTwins.Twin.Update' AND STARTS_WITH($body.modelId, 'dtmi:b')",
        UPDATE,
        expect![[r#"
            no  AND
            yes   type = 'Microsoft.DigitalTwins.Twin.Update'
                    type is 'Microsoft.DigitalTwins.Twin.Update'
            no    STARTS_WITH($body.modelId, 'dtmi:b')
                    $body.modelId is 'dtmi:a:Room;1'
        "#]],
    );
    check(
        "$body.Temperature > 20 OR $body.patch.path = '/t'",
        UPDATE,
        expect![[r#"
            no  OR
            no    $body.Temperature > 20
                    $body.Temperature is missing; did you mean $body.temperature?
            no    $body.patch.path = '/t'
                    $body.patch.path is missing; $body.patch is an array, and filters cannot look into arrays
        "#]],
    );
    check(
        "$body.deep.er.name != null OR $body.deep.er.Name.x OR $body.deep.eR.x",
        UPDATE,
        expect![[r#"
            no  OR
            no    $body.deep.er.name != null
                    $body.deep.er.name is missing; did you mean $body.deep.er.Name?
            no    $body.deep.er.Name.x
                    $body.deep.er.Name.x is missing; $body.deep.er.Name is null and has no members
            no    $body.deep.eR.x
                    $body.deep.eR.x is missing; did you mean $body.deep.er.x?
        "#]],
    );
    check(
        "$body.humidity > 20 OR $body.a.b > 1",
        UPDATE,
        expect![[r#"
        no  OR
        no    $body.humidity > 20
                $body.humidity is missing
        no    $body.a.b > 1
                $body.a.b is missing; $body has no a
    "#]],
    );
    check(
        "$eventType = 'a' OR Subject = 'room1' OR dataschema != 'x'",
        UPDATE,
        expect![[r#"
            no  OR
            no    $eventType = 'a'
                    $eventType is missing; did you mean type?
            no    Subject = 'room1'
                    Subject is missing; did you mean subject?
            no    dataschema != 'x'
                    dataschema is missing
        "#]],
    );
}

#[test]
fn values_that_do_not_compare() {
    check(
        "$body.temperature = '21' OR $body.on OR $body.patch = 1",
        UPDATE,
        expect![[r#"
            no  OR
            no    $body.temperature = '21'
                    $body.temperature is 21
                    a number never compares with a string
            no    $body.on
                    $body.on is 'true'
                    a string is not true by itself; only the boolean true is
            no    $body.patch = 1
                    $body.patch is an array
                    objects and arrays compare with null only
        "#]],
    );
    check(
        "subject = 'Room1' OR CONTAINS($body.temperature, '2')",
        UPDATE,
        expect![[r#"
            no  OR
            no    subject = 'Room1'
                    subject is 'room1'
                    they differ in the case of letters
            no    CONTAINS($body.temperature, '2')
                    $body.temperature is 21
                    CONTAINS is true of strings only, not of a number
        "#]],
    );
    check(
        "true < $body.a OR $body.a",
        r#"{"a": true}"#,
        expect![[r#"
        yes OR
        no    true < $body.a
                $body.a is true
                booleans have no order
        yes   $body.a
                $body.a is true
    "#]],
    );
}

#[test]
fn data_that_is_short_long_or_none() {
    check(
        "$body.a = 'x'",
        &format!(r#"{{"a": "{}"}}"#, "é".repeat(1_000)),
        expect![[r#"
            no  $body.a = 'x'
                  $body.a is 'éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé'… (2000 bytes)
        "#]],
    );
    check(
        "$body = 5\n  AND\n $body.a\n != null",
        "5",
        expect![[r#"
        no  AND
        yes   $body = 5
                $body is 5
        no    $body.a != null
                $body.a is missing; $body is a number and has no members
    "#]],
    );
    let filter = RouteFilter::parse("$body.a = 1", &FilterOptions::default()).expect("a filter");
    let event = EventParts::new("1", "a", "b")
        .build(&EventLimits::default())
        .expect("a legal event");
    expect![[r#"
        no  $body.a = 1
              $body.a is missing; the event has no JSON data
    "#]]
    .assert_eq(&explain(&filter, &event).to_string());
}

#[test]
fn the_tree_mirrors_the_filter() {
    check(
        "$body.temperature < 30 AND (true OR subject = 'a') AND (subject = 'room1' OR false)",
        UPDATE,
        expect![[r#"
            yes AND
            yes   $body.temperature < 30
                    $body.temperature is 21
            yes   OR
            yes     true
            no      subject = 'a'
                      subject is 'room1'
            yes   OR
            yes     subject = 'room1'
                      subject is 'room1'
            no      false
        "#]],
    );
}

#[test]
fn as_json() {
    let text = "$body.temperature = 21.0 AND $body.x = subject";
    let filter = RouteFilter::parse(text, &FilterOptions::default()).expect(text);
    let explanation = explain(&filter, &event(UPDATE));
    let json = serde_json::to_string_pretty(&explanation).expect("plain data");
    expect![[r#"
        {
          "filter": "$body.temperature = 21.0 AND $body.x = subject",
          "matches": false,
          "root": {
            "text": "AND",
            "span": {
              "start": 0,
              "end": 46
            },
            "holds": false,
            "clauses": [
              {
                "text": "$body.temperature = 21.0",
                "span": {
                  "start": 0,
                  "end": 24
                },
                "holds": true,
                "seen": [
                  {
                    "path": "$body.temperature",
                    "present": true,
                    "value": 21,
                    "text": "21"
                  }
                ]
              },
              {
                "text": "$body.x = subject",
                "span": {
                  "start": 29,
                  "end": 46
                },
                "holds": false,
                "seen": [
                  {
                    "path": "$body.x",
                    "present": false,
                    "text": "missing"
                  },
                  {
                    "path": "subject",
                    "present": true,
                    "value": "room1",
                    "text": "'room1'"
                  }
                ]
              }
            ]
          }
        }"#]]
    .assert_eq(&json);
}

proptest! {
    #[test]
    fn explanations_agree_with_evaluation(
        text in crate::arbitrary::filter(),
        (event, _) in crate::arbitrary::event(),
    ) {
        let filter = RouteFilter::parse(&text, &FilterOptions::default()).expect(&text);
        let explanation = explain(&filter, &event);
        prop_assert_eq!(explanation.matches, filter.matches(&event));
        prop_assert!(!explanation.to_string().is_empty());
    }
}
