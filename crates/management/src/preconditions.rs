//! Where a request points: in which scope, at which resource, and what is answered when that is not there.

use crate::arm::error::Error;
use crate::arm::id::ResourceId;
use crate::arm::request::ArmRequest;
use crate::arm::versions;
use crate::context::ServerContext;
use crate::store::record::ResourceRecord;
use http::Method;

/// Where below the provider a request is: in a subscription or a group, or neither.
#[derive(Clone, Copy)]
pub(crate) struct PathScope<'a> {
    pub(crate) subscription: Option<&'a str>,
    pub(crate) group: Option<&'a str>,
}

/// The version must be one that the provider has. On a list the answer is another than on a resource.
pub(crate) fn check_version(
    request: &ArmRequest,
    words: &[&str],
    namespace: &'static str,
    supported: &'static [&'static str],
) -> Result<(), Error> {
    let version = request.version()?;
    if versions::find(supported, version).is_some() {
        return Ok(());
    }
    if words.len() % 2 == 1 {
        return Err(unknown_type(request, namespace));
    }
    Err(Error::NoRegisteredProvider {
        location: String::new(),
        version: version.to_owned(),
        kind: words
            .first()
            .map_or_else(String::new, |word| (*word).to_owned()),
        supported,
    })
}

/// A provider of ours, but nothing that it has.
pub(crate) fn unknown_type(request: &ArmRequest, namespace: &'static str) -> Error {
    Error::UnknownType {
        namespace,
        version: request.query("api-version").unwrap_or_default().to_owned(),
    }
}

/// Refuses other methods.
pub(crate) fn only(
    request: &ArmRequest,
    methods: &[Method],
    allow: &'static str,
) -> Result<(), Error> {
    if methods.contains(&request.method) {
        return Ok(());
    }
    Err(not_taken(request, allow))
}

/// What a method gets that is not taken here.
pub(crate) fn not_taken(request: &ArmRequest, allow: &'static str) -> Error {
    Error::MethodNotAllowed {
        method: request.method.to_string(),
        allow,
    }
}

/// The child that is asked for, by what stands behind its kind's segment; nothing is their list, which is only
/// read.
pub(crate) fn child<'a>(
    request: &ArmRequest,
    rest: &'a [String],
) -> Result<Option<&'a str>, Error> {
    match rest {
        [] => only(request, &[Method::GET], "GET").map(|()| None),
        [name] => Ok(Some(name)),
        _ => Err(Error::UnknownPath {
            path: request.path(),
        }),
    }
}

/// The group must be there: made by hand, or with the first resource in it.
pub(crate) fn need_group(
    context: &ServerContext,
    subscription: &str,
    group: &str,
) -> Result<(), Error> {
    let id = ResourceId::group(subscription, group);
    if context.store.read().has(&id) {
        return Ok(());
    }
    Err(Error::GroupNotFound {
        group: group.to_owned(),
    })
}

/// The resource, or that it is not there.
pub(crate) fn need(context: &ServerContext, id: &ResourceId) -> Result<ResourceRecord, Error> {
    need_group(context, &id.subscription, &id.group)?;
    if let Some(owner) = id.owner() {
        need_parent(context, &owner)?;
    }
    let record = context.store.read().get(id);
    record.ok_or_else(|| not_found(id))
}

/// The parent of what is asked for.
pub(crate) fn need_parent(
    context: &ServerContext,
    owner: &ResourceId,
) -> Result<ResourceRecord, Error> {
    need_group(context, &owner.subscription, &owner.group)?;
    let record = context.store.read().get(owner);
    record.ok_or_else(|| Error::ParentNotFound {
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
