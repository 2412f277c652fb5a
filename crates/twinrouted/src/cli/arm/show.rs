//! Resources on the terminal: tables and facts, and JSON without secrets.

use crate::cli::ask::cut;
use crate::cli::output;
use serde_json::Value;
use std::fmt::Write as _;
use std::io;
use twinroute_management::SECRET_MEMBERS;
use twinroute_model::secret::Secret;
use twinroute_model::visible::one_line;

/// Characters of one cell; the rest is in `--json`.
const CELL_MAX: usize = 60;

/// Prints a resource or a list: as JSON, or as `human` shows it.
///
/// # Errors
/// When standard output takes no more.
pub(crate) fn print(
    json: bool,
    value: &Value,
    human: impl FnOnce(&Value) -> String,
) -> io::Result<()> {
    let mut value = value.clone();
    hide(&mut value);
    if json {
        output::line(format_args!("{value:#}"))
    } else {
        output::print(human(&value))
    }
}

/// Puts a mask over each secret that a server did not mask itself: they do not in every answer.
pub(crate) fn hide(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if SECRET_MEMBERS.contains(&name.as_str()) => {
                        if !text.is_empty() && !Secret::new(text.as_str()).is_masked() {
                            *text = "***".to_owned();
                        }
                    }
                    _ => hide(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}

/// A text at a JSON pointer; empty if there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default()
}

/// `tags` in one line.
pub(crate) fn tags(resource: &Value) -> String {
    let tags = resource["tags"].as_object();
    let tags = tags.into_iter().flatten();
    let pairs = tags.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(" ")
}

/// Rows under a heading, each column as wide as it needs.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: Vec<[String; N]>) -> String {
    let heading = heading.map(str::to_owned);
    let view = |cell: String| match cell.is_empty() {
        true => "-".to_owned(),
        false => cut(&cell, CELL_MAX),
    };
    let rows: Vec<_> = rows.into_iter().map(|row| row.map(view)).collect();
    let all = || std::iter::once(&heading).chain(&rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:<width$}  ").expect("a String takes everything");
        }
        writeln!(text, "{}", line.trim_end()).expect("a String takes everything");
    }
    text
}

/// Names and values below each other; what is empty is left out.
pub(crate) fn facts(facts: &[(&str, &str)]) -> String {
    let facts: Vec<_> = facts
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in facts {
        let value = one_line(value);
        writeln!(text, "{name:<width$}  {value}").expect("a String takes everything");
    }
    text
}

/// Why a resource is not simply there: what twinroute notes beside its state.
pub(crate) fn reason(resource: &Value) -> String {
    let error = &resource["properties"]["provisioningError"];
    match (error["code"].as_str(), error["message"].as_str()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_server_shows_in_the_clear_is_hidden() {
        let mut value = json!([{ "properties": {
            "connectionString": "HostName=h;SharedAccessKeyName=o;SharedAccessKey=****",
            "authorizationPolicies": [{ "keyName": "o", "primaryKey": "a2V5" }],
            "accessKey1": "", "deadLetterSecret": "https://a/b?sig=x", "entityPath": "hub",
        } }]);
        hide(&mut value);
        assert_eq!(
            value,
            json!([{ "properties": {
                "connectionString": "HostName=h;SharedAccessKeyName=o;SharedAccessKey=****",
                "authorizationPolicies": [{ "keyName": "o", "primaryKey": "***" }],
                "accessKey1": "", "deadLetterSecret": "***", "entityPath": "hub",
            } }])
        );
    }

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows = vec![
            ["a".to_owned(), "b".to_owned()],
            ["longer".to_owned(), String::new()],
        ];
        assert_eq!(
            table(["name", "state"], rows),
            "name    state\na       b\nlonger  -\n"
        );
        assert_eq!(
            facts(&[("name", "a"), ("host", ""), ("location", "b\u{1b}c")]),
            "name      a\nlocation  b\\u001bc\n"
        );
    }
}
