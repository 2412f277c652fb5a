//! How fast the journal drains: what answers to producers say about when to come back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::UsageGauge;

/// A new rate is taken at most this often.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// The rate at which the journal gives bytes free.
#[derive(Debug)]
pub(crate) struct DrainRate(Mutex<DrainSample>);

#[derive(Debug)]
struct DrainSample {
    at: Instant,
    bytes_released: u64,
    bytes_per_second: f64,
}

impl DrainRate {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(DrainSample {
            at: Instant::now(),
            bytes_released: 0,
            bytes_per_second: 0.0,
        }))
    }

    /// Bytes a second since the last sample, which is about a second old at most while somebody asks.
    pub(crate) fn bytes_per_second(&self, gauge: &UsageGauge) -> f64 {
        let mut sample = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = sample.at.elapsed();
        if passed >= SAMPLE_EVERY {
            let released = gauge.usage().bytes_released;
            let bytes = (released - sample.bytes_released) as f64;
            sample.bytes_per_second = bytes / passed.as_secs_f64();
            sample.bytes_released = released;
            sample.at = Instant::now();
        }
        sample.bytes_per_second
    }
}
