//! The protocol state machine without a socket.

use super::context::PeerEnding;
use super::peer::AmqpPeer;
use crate::amqp::frame::{self, AMQP_HEADER, AmqpFrame, FrameKind, SASL_HEADER};
use crate::amqp::performative::{
    self, AmqpPerformative, AttachFrame, BeginFrame, FlowFrame, OpenFrame, TransferFrame,
};
use crate::amqp::state::AmqpOutcome;
use crate::amqp::value::AmqpValue;
use crate::amqp::{encode, message};
use crate::broker::message_broker::MessageBroker;
use crate::broker::settings::{BrokerSettings, HubSettings, QueueSettings};
use crate::service_context::ServiceContext;
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::{Clock, ManualClock, Timestamp};

pub(super) const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);

pub(super) fn broker_of(settings: BrokerSettings, clock: Arc<dyn Clock>) -> Arc<MessageBroker> {
    Arc::new(MessageBroker::new(settings, ServiceContext::new(clock), None).unwrap())
}

pub(super) fn store() -> Arc<MessageBroker> {
    let settings = BrokerSettings {
        require_tokens: false,
        hubs: vec![HubSettings::new("hub")],
        queues: vec![QueueSettings::new("queue")],
        ..BrokerSettings::default()
    };
    broker_of(settings, Arc::new(ManualClock::new(NOW)))
}

pub(super) fn put(performative: AmqpPerformative, payload: &[u8], out: &mut BytesMut) {
    performative.put(1, payload, out);
}

pub(super) fn attach(receiver: bool, handle: u32, address: &str) -> AmqpPerformative {
    attach_with(receiver, handle, address, |_| ())
}

pub(super) fn attach_with(
    receiver: bool,
    handle: u32,
    address: &str,
    change: impl FnOnce(&mut AttachFrame),
) -> AmqpPerformative {
    let terminus =
        |code| AmqpValue::described(code, AmqpValue::List(vec![AmqpValue::string(address)]));
    let mut attach = AttachFrame {
        name: format!("{address}-{handle}"),
        handle,
        receiver,
        snd_settle_mode: Some(0),
        rcv_settle_mode: Some(1),
        source: terminus(0x28),
        target: terminus(0x29),
        initial_delivery_count: Some(0),
        message_bytes_max: None,
        desired_capabilities: AmqpValue::Null,
        properties: AmqpValue::Null,
    };
    change(&mut attach);
    AmqpPerformative::Attach(Box::new(attach))
}

pub(super) fn flow(handle: u32, credit: u32, drain: bool) -> AmqpPerformative {
    AmqpPerformative::Flow(FlowFrame {
        next_incoming_id: Some(0),
        incoming_window: 100,
        outgoing_window: 100,
        handle: Some(handle),
        delivery_count: Some(0),
        link_credit: Some(credit),
        drain,
        ..FlowFrame::default()
    })
}

pub(super) fn transfer(handle: u32, id: u32) -> AmqpPerformative {
    AmqpPerformative::Transfer(TransferFrame {
        handle,
        delivery_id: Some(id),
        delivery_tag: Some(Bytes::from_static(b"t")),
        message_format: Some(0),
        ..TransferFrame::default()
    })
}

pub(super) fn body(text: &'static str) -> Bytes {
    let mut out = BytesMut::new();
    encode::described(
        0x75,
        &AmqpValue::Binary(Bytes::from_static(text.as_bytes())),
        &mut out,
    );
    out.freeze()
}

pub(super) fn open(idle_timeout_ms: Option<u32>) -> BytesMut {
    let mut input = BytesMut::from(&AMQP_HEADER[..]);
    let open = OpenFrame {
        idle_timeout_ms,
        ..OpenFrame::default()
    };
    AmqpPerformative::Open(open).put(0, &[], &mut input);
    let begin = BeginFrame {
        incoming_window: 100,
        outgoing_window: 100,
        ..BeginFrame::default()
    };
    put(AmqpPerformative::Begin(begin), &[], &mut input);
    input
}

/// What the peer has written, without its protocol headers.
pub(super) fn written(peer: &mut AmqpPeer) -> Vec<(AmqpPerformative, Bytes)> {
    let mut out = BytesMut::from(&peer.take_output()[..]);
    while out.starts_with(b"AMQP") {
        drop(out.split_to(frame::HEADER_BYTES));
    }
    let mut all = Vec::new();
    while let Some(AmqpFrame {
        kind: FrameKind::Amqp,
        body,
        ..
    }) = frame::take(&mut out, u32::MAX).unwrap()
    {
        all.push(performative::read(&body).unwrap());
    }
    all
}

