//! What a lane does next.

use super::LaneCore;
use super::health::BeforeSending;
use crate::delivery::action::LaneAction;
use crate::delivery::in_flight::InFlightBatch;
use crate::delivery::lane_journal::LaneJournal;
use crate::delivery::queued_delivery::QueuedDelivery;
use crate::sink::{BatchLimits, EndpointFault};
use crate::user_code::UserSink;
use tokio::time::Instant;

impl LaneCore {
    /// Decides what to do now; `limits` are those of `sink`, just asked for.
    pub(in crate::delivery) fn step(
        &mut self,
        sink: &UserSink,
        limits: Result<BatchLimits, EndpointFault>,
        now: Instant,
    ) -> LaneAction {
        if self.abandoned {
            return LaneAction::End;
        }
        if let Some(awaited) = self.unrecorded.to_await.pop() {
            return LaneAction::AwaitRecord(awaited);
        }
        if !self.setup.sink.is(sink) {
            return LaneAction::OtherSink(self.setup.sink.clone());
        }
        match limits {
            Ok(limits) => self.limits = limits,
            Err(fault) => self.failed_unasked(&fault, now),
        }
        self.decide(now)
    }

    fn decide(&mut self, now: Instant) -> LaneAction {
        if let Some(end) = self.ending(now) {
            return end;
        }
        self.drop_ended_partitions();
        let expiry = self.limit_age(now);
        self.limit_queue(now);
        if let Some(awaited) = self.unrecorded.to_await.pop() {
            return LaneAction::AwaitRecord(awaited);
        }
        if let Some(upload) = self.next_upload(now) {
            return LaneAction::DeadLetterUpload(Box::new(upload));
        }
        let others = earliest([self.retire_at(now), expiry, self.upload_at(now)]);
        if self.paused || self.setup.hold.is_some() {
            return LaneAction::Wait(others);
        }
        let backing_off = self.health.fault.as_ref().map(|fault| fault.until);
        if self.in_flight.len() >= self.in_flight_max() {
            return LaneAction::Wait(others);
        }
        if let Some(until) = backing_off.filter(|until| *until > now) {
            return LaneAction::Wait(earliest([Some(until), others]));
        }
        let room = self.room();
        let due = self.queue.next_due();
        let lingering = self.linger_end();
        let go = due.is_some_and(|due| due <= now)
            || lingering.is_some_and(|end| end <= now || self.queue.fills(self.room_to_fill()));
        if go {
            match self.before_sending() {
                BeforeSending::Probe(probe) => return LaneAction::Probe(probe),
                BeforeSending::Wait => return LaneAction::Wait(others),
                BeforeSending::Nothing => {}
            }
            let batch = self.queue.take(room, now);
            if !batch.is_empty() {
                return LaneAction::Send(self.launch(batch, now));
            }
        }
        // A due delivery whose twin is in flight waits for that outcome, not for a moment.
        let due = due.filter(|due| *due > now);
        let lingering = lingering.filter(|end| *end > now);
        LaneAction::Wait(earliest([due, lingering, others]))
    }

    /// Until when a batch that is not full waits for more; nothing when there is nothing to send.
    ///
    /// A lane that is idle sends at once: what comes seldom would only get older. What comes while a batch is
    /// unanswered, or close behind one, is gathered.
    fn linger_end(&self) -> Option<Instant> {
        let oldest = self.queue.oldest_sendable()?;
        let linger = self.setup.settings.linger;
        let gathered = oldest + linger;
        if !self.in_flight.is_empty() {
            return Some(gathered);
        }
        let behind = self.in_flight.last_sent().map(|sent| sent + linger);
        Some(behind.map_or(oldest, |behind| behind.clamp(oldest, gathered)))
    }

    fn launch(&mut self, batch: Vec<QueuedDelivery>, now: Instant) -> InFlightBatch {
        InFlightBatch {
            epochs: self.begin_flight(&batch),
            is_withheld: false,
            id: self.in_flight.begin(&batch, now),
            sink: self.setup.sink.clone(),
            batch,
            reader: self.journal.as_ref().map(LaneJournal::reader),
            deadline: self.send_time_max(),
            begun: now,
            in_flight_then: self.in_flight.len(),
            epoch: self.epoch,
            spans: self.reports.spans.clone(),
            attempts: None,
        }
    }
}

fn earliest<const N: usize>(moments: [Option<Instant>; N]) -> Option<Instant> {
    moments.into_iter().flatten().min()
}
