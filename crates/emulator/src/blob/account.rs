//! The storage account: its containers, its key, and what its requests share.

use super::call::check_blob_name;
use super::container::BlockBlob;
use super::containers::{AccountContainers, NewBlob};
use super::refusal::BlobRefusal;
use super::settings::{BlobLimits, BlobSettings};
use crate::arrivals::{ArrivalCounts, ArrivalTally, TimedOut};
use crate::identity::TokenIssuer;
use crate::lock::lock;
use crate::service_context::ServiceContext;
use crate::settings_error::SettingsError;
use bytes::Bytes;
use http::StatusCode;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Semaphore;
use twinroute_model::clock::Timestamp;
use twinroute_model::secret::Secret;

/// Bodies are let in by this much at a time.
pub(super) const PERMIT_BYTES: usize = 1_024;
/// Bodies that may be under way at once, in bodies of the largest size.
const BODIES_MAX: usize = 4;

/// A blob as a test or a person wants to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its name in the container.
    pub name: String,
    /// Its bytes.
    pub content: Bytes,
    /// Its media type.
    pub content_type: String,
    /// Its metadata; names in lower case, without `x-ms-meta-`.
    pub metadata: BTreeMap<String, String>,
    /// Changes with every change of the blob; with its quotes.
    pub etag: String,
    /// When it was first put.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub changed_at: Timestamp,
}

/// The storage account with its containers and their blobs. It outlives a shutdown.
#[derive(Debug)]
pub struct BlobAccount {
    pub(crate) name: String,
    pub(super) context: ServiceContext,
    pub(super) issuer: Option<Arc<TokenIssuer>>,
    key: Mutex<Secret>,
    containers: Mutex<AccountContainers>,
    pub(super) limits: BlobLimits,
    /// [`PERMIT_BYTES`] each.
    pub(super) bodies: Semaphore,
    requests: AtomicU64,
}

impl BlobAccount {
    /// Entra's tokens are checked by `issuer`, where there is one.
    pub(crate) fn new(
        settings: BlobSettings,
        context: ServiceContext,
        issuer: Option<Arc<TokenIssuer>>,
    ) -> Result<Self, SettingsError> {
        let limits = settings.limits;
        let permits = limits.body_bytes_max / PERMIT_BYTES + 1;
        let now = context.now();
        let mut containers = AccountContainers::default();
        for name in settings.containers {
            let made = containers.create(&name, BTreeMap::new(), &limits, now);
            made.map_err(|refusal| match refusal.status {
                StatusCode::CONFLICT => SettingsError::NameTwice(name),
                _ => SettingsError::ContainerName(name),
            })?;
        }
        Ok(Self {
            name: settings.account,
            context,
            issuer,
            key: Mutex::new(settings.account_key),
            containers: Mutex::new(containers),
            bodies: Semaphore::new((permits * BODIES_MAX).min(Semaphore::MAX_PERMITS)),
            limits,
            requests: AtomicU64::new(0),
        })
    }

    /// Replaces the key; signatures made with the old one are void.
    pub fn set_key(&self, key: Secret) {
        *lock(&self.key) = key;
    }

    /// Makes a container.
    ///
    /// # Panics
    /// When there is one of that name, or the name is not legal.
    pub fn create_container(&self, container: &str) {
        let mut all = self.containers();
        let made = all.create(container, BTreeMap::new(), &self.limits, self.context.now());
        made.unwrap_or_else(|refusal| panic!("container {container}: {refusal:?}"));
    }

    /// Deletes a container with all that is in it.
    ///
    /// # Panics
    /// When there is no such container.
    pub fn delete_container(&self, container: &str) {
        let deleted = self.containers().delete(container);
        deleted.unwrap_or_else(|refusal| panic!("container {container}: {refusal:?}"));
    }

    /// Stores a blob as if a client had put it.
    ///
    /// # Panics
    /// When there is no such container, the name is not legal, or a limit is reached.
    pub fn put_blob(&self, container: &str, name: &str, content: impl Into<Bytes>) {
        let put = self.try_put(container, name, content.into());
        put.unwrap_or_else(|refusal| panic!("blob {name} of {container}: {refusal:?}"));
    }

    fn try_put(&self, container: &str, name: &str, content: Bytes) -> Result<(), BlobRefusal> {
        check_blob_name(name)?;
        let blob = NewBlob {
            content,
            ..NewBlob::default()
        };
        let mut all = self.containers();
        all.put(container, name, blob, &self.limits, self.context.now())?;
        Ok(())
    }

    /// The blobs of a container in the order of their names; `None` when there is no such container.
    #[must_use]
    pub fn blobs(&self, container: &str) -> Option<Vec<StoredBlob>> {
        let all = self.containers();
        let blobs = &all.get(container)?.blobs;
        let stored = |(name, blob): (&String, &BlockBlob)| StoredBlob {
            name: name.clone(),
            content: blob.content.clone(),
            content_type: blob.headers.content_type.clone(),
            metadata: blob.metadata.clone(),
            etag: blob.etag.clone(),
            created_at: blob.created,
            changed_at: blob.changed,
        };
        Some(blobs.iter().map(stored).collect())
    }

    /// How many requests a container had and how often a blob was stored in it, since it was created.
    #[must_use]
    pub fn counts(&self, container: &str) -> ArrivalCounts {
        self.arrivals(container).unwrap_or_default().counts()
    }

    /// Waits until blobs were stored `count` times in a container, overwriting included; a container that is
    /// not there never has.
    ///
    /// # Errors
    /// [`TimedOut`] with what had arrived.
    pub async fn wait_for(
        &self,
        container: &str,
        count: u64,
        wait: Duration,
    ) -> Result<(), TimedOut> {
        let arrivals = self.arrivals(container).unwrap_or_default();
        arrivals.wait_for(container, count, wait).await
    }

    pub(crate) fn key(&self) -> Secret {
        lock(&self.key).clone()
    }

    pub(super) fn next_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn containers(&self) -> MutexGuard<'_, AccountContainers> {
        lock(&self.containers)
    }

    pub(super) fn arrivals(&self, container: &str) -> Option<Arc<ArrivalTally>> {
        let all = self.containers();
        Some(Arc::clone(&all.get(container)?.arrivals))
    }

    /// Containers in the order of their names, with how many blobs each has.
    pub(crate) fn container_counts(&self) -> Vec<(String, usize)> {
        self.containers().counts()
    }
}
