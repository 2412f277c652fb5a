//! Accepting: from a producer's events to the journal and the lanes, and the answer.

use crate::accept::{AcceptError, Accepted, AckLevel};
use crate::admission::{ADMISSION_WAIT_MAX, Admitted};
use crate::awaited::{Awaited, Waiter};
use crate::commit::Commit;
use crate::duplicates::{Duplicates, FirstFailed, Fresh};
use crate::lane::{Arrival, Lane};
use crate::matched::{LaneDeliveries, Matched};
use crate::receipt::{Counts, Receipt};
use crate::router::Router;
use crate::table::{CompiledInstance, MatchScratch};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use twinroute_model::event::Event;
use twinroute_model::name::InstanceName;
use twinroute_retry::journal::{AppendError, DurableTicket, Full, Journal, NewEvent, NotDurable};

/// How long level `delivered` waits unless told otherwise.
const DELIVERED_DEADLINE: Duration = Duration::from_secs(30);

/// When to come back to an endpoint that is full.
const ENDPOINT_FULL_RETRY: Duration = Duration::from_secs(5);

/// Tells when a batch is on disk, and its lanes have it.
pub(crate) type OnDisk = oneshot::Receiver<Result<(), NotDurable>>;

impl Router {
    /// Accepts a batch, whole or not at all, for an instance (`None`: the default one). Level
    /// `delivered` waits for 30 s at most; see [`Self::accept_within`].
    ///
    /// Once this has begun, dropping the future does not undo it.
    ///
    /// # Errors
    /// Why nothing of the batch was kept; after a failed sync of the disk, why that is not known.
    pub async fn accept(
        &self,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
    ) -> Result<Accepted, AcceptError> {
        self.accept_within(instance, events, level, DELIVERED_DEADLINE)
            .await
    }

