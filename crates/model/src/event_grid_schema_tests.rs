use super::*;
use crate::cloudevents::json;
use crate::fixtures::{self, value};
use proptest::prelude::*;

fn written(event: &Event) -> String {
    let mut out = Vec::new();
    write(event, &mut out);
    String::from_utf8(out).unwrap()
}

fn read(item: &str) -> Result<Event, String> {
    let batch = Bytes::from(format!("[{item}]"));
    parse_batch(&batch, "contoso", &EventLimits::default())
        .map(|mut events| events.remove(0))
        .map_err(|invalid| invalid.to_string())
}

fn cloud_event(members: &str) -> Event {
    let text =
        format!(r#"{{"specversion":"1.0","id":"1","source":"h/digitaltwins/t1",{members}}}"#);
    json::parse(text.into(), &EventLimits::default()).unwrap()
}

/// All attributes but `source`, which the schema has no place for.
fn attributes(event: &Event) -> Vec<(String, String)> {
    let core = [
        "id",
        "type",
        "subject",
        "time",
        "dataschema",
        "datacontenttype",
    ];
    let core = core
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), event.attribute(name)?.to_owned())));
    let extensions = event
        .extensions()
        .map(|(name, value)| (name.to_owned(), format!("{value:?}")));
    core.chain(extensions).collect()
}

#[test]
fn what_is_written_is_what_azure_writes() {
    for fixture in fixtures::ALL {
        let mut expect = value(fixture.event_grid);
        // Event Grid's own.
        for member in ["topic", "metadataVersion"] {
            assert!(expect.as_object_mut().unwrap().remove(member).is_some());
        }
        assert_eq!(
            value(&written(&fixture.event())),
            expect,
            "{}",
            fixture.name
        );
    }
}

