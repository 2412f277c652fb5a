//! Endpoints: `…/digitalTwinsInstances/{name}/endpoints[/{endpoint}]`.
//!
//! Source: Microsoft.DigitalTwins 2023-01-31, `DigitalTwinsEndpointResource`. There is no PATCH. A secret that
//! was given is shown as a mask, one that was not is absent; a mask that is put back is refused.

use super::{identity_reference, list_children, names};
use crate::arm::answer::Answer;
use crate::arm::error::Error;
use crate::arm::id::{Kind, ResourceId};
use crate::arm::json::Object;
use crate::arm::request::Request;
use crate::definitions;
use crate::desk::Desk;
use crate::life;
use crate::lookup::{child, need, need_parent, not_taken};
use crate::operations::{Begun, Failure, Operation, Outcome, Step};
use crate::store::record::{Record, system_data};
use crate::store::{Change, State};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use twinroute_model::endpoint::{self, Endpoint, EndpointType, FieldError};
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::secret::Secret;

const TYPES: &[&str] = &["EventHub", "EventGrid", "ServiceBus"];
const AUTHENTICATION: &[&str] = &["KeyBased", "IdentityBased"];

/// Members that are secrets: the type they belong to, and whether they hold a connection string.
const SECRETS: &[&str] = &[
    "connectionStringPrimaryKey",
    "connectionStringSecondaryKey",
    "primaryConnectionString",
    "secondaryConnectionString",
    "accessKey1",
    "accessKey2",
    "deadLetterSecret",
];

/// Members that everybody may see.
const PLAIN: &[&str] = &[
    "TopicEndpoint",
    "endpointUri",
    "entityPath",
    "deadLetterUri",
];

/// The form of a mask that is published for connection strings.
const STRING_MASK: &str =
    "Endpoint=sb://***/;SharedAccessKeyName=***;SharedAccessKey=***;EntityPath=***";

pub(crate) async fn answer(
    desk: &Arc<Desk>,
    request: &Request,
    instance: &ResourceId,
    rest: &[String],
) -> Result<Answer, Error> {
    let Some(name) = child(request, rest)? else {
        return list_children(desk, request, instance, Kind::Endpoint);
    };
    let id = instance.child(Kind::Endpoint, name);
    match request.method {
        Method::GET => Ok(Answer::ok(render(&need(desk, &id)?))),
        Method::PUT => put(desk, request, id).await,
        Method::DELETE => delete(desk, request, id).await,
        _ => Err(not_taken(request, "GET, PUT and DELETE")),
    }
}

async fn put(desk: &Arc<Desk>, request: &Request, id: ResourceId) -> Result<Answer, Error> {
    let owner = id.owner().expect("an endpoint has an instance");
    need_parent(desk, &owner)?;
    let name = names::check_endpoint(&id.name)?;
    let body = request.json()?;
    let mut wanted = read(&id, &Object::body(&body)?)?;
    let endpoint = check(&name, &wanted)?;
    connects(desk, &owner, &endpoint)?;
    let (caller, now) = (request.caller.clone(), request.now);
    let outcome = desk
        .begin(&request.cause, move |desk, state| {
            let before = admit(desk, state, &owner, &id)?;
            let before = before.as_ref();
            if let Some(before) = before {
                keeps_authentication(before, &wanted)?;
                if is_same(before, &wanted) && before.state() == "Succeeded" {
                    let done = Outcome::Done(Record::clone(before));
                    return Ok((Vec::new(), None, done));
                }
            }
            let created = before.and_then(|before| before.property("createdTime"));
            let created = created.map_or_else(|| now.rfc3339(), str::to_owned);
            let system = system_data(before, &caller, now);
            wanted.body.insert("systemData".to_owned(), system);
            let properties = wanted.properties_mut();
            properties.insert("createdTime".to_owned(), created.into());
            wanted.set_state("Provisioning");
            let operation = Operation::begin(&id, Step::over(before), now);
            let begun = Begun::new(&operation, wanted.clone());
            let put = vec![Change::Put(wanted)];
            Ok((put, Some(operation), Outcome::Begun(begun)))
        })
        .await?;
    let body = render(outcome.record());
    Ok(outcome.answer(&desk.store.read(), request, StatusCode::CREATED, body))
}

