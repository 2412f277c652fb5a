//! The codec against itself, against random bytes and against frames of real clients.

use super::decode::{DecodeError, whole};
use super::frame::{self, Frame, FrameKind};
use super::performative::{self, Attach, Open, Performative, Transfer};
use super::value::Value;
use super::{encode, message};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u8>().prop_map(Value::Ubyte),
        any::<u16>().prop_map(Value::Ushort),
        any::<u32>().prop_map(Value::Uint),
        (0u64..300).prop_map(Value::Ulong),
        any::<u64>().prop_map(Value::Ulong),
        any::<i8>().prop_map(Value::Byte),
        any::<i16>().prop_map(Value::Short),
        any::<i32>().prop_map(Value::Int),
        any::<i64>().prop_map(Value::Long),
        (-1e30f32..1e30).prop_map(Value::Float),
        (-1e300f64..1e300).prop_map(Value::Double),
        any::<[u8; 4]>().prop_map(Value::Decimal32),
        any::<[u8; 8]>().prop_map(Value::Decimal64),
        any::<[u8; 16]>().prop_map(Value::Decimal128),
        any::<char>().prop_map(Value::Char),
        any::<i64>().prop_map(Value::Timestamp),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|b| Value::Binary(Bytes::from(b))),
        ".{0,200}".prop_map(Value::String),
        "[a-z:.-]{0,40}".prop_map(Value::Symbol),
    ]
}

fn array() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::collection::vec(".{0,30}".prop_map(Value::String), 0..20),
        prop::collection::vec(any::<[u8; 16]>().prop_map(Value::Uuid), 0..20),
        prop::collection::vec(any::<bool>().prop_map(Value::Bool), 0..20),
        prop::collection::vec(Just(Value::Null), 0..20),
        prop::collection::vec(
            any::<i64>().prop_map(|n| Value::described(7, Value::Long(n))),
            0..9
        ),
        prop::collection::vec(
            prop::collection::vec(scalar(), 0..4).prop_map(Value::List),
            0..4
        ),
    ]
    .prop_map(Value::Array)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![scalar(), array()].prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
            prop::collection::vec((inner.clone(), inner.clone()), 0..8).prop_map(Value::Map),
            (inner.clone(), inner).prop_map(|pair| Value::Described(Box::new(pair))),
        ]
    })
}

fn encoded(value: &Value) -> Bytes {
    let mut out = BytesMut::new();
    encode::value(value, &mut out);
    out.freeze()
}

