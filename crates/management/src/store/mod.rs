//! What is stored: all resources and operations, in memory and, sealed, on disk.
//!
//! One writer at a time decides on the present state, has the change made durable, and only then changes
//! memory: whoever was answered finds what it was told, also after a crash.

pub(crate) mod disk;
mod hidden;
mod kept;
pub(crate) mod masks;
pub(crate) mod record;
pub(crate) mod unknown;

use crate::arm::error::Error;
use crate::arm::id::{Kind, ResourceId};
use crate::definitions;
use crate::operations::Operation;
use disk::Disk;
use kept::Kept;
use record::Record;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::watch;
use twinroute_listen::Network;
use twinroute_model::endpoint::Endpoint;
use twinroute_model::name::InstanceName;
use twinroute_model::route::Route;
use uuid::Uuid;

/// Everything, as of one moment.
#[derive(Debug, Default)]
pub(crate) struct State {
    records: BTreeMap<Box<str>, Kept>,
    operations: HashMap<Uuid, Arc<Operation>>,
    /// By the key of their resource, those that run.
    running: HashMap<String, Uuid>,
}

impl State {
    pub(crate) fn get(&self, id: &ResourceId) -> Option<Record> {
        self.records.get(id.key().as_str()).map(Kept::record)
    }

    /// The record that is found by a key.
    pub(crate) fn by_key(&self, key: &str) -> Option<Record> {
        self.records.get(key).map(Kept::record)
    }

    pub(crate) fn has(&self, id: &ResourceId) -> bool {
        self.records.contains_key(id.key().as_str())
    }

    /// Those whose keys begin with `prefix` and come behind `after`, in the order of their keys.
    fn kept<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a str, &'a Kept)> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = self.records.range::<str, _>((start, Bound::Unbounded));
        range
            .map(|(key, kept)| (&**key, kept))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// The records whose keys begin with `prefix` and come behind `after`, in the order of their keys.
    pub(crate) fn range<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = Record> + 'a {
        self.kept(prefix, after).map(|(_, kept)| kept.record())
    }

    /// The keys that begin with `prefix`: what is counted or removed need not be taken apart.
    pub(crate) fn keys<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.kept(prefix, None).map(|(key, _)| key)
    }

    /// The endpoints that records below `prefix` define; `read` is asked once for each record.
    pub(crate) fn endpoints<'a>(
        &'a self,
        prefix: &'a str,
        read: fn(&Record) -> Option<Endpoint>,
    ) -> impl Iterator<Item = &'a Endpoint> {
        let kept = self.kept(prefix, None);
        kept.filter_map(move |(_, kept)| kept.endpoint(read))
    }

    /// The routes that records below `prefix` define; `read` is asked once for each record.
    pub(crate) fn routes<'a>(
        &'a self,
        prefix: &'a str,
        read: fn(&Record) -> Option<Route>,
    ) -> impl Iterator<Item = &'a Route> {
        let kept = self.kept(prefix, None);
        kept.filter_map(move |(_, kept)| kept.route(read))
    }

    /// All records of a kind.
    pub(crate) fn kind(&self, kind: Kind) -> impl Iterator<Item = Record> {
        let prefix = ResourceId::kind_prefix(kind);
        let start = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        let range = self.records.range::<str, _>(start);
        range
            .take_while(move |(key, _)| key.starts_with(&prefix))
            .map(|(_, kept)| kept.record())
    }

    /// The record of a kind that has this name, wherever it is.
    pub(crate) fn named(&self, kind: Kind, name: &str) -> Option<Record> {
        let prefix = ResourceId::kind_prefix(kind);
        let last = |key: &str| {
            key.rsplit('/')
                .next()
                .is_some_and(|last| last.eq_ignore_ascii_case(name))
        };
        let mut kept = self.kept(&prefix, None);
        let found = kept.find(|(key, _)| last(key));
        found.map(|(_, kept)| kept.record())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Record> {
        self.records.values().map(Kept::record)
    }

    pub(crate) fn operation(&self, id: Uuid) -> Option<&Arc<Operation>> {
        self.operations.get(&id)
    }

    /// All operations, those that have ended too.
    pub(crate) fn operations(&self) -> impl ExactSizeIterator<Item = &Arc<Operation>> {
        self.operations.values()
    }

    /// The operation that runs on a resource, if one does.
    pub(crate) fn running(&self, id: &ResourceId) -> Option<&Arc<Operation>> {
        self.operation(*self.running.get(&id.key())?)
    }

    fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put(record) => {
                    let key = record.id.key().into_boxed_str();
                    self.records.insert(key, Kept::new(&record));
                }
                Change::Remove(key) => {
                    self.records.remove(key.as_str());
                }
                Change::Note(operation) => self.note(operation),
                Change::Forget(id) => drop(self.operations.remove(&id)),
            }
        }
    }
}

impl State {
    fn note(&mut self, operation: Operation) {
        if operation.is_running() {
            self.running.insert(operation.key.clone(), operation.id);
        } else if self.running.get(&operation.key) == Some(&operation.id) {
            self.running.remove(&operation.key);
        }
        self.operations.insert(operation.id, Arc::new(operation));
    }
}

