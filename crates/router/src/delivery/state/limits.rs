//! A lane's limits: what may wait, what a batch may hold, whether more is wanted.

use super::LaneCore;
use crate::delivery::backlog::LaneBacklog;
use crate::delivery::queue::{BatchRoom, QueueCaps};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::dead_letter::DeadLetterReason;
use twinroute_model::settings::{EndpointSettings, WhenFull};

/// Bytes that wait in a lane which keeps up: some batches. Above it whoever brings more waits, so that what
/// waits stays in memory (`LANE_MEMORY_MAX`) and far below the cap of its queue.
const BACKLOG_BYTES: usize = 2 << 20;

/// Of the caps of a queue, a lane that keeps up uses so much at most.
const BACKLOG_SHARE: usize = 4;

/// Fewer events than that are no backlog, however small the cap.
const BACKLOG_EVENTS_MIN: usize = 256;

/// An endpoint that answers batches so quickly takes what it is sent. Those that are far away or slow do not.
const PROMPT: Duration = Duration::from_millis(100);

impl LaneCore {
    /// Whether a batch waits, and could be sent now.
    fn could_send(&self) -> bool {
        let takes = !self.paused && self.setup.hold.is_none() && self.health.fault.is_none();
        takes
            && self.queue.fills(self.room_to_fill())
            && self.in_flight.len() < self.in_flight_max()
    }

    /// Lets the oldest go while more waits than may.
    ///
    /// The caps are for what waits for the endpoint. What the lane could send waits for the router alone,
    /// which is no fault of the endpoint's; whoever brings more is kept waiting instead.
    pub(super) fn limit_queue(&mut self, now: Instant) {
        let caps = self.caps();
        while self.queue.is_above(caps) && !self.could_send() {
            match self.queue.evict_oldest() {
                Some(oldest) => self.overflow(oldest, now),
                None => return,
            }
        }
    }

    /// Lets go of what is too old, and says when there will be more of it.
    pub(super) fn limit_age(&mut self, now: Instant) -> Option<Instant> {
        let mut expired = 0_u64;
        let next = loop {
            let Some(oldest) = self.queue.oldest() else {
                break None;
            };
            let settings = &self.setup.settings;
            let age = oldest.age(now);
            let stopped = self
                .ttl_clock
                .total(now)
                .saturating_sub(oldest.ttl_stopped_then);
            let lived = age.saturating_sub(stopped);
            let too_old = settings.queue_age_limit().is_some_and(|most| age >= most);
            // What was never tried is tried once, as Event Grid does: it looks at the time to live at an
            // attempt.
            let was_tried = oldest.attempts > 0;
            if lived >= settings.time_to_live && was_tried {
                let Some(oldest) = self.queue.evict_oldest() else {
                    break None;
                };
                expired += 1;
                self.make_dead_letter(oldest, DeadLetterReason::Expired, None, now);
            } else if too_old && settings.when_full != WhenFull::Refuse {
                let Some(oldest) = self.queue.evict_oldest() else {
                    break None;
                };
                self.overflow(oldest, now);
            } else {
                let dies = (was_tried && !self.ttl_clock.is_stopped())
                    .then(|| settings.time_to_live.saturating_sub(lived));
                let leaves = settings.queue_age_limit().filter(|_| !too_old);
                let leaves = leaves.map(|most| most.saturating_sub(age));
                let soonest = [dies, leaves].into_iter().flatten().min();
                break soonest.map(|wait| now + wait.max(Duration::from_millis(1)));
            }
        };
        if expired > 0 {
            self.hand_over();
            tracing::error!(
                endpoint = self.label,
                count = expired,
                "the time to live of events passed; they are dead letters"
            );
        }
        self.note_fullness(now);
        next
    }

    /// What its backlog means for those who bring more; `before` is what it meant.
    pub(in crate::delivery) fn backlog(&self, before: LaneBacklog) -> LaneBacklog {
        // Once there is too much it has to fall well below that, or everybody would be woken for a little.
        let part = 1 + usize::from(before.makes_wait());
        let most = self.backlog_max();
        let (events_max, bytes_max) = (most.events_max / part, most.bytes_max / part);
        let is_large = |events: usize, bytes: usize| events >= events_max || bytes >= bytes_max;
        if !is_large(self.queue.events(), self.queue.bytes()) {
            return LaneBacklog::Small;
        }
        let sendable = is_large(self.queue.sendable(), self.queue.sendable_bytes());
        if self.paused || self.setup.hold.is_some() || self.health.fault.is_some() || self.ended {
            LaneBacklog::OfEndpoint
        } else if sendable && self.could_send() {
            LaneBacklog::OfRouter
        } else if !sendable && self.queue.retrying() > 0 {
            // Events of the endpoint's failed, and others wait behind them.
            LaneBacklog::OfEndpoint
        } else if self.is_prompt() {
            LaneBacklog::OfPromptEndpoint
        } else {
            LaneBacklog::OfEndpoint
        }
    }

