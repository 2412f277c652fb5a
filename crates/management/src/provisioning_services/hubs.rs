//! `iotHubs` of a service: hubs that devices are assigned to. Their connection strings are secrets.

use super::invalid;
use crate::arm::error::Error;
use crate::arm::json::Object;
use crate::arm::names;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use twinroute_model::secret::Secret;

/// Hubs of one service.
const HUBS_MAX: usize = 100;

/// Bytes of a connection string.
const STRING_BYTES_MAX: usize = 1024;

const FORM: &str =
    "must be HostName=<hub>.azure-devices.net;SharedAccessKeyName=<name>;SharedAccessKey=<key>";

/// What everybody may know of a connection string.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'a> {
    host: &'a str,
    key_name: &'a str,
}

/// Reads `iotHubs` into what is shown and what is not; secrets by the JSON pointer of their place.
pub(super) fn read(
    properties: &Object<'_>,
    secrets: &mut BTreeMap<String, Secret>,
) -> Result<Value, Error> {
    let given = properties.objects("iotHubs")?.unwrap_or_default();
    if given.len() > HUBS_MAX {
        let rule = format!("has at most {HUBS_MAX} hubs");
        return Err(invalid(properties.path("iotHubs"), rule));
    }
    let mut hubs: Vec<Value> = Vec::new();
    for (index, hub) in given.iter().enumerate() {
        let path = hub.path("connectionString");
        let text = hub.required_text("connectionString")?;
        let secret = Secret::new(text);
        if secret.is_masked() {
            let rule = "is a mask, as reads show it, and no connection string; send the whole string again";
            return Err(invalid(path, rule));
        }
        let parts = parse(text).ok_or_else(|| invalid(path.clone(), FORM))?;
        let twice = |other: &Value| {
            let name = other["name"].as_str();
            name.is_some_and(|name| name.eq_ignore_ascii_case(parts.host))
        };
        if hubs.iter().any(twice) {
            return Err(invalid(path, "names a hub that stands in the list already"));
        }
        let mut shown = Map::new();
        shown.insert("name".to_owned(), parts.host.into());
        let location = names::location(hub.required_text("location")?).map_err(|_| {
            invalid(
                hub.path("location"),
                "must be the name of a region, such as westus2",
            )
        })?;
        shown.insert("location".to_owned(), location.into());
        if let Some(apply) = hub.boolean("applyAllocationPolicy")? {
            shown.insert("applyAllocationPolicy".to_owned(), apply.into());
        }
        if let Some(weight) = hub.integer("allocationWeight")? {
            let weight = i32::try_from(weight).ok().filter(|weight| *weight >= 0);
            let weight = weight.ok_or_else(|| {
                invalid(
                    hub.path("allocationWeight"),
                    "must be a whole number from 0 to 2147483647",
                )
            })?;
            shown.insert("allocationWeight".to_owned(), weight.into());
        }
        secrets.insert(pointer(index), secret);
        hubs.push(shown.into());
    }
    Ok(hubs.into())
}

fn pointer(index: usize) -> String {
    format!("/properties/iotHubs/{index}/connectionString")
}

/// What a connection string is shown as.
pub(super) fn mask(secret: &Secret) -> String {
    match parse(secret.expose()) {
        Some(Parts { host, key_name }) => {
            format!("HostName={host};SharedAccessKeyName={key_name};SharedAccessKey=****")
        }
        None => "****".to_owned(),
    }
}

/// Takes a connection string of a hub apart. Only what has all three parts, once each, and nothing else is one:
/// whatever else stood in it would be shown or lost.
fn parse(text: &str) -> Option<Parts<'_>> {
    if text.len() > STRING_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let (mut host, mut key_name, mut key) = (None, None, None);
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=')?;
        let place = match name.to_ascii_lowercase().as_str() {
            "hostname" => &mut host,
            "sharedaccesskeyname" => &mut key_name,
            "sharedaccesskey" => &mut key,
            _ => return None,
        };
        if value.is_empty() || place.replace(value).is_some() {
            return None;
        }
    }
    key?;
    let (host, key_name) = (host?, key_name?);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (host.bytes().all(legal) && key_name.bytes().all(legal)).then_some(Parts { host, key_name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_has_three_parts_and_shows_two() {
        let good = "HostName=h.azure-devices.net;SharedAccessKeyName=owner;SharedAccessKey=a+b/c==";
        assert_eq!(
            mask(&Secret::new(good)),
            "HostName=h.azure-devices.net;SharedAccessKeyName=owner;SharedAccessKey=****"
        );
        assert!(parse(&good.to_ascii_uppercase()).is_some());
        for bad in [
            "",
            "HostName=h",
            "HostName=h;SharedAccessKeyName=n",
            "HostName=;SharedAccessKeyName=n;SharedAccessKey=k",
            "HostName=h;SharedAccessKeyName=n;SharedAccessKey=k;SharedAccessKey=k2",
            "HostName=h;SharedAccessKeyName=n;SharedAccessKey=k;Password=k2",
            "HostName=h/x;SharedAccessKeyName=n;SharedAccessKey=k",
            "HostName=h;SharedAccessKeyName=n n;SharedAccessKey=k",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
