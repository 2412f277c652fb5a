//! The containers of a storage account, and what they may hold in all. No clock.

use super::call::check_container_name;
use super::container::{BlobContainer, BlockBlob, BlockSource, ContentHeaders};
use super::refusal::BlobRefusal;
use super::settings::BlobLimits;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use twinroute_model::clock::Timestamp;

/// Containers by name.
#[derive(Debug, Default)]
pub(super) struct AccountContainers {
    all: BTreeMap<String, BlobContainer>,
    /// Of all blobs and blocks.
    bytes: usize,
    changes: u64,
}

/// A blob to be stored.
#[derive(Debug, Default)]
pub(super) struct NewBlob {
    pub(super) content: Bytes,
    pub(super) blocks: Vec<(String, usize)>,
    pub(super) headers: ContentHeaders,
    pub(super) metadata: BTreeMap<String, String>,
}

impl AccountContainers {
    pub(super) fn create(
        &mut self,
        name: &str,
        metadata: BTreeMap<String, String>,
        limits: &BlobLimits,
        now: Timestamp,
    ) -> Result<(), BlobRefusal> {
        check_container_name(name)?;
        if self.all.contains_key(name) {
            let text = format!("there is a container {name} already");
            let status = StatusCode::CONFLICT;
            return Err(BlobRefusal::new(status, "ContainerAlreadyExists", text));
        }
        if self.all.len() >= limits.containers_max {
            return Err(BlobRefusal::full());
        }
        let container = BlobContainer {
            etag: self.etag(),
            changed: now,
            metadata,
            blobs: BTreeMap::new(),
            uncommitted: HashMap::new(),
            arrivals: Arc::default(),
        };
        self.all.insert(name.to_owned(), container);
        Ok(())
    }

    pub(super) fn delete(&mut self, name: &str) -> Result<(), BlobRefusal> {
        let container = self.all.remove(name);
        let container = container.ok_or_else(|| BlobRefusal::container_not_found(name))?;
        self.bytes -= container.bytes();
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&BlobContainer> {
        self.all.get(name)
    }

    /// Containers in the order of their names, with how many blobs each has.
    pub(super) fn counts(&self) -> Vec<(String, usize)> {
        let all = self.all.iter();
        all.map(|(name, container)| (name.clone(), container.blobs.len()))
            .collect()
    }

    pub(super) fn container(&mut self, name: &str) -> Result<&mut BlobContainer, BlobRefusal> {
        let found = self.all.get_mut(name);
        found.ok_or_else(|| BlobRefusal::container_not_found(name))
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
        limits: &BlobLimits,
        now: Timestamp,
    ) -> Result<&BlockBlob, BlobRefusal> {
        let etag = self.etag();
        let all = self.bytes;
        let found = self.container(container)?;
        let known = found.blobs.get(name);
        let bytes = all - found.bytes_of(name) + new.content.len();
        let many = known.is_none() && found.blobs.len() >= limits.blobs_per_container_max;
        if bytes > limits.blob_bytes_max || many {
            return Err(BlobRefusal::full());
        }
        let blob = BlockBlob {
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
        found.arrivals.add_stored(1);
        self.bytes = bytes;
        Ok(&self.all[container].blobs[name])
    }

    pub(super) fn delete_blob(&mut self, container: &str, name: &str) -> Result<(), BlobRefusal> {
        let found = self.container(container)?;
        let blob = found.blobs.remove(name);
        let blob = blob.ok_or_else(|| BlobRefusal::blob_not_found(name))?;
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
        limits: &BlobLimits,
    ) -> Result<(), BlobRefusal> {
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
            return Err(BlobRefusal::full());
        }
        // "Put Block": all identifiers of a blob have the same length.
        let uneven = blocks.and_then(|blocks| blocks.keys().next());
        if uneven.is_some_and(|known| known.len() != identifier.len()) {
            let text = "the block identifiers of a blob must have one length";
            return Err(BlobRefusal::bad("InvalidBlobOrBlock", text));
        }
        let count = blocks.map_or(0, HashMap::len);
        if replaced.is_none() && count >= limits.blocks_per_blob_max {
            let text = format!("a blob has at most {} blocks", limits.blocks_per_blob_max);
            let status = StatusCode::CONFLICT;
            return Err(BlobRefusal::new(status, "BlockCountExceedsLimit", text));
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
        limits: &BlobLimits,
    ) -> Result<(Bytes, Vec<(String, usize)>), BlobRefusal> {
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
                return Err(BlobRefusal::bad("InvalidBlockList", text));
            };
            // A list may name one block many times.
            if content.len() + block.len() > limits.blob_bytes_max {
                return Err(BlobRefusal::full());
            }
            content.extend_from_slice(&block);
            blocks.push((identifier.clone(), block.len()));
        }
        Ok((content.freeze(), blocks))
    }
}
