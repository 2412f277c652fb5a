//! OpenAPI 2.0 schemas as JSON Schema, so that a validator of the field can judge bodies.

use anyhow::Context as _;
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The definitions of one API, converted.
#[derive(Debug)]
pub(super) struct SchemaDefinitions {
    converted: Map<String, Value>,
}

impl SchemaDefinitions {
    /// Converts all `definitions` of an API and of the one file that it refers to.
    pub(super) fn new(document: &Value, common: &Value) -> Self {
        let mut all: BTreeMap<String, &Value> = BTreeMap::new();
        for source in [common, document] {
            for (name, schema) in source["definitions"].as_object().into_iter().flatten() {
                all.insert(safe(name), schema);
            }
        }
        let mut converted = Map::new();
        for (name, schema) in &all {
            let Some(member) = schema["discriminator"].as_str() else {
                converted.insert(name.clone(), convert(schema));
                continue;
            };
            // Subtypes contain their base, so the base that tells them apart is another one.
            converted.insert(base(name), convert(schema));
            let subtypes = all.iter().filter_map(|(subtype, schema)| {
                let value = schema["x-ms-discriminator-value"].as_str()?;
                let parents = schema["allOf"].as_array()?;
                let mut parents = parents.iter().filter_map(|parent| target(&parent["$ref"]));
                parents.any(|parent| parent == *name).then(|| {
                    json!({
                        "if": { "properties": { member: { "enum": [value] } } },
                        "then": { "$ref": format!("#/definitions/{subtype}") },
                    })
                })
            });
            let mut cases = vec![json!({ "$ref": format!("#/definitions/{}", base(name)) })];
            cases.extend(subtypes);
            converted.insert(name.clone(), json!({ "allOf": cases }));
        }
        for (name, schema) in &all {
            if schema.get("x-ms-discriminator-value").is_some() {
                converted.insert(name.clone(), convert(&with_plain_base(schema, &all)));
            }
        }
        Self { converted }
    }

    /// A validator for a schema that refers to these definitions.
    pub(super) fn validator(&self, schema: &Value) -> anyhow::Result<Validator> {
        let whole = json!({ "allOf": [convert(schema)], "definitions": self.converted });
        jsonschema::options()
            .with_draft(Draft::Draft7)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(true)
            .with_format("date-time-rfc1123", is_rfc1123)
            .build(&whole)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .context("the schema cannot be used")
    }
}

/// A subtype whose base does not tell subtypes apart again.
fn with_plain_base(schema: &Value, all: &BTreeMap<String, &Value>) -> Value {
    let mut schema = schema.clone();
    for parent in schema["allOf"].as_array_mut().into_iter().flatten() {
        let Some(name) = target(&parent["$ref"]) else {
            continue;
        };
        let tells = all.get(&name).map(|of| of.get("discriminator").is_some());
        if tells == Some(true) {
            *parent = json!({ "$ref": format!("#/definitions/{}", base(&name)) });
        }
    }
    schema
}

/// Takes over what JSON Schema knows; `x-nullable` becomes a second type.
fn convert(schema: &Value) -> Value {
    let Value::Object(members) = schema else {
        return match schema {
            Value::Array(items) => items.iter().map(convert).collect(),
            other => other.clone(),
        };
    };
    if let Some(name) = target(&schema["$ref"]) {
        let reference = json!({ "$ref": format!("#/definitions/{name}") });
        return if schema["x-nullable"] == true {
            json!({ "anyOf": [{ "type": "null" }, reference] })
        } else {
            reference
        };
    }
    let mut converted = Map::new();
    for (name, value) in members {
        let value = match name.as_str() {
            "properties" => match value {
                Value::Object(properties) => properties
                    .iter()
                    .map(|(name, schema)| (name.clone(), convert(schema)))
                    .collect(),
                other => other.clone(),
            },
            "items" | "additionalProperties" | "allOf" => convert(value),
            "type" | "format" | "enum" | "required" | "pattern" | "minLength" | "maxLength"
            | "minimum" | "maximum" | "maxItems" | "minItems" => value.clone(),
            _ => continue,
        };
        converted.insert(name.clone(), value);
    }
    if converted.contains_key("properties") && !converted.contains_key("type") {
        converted.insert("type".to_owned(), "object".into());
    }
    if schema["x-nullable"] == true {
        if let Some(kind) = converted.get_mut("type") {
            *kind = json!([kind.take(), "null"]);
        }
        if let Some(Value::Array(words)) = converted.get_mut("enum") {
            words.push(Value::Null);
        }
    }
    Value::Object(converted)
}

