//! What every request needs: the store, how destinations are asked, the clock, the settings.

use crate::arm::error::Error;
use crate::arm::request::ArmRequest;
use crate::audit_cause::{self, AuditCause};
use crate::settings::Settings;
use crate::store::RecordStore;
use crate::store::expiry::OperationExpiry;
use crate::store::operation::ProvisioningVerdict;
use crate::store::state::{DecidedChange, StoreState};
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLockReadGuard};
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
pub(crate) struct ServerContext {
    pub(crate) store: RecordStore,
    pub(crate) settings: Settings,
    /// The instance that is served without a prefix.
    pub(crate) default_instance: InstanceName,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What stands beside definitions: `[endpoints."name"]`.
    pub(crate) beside: ArcSwap<source::Settings>,
    pub(crate) probes: Semaphore,
    /// Where changes are recorded before they are made.
    pub(crate) audit: ArcSwap<AuditLog>,
    pub(crate) expiry: OperationExpiry,
    /// Operations whose end is known and not stored yet.
    ended: Mutex<Vec<(Uuid, ProvisioningVerdict)>>,
    /// The turn to store them.
    pub(crate) ending: tokio::sync::Mutex<()>,
}

/// A request, and what it needs.
#[derive(Clone, Copy)]
pub(crate) struct ServerCall<'a> {
    pub(crate) context: &'a Arc<ServerContext>,
    pub(crate) request: &'a ArmRequest,
}

impl<'a> ServerCall<'a> {
    /// As [`RecordStore::read`].
    pub(crate) fn state(self) -> RwLockReadGuard<'a, StoreState> {
        self.context.store.read()
    }
}

impl ServerContext {
    pub(crate) fn new(
        store: RecordStore,
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
            expiry: OperationExpiry::default(),
            ended: Mutex::default(),
            ending: tokio::sync::Mutex::default(),
        })
    }

    /// Operations whose end is known and not stored yet. Not to be held across anything that waits.
    pub(crate) fn ended(&self) -> MutexGuard<'_, Vec<(Uuid, ProvisioningVerdict)>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides and stores, off the threads that serve requests; with a cause, notes it in the audit log first.
    ///
    /// Dropping the future does not undo the change.
    pub(crate) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        cause: Option<AuditCause>,
        decide: impl FnOnce(&Self, &StoreState) -> DecidedChange<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.off_thread(move |context| {
            context.change_now(cause.as_ref(), |state| decide(context, state))
        })
        .await
    }

    /// Runs what blocks on the disk off the threads that serve requests; to its end, also when the future is dropped.
    pub(crate) async fn off_thread<T: Send + 'static>(
        self: &Arc<Self>,
        run: impl FnOnce(&Arc<Self>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let context = Arc::clone(self);
        let ran = tokio::task::spawn_blocking(move || run(&context));
        ran.await.unwrap_or_else(|error| {
            Err(Error::Store {
                reason: error.to_string(),
            })
        })
    }

    /// Stores what is decided once it is recorded. Blocks on the disk.
    pub(crate) fn change_now<T>(
        &self,
        cause: Option<&AuditCause>,
        decide: impl FnOnce(&StoreState) -> DecidedChange<T>,
    ) -> Result<T, Error> {
        let audit = self.audit.load();
        let Some(cause) = cause.filter(|_| audit.is_on()) else {
            return self.store.change(decide);
        };
        let mut recorded = Vec::new();
        let stored = self.store.change_recorded(decide, |state, changes| {
            let changes = cause.changes(state, changes);
            let accepted = audit.accept(cause.author(), &changes);
            accepted.map_err(|error| audit_cause::unrecorded(&error))?;
            recorded = changes;
            Ok(())
        });
        // Nothing else refuses what was recorded.
        if let Err(error) = stored.as_ref()
            && !recorded.is_empty()
        {
            audit.failed(cause.author(), &recorded, error.code());
        }
        stored
    }
}
