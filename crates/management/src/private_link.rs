//! Private endpoint connections, as instances and provisioning services have them alike.
//!
//! In Azure a connection begins with a private endpoint that Microsoft.Network makes; here a PUT under a name
//! that is not known makes it.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::ResourceId;
use crate::arm::json::BodyObject;
use crate::arm::names;
use crate::arm::request::ArmRequest;
use crate::context::ServerContext;
use crate::operations::{ArmOperation, Begun, OperationStep};
use crate::preconditions::{need_parent, only};
use crate::store::StoreChange;
use crate::store::record::{ResourceRecord, system_data};
use crate::store::unknown::UnknownMembers;
use crate::transitions;
use http::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const STATUSES: &[&str] = &["Pending", "Approved", "Rejected", "Disconnected"];

/// Characters of a description.
const DESCRIPTION_MAX: usize = 1024;

/// Connections of one instance or service.
const CONNECTIONS_MAX: usize = 1_000;

/// Makes a connection to the group `group` of private link resources, or changes a connection's state.
pub(crate) async fn put(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
    group: &'static str,
) -> Result<Begun, Error> {
    let owner = id.owner().expect("a connection belongs to something");
    need_parent(context, &owner)?;
    names::check_connection(&id.name)?;
    let body = request.json()?;
    let body = BodyObject::body(&body)?;
    let state = read(&body)?;
    let known = [
        "groupIds",
        "privateEndpoint",
        "privateLinkServiceConnectionState",
        "provisioningState",
    ];
    let unknown = UnknownMembers::of(&body, &known)?;
    let (caller, now) = (request.caller.clone(), request.now);
    context
        .begin(&request.cause, move |_, stored| {
            transitions::staying(stored, &owner)?;
            transitions::idle(stored, &id)?;
            let before = stored.get(&id);
            let before = before.as_ref();
            let prefix = owner.children(id.kind);
            if before.is_none() && stored.keys(&prefix).count() >= CONNECTIONS_MAX {
                return Err(Error::LimitReached {
                    what: format!("resource '{}'", owner.name),
                    kind: "private endpoint connections",
                    limit: CONNECTIONS_MAX,
                    way_out: "delete one.",
                });
            }
            let mut record = match before {
                Some(before) => ResourceRecord::clone(before),
                None => fresh(&id, group),
            };
            let system = system_data(before, &caller, now);
            record.body.insert("systemData".to_owned(), system);
            record
                .properties_mut()
                .insert("privateLinkServiceConnectionState".to_owned(), state);
            unknown.keep(&mut record, before)?;
            record.set_state("Updating");
            let operation = ArmOperation::begin(&id, OperationStep::over(before), now);
            let begun = Begun::new(&operation, record.clone());
            Ok((vec![StoreChange::Put(record)], Some(operation), begun))
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
    let body = Map::from_iter([("properties".to_owned(), properties)]);
    ResourceRecord::new(id.clone(), body, BTreeMap::new())
}

/// `privateLinkServiceConnectionState`, checked.
fn read(body: &BodyObject<'_>) -> Result<Value, Error> {
    let state = body
        .object("properties")?
        .object("privateLinkServiceConnectionState")?;
    let missing = |member: &str| Error::MissingMember {
        path: state.path(member),
    };
    let status = state
        .word("status", STATUSES)?
        .ok_or_else(|| missing("status"))?;
    let description = state.required_exact_text("description")?;
    if description.chars().count() > DESCRIPTION_MAX {
        return Err(Error::Invalid {
            target: state.path("description"),
            rule: format!("has at most {DESCRIPTION_MAX} characters"),
        });
    }
    let actions = state.text("actionsRequired")?.unwrap_or("None");
    Ok(json!({ "status": status, "description": description, "actionsRequired": actions }))
}

/// Begins to delete a connection. Nothing, if it is not there.
pub(crate) async fn delete(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
) -> Result<Option<Begun>, Error> {
    let owner = id.owner().expect("a connection belongs to something");
    need_parent(context, &owner)?;
    transitions::delete(context, request, id, |_, _| Ok(())).await
}

/// The one thing that a private endpoint of a resource connects to.
pub(crate) struct PrivateLinkTarget {
    pub(crate) group: &'static str,
    pub(crate) member: &'static str,
    pub(crate) zone: &'static str,
}

/// Answers `…/privateLinkResources[/{group}]`.
pub(crate) fn resources(
    context: &ServerContext,
    request: &ArmRequest,
    owner: &ResourceId,
    rest: &[String],
    linked: &PrivateLinkTarget,
) -> Result<ArmAnswer, Error> {
    only(request, &[Method::GET], "GET")?;
    need_parent(context, owner)?;
    let group = linked.group;
    let resource = json!({
        "id": format!("{owner}/privateLinkResources/{group}"),
        "name": group,
        "type": format!("{}/privateLinkResources", owner.kind.type_name()),
        "properties": {
            "groupId": group, "requiredMembers": [linked.member], "requiredZoneNames": [linked.zone],
        },
    });
    match rest {
        [] => Ok(ArmAnswer::ok(json!({ "value": [resource] }))),
        [name] if name.eq_ignore_ascii_case(group) => Ok(ArmAnswer::ok(resource)),
        [name, ..] => Err(Error::NotFound {
            kind: owner.kind.type_name(),
            name: format!("{}/privateLinkResources/{name}", owner.name),
            group: owner.group.clone(),
        }),
    }
}
