//! Instances: `…/digitalTwinsInstances[/{name}]`.
//!
//! Source: Microsoft.DigitalTwins 2023-01-31, `DigitalTwinsDescription`. An instance's name is a name for all
//! subscriptions, since its host name is; what Azure holds unique in a region is unique here altogether.

use super::names;
use crate::arm::answer::Answer;
use crate::arm::error::Error;
use crate::arm::id::{Kind, ResourceId};
use crate::arm::identity;
use crate::arm::json::Object;
use crate::arm::names::{check_group, location};
use crate::arm::page;
use crate::arm::request::Request;
use crate::desk::Desk;
use crate::groups;
use crate::life;
use crate::lookup::{need, need_group, not_found, not_taken};
use crate::operations::{Begun, Operation, Outcome, Step};
use crate::store::record::{Record, system_data, tags};
use crate::store::unknown::UnknownMembers;
use crate::store::{Change, State};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const ACCESS: &[&str] = &["Enabled", "Disabled"];

pub(crate) async fn answer(
    desk: &Arc<Desk>,
    request: &Request,
    id: ResourceId,
) -> Result<Answer, Error> {
    match request.method {
        Method::GET => Ok(Answer::ok(render(desk, request, &need(desk, &id)?))),
        Method::PUT => put(desk, request, id).await,
        Method::PATCH => patch(desk, request, id).await,
        Method::DELETE => delete(desk, request, id).await,
        _ => Err(not_taken(request, "GET, PUT, PATCH and DELETE")),
    }
}

pub(crate) fn list(desk: &Desk, request: &Request, prefix: &str) -> Result<Answer, Error> {
    let state = desk.store.read();
    let render = |record: &Record| render_in(desk, request, record, &state);
    page::list(request, &state, prefix, render).map(Answer::ok)
}

/// What is asked for in a PUT.
struct Wanted {
    location: Option<String>,
    tags: Value,
    identity: Option<Value>,
    access: &'static str,
    unknown: UnknownMembers,
}

/// What the server says of an instance.
const COMPUTED: &[&str] = &[
    "createdTime",
    "hostName",
    "lastUpdatedTime",
    "privateEndpointConnections",
    "provisioningState",
];

/// Members of `properties` that are read, or that are the server's own.
const KNOWN: &[&str] = &[
    "createdTime",
    "hostName",
    "lastUpdatedTime",
    "privateEndpointConnections",
    "provisioningState",
    "publicNetworkAccess",
];

/// Members that nobody knows.
fn unknown(body: &Object<'_>) -> Result<UnknownMembers, Error> {
    let mut unknown = UnknownMembers::of(body, KNOWN)?;
    unknown.add("/identity", &body.object("identity")?, identity::KNOWN)?;
    Ok(unknown)
}

