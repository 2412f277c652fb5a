//! Endpoints: `…/digitalTwinsInstances/{name}/endpoints[/{endpoint}]`.
//!
//! Source: Microsoft.DigitalTwins 2023-01-31, `DigitalTwinsEndpointResource`. There is no PATCH. A secret that
//! was given is shown as a mask, one that was not is absent; a mask that is put back keeps the secret that it names,
//! and is refused when it names none.

use super::endpoint_record::{self, render};
use super::names;
use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::path::PathCursor;
use crate::context::{ServerCall, ServerContext};
use crate::definitions;
use crate::listing;
use crate::preconditions::{child, need, need_above, not_taken, only_post};
use crate::store::masks::KeptSecrets;
use crate::store::record::ResourceRecord;
use crate::store::state::StoreState;
use crate::transitions::{self, ChangeDecision};
use http::{Method, StatusCode};
use serde_json::{Map, Value};
use twinroute_model::body::MemberSpelling;
use twinroute_model::endpoint::{
    BodySource, ConnectionString, Endpoint, EndpointBody, EndpointDestination, EndpointType,
    FieldError, NamespaceAccess,
};
use twinroute_model::json::JsonDocument;
use twinroute_model::name::{EndpointName, InstanceName};

/// What the server says of an endpoint.
const COMPUTED: &[&str] = &["createdTime", "provisioningError", "provisioningState"];

pub(crate) async fn answer(
    call: ServerCall<'_>,
    instance: &ResourceId,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    if let [_, "swapkeys"] = path.words {
        only_post(call)?;
        call.context.store.is_read_only()?;
        let id = instance.child(ResourceKind::Endpoint, path.name(0));
        return swap_keys(call, id).await;
    }
    let Some(name) = child(call, path)? else {
        return listing::children(call, instance, ResourceKind::Endpoint, render);
    };
    let id = instance.child(ResourceKind::Endpoint, name);
    match call.request.method {
        Method::GET => Ok(ArmAnswer::ok(render(&need(call, &id)?))),
        Method::PUT => put(call, instance, id).await,
        Method::DELETE => delete(call, instance, id).await,
        _ => Err(not_taken(call, "GET, PUT and DELETE")),
    }
}

async fn put(
    call: ServerCall<'_>,
    instance: &ResourceId,
    id: ResourceId,
) -> Result<ArmAnswer, Error> {
    need_above(call, &id)?;
    let name = names::check_endpoint(&id.name)?;
    let document = call.request.json()?;
    let present = call.state().get(&id);
    let WantedEndpoint {
        mut record,
        endpoint,
        kept,
    } = read(&id, &name, &document, present.as_ref())?;
    connects(call.context, instance, &endpoint)?;
    let is_rotation = call.request.query(KEYS_ONLY) == Some("true");
    let outcome = transitions::write(call, id, move |present| {
        kept.check(present.before)?;
        if let Some(before) = present.before {
            keeps_authentication(before, &record)?;
            if is_rotation {
                keeps_destination(before, &endpoint)?;
            }
        }
        if present.is_same(&record, COMPUTED) {
            return Ok(ChangeDecision::Unchanged);
        }
        present.stamp_creation(&mut record);
        Ok(ChangeDecision::Begun(record, "Provisioning"))
    })
    .await?;
    let body = Some(render(&outcome.record));
    Ok(outcome.answer(call, StatusCode::CREATED, body))
}

/// What a body asks for.
struct WantedEndpoint {
    record: ResourceRecord,
    endpoint: Endpoint,
    kept: KeptSecrets,
}

/// Reads a body and checks it: the rules of every source, and those of this API alone. A mask that names a secret of
/// the endpoint that is there keeps it.
fn read(
    id: &ResourceId,
    name: &EndpointName,
    document: &JsonDocument,
    present: Option<&ResourceRecord>,
) -> Result<WantedEndpoint, Error> {
    let members = document.object().ok_or_else(|| {
        let rule = "must be an object";
        Error::InvalidFields(vec![FieldError::new("(body)", rule)])
    })?;
    let mut body = EndpointBody::read(members, MemberSpelling::Published);
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
    Ok(WantedEndpoint {
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
    connected.map_err(|error| Error::invalid("properties", error.reason))
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
        let rule = "an existing key-based endpoint cannot become identity-based; delete it and make it again";
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
fn keeps_destination(before: &ResourceRecord, wanted: &Endpoint) -> Result<(), Error> {
    let stored = endpoint_record::definition(before);
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
        EndpointDestination::EventHub(NamespaceAccess::Keys { primary, .. })
        | EndpointDestination::ServiceBus(NamespaceAccess::Keys { primary, .. }) => Some(primary),
        _ => None,
    }
}

/// POST `swapKeys`: the two keys change places, all else stays. Not an operation of Azure's: it shows no key, so a
/// client could not do it.
async fn swap_keys(call: ServerCall<'_>, id: ResourceId) -> Result<ArmAnswer, Error> {
    need(call, &id)?;
    let outcome = transitions::write(call, id, |present| {
        let mut record = present.existing()?.clone();
        let kind = EndpointType::parse(record.property("endpointType").unwrap_or_default());
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
        Ok(ChangeDecision::Begun(record, "Provisioning"))
    })
    .await?;
    let body = Some(render(&outcome.record));
    Ok(outcome.answer(call, StatusCode::ACCEPTED, body))
}

async fn delete(
    call: ServerCall<'_>,
    instance: &ResourceId,
    id: ResourceId,
) -> Result<ArmAnswer, Error> {
    let (instance, endpoint) = (instance.clone(), id.name.clone());
    let unused = move |state: &StoreState, _: &ResourceRecord| {
        let routes = routes_to(state, &instance, &endpoint);
        if routes.is_empty() {
            return Ok(());
        }
        Err(Error::EndpointInUse { endpoint, routes })
    };
    let show = |record: &ResourceRecord| Some(render(record));
    transitions::delete(call, id, unused, show).await
}

/// The ids of the routes that send to an endpoint.
fn routes_to(state: &StoreState, owner: &ResourceId, endpoint: &str) -> Vec<String> {
    let prefix = owner.children(ResourceKind::Route);
    let routes = state.routes(&prefix, definitions::route);
    let sending =
        routes.filter(|route| route.endpoint_name.as_str().eq_ignore_ascii_case(endpoint));
    sending.map(|route| route.id.to_string()).collect()
}
