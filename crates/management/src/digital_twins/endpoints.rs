//! Endpoints: `…/digitalTwinsInstances/{name}/endpoints[/{endpoint}]`.
//!
//! Source: Microsoft.DigitalTwins 2023-01-31, `DigitalTwinsEndpointResource`. There is no PATCH. A secret that
//! was given is shown as a mask, one that was not is absent; a mask that is put back keeps the secret that it names,
//! and is refused when it names none.

use super::{list_children, names};
use crate::arm::answer::Answer;
use crate::arm::error::Error;
use crate::arm::id::{Kind, ResourceId};
use crate::arm::request::Request;
use crate::definitions;
use crate::desk::Desk;
use crate::life;
use crate::lookup::{child, need, need_parent, not_found, not_taken, only};
use crate::operations::{Begun, Failure, Operation, Outcome, Step};
use crate::store::masks::KeptSecrets;
use crate::store::record::{Record, system_data};
use crate::store::{Change, State};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use twinroute_model::body::Spelling;
use twinroute_model::endpoint::{
    Access, BodySource, ConnectionString, Destination, Endpoint, EndpointBody, EndpointType,
    FieldError,
};
use twinroute_model::json::Document;
use twinroute_model::name::{EndpointName, InstanceName};

/// What the server says of an endpoint.
const COMPUTED: &[&str] = &["createdTime", "provisioningError", "provisioningState"];

/// The form of a mask that is published for connection strings.
const STRING_MASK: &str =
    "Endpoint=sb://***/;SharedAccessKeyName=***;SharedAccessKey=***;EntityPath=***";

