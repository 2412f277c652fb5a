//! What became of deliveries lately, where the journal is in memory: all that such a router has of a history.
//!
//! Constraints: no bodies; what one step of a lane settles is handed over at once, under one lock; what is over the
//! limits goes, oldest first.

use super::queued_delivery::QueuedDelivery;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::history::HistoryState;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::event::Event;
use twinroute_model::name::{EndpointName, InstanceName};

/// Outcomes that are kept; a few more for a moment.
const OUTCOMES_MAX: usize = 10_000;

/// Bytes of what is kept of their events: ids, sources, types and subjects.
const TEXT_BYTES_MAX: usize = 8 << 20;

/// Outcomes, and bytes of their events, that are handed over together at most.
const RUN_MAX: usize = 1_000;
const RUN_BYTES_MAX: usize = 256 << 10;

/// What a lane keeps room for between two hand-overs, so that it need not grow each time: outcomes, and bytes of text.
const SPARE_OUTCOMES: usize = 128;
const SPARE_BYTES: usize = 16 << 10;

/// The latest outcomes of all lanes. Clones share them.
#[derive(Clone)]
pub(crate) struct RecentOutcomes {
    ring: Arc<Mutex<OutcomeRing>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct OutcomeRing {
    runs: VecDeque<Arc<OutcomeRun>>,
    outcomes: usize,
    text_bytes: usize,
    /// The number that the next outcome gets.
    next: u64,
}

/// Outcomes of one endpoint, or events that no route matched.
#[derive(Clone, Debug)]
pub(crate) struct OutcomeRun {
    /// The number of the first.
    pub(crate) first: u64,
    pub(crate) instance: InstanceName,
    /// None where no route matched.
    pub(crate) endpoint: Option<EndpointName>,
    text: String,
    pub(crate) outcomes: Vec<RecentOutcome>,
}

/// What became of a delivery, or that there is none.
#[derive(Clone, Debug)]
pub(crate) struct RecentOutcome {
    /// 0: no route matched it.
    pub(crate) sequence: u64,
    /// When it was accepted, if that is known here.
    pub(crate) accepted_at: Option<Timestamp>,
    pub(crate) at: Timestamp,
    /// Attempts that failed alone.
    pub(crate) failed_alone: u32,
    pub(crate) state: HistoryState,
    about: Option<EventText>,
}

/// Where the texts of an event stand, one behind the other: where they begin, and their lengths.
#[derive(Clone, Copy, Debug)]
struct EventText {
    start: usize,
    id: usize,
    source: usize,
    event_type: usize,
    subject: Option<usize>,
}

/// What is kept of an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventAbout<'a> {
    pub(crate) id: &'a str,
    pub(crate) source: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) subject: Option<&'a str>,
}

impl std::fmt::Debug for RecentOutcomes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RecentOutcomes")
            .field("outcomes", &self.lock().outcomes)
            .finish_non_exhaustive()
    }
}

impl RecentOutcomes {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            ring: Arc::default(),
            clock: Arc::clone(clock),
        }
    }

    fn lock(&self) -> MutexGuard<'_, OutcomeRing> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept, oldest first.
    pub(crate) fn runs(&self) -> Vec<Arc<OutcomeRun>> {
        self.lock().runs.iter().map(Arc::clone).collect()
    }

    /// Keeps events that no route of an instance matched.
    pub(crate) fn record_unmatched<'a>(
        &self,
        instance: &InstanceName,
        events: impl Iterator<Item = &'a Event>,
    ) {
        let at = self.clock.now();
        let mut run = OutcomeRun::new(instance, None);
        for event in events {
            let outcome = RecentOutcome {
                sequence: 0,
                accepted_at: Some(at),
                at,
                failed_alone: 0,
                state: HistoryState::Unknown,
                about: Some(run.put(event)),
            };
            run.outcomes.push(outcome);
            if run.is_full() {
                self.push(run.take());
            }
        }
        self.push(run);
    }

    fn push(&self, mut run: OutcomeRun) {
        if run.outcomes.is_empty() {
            return;
        }
        let mut ring = self.lock();
        run.first = ring.next;
        ring.next += run.outcomes.len() as u64;
        ring.outcomes += run.outcomes.len();
        ring.text_bytes += run.text.len();
        ring.runs.push_back(Arc::new(run));
        while let Some(oldest) = ring.runs.front() {
            let (outcomes, bytes) = (oldest.outcomes.len(), oldest.text.len());
            if ring.outcomes - outcomes < OUTCOMES_MAX && ring.text_bytes <= TEXT_BYTES_MAX {
                return;
            }
            ring.outcomes -= outcomes;
            ring.text_bytes -= bytes;
            ring.runs.pop_front();
        }
    }
}