    /// What may wait in a lane that keeps up.
    fn backlog_max(&self) -> QueueCaps {
        let caps = self.caps();
        QueueCaps {
            events_max: (caps.events_max / BACKLOG_SHARE).max(BACKLOG_EVENTS_MIN),
            bytes_max: BACKLOG_BYTES.min(caps.bytes_max / BACKLOG_SHARE),
        }
    }

    /// What is sent without lingering: a full batch, or less where the caps are small.
    pub(super) fn room_to_fill(&self) -> BatchRoom {
        let (room, most) = (self.room(), self.backlog_max());
        BatchRoom {
            events_max: room.events_max.min(most.events_max),
            bytes_max: room.bytes_max.min(most.bytes_max),
        }
    }

    /// Whether the endpoint answers at once, as far as is known.
    fn is_prompt(&self) -> bool {
        let Some(typical) = self.concurrency.typical() else {
            return false;
        };
        let oldest = self.in_flight.longest_open();
        let open = oldest.map_or(Duration::ZERO, |begun| begun.elapsed());
        typical <= PROMPT && open <= 3 * PROMPT
    }

    pub(super) fn caps(&self) -> QueueCaps {
        let settings = &self.setup.settings;
        if settings.when_full == WhenFull::Refuse {
            // Refused before they come here.
            return QueueCaps {
                events_max: usize::MAX,
                bytes_max: usize::MAX,
            };
        }
        let bytes_max = usize::try_from(settings.queue_bytes_max.as_u64());
        QueueCaps {
            events_max: settings.queue_events_max,
            bytes_max: bytes_max.unwrap_or(usize::MAX),
        }
    }

    pub(super) fn room(&self) -> BatchRoom {
        BatchRoom {
            events_max: self.limits.events_max.max(1),
            bytes_max: self.limits.bytes_max,
        }
    }

    /// Batches that may be unanswered now.
    pub(super) fn in_flight_max(&self) -> usize {
        match self.health.fault.is_some() {
            true => 1,
            false => self.concurrency.limit(self.in_flight_cap()),
        }
    }

    /// Whether a queue that was full is far enough from its limits to say so.
    pub(super) fn has_room_again(&self, now: Instant) -> bool {
        let oldest = self.queue.oldest().map(|oldest| oldest.age(now));
        let (queued, bytes) = (self.queue.queued(), self.queue.bytes() as u64);
        is_below_half(&self.setup.settings, queued, bytes, oldest)
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

/// Whether a queue is below half of each of its limits: an endpoint that is slower than its input keeps its queue at
/// one of them, whichever that is, and must not be logged at each batch that comes through.
fn is_below_half(
    settings: &EndpointSettings,
    queued: usize,
    bytes: u64,
    oldest: Option<Duration>,
) -> bool {
    let old = settings.queue_age_limit().zip(oldest);
    queued < settings.queue_events_max / 2
        && bytes < settings.queue_bytes_max.as_u64() / 2
        && old.is_none_or(|(most, age)| age < most / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue of large events is full long before it has many of them: it was logged as full, and as having room, at
    /// each batch.
    #[test]
    fn a_queue_full_by_bytes_or_age_has_no_room_for_having_few_events() {
        let settings =
            EndpointSettings::default().with(|own| own.queue_age_max = Duration::from_secs(60));
        let (events, bytes) = (settings.queue_events_max, settings.queue_bytes_max.as_u64());
        let young = Some(Duration::from_secs(1));
        for (queued, held, oldest, expect) in [
            (10, 1_000, young, true),
            (0, 0, None, true),
            (events / 2, 1_000, young, false),
            (10, bytes, young, false),
            (10, bytes / 2, young, false),
            (10, bytes / 2 - 1, young, true),
            (10, 1_000, Some(Duration::from_secs(59)), false),
            (10, 1_000, Some(Duration::from_secs(30)), false),
        ] {
            let is_below = is_below_half(&settings, queued, held, oldest);
            assert_eq!(is_below, expect, "{queued} {held} {oldest:?}");
        }
        let ageless = EndpointSettings::default();
        assert!(is_below_half(&ageless, 10, 1_000, Some(Duration::MAX)));
    }
}
