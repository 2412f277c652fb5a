//! Subscriptions and resource groups, as far as clients of Azure ask for them.
//!
//! Azure demands that a group is there before what is in it; here the first resource makes it. Every
//! subscription that is a GUID exists.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::identity::tenant;
use crate::arm::json::BodyObject;
use crate::arm::names::check_group;
use crate::arm::request::ArmRequest;
use crate::context::ServerContext;
use crate::listing;
use crate::preconditions::{need_group, not_taken, only};
use crate::store::record::{ResourceRecord, tags};
use crate::store::unknown::UnknownMembers;
use crate::transitions::{self, Decision};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

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
        return listing::list(request, &state, &prefix, ResourceRecord::render_hidden);
    };
    let id = ResourceId::group(subscription, group);
    match request.method {
        Method::GET => {
            need_group(context, subscription, group)?;
            let record = context.store.read().get(&id);
            Ok(ArmAnswer::ok(
                record.as_ref().map(ResourceRecord::render_hidden).into(),
            ))
        }
        Method::PUT | Method::PATCH => put(context, request, id).await,
        // With everything in it, as Azure does.
        Method::DELETE => transitions::delete(context, request, id, |_, _| Ok(()), |_| None).await,
        _ => Err(not_taken(request, "GET, HEAD, PUT, PATCH and DELETE")),
    }
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
    let fresh = ResourceRecord::group(id.clone());
    let outcome = transitions::write(context, request, id, move |present| {
        let mut record = present.before.cloned().unwrap_or(fresh);
        if let Some(location) = location {
            record.body.insert("location".to_owned(), location.into());
        }
        if !new_tags.is_null() {
            record.body.insert("tags".to_owned(), new_tags);
        }
        unknown.keep(&mut record, present.before)?;
        Ok(Decision::Done(record))
    })
    .await?;
    let status = match outcome.is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok(ArmAnswer::new(status, Some(outcome.record.render_hidden())))
}
