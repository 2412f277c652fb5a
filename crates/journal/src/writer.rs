//! The thread that owns the log: takes everything that waits, writes it as one group, answers.

use super::JournalFull;
use super::group::{GroupWork, held};
use super::log::{CommitFailure, SegmentLog};
use super::totals::HeldSize;
use super::window::{CommitWindow, MANY};
use std::error::Error as _;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Why nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// What is not settled, and what waits for the disk, would pass the limit.
    #[error(transparent)]
    Full(JournalFull),
    /// What waits for the disk would pass the limit.
    #[error(
        "the journal's disk does not keep up: {} of {} bytes wait for it, {} more do not fit",
        .0.bytes, .0.bytes_max, .0.bytes_new
    )]
    Backlog(JournalFull),
    /// The disk has no room, or does not take writes; it is tried again.
    #[error("the journal cannot be written: {0}")]
    NoRoom(Arc<str>),
    /// An event is longer than the journal can give back, or is for too many lanes.
    #[error("event {index} of the batch has {bytes} bytes; the journal takes {bytes_max}")]
    TooLarge {
        /// Its place in the batch.
        index: usize,
        /// Its bytes in CloudEvents JSON.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A sync failed: nothing is acknowledged until a restart.
    #[error("the journal is poisoned until a restart: {0}")]
    Poisoned(Arc<str>),
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why something that was handed over is not on disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDurable {
    /// The write of its group failed. It counts as never appended, and what is appended later may
    /// go well.
    #[error("the group was abandoned: {0}")]
    Abandoned(Arc<str>),
    /// A sync failed: whether it is on disk is not known.
    #[error("the journal is poisoned until a restart: {0}")]
    Poisoned(Arc<str>),
    /// The journal was closed before.
    #[error("the journal is closed")]
    Closed,
}

/// How the journal does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JournalHealth {
    /// It takes events.
    #[default]
    Ok,
    /// It cannot write, says why, and tries again by itself.
    Full(Arc<str>),
    /// A write or a sync has not ended for longer than it should. It goes on when that does.
    Stalled(Arc<str>),
    /// A sync failed; only a restart helps.
    Poisoned(Arc<str>),
}

/// Resolves when what was handed over is on disk, or is known not to be.
///
/// Dropping it undoes nothing.
#[derive(Debug)]
#[must_use = "appended is not durable"]
pub struct DurableTicket(pub(super) oneshot::Receiver<Result<(), NotDurable>>);

impl DurableTicket {
    /// Waits on a thread of its own.
    ///
    /// # Errors
    /// Why it is not on disk.
    ///
    /// # Panics
    /// Within a tokio runtime's worker.
    pub fn wait(self) -> Result<(), NotDurable> {
        self.0.blocking_recv().unwrap_or(Err(NotDurable::Closed))
    }
}

impl Future for DurableTicket {
    type Output = Result<(), NotDurable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.0).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(NotDurable::Closed)))
    }
}

pub(super) type DurableSender = oneshot::Sender<Result<(), NotDurable>>;

/// Whoever waits may have gone.
fn answer(waiter: DurableSender, result: Result<(), NotDurable>) {
    drop(waiter.send(result));
}

/// What waits for the writer.
#[derive(Default)]
pub(super) struct WriterInbox {
    pub(super) work: GroupWork<DurableSender>,
    pub(super) flushes: Vec<DurableSender>,
    /// Bytes of events that are not on disk.
    pub(super) bytes: u64,
    /// When what nobody waits for is written.
    pub(super) lazy_at: Option<Instant>,
    pub(super) retry_at: Option<Instant>,
    pub(super) health: JournalHealth,
    pub(super) next_sequence: u64,
    pub(super) durable_sequence: u64,
    pub(super) closing: bool,
    /// The writer is gone.
    pub(super) ended: bool,
    /// The writer sleeps and nobody has woken it.
    pub(super) idle: bool,
    pub(super) disk_bytes: u64,
    pub(super) segments: usize,
}

/// Between handles and writer.
#[derive(Default)]
pub(super) struct WriterQueue {
    inbox: Mutex<WriterInbox>,
    wake: Condvar,
}

impl WriterQueue {
    pub(super) fn new(inbox: WriterInbox) -> Self {
        Self {
            inbox: Mutex::new(inbox),
            wake: Condvar::new(),
        }
    }

    /// Every change to the inbox is made at once, so a panic elsewhere leaves it sound.
    pub(super) fn lock(&self) -> MutexGuard<'_, WriterInbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the writer if it sleeps.
    pub(super) fn wake(&self, inbox: &mut WriterInbox) {
        if inbox.idle || inbox.work.batches.len() >= MANY {
            inbox.idle = false;
            self.wake.notify_one();
        }
    }

