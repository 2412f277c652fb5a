//! What must hold before a request is answered: its version and method, that what it is about is there and may change,
//! and that there is room for more.

use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::path::PathCursor;
use crate::arm::versions;
use crate::context::ServerCall;
use crate::settings::Settings;
use crate::store::record::ResourceRecord;
use crate::store::state::StoreState;
use http::Method;

/// The version must be one that the provider has. On a list the answer is another than on a resource.
pub(crate) fn check_version(
    call: ServerCall<'_>,
    path: PathCursor<'_>,
    namespace: &'static str,
    supported: &'static [&'static str],
) -> Result<(), Error> {
    let version = call.request.version()?;
    if versions::find(supported, version).is_some() {
        return Ok(());
    }
    if path.words.len() % 2 == 1 {
        return Err(unknown_type(call, namespace));
    }
    Err(Error::NoRegisteredProvider {
        location: String::new(),
        version: version.to_owned(),
        kind: path.words.first().copied().unwrap_or_default().to_owned(),
        supported,
    })
}

/// A provider of ours, but nothing that it has.
pub(crate) fn unknown_type(call: ServerCall<'_>, namespace: &'static str) -> Error {
    Error::UnknownType {
        namespace,
        version: call
            .request
            .query("api-version")
            .unwrap_or_default()
            .to_owned(),
    }
}

/// Refuses other methods than GET.
pub(crate) fn only_get(call: ServerCall<'_>) -> Result<(), Error> {
    match call.request.method {
        Method::GET => Ok(()),
        _ => Err(not_taken(call, "GET")),
    }
}

/// Refuses other methods than POST.
pub(crate) fn only_post(call: ServerCall<'_>) -> Result<(), Error> {
    match call.request.method {
        Method::POST => Ok(()),
        _ => Err(not_taken(call, "POST")),
    }
}

/// What a method gets that is not taken here.
pub(crate) fn not_taken(call: ServerCall<'_>, allow: &'static str) -> Error {
    Error::MethodNotAllowed {
        method: call.request.method.to_string(),
        allow,
    }
}

/// The child that is asked for, by what stands behind its kind's segment; nothing is their list, which is only
/// read.
pub(crate) fn child<'a>(
    call: ServerCall<'_>,
    path: PathCursor<'a>,
) -> Result<Option<&'a str>, Error> {
    match path.words {
        [] => only_get(call).map(|()| None),
        [_] => Ok(Some(path.name(0))),
        _ => Err(unknown_path(call)),
    }
}

pub(crate) fn unknown_path(call: ServerCall<'_>) -> Error {
    Error::UnknownPath {
        path: call.request.path(),
    }
}

/// The group must be there: made explicitly, or with the first resource in it.
pub(crate) fn need_group(
    call: ServerCall<'_>,
    subscription: &str,
    group: &str,
) -> Result<(), Error> {
    let id = ResourceId::group(subscription, group);
    if call.state().has(&id) {
        return Ok(());
    }
    Err(Error::GroupNotFound {
        group: group.to_owned(),
    })
}

/// What a resource stands in must be there: its owner, or its group.
pub(crate) fn need_above(call: ServerCall<'_>, id: &ResourceId) -> Result<(), Error> {
    match id.owner() {
        Some(owner) => need_parent(call, &owner),
        None => need_group(call, &id.subscription, &id.group),
    }
}

/// The resource, or that it is not there.
pub(crate) fn need(call: ServerCall<'_>, id: &ResourceId) -> Result<ResourceRecord, Error> {
    need_above(call, id)?;
    let record = call.state().get(id);
    record.ok_or_else(|| not_found(id))
}

/// The parent of what is asked for must be there.
pub(crate) fn need_parent(call: ServerCall<'_>, owner: &ResourceId) -> Result<(), Error> {
    need_group(call, &owner.subscription, &owner.group)?;
    if call.state().has(owner) {
        return Ok(());
    }
    Err(Error::ParentNotFound {
        parent: owner.name.clone(),
    })
}

pub(crate) fn not_found(id: &ResourceId) -> Error {
    let name = match &id.parent {
        Some(parent) => format!("{parent}/{}/{}", id.kind.segment(), id.name),
        None => id.name.clone(),
    };
    let top = id.kind.parent().unwrap_or(id.kind);
    Error::NotFound {
        kind: top.type_name(),
        name,
        group: id.group.clone(),
    }
}

/// Refuses a change while an operation runs on the resource.
pub(crate) fn idle(state: &StoreState, id: &ResourceId) -> Result<(), Error> {
    match state.running(id) {
        None => Ok(()),
        Some(_) => Err(Error::OperationInProgress { id: id.to_string() }),
    }
}

/// The resource that something is made or changed in must be there, and stay.
pub(crate) fn staying(state: &StoreState, owner: &ResourceId) -> Result<(), Error> {
    match state.get(owner) {
        None => Err(Error::ParentNotFound {
            parent: owner.name.clone(),
        }),
        Some(record) if record.state() == "Deleting" => Err(Error::OperationInProgress {
            id: owner.to_string(),
        }),
        Some(_) => Ok(()),
    }
}

/// A resource cannot be moved to another location.
pub(crate) fn stays_at(present: &ResourceRecord, wanted: &str) -> Result<(), Error> {
    let location = present.text("location").unwrap_or_default();
    if location == wanted {
        return Ok(());
    }
    Err(Error::InvalidLocation {
        name: present.id.name.clone(),
        group: present.id.group.clone(),
        present: location.to_owned(),
        wanted: wanted.to_owned(),
    })
}

/// Provisioning services in all.
const SERVICES_MAX: usize = 1_000;

/// Certificates of one service.
const CERTIFICATES_MAX: usize = 100;

/// Private endpoint connections of one instance or service.
const CONNECTIONS_MAX: usize = 1_000;

/// There must be room for one more of a kind, where it is.
pub(crate) fn room(settings: &Settings, state: &StoreState, id: &ResourceId) -> Result<(), Error> {
    let (owner, kind, limit, way_out) = match id.kind {
        ResourceKind::Group | ResourceKind::TimeSeries => return Ok(()),
        ResourceKind::Instance => (
            "server",
            "instances",
            settings.instances_max,
            "delete one, or raise `instances_max` in [management].",
        ),
        ResourceKind::Endpoint => (
            "digital twins instance",
            "endpoints",
            settings.endpoints_max,
            "delete one, or raise `endpoints_max` in [management].",
        ),
        ResourceKind::Route => (
            "digital twins instance",
            "event routes",
            settings.routes_max,
            "delete one, or raise `routes_max` in [management].",
        ),
        ResourceKind::Connection | ResourceKind::ServiceConnection => (
            "resource",
            "private endpoint connections",
            CONNECTIONS_MAX,
            "delete one.",
        ),
        ResourceKind::Service => (
            "server",
            "provisioning services",
            SERVICES_MAX,
            "delete one.",
        ),
        ResourceKind::Certificate => (
            "provisioning service",
            "certificates",
            CERTIFICATES_MAX,
            "delete one.",
        ),
    };
    let (prefix, what) = match &id.parent {
        Some(name) => (id.siblings(), format!("{owner} '{name}'")),
        None => (ResourceId::kind_prefix(id.kind), owner.to_owned()),
    };
    if state.keys(&prefix).count() < limit {
        return Ok(());
    }
    Err(Error::LimitReached {
        what,
        kind,
        limit,
        way_out,
    })
}
