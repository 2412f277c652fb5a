//! What matches what, by cases and against a second evaluator that is slow and plain.

use proptest::prelude::*;
use serde_json::Value as Json;
use twinroute_model::event::{Event, EventLimits, EventParts, ExtensionValue};

use crate::ast::{CompareOp, CompareOperand, FieldPath, FilterExpr, FilterFunction, LiteralValue};
use crate::eval::{EventFields, EventScope};
use crate::{FilterOptions, RouteFilter};

fn filter(text: &str) -> RouteFilter {
    RouteFilter::parse(text, &FilterOptions::default()).expect(text)
}

fn event(json: &str) -> Event {
    let parts = EventParts::new("1", "contoso.api.weu.digitaltwins.azure.net", "Twin")
        .set("subject", "room1")
        .and_then(|parts| parts.set("datacontenttype", "application/json"))
        .and_then(|parts| parts.set("kind", "a"))
        .and_then(|parts| parts.extension("count", ExtensionValue::Integer(3)))
        .and_then(|parts| parts.extension("last", ExtensionValue::Boolean(true)));
    parts
        .expect("legal")
        .json(json)
        .build(&EventLimits::default())
        .expect("legal")
}

fn check(text: &str, json: &str, expect: bool) {
    assert_eq!(
        filter(text).matches(&event(json)),
        expect,
        "{text} of {json}"
    );
}

#[test]
fn attributes_are_strings_and_extensions_whatever_they_are_compared_with() {
    check(
        "type = 'Twin' AND subject = 'room1' AND specversion = '1.0' AND id = '1'",
        "{}",
        true,
    );
    check("type = 'twin'", "{}", false);
    check("STARTS_WITH(source, 'contoso.')", "{}", true);
    check("dataschema != 'x'", "{}", false);
    check(
        "dataschema = null OR dataschema != null OR time = ''",
        "{}",
        false,
    );
    check("subject != null", "{}", true);
    check("specversion = 1.0", "{}", false);
    check(
        "kind = 'a' AND count > 2 AND count < 3.5 AND last",
        "{}",
        true,
    );
    check("count = '3' AND last = 'true'", "{}", true);
    check("count = 4 OR count = true OR last = 1 OR kind", "{}", false);
    check(
        "data != null OR $eventType != null OR Type = 'Twin' OR a.b = 1",
        "{}",
        false,
    );
    check("type = Twin", "{}", false);
    check("type = kind OR subject > kind", "{}", true);
}

