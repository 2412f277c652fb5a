//! Time as the journal counts it: milliseconds for which it was there, however the wall's clock is set.
//!
//! It goes on while a process has the journal open, by a clock that nobody sets. While none has, it goes
//! on too if the machine was not booted since, for then that clock tells how long it was; over a boot
//! nobody can tell, and it stands still. Ages are differences of it, so none comes of a clock that was set.

use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::{Clock, SteadyTime};

/// What the log notes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeRecord {
    /// Journal time, in milliseconds.
    pub(crate) now: u64,
    /// The machine's boot, and milliseconds since then; 0: not known.
    pub(crate) boot: u64,
    pub(crate) since_boot: u64,
}

/// Journal time, as long as it is open.
pub(crate) struct JournalTime {
    clock: Arc<dyn Clock>,
    /// At the opening.
    base: Duration,
    opened: SteadyTime,
}

impl JournalTime {
    /// Goes on from what was recorded last.
    pub(crate) fn after(recorded: TimeRecord, clock: &Arc<dyn Clock>) -> Self {
        let opened = clock.steady();
        let same_boot = recorded.boot != 0 && recorded.boot == opened.boot;
        let between = match same_boot {
            true => millis(opened.since_boot).saturating_sub(recorded.since_boot),
            false => 0,
        };
        Self {
            clock: Arc::clone(clock),
            base: Duration::from_millis(recorded.now.saturating_add(between)),
            opened,
        }
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Duration {
        let now = self.clock.steady();
        self.base + now.since_boot.saturating_sub(self.opened.since_boot)
    }

    /// What is recorded of the present moment.
    pub(crate) fn record(&self) -> TimeRecord {
        let steady = self.clock.steady();
        TimeRecord {
            now: millis(self.now()),
            boot: steady.boot,
            since_boot: millis(steady.since_boot),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
