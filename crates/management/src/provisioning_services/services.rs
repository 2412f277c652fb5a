//! Provisioning services: `…/provisioningServices[/{name}]`.
//!
//! A service's name is a name for all subscriptions, since its host name is.

use super::etag::{self, EtagDemand};
use super::wanted::{self, WantedService};
use super::{hubs, policies};
use crate::arm::answer::ArmAnswer;
use crate::arm::error::{Error, ServiceRefusal};
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::json::ArmObject;
use crate::arm::names;
use crate::context::ServerCall;
use crate::listing;
use crate::preconditions::{need, not_taken, stays_at};
use crate::private_link;
use crate::store::record::{ResourceRecord, tags};
use crate::store::state::StoreState;
use crate::transitions::{self, ChangeDecision, PresentState};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use twinroute_model::body::is_empty;
use twinroute_model::json::JsonDocument;
use uuid::Uuid;

/// Where all devices of all services turn to.
const DEVICE_HOST: &str = "global.azure-devices-provisioning.net";

const NAME_RULE: &str = "name: a provisioning service has 3 to 50 letters, digits and hyphens, not digits alone, \
                         and no hyphen at either end";

pub(super) async fn answer(call: ServerCall<'_>, id: ResourceId) -> Result<ArmAnswer, Error> {
    match call.request.method {
        Method::GET => {
            let record = need(call, &id)?;
            Ok(ArmAnswer::ok(render(&call.state(), &record)))
        }
        Method::PUT => put(call, id).await,
        Method::PATCH => patch(call, id).await,
        Method::DELETE => {
            let demand = EtagDemand::of(call.request, None);
            let as_read = move |_: &StoreState, before: &ResourceRecord| {
                demand.check(Some(before), &before.id.name)
            };
            transitions::delete(call, id, as_read, |_| None).await
        }
        _ => Err(not_taken(call, "GET, PUT, PATCH and DELETE")),
    }
}

pub(super) fn list(call: ServerCall<'_>, prefix: &str) -> Result<ArmAnswer, Error> {
    let state = call.state();
    let render = |record: &ResourceRecord| render(&state, record);
    listing::list(call.request, &state, prefix, render)
}

async fn put(call: ServerCall<'_>, id: ResourceId) -> Result<ArmAnswer, Error> {
    check_name_rule(&id.name)?;
    let body = call.request.json()?;
    let present = call.state().get(&id);
    let wanted = wanted::read(&ArmObject::body(&body)?, &id, present.as_ref())?;
    let demand = EtagDemand::of(call.request, wanted.etag.as_deref());
    let sent_etag = wanted.etag.clone();
    let sent_policies = wanted.policies.as_deref().map(policies::echo);
    let outcome = transitions::write(call, id.clone(), move |present| {
        demand.check(present.before, &id.name)?;
        wanted.kept.check(present.before)?;
        let mut record = make(present, &id, wanted)?;
        let (scope, state) = match present.before {
            Some(before) => (
                before.property("idScope").unwrap_or_default().to_owned(),
                "Transitioning",
            ),
            None => (id_scope(present.state), "Activating"),
        };
        record.set_property("idScope", scope);
        record.set_property("state", state);
        record.set("etag", etag::of_service());
        Ok(ChangeDecision::Begun(record, "Accepted"))
    })
    .await?;
    let mut text = render(&call.state(), &outcome.record);
    text["etag"] = sent_etag.into();
    if text["etag"].is_null() {
        drop(text.as_object_mut().and_then(|text| text.remove("etag")));
    }
    if let Some(sent) = sent_policies {
        text["properties"]["authorizationPolicies"] = sent;
    }
    Ok(outcome.answer(call, StatusCode::CREATED, Some(text)))
}

/// The record of a service that may be made or changed as it is wanted.
fn make(
    present: &PresentState<'_>,
    id: &ResourceId,
    wanted: WantedService,
) -> Result<ResourceRecord, Error> {
    let location = wanted.location.clone().ok_or(Error::LocationRequired)?;
    if let Some(before) = present.before {
        stays_at(before, &location)?;
    } else if present.state.has_named(ResourceKind::Service, &id.name) {
        return Err(Error::service(ServiceRefusal::Conflict, taken(&id.name)));
    }
    wanted.record(id, location, present.before)
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

/// Only tags can be patched, which is done at once.
async fn patch(call: ServerCall<'_>, id: ResourceId) -> Result<ArmAnswer, Error> {
    let body = call.request.json()?;
    let body = ArmObject::body(&body)?;
    let new_tags = match body.raw("tags").map(|_| tags(&body)).transpose()? {
        Some(Value::Null) => Some(json!({})),
        new_tags => new_tags,
    };
    need(call, &id)?;
    let unknown = wanted::unknown(&body)?;
    let location = body.text("location")?.map(names::location).transpose()?;
    let others = ["sku", "properties", "identity"].map(|member| {
        let sent = body.raw(member).cloned();
        (member, JsonDocument::new(sent.unwrap_or_default()))
    });
    let demand = EtagDemand::of(call.request, None);
    let outcome = transitions::write(call, id.clone(), move |present| {
        let before = present.existing()?;
        demand.check(Some(before), &id.name)?;
        let mut record = before.clone();
        let printed = render(present.state, before);
        if location.is_some_and(|location| printed["location"] != *location) {
            return Err(not_by_patch("location"));
        }
        let mut others = others.iter();
        if let Some((member, _)) =
            others.find(|(member, sent)| !is_part_of(sent.value(), &printed[*member]))
        {
            return Err(not_by_patch(member));
        }
        unknown.keep(&mut record, Some(before))?;
        if let Some(new_tags) = new_tags {
            record.set("tags", new_tags);
        }
        if present.is_same(&record, &[]) {
            return Ok(ChangeDecision::Unchanged);
        }
        record.set("etag", etag::of_service());
        Ok(ChangeDecision::Done(record))
    })
    .await?;
    let printed = render(&call.state(), &outcome.record);
    Ok(ArmAnswer::ok(printed))
}

fn not_by_patch(member: &str) -> Error {
    Error::invalid(
        member,
        "cannot be changed by a PATCH, only tags can; send a PUT",
    )
}

/// Whether everything that is sent is as it is shown: clients send back what they have read.
fn is_part_of(sent: &Value, stored: &Value) -> bool {
    match (sent, stored) {
        (Value::Object(sent), Value::Object(stored)) => sent.iter().all(|(name, value)| {
            let stored = stored.get(name).unwrap_or(&Value::Null);
            is_part_of(value, stored)
        }),
        (sent, stored) => is_empty(sent) || sent == stored,
    }
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
    let kind = ResourceKind::ServiceConnection;
    let connections = private_link::render_all(state, &record.id, kind);
    if !connections.is_empty() {
        properties.insert("privateEndpointConnections".to_owned(), connections.into());
    }
    body
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
    Err(Error::service(ServiceRefusal::BadRequest, NAME_RULE))
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
pub(super) fn check_name(call: ServerCall<'_>) -> Result<ArmAnswer, Error> {
    let body = call.request.json()?;
    let name = ArmObject::body(&body)?.required_text("name")?.to_owned();
    let (available, reason, message) = if !is_name(&name) {
        (false, "Invalid", NAME_RULE.to_owned())
    } else if call.state().has_named(ResourceKind::Service, &name) {
        (false, "AlreadyExists", taken(&name))
    } else {
        // Azure names a reason for a free name, too.
        (true, "Invalid", format!("'{name}' is free"))
    };
    let answer = json!({ "nameAvailable": available, "reason": reason, "message": message });
    Ok(ArmAnswer::ok(answer))
}
