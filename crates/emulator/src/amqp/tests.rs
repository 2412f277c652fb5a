//! The codec against itself, against random bytes and against frames of real clients.

use super::decode::{DecodeError, whole};
use super::frame::{self, AmqpFrame, FrameKind};
use super::performative::{self, AmqpPerformative, AttachFrame, OpenFrame, TransferFrame};
use super::value::AmqpValue;
use super::{encode, message};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

fn scalar() -> impl Strategy<Value = AmqpValue> {
    prop_oneof![
        Just(AmqpValue::Null),
        any::<bool>().prop_map(AmqpValue::Bool),
        any::<u8>().prop_map(AmqpValue::Ubyte),
        any::<u16>().prop_map(AmqpValue::Ushort),
        any::<u32>().prop_map(AmqpValue::Uint),
        (0u64..300).prop_map(AmqpValue::Ulong),
        any::<u64>().prop_map(AmqpValue::Ulong),
        any::<i8>().prop_map(AmqpValue::Byte),
        any::<i16>().prop_map(AmqpValue::Short),
        any::<i32>().prop_map(AmqpValue::Int),
        any::<i64>().prop_map(AmqpValue::Long),
        (-1e30f32..1e30).prop_map(AmqpValue::Float),
        (-1e300f64..1e300).prop_map(AmqpValue::Double),
        any::<[u8; 4]>().prop_map(AmqpValue::Decimal32),
        any::<[u8; 8]>().prop_map(AmqpValue::Decimal64),
        any::<[u8; 16]>().prop_map(AmqpValue::Decimal128),
        any::<char>().prop_map(AmqpValue::Char),
        any::<i64>().prop_map(AmqpValue::Timestamp),
        any::<[u8; 16]>().prop_map(AmqpValue::Uuid),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|b| AmqpValue::Binary(Bytes::from(b))),
        ".{0,200}".prop_map(AmqpValue::String),
        "[a-z:.-]{0,40}".prop_map(AmqpValue::Symbol),
    ]
}

fn array() -> impl Strategy<Value = AmqpValue> {
    prop_oneof![
        prop::collection::vec(".{0,30}".prop_map(AmqpValue::String), 0..20),
        prop::collection::vec(any::<[u8; 16]>().prop_map(AmqpValue::Uuid), 0..20),
        prop::collection::vec(any::<bool>().prop_map(AmqpValue::Bool), 0..20),
        prop::collection::vec(Just(AmqpValue::Null), 0..20),
        prop::collection::vec(
            any::<i64>().prop_map(|n| AmqpValue::described(7, AmqpValue::Long(n))),
            0..9
        ),
        prop::collection::vec(
            prop::collection::vec(scalar(), 0..4).prop_map(AmqpValue::List),
            0..4
        ),
    ]
    .prop_map(AmqpValue::Array)
}

fn value() -> impl Strategy<Value = AmqpValue> {
    prop_oneof![scalar(), array()].prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(AmqpValue::List),
            prop::collection::vec((inner.clone(), inner.clone()), 0..8).prop_map(AmqpValue::Map),
            (inner.clone(), inner).prop_map(|pair| AmqpValue::Described(Box::new(pair))),
        ]
    })
}

fn encoded(value: &AmqpValue) -> Bytes {
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
        let body = message::reply(value.clone(), vec![(AmqpValue::string("k"), value.clone())], value);
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
    let attach = AttachFrame {
        name: "l".into(),
        handle: 0,
        receiver: true,
        snd_settle_mode: None,
        rcv_settle_mode: None,
        source: AmqpValue::Null,
        target: AmqpValue::Null,
        initial_delivery_count: None,
        message_bytes_max: None,
        desired_capabilities: AmqpValue::Null,
        properties: AmqpValue::Null,
    };
    for (performative, code, fields) in [
        (AmqpPerformative::Open(OpenFrame::default()), 0x10, 10),
        (
            AmqpPerformative::Begin(performative::BeginFrame::default()),
            0x11,
            8,
        ),
        (AmqpPerformative::Attach(Box::new(attach)), 0x12, 14),
        (
            AmqpPerformative::Flow(performative::FlowFrame::default()),
            0x13,
            11,
        ),
        (
            AmqpPerformative::Transfer(TransferFrame::default()),
            0x14,
            11,
        ),
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
    let expected = AmqpFrame {
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
    encode::described(
        0x70,
        &AmqpValue::List(vec![AmqpValue::Bool(true)]),
        &mut bytes,
    );
    let key = (
        AmqpValue::symbol("x-opt-partition-key"),
        AmqpValue::string("p"),
    );
    encode::described(0x72, &AmqpValue::Map(vec![key]), &mut bytes);
    let bare_start = bytes.len();
    encode::described(
        0x73,
        &AmqpValue::List(vec![AmqpValue::string("id")]),
        &mut bytes,
    );
    encode::described(
        0x75,
        &AmqpValue::Binary(Bytes::from_static(b"{}")),
        &mut bytes,
    );
    let bytes = bytes.freeze();
    let message = message::cut(&bytes).unwrap();
    assert_eq!(message.bare, bytes.slice(bare_start..));
    assert_eq!(message.annotation("x-opt-partition-key").unwrap(), &"p");
    let added = message::rewrite(&message.bare, 0x74, |old| {
        assert_eq!(old, AmqpValue::Null);
        AmqpValue::Map(vec![(AmqpValue::string("k"), AmqpValue::Int(1))])
    });
    let content = message::content(&added.unwrap()).unwrap();
    assert_eq!(content.properties, [AmqpValue::string("id")]);
    assert_eq!(
        content.application,
        [(AmqpValue::string("k"), AmqpValue::Int(1))]
    );
    assert_eq!(
        content.body,
        message::MessageBody::Data(vec![Bytes::from_static(b"{}")])
    );
}
