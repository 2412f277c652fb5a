//! Members of a resource as it was answered, in any case; and what warnings call it.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use twinroute_model::name::InstanceName;

pub(super) fn object_name(kind: &str, instance: &InstanceName, name: &str) -> String {
    format!("{kind} {instance}/{name}")
}

pub(super) fn object(item: &RawValue) -> Option<Map<String, Value>> {
    match serde_json::from_str(item.get()) {
        Ok(Value::Object(object)) => Some(object),
        Ok(_) | Err(_) => None,
    }
}

/// A member that is there and not null: of exactly this name, else in another case.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let other = || {
        let mut members = object.iter();
        members.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    };
    let value = object.get(name).or_else(other)?;
    (!value.is_null()).then_some(value)
}

pub(super) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    member(object, name)?.as_str()
}
