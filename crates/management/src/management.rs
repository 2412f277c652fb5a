//! The management API as a part of a daemon: opened, asked for definitions, served.

use crate::admission::{self, ManagementAdmission};
use crate::arm::error::Error;
use crate::audit_cause::AuditCause;
use crate::context::ServerContext;
use crate::definitions;
use crate::export::{self, ExistingResources, ExportedSecrets, ImportError, ImportOutcome};
use crate::provision;
use crate::server::{self, RequestCaller};
use crate::settings::Settings;
use crate::store::RecordStore;
use crate::store::disk::{StoreError, StoreFile};
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use serde_json::Value;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
use twinroute_audit::{AuditLog, ChangeAuthor};
use twinroute_listen::access::{AccessGate, CallerRole};
use twinroute_listen::{
    BodyBudget, BodyError, ClientPeer, InstanceNetworks, ListeningSocket, RequestScheme,
    ServerBody, discard, read_body_within, serve,
};
use twinroute_model::clock::Clock;
use twinroute_model::instance::Instance;
use twinroute_model::name::InstanceName;
use twinroute_model::seal::SealKey;
use twinroute_router::sink::Connect;
use twinroute_router::source;

/// Where what is put is kept.
#[derive(Debug)]
pub enum StoreBacking {
    /// In a file, sealed with a key. One process at a time opens it.
    Disk {
        /// The file; made where there is none.
        path: PathBuf,
        /// The key.
        key: Box<SealKey>,
    },
    /// Nowhere: definitions of another source are shown, and changes refused with this reason.
    Mirror(String),
    /// In memory alone.
    Memory,
}

/// The management API. Cheap to clone.
#[derive(Clone)]
pub struct ManagementServer {
    context: Arc<ServerContext>,
}

impl ManagementServer {
    /// Opens the store, and goes on with operations that a stop interrupted. Blocks on the disk; must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// When the store cannot be opened or read.
    pub fn open(
        settings: &Settings,
        backing: StoreBacking,
        default_instance: InstanceName,
        connect: Arc<dyn Connect>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let management = Self::open_offline(settings, backing, default_instance, connect, clock)?;
        management.resume();
        Ok(management)
    }

    /// Seals the store in the file at `path` with `new` instead of `old`; gives how many values are in it. No process
    /// may have it open. Blocks on the disk.
    ///
    /// Whatever interrupts it leaves a store that opens with one of the two keys, and to be asked again; one that is
    /// sealed with `new` stays as it is.
    ///
    /// # Errors
    /// When the store cannot be opened with either key, or not be written.
    pub fn reseal(path: &Path, old: &SealKey, new: &SealKey) -> Result<usize, StoreError> {
        StoreFile::reseal(path, old, new)
    }

    /// As [`Self::open`], but nothing goes on: for commands that look at a store, or change it, while nobody
    /// serves it. Operations wait until it is opened to be served. Needs no tokio runtime.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_offline(
        settings: &Settings,
        backing: StoreBacking,
        default_instance: InstanceName,
        connect: Arc<dyn Connect>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let store = match backing {
            StoreBacking::Disk { path, key } => {
                RecordStore::on_disk(StoreFile::open(&path, *key)?)?
            }
            StoreBacking::Mirror(reason) => RecordStore::mirror(reason),
            StoreBacking::Memory => RecordStore::in_memory(),
        };
        let context = ServerContext::new(store, settings.clone(), default_instance, connect, clock);
        Ok(Self { context })
    }

    /// Goes on with operations that were begun and have not ended. Must be called within a tokio runtime.
    pub fn resume(&self) {
        provision::resume(&self.context);
    }

    /// All that is stored, as `{"resources": [{"id", "name", "type", …}]}`; what is being deleted is left out.
    ///
    /// With [`ExportedSecrets::Revealed`] it holds them in the clear.
    #[must_use]
    pub fn export(&self, secrets: ExportedSecrets) -> Value {
        export::export(&self.context, secrets)
    }

    /// Takes in what [`Self::export`] gave, with the checks that each PUT makes: all of it or nothing.
    ///
    /// Endpoints are `Provisioning` then, until the store is opened to be served or [`Self::resume`] is
    /// called. `author` is who the audit log names. Dropping the future may leave it done or not, but not by half.
    ///
    /// # Errors
    /// [`ImportError`], with all that is wrong; masks for secrets are.
    pub async fn import(
        &self,
        document: &Value,
        existing: ExistingResources,
        author: &ChangeAuthor,
    ) -> Result<ImportOutcome, ImportError> {
        export::import(&self.context, document, existing, author).await
    }

    /// What the table is to be made of: complete.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        definitions::instances(&self.context.store.read())
    }

    /// Tells of each change of what [`Self::instances`] gives.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.context.store.changes()
    }

    /// From which networks the instances are reached: as what is stored, or shown, has it at any moment.
    #[must_use]
    pub fn network(&self) -> InstanceNetworks {
        self.context.store.network().clone()
    }

    /// Shows definitions of another source; for [`StoreBacking::Mirror`].
    pub fn show(&self, instances: &[Instance]) {
        let records = definitions::records(&self.context.settings, instances);
        self.context.store.show(records);
    }

    /// What stands beside the definitions, so that an endpoint is checked with what it will run with.
    pub fn set_beside(&self, settings: source::Settings) {
        self.context.beside.store(Arc::new(settings));
    }

    /// Notes changes in `audit` from now on, before they are made; what cannot be recorded is refused.
    pub fn set_audit(&self, audit: AuditLog) {
        self.context.audit.store(Arc::new(audit));
    }

    /// Where changes are recorded.
    #[must_use]
    pub fn audit(&self) -> AuditLog {
        AuditLog::clone(&self.context.audit.load())
    }

    /// Answers on `listeners` until `shutdown` completes.
    ///
    /// Dropping the future ends all connections at once; operations go on.
    pub async fn serve(
        &self,
        listeners: Vec<ListeningSocket>,
        gate: AccessGate,
        shutdown: impl Future<Output = ()>,
    ) {
        let admission = Arc::new(ManagementAdmission::new(
            gate,
            &self.context.settings.tls_names,
        ));
        let limits = self.context.settings.limits.clone();
        let bodies = Arc::new(limits.budget());
        let context = Arc::clone(&self.context);
        let service = move |request: Request<Incoming>, peer| {
            let (context, bodies) = (Arc::clone(&context), Arc::clone(&bodies));
            let admission = Arc::clone(&admission);
            async move { take(&context, &bodies, &admission, request, peer).await }
        };
        serve(listeners, &limits, service, shutdown).await;
    }
}

