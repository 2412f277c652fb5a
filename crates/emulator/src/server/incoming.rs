//! Transfers from clients: put together, stored or faulted, and answered.

use super::address::LinkNode;
use super::attach;
use super::context::{PeerContext, PeerEnding};
use super::control;
use super::limits::{self, PARTITION_KEY};
use super::session::{LinkSession, PartialDelivery, SessionLink};
use crate::amqp::message::{self, AmqpMessage, BATCH_FORMAT};
use crate::amqp::performative::{AmqpPerformative, DispositionFrame, TransferFrame};
use crate::amqp::state::{AmqpError, AmqpOutcome};
use crate::amqp::value::AmqpValue;
use crate::broker::queue;
use crate::faults::SendAnswer;
use bytes::{Bytes, BytesMut};

/// A whole delivery.
pub(super) struct IncomingDelivery {
    pub(super) id: u32,
    pub(super) format: u32,
    pub(super) settled: bool,
    pub(super) bytes: Result<Bytes, TooLarge>,
}

/// The size of a message over the limit; its bytes were not kept.
#[derive(Clone, Copy)]
pub(super) struct TooLarge(u64);

impl TooLarge {
    /// The services reject the delivery and keep the link: their clients for Python, in tests against the services,
    /// expect of it what they make of a rejection only.
    fn problem(self, bytes_max: u64) -> AmqpError {
        let Self(size) = self;
        let text =
            format!("a message of {size} bytes is larger than the {bytes_max} bytes of this link");
        AmqpError::new("amqp:link:message-size-exceeded", text)
    }
}

/// Takes one transfer frame.
pub(super) fn transfer(
    context: &mut PeerContext,
    session: &mut LinkSession,
    transfer: TransferFrame,
    payload: Bytes,
) -> Result<(), PeerEnding> {
    if !session.receive_frame() {
        let text = "more transfers than the session's window";
        return Err(context.close("amqp:session:window-violation", text));
    }
    if session.window_is_half_used() {
        let flow = session.flow();
        context.send(session.channel, &AmqpPerformative::Flow(flow));
    }
    let handle = transfer.handle;
    let Some(SessionLink::Inbound(link)) = session.links.get_mut(&handle) else {
        if session.closing.contains(&handle) {
            return Ok(());
        }
        return Err(context.close("amqp:session:unattached-handle", "no such link"));
    };
    let bytes_max = context.broker.settings.limits.message_bytes_max;
    let Some(delivery) = collect(&mut link.partial, transfer, payload, bytes_max) else {
        return Ok(());
    };
    link.delivery_count = link.delivery_count.wrapping_add(1);
    // The Python clients may send before they have credit.
    link.credit = link.credit.saturating_sub(1);
    let credit = context.broker.settings.limits.link_credit;
    if link.credit <= credit / 2 {
        link.credit = credit;
        if let Some(flow) = session.link_flow(handle) {
            context.send(session.channel, &AmqpPerformative::Flow(flow));
        }
    }
    deliver(context, session, handle, delivery)
}

/// Adds a frame to its delivery; `Some` when that is whole. What is larger than allowed is counted to its end
/// and not kept.
fn collect(
    partial: &mut Option<PartialDelivery>,
    transfer: TransferFrame,
    payload: Bytes,
    bytes_max: u64,
) -> Option<IncomingDelivery> {
    if transfer.aborted {
        *partial = None;
        return None;
    }
    let so_far = partial.get_or_insert_with(|| PartialDelivery {
        id: transfer.delivery_id.unwrap_or(0),
        format: transfer.message_format.unwrap_or(0),
        settled: false,
        size: 0,
        data: BytesMut::new(),
    });
    so_far.settled |= transfer.settled.unwrap_or(false);
    so_far.size = so_far.size.saturating_add(payload.len() as u64);
    let fits = so_far.size <= bytes_max;
    let alone = !transfer.more && so_far.data.is_empty();
    if !fits {
        so_far.data = BytesMut::new();
    } else if !alone {
        so_far.data.extend_from_slice(&payload);
    }
    if transfer.more {
        return None;
    }
    partial.take().map(|whole| IncomingDelivery {
        id: whole.id,
        format: whole.format,
        settled: whole.settled,
        bytes: match fits {
            false => Err(TooLarge(whole.size)),
            true if alone => Ok(payload),
            true => Ok(whole.data.freeze()),
        },
    })
}

