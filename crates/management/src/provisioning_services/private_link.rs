//! Private link of a service: `…/privateLinkResources` and `…/privateEndpointConnections`.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::request::ArmRequest;
use crate::context::ServerContext;
use crate::operations::OperationStep;
use crate::preconditions::{child, need, need_parent, not_taken};
use crate::private_link::{self, PrivateLinkTarget};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

/// The one thing that a private endpoint of a service connects to.
const GROUP: &str = "iotDps";

const LINKED: PrivateLinkTarget = PrivateLinkTarget {
    group: GROUP,
    member: GROUP,
    zone: "privatelink.azure-devices-provisioning.net",
};

pub(super) fn resources(
    context: &ServerContext,
    request: &ArmRequest,
    service: &ResourceId,
    rest: &[String],
) -> Result<ArmAnswer, Error> {
    private_link::resources(context, request, service, rest, &LINKED)
}

pub(super) async fn connections(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    service: &ResourceId,
    rest: &[String],
) -> Result<ArmAnswer, Error> {
    let Some(name) = child(request, rest)? else {
        return list(context, service);
    };
    let id = service.child(ResourceKind::ServiceConnection, name);
    match request.method {
        Method::GET => Ok(ArmAnswer::ok(need(context, &id)?.render_hidden())),
        Method::PUT => {
            let begun = private_link::put(context, request, id, GROUP).await?;
            let status = match begun.step {
                OperationStep::Create => StatusCode::CREATED,
                OperationStep::Update | OperationStep::Delete => StatusCode::OK,
            };
            Ok(begun.answer(
                &context.store.read(),
                request,
                status,
                Some(begun.record.render_hidden()),
            ))
        }
        Method::DELETE => Ok(match private_link::delete(context, request, id).await? {
            Some(begun) => {
                let mut shown = begun.record.render_hidden();
                // Microsoft.Devices 2022-12-12, example DPSDeletePrivateEndpointConnection.
                shown["properties"]["privateLinkServiceConnectionState"] = json!({
                    "status": "Disconnected", "description": "Deleted", "actionsRequired": "None",
                });
                begun.answer(
                    &context.store.read(),
                    request,
                    StatusCode::ACCEPTED,
                    Some(shown),
                )
            }
            None => ArmAnswer::no_content(),
        }),
        _ => Err(not_taken(request, "GET, PUT and DELETE")),
    }
}

/// All at once, in a bare array: so it is published.
fn list(context: &ServerContext, service: &ResourceId) -> Result<ArmAnswer, Error> {
    need_parent(context, service)?;
    let prefix = service.children(ResourceKind::ServiceConnection);
    let state = context.store.read();
    let all = state.range(&prefix, None);
    let all: Vec<Value> = all.map(|connection| connection.render_hidden()).collect();
    Ok(ArmAnswer::ok(all.into()))
}