/// Whether the endpoint may be made or changed now; gives the one that is there.
fn admit(
    desk: &Desk,
    state: &State,
    owner: &ResourceId,
    id: &ResourceId,
) -> Result<Option<Record>, Error> {
    life::staying(state, owner)?;
    life::idle(state, id)?;
    let before = state.get(id);
    let limit = desk.settings.endpoints_max;
    let prefix = owner.children(Kind::Endpoint);
    if before.is_none() && state.keys(&prefix).count() >= limit {
        return Err(Error::LimitReached {
            what: format!("digital twins instance '{}'", owner.name),
            kind: "endpoints",
            limit,
            way_out: "delete one, or raise `endpoints_max` in [management].",
        });
    }
    Ok(before)
}

/// Reads a body into a record; secrets go apart.
fn read(id: &ResourceId, body: &Object<'_>) -> Result<Record, Error> {
    let given = body.object("properties")?;
    if !given.is_there() {
        return Err(Error::MissingMember {
            path: "properties".to_owned(),
        });
    }
    let missing = || Error::MissingMember {
        path: given.path("endpointType"),
    };
    let kind = given.word("endpointType", TYPES)?.ok_or_else(missing)?;
    let identity = given.object("identity")?;
    // `identity` says that it is identity-based; without either, ARM's default holds.
    let default = if identity.is_there() {
        "IdentityBased"
    } else {
        "KeyBased"
    };
    let authentication = given
        .word("authenticationType", AUTHENTICATION)?
        .unwrap_or(default);
    let mut properties = Map::new();
    properties.insert("endpointType".to_owned(), kind.into());
    properties.insert("authenticationType".to_owned(), authentication.into());
    if let Some(identity) = identity_reference(&given)? {
        properties.insert("identity".to_owned(), identity);
    }
    for member in PLAIN {
        if let Some(text) = given.text(member)? {
            properties.insert((*member).to_owned(), text.into());
        }
    }
    let mut secrets = BTreeMap::new();
    for member in SECRETS {
        // An empty one is what a read shows while it provisions, and what some clients send for none.
        if let Some(text) = given.text(member)?.filter(|text| !text.is_empty()) {
            secrets.insert(format!("/properties/{member}"), Secret::new(text));
        }
    }
    let body = Map::from_iter([("properties".to_owned(), Value::Object(properties))]);
    Ok(Record::new(id.clone(), body, secrets))
}

/// All rules at once: those of every source, and those of this API alone.
fn check(name: &EndpointName, record: &Record) -> Result<Endpoint, Error> {
    let mut errors = Vec::new();
    let authentication = record.property("authenticationType").unwrap_or_default();
    let mut refuse = |member: &str, rule: &str| {
        errors.push(FieldError::new(&format!("properties.{member}"), rule));
    };
    if authentication == "IdentityBased" {
        for member in SECRETS {
            if record
                .secrets
                .contains_key(&format!("/properties/{member}"))
            {
                let rule = match *member {
                    "deadLetterSecret" => {
                        "is for key-based endpoints; an identity-based one has deadLetterUri"
                    }
                    _ => "is for key-based endpoints; leave it out of an identity-based one",
                };
                refuse(member, rule);
            }
        }
    } else if record.property("deadLetterUri").is_some() {
        refuse(
            "deadLetterUri",
            "is for identity-based endpoints; a key-based one has deadLetterSecret",
        );
    } else if record.properties().contains_key("identity") {
        refuse(
            "identity",
            "is for identity-based endpoints; set authenticationType to IdentityBased",
        );
    }
    let parsed = endpoint::parse(name, record.reveal_text().expose());
    let endpoint = match parsed {
        Ok(endpoint) if errors.is_empty() => endpoint,
        Ok(_) => return Err(Error::InvalidFields(errors)),
        Err(more) => {
            errors.extend(more);
            return Err(Error::InvalidFields(errors));
        }
    };
    if let Some(dead_letter) = &endpoint.dead_letter {
        let member = match dead_letter {
            endpoint::DeadLetter::Sas(_) => "properties.deadLetterSecret",
            endpoint::DeadLetter::Identity(_) => "properties.deadLetterUri",
        };
        endpoint::location::Location::of(dead_letter).map_err(|problem| {
            Error::InvalidFields(vec![FieldError::new(member, problem.to_string())])
        })?;
    }
    Ok(endpoint)
}

/// A definition that no sink can be made of would refuse the whole table; it is refused here instead.
fn connects(desk: &Desk, owner: &ResourceId, endpoint: &Endpoint) -> Result<(), Error> {
    let Ok(instance) = InstanceName::new(&owner.name) else {
        return Ok(());
    };
    let settings = desk.beside.load().of(&instance, &endpoint.name);
    let connected = desk.connect.connect(endpoint, &settings).map(drop);
    let connected = connected.and_then(|()| desk.connect.dead_letters(endpoint).map(drop));
    connected.map_err(|error| Error::Invalid {
        target: "properties".to_owned(),
        rule: error.reason,
    })
}

