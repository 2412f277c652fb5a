//! Subscriptions and resource groups, as far as clients of Azure ask for them.
//!
//! Azure demands that a group is there before what is in it; here the first resource makes it. Every
//! subscription that is a GUID exists.

use crate::arm::answer::Answer;
use crate::arm::error::Error;
use crate::arm::id::{Kind, ResourceId};
use crate::arm::json::Object;
use crate::arm::names::check_group;
use crate::arm::page;
use crate::arm::request::Request;
use crate::desk::Desk;
use crate::life;
use crate::lookup::{not_taken, only};
use crate::store::record::{Record, tags};
use crate::store::unknown::UnknownMembers;
use crate::store::{Change, State};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use uuid::Uuid;

/// The tenant of a subscription: made up, but always the same.
pub(crate) fn tenant(subscription: &str) -> Uuid {
    let seed = format!("tenant{}", subscription.to_ascii_lowercase());
    Uuid::new_v5(&Uuid::NAMESPACE_URL, seed.as_bytes())
}

/// `GET /subscriptions`: the configured one and those that hold something.
pub(crate) fn subscriptions(desk: &Desk) -> Answer {
    let state = desk.store.read();
    let used = state
        .kind(Kind::Group)
        .map(|group| group.id.subscription.to_ascii_lowercase());
    let mut all: BTreeSet<String> = used.collect();
    all.insert(desk.settings.subscription.to_ascii_lowercase());
    let value: Vec<Value> = all
        .iter()
        .map(|subscription| describe(subscription))
        .collect();
    Answer::ok(json!({ "value": value }))
}

/// `GET /tenants`: those of the subscriptions.
pub(crate) fn tenants(desk: &Desk) -> Answer {
    let tenant = tenant(&desk.settings.subscription);
    Answer::ok(json!({ "value": [{
        "id": format!("/tenants/{tenant}"), "tenantId": tenant.to_string(), "displayName": "twinroute",
    }] }))
}

pub(crate) fn subscription(subscription: &str) -> Answer {
    Answer::ok(describe(subscription))
}

fn describe(subscription: &str) -> Value {
    json!({
        "id": format!("/subscriptions/{subscription}"),
        "subscriptionId": subscription,
        "tenantId": tenant(subscription).to_string(),
        "displayName": "twinroute",
        "state": "Enabled",
    })
}

/// `GET /metadata/endpoints`: what the Azure CLI asks before anything else, without a token.
pub(crate) fn metadata(request: &Request) -> Answer {
    let base = &request.base;
    Answer::ok(json!([{
        "name": "twinroute",
        "resourceManager": format!("{base}/"),
        "authentication": {
            "loginEndpoint": format!("{base}/"),
            "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "suffixes": {},
    }]))
}

/// `…/resourceGroups[/{group}]`.
pub(crate) async fn answer(
    desk: &Arc<Desk>,
    request: &Request,
    subscription: &str,
    group: Option<&str>,
) -> Result<Answer, Error> {
    request.version()?;
    let Some(group) = group else {
        only(request, &[Method::GET], "GET")?;
        let prefix = ResourceId::subscription_prefix(Kind::Group, subscription);
        let state = desk.store.read();
        return page::list(request, &state, &prefix, Record::render_hidden).map(Answer::ok);
    };
    let id = ResourceId::group(subscription, group);
    match request.method {
        Method::GET => found(desk, &id),
        Method::PUT | Method::PATCH => put(desk, request, id).await,
        Method::DELETE => delete(desk, request, id).await,
        _ => Err(not_taken(request, "GET, HEAD, PUT, PATCH and DELETE")),
    }
}

fn found(desk: &Desk, id: &ResourceId) -> Result<Answer, Error> {
    let record = desk.store.read().get(id);
    let record = record.ok_or_else(|| Error::GroupNotFound {
        group: id.name.clone(),
    })?;
    Ok(Answer::ok(record.render_hidden()))
}

async fn put(desk: &Arc<Desk>, request: &Request, id: ResourceId) -> Result<Answer, Error> {
    check_group(&id.name)?;
    let body = request.json()?;
    let body = Object::body(&body)?;
    let location = body.text("location")?.map(str::to_owned);
    let new_tags = tags(&body)?;
    let unknown = UnknownMembers::of(&body, &["provisioningState"])?;
    let (status, record) = desk
        .change(Some(&request.cause), move |_, state| {
            let before = state.get(&id);
            let before = before.as_ref();
            let mut record = match before {
                Some(before) => Record::clone(before),
                None => group(&id),
            };
            if let Some(location) = location {
                record.body.insert("location".to_owned(), location.into());
            }
            if !new_tags.is_null() {
                record.body.insert("tags".to_owned(), new_tags);
            }
            unknown.keep(&mut record, before)?;
            let status = match before {
                Some(_) => StatusCode::OK,
                None => StatusCode::CREATED,
            };
            Ok((vec![Change::Put(record.clone())], (status, record)))
        })
        .await?;
    Ok(Answer::new(status, Some(record.render_hidden())))
}

/// Deletes a group with everything in it, as Azure does.
async fn delete(desk: &Arc<Desk>, request: &Request, id: ResourceId) -> Result<Answer, Error> {
    let group = id.name.clone();
    let deleted = life::delete(desk, request, id, |_, _| Ok(())).await?;
    let begun = deleted.ok_or(Error::GroupNotFound { group })?;
    Ok(begun.answer(&desk.store.read(), request, StatusCode::ACCEPTED, None))
}

fn group(id: &ResourceId) -> Record {
    let mut body = Map::new();
    body.insert("location".to_owned(), "westus2".into());
    body.insert("tags".to_owned(), Value::Null);
    body.insert(
        "properties".to_owned(),
        json!({ "provisioningState": "Succeeded" }),
    );
    Record::new(id.clone(), body, BTreeMap::new())
}

/// The change that makes a resource's group, if it is not there yet.
pub(crate) fn made_with(
    state: &State,
    id: &ResourceId,
    caller: &str,
    now: Timestamp,
) -> Vec<Change> {
    let id = ResourceId::group(&id.subscription, &id.group);
    if state.has(&id) {
        return Vec::new();
    }
    tracing::info!(group = %id, caller, at = now.rfc3339(), "a resource group was made with its first resource");
    vec![Change::Put(group(&id))]
}
