//! Changes: what is asked for is checked, recorded in the audit log, and only then done.

use crate::endpoints::{self, EndpointStep, parse};
use crate::log_control::LogControl;
use crate::place::AdminPath;
use crate::refusal::AdminRefusal;
use crate::replays;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use serde_json::{Value, json};
use twinroute_audit::{AuditLog, AuditedChange, ChangeAuthor};
use twinroute_listen::{ClientPeer, ServerBody};
use twinroute_router::Router;
use twinroute_router::replay::ReplayRequest;
use uuid::Uuid;

/// The id of a change's request, as its answer and the audit log have it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

/// A change that somebody asked for.
pub(crate) struct RequestedChange<'a> {
    audit: &'a AuditLog,
    head: &'a Parts,
    peer: ClientPeer,
    change: AuditedChange,
    id: Uuid,
}

/// What changes are made to.
#[derive(Clone, Copy)]
pub(crate) struct ChangeTargets<'a> {
    pub(crate) router: &'a Router,
    /// Nothing where the log is not ours.
    pub(crate) log: Option<&'a LogControl>,
}

/// A change that can be made.
enum ReadyChange {
    Steer(EndpointStep),
    LogFilter(String),
    Replay(Box<ReplayRequest>),
    EndReplay,
}

impl<'a> RequestedChange<'a> {
    /// Nothing, if the request changes nothing.
    pub(crate) fn of(
        audit: &'a AuditLog,
        place: &AdminPath<'_>,
        head: &'a Parts,
        peer: ClientPeer,
    ) -> Option<Self> {
        Some(Self {
            audit,
            head,
            peer,
            change: place.change(&head.method)?,
            id: Uuid::new_v4(),
        })
    }

    /// Notes that its sender may not.
    pub(crate) fn denied(&self, refusal: &AdminRefusal) {
        self.refuse(&self.author(refusal.named()), refusal);
    }

    /// Makes the change for `name`, who may. `body` is what came with it, or why nothing did.
    ///
    /// Dropping the future may leave it made or not; if it is made, it is in the audit log.
    pub(crate) async fn make(
        mut self,
        (targets, place): (ChangeTargets<'_>, AdminPath<'_>),
        name: &str,
        body: Result<bytes::Bytes, AdminRefusal>,
        pretty: bool,
    ) -> Result<Response<ServerBody>, AdminRefusal> {
        let author = self.author(Some(name));
        let ready = body.and_then(|body| {
            let ready = ReadyChange::read(targets, &place, &body)?;
            self.change.after = ready.recorded_body(&body);
            Ok(ready)
        });
        let ready = match ready {
            Ok(ready) => ready,
            Err(refusal) => {
                self.refuse(&author, &refusal);
                return Err(refusal);
            }
        };
        let recorded = self.audit.accept_one(&author, self.change.clone()).await;
        recorded.map_err(|error| {
            let reason = error.error_chain();
            tracing::error!(
                error = reason,
                "a change was rejected: it could not be recorded in the audit log"
            );
            AdminRefusal::Audit(error)
        })?;
        let made = ready.make(targets, &place, pretty).await;
        if let Err(refusal) = &made {
            let (_, code) = refusal.status_and_code();
            self.audit.failed(&author, &[self.change], code);
        }
        made.map(|mut response| {
            tell(self.id, response.headers_mut());
            response
        })
    }

    fn author(&self, name: Option<&str>) -> ChangeAuthor {
        let (headers, extensions) = (&self.head.headers, &self.head.extensions);
        ChangeAuthor::of_request("admin", name, self.peer, headers, extensions).request(self.id)
    }

    fn refuse(&self, author: &ChangeAuthor, refusal: &AdminRefusal) {
        let (status, code) = refusal.status_and_code();
        let status = status.as_u16();
        self.audit.refuse(author, &self.change, status, code);
    }
}

impl ReadyChange {
    fn read(
        targets: ChangeTargets<'_>,
        place: &AdminPath<'_>,
        body: &[u8],
    ) -> Result<Self, AdminRefusal> {
        let router = targets.router;
        match place {
            AdminPath::LogLevel => {
                let log = targets.log.ok_or(AdminRefusal::UnknownPath)?;
                log.read(body).map(Self::LogFilter)
            }
            AdminPath::Endpoint {
                instance,
                endpoint,
                step,
            } => EndpointStep::read(router, (instance, endpoint), *step, body).map(Self::Steer),
            AdminPath::Replays => Ok(Self::Replay(Box::new(parse(body)?))),
            AdminPath::Replay(number) => {
                replays::one(router, *number, false)?;
                Ok(Self::EndReplay)
            }
            _ => Err(AdminRefusal::UnknownPath),
        }
    }

    /// What the audit log says of it beside its name; of a replay what was asked for, which names dead letters.
    fn recorded_body(&self, body: &[u8]) -> Option<Value> {
        match self {
            Self::Steer(steer) => steer.recorded_body(),
            Self::LogFilter(filter) => Some(json!({ "filter": filter })),
            Self::Replay(_) => serde_json::from_slice(body).ok(),
            Self::EndReplay => None,
        }
    }

    async fn make(
        self,
        targets: ChangeTargets<'_>,
        place: &AdminPath<'_>,
        pretty: bool,
    ) -> Result<Response<ServerBody>, AdminRefusal> {
        let router = targets.router;
        match (self, place) {
            (Self::LogFilter(filter), _) => {
                let log = targets.log.ok_or(AdminRefusal::UnknownPath)?;
                log.apply(filter)?;
                Ok(log.answer(pretty))
            }
            (
                Self::Steer(steer),
                AdminPath::Endpoint {
                    instance, endpoint, ..
                },
            ) => endpoints::steer(router, (instance, endpoint), &steer, pretty),
            (Self::Replay(request), _) => replays::begin(router, *request, pretty).await,
            (Self::EndReplay, AdminPath::Replay(number)) => replays::end(router, *number, pretty),
            (Self::Steer(_) | Self::EndReplay, _) => Err(AdminRefusal::UnknownPath),
        }
    }
}

fn tell(id: Uuid, headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
}
