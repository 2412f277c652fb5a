//! Which filters get which warnings.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde::Deserialize;

use crate::check::CheckCode;
use crate::{FilterOptions, RouteFilter};

fn filter(text: &str) -> RouteFilter {
    RouteFilter::parse(text, &FilterOptions::default()).expect(text)
}

fn check(text: &str, expect: Expect) {
    let filter = filter(text);
    let printed: String = filter
        .warnings()
        .iter()
        .map(|warning| warning.render(filter.as_str()))
        .collect();
    expect.assert_eq(&printed);
}

fn check_none(text: &str) {
    assert_eq!(filter(text).warnings(), [], "{text}");
}

#[derive(Deserialize)]
struct CheckCase {
    filter: String,
    expect: CheckOutcome,
}

#[derive(Deserialize, Debug, PartialEq)]
enum CheckOutcome {
    #[serde(rename = "parse")]
    Parse,
    #[serde(rename = "parse+lint")]
    ParseWithWarning,
    #[serde(rename = "refuse")]
    Refuse,
}

#[test]
fn published_filters_have_their_outcome() {
    let cases = include_str!("../tests/data/filters.json");
    let cases: Vec<CheckCase> = serde_json::from_str(cases).expect("a list of cases");
    for CheckCase { filter, expect } in cases {
        let outcome = match RouteFilter::parse(&filter, &FilterOptions::default()) {
            Ok(parsed) if parsed.warnings().is_empty() => CheckOutcome::Parse,
            Ok(_) => CheckOutcome::ParseWithWarning,
            Err(_) => CheckOutcome::Refuse,
        };
        assert_eq!(outcome, expect, "{filter}");
    }
}

