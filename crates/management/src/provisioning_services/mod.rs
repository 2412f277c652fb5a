//! Microsoft.Devices/provisioningServices: what is at each path below the provider.
//!
//! Source: Microsoft.Devices 2022-12-12; recorded answers of Azure where they differ from it. The service's own
//! refusals are flat and have numbers; those of ARM keep ARM's shape, as in Azure.

mod certificates;
mod etag;
mod hubs;
mod namespaces;
mod policies;
mod private_link;
mod services;
mod wanted;
mod x509;

use crate::arm::answer::ArmAnswer;
use crate::arm::error::{Error, ServiceRefusal};
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::names::{check_connection, check_group};
use crate::arm::path::{PathCursor, PathScope};
use crate::arm::versions;
use crate::context::ServerCall;
use crate::operations;
use crate::preconditions::{check_version, need, need_group, only_get, only_post, unknown_type};
use crate::private_link::resources;
use http::Method;
use serde_json::{Value, json};

const DEVICES: &str = "Microsoft.Devices";

/// Answers what stands behind `…/providers/Microsoft.Devices`.
pub(crate) async fn answer(
    call: ServerCall<'_>,
    scope: PathScope<'_>,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    check_version(call, path, DEVICES, versions::PROVISIONING)?;
    let answered = match (scope.subscription, scope.group, path.words) {
        (None, None, ["operations"]) => {
            only_get(call)?;
            Ok(ArmAnswer::ok(all_operations()))
        }
        (Some(subscription), None, ["provisioningservices"]) => {
            only_get(call)?;
            let prefix = ResourceId::subscription_prefix(ResourceKind::Service, subscription);
            services::list(call, &prefix)
        }
        (Some(_), None, ["checkprovisioningservicenameavailability"]) => {
            only_post(call)?;
            services::check_name(call)
        }
        (Some(subscription), Some(group), ["provisioningservices"]) => {
            only_get(call)?;
            need_group(call, subscription, group)?;
            let prefix = ResourceId::group_prefix(ResourceKind::Service, subscription, group);
            services::list(call, &prefix)
        }
        (Some(subscription), Some(group), ["provisioningservices", _, ..]) => {
            if call.request.method == Method::PUT {
                check_group(group)?;
            }
            let id = ResourceId::top(ResourceKind::Service, subscription, group, path.name(1));
            of_service(call, id, path.behind(2)).await
        }
        _ => Err(unknown_type(call, DEVICES)),
    };
    answered.map_err(flat)
}

/// What is at each path below a service.
async fn of_service(
    call: ServerCall<'_>,
    id: ResourceId,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    match path.words {
        [] => services::answer(call, id).await,
        ["operationresults", _] => {
            only_get(call)?;
            operation(call, &id, path.name(1))
        }
        ["skus"] => {
            only_get(call)?;
            need(call, &id)?;
            Ok(ArmAnswer::ok(json!({ "value": [{ "name": wanted::SKU }] })))
        }
        ["listkeys"] => {
            only_post(call)?;
            Ok(ArmAnswer::ok(policies::all_keys(&need(call, &id)?)))
        }
        ["keys", _, "listkeys"] => {
            only_post(call)?;
            policies::keys(&need(call, &id)?, path.name(1)).map(ArmAnswer::ok)
        }
        ["certificates", ..] => certificates::answer(call, &id, path.behind(1)).await,
        ["privatelinkresources", ..] => resources(call, &id, path.behind(1), &private_link::LINKED),
        ["privateendpointconnections", ..] => {
            private_link::connections(call, &id, path.behind(1)).await
        }
        _ => Err(unknown_type(call, DEVICES)),
    }
}

/// One path is both URLs of an operation: with `asyncinfo` it tells how far it is, without it what a call that
/// waits had answered.
fn operation(call: ServerCall<'_>, service: &ResourceId, id: &str) -> Result<ArmAnswer, Error> {
    let state = call.state();
    operations::check_owner(&state, id, service)?;
    if call.request.query("asyncinfo").is_some() {
        return operations::short_status(&state, id);
    }
    operations::result(call.request, &state, id, |resource| {
        let record = state.get(resource)?;
        Some(match resource.kind {
            ResourceKind::Service => services::render(&state, &record),
            _ => record.render_hidden(),
        })
    })
}

/// What is wrong with a request's content is the service's to say, in its own shape.
fn flat(error: Error) -> Error {
    match error {
        Error::MissingMember { .. }
        | Error::WrongType { .. }
        | Error::Invalid { .. }
        | Error::InvalidFields(_)
        | Error::InvalidName { .. }
        | Error::LimitReached { .. } => {
            Error::service(ServiceRefusal::BadRequest, error.to_string())
        }
        other => other,
    }
}

/// What is wrong with a name in a path that no name can be; `below` is what stands between it and the provider.
pub(crate) fn illegal(below: &[&str], name: &str) -> Option<Error> {
    let error = match below {
        [_] => services::check_name_rule(name),
        [_, _, "certificates"] => certificates::check_name(name),
        [_, _, "privateendpointconnections"] => check_connection(name),
        _ => Ok(()),
    };
    error.err().map(flat)
}

/// What the provider says it can do.
const OPERATIONS: &[&str] = &[
    "provisioningServices/read: Read provisioning services",
    "provisioningServices/write: Create or update provisioning services",
    "provisioningServices/delete: Delete provisioning services",
    "provisioningServices/certificates/read: Read certificates of provisioning services",
    "provisioningServices/certificates/write: \
     Create or update certificates of provisioning services",
    "provisioningServices/certificates/delete: Delete certificates of provisioning services",
    "provisioningServices/privateEndpointConnections/read: \
     Read private endpoint connections of provisioning services",
    "provisioningServices/privateEndpointConnections/write: \
     Create or update private endpoint connections of provisioning services",
    "provisioningServices/privateEndpointConnections/delete: \
     Delete private endpoint connections of provisioning services",
    "checkProvisioningServiceNameAvailability/action: Check whether a name is free",
    "provisioningServices/listkeys/action: List the keys of provisioning services",
    "provisioningServices/skus/read: Read the SKUs of provisioning services",
];

fn all_operations() -> Value {
    let all = OPERATIONS.iter().map(|row| {
        let (name, what) = row.split_once(": ").unwrap_or_default();
        json!({
            "name": format!("{DEVICES}/{name}"),
            "display": {
                "provider": "Microsoft Devices", "resource": "provisioningServices", "operation": what,
            },
        })
    });
    json!({ "value": all.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests;
