//! What a receiver of sessions does with a queue: locks one, keeps its state, frees it.

use super::queue::Queue;
use super::session::{SessionHold, state_bytes};
use crate::amqp::state::Problem;
use crate::amqp::value::Value;
use twinroute_model::clock::Timestamp;

impl Queue {
    /// Locks the named session, or the first free one with a message: `None` when there is none.
    ///
    /// # Errors
    /// `com.microsoft:session-cannot-be-locked` when another receiver holds the named one.
    pub(crate) fn lock_session(
        &self,
        wanted: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<(SessionHold, Timestamp)>, Problem> {
        self.sweep(now);
        let until = now.after(self.settings.lock_duration);
        self.state().sessions.lock(wanted, until)
    }

    /// Whether the session is still held by that lock.
    pub(crate) fn holds_session(&self, hold: &SessionHold) -> bool {
        self.state().sessions.holds(hold)
    }

    /// Extends the lock of a session.
    pub(crate) fn renew_session(
        &self,
        session: &str,
        now: Timestamp,
    ) -> Result<Timestamp, Problem> {
        self.needs_sessions()?;
        self.sweep(now);
        let until = now.after(self.settings.lock_duration);
        self.state().sessions.renew(session, until)?;
        Ok(until)
    }

    /// Frees a session; what was handed out under it is ready again, its deliveries uncounted.
    ///
    /// Source: "Message sessions", the table of delivery counts: closing a session does not count, the
    /// end of its lock does.
    pub(crate) fn free_session(&self, hold: &SessionHold) {
        if !self.holds_session(hold) {
            return;
        }
        let mut state = self.state();
        for stored in state.take_locked_of(&hold.name) {
            state.put_ready(stored);
        }
        state.sessions.free(&hold.name);
        drop(state);
        self.waiters.wake();
    }

    /// The state kept with a session that is locked.
    pub(crate) fn session_state(
        &self,
        session: &str,
        now: Timestamp,
    ) -> Result<Option<Value>, Problem> {
        self.needs_sessions()?;
        self.sweep(now);
        Ok(self.state().sessions.state(session)?.cloned())
    }

    /// Keeps a state with a session that is locked; null takes it away.
    pub(crate) fn set_session_state(
        &self,
        session: &str,
        value: Value,
        now: Timestamp,
    ) -> Result<(), Problem> {
        self.needs_sessions()?;
        self.sweep(now);
        let mut state = self.state();
        state.sessions.state(session)?;
        let bytes = state_bytes(&value);
        let before = state.sessions.state_bytes_of(session);
        if !self.has_room_for(&state, bytes.saturating_sub(before)) {
            return Err(self.full());
        }
        state.bytes = state.bytes - before + bytes;
        state.sessions.set_state(session, value, now);
        Ok(())
    }

    /// Names of sessions with messages; with `changed_after`, of those whose state changed later.
    pub(crate) fn session_names(
        &self,
        changed_after: Option<Timestamp>,
        skip: usize,
        top: usize,
    ) -> Result<Vec<String>, Problem> {
        self.needs_sessions()?;
        Ok(self.state().sessions.names(changed_after, skip, top))
    }

    fn needs_sessions(&self) -> Result<(), Problem> {
        if self.settings.requires_session {
            return Ok(());
        }
        let text = format!("{} has no sessions", self.path);
        Err(Problem::new("amqp:not-allowed", text))
    }
}
