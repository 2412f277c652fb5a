//! What is in force: each key with its value and where that comes from.

use super::mistake::ConfigPlace;
use super::overrides::ConfigOverrides;
use super::reference;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Keys whose values are secrets, or hold some.
const SECRETS: [&str; 7] = [
    "access_keys",
    "callers",
    "headers",
    "proxy",
    "token",
    "tokens",
    "webhook_code",
];

/// What stands for them.
const MASK: &str = "\"***\"";

/// A key in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EffectiveValue {
    /// `ingress.listen`.
    pub(crate) key: String,
    /// As it is written in TOML; nothing where it is not set and has no default.
    pub(crate) value: Option<String>,
    /// `twinroute.toml:3`, the name of a variable, or `default`.
    pub(crate) source: String,
}

/// All keys, in the order of the reference; those of endpoints where they are set. `text` was read without a mistake.
pub(crate) fn effective(
    file: &str,
    text: &str,
    overrides: &ConfigOverrides,
) -> Vec<EffectiveValue> {
    let mut set = BTreeMap::new();
    if let Ok(root) = DeTable::parse(text) {
        collect(file, text, "", root.get_ref(), &mut set);
    }
    for one in &overrides.all {
        let value = match one.value().parse::<toml::Value>() {
            Ok(_) => one.value().to_owned(),
            Err(_) => toml::Value::from(one.value()).to_string(),
        };
        set.insert(one.key(), (value, one.variable.clone()));
    }
    let mut values = Vec::new();
    for key in reference::keys() {
        if key.path.starts_with("endpoints.") {
            continue;
        }
        let (value, source) = match set.remove(&key.path) {
            Some((value, source)) => (Some(value), source),
            None if key.is_optional => (None, "not set".to_owned()),
            None => (Some(key.value.to_string()), "default".to_owned()),
        };
        values.push(effective_value(key.path, value, source));
    }
    // Endpoints, and tables in lists that the reference shows as empty.
    values.extend(
        set.into_iter()
            .map(|(key, (value, source))| effective_value(key, Some(value), source)),
    );
    values
}

fn effective_value(key: String, value: Option<String>, source: String) -> EffectiveValue {
    let is_secret = key.split('.').any(|part| SECRETS.contains(&part));
    let is_empty = value
        .as_deref()
        .is_none_or(|value| matches!(value, "[]" | "\"\"" | "''"));
    EffectiveValue {
        value: match is_secret && !is_empty {
            true => Some(MASK.to_owned()),
            false => value,
        },
        key,
        source,
    }
}

fn collect(
    file: &str,
    text: &str,
    above: &str,
    table: &DeTable<'_>,
    set: &mut BTreeMap<String, (String, String)>,
) {
    for (key, value) in table {
        let key = match above {
            "" => key.get_ref().to_string(),
            above => format!("{above}.{}", key.get_ref()),
        };
        match value.get_ref() {
            DeValue::Table(inner) if key.rsplit('.').next() != Some("answers") => {
                collect(file, text, &key, inner, set);
            }
            _ => {
                let place = match ConfigPlace::of(text, value.span().start) {
                    ConfigPlace::Text { line, .. } => format!("{file}:{line}"),
                    ConfigPlace::Variable(name) => name,
                };
                set.insert(key, (written(text, value), place));
            }
        }
    }
}

/// As it stands in the file, with variables by their names. Lists of tables are written out in one line.
fn written(text: &str, value: &Spanned<DeValue<'_>>) -> String {
    match value.get_ref() {
        DeValue::Array(values) => {
            let values: Vec<_> = values.iter().map(|value| written(text, value)).collect();
            format!("[{}]", values.join(", "))
        }
        DeValue::Table(table) => {
            let entries = table.iter();
            let entries: Vec<_> = entries
                .map(|(key, value)| format!("{} = {}", key.get_ref(), written(text, value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        _ => text[value.span()].to_owned(),
    }
}
