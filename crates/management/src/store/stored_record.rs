//! A record as it waits in memory and is sealed on disk: its written form, which is a quarter of the size of a record
//! taken apart, and beside it what the table is made of.

use super::record::ResourceRecord;
use std::sync::OnceLock;
use twinroute_model::endpoint::Endpoint;
use twinroute_model::route::Route;
use twinroute_model::secret::Secret;

/// A record, folded. Its text holds secrets, and is zeroed when the last holder lets go.
#[derive(Debug)]
pub(crate) struct StoredRecord {
    written: Secret,
    endpoint: OnceLock<Option<Box<Endpoint>>>,
    route: OnceLock<Option<Box<Route>>>,
}

impl StoredRecord {
    /// Writes a record.
    pub(crate) fn new(record: &ResourceRecord) -> Self {
        Self::of(&record.write()).expect("it was written by this process")
    }

    /// Takes what [`Self::written`] gave; the text itself is not looked at.
    pub(super) fn of(written: &[u8]) -> Option<Self> {
        Some(Self {
            // A copy of just this size: the secret keeps it as it is, and would leave a larger one behind.
            written: Secret::from(std::str::from_utf8(written).ok()?),
            endpoint: OnceLock::new(),
            route: OnceLock::new(),
        })
    }

    /// As it is sealed.
    pub(super) fn written(&self) -> &[u8] {
        self.written.expose().as_bytes()
    }

    /// The record, taken apart.
    pub(crate) fn record(&self) -> ResourceRecord {
        ResourceRecord::read(self.written()).expect("it was read or written by this process")
    }

    /// The endpoint that it defines; `read` is asked once.
    pub(crate) fn endpoint(
        &self,
        read: fn(&ResourceRecord) -> Option<Endpoint>,
    ) -> Option<&Endpoint> {
        let read = || read(&self.record()).map(Box::new);
        self.endpoint.get_or_init(read).as_deref()
    }

    /// The route that it defines; `read` is asked once.
    pub(crate) fn route(&self, read: fn(&ResourceRecord) -> Option<Route>) -> Option<&Route> {
        let read = || read(&self.record()).map(Box::new);
        self.route.get_or_init(read).as_deref()
    }
}
