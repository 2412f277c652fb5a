//! Instances: `…/digitalTwinsInstances[/{name}]`.
//!
//! Source: Microsoft.DigitalTwins 2023-01-31, `DigitalTwinsDescription`. An instance's name is a name for all
//! subscriptions, since its host name is; what Azure holds unique in a region is unique here altogether.

use super::names;
use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::identity;
use crate::arm::json::ArmObject;
use crate::arm::names::{check_group, location};
use crate::context::ServerCall;
use crate::listing;
use crate::preconditions::{need, not_taken, stays_at};
use crate::private_link;
use crate::store::record::{ResourceRecord, tags};
use crate::store::state::StoreState;
use crate::store::unknown::UnknownMembers;
use crate::transitions::{self, ChangeDecision, PresentState};
use http::{Method, StatusCode};
use serde_json::{Value, json};

const ACCESS: &str = "publicNetworkAccess";
const ACCESS_WORDS: &[&str] = &["Enabled", "Disabled"];

pub(crate) async fn answer(call: ServerCall<'_>, id: ResourceId) -> Result<ArmAnswer, Error> {
    match call.request.method {
        Method::GET => Ok(ArmAnswer::ok(render(call, &need(call, &id)?))),
        Method::PUT => put(call, id).await,
        Method::PATCH => patch(call, id).await,
        Method::DELETE => {
            let show = |record: &ResourceRecord| Some(render(call, record));
            transitions::delete(call, id, |_, _| Ok(()), show).await
        }
        _ => Err(not_taken(call, "GET, PUT, PATCH and DELETE")),
    }
}

pub(crate) fn list(call: ServerCall<'_>, prefix: &str) -> Result<ArmAnswer, Error> {
    let state = call.state();
    let render = |record: &ResourceRecord| render_in(call, record, &state);
    listing::list(call.request, &state, prefix, render)
}

/// What the server says of an instance.
const COMPUTED: &[&str] = &[
    "createdTime",
    "hostName",
    "lastUpdatedTime",
    "privateEndpointConnections",
    "provisioningState",
];

/// Members that nobody knows.
fn unknown(body: &ArmObject<'_>) -> Result<UnknownMembers, Error> {
    let mut unknown = UnknownMembers::of(body, &[COMPUTED, &[ACCESS]].concat())?;
    unknown.add_identity(body)?;
    Ok(unknown)
}

async fn put(call: ServerCall<'_>, id: ResourceId) -> Result<ArmAnswer, Error> {
    check_group(&id.group)?;
    names::check_instance(&id.name)?;
    let body = call.request.json()?;
    let body = ArmObject::body(&body)?;
    let asked = body.text("location")?.map(location).transpose()?;
    let mut record = ResourceRecord::public(id.clone(), json!({ "tags": tags(&body)? }));
    if let Some(identity) = identity::read(&body.object("identity")?, &id)? {
        record.set("identity", identity);
    }
    let access = body.object("properties")?.word(ACCESS, ACCESS_WORDS)?;
    let access = access.unwrap_or("Enabled");
    let unknown = unknown(&body)?;
    let outcome = transitions::write(call, id.clone(), move |present| {
        let asked = asked.ok_or(Error::LocationRequired)?;
        place(present, &id, &asked)?;
        record.set("location", asked);
        present.stamp_creation(&mut record);
        record.set_property("lastUpdatedTime", present.now.rfc3339());
        record.set_property(ACCESS, access);
        unknown.keep(&mut record, present.before)?;
        if present.is_same(&record, COMPUTED) {
            return Ok(ChangeDecision::Unchanged);
        }
        Ok(ChangeDecision::Begun(record, "Provisioning"))
    })
    .await?;
    let body = Some(render(call, &outcome.record));
    Ok(outcome.answer(call, StatusCode::CREATED, body))
}

/// Checks that the instance may be (or stay) where it is asked for.
fn place(present: &PresentState<'_>, id: &ResourceId, wanted: &str) -> Result<(), Error> {
    if let Some(before) = present.before {
        return stays_at(before, wanted);
    }
    match present.state.named(ResourceKind::Instance, &id.name) {
        None => Ok(()),
        Some(other) => Err(Error::Conflict(format!(
            "A DigitalTwins instance with the name '{}' already exists: {}. Please choose a different name.",
            id.name, other.id
        ))),
    }
}