proptest! {
    #[test]
    fn a_value_survives_encoding(value in value()) {
        prop_assert_eq!(whole(&encoded(&value)), Ok(value));
    }

    #[test]
    fn a_cut_value_is_an_error(value in value(), cut in any::<prop::sample::Index>()) {
        let bytes = encoded(&value);
        let cut = bytes.slice(..cut.index(bytes.len()));
        prop_assert!(whole(&cut).is_err());
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        drop((whole(&bytes), performative::read(&bytes), performative::read_sasl_init(&bytes)));
        drop((message::cut(&bytes), message::batch(&bytes), message::content(&bytes)));
        drop(frame::take(&mut BytesMut::from(&bytes[..]), 1_000));
    }

    #[test]
    fn flipped_bytes_of_real_messages_never_panic(
        value in value(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let body = message::reply(value.clone(), vec![(Value::string("k"), value.clone())], value);
        let mut bytes = BytesMut::from(&body[..]);
        for (at, to) in flips {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        let bytes = bytes.freeze();
        drop((message::cut(&bytes), message::content(&bytes), message::batch(&bytes)));
    }
}

#[test]
fn nesting_and_zero_width_arrays_are_bounded() {
    let mut deep = vec![0xc0, 0, 1];
    for _ in 0..100 {
        deep.splice(0..0, [0xd0, 0, 0, 0, 200, 0, 0, 0, 1]);
    }
    assert!(whole(&Bytes::from(deep)).is_err());
    assert_eq!(
        whole(&Bytes::from(vec![0u8; 10_000])),
        Err(DecodeError::TooDeep)
    );
    let nulls = [0xf0, 0, 0, 0, 5, 0x7f, 0xff, 0xff, 0xff, 0x40];
    assert_eq!(
        whole(&Bytes::copy_from_slice(&nulls)),
        Err(DecodeError::TooMany)
    );
}

/// The number of fields that azure-eventhub 5.15.1 indexes by position.
#[test]
fn performatives_have_their_full_length() {
    let attach = Attach {
        name: "l".into(),
        handle: 0,
        receiver: true,
        snd_settle_mode: None,
        rcv_settle_mode: None,
        source: Value::Null,
        target: Value::Null,
        initial_delivery_count: None,
        message_bytes_max: None,
        desired_capabilities: Value::Null,
        properties: Value::Null,
    };
    for (performative, code, fields) in [
        (Performative::Open(Open::default()), 0x10, 10),
        (Performative::Begin(performative::Begin::default()), 0x11, 8),
        (Performative::Attach(Box::new(attach)), 0x12, 14),
        (Performative::Flow(performative::Flow::default()), 0x13, 11),
        (Performative::Transfer(Transfer::default()), 0x14, 11),
    ] {
        let mut out = BytesMut::new();
        performative.put(3, b"payload", &mut out);
        let frame = frame::take(&mut out, 1_000).unwrap().unwrap();
        assert_eq!((frame.kind, frame.channel), (FrameKind::Amqp, 3));
        assert_eq!(frame.body[..4], [0x00, 0x53, code, 0xc0]);
        assert_eq!(frame.body[5], fields);
        let (back, payload) = performative::read(&frame.body).unwrap();
        assert_eq!((back, &payload[..]), (performative, &b"payload"[..]));
    }
}

#[test]
fn frames_come_out_only_when_whole() {
    let mut out = BytesMut::new();
    frame::put(FrameKind::Sasl, 0, &mut out, |out| {
        out.extend_from_slice(b"body")
    });
    for length in 0..out.len() {
        assert_eq!(
            frame::take(&mut BytesMut::from(&out[..length]), 100),
            Ok(None)
        );
    }
    let body = Bytes::from_static(b"body");
    let expected = Frame {
        kind: FrameKind::Sasl,
        channel: 0,
        body,
    };
    assert_eq!(frame::take(&mut out, 100), Ok(Some(expected)));
    let huge = frame::take(&mut BytesMut::from(&[0xff; 8][..]), 100);
    assert_eq!(huge, Err(frame::FrameError::TooLarge(u32::MAX)));
}

#[test]
fn the_bare_message_is_kept_byte_for_byte() {
    let mut bytes = BytesMut::new();
    encode::described(0x70, &Value::List(vec![Value::Bool(true)]), &mut bytes);
    let key = (Value::symbol("x-opt-partition-key"), Value::string("p"));
    encode::described(0x72, &Value::Map(vec![key]), &mut bytes);
    let bare_start = bytes.len();
    encode::described(0x73, &Value::List(vec![Value::string("id")]), &mut bytes);
    encode::described(0x75, &Value::Binary(Bytes::from_static(b"{}")), &mut bytes);
    let bytes = bytes.freeze();
    let message = message::cut(&bytes).unwrap();
    assert_eq!(message.bare, bytes.slice(bare_start..));
    assert_eq!(message.annotation("x-opt-partition-key").unwrap(), &"p");
    let added = message::rewrite(&message.bare, 0x74, |old| {
        assert_eq!(old, Value::Null);
        Value::Map(vec![(Value::string("k"), Value::Int(1))])
    });
    let content = message::content(&added.unwrap()).unwrap();
    assert_eq!(content.properties, [Value::string("id")]);
    assert_eq!(content.application, [(Value::string("k"), Value::Int(1))]);
    assert_eq!(
        content.body,
        message::MessageBody::Data(vec![Bytes::from_static(b"{}")])
    );
}
