//! The management API as a part of a daemon: opened, asked for definitions, served.

use crate::definitions;
use crate::desk::Desk;
use crate::server::{self, Caller};
use crate::settings::Settings;
use crate::store::Store;
use crate::store::disk::{Disk, StoreError};
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use twinroute_listen::{Body, BodyError, Budget, Listener, Peer, Scheme, read_body_within, serve};
use twinroute_model::clock::Clock;
use twinroute_model::instance::Instance;
use twinroute_model::name::InstanceName;
use twinroute_model::seal::SealKey;
use twinroute_router::sink::Connect;
use twinroute_router::source;

/// Where what is put is kept.
#[derive(Debug)]
pub enum Backing {
    /// In a file, sealed with a key. One process at a time opens it.
    Disk {
        /// The file; made where there is none.
        path: PathBuf,
        /// The key.
        key: SealKey,
    },
    /// Nowhere: definitions of another source are shown, and changes refused with this reason.
    Mirror(String),
    /// In memory alone.
    Memory,
}

/// The management API. Cheap to clone.
#[derive(Clone)]
pub struct Management {
    desk: Arc<Desk>,
}

impl Management {
    /// Opens the store, and goes on with operations that a stop interrupted. Blocks on the disk; must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// When the store cannot be opened or read.
    pub fn open(
        settings: &Settings,
        backing: Backing,
        default_instance: InstanceName,
        connect: Arc<dyn Connect>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let store = match backing {
            Backing::Disk { path, key } => Store::on_disk(Disk::open(&path, key)?)?,
            Backing::Mirror(reason) => Store::mirror(reason),
            Backing::Memory => Store::in_memory(),
        };
        let desk = Desk::new(store, settings.clone(), default_instance, connect, clock);
        desk.resume();
        Ok(Self { desk })
    }

    /// What the table is to be made of: complete.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        definitions::instances(&self.desk)
    }

    /// Tells of each change of what [`Self::instances`] gives.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.desk.store.changes()
    }

    /// Shows definitions of another source; for [`Backing::Mirror`].
    pub fn show(&self, instances: &[Instance]) {
        let records = definitions::records(&self.desk, instances);
        self.desk.store.show(records);
    }

    /// What stands beside the definitions, so that an endpoint is checked with what it will run with.
    pub fn set_beside(&self, settings: source::Settings) {
        self.desk.beside.store(Arc::new(settings));
    }

    /// Answers on `listeners` until `shutdown` completes.
    ///
    /// Dropping the future ends all connections at once; operations go on.
    pub async fn serve(&self, listeners: Vec<Listener>, shutdown: impl Future<Output = ()>) {
        let limits = self.desk.settings.limits.clone();
        let bodies = Arc::new(limits.budget());
        let desk = Arc::clone(&self.desk);
        let service = move |request: Request<Incoming>, peer| {
            let (desk, bodies) = (Arc::clone(&desk), Arc::clone(&bodies));
            async move { take(&desk, &bodies, request, peer).await }
        };
        serve(listeners, &limits, service, shutdown).await;
    }
}

async fn take(
    desk: &Arc<Desk>,
    bodies: &Budget,
    request: Request<Incoming>,
    _peer: Peer,
) -> Response<Body> {
    let scheme = Scheme::of(&request).as_str();
    let (head, body) = request.into_parts();
    let limits = &desk.settings.limits;
    let mut hold = bodies.hold();
    let body = read_body_within(
        body,
        limits.body_bytes(),
        limits.body_read_timeout,
        &mut hold,
    )
    .await;
    let caller = Caller {
        name: "local".to_owned(),
        scheme,
    };
    match body {
        Ok(body) => server::reply(desk, head, body, caller).await,
        Err(error) => server::refuse(&head, broken(&error)),
    }
}

fn broken(error: &BodyError) -> crate::arm::error::Error {
    use crate::arm::error::Error;
    match error {
        BodyError::TooLarge { bytes_max } => Error::TooLarge {
            bytes_max: *bytes_max,
        },
        BodyError::Crowded { .. } => Error::Crowded {
            reason: error.to_string(),
        },
        BodyError::Timeout { .. } | BodyError::Broken(_) => Error::BrokenBody {
            reason: error.to_string(),
        },
    }
}

/// For tests: what is answered to one request.
#[cfg(test)]
pub(crate) async fn ask(management: &Management, request: Request<Bytes>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let caller = Caller {
        name: "tests".to_owned(),
        scheme: "http",
    };
    server::reply(&management.desk, head, body, caller).await
}
