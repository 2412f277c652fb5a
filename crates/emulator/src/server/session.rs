//! Sessions and links of one connection: windows, credit, and what is under way.

use super::address::LinkNode;
use super::reader::PartitionReader;
use crate::amqp::performative::{AttachFrame, BeginFrame, FlowFrame};
use crate::broker::access::AccessClaim;
use crate::broker::queue::{MessageQueue, ReceiveMode};
use crate::broker::session::SessionHold;
use crate::broker::stored::LockToken;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tokio::time::Instant;

/// Transfer frames a client may send before the window is opened again.
pub(super) const INCOMING_WINDOW: u32 = 5_000;
/// The highest handle of a session.
pub(super) const HANDLE_MAX: u32 = 255;
/// Deliveries of queues one session may hold unsettled.
pub(super) const UNSETTLED_MAX: usize = 5_000;

pub(super) struct LinkSession {
    pub(super) channel: u16,
    pub(super) links: BTreeMap<u32, SessionLink>,
    /// Receivers that wait for a free session of a queue, by handle.
    pub(super) waiting: BTreeMap<u32, WaitingAttach>,
    /// Handles we detached and the client has not.
    pub(super) closing: BTreeSet<u32>,
    pub(super) unsettled: BTreeMap<u32, UnsettledDelivery>,
    pub(super) next_delivery_id: u32,
    next_incoming_id: u32,
    incoming_window: u32,
    next_outgoing_id: u32,
    remote_window: u32,
}

/// An attach that is answered when a session is free, or when its time is over.
pub(super) struct WaitingAttach {
    pub(super) asked: AttachFrame,
    pub(super) until: Instant,
    /// Credit that came before the answer.
    pub(super) flow: Option<FlowFrame>,
}

/// A delivery that its receiver has yet to settle.
pub(super) struct UnsettledDelivery {
    pub(super) queue: Arc<MessageQueue>,
    pub(super) token: LockToken,
}

pub(super) enum SessionLink {
    Inbound(InboundLink),
    Outbound(OutboundLink),
}

/// A link on which the client sends.
pub(super) struct InboundLink {
    pub(super) node: LinkNode,
    pub(super) address: String,
    pub(super) delivery_count: u32,
    pub(super) credit: u32,
    pub(super) partial: Option<PartialDelivery>,
}

/// A delivery of several frames, as far as it has come.
pub(super) struct PartialDelivery {
    pub(super) id: u32,
    pub(super) format: u32,
    pub(super) settled: bool,
    /// Bytes that came.
    pub(super) size: u64,
    /// They, unless they are too many.
    pub(super) data: BytesMut,
}

/// A link on which the client receives.
pub(super) struct OutboundLink {
    pub(super) name: String,
    pub(super) address: String,
    /// Where replies to it may be sent by name.
    pub(super) reply_to: Option<String>,
    /// What its token must allow.
    pub(super) claim: Option<AccessClaim>,
    pub(super) source: LinkSource,
    pub(super) settled: bool,
    pub(super) credit: u32,
    pub(super) delivery_count: u32,
    pub(super) drain: bool,
    pub(super) sending: Option<SendingDelivery>,
}

/// A delivery whose last frames wait for the window.
pub(super) struct SendingDelivery {
    pub(super) id: u32,
    pub(super) tag: Bytes,
    pub(super) rest: Bytes,
    pub(super) begun: bool,
}

pub(super) enum LinkSource {
    /// Replies of `$cbs` and `$management`.
    Replies(VecDeque<Bytes>),
    Partition(PartitionReader),
    Queue {
        queue: Arc<MessageQueue>,
        session: Option<SessionHold>,
        mode: ReceiveMode,
    },
}

impl LinkSession {
    pub(super) fn new(channel: u16, begin: &BeginFrame) -> Self {
        Self {
            channel,
            links: BTreeMap::new(),
            waiting: BTreeMap::new(),
            closing: BTreeSet::new(),
            unsettled: BTreeMap::new(),
            next_delivery_id: 0,
            next_incoming_id: begin.next_outgoing_id,
            incoming_window: INCOMING_WINDOW,
            next_outgoing_id: 0,
            remote_window: begin.incoming_window,
        }
    }

