//! Private link of a service: `…/privateLinkResources` and `…/privateEndpointConnections`.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::path::PathCursor;
use crate::arm::request::ArmRequest;
use crate::context::ServerContext;
use crate::preconditions::{child, need, need_parent, not_taken};
use crate::private_link::{self, PrivateLinkTarget};
use crate::store::record::ResourceRecord;
use crate::transitions;
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
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    private_link::resources(context, request, service, path, &LINKED)
}

pub(super) async fn connections(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    service: &ResourceId,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    let Some(name) = child(request, path)? else {
        return list(context, service);
    };
    let id = service.child(ResourceKind::ServiceConnection, name);
    match request.method {
        Method::GET => Ok(ArmAnswer::ok(need(context, &id)?.render_hidden())),
        Method::PUT => {
            let outcome = private_link::put(context, request, id, GROUP).await?;
            let status = match outcome.is_new {
                true => StatusCode::CREATED,
                false => StatusCode::OK,
            };
            let body = Some(outcome.record.render_hidden());
            Ok(outcome.answer(context, request, status, body))
        }
        Method::DELETE => {
            transitions::delete(context, request, id, |_, _| Ok(()), show_deleted).await
        }
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

/// Microsoft.Devices 2022-12-12, example DPSDeletePrivateEndpointConnection.
fn show_deleted(record: &ResourceRecord) -> Option<Value> {
    let mut shown = record.render_hidden();
    shown["properties"]["privateLinkServiceConnectionState"] = json!({
        "status": "Disconnected", "description": "Deleted", "actionsRequired": "None",
    });
    Some(shown)
}