/// Who asks is looked at before a byte of the body is read.
async fn take(
    context: &Arc<ServerContext>,
    bodies: &BodyBudget,
    admission: &ManagementAdmission,
    request: Request<Incoming>,
    peer: ClientPeer,
) -> Response<ServerBody> {
    let scheme = RequestScheme::of(&request);
    let (head, body) = request.into_parts();
    let author =
        |name| ChangeAuthor::of_request("management", name, peer, &head.headers, &head.extensions);
    let name = match admission.admit(&head, scheme, peer).await {
        Ok(name) => name,
        Err(error) => {
            let known = match &error {
                Error::NotAuthorized { client, .. } => Some(client.as_str()),
                _ => None,
            };
            note_refused(context, &head, &author(known), &error);
            discard(body, head.version).await;
            return server::refuse(&head, error);
        }
    };
    let limits = &context.settings.limits;
    let mut hold = bodies.hold();
    let body = read_body_within(
        body,
        limits.body_bytes(),
        limits.body_read_timeout,
        &mut hold,
    )
    .await;
    match body {
        Ok(body) => {
            let caller = RequestCaller {
                author: author(Some(&name)),
                name,
                scheme: scheme.as_str(),
            };
            server::reply(context, head, body, caller).await
        }
        Err(error) => server::refuse(&head, broken(&error)),
    }
}

/// Who may not change anything, or cannot be identified, is recorded when they try to.
fn note_refused(context: &ServerContext, head: &Parts, author: &ChangeAuthor, error: &Error) {
    let path = head.uri.path();
    let last = path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if admission::role(&head.method, &last) < CallerRole::Write {
        return;
    }
    let change = AuditCause::new(author.clone(), &head.method, &last).asked(path);
    let (status, code) = (error.status().as_u16(), error.code());
    context.audit.load().refuse(author, &change, status, code);
}

fn broken(error: &BodyError) -> Error {
    match error {
        BodyError::TooLarge { bytes_max } => Error::TooLarge {
            bytes_max: *bytes_max,
        },
        BodyError::Crowded(_) => Error::Crowded {
            reason: error.to_string(),
        },
        BodyError::Timeout { .. } | BodyError::Broken(_) => Error::BrokenBody {
            reason: error.to_string(),
        },
    }
}

/// For tests: what is answered to one request.
#[cfg(test)]
pub(crate) async fn ask(
    management: &ManagementServer,
    request: Request<bytes::Bytes>,
) -> Response<ServerBody> {
    let (head, body) = request.into_parts();
    let caller = RequestCaller {
        name: "tests".to_owned(),
        scheme: "http",
        author: ChangeAuthor::command("management", "tests"),
    };
    server::reply(&management.context, head, body, caller).await
}

/// For tests: begins an operation on a resource, by its id, that does not end.
#[cfg(test)]
pub(crate) fn hold(
    management: &ManagementServer,
    id: &str,
    step: crate::store::operation::OperationStep,
) {
    use crate::store::operation::{ArmOperation, OperationStep};
    use crate::store::state::StoreChange;
    let context = &management.context;
    let id = crate::arm::id::ResourceId::parse(id).unwrap();
    let held = context.store.change(|state| {
        let mut record = state.get(&id).unwrap();
        if step == OperationStep::Delete {
            record.set_state("Deleting");
        }
        let operation = ArmOperation::begin(&id, step, context.clock.now());
        Ok((
            vec![StoreChange::put(&record), StoreChange::Note(operation)],
            (),
        ))
    });
    held.unwrap();
}

#[cfg(test)]
impl ManagementServer {
    /// For tests: what stands behind it.
    pub(crate) fn context(&self) -> Arc<ServerContext> {
        Arc::clone(&self.context)
    }
}
