//! Batches in flight: what a lane knows of each until it is answered.

use super::super::waiting::Waiting;
use crate::sink::Delivery;
use crate::user_code::UserSink;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_retry::journal::Disk;

/// What is known of a batch while it is in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchInFlight {
    /// When the oldest of it came.
    pub(super) came: Instant,
    pub(super) begun: Instant,
}

/// A batch on its way.
pub(in crate::lane) struct Flight {
    pub(in crate::lane) id: u64,
    pub(in crate::lane) sink: UserSink,
    pub(in crate::lane) batch: Vec<Waiting>,
    pub(in crate::lane) deadline: Duration,
    /// Where events that are not in memory are read from.
    pub(in crate::lane) disk: Option<Disk>,
    pub(super) begun: Instant,
    /// Batches in flight when it was sent, itself included.
    pub(super) company: usize,
    pub(super) epoch: u64,
}

impl Flight {
    /// Its events are in memory from here on: how long the disk took is not the endpoint's affair.
    pub(in crate::lane) fn note_read(&mut self, now: Instant) {
        self.begun = now;
    }

    /// Its deliveries whose events are in memory.
    pub(in crate::lane) fn deliveries(&self) -> Vec<Delivery> {
        let delivery = |waiting: &Waiting| {
            let held = waiting.event.as_ref()?;
            Some(Delivery {
                sequence: waiting.sequence,
                event: Arc::clone(held.event()),
                twin: waiting.twin,
                attempts: waiting.attempts,
            })
        };
        self.batch.iter().filter_map(delivery).collect()
    }
}