    /// Counts a transfer frame in; `false` when the window was closed.
    pub(super) fn receive_frame(&mut self) -> bool {
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        match self.incoming_window.checked_sub(1) {
            Some(left) => {
                self.incoming_window = left;
                true
            }
            None => false,
        }
    }

    /// Whether it is time to open the window again.
    pub(super) fn window_is_half_used(&self) -> bool {
        self.incoming_window <= INCOMING_WINDOW / 2
    }

    /// A flow with the session's present numbers and a fully open window.
    pub(super) fn flow(&mut self) -> FlowFrame {
        self.incoming_window = INCOMING_WINDOW;
        FlowFrame {
            next_incoming_id: Some(self.next_incoming_id),
            incoming_window: INCOMING_WINDOW,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: INCOMING_WINDOW,
            ..FlowFrame::default()
        }
    }

    /// A flow of one link.
    pub(super) fn link_flow(&mut self, handle: u32) -> Option<FlowFrame> {
        let (delivery_count, link_credit, drain) = match self.links.get(&handle)? {
            SessionLink::Inbound(link) => (link.delivery_count, link.credit, false),
            SessionLink::Outbound(link) => (link.delivery_count, link.credit, link.drain),
        };
        Some(FlowFrame {
            handle: Some(handle),
            delivery_count: Some(delivery_count),
            link_credit: Some(link_credit),
            available: Some(0),
            drain,
            ..self.flow()
        })
    }

    /// Takes the credit that the client gives a link of ours.
    pub(super) fn credit(&mut self, handle: u32, flow: &FlowFrame) {
        if let Some(SessionLink::Outbound(link)) = self.links.get_mut(&handle) {
            let seen = flow.delivery_count.unwrap_or(0);
            let edge = seen.wrapping_add(flow.link_credit.unwrap_or(0));
            let credit = edge.wrapping_sub(link.delivery_count);
            link.credit = if credit > u32::MAX / 2 { 0 } else { credit };
            link.drain = flow.drain;
        } else if let Some(waiting) = self.waiting.get_mut(&handle) {
            waiting.flow = Some(flow.clone());
        }
    }

    /// Takes the client's view of its window (AMQP 1.0 part 2 §2.5.6).
    pub(super) fn remote_flow(&mut self, flow: &FlowFrame) {
        let edge = flow
            .next_incoming_id
            .unwrap_or(0)
            .wrapping_add(flow.incoming_window);
        let window = edge.wrapping_sub(self.next_outgoing_id);
        // A difference that wraps round means that more is under way than the window now allows.
        self.remote_window = if window > flow.incoming_window {
            0
        } else {
            window
        };
    }

    pub(super) fn window_is_open(&self) -> bool {
        self.remote_window > 0
    }

    pub(super) fn send_frame(&mut self) {
        self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
        self.remote_window = self.remote_window.saturating_sub(1);
    }

    pub(super) fn take_delivery_id(&mut self) -> u32 {
        let id = self.next_delivery_id;
        self.next_delivery_id = id.wrapping_add(1);
        id
    }
}

impl SessionLink {
    pub(super) fn address(&self) -> &str {
        match self {
            Self::Inbound(link) => &link.address,
            Self::Outbound(link) => &link.address,
        }
    }

    /// What its token must allow, if it needs one.
    pub(super) fn claim(&self) -> Option<AccessClaim> {
        match self {
            Self::Inbound(link) => link.node.claim(false),
            Self::Outbound(link) => link.claim,
        }
    }

    /// Lets go of what the link holds.
    pub(super) fn close(self) {
        if let Self::Outbound(OutboundLink {
            source: LinkSource::Queue { queue, session, .. },
            ..
        }) = self
            && let Some(session) = session
        {
            queue.free_session(&session);
        }
    }
}
