//! Dead letters in a container of Azure Blob Storage: what the lanes ask, put to the container.

use super::container::{BlobPage, LetterContainer};
use super::document::DeadLetterDocument;
use super::fault::{StoreFault, StoreFaultKind};
use super::read::{self, ReadBack};
use super::store::{DeadLetterStore, StoredLetter, StoredPage};
use crate::failure::{EndpointFault, FailureReason, FaultKind};
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use std::sync::Arc;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::dead_letter::DeadLetter;
use twinroute_model::event::EventLimits;

/// What a blob of several events may hold.
const READ_LIMITS: EventLimits = EventLimits {
    event_bytes_max: EventLimits::EVENT_BYTES_CEILING,
    batch_events_max: 5_000,
};

/// A container, as a place that dead letters go to.
pub struct BlobStore {
    container: LetterContainer,
    clock: Arc<dyn Clock>,
}

impl BlobStore {
    /// Of a container, with the clock that signatures are judged by.
    #[must_use]
    pub fn new(container: LetterContainer, clock: Arc<dyn Clock>) -> Self {
        Self { container, clock }
    }
}

impl DeadLetterStore for BlobStore {
    fn put<'a>(
        &'a self,
        letter: DeadLetterDocument<'a>,
    ) -> BoxFuture<'a, Result<(), EndpointFault>> {
        let put = async move { self.container.put(&letter, self.clock.now()).await };
        put.map(|put| put.map(drop).map_err(fault)).boxed()
    }

    fn expires_at(&self) -> Option<Timestamp> {
        self.container
            .location()
            .sas()
            .and_then(|sas| sas.expires_at)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        marker: Option<&'a str>,
    ) -> BoxFuture<'a, Result<StoredPage, EndpointFault>> {
        let page = |page: BlobPage| StoredPage {
            names: page.blobs.into_iter().map(|blob| blob.name).collect(),
            next: page.next,
        };
        let list = async move { self.container.list(prefix, marker, self.clock.now()).await };
        list.map(move |listed| listed.map(page).map_err(fault))
            .boxed()
    }

    fn read<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<StoredLetter>, EndpointFault>> {
        async move {
            let blob = self
                .container
                .read(name, self.clock.now())
                .await
                .map_err(fault)?;
            let invalid = |reason: String| EndpointFault {
                kind: FaultKind::Unsupported,
                after: None,
                reason: FailureReason::new("not-a-dead-letter", format!("blob {name}: {reason}")),
            };
            let events = read::parse(&blob.content, &blob.metadata, &READ_LIMITS);
            let events = events.map_err(|problem| invalid(problem.to_string()))?;
            let events = events.into_iter().map(|event| event.map(stored));
            let events: Result<Vec<_>, _> = events.collect();
            events.map_err(|problem| invalid(problem.to_string()))
        }
        .boxed()
    }
}

fn stored(read: ReadBack) -> StoredLetter {
    let known = read.known;
    // What other programs wrote says nothing of our reasons and times.
    let about = known.reason.map(|reason| DeadLetter {
        reason,
        attempts: known.attempts.unwrap_or_default(),
        died_at: known
            .last_attempt_at
            .or(known.accepted_at)
            .unwrap_or(Timestamp::from_unix_millis(0)),
        last_attempt_at: known.last_attempt_at,
        outcome: known.outcome.unwrap_or_default().into(),
    });
    StoredLetter {
        event: read.event,
        about,
    }
}

fn fault(fault: StoreFault) -> EndpointFault {
    let kind = match fault.kind {
        StoreFaultKind::SasExpired | StoreFaultKind::SasNotYetValid | StoreFaultKind::Refused => {
            FaultKind::Unauthorized
        }
        StoreFaultKind::ContainerMissing | StoreFaultKind::BlobMissing => FaultKind::Gone,
        StoreFaultKind::Throttled => FaultKind::Throttled,
        StoreFaultKind::Unavailable => FaultKind::Unreachable,
        StoreFaultKind::Invalid => FaultKind::Unsupported,
    };
    EndpointFault {
        kind,
        after: fault.retry_after,
        reason: FailureReason::new(fault.kind.as_str(), fault.message),
    }
}

/// A `deadLetterUri` that cannot be reached as it is, and why: dead letters wait.
pub struct WaitingStore(pub String);

impl DeadLetterStore for WaitingStore {
    fn put<'a>(
        &'a self,
        _letter: DeadLetterDocument<'a>,
    ) -> BoxFuture<'a, Result<(), EndpointFault>> {
        let reason = format!(
            "`deadLetterUri`: {}; dead letters stay here until then, or until the endpoint has a SAS in \
             `deadLetterSecret`",
            self.0
        );
        let fault = EndpointFault {
            kind: FaultKind::Unauthorized,
            after: None,
            reason: FailureReason::new("no-identity", reason),
        };
        ready(Err(fault)).boxed()
    }

    fn expires_at(&self) -> Option<Timestamp> {
        None
    }
}
