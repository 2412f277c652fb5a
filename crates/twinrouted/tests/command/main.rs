//! The command as a user runs it: arguments, output, exit codes, signals.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

mod access;
mod addresses;
mod audit;
mod azure;
mod client_certificate;
mod colors;
mod configuration;
mod crash;
mod credentials;
mod durable;
mod emulator;
mod exit_codes;
mod foreign_texts;
mod harness;
mod history;
mod identity;
mod live;
mod log_formats;
mod log_level;
mod management;
mod metric_rules;
mod metrics;
mod network;
mod output;
mod plan;
mod removed;
mod rotation;
mod rotation_of_keys;
mod running;
mod secrets;
mod session;
mod steering;
mod traces;

use harness::{repository, scene, text, twinroute, with_config, write};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

#[test]
fn the_shipped_configurations_are_valid() {
    let files = "valid: 1 instance, 3 endpoints, 6 routes";
    for (file, expect) in [
        ("config/sidecar.toml", files),
        ("config/daemon.toml", files),
        ("config/cluster.toml", files),
        (
            "config/management.toml",
            "valid; definitions are not in files",
        ),
    ] {
        let output = twinroute()
            .current_dir(repository())
            .env("TWINROUTE_ACCESS_KEY", "a-key-for-the-test")
            .args(["validate", "--config", file])
            .output()
            .unwrap();
        let expect = format!("{file}: {expect}\n");
        assert_eq!(text(&output.stdout), expect, "{}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn validate_says_whose_dead_letters_stay_in_the_journal() {
    let validate = |file: &str| {
        let mut command = twinroute();
        command.env("TWINROUTE_ACCESS_KEY", "a-key-for-the-test");
        let output = command
            .current_dir(repository())
            .args(["validate", "--config", file])
            .output();
        text(&output.unwrap().stderr)
    };
    let folder = scene();
    let warnings = text(&with_config("validate", folder.path()).stderr);
    let expect = "no dead-letter container, so dead letters are kept in the journal; when that is full, the \
                  oldest of the endpoint furthest above its share are discarded (dead-letter-overflow)";
    assert!(warnings.contains(expect), "{warnings}");
    let warnings = validate("config/sidecar.toml");
    assert!(
        !warnings.contains(expect),
        "all of them have one: {warnings}"
    );
}

#[test]
fn validate_names_every_error_at_once_and_exits_78() {
    let folder = scene();
    write(
        folder.path(),
        "table/endpoints/hub-1.json",
        r#"{"properties":{"endpointType":"Hub"}}"#,
    );
    write(
        folder.path(),
        "table/routes/bad.json",
        "{\"endpointName\": \"grid-1\"\n,\"filter\": 7}",
    );
    let output = with_config("validate", folder.path());
    let errors = text(&output.stderr).replace(&folder.path().display().to_string(), "");
    assert_eq!(output.status.code(), Some(78), "{errors}");
    assert_eq!(
        errors,
        "error: /table/endpoints/hub-1.json:1:16: endpoint hub-1: `properties.endpointType`: must be \
         EventGrid, EventHub or ServiceBus, not \"Hub\"\n\
         error: /table/routes/bad.json:2:2: route bad: `filter`: must be a string, not a number\n\
         twinroute: /twinroute.toml: 2 errors in all\n"
    );
    fs::remove_file(folder.path().join("table/endpoints/hub-1.json")).unwrap();
    write(
        folder.path(),
        "table/routes/bad.json",
        "{\"endpointName\": \"hub-1\",\n\"filter\": \"type == 'x'\"}",
    );
    let output = with_config("validate", folder.path());
    let errors = text(&output.stderr).replace(&folder.path().display().to_string(), "");
    assert!(
        errors.starts_with(
            "error: /table/routes/bad.json:1:2: route demo/bad: endpoint hub-1 is not defined; \
         defined are: grid-1\n\
         error: /table/routes/bad.json:2:1: route demo/bad: Parsing error, Line=1, Position="
        ),
        "{errors}"
    );
}

#[test]
fn a_bad_configuration_is_refused_by_its_key() {
    let folder = scene();
    write(folder.path(), "twinroute.toml", "[ingress]\nlissten = []\n");
    for (command, place) in [
        ("validate", "twinroute.toml:2:1: "),
        ("run", "twinroute.toml: line 2, column 1: "),
    ] {
        let output = with_config(command, folder.path());
        assert_eq!(output.status.code(), Some(78));
        let error = text(&output.stderr);
        let what = "ingress.lissten: unknown field `lissten`; did you mean `listen`?";
        assert!(error.contains(&format!("{place}{what}")), "{error}");
    }
}

#[test]
fn explain_tells_why() {
    let event = r#"{"specversion":"1.0","id":"1","source":"h/digitaltwins/room7",
        "type":"microsoft.iot.telemetry","data":{"Temperature":30}}"#;
    let mut child = twinroute()
        .current_dir(repository())
        .args(["explain", "--config", "config/sidecar.toml", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(event.as_bytes())
        .unwrap();
    let output = text(&child.wait_with_output().unwrap().stdout);
    assert!(output.contains("event 1 of twin h/room7"), "{output}");
    assert!(
        output.contains("route telemetry -> telemetry-hub: matches"),
        "{output}"
    );
    assert!(
        output.contains("route hot-rooms -> alerts-topic: does not match"),
        "{output}"
    );
    assert!(
        output.contains("did you mean $body.Temperature?"),
        "{output}"
    );
}

#[test]
fn the_emulator_tells_its_addresses_as_json() {
    let mut emulator = twinroute()
        .args(["emulator", "--json", "--amqp-port", "0", "--http-port", "0"])
        .args([
            "--hub", "h:2", "--topic", "t:a,b", "--queue", "q", "--grid", "grid",
        ])
        .args(["--blob-port", "0", "--container", "letters"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let output = emulator.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut line).unwrap();
    emulator.kill().unwrap();
    emulator.wait().unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    let amqp = said["amqp"].as_str().unwrap();
    for (entity, name) in [("hubs", "h"), ("topics", "t"), ("queues", "q")] {
        let entity = &said[entity][0];
        assert_eq!(entity["name"], name);
        let address = entity["connectionString"].as_str().unwrap();
        assert!(
            address.starts_with(&format!("Endpoint=sb://{amqp};")),
            "{address}"
        );
        assert!(
            address.ends_with(&format!(";EntityPath={name}")),
            "{address}"
        );
    }
    assert_eq!(said["hubs"][0]["partitions"], 2);
    assert_eq!(
        said["topics"][0]["subscriptions"],
        serde_json::json!(["a", "b"])
    );
    let http = said["http"].as_str().unwrap();
    let grid = &said["eventGridTopics"][0];
    assert_eq!(grid["endpoint"], format!("{http}/topics/grid/api/events"));
    assert_eq!(grid["events"], format!("{http}/events?topic=grid"));
    let (blob, container) = (said["blob"].as_str().unwrap(), &said["containers"][0]);
    let url = format!("{blob}/devstoreaccount1/letters");
    assert_eq!(container["url"], url);
    let signed = container["sasUrl"].as_str().unwrap();
    assert!(
        signed.starts_with(&format!("{url}?sp=racwdl&se=")),
        "{signed}"
    );
}

#[test]
fn the_demo_accounts_for_every_event() {
    let output = twinroute()
        .args(["demo", "--events", "60"])
        .output()
        .unwrap();
    let printed = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{printed}{}",
        text(&output.stderr)
    );
    assert!(printed.contains("posted 60, accepted 60,"), "{printed}");
    assert!(printed.contains("unaccounted 0"), "{printed}");
}