fn deliver(
    context: &mut PeerContext,
    session: &mut LinkSession,
    handle: u32,
    delivery: IncomingDelivery,
) -> Result<(), PeerEnding> {
    let Some(SessionLink::Inbound(link)) = session.links.get(&handle) else {
        return Ok(());
    };
    let node = link.node.clone();
    let Some(entity) = node.entity() else {
        let address = link.address.clone();
        match &delivery.bytes {
            Ok(bytes) => {
                answer(context, session.channel, &delivery, &AmqpOutcome::Accepted);
                control::request(context, session, &node, &address, bytes);
            }
            Err(large) => {
                let limit = context.broker.settings.limits.message_bytes_max;
                let refused = AmqpOutcome::rejected(large.problem(limit));
                answer(context, session.channel, &delivery, &refused);
            }
        }
        return Ok(());
    };
    let fault = context.broker.context.faults.next_send(entity);
    // Stored before the answer is chosen: some faults keep the event and lose the answer.
    let stored = match &fault {
        Some(fault) if !fault.stores() => {
            node.add_request();
            Ok(())
        }
        _ => store(context, &node, &delivery),
    };
    let outcome = match stored {
        Ok(()) => AmqpOutcome::Accepted,
        Err(problem) => AmqpOutcome::rejected(problem),
    };
    let scripted = |condition: &str| AmqpError::new(condition, "scripted");
    let channel = session.channel;
    let outcome = match fault {
        None => outcome,
        Some(SendAnswer::Reject(condition)) => AmqpOutcome::rejected(scripted(&condition)),
        Some(SendAnswer::Release) => AmqpOutcome::Released,
        Some(SendAnswer::Modify) => AmqpOutcome::Modified {
            failed: true,
            undeliverable_here: false,
        },
        Some(SendAnswer::Stall | SendAnswer::StoreAndStall) => return Ok(()),
        Some(SendAnswer::AcceptAfter(wait)) => {
            context.send_later(wait, channel, disposition(&delivery, &outcome));
            return Ok(());
        }
        Some(SendAnswer::Detach(condition)) => {
            attach::detach(context, session, handle, scripted(&condition));
            return Ok(());
        }
        Some(SendAnswer::Close(condition)) => return Err(context.close(&condition, "scripted")),
        Some(SendAnswer::Drop | SendAnswer::StoreAndDrop) => return Err(PeerEnding::Drop),
    };
    answer(context, channel, &delivery, &outcome);
    Ok(())
}

fn answer(
    context: &mut PeerContext,
    channel: u16,
    delivery: &IncomingDelivery,
    outcome: &AmqpOutcome,
) {
    if !delivery.settled {
        context.send(channel, &disposition(delivery, outcome));
    }
}

fn disposition(delivery: &IncomingDelivery, outcome: &AmqpOutcome) -> AmqpPerformative {
    AmqpPerformative::Disposition(DispositionFrame {
        receiver: true,
        first: delivery.id,
        last: Some(delivery.id),
        settled: true,
        state: outcome.value(),
    })
}

fn store(
    context: &PeerContext,
    node: &LinkNode,
    delivery: &IncomingDelivery,
) -> Result<(), AmqpError> {
    node.add_request();
    let malformed = |error: crate::amqp::decode::DecodeError| {
        let text = format!("a message is malformed: {error}");
        AmqpError::new("amqp:decode-error", text)
    };
    let limit = context.broker.settings.limits.message_bytes_max;
    let bytes = delivery.bytes.as_ref();
    let bytes = bytes.map_err(|large| large.problem(limit))?;
    let mut envelope_key = None;
    let encoded = if delivery.format == BATCH_FORMAT {
        let (envelope, members) = message::batch(bytes).map_err(malformed)?;
        let key = envelope
            .annotation(PARTITION_KEY)
            .and_then(AmqpValue::as_str);
        envelope_key = key.map(str::to_owned);
        members
    } else {
        vec![bytes.clone()]
    };
    limits::check_envelope(envelope_key.as_deref())?;
    let mut messages = Vec::with_capacity(encoded.len());
    for encoded in &encoded {
        let message = message::cut(encoded).map_err(malformed)?;
        limits::check(node, encoded, &message)?;
        messages.push(message);
    }
    if messages.is_empty() {
        return Err(AmqpError::new(
            "amqp:not-allowed",
            "a batch has no messages",
        ));
    }
    if messages.iter().any(|message| message.bare.is_empty()) {
        return Err(AmqpError::new("amqp:not-allowed", "a message has no body"));
    }
    put(context, node, messages, envelope_key.as_deref())
}

fn put(
    context: &PeerContext,
    node: &LinkNode,
    messages: Vec<AmqpMessage>,
    key: Option<&str>,
) -> Result<(), AmqpError> {
    let arrival = context.broker.arrival();
    match node {
        LinkNode::Hub(hub, fixed) => {
            hub.append(messages, key, *fixed, arrival);
            Ok(())
        }
        LinkNode::Topic(topic) => topic.push(&messages, arrival),
        LinkNode::Queue(queue) => {
            queue.admit(&messages)?;
            let first = queue::numbers(arrival.counter, messages.len());
            queue.push(messages, first, arrival.now);
            Ok(())
        }
        _ => {
            let text = "nothing is sent to this node";
            Err(AmqpError::new("amqp:not-allowed", text))
        }
    }
}
