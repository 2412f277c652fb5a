//! The thread that owns the log: takes everything that waits, writes it as one group, answers.

use super::append_error::{JournalHealth, NotDurable};
use super::commit_failure::CommitFailure;
use super::group::{GroupWork, held};
use super::inbox::{DurableSender, WriterInbox, WriterQueue};
use super::log::SegmentLog;
use super::totals::HeldSize;
use super::window::{CommitWindow, MANY};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

/// How often the history is looked at while nothing is written.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);

/// Whoever waits may have gone.
fn answer(waiter: DurableSender, result: Result<(), NotDurable>) {
    drop(waiter.send(result));
}

/// What one group takes from the inbox.
struct CommitRound {
    work: GroupWork<DurableSender>,
    flushes: Vec<DurableSender>,
    /// What its batches hold, as long as they count.
    held: HeldSize,
    /// Segments up to this one are to be emptied behind it: what it settles need not be carried forward.
    empty_to: u64,
}

pub(super) struct GroupWriter {
    pub(super) shared: Arc<WriterQueue>,
    pub(super) log: SegmentLog,
    pub(super) window: CommitWindow,
    pub(super) settle_delay: Duration,
    pub(super) retry_delay: Duration,
    /// When the history was last looked at with nothing to write.
    pub(super) trimmed_at: Instant,
    /// Held as long as files may be written.
    pub(super) _lock: Box<dyn std::any::Any + Send + Sync>,
}

impl GroupWriter {
    /// Until the journal is closed or a sync fails.
    pub(super) fn run(mut self) -> Result<(), NotDurable> {
        loop {
            let round = self.gather();
            let last = round.work.close;
            let done = self.commit(round);
            if last || matches!(done, Err(NotDurable::Poisoned(_))) {
                return done;
            }
        }
    }

    /// Sleeps until there is something to write, then takes all of it.
    fn gather(&mut self) -> CommitRound {
        let shared = Arc::clone(&self.shared);
        let mut inbox = shared.lock();
        loop {
            let new_lanes =
                !inbox.work.updates.bindings.is_empty() && inbox.health == JournalHealth::Ok;
            let waiting = !inbox.work.batches.is_empty() || !inbox.flushes.is_empty();
            if waiting || new_lanes || inbox.closing {
                break;
            }
            let due = [inbox.lazy_at, inbox.retry_at].into_iter().flatten().min();
            if due.is_some_and(|due| due <= Instant::now()) {
                break;
            }
            let trim_at = (inbox.history_bytes > 0).then(|| self.trimmed_at + TRIM_INTERVAL);
            if trim_at.is_some_and(|at| at <= Instant::now()) {
                drop(inbox);
                inbox = self.trim_history(&shared);
                continue;
            }
            inbox = shared.sleep(inbox, [due, trim_at].into_iter().flatten().min());
        }
        let mut inbox = self.wait_for_batch(&shared, inbox);
        let retry = inbox.retry_at.is_some_and(|at| at <= Instant::now());
        inbox.lazy_at = None;
        let mut work = std::mem::take(&mut inbox.work);
        work.next_sequence = inbox.next_sequence;
        work.close = inbox.closing;
        work.roll = retry;
        if inbox.room.held.is_some() {
            inbox.in_commit = work.updates.outcomes();
        }
        let flushes = std::mem::take(&mut inbox.flushes);
        CommitRound {
            held: work.held(),
            work,
            flushes,
            empty_to: inbox.room.empty_to,
        }
    }

