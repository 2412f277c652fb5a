//! Private link of a service: `…/privateLinkResources` and `…/privateEndpointConnections`.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::path::PathCursor;
use crate::context::ServerCall;
use crate::preconditions::{child, need, need_parent, not_taken};
use crate::private_link::{self, PrivateLinkTarget};
use crate::store::record::ResourceRecord;
use crate::transitions;
use http::Method;
use serde_json::{Value, json};

/// The one thing that a private endpoint of a service connects to.
const GROUP: &str = "iotDps";

pub(super) const LINKED: PrivateLinkTarget = PrivateLinkTarget {
    group: GROUP,
    member: GROUP,
    zone: "privatelink.azure-devices-provisioning.net",
};

pub(super) async fn connections(
    call: ServerCall<'_>,
    service: &ResourceId,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    let Some(name) = child(call, path)? else {
        // All at once, in a bare array: so it is published.
        need_parent(call, service)?;
        let all = private_link::render_all(&call.state(), service, ResourceKind::ServiceConnection);
        return Ok(ArmAnswer::ok(all.into()));
    };
    let id = service.child(ResourceKind::ServiceConnection, name);
    match call.request.method {
        Method::GET => Ok(ArmAnswer::ok(need(call, &id)?.render_hidden())),
        Method::PUT => {
            let outcome = private_link::put(call, id, GROUP).await?;
            let body = Some(outcome.record.render_hidden());
            Ok(outcome.answer(call, outcome.status(), body))
        }
        Method::DELETE => transitions::delete(call, id, |_, _| Ok(()), show_deleted).await,
        _ => Err(not_taken(call, "GET, PUT and DELETE")),
    }
}

/// Microsoft.Devices 2022-12-12, example DPSDeletePrivateEndpointConnection.
fn show_deleted(record: &ResourceRecord) -> Option<Value> {
    let mut text = record.render_hidden();
    text["properties"]["privateLinkServiceConnectionState"] = json!({
        "status": "Disconnected", "description": "Deleted", "actionsRequired": "None",
    });
    Some(text)
}
