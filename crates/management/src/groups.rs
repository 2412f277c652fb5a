//! Subscriptions and resource groups, as far as clients of Azure ask for them.
//!
//! Azure demands that a group is there before what is in it; here the first resource makes it. Every
//! subscription that is a GUID exists.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::identity::tenant;
use crate::arm::json::ArmObject;
use crate::arm::names::check_group;
use crate::arm::request::ArmRequest;
use crate::context::{ServerCall, ServerContext};
use crate::listing;
use crate::preconditions::{need, not_taken, only_get};
use crate::store::record::{ResourceRecord, tags};
use crate::store::unknown::UnknownMembers;
use crate::transitions::{self, ChangeDecision};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

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
    call: ServerCall<'_>,
    subscription: &str,
    group: Option<&str>,
) -> Result<ArmAnswer, Error> {
    call.request.version()?;
    let Some(group) = group else {
        only_get(call)?;
        let prefix = ResourceId::subscription_prefix(ResourceKind::Group, subscription);
        let state = call.state();
        return listing::list(call.request, &state, &prefix, ResourceRecord::render_hidden);
    };
    let id = ResourceId::group(subscription, group);
    match call.request.method {
        Method::GET => Ok(ArmAnswer::ok(need(call, &id)?.render_hidden())),
        Method::PUT | Method::PATCH => put(call, id).await,
        // With everything in it, as Azure does.
        Method::DELETE => transitions::delete(call, id, |_, _| Ok(()), |_| None).await,
        _ => Err(not_taken(call, "GET, HEAD, PUT, PATCH and DELETE")),
    }
}

async fn put(call: ServerCall<'_>, id: ResourceId) -> Result<ArmAnswer, Error> {
    check_group(&id.name)?;
    let body = call.request.json()?;
    let body = ArmObject::body(&body)?;
    let location = body.text("location")?.map(str::to_owned);
    let new_tags = tags(&body)?;
    let unknown = UnknownMembers::of(&body, &["provisioningState"])?;
    let fresh = ResourceRecord::group(id.clone());
    let outcome = transitions::write(call, id, move |present| {
        let mut record = present.before.cloned().unwrap_or(fresh);
        if let Some(location) = location {
            record.set("location", location);
        }
        if !new_tags.is_null() {
            record.set("tags", new_tags);
        }
        unknown.keep(&mut record, present.before)?;
        Ok(ChangeDecision::Done(record))
    })
    .await?;
    let body = Some(outcome.record.render_hidden());
    Ok(ArmAnswer::new(outcome.status(), body))
}