async fn put(desk: &Arc<Desk>, request: &Request, id: ResourceId) -> Result<Answer, Error> {
    check_group(&id.group)?;
    names::check_instance(&id.name)?;
    let body = request.json()?;
    let body = Object::body(&body)?;
    let wanted = Wanted {
        location: body.text("location")?.map(location).transpose()?,
        tags: tags(&body)?,
        identity: identity::read(&body.object("identity")?, &id)?,
        access: body
            .object("properties")?
            .word("publicNetworkAccess", ACCESS)?
            .unwrap_or("Enabled"),
        unknown: unknown(&body)?,
    };
    let (caller, now) = (request.caller.clone(), request.now);
    let outcome = desk
        .begin(&request.cause, move |desk, state| {
            let before = state.get(&id);
            let before = before.as_ref();
            let location = place(desk, state, &id, before, wanted.location.as_deref())?;
            let mut record = Record::new(id.clone(), Map::new(), BTreeMap::new());
            record.body.insert("location".to_owned(), location.into());
            record.body.insert("tags".to_owned(), wanted.tags);
            if let Some(identity) = wanted.identity {
                record.body.insert("identity".to_owned(), identity);
            }
            let created = before.and_then(|before| before.property("createdTime"));
            let created = created.map_or_else(|| now.rfc3339(), str::to_owned);
            let properties = record.properties_mut();
            properties.insert("createdTime".to_owned(), created.into());
            properties.insert("lastUpdatedTime".to_owned(), now.rfc3339().into());
            properties.insert("publicNetworkAccess".to_owned(), wanted.access.into());
            wanted.unknown.keep(&mut record, before)?;
            if let Some(before) = before
                && before.is_same(&record, COMPUTED)
                && before.state() == "Succeeded"
            {
                let done = Outcome::Done(Record::clone(before));
                return Ok((Vec::new(), None, done));
            }
            record.set_state("Provisioning");
            let system = system_data(before, &caller, now);
            record.body.insert("systemData".to_owned(), system);
            let operation = Operation::begin(&id, Step::over(before), now);
            let mut changes = groups::made_with(state, &id, &caller, now);
            changes.push(Change::Put(record.clone()));
            let begun = Outcome::Begun(Begun::new(&operation, record));
            Ok((changes, Some(operation), begun))
        })
        .await?;
    let body = render(desk, request, outcome.record());
    Ok(outcome.answer(&desk.store.read(), request, StatusCode::CREATED, body))
}

/// Checks that the instance may be (or stay) where it is asked for; gives its location.
fn place(
    desk: &Desk,
    state: &State,
    id: &ResourceId,
    before: Option<&Record>,
    wanted: Option<&str>,
) -> Result<String, Error> {
    if let Some(before) = before {
        life::idle(state, id)?;
        let present = before.text("location").unwrap_or_default();
        return match wanted {
            Some(wanted) if wanted != present => Err(Error::InvalidLocation {
                name: id.name.clone(),
                group: id.group.clone(),
                present: present.to_owned(),
                wanted: wanted.to_owned(),
            }),
            Some(_) => Ok(present.to_owned()),
            None => Err(Error::LocationRequired),
        };
    }
    let wanted = wanted.ok_or(Error::LocationRequired)?;
    if let Some(other) = named(state, &id.name) {
        return Err(Error::Conflict(format!(
            "A DigitalTwins instance with the name '{}' already exists: {}. Please choose a different name.",
            id.name, other.id
        )));
    }
    let limit = desk.settings.instances_max;
    let prefix = ResourceId::kind_prefix(Kind::Instance);
    if state.keys(&prefix).count() >= limit {
        return Err(Error::LimitReached {
            what: "server".to_owned(),
            kind: "instances",
            limit,
            way_out: "delete one, or raise `instances_max` in [management].",
        });
    }
    Ok(wanted.to_owned())
}

/// The instance of a name, wherever it is.
pub(crate) fn named(state: &State, name: &str) -> Option<Record> {
    state.named(Kind::Instance, name)
}

async fn patch(desk: &Arc<Desk>, request: &Request, id: ResourceId) -> Result<Answer, Error> {
    let body = request.json()?;
    let body = Object::body(&body)?;
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
    let access = body
        .object("properties")?
        .word("publicNetworkAccess", ACCESS)?;
    let unknown = unknown(&body)?;
    let location = body.text("location")?.map(location).transpose()?;
    need(desk, &id)?;
    let (caller, now) = (request.caller.clone(), request.now);
    let outcome = desk
        .begin(&request.cause, move |desk, state| {
            let before = &state.get(&id).ok_or_else(|| not_found(&id))?;
            life::idle(state, &id)?;
            if let Some(location) = location {
                place(desk, state, &id, Some(before), Some(&location))?;
            }
            let mut record = Record::clone(before);
            unknown.keep(&mut record, Some(before))?;
            if let Some(tags) = new_tags {
                record.body.insert("tags".to_owned(), tags);
            }
            let slow = new_identity.is_some() || access.is_some();
            match new_identity {
                Some(Some(identity)) => drop(record.body.insert("identity".to_owned(), identity)),
                Some(None) => drop(record.body.remove("identity")),
                None => {}
            }
            if let Some(access) = access {
                let properties = record.properties_mut();
                properties.insert("publicNetworkAccess".to_owned(), access.into());
            }
            if before.is_same(&record, COMPUTED) {
                return Ok((Vec::new(), None, Outcome::Done(record)));
            }
            let properties = record.properties_mut();
            properties.insert("lastUpdatedTime".to_owned(), now.rfc3339().into());
            let system = system_data(Some(before), &caller, now);
            record.body.insert("systemData".to_owned(), system);
            // Tags alone are quick: Azure answers 200 at once.
            if !slow {
                let put = Change::Put(record.clone());
                return Ok((vec![put], None, Outcome::Done(record)));
            }
            record.set_state("Updating");
            let operation = Operation::begin(&id, Step::Update, now);
            let begun = Outcome::Begun(Begun::new(&operation, record.clone()));
            Ok((vec![Change::Put(record)], Some(operation), begun))
        })
        .await?;
    let body = render(desk, request, outcome.record());
    Ok(outcome.answer(&desk.store.read(), request, StatusCode::ACCEPTED, body))
}

