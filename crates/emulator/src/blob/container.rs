//! What one container holds. No network, no limits over all containers, no clock.

use crate::arrivals::ArrivalTally;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use twinroute_model::clock::Timestamp;

/// A container with its blobs.
#[derive(Debug)]
pub(super) struct BlobContainer {
    pub(super) etag: String,
    pub(super) changed: Timestamp,
    pub(super) metadata: BTreeMap<String, String>,
    /// In the order that listings have.
    pub(super) blobs: BTreeMap<String, BlockBlob>,
    /// Blocks that no list has made part of their blob yet, by blob and identifier.
    pub(super) uncommitted: HashMap<String, HashMap<String, Bytes>>,
    pub(super) arrivals: Arc<ArrivalTally>,
}

/// A block blob.
#[derive(Clone, Debug)]
pub(super) struct BlockBlob {
    pub(super) content: Bytes,
    pub(super) headers: ContentHeaders,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) etag: String,
    pub(super) created: Timestamp,
    pub(super) changed: Timestamp,
    /// Identifier and length of each block, in order; empty when it was put whole.
    pub(super) blocks: Vec<(String, usize)>,
}

/// Where a block list takes a block from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockSource {
    Committed,
    Uncommitted,
    Latest,
}

/// What a blob is handed out with; empty texts are not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ContentHeaders {
    pub(super) content_type: String,
    pub(super) encoding: String,
    pub(super) language: String,
    pub(super) disposition: String,
    pub(super) cache_control: String,
    /// Base64.
    pub(super) md5: String,
}

impl BlobContainer {
    /// Bytes of a blob and of blocks that wait for it.
    pub(super) fn bytes_of(&self, blob: &str) -> usize {
        let content = self.blobs.get(blob).map_or(0, |blob| blob.content.len());
        content + self.uncommitted_bytes_of(blob)
    }

    pub(super) fn uncommitted_bytes_of(&self, blob: &str) -> usize {
        let blocks = self.uncommitted.get(blob);
        blocks.map_or(0, |blocks| blocks.values().map(Bytes::len).sum())
    }

    /// Bytes of everything in it.
    pub(super) fn bytes(&self) -> usize {
        let blobs: usize = self.blobs.values().map(|blob| blob.content.len()).sum();
        let waiting = self.uncommitted.keys();
        let waiting: usize = waiting.map(|name| self.uncommitted_bytes_of(name)).sum();
        blobs + waiting
    }
}

impl BlockBlob {
    /// The bytes of a block that the blob is made of.
    pub(super) fn block(&self, identifier: &str) -> Option<Bytes> {
        let mut start = 0;
        for (known, length) in &self.blocks {
            if known == identifier {
                return Some(self.content.slice(start..start + length));
            }
            start += length;
        }
        None
    }
}
