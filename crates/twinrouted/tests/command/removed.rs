//! An endpoint that is removed while events wait for it, and a process that dies before they are delivered.

use crate::durable::scene;
use crate::harness::{TestDaemon, text, twinroute};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use twinroute_emulator::{EventGridSettings, EventGridTopicSettings, RunningEmulator, Settings};
use twinroute_model::clock::SystemClock;

const EVENTS: usize = 20;

fn endpoint(daemon: &TestDaemon) -> serde_json::Value {
    daemon.status()["instances"][0]["endpoints"][0].clone()
}

/// Asks until the daemon shows that.
fn until(daemon: &TestDaemon, is_so: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let status = daemon.status();
        if is_so(&status) {
            return status;
        }
        assert!(Instant::now() < end, "{status:#}");
    }
}

fn remove_the_endpoint(folder: &Path) {
    fs::remove_file(folder.join("table/routes/all.json")).unwrap();
    fs::remove_file(folder.join("table/endpoints/grid-1.json")).unwrap();
}

fn rotate_key(folder: &Path) -> (bool, String) {
    let output = twinroute()
        .args(["management", "rotate-key", "--config"])
        .arg(folder.join("twinroute.toml"))
        .output()
        .unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    (output.status.success(), said)
}

#[test]
fn its_queue_arrives_after_kill_9_and_another_key() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = Settings {
        event_grid: EventGridSettings {
            topics: vec![EventGridTopicSettings::new("grid")],
            ..EventGridSettings::default()
        },
        ..Settings::default()
    };
    let emulator = RunningEmulator::start(settings, Arc::new(SystemClock));
    let emulator = runtime.block_on(emulator).unwrap();
    let folder = scene(&emulator);
    let key = emulator.topic_key1("grid");
    let stopped = runtime.block_on(emulator.shutdown());

    let mut daemon = TestDaemon::start(folder.path());
    for number in 0..EVENTS {
        let answer = daemon.post(number);
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }
    remove_the_endpoint(folder.path());
    daemon.signal("-HUP");
    daemon.line("the endpoint was removed");
    let (rotated, said) = rotate_key(folder.path());
    assert!(!rotated && said.contains("uses the key; stop it"), "{said}");
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();

    let last = folder.path().join("data/last-definitions");
    let mode = fs::metadata(&last).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let bytes = fs::read(&last).unwrap();
    for word in [key.as_str(), "grid-1", "TopicEndpoint"] {
        let mut parts = bytes.windows(word.len());
        assert!(!parts.any(|part| part == word.as_bytes()), "{word}");
    }
    let (rotated, said) = rotate_key(folder.path());
    assert!(rotated, "{said}");
    assert!(
        said.contains("so are the last definitions of endpoints"),
        "{said}"
    );

    let daemon = TestDaemon::start(folder.path());
    let waiting = endpoint(&daemon);
    assert_eq!(waiting["endpoint_type"], "EventGrid", "{waiting}");
    assert_eq!(waiting["dead_letters"]["local"], 0, "{waiting}");
    let emulator = runtime.block_on(stopped.restart()).unwrap();
    let arrived = emulator
        .event_grid()
        .wait_for("grid", EVENTS as u64, Duration::from_secs(60));
    runtime.block_on(arrived).unwrap();
    let ids: BTreeSet<String> = emulator
        .event_grid()
        .events("grid")
        .iter()
        .map(|event| event.json()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), EVENTS);
    let status = until(&daemon, |status| {
        status["instances"][0]["endpoints"][0]["delivered"] == EVENTS
    });
    let view = &status["instances"][0]["endpoints"][0];
    assert_eq!(view["state"], "removed", "{view}");
    let output = twinroute()
        .args(["status", "--admin", &daemon.admin])
        .output()
        .unwrap();
    let said = text(&output.stdout);
    let line = said.lines().find(|line| line.contains("grid-1"));
    let line = line.unwrap_or_else(|| panic!("{said}{}", text(&output.stderr)));
    assert!(line.contains("removed"), "{said}");
}
