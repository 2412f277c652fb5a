//! `deviceRegistryNamespaces` of a service: stored and shown again, not linked to anything.
//!
//! Source: Microsoft.Devices 2026-11-01, `DeviceRegistryNamespaceDescription`.

use crate::arm::error::Error;
use crate::arm::id::has_subscription;
use crate::arm::json::ArmObject;
use serde_json::{Value, json};

/// Namespaces of one service.
const NAMESPACES_MAX: usize = 100;

const AUTHENTICATION: &[&str] = &["UserAssigned", "SystemAssigned"];
const IDENTITY: &str = "selectedUserAssignedIdentityResourceId";

/// Members that are read.
pub(super) const KNOWN: &[&str] = &["authenticationType", IDENTITY, "resourceId"];

/// Reads the list; none if it is not there.
pub(super) fn read(properties: &ArmObject<'_>) -> Result<Option<Value>, Error> {
    const MEMBER: &str = "deviceRegistryNamespaces";
    let Some(given) = properties.objects(MEMBER)? else {
        return Ok(None);
    };
    if given.len() > NAMESPACES_MAX {
        let rule = format!("has at most {NAMESPACES_MAX} namespaces");
        return Err(Error::invalid(properties.path(MEMBER), rule));
    }
    let all = given.iter().map(one);
    all.collect::<Result<_, _>>().map(Some)
}

fn one(namespace: &ArmObject<'_>) -> Result<Value, Error> {
    let id = namespace.required_text("resourceId")?;
    if !has_subscription(id) {
        let rule = "must be the ARM id of a namespace: /subscriptions/…/namespaces/<name>";
        return Err(Error::invalid(namespace.path("resourceId"), rule));
    }
    let authentication = namespace.required_word("authenticationType", AUTHENTICATION)?;
    let identity = namespace.text(IDENTITY)?;
    if authentication == "UserAssigned" && identity.is_none() {
        return Err(namespace.missing(IDENTITY));
    }
    let mut view = json!({ "resourceId": id, "authenticationType": authentication });
    if let Some(identity) = identity {
        view[IDENTITY] = identity.into();
    }
    Ok(view)
}
