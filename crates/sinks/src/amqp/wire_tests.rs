//! What is walked through, by encodings that others made and by all others.

use super::*;
use fe2o3_amqp_types::definitions::{Error as AmqpError, Fields, Role};
use fe2o3_amqp_types::performatives::{Disposition, Open};
use fe2o3_amqp_types::primitives::{Symbol, Value};
use proptest::prelude::*;

fn good(bytes: &[u8]) -> bool {
    value(bytes, 0).is_ok_and(<[u8]>::is_empty)
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u32>().prop_map(Value::Uint),
        any::<i64>().prop_map(Value::Long),
        any::<u64>().prop_map(Value::Ulong),
        any::<f64>().prop_map(|value| Value::Double(value.into())),
        "[a-z]{0,300}".prop_map(Value::String),
        "[a-z]{0,20}".prop_map(|text| Value::Symbol(Symbol::from(text))),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::vec(("[a-z]{1,8}".prop_map(Value::String), inner), 0..6)
                .prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    /// What serde_amqp writes passes, and no part of it does.
    #[test]
    fn encodings_of_another_pass_whole_and_only_whole(made in any_value()) {
        let bytes = serde_amqp::to_vec(&made).unwrap();
        prop_assert!(good(&bytes), "{bytes:02x?}");
        for end in 0..bytes.len() {
            prop_assert!(!good(&bytes[..end]));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        good(&bytes);
        let framed = [&[0, 0x53, 0x15, 0xc0], &bytes[..]].concat();
        for bytes in [bytes, framed] {
            if let Ok(performative) = body(&bytes) {
                performative.number(4);
                performative.is_true(5);
            }
        }
    }

    /// What passes is decoded without harm, whatever it says.
    #[test]
    fn what_passes_is_harmless_to_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if good(&bytes) {
            drop(serde_amqp::from_slice::<Value>(&bytes));
            drop(serde_amqp::from_reader::<Value>(&bytes[..]));
        }
    }
}

#[test]
fn fields_are_found_in_what_another_wrote() {
    let open = Open {
        container_id: "c".to_owned(),
        hostname: None,
        max_frame_size: 4_096.into(),
        channel_max: 9.into(),
        idle_time_out: Some(60_000),
        outgoing_locales: None,
        incoming_locales: None,
        offered_capabilities: Some(vec![Symbol::from("a"), Symbol::from("b")].into()),
        desired_capabilities: None,
        properties: Some(Fields::new()),
    };
    let bytes = serde_amqp::to_vec(&open).unwrap();
    let read = body(&bytes).unwrap();
    assert_eq!(
        (read.code, read.number(2), read.number(4)),
        (code::OPEN, Some(4_096), Some(60_000))
    );
    assert_eq!((read.number(1), read.number(40)), (None, None));
    let disposition = Disposition {
        role: Role::Receiver,
        first: 7,
        last: Some(300),
        settled: true,
        state: None,
        batchable: false,
    };
    let bytes = serde_amqp::to_vec(&disposition).unwrap();
    let read = body(&bytes).unwrap();
    assert_eq!((read.number(1), read.number(2)), (Some(7), Some(300)));
    assert!(read.is_true(0) && read.is_true(3) && !read.is_true(1));
    let error = AmqpError::new(
        fe2o3_amqp_types::definitions::AmqpError::NotFound,
        Some("gone".to_owned()),
        None,
    );
    assert!(good(&serde_amqp::to_vec(&error).unwrap()));
}

#[test]
fn arrays_pass_as_others_write_them() {
    for (bytes, passes) in [
        (&[0xe0, 6, 2, 0xa3, 1, b'a', 1, b'b'][..], true),
        (&[0xe0, 2, 0, 0xa3], true),
        (&[0xe0, 1, 0], true),
        (&[0xf0, 0, 0, 0, 7, 0, 0, 0, 2, 0x60, 0, 1], false),
        (&[0xf0, 0, 0, 0, 9, 0, 0, 0, 2, 0x60, 0, 1, 0, 2], true),
        (&[0xe0, 2, 200, 0x40], true),
        (&[0xf0, 0, 0, 0, 5, 0, 0, 4, 0, 0x40], false),
        (&[0xe0, 5, 1, 0, 0x53, 1, 0x45], true),
        (&[0xe0, 4, 1, 0xc0, 1, 0], false),
    ] {
        assert_eq!(good(bytes), passes, "{bytes:02x?}");
    }
}