    /// The history grows old while nothing is written, and others may need its room.
    fn trim_history<'a>(&mut self, shared: &'a WriterQueue) -> MutexGuard<'a, WriterInbox> {
        self.log.trim_history();
        self.trimmed_at = Instant::now();
        let mut inbox = shared.lock();
        self.show_usage(&mut inbox);
        inbox
    }

    fn wait_for_batch<'a>(
        &mut self,
        shared: &'a WriterQueue,
        mut inbox: MutexGuard<'a, WriterInbox>,
    ) -> MutexGuard<'a, WriterInbox> {
        let waiting = inbox.work.batches.len();
        if waiting == 0 || inbox.closing || !inbox.flushes.is_empty() {
            return inbox;
        }
        let window = self.window.next(waiting);
        if window.is_zero() {
            return inbox;
        }
        let begun = Instant::now();
        let sleep_to = |mut inbox: MutexGuard<'a, WriterInbox>, end: Instant| {
            while inbox.work.batches.len() < MANY && !inbox.closing && Instant::now() < end {
                inbox = shared.sleep_uninterrupted(inbox, end);
            }
            inbox
        };
        inbox = sleep_to(inbox, begun + window / 2);
        let early = inbox.work.batches.len();
        if early >= MANY {
            return inbox;
        }
        inbox = sleep_to(inbox, begun + window);
        let late = inbox.work.batches.len() - early;
        self.window.came(early, late);
        inbox
    }

    /// Writes a group and answers those who wait.
    fn commit(&mut self, mut round: CommitRound) -> Result<(), NotDurable> {
        let segments = self.log.segments.len();
        let failure = match self.log.commit(&round.work) {
            Ok(()) => {
                self.done(round);
                if self.log.segments.len() < segments {
                    self.try_now();
                }
                return Ok(());
            }
            Err(failure) => failure,
        };
        let reason = failure.reason();
        if matches!(failure, CommitFailure::Sync { .. }) {
            return Err(self.poison(round, reason));
        }
        let error = NotDurable::Abandoned(Arc::clone(&reason));
        self.note_full(&failure, &round);
        for batch in round.work.batches.drain(..) {
            answer(batch.waiter, Err(error.clone()));
        }
        round.held = HeldSize::default();
        round.work.roll = false;
        // Nothing but the history misses them.
        round.work.unmatched.clear();
        round.work.updates.failed.clear();
        // What is left may fit into the room kept for it, and make room.
        let rest = self.log.commit_rest(&mut round.work);
        if let Err(failure @ CommitFailure::Sync { .. }) = &rest {
            return Err(self.poison(round, failure.reason()));
        }
        if self.log.segments.len() < segments {
            self.try_now();
        }
        if rest.is_ok() {
            self.done(round);
            return Ok(());
        }
        self.put_back(round, &error);
        Err(error)
    }

    fn done(&mut self, round: CommitRound) {
        let had_events = !round.work.batches.is_empty();
        let copying = &mut self.log.copying;
        copying.empty_to = copying.empty_to.max(round.empty_to);
        let chores = self.log.has_chores();
        let mut inbox = self.shared.lock();
        inbox.in_commit.clear();
        inbox.bytes -= round.held.bytes;
        inbox.durable_sequence = round.work.next_sequence;
        if (had_events || round.work.roll) && inbox.health != JournalHealth::Ok {
            inbox.health = JournalHealth::Ok;
            inbox.retry_at = None;
            tracing::info!("the journal can be written again");
        }
        if chores {
            let delay = match self.log.next.found_no_room() {
                // They bring some.
                true => Duration::ZERO,
                false => self.settle_delay,
            };
            let at = Instant::now() + delay;
            inbox.lazy_at = Some(inbox.lazy_at.map_or(at, |lazy_at| lazy_at.min(at)));
        }
        self.show_usage(&mut inbox);
        drop(inbox);
        // Whoever waits does so for the first: once it is answered, so are the others.
        for batch in round.work.batches.into_iter().rev() {
            answer(batch.waiter, Ok(()));
        }
        for flush in round.flushes {
            answer(flush, Ok(()));
        }
    }

    /// Segments went: there may be room for a new one, if that was missing.
    fn try_now(&self) {
        let mut inbox = self.shared.lock();
        if matches!(inbox.health, JournalHealth::Full(_)) {
            inbox.retry_at = Some(Instant::now());
        }
    }

    fn note_full(&self, failure: &CommitFailure, round: &CommitRound) {
        let mut inbox = self.shared.lock();
        inbox.in_commit = round.work.updates.outcomes();
        inbox.bytes -= round.held.bytes;
        self.log.totals.give_back(round.held);
        inbox.refused(failure, Instant::now() + self.retry_delay);
        self.show_usage(&mut inbox);
    }

    fn show_usage(&self, inbox: &mut WriterInbox) {
        inbox.disk_bytes = self.log.disk_bytes() + self.log.next.bytes();
        inbox.segments = self.log.segments.len();
        inbox.history_bytes = self.log.history_bytes();
        if inbox.room.follow(&self.log) {
            self.shared.no_room.notify_one();
        }
    }

    /// Keeps what nobody may lose for a later group.
    fn put_back(&self, round: CommitRound, error: &NotDurable) {
        let mut inbox = self.shared.lock();
        let mut updates = round.work.updates;
        updates.append(std::mem::take(&mut inbox.work.updates));
        inbox.work.updates = updates;
        inbox.in_commit.clear();
        inbox.work.reported_cuts = round.work.reported_cuts;
        inbox.lazy_at = inbox.retry_at;
        self.show_usage(&mut inbox);
        drop(inbox);
        for flush in round.flushes {
            answer(flush, Err(error.clone()));
        }
    }

    fn poison(&mut self, round: CommitRound, reason: Arc<str>) -> NotDurable {
        tracing::error!(
            %reason,
            "a sync of the journal failed; nothing is acknowledged until a restart"
        );
        let error = NotDurable::Poisoned(Arc::clone(&reason));
        self.shared.lock().health = JournalHealth::Poisoned(reason);
        for batch in round.work.batches {
            answer(batch.waiter, Err(error.clone()));
        }
        for flush in round.flushes {
            answer(flush, Err(error.clone()));
        }
        error
    }
}

impl Drop for GroupWriter {
    /// Answers who still waits, also when the thread panicked.
    fn drop(&mut self) {
        let (batches, flushes, error) = {
            let mut inbox = self.shared.lock();
            inbox.ended = true;
            if std::thread::panicking() {
                inbox.health = JournalHealth::Poisoned("the journal's writer panicked".into());
            }
            let error = match &inbox.health {
                JournalHealth::Poisoned(reason) => NotDurable::Poisoned(Arc::clone(reason)),
                JournalHealth::Ok | JournalHealth::Full(_) | JournalHealth::Stalled(_) => {
                    NotDurable::Closed
                }
            };
            let batches = std::mem::take(&mut inbox.work.batches);
            self.log.totals.give_back(held(&batches));
            (batches, std::mem::take(&mut inbox.flushes), error)
        };
        for batch in batches {
            answer(batch.waiter, Err(error.clone()));
        }
        for flush in flushes {
            answer(flush, Err(error.clone()));
        }
    }
}