async fn delete(desk: &Arc<Desk>, request: &Request, id: ResourceId) -> Result<Answer, Error> {
    need_group(desk, &id.subscription, &id.group)?;
    let deleted = life::delete(desk, request, id, |_, _| Ok(())).await?;
    let Some(begun) = deleted else {
        return Ok(Answer::no_content());
    };
    let body = Some(render(desk, request, &begun.record));
    Ok(begun.answer(&desk.store.read(), request, StatusCode::ACCEPTED, body))
}

pub(crate) fn render(desk: &Desk, request: &Request, record: &Record) -> Value {
    render_in(desk, request, record, &desk.store.read())
}

fn render_in(desk: &Desk, request: &Request, record: &Record, state: &State) -> Value {
    let mut body = record.render_hidden();
    let creating = record.state() == "Provisioning";
    let host = (!creating).then(|| host_name(desk, request, &record.id.name));
    body["properties"]["hostName"] = host.into();
    let prefix = record.id.children(Kind::Connection);
    let connections = state
        .range(&prefix, None)
        .map(|connection| connection.render_hidden());
    let connections: Vec<Value> = connections.collect();
    if !connections.is_empty() {
        body["properties"]["privateEndpointConnections"] = connections.into();
    }
    body
}

/// Where the instance's data plane answers, without a scheme, as Azure shows it. Clients put `https://` before
/// it and their paths behind it, so it has to be a place that this server answers at.
fn host_name(desk: &Desk, request: &Request, name: &str) -> String {
    let host = request.host();
    if desk.default_instance.as_str().eq_ignore_ascii_case(name) {
        return host.to_owned();
    }
    format!("{host}/instances/{name}")
}

/// POST `…/checkNameAvailability`.
pub(crate) fn check_name(
    desk: &Desk,
    request: &Request,
    _subscription: &str,
    region: &str,
) -> Result<Answer, Error> {
    let location = location(region)?;
    let body = request.json()?;
    let body = Object::body(&body)?;
    let name = body.required_text("name")?;
    let kind = body.required_text("type")?;
    let expected = Kind::Instance.type_name();
    if !kind.eq_ignore_ascii_case(&expected) {
        return Err(Error::Invalid {
            target: "type".to_owned(),
            rule: format!("must be {expected}"),
        });
    }
    let answer = match names::check_instance(name) {
        Err(error) => {
            json!({ "nameAvailable": false, "reason": "Invalid", "message": error.to_string() })
        }
        Ok(_) if named(&desk.store.read(), name).is_some() => json!({
            "nameAvailable": false,
            "reason": "AlreadyExists",
            "message": format!("A DigitalTwins instance with the name '{name}' already exists in region \
                                '{location}'. Please choose a different name."),
        }),
        Ok(_) => json!({ "nameAvailable": true, "message": format!("'{name}' is available.") }),
    };
    Ok(Answer::ok(answer))
}