    fn sleep<'a>(
        &'a self,
        mut inbox: MutexGuard<'a, WriterInbox>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, WriterInbox> {
        inbox.idle = true;
        let mut inbox = match until {
            None => self
                .wake
                .wait(inbox)
                .unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                let woken = self.wake.wait_timeout(inbox, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        inbox.idle = false;
        inbox
    }

    /// As sleep, but nobody is to wake the writer for single appends.
    fn sleep_uninterrupted<'a>(
        &'a self,
        inbox: MutexGuard<'a, WriterInbox>,
        until: Instant,
    ) -> MutexGuard<'a, WriterInbox> {
        let left = until.saturating_duration_since(Instant::now());
        let woken = self.wake.wait_timeout(inbox, left);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Wakes the writer, whatever it waits for.
    pub(super) fn wake_always(&self) {
        self.wake.notify_one();
    }
}

impl WriterInbox {
    /// Takes note of a write that failed.
    pub(super) fn refused(&mut self, failure: &CommitFailure, retry_at: Instant) {
        let reason = reason_of(failure);
        if self.health == JournalHealth::Ok {
            tracing::error!(
                %reason,
                "the journal cannot be written; events are refused until it can"
            );
        }
        self.health = JournalHealth::Full(reason);
        self.retry_at = Some(retry_at);
    }
}

/// What one group takes from the inbox.
struct CommitRound {
    work: GroupWork<DurableSender>,
    flushes: Vec<DurableSender>,
    /// What its batches hold, as long as they count.
    held: HeldSize,
}

pub(super) struct GroupWriter {
    pub(super) shared: Arc<WriterQueue>,
    pub(super) log: SegmentLog,
    pub(super) window: CommitWindow,
    pub(super) settle_delay: Duration,
    pub(super) retry_delay: Duration,
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
            let until = [inbox.lazy_at, inbox.retry_at].into_iter().flatten().min();
            if until.is_some_and(|until| until <= Instant::now()) {
                break;
            }
            inbox = shared.sleep(inbox, until);
        }
        let mut inbox = self.wait_for_batch(&shared, inbox);
        let retry = inbox.retry_at.is_some_and(|at| at <= Instant::now());
        inbox.lazy_at = None;
        let mut work = std::mem::take(&mut inbox.work);
        work.next_sequence = inbox.next_sequence;
        work.close = inbox.closing;
        work.roll = retry;
        let flushes = std::mem::take(&mut inbox.flushes);
        CommitRound {
            held: work.held(),
            work,
            flushes,
        }
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
        let reason = reason_of(&failure);
        if matches!(failure, CommitFailure::Sync { .. }) {
            return Err(self.poison(round, reason));
        }
        let error = NotDurable::Abandoned(Arc::clone(&reason));
        self.note_full(&failure, round.held);
        for batch in round.work.batches.drain(..) {
            answer(batch.waiter, Err(error.clone()));
        }
        round.held = HeldSize::default();
        round.work.roll = false;
        // What is left may fit into the room kept for it, and make room.
        let rest = self.log.commit_rest(&mut round.work);
        if let Err(failure @ CommitFailure::Sync { .. }) = &rest {
            return Err(self.poison(round, reason_of(failure)));
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
        let chores = self.log.has_chores();
        let mut inbox = self.shared.lock();
        inbox.bytes -= round.held.bytes;
        inbox.durable_sequence = round.work.next_sequence;
        if (had_events || round.work.roll) && inbox.health != JournalHealth::Ok {
            inbox.health = JournalHealth::Ok;
            inbox.retry_at = None;
            tracing::info!("the journal can be written again");
        }
        if chores {
            let at = Instant::now() + self.settle_delay;
            inbox.lazy_at.get_or_insert(at);
        }
        self.show_usage(&mut inbox);
        drop(inbox);
        for batch in round.work.batches {
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

    fn note_full(&self, failure: &CommitFailure, abandoned: HeldSize) {
        let mut inbox = self.shared.lock();
        inbox.bytes -= abandoned.bytes;
        self.log.totals.give_back(abandoned);
        inbox.refused(failure, Instant::now() + self.retry_delay);
        self.show_usage(&mut inbox);
    }

    fn show_usage(&self, inbox: &mut WriterInbox) {
        inbox.disk_bytes = self.log.disk_bytes() + self.log.next.bytes();
        inbox.segments = self.log.segments.len();
    }

    /// Keeps what nobody may lose for a later group.
    fn put_back(&self, round: CommitRound, error: &NotDurable) {
        for flush in round.flushes {
            answer(flush, Err(error.clone()));
        }
        let mut inbox = self.shared.lock();
        let mut updates = round.work.updates;
        updates.append(std::mem::take(&mut inbox.work.updates));
        inbox.work.updates = updates;
        inbox.work.reported_cuts = round.work.reported_cuts;
        inbox.lazy_at = inbox.retry_at;
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

/// An error with its causes, in one line.
fn reason_of(failure: &CommitFailure) -> Arc<str> {
    let mut reason = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        write!(reason, ": {error}").expect("a String takes all");
        cause = error.source();
    }
    reason.into()
}
