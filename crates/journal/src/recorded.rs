//! What the journal on disk records for the history alone: it may be lost, and nobody waits for it.

use super::disk::DiskJournal;
use super::group::{BatchOrigin, FailedSend, RoutingSnapshot};
use super::record::{FailedSendFault, LaneId, encode};
use std::sync::Arc;
use twinroute_model::event::Event;

/// Failures that wait for a group at most; more are not recorded.
const FAILED_MAX: usize = 4_096;

/// Bytes of events without a route that wait for a group at most; more are not recorded.
const UNMATCHED_BYTES_MAX: usize = 4 << 20;

/// A longer routing table is not recorded: every segment begins with it.
const TABLE_PART: u64 = 8;

impl DiskJournal {
    /// Whether segments in which everything is settled stay for a while.
    #[must_use]
    pub fn keeps_history(&self) -> bool {
        self.0.settings.keep_bytes > 0
    }

    /// Records the routing table in use from here on: `content` is what the history gives back. One that is longer
    /// than an eighth of a segment is not recorded.
    pub fn record_table(&self, generation: u64, content: Vec<u8>) {
        if !self.keeps_history() {
            return;
        }
        if content.len() as u64 > self.0.settings.segment_bytes / TABLE_PART {
            tracing::warn!(
                generation,
                bytes = content.len(),
                "the routing table is too long for the history, which cannot explain routes of its events"
            );
            return;
        }
        let mut inbox = self.0.shared.lock();
        inbox.work.updates.table = Some(Arc::new(RoutingSnapshot {
            generation,
            content,
        }));
        self.soon(&mut inbox);
    }

    /// Records that deliveries were tried in vain, all with the same outcome.
    pub fn record_failed(
        &self,
        lane: LaneId,
        fault: FailedSendFault,
        text: String,
        sequences: Vec<u64>,
    ) {
        if !self.keeps_history() || sequences.is_empty() {
            return;
        }
        let mut inbox = self.0.shared.lock();
        let failed = &mut inbox.work.updates.failed;
        if failed.len() < FAILED_MAX {
            failed.push(FailedSend {
                lane: lane.0,
                fault,
                text,
                sequences,
            });
            self.soon(&mut inbox);
        }
    }

    /// Records events that no route matched, each with the hash of its twin, as far as there is room for them.
    pub fn record_unmatched(&self, origin: &BatchOrigin, events: &[(Event, u64)]) {
        if !self.keeps_history() || events.is_empty() {
            return;
        }
        let mut frames = Vec::new();
        origin.encode(&mut frames);
        for (event, twin) in events {
            let written = frames.len();
            let encoded = encode::unmatched(&mut frames, self.0.beside_new(), *twin, event);
            if encoded.is_err() {
                frames.truncate(written);
            }
        }
        let mut inbox = self.0.shared.lock();
        let waiting = &mut inbox.work.unmatched;
        if waiting.len() + frames.len() <= UNMATCHED_BYTES_MAX {
            waiting.extend_from_slice(&frames);
            self.soon(&mut inbox);
        }
    }
}
