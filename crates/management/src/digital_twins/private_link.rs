//! Private link of an instance: `…/privateLinkResources` and `…/privateEndpointConnections`.

use super::list_children;
use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::request::ArmRequest;
use crate::context::ServerContext;
use crate::preconditions::{child, need, not_taken};
use crate::private_link::{self, PrivateLinkTarget};
use http::{Method, StatusCode};
use std::sync::Arc;

/// The one thing that a private endpoint of an instance connects to, as Azure answers it today.
const GROUP: &str = "API";

const LINKED: PrivateLinkTarget = PrivateLinkTarget {
    group: GROUP,
    member: "DigitalTwinsAPI",
    zone: "privatelink.digitaltwins.azure.net",
};

pub(crate) fn resources(
    context: &ServerContext,
    request: &ArmRequest,
    instance: &ResourceId,
    rest: &[String],
) -> Result<ArmAnswer, Error> {
    private_link::resources(context, request, instance, rest, &LINKED)
}

pub(crate) async fn connections(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    instance: &ResourceId,
    rest: &[String],
) -> Result<ArmAnswer, Error> {
    let Some(name) = child(request, rest)? else {
        return list_children(context, request, instance, ResourceKind::Connection);
    };
    let id = instance.child(ResourceKind::Connection, name);
    match request.method {
        Method::GET => Ok(ArmAnswer::ok(need(context, &id)?.render_hidden())),
        Method::PUT => {
            let begun = private_link::put(context, request, id, GROUP).await?;
            Ok(begun.answer(
                &context.store.read(),
                request,
                StatusCode::ACCEPTED,
                Some(begun.record.render_hidden()),
            ))
        }
        // Its 202 has no body.
        Method::DELETE => Ok(match private_link::delete(context, request, id).await? {
            Some(begun) => begun.answer(&context.store.read(), request, StatusCode::ACCEPTED, None),
            None => ArmAnswer::no_content(),
        }),
        _ => Err(not_taken(request, "GET, PUT and DELETE")),
    }
}
