//! Private endpoint connections, as instances and provisioning services have them alike.
//!
//! In Azure a connection begins with a private endpoint that Microsoft.Network makes; here a PUT under a name
//! that is not known makes it.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::json::ArmObject;
use crate::arm::names;
use crate::arm::path::PathCursor;
use crate::context::ServerCall;
use crate::preconditions::{need_above, need_parent, only_get};
use crate::store::record::ResourceRecord;
use crate::store::state::StoreState;
use crate::store::unknown::UnknownMembers;
use crate::transitions::{self, ChangeDecision, TransitionOutcome};
use serde_json::{Value, json};

const STATUSES: &[&str] = &["Pending", "Approved", "Rejected", "Disconnected"];

/// Characters of a description.
const DESCRIPTION_MAX: usize = 1024;

/// Makes a connection to the group `group` of private link resources, or changes a connection's state.
pub(crate) async fn put(
    call: ServerCall<'_>,
    id: ResourceId,
    group: &'static str,
) -> Result<TransitionOutcome, Error> {
    need_above(call, &id)?;
    names::check_connection(&id.name)?;
    let body = call.request.json()?;
    let body = ArmObject::body(&body)?;
    let state = read(&body)?;
    let known = [
        "groupIds",
        "privateEndpoint",
        "privateLinkServiceConnectionState",
        "provisioningState",
    ];
    let unknown = UnknownMembers::of(&body, &known)?;
    let fresh = fresh(&id, group);
    transitions::write(call, id, move |present| {
        let mut record = present.before.cloned().unwrap_or(fresh);
        record
            .properties_mut()
            .insert("privateLinkServiceConnectionState".to_owned(), state);
        unknown.keep(&mut record, present.before)?;
        Ok(ChangeDecision::Begun(record, "Updating"))
    })
    .await
}

/// A connection that nobody has made before, with the private endpoint that would have.
fn fresh(id: &ResourceId, group: &str) -> ResourceRecord {
    let (subscription, resource_group, name) = (&id.subscription, &id.group, &id.name);
    let endpoint = format!(
        "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.Network/privateEndpoints/{name}"
    );
    let properties = json!({ "privateEndpoint": { "id": endpoint }, "groupIds": [group] });
    ResourceRecord::public(id.clone(), json!({ "properties": properties }))
}

/// `privateLinkServiceConnectionState`, checked.
fn read(body: &ArmObject<'_>) -> Result<Value, Error> {
    let state = body
        .object("properties")?
        .object("privateLinkServiceConnectionState")?;
    let status = state.required_word("status", STATUSES)?;
    let description = state.required_exact_text("description")?;
    if description.chars().count() > DESCRIPTION_MAX {
        let rule = format!("has at most {DESCRIPTION_MAX} characters");
        return Err(Error::invalid(state.path("description"), rule));
    }
    let actions = state.text("actionsRequired")?.unwrap_or("None");
    Ok(json!({ "status": status, "description": description, "actionsRequired": actions }))
}

/// All connections of a resource, as readers see them.
pub(crate) fn render_all(state: &StoreState, owner: &ResourceId, kind: ResourceKind) -> Vec<Value> {
    let prefix = owner.children(kind);
    let all = state.range(&prefix, None);
    all.map(|connection| connection.render_hidden()).collect()
}

/// The one thing that a private endpoint of a resource connects to.
pub(crate) struct PrivateLinkTarget {
    pub(crate) group: &'static str,
    pub(crate) member: &'static str,
    pub(crate) zone: &'static str,
}

/// Answers `…/privateLinkResources[/{group}]`.
pub(crate) fn resources(
    call: ServerCall<'_>,
    owner: &ResourceId,
    path: PathCursor<'_>,
    linked: &PrivateLinkTarget,
) -> Result<ArmAnswer, Error> {
    only_get(call)?;
    need_parent(call, owner)?;
    let group = linked.group;
    let resource = json!({
        "id": format!("{owner}/privateLinkResources/{group}"),
        "name": group,
        "type": format!("{}/privateLinkResources", owner.kind.type_name()),
        "properties": {
            "groupId": group, "requiredMembers": [linked.member], "requiredZoneNames": [linked.zone],
        },
    });
    match path.words {
        [] => Ok(ArmAnswer::ok(json!({ "value": [resource] }))),
        [name] if name.eq_ignore_ascii_case(group) => Ok(ArmAnswer::ok(resource)),
        _ => Err(Error::NotFound {
            kind: owner.kind.type_name(),
            name: format!("{}/privateLinkResources/{}", owner.name, path.name(0)),
            group: owner.group.clone(),
        }),
    }
}