    /// As [`Self::accept`]; level `delivered` waits no longer than `deadline` for the ends of the
    /// deliveries. What is open then is accepted all the same, and said in the answer.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub async fn accept_within(
        &self,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
        deadline: Duration,
    ) -> Result<Accepted, AcceptError> {
        self.accept_until(instance, events, level, sleep(deadline))
            .await
    }

    /// As [`Self::accept`]; level `delivered` waits for the ends of the deliveries until `until` completes,
    /// or the router has stopped. The other levels never poll `until`.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub async fn accept_until(
        &self,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
        until: impl Future<Output = ()>,
    ) -> Result<Accepted, AcceptError> {
        let bytes = events.iter().map(|event| event.size() as u64).sum();
        let admitted = self.admit(bytes, ADMISSION_WAIT_MAX).await;
        let count = events.len() as u64;
        let admitted = admitted.inspect_err(|_| self.shared.tally.refused(count))?;
        self.accept_admitted(admitted, instance, events, level, until)
            .await
    }

    /// Waits for a turn to bring in about `bytes`, before they are even read: at once while the router does
    /// what it has to, and for at most `wait_max` while it has more to do than it can.
    ///
    /// Nothing is held by waiting. Dropping the future gives the place in the line up.
    ///
    /// # Errors
    /// [`AcceptError::Overloaded`] when there was no turn in time; [`AcceptError::Stopping`].
    pub async fn admit(&self, bytes: u64, wait_max: Duration) -> Result<Admitted, AcceptError> {
        self.shared.admission.admit(bytes, wait_max).await
    }

    /// As [`Self::accept_until`], for whoever waited for a turn already.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub async fn accept_admitted(
        &self,
        admitted: Admitted,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
        until: impl Future<Output = ()>,
    ) -> Result<Accepted, AcceptError> {
        let count = events.len() as u64;
        let result = self.take_in(admitted, instance, events, level).await;
        let (mut accepted, awaited) = result.inspect_err(|_| self.shared.tally.refused(count))?;
        if let Some(awaited) = awaited {
            let mut stopped = self.shared.stopped.subscribe();
            tokio::select! {
                biased;
                () = awaited.0.all() => {}
                () = until => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
            accepted.outcomes = awaited.0.outcomes();
        }
        Ok(accepted)
    }

    /// Accepts as far as the journal goes. Gives what level `delivered` has to wait for.
    async fn take_in(
        &self,
        admitted: Admitted,
        instance: Option<&str>,
        events: Vec<Event>,
        level: AckLevel,
    ) -> Result<(Accepted, Option<Waiter>), AcceptError> {
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err(AcceptError::Stopping);
        }
        self.check_level(level)?;
        let fresh = match &self.shared.duplicates {
            None => None,
            Some(duplicates) => Some(self.claim(duplicates, instance, &events).await?),
        };
        // After whatever there was to wait for, so that the table is the one in use.
        let (compiled, generation) = self.instance(instance)?;
        let mut accepted = Accepted {
            events: events.len(),
            duplicates: 0,
            deliveries: 0,
            unmatched: 0,
            generation,
            outcomes: BTreeMap::new(),
            repeats_earlier: fresh.as_ref().is_some_and(|fresh| fresh.earlier),
        };
        let repeats = fresh.as_ref().map(|fresh| &*fresh.repeats);
        let (matched, scratch) = matching(&compiled, events, repeats, &mut accepted);
        if let Some(full) = matched.refusing(&compiled.lanes) {
            return Err(AcceptError::EndpointFull {
                endpoint: format!("{}/{}", full.instance, full.name),
                retry_after: ENDPOINT_FULL_RETRY,
            });
        }
        let admission = &self.shared.admission;
        admission.charge(&admitted, &matched);
        if matched.has_to_wait(&compiled.lanes) {
            let lanes = &compiled.lanes;
            admission.wait_for_lanes(&admitted, &matched, lanes).await?;
        }
        let awaited = (level == AckLevel::Delivered).then(Waiter::default);
        if let Some(awaited) = &awaited {
            matched.expect(&compiled.lanes, &awaited.0);
        }
        let arrival = Arrival::Matched {
            came: Instant::now(),
            awaited: awaited.as_ref().map(|awaited| Arc::clone(&awaited.0)),
        };
        let tally = Arc::clone(&self.shared.tally);
        let counts = Counts::of(&accepted, tally, Arc::clone(&compiled), scratch);
        let receipt = Receipt {
            counts: Some(Box::new(counts)),
            claim: fresh.map(|fresh| fresh.claim),
        };
        let handed = self.hand_over(&compiled.lanes, matched, level, arrival, receipt);
        let on_disk = handed.await?;
        if let Some(on_disk) = on_disk.filter(|_| level != AckLevel::Memory) {
            let result = on_disk.await.unwrap_or(Err(NotDurable::Closed));
            result.map_err(|error| AcceptError::Journal {
                reason: error.to_string(),
            })?;
        }
        Ok((accepted, awaited))
    }

    /// Finds the duplicates among events, and puts the others on their way.
    async fn claim(
        &self,
        duplicates: &Arc<Duplicates>,
        instance: Option<&str>,
        events: &[Event],
    ) -> Result<Fresh, AcceptError> {
        // Names that differ in case only are one instance.
        let keys = match instance {
            None => duplicates.keys(self.shared.live.default_instance(), events),
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
            reason: "the journal is in memory; use \"memory\" or \"delivered\"",
        })
    }

    /// Appends to the journal and queues for the lanes, in one order for all. A full journal is made room in, while an
    /// endpoint is above its share of it.
    ///
    /// With a journal on disk the lanes get the events once they are there, which the receiver tells. Nothing is
    /// accepted before this returns: what was discarded to make room goes to disk before the events, or with them.
    pub(crate) async fn hand_over(
        &self,
        all: &[Arc<Lane>],
        matched: Matched,
        level: AckLevel,
        arrival: Arrival,
        receipt: Receipt,
    ) -> Result<Option<OnDisk>, AcceptError> {
        if matched.is_empty() {
            receipt.accepted();
            return Ok(None);
        }
        let mut offered = Offered {
            all,
            matched,
            level,
            arrival,
            receipt: Some(receipt),
        };
        let mut turn = None;
        loop {
            let full = match self.offer(&mut offered) {
                Ok(on_disk) => {
                    self.relieve();
                    return Ok(on_disk);
                }
                Err(NotTaken::Full(full)) => full,
                Err(NotTaken::Refused(error)) => return Err(error),
            };
            // Kept until the events are taken, so that the room goes to them.
            if turn.is_none() {
                turn = Some(self.shared.room.turn().await);
            }
            let turn = turn.as_mut().expect("it was just taken");
            if !self.make_room(&full, turn).await {
                return Err(self.full(full));
            }
        }
    }

    /// Has the journal take a batch, if it has room.
    fn offer(&self, offered: &mut Offered<'_>) -> Result<Option<OnDisk>, NotTaken> {
        let mut journal = self.journal();
        // Once more under the lock: lanes that are told to stop must not get another event.
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err(NotTaken::Refused(AcceptError::Stopping));
        }
        match &mut *journal {
            Journal::Memory(memory) => {
                let events = offered.matched.events_mut();
                let entries = memory.append_from(events).map_err(NotTaken::Full)?;
                offered.matched.push(offered.all, entries, &offered.arrival);
                drop(journal);
                offered.take_receipt().accepted();
                Ok(None)
            }
            Journal::Disk(disk) => {
                let bytes = offered.matched.bytes();
                let batch = offered.matched.events_mut();
                let events = batch.len() as u64;
                let appended = disk.append_from(batch).map_err(|error| match error {
                    AppendError::Full(full) => NotTaken::Full(full),
                    error => NotTaken::Refused(self.not_appended(error)),
                })?;
                let mut receipt = offered.take_receipt();
                let mut answered = 0;
                if offered.level == AckLevel::Memory {
                    answered = events;
                    receipt.count();
                }
                let by_lane = offered.matched.by_lane(offered.all, appended.entries);
                let batch = (by_lane, offered.arrival.clone());
                let sent = self.send_on(batch, bytes, appended.durable, answered, receipt);
                sent.map(Some).map_err(NotTaken::Refused)
            }
        }
    }

    /// Appends a dead letter anew for the one endpoint that failed; `of` is its sequence if it is kept here
    /// and was taken from its lane.
    pub(crate) fn put_back(
        &self,
        lane: &Arc<Lane>,
        of: Option<u64>,
        event: Event,
        twin: u64,
        awaited: &Arc<Awaited>,
    ) -> Result<Option<OnDisk>, AcceptError> {
        let arrival = Arrival::Replayed {
            of,
            came: Instant::now(),
            awaited: Arc::clone(awaited),
        };
        let mut journal = self.journal();
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err(AcceptError::Stopping);
        }
        match &mut *journal {
            Journal::Memory(memory) => {
                let entry = match of {
                    // It takes the place of the dead letter, which the lane lets go.
                    Some(_) => memory.exchange(event, twin),
                    None => {
                        let lanes = Vec::new();
                        let appended = memory.append(vec![NewEvent { event, twin, lanes }]);
                        appended.map_err(|full| self.full(full))?.remove(0)
                    }
                };
                lane.push(&[entry], &arrival);
                Ok(None)
            }
            Journal::Disk(disk) => {
                let number = lane.number.ok_or(AcceptError::Stopping)?;
                let bytes = event.size() as u64;
                let appended = disk.replay(number, of, event, twin);
                let appended = appended.map_err(|error| self.not_appended(error))?;
                let deliveries = vec![LaneDeliveries {
                    lane: Arc::clone(lane),
                    entries: appended.entries,
                }];
                let batch = (deliveries, arrival);
                let receipt = Receipt::none();
                self.send_on(batch, bytes, appended.durable, 0, receipt)
                    .map(Some)
            }
        }
    }

    /// Has deliveries go to their lanes once they are on disk. `answered` events were acknowledged
    /// already.
    fn send_on(
        &self,
        (deliveries, arrival): (Vec<LaneDeliveries>, Arrival),
        bytes: u64,
        durable: DurableTicket,
        answered: u64,
        receipt: Receipt,
    ) -> Result<OnDisk, AcceptError> {
        let commits = self.shared.commits.as_ref();
        let commits = commits.expect("a journal on disk comes with a way to the lanes");
        let (done, on_disk) = oneshot::channel();
        let unsynced = self.shared.admission.unsynced(bytes);
        let sent = commits.send(Commit::Batch {
            deliveries,
            arrival,
            durable,
            answered,
            receipt,
            unsynced,
            done,
        });
        sent.map_err(|_| AcceptError::Stopping)?;
        Ok(on_disk)
    }

    fn not_appended(&self, error: AppendError) -> AcceptError {
        match error {
            AppendError::Full(full) => self.full(full),
            AppendError::Backlog(_) => AcceptError::Journal {
                reason: error.to_string(),
            },
            AppendError::TooLarge {
                bytes, bytes_max, ..
            } => AcceptError::TooLarge {
                bytes: bytes as u64,
                bytes_max: bytes_max as u64,
            },
            AppendError::NoRoom(reason) | AppendError::Poisoned(reason) => AcceptError::Journal {
                reason: reason.to_string(),
            },
            AppendError::Closed => AcceptError::Stopping,
        }
    }

    /// Says when there is likely to be room: what does not fit, by the rate at which things settle.
    fn full(&self, full: Full) -> AcceptError {
        if full.bytes_new > full.bytes_max {
            return AcceptError::TooLarge {
                bytes: full.bytes_new,
                bytes_max: full.bytes_max,
            };
        }
        let lacking = (full.bytes + full.bytes_new - full.bytes_max) as f64;
        let rate = self.shared.drain.bytes_per_second(&self.shared.gauge);
        // Nothing drained lately: an endpoint may be back any moment.
        let seconds = if rate > 0.0 { lacking / rate } else { 5.0 };
        AcceptError::Full {
            bytes: full.bytes,
            bytes_max: full.bytes_max,
            retry_after: Duration::from_secs_f64(seconds.clamp(1.0, 60.0)),
        }
    }
}