/// The name of the definition that a reference means, in this file or another.
fn target(reference: &Value) -> Option<String> {
    let (_, name) = reference.as_str()?.rsplit_once("#/definitions/")?;
    Some(safe(name))
}

/// A name that can stand in a reference as it is.
fn safe(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(legal).collect()
}

fn base(name: &str) -> String {
    format!("{name}__base")
}

/// RFC 1123: `Thu, 12 Oct 2017 19:23:50 GMT`.
fn is_rfc1123(text: &str) -> bool {
    const FORM: &str = "Aaa, 00 Aaa 0000 00:00:00 GMT";
    text.len() == FORM.len()
        && text
            .bytes()
            .zip(FORM.bytes())
            .all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                b'A' => byte.is_ascii_uppercase() || byte == form,
                b'a' => byte.is_ascii_lowercase(),
                form => byte == form,
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(schema: &Value, document: &Value, body: &Value) -> Vec<String> {
        let validator = SchemaDefinitions::new(document, &Value::Null).validator(schema);
        let validator = validator.unwrap();
        let errors = validator.iter_errors(body);
        errors.map(|error| error.to_string()).collect()
    }

    #[test]
    fn subtypes_are_reported_by_value_and_null_only_where_it_may_stand() {
        let document = json!({ "definitions": {
            "Pet[x]": { "discriminator": "kind", "required": ["kind"],
                        "properties": { "kind": { "type": "string" } } },
            "Dog": { "x-ms-discriminator-value": "Dog", "required": ["bark"],
                     "allOf": [{ "$ref": "#/definitions/Pet[x]" }],
                     "properties": { "bark": { "type": "string", "x-nullable": true, "enum": ["wau"] } } },
            "Owner": { "required": ["pet"], "properties": {
                "pet": { "$ref": "#/definitions/Pet[x]" },
                "home": { "$ref": "../types.json#/definitions/Dog", "x-nullable": true },
                "since": { "type": "string", "format": "date-time-rfc1123" } } },
        } });
        let owner = json!({ "$ref": "#/definitions/Owner" });
        for (body, expect) in [
            (json!({ "pet": { "kind": "Dog", "bark": null } }), ""),
            (
                json!({ "pet": { "kind": "Dog", "bark": "wau" }, "home": null }),
                "",
            ),
            (json!({ "pet": { "kind": "Cat" } }), ""),
            (
                json!({ "pet": { "kind": "Dog" } }),
                "\"bark\" is a required",
            ),
            (
                json!({ "pet": { "kind": "Dog", "bark": "miau" } }),
                "\"miau\" is not one of",
            ),
            (json!({ "pet": null }), "null is not of type"),
            (json!({ "pet": {} }), "\"kind\" is a required"),
            (
                json!({ "pet": { "kind": "Cat" }, "since": "2017-10-12" }),
                "is not a \"date-time-rfc1123\"",
            ),
        ] {
            let found = faults(&owner, &document, &body).join("; ");
            assert!(
                found.contains(expect) && found.is_empty() == expect.is_empty(),
                "{body}: {found}"
            );
        }
        assert!(is_rfc1123("Thu, 12 Oct 2017 19:23:50 GMT"));
    }
}
