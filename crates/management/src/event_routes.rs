//! The event-routes part of the data plane: `/eventroutes[/{id}]`.
//!
//! Source: Azure Digital Twins data plane 2020-10-31 to 2023-10-31, `EventRoutes`; error texts as real Azure
//! gives them. The instance is told by the path (`/instances/{name}/…`) or by the host's first label.

use crate::arm::answer::Answer;
use crate::arm::error::Error;
use crate::arm::id::{Kind, ResourceId};
use crate::arm::json::Object;
use crate::arm::page::{self, Page};
use crate::arm::request::Request;
use crate::arm::versions;
use crate::desk::Desk;
use crate::digital_twins::named;
use crate::life;
use crate::lookup::{not_taken, only};
use crate::store::record::{Record, system_data};
use crate::store::unknown::UnknownMembers;
use crate::store::{Change, State};
use http::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use twinroute_filter::{Filter, Options};
use twinroute_model::endpoint::ProvisioningState;
use twinroute_model::name::RouteId;

/// Routes of a page, unless `max-items-per-page` says less.
const ITEMS_MAX: usize = 500;

/// Characters of a filter.
const FILTER_MAX: usize = 32 << 10;

/// Answers what stands behind `/eventroutes`; `instance` is the name in the path.
pub(crate) async fn answer(
    desk: &Arc<Desk>,
    request: &Request,
    instance: Option<&str>,
    rest: &[String],
) -> Result<Answer, Error> {
    check_version(request)?;
    let (network, way) = (desk.store.network(), request.way.as_ref());
    // Before anything is looked up: nobody learns which instances there are over a way that is not open.
    network.check_way(way).map_err(Error::Closed)?;
    let instance = find(desk, request, instance)?;
    network.check(way, &instance.name).map_err(Error::Closed)?;
    match rest {
        [] => {
            only(request, &[Method::GET], "GET")?;
            list(desk, request, &instance)
        }
        [id] => match request.method {
            Method::GET => get(desk, &instance, id),
            Method::PUT => put(desk, request, instance, id).await,
            Method::DELETE => delete(desk, request, instance, id).await,
            _ => Err(not_taken(request, "GET, PUT and DELETE")),
        },
        _ => Err(Error::UnknownPath {
            path: request.path(),
        }),
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

pub(crate) fn check_version(request: &Request) -> Result<(), Error> {
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
fn find(desk: &Desk, request: &Request, path: Option<&str>) -> Result<ResourceId, Error> {
    let state = desk.store.read();
    if let Some(name) = path {
        let found = named(&state, name).map(|record| record.id.clone());
        return found.ok_or_else(|| Error::InstanceUnknown {
            instance: name.to_owned(),
        });
    }
    let label = request.host().split(['.', ':']).next().unwrap_or_default();
    if let Some(found) = named(&state, label) {
        return Ok(found.id.clone());
    }
    let default = desk.default_instance.as_str();
    if let Some(found) = named(&state, default) {
        return Ok(found.id.clone());
    }
    // With one instance there is nothing to tell apart.
    let mut all = state.kind(Kind::Instance);
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(only.id.clone()),
        _ => Err(Error::InstanceUnknown {
            instance: default.to_owned(),
        }),
    }
}

fn render(record: &Record) -> Value {
    let mut shown = record.render_hidden();
    if let Some(members) = shown.as_object_mut() {
        // What ARM's resources have besides.
        members.retain(|name, _| !["name", "type", "systemData"].contains(&name.as_str()));
        members.insert("id".to_owned(), record.id.name.clone().into());
    }
    shown
}

/// What the list's continuation token holds: the page's size goes along, since not every client repeats it.
fn list(desk: &Desk, request: &Request, instance: &ResourceId) -> Result<Answer, Error> {
    let prefix = instance.children(Kind::Route);
    let asked = request
        .header("max-items-per-page")
        .and_then(|count| count.parse().ok());
    let (mut items_max, mut after) = (asked.unwrap_or(ITEMS_MAX), None);
    if let Some(token) = request.query("continuationToken") {
        const NAME: &str = "continuationToken";
        let text = page::read_token(token, NAME)?;
        let (size, key) = text.split_once(' ').ok_or_else(|| Error::Invalid {
            target: NAME.to_owned(),
            rule: "is not a token of this server; begin the list anew".to_owned(),
        })?;
        items_max = asked.or(size.parse().ok()).unwrap_or(ITEMS_MAX);
        after = Some(format!("{prefix}{key}"));
    }
    let items_max = items_max.clamp(1, ITEMS_MAX);
    let state = desk.store.read();
    let page = Page::of(&state, &prefix, after.as_deref(), items_max);
    let value: Vec<Value> = page.records.iter().map(render).collect();
    let next = page
        .records
        .last()
        .filter(|_| page.next.is_some())
        .map(|last| {
            let token = page::token(&format!("{items_max} {}", last.id.name));
            let version = page::escape(request.query("api-version").unwrap_or_default());
            let link = page::url(request, &request.path());
            format!("{link}?continuationToken={token}&api-version={version}")
        });
    // Always there, null at the end: unlike ARM's.
    Ok(Answer::ok(json!({ "value": value, "nextLink": next })))
}

fn get(desk: &Desk, instance: &ResourceId, id: &str) -> Result<Answer, Error> {
    let state = desk.store.read();
    let route = state.get(&instance.child(Kind::Route, id));
    Ok(Answer::ok(render(&route.ok_or(Error::RouteNotFound)?)))
}

async fn put(
    desk: &Arc<Desk>,
    request: &Request,
    instance: ResourceId,
    id: &str,
) -> Result<Answer, Error> {
    check_id(id)?;
    let body = request.json()?;
    let body = Object::body(&body)?;
    let endpoint = body.required_text("endpointName")?.to_owned();
    let filter = body.required_exact_text("filter")?.to_owned();
    if filter.len() > FILTER_MAX {
        return Err(Error::RouteFilter {
            reason: format!("It has {} bytes; the limit is {FILTER_MAX}", filter.len()),
        });
    }
    Filter::parse(&filter, &Options::default()).map_err(|error| Error::RouteFilter {
        reason: error.to_string(),
    })?;
    let mut unknown = UnknownMembers::default();
    unknown.add("", &body, &["endpointName", "filter", "id"])?;
    let id = instance.child(Kind::Route, id);
    let (caller, now) = (request.caller.clone(), request.now);
    desk.change(Some(&request.cause), move |desk, state| {
        let name = active(state, &instance, &endpoint)?;
        life::idle(state, &instance)?;
        let before = state.get(&id);
        let before = before.as_ref();
        let prefix = instance.children(Kind::Route);
        let limit = desk.settings.routes_max;
        if before.is_none() && state.keys(&prefix).count() >= limit {
            return Err(Error::LimitReached {
                what: format!("digital twins instance '{}'", instance.name),
                kind: "event routes",
                limit,
                way_out: "delete one, or raise `routes_max` in [management].",
            });
        }
        let mut body = Map::new();
        body.insert("endpointName".to_owned(), name.into());
        body.insert("filter".to_owned(), filter.into());
        let system = system_data(before, &caller, now);
        body.insert("systemData".to_owned(), system);
        let mut record = Record::new(id, body, BTreeMap::new());
        unknown.keep(&mut record, before)?;
        Ok((vec![Change::Put(record)], ()))
    })
    .await?;
    Ok(Answer::no_content())
}

/// The endpoint must be there and work: `Provisioning`, `Failed` and the like are refused, as Azure does.
fn active(state: &State, instance: &ResourceId, endpoint: &str) -> Result<String, Error> {
    let found = state.get(&instance.child(Kind::Endpoint, endpoint));
    let found = found.ok_or(Error::RouteEndpoint)?;
    let provisioned = serde_json::from_value(found.state().into()).ok();
    match provisioned {
        None | Some(ProvisioningState::Succeeded | ProvisioningState::Warning) => {
            Ok(found.id.name.clone())
        }
        Some(_) => Err(Error::RouteEndpoint),
    }
}

async fn delete(
    desk: &Arc<Desk>,
    request: &Request,
    instance: ResourceId,
    id: &str,
) -> Result<Answer, Error> {
    let id = instance.child(Kind::Route, id);
    desk.change(Some(&request.cause), move |_, state| {
        state.get(&id).ok_or(Error::RouteNotFound)?;
        Ok((vec![Change::Remove(id.key())], ()))
    })
    .await?;
    Ok(Answer::no_content())
}

#[cfg(test)]
#[path = "event_routes_tests.rs"]
mod tests;
