//! A record as it waits in memory: its written form, which is a quarter of the size of a record taken apart,
//! and beside it what the table is made of.

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
    pub(crate) fn new(record: &ResourceRecord) -> Self {
        // Taken out, not copied: the buffer itself becomes the secret.
        let written = std::mem::take(&mut *record.write());
        let written = String::from_utf8(written).expect("JSON is UTF-8");
        Self {
            written: Secret::new(written),
            endpoint: OnceLock::new(),
            route: OnceLock::new(),
        }
    }

    /// The record, taken apart.
    pub(crate) fn record(&self) -> ResourceRecord {
        let record = ResourceRecord::read(self.written.expose().as_bytes());
        record.expect("it was written by this process")
    }

    /// The endpoint that it defines; `read` is asked once.
    pub(crate) fn endpoint(
        &self,
        read: fn(&ResourceRecord) -> Option<Endpoint>,
    ) -> Option<&Endpoint> {
        let endpoint = self
            .endpoint
            .get_or_init(|| read(&self.record()).map(Box::new));
        endpoint.as_deref()
    }

    /// The route that it defines; `read` is asked once.
    pub(crate) fn route(&self, read: fn(&ResourceRecord) -> Option<Route>) -> Option<&Route> {
        let route = self
            .route
            .get_or_init(|| read(&self.record()).map(Box::new));
        route.as_deref()
    }
}
