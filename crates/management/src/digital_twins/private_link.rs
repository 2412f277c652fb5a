//! Private link of an instance: `…/privateLinkResources` and `…/privateEndpointConnections`.

use super::list_children;
use crate::arm::answer::Answer;
use crate::arm::error::Error;
use crate::arm::id::{Kind, ResourceId};
use crate::arm::request::Request;
use crate::desk::Desk;
use crate::lookup::{need, need_parent, not_found, only};
use crate::private_link;
use http::{Method, StatusCode};
use serde_json::json;
use std::sync::Arc;

/// The one thing that a private endpoint of an instance connects to, as Azure answers it today.
const GROUP: &str = "API";

pub(crate) fn resources(
    desk: &Desk,
    request: &Request,
    instance: &ResourceId,
    rest: &[String],
) -> Result<Answer, Error> {
    only(request, &[Method::GET], "GET")?;
    need_parent(desk, instance)?;
    let resource = json!({
        "id": format!("{instance}/privateLinkResources/{GROUP}"),
        "name": GROUP,
        "type": format!("{}/privateLinkResources", Kind::Instance.type_name()),
        "properties": {
            "groupId": GROUP,
            "requiredMembers": ["DigitalTwinsAPI"],
            "requiredZoneNames": ["privatelink.digitaltwins.azure.net"],
        },
    });
    match rest {
        [] => Ok(Answer::ok(json!({ "value": [resource] }))),
        [name] if name.eq_ignore_ascii_case(GROUP) => Ok(Answer::ok(resource)),
        [name, ..] => Err(Error::NotFound {
            kind: Kind::Instance.type_name(),
            name: format!("{}/privateLinkResources/{name}", instance.name),
            group: instance.group.clone(),
        }),
    }
}

pub(crate) async fn connections(
    desk: &Arc<Desk>,
    request: &Request,
    instance: &ResourceId,
    rest: &[String],
) -> Result<Answer, Error> {
    let [name] = rest else {
        if !rest.is_empty() {
            let path = request.path();
            return Err(Error::UnknownPath { path });
        }
        only(request, &[Method::GET], "GET")?;
        return list_children(desk, request, instance, Kind::Connection);
    };
    let id = instance.child(Kind::Connection, name);
    match request.method {
        Method::GET => Ok(Answer::ok(need(desk, &id)?.render())),
        Method::PUT => {
            let begun = private_link::put(desk, request, id, GROUP).await?;
            Ok(begun.answer(request, StatusCode::ACCEPTED, Some(begun.record.render())))
        }
        // Its 202 has no body.
        Method::DELETE => Ok(match private_link::delete(desk, request, id).await? {
            Some(begun) => begun.answer(request, StatusCode::ACCEPTED, None),
            None => Answer::no_content(),
        }),
        _ => {
            only(request, &[], "GET, PUT and DELETE")?;
            Err(not_found(&id))
        }
    }
}
