//! The storage account: its containers, its key, and what it may hold in all.

use super::call::{check_blob_name, check_container_name};
use super::container::{Blob, BlockSource, Container, ContainerTally, ContentHeaders};
use super::refusal::Refusal;
use crate::broker::lock;
use crate::settings::{Limits, Settings};
use crate::store::{Counts, SettingsError};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
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

#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    key: Mutex<Secret>,
    state: Mutex<State>,
    limits: Limits,
    /// [`PERMIT_BYTES`] each.
    pub(super) bodies: Semaphore,
    requests: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) containers: BTreeMap<String, Container>,
    /// Of all blobs and blocks.
    pub(super) bytes: usize,
    changes: u64,
}

/// A blob to be stored.
#[derive(Debug)]
pub(super) struct NewBlob {
    pub(super) content: Bytes,
    pub(super) blocks: Vec<(String, usize)>,
    pub(super) headers: ContentHeaders,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Account {
    pub(crate) fn new(settings: &Settings, now: Timestamp) -> Result<Self, SettingsError> {
        let limits = settings.limits.clone();
        let permits = limits.blob_body_bytes_max / PERMIT_BYTES + 1;
        let account = Self {
            name: settings.blob_account.clone(),
            key: Mutex::new(settings.blob_account_key.clone()),
            state: Mutex::default(),
            bodies: Semaphore::new((permits * BODIES_MAX).min(Semaphore::MAX_PERMITS)),
            limits,
            requests: AtomicU64::new(0),
        };
        for name in &settings.blob_containers {
            let made = account.create_container(name, BTreeMap::new(), now);
            made.map_err(|refusal| match refusal.status {
                StatusCode::CONFLICT => SettingsError::NameTwice(name.clone()),
                _ => SettingsError::ContainerName(name.clone()),
            })?;
        }
        Ok(account)
    }

    pub(crate) fn key(&self) -> Secret {
        lock(&self.key).clone()
    }

    pub(crate) fn set_key(&self, key: Secret) {
        *lock(&self.key) = key;
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn next_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn tally(&self, container: &str) -> Option<Arc<ContainerTally>> {
        let state = self.state();
        let found = state.containers.get(container)?;
        Some(Arc::clone(&found.tally))
    }

    pub(crate) fn counts(&self, container: &str) -> Counts {
        self.tally(container)
            .map_or_else(Counts::default, |tally| Counts {
                requests: tally.requests.load(Ordering::Relaxed),
                stored: tally.stored.total(),
            })
    }

    /// Waits until a container has stored so many blobs; one that is deleted meanwhile never has.
    pub(crate) async fn reach(&self, container: &str, count: u64) {
        match self.tally(container) {
            Some(tally) => tally.stored.reach(count).await,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn create_container(
        &self,
        name: &str,
        metadata: BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        check_container_name(name)?;
        let mut state = self.state();
        if state.containers.contains_key(name) {
            let text = format!("there is a container {name} already");
            let status = StatusCode::CONFLICT;
            return Err(Refusal::new(status, "ContainerAlreadyExists", text));
        }
        if state.containers.len() >= self.limits.containers_max {
            return Err(Refusal::full());
        }
        let container = Container {
            etag: state.etag(),
            changed: now,
            metadata,
            blobs: BTreeMap::new(),
            uncommitted: std::collections::HashMap::new(),
            tally: Arc::default(),
        };
        state.containers.insert(name.to_owned(), container);
        Ok(())
    }

    pub(crate) fn delete_container(&self, name: &str) -> Result<(), Refusal> {
        let mut state = self.state();
        let container = state.containers.remove(name);
        let container = container.ok_or_else(|| Refusal::container_not_found(name))?;
        state.bytes -= container.bytes();
        Ok(())
    }

    /// Stores a blob as if a client had put it.
    pub(crate) fn put_blob(
        &self,
        container: &str,
        name: &str,
        content: Bytes,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        check_blob_name(name)?;
        let blob = NewBlob {
            content,
            blocks: Vec::new(),
            headers: ContentHeaders::default(),
            metadata: BTreeMap::new(),
        };
        let mut state = self.state();
        state.put(container, name, blob, &self.limits, now)?;
        Ok(())
    }

    /// Containers in the order of their names, with how many blobs each has.
    pub(crate) fn container_counts(&self) -> Vec<(String, usize)> {
        let state = self.state();
        let all = state.containers.iter();
        all.map(|(name, container)| (name.clone(), container.blobs.len()))
            .collect()
    }

    pub(crate) fn blobs(&self, container: &str) -> Option<Vec<StoredBlob>> {
        let state = self.state();
        let blobs = &state.containers.get(container)?.blobs;
        let stored = |(name, blob): (&String, &Blob)| StoredBlob {
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
}

impl State {
    pub(super) fn container(&mut self, name: &str) -> Result<&mut Container, Refusal> {
        let found = self.containers.get_mut(name);
        found.ok_or_else(|| Refusal::container_not_found(name))
    }

    /// A mark that no other change has.
    fn etag(&mut self) -> String {
        self.changes += 1;
        format!("\"0x8D{:012X}\"", self.changes)
    }

    /// Stores a blob in place of what had its name; blocks that waited for it are gone.
    pub(super) fn put(
        &mut self,
        container: &str,
        name: &str,
        new: NewBlob,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<&Blob, Refusal> {
        let etag = self.etag();
        let all = self.bytes;
        let found = self.container(container)?;
        let known = found.blobs.get(name);
        let bytes = all - found.bytes_of(name) + new.content.len();
        let many = known.is_none() && found.blobs.len() >= limits.blobs_per_container_max;
        if bytes > limits.blob_bytes_max || many {
            return Err(Refusal::full());
        }
        let blob = Blob {
            created: known.map_or(now, |known| known.created),
            changed: now,
            content: new.content,
            headers: new.headers,
            metadata: new.metadata,
            blocks: new.blocks,
            etag,
        };
        found.uncommitted.remove(name);
        found.blobs.insert(name.to_owned(), blob);
        found.tally.stored.add(1);
        self.bytes = bytes;
        Ok(&self.containers[container].blobs[name])
    }

    pub(super) fn delete_blob(&mut self, container: &str, name: &str) -> Result<(), Refusal> {
        let found = self.container(container)?;
        let blob = found.blobs.remove(name);
        let blob = blob.ok_or_else(|| Refusal::blob_not_found(name))?;
        self.bytes -= blob.content.len();
        Ok(())
    }

    /// Keeps a block until a list names it; the same identifier again replaces it.
    pub(super) fn put_block(
        &mut self,
        container: &str,
        name: &str,
        identifier: &str,
        content: Bytes,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        let all = self.bytes;
        let found = self.container(container)?;
        let blobs = found.uncommitted.len();
        let blocks = found.uncommitted.get(name);
        let replaced = blocks
            .and_then(|blocks| blocks.get(identifier))
            .map(Bytes::len);
        let bytes = all - replaced.unwrap_or(0) + content.len();
        let new_blob = blocks.is_none() && blobs >= limits.blobs_per_container_max;
        if bytes > limits.blob_bytes_max || new_blob {
            return Err(Refusal::full());
        }
        // "Put Block": all identifiers of a blob have the same length.
        let uneven = blocks.and_then(|blocks| blocks.keys().next());
        if uneven.is_some_and(|known| known.len() != identifier.len()) {
            let text = "the block identifiers of a blob must have one length";
            return Err(Refusal::bad("InvalidBlobOrBlock", text));
        }
        let count = blocks.map_or(0, std::collections::HashMap::len);
        if replaced.is_none() && count >= limits.blocks_per_blob_max {
            let text = format!("a blob has at most {} blocks", limits.blocks_per_blob_max);
            let status = StatusCode::CONFLICT;
            return Err(Refusal::new(status, "BlockCountExceedsLimit", text));
        }
        let blocks = found.uncommitted.entry(name.to_owned()).or_default();
        blocks.insert(identifier.to_owned(), content);
        self.bytes = bytes;
        Ok(())
    }

    /// Joins blocks to a blob's content.
    pub(super) fn join(
        &mut self,
        container: &str,
        name: &str,
        list: &[(BlockSource, String)],
        limits: &Limits,
    ) -> Result<(Bytes, Vec<(String, usize)>), Refusal> {
        let found = self.container(container)?;
        let waiting = found.uncommitted.get(name);
        let known = found.blobs.get(name);
        let mut content = BytesMut::new();
        let mut blocks = Vec::new();
        for (from, identifier) in list {
            let new = || waiting.and_then(|blocks| blocks.get(identifier).cloned());
            let old = || known.and_then(|blob| blob.block(identifier));
            let block = match from {
                BlockSource::Uncommitted => new(),
                BlockSource::Committed => old(),
                BlockSource::Latest => new().or_else(old),
            };
            let Some(block) = block else {
                let text = format!("the blob has no block {identifier}");
                return Err(Refusal::bad("InvalidBlockList", text));
            };
            // A list may name one block many times.
            if content.len() + block.len() > limits.blob_bytes_max {
                return Err(Refusal::full());
            }
            content.extend_from_slice(&block);
            blocks.push((identifier.clone(), block.len()));
        }
        Ok((content.freeze(), blocks))
    }
}
