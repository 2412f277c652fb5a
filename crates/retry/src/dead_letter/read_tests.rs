//! Blobs of every writer, and bytes of none.

use super::super::document::DeadLetterDocument;
use super::*;
use proptest::prelude::*;
use twinroute_model::event::{EventData, EventParts};
use twinroute_model::name::{EndpointName, InstanceName};

/// As published, Event Grid "Message delivery and retry".
const CLOUD_EVENT: &str = r#"{
  "id": "caee971c-3ca0-4254-8f99-1395b394588e",
  "source": "mysource",
  "dataversion": "1.0",
  "subject": "mySubject",
  "type": "fooEventType",
  "datacontenttype": "application/json",
  "data": { "prop1": "value1", "prop2": 5.0 },
  "deadletterreason": "MaxDeliveryAttemptsExceeded",
  "deliveryattempts": 1,
  "lastdeliveryoutcome": "NotFound",
  "lasthttpstatuscode": 404,
  "publishtime": "2020-08-13T21:21:36.4018726Z"
}"#;
const EVENT_GRID: &str = r#"{
  "id": "93902694-901e-008f-6f95-7153a806873c",
  "eventTime": "2020-08-13T17:18:13.1647262Z",
  "eventType": "Microsoft.Storage.BlobCreated",
  "dataVersion": "",
  "metadataVersion": "1",
  "topic": "/subscriptions/0/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/foo",
  "subject": "/blobServices/default/containers/deadletter/blobs/myBlobFile.txt",
  "data": { "api": "PutBlob" },
  "deadLetterReason": "MaxDeliveryAttemptsExceeded",
  "deliveryAttempts": 1,
  "lastDeliveryOutcome": "NotFound",
  "publishTime": "2020-08-13T17:18:14.0265758Z",
  "lastDeliveryAttemptTime": "2020-08-13T17:18:14.0465788Z"
}"#;
const DIGITAL_TWINS: &str = r#"{
  "specversion": "1.0",
  "id": "1", "type": "Microsoft.DigitalTwins.Twin.Create",
  "source": "contoso.api.weu.digitaltwins.azure.net",
  "data": { "$dtId": "room1", "n": 1.10 },
  "subject": "room1",
  "publishtime": "an attribute of the producer",
  "traceparent": "00-889a9094ba22b9419dd9d8b3bfe1a301-f6564945cb20e94a-01"
}"#;

fn read(content: &str, metadata: &BlobMetadata) -> Vec<Result<ReadBack, InvalidEvent>> {
    let content = Bytes::copy_from_slice(content.as_bytes());
    parse(&content, metadata, &EventLimits::default()).unwrap()
}

fn only(content: &str) -> ReadBack {
    let mut all = read(content, &BlobMetadata::new());
    assert_eq!(all.len(), 1);
    all.remove(0).unwrap()
}

#[test]
fn a_blob_of_digital_twins_is_the_event_itself() {
    let back = only(DIGITAL_TWINS);
    assert_eq!(back.event.structured(), Some(DIGITAL_TWINS));
    assert_eq!(back.known, DeadLetterDetails::default());
    let with_mark = format!("\u{feff}{DIGITAL_TWINS}\r\n");
    assert_eq!(only(&with_mark).event.structured(), Some(DIGITAL_TWINS));
}

