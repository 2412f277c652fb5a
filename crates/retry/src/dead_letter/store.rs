//! What is asked of a place that dead letters go to.

use super::document::DeadLetterDocument;
use crate::failure::{EndpointFault, FailureReason, FaultKind};
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetter;
use twinroute_model::event::Event;

/// Where an endpoint's dead letters go.
pub trait DeadLetterStore: Send + Sync + 'static {
    /// Writes one dead letter. It may be written already, when a crash hid the answer: then it is
    /// written once more under another name, or not at all.
    ///
    /// A fault of kind [`FaultKind::Unsupported`] says that this one can never be written; it stays
    /// where it is. Every other fault is the store's, and all are tried again later, for ever.
    /// Dropping the future is harmless.
    fn put<'a>(
        &'a self,
        letter: DeadLetterDocument<'a>,
    ) -> BoxFuture<'a, Result<(), EndpointFault>>;

    /// When the credential ends, if that is known.
    fn expires_at(&self) -> Option<Timestamp>;

    /// Names of what is stored that begin with `prefix`, a page of them; `marker` is where the page before
    /// ended. Needs more rights than writing.
    fn list<'a>(
        &'a self,
        _prefix: &'a str,
        _marker: Option<&'a str>,
    ) -> BoxFuture<'a, Result<StoredPage, EndpointFault>> {
        ready(Err(write_only())).boxed()
    }

    /// Reads what is stored under a name: one dead letter, or several where another program wrote it.
    fn read<'a>(
        &'a self,
        _name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<StoredLetter>, EndpointFault>> {
        ready(Err(write_only())).boxed()
    }
}

/// Several may hold one store.
impl<S: DeadLetterStore + ?Sized> DeadLetterStore for Arc<S> {
    fn put<'a>(
        &'a self,
        letter: DeadLetterDocument<'a>,
    ) -> BoxFuture<'a, Result<(), EndpointFault>> {
        (**self).put(letter)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        (**self).expires_at()
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        marker: Option<&'a str>,
    ) -> BoxFuture<'a, Result<StoredPage, EndpointFault>> {
        (**self).list(prefix, marker)
    }

    fn read<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<StoredLetter>, EndpointFault>> {
        (**self).read(name)
    }
}

fn write_only() -> EndpointFault {
    EndpointFault {
        kind: FaultKind::Unsupported,
        after: None,
        reason: FailureReason::new("write-only", "the dead-letter store cannot be read"),
    }
}

/// Names of stored dead letters.
#[derive(Clone, Debug, Default)]
pub struct StoredPage {
    /// In the store's order, which stays the same.
    pub names: Vec<String>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// A dead letter that was read from its store.
#[derive(Clone, Debug)]
pub struct StoredLetter {
    /// The event.
    pub event: Event,
    /// What is known of it, as far as it was stored.
    pub about: Option<DeadLetter>,
}
