//! Another twinroute's management API as the source of the table.

use crate::harness::{PATIENCE, TestDaemon, address, exchange, write};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;
use twinroute_emulator::{
    EmulatedKeyVaultSettings, IdentitySettings, RunningEmulator, ScriptedFaults, Settings,
    TlsPorts, VaultAnswer,
};
use twinroute_model::clock::SystemClock;

pub(crate) const SUB: &str = "11111111-1111-1111-1111-111111111111";

/// A twinroute whose definitions are put over its management API.
pub(crate) fn upstream(folder: &Path) -> (TestDaemon, String) {
    write(
        folder,
        "twinroute.toml",
        "instance = 'demo'\n[table]\nsource = 'store'\n[management]\nlisten = ['127.0.0.1:0']\n\
         provisioning_checks = 'definitions'\n\
         access = { tokens = [{ name = 'w', role = 'write', token = 'writer-0123456789' }] }\n\
         [ingress]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = ['127.0.0.1:0']\n[log]\nformat = 'json'\n",
    );
    let daemon = TestDaemon::start(folder);
    let mut lines = daemon.seen.iter();
    let line = lines.find(|line| line.contains("management API")).unwrap();
    let management = address(line);
    (daemon, management)
}

pub(crate) fn put(management: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let request = format!(
        "PUT {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer writer-0123456789\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(management, &request);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// Puts an instance with an endpoint `grid-1` and a route.
pub(crate) fn define(daemon: &mut TestDaemon, management: &str, name: &str) {
    let instance = format!(
        "/subscriptions/{SUB}/resourceGroups/rg/providers/Microsoft.DigitalTwins/digitalTwinsInstances/{name}"
    );
    let arm = "?api-version=2023-01-31";
    let (status, _) = put(
        management,
        &format!("{instance}{arm}"),
        &json!({ "location": "westus2" }),
    );
    assert_eq!(status, 201);
    let grid = json!({ "properties": {
        "endpointType": "EventGrid", "TopicEndpoint": "http://127.0.0.1:9/api/events", "accessKey1": "marked-key",
    } });
    let (status, _) = put(
        management,
        &format!("{instance}/endpoints/grid-1{arm}"),
        &grid,
    );
    assert_eq!(status, 201);
    let route = json!({ "endpointName": "grid-1", "filter": "true" });
    // The endpoint is in use once it is provisioned; the table tells.
    loop {
        daemon.line("a new table is in use");
        let path = format!("/instances/{name}/eventroutes/all?api-version=2023-10-31");
        let (status, refusal) = put(management, &path, &route);
        if status == 204 {
            return;
        }
        assert_eq!(refusal["error"]["code"], "EventRouteEndpointInvalid");
    }
}

fn matched(daemon: &TestDaemon) -> u64 {
    let status = daemon.status();
    let endpoint = &status["instances"][0]["endpoints"][0];
    assert_eq!(endpoint["name"], "grid-1", "{status}");
    endpoint["matched"].as_u64().unwrap()
}

#[test]
fn definitions_outlive_the_management_api_they_came_from() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut source, management) = upstream(folder.path());
    define(&mut source, &management, "demo");

    write(other.path(), "azure.token", "writer-0123456789");
    write(
        other.path(),
        "twinroute.toml",
        &format!(
            "instance = 'demo'\n[table]\nsource = 'azure'\n\
             [azure]\nmanagement_url = 'http://{management}'\nroutes_url = 'http://{management}'\n\
             subscription = '{SUB}'\nresource_group = 'rg'\ninstance = 'demo'\npoll = '1s'\n\
             credential = 'token'\ntoken_file = 'azure.token'\nsecrets_folder = 'secrets'\n\
             [journal]\npath = 'data'\n\
             [ingress]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = ['127.0.0.1:0']\n[log]\nformat = 'json'\n"
        ),
    );
    let mut reader = TestDaemon::start(other.path());
    let waiting = &reader.status()["instances"][0]["endpoints"][0];
    assert_eq!(waiting["state"], "waiting-for-secret");
    let missing = waiting["last_error"].as_str().unwrap();
    assert!(missing.contains("accessKey1"), "{missing}");
    assert!(reader.post(1).starts_with("HTTP/1.1 202"));

    // The secret comes: the event that waited goes on, as far as nobody answers.
    write(other.path(), "secrets/grid-1/accessKey1", "real-key\n");
    reader.line("the endpoint accepts no events");
    assert_eq!(matched(&reader), 1);

    // The source goes away: events still flow, and that it is away is shown.
    drop(source);
    reader.line("definitions could not be read from Azure");
    let view = reader.status();
    assert!(
        view["table"]["source"]["last_error"]
            .as_str()
            .is_some_and(|error| !error.is_empty())
    );
    assert!(reader.metrics().contains("twinroute_source_age_seconds "));
    assert!(reader.post(2).starts_with("HTTP/1.1 202"));
    assert_eq!(matched(&reader), 2);
    drop(reader);

    // A start while it is away has what was saved.
    let reader = TestDaemon::start(other.path());
    assert!(reader.post(3).starts_with("HTTP/1.1 202"));
    assert_eq!(matched(&reader), 3);
    assert_eq!(reader.status()["table"]["source"]["saved"], true);
    let log = reader.seen.join("\n");
    assert!(!log.contains("real-key") && !log.contains("writer-0123456789"));
}

