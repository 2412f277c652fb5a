//! Everything that is stored, as of one moment, and the steps in which it changes.

use super::operation::ArmOperation;
use super::record::ResourceRecord;
use super::stored_record::StoredRecord;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use twinroute_model::endpoint::Endpoint;
use twinroute_model::network::{NetworkAccess, PrivateConnection};
use twinroute_model::route::Route;
use uuid::Uuid;

/// Everything, as of one moment.
#[derive(Debug, Default)]
pub(crate) struct StoreState {
    records: BTreeMap<Box<str>, StoredRecord>,
    operations: HashMap<Uuid, Arc<ArmOperation>>,
    /// By the key of their resource, those that run.
    running: HashMap<String, Uuid>,
}

impl StoreState {
    pub(crate) fn get(&self, id: &ResourceId) -> Option<ResourceRecord> {
        self.records
            .get(id.key().as_str())
            .map(StoredRecord::record)
    }

    /// The record that is found by a key.
    pub(crate) fn by_key(&self, key: &str) -> Option<ResourceRecord> {
        self.records.get(key).map(StoredRecord::record)
    }

    pub(crate) fn has(&self, id: &ResourceId) -> bool {
        self.records.contains_key(id.key().as_str())
    }

    /// Those whose keys begin with `prefix` and come behind `after`, in the order of their keys.
    pub(super) fn stored<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a str, &'a StoredRecord)> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = self.records.range::<str, _>((start, Bound::Unbounded));
        range
            .map(|(key, stored)| (&**key, stored))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// The records whose keys begin with `prefix` and come behind `after`, in the order of their keys.
    pub(crate) fn range<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = ResourceRecord> + 'a {
        self.stored(prefix, after)
            .map(|(_, stored)| stored.record())
    }

    /// The keys that begin with `prefix`: what is counted or removed need not be taken apart.
    pub(crate) fn keys<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.stored(prefix, None).map(|(key, _)| key)
    }

    /// The endpoints that records below `prefix` define; `read` is asked once for each record.
    pub(crate) fn endpoints<'a>(
        &'a self,
        prefix: &'a str,
        read: fn(&ResourceRecord) -> Option<Endpoint>,
    ) -> impl Iterator<Item = &'a Endpoint> {
        let stored = self.stored(prefix, None);
        stored.filter_map(move |(_, stored)| stored.endpoint(read))
    }

    /// The routes that records below `prefix` define; `read` is asked once for each record.
    pub(crate) fn routes<'a>(
        &'a self,
        prefix: &'a str,
        read: fn(&ResourceRecord) -> Option<Route>,
    ) -> impl Iterator<Item = &'a Route> {
        let stored = self.stored(prefix, None);
        stored.filter_map(move |(_, stored)| stored.route(read))
    }

    /// All records of a kind.
    pub(crate) fn kind(&self, kind: ResourceKind) -> impl Iterator<Item = ResourceRecord> {
        let prefix = ResourceId::kind_prefix(kind);
        let start = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        let range = self.records.range::<str, _>(start);
        range
            .take_while(move |(key, _)| key.starts_with(&prefix))
            .map(|(_, stored)| stored.record())
    }

    /// The record of a kind that has this name, wherever it is.
    pub(crate) fn named(&self, kind: ResourceKind, name: &str) -> Option<ResourceRecord> {
        let prefix = ResourceId::kind_prefix(kind);
        let mut stored = self.stored(&prefix, None);
        let found = stored.find(|(key, _)| is_named(key, name));
        found.map(|(_, stored)| stored.record())
    }

    /// Whether some resource of a kind has this name, wherever it is.
    pub(crate) fn has_named(&self, kind: ResourceKind, name: &str) -> bool {
        let prefix = ResourceId::kind_prefix(kind);
        self.keys(&prefix).any(|key| is_named(key, name))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = ResourceRecord> {
        self.records.values().map(StoredRecord::record)
    }

    pub(crate) fn operation(&self, id: Uuid) -> Option<&Arc<ArmOperation>> {
        self.operations.get(&id)
    }

    /// All operations, those that have ended too.
    pub(crate) fn operations(&self) -> impl ExactSizeIterator<Item = &Arc<ArmOperation>> {
        self.operations.values()
    }

    /// The operation that runs on a resource, if one does.
    pub(crate) fn running(&self, id: &ResourceId) -> Option<&Arc<ArmOperation>> {
        self.running_on(&id.key())
    }

    /// As [`Self::running`], by the resource's key.
    pub(crate) fn running_on(&self, key: &str) -> Option<&Arc<ArmOperation>> {
        self.operation(*self.running.get(key)?)
    }

    /// From which networks the instance of that record is reached.
    pub(crate) fn network_access(&self, instance: &ResourceRecord) -> NetworkAccess {
        let (access, _) = NetworkAccess::read(&instance.body);
        let prefix = instance.id.children(ResourceKind::Connection);
        let read = |record: ResourceRecord| match record.render() {
            Value::Object(resource) => PrivateConnection::read(&resource),
            _ => None,
        };
        NetworkAccess {
            connections: self.range(&prefix, None).filter_map(read).collect(),
            ..access
        }
    }

    pub(super) fn apply(&mut self, change: StoreChange) {
        match change {
            StoreChange::Put(key, record) => drop(self.records.insert(key, record)),
            StoreChange::Remove(key) => drop(self.records.remove(key.as_str())),
            StoreChange::Note(operation) => self.note(operation),
            StoreChange::Forget(id) => drop(self.operations.remove(&id)),
        }
    }

    fn note(&mut self, operation: ArmOperation) {
        if operation.is_running() {
            self.running.insert(operation.key.clone(), operation.id);
        } else if self.running.get(&operation.key) == Some(&operation.id) {
            self.running.remove(&operation.key);
        }
        self.operations.insert(operation.id, Arc::new(operation));
    }
}

fn is_named(key: &str, name: &str) -> bool {
    let last = key.rsplit('/').next();
    last.is_some_and(|last| last.eq_ignore_ascii_case(name))
}

/// What a change is decided to be: its steps, and what its caller learns; or why it is refused.
pub(crate) type DecidedChange<T> = Result<(Vec<StoreChange>, T), Error>;

/// One step of a change.
#[derive(Debug)]
pub(crate) enum StoreChange {
    /// A record by its key, written once: disk and memory take the same text.
    Put(Box<str>, StoredRecord),
    Remove(String),
    Note(ArmOperation),
    Forget(Uuid),
}

impl StoreChange {
    pub(crate) fn put(record: &ResourceRecord) -> Self {
        Self::Put(record.id.key().into(), StoredRecord::new(record))
    }

    /// The key of the record that it is of, if it is of one.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Put(key, _) => Some(key),
            Self::Remove(key) => Some(key),
            Self::Note(_) | Self::Forget(_) => None,
        }
    }

    /// Whether it may change from which networks an instance is reached.
    pub(super) fn is_of_network(&self) -> bool {
        let mut kinds = [ResourceKind::Instance, ResourceKind::Connection].into_iter();
        self.key()
            .is_some_and(|key| kinds.any(|kind| key.starts_with(&ResourceId::kind_prefix(kind))))
    }
}
