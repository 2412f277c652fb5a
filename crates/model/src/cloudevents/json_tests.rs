use super::*;
use crate::event::{EventParts, ExtensionValue};
use proptest::prelude::*;

const MINIMAL: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;

fn event(json: &str) -> Event {
    parse(
        Bytes::copy_from_slice(json.as_bytes()),
        &EventLimits::default(),
    )
    .unwrap()
}

fn refusal(json: &str) -> String {
    parse(
        Bytes::copy_from_slice(json.as_bytes()),
        &EventLimits::default(),
    )
    .unwrap_err()
    .to_string()
}

fn with(members: &str) -> String {
    MINIMAL.replace('}', &format!(",{members}}}"))
}

#[test]
fn bytes_are_forwarded_unchanged() {
    let json = r#"{ "data" : {"z":1.10,"a":123456789012345678901234567890, "a" : 2},"type":"t",
        "source":"s","id":"1","specversion":"1.0","traceparent":"00-x" , "n":-7,"b":true}"#;
    let event = event(json);
    assert_eq!(event.structured(), Some(json));
    assert_eq!(
        event.data(),
        EventData::Json(r#"{"z":1.10,"a":123456789012345678901234567890, "a" : 2}"#)
    );
    assert_eq!(
        event.extension("traceparent"),
        Some(ExtensionValue::String("00-x"))
    );
    assert_eq!(event.extension("n"), Some(ExtensionValue::Integer(-7)));
    assert_eq!(event.extension("b"), Some(ExtensionValue::Boolean(true)));
    let mut out = Vec::new();
    write_batch([&event, &event.clone().detached()], &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), format!("[{json},{json}]"));
}