#[test]
fn a_key_vault_gives_what_the_management_api_does_not() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut source, management) = upstream(folder.path());
    define(&mut source, &management, "demo");
    let runtime = Runtime::new().unwrap();
    let settings = Settings {
        identity: Some(IdentitySettings {
            ..IdentitySettings::default()
        }),
        tls: Some(TlsPorts::new(other.path().join("tls"))),
        key_vault: EmulatedKeyVaultSettings {
            secrets: vec![("our-grid-1--accessKey1".to_owned(), "vault-key".into())],
        },
        ..Settings::default()
    };
    let emulator = runtime.block_on(RunningEmulator::start(settings, Arc::new(SystemClock)));
    let emulator = emulator.unwrap();
    let vault = emulator.authority_url().unwrap();
    write(other.path(), "azure.token", "writer-0123456789");
    write(
        other.path(),
        "twinroute.toml",
        &format!(
            "instance = 'demo'\n[table]\nsource = 'azure'\n\
             [azure]\nmanagement_url = 'http://{management}'\nroutes_url = 'http://{management}'\n\
             subscription = '{SUB}'\nresource_group = 'rg'\ninstance = 'demo'\n\
             credential = 'token'\ntoken_file = 'azure.token'\n\
             [identity]\ncredential = 'managed-identity'\n\
             [secrets]\nkey_vault = '{vault}'\nkey_vault_prefix = 'our-'\nkey_vault_refresh = '10s'\n\
             [outgoing]\nca_files = ['tls/ca.pem']\n\
             [ingress]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = ['127.0.0.1:0']\n[log]\nformat = 'json'\n"
        ),
    );
    let machine = emulator.identity_address().unwrap();
    let mut reader = TestDaemon::start_in(
        other.path(),
        &[
            ("IDENTITY_ENDPOINT", &format!("http://{machine}/msi/token")),
            ("IDENTITY_HEADER", "the-header-of-the-emulator"),
        ],
    );
    assert!(reader.post(1).starts_with("HTTP/1.1 202"));
    // With its key it is sent, as far as nobody answers there.
    reader.line("the endpoint accepts no events");
    assert_eq!(matched(&reader), 1);
    assert_eq!(
        emulator.key_vault().requests(),
        ["list", "our-grid-1--accessKey1"]
    );

    let forbidden = VaultAnswer::Status(403, None);
    emulator.faults().vault(forbidden, ScriptedFaults::ALWAYS);
    reader.line("the key vault cannot be read");
    let started = Instant::now();
    loop {
        let status = reader.status();
        let warnings = status["table"]["source"]["warnings"].to_string();
        if warnings.contains("give it the role Key Vault Secrets User") {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{status:#}");
        std::thread::yield_now();
    }
    let endpoint = &reader.status()["instances"][0]["endpoints"][0];
    assert_ne!(
        endpoint["state"], "waiting-for-secret",
        "the last value is used"
    );
    let log = reader.seen.join("\n");
    assert!(!log.contains("vault-key"));
}

#[test]
fn instances_share_names_of_endpoints_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (mut daemon, management) = upstream(folder.path());
    for name in ["demo", "plant"] {
        define(&mut daemon, &management, name);
    }
    // The table follows the answer to a PUT after a moment.
    let started = Instant::now();
    while daemon.status()["instances"][1]["routes"][0].is_null() {
        assert!(started.elapsed() < PATIENCE);
    }
    let post = |path: &str, id: u32| {
        let event = format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t"}}"#);
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: t\r\ncontent-type: application/cloudevents+json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{event}",
            event.len()
        );
        exchange(&daemon.ingress, &request)
    };
    for (path, id) in [
        ("/events", 1),
        ("/instances/plant/events", 2),
        ("/instances/PLANT/events", 3),
    ] {
        assert!(post(path, id).starts_with("HTTP/1.1 202"), "{path}");
    }
    assert!(post("/instances/other/events", 4).starts_with("HTTP/1.1 404"));
    let status = daemon.status();
    for (index, name, matched) in [(0, "demo", 1), (1, "plant", 2)] {
        let instance = &status["instances"][index];
        assert_eq!(instance["name"], name);
        assert_eq!(instance["endpoints"][0]["name"], "grid-1");
        assert_eq!(instance["endpoints"][0]["matched"], matched, "{name}");
    }
}