pub(crate) async fn answer(
    desk: &Arc<Desk>,
    request: &Request,
    instance: &ResourceId,
    rest: &[String],
) -> Result<Answer, Error> {
    if let [name, step] = rest
        && step.eq_ignore_ascii_case("swapKeys")
    {
        only(request, &[Method::POST], "POST")?;
        desk.store.is_read_only()?;
        return swap_keys(desk, request, instance.child(Kind::Endpoint, name)).await;
    }
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
    let document = request.json()?;
    let present = desk.store.read().get(&id);
    let Wanted {
        record: mut wanted,
        endpoint,
        kept,
    } = read(&id, &name, &document, present.as_ref())?;
    connects(desk, &owner, &endpoint)?;
    let is_rotation = request.query(KEYS_ONLY) == Some("true");
    let (caller, now) = (request.caller.clone(), request.now);
    let outcome = desk
        .begin(&request.cause, move |desk, state| {
            let before = admit(desk, state, &owner, &id)?;
            let before = before.as_ref();
            kept.check(before)?;
            if let Some(before) = before {
                keeps_authentication(before, &wanted)?;
                if is_rotation {
                    keeps_destination(before, &endpoint)?;
                }
                if before.is_same(&wanted, COMPUTED) && before.state() == "Succeeded" {
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

/// What a body asks for.
struct Wanted {
    record: Record,
    endpoint: Endpoint,
    kept: KeptSecrets,
}

/// Reads a body and checks it: the rules of every source, and those of this API alone. A mask that names a secret of
/// the endpoint that is there keeps it.
fn read(
    id: &ResourceId,
    name: &EndpointName,
    document: &Document,
    present: Option<&Record>,
) -> Result<Wanted, Error> {
    let members = document.object().ok_or_else(|| {
        let rule = "must be an object";
        Error::InvalidFields(vec![FieldError::new("(body)", rule)])
    })?;
    let mut body = EndpointBody::read(members, Spelling::Published);
    if body.is_without_properties() {
        return Err(Error::MissingMember {
            path: "properties".to_owned(),
        });
    }
    let mut kept = KeptSecrets::default();
    let masked: Vec<_> = body
        .secrets()
        .filter(|(_, secret)| secret.is_masked())
        .collect();
    for (member, mask) in masked {
        let pointer = format!("/properties/{member}");
        let stored = present.and_then(|present| present.secrets.get(&pointer));
        // A key is one of its topic: the mask of another's names none that is stored.
        let same = !member.starts_with("accessKey")
            || present.is_some_and(|present| same_topic(present, body.word("TopicEndpoint")));
        if let Some(stored) = stored.filter(|stored| same && mask.is_mask_of(stored)) {
            body.put_secret(member, stored);
            kept.add(pointer, stored);
        }
    }
    let mut errors = of_this_api(&body);
    let endpoint = match body.check(name, BodySource::Request) {
        Ok(endpoint) if errors.is_empty() => endpoint,
        Ok(_) => return Err(Error::InvalidFields(errors)),
        Err(more) => {
            errors.extend(more);
            return Err(Error::InvalidFields(errors));
        }
    };
    let secrets = body
        .secrets()
        .map(|(member, secret)| (format!("/properties/{member}"), secret));
    let members = Map::from_iter([("properties".to_owned(), Value::Object(body.plain()))]);
    let mut record = Record::new(id.clone(), members, secrets.collect());
    for (pointer, member, value) in body.unknown() {
        record.keep_unknown(pointer, member, value, present)?;
    }
    Ok(Wanted {
        record,
        endpoint,
        kept,
    })
}

fn same_topic(present: &Record, topic: Option<&str>) -> bool {
    let plain = |url: &str| url.trim_end_matches('/').to_ascii_lowercase();
    let stored = present.property("TopicEndpoint").map(plain);
    stored == topic.map(plain)
}

/// As az has it: how dead letters are reached follows how the endpoint is.
fn of_this_api(body: &EndpointBody<'_>) -> Vec<FieldError> {
    let (member, given, rule) = if body.is_key_based() {
        (
            "deadLetterUri",
            body.word("deadLetterUri").is_some() && body.secret("deadLetterSecret").is_none(),
            "is for identity-based endpoints; a key-based one has deadLetterSecret",
        )
    } else {
        (
            "deadLetterSecret",
            body.secret("deadLetterSecret").is_some(),
            "is for key-based endpoints; an identity-based one has deadLetterUri",
        )
    };
    let error = given.then(|| FieldError::new(&format!("properties.{member}"), rule));
    error.into_iter().collect()
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

/// Parameter of a PUT, `true` when only keys are meant to change. Not one of Azure's: it shows no connection string,
/// so a client could not see that a new one is for another place.
const KEYS_ONLY: &str = "keysOnly";

/// Refuses a new connection string for another place than the stored one, which is not shown: reads mask it, too.
fn keeps_destination(before: &Record, wanted: &Endpoint) -> Result<(), Error> {
    let stored = definition(before);
    let stored = stored.as_ref().and_then(primary_string);
    let (Some(stored), Some(given)) = (stored, primary_string(wanted)) else {
        return Ok(());
    };
    let is_same = stored.host().eq_ignore_ascii_case(given.host())
        && stored.port() == given.port()
        && stored
            .entity_path()
            .eq_ignore_ascii_case(given.entity_path());
    if is_same {
        return Ok(());
    }
    let rule = format!(
        "is for {} at {}, which is not where the endpoint sends to: give a key of that place, or change the \
         connection string and not only the key",
        given.entity_path(),
        given.host()
    );
    let kind = EndpointType::parse(wanted.endpoint_type()).unwrap_or(EndpointType::EventHub);
    let field = format!("properties.{}", kind.keys()[0]);
    Err(Error::InvalidFields(vec![FieldError::new(&field, rule)]))
}

fn primary_string(endpoint: &Endpoint) -> Option<&ConnectionString> {
    match &endpoint.destination {
        Destination::EventHub(Access::Keys { primary, .. })
        | Destination::ServiceBus(Access::Keys { primary, .. }) => Some(primary),
        _ => None,
    }
}

/// POST `swapKeys`: the two keys change places, all else stays. Not an operation of Azure's: it shows no key, so a
/// client could not do it.
async fn swap_keys(desk: &Arc<Desk>, request: &Request, id: ResourceId) -> Result<Answer, Error> {
    need(desk, &id)?;
    let owner = id.owner().expect("an endpoint has an instance");
    let (caller, now) = (request.caller.clone(), request.now);
    let begun = desk
        .begin(&request.cause, move |_, state| {
            life::staying(state, &owner)?;
            life::idle(state, &id)?;
            let before = &state.get(&id).ok_or_else(|| not_found(&id))?;
            let mut record = Record::clone(before);
            let kind = EndpointType::parse(before.property("endpointType").unwrap_or_default());
            let kind = kind.unwrap_or(EndpointType::EventHub);
            let [first, second] = kind.keys().map(|key| format!("/properties/{key}"));
            let (Some(primary), Some(secondary)) = (
                record.secrets.remove(&first),
                record.secrets.remove(&second),
            ) else {
                let rule = "is not there: there are no two keys to swap";
                let field = second.trim_start_matches('/').replace('/', ".");
                return Err(Error::InvalidFields(vec![FieldError::new(&field, rule)]));
            };
            record.secrets.insert(first, secondary);
            record.secrets.insert(second, primary);
            let system = system_data(Some(before), &caller, now);
            record.body.insert("systemData".to_owned(), system);
            record.set_state("Provisioning");
            let operation = Operation::begin(&id, Step::Update, now);
            let begun = Begun::new(&operation, record.clone());
            Ok((vec![Change::Put(record)], Some(operation), begun))
        })
        .await?;
    let body = Some(render(&begun.record));
    Ok(begun.answer(&desk.store.read(), request, StatusCode::ACCEPTED, body))
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
    let document = Document::new(record.reveal());
    let mut body = EndpointBody::read(document.object()?, Spelling::Published);
    match body.check_main(&name) {
        Ok((endpoint, left_out)) => {
            let left_out = left_out.first();
            let left_out = left_out.map(|error| format!("put the definition again: {error}"));
            Some(Endpoint {
                provisioning_error: reason.map(str::to_owned).or(left_out),
                ..endpoint
            })
        }
        Err(errors) => {
            let missing = Error::InvalidFields(errors).to_string();
            let missing = format!("the stored definition cannot be read; put it again: {missing}");
            let waiting = body.waiting(&name, missing).ok()?;
            Some(Endpoint {
                dead_letter: None,
                provisioning_state: None,
                ..waiting
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