/// One step of a change.
#[derive(Debug)]
pub(crate) enum Change {
    Put(Record),
    Remove(String),
    Note(Operation),
    Forget(Uuid),
}

impl Change {
    /// Whether it may change from which networks an instance is reached.
    fn is_of_network(&self) -> bool {
        const KINDS: [Kind; 2] = [Kind::Instance, Kind::Connection];
        match self {
            Self::Put(record) => KINDS.contains(&record.id.kind),
            Self::Remove(key) => KINDS
                .iter()
                .any(|kind| key.starts_with(&ResourceId::kind_prefix(*kind))),
            Self::Note(_) | Self::Forget(_) => false,
        }
    }
}

fn publish(state: &State, network: &Network) {
    let instances = state.kind(Kind::Instance).filter_map(|record| {
        let name = InstanceName::new(&record.id.name).ok()?;
        Some((name, definitions::network(state, &record)))
    });
    let instances: Vec<_> = instances.collect();
    network.set(instances.iter().map(|(name, access)| (name, access)));
}

/// Where changes go beside memory.
enum Backing {
    Disk(Box<Disk>),
    /// Nowhere: what is shown belongs to another source, which this text names.
    Mirror(String),
    Memory,
}

/// The store. Shared by reference.
pub(crate) struct Store {
    state: RwLock<State>,
    /// From which networks the instances are reached; as current as `state`.
    network: Network,
    backing: Backing,
    writing: Mutex<()>,
    changes: watch::Sender<u64>,
}

impl Store {
    /// Opens what is on disk.
    pub(crate) fn on_disk(disk: Disk) -> Result<Self, disk::StoreError> {
        let mut state = State::default();
        disk.load(|change| state.apply(vec![change]))?;
        Ok(Self::with(state, Backing::Disk(Box::new(disk))))
    }

    /// Keeps everything in memory alone.
    pub(crate) fn in_memory() -> Self {
        Self::with(State::default(), Backing::Memory)
    }

    /// Shows what another source has; takes no changes, and says `reason`.
    pub(crate) fn mirror(reason: impl Into<String>) -> Self {
        Self::with(State::default(), Backing::Mirror(reason.into()))
    }

    fn with(state: State, backing: Backing) -> Self {
        let network = Network::default();
        publish(&state, &network);
        Self {
            state: RwLock::new(state),
            network,
            backing,
            writing: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// The present state. Not to be held across anything that waits.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of each change of records.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// From which networks the instances are reached. What was changed holds there before the change is
    /// answered.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    pub(crate) fn is_read_only(&self) -> Result<(), Error> {
        match &self.backing {
            Backing::Mirror(reason) => Err(Error::ReadOnly {
                reason: reason.clone(),
            }),
            Backing::Disk(_) | Backing::Memory => Ok(()),
        }
    }

    /// Decides on the present state and makes what was decided durable. Blocks on the disk.
    ///
    /// # Errors
    /// What `decide` refuses; that the store takes no changes; that the disk failed, in which case nothing
    /// changed.
    pub(crate) fn change<T>(
        &self,
        decide: impl FnOnce(&State) -> Result<(Vec<Change>, T), Error>,
    ) -> Result<T, Error> {
        self.change_noted(decide, |_, _| Ok(()))
    }

    /// As [`Self::change`]; `note` sees what was decided before anything is stored, and may refuse it.
    ///
    /// # Errors
    /// As [`Self::change`], and what `note` refuses.
    pub(crate) fn change_noted<T>(
        &self,
        decide: impl FnOnce(&State) -> Result<(Vec<Change>, T), Error>,
        note: impl FnOnce(&State, &[Change]) -> Result<(), Error>,
    ) -> Result<T, Error> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (changes, outcome) = decide(&self.read())?;
        if changes.is_empty() {
            return Ok(outcome);
        }
        self.is_read_only()?;
        note(&self.read(), &changes)?;
        if let Backing::Disk(disk) = &self.backing {
            disk.commit(&changes).map_err(|error| {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a change was not stored"
                );
                Error::Store {
                    reason: error.to_string(),
                }
            })?;
        }
        self.adopt(changes);
        Ok(outcome)
    }

    /// Shows other records from here on, in place of all there were; of a mirror.
    pub(crate) fn show(&self, records: Vec<Record>) {
        let mut state = State::default();
        state.apply(records.into_iter().map(Change::Put).collect());
        let mut present = self.state.write().unwrap_or_else(PoisonError::into_inner);
        publish(&state, &self.network);
        *present = state;
        drop(present);
        self.changes.send_modify(|count| *count += 1);
    }

    fn adopt(&self, changes: Vec<Change>) {
        let mut records = changes.iter();
        let records = records.any(|change| matches!(change, Change::Put(_) | Change::Remove(_)));
        let network = changes.iter().any(Change::is_of_network);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.apply(changes);
        if network {
            publish(&state, &self.network);
        }
        drop(state);
        if records {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