#[tokio::test]
async fn a_pipelined_client_may_send_before_it_has_credit() {
    let store = store();
    let mut peer = AmqpPeer::new(Arc::clone(&store));
    let mut all = open(None);
    put(
        attach(false, 0, "amqps://127.0.0.1:5672/HUB/Partitions/1"),
        &[],
        &mut all,
    );
    for id in 0..3 {
        put(transfer(0, id), &body("x"), &mut all);
    }
    let mut input = BytesMut::new();
    for byte in all {
        input.extend_from_slice(&[byte]);
        peer.feed(&mut input).unwrap();
    }
    assert_eq!(store.hub_events("hub").len(), 3);
    let accepted = AmqpOutcome::Accepted.value();
    let settled = written(&mut peer)
        .into_iter()
        .filter_map(|(performative, _)| {
            let AmqpPerformative::Disposition(disposition) = performative else {
                return None;
            };
            Some((disposition.first, disposition.settled, disposition.state))
        });
    let expected: Vec<_> = (0..3).map(|id| (id, true, accepted.clone())).collect();
    assert_eq!(settled.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn drain_uses_up_the_credit_and_says_so() {
    let store = store();
    let mut peer = AmqpPeer::new(store);
    let mut input = open(None);
    put(attach(false, 0, "queue"), &[], &mut input);
    put(transfer(0, 0), &body("x"), &mut input);
    put(attach(true, 1, "queue"), &[], &mut input);
    put(flow(1, 10, true), &[], &mut input);
    peer.feed(&mut input).unwrap();
    let written = written(&mut peer);
    let transfers: Vec<_> = written
        .iter()
        .filter_map(|(performative, payload)| match performative {
            AmqpPerformative::Transfer(transfer) => Some((transfer, payload)),
            _ => None,
        })
        .collect();
    assert_eq!(transfers.len(), 1);
    let (transfer, payload) = transfers[0];
    assert_eq!(transfer.delivery_tag.as_ref().unwrap().len(), 16);
    assert_eq!(
        (transfer.settled, transfer.message_format),
        (Some(false), Some(0))
    );
    let message = message::cut(payload).unwrap();
    assert_eq!(
        message.annotation("x-opt-sequence-number"),
        Some(&AmqpValue::Long(1))
    );
    assert!(message.message_id.is_some());
    let Some((AmqpPerformative::Flow(flow), _)) = written.last() else {
        panic!("{written:?}")
    };
    assert_eq!(
        (flow.delivery_count, flow.link_credit, flow.drain),
        (Some(10), Some(0), true)
    );
}

#[tokio::test]
async fn a_closed_window_holds_deliveries_back() {
    let store = store();
    let mut peer = AmqpPeer::new(store);
    let mut input = open(None);
    put(attach(false, 0, "hub/Partitions/0"), &[], &mut input);
    for id in 0..5 {
        put(transfer(0, id), &body("x"), &mut input);
    }
    put(
        attach(true, 1, "hub/ConsumerGroups/$Default/Partitions/0"),
        &[],
        &mut input,
    );
    let narrow = |next: u32, credit: u32| {
        AmqpPerformative::Flow(FlowFrame {
            next_incoming_id: Some(next),
            incoming_window: 2,
            handle: Some(1),
            delivery_count: Some(0),
            link_credit: Some(credit),
            ..FlowFrame::default()
        })
    };
    put(narrow(0, 10), &[], &mut input);
    peer.feed(&mut input).unwrap();
    let transfers = |peer: &mut AmqpPeer| {
        let all = written(peer);
        all.iter()
            .filter(|(one, _)| matches!(one, AmqpPerformative::Transfer(_)))
            .count()
    };
    assert_eq!(transfers(&mut peer), 2);
    put(narrow(2, 10), &[], &mut input);
    peer.feed(&mut input).unwrap();
    assert_eq!(transfers(&mut peer), 2);
    put(narrow(4, 10), &[], &mut input);
    peer.feed(&mut input).unwrap();
    assert_eq!(transfers(&mut peer), 1);
}

#[tokio::test]
async fn a_refused_link_has_no_terminus_and_is_detached() {
    let mut peer = AmqpPeer::new(store());
    let mut input = open(None);
    put(attach(false, 0, "absent"), &[], &mut input);
    peer.feed(&mut input).unwrap();
    let written = written(&mut peer);
    let AmqpPerformative::Attach(answer) = &written[2].0 else {
        panic!("{written:?}")
    };
    assert_eq!(answer.target, AmqpValue::Null);
    let AmqpPerformative::Detach(detach) = &written[3].0 else {
        panic!("{written:?}")
    };
    assert_eq!(detach.error.as_ref().unwrap().condition, "amqp:not-found");
}

#[tokio::test(start_paused = true)]
async fn a_client_with_an_idle_time_out_hears_something_in_time() {
    let mut peer = AmqpPeer::new(store());
    peer.feed(&mut open(Some(1_000))).unwrap();
    drop(peer.take_output());
    for _ in 0..5 {
        let before = tokio::time::Instant::now();
        while peer.output().is_empty() {
            tokio::time::sleep_until(peer.next_timer()).await;
            peer.tick().unwrap();
        }
        assert!(before.elapsed() <= Duration::from_millis(500));
        assert_eq!(peer.take_output()[..], frame::EMPTY);
    }
}

proptest! {
    #[test]
    fn random_frames_never_panic(
        bodies in prop::collection::vec(
            (0u16..3, 0x10u8..0x19, prop::collection::vec(any::<u8>(), 0..60)), 0..20,
        ),
        junk in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _guard = runtime.enter();
        let mut peer = AmqpPeer::new(store());
        let mut input = open(None);
        put(attach(false, 0, "hub"), &[], &mut input);
        put(attach(true, 1, "queue"), &[], &mut input);
        put(attach(false, 2, "queue/$management"), &[], &mut input);
        for (channel, code, body) in bodies {
            frame::put(FrameKind::Amqp, channel, &mut input, |out| {
                out.extend_from_slice(&[0x00, 0x53, code, 0xc0, body.len() as u8 + 1]);
                out.extend_from_slice(&[(body.len() as u8) / 2]);
                out.extend_from_slice(&body);
            });
        }
        input.extend_from_slice(&junk);
        let ended = peer.feed(&mut input);
        prop_assert!(matches!(ended, Ok(()) | Err(PeerEnding::Flush | PeerEnding::Drop)));
    }

    #[test]
    fn well_formed_frames_with_odd_numbers_never_panic(
        frames in prop::collection::vec((0u8..7, any::<u32>(), any::<u32>(), any::<bool>()), 0..40),
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _guard = runtime.enter();
        let mut peer = AmqpPeer::new(store());
        let mut input = open(None);
        put(attach(false, 0, "queue"), &[], &mut input);
        put(attach(true, 1, "queue"), &[], &mut input);
        put(attach(false, 2, "queue/$management"), &[], &mut input);
        put(attach(true, 3, "queue/$management"), &[], &mut input);
        for (kind, first, second, flag) in frames {
            let performative = match kind {
                0 => AmqpPerformative::Flow(FlowFrame {
                    next_incoming_id: Some(first),
                    incoming_window: second,
                    handle: Some(first % 5),
                    delivery_count: Some(second),
                    link_credit: Some(first),
                    drain: flag,
                    echo: flag,
                    ..FlowFrame::default()
                }),
                1 => transfer(first % 5, second),
                2 => AmqpPerformative::Disposition(performative::DispositionFrame {
                    receiver: flag,
                    first,
                    last: Some(second),
                    settled: flag,
                    state: AmqpValue::described(0x24 + u64::from(second % 4), AmqpValue::List(vec![])),
                }),
                3 => attach(flag, first % 300, "queue"),
                4 => AmqpPerformative::Detach(performative::DetachFrame {
                    handle: first % 6,
                    closed: flag,
                    error: None,
                }),
                5 => AmqpPerformative::End(None),
                _ => flow(1, 3, flag),
            };
            put(performative, if kind == 1 { &payload } else { &[] }, &mut input);
        }
        let ended = peer.feed(&mut input);
        prop_assert!(matches!(ended, Ok(()) | Err(PeerEnding::Flush | PeerEnding::Drop)));
    }
}

#[tokio::test]
async fn sasl_offers_what_the_clients_need() {
    let mut peer = AmqpPeer::new(store());
    peer.feed(&mut BytesMut::from(&SASL_HEADER[..])).unwrap();
    let mut out = BytesMut::from(&peer.take_output()[frame::HEADER_BYTES..]);
    let frame = frame::take(&mut out, 512).unwrap().unwrap();
    let text = String::from_utf8_lossy(&frame.body).into_owned();
    for name in ["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"] {
        assert!(text.contains(name), "{text}");
    }
    let mut plain = BytesMut::new();
    let init = AmqpValue::List(vec![
        AmqpValue::symbol("PLAIN"),
        AmqpValue::Binary(Bytes::from_static(b"\0RootManageSharedAccessKey\0wrong")),
        AmqpValue::Null,
    ]);
    frame::put(FrameKind::Sasl, 0, &mut plain, |out| {
        encode::described(0x41, &init, out)
    });
    assert_eq!(peer.feed(&mut plain), Err(PeerEnding::Flush));
}
