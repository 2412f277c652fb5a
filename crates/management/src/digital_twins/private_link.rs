//! Private link of an instance: `…/privateLinkResources` and `…/privateEndpointConnections`.

use super::list_children;
use crate::arm::answer::Answer;
use crate::arm::error::Error;
use crate::arm::id::{Kind, ResourceId};
use crate::arm::request::Request;
use crate::desk::Desk;
use crate::lookup::{child, need, not_taken};
use crate::private_link::{self, Linked};
use http::{Method, StatusCode};
use std::sync::Arc;

/// The one thing that a private endpoint of an instance connects to, as Azure answers it today.
const GROUP: &str = "API";

const LINKED: Linked = Linked {
    group: GROUP,
    member: "DigitalTwinsAPI",
    zone: "privatelink.digitaltwins.azure.net",
};

pub(crate) fn resources(
    desk: &Desk,
    request: &Request,
    instance: &ResourceId,
    rest: &[String],
) -> Result<Answer, Error> {
    private_link::resources(desk, request, instance, rest, &LINKED)
}

pub(crate) async fn connections(
    desk: &Arc<Desk>,
    request: &Request,
    instance: &ResourceId,
    rest: &[String],
) -> Result<Answer, Error> {
    let Some(name) = child(request, rest)? else {
        return list_children(desk, request, instance, Kind::Connection);
    };
    let id = instance.child(Kind::Connection, name);
    match request.method {
        Method::GET => Ok(Answer::ok(need(desk, &id)?.render_hidden())),
        Method::PUT => {
            let begun = private_link::put(desk, request, id, GROUP).await?;
            Ok(begun.answer(
                &desk.store.read(),
                request,
                StatusCode::ACCEPTED,
                Some(begun.record.render_hidden()),
            ))
        }
        // Its 202 has no body.
        Method::DELETE => Ok(match private_link::delete(desk, request, id).await? {
            Some(begun) => begun.answer(&desk.store.read(), request, StatusCode::ACCEPTED, None),
            None => Answer::no_content(),
        }),
        _ => Err(not_taken(request, "GET, PUT and DELETE")),
    }
}
