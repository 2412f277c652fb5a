use super::*;
use crate::amqp::testing::broker;
use fe2o3_amqp_types::messaging::MessageId;
use fe2o3_amqp_types::messaging::message::__private::Serializable;
use proptest::prelude::*;
use std::sync::Arc;
use twinroute_model::event::{EventLimits, EventParts};

fn delivery(id: usize, subject: &str, data: &[u8]) -> Delivery {
    let event = EventParts::new(
        &id.to_string(),
        "contoso.api.weu.digitaltwins.azure.net",
        "t",
    )
    .set("subject", subject)
    .unwrap()
    .set("datacontenttype", "application/octet-stream")
    .unwrap()
    .data(data.to_vec().into())
    .build(&EventLimits::default())
    .unwrap();
    Delivery::new(id as u64, event)
}

/// What fe2o3-amqp puts on the wire for a transfer.
fn wire(encoded: &EncodedGroup) -> Vec<u8> {
    serde_amqp::to_vec(&Serializable(&encoded.sendable.message)).unwrap()
}

#[test]
fn a_message_has_every_attribute_where_the_binding_puts_it() {
    let event = EventParts::new("1", "h/digitaltwins/a", "microsoft.iot.telemetry")
        .set("subject", "comp")
        .unwrap()
        .set("time", "2020-01-01T00:00:00Z")
        .unwrap()
        .set("dataschema", "dtmi:a;1")
        .unwrap()
        .set("datacontenttype", "application/json")
        .unwrap()
        .set("traceparent", "00-x")
        .unwrap()
        .extension("count", ExtensionValue::Integer(-7))
        .unwrap()
        .extension("flag", ExtensionValue::Boolean(true))
        .unwrap()
        .json("{\"a\": 1.10}")
        .build(&EventLimits::default())
        .unwrap();
    let envelope = MessageEnvelope {
        partition_key: Some("key"),
        message_id: Some("id"),
        group_id: Some("group"),
        trace: None,
    };
    let mut bytes = Vec::new();
    amqp::write(&event, &envelope, &mut bytes);
    let message = broker::decode(&bytes);
    let annotations = message.message_annotations.unwrap();
    assert_eq!(annotations.len(), 1);
    let properties = message.properties.unwrap();
    assert_eq!(properties.message_id, Some(MessageId::String("id".into())));
    assert_eq!(properties.group_id.as_deref(), Some("group"));
    assert_eq!(
        properties.content_type,
        Some(Symbol::from("application/json"))
    );
    let text = |value: &str| SimpleValue::String(value.to_owned());
    let expected = [
        ("cloudEvents:id", text("1")),
        ("cloudEvents:source", text("h/digitaltwins/a")),
        ("cloudEvents:specversion", text("1.0")),
        ("cloudEvents:type", text("microsoft.iot.telemetry")),
        ("cloudEvents:time", text("2020-01-01T00:00:00Z")),
        ("cloudEvents:subject", text("comp")),
        ("cloudEvents:dataschema", text("dtmi:a;1")),
        ("cloudEvents:traceparent", text("00-x")),
        ("cloudEvents:count", SimpleValue::Int(-7)),
        ("cloudEvents:flag", SimpleValue::Bool(true)),
    ];
    let found = message.application_properties.unwrap().0;
    assert_eq!(found.len(), expected.len());
    for (name, value) in expected {
        assert_eq!(found.get(name), Some(&value), "{name}");
    }
    assert_eq!(message.body.0.as_slice(), b"{\"a\": 1.10}");
    // The message for brokers without batches says the same.
    assert_eq!(attributes(&event, None).0, found);
}

/// An event with an extension `traceparent`, which came with the trace of a request.
fn traced(parent: &str, request: Option<&str>) -> Delivery {
    let event = EventParts::new("1", "h", "t");
    let event = event.set("traceparent", parent).unwrap();
    let event = event.build(&EventLimits::default()).unwrap();
    let mut delivery = Delivery::new(1, event);
    delivery.trace = request.map(|parent| {
        let context = TraceContext::parse(parent).unwrap();
        Arc::new(context.with_state("a=1"))
    });
    delivery
}

