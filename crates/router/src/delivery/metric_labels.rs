//! Which endpoints have series of their own: a scrape stays bounded however many endpoints there are.

use super::metric_series::{LaneSeries, SeriesOwner};
use super::setup::LaneKey;
use std::collections::HashSet;

/// Gives labels to the first endpoints that ask. Whoever has some keeps them until the process ends, also when the
/// endpoint is removed and comes back: a counter must neither jump nor be given to somebody else.
#[derive(Debug)]
pub(crate) struct MetricLabels {
    endpoints_max: usize,
    has_durations: bool,
    given: HashSet<LaneKey>,
}

impl MetricLabels {
    /// For so many endpoints, with histograms of durations or without.
    pub(crate) fn new(endpoints_max: usize, has_durations: bool) -> Self {
        Self {
            endpoints_max,
            has_durations,
            given: HashSet::new(),
        }
    }

    pub(crate) fn of(&mut self, key: &LaneKey) -> LaneSeries {
        LaneSeries {
            owner: self.owner(key),
            has_durations: self.has_durations,
        }
    }

    fn owner(&mut self, key: &LaneKey) -> SeriesOwner {
        if self.given.contains(key) {
            return SeriesOwner::Endpoint;
        }
        if self.given.len() >= self.endpoints_max {
            return SeriesOwner::Remainder;
        }
        self.given.insert(key.clone());
        SeriesOwner::Endpoint
    }
}
