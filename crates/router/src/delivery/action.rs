//! What a lane's state has its loop do, and what comes back of it.

use super::in_flight::InFlightBatch;
use super::kept_dead_letters::KeptDeadLetter;
use super::lane_reader::LaneReader;
use super::partition_shares::AwaitedRecord;
use crate::sink::{DeliveryOutcome, EndpointFault};
use crate::user_code::{UserSink, UserStore};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::UnreadableEvent;
use twinroute_model::name::{EndpointName, InstanceName};

/// What the loop is to do next.
pub(super) enum LaneAction {
    Send(InFlightBatch),
    /// Ask this one for its limits: it took the place of the one that was asked.
    OtherSink(UserSink),
    Probe(CredentialProbe),
    DeadLetterUpload(Box<DeadLetterUpload>),
    /// Wait until an outcome stands in the shared log.
    AwaitRecord(AwaitedRecord),
    /// Wait for an outcome, a wake-up or this moment.
    Wait(Option<Instant>),
    End,
}

/// What came back of it.
pub(super) enum CompletedAction {
    /// Nothing for an event that the disk did not give back.
    Batch(InFlightBatch, Vec<Option<DeliveryOutcome>>),
    Probe(CredentialProbe, Result<(), EndpointFault>),
    DeadLetterUpload(Box<DeadLetterUpload>, UploadOutcome),
    /// An outcome, by sequence and epoch, and whether it is recorded.
    Record(u64, u64, bool),
}

/// Whether the destination takes the credential is to be asked.
pub(super) struct CredentialProbe {
    pub(super) sink: UserSink,
    pub(super) deadline: Duration,
    pub(super) epoch: u64,
}

/// A dead letter on its way to its store.
pub(super) struct DeadLetterUpload {
    pub(super) sequence: u64,
    pub(super) dead: KeptDeadLetter,
    pub(super) store: UserStore,
    /// Where the event is read from, if it is not in memory.
    pub(super) reader: Option<LaneReader>,
    pub(super) instance: InstanceName,
    pub(super) endpoint: EndpointName,
    pub(super) epoch: u64,
    pub(super) begun: Instant,
}

/// How that went.
pub(super) enum UploadOutcome {
    Done,
    Unreadable(UnreadableEvent),
    Failed(EndpointFault),
}