#[test]
fn a_message_continues_its_events_trace_and_the_event_stays_as_it_is() {
    const OWN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const NEARER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-01";
    const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let text = |value: &str| SimpleValue::String(value.to_owned());
    for (own, request, expect) in [
        (OWN, None, Some((OWN, None))),
        (OWN, Some(NEARER), Some((NEARER, Some("a=1")))),
        (OWN, Some(OTHER), Some((OWN, None))),
        ("00-x", Some(OTHER), Some((OTHER, Some("a=1")))),
        ("00-x", None, None),
    ] {
        let delivery = traced(own, request);
        let routing = MessageRouting::EventHubs(PartitionKey::None);
        let limits = SizeLimits {
            message_max: 1 << 20,
            batch_max: 1 << 20,
        };
        // In a batch and alone.
        for batched in [true, false] {
            let batch = std::slice::from_ref(&delivery);
            let mut planned = plan(routing, batched, limits, batch, 0..1);
            let message = planned.transfers.remove(0).sendable.message;
            let found = match batched {
                true => {
                    assert!(message.application_properties.is_none());
                    let sections = Vec::from_iter(message.body);
                    broker::decode(&sections[0].0).application_properties
                }
                false => message.application_properties,
            };
            let found = found.unwrap().0;
            assert_eq!(found.get("cloudEvents:traceparent"), Some(&text(own)));
            let parent = expect.map(|(parent, _)| text(parent));
            assert_eq!(
                found.get("traceparent"),
                parent.as_ref(),
                "{own} {request:?}"
            );
            assert_eq!(found.get("Diagnostic-Id"), parent.as_ref());
            let state = expect.and_then(|(_, state)| state).map(text);
            assert_eq!(found.get("tracestate"), state.as_ref());
        }
    }
}

#[test]
fn values_of_any_length_are_written() {
    for len in [0, 1, 254, 255, 256, 257, 65_536] {
        let data = vec![7; len];
        let name = "s".repeat(len.max(1));
        let delivery = delivery(1, &name, &data);
        let mut bytes = Vec::new();
        let envelope = MessageEnvelope {
            message_id: Some(&name),
            ..MessageEnvelope::default()
        };
        amqp::write(&delivery.event, &envelope, &mut bytes);
        let message = broker::decode(&bytes);
        assert_eq!(message.body.0.len(), len);
        let found = message.application_properties.unwrap().0;
        assert_eq!(
            found.get("cloudEvents:subject"),
            Some(&SimpleValue::String(name))
        );
        let mut section = Vec::new();
        amqp::write_data(&data, &mut section);
        let overhead = if len < 256 { 5 } else { 8 };
        assert_eq!(section.len(), len + overhead);
    }
}

#[test]
fn a_payload_is_the_same_bytes_whatever_form_it_came_in() {
    let head = r#""specversion":"1.0","id":"1","source":"h","type":"t""#;
    for (rest, expected, media_type) in [
        ("", &b""[..], None),
        (
            r#","data":{"a": 1.10}"#,
            b"{\"a\": 1.10}",
            Some("application/json"),
        ),
        (
            r#","datacontenttype":"text/plain","data":"a\u00e4""#,
            "a\u{e4}".as_bytes(),
            Some("text/plain"),
        ),
        (r#","data_base64":"AP8=""#, b"\x00\xff", None),
    ] {
        let json = format!("{{{head}{rest}}}");
        let event = twinroute_model::cloudevents::json::parse(json.into(), &EventLimits::default())
            .unwrap();
        assert_eq!(event.payload().bytes.as_ref(), expected);
        assert_eq!(event.data().as_bytes(), expected);
        let mut bytes = Vec::new();
        amqp::write(&event, &MessageEnvelope::default(), &mut bytes);
        let message = broker::decode(&bytes);
        assert_eq!(message.body.0.as_slice(), expected);
        let found = message
            .properties
            .and_then(|properties| properties.content_type);
        assert_eq!(found.as_ref().map(|symbol| symbol.as_str()), media_type);
    }
}

#[test]
fn what_routes_a_message_is_annotations_and_properties() {
    let envelope = MessageEnvelope {
        partition_key: Some("k"),
        message_id: None,
        group_id: Some("k"),
        trace: None,
    };
    let event = EventParts::new("1", "h", "t").build(&EventLimits::default());
    let mut bytes = Vec::new();
    amqp::write(&event.unwrap(), &envelope, &mut bytes);
    let message = broker::decode(&bytes);
    let properties = message.properties.unwrap();
    assert_eq!(properties.group_id.as_deref(), Some("k"));
    assert_eq!(properties.content_type, None);
}

proptest! {
    #[test]
    fn transfers_decode_to_the_same_events_and_never_mix_keys(
        events in prop::collection::vec(("[a-d]{1,2}", prop::collection::vec(any::<u8>(), 0..600)), 0..40),
        routing in prop::sample::select(vec![
            MessageRouting::EventHubs(PartitionKey::Bucket),
            MessageRouting::EventHubs(PartitionKey::Twin),
            MessageRouting::EventHubs(PartitionKey::None),
            MessageRouting::ServiceBus(SessionKey::None),
            MessageRouting::ServiceBus(SessionKey::Twin),
        ]),
        batched in any::<bool>(),
    ) {
        let limits = SizeLimits { message_max: 4_000, batch_max: 3_500 };
        let batch: Vec<Delivery> = events
            .iter()
            .enumerate()
            .map(|(id, (subject, data))| delivery(id, subject, data))
            .collect();
        let plan = plan(routing, batched, limits, &batch, 0..batch.len());
        prop_assert!(plan.too_large.is_empty());
        let mut seen = Vec::new();
        for encoded in &plan.transfers {
            let bytes = wire(encoded);
            prop_assert!(bytes.len() <= limits.batch_max, "{}", bytes.len());
            let keys: Vec<_> =
                encoded.group.places.iter().map(|place| routing.key(&batch[*place])).collect();
            prop_assert!(keys.iter().all(|key| *key == keys[0]));
            let message = &encoded.sendable.message;
            prop_assert_eq!(
                encoded.sendable.message_format,
                if batched { BATCH_FORMAT } else { 0 }
            );
            let first = &batch[encoded.group.places[0]];
            let bus = matches!(routing, MessageRouting::ServiceBus(_));
            if let Some(properties) = &message.properties {
                let id = bus.then(|| MessageId::String(amqp::message_id(&first.event)));
                prop_assert_eq!(&properties.message_id, &id);
            }
            for (place, section) in encoded.group.places.iter().zip(message.body.iter()) {
                let data = if batched {
                    let inner = broker::decode(&section.0);
                    let properties = inner.application_properties.unwrap().0;
                    let id = SimpleValue::String(place.to_string());
                    prop_assert_eq!(properties.get("cloudEvents:id"), Some(&id));
                    inner.body.0
                } else {
                    section.0.clone()
                };
                prop_assert_eq!(data.as_slice(), events[*place].1.as_slice());
            }
            seen.push(encoded.group.places.clone());
        }
        // Order within a key is the lane's order.
        for (index, places) in seen.iter().enumerate() {
            prop_assert!(places.is_sorted());
            for later in &seen[index + 1..] {
                if routing.key(&batch[places[0]]) == routing.key(&batch[later[0]]) {
                    prop_assert!(places.last() < later.first());
                }
            }
        }
        let mut all: Vec<usize> = seen.into_iter().flatten().collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..batch.len()).collect::<Vec<_>>());
    }
}

