//! Time series database connections: stored and served. Nothing is sent to them.
//!
//! Source: Microsoft.DigitalTwins 2023-01-31, `AzureDataExplorerConnectionProperties`.

use super::names;
use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::json::ArmObject;
use crate::arm::path::PathCursor;
use crate::context::ServerCall;
use crate::listing;
use crate::preconditions::{child, need, need_above, not_taken};
use crate::store::record::ResourceRecord;
use crate::store::unknown::UnknownMembers;
use crate::transitions::{self, ChangeDecision};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

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
    call: ServerCall<'_>,
    instance: &ResourceId,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    let show = ResourceRecord::render_hidden;
    let Some(name) = child(call, path)? else {
        return listing::children(call, instance, ResourceKind::TimeSeries, show);
    };
    let id = instance.child(ResourceKind::TimeSeries, name);
    match call.request.method {
        Method::GET => Ok(ArmAnswer::ok(show(&need(call, &id)?))),
        Method::PUT => put(call, id).await,
        // `cleanupConnectionArtifacts` has nothing to clean up here.
        Method::DELETE => {
            let show = |record: &ResourceRecord| Some(show(record));
            transitions::delete(call, id, |_, _| Ok(()), show).await
        }
        _ => Err(not_taken(call, "GET, PUT and DELETE")),
    }
}

fn read(body: &ArmObject<'_>) -> Result<Map<String, Value>, Error> {
    let given = body.object("properties")?;
    let kind = given.required_word("connectionType", KINDS)?;
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
        let path = given.path("eventHubEndpointUri");
        return Err(Error::invalid(path, "must begin with `sb://`"));
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

/// `ManagedIdentityReference`: the identity that a connection writes as.
fn identity_reference(properties: &ArmObject<'_>) -> Result<Option<Value>, Error> {
    let identity = properties.object("identity")?;
    let mut reference = Map::new();
    for member in ["type", "userAssignedIdentity"] {
        if let Some(text) = identity.text(member)? {
            reference.insert(member.to_owned(), text.into());
        }
    }
    Ok(identity.is_there().then(|| reference.into()))
}

/// Members that nobody knows.
fn unknown(body: &ArmObject<'_>) -> Result<UnknownMembers, Error> {
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

async fn put(call: ServerCall<'_>, id: ResourceId) -> Result<ArmAnswer, Error> {
    need_above(call, &id)?;
    names::check_endpoint(&id.name)?;
    let body = call.request.json()?;
    let body = ArmObject::body(&body)?;
    let wanted = json!({ "properties": read(&body)? });
    let mut record = ResourceRecord::public(id.clone(), wanted);
    let unknown = unknown(&body)?;
    let outcome = transitions::write(call, id, move |present| {
        unknown.keep(&mut record, present.before)?;
        Ok(ChangeDecision::Begun(record, "Provisioning"))
    })
    .await?;
    let body = Some(outcome.record.render_hidden());
    Ok(outcome.answer(call, StatusCode::CREATED, body))
}
