//! Accepting: from a producer's events to the journal and the lanes, and the answer.

use super::admission::{ADMISSION_WAIT_MAX, AdmissionGate};
use super::admission_turn::AdmissionTurn;
use super::answer::{AcceptError, AcceptedBatch, AckLevel};
use super::appender::{JournalAppender, durable};
use super::duplicates::{ClaimedBatch, FirstFailed, SharedDuplicateWindow};
use super::matched_batch::MatchedBatch;
use super::receipt::{BatchReceipt, EventTally};
use crate::delivery::{Lane, LaneArrival, TrackedBatch};
use crate::table::{CompiledInstance, LiveTable, MatchScratch};
use crate::tap::{EventTaps, TapBatch, TapOutcome, TapView};
use crate::trace::{BatchTrace, EventTraces, SpanQueue};
use crate::user_code::{EventHooks, MappingFault};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use twinroute_model::event::Event;
use twinroute_model::name::InstanceName;

/// How long level `delivered` waits unless told otherwise.
pub const DELIVERED_DEADLINE: Duration = Duration::from_secs(30);

/// When to come back to an endpoint that is full.
const ENDPOINT_FULL_RETRY: Duration = Duration::from_secs(5);

/// Accepts batches of producers.
pub(crate) struct Acceptor {
    pub(crate) live: Arc<LiveTable>,
    pub(crate) admission: Arc<AdmissionGate>,
    /// Where repeats are to be known.
    pub(crate) duplicates: Option<Arc<SharedDuplicateWindow>>,
    pub(crate) appender: Arc<JournalAppender>,
    /// What the program wants done with events before they are matched.
    pub(crate) hooks: EventHooks,
    /// Whoever watches events pass.
    pub(crate) taps: EventTaps,
    /// Where spans are recorded.
    spans: SpanQueue,
    /// What was accepted since the start.
    pub(crate) tally: Arc<EventTally>,
    /// Whether a stop is over: nobody waits for deliveries any more.
    stopped: watch::Sender<bool>,
}

impl Drop for Acceptor {
    /// Ends the task that gives turns.
    fn drop(&mut self) {
        self.admission.close();
    }
}

impl Acceptor {
    pub(crate) fn new(
        live: Arc<LiveTable>,
        admission: Arc<AdmissionGate>,
        duplicates: Option<Arc<SharedDuplicateWindow>>,
        appender: Arc<JournalAppender>,
        hooks: EventHooks,
    ) -> Self {
        Self {
            taps: live.taps(),
            spans: live.spans(),
            live,
            admission,
            duplicates,
            appender,
            hooks,
            tally: Arc::new(EventTally::new()),
            stopped: watch::Sender::new(false),
        }
    }

    /// Nobody waits for deliveries from here on.
    pub(crate) fn stopped(&self) {
        self.stopped.send_replace(true);
        self.taps.close();
    }

    /// The level that requests get which ask for none: the strongest that the journal gives at once.
    pub(crate) fn default_level(&self) -> AckLevel {
        match (self.appender.is_durable(), self.appender.is_replicated()) {
            (true, _) => AckLevel::Durable,
            (false, true) => AckLevel::Replicated,
            (false, false) => AckLevel::Memory,
        }
    }

    /// Whether the journal gives a level.
    pub(crate) fn gives(&self, level: AckLevel) -> bool {
        match level {
            AckLevel::Memory => true,
            AckLevel::Replicated => self.appender.is_replicated(),
            AckLevel::Durable => self.appender.is_durable(),
            // What became of a delivery its owner knows, which may be another router.
            AckLevel::Delivered => !self.appender.is_replicated(),
        }
    }

    /// As [`Router::accept_until`](crate::Router::accept_until).
    pub(crate) async fn accept_until(
        &self,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
        until: impl Future<Output = ()>,
    ) -> Result<AcceptedBatch, AcceptError> {
        let admitted = self.admitted(&events).await?;
        self.accept_admitted(admitted, instance, events, level, until)
            .await
    }

    /// Waits for the turn of these events.
    pub(crate) async fn admitted(&self, events: &[Event]) -> Result<AdmissionTurn, AcceptError> {
        let bytes = events.iter().map(|event| event.size() as u64).sum();
        let admitted = self.admission.admit(bytes, ADMISSION_WAIT_MAX).await;
        admitted.inspect_err(|_| self.tally.refused.add(events.len() as u64))
    }

