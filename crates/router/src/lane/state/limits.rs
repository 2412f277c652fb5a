//! A lane's limits: what may wait, what a batch may hold, whether more is wanted.

use super::super::queue::{Caps, Room};
use super::State;
use std::sync::atomic::Ordering;
use tokio::time::Instant;
use twinroute_model::settings::WhenFull;

impl State {
    pub(super) fn caps(&self) -> Caps {
        let settings = &self.setup.settings;
        if settings.when_full == WhenFull::Refuse {
            // Refused before they come here.
            return Caps {
                events_max: usize::MAX,
                bytes_max: usize::MAX,
            };
        }
        let bytes_max = usize::try_from(settings.queue_bytes_max.as_u64());
        Caps {
            events_max: settings.queue_events_max,
            bytes_max: bytes_max.unwrap_or(usize::MAX),
        }
    }

    pub(super) fn room(&self) -> Room {
        Room {
            events_max: self.limits.events_max.max(1),
            bytes_max: self.limits.bytes_max,
        }
    }

    /// Keeps what accepting reads up to date.
    pub(super) fn note_fullness(&self, now: Instant) {
        let settings = &self.setup.settings;
        let full = settings.when_full == WhenFull::Refuse && {
            let old = settings.queue_age_limit();
            let old = old.zip(self.queue.oldest());
            self.queue.events() >= settings.queue_events_max
                || self.queue.bytes() as u64 >= settings.queue_bytes_max.as_u64()
                || old.is_some_and(|(most, oldest)| oldest.age(now) >= most)
        };
        self.refusing.store(full, Ordering::Relaxed);
    }
}
