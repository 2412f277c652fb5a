//! What people ask of a lane, and its standing still.

use super::State;
use crate::lane::Hold;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use twinroute_retry::ledger::Discard;

/// What a purge gave up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Deliveries that waited.
    pub queued: u64,
    /// Dead letters that were kept here.
    pub dead_letters: u64,
}

impl State {
    /// Sends nothing from here on, or goes on; over restarts too.
    pub(in crate::lane) fn set_paused(&mut self, paused: bool, now: Instant) {
        if self.paused == paused {
            return;
        }
        self.paused = paused;
        tracing::info!(endpoint = self.label, paused, "asked for");
        if paused && self.journal.is_some() {
            self.queue.shed();
        }
        self.still.set(self.stands_still(), now);
        self.note_state(now);
    }

    /// Its endpoint is not ready to be sent to any more, or is again.
    pub(super) fn note_hold(&mut self) {
        match &self.setup.hold {
            // Told where it is found.
            Some(Hold::Undefined) => {}
            Some(hold) => tracing::info!(
                endpoint = self.label,
                state = hold.word(),
                why = hold.why(),
                "the endpoint is sent nothing for now; its events wait"
            ),
            None if self.is_empty() => {}
            None => tracing::info!(endpoint = self.label, "the endpoint is sent events again"),
        }
        if self.setup.hold.is_some() && self.journal.is_some() {
            // They may wait for long, and others need the memory.
            self.queue.shed();
        }
    }

    /// Tries everything now that waits for a moment.
    pub(in crate::lane) fn retry_now(&mut self, now: Instant) {
        tracing::info!(endpoint = self.label, "asked for: everything is tried now");
        for fault in [&mut self.fault, &mut self.store_fault]
            .into_iter()
            .flatten()
        {
            fault.until = now;
        }
        self.queue.retry_now(now);
        self.dead.retry_all();
    }

    /// Gives up what waits, what is in flight excepted; dead letters that are kept here too if asked.
    pub(in crate::lane) fn purge(&mut self, dead_letters: bool) -> Purged {
        let mut purged = Purged::default();
        while let Some(waiting) = self.queue.evict_oldest() {
            self.discard(waiting.sequence, Discard::Purged);
            purged.queued += 1;
        }
        while dead_letters && let Some(oldest) = self.dead.remove_oldest() {
            self.discard(oldest.sequence, Discard::Purged);
            purged.dead_letters += 1;
        }
        self.hand_over();
        tracing::warn!(
            endpoint = self.label,
            queued = purged.queued,
            dead_letters = purged.dead_letters,
            "purged"
        );
        purged
    }

    /// Whether nobody's time to live runs: what is the endpoint's fault, or somebody's wish, costs no event.
    fn stands_still(&self) -> bool {
        self.paused || self.setup.hold.is_some() || self.fault.is_some()
    }

    /// Lets time-to-live stand still or go on, as things are.
    pub(super) fn update_still(&mut self, now: Instant) {
        if self.is_empty() {
            self.still.forget();
        }
        if self.still.set(self.stands_still(), now) {
            self.note_state(now);
        }
    }

    fn note_state(&self, now: Instant) {
        if let Some(journal) = &self.journal {
            journal.state(self.paused, &self.still, &self.wall(now));
        }
    }
}
