//! The lane's loop: does what the state decides, and nothing of its own.

use super::Lane;
use super::action::{
    CompletedAction, CredentialProbe, DeadLetterUpload, LaneAction, UploadOutcome,
};
use super::in_flight::InFlightBatch;
use super::partition_shares::AwaitedRecord;
use super::queued_delivery::QueuedDelivery;
use crate::sink::{DeadLetterDocument, EndpointFault, FailureReason, FaultKind};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use twinroute_journal::UnreadableEvent;

/// Starts the loop. It ends when the lane was retired and is empty, and tells `ended`.
pub(crate) fn spawn(lane: Arc<Lane>, ended: Arc<Notify>) -> JoinHandle<()> {
    tokio::spawn(run(lane, ended))
}

async fn run(lane: Arc<Lane>, ended: Arc<Notify>) {
    let mut running: FuturesUnordered<BoxFuture<'static, CompletedAction>> =
        FuturesUnordered::new();
    let mut sink = lane.lock().user_objects().0;
    loop {
        // Outside the lock, which everybody who accepts events needs: it is the program's code.
        let limits = sink.limits();
        let step = lane.lock().step(&sink, limits, Instant::now());
        let until = match step {
            LaneAction::OtherSink(other) => {
                sink = other;
                continue;
            }
            LaneAction::Send(flight) => {
                running.push(send(flight).boxed());
                continue;
            }
            LaneAction::Probe(probe) => {
                running.push(ask(probe).boxed());
                continue;
            }
            LaneAction::DeadLetterUpload(upload) => {
                running.push(store(upload).boxed());
                continue;
            }
            LaneAction::AwaitRecord(awaited) => {
                running.push(recorded(awaited).boxed());
                continue;
            }
            LaneAction::Wait(until) => until,
            LaneAction::End => break,
        };
        // The step may have let go of the last that waited.
        lane.settled.notify_waiters();
        tokio::select! {
            Some(completed) = running.next() => {
                let now = Instant::now();
                match completed {
                    CompletedAction::Batch(mut flight, outcomes) => {
                        // It goes once the lock is free, should it be the last of its sink.
                        let _sink = flight.sink.clone();
                        let mut state = lane.lock();
                        state.end_attempts(&mut flight, &outcomes, now);
                        state.finish(flight, outcomes, now);
                    }
                    CompletedAction::Record(sequence, epoch, is_recorded) => {
                        lane.lock().recorded(sequence, epoch, is_recorded, now);
                    }
                    CompletedAction::Probe(probe, said) => lane.lock().probed(&probe, said, now),
                    CompletedAction::DeadLetterUpload(upload, stored) => lane.lock().uploaded(&upload, stored, now),
                }
                lane.settled.notify_waiters();
            }
            () = lane.wake.notified() => {}
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
        }
    }
    lane.settled.notify_waiters();
    ended.notify_one();
}

/// Sends a batch. No delivery is left without an outcome, whatever the sink does.
async fn send(mut flight: InFlightBatch) -> CompletedAction {
    let some_absent = read_back(&mut flight).await;
    if !flight.may_be_sent() {
        flight.is_withheld = true;
        let outcomes = vec![None; flight.batch.len()];
        return CompletedAction::Batch(flight, outcomes);
    }
    flight.begin_attempts();
    let deliveries = flight.deliveries();
    if deliveries.is_empty() {
        let outcomes = vec![None; flight.batch.len()];
        return CompletedAction::Batch(flight, outcomes);
    }
    let outcomes = flight.sink.send(&deliveries, flight.deadline).await;
    let outcomes = if some_absent {
        let mut sent = outcomes.into_iter();
        let of = |waiting: &QueuedDelivery| waiting.event.as_ref().and_then(|_| sent.next());
        flight.batch.iter().map(of).collect()
    } else {
        outcomes.into_iter().map(Some).collect()
    };
    CompletedAction::Batch(flight, outcomes)
}

/// Waits until an outcome is recorded, or never will be.
async fn recorded(awaited: AwaitedRecord) -> CompletedAction {
    let AwaitedRecord {
        sequence,
        epoch,
        heard,
    } = awaited;
    CompletedAction::Record(sequence, epoch, heard.await.is_ok())
}

/// Asks a destination whether it takes the credential.
async fn ask(probe: CredentialProbe) -> CompletedAction {
    let said = probe.sink.probe(probe.deadline).await;
    CompletedAction::Probe(probe, said)
}

/// Reads the events that are on disk only; true when some are not given back.
async fn read_back(flight: &mut InFlightBatch) -> bool {
    let absent = flight
        .batch
        .iter()
        .filter(|waiting| waiting.event.is_none());
    let sequences: Vec<u64> = absent.map(|waiting| waiting.sequence).collect();
    if sequences.is_empty() {
        return false;
    }
    let Some(reader) = flight.reader.clone() else {
        return true;
    };
    let mut events = reader.read(sequences).await.into_iter();
    flight.note_read(Instant::now());
    let mut some_absent = false;
    for waiting in flight
        .batch
        .iter_mut()
        .filter(|waiting| waiting.event.is_none())
    {
        waiting.event = events.next().flatten();
        some_absent |= waiting.event.is_none();
    }
    some_absent
}

fn unreachable(code: &'static str, detail: &str) -> EndpointFault {
    EndpointFault {
        kind: FaultKind::Unreachable,
        after: None,
        reason: FailureReason::new(code, detail),
    }
}

/// Writes a dead letter to its store, once the journal knows that it is one: then its name is fixed.
async fn store(upload: Box<DeadLetterUpload>) -> CompletedAction {
    if let Some(reader) = &upload.reader
        && let Err(error) = reader.recorded(upload.sequence).await
    {
        let fault = unreachable("journal", &error.to_string());
        return CompletedAction::DeadLetterUpload(upload, UploadOutcome::Failed(fault));
    }
    let event = match (&upload.dead.event, &upload.reader) {
        (Some(held), _) => held.clone(),
        (None, Some(reader)) => match reader.read_one(upload.sequence).await {
            Ok(event) => event,
            Err(reason) => {
                return CompletedAction::DeadLetterUpload(
                    upload,
                    UploadOutcome::Unreadable(reason),
                );
            }
        },
        (None, None) => {
            return CompletedAction::DeadLetterUpload(
                upload,
                UploadOutcome::Unreadable(UnreadableEvent::Settled),
            );
        }
    };
    let letter = DeadLetterDocument {
        instance: &upload.instance,
        endpoint: &upload.endpoint,
        event: &event,
        dead: &upload.dead.about,
        accepted_at: upload.dead.accepted_at,
    };
    let stored = match upload.store.put(letter).await {
        Ok(()) => UploadOutcome::Done,
        Err(fault) => UploadOutcome::Failed(fault),
    };
    CompletedAction::DeadLetterUpload(upload, stored)
}
