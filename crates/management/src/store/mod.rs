//! What is stored: all resources and operations, in memory and, sealed, on disk.
//!
//! One writer at a time decides on the present state, has the change made durable, and only then changes
//! memory: whoever was answered finds what it was told, also after a crash.

pub(crate) mod disk;
pub(crate) mod expiry;
mod hidden;
pub(crate) mod masks;
pub(crate) mod operation;
pub(crate) mod record;
pub(crate) mod state;
mod stored_record;
pub(crate) mod unknown;
pub(crate) mod wiped_json;

use crate::arm::error::Error;
use crate::arm::id::ResourceKind;
use disk::{StoreError, StoreFile};
use record::ResourceRecord;
use state::{DecidedChange, StoreChange, StoreState};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::watch;
use twinroute_listen::InstanceNetworks;
use twinroute_model::name::InstanceName;

fn publish(state: &StoreState, network: &InstanceNetworks) {
    let instances = state.kind(ResourceKind::Instance).filter_map(|record| {
        let name = InstanceName::new(&record.id.name).ok()?;
        Some((name, state.network_access(&record)))
    });
    let instances: Vec<_> = instances.collect();
    network.set(instances.iter().map(|(name, access)| (name, access)));
}

/// Where changes go beside memory.
enum ChangeTarget {
    Disk(Box<StoreFile>),
    /// Nowhere: what is shown belongs to another source, which this text names.
    Mirror(String),
    Memory,
}

/// The store. Shared by reference.
pub(crate) struct RecordStore {
    state: RwLock<StoreState>,
    /// From which networks the instances are reached; as current as `state`.
    network: InstanceNetworks,
    backing: ChangeTarget,
    writing: Mutex<()>,
    changes: watch::Sender<u64>,
}

impl RecordStore {
    /// Opens what is on disk.
    pub(crate) fn on_disk(disk: StoreFile) -> Result<Self, StoreError> {
        let mut state = StoreState::default();
        disk.load(|change| state.apply(change))?;
        Ok(Self::with(state, ChangeTarget::Disk(Box::new(disk))))
    }

    /// Keeps everything in memory alone.
    pub(crate) fn in_memory() -> Self {
        Self::with(StoreState::default(), ChangeTarget::Memory)
    }

    /// Shows what another source has; takes no changes, and says `reason`.
    pub(crate) fn mirror(reason: impl Into<String>) -> Self {
        Self::with(StoreState::default(), ChangeTarget::Mirror(reason.into()))
    }

    fn with(state: StoreState, backing: ChangeTarget) -> Self {
        let network = InstanceNetworks::default();
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
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, StoreState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of each change of records.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// From which networks the instances are reached. What was changed holds there before the change is
    /// answered.
    pub(crate) fn network(&self) -> &InstanceNetworks {
        &self.network
    }

    pub(crate) fn is_read_only(&self) -> Result<(), Error> {
        match &self.backing {
            ChangeTarget::Mirror(reason) => Err(Error::ReadOnly {
                reason: reason.clone(),
            }),
            ChangeTarget::Disk(_) | ChangeTarget::Memory => Ok(()),
        }
    }

    /// Decides on the present state and makes what was decided durable. Blocks on the disk.
    ///
    /// # Errors
    /// What `decide` refuses; that the store takes no changes; that the disk failed, in which case nothing
    /// changed.
    pub(crate) fn change<T>(
        &self,
        decide: impl FnOnce(&StoreState) -> DecidedChange<T>,
    ) -> Result<T, Error> {
        self.change_recorded(decide, |_, _| Ok(()))
    }

    /// As [`Self::change`]; `note` sees what was decided before anything is stored, and may refuse it.
    ///
    /// # Errors
    /// As [`Self::change`], and what `note` refuses.
    pub(crate) fn change_recorded<T>(
        &self,
        decide: impl FnOnce(&StoreState) -> DecidedChange<T>,
        note: impl FnOnce(&StoreState, &[StoreChange]) -> Result<(), Error>,
    ) -> Result<T, Error> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (changes, outcome) = decide(&self.read())?;
        if changes.is_empty() {
            return Ok(outcome);
        }
        self.is_read_only()?;
        note(&self.read(), &changes)?;
        if let ChangeTarget::Disk(disk) = &self.backing {
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
    pub(crate) fn show(&self, records: impl IntoIterator<Item = ResourceRecord>) {
        let mut state = StoreState::default();
        for record in records {
            state.apply(StoreChange::put(&record));
        }
        let mut present = self.state.write().unwrap_or_else(PoisonError::into_inner);
        publish(&state, &self.network);
        *present = state;
        drop(present);
        self.changes.send_modify(|count| *count += 1);
    }

    fn adopt(&self, changes: Vec<StoreChange>) {
        let records = changes.iter().any(|change| change.key().is_some());
        let network = changes.iter().any(StoreChange::is_of_network);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        changes.into_iter().for_each(|change| state.apply(change));
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
