//! The management API as a part of a daemon: opened, asked for definitions, served.

use crate::arm::error::Error;
use crate::definitions;
use crate::desk::Desk;
use crate::server::{self, Caller};
use crate::settings::Settings;
use crate::store::Store;
use crate::store::disk::{Disk, StoreError};
use http::request::Parts;
use http::{Method, Request, Response, header};
use hyper::body::Incoming;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use twinroute_listen::access::{Denied, Gate, Role};
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
    pub async fn serve(
        &self,
        listeners: Vec<Listener>,
        gate: Gate,
        shutdown: impl Future<Output = ()>,
    ) {
        let gate = Arc::new(gate);
        let limits = self.desk.settings.limits.clone();
        let bodies = Arc::new(limits.budget());
        let desk = Arc::clone(&self.desk);
        let service = move |request: Request<Incoming>, _: Peer| {
            let (desk, bodies, gate) = (Arc::clone(&desk), Arc::clone(&bodies), Arc::clone(&gate));
            async move { take(&desk, &bodies, &gate, request).await }
        };
        serve(listeners, &limits, service, shutdown).await;
    }
}

/// Who asks is looked at before a byte of the body is read.
async fn take(
    desk: &Arc<Desk>,
    bodies: &Budget,
    gate: &Gate,
    request: Request<Incoming>,
) -> Response<Body> {
    let scheme = Scheme::of(&request).as_str();
    let (head, body) = request.into_parts();
    let name = match admit(gate, &head).await {
        Ok(name) => name,
        Err(error) => return server::refuse(&head, error),
    };
    let limits = &desk.settings.limits;
    let mut hold = bodies.hold();
    let body = read_body_within(
        body,
        limits.body_bytes(),
        limits.body_read_timeout,
        &mut hold,
    )
    .await;
    match body {
        Ok(body) => server::reply(desk, head, body, Caller { name, scheme }).await,
        Err(error) => server::refuse(&head, broken(&error)),
    }
}

/// Gives the name of a caller who may ask this.
async fn admit(gate: &Gate, head: &Parts) -> Result<String, Error> {
    let path = head.uri.path().to_ascii_lowercase();
    // The Azure CLI asks the first of these before it has a token; none tells anything of this server.
    let open = matches!(path.as_str(), "/metadata/endpoints" | "/" | "/openapi.json");
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    if open && reads {
        return Ok("anybody".to_owned());
    }
    let caller = gate.admit(head.headers.get(header::AUTHORIZATION)).await;
    let caller = caller.map_err(|denied| refusal(denied, head))?;
    caller
        .require(role(&head.method, &path))
        .map_err(|denied| refusal(denied, head))?;
    Ok(caller.name)
}

/// What a caller must be to ask this; `path` is in lower case. To ask whether a name is free is a POST that
/// changes nothing. Only as a POST: any resource may be named so.
fn role(method: &Method, path: &str) -> Role {
    let last = path.rsplit('/').next().unwrap_or_default();
    let asks_for_name = matches!(
        last,
        "checknameavailability" | "checkprovisioningservicenameavailability"
    );
    match *method {
        Method::GET | Method::HEAD => Role::Read,
        Method::POST if asks_for_name => Role::Read,
        _ => Role::Write,
    }
}

fn refusal(denied: Denied, head: &Parts) -> Error {
    match denied {
        Denied::NoRole { name } | Denied::RoleTooLow { name } => {
            let action = match head.method {
                Method::GET | Method::HEAD => "read",
                Method::DELETE => "delete",
                Method::POST => "action",
                _ => "write",
            };
            Error::NotAuthorized {
                client: name,
                action: action.to_owned(),
                scope: head.uri.path().to_owned(),
            }
        }
        other => Error::Denied(other),
    }
}

fn broken(error: &BodyError) -> Error {
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
pub(crate) async fn ask(management: &Management, request: Request<bytes::Bytes>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let caller = Caller {
        name: "tests".to_owned(),
        scheme: "http",
    };
    server::reply(&management.desk, head, body, caller).await
}

/// For tests: begins an operation on a resource, by its id, that does not end.
#[cfg(test)]
pub(crate) fn hold(management: &Management, id: &str, step: crate::operations::Step) {
    use crate::operations::{Operation, Step};
    use crate::store::Change;
    let desk = &management.desk;
    let id = crate::arm::id::ResourceId::parse(id).unwrap();
    let held = desk.store.change(|state| {
        let mut record = crate::store::record::Record::clone(state.get(&id).unwrap());
        if step == Step::Delete {
            record.set_state("Deleting");
        }
        let operation = Operation::begin(&id, step, desk.clock.now());
        Ok((vec![Change::Put(record), Change::Note(operation)], ()))
    });
    held.unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_changes_nothing_whatever_it_is_called() {
        for (method, path, expect) in [
            (Method::GET, "/eventroutes/r1", Role::Read),
            (Method::POST, "/a/checknameavailability", Role::Read),
            (
                Method::POST,
                "/a/checkprovisioningservicenameavailability",
                Role::Read,
            ),
            (
                Method::PUT,
                "/eventroutes/checknameavailability",
                Role::Write,
            ),
            (Method::DELETE, "/eventroutes/nameavailability", Role::Write),
            (
                Method::POST,
                "/a/provisioningservices/x/listkeys",
                Role::Write,
            ),
            (
                Method::POST,
                "/a/certificates/nameavailability",
                Role::Write,
            ),
        ] {
            assert_eq!(role(&method, path), expect, "{method} {path}");
        }
    }
}
