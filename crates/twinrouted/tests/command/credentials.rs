//! Endpoints that refuse their credential, seen from outside: a new one is used at once, from a PUT as from the
//! folder of secrets, and what ends is warned about.

use crate::azure::{SUB, define, put, upstream};
use crate::harness::{PATIENCE, TestDaemon, scene, write};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;
use twinroute_emulator::{EventGridSettings, EventGridTopicSettings, RunningEmulator, Settings};
use twinroute_model::clock::SystemClock;

fn emulator(runtime: &Runtime) -> RunningEmulator {
    let settings = Settings {
        event_grid: EventGridSettings {
            topics: vec![EventGridTopicSettings::new("grid")],
            ..EventGridSettings::default()
        },
        ..Settings::default()
    };
    let started = runtime.block_on(RunningEmulator::start(settings, Arc::new(SystemClock)));
    started.unwrap()
}

/// Waits until the one endpoint is as wanted.
fn until(daemon: &TestDaemon, what: &str, is: impl Fn(&Value) -> bool) {
    let started = Instant::now();
    loop {
        let status = daemon.status();
        if is(&status["instances"][0]["endpoints"][0]) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: {status:#}");
    }
}

fn refused(daemon: &TestDaemon) {
    until(daemon, "the key is refused", |endpoint| {
        endpoint["state"] == "unauthorized" && endpoint["since"] != ""
    });
}

/// All that was posted has arrived, although it was refused at first.
fn arrived(daemon: &TestDaemon, events: u64) {
    until(daemon, "the new key is used", |endpoint| {
        endpoint["state"] == "healthy" && endpoint["delivered"] == events
    });
    let endpoint = &daemon.status()["instances"][0]["endpoints"][0];
    assert_eq!(endpoint["matched"], events);
    assert_eq!(endpoint["dead_letters"]["local"], 0);
}

/// The definitions of `grid-1`, kept by a twinroute that has them put over its management API.
struct StoredDefinitions {
    daemon: TestDaemon,
    management: String,
    _folder: tempfile::TempDir,
}

impl StoredDefinitions {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut daemon, management) = upstream(folder.path());
        define(&mut daemon, &management, "demo");
        Self {
            daemon,
            management,
            _folder: folder,
        }
    }

    /// Puts `grid-1` and waits until it is in use.
    fn put(&self, topic: &str, key: &str) {
        let generation = |status: &Value| status["table"]["generation"].as_u64().unwrap();
        let before = generation(&self.daemon.status());
        let path = format!(
            "/subscriptions/{SUB}/resourceGroups/rg/providers/Microsoft.DigitalTwins/digitalTwinsInstances/\
             demo/endpoints/grid-1?api-version=2023-01-31"
        );
        let body = json!({ "properties": {
            "endpointType": "EventGrid", "TopicEndpoint": topic, "accessKey1": key,
        } });
        assert_eq!(put(&self.management, &path, &body).0, 201);
        let provisioning = ["provisioning", "updating"];
        let started = Instant::now();
        loop {
            let status = self.daemon.status();
            let state = &status["instances"][0]["endpoints"][0]["state"];
            if generation(&status) > before && !provisioning.iter().any(|word| state == word) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "not provisioned: {status:#}");
        }
    }
}

/// A twinroute that reads them, with the secret from a folder, and looks once an hour.
fn reader(folder: &Path, management: &str, key: &str) -> TestDaemon {
    write(folder, "azure.token", "writer-0123456789");
    write(folder, "secrets/grid-1/accessKey1", key);
    write(
        folder,
        "twinroute.toml",
        &format!(
            "instance = 'demo'\n[table]\nsource = 'azure'\n\
             [azure]\nmanagement_url = 'http://{management}'\nroutes_url = 'http://{management}'\n\
             subscription = '{SUB}'\nresource_group = 'rg'\ninstance = 'demo'\npoll = '1h'\n\
             credential = 'token'\ntoken_file = 'azure.token'\nsecrets_folder = 'secrets'\n\
             [ingress]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = ['127.0.0.1:0']\n[log]\nformat = 'json'\n"
        ),
    );
    TestDaemon::start(folder)
}

fn post(daemon: &TestDaemon, events: usize) {
    for id in 0..events {
        assert!(daemon.post(id).starts_with("HTTP/1.1 202"));
    }
}

const WRONG: &str = "d3Jvbmc=";

#[test]
fn a_new_key_is_used_at_once_from_a_put_and_from_the_folder_of_secrets() {
    let runtime = Runtime::new().unwrap();
    let emulator = emulator(&runtime);
    let (topic, good) = (emulator.topic_endpoint("grid"), emulator.topic_key1("grid"));
    let store = StoredDefinitions::start();
    store.put(&topic, WRONG);
    post(&store.daemon, 3);
    refused(&store.daemon);
    let folder = tempfile::tempdir().unwrap();
    let mut reader = reader(folder.path(), &store.management, WRONG);
    post(&reader, 5);
    refused(&reader);
    reader.line("definitions and secrets are read again");

    store.put(&topic, &good);
    arrived(&store.daemon, 3);
    refused(&reader);
    write(folder.path(), "secrets/grid-1/accessKey1", &good);
    arrived(&reader, 5);
    let log = reader.seen.join("\n");
    assert!(!log.contains(&good) && !log.contains(WRONG), "{log}");
    assert!(reader.metrics().contains("twinroute_credential_active{"));
}

/// What is read would be read again in an hour.
#[test]
fn a_refusal_has_azure_looked_at_before_its_turn() {
    let runtime = Runtime::new().unwrap();
    let (refuses, takes) = (emulator(&runtime), emulator(&runtime));
    takes.event_grid().set_keys("grid", WRONG, "b3RoZXI=");
    let store = StoredDefinitions::start();
    store.put(&refuses.topic_endpoint("grid"), WRONG);
    let folder = tempfile::tempdir().unwrap();
    let reader = reader(folder.path(), &store.management, WRONG);
    store.put(&takes.topic_endpoint("grid"), WRONG);
    post(&reader, 2);
    arrived(&reader, 2);
    assert_eq!(refuses.event_grid().counts("grid").stored, 0);
    assert_eq!(takes.event_grid().counts("grid").stored, 2);
}

#[test]
fn a_certificate_that_ends_is_warned_about() {
    let folder = scene();
    let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2001, 2, 3);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    write(folder.path(), "old.pem", &certificate.pem());
    write(folder.path(), "old.key", &key.serialize_pem());
    let mode = Permissions::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("old.key"), mode).unwrap();
    write(
        folder.path(),
        "twinroute.toml",
        "instance = 'demo'\ndefinitions = 'table'\nshutdown_grace = '0s'\n\
         [ingress]\nlisten = ['127.0.0.1:0']\n\
         [admin]\nlisten = ['127.0.0.1:0']\nlisten_tls = ['127.0.0.1:0']\n\
         tls = { certificate = 'old.pem', key = 'old.key' }\n\
         [log]\nformat = 'json'\n",
    );
    let mut daemon = TestDaemon::start(folder.path());
    let warning = daemon.status()["warnings"][0].as_str().unwrap().to_owned();
    assert!(
        warning.starts_with("[admin.tls]: the certificate in ")
            && warning.ends_with("old.pem ended at 2001-02-03T00:00:00Z; put a renewed one there"),
        "{warning}"
    );
    daemon.line("action required soon");
}
