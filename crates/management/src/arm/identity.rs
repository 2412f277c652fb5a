//! Managed identities of resources. Ids that Azure would give are derived from the resource's own.
//!
//! Source: Azure/azure-rest-api-specs common types, `ManagedServiceIdentity`.

use super::error::Error;
use super::id::{ResourceId, has_subscription};
use super::json::Object;
use crate::groups;
use serde_json::{Map, Value, json};
use twinroute_model::body::not_one_of;
use uuid::Uuid;

const IDENTITIES: &[&str] = &[
    "None",
    "SystemAssigned",
    "UserAssigned",
    "SystemAssigned,UserAssigned",
];

/// Members that are read, or that are the server's own.
pub(crate) const KNOWN: &[&str] = &["principalId", "tenantId", "type", "userAssignedIdentities"];

/// User-assigned identities of one resource.
const USER_IDENTITIES_MAX: usize = 100;

/// `identity`; nothing when there is none. Ids that Azure would give are derived from the resource's own.
pub(crate) fn read(body: &Object<'_>, id: &ResourceId) -> Result<Option<Value>, Error> {
    let Some(kind) = kind(body)?.filter(|kind| *kind != "None") else {
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
        let tenant = groups::tenant(&id.subscription);
        identity.insert("tenantId".to_owned(), tenant.to_string().into());
    }
    let users = body.object("userAssignedIdentities")?;
    if kind.contains("UserAssigned") && kind != "SystemAssigned" {
        let path = "identity.userAssignedIdentities".to_owned();
        let names: Vec<&str> = users.members().map(|(name, _)| name).collect();
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
            return Err(Error::Invalid {
                target: path,
                rule: rule.to_owned(),
            });
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
        identity.insert(
            "userAssignedIdentities".to_owned(),
            Value::Object(users.collect()),
        );
    }
    Ok(Some(Value::Object(identity)))
}

/// `type`, with or without a blank behind the comma: clients write both.
fn kind(body: &Object<'_>) -> Result<Option<&'static str>, Error> {
    let Some(text) = body.text("type")? else {
        return Ok(None);
    };
    let plain: String = text.chars().filter(|letter| *letter != ' ').collect();
    let mut known = IDENTITIES.iter();
    let known = known.find(|known| known.eq_ignore_ascii_case(&plain));
    known.copied().map(Some).ok_or_else(|| Error::Invalid {
        target: body.path("type"),
        rule: not_one_of(text, IDENTITIES),
    })
}
