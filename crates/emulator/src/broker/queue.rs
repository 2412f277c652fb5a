//! A queue or subscription: peek-lock, settlement, deferral and its dead-letter queue.

use super::session::Sessions;
use super::stored::{Stored, Token, Tokens, bury, with_message_id};
use super::{Tally, Waiters, lock};
use crate::amqp::message::Message;
use crate::amqp::state::Problem;
use crate::received::{ReceivedMessage, time_to_live_ms};
use crate::settings::{Limits, QueueSettings};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use twinroute_model::clock::Timestamp;

#[derive(Debug)]
pub(crate) struct Queue {
    /// Such as `queue`, `topic/Subscriptions/name` or either with `/$DeadLetterQueue`.
    pub(crate) path: String,
    pub(crate) settings: QueueSettings,
    pub(crate) accepted: Tally,
    pub(crate) transfers: AtomicU64,
    pub(crate) waiters: Waiters,
    pub(crate) dead_letters: Option<Arc<Queue>>,
    messages_max: usize,
    bytes_max: usize,
    tokens: Arc<Tokens>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    next_sequence: i64,
    ready: BTreeMap<i64, Stored>,
    locked: HashMap<Token, Locked>,
    expiries: BTreeSet<(Timestamp, Token)>,
    deferred: BTreeMap<i64, Stored>,
    bytes: usize,
    seen: HashSet<String>,
    seen_in_order: VecDeque<(Timestamp, String)>,
    pub(super) sessions: Sessions,
}

#[derive(Debug)]
struct Locked {
    stored: Stored,
    /// `None` under a session: the session's lock holds.
    until: Option<Timestamp>,
}

/// Whether a message handed out stays until it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    PeekLock,
    ReceiveAndDelete,
}

/// A message handed out.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) stored: Stored,
    pub(crate) token: Token,
    pub(crate) locked_until: Timestamp,
}

/// What a receiver does with a message it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
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

