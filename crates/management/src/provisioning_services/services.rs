//! Provisioning services: `…/provisioningServices[/{name}]`.
//!
//! A service's name is a name for all subscriptions, since its host name is.

use super::etag::{self, EtagDemand};
use super::wanted::{self, Wanted};
use super::{bad, hubs, invalid, policies};
use crate::arm::answer::ArmAnswer;
use crate::arm::error::{Error, Provisioning};
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::json::BodyObject;
use crate::arm::names;
use crate::arm::page;
use crate::arm::request::ArmRequest;
use crate::context::ServerContext;
use crate::groups;
use crate::operations::{ArmOperation, Begun, OperationStep};
use crate::preconditions::{need, need_group, not_found, not_taken};
use crate::store::record::{ResourceRecord, system_data, tags};
use crate::store::{StoreChange, StoreState};
use crate::transitions;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use twinroute_model::body::is_empty;
use twinroute_model::clock::Timestamp;
use uuid::Uuid;

/// Services in all.
const SERVICES_MAX: usize = 1_000;

/// Where all devices of all services turn to.
const DEVICE_HOST: &str = "global.azure-devices-provisioning.net";

const NAME_RULE: &str = "name: a provisioning service has 3 to 50 letters, digits and hyphens, not digits alone, \
                         and no hyphen at either end";

pub(super) async fn answer(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
) -> Result<ArmAnswer, Error> {
    match request.method {
        Method::GET => {
            let record = need(context, &id)?;
            Ok(ArmAnswer::ok(render(&context.store.read(), &record)))
        }
        Method::PUT => put(context, request, id).await,
        Method::PATCH => patch(context, request, id).await,
        Method::DELETE => delete(context, request, id).await,
        _ => Err(not_taken(request, "GET, PUT, PATCH and DELETE")),
    }
}

pub(super) fn list(
    context: &ServerContext,
    request: &ArmRequest,
    prefix: &str,
) -> Result<ArmAnswer, Error> {
    let state = context.store.read();
    let render = |record: &ResourceRecord| render(&state, record);
    page::list(request, &state, prefix, render).map(ArmAnswer::ok)
}

async fn put(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
) -> Result<ArmAnswer, Error> {
    check_name_rule(&id.name)?;
    let body = request.json()?;
    let present = context.store.read().get(&id);
    let wanted = wanted::read(&BodyObject::body(&body)?, &id, present.as_ref())?;
    let demand = EtagDemand::of(request, wanted.etag.as_deref());
    let sent_etag = wanted.etag.clone();
    let sent_policies = wanted.policies.as_deref().map(policies::echo);
    let (caller, now) = (request.caller.clone(), request.now);
    let begun = context
        .begin(&request.cause, move |_, state| {
            transitions::idle(state, &id)?;
            let before = state.get(&id);
            let before = before.as_ref();
            demand.check(before, &id.name)?;
            wanted.kept.check(before)?;
            let record = make(state, &id, before, wanted)?;
            let (mut record, step) = match before {
                Some(before) => (keep(record, before), OperationStep::Update),
                None => (begin(record, state), OperationStep::Create),
            };
            record
                .body
                .insert("etag".to_owned(), etag::of_service().into());
            let system = system_data(before, &caller, now);
            record.body.insert("systemData".to_owned(), system);
            let operation = ArmOperation::begin(&id, step, now);
            let mut changes = groups::made_with(state, &id, &caller, now);
            changes.push(StoreChange::Put(record.clone()));
            let begun = Begun::new(&operation, record);
            Ok((changes, Some(operation), begun))
        })
        .await?;
    let state = context.store.read();
    let mut shown = render(&state, &begun.record);
    shown["etag"] = sent_etag.into();
    if shown["etag"].is_null() {
        drop(shown.as_object_mut().and_then(|shown| shown.remove("etag")));
    }
    if let Some(sent) = sent_policies {
        shown["properties"]["authorizationPolicies"] = sent;
    }
    Ok(begun.answer(&state, request, StatusCode::CREATED, Some(shown)))
}

