//! Private link of a service: `…/privateLinkResources` and `…/privateEndpointConnections`.

use crate::arm::answer::Answer;
use crate::arm::error::Error;
use crate::arm::id::{Kind, ResourceId};
use crate::arm::request::Request;
use crate::desk::Desk;
use crate::lookup::{need, need_parent, not_found, only};
use crate::operations::Step;
use crate::private_link;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

/// The one thing that a private endpoint of a service connects to.
const GROUP: &str = "iotDps";

pub(super) fn resources(
    desk: &Desk,
    request: &Request,
    service: &ResourceId,
    rest: &[String],
) -> Result<Answer, Error> {
    only(request, &[Method::GET], "GET")?;
    need_parent(desk, service)?;
    let resource = json!({
        "id": format!("{service}/privateLinkResources/{GROUP}"),
        "name": GROUP,
        "type": format!("{}/privateLinkResources", Kind::Service.type_name()),
        "properties": {
            "groupId": GROUP,
            "requiredMembers": [GROUP],
            "requiredZoneNames": ["privatelink.azure-devices-provisioning.net"],
        },
    });
    match rest {
        [] => Ok(Answer::ok(json!({ "value": [resource] }))),
        [name] if name.eq_ignore_ascii_case(GROUP) => Ok(Answer::ok(resource)),
        [name, ..] => Err(Error::NotFound {
            kind: Kind::Service.type_name(),
            name: format!("{}/privateLinkResources/{name}", service.name),
            group: service.group.clone(),
        }),
    }
}

pub(super) async fn connections(
    desk: &Arc<Desk>,
    request: &Request,
    service: &ResourceId,
    rest: &[String],
) -> Result<Answer, Error> {
    let [name] = rest else {
        if !rest.is_empty() {
            let path = request.path();
            return Err(Error::UnknownPath { path });
        }
        only(request, &[Method::GET], "GET")?;
        return list(desk, service);
    };
    let id = service.child(Kind::ServiceConnection, name);
    match request.method {
        Method::GET => Ok(Answer::ok(need(desk, &id)?.render())),
        Method::PUT => {
            let begun = private_link::put(desk, request, id, GROUP).await?;
            let status = match begun.step {
                Step::Create => StatusCode::CREATED,
                Step::Update | Step::Delete => StatusCode::OK,
            };
            Ok(begun.answer(request, status, Some(begun.record.render())))
        }
        Method::DELETE => Ok(match private_link::delete(desk, request, id).await? {
            Some(begun) => {
                let mut shown = begun.record.render();
                // Microsoft.Devices 2022-12-12, example DPSDeletePrivateEndpointConnection.
                shown["properties"]["privateLinkServiceConnectionState"] = json!({
                    "status": "Disconnected", "description": "Deleted", "actionsRequired": "None",
                });
                begun.answer(request, StatusCode::ACCEPTED, Some(shown))
            }
            None => Answer::no_content(),
        }),
        _ => {
            only(request, &[], "GET, PUT and DELETE")?;
            Err(not_found(&id))
        }
    }
}

/// All at once, in a bare array: so it is published.
fn list(desk: &Desk, service: &ResourceId) -> Result<Answer, Error> {
    need_parent(desk, service)?;
    let prefix = service.children(Kind::ServiceConnection);
    let state = desk.store.read();
    let all = state.range(&prefix, None);
    let all: Vec<Value> = all.map(|connection| connection.render()).collect();
    Ok(Answer::ok(all.into()))
}