#[test]
fn a_key_is_at_most_128_characters() {
    let short = delivery(1, "room", b"");
    let routing = MessageRouting::ServiceBus(SessionKey::Twin);
    let host = "contoso.api.weu.digitaltwins.azure.net";
    assert_eq!(routing.key(&short).unwrap(), format!("{host}/room"));
    let long = delivery(1, &"ä".repeat(128), b"");
    assert_eq!(routing.key(&long).unwrap(), format!("{:016x}", long.twin));
    // .NET counts such a character as two.
    let wide = delivery(1, &"\u{1F600}".repeat(45), b"");
    assert_eq!(routing.key(&wide).unwrap(), format!("{:016x}", wide.twin));
}

#[test]
fn an_event_larger_than_the_link_takes_is_set_aside() {
    let limits = SizeLimits {
        message_max: 20_000,
        batch_max: 4_000,
    };
    let batch: Vec<Delivery> = [100, 30_000, 10_000, 100]
        .iter()
        .enumerate()
        .map(|(id, size)| delivery(id, "s", &vec![1; *size]))
        .collect();
    for batched in [true, false] {
        let routing = MessageRouting::ServiceBus(SessionKey::None);
        let plan = plan(routing, batched, limits, &batch, 0..4);
        let places: Vec<usize> = plan.too_large.iter().map(|event| event.place).collect();
        assert_eq!(places, [1]);
        let sent: usize = plan
            .transfers
            .iter()
            .map(|one| one.group.places.len())
            .sum();
        assert_eq!(sent, 3);
    }
}

const ROUTINGS: [MessageRouting; 5] = [
    MessageRouting::EventHubs(PartitionKey::Bucket),
    MessageRouting::EventHubs(PartitionKey::Twin),
    MessageRouting::EventHubs(PartitionKey::None),
    MessageRouting::ServiceBus(SessionKey::None),
    MessageRouting::ServiceBus(SessionKey::Twin),
];

/// The form, the events and the bytes of each transfer.
fn planned(
    routing: MessageRouting,
    batched: bool,
    (message_max, batch_max): (usize, usize),
    batch: &[Delivery],
) -> (Vec<(TransferForm, usize, usize)>, Vec<TooLargeEvent>) {
    let limits = SizeLimits {
        message_max,
        batch_max,
    };
    let plan = plan(routing, batched, limits, batch, 0..batch.len());
    let view = |encoded: &EncodedGroup| {
        let group = &encoded.group;
        (group.form, group.places.len(), wire(encoded).len())
    };
    (plan.transfers.iter().map(view).collect(), plan.too_large)
}

