//! Private link: `…/privateLinkResources` and `…/privateEndpointConnections`.
//!
//! In Azure a connection begins with a private endpoint that Microsoft.Network makes; here a PUT under a name
//! that is not known makes it.

use super::{list_children, names, need, need_parent, not_found, only};
use crate::arm::answer::Answer;
use crate::arm::error::Error;
use crate::arm::id::{Kind, ResourceId};
use crate::arm::json::Object;
use crate::arm::request::Request;
use crate::desk::Desk;
use crate::life;
use crate::operations::{self, Operation, Step};
use crate::store::Change;
use crate::store::record::{Record, system_data};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const STATUSES: &[&str] = &["Pending", "Approved", "Rejected", "Disconnected"];

/// Characters of a description.
const DESCRIPTION_MAX: usize = 1024;

/// Connections of one instance or service.
const CONNECTIONS_MAX: usize = 1_000;

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
        Method::PUT => put(desk, request, id, StatusCode::ACCEPTED).await,
        Method::DELETE => delete(desk, request, id).await,
        _ => {
            only(request, &[], "GET, PUT and DELETE")?;
            Err(not_found(&id))
        }
    }
}

/// Makes a connection or changes its state. The instance's group is taken from what it belongs to.
pub(crate) async fn put(
    desk: &Arc<Desk>,
    request: &Request,
    id: ResourceId,
    status: StatusCode,
) -> Result<Answer, Error> {
    let owner = id.owner().expect("a connection belongs to something");
    let parent = need_parent(desk, &owner)?;
    names::check_connection(&id.name)?;
    let body = request.json()?;
    let state = read(&Object::body(&body)?)?;
    let (caller, now) = (Desk::caller(request), request.now);
    let asked = id.clone();
    let (operation, record) = desk
        .begin(move |_, stored| {
            if stored.get(&owner).is_none() {
                let parent = owner.name.clone();
                return Err(Error::ParentNotFound { parent });
            }
            life::idle(stored, &id)?;
            let before = stored.get(&id);
            let prefix = owner.children(id.kind);
            if before.is_none() && stored.range(&prefix, None).count() >= CONNECTIONS_MAX {
                return Err(Error::LimitReached {
                    what: format!("resource '{}'", owner.name),
                    kind: "private endpoint connections",
                    limit: CONNECTIONS_MAX,
                    way_out: "delete one.",
                });
            }
            let mut record = match before {
                Some(before) => Record::clone(before),
                None => fresh(&id),
            };
            let step = if before.is_some() {
                Step::Update
            } else {
                Step::Create
            };
            let system = system_data(before.map(|before| &**before), &caller, now);
            record.body.insert("systemData".to_owned(), system);
            record
                .properties_mut()
                .insert("privateLinkServiceConnectionState".to_owned(), state);
            record.set_state("Updating");
            let operation = Operation::begin(&id, step, now);
            let outcome = (operation.id, record.clone());
            Ok((vec![Change::Put(record)], Some(operation), outcome))
        })
        .await?;
    let answer = Answer::new(status, Some(record.render()));
    let location = parent.text("location").unwrap_or_default();
    Ok(operations::announce(
        answer, request, &asked, location, operation,
    ))
}

/// A connection that nobody has made before, with the private endpoint that would have.
fn fresh(id: &ResourceId) -> Record {
    let group = match id.kind {
        Kind::ServiceConnection => "iotDps",
        _ => GROUP,
    };
    let (subscription, resource_group, name) = (&id.subscription, &id.group, &id.name);
    let endpoint = format!(
        "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.Network/privateEndpoints/{name}"
    );
    let properties = json!({ "privateEndpoint": { "id": endpoint }, "groupIds": [group] });
    let body = Map::from_iter([("properties".to_owned(), properties)]);
    Record::new(id.clone(), body, BTreeMap::new())
}

/// `privateLinkServiceConnectionState`, checked.
fn read(body: &Object<'_>) -> Result<Value, Error> {
    let state = body
        .object("properties")?
        .object("privateLinkServiceConnectionState")?;
    let missing = |member: &str| Error::MissingMember {
        path: state.path(member),
    };
    let status = state
        .word("status", STATUSES)?
        .ok_or_else(|| missing("status"))?;
    let description = state.required_text("description")?;
    if description.chars().count() > DESCRIPTION_MAX {
        return Err(Error::Invalid {
            target: state.path("description"),
            rule: format!("has at most {DESCRIPTION_MAX} characters"),
        });
    }
    let actions = state.text("actionsRequired")?.unwrap_or("None");
    Ok(json!({ "status": status, "description": description, "actionsRequired": actions }))
}

/// Deletes a connection; 202 has no body.
pub(crate) async fn delete(
    desk: &Arc<Desk>,
    request: &Request,
    id: ResourceId,
) -> Result<Answer, Error> {
    let owner = id.owner().expect("a connection belongs to something");
    let parent = need_parent(desk, &owner)?;
    let deleted = life::delete(desk, id.clone(), request.now, |_, _| Ok(())).await?;
    let Some((operation, _)) = deleted else {
        return Ok(Answer::no_content());
    };
    let answer = Answer::new(StatusCode::ACCEPTED, None);
    let location = parent.text("location").unwrap_or_default();
    Ok(operations::announce(
        answer, request, &id, location, operation,
    ))
}
