//! Compares an answer with the one of an example: every member must be there with its type, and have the
//! value that was sent.

use serde_json::Value;
use twinroute_model::json::json_type;

/// Members whose values the server makes up. Their types are compared.
const MADE_UP: &[&str] = &[
    // In the examples it is none.
    "certificate",
    "clientId",
    "created",
    "createdAt",
    "createdBy",
    "createdByType",
    "createdTime",
    "deviceProvisioningHostName",
    "etag",
    "expiry",
    "hostName",
    "id",
    "idScope",
    "lastModifiedAt",
    "lastModifiedBy",
    "lastModifiedByType",
    "lastUpdatedTime",
    "message",
    "nextLink",
    "portalOperationsHostName",
    "primaryKey",
    "principalId",
    "secondaryKey",
    "serviceOperationsHostName",
    "state",
    "subject",
    "tenantId",
    "thumbprint",
    "updated",
    "verificationCode",
    // States are judged by the way of the operation, masks by the search for secrets.
    "provisioningState",
    "accessKey1",
    "accessKey2",
    "connectionStringPrimaryKey",
    "connectionStringSecondaryKey",
    "primaryConnectionString",
    "secondaryConnectionString",
    "deadLetterSecret",
];

/// What is wrong with `found`, member by member, in comparison with the example's `wanted`.
pub(super) fn differences(wanted: &Value, found: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    compare("", "", wanted, found, &mut faults);
    faults
}

fn compare(path: &str, member: &str, wanted: &Value, found: &Value, faults: &mut Vec<String>) {
    match (wanted, found) {
        // Null says that it may be missing, too.
        (Value::Null, _) => {}
        (Value::Object(wanted), Value::Object(found)) => {
            for (name, wanted) in wanted {
                let path = format!("{path}/{name}");
                match found.get(name) {
                    Some(found) => compare(&path, name, wanted, found, faults),
                    None if wanted.is_null() => {}
                    None => faults.push(format!("{path} is missing")),
                }
            }
        }
        (Value::Array(wanted), Value::Array(found)) => {
            if found.len() < wanted.len() {
                let (expected, got) = (wanted.len(), found.len());
                faults.push(format!("{path} has {got} items, not {expected}"));
            }
            for (index, wanted) in wanted.iter().enumerate() {
                if let Some(found) = counterpart(wanted, found, index) {
                    compare(&format!("{path}/{index}"), member, wanted, found, faults);
                }
            }
        }
        _ if json_type(wanted) != json_type(found) => {
            let (wanted, got) = (json_type(wanted), json_type(found));
            faults.push(format!("{path} is {got}, not {wanted}"));
        }
        _ if MADE_UP.contains(&member) => {}
        _ if !is_same(member, wanted, found) => {
            faults.push(format!("{path} is {found}, not {wanted}"));
        }
        _ => {}
    }
}

/// Provider and type names compare without case.
fn is_same(member: &str, wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::String(wanted), Value::String(found)) if member == "type" => {
            wanted.eq_ignore_ascii_case(found)
        }
        _ => wanted == found,
    }
}

/// The item that an example's item is to be compared with: that of its name, else that at its place.
fn counterpart<'a>(wanted: &Value, found: &'a [Value], index: usize) -> Option<&'a Value> {
    for key in ["name", "keyName", "id"] {
        if wanted[key].is_string()
            && let Some(same) = found.iter().find(|item| item[key] == wanted[key])
        {
            return Some(same);
        }
    }
    found.get(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_or_has_another_type_or_value_is_named() {
        let wanted = json!({
            "id": "/a", "tags": { "a": "b" }, "n": 1, "none": null, "type": "Microsoft.X/Ys",
            "value": [{ "name": "one", "flag": true }, { "name": "two", "flag": false }],
        });
        let good = json!({
            "id": "/b", "tags": { "a": "b", "c": "d" }, "n": 1, "type": "microsoft.x/ys", "more": 1,
            "value": [{ "name": "two", "flag": false }, { "name": "one", "flag": true }],
        });
        assert_eq!(differences(&wanted, &good), Vec::<String>::new());
        let bad = json!({
            "id": 7, "tags": {}, "n": 2, "type": "t", "value": [{ "name": "two", "flag": "false" }],
        });
        let faults = differences(&wanted, &bad).join("\n");
        for expect in [
            "/id is a number, not a string",
            "/tags/a is missing",
            "/n is 2, not 1",
            "/type is \"t\"",
            "/value has 1 items, not 2",
            "/value/1/flag is a string, not a boolean",
        ] {
            assert!(faults.contains(expect), "{expect} is not in {faults}");
        }
    }
}