/// Azure Digital Twins, "Create endpoints with identity-based authentication": an existing key-based endpoint
/// cannot be changed to identity-based.
fn keeps_authentication(before: &Record, wanted: &Record) -> Result<(), Error> {
    let of = |record: &Record| {
        record
            .property("authenticationType")
            .unwrap_or("KeyBased")
            .to_owned()
    };
    if of(before) == "KeyBased" && of(wanted) == "IdentityBased" {
        let rule = "an existing key-based endpoint cannot become identity-based; delete it and make it anew";
        return Err(Error::InvalidFields(vec![FieldError::new(
            "properties.authenticationType",
            rule,
        )]));
    }
    Ok(())
}

fn is_same(before: &Record, wanted: &Record) -> bool {
    let mut present = before.properties().clone();
    for computed in ["provisioningState", "provisioningError", "createdTime"] {
        present.remove(computed);
    }
    before.id == wanted.id && present == *wanted.properties() && before.secrets == wanted.secrets
}

async fn delete(desk: &Arc<Desk>, request: &Request, id: ResourceId) -> Result<Answer, Error> {
    let owner = id.owner().expect("an endpoint has an instance");
    need_parent(desk, &owner)?;
    let asked = id.clone();
    let unused = move |state: &State, _: &Record| {
        let routes = routes_to(state, &owner, &asked.name);
        if routes.is_empty() {
            return Ok(());
        }
        Err(Error::EndpointInUse {
            endpoint: asked.name,
            routes,
        })
    };
    let deleted = life::delete(desk, request, id, unused).await?;
    let Some(begun) = deleted else {
        return Ok(Answer::no_content());
    };
    let body = Some(render(&begun.record));
    Ok(begun.answer(&desk.store.read(), request, StatusCode::ACCEPTED, body))
}

/// The ids of the routes that send to an endpoint.
fn routes_to(state: &State, owner: &ResourceId, endpoint: &str) -> Vec<String> {
    let prefix = owner.children(Kind::Route);
    let routes = state.routes(&prefix, definitions::route);
    let sending =
        routes.filter(|route| route.endpoint_name.as_str().eq_ignore_ascii_case(endpoint));
    sending.map(|route| route.id.to_string()).collect()
}

/// What readers see: secrets as masks, and nothing at all of them while it provisions.
pub(crate) fn render(record: &Record) -> Value {
    let provisioning = record.state() == "Provisioning";
    record.render_masked(|pointer, _| {
        if provisioning {
            String::new()
        } else if pointer.to_ascii_lowercase().contains("connectionstring") {
            STRING_MASK.to_owned()
        } else {
            "***".to_owned()
        }
    })
}

/// The endpoint that a record defines. One that an earlier version took and this one cannot read keeps its
/// lane and waits, rather than being gone.
pub(crate) fn definition(record: &Record) -> Option<Endpoint> {
    let name = EndpointName::new(&record.id.name).ok()?;
    let reason = record.properties().get("provisioningError");
    let reason = reason.and_then(|reason| reason["message"].as_str());
    match endpoint::parse(&name, record.reveal_text().expose()) {
        Ok(endpoint) => Some(Endpoint {
            provisioning_error: reason.map(str::to_owned),
            ..endpoint
        }),
        Err(errors) => {
            let kind = [
                EndpointType::EventGrid,
                EndpointType::EventHub,
                EndpointType::ServiceBus,
            ];
            let stored = record.property("endpointType");
            let kind = kind
                .into_iter()
                .find(|kind| stored == Some(kind.as_str()))?;
            let missing = Error::InvalidFields(errors).to_string();
            let waiting = endpoint::Waiting {
                endpoint_type: kind,
                missing: format!("the stored definition cannot be read; put it again: {missing}"),
            };
            Some(Endpoint {
                name,
                destination: endpoint::Destination::Waiting(waiting),
                dead_letter: None,
                provisioning_state: None,
                provisioning_error: None,
            })
        }
    }
}

/// Notes why an endpoint is not simply `Succeeded`; takes the note away when it is.
///
/// Azure has no member for it; clients pass over members that they do not know.
pub(crate) fn note(record: &mut Record, failure: Option<&Failure>) {
    let properties = record.properties_mut();
    match failure {
        Some(failure) => {
            let error = json!({ "code": failure.code, "message": failure.message });
            properties.insert("provisioningError".to_owned(), error);
        }
        None => drop(properties.remove("provisioningError")),
    }
}
