//! A queue or subscription: peek-lock, settlement, deferral and its dead-letter queue.

use super::queue_state::{LockedMessage, QueueState};
use super::received::{ReceivedMessage, time_to_live_ms};
use super::session::SessionHold;
use super::settings::{BrokerLimits, QueueSettings};
use super::stored::{LockToken, LockTokens, StoredMessage, dead_letter, with_message_id};
use super::waiters::MessageWaiters;
use crate::amqp::message::AmqpMessage;
use crate::amqp::state::AmqpError;
use crate::arrivals::ArrivalTally;
use crate::lock::lock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use twinroute_model::clock::Timestamp;

#[derive(Debug)]
pub(crate) struct MessageQueue {
    /// Such as `queue`, `topic/Subscriptions/name` or either with `/$DeadLetterQueue`.
    pub(crate) path: String,
    pub(crate) settings: QueueSettings,
    pub(crate) arrivals: ArrivalTally,
    pub(crate) waiters: MessageWaiters,
    pub(crate) dead_letters: Option<Arc<MessageQueue>>,
    messages_max: usize,
    bytes_max: usize,
    tokens: Arc<LockTokens>,
    state: Mutex<QueueState>,
}

/// Whether a message handed out stays until it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceiveMode {
    PeekLock,
    ReceiveAndDelete,
}

/// A message handed out.
#[derive(Debug)]
pub(crate) struct TakenMessage {
    pub(crate) stored: StoredMessage,
    pub(crate) token: LockToken,
    pub(crate) locked_until: Timestamp,
}

/// What a receiver does with a message it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReceiverSettlement {
    Complete,
    Abandon,
    /// Back, as if it had not been handed out.
    Release,
    Defer,
    DeadLetter {
        reason: Option<String>,
        description: Option<String>,
    },
}

impl MessageQueue {
    pub(crate) fn new(
        path: String,
        settings: &QueueSettings,
        limits: &BrokerLimits,
        tokens: &Arc<LockTokens>,
    ) -> Self {
        let dead_path = format!("{path}/$DeadLetterQueue");
        let mut dead_settings = QueueSettings::new("$DeadLetterQueue");
        dead_settings.lock_duration = settings.lock_duration;
        let dead_letters = Self::bare(dead_path, dead_settings, limits, tokens, None);
        Self::bare(
            path,
            settings.clone(),
            limits,
            tokens,
            Some(Arc::new(dead_letters)),
        )
    }

    fn bare(
        path: String,
        settings: QueueSettings,
        limits: &BrokerLimits,
        tokens: &Arc<LockTokens>,
        dead_letters: Option<Arc<MessageQueue>>,
    ) -> Self {
        Self {
            path,
            settings,
            arrivals: ArrivalTally::default(),
            waiters: MessageWaiters::default(),
            dead_letters,
            messages_max: limits.messages_per_queue_max,
            bytes_max: limits.bytes_per_queue_max,
            tokens: Arc::clone(tokens),
            state: Mutex::default(),
        }
    }

    /// The last segment of the path.
    pub(crate) fn own_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, QueueState> {
        lock(&self.state)
    }

    /// Whether the messages of one transfer may come in.
    ///
    /// # Errors
    /// When there is no room, or a message has no session where one is needed.
    pub(crate) fn admit(&self, messages: &[AmqpMessage]) -> Result<(), AmqpError> {
        self.admit_copies(messages)?;
        let sessions_missing = || messages.iter().any(|message| message.group_id.is_none());
        if self.settings.requires_session && sessions_missing() {
            let text = format!(
                "a message has no session-id, and {} accepts none without",
                self.path
            );
            return Err(AmqpError::new("amqp:not-allowed", text));
        }
        Ok(())
    }

    /// Whether a subscription has room for copies of its topic's messages.
    pub(crate) fn admit_copies(&self, messages: &[AmqpMessage]) -> Result<(), AmqpError> {
        let state = self.state();
        let bytes: usize = messages.iter().map(AmqpMessage::bytes).sum();
        let many = state.held() + messages.len() > self.messages_max;
        if many || !self.has_room_for(&state, bytes) {
            return Err(self.full());
        }
        Ok(())
    }

    pub(super) fn has_room_for(&self, state: &QueueState, bytes: usize) -> bool {
        state.bytes + bytes <= self.bytes_max
    }

    pub(super) fn full(&self) -> AmqpError {
        let text = format!("{} is full", self.path);
        AmqpError::new("amqp:resource-limit-exceeded", text)
    }

