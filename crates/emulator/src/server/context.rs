//! What the handlers of one connection share: its output, its rights, how it ends.

use crate::amqp::performative::AmqpPerformative;
use crate::amqp::state::AmqpError;
use crate::broker::access::AccessGrants;
use crate::broker::message_broker::MessageBroker;
use bytes::BytesMut;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The smallest frame size a peer may ask for (AMQP 1.0 part 2 §2.4.1).
pub(super) const FRAME_BYTES_MIN: u32 = 512;
/// Nothing more is read or handed out while this much waits to be written.
pub(super) const OUT_BYTES_MAX: usize = 1024 * 1024;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerEnding {
    /// After what waits has been written.
    Flush,
    /// At once.
    Drop,
}

/// What the handlers of sessions share.
pub(super) struct PeerContext {
    pub(super) broker: Arc<MessageBroker>,
    pub(super) wake: Arc<Notify>,
    pub(super) grants: AccessGrants,
    pub(super) out: BytesMut,
    pub(super) remote_frame_bytes_max: usize,
    /// Set when deliveries stopped because too much waits to be written.
    pub(super) paused: bool,
    delayed: BTreeMap<(Instant, u64), (u16, AmqpPerformative)>,
    delayed_count: u64,
}

impl PeerContext {
    pub(super) fn new(broker: Arc<MessageBroker>) -> Self {
        Self {
            grants: AccessGrants::new(!broker.settings.require_tokens),
            broker,
            wake: Arc::new(Notify::new()),
            out: BytesMut::new(),
            remote_frame_bytes_max: FRAME_BYTES_MIN as usize,
            paused: false,
            delayed: BTreeMap::new(),
            delayed_count: 0,
        }
    }

    pub(super) fn send(&mut self, channel: u16, performative: &AmqpPerformative) {
        performative.put(channel, &[], &mut self.out);
    }

    /// Sends after `wait`.
    pub(super) fn send_later(
        &mut self,
        wait: Duration,
        channel: u16,
        performative: AmqpPerformative,
    ) {
        self.delayed_count += 1;
        self.delayed.insert(
            (Instant::now() + wait, self.delayed_count),
            (channel, performative),
        );
    }

    /// When [`PeerContext::send_due`] has something to send.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.delayed.first_key_value().map(|((at, _), _)| *at)
    }

    /// Sends what was to be sent later and is due.
    pub(super) fn send_due(&mut self, now: Instant) {
        while let Some(due) = self.delayed.first_entry().filter(|due| due.key().0 <= now) {
            let (channel, performative) = due.remove();
            self.send(channel, &performative);
        }
    }

    /// Closes the connection with an error.
    pub(super) fn close(&mut self, condition: &str, description: &str) -> PeerEnding {
        let problem = AmqpError::new(condition, description);
        self.send(0, &AmqpPerformative::Close(Some(problem)));
        PeerEnding::Flush
    }

    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= OUT_BYTES_MAX
    }
}
