//! What every request needs: the store, how destinations are asked, the clock, the settings.

use crate::arm::error::Error;
use crate::cause::{self, Cause};
use crate::operations::{Expiry, Operation};
use crate::provision::{self, Verdict};
use crate::settings::Settings;
use crate::store::{Change, State, Store};
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use twinroute_audit::AuditLog;
use twinroute_model::clock::Clock;
use twinroute_model::name::InstanceName;
use twinroute_router::sink::Connect;
use twinroute_router::source;
use uuid::Uuid;

/// Destinations that are asked at a time whether they answer.
const PROBES_MAX: usize = 64;

/// Shared by all requests and by the operations that they start.
pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    /// The instance that is served without a prefix.
    pub(crate) default_instance: InstanceName,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What stands beside definitions: `[endpoints."name"]`.
    pub(crate) beside: ArcSwap<source::Settings>,
    pub(crate) probes: Semaphore,
    /// Where changes are noted before they are made.
    pub(crate) audit: ArcSwap<AuditLog>,
    expiry: Expiry,
    /// Operations whose end is known and not stored yet.
    ended: Mutex<Vec<(Uuid, Verdict)>>,
    /// The turn to store them.
    pub(crate) ending: tokio::sync::Mutex<()>,
}

impl Desk {
    pub(crate) fn new(
        store: Store,
        settings: Settings,
        default_instance: InstanceName,
        connect: Arc<dyn Connect>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            settings,
            default_instance,
            connect,
            clock,
            beside: ArcSwap::default(),
            probes: Semaphore::new(PROBES_MAX),
            audit: ArcSwap::default(),
            expiry: Expiry::default(),
            ended: Mutex::default(),
            ending: tokio::sync::Mutex::default(),
        })
    }

    /// Operations whose end is known and not stored yet. Not to be held across anything that waits.
    pub(crate) fn ended(&self) -> MutexGuard<'_, Vec<(Uuid, Verdict)>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides and stores, off the threads that serve requests; with a cause, notes it in the audit log first.
    ///
    /// Dropping the future does not undo the change.
    pub(crate) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        cause: Option<&Cause>,
        decide: impl FnOnce(&Self, &State) -> Result<(Vec<Change>, T), Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (desk, cause) = (Arc::clone(self), cause.cloned());
        let changed = tokio::task::spawn_blocking(move || {
            desk.store_noted(cause.as_ref(), |state| decide(&desk, state))
        });
        changed.await.unwrap_or_else(failed)
    }

    /// As [`Self::change`], for a change that begins an operation: adds it, and sets it going.
    pub(crate) async fn begin<T: Send + 'static>(
        self: &Arc<Self>,
        cause: &Cause,
        decide: impl FnOnce(&Self, &State) -> Result<(Vec<Change>, Option<Operation>, T), Error>
        + Send
        + 'static,
    ) -> Result<T, Error> {
        let (desk, cause) = (Arc::clone(self), cause.clone());
        let begun = tokio::task::spawn_blocking(move || {
            let (operation, outcome) = desk.store_noted(Some(&cause), |state| {
                let (mut changes, operation, outcome) = decide(&desk, state)?;
                if let Some(operation) = &operation {
                    changes.extend(desk.expiry.due(state, desk.clock.now()));
                    changes.push(Change::Note(operation.clone()));
                }
                Ok((changes, (operation, outcome)))
            })?;
            // Here, so that it goes on when the caller does not wait for the answer.
            if let Some(operation) = operation {
                let finish = provision::finish(Arc::clone(&desk), operation.id);
                drop(tokio::spawn(finish));
            }
            Ok(outcome)
        });
        begun.await.unwrap_or_else(failed)
    }

    /// Stores what is decided once it is noted. Blocks on the disk.
    fn store_noted<T>(
        &self,
        cause: Option<&Cause>,
        decide: impl FnOnce(&State) -> Result<(Vec<Change>, T), Error>,
    ) -> Result<T, Error> {
        let audit = self.audit.load();
        let Some(cause) = cause.filter(|_| audit.is_on()) else {
            return self.store.change(decide);
        };
        let mut noted = Vec::new();
        let stored = self.store.change_noted(decide, |state, changes| {
            let changes = cause.changes(state, changes);
            let accepted = audit.accept(cause.author(), &changes);
            accepted.map_err(|error| cause::unnoted(&error))?;
            noted = changes;
            Ok(())
        });
        // Nothing else refuses what was noted.
        if let Err(error) = stored.as_ref()
            && !noted.is_empty()
        {
            audit.failed(cause.author(), &noted, error.code());
        }
        stored
    }

    /// Goes on with operations that a stop interrupted.
    pub(crate) fn resume(self: &Arc<Self>) {
        let state = self.store.read();
        let running = state
            .operations()
            .filter(|operation| operation.is_running());
        let running: Vec<_> = running.map(|operation| operation.id).collect();
        drop(state);
        for id in running {
            drop(tokio::spawn(provision::finish(Arc::clone(self), id)));
        }
    }
}

fn failed<T>(error: tokio::task::JoinError) -> Result<T, Error> {
    Err(Error::Store {
        reason: error.to_string(),
    })
}
