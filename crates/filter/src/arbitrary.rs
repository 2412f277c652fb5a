//! Generators for property tests: filters, and events that sometimes match them.
//!
//! Names and values come from small sets, so that filters and events meet.

use proptest::prelude::*;
use twinroute_model::event::{ADT_TYPES, Event, EventLimits, EventParts, ExtensionValue};

/// The text of a filter.
pub(crate) fn filter() -> impl Strategy<Value = String> {
    condition().prop_recursive(4, 24, 4, |inner| {
        let group = prop::collection::vec(inner, 2..5);
        prop_oneof![
            group.clone().prop_map(|parts| join(&parts, " AND ")),
            group.prop_map(|parts| join(&parts, " or ")),
        ]
    })
}

fn join(parts: &[String], word: &str) -> String {
    let parts: Vec<_> = parts.iter().map(|part| format!("({part})")).collect();
    parts.join(word)
}

fn condition() -> impl Strategy<Value = String> {
    let op = prop::sample::select(vec!["=", "=", "=", "!=", "<", "<=", ">", ">="]);
    let function = prop::sample::select(vec!["STARTS_WITH", "ends_with", "Contains"]);
    prop_oneof![
        8 => (operand(), op, operand()).prop_map(|(left, op, right)| format!("{left}{op} {right}")),
        4 => (function, operand(), operand())
            .prop_map(|(function, subject, part)| format!("{function}({subject},{part})")),
        8 => (envelope_or_model(), common_text())
            .prop_map(|(path, text)| format!("{path} = '{text}'")),
        4 => (envelope_or_model(), common_text())
            .prop_map(|(path, text)| format!("STARTS_WITH({path}, '{text}')")),
        2 => path(),
        1 => prop::sample::select(vec!["true", "FALSE"]).prop_map(str::to_owned),
    ]
}

/// The fields that an index keeps.
fn envelope_or_model() -> impl Strategy<Value = &'static str> {
    let body = ["$body.$metadata.$model", "$body.modelId"];
    prop::sample::select([&["type", "type", "subject", "source"][..], &body].concat())
}

/// Texts so few that a filter's and an event's are often the same.
fn common_text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "ab", "dtmi:a:b;1", ADT_TYPES[0], ADT_TYPES[2]])
}

fn operand() -> impl Strategy<Value = String> {
    prop_oneof![
        path(),
        literal(),
        text().prop_map(|text| format!("'{text}'"))
    ]
}

fn path() -> impl Strategy<Value = String> {
    let envelope = prop::sample::select(vec![
        "type",
        "source",
        "subject",
        "dataschema",
        "id",
        "time",
        "specversion",
        "datacontenttype",
        "kind",
        "count",
        "$eventType",
        "Type",
        "a.b",
    ]);
    let names = prop::sample::select(vec!["a", "b", "c", "$metadata", "$model", "modelId", "l"]);
    prop_oneof![
        envelope.prop_map(str::to_owned),
        prop::collection::vec(names, 0..4).prop_map(|names| ["$body"]
            .into_iter()
            .chain(names)
            .collect::<Vec<_>>()
            .join(".")),
        Just("$body.$metadata.$model".to_owned()),
    ]
}

fn literal() -> impl Strategy<Value = String> {
    let values = vec![
        "true", "false", "null", "0", "1", "-1", "1.0", "1.5", "2e0", "1e300",
    ];
    let large = vec![
        "9223372036854775807",
        "9223372036854775808",
        "9007199254740993",
    ];
    prop::sample::select([values, large].concat()).prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = &'static str> {
    let words = vec![
        "",
        "a",
        "ab",
        "b",
        "dtmi:a",
        "dtmi:a:b;1",
        "1",
        "ä",
        "room1",
        "1.0",
    ];
    prop::sample::select([words, ADT_TYPES.to_vec()].concat())
}

/// JSON text, now and then with repeated members.
pub(crate) fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        literal(),
        text().prop_map(|text| format!("\"{text}\"")),
        Just("\"\\u0061\"".to_owned()),
        Just("18446744073709551615".to_owned()),
    ];
    let names = vec![
        "a",
        "b",
        "c",
        "$metadata",
        "$model",
        "modelId",
        "l",
        "\\u0061",
        "A",
    ];
    let name = prop::sample::select(names);
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let members = prop::collection::vec((name.clone(), inner.clone()), 0..5);
        prop_oneof![
            4 => members.prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
            1 => prop::collection::vec(inner, 0..3)
                .prop_map(|items| format!("[{}]", items.join(","))),
        ]
    })
}

/// An event, and its data where it has some.
pub(crate) fn event() -> impl Strategy<Value = (Event, Option<String>)> {
    let kind = prop_oneof![
        Just(ExtensionValue::String("a")),
        Just(ExtensionValue::Boolean(true)),
        Just(ExtensionValue::Integer(1)),
    ];
    let required = common_text();
    let subject = prop::option::of(common_text());
    let twin = (common_text(), json())
        .prop_map(|(model, a)| format!(r#"{{"$metadata": {{"$model": "{model}"}}, "a": {a}}}"#));
    let update = common_text().prop_map(|model| format!(r#"{{"modelId": "{model}", "l": []}}"#));
    let data = prop::option::weighted(0.9, prop_oneof![2 => json(), 1 => twin, 1 => update]);
    (required, subject, prop::option::of(kind), data).prop_map(
        |(event_type, subject, kind, data)| {
            let mut parts = EventParts::new("1", "a", event_type);
            if let Some(subject) = subject {
                parts = parts.set("subject", subject).expect("a legal subject");
            }
            if let Some(kind) = kind {
                parts = parts.extension("kind", kind).expect("a legal extension");
            }
            if let Some(data) = &data {
                parts = parts.json(data);
            }
            (
                parts.build(&EventLimits::default()).expect("a legal event"),
                data,
            )
        },
    )
}