#[test]
fn types_in_other_letters() {
    check(
        "type = 'Microsoft.DigitalTwins.Telemetry'",
        expect![[r#"
            unknown-type: Azure Digital Twins has no type 'Microsoft.DigitalTwins.Telemetry'
                type = 'Microsoft.DigitalTwins.Telemetry'
                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            hint: did you mean 'microsoft.iot.telemetry'?
        "#]],
    );
    check(
        "type != 'microsoft.digitaltwins.twin.update'",
        expect![[r#"
            unknown-type: Azure Digital Twins has no type 'microsoft.digitaltwins.twin.update'
                type != 'microsoft.digitaltwins.twin.update'
                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            hint: did you mean 'Microsoft.DigitalTwins.Twin.Update'?
        "#]],
    );
    check(
        "'Twin.Create' = type",
        expect![[r#"
            unknown-type: Azure Digital Twins has no type 'Twin.Create'
                'Twin.Create' = type
                ^^^^^^^^^^^^^^^^^^^^
            hint: did you mean 'Microsoft.DigitalTwins.Twin.Create'?
        "#]],
    );
    check(
        "STARTS_WITH(type, 'microsoft.digitaltwins.twin')",
        expect![[r#"
            unknown-type: no type of Azure Digital Twins begins with 'microsoft.digitaltwins.twin'
                STARTS_WITH(type, 'microsoft.digitaltwins.twin')
                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            hint: did you mean 'Microsoft.DigitalTwins.Twin'?
        "#]],
    );
    check_none("STARTS_WITH(type, 'Microsoft.DigitalTwins.Twin') OR type = 'contoso.door.opened'");
}

#[test]
fn members_that_the_data_of_the_type_does_not_have() {
    check(
        "type = 'Microsoft.DigitalTwins.Twin.Update' AND CONTAINS($body.$metadata.$model, 'a')",
        expect![[r#"
            update-metadata: the data of an update is `modelId` and `patch`, so `$body.$metadata.$model` is missing
                type = 'Microsoft.DigitalTwins.Twin.Update' AND CONTAINS($body.$metadata.$model, 'a')
                                                                         ^^^^^^^^^^^^^^^^^^^^^^
            hint: the model id of an update is $body.modelId
        "#]],
    );
    check(
        "$body.$metadata.$model = 'a' AND (type = 'Microsoft.DigitalTwins.Twin.Update' OR \
        type = 'Microsoft.DigitalTwins.Relationship.Update')",
        expect![[r#"
            update-metadata: the data of an update is `modelId` and `patch`, so `$body.$metadata.$model` is missing
                $body.$metadata.$model = 'a' AND (type = 'Microsoft.DigitalT…
                ^^^^^^^^^^^^^^^^^^^^^^
            hint: the model id of an update is $body.modelId
        "#]],
    );
    check_none("type = 'Microsoft.DigitalTwins.Twin.Update' OR $body.$metadata.$model = 'a'");
    check_none(
        "$body.$metadata.$model = 'a' AND (type = 'Microsoft.DigitalTwins.Twin.Update' OR \
        type = 'Microsoft.DigitalTwins.Twin.Create')",
    );
    check(
        "$body.patch.0.path = '/a'",
        expect![[r#"
        patch-access: the patch of an update is an array, and filters cannot look into arrays
            $body.patch.0.path = '/a'
            ^^^^^^^^^^^^^^^^^^
    "#]],
    );
    check_none("type = 'microsoft.iot.telemetry' AND $body.patch.version > 2");
    check_none("$body.patch != null");
}

#[test]
fn attributes_of_telemetry() {
    check(
        "type = 'microsoft.iot.telemetry' AND CONTAINS(subject, 'room1')",
        expect![[r#"
            telemetry-subject: the subject of telemetry names the component, not the twin
                type = 'microsoft.iot.telemetry' AND CONTAINS(subject, 'room1')
                                                     ^^^^^^^^^^^^^^^^^^^^^^^^^^
            hint: write ENDS_WITH(source, '/digitaltwins/room1')
        "#]],
    );
    check_none("CONTAINS(subject, 'room1')");
    check(
        "datacontenttype = 'application/json' AND $body.t > 1",
        expect![[r#"
            json-content-type: telemetry keeps the content type of its sender, often another one
                datacontenttype = 'application/json' AND $body.t > 1
                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
    check(
        "type = 'microsoft.iot.telemetry' AND (datacontenttype = 'application/json' OR a)",
        expect![[r#"
            json-content-type: telemetry keeps the content type of its sender, often another one
                type = 'microsoft.iot.telemetry' AND (datacontenttype = 'application/json' OR a)
                                                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
    check_none(
        "type = 'Microsoft.DigitalTwins.Twin.Create' AND datacontenttype = 'application/json'",
    );
    check(
        "source = 'a.api.weu.digitaltwins.azure.net/room1'",
        expect![[r#"
            source-form: the source of telemetry is <host>/digitaltwins/<twin>
                source = 'a.api.weu.digitaltwins.azure.net/room1'
                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            hint: write 'a.api.weu.digitaltwins.azure.net/digitaltwins/room1'
        "#]],
    );
    check(
        "STARTS_WITH(source, 'https://a.api.weu.digitaltwins.azure.net')",
        expect![[r#"
            source-form: the source of an event is a host name without a scheme
                STARTS_WITH(source, 'https://a.api.weu.digitaltwins.azure.ne…
                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            hint: write 'a.api.weu.digitaltwins.azure.net'
        "#]],
    );
    check_none("source = 'a.api.weu.digitaltwins.azure.net/digitaltwins/room1'");
    check_none("STARTS_WITH(source, 'a.api.weu.digitaltwins.azure.net/')");
    check_none("source = 'https://contoso.com/'");
}

#[test]
fn names_from_elsewhere() {
    check(
        "$eventType = 'a'",
        expect![[r#"
        field-name: no event has a field `$eventType`
            $eventType = 'a'
            ^^^^^^^^^^
        hint: did you mean type?
    "#]],
    );
    check(
        "Type = 'a' AND $Body.a = 1 AND data.a = 1",
        expect![[r#"
        field-name: no event has a field `Type`
            Type = 'a' AND $Body.a = 1 AND data.a = 1
            ^^^^
        hint: did you mean type?
        field-name: no event has a field `$Body`
            Type = 'a' AND $Body.a = 1 AND data.a = 1
                           ^^^^^^^
        hint: did you mean $body.a?
        field-name: no event has a field `data`
            Type = 'a' AND $Body.a = 1 AND data.a = 1
                                           ^^^^^^
        hint: did you mean $body.a?
    "#]],
    );
    check(
        "$dt.$metadata.$model = 'a'",
        expect![[r#"
        field-name: no event has a field `$dt`
            $dt.$metadata.$model = 'a'
            ^^^^^^^^^^^^^^^^^^^^
        hint: did you mean $body.$metadata.$model?
    "#]],
    );
    check_none("processingPath = 'hot' AND $contentEncoding = 'UTF-8' AND eventtype = 'a'");
}

#[test]
fn clauses_that_exclude_each_other() {
    check(
        "type = 'a' AND subject = 'b' AND type = 'c'",
        expect![[r#"
        contradiction: no `type` passes this and what stands before it
            type = 'a' AND subject = 'b' AND type = 'c'
                                             ^^^^^^^^^^
    "#]],
    );
    check(
        "(type = 'a' OR type = 'b') AND (type = 'c' OR type = 'd')",
        expect![[r#"
            contradiction: no `type` passes this and what stands before it
                (type = 'a' OR type = 'b') AND (type = 'c' OR type = 'd')
                                                ^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
    check(
        "($body.a = 'x' AND ($body.a = 'y' AND type = 'b')) AND true",
        expect![[r#"
            contradiction: no `$body.a` passes this and what stands before it
                ($body.a = 'x' AND ($body.a = 'y' AND type = 'b')) AND true
                                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
    check_none("(type = 'a' OR type = 'b') AND (type = 'b' OR type = 'c')");
    check_none("type = 'a' OR type = 'b'");
}

#[test]
fn clauses_that_compare_nothing() {
    check(
        "'a' = 'b' OR STARTS_WITH('a', 'b')",
        expect![[r#"
        constant-clause: this does not depend on the event
            'a' = 'b' OR STARTS_WITH('a', 'b')
            ^^^^^^^^^
        constant-clause: this does not depend on the event
            'a' = 'b' OR STARTS_WITH('a', 'b')
                         ^^^^^^^^^^^^^^^^^^^^^
    "#]],
    );
    check(
        "subject = subject",
        expect![[r#"
            constant-clause: both sides are the same
                subject = subject
                ^^^^^^^^^^^^^^^^^
        "#]],
    );
    check(
        "specversion = 1.0",
        expect![[r#"
        type-mismatch: `specversion` is a string, which never compares with 1.0
            specversion = 1.0
            ^^^^^^^^^^^^^^^^^
        hint: write specversion = '1.0'
    "#]],
    );
    check(
        "subject = null OR subject",
        expect![[r#"
            type-mismatch: `subject` is a string or missing, never null
                subject = null OR subject
                ^^^^^^^^^^^^^^
            type-mismatch: `subject` is a string, and so never true by itself
                subject = null OR subject
                                  ^^^^^^^
        "#]],
    );
    check(
        "$body.a < null OR true >= $body.a",
        expect![[r#"
        type-mismatch: `< null` is never true: null has no order
            $body.a < null OR true >= $body.a
            ^^^^^^^^^^^^^^
        type-mismatch: `>= true` is never true: true has no order
            $body.a < null OR true >= $body.a
                              ^^^^^^^^^^^^^^^
    "#]],
    );
    check(
        "CONTAINS($body.a, 5)",
        expect![[r#"
        type-mismatch: CONTAINS is true of strings only, never of 5
            CONTAINS($body.a, 5)
            ^^^^^^^^^^^^^^^^^^^^
    "#]],
    );
    check_none("subject != null AND $body.a = null AND $body.b = true");
}

#[test]
fn every_code_is_described() {
    let guide = include_str!("../../../docs/filters.md");
    for code in CheckCode::ALL {
        let name = code.name();
        assert!(
            guide.contains(&format!("| `{name}` |")),
            "{name} is not in the guide"
        );
        let json = serde_json::to_string(&code).expect("plain data");
        assert_eq!(json, format!("\"{name}\""));
    }
}

#[test]
fn warnings_serialise() {
    let warnings = filter("$eventType = 'a'").warnings();
    let json = serde_json::to_string_pretty(&warnings).expect("plain data");
    expect![[r#"
        [
          {
            "code": "field-name",
            "span": {
              "start": 0,
              "end": 10
            },
            "message": "no event has a field `$eventType`",
            "suggestion": "did you mean type?"
          }
        ]"#]]
    .assert_eq(&json);
}

proptest! {
    #[test]
    fn every_filter_can_be_checked(text in crate::arbitrary::filter()) {
        let filter = filter(&text);
        for warning in filter.warnings() {
            prop_assert!(!warning.span.of(&text).is_empty());
            prop_assert!(warning.render(filter.as_str()).contains('^'));
        }
    }

    #[test]
    fn every_soup_that_parses_can_be_checked(text in crate::parse_tests::soup()) {
        if let Ok(filter) = RouteFilter::parse(&text, &FilterOptions::default()) {
            prop_assert!(filter.warnings().len() < 100);
        }
    }
}
