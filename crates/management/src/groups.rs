//! Subscriptions and resource groups, as far as clients of Azure ask for them.
//!
//! Azure demands that a group is there before what is in it; here the first resource makes it. Every
//! subscription that is a GUID exists.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::json::BodyObject;
use crate::arm::names::check_group;
use crate::arm::page;
use crate::arm::request::ArmRequest;
use crate::context::ServerContext;
use crate::preconditions::{not_taken, only};
use crate::store::record::{ResourceRecord, tags};
use crate::store::unknown::UnknownMembers;
use crate::store::{StoreChange, StoreState};
use crate::transitions;
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
pub(crate) fn subscriptions(context: &ServerContext) -> ArmAnswer {
    let state = context.store.read();
    let used = state
        .kind(ResourceKind::Group)
        .map(|group| group.id.subscription.to_ascii_lowercase());
    let mut all: BTreeSet<String> = used.collect();
    all.insert(context.settings.subscription.to_ascii_lowercase());
    let value: Vec<Value> = all
        .iter()
        .map(|subscription| describe(subscription))
        .collect();
    ArmAnswer::ok(json!({ "value": value }))
}

/// `GET /tenants`: those of the subscriptions.
pub(crate) fn tenants(context: &ServerContext) -> ArmAnswer {
    let tenant = tenant(&context.settings.subscription);
    ArmAnswer::ok(json!({ "value": [{
        "id": format!("/tenants/{tenant}"), "tenantId": tenant.to_string(), "displayName": "twinroute",
    }] }))
}

pub(crate) fn subscription(subscription: &str) -> ArmAnswer {
    ArmAnswer::ok(describe(subscription))
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
pub(crate) fn metadata(request: &ArmRequest) -> ArmAnswer {
    let base = &request.base;
    ArmAnswer::ok(json!([{
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
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    subscription: &str,
    group: Option<&str>,
) -> Result<ArmAnswer, Error> {
    request.version()?;
    let Some(group) = group else {
        only(request, &[Method::GET], "GET")?;
        let prefix = ResourceId::subscription_prefix(ResourceKind::Group, subscription);
        let state = context.store.read();
        return page::list(request, &state, &prefix, ResourceRecord::render_hidden)
            .map(ArmAnswer::ok);
    };
    let id = ResourceId::group(subscription, group);
    match request.method {
        Method::GET => found(context, &id),
        Method::PUT | Method::PATCH => put(context, request, id).await,
        Method::DELETE => delete(context, request, id).await,
        _ => Err(not_taken(request, "GET, HEAD, PUT, PATCH and DELETE")),
    }
}

fn found(context: &ServerContext, id: &ResourceId) -> Result<ArmAnswer, Error> {
    let record = context.store.read().get(id);
    let record = record.ok_or_else(|| Error::GroupNotFound {
        group: id.name.clone(),
    })?;
    Ok(ArmAnswer::ok(record.render_hidden()))
}

async fn put(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
) -> Result<ArmAnswer, Error> {
    check_group(&id.name)?;
    let body = request.json()?;
    let body = BodyObject::body(&body)?;
    let location = body.text("location")?.map(str::to_owned);
    let new_tags = tags(&body)?;
    let unknown = UnknownMembers::of(&body, &["provisioningState"])?;
    let (status, record) = context
        .change(Some(&request.cause), move |_, state| {
            let before = state.get(&id);
            let before = before.as_ref();
            let mut record = match before {
                Some(before) => ResourceRecord::clone(before),
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
            Ok((vec![StoreChange::Put(record.clone())], (status, record)))
        })
        .await?;
    Ok(ArmAnswer::new(status, Some(record.render_hidden())))
}

/// Deletes a group with everything in it, as Azure does.
async fn delete(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
) -> Result<ArmAnswer, Error> {
    let group = id.name.clone();
    let deleted = transitions::delete(context, request, id, |_, _| Ok(())).await?;
    let begun = deleted.ok_or(Error::GroupNotFound { group })?;
    Ok(begun.answer(&context.store.read(), request, StatusCode::ACCEPTED, None))
}

fn group(id: &ResourceId) -> ResourceRecord {
    let mut body = Map::new();
    body.insert("location".to_owned(), "westus2".into());
    body.insert("tags".to_owned(), Value::Null);
    body.insert(
        "properties".to_owned(),
        json!({ "provisioningState": "Succeeded" }),
    );
    ResourceRecord::new(id.clone(), body, BTreeMap::new())
}

/// The change that makes a resource's group, if it is not there yet.
pub(crate) fn made_with(
    state: &StoreState,
    id: &ResourceId,
    caller: &str,
    now: Timestamp,
) -> Vec<StoreChange> {
    let id = ResourceId::group(&id.subscription, &id.group);
    if state.has(&id) {
        return Vec::new();
    }
    tracing::info!(group = %id, caller, at = now.rfc3339(), "a resource group was made with its first resource");
    vec![StoreChange::Put(group(&id))]
}
