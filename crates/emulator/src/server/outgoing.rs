//! Deliveries to clients, within their credit, window and frame size.

use super::context::PeerContext;
use super::session::{
    LinkSession, LinkSource, OutboundLink, SendingDelivery, SessionLink, UNSETTLED_MAX,
    UnsettledDelivery,
};
use crate::amqp::frame::FRAME_HEADER_BYTES;
use crate::amqp::performative::{AmqpPerformative, TransferFrame};
use crate::broker::queue::ReceiveMode;
use crate::broker::stored::LockToken;
use bytes::Bytes;
use std::sync::Arc;
use twinroute_model::clock::Timestamp;

/// Room for the performative of a transfer.
const TRANSFER_BYTES_MAX: usize = 96;

struct NextDelivery {
    payload: Bytes,
    tag: Option<Bytes>,
    lock: Option<UnsettledDelivery>,
}

/// Sends what the session's links have, until credit, window or output is used up.
pub(super) fn pump(context: &mut PeerContext, session: &mut LinkSession) {
    let handles: Vec<u32> = session.links.keys().copied().collect();
    for handle in handles {
        while step(context, session, handle) {}
    }
}

/// Does one thing for a link; `false` when there is nothing to do.
fn step(context: &mut PeerContext, session: &mut LinkSession, handle: u32) -> bool {
    if context.is_full() {
        context.paused = true;
        return false;
    }
    let held = session.unsettled.len();
    let Some(SessionLink::Outbound(link)) = session.links.get_mut(&handle) else {
        return false;
    };
    if link.sending.is_some() {
        return send_frame(context, session, handle);
    }
    if link.credit == 0 {
        return finish_drain(context, session, handle);
    }
    let full = held >= UNSETTLED_MAX && matches!(link.source, LinkSource::Queue { .. });
    let next = if full {
        None
    } else {
        link.next(context.broker.now())
    };
    let Some(next) = next else {
        return finish_drain(context, session, handle);
    };
    link.credit -= 1;
    link.delivery_count = link.delivery_count.wrapping_add(1);
    let id = session.next_delivery_id;
    let tag = next
        .tag
        .unwrap_or_else(|| Bytes::copy_from_slice(&id.to_be_bytes()));
    link.sending = Some(SendingDelivery {
        id,
        tag,
        rest: next.payload,
        begun: false,
    });
    session.take_delivery_id();
    session.unsettled.extend(next.lock.map(|lock| (id, lock)));
    true
}

fn finish_drain(context: &mut PeerContext, session: &mut LinkSession, handle: u32) -> bool {
    let Some(SessionLink::Outbound(link)) = session.links.get_mut(&handle) else {
        return false;
    };
    if !link.drain {
        return false;
    }
    // AMQP 1.0 part 2 §2.6.7: the sender uses up the credit and says so.
    let used = link.credit;
    link.delivery_count = link.delivery_count.wrapping_add(used);
    link.credit = 0;
    let flow = session.link_flow(handle);
    if let Some(SessionLink::Outbound(link)) = session.links.get_mut(&handle) {
        link.drain = false;
    }
    if let Some(flow) = flow {
        context.send(session.channel, &AmqpPerformative::Flow(flow));
    }
    false
}

fn send_frame(context: &mut PeerContext, session: &mut LinkSession, handle: u32) -> bool {
    if !session.window_is_open() {
        return false;
    }
    let Some(SessionLink::Outbound(link)) = session.links.get_mut(&handle) else {
        return false;
    };
    let settled = link.is_settled();
    let Some(mut sending) = link.sending.take() else {
        return false;
    };
    let room = context.remote_frame_bytes_max - FRAME_HEADER_BYTES - TRANSFER_BYTES_MAX;
    let payload = sending.rest.split_to(room.min(sending.rest.len()));
    let more = !sending.rest.is_empty();
    let first = !std::mem::replace(&mut sending.begun, true);
    let transfer = AmqpPerformative::Transfer(TransferFrame {
        handle,
        delivery_id: first.then_some(sending.id),
        delivery_tag: first.then(|| sending.tag.clone()),
        // rhea drops a transfer without a format.
        message_format: Some(0),
        settled: Some(settled),
        more,
        aborted: false,
    });
    if more {
        link.sending = Some(sending);
    }
    transfer.put(session.channel, &payload, &mut context.out);
    session.send_frame();
    true
}

impl OutboundLink {
    fn is_settled(&self) -> bool {
        self.settled || matches!(self.source, LinkSource::Replies(_))
    }

    fn next(&mut self, now: Timestamp) -> Option<NextDelivery> {
        match &mut self.source {
            LinkSource::Replies(replies) => replies.pop_front().map(|payload| NextDelivery {
                payload,
                tag: None,
                lock: None,
            }),
            LinkSource::Partition(reader) => {
                let payload = reader.next(now)?;
                Some(NextDelivery {
                    payload,
                    tag: None,
                    lock: None,
                })
            }
            LinkSource::Queue {
                queue,
                session,
                mode,
            } => {
                let taken = queue.take(session.as_ref(), *mode, now)?;
                let locked = *mode == ReceiveMode::PeekLock;
                let until = locked.then_some(taken.locked_until);
                let queue = Arc::clone(queue);
                Some(NextDelivery {
                    payload: taken.stored.encode(until),
                    tag: Some(Bytes::copy_from_slice(&mixed_endian(taken.token))),
                    lock: locked.then_some(UnsettledDelivery {
                        queue,
                        token: taken.token,
                    }),
                })
            }
        }
    }
}

/// A delivery tag is the lock token with its first three fields in little-endian order.
fn mixed_endian(token: LockToken) -> LockToken {
    let mut tag = token;
    tag[..4].reverse();
    tag[4..6].reverse();
    tag[6..8].reverse();
    tag
}