    /// As [`Router::accept_admitted`](crate::Router::accept_admitted).
    pub(crate) async fn accept_admitted(
        &self,
        admitted: AdmissionTurn,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
        until: impl Future<Output = ()>,
    ) -> Result<AcceptedBatch, AcceptError> {
        let count = events.len() as u64;
        let result = self.take_in(admitted, instance, events, level).await;
        let (mut accepted, tracked) = result.inspect_err(|_| self.tally.refused.add(count))?;
        if let Some(tracked) = tracked {
            let mut stopped = self.stopped.subscribe();
            // All outcomes first: a batch that is done is answered as done, also when its deadline is
            // over.
            tokio::select! {
                biased;
                () = tracked.0.all() => {}
                () = until => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
            accepted.outcomes = tracked.0.outcomes();
        }
        Ok(accepted)
    }

    /// Accepts as far as the journal goes. Gives what level `delivered` has to wait for.
    async fn take_in(
        &self,
        admitted: AdmissionTurn,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
    ) -> Result<(AcceptedBatch, Option<TrackedBatch>), AcceptError> {
        if self.appender.is_stopping() {
            return Err(AcceptError::Stopping);
        }
        self.check_level(level)?;
        let fresh = match &self.duplicates {
            None => None,
            Some(duplicates) => Some(self.claim(duplicates, instance, &events).await?),
        };
        // After whatever there was to wait for, so that the table is the one in use.
        let (compiled, generation) = self.instance(instance)?;
        let repeats_earlier = fresh.as_ref().is_some_and(|fresh| fresh.earlier);
        let mut accepted = uncounted(events.len(), generation, repeats_earlier);
        let repeats = fresh.as_ref().map(|fresh| &*fresh.repeats);
        // The one thing that a tap costs while there is none.
        let instance = instance.unwrap_or_else(|| self.live.default_instance().as_str());
        let watched = self.taps.batch(admitted.begun);
        let watched = watched.map(|watched| (instance, watched));
        let mut observers = BatchObservers {
            watched,
            trace: admitted.begin_trace(&self.spans, &compiled.name),
        };
        let matching = (&*compiled, &mut observers);
        let (mut matched, scratch) = self.matching(matching, events, repeats, &mut accepted)?;
        let BatchObservers { watched, mut trace } = observers;
        matched.origin = admitted.origin(generation, &compiled.name);
        let unmatched = std::mem::take(&mut matched.unmatched);
        let origin = matched.origin.clone();
        let lanes = &compiled.lanes;
        check_endpoints(&matched, lanes)?;
        self.admission.charge(&admitted, &matched);
        if matched.has_to_wait(lanes) {
            self.admission
                .wait_for_lanes(&admitted, &matched, lanes)
                .await?;
        }
        let tracked = (level == AckLevel::Delivered).then(TrackedBatch::default);
        if let Some(tracked) = &tracked {
            matched.expect(lanes, &tracked.0);
        }
        let arrival = LaneArrival::Matched {
            came: Instant::now(),
            traces: match &mut trace {
                Some(trace) => trace.traces(),
                None => EventTraces::new(admitted.trace(), Vec::new()),
            },
            tracker: tracked.as_ref().map(|tracked| Arc::clone(&tracked.0)),
        };
        let mut receipt = BatchReceipt::new(
            &accepted,
            Arc::clone(&self.tally),
            (Arc::clone(&compiled), scratch),
            fresh.map(|fresh| fresh.claim),
            trace,
        );
        let appended = self
            .appender
            .append(lanes, matched, level, arrival, &mut receipt);
        let on_disk = appended.await?;
        if let Some((_, watched)) = watched {
            watched.publish();
        }
        self.appender.record_unmatched(&origin, &unmatched);
        if let Some(on_disk) = on_disk.filter(|_| level != AckLevel::Memory) {
            durable(on_disk, self.appender.is_replicated()).await?;
        }
        Ok((accepted, tracked))
    }

    /// Finds the duplicates among events, and puts the others on their way.
    async fn claim(
        &self,
        duplicates: &Arc<SharedDuplicateWindow>,
        instance: Option<&str>,
        events: &[Event],
    ) -> Result<ClaimedBatch, AcceptError> {
        // Names that differ in case only are one instance.
        let keys = match instance {
            None => duplicates.keys(self.live.default_instance(), events),
            Some(name) => match InstanceName::new(name) {
                Ok(name) => duplicates.keys(&name, events),
                Err(_) => return Err(self.unknown_instance(name)),
            },
        };
        let fresh = duplicates.claim(&keys).await;
        fresh.map_err(|FirstFailed| AcceptError::FirstFailed)
    }

    fn check_level(&self, level: AckLevel) -> Result<(), AcceptError> {
        if self.gives(level) {
            return Ok(());
        }
        Err(AcceptError::AckUnavailable {
            level: level.as_str(),
            reason: match (level, self.appender.is_replicated()) {
                (AckLevel::Delivered, true) => {
                    "another router of the cluster may be the one that delivers; use \"replicated\" or \"durable\""
                }
                (_, true) => {
                    "not every node of the cluster's log syncs before it answers; use \"replicated\""
                }
                (AckLevel::Replicated, false) if self.appender.is_durable() => {
                    "this router shares its journal with no other; use \"durable\""
                }
                (_, false) => "the journal is in memory; use \"memory\" or \"delivered\"",
            },
        })
    }

    /// An instance that is in the table in use, and the generation of that.
    pub(crate) fn instance(
        &self,
        name: Option<&str>,
    ) -> Result<(Arc<CompiledInstance>, u64), AcceptError> {
        let table = self.live.table();
        let parsed;
        let key = match name {
            None => Some(self.live.default_instance()),
            Some(name) => {
                parsed = InstanceName::new(name).ok();
                parsed.as_ref()
            }
        };
        match key.and_then(|key| table.instances.get(key)) {
            Some(compiled) => Ok((Arc::clone(compiled), table.generation)),
            None => Err(self.unknown_instance(name.unwrap_or_default())),
        }
    }

    /// Refuses a name that is not in the table.
    pub(crate) fn unknown_instance(&self, name: &str) -> AcceptError {
        let table = self.live.table();
        let mut known: Vec<&str> = table.instances.keys().map(InstanceName::as_str).collect();
        known.sort_unstable();
        AcceptError::UnknownInstance {
            name: name.to_owned(),
            known: known.join(", "),
        }
    }

    /// Matches the events of a batch that are no repeats, and counts them all.
    fn matching(
        &self,
        (compiled, observers): (&CompiledInstance, &mut BatchObservers<'_>),
        events: Vec<Event>,
        repeats: Option<&[bool]>,
        accepted: &mut AcceptedBatch,
    ) -> Result<(MatchedBatch, MatchScratch), AcceptError> {
        let mut scratch = MatchScratch::with_capacity(events.len());
        let mut matched = MatchedBatch::with_capacity(events.len());
        for (index, event) in events.into_iter().enumerate() {
            if repeats.is_some_and(|repeats| repeats[index]) {
                accepted.duplicates += 1;
                continue;
            }
            let mapped = self.hooks.mapped(event);
            let mapped =
                mapped.map_err(|MappingFault(reason)| AcceptError::Mapping { index, reason })?;
            let Some(mapped) = mapped else {
                accepted.dropped += 1;
                continue;
            };
            accepted.changed += usize::from(mapped.is_changed);
            let event = mapped.event;
            let before = scratch.matched_count();
            compiled.matches(&event, &mut scratch);
            if let Some(watched) = &mut observers.watched {
                let outcome = match scratch.lanes.is_empty() {
                    true => TapOutcome::Unmatched,
                    false => TapOutcome::Accepted,
                };
                if watched.1.admits(outcome) {
                    watch(watched, compiled, (&event, outcome), (&scratch, before));
                }
            }
            if let Some(trace) = &mut observers.trace {
                let goes_on = !scratch.lanes.is_empty();
                trace.add(&event, goes_on.then(|| matched.len()));
            }
            if scratch.lanes.is_empty() {
                accepted.unmatched += 1;
                if self.appender.keeps_history() {
                    let order_key = self.hooks.order_key(&event);
                    matched.unmatched.push((event, order_key));
                }
                continue;
            }
            accepted.deliveries += scratch.lanes.len();
            let order_key = self.hooks.order_key(&event);
            matched.add(event, order_key, &scratch.lanes, &compiled.lanes);
        }
        Ok((matched, scratch))
    }

    /// An event as it would be matched; none if the program drops it.
    pub(crate) fn mapped(&self, event: &Event) -> Result<Option<Event>, AcceptError> {
        let mapped = self.hooks.mapped(event.clone());
        let mapped =
            mapped.map_err(|MappingFault(reason)| AcceptError::Mapping { index: 0, reason })?;
        Ok(mapped.map(|mapped| mapped.event))
    }
}

/// A batch of so many events, before they are matched.
fn uncounted(events: usize, generation: u64, repeats_earlier: bool) -> AcceptedBatch {
    AcceptedBatch {
        events,
        duplicates: 0,
        changed: 0,
        dropped: 0,
        deliveries: 0,
        unmatched: 0,
        generation,
        outcomes: BTreeMap::new(),
        repeats_earlier,
    }
}

/// Refuses a batch that is for an endpoint which is full, and whose settings say so.
fn check_endpoints(matched: &MatchedBatch, lanes: &[Arc<Lane>]) -> Result<(), AcceptError> {
    match matched.refusing(lanes) {
        None => Ok(()),
        Some(full) => Err(AcceptError::EndpointFull {
            endpoint: format!("{}/{}", full.instance, full.name),
            retry_after: ENDPOINT_FULL_RETRY,
        }),
    }
}

/// Who sees the events of a batch while they are matched.
struct BatchObservers<'a> {
    watched: Option<WatchedBatch<'a>>,
    trace: Option<Box<BatchTrace>>,
}

/// What is shown of a batch once it is accepted, and its instance.
type WatchedBatch<'a> = (&'a str, TapBatch<'a>);

/// Puts an event that was just matched with what is shown once it is accepted.
#[cold]
fn watch(
    (instance, watched): &mut WatchedBatch<'_>,
    compiled: &CompiledInstance,
    (event, outcome): (&Event, TapOutcome),
    (scratch, before): (&MatchScratch, usize),
) {
    let lanes = scratch.lanes.iter();
    let lanes = lanes.map(|lane| &compiled.lanes[*lane as usize]);
    let endpoints: Vec<&str> = lanes.map(|lane| lane.name.as_str()).collect();
    let routes = compiled.matched_since(scratch, before);
    let routes: Vec<&str> = routes.map(|route| route.definition.id.as_str()).collect();
    watched.add(&TapView {
        instance,
        endpoints: &endpoints,
        routes: &routes,
        sequence: None,
        event: Some(event),
        outcome,
        reason: "",
    });
}
