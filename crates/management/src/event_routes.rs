//! The event-routes part of the data plane: `/eventroutes[/{id}]`.
//!
//! Source: Azure Digital Twins data plane 2020-10-31 to 2023-10-31, `EventRoutes`; error texts as real Azure
//! gives them. The instance is named by the path (`/instances/{name}/…`) or by the host's first label.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::json::ArmObject;
use crate::arm::link;
use crate::arm::path::PathCursor;
use crate::arm::request::ArmRequest;
use crate::arm::versions;
use crate::audit_cause::AuditCause;
use crate::context::{ServerCall, ServerContext};
use crate::listing::RecordPage;
use crate::preconditions::{idle, not_taken, only_get, unknown_path};
use crate::store::record::ResourceRecord;
use crate::store::state::{StoreChange, StoreState};
use crate::store::unknown::UnknownMembers;
use crate::transitions::{self, ChangeDecision};
use http::Method;
use serde_json::{Value, json};
use twinroute_filter::{FilterOptions, RouteFilter};
use twinroute_model::endpoint::ProvisioningState;
use twinroute_model::name::RouteId;

/// Routes of a page, unless `max-items-per-page` says less.
const ITEMS_MAX: usize = 500;

/// Characters of a filter.
const FILTER_MAX: usize = 32 << 10;

/// Answers what stands behind `/eventroutes`; `instance` is the name in the path.
pub(crate) async fn answer(
    call: ServerCall<'_>,
    instance: Option<&str>,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    check_version(call.request)?;
    let (network, way) = (call.context.store.network(), call.request.way.as_ref());
    // Before anything is looked up: nobody learns which instances there are over a way that is not open.
    network.check_way(way).map_err(Error::Closed)?;
    let instance = find(call, instance)?;
    network.check(way, &instance.name).map_err(Error::Closed)?;
    match path.words {
        [] => {
            only_get(call)?;
            list(call, &instance)
        }
        [_] => {
            let id = instance.child(ResourceKind::Route, path.name(0));
            match call.request.method {
                Method::GET => get(call.context, &id),
                Method::PUT => put(call, instance, id).await,
                Method::DELETE => delete(call, id).await,
                _ => Err(not_taken(call, "GET, PUT and DELETE")),
            }
        }
        _ => Err(unknown_path(call)),
    }
}

/// # Errors
/// [`Error::RouteId`], with the rule.
pub(crate) fn check_id(id: &str) -> Result<(), Error> {
    let checked = RouteId::new(id).map(drop);
    checked.map_err(|error| Error::RouteId {
        rule: error.rule().to_owned(),
    })
}

pub(crate) fn check_version(request: &ArmRequest) -> Result<(), Error> {
    let version = request.version()?;
    // Previews had the same routes.
    if versions::DATA_PLANE.contains(&version) || version.ends_with("-preview") {
        return Ok(());
    }
    Err(Error::InvalidApiVersion {
        version: version.to_owned(),
        supported: versions::DATA_PLANE,
    })
}

/// The instance that is asked.
fn find(call: ServerCall<'_>, path: Option<&str>) -> Result<ResourceId, Error> {
    let state = call.state();
    if let Some(name) = path {
        let found = state
            .named(ResourceKind::Instance, name)
            .map(|record| record.id.clone());
        return found.ok_or_else(|| Error::InstanceUnknown {
            instance: name.to_owned(),
        });
    }
    let label = call
        .request
        .host()
        .split(['.', ':'])
        .next()
        .unwrap_or_default();
    if let Some(found) = state.named(ResourceKind::Instance, label) {
        return Ok(found.id.clone());
    }
    let default = call.context.default_instance.as_str();
    if let Some(found) = state.named(ResourceKind::Instance, default) {
        return Ok(found.id.clone());
    }
    // With one instance there is nothing to tell apart.
    let mut all = state.kind(ResourceKind::Instance);
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(only.id.clone()),
        _ => Err(Error::InstanceUnknown {
            instance: default.to_owned(),
        }),
    }
}

fn render(record: &ResourceRecord) -> Value {
    let mut text = record.render_hidden();
    if let Some(members) = text.as_object_mut() {
        // What ARM's resources have besides.
        members.retain(|name, _| !["name", "type", "systemData"].contains(&name.as_str()));
        members.insert("id".to_owned(), record.id.name.clone().into());
    }
    text
}

