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
use crate::arm::versions;
use crate::context::ServerCall;
use crate::operations;
use crate::preconditions::{check_version, need_group, only_get, only_post, unknown_type};
use crate::private_link::resources;
use crate::store::record::ResourceRecord;
use serde_json::{Value, json};

const TWINS: &str = "Microsoft.DigitalTwins";

/// Answers what stands behind `…/providers/Microsoft.DigitalTwins`.
pub(crate) async fn answer(
    call: ServerCall<'_>,
    scope: PathScope<'_>,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    check_version(call, path, TWINS, versions::DIGITAL_TWINS)?;
    match (scope.subscription, scope.group, path.words) {
        (None, None, ["operations"]) => {
            only_get(call)?;
            Ok(ArmAnswer::ok(all_operations()))
        }
        (Some(subscription), None, ["digitaltwinsinstances"]) => {
            only_get(call)?;
            let prefix = ResourceId::subscription_prefix(ResourceKind::Instance, subscription);
            instances::list(call, &prefix)
        }
        (Some(_), None, ["locations", _, "checknameavailability"]) => {
            only_post(call)?;
            instances::check_name(call, path.name(1))
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
            only_get(call)?;
            operations::status(call.request, &call.state(), path.name(3))
        }
        (Some(_), None, ["locations", _, "operationresults", _]) => {
            only_get(call)?;
            let state = call.state();
            let render = |id: &ResourceId| Some(render(call, &state.get(id)?));
            operations::result(call.request, &state, path.name(3), render)
        }
        (Some(subscription), Some(group), ["digitaltwinsinstances"]) => {
            only_get(call)?;
            need_group(call, subscription, group)?;
            let prefix = ResourceId::group_prefix(ResourceKind::Instance, subscription, group);
            instances::list(call, &prefix)
        }
        (Some(subscription), Some(group), ["digitaltwinsinstances", _, ..]) => {
            let id = ResourceId::top(ResourceKind::Instance, subscription, group, path.name(1));
            of_instance(call, id, path.behind(2)).await
        }
        _ => Err(unknown(call)),
    }
}

/// What is at each path below an instance.
async fn of_instance(
    call: ServerCall<'_>,
    id: ResourceId,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    let [kind, ..] = path.words else {
        return instances::answer(call, id).await;
    };
    let path = path.behind(1);
    match *kind {
        "endpoints" => endpoints::answer(call, &id, path).await,
        "privatelinkresources" => resources(call, &id, path, &private_link::LINKED),
        "privateendpointconnections" => private_link::connections(call, &id, path).await,
        "timeseriesdatabaseconnections" => time_series::answer(call, &id, path).await,
        _ => Err(unknown(call)),
    }
}

fn unknown(call: ServerCall<'_>) -> Error {
    unknown_type(call, TWINS)
}

/// Any resource of this provider, as readers see it.
fn render(call: ServerCall<'_>, record: &ResourceRecord) -> Value {
    match record.id.kind {
        ResourceKind::Instance => instances::render(call, record),
        ResourceKind::Endpoint => endpoint_record::render(record),
        _ => record.render_hidden(),
    }
}

/// What can be read, written and deleted.
const WRITABLE: [&str; 5] = [
    "digitalTwinsInstances: Digital Twins instance",
    "digitalTwinsInstances/endpoints: endpoint of a Digital Twins instance",
    "digitalTwinsInstances/privateEndpointConnections: private endpoint connection",
    "digitalTwinsInstances/timeSeriesDatabaseConnections: time series database connection",
    "eventroutes: event route",
];

/// What the provider says it can do.
fn all_operations() -> Value {
    const VERBS: [(&str, &str); 3] = [
        ("read", "Read"),
        ("write", "Create or update"),
        ("delete", "Delete"),
    ];
    let all = WRITABLE.iter().flat_map(|row| {
        let (resource, what) = row.split_once(": ").unwrap_or_default();
        VERBS.map(|(step, verb)| {
            let text = format!("{verb} any {what}");
            json!({
                "name": format!("{TWINS}/{resource}/{step}"),
                "display": { "provider": TWINS, "resource": resource, "operation": text, "description": text },
                "origin": "user,system",
                "isDataAction": resource == "eventroutes",
            })
        })
    });
    json!({ "value": all.collect::<Vec<_>>() })
}

#[cfg(test)]
mod lifecycle_tests;
#[cfg(test)]
mod provisioning_tests;
