//! The two formats of the log say the same: a line's fields have the same names, and a field is of one type wherever it
//! stands.

use crate::harness::{PATIENCE, TestDaemon, exchange, scene, write};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;

/// What each line of JSON has that is no field of its event.
const OWN: [&str; 4] = ["timestamp", "level", "target", "message"];

/// Lines of a life with trouble: an endpoint that nobody serves, definitions that cannot be used, requests and changes.
fn lines(format: &str) -> Vec<String> {
    let folder = scene();
    let file = folder.path().join("twinroute.toml");
    let config = fs::read_to_string(&file).unwrap();
    let log = format!("format = '{format}'\nfilter = 'debug,hyper_util=off,reqwest=off'");
    let config = config.replace("format = 'json'", &log);
    write(folder.path(), "twinroute.toml", &config);
    let mut daemon = TestDaemon::start(folder.path());
    daemon.post(1);
    daemon.line("the endpoint accepts no events");
    write(
        folder.path(),
        "table/routes/bad.json",
        r#"{"endpointName":"grid-1","filter":"a b"}"#,
    );
    daemon.signal("-HUP");
    daemon.line("the definitions were refused");
    fs::remove_file(folder.path().join("table/routes/bad.json")).unwrap();
    for step in ["pause", "resume"] {
        let post = format!(
            "POST /endpoints/demo/grid-1/{step} HTTP/1.1\r\nhost: t\r\ncontent-length: 0\r\n\
             connection: close\r\n\r\n"
        );
        exchange(&daemon.admin, &post);
    }
    daemon.signal("-TERM");
    while let Ok(line) = daemon.lines.recv_timeout(PATIENCE) {
        daemon.seen.push(line);
    }
    std::mem::take(&mut daemon.seen)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) | Value::Object(_) => "a tree",
    }
}

/// The text behind ` name=`, up to the next space.
fn text_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = line.split_once(&format!(" {name}="))?;
    value.split(' ').next()
}

#[test]
fn fields_of_the_log_have_one_type_each_and_stand_in_both_formats() {
    let json: Vec<Map<String, Value>> = lines("json")
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        // It is `/status`, whole, and in text it is its JSON.
        .filter(|line: &Map<String, Value>| line["message"] != "the last status")
        .collect();
    let mut types: BTreeMap<&str, (&str, String)> = BTreeMap::new();
    for line in &json {
        for (name, value) in line
            .iter()
            .filter(|(name, _)| !OWN.contains(&name.as_str()))
        {
            let message = line["message"].to_string();
            let found = type_of(value);
            let (known, of) = types
                .entry(name)
                .or_insert_with(|| (found, message.clone()));
            assert_eq!(*known, found, "{name} of {message} and of {of}");
            assert_ne!(found, "a tree", "{name} of {message}");
        }
    }
    assert!(types.len() > 8, "the log has hardly any fields: {types:?}");
    assert!(
        types.values().any(|(found, _)| *found == "number"),
        "{types:?}"
    );

    let (pretty, mut compared) = (lines("pretty"), 0);
    for line in &json {
        let message = line["message"].as_str().unwrap();
        let Some(text) = pretty
            .iter()
            .find(|text| text.contains(&format!(": {message}")))
        else {
            // What happens seldom need not happen twice.
            continue;
        };
        assert!(text.contains(line["level"].as_str().unwrap()), "{text}");
        for (name, value) in line
            .iter()
            .filter(|(name, _)| !OWN.contains(&name.as_str()))
        {
            let printed = text_of(text, name);
            let printed = printed.unwrap_or_else(|| panic!("{name} is missing: {text}"));
            let fits = match value {
                Value::Number(_) => printed.parse::<f64>().is_ok(),
                Value::Bool(_) => printed.parse::<bool>().is_ok(),
                _ => true,
            };
            assert!(fits, "{name} is {value} in JSON: {text}");
            compared += 1;
        }
    }
    assert!(compared > 10, "no line is in both formats: {pretty:?}");
}