/// The record of a service that may be made or changed as it is wanted.
fn make(
    state: &StoreState,
    id: &ResourceId,
    before: Option<&ResourceRecord>,
    wanted: Wanted,
) -> Result<ResourceRecord, Error> {
    let location = wanted.location.clone().ok_or(Error::LocationRequired)?;
    let present = before.and_then(|before| before.text("location"));
    if let Some(present) = present.filter(|present| *present != location) {
        return Err(Error::InvalidLocation {
            name: id.name.clone(),
            group: id.group.clone(),
            present: present.to_owned(),
            wanted: location,
        });
    }
    if before.is_none() {
        if named(state, &id.name) {
            return Err(Error::Provisioning {
                refusal: Provisioning::Conflict,
                message: taken(&id.name),
            });
        }
        let prefix = ResourceId::kind_prefix(ResourceKind::Service);
        if state.keys(&prefix).count() >= SERVICES_MAX {
            return Err(Error::LimitReached {
                what: "server".to_owned(),
                kind: "provisioning services",
                limit: SERVICES_MAX,
                way_out: "delete one.",
            });
        }
    }
    wanted.record(id, location, before)
}

/// A service that nobody has made before.
fn begin(mut record: ResourceRecord, state: &StoreState) -> ResourceRecord {
    let scope = id_scope(state);
    let properties = record.properties_mut();
    properties.insert("idScope".to_owned(), scope.into());
    properties.insert("state".to_owned(), "Activating".into());
    record.set_state("Accepted");
    record
}

/// A service that goes on under other properties.
fn keep(mut record: ResourceRecord, before: &ResourceRecord) -> ResourceRecord {
    let scope = before.property("idScope").unwrap_or_default();
    let properties = record.properties_mut();
    properties.insert("idScope".to_owned(), scope.into());
    properties.insert("state".to_owned(), "Transitioning".into());
    record.set_state("Accepted");
    record
}

/// `0ne` and eight hexadecimal digits that no other service has.
fn id_scope(state: &StoreState) -> String {
    loop {
        let random = Uuid::new_v4().simple().to_string().to_ascii_uppercase();
        let scope = format!("0ne{}", &random[..8]);
        let mut others = state.kind(ResourceKind::Service);
        if !others.any(|other| other.property("idScope") == Some(&scope)) {
            return scope;
        }
    }
}

/// Gives a service its final state.
pub(crate) fn settle(record: &mut ResourceRecord, _now: Timestamp) {
    let properties = record.properties_mut();
    properties.insert("state".to_owned(), "Active".into());
    record.set_state("Succeeded");
}

/// Only tags can be patched, which is done at once.
async fn patch(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
) -> Result<ArmAnswer, Error> {
    let body = request.json()?;
    let body = BodyObject::body(&body)?;
    let new_tags = match body.raw("tags").map(|_| tags(&body)).transpose()? {
        Some(Value::Null) => Some(json!({})),
        new_tags => new_tags,
    };
    need(context, &id)?;
    let unknown = wanted::unknown(&body)?;
    let location = body.text("location")?.map(names::location).transpose()?;
    let others = ["sku", "properties", "identity"];
    let others = others.map(|member| (member, body.raw(member).cloned()));
    let demand = EtagDemand::of(request, None);
    let (caller, now) = (request.caller.clone(), request.now);
    let record = context
        .change(Some(&request.cause), move |_, state| {
            let before = &state.get(&id).ok_or_else(|| not_found(&id))?;
            transitions::idle(state, &id)?;
            demand.check(Some(before), &id.name)?;
            let mut record = ResourceRecord::clone(before);
            let shown = render(state, before);
            if location.is_some_and(|location| shown["location"] != *location) {
                return Err(not_by_patch("location"));
            }
            for (member, sent) in &others {
                if sent
                    .as_ref()
                    .is_some_and(|sent| !is_part_of(sent, &shown[member]))
                {
                    return Err(not_by_patch(member));
                }
            }
            unknown.keep(&mut record, Some(before))?;
            if let Some(new_tags) = new_tags {
                record.body.insert("tags".to_owned(), new_tags);
            }
            if before.is_same(&record, &[]) {
                return Ok((Vec::new(), record));
            }
            record
                .body
                .insert("etag".to_owned(), etag::of_service().into());
            let system = system_data(Some(before), &caller, now);
            record.body.insert("systemData".to_owned(), system);
            Ok((vec![StoreChange::Put(record.clone())], record))
        })
        .await?;
    Ok(ArmAnswer::ok(render(&context.store.read(), &record)))
}