    /// Adds messages that were admitted; the first has the arrival number `first`.
    pub(crate) fn push(&self, messages: Vec<AmqpMessage>, first: u64, now: Timestamp) {
        let count = messages.len();
        let mut state = self.state();
        let mut dead = Vec::new();
        for (message, arrival) in messages.into_iter().zip(first..) {
            dead.extend(self.push_one(&mut state, message, arrival, now));
        }
        if self.dead_letters.is_none() {
            // Nobody can be refused here, so the oldest dead letters give way.
            while state.held() > self.messages_max || state.bytes > self.bytes_max {
                let Some(oldest) = state.ready.keys().next().copied() else {
                    break;
                };
                let Some(stored) = state.take_ready(oldest) else {
                    break;
                };
                state.bytes -= stored.message.bytes();
            }
        }
        drop(state);
        self.dead_letter_all(dead, now);
        self.waiters.wake();
        self.arrivals.add_stored(count);
    }

    /// Adds a message; gives it back when it is a dead letter at once.
    fn push_one(
        &self,
        state: &mut QueueState,
        mut message: AmqpMessage,
        arrival: u64,
        now: Timestamp,
    ) -> Option<StoredMessage> {
        let id = message.message_id.clone();
        if let Some(window) = self.settings.duplicate_window {
            state.forget_ids_before(now, window);
            if let Some(id) = &id {
                if !state.seen.insert(id.clone()) {
                    return None;
                }
                state.seen_in_order.push_back((now, id.clone()));
            }
        }
        state.next_sequence += 1;
        if id.is_none() {
            // The JavaScript client cannot settle a message without a message-id.
            let id = format!("{arrival:032x}");
            message.bare = with_message_id(&message.bare, &id);
            message.message_id = Some(id);
        }
        let ttl = time_to_live_ms(&message)
            .map(u64::from)
            .map(Duration::from_millis);
        let stored = StoredMessage {
            arrival,
            sequence: state.next_sequence,
            enqueued_at: now,
            delivery_count: 0,
            session: message
                .group_id
                .clone()
                .filter(|_| self.settings.requires_session),
            expires_at: ttl.map(|ttl| now.after(ttl)),
            message,
        };
        if self.settings.requires_session && stored.session.is_none() {
            // Queues refuse such a message; a topic takes it, and "Overview of Service Bus dead-letter
            // queues" has this reason for what becomes of it in a subscription with sessions.
            let text = "the subscription has sessions, and the message has no session-id";
            return Some(dead_letter(stored, Some("Session ID is null."), Some(text)));
        }
        state.bytes += stored.message.bytes();
        state.put_ready(stored);
        None
    }

    /// Hands out the next message, of one session if it is held.
    pub(crate) fn take(
        &self,
        session: Option<&SessionHold>,
        mode: ReceiveMode,
        now: Timestamp,
    ) -> Option<TakenMessage> {
        let mut state = self.state();
        loop {
            let sequence = match session {
                Some(session) => state.sessions.first_ready(session, now)?,
                None => *state.ready.first_key_value()?.0,
            };
            let stored = state.take_ready(sequence)?;
            if stored.expires_at.is_some_and(|end| end <= now) {
                state.bytes -= stored.message.bytes();
                continue;
            }
            return Some(self.hand_out(&mut state, stored, mode, now));
        }
    }

    /// Hands out deferred messages by number; where there are sessions, those of the named one.
    pub(crate) fn take_deferred(
        &self,
        sequences: &[i64],
        session: Option<&str>,
        mode: ReceiveMode,
        now: Timestamp,
    ) -> Vec<TakenMessage> {
        let mut state = self.state();
        let mut taken = Vec::new();
        for sequence in sequences {
            let known = state.deferred.get(sequence);
            if known.is_some_and(|stored| stored.session.as_deref() == session)
                && let Some(stored) = state.deferred.remove(sequence)
            {
                taken.push(self.hand_out(&mut state, stored, mode, now));
            }
        }
        taken
    }

    fn hand_out(
        &self,
        state: &mut QueueState,
        stored: StoredMessage,
        mode: ReceiveMode,
        now: Timestamp,
    ) -> TakenMessage {
        let token = self.tokens.next();
        let locked_until = now.after(self.settings.lock_duration);
        if mode == ReceiveMode::ReceiveAndDelete {
            state.bytes -= stored.message.bytes();
        } else {
            let until = stored.session.is_none().then_some(locked_until);
            state.expiries.extend(until.map(|until| (until, token)));
            state.locked.insert(
                token,
                LockedMessage {
                    stored: stored.clone(),
                    until,
                },
            );
        }
        TakenMessage {
            stored,
            token,
            locked_until,
        }
    }

    /// Settles a message that is held under `token`.
    pub(crate) fn settle(
        &self,
        token: LockToken,
        settlement: ReceiverSettlement,
        now: Timestamp,
    ) -> Result<(), AmqpError> {
        self.sweep(now);
        let mut state = self.state();
        let locked = state.unlock(token).ok_or_else(|| self.lock_lost())?;
        let stored = locked.stored;
        let dead = match settlement {
            ReceiverSettlement::Complete => {
                state.bytes -= stored.message.bytes();
                None
            }
            ReceiverSettlement::Release => {
                state.put_ready(stored);
                None
            }
            ReceiverSettlement::Defer => {
                state.deferred.insert(stored.sequence, stored);
                None
            }
            ReceiverSettlement::Abandon => self.give_back(&mut state, stored),
            ReceiverSettlement::DeadLetter {
                reason,
                description,
            } => {
                state.bytes -= stored.message.bytes();
                Some(dead_letter(
                    stored,
                    reason.as_deref(),
                    description.as_deref(),
                ))
            }
        };
        drop(state);
        self.dead_letter_all(dead, now);
        self.waiters.wake();
        Ok(())
    }

