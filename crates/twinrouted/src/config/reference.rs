//! The reference of all keys: the complete file on the page about the configuration, which tests hold to the code.

use toml::{Table, Value};

const PAGE: &str = include_str!("../../../../docs/configuration.md");

/// What the page says of a key that is no default.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReferenceKey {
    /// `ingress.listen`; of endpoints `endpoints.*.ordering`.
    pub(crate) path: String,
    /// The default, or an example of a key that has none.
    pub(crate) value: Value,
    /// Whether it is unset unless somebody sets it.
    pub(crate) is_optional: bool,
    /// From the table of its section.
    pub(crate) meaning: String,
}

/// The page's complete file: its first TOML block.
fn block() -> &'static str {
    let rest = PAGE.split_once("```toml\n").map_or("", |(_, rest)| rest);
    rest.split_once("```").map_or(rest, |(block, _)| block)
}

/// A line that sets a key as it could stand in the file, if the page knows it.
pub(super) fn example(key: &str) -> Option<String> {
    let key = general(key);
    let all = keys();
    let known = all.iter().find(|known| known.path == key)?;
    let last = known.path.rsplit('.').next()?;
    Some(format!("{last} = {}", known.value))
}

/// As [`ReferenceKey::path`]: without the name of an endpoint, and without the places of lists.
fn general(key: &str) -> String {
    let key = key.split('[').next().unwrap_or_default();
    let Some(rest) = key.strip_prefix("endpoints.") else {
        return key.to_owned();
    };
    match rest.rsplit_once('.') {
        Some((_, last)) => format!("endpoints.*.{last}"),
        None => key.to_owned(),
    }
}

/// All keys, in the order of the page.
pub(crate) fn keys() -> Vec<ReferenceKey> {
    let values: Table = block().parse().unwrap_or_default();
    let (mut keys, mut table, mut is_optional) = (Vec::new(), String::new(), false);
    for line in block().lines() {
        let comment = line.split_once('#').map_or("", |(_, comment)| comment);
        let is_unset = comment.contains("unless set") || comment.contains("or this one");
        if let Some(header) = line.strip_prefix('[') {
            table = header
                .split(']')
                .next()
                .unwrap_or_default()
                .replace('"', "");
            is_optional = is_unset;
            continue;
        }
        let Some((key, _)) = line.split_once(" = ") else {
            continue;
        };
        let path = match table.as_str() {
            "" => key.to_owned(),
            table => format!("{table}.{key}"),
        };
        let Some(value) = value_at(&values, &path) else {
            continue;
        };
        keys.push(ReferenceKey {
            meaning: meaning(&table, key),
            path: general(&path),
            value: value.clone(),
            is_optional: is_optional || is_unset || comment.contains("must be set"),
        });
    }
    keys
}

fn value_at<'a>(values: &'a Table, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('.');
    let first = values.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// The last cell of its row, without the links.
fn meaning(table: &str, key: &str) -> String {
    let heading = match table {
        "" => "## Top level".to_owned(),
        endpoints if endpoints.starts_with("endpoints.") => "## `[endpoints.\"name\"]`".to_owned(),
        table => format!("`[{table}]`"),
    };
    let sections = PAGE.split("\n## ").skip(1);
    let named = |section: &&str| {
        let title = section.lines().next().unwrap_or_default();
        format!("## {title}").contains(&heading)
    };
    let row = format!("| `{key}` |");
    let mut rows = sections.filter(named).flat_map(str::lines);
    let row = rows.find(|line| line.starts_with(&row));
    let cell = row.and_then(|row| row.trim_end_matches([' ', '|']).rsplit(" | ").next());
    without_links(cell.unwrap_or_default())
}

fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((label, after)) = link.split_once("](") else {
            break;
        };
        out.push_str(before);
        out.push_str(label);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

/// The JSON schema of a configuration, as editors read it.
pub(crate) fn schema() -> serde_json::Value {
    let mut root = object();
    for key in keys() {
        let mut parts: Vec<&str> = key.path.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        let mut table = &mut root;
        for part in parts {
            table = match part {
                "*" => {
                    if table["additionalProperties"] == false {
                        table["additionalProperties"] = object();
                    }
                    &mut table["additionalProperties"]
                }
                part => {
                    let inner = &mut table["properties"][part];
                    if inner.is_null() {
                        *inner = object();
                    }
                    inner
                }
            };
        }
        table["properties"][last] = of_key(&key);
    }
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "twinroute.toml".into();
    root
}

fn object() -> serde_json::Value {
    serde_json::json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

fn of_key(key: &ReferenceKey) -> serde_json::Value {
    let value = serde_json::to_value(&key.value).unwrap_or_default();
    let kind = match &key.value {
        // A size may also be a number of bytes.
        Value::String(text)
            if text.ends_with('B') && text.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            serde_json::json!(["string", "integer"])
        }
        Value::String(_) | Value::Datetime(_) => "string".into(),
        Value::Integer(_) => "integer".into(),
        Value::Float(_) => "number".into(),
        Value::Boolean(_) => "boolean".into(),
        Value::Array(_) => "array".into(),
        Value::Table(_) => "object".into(),
    };
    let about = if key.is_optional {
        "examples"
    } else {
        "default"
    };
    let about_value = if key.is_optional {
        serde_json::json!([value])
    } else {
        value
    };
    serde_json::json!({ "type": kind, about: about_value, "description": key.meaning })
}
