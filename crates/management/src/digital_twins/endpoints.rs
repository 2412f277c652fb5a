//! Endpoints: `…/digitalTwinsInstances/{name}/endpoints[/{endpoint}]`.
//!
//! Source: Microsoft.DigitalTwins 2023-01-31, `DigitalTwinsEndpointResource`. There is no PATCH. A secret that
//! was given is shown as a mask, one that was not is absent; a mask that is put back keeps the secret that it names,
//! and is refused when it names none.

use super::{list_children, names};
use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::request::ArmRequest;
use crate::context::ServerContext;
use crate::definitions;
use crate::operations::{ArmOperation, Begun, OperationFailure, OperationStep, Outcome};
use crate::preconditions::{child, need, need_parent, not_found, not_taken, only};
use crate::store::masks::KeptSecrets;
use crate::store::record::{ResourceRecord, system_data};
use crate::store::{StoreChange, StoreState};
use crate::transitions;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use twinroute_model::body::Spelling;
use twinroute_model::endpoint::{BodySource, Endpoint, EndpointBody, EndpointType, FieldError};
use twinroute_model::json::Document;
use twinroute_model::name::{EndpointName, InstanceName};

/// What the server says of an endpoint.
const COMPUTED: &[&str] = &["createdTime", "provisioningError", "provisioningState"];

/// The form of a mask that is published for connection strings.
const STRING_MASK: &str =
    "Endpoint=sb://***/;SharedAccessKeyName=***;SharedAccessKey=***;EntityPath=***";

pub(crate) async fn answer(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    instance: &ResourceId,
    rest: &[String],
) -> Result<ArmAnswer, Error> {
    if let [name, step] = rest
        && step.eq_ignore_ascii_case("swapKeys")
    {
        only(request, &[Method::POST], "POST")?;
        context.store.is_read_only()?;
        return swap_keys(
            context,
            request,
            instance.child(ResourceKind::Endpoint, name),
        )
        .await;
    }
    let Some(name) = child(request, rest)? else {
        return list_children(context, request, instance, ResourceKind::Endpoint);
    };
    let id = instance.child(ResourceKind::Endpoint, name);
    match request.method {
        Method::GET => Ok(ArmAnswer::ok(render(&need(context, &id)?))),
        Method::PUT => put(context, request, id).await,
        Method::DELETE => delete(context, request, id).await,
        _ => Err(not_taken(request, "GET, PUT and DELETE")),
    }
}