    /// A failed delivery: ready again, or `Some` when it was the last one allowed.
    fn give_back(
        &self,
        state: &mut QueueState,
        mut stored: StoredMessage,
    ) -> Option<StoredMessage> {
        stored.delivery_count += 1;
        if stored.delivery_count < self.settings.deliveries_max || self.dead_letters.is_none() {
            state.put_ready(stored);
            return None;
        }
        state.bytes -= stored.message.bytes();
        let text = "the message was delivered as often as the entity allows";
        Some(dead_letter(
            stored,
            Some("MaxDeliveryCountExceeded"),
            Some(text),
        ))
    }

    /// Gives back messages whose lock has ended.
    pub(crate) fn sweep(&self, now: Timestamp) {
        let mut state = self.state();
        let mut dead = Vec::new();
        let ended = state.sessions.take_expired(now);
        let mut any = !ended.is_empty();
        for session in &ended {
            for stored in state.take_locked_of(session) {
                dead.extend(self.give_back(&mut state, stored));
            }
            state.sessions.forget_if_empty(session);
        }
        while let Some((until, token)) = state.expiries.first().copied() {
            if until > now {
                break;
            }
            any = true;
            let Some(locked) = state.unlock(token) else {
                break;
            };
            dead.extend(self.give_back(&mut state, locked.stored));
        }
        drop(state);
        self.dead_letter_all(dead, now);
        if any {
            self.waiters.wake();
        }
    }

    fn dead_letter_all(&self, dead: impl IntoIterator<Item = StoredMessage>, now: Timestamp) {
        let Some(dead_letters) = &self.dead_letters else {
            return;
        };
        for stored in dead {
            dead_letters.push(vec![stored.message], stored.arrival, now);
        }
    }

    /// Extends a lock.
    pub(crate) fn renew(&self, token: LockToken, now: Timestamp) -> Result<Timestamp, AmqpError> {
        self.sweep(now);
        let until = now.after(self.settings.lock_duration);
        let mut state = self.state();
        let locked = state.locked.get_mut(&token);
        let locked = locked.ok_or_else(|| self.lock_lost())?;
        if locked.stored.session.is_some() {
            let text = "the lock of the session holds its messages: renew that";
            return Err(AmqpError::new("amqp:not-allowed", text));
        }
        if let Some(old) = locked.until.replace(until) {
            state.expiries.remove(&(old, token));
        }
        state.expiries.insert((until, token));
        Ok(until)
    }

    /// Up to `count` messages from a sequence number on, whatever their state; of one session if named.
    pub(crate) fn peek(
        &self,
        from: i64,
        count: usize,
        session: Option<&str>,
    ) -> Vec<StoredMessage> {
        let state = self.state();
        let named =
            |stored: &&StoredMessage| session.is_none() || stored.session.as_deref() == session;
        let locked = state.locked.values().map(|locked| &locked.stored);
        let locked = locked.filter(|stored| stored.sequence >= from);
        let mut all: Vec<&StoredMessage> = locked.filter(named).collect();
        for waiting in [&state.ready, &state.deferred] {
            let later = waiting.range(from..).map(|(_, stored)| stored);
            all.extend(later.filter(named).take(count));
        }
        all.sort_by_key(|stored| stored.sequence);
        all.into_iter().take(count).cloned().collect()
    }

    /// Every message it holds.
    pub(crate) fn messages(&self) -> Vec<ReceivedMessage> {
        let all = self.peek(i64::MIN, usize::MAX, None);
        all.iter().map(StoredMessage::received).collect()
    }

    pub(crate) fn message_count(&self) -> usize {
        self.state().held()
    }

    /// Up to `count` of its messages with a sequence number above `after`.
    pub(crate) fn messages_after(&self, after: i64, count: usize) -> Vec<ReceivedMessage> {
        let later = self.peek(after.saturating_add(1), count, None);
        later.iter().map(StoredMessage::received).collect()
    }

    /// The lock that has ended: the session's, where there are sessions.
    fn lock_lost(&self) -> AmqpError {
        let (condition, text) = if self.settings.requires_session {
            (
                "com.microsoft:session-lock-lost",
                "the lock of the session has ended, or the message was settled",
            )
        } else {
            (
                "com.microsoft:message-lock-lost",
                "the lock of the message has ended, or it was settled",
            )
        };
        AmqpError::new(condition, text)
    }
}

/// Takes `count` arrival numbers and returns the first.
pub(crate) fn numbers(counter: &AtomicU64, count: usize) -> u64 {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed)
}
