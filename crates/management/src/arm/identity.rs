//! Managed identities of resources. Ids that Azure would give are derived from the resource's own.
//!
//! Source: Azure/azure-rest-api-specs common types, `ManagedServiceIdentity`.

use super::error::Error;
use super::id::{ResourceId, has_subscription};
use super::json::ArmObject;
use serde_json::{Map, Value, json};
use twinroute_model::body::not_one_of;
use uuid::Uuid;

/// What the types have in their names that have user-assigned identities.
const USER: &str = "UserAssigned";

const IDENTITIES: &[&str] = &[
    "None",
    "SystemAssigned",
    "UserAssigned",
    "SystemAssigned,UserAssigned",
];

/// Members that are read, or that are the server's own.
pub(crate) const KNOWN: &[&str] = &["principalId", "tenantId", "type", USERS];

/// The user-assigned ones, by their ARM ids.
pub(crate) const USERS: &str = "userAssignedIdentities";

/// Members of one of the `userAssignedIdentities`: both are the server's own.
pub(crate) const USER_KNOWN: &[&str] = &["clientId", "principalId"];

/// User-assigned identities of one resource.
const USER_IDENTITIES_MAX: usize = 100;

/// The tenant of a subscription: made up, but always the same.
pub(crate) fn tenant(subscription: &str) -> Uuid {
    let seed = format!("tenant{}", subscription.to_ascii_lowercase());
    Uuid::new_v5(&Uuid::NAMESPACE_URL, seed.as_bytes())
}

/// `identity`; nothing when there is none. Ids that Azure would give are derived from the resource's own.
pub(crate) fn read(body: &ArmObject<'_>, id: &ResourceId) -> Result<Option<Value>, Error> {
    let users = body.object(USERS)?;
    // Null takes one away (RFC 7396), and is none in a PUT.
    let names = users.members().filter(|(_, value)| !value.is_null());
    let names: Vec<&str> = names.map(|(name, _)| name).collect();
    let kind = kind(body)?;
    if !kind.is_some_and(|kind| kind.contains(USER)) && !names.is_empty() {
        let kind = kind.unwrap_or("absent");
        let rule =
            format!("is for a type with {USER}, and the type is {kind}: correct one of them");
        return Err(Error::invalid(body.path(USERS), rule));
    }
    let Some(kind) = kind.filter(|kind| *kind != "None") else {
        return Ok(None);
    };
    let derived = |what: &str| {
        Uuid::new_v5(
            &Uuid::NAMESPACE_URL,
            format!("{what}{}", id.key()).as_bytes(),
        )
    };
    let mut identity = Map::new();
    identity.insert("type".to_owned(), kind.into());
    if kind.contains("SystemAssigned") {
        identity.insert(
            "principalId".to_owned(),
            derived("principal").to_string().into(),
        );
        let tenant = tenant(&id.subscription);
        identity.insert("tenantId".to_owned(), tenant.to_string().into());
    }
    if kind.contains(USER) {
        let rule = if names.is_empty() {
            Some("required for a user-assigned identity: a map from its ARM id to {}")
        } else if names.len() > USER_IDENTITIES_MAX {
            Some("at most 100 identities")
        } else if names.iter().any(|name| !has_subscription(name)) {
            Some(
                "each key must be the ARM id of an identity: /subscriptions/…/userAssignedIdentities/<name>",
            )
        } else {
            None
        };
        if let Some(rule) = rule {
            return Err(Error::invalid(body.path(USERS), rule));
        }
        let of = |name: &str, what: &str| {
            let seed = format!("{what}{}", name.to_ascii_lowercase());
            Uuid::new_v5(&Uuid::NAMESPACE_URL, seed.as_bytes()).to_string()
        };
        let users = names.into_iter().map(|name| {
            let ids =
                json!({ "clientId": of(name, "client"), "principalId": of(name, "principal") });
            (name.to_owned(), ids)
        });
        identity.insert(USERS.to_owned(), Value::Object(users.collect()));
    }
    Ok(Some(Value::Object(identity)))
}

/// `type`, with or without a blank behind the comma: clients write both.
fn kind(body: &ArmObject<'_>) -> Result<Option<&'static str>, Error> {
    let Some(text) = body.text("type")? else {
        return Ok(None);
    };
    let plain: String = text.chars().filter(|letter| *letter != ' ').collect();
    let mut known = IDENTITIES.iter();
    let known = known.find(|known| known.eq_ignore_ascii_case(&plain));
    known
        .copied()
        .map(Some)
        .ok_or_else(|| Error::invalid(body.path("type"), not_one_of(text, IDENTITIES)))
}