impl Queue {
    pub(crate) fn new(
        path: String,
        settings: &QueueSettings,
        limits: &Limits,
        tokens: &Arc<Tokens>,
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
        limits: &Limits,
        tokens: &Arc<Tokens>,
        dead_letters: Option<Arc<Queue>>,
    ) -> Self {
        Self {
            path,
            settings,
            accepted: Tally::default(),
            transfers: AtomicU64::new(0),
            waiters: Waiters::default(),
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

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether the messages of one transfer may come in.
    pub(crate) fn admit(&self, messages: &[Message]) -> Result<(), Problem> {
        let state = self.state();
        let bytes: usize = messages.iter().map(Message::bytes).sum();
        if state.held() + messages.len() > self.messages_max || state.bytes + bytes > self.bytes_max
        {
            let text = format!("{} is full", self.path);
            return Err(Problem::new("amqp:resource-limit-exceeded", text));
        }
        let sessions_missing = || messages.iter().any(|message| message.group_id.is_none());
        if self.settings.requires_session && sessions_missing() {
            let text = format!("{} takes only messages with a session", self.path);
            return Err(Problem::new("amqp:not-allowed", text));
        }
        Ok(())
    }

    /// Adds messages that were admitted; the first has the arrival number `first`.
    pub(crate) fn push(&self, messages: Vec<Message>, first: u64, now: Timestamp) {
        let count = messages.len();
        let mut state = self.state();
        for (message, arrival) in messages.into_iter().zip(first..) {
            self.push_one(&mut state, message, arrival, now);
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
        self.waiters.wake();
        self.accepted.add(count);
    }

    fn push_one(&self, state: &mut State, mut message: Message, arrival: u64, now: Timestamp) {
        let id = message.message_id.clone();
        if let Some(window) = self.settings.duplicate_window {
            state.forget_ids_before(now, window);
            if let Some(id) = &id {
                if !state.seen.insert(id.clone()) {
                    return;
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
        let stored = Stored {
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
        state.bytes += stored.message.bytes();
        state.put_ready(stored);
    }

    /// Hands out the next message, of one session if named.
    pub(crate) fn take(&self, session: Option<&str>, mode: Mode, now: Timestamp) -> Option<Taken> {
        let mut state = self.state();
        loop {
            let sequence = match session {
                Some(session) => state.sessions.first_ready(session)?,
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

    /// Hands out deferred messages by number.
    pub(crate) fn take_deferred(
        &self,
        sequences: &[i64],
        mode: Mode,
        now: Timestamp,
    ) -> Vec<Taken> {
        let mut state = self.state();
        let mut taken = Vec::new();
        for sequence in sequences {
            if let Some(stored) = state.deferred.remove(sequence) {
                taken.push(self.hand_out(&mut state, stored, mode, now));
            }
        }
        taken
    }

    fn hand_out(&self, state: &mut State, stored: Stored, mode: Mode, now: Timestamp) -> Taken {
        let token = self.tokens.next();
        let locked_until = now.after(self.settings.lock_duration);
        if mode == Mode::ReceiveAndDelete {
            state.bytes -= stored.message.bytes();
        } else {
            let until = stored.session.is_none().then_some(locked_until);
            state.expiries.extend(until.map(|until| (until, token)));
            state.locked.insert(
                token,
                Locked {
                    stored: stored.clone(),
                    until,
                },
            );
        }
        Taken {
            stored,
            token,
            locked_until,
        }
    }

    /// Settles a message that is held under `token`.
    pub(crate) fn settle(
        &self,
        token: Token,
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<(), Problem> {
        self.sweep(now);
        let mut state = self.state();
        let locked = state.unlock(token).ok_or_else(lock_lost)?;
        let stored = locked.stored;
        let dead = match settlement {
            Settlement::Complete => {
                state.bytes -= stored.message.bytes();
                None
            }
            Settlement::Release => {
                state.put_ready(stored);
                None
            }
            Settlement::Defer => {
                state.deferred.insert(stored.sequence, stored);
                None
            }
            Settlement::Abandon => self.give_back(&mut state, stored),
            Settlement::DeadLetter {
                reason,
                description,
            } => {
                state.bytes -= stored.message.bytes();
                Some(bury(stored, reason.as_deref(), description.as_deref()))
            }
        };
        drop(state);
        self.bury_all(dead, now);
        self.waiters.wake();
        Ok(())
    }

    /// A failed delivery: ready again, or `Some` when it was the last one allowed.
    fn give_back(&self, state: &mut State, mut stored: Stored) -> Option<Stored> {
        stored.delivery_count += 1;
        if stored.delivery_count < self.settings.deliveries_max || self.dead_letters.is_none() {
            state.put_ready(stored);
            return None;
        }
        state.bytes -= stored.message.bytes();
        let text = "the message was delivered as often as the entity allows";
        Some(bury(stored, Some("MaxDeliveryCountExceeded"), Some(text)))
    }

    /// Gives back messages whose lock has ended.
    pub(crate) fn sweep(&self, now: Timestamp) {
        let mut state = self.state();
        let mut dead = Vec::new();
        let mut any = state.expire_sessions(now);
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
        self.bury_all(dead, now);
        if any {
            self.waiters.wake();
        }
    }

    fn bury_all(&self, dead: impl IntoIterator<Item = Stored>, now: Timestamp) {
        let Some(dead_letters) = &self.dead_letters else {
            return;
        };
        for stored in dead {
            dead_letters.push(vec![stored.message], stored.arrival, now);
        }
    }

    /// Extends a lock.
    pub(crate) fn renew(&self, token: Token, now: Timestamp) -> Result<Timestamp, Problem> {
        self.sweep(now);
        let until = now.after(self.settings.lock_duration);
        let mut state = self.state();
        let locked = state.locked.get_mut(&token).ok_or_else(lock_lost)?;
        if let Some(old) = locked.until.replace(until) {
            state.expiries.remove(&(old, token));
        }
        state.expiries.insert((until, token));
        Ok(until)
    }

    /// Up to `count` messages from a sequence number on, whatever their state.
    pub(crate) fn peek(&self, from: i64, count: usize) -> Vec<Stored> {
        let state = self.state();
        let locked = state.locked.values().map(|locked| &locked.stored);
        let mut all: Vec<&Stored> = locked.filter(|stored| stored.sequence >= from).collect();
        all.extend(
            state
                .ready
                .range(from..)
                .take(count)
                .map(|(_, stored)| stored),
        );
        all.extend(
            state
                .deferred
                .range(from..)
                .take(count)
                .map(|(_, stored)| stored),
        );
        all.sort_by_key(|stored| stored.sequence);
        all.into_iter().take(count).cloned().collect()
    }

    /// Every message it holds.
    pub(crate) fn messages(&self) -> Vec<ReceivedMessage> {
        let all = self.peek(i64::MIN, usize::MAX);
        all.iter().map(Stored::received).collect()
    }
}

impl State {
    fn held(&self) -> usize {
        self.ready.len() + self.locked.len() + self.deferred.len()
    }

    fn put_ready(&mut self, stored: Stored) {
        if let Some(session) = &stored.session {
            self.sessions.add_ready(session, stored.sequence);
        }
        self.ready.insert(stored.sequence, stored);
    }

    fn take_ready(&mut self, sequence: i64) -> Option<Stored> {
        let stored = self.ready.remove(&sequence)?;
        if let Some(session) = &stored.session {
            self.sessions.remove_ready(session, sequence);
        }
        Some(stored)
    }

    fn unlock(&mut self, token: Token) -> Option<Locked> {
        let locked = self.locked.remove(&token)?;
        if let Some(until) = locked.until {
            self.expiries.remove(&(until, token));
        }
        Some(locked)
    }

    fn expire_sessions(&mut self, now: Timestamp) -> bool {
        let ended = self.sessions.take_expired(now);
        ended
            .iter()
            .for_each(|session| self.release_session(session));
        !ended.is_empty()
    }

    /// Makes what was handed out under a session ready again.
    pub(super) fn release_session(&mut self, session: &str) {
        let held = |locked: &Locked| locked.stored.session.as_deref() == Some(session);
        let tokens: Vec<Token> = self
            .locked
            .iter()
            .filter(|(_, one)| held(one))
            .map(|(token, _)| *token)
            .collect();
        for token in tokens {
            if let Some(locked) = self.unlock(token) {
                self.put_ready(locked.stored);
            }
        }
    }

    fn forget_ids_before(&mut self, now: Timestamp, window: Duration) {
        let old = |(seen, _): &(Timestamp, String)| now.since(*seen) > window;
        while self.seen_in_order.front().is_some_and(old) {
            if let Some((_, id)) = self.seen_in_order.pop_front() {
                self.seen.remove(&id);
            }
        }
    }
}

/// Takes `count` arrival numbers and returns the first.
pub(crate) fn numbers(counter: &AtomicU64, count: usize) -> u64 {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed)
}

fn lock_lost() -> Problem {
    Problem::new(
        "com.microsoft:message-lock-lost",
        "the lock of the message has ended",
    )
}