/// What the list's continuation token holds: the page's size goes along, since not every client repeats it.
fn list(call: ServerCall<'_>, instance: &ResourceId) -> Result<ArmAnswer, Error> {
    let prefix = instance.children(ResourceKind::Route);
    let asked = call
        .request
        .header("max-items-per-page")
        .and_then(|count| count.parse().ok());
    let (mut items_max, mut after) = (asked.unwrap_or(ITEMS_MAX), None);
    if let Some(token) = call.request.query("continuationToken") {
        const NAME: &str = "continuationToken";
        let text = link::read_token(token, NAME)?;
        let pair = text.split_once(' ');
        let (size, key) = pair.ok_or_else(|| link::not_a_token(NAME))?;
        items_max = asked.or(size.parse().ok()).unwrap_or(ITEMS_MAX);
        after = Some(format!("{prefix}{key}"));
    }
    let items_max = items_max.clamp(1, ITEMS_MAX);
    let state = call.state();
    let page = RecordPage::of(&state, &prefix, after.as_deref(), items_max);
    let value: Vec<Value> = page.records.iter().map(render).collect();
    let next = page
        .records
        .last()
        .filter(|_| page.next.is_some())
        .map(|last| {
            let token = link::token(&format!("{items_max} {}", last.id.name));
            let version = link::escape(call.request.query("api-version").unwrap_or_default());
            let link = link::url(call.request, &call.request.path());
            format!("{link}?continuationToken={token}&api-version={version}")
        });
    // Always there, null at the end: unlike ARM's.
    Ok(ArmAnswer::ok(json!({ "value": value, "nextLink": next })))
}

fn get(context: &ServerContext, id: &ResourceId) -> Result<ArmAnswer, Error> {
    let route = context.store.read().get(id);
    Ok(ArmAnswer::ok(render(&route.ok_or(Error::RouteNotFound)?)))
}

async fn put(
    call: ServerCall<'_>,
    instance: ResourceId,
    id: ResourceId,
) -> Result<ArmAnswer, Error> {
    check_id(&id.name)?;
    let body = call.request.json()?;
    let body = ArmObject::body(&body)?;
    let endpoint = body.required_text("endpointName")?.to_owned();
    let filter = body.required_exact_text("filter")?.to_owned();
    if filter.len() > FILTER_MAX {
        return Err(Error::RouteFilter {
            reason: format!("It has {} bytes; the limit is {FILTER_MAX}", filter.len()),
        });
    }
    RouteFilter::parse(&filter, &FilterOptions::default()).map_err(|error| Error::RouteFilter {
        reason: error.to_string(),
    })?;
    let mut unknown = UnknownMembers::default();
    unknown.add("", &body, &["endpointName", "filter", "id"])?;
    let mut record = ResourceRecord::public(id.clone(), json!({ "filter": filter }));
    transitions::write(call, id, move |present| {
        let name = active(present.state, &instance, &endpoint)?;
        idle(present.state, &instance)?;
        record.set("endpointName", name);
        unknown.keep(&mut record, present.before)?;
        Ok(ChangeDecision::Done(record))
    })
    .await?;
    Ok(ArmAnswer::no_content())
}

/// The endpoint must be there and work: `Provisioning`, `Failed` and the like are refused, as Azure does.
fn active(state: &StoreState, instance: &ResourceId, endpoint: &str) -> Result<String, Error> {
    let found = state.get(&instance.child(ResourceKind::Endpoint, endpoint));
    let found = found.ok_or(Error::RouteEndpoint)?;
    let provisioned = serde_json::from_value(found.state().into()).ok();
    match provisioned {
        None | Some(ProvisioningState::Succeeded | ProvisioningState::Warning) => {
            Ok(found.id.name.clone())
        }
        Some(_) => Err(Error::RouteEndpoint),
    }
}

async fn delete(call: ServerCall<'_>, id: ResourceId) -> Result<ArmAnswer, Error> {
    let remove = move |_: &ServerContext, state: &StoreState| {
        state.get(&id).ok_or(Error::RouteNotFound)?;
        Ok((vec![StoreChange::Remove(id.key())], ()))
    };
    let cause = AuditCause::of(call.request);
    call.context.change(Some(cause), remove).await?;
    Ok(ArmAnswer::no_content())
}

#[cfg(test)]
#[path = "event_routes_tests.rs"]
mod tests;
