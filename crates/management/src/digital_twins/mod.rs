//! Microsoft.DigitalTwins: what is at each path below the provider.
//!
//! Source: Microsoft.DigitalTwins 2023-01-31; recorded answers of Azure where they differ from it.

pub(crate) mod endpoints;
mod instances;
mod names;
mod private_link;
mod time_series;

pub(crate) use instances::named;
pub(crate) use names::check_group;

use crate::arm::answer::Answer;
use crate::arm::error::Error;
use crate::arm::id::{Kind, ResourceId};
use crate::arm::page;
use crate::arm::request::Request;
use crate::arm::versions;
use crate::desk::Desk;
use crate::operations;
use crate::store::record::Record;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

const TWINS: &str = "Microsoft.DigitalTwins";

/// Where below the provider a request is: in a subscription or a group, or neither.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) subscription: Option<&'a str>,
    pub(crate) group: Option<&'a str>,
}

/// Answers what stands behind `…/providers/Microsoft.DigitalTwins`.
pub(crate) async fn answer(
    desk: &Arc<Desk>,
    request: &Request,
    scope: Scope<'_>,
    rest: &[String],
    words: &[String],
) -> Result<Answer, Error> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    check_version(request, &words)?;
    match (scope.subscription, scope.group, words.as_slice()) {
        (None, None, ["operations"]) => {
            only(request, &[Method::GET], "GET")?;
            Ok(Answer::ok(all_operations()))
        }
        (Some(subscription), None, ["digitaltwinsinstances"]) => {
            only(request, &[Method::GET], "GET")?;
            let prefix = ResourceId::subscription_prefix(Kind::Instance, subscription);
            instances::list(desk, request, &prefix)
        }
        (Some(subscription), None, ["locations", _, "checknameavailability"]) => {
            only(request, &[Method::POST], "POST")?;
            instances::check_name(desk, request, subscription, &rest[1])
        }
        (
            Some(_),
            None,
            [
                "locations",
                _,
                "operationstatuses" | "operationsstatuses",
                _,
            ],
        ) => {
            only(request, &[Method::GET], "GET")?;
            operations::status(request, &desk.store.read(), &rest[3])
        }
        (Some(_), None, ["locations", _, "operationresults", _]) => {
            only(request, &[Method::GET], "GET")?;
            let state = desk.store.read();
            let render = |id: &ResourceId| Some(render(desk, request, state.get(id)?));
            operations::result(request, &state, &rest[3], render)
        }
        (Some(subscription), Some(group), ["digitaltwinsinstances"]) => {
            only(request, &[Method::GET], "GET")?;
            need_group(desk, subscription, group)?;
            let prefix = ResourceId::group_prefix(Kind::Instance, subscription, group);
            instances::list(desk, request, &prefix)
        }
        (Some(subscription), Some(group), ["digitaltwinsinstances", _, below @ ..]) => {
            let id = ResourceId::top(Kind::Instance, subscription, group, &rest[1]);
            let rest = &rest[2..];
            match below {
                [] => instances::answer(desk, request, id).await,
                ["endpoints", ..] => endpoints::answer(desk, request, &id, &rest[1..]).await,
                ["privatelinkresources", ..] => {
                    private_link::resources(desk, request, &id, &rest[1..])
                }
                ["privateendpointconnections", ..] => {
                    private_link::connections(desk, request, &id, &rest[1..]).await
                }
                ["timeseriesdatabaseconnections", ..] => {
                    time_series::answer(desk, request, &id, &rest[1..]).await
                }
                _ => Err(unknown(request)),
            }
        }
        _ => Err(unknown(request)),
    }
}

/// The version must be one that the provider has. On a list the answer is another than on a resource.
fn check_version(request: &Request, words: &[&str]) -> Result<(), Error> {
    let version = request.version()?;
    if versions::DIGITAL_TWINS.contains(&version) {
        return Ok(());
    }
    if words.len() % 2 == 1 {
        return Err(unknown(request));
    }
    Err(Error::NoRegisteredProvider {
        location: String::new(),
        version: version.to_owned(),
        kind: words
            .first()
            .map_or_else(String::new, |word| (*word).to_owned()),
        supported: versions::DIGITAL_TWINS,
    })
}

fn unknown(request: &Request) -> Error {
    Error::UnknownType {
        namespace: TWINS,
        version: request.query("api-version").unwrap_or_default().to_owned(),
    }
}

/// Refuses other methods.
pub(crate) fn only(
    request: &Request,
    methods: &[Method],
    allow: &'static str,
) -> Result<(), Error> {
    if methods.contains(&request.method) {
        return Ok(());
    }
    Err(Error::MethodNotAllowed {
        method: request.method.to_string(),
        allow,
    })
}

/// The group must be there: made by hand, or with the first resource in it.
pub(crate) fn need_group(desk: &Desk, subscription: &str, group: &str) -> Result<(), Error> {
    let id = ResourceId::group(subscription, group);
    match desk.store.read().get(&id) {
        Some(_) => Ok(()),
        None => Err(Error::GroupNotFound {
            group: group.to_owned(),
        }),
    }
}

/// The resource, or that it is not there.
pub(crate) fn need(desk: &Desk, id: &ResourceId) -> Result<Arc<Record>, Error> {
    need_group(desk, &id.subscription, &id.group)?;
    if let Some(owner) = id.owner() {
        need_parent(desk, &owner)?;
    }
    let record = desk.store.read().get(id).cloned();
    record.ok_or_else(|| not_found(id))
}

/// The parent of what is asked for.
pub(crate) fn need_parent(desk: &Desk, owner: &ResourceId) -> Result<Arc<Record>, Error> {
    need_group(desk, &owner.subscription, &owner.group)?;
    let record = desk.store.read().get(owner).cloned();
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

/// A list of children.
pub(crate) fn list_children(
    desk: &Desk,
    request: &Request,
    owner: &ResourceId,
    kind: Kind,
) -> Result<Answer, Error> {
    need_parent(desk, owner)?;
    let prefix = owner.children(kind);
    let state = desk.store.read();
    page::list(request, &state, &prefix, |record| {
        render(desk, request, record)
    })
    .map(Answer::ok)
}

/// Any resource of this provider, as readers see it.
pub(crate) fn render(desk: &Desk, request: &Request, record: &Record) -> Value {
    match record.id.kind {
        Kind::Instance => instances::render(desk, request, record),
        Kind::Endpoint => endpoints::render(record),
        _ => record.render(),
    }
}

/// What the provider says it can do.
fn all_operations() -> Value {
    let mut value = Vec::new();
    for (resource, what) in [
        ("digitalTwinsInstances", "Digital Twins instance"),
        (
            "digitalTwinsInstances/endpoints",
            "endpoint of a Digital Twins instance",
        ),
        (
            "digitalTwinsInstances/privateEndpointConnections",
            "private endpoint connection",
        ),
        (
            "digitalTwinsInstances/timeSeriesDatabaseConnections",
            "time series database connection",
        ),
        ("eventroutes", "event route"),
    ] {
        for (step, verb) in [
            ("read", "Read"),
            ("write", "Create or update"),
            ("delete", "Delete"),
        ] {
            let text = format!("{verb} any {what}");
            value.push(json!({
                "name": format!("{TWINS}/{resource}/{step}"),
                "display": { "provider": TWINS, "resource": resource, "operation": text, "description": text },
                "origin": "user,system",
                "isDataAction": resource == "eventroutes",
            }));
        }
    }
    json!({ "value": value })
}
