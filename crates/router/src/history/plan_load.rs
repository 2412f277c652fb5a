//! The most that came in a second, of events that come nearly in the order of their times.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Seconds that are still counted: events without a route are recorded a little after their neighbours.
const OPEN_SECONDS: usize = 4;

/// Characters of an RFC 3339 time down to the second.
const SECOND_CHARS: usize = "2026-11-22T10:00:00".len();

/// What a destination would get in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationLoad {
    /// Events in the second with most events.
    pub events_per_second: u64,
    /// Bytes in the second with most bytes.
    pub bytes_per_second: u64,
}

/// Finds the second with most.
#[derive(Debug, Default)]
pub(super) struct PeakLoad {
    open: BTreeMap<String, DestinationLoad>,
    peak: DestinationLoad,
}

impl PeakLoad {
    /// Counts an event that was accepted at `time`, RFC 3339 in UTC.
    pub(super) fn add(&mut self, time: &str, bytes: u64) {
        let second = time.get(..SECOND_CHARS).unwrap_or(time);
        if !self.open.contains_key(second) {
            if self.open.len() >= OPEN_SECONDS {
                self.open.pop_first();
            }
            self.open.insert(second.to_owned(), Default::default());
        }
        if let Some(load) = self.open.get_mut(second) {
            load.events_per_second += 1;
            load.bytes_per_second += bytes;
            let peak = &mut self.peak;
            peak.events_per_second = peak.events_per_second.max(load.events_per_second);
            peak.bytes_per_second = peak.bytes_per_second.max(load.bytes_per_second);
        }
    }

    pub(super) fn peak(&self) -> DestinationLoad {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_second_counts_also_when_neighbours_are_mixed() {
        let mut load = PeakLoad::default();
        for (time, bytes) in [
            ("2026-11-22T10:00:00.900Z", 10),
            ("2026-11-22T10:00:01.000Z", 1),
            ("2026-11-22T10:00:00.999Z", 10),
            ("2026-11-22T10:00:01.001Z", 1),
            ("2026-11-22T10:00:01.002Z", 1),
            ("2026-11-22T11:00:00.000Z", 5),
        ] {
            load.add(time, bytes);
        }
        let expect = DestinationLoad {
            events_per_second: 3,
            bytes_per_second: 20,
        };
        assert_eq!(load.peak(), expect);
    }
}
