//! Private link of an instance: `…/privateLinkResources` and `…/privateEndpointConnections`.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::path::PathCursor;
use crate::context::ServerCall;
use crate::listing;
use crate::preconditions::{child, need, not_taken};
use crate::private_link::{self, PrivateLinkTarget};
use crate::store::record::ResourceRecord;
use crate::transitions;
use http::{Method, StatusCode};

/// The one thing that a private endpoint of an instance connects to, as Azure answers it today.
const GROUP: &str = "API";

pub(crate) const LINKED: PrivateLinkTarget = PrivateLinkTarget {
    group: GROUP,
    member: "DigitalTwinsAPI",
    zone: "privatelink.digitaltwins.azure.net",
};

pub(crate) async fn connections(
    call: ServerCall<'_>,
    instance: &ResourceId,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    let show = ResourceRecord::render_hidden;
    let Some(name) = child(call, path)? else {
        return listing::children(call, instance, ResourceKind::Connection, show);
    };
    let id = instance.child(ResourceKind::Connection, name);
    match call.request.method {
        Method::GET => Ok(ArmAnswer::ok(show(&need(call, &id)?))),
        Method::PUT => {
            let outcome = private_link::put(call, id, GROUP).await?;
            let body = Some(show(&outcome.record));
            Ok(outcome.answer(call, StatusCode::ACCEPTED, body))
        }
        // Its 202 has no body.
        Method::DELETE => transitions::delete(call, id, |_, _| Ok(()), |_| None).await,
        _ => Err(not_taken(call, "GET, PUT and DELETE")),
    }
}