async fn patch(call: ServerCall<'_>, id: ResourceId) -> Result<ArmAnswer, Error> {
    let body = call.request.json()?;
    let body = ArmObject::body(&body)?;
    let new_tags = body
        .raw("tags")
        .is_some()
        .then(|| tags(&body))
        .transpose()?;
    let new_identity = match body.raw("identity") {
        Some(Value::Null) => Some(None),
        // Nothing in it changes nothing.
        given if given.is_none_or(twinroute_model::body::is_empty) => None,
        _ => Some(identity::read(&body.object("identity")?, &id)?),
    };
    let access = body.object("properties")?.word(ACCESS, ACCESS_WORDS)?;
    let unknown = unknown(&body)?;
    let location = body.text("location")?.map(location).transpose()?;
    need(call, &id)?;
    let outcome = transitions::write(call, id, move |present| {
        let mut record = present.existing()?.clone();
        if let Some(location) = location {
            stays_at(&record, &location)?;
        }
        if let Some(tags) = new_tags {
            record.set("tags", tags);
        }
        let slow = new_identity.is_some() || access.is_some();
        match new_identity {
            Some(Some(identity)) => drop(record.body.insert("identity".to_owned(), identity)),
            Some(None) => drop(record.body.remove("identity")),
            None => {}
        }
        // Behind the identity, which is put as a whole.
        unknown.keep(&mut record, present.before)?;
        let properties = record.properties_mut();
        if let Some(access) = access {
            properties.insert(ACCESS.to_owned(), access.into());
        }
        properties.insert("lastUpdatedTime".to_owned(), present.now.rfc3339().into());
        Ok(match slow {
            _ if present.is_same(&record, COMPUTED) => ChangeDecision::Unchanged,
            true => ChangeDecision::Begun(record, "Updating"),
            // Tags alone are quick: Azure answers 200 at once.
            false => ChangeDecision::Done(record),
        })
    })
    .await?;
    let body = Some(render(call, &outcome.record));
    Ok(outcome.answer(call, StatusCode::ACCEPTED, body))
}

pub(crate) fn render(call: ServerCall<'_>, record: &ResourceRecord) -> Value {
    render_in(call, record, &call.state())
}

fn render_in(call: ServerCall<'_>, record: &ResourceRecord, state: &StoreState) -> Value {
    let mut body = record.render_hidden();
    let creating = record.state() == "Provisioning";
    let host = (!creating).then(|| host_name(call, &record.id.name));
    body["properties"]["hostName"] = host.into();
    let connections = private_link::render_all(state, &record.id, ResourceKind::Connection);
    if !connections.is_empty() {
        body["properties"]["privateEndpointConnections"] = connections.into();
    }
    body
}

/// Where the instance's data plane answers, without a scheme, as Azure shows it. Clients put `https://` before
/// it and their paths behind it, so it has to be a place that this server answers at.
fn host_name(call: ServerCall<'_>, name: &str) -> String {
    let host = call.request.host();
    let default = call.context.default_instance.as_str();
    if default.eq_ignore_ascii_case(name) {
        return host.to_owned();
    }
    format!("{host}/instances/{name}")
}

/// POST `…/checkNameAvailability`.
pub(crate) fn check_name(call: ServerCall<'_>, region: &str) -> Result<ArmAnswer, Error> {
    let location = location(region)?;
    let body = call.request.json()?;
    let body = ArmObject::body(&body)?;
    let name = body.required_text("name")?;
    let kind = body.required_text("type")?;
    let expected = ResourceKind::Instance.type_name();
    if !kind.eq_ignore_ascii_case(&expected) {
        return Err(Error::invalid("type", format!("must be {expected}")));
    }
    let answer = match names::check_instance(name) {
        Err(error) => {
            json!({ "nameAvailable": false, "reason": "Invalid", "message": error.to_string() })
        }
        Ok(_) if call.state().has_named(ResourceKind::Instance, name) => json!({
            "nameAvailable": false,
            "reason": "AlreadyExists",
            "message": format!("A DigitalTwins instance with the name '{name}' already exists in region \
                                '{location}'. Please choose a different name."),
        }),
        Ok(_) => json!({ "nameAvailable": true, "message": format!("'{name}' is available.") }),
    };
    Ok(ArmAnswer::ok(answer))
}