async fn put(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
) -> Result<ArmAnswer, Error> {
    let owner = id.owner().expect("an endpoint has an instance");
    need_parent(context, &owner)?;
    let name = names::check_endpoint(&id.name)?;
    let document = request.json()?;
    let present = context.store.read().get(&id);
    let Wanted {
        record: mut wanted,
        endpoint,
        kept,
    } = read(&id, &name, &document, present.as_ref())?;
    connects(context, &owner, &endpoint)?;
    let (caller, now) = (request.caller.clone(), request.now);
    let outcome = context
        .begin(&request.cause, move |context, state| {
            let before = admit(context, state, &owner, &id)?;
            let before = before.as_ref();
            kept.check(before)?;
            if let Some(before) = before {
                keeps_authentication(before, &wanted)?;
                if before.is_same(&wanted, COMPUTED) && before.state() == "Succeeded" {
                    let done = Outcome::Done(ResourceRecord::clone(before));
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
            let operation = ArmOperation::begin(&id, OperationStep::over(before), now);
            let begun = Begun::new(&operation, wanted.clone());
            let put = vec![StoreChange::Put(wanted)];
            Ok((put, Some(operation), Outcome::Begun(begun)))
        })
        .await?;
    let body = render(outcome.record());
    Ok(outcome.answer(&context.store.read(), request, StatusCode::CREATED, body))
}

/// Whether the endpoint may be made or changed now; gives the one that is there.
fn admit(
    context: &ServerContext,
    state: &StoreState,
    owner: &ResourceId,
    id: &ResourceId,
) -> Result<Option<ResourceRecord>, Error> {
    transitions::staying(state, owner)?;
    transitions::idle(state, id)?;
    let before = state.get(id);
    let limit = context.settings.endpoints_max;
    let prefix = owner.children(ResourceKind::Endpoint);
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
    record: ResourceRecord,
    endpoint: Endpoint,
    kept: KeptSecrets,
}

/// Reads a body and checks it: the rules of every source, and those of this API alone. A mask that names a secret of
/// the endpoint that is there keeps it.
fn read(
    id: &ResourceId,
    name: &EndpointName,
    document: &Document,
    present: Option<&ResourceRecord>,
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
    let mut record = ResourceRecord::new(id.clone(), members, secrets.collect());
    for (pointer, member, value) in body.unknown() {
        record.keep_unknown(pointer, member, value, present)?;
    }
    Ok(Wanted {
        record,
        endpoint,
        kept,
    })
}

fn same_topic(present: &ResourceRecord, topic: Option<&str>) -> bool {
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
fn connects(context: &ServerContext, owner: &ResourceId, endpoint: &Endpoint) -> Result<(), Error> {
    let Ok(instance) = InstanceName::new(&owner.name) else {
        return Ok(());
    };
    let settings = context.beside.load().of(&instance, &endpoint.name);
    let connected = context.connect.connect(endpoint, &settings).map(drop);
    let connected = connected.and_then(|()| context.connect.dead_letters(endpoint).map(drop));
    connected.map_err(|error| Error::Invalid {
        target: "properties".to_owned(),
        rule: error.reason,
    })
}

/// Azure Digital Twins, "Create endpoints with identity-based authentication": an existing key-based endpoint
/// cannot be changed to identity-based.
fn keeps_authentication(before: &ResourceRecord, wanted: &ResourceRecord) -> Result<(), Error> {
    let of = |record: &ResourceRecord| {
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

/// POST `swapKeys`: the two keys change places, all else stays. Not an operation of Azure's: it shows no key, so a
/// client could not do it.
async fn swap_keys(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
) -> Result<ArmAnswer, Error> {
    need(context, &id)?;
    let owner = id.owner().expect("an endpoint has an instance");
    let (caller, now) = (request.caller.clone(), request.now);
    let begun = context
        .begin(&request.cause, move |_, state| {
            transitions::staying(state, &owner)?;
            transitions::idle(state, &id)?;
            let before = &state.get(&id).ok_or_else(|| not_found(&id))?;
            let mut record = ResourceRecord::clone(before);
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
            let operation = ArmOperation::begin(&id, OperationStep::Update, now);
            let begun = Begun::new(&operation, record.clone());
            Ok((vec![StoreChange::Put(record)], Some(operation), begun))
        })
        .await?;
    let body = Some(render(&begun.record));
    Ok(begun.answer(&context.store.read(), request, StatusCode::ACCEPTED, body))
}

async fn delete(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
) -> Result<ArmAnswer, Error> {
    let owner = id.owner().expect("an endpoint has an instance");
    need_parent(context, &owner)?;
    let asked = id.clone();
    let unused = move |state: &StoreState, _: &ResourceRecord| {
        let routes = routes_to(state, &owner, &asked.name);
        if routes.is_empty() {
            return Ok(());
        }
        Err(Error::EndpointInUse {
            endpoint: asked.name,
            routes,
        })
    };
    let deleted = transitions::delete(context, request, id, unused).await?;
    let Some(begun) = deleted else {
        return Ok(ArmAnswer::no_content());
    };
    let body = Some(render(&begun.record));
    Ok(begun.answer(&context.store.read(), request, StatusCode::ACCEPTED, body))
}

/// The ids of the routes that send to an endpoint.
fn routes_to(state: &StoreState, owner: &ResourceId, endpoint: &str) -> Vec<String> {
    let prefix = owner.children(ResourceKind::Route);
    let routes = state.routes(&prefix, definitions::route);
    let sending =
        routes.filter(|route| route.endpoint_name.as_str().eq_ignore_ascii_case(endpoint));
    sending.map(|route| route.id.to_string()).collect()
}

/// What readers see: secrets as masks, and nothing at all of them while it provisions.
pub(crate) fn render(record: &ResourceRecord) -> Value {
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
pub(crate) fn definition(record: &ResourceRecord) -> Option<Endpoint> {
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
pub(crate) fn note(record: &mut ResourceRecord, failure: Option<&OperationFailure>) {
    let properties = record.properties_mut();
    match failure {
        Some(failure) => {
            let error = json!({ "code": failure.code, "message": failure.message });
            properties.insert("provisioningError".to_owned(), error);
        }
        None => drop(properties.remove("provisioningError")),
    }
}
