//! Making a resource whose name is taken: what would change is said before it does.
//!
//! A PUT replaces a whole resource, so what a command leaves out would go without a word.

use super::ManagementClient;
use crate::cli::{ask, output};
use anyhow::bail;
use serde_json::{Map, Value};
use std::io::IsTerminal as _;
use twinroute_management::SECRET_MEMBERS;
use twinroute_model::visible::one_line;

/// Members that the server says itself, or that come from others.
const OWN: &[&str] = &[
    "clientId",
    "createdTime",
    "deviceProvisioningHostName",
    "etag",
    "hostName",
    "idScope",
    "lastUpdatedTime",
    "principalId",
    "privateEndpointConnections",
    "provisioningError",
    "provisioningState",
    "resourcegroup",
    "serviceOperationsHostName",
    "portalOperationsHostName",
    "state",
    "subscriptionid",
    "systemData",
    "tenantId",
    "tier",
];

/// The same, of a resource itself: an identity's `type` is not.
const OWN_TOP: &[&str] = &["id", "name", "type"];

/// What holds where nothing is said.
const DEFAULTS: &[(&str, &str)] = &[
    ("allocationPolicy", "Hashed"),
    ("authenticationType", "KeyBased"),
    ("capacity", "1"),
    ("publicNetworkAccess", "Enabled"),
];

/// Lines of differences that are shown.
const LINES_MAX: usize = 50;

/// Whether a resource may be made as `wanted`: it is not there yet, or nothing that is there would change, or the
/// user said yes.
///
/// # Errors
/// When something would change, `yes` was not said, and there is nobody to ask.
pub(crate) async fn may_replace(
    client: &ManagementClient,
    (path, version): (&str, &str),
    wanted: &Value,
    yes: bool,
    what: &str,
) -> anyhow::Result<bool> {
    let Some(present) = client.find(path, version, what).await? else {
        return Ok(true);
    };
    let changes = differences(&present, wanted);
    if changes.is_empty() {
        return Ok(true);
    }
    let list = changes
        .iter()
        .take(LINES_MAX)
        .map(|line| format!("\n  {}", one_line(line)));
    let list = list.collect::<String>();
    if yes {
        output::error_text(format_args!(
            "{what} is there already; this changes it:{list}\n"
        ));
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        bail!(
            "{what} is there already: say --yes if you mean to replace it, or change it with `update`; this would:\
             {list}"
        );
    }
    output::error_text(format_args!("{what} is there already; this would:{list}\n"));
    let confirmed = ask::confirmed("replace it? [y/N] ")?;
    if !confirmed {
        output::line(format_args!("{what}: nothing was changed"))?;
    }
    Ok(confirmed)
}

/// What a PUT of `wanted` would change of `present`, a line each. Shows no secret.
fn differences(present: &Value, wanted: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", present, wanted, &mut lines);
    lines
}

fn compare(path: &str, present: &Value, wanted: &Value, lines: &mut Vec<String>) {
    let name = path.rsplit('.').next().unwrap_or_default();
    if let (Some(present), Some(wanted)) = (members(present), members(wanted))
        && !(present.is_empty() && wanted.is_empty())
    {
        let mut names: Vec<&String> = present.keys().chain(wanted.keys()).collect();
        names.sort();
        names.dedup();
        for name in names
            .into_iter()
            .filter(|name| !OWN.contains(&name.as_str()))
            .filter(|name| !path.is_empty() || !OWN_TOP.contains(&name.as_str()))
        {
            let path = match path {
                "" => name.clone(),
                path => format!("{path}.{name}"),
            };
            let of = |object: &Map<String, Value>| object.get(name).cloned().unwrap_or_default();
            compare(&path, &of(&present), &of(&wanted), lines);
        }
        return;
    }
    let empty = |value: &Value| is_empty(value) || is_default(name, value);
    match (empty(present), empty(wanted)) {
        (true, true) => {}
        (false, true) => lines.push(format!("remove {path}{}", brief_value(name, present))),
        (true, false) => lines.push(format!("add {path}{}", brief_value(name, wanted))),
        // Whether a secret is another is not known: only its mask is known.
        (false, false) if SECRET_MEMBERS.contains(&name) => lines.push(format!("set {path}")),
        (false, false) if is_same(name, present, wanted) => {}
        (false, false) => lines.push(format!(
            "change {path}{} to{}",
            brief_value(name, present),
            brief_value(name, wanted)
        )),
    }
}

/// The members of an object; what is not there has none.
fn members(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(members) => Some(members.clone()),
        Value::Null => Some(Map::new()),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_default(name: &str, value: &Value) -> bool {
    let text = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    DEFAULTS.contains(&(name, text.as_str()))
}

fn is_same(name: &str, present: &Value, wanted: &Value) -> bool {
    let plain = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        text.replace(' ', "").to_ascii_lowercase()
    };
    present == wanted || (name == "location" && plain(present) == plain(wanted))
}

/// A value in a line, where it is short and no secret.
fn brief_value(name: &str, value: &Value) -> String {
    const CHARS_MAX: usize = 60;
    let text = match value {
        Value::String(text) if !SECRET_MEMBERS.contains(&name) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        _ => return String::new(),
    };
    format!(" ({})", ask::cut(&text, CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn create_drops_nothing_without_a_word() {
        let present = json!({ "id": "/x", "name": "hub", "systemData": {}, "properties": {
            "endpointType": "EventHub", "authenticationType": "KeyBased", "provisioningState": "Succeeded",
            "connectionStringPrimaryKey": "Endpoint=sb://***/", "connectionStringSecondaryKey": "***",
            "deadLetterSecret": "***", "newer": 1 } });
        let wanted = json!({ "properties": {
            "endpointType": "EventHub", "connectionStringPrimaryKey": "Endpoint=sb://marked" } });
        assert_eq!(
            differences(&present, &wanted),
            [
                "set properties.connectionStringPrimaryKey",
                "remove properties.connectionStringSecondaryKey",
                "remove properties.deadLetterSecret",
                "remove properties.newer (1)",
            ]
        );
        let grid = json!({ "properties": { "endpointType": "EventGrid", "accessKey1": "marked" } });
        let lines = differences(&present, &grid).join("\n");
        assert!(
            lines.contains("change properties.endpointType (EventHub) to (EventGrid)"),
            "{lines}"
        );
        assert!(!lines.contains("marked"), "{lines}");
    }

    #[test]
    fn create_drops_neighbours_tags_identities_and_hubs() {
        let present = json!({ "location": "westus2", "tags": { "a": "1" }, "etag": "x",
            "identity": { "type": "SystemAssigned", "principalId": "p" }, "sku": { "name": "S1", "tier": "Standard",
            "capacity": 1 }, "properties": { "publicNetworkAccess": "Disabled", "allocationPolicy": "Hashed",
            "iotHubs": [{ "name": "h" }], "hostName": "h" } });
        let wanted = json!({ "location": "West US 2", "sku": { "name": "S1" }, "properties": {} });
        assert_eq!(
            differences(&present, &wanted),
            [
                "remove identity.type (SystemAssigned)",
                "remove properties.iotHubs",
                "remove properties.publicNetworkAccess (Disabled)",
                "remove tags.a (1)",
            ]
        );
        assert_eq!(differences(&present, &present), [""; 0]);
    }
}