#[test]
fn missing_is_not_true_whatever_is_asked() {
    for op in ["=", "!=", "<", "<=", ">", ">="] {
        for value in ["1", "'x'", "true", "null", "$body.b", "$body.a"] {
            check(&format!("$body.b {op} {value}"), r#"{"a": 1}"#, false);
            check(&format!("{value} {op} $body.b"), r#"{"a": 1}"#, false);
        }
    }
    check(
        "CONTAINS($body.b, '') OR CONTAINS('', $body.b) OR $body.b",
        r#"{"a": 1}"#,
        false,
    );
}

#[test]
fn null_asks_for_presence() {
    check("$body.a = null", r#"{"a": null}"#, true);
    check("$body.a != null", r#"{"a": null}"#, false);
    check("$body.a != null", r#"{"a": false}"#, true);
    check("$body.a != null", r#"{"a": [1]}"#, true);
    check("$body.a != null", r#"{"a": {}}"#, true);
    check("$body.a = null", r#"{"a": 0}"#, false);
    check("$body.a = $body.b", r#"{"a": null, "b": null}"#, true);
    check("$body != null", "{}", true);
    check("$body = null", "null", true);
}

#[test]
fn types_are_never_converted() {
    check("$body.a = '5' OR $body.a != '5'", r#"{"a": 5}"#, false);
    check("$body.a = 5 OR $body.a != 5", r#"{"a": "5"}"#, false);
    check("$body.a = 1", r#"{"a": true}"#, false);
    check("$body.a", r#"{"a": "true"}"#, false);
    check("$body.a", r#"{"a": true}"#, true);
    check("CONTAINS($body.a, '5')", r#"{"a": 5}"#, false);
    check(
        "$body.a = $body.a OR $body.a != $body.a",
        r#"{"a": {}}"#,
        false,
    );
}

#[test]
fn numbers_compare_to_the_last_digit() {
    check("$body.a = 5", r#"{"a": 5.0}"#, true);
    check("$body.a = 5.5e0", r#"{"a": 55e-1}"#, true);
    check(
        "$body.a < 9223372036854775807",
        r#"{"a": 9223372036854775806}"#,
        true,
    );
    check(
        "$body.a = 9007199254740992",
        r#"{"a": 9007199254740993}"#,
        false,
    );
    check(
        "$body.a > 9223372036854775807",
        r#"{"a": 9223372036854775808}"#,
        true,
    );
    for digits in [
        "0.1",
        "51.24817837550540",
        "8.98846567431158e307",
        "123456789.12345679e-30",
    ] {
        check(
            &format!("$body.a = {digits}"),
            &format!(r#"{{"a": {digits}}}"#),
            true,
        );
    }
}

#[test]
fn arrays_are_not_looked_into() {
    let patch = r#"{"modelId": "dtmi:a;1", "patch": [{"path": "/t", "value": 1}]}"#;
    check(
        "$body.patch.path = '/t' OR $body.patch.0.path = '/t'",
        patch,
        false,
    );
    check(
        "$body.patch != null AND $body.modelId = 'dtmi:a;1'",
        patch,
        true,
    );
}

#[test]
fn data_that_is_no_json_has_no_members() {
    let parts = EventParts::new("1", "a", "b")
        .set("datacontenttype", "text/plain")
        .expect("legal");
    let event = parts
        .data("{\"a\": 1}".into())
        .build(&EventLimits::default())
        .expect("legal");
    assert!(!filter("$body.a = 1 OR $body != null").matches(&event));
    assert!(filter("$body.a = 1 OR type = 'b'").matches(&event));
}

#[test]
fn filters_of_a_table_share_one_pass() {
    let texts = [
        "$body.a.b = 1",
        "$body.a.c = 'x'",
        "$body.a != null",
        "$body.d",
        "type = 'Twin'",
    ];
    let filters = texts.map(filter);
    let mut fields = EventFields::new();
    let programs = filters.map(|filter| fields.compile(filter.expr()));
    let event = event(r#"{"a": {"c": "x", "b": 1}, "d": false}"#);
    let scope = EventScope::new(&fields, &event);
    assert_eq!(
        programs.map(|program| program.matches(&scope)),
        [true, true, true, false, true]
    );
}

/// A value as the plain evaluator sees it; `None` is missing.
fn plain_value(operand: &CompareOperand, event: &Event, data: Option<&Json>) -> Option<Json> {
    match operand {
        CompareOperand::Path(path) => plain_path(path, event, data),
        CompareOperand::Literal(literal) => Some(match literal {
            LiteralValue::Null => Json::Null,
            LiteralValue::Bool(value) => (*value).into(),
            LiteralValue::Int(value) => (*value).into(),
            LiteralValue::Double(value) => (*value).into(),
            LiteralValue::Text(text) => (&**text).into(),
        }),
    }
}

fn plain_path(path: &FieldPath, event: &Event, data: Option<&Json>) -> Option<Json> {
    let names: Vec<&str> = path.as_str().split('.').collect();
    if names[0] == "$body" {
        let step = |value: &Json, name: &&str| value.as_object()?.get(*name).cloned();
        return names[1..]
            .iter()
            .try_fold(data?.clone(), |value, name| step(&value, name));
    }
    if names.len() > 1 {
        return None;
    }
    match event.extension(names[0]) {
        Some(_) => event
            .attribute(names[0])
            .map(|text| serde_json::json!({EXTENSION: text})),
        None => event.attribute(names[0]).map(Json::from),
    }
}

/// A member that stands for an extension's text, and that no generated payload has.
const EXTENSION: &str = "extension!";

/// What the text of an extension is beside another value.
fn plain_extension(value: Json, other: &Json) -> Json {
    let read = |value: &Json| {
        let text = value.get(EXTENSION)?.as_str()?.to_owned();
        Some(match text.parse::<i32>() {
            Ok(number) if number.to_string() == text => Json::from(number),
            _ => text.parse::<bool>().map_or(Json::from(text), Json::from),
        })
    };
    let alike = |a: &Json, b: &Json| {
        (a.is_number() && b.is_number())
            || (a.is_boolean() && b.is_boolean())
            || (a.is_string() && b.is_string())
    };
    match (read(&value), read(other)) {
        (None, _) => value,
        (Some(own), Some(others)) if alike(&own, &others) => own,
        (Some(own), None) if !other.is_string() => own,
        (Some(_), _) => value[EXTENSION].clone(),
    }
}

/// A number in quarters: exact for all that the generators make, and as large as possible for
/// 1e300.
fn plain_quarters(value: &Json) -> i128 {
    match (value.as_i64(), value.as_f64()) {
        (Some(int), _) => i128::from(int) * 4,
        (None, Some(double)) => (double * 4.0) as i128,
        (None, None) => unreachable!("every number is a double at least"),
    }
}

fn plain_compare(left: &Json, op: CompareOp, right: &Json) -> bool {
    let order = match (left, right) {
        (Json::Null, Json::Null) => return op == CompareOp::Equal,
        (Json::Null, _) | (_, Json::Null) => return op == CompareOp::NotEqual,
        (Json::Bool(left), Json::Bool(right)) => {
            return (op == CompareOp::Equal && left == right)
                || (op == CompareOp::NotEqual && left != right);
        }
        (Json::String(left), Json::String(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Json::Number(_), Json::Number(_)) => plain_quarters(left).cmp(&plain_quarters(right)),
        _ => return false,
    };
    match op {
        CompareOp::Equal => order.is_eq(),
        CompareOp::NotEqual => order.is_ne(),
        CompareOp::Less => order.is_lt(),
        CompareOp::LessOrEqual => order.is_le(),
        CompareOp::Greater => order.is_gt(),
        CompareOp::GreaterOrEqual => order.is_ge(),
    }
}

fn plain(expr: &FilterExpr, event: &Event, data: Option<&Json>) -> bool {
    match expr {
        FilterExpr::And(group) => group.children.iter().all(|child| plain(child, event, data)),
        FilterExpr::Or(group) => group.children.iter().any(|child| plain(child, event, data)),
        FilterExpr::Constant { value, .. } => *value,
        FilterExpr::Flag(path) => plain_path(path, event, data)
            .is_some_and(|value| plain_extension(value, &Json::Null) == Json::Bool(true)),
        FilterExpr::Compare(clause) => {
            let left = plain_value(&clause.left, event, data);
            let right = plain_value(&clause.right, event, data);
            left.zip(right)
                .map(|(left, right)| {
                    let seen = plain_extension(left.clone(), &right);
                    (seen, plain_extension(right, &left))
                })
                .is_some_and(|(left, right)| plain_compare(&left, clause.op, &right))
        }
        FilterExpr::Call(clause) => {
            let subject = plain_value(&clause.subject, event, data);
            let part = plain_value(&clause.part, event, data);
            let text = |value: Option<Json>| {
                let value = value?;
                Some(plain_extension(value, &Json::from("")))
            };
            let (subject, part) = (text(subject), text(part));
            let (Some(Json::String(subject)), Some(Json::String(part))) = (subject, part) else {
                return false;
            };
            match clause.function {
                FilterFunction::StartsWith => subject.starts_with(&part),
                FilterFunction::EndsWith => subject.ends_with(&part),
                FilterFunction::Contains => subject.contains(&part),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn evaluation_agrees_with_the_plain_one(
        texts in prop::collection::vec(crate::arbitrary::filter(), 1..6),
        (event, data) in crate::arbitrary::event(),
    ) {
        let data: Option<Json> = data.map(|data| serde_json::from_str(&data).expect("JSON"));
        let filters: Vec<RouteFilter> = texts.iter().map(|text| filter(text)).collect();
        let mut fields = EventFields::new();
        let programs: Vec<_> = filters.iter().map(|filter| fields.compile(filter.expr())).collect();
        let scope = EventScope::new(&fields, &event);
        for (filter, program) in filters.iter().zip(&programs) {
            let expect = plain(filter.expr(), &event, data.as_ref());
            prop_assert_eq!(program.matches(&scope), expect, "{} of {:?}", filter, data);
        }
    }
}