#[test]
fn what_azure_wrote_is_read_as_the_event_it_was() {
    for fixture in fixtures::ALL {
        let event = read(fixture.event_grid).unwrap();
        let expect = fixture.event();
        assert_eq!(attributes(&event), attributes(&expect), "{}", fixture.name);
        let data = |event: &Event| value(event.json_data().unwrap());
        assert_eq!(data(&event), data(&expect), "{}", fixture.name);
        assert_eq!(TwinKey::of(&event).twin, TwinKey::of(&expect).twin);
        let topic = value(fixture.event_grid)["topic"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(event.source().starts_with(&topic), "{}", event.source());
        assert_eq!(TwinKey::of(&event).host, topic);
        let again = read(&written(&event)).unwrap();
        assert_eq!(attributes(&again), attributes(&expect), "{}", fixture.name);
        assert_eq!(TwinKey::of(&again).twin, TwinKey::of(&expect).twin);
    }
}

#[test]
fn telemetry_names_its_twin_and_keeps_its_component() {
    let plain = cloud_event(r#""type":"microsoft.iot.telemetry","data":1"#);
    assert_eq!(
        written(&plain),
        r#"{"id":"1","subject":"t1","data":{"data":1,"contenttype":"application/json"},"eventType":"microsoft.iot.telemetry","eventTime":"0001-01-01T00:00:00Z","dataVersion":"1.0"}"#
    );
    let component = cloud_event(r#""type":"microsoft.iot.telemetry","subject":"c/1","data":1"#);
    let json = value(&written(&component));
    assert_eq!(
        (&json["subject"], &json["data"]["subject"]),
        (&"t1".into(), &"c/1".into())
    );
    let event = read(&written(&component)).unwrap();
    assert_eq!(event.source(), "contoso/digitaltwins/t1");
    assert_eq!(event.subject(), Some("c/1"));
    assert_eq!(event.time(), None);
}

#[test]
fn a_twin_that_no_uri_can_hold_is_escaped() {
    let item = r#"{"id":"1","subject":"Süd 1/a","eventType":"microsoft.iot.telemetry",
        "eventTime":"2026-01-01T00:00:00Z","topic":"/topics/x/",
        "data":{"data":{},"contenttype":"application/json"}}"#;
    let event = read(item).unwrap();
    assert_eq!(event.source(), "/topics/x/digitaltwins/S%C3%BCd%201%2Fa");
    assert_eq!(
        TwinKey::of(&read(&written(&event)).unwrap()).twin,
        "S%C3%BCd%201%2Fa"
    );
}

#[test]
fn other_payloads_come_back_as_they_went() {
    for members in [
        r#""type":"microsoft.iot.telemetry","data":null"#,
        r#""type":"microsoft.iot.telemetry""#,
        r#""type":"microsoft.iot.telemetry","data":"text""#,
        r#""type":"microsoft.iot.telemetry","datacontenttype":"text/plain","data":"a\n\"b\"""#,
        r#""type":"microsoft.iot.telemetry","data_base64":"AP8=""#,
        r#""type":"microsoft.iot.telemetry","datacontenttype":"image/png","data_base64":"AP8=""#,
        r#""type":"microsoft.iot.telemetry","n":-7,"b":false,"s":"\u00e9","data":[1.10]"#,
    ] {
        let event = cloud_event(members);
        let again = read(&written(&event)).unwrap();
        assert_eq!(again.data(), event.data(), "{members}");
        let extensions = |event: &Event| {
            let sorted: BTreeMap<_, _> = event.extensions().collect();
            format!("{sorted:?}")
        };
        assert_eq!(extensions(&again), extensions(&event), "{members}");
    }
}

#[test]
fn other_publishers_wrap_nothing() {
    let item = r#"{"id":"7","subject":"/blobs/x","eventType":"Contoso.Blob","dataVersion":"2",
        "eventTime":"2026-01-01T00:00:00Z","topic":"/topics/x",
        "data":{"data":1,"contenttype":"image/png"},"metadataVersion":"1"}"#;
    let event = read(item).unwrap();
    assert_eq!(
        event.json_data(),
        Some(r#"{"data":1,"contenttype":"image/png"}"#)
    );
    assert_eq!(
        (event.source(), event.subject()),
        ("/topics/x", Some("/blobs/x"))
    );
    assert_eq!(event.attribute("dataversion"), Some("2"));
    // A type of Azure Digital Twins that somebody publishes as it is.
    let bare = r#"{"id":"7","subject":"room1","eventType":"Microsoft.DigitalTwins.Twin.Create",
        "eventTime":"2026-01-01T00:00:00Z","data":{"$dtId":"room1"}}"#;
    let event = read(bare).unwrap();
    assert_eq!(event.json_data(), Some(r#"{"$dtId":"room1"}"#));
    assert_eq!(event.source(), "contoso");
    let without_data = bare.replace(r#","data":{"$dtId":"room1"}"#, "");
    assert_eq!(read(&without_data).unwrap().data(), EventData::None);
}

#[test]
fn null_data_beside_the_payload_is_an_absent_attribute() {
    let item = r#"{"id":"7","subject":"room1","eventType":"Microsoft.DigitalTwins.Twin.Create",
        "eventTime":"2026-01-01T00:00:00Z",
        "data":{"data":{},"contenttype":"application/json","dataschema":null,"traceparent":null}}"#;
    let event = read(item).unwrap();
    assert_eq!((event.dataschema(), event.extensions().count()), (None, 0));
}

#[test]
fn refusals_name_the_member() {
    let good = r#"{"id":"7","subject":"s","eventType":"Microsoft.DigitalTwins.Twin.Create","eventTime":"2026-01-01T00:00:00Z","topic":"x","data":{"data":1,"contenttype":"application/json"}}"#;
    assert!(read(good).is_ok());
    for (from, to, expect) in [
        (r#""id":"7","#, "", "attribute `id`: required, but missing"),
        (
            r#""subject":"s","#,
            "",
            "attribute `subject`: required, but missing",
        ),
        (
            r#""subject":"s""#,
            r#""subject":"""#,
            "attribute `subject`: must not be empty",
        ),
        (
            "eventType",
            "type",
            "attribute `eventType`: required, but missing",
        ),
        (
            "eventTime",
            "time",
            "attribute `eventTime`: required, but missing",
        ),
        (
            "2026-01-01T00:00:00Z",
            "now",
            "attribute `time`: must be an RFC 3339 date-time such as 2026-01-31T08:15:30Z, not \"now\"",
        ),
        (
            r#""topic":"x""#,
            r#""topic":"a b""#,
            "attribute `source`: a URI-reference has no blanks or control characters (at byte 1)",
        ),
        (
            r#""data":1,"#,
            r#""data":1,"x":1.5,"#,
            "attribute `x`: a number must be an integer of 32 bits",
        ),
        (
            r#""data":1,"#,
            r#""data":1,"time":7,"#,
            "attribute `time`: must be a string",
        ),
        (
            r#""data":1,"#,
            r#""data":1,"data_base64":"AA==","#,
            "`data`: must not stand beside `data_base64`",
        ),
        (
            r#""data":1,"#,
            r#""data":1,"subject":"other","#,
            "attribute `subject`: appears more than once",
        ),
    ] {
        let item = good.replacen(from, to, 1);
        assert_eq!(
            read(&item).unwrap_err(),
            format!("event 0: {expect}"),
            "{item}"
        );
    }
}

#[test]
fn limits_are_kept() {
    let item = fixtures::ALL[0].event_grid;
    let limits = EventLimits {
        event_bytes_max: item.len(),
        batch_events_max: 2,
    };
    let batch = |count: usize, item: &str| {
        let batch = Bytes::from(format!("[{}]", vec![item; count].join(",")));
        parse_batch(&batch, "contoso", &limits).map_err(|invalid| invalid.to_string())
    };
    assert_eq!(batch(0, item).unwrap().len(), 0);
    assert_eq!(batch(2, item.trim()).unwrap().len(), 2);
    assert_eq!(
        batch(3, item).unwrap_err(),
        "the batch has more than 2 events, which is the limit"
    );
    let large = item.replacen("pump-17", &"p".repeat(100), 1);
    let bytes = large.trim().len();
    assert_eq!(
        batch(1, &large).unwrap_err(),
        format!(
            "event 0: the event has {bytes} bytes; the limit is {}",
            item.len()
        )
    );
    assert!(
        batch(1, "{}x")
            .unwrap_err()
            .starts_with("the batch is not a JSON array")
    );
}

/// JSON text as programs may write it: numbers of any length, blanks, repeated members.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just(r#""\ud83d\uDE00 \/ \u0041""#.to_owned()),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let blank = prop_oneof![Just(""), Just(" "), Just("\n\t")];
        let name = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
        let member = (name, inner.clone()).prop_map(|(name, value)| format!("{name} :{value}"));
        prop_oneof![
            (blank.clone(), prop::collection::vec(inner, 0..4))
                .prop_map(|(blank, items)| format!("[{blank}{}{blank}]", items.join(","))),
            (blank, prop::collection::vec(member, 0..4))
                .prop_map(|(blank, items)| format!("{{{blank}{}}}", items.join(" , "))),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(parse_batch(&bytes.into(), "contoso", &EventLimits::default()));
    }

    #[test]
    fn json_data_survives_byte_for_byte(data in any_json(), adt: bool) {
        let kind = if adt { TELEMETRY } else { "Contoso.Other" };
        let event = cloud_event(&format!(r#""type":"{kind}","data":{data}"#));
        prop_assert_eq!(event.json_data(), Some(&*data));
        let item = written(&event);
        prop_assert!(item.contains(&data));
        let read = read(&item).unwrap();
        let expect = if adt { data } else {
            format!(r#"{{"data":{data},"contenttype":"application/json"}}"#)
        };
        prop_assert_eq!(read.json_data(), Some(&*expect));
    }

    #[test]
    fn attributes_survive(
        id in "[ -~äß€]{1,20}",
        twin in "[!-~&&[^\"\\\\%/]]{1,20}",
        component in proptest::option::of("[ -~ä]{1,20}"),
        extension in "[ -~ü]{0,20}",
    ) {
        let mut parts = EventParts::new(&id, &format!("h/digitaltwins/{twin}"), TELEMETRY)
            .set("ext1", &extension).unwrap()
            .json("{}");
        if let Some(component) = &component {
            parts = parts.set("subject", component).unwrap();
        }
        let event = parts.build(&EventLimits::default()).unwrap();
        let again = read(&written(&event)).unwrap();
        prop_assert_eq!(again.id(), &id);
        prop_assert_eq!(TwinKey::of(&again).twin, &twin);
        prop_assert_eq!(again.subject(), component.as_deref());
        prop_assert_eq!(again.attribute("ext1"), Some(&*extension));
    }
}
