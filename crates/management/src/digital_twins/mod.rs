//! Microsoft.DigitalTwins: what is at each path below the provider.
//!
//! Source: Microsoft.DigitalTwins 2023-01-31; recorded answers of Azure where they differ from it.

pub(crate) mod endpoints;
mod instances;
pub(crate) mod names;
mod private_link;
mod time_series;

pub(crate) use instances::named;

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::json::BodyObject;
use crate::arm::page;
use crate::arm::request::ArmRequest;
use crate::arm::versions;
use crate::context::ServerContext;
use crate::operations;
use crate::preconditions::{PathScope, check_version, need_group, need_parent, only, unknown_type};
use crate::store::record::ResourceRecord;
use http::Method;
use serde_json::{Map, Value, json};
use std::sync::Arc;

const TWINS: &str = "Microsoft.DigitalTwins";

/// Answers what stands behind `…/providers/Microsoft.DigitalTwins`.
pub(crate) async fn answer(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    scope: PathScope<'_>,
    rest: &[String],
    words: &[String],
) -> Result<ArmAnswer, Error> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    check_version(request, &words, TWINS, versions::DIGITAL_TWINS)?;
    match (scope.subscription, scope.group, words.as_slice()) {
        (None, None, ["operations"]) => {
            only(request, &[Method::GET], "GET")?;
            Ok(ArmAnswer::ok(all_operations()))
        }
        (Some(subscription), None, ["digitaltwinsinstances"]) => {
            only(request, &[Method::GET], "GET")?;
            let prefix = ResourceId::subscription_prefix(ResourceKind::Instance, subscription);
            instances::list(context, request, &prefix)
        }
        (Some(subscription), None, ["locations", _, "checknameavailability"]) => {
            only(request, &[Method::POST], "POST")?;
            instances::check_name(context, request, subscription, &rest[1])
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
            operations::status(request, &context.store.read(), &rest[3])
        }
        (Some(_), None, ["locations", _, "operationresults", _]) => {
            only(request, &[Method::GET], "GET")?;
            let state = context.store.read();
            let render = |id: &ResourceId| Some(render(context, request, &state.get(id)?));
            operations::result(request, &state, &rest[3], render)
        }
        (Some(subscription), Some(group), ["digitaltwinsinstances"]) => {
            only(request, &[Method::GET], "GET")?;
            need_group(context, subscription, group)?;
            let prefix = ResourceId::group_prefix(ResourceKind::Instance, subscription, group);
            instances::list(context, request, &prefix)
        }
        (Some(subscription), Some(group), ["digitaltwinsinstances", _, below @ ..]) => {
            let id = ResourceId::top(ResourceKind::Instance, subscription, group, &rest[1]);
            let rest = &rest[2..];
            match below {
                [] => instances::answer(context, request, id).await,
                ["endpoints", ..] => endpoints::answer(context, request, &id, &rest[1..]).await,
                ["privatelinkresources", ..] => {
                    private_link::resources(context, request, &id, &rest[1..])
                }
                ["privateendpointconnections", ..] => {
                    private_link::connections(context, request, &id, &rest[1..]).await
                }
                ["timeseriesdatabaseconnections", ..] => {
                    time_series::answer(context, request, &id, &rest[1..]).await
                }
                _ => Err(unknown(request)),
            }
        }
        _ => Err(unknown(request)),
    }
}

fn unknown(request: &ArmRequest) -> Error {
    unknown_type(request, TWINS)
}

/// A list of children.
pub(crate) fn list_children(
    context: &ServerContext,
    request: &ArmRequest,
    owner: &ResourceId,
    kind: ResourceKind,
) -> Result<ArmAnswer, Error> {
    need_parent(context, owner)?;
    let prefix = owner.children(kind);
    let state = context.store.read();
    page::list(request, &state, &prefix, |record| {
        render(context, request, record)
    })
    .map(ArmAnswer::ok)
}

/// Any resource of this provider, as readers see it.
pub(crate) fn render(
    context: &ServerContext,
    request: &ArmRequest,
    record: &ResourceRecord,
) -> Value {
    match record.id.kind {
        ResourceKind::Instance => instances::render(context, request, record),
        ResourceKind::Endpoint => endpoints::render(record),
        _ => record.render_hidden(),
    }
}

/// `ManagedIdentityReference`: the identity that a resource below an instance writes as.
fn identity_reference(properties: &BodyObject<'_>) -> Result<Option<Value>, Error> {
    let identity = properties.object("identity")?;
    let mut reference = Map::new();
    for member in ["type", "userAssignedIdentity"] {
        if let Some(text) = identity.text(member)? {
            reference.insert(member.to_owned(), text.into());
        }
    }
    Ok(identity.is_there().then(|| reference.into()))
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

#[cfg(test)]
mod lifecycle_tests;
#[cfg(test)]
mod provisioning_tests;
