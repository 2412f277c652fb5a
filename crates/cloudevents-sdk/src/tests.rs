use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use twinroute_model::cloudevents::json;

fn ours(members: &str) -> Event {
    let text = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t"{members}}}"#);
    json::parse(Bytes::from(text), &EventLimits::default()).unwrap()
}

fn theirs() -> EventBuilderV10 {
    EventBuilderV10::new().id("1").source("s").ty("t")
}

fn read(event: &SdkEvent) -> Event {
    from_sdk(event, &EventLimits::default()).unwrap()
}

#[test]
fn there_and_back_nothing_is_lost() {
    for members in [
        "",
        r#","subject":"a/b","dataschema":"dtmi:contoso:mill:Pump;2""#,
        r#","time":"2026-03-02T06:14:07.123456Z""#,
        r#","traceparent":"00-a-b-01","x":"text","y":-7,"z":true"#,
        r#","data":{"a":[1,2.5,null]}"#,
        r#","data":null"#,
        r#","datacontenttype":"application/json","data":"text""#,
        r#","datacontenttype":"text/plain","data":"{\"a\":1}""#,
        r#","datacontenttype":"image/png","data_base64":"AP8=""#,
    ] {
        let event = ours(members);
        let again = read(&to_sdk(&event).unwrap());
        let attributes = |event: &Event| {
            let core = [
                "id",
                "source",
                "type",
                "subject",
                "time",
                "dataschema",
                "datacontenttype",
            ];
            let core = core.map(|name| event.attribute(name).map(str::to_owned));
            let extensions = event.extensions().map(|pair| format!("{pair:?}"));
            (core, extensions.collect::<Vec<_>>())
        };
        assert_eq!(attributes(&again), attributes(&event), "{members}");
        assert_eq!(again.data(), event.data(), "{members}");
    }
}

#[test]
fn a_moment_stays_the_same_moment() {
    let event = ours(r#","time":"2026-03-02T08:14:07.5512340+02:00""#);
    let again = read(&to_sdk(&event).unwrap());
    assert_eq!(again.time(), Some("2026-03-02T06:14:07.551234Z"));
}

#[test]
fn a_body_that_the_sdk_left_alone_is_still_json() {
    let json = br#"{"t": 1.10}"#.to_vec();
    let mut event = theirs()
        .data("application/json", json.clone())
        .build()
        .unwrap();
    assert_eq!(read(&event).json_data(), Some(r#"{"t": 1.10}"#));
    event.set_datacontenttype(None::<String>);
    assert_eq!(
        read(&event).data(),
        EventData::Binary(json.into()),
        "nobody said that it is JSON"
    );
    event.set_data_unchecked("text");
    assert_eq!(read(&event).json_data(), Some(r#""text""#));
    event.set_data_unchecked(vec![0, 255]);
    assert_eq!(read(&event).data(), EventData::Binary(vec![0, 255].into()));
    let refused = theirs().data("application/json", "{oops").build().unwrap();
    let refused = from_sdk(&refused, &EventLimits::default()).unwrap_err();
    assert!(
        refused.to_string().starts_with("`data`: is not the JSON"),
        "{refused}"
    );
}

#[test]
fn what_only_one_side_allows_is_refused() {
    let refusal = |event: SdkEvent| {
        from_sdk(&event, &EventLimits::default())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refusal(theirs().extension("n", 1_i64 << 31).build().unwrap()),
        "extension `n`: 2147483648 is not an integer of 32 bits"
    );
    assert_eq!(
        refusal(theirs().extension("Upper", "x").build().unwrap()),
        "attribute `Upper`: attribute names consist of lower-case letters and digits, not 'U'"
    );
    assert_eq!(
        refusal(theirs().id("").build().unwrap()),
        "attribute `id`: must not be empty"
    );
    let deep = ours(&format!(
        r#","data":{}{}"#,
        "[".repeat(200),
        "]".repeat(200)
    ));
    assert!(matches!(to_sdk(&deep), Err(Error::Data(_))));
}

proptest! {
    #[test]
    fn what_the_sdk_holds_comes_back_to_it(
        id in "[ -~]{1,20}",
        // An empty payload is none.
        text in ".+",
        bytes in prop::collection::vec(any::<u8>(), 1..50),
        number: i32,
        kind in 0..3,
    ) {
        let builder = theirs().id(id).extension("n", i64::from(number));
        let event = match kind {
            0 => builder.data("application/json", serde_json::json!({"text": text, "n": number})),
            1 => builder.data("text/plain", text),
            _ => builder.data("application/octet-stream", bytes),
        }.build().unwrap();
        prop_assert_eq!(to_sdk(&read(&event)).unwrap(), event);
    }
}