impl OutcomeRun {
    fn new(instance: &InstanceName, endpoint: Option<&EndpointName>) -> Self {
        Self {
            first: 0,
            instance: instance.clone(),
            endpoint: endpoint.cloned(),
            text: String::new(),
            outcomes: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.outcomes.len() >= RUN_MAX || self.text.len() >= RUN_BYTES_MAX
    }

    /// Gives what there is, in memory of just its size, and goes on with none.
    fn take(&mut self) -> Self {
        let taken = Self {
            text: self.text.clone(),
            outcomes: self.outcomes.drain(..).collect(),
            ..Self::new(&self.instance, self.endpoint.as_ref())
        };
        self.text.clear();
        self.text.shrink_to(SPARE_BYTES);
        self.outcomes.shrink_to(SPARE_OUTCOMES);
        taken
    }

    fn put(&mut self, event: &Event) -> EventText {
        let start = self.text.len();
        let texts = [event.id(), event.source(), event.event_type()];
        let subject = event.subject();
        for text in texts.into_iter().chain(subject) {
            self.text.push_str(text);
        }
        let [id, source, event_type] = texts.map(str::len);
        EventText {
            start,
            id,
            source,
            event_type,
            subject: subject.map(str::len),
        }
    }

    /// What is kept of the event of an outcome, if it was in memory then.
    pub(crate) fn about(&self, outcome: &RecentOutcome) -> Option<EventAbout<'_>> {
        let text = outcome.about?;
        let (id, rest) = self.text.get(text.start..)?.split_at_checked(text.id)?;
        let (source, rest) = rest.split_at_checked(text.source)?;
        let (event_type, rest) = rest.split_at_checked(text.event_type)?;
        Some(EventAbout {
            id,
            source,
            event_type,
            subject: text.subject.and_then(|length| rest.get(..length)),
        })
    }
}

/// What one lane settled since the last time.
#[derive(Debug)]
pub(crate) struct LaneOutcomes {
    all: RecentOutcomes,
    run: OutcomeRun,
    /// The present moment by both clocks, read once for what is handed over together.
    moment: Option<(Timestamp, Instant)>,
}

impl LaneOutcomes {
    pub(super) fn new(
        all: &RecentOutcomes,
        instance: &InstanceName,
        endpoint: &EndpointName,
    ) -> Self {
        Self {
            all: all.clone(),
            run: OutcomeRun::new(instance, Some(endpoint)),
            moment: None,
        }
    }

    /// Keeps how a delivery stands; of one that is not in the queue any more its event was kept before.
    pub(super) fn record(
        &mut self,
        sequence: u64,
        waiting: Option<&QueuedDelivery>,
        state: HistoryState,
    ) {
        let moment = || (self.all.clock.now(), Instant::now());
        let (at, now) = *self.moment.get_or_insert_with(moment);
        let event = waiting.and_then(|waiting| waiting.event.as_deref());
        let about = event.map(|event| self.run.put(event));
        self.run.outcomes.push(RecentOutcome {
            sequence,
            accepted_at: waiting.map(|waiting| before(at, waiting.age(now))),
            at,
            failed_alone: waiting.map_or(0, |waiting| waiting.attempts),
            state,
            about,
        });
        if self.run.is_full() {
            self.hand_over();
        }
    }

    pub(super) fn hand_over(&mut self) {
        self.moment = None;
        if !self.run.outcomes.is_empty() {
            self.all.push(self.run.take());
        }
    }
}

/// The moment so long before another.
fn before(moment: Timestamp, ago: Duration) -> Timestamp {
    let millis = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_unix_millis(moment.unix_millis().saturating_sub(millis))
}