#[test]
fn size_reserve_is_none_for_an_event_alone() {
    const ANY: usize = usize::MAX;
    // Lengths around which AMQP writes one byte of length or four, and large ones.
    for bytes in (0..20).chain(240..260).chain([300, 65_000, 260_000]) {
        for routing in ROUTINGS {
            let batch = [delivery(1, "room", &vec![7; bytes])];
            let at = |batched, limits| planned(routing, batched, limits, &batch);
            let (transfers, _) = at(true, (ANY, ANY));
            let [(TransferForm::Batch, 1, in_batch)] = transfers[..] else {
                panic!("{transfers:?}");
            };
            let (transfers, _) = at(false, (ANY, ANY));
            let [(TransferForm::Single, 1, alone)] = transfers[..] else {
                panic!("{transfers:?}");
            };
            for (limit, form) in [
                (in_batch + 1, TransferForm::Batch),
                (in_batch, TransferForm::Batch),
                (in_batch - 1, TransferForm::Single),
                (alone, TransferForm::Single),
            ] {
                let (transfers, too_large) = at(true, (limit, limit));
                let sent = (transfers.len(), transfers[0].0, too_large.len());
                assert_eq!(sent, (1, form, 0), "{routing:?} {bytes} {limit}");
                assert!(transfers[0].2 <= limit);
            }
            // Larger than a batch may be, and not larger than a message may be.
            assert_eq!(
                at(true, (alone, 10)).0[..],
                [(TransferForm::Single, 1, alone)]
            );
            for batched in [true, false] {
                assert_eq!(at(batched, (alone + 1, alone)).1, []);
                assert_eq!(at(batched, (alone, alone)).1, []);
                let refused = TooLargeEvent {
                    place: 0,
                    bytes: alone,
                    bytes_max: alone - 1,
                };
                let (transfers, too_large) = at(batched, (alone - 1, alone - 1));
                assert_eq!((transfers.len(), &too_large[..]), (0, &[refused][..]));
            }
        }
    }
}

#[test]
fn size_reserve_is_none_for_a_batch() {
    for routing in ROUTINGS {
        let batch: Vec<Delivery> = (0..5)
            .map(|id| {
                let mut delivery = delivery(id, "room", &vec![7; 100 * id]);
                delivery.twin = 1;
                delivery
            })
            .collect();
        let (transfers, _) = planned(routing, true, (usize::MAX, usize::MAX), &batch);
        let [(TransferForm::Batch, 5, all)] = transfers[..] else {
            panic!("{transfers:?}");
        };
        for (limit, expect) in [(all + 1, 1), (all, 1), (all - 1, 2)] {
            let (transfers, too_large) = planned(routing, true, (limit, limit), &batch);
            assert_eq!(
                (transfers.len(), too_large.len()),
                (expect, 0),
                "{routing:?}"
            );
            assert!(transfers.iter().all(|(_, _, bytes)| *bytes <= limit));
        }
    }
}

#[test]
fn an_event_that_fits_no_batch_keeps_its_place_among_those_of_its_key() {
    let routing = MessageRouting::ServiceBus(SessionKey::Twin);
    let batch: Vec<Delivery> = [100, 100, 5_000, 100, 100]
        .iter()
        .enumerate()
        .map(|(id, bytes)| delivery(id, "room", &vec![7; *bytes]))
        .collect();
    let limits = SizeLimits {
        message_max: 10_000,
        batch_max: 2_000,
    };
    let plan = plan(routing, true, limits, &batch, 0..5);
    let places: Vec<_> = plan
        .transfers
        .iter()
        .map(|sent| &sent.group.places[..])
        .collect();
    assert_eq!(places, [&[0, 1][..], &[2], &[3, 4]]);
}

#[test]
fn size_reserve_lets_an_event_of_260_933_bytes_through_a_link_of_262_144() {
    let limits = (262_144, 262_144);
    let bytes = |data: usize| {
        let mut bytes = Vec::new();
        let delivery = delivery(1, "room", &vec![7; data]);
        amqp::write(&delivery.event, &MessageEnvelope::default(), &mut bytes);
        bytes.len()
    };
    let data = 260_933 - (bytes(260_000) - 260_000);
    assert_eq!(bytes(data), 260_933);
    for batched in [true, false] {
        for routing in ROUTINGS {
            let batch = [delivery(1, "room", &vec![7; data])];
            let (transfers, too_large) = planned(routing, batched, limits, &batch);
            assert_eq!((transfers.len(), too_large.len()), (1, 0));
        }
    }
}