fn not_by_patch(member: &str) -> Error {
    invalid(
        member,
        "cannot be changed by a PATCH, only tags can; send a PUT",
    )
}

/// Whether everything that is sent is as it is shown: clients send back what they have read.
fn is_part_of(sent: &Value, shown: &Value) -> bool {
    match (sent, shown) {
        (Value::Object(sent), Value::Object(shown)) => sent.iter().all(|(name, value)| {
            let shown = shown.get(name).unwrap_or(&Value::Null);
            is_part_of(value, shown)
        }),
        (sent, shown) => is_empty(sent) || sent == shown,
    }
}

async fn delete(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
) -> Result<ArmAnswer, Error> {
    need_group(context, &id.subscription, &id.group)?;
    let demand = EtagDemand::of(request, None);
    let as_read =
        move |_: &StoreState, before: &ResourceRecord| demand.check(Some(before), &before.id.name);
    let deleted = transitions::delete(context, request, id, as_read).await?;
    let Some(begun) = deleted else {
        return Ok(ArmAnswer::no_content());
    };
    Ok(begun.answer(&context.store.read(), request, StatusCode::ACCEPTED, None))
}

/// What readers see: no policies, and hubs without their keys.
pub(super) fn render(state: &StoreState, record: &ResourceRecord) -> Value {
    let mut body = record.render_masked(|_, secret| hubs::mask(secret));
    body["resourcegroup"] = record.id.group.clone().into();
    body["subscriptionid"] = record.id.subscription.clone().into();
    let Some(properties) = body["properties"].as_object_mut() else {
        return body;
    };
    properties.remove("authorizationPolicies");
    if record.state() == "Deleting" {
        properties.insert("state".to_owned(), "Deleting".into());
    }
    if record.property("state") == Some("Activating") {
        properties.remove("idScope");
    } else {
        let name = &record.id.name;
        let host = format!("{name}.azure-devices-provisioning.net");
        properties.insert("serviceOperationsHostName".to_owned(), host.into());
        properties.insert("deviceProvisioningHostName".to_owned(), DEVICE_HOST.into());
        let portal = format!("{name}.services.azure-devices-provisioning.net");
        let portal = Value::String(portal);
        properties
            .entry("portalOperationsHostName")
            .or_insert(portal);
    }
    let prefix = record.id.children(ResourceKind::ServiceConnection);
    let connections = state.range(&prefix, None);
    let connections: Vec<Value> = connections
        .map(|connection| connection.render_hidden())
        .collect();
    if !connections.is_empty() {
        properties.insert("privateEndpointConnections".to_owned(), connections.into());
    }
    body
}

/// Whether some service has the name, wherever it is.
fn named(state: &StoreState, name: &str) -> bool {
    let mut all = state.kind(ResourceKind::Service);
    all.any(|record| record.id.name.eq_ignore_ascii_case(name))
}

fn taken(name: &str) -> String {
    format!(
        "name: a provisioning service '{name}' exists already; names are unique over all subscriptions"
    )
}

pub(super) fn check_name_rule(name: &str) -> Result<(), Error> {
    if is_name(name) {
        return Ok(());
    }
    Err(bad(NAME_RULE))
}

/// Source: Microsoft.Devices 2022-12-12, pattern of `name`: `^(?![0-9]+$)(?!-)[a-zA-Z0-9-]{2,49}[a-zA-Z0-9]$`.
fn is_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (3..=50).contains(&name.len())
        && name.bytes().all(legal)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.bytes().all(|byte| byte.is_ascii_digit())
}

/// POST `…/checkProvisioningServiceNameAvailability`.
pub(super) fn check_name(
    context: &ServerContext,
    request: &ArmRequest,
) -> Result<ArmAnswer, Error> {
    let body = request.json()?;
    let name = BodyObject::body(&body)?.required_text("name")?.to_owned();
    let (available, reason, message) = if !is_name(&name) {
        (false, "Invalid", NAME_RULE.to_owned())
    } else if named(&context.store.read(), &name) {
        (false, "AlreadyExists", taken(&name))
    } else {
        // Azure names a reason for a free name, too.
        (true, "Invalid", format!("'{name}' is free"))
    };
    let answer = json!({ "nameAvailable": available, "reason": reason, "message": message });
    Ok(ArmAnswer::ok(answer))
}
