//! Time series database connections: stored and served. Nothing is sent to them.
//!
//! Source: Microsoft.DigitalTwins 2023-01-31, `AzureDataExplorerConnectionProperties`.

use super::{identity_reference, list_children, names};
use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::json::BodyObject;
use crate::arm::request::ArmRequest;
use crate::context::ServerContext;
use crate::operations::{ArmOperation, Begun, OperationStep};
use crate::preconditions::{child, need, need_parent, not_taken};
use crate::store::StoreChange;
use crate::store::record::{ResourceRecord, system_data};
use crate::store::unknown::UnknownMembers;
use crate::transitions;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const KINDS: &[&str] = &["AzureDataExplorer"];

const REQUIRED: &[&str] = &[
    "adxEndpointUri",
    "adxResourceId",
    "adxDatabaseName",
    "eventHubEndpointUri",
    "eventHubEntityPath",
    "eventHubNamespaceResourceId",
];

/// With what holds when they are left out.
const OPTIONAL: &[(&str, Option<&str>)] = &[
    ("adxTableName", Some("AdtPropertyEvents")),
    ("adxTwinLifecycleEventsTableName", None),
    ("adxRelationshipLifecycleEventsTableName", None),
    ("eventHubConsumerGroup", Some("$Default")),
];

/// A switch that is published as a text.
const SWITCH: &[&str] = &["true", "false"];

pub(crate) async fn answer(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    instance: &ResourceId,
    rest: &[String],
) -> Result<ArmAnswer, Error> {
    let Some(name) = child(request, rest)? else {
        return list_children(context, request, instance, ResourceKind::TimeSeries);
    };
    let id = instance.child(ResourceKind::TimeSeries, name);
    match request.method {
        Method::GET => Ok(ArmAnswer::ok(need(context, &id)?.render_hidden())),
        Method::PUT => put(context, request, id).await,
        Method::DELETE => delete(context, request, id).await,
        _ => Err(not_taken(request, "GET, PUT and DELETE")),
    }
}

fn read(body: &BodyObject<'_>) -> Result<Map<String, Value>, Error> {
    let given = body.object("properties")?;
    let missing = || Error::MissingMember {
        path: given.path("connectionType"),
    };
    let kind = given.word("connectionType", KINDS)?.ok_or_else(missing)?;
    let mut properties = Map::from_iter([("connectionType".to_owned(), json!(kind))]);
    for member in REQUIRED {
        let text = given.required_text(member)?;
        properties.insert((*member).to_owned(), text.into());
    }
    let hub = properties["eventHubEndpointUri"]
        .as_str()
        .unwrap_or_default();
    if !hub
        .get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("sb://"))
    {
        return Err(Error::Invalid {
            target: given.path("eventHubEndpointUri"),
            rule: "must begin with `sb://`".to_owned(),
        });
    }
    for (member, default) in OPTIONAL {
        if let Some(text) = given.text(member)?.or(*default) {
            properties.insert((*member).to_owned(), text.into());
        }
    }
    let removals = given
        .word("recordPropertyAndItemRemovals", SWITCH)?
        .unwrap_or("false");
    properties.insert("recordPropertyAndItemRemovals".to_owned(), removals.into());
    if let Some(identity) = identity_reference(&given)? {
        properties.insert("identity".to_owned(), identity);
    }
    Ok(properties)
}

/// Members that nobody knows.
fn unknown(body: &BodyObject<'_>) -> Result<UnknownMembers, Error> {
    const OTHERS: [&str; 4] = [
        "connectionType",
        "identity",
        "provisioningState",
        "recordPropertyAndItemRemovals",
    ];
    let optional = OPTIONAL.iter().map(|(member, _)| *member);
    let known = REQUIRED.iter().copied().chain(optional).chain(OTHERS);
    UnknownMembers::of(body, &known.collect::<Vec<_>>())
}

async fn put(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
) -> Result<ArmAnswer, Error> {
    let owner = id.owner().expect("a connection belongs to an instance");
    need_parent(context, &owner)?;
    names::check_endpoint(&id.name)?;
    let body = request.json()?;
    let body = BodyObject::body(&body)?;
    let properties = read(&body)?;
    let unknown = unknown(&body)?;
    let (caller, now) = (request.caller.clone(), request.now);
    let begun = context
        .begin(&request.cause, move |_, state| {
            transitions::staying(state, &owner)?;
            transitions::idle(state, &id)?;
            let before = state.get(&id);
            let before = before.as_ref();
            let body = Map::from_iter([("properties".to_owned(), Value::Object(properties))]);
            let mut record = ResourceRecord::new(id.clone(), body, BTreeMap::new());
            unknown.keep(&mut record, before)?;
            let system = system_data(before, &caller, now);
            record.body.insert("systemData".to_owned(), system);
            record.set_state("Provisioning");
            let operation = ArmOperation::begin(&id, OperationStep::over(before), now);
            let begun = Begun::new(&operation, record.clone());
            Ok((vec![StoreChange::Put(record)], Some(operation), begun))
        })
        .await?;
    let body = Some(begun.record.render_hidden());
    Ok(begun.answer(&context.store.read(), request, StatusCode::CREATED, body))
}

/// 202 with the resource as it goes; `cleanupConnectionArtifacts` has nothing to clean up here.
async fn delete(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
) -> Result<ArmAnswer, Error> {
    let owner = id.owner().expect("a connection belongs to an instance");
    need_parent(context, &owner)?;
    let deleted = transitions::delete(context, request, id, |_, _| Ok(())).await?;
    let Some(begun) = deleted else {
        return Ok(ArmAnswer::no_content());
    };
    let body = Some(begun.record.render_hidden());
    Ok(begun.answer(&context.store.read(), request, StatusCode::ACCEPTED, body))
}