#[test]
fn event_grids_cloud_events_lose_what_it_mixed_in() {
    let back = only(&format!("[{CLOUD_EVENT}]"));
    let event = &back.event;
    assert_eq!(event.source(), "mysource");
    assert_eq!(event.subject(), Some("mySubject"));
    assert_eq!(
        event.data(),
        EventData::Json(r#"{ "prop1": "value1", "prop2": 5.0 }"#)
    );
    let names: Vec<&str> = event.extensions().map(|(name, _)| name).collect();
    assert_eq!(names, ["dataversion"]);
    let known = back.known;
    assert_eq!(
        known.event_grid_reason.as_deref(),
        Some("MaxDeliveryAttemptsExceeded")
    );
    assert_eq!(known.attempts, Some(1));
    assert_eq!(known.outcome.as_deref(), Some("NotFound"));
    let published = known.accepted_at.map(Timestamp::rfc3339);
    assert_eq!(published.as_deref(), Some("2020-08-13T21:21:36.401Z"));
    assert_eq!((known.reason, known.last_attempt_at), (None, None));
}

#[test]
fn event_grids_own_schema_becomes_a_cloud_event() {
    let back = only(&format!("[{EVENT_GRID}]"));
    assert_eq!(back.event.event_type(), "Microsoft.Storage.BlobCreated");
    assert!(back.event.source().ends_with("/storageAccounts/foo"));
    assert_eq!(back.event.extensions().count(), 0);
    let tried = back.known.last_attempt_at.map(Timestamp::rfc3339);
    assert_eq!(tried.as_deref(), Some("2020-08-13T17:18:14.046Z"));
    assert_eq!(back.known.outcome.as_deref(), Some("NotFound"));
}

#[test]
fn our_own_blobs_come_back_whole() {
    let event = json::parse(DIGITAL_TWINS.into(), &EventLimits::default()).unwrap();
    let dead = DeadLetter {
        reason: DeadLetterReason::Expired,
        attempts: 7,
        died_at: Timestamp::from_unix_millis(2_000),
        last_attempt_at: Some(Timestamp::from_unix_millis(1_500)),
        outcome: "http-503: 100 % beschäftigt ".into(),
    };
    let letter = DeadLetterDocument {
        instance: &InstanceName::new("contoso").unwrap(),
        endpoint: &EndpointName::new("hub").unwrap(),
        event: &event,
        accepted_at: Timestamp::from_unix_millis(1_000),
        dead: &dead,
    };
    let content = String::from_utf8(letter.content()).unwrap();
    let back = read(&content, &letter.metadata()).remove(0).unwrap();
    assert_eq!(back.event.structured(), Some(DIGITAL_TWINS));
    let expect = DeadLetterDetails {
        reason: Some(DeadLetterReason::Expired),
        event_grid_reason: Some("expired".into()),
        attempts: Some(7),
        outcome: Some((*dead.outcome).into()),
        accepted_at: Some(Timestamp::from_unix_millis(1_000)),
        last_attempt_at: dead.last_attempt_at,
        endpoint: Some("hub".into()),
        instance: Some("contoso".into()),
    };
    assert_eq!(back.known, expect);
}

#[test]
fn an_event_keeps_attributes_that_only_look_mixed_in_where_the_blob_is_ours() {
    // A dead letter of Event Grid that was sent to twinroute as an event, and died again.
    let replayed = CLOUD_EVENT.replacen('{', r#"{"specversion":"1.0","#, 1);
    let metadata = BlobMetadata::from([(REASON.to_owned(), "rejected".to_owned())]);
    let back = read(&replayed, &metadata).remove(0).unwrap();
    assert_eq!(back.event.structured(), Some(replayed.as_str()));
    assert_eq!(back.known.reason, Some(DeadLetterReason::Rejected));
    let stripped = only(&replayed).event;
    assert_eq!(stripped.attribute("deadletterreason"), None);
}

#[test]
fn one_bad_event_does_not_hide_the_others() {
    let array = format!(r#"[{CLOUD_EVENT}, {{"id":"2"}}, 3, {EVENT_GRID}]"#);
    let all = read(&array, &BlobMetadata::new());
    let bad: Vec<String> = all
        .iter()
        .filter_map(|read| read.as_ref().err())
        .map(ToString::to_string)
        .collect();
    assert_eq!(all.len(), 4);
    assert_eq!(bad.len(), 2, "{bad:?}");
    assert!(bad[0].starts_with("event 1: ") && bad[1].starts_with("event 2: "));
}

#[test]
fn sizes_are_bounded() {
    let limits = EventLimits {
        event_bytes_max: 64,
        batch_events_max: 2,
    };
    let parse = |text: &str| parse(&Bytes::from(text.to_owned()), &BlobMetadata::new(), &limits);
    assert!(matches!(
        parse("[{},{},{}]"),
        Err(EventProblem::TooMany { .. })
    ));
    for large in [CLOUD_EVENT, EVENT_GRID, DIGITAL_TWINS] {
        let refused = parse(large).unwrap().remove(0).unwrap_err();
        assert!(refused.problem.is_too_large(), "{refused}");
    }
    let members: Vec<String> = (0..200).map(|n| format!(r#""a{n}":1"#)).collect();
    assert!(parse(&format!("{{{}}}", members.join(","))).is_err());
    assert!(parse("").is_err() && parse("null").is_err() && parse("[").is_err());
    let deep = "[".repeat(100_000);
    assert!(parse(&deep).is_err());
    assert!(parse(&format!(r#"{{"a":{deep}"#)).is_err());
    let blob = Bytes::from(vec![b' '; BLOB_BYTES_MAX + 1]);
    let refused = super::parse(&blob, &BlobMetadata::new(), &limits).unwrap_err();
    assert!(refused.is_too_large());
}

proptest! {
    #[test]
    fn hostile_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(parse(&bytes.into(), &BlobMetadata::new(), &EventLimits::default()));
    }

    #[test]
    fn a_damaged_blob_does_not_panic(
        which in 0..3_usize,
        cut in 0..700_usize,
        byte in any::<u8>(),
        value in "[ -~]{0,20}",
    ) {
        let mut bytes = [CLOUD_EVENT, EVENT_GRID, DIGITAL_TWINS][which].as_bytes().to_vec();
        let at = cut % bytes.len();
        bytes[at] = byte;
        let names = [REASON, ATTEMPTS, OUTCOME, PUBLISH_TIME];
        let metadata = BlobMetadata::from([(names[cut % 4].to_owned(), value)]);
        drop(parse(&bytes.clone().into(), &metadata, &EventLimits::default()));
        bytes.truncate(at);
        drop(parse(&bytes.into(), &metadata, &EventLimits::default()));
    }

    #[test]
    fn what_event_grid_would_do_to_an_event_is_undone(
        id in "[ -~é]{1,20}",
        data in "[ -~]{0,20}",
        attempts in 1..31_u32,
    ) {
        let data = serde_json::Value::from(data).to_string();
        let event = EventParts::new(&id, "source", "type").json(&data).build(&EventLimits::default()).unwrap();
        let mut json = Vec::new();
        json::write(&event, &mut json);
        let mixed = String::from_utf8(json).unwrap().replacen(
            r#""specversion":"1.0""#,
            &format!(r#""deadletterreason":"x","deliveryattempts":{attempts}"#),
            1,
        );
        let back = only(&format!("[{mixed}]"));
        prop_assert_eq!(back.event.id(), &id);
        prop_assert_eq!(back.event.json_data(), Some(data.as_str()));
        prop_assert_eq!(back.event.extensions().count(), 0);
        prop_assert_eq!(back.known.attempts, Some(attempts));
    }
}
