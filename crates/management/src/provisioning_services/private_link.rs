//! Private link of a service: `…/privateLinkResources` and `…/privateEndpointConnections`.

use crate::arm::answer::Answer;
use crate::arm::error::Error;
use crate::arm::id::{Kind, ResourceId};
use crate::arm::request::Request;
use crate::desk::Desk;
use crate::lookup::{child, need, need_parent, not_taken};
use crate::operations::Step;
use crate::private_link::{self, Linked};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

/// The one thing that a private endpoint of a service connects to.
const GROUP: &str = "iotDps";

const LINKED: Linked = Linked {
    group: GROUP,
    member: GROUP,
    zone: "privatelink.azure-devices-provisioning.net",
};

pub(super) fn resources(
    desk: &Desk,
    request: &Request,
    service: &ResourceId,
    rest: &[String],
) -> Result<Answer, Error> {
    private_link::resources(desk, request, service, rest, &LINKED)
}

pub(super) async fn connections(
    desk: &Arc<Desk>,
    request: &Request,
    service: &ResourceId,
    rest: &[String],
) -> Result<Answer, Error> {
    let Some(name) = child(request, rest)? else {
        return list(desk, service);
    };
    let id = service.child(Kind::ServiceConnection, name);
    match request.method {
        Method::GET => Ok(Answer::ok(need(desk, &id)?.render_hidden())),
        Method::PUT => {
            let begun = private_link::put(desk, request, id, GROUP).await?;
            let status = match begun.step {
                Step::Create => StatusCode::CREATED,
                Step::Update | Step::Delete => StatusCode::OK,
            };
            Ok(begun.answer(
                &desk.store.read(),
                request,
                status,
                Some(begun.record.render_hidden()),
            ))
        }
        Method::DELETE => Ok(match private_link::delete(desk, request, id).await? {
            Some(begun) => {
                let mut shown = begun.record.render_hidden();
                // Microsoft.Devices 2022-12-12, example DPSDeletePrivateEndpointConnection.
                shown["properties"]["privateLinkServiceConnectionState"] = json!({
                    "status": "Disconnected", "description": "Deleted", "actionsRequired": "None",
                });
                begun.answer(
                    &desk.store.read(),
                    request,
                    StatusCode::ACCEPTED,
                    Some(shown),
                )
            }
            None => Answer::no_content(),
        }),
        _ => Err(not_taken(request, "GET, PUT and DELETE")),
    }
}

/// All at once, in a bare array: so it is published.
fn list(desk: &Desk, service: &ResourceId) -> Result<Answer, Error> {
    need_parent(desk, service)?;
    let prefix = service.children(Kind::ServiceConnection);
    let state = desk.store.read();
    let all = state.range(&prefix, None);
    let all: Vec<Value> = all.map(|connection| connection.render_hidden()).collect();
    Ok(Answer::ok(all.into()))
}
