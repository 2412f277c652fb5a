//! Types and names that people write for those that exist.

use twinroute_model::event::{ADT_TYPES, TELEMETRY};

use crate::ast::FieldPath;
use crate::eval::CoreAttribute;

/// The type of Azure Digital Twins that `text` must have been meant to be.
pub(super) fn near_type(text: &str) -> Option<&'static str> {
    let letters = |text: &str| -> String {
        let letters = text.chars().filter(|char| char.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let wanted = letters(text);
    if ADT_TYPES.contains(&text) {
        return None;
    }
    let full = ADT_TYPES.into_iter().find(|known| {
        let known = letters(known);
        known == wanted || known.strip_prefix("microsoftdigitaltwins") == Some(&wanted)
    });
    let telemetry = [
        "microsoftdigitaltwinstelemetry",
        "microsoftdigitaltwinstwintelemetry",
    ];
    full.or_else(|| telemetry.contains(&&*wanted).then_some(TELEMETRY))
}

/// The beginning of a type that `prefix` equals but for the case of its letters.
pub(super) fn near_type_prefix(prefix: &str) -> Option<&'static str> {
    let begins = |known: &&'static str| {
        let start = known.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if ADT_TYPES.iter().any(|known| known.starts_with(prefix)) {
        return None;
    }
    ADT_TYPES
        .into_iter()
        .find(begins)
        .and_then(|known| known.get(..prefix.len()))
}

/// The field that a path was probably meant to name, if no event can have what it does name.
pub(crate) fn resembles(path: &FieldPath) -> Option<String> {
    // From the schema of Event Grid, from CloudEvents, and from the preview of Azure Digital Twins.
    const ELSEWHERE: [(&str, &str); 9] = [
        ("eventtype", "type"),
        ("eventtime", "time"),
        ("topic", "source"),
        ("contenttype", "datacontenttype"),
        ("body", "$body"),
        ("data", "$body"),
        ("dt", "$body"),
        ("metadata", "$body.$metadata"),
        ("modelid", "$body.modelId"),
    ];
    let root = path.root();
    // CloudEvents 1.0.2, "Attribute naming convention": lower-case letters and digits; `data` is
    // taken.
    let could_be = root
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if root == "$body" || (could_be && root != "data") {
        return None;
    }
    let plain = root.trim_start_matches('$').to_ascii_lowercase();
    let known = if CoreAttribute::of_name(&plain).is_some() {
        &*plain
    } else {
        ELSEWHERE.into_iter().find(|(name, _)| *name == plain)?.1
    };
    Some(format!("{known}{}", &path.as_str()[root.len()..]))
}
