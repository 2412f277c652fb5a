//! Microsoft.DigitalTwins: what is at each path below the provider.
//!
//! Source: Microsoft.DigitalTwins 2023-01-31; recorded answers of Azure where they differ from it.

pub(crate) mod endpoint_record;
mod endpoints;
mod instances;
pub(crate) mod names;
mod private_link;
mod time_series;

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::path::{PathCursor, PathScope};
use crate::arm::request::ArmRequest;
use crate::arm::versions;
use crate::context::ServerContext;
use crate::operations;
use crate::preconditions::{check_version, need_group, only, unknown_type};
use crate::store::record::ResourceRecord;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

const TWINS: &str = "Microsoft.DigitalTwins";

/// Answers what stands behind `…/providers/Microsoft.DigitalTwins`.
pub(crate) async fn answer(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    scope: PathScope<'_>,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    check_version(request, path, TWINS, versions::DIGITAL_TWINS)?;
    match (scope.subscription, scope.group, path.words) {
        (None, None, ["operations"]) => {
            only(request, &[Method::GET], "GET")?;
            Ok(ArmAnswer::ok(all_operations()))
        }
        (Some(subscription), None, ["digitaltwinsinstances"]) => {
            only(request, &[Method::GET], "GET")?;
            let prefix = ResourceId::subscription_prefix(ResourceKind::Instance, subscription);
            instances::list(context, request, &prefix)
        }
        (Some(_), None, ["locations", _, "checknameavailability"]) => {
            only(request, &[Method::POST], "POST")?;
            instances::check_name(context, request, path.name(1))
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
            operations::status(request, &context.store.read(), path.name(3))
        }
        (Some(_), None, ["locations", _, "operationresults", _]) => {
            only(request, &[Method::GET], "GET")?;
            let state = context.store.read();
            let render = |id: &ResourceId| Some(render(context, request, &state.get(id)?));
            operations::result(request, &state, path.name(3), render)
        }
        (Some(subscription), Some(group), ["digitaltwinsinstances"]) => {
            only(request, &[Method::GET], "GET")?;
            need_group(context, subscription, group)?;
            let prefix = ResourceId::group_prefix(ResourceKind::Instance, subscription, group);
            instances::list(context, request, &prefix)
        }
        (Some(subscription), Some(group), ["digitaltwinsinstances", _, ..]) => {
            let id = ResourceId::top(ResourceKind::Instance, subscription, group, path.name(1));
            of_instance(context, request, id, path.behind(2)).await
        }
        _ => Err(unknown(request)),
    }
}

/// What is at each path below an instance.
async fn of_instance(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    let [kind, ..] = path.words else {
        return instances::answer(context, request, id).await;
    };
    let path = path.behind(1);
    match *kind {
        "endpoints" => endpoints::answer(context, request, &id, path).await,
        "privatelinkresources" => private_link::resources(context, request, &id, path),
        "privateendpointconnections" => {
            private_link::connections(context, request, &id, path).await
        }
        "timeseriesdatabaseconnections" => time_series::answer(context, request, &id, path).await,
        _ => Err(unknown(request)),
    }
}

fn unknown(request: &ArmRequest) -> Error {
    unknown_type(request, TWINS)
}

/// Any resource of this provider, as readers see it.
fn render(context: &ServerContext, request: &ArmRequest, record: &ResourceRecord) -> Value {
    match record.id.kind {
        ResourceKind::Instance => instances::render(context, request, record),
        ResourceKind::Endpoint => endpoint_record::render(record),
        _ => record.render_hidden(),
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

#[cfg(test)]
mod lifecycle_tests;
#[cfg(test)]
mod provisioning_tests;