#[test]
fn escapes_are_undone_in_attributes_and_kept_in_data() {
    let event = event(
        r#"{"specversion":"1.\u0030","\u0069d":"a\"b","source":"s\/t","type":"t\u00e9","data":"\u0041"}"#,
    );
    assert_eq!(
        (event.id(), event.source(), event.event_type()),
        ("a\"b", "s/t", "té")
    );
    assert_eq!(event.data(), EventData::Json(r#""\u0041""#));
    assert_eq!(event.detached().id(), "a\"b");
}

#[test]
fn data_follows_the_content_type() {
    let text = event(&with(r#""datacontenttype":"text/plain","data":"a\nb""#));
    assert_eq!(text.data(), EventData::Text("a\nb".into()));
    assert_eq!(text.json_data(), None);
    let bytes = event(&with(r#""data_base64":"AAH\/""#));
    assert_eq!(bytes.data(), EventData::Binary(vec![0, 1, 255].into()));
    assert_eq!(event(MINIMAL).data(), EventData::None);
    assert_eq!(
        event(&with(r#""data":null,"subject":null"#)).data(),
        EventData::Json("null")
    );
}

/// An event and why it is refused.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn refusals() -> Vec<(String, &'static str)> {
    let refusals = [
        (
            "",
            "the event is not a JSON object: EOF while parsing a value at line 1 column 0",
        ),
        (
            "[]",
            "the event is not a JSON object: invalid type: sequence, expected a CloudEvent at line 1 column 0",
        ),
        (
            r#"{"id":"1","source":"s","type":"t"}"#,
            "attribute `specversion`: required, but missing",
        ),
        (
            r#"{"specversion":"1.0","id":null,"source":"s","type":"t"}"#,
            "attribute `id`: required, but missing",
        ),
        (
            r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#,
            "attribute `id`: must not be empty",
        ),
        (
            r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#,
            "attribute `specversion`: must be \"1.0\", not \"0.3\"",
        ),
        (
            r#"{"specversion":"1.0","id":7,"source":"s","type":"t"}"#,
            "attribute `id`: must be a string, not a number",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"a b","type":"t"}"#,
            "attribute `source`: a URI-reference has no blanks or control characters (at byte 1)",
        ),
        (
            &with(r#""time":"yesterday""#),
            "attribute `time`: must be an RFC 3339 date-time such as 2026-01-31T08:15:30Z, not \"yesterday\"",
        ),
        (
            &with(r#""subject":"""#),
            "attribute `subject`: must not be empty",
        ),
        (
            &with(r#""dataschema":"floor""#),
            "attribute `dataschema`: must be an absolute URI",
        ),
        (
            &with(r#""datacontenttype":"json""#),
            "attribute `datacontenttype`: must be a media type such as application/json, not \"json\"",
        ),
        (
            &with(r#""traceParent":"x""#),
            "attribute `traceParent`: attribute names consist of lower-case letters and digits, not 'P'",
        ),
        (
            &with(r#""x":{}"#),
            "attribute `x`: must be a string, an integer or a boolean, not an object",
        ),
        (
            &with(r#""x":1.5"#),
            "attribute `x`: a number must be an integer from -2147483648 to 2147483647, not 1.5",
        ),
        (
            &with(r#""id":"2""#),
            "attribute `id`: appears more than once",
        ),
        (
            &with(r#""data":1,"data_base64":"AA==""#),
            "`data`: must not stand beside `data_base64`",
        ),
        (
            &with(r#""data_base64":"A""#),
            "attribute `data_base64`: is not base64: Invalid input length: 1",
        ),
    ];
    refusals
        .map(|(json, expect)| (json.to_owned(), expect))
        .into()
}

#[test]
fn refusals_name_attribute_and_rule() {
    for (json, expect) in refusals() {
        assert_eq!(refusal(&json), expect, "{json}");
    }
    let not_utf8 = parse(
        Bytes::from_static(b"{\"id\":\"\xff\"}"),
        &EventLimits::default(),
    )
    .unwrap_err();
    assert_eq!(
        not_utf8.to_string(),
        "the event is not UTF-8: byte 7 is not part of a character"
    );
    assert!(refusal(&with("\"x\":\"\\ud800\"")).starts_with("attribute `x`: has an escape"));
}

/// Each name is compared with all before it, and an event of 1 MiB has room for a hundred thousand.
#[test]
fn an_event_of_names_alone_is_refused_at_once() {
    let members = |count: usize| -> String {
        let members: Vec<String> = (0..count).map(|n| format!("\"x{n}\":1")).collect();
        members.join(",")
    };
    let most = EventLimits::EXTENSIONS_MAX;
    assert_eq!(event(&with(&members(most))).extensions().count(), most);
    let expect = "the event has more than 128 extension attributes, which is the limit";
    for count in [most + 1, 90_000] {
        assert_eq!(refusal(&with(&members(count))), expect);
    }
    let parts = (0..most).try_fold(EventParts::new("1", "s", "t"), |parts, n| {
        parts.set(&format!("x{n}"), "")
    });
    let refused = parts.unwrap().set("one", "too many").unwrap_err();
    assert_eq!(refused.to_string(), expect);
}

#[test]
fn batches_are_whole_or_nothing() {
    let limits = EventLimits {
        event_bytes_max: 60,
        batch_events_max: 2,
    };
    let batch = |json: &str| {
        parse_batch(Bytes::copy_from_slice(json.as_bytes()), &limits)
            .map(|events| {
                events
                    .iter()
                    .map(|event| event.id().to_owned())
                    .collect::<Vec<_>>()
            })
            .map_err(|invalid| invalid.to_string())
    };
    assert_eq!(batch("[]"), Ok(vec![]));
    let two = MINIMAL.replace("\"1\"", "\"2\"");
    assert_eq!(
        batch(&format!(" [{MINIMAL} ,\n{two}] ")),
        Ok(vec!["1".into(), "2".into()])
    );
    for (json, expect) in [
        (
            format!("[{MINIMAL},{{}}]"),
            "event 1: attribute `specversion`: required, but missing",
        ),
        (
            format!("[{MINIMAL},]"),
            "event 1: the event is not a JSON object: expected value at line 1 column 1",
        ),
        (
            format!("[{MINIMAL}"),
            "the batch is not a JSON array of events: it ends before its `]`",
        ),
        (
            format!("[{MINIMAL}]x"),
            "the batch is not a JSON array of events: expected the end at byte 56",
        ),
        (
            MINIMAL.to_owned(),
            "the batch is not a JSON array of events: expected `[` at byte 0",
        ),
        (
            format!("[{MINIMAL},{MINIMAL},{MINIMAL}]"),
            "the batch has more than 2 events, which is the limit",
        ),
        (
            format!("[{}]", with(r#""subject":"too long""#)),
            "event 0: the event has 75 bytes; the limit is 60",
        ),
    ] {
        assert_eq!(batch(&json), Err(expect.to_owned()), "{json}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(parse(bytes.clone().into(), &EventLimits::default()));
        drop(parse_batch(bytes.into(), &EventLimits::default()));
    }

    #[test]
    fn what_is_read_is_what_was_written(
        id in "[ -~äß€]{1,20}",
        subject in "[ -~]{1,20}",
        extension in any::<String>(),
        data in any::<String>(),
        cut in any::<usize>(),
    ) {
        prop_assume!(!extension.chars().any(char::is_control));
        let json = serde_json::json!({
            "specversion": "1.0", "id": id, "source": "s", "type": "t",
            "subject": subject, "ext1": extension, "data": {"text": data},
        }).to_string();
        let event = event(&json);
        prop_assert_eq!(event.id(), &id);
        prop_assert_eq!(event.subject(), Some(&*subject));
        prop_assert_eq!(event.attribute("ext1"), Some(&*extension));
        let data: serde_json::Value = serde_json::from_str(event.json_data().unwrap()).unwrap();
        prop_assert_eq!(data, serde_json::json!({"text": data_text(&json)}));
        let cut = cut % json.len();
        drop(parse(Bytes::copy_from_slice(&json.as_bytes()[..cut]), &EventLimits::default()));
    }
}

fn data_text(json: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    value["data"]["text"].as_str().unwrap().to_owned()
}