/// Matches the events of a batch that are no repeats, and counts them all.
fn matching(
    compiled: &CompiledInstance,
    events: Vec<Event>,
    repeats: Option<&[bool]>,
    accepted: &mut Accepted,
) -> (Matched, MatchScratch) {
    let mut scratch = MatchScratch::default();
    let mut matched = Matched::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        if repeats.is_some_and(|repeats| repeats[index]) {
            accepted.duplicates += 1;
            continue;
        }
        compiled.matches(&event, &mut scratch);
        if scratch.lanes.is_empty() {
            accepted.unmatched += 1;
            continue;
        }
        accepted.deliveries += scratch.lanes.len();
        matched.add(event, &scratch.lanes, &compiled.lanes);
    }
    (matched, scratch)
}

/// A batch that the journal has not taken yet.
struct Offered<'a> {
    all: &'a [Arc<Lane>],
    matched: Matched,
    level: AckLevel,
    arrival: Arrival,
    /// Until it is taken.
    receipt: Option<Receipt>,
}

impl Offered<'_> {
    fn take_receipt(&mut self) -> Receipt {
        self.receipt.take().unwrap_or_else(Receipt::none)
    }
}

/// Why the journal did not take a batch.
enum NotTaken {
    /// There may be room when somebody makes it.
    Full(Full),
    Refused(AcceptError),
}
