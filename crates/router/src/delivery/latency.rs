//! A small histogram of durations: eight steps a doubling, so percentiles are within 9 %.

use std::time::Duration;

const STEPS: usize = 8;
const OCTAVES: usize = 32;

/// Counts durations from a microsecond to over an hour. Small until the first.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatencyHistogram {
    counts: Option<Box<BucketCounts>>,
    total: u64,
}

type BucketCounts = [u32; STEPS * OCTAVES];

impl LatencyHistogram {
    /// Counts a duration so many times. When the counts grow large all are halved, so that new ones weigh more.
    pub(crate) fn record(&mut self, duration: Duration, times: u32) {
        const HALVE_AT: u64 = 100_000;
        if times == 0 {
            return;
        }
        let counts = self
            .counts
            .get_or_insert_with(|| Box::new([0; STEPS * OCTAVES]));
        if self.total >= HALVE_AT {
            counts.iter_mut().for_each(|count| *count /= 2);
            self.total = counts.iter().map(|count| u64::from(*count)).sum();
        }
        counts[slot(duration)] += times;
        self.total += u64::from(times);
    }

    /// The duration that `share` (0 to 1) of all stay below, in milliseconds; 0 when there are none.
    pub(crate) fn percentile_ms(&self, share: f64) -> f64 {
        let mut left = (self.total as f64 * share).ceil() as u64;
        for (slot, count) in self
            .counts
            .iter()
            .flat_map(|counts| counts.iter())
            .enumerate()
        {
            let count = u64::from(*count);
            if count >= left && count > 0 {
                return upper_bound_ms(slot);
            }
            left = left.saturating_sub(count);
        }
        0.0
    }
}

fn slot(duration: Duration) -> usize {
    let micros = u64::try_from(duration.as_micros())
        .unwrap_or(u64::MAX)
        .max(1);
    let octave = micros.ilog2() as usize;
    let step = ((micros as f64 / (1_u64 << octave) as f64 - 1.0) * STEPS as f64) as usize;
    (octave * STEPS + step.min(STEPS - 1)).min(STEPS * OCTAVES - 1)
}

fn upper_bound_ms(slot: usize) -> f64 {
    let octave = (1_u64 << (slot / STEPS)) as f64;
    octave * (1.0 + (slot % STEPS + 1) as f64 / STEPS as f64) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_close() {
        let mut histogram = LatencyHistogram::default();
        assert_eq!(histogram.percentile_ms(0.5).to_bits(), 0.0_f64.to_bits());
        for millis in 1..=100 {
            histogram.record(Duration::from_millis(millis), 1);
        }
        for (share, expect) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let found = histogram.percentile_ms(share);
            assert!((found / expect - 1.0).abs() < 0.13, "{share}: {found}");
        }
        histogram.record(Duration::ZERO, 1);
        histogram.record(Duration::MAX, 1);
    }
}
