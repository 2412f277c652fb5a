//! The journal on disk, as a user has it: what was acknowledged outlives `kill -9`.

use crate::harness::{TestDaemon, text, twinroute, write};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use twinroute_emulator::{EventGridSettings, EventGridTopicSettings, RunningEmulator, Settings};
use twinroute_model::clock::SystemClock;

const EVENTS: usize = 300;

/// A configuration with a journal, and an endpoint that is the emulator's topic.
pub(crate) fn scene(emulator: &RunningEmulator) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "twinroute.toml",
        "instance = 'demo'\ndefinitions = 'table'\nshutdown_grace = '0s'\n\
         [ingress]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = ['127.0.0.1:0']\n\
         [journal]\npath = 'data'\nsegment_bytes = '1MiB'\n[log]\nformat = 'json'\n",
    );
    let (topic, key) = (emulator.topic_endpoint("grid"), emulator.topic_key1("grid"));
    let body = format!(
        r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":"{key}",
            "TopicEndpoint":"{topic}"}}}}"#
    );
    write(folder.path(), "table/endpoints/grid-1.json", &body);
    write(
        folder.path(),
        "table/routes/all.json",
        r#"{"endpointName":"grid-1","filter":"true"}"#,
    );
    folder
}

fn endpoint(daemon: &TestDaemon) -> serde_json::Value {
    daemon.status()["instances"][0]["endpoints"][0].clone()
}

fn accounted(endpoint: &serde_json::Value) -> bool {
    let count = |name: &str| endpoint[name].as_u64().unwrap();
    let known = ["queued", "in_flight", "retrying", "delivered", "discarded"];
    count("matched") == known.into_iter().map(count).sum::<u64>()
}

fn verify(folder: &Path) -> String {
    let output = twinroute()
        .args(["journal", "verify"])
        .arg(folder.join("data"))
        .output()
        .unwrap();
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}{}", text(&output.stderr));
    printed
}

#[test]
fn what_was_acknowledged_outlives_kill_9() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = Settings {
        event_grid: EventGridSettings {
            topics: vec![EventGridTopicSettings::new("grid")],
            ..EventGridSettings::default()
        },
        ..Settings::default()
    };
    let emulator = runtime
        .block_on(RunningEmulator::start(settings, Arc::new(SystemClock)))
        .unwrap();
    let folder = scene(&emulator);
    let stopped = runtime.block_on(emulator.shutdown());

    // The destination is away while events are accepted, and the process dies three times.
    for round in 0..3 {
        let mut daemon = TestDaemon::start(folder.path());
        for number in round * EVENTS / 3..(round + 1) * EVENTS / 3 {
            let answer = daemon.post(number);
            assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        }
        let endpoint = endpoint(&daemon);
        assert_eq!(endpoint["matched"], (round + 1) * EVENTS / 3, "{endpoint}");
        assert!(accounted(&endpoint), "{endpoint}");
        daemon.child.kill().unwrap();
        daemon.child.wait().unwrap();
        verify(folder.path());
    }

    let emulator = runtime.block_on(stopped.restart()).unwrap();
    let daemon = TestDaemon::start(folder.path());
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
    let expect: BTreeSet<String> = (0..EVENTS).map(|number| number.to_string()).collect();
    assert_eq!(ids, expect);
    let statuses = std::iter::repeat_with(|| endpoint(&daemon));
    let last = statuses
        .take(10_000)
        .find(|endpoint| endpoint["delivered"] == EVENTS);
    let last = last.expect("what arrived is counted as delivered");
    assert!(accounted(&last), "{last}");
    assert_eq!(last["discarded"], 0, "{last}");
}

#[test]
fn a_stop_keeps_what_waits_and_a_second_process_is_kept_out() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = Settings {
        event_grid: EventGridSettings {
            topics: vec![EventGridTopicSettings::new("grid")],
            ..EventGridSettings::default()
        },
        ..Settings::default()
    };
    let emulator = runtime
        .block_on(RunningEmulator::start(settings, Arc::new(SystemClock)))
        .unwrap();
    let folder = scene(&emulator);
    runtime.block_on(emulator.shutdown());
    let mut daemon = TestDaemon::start(folder.path());
    assert!(daemon.post(1).contains("twinroute-accepted: 1"));
    let second = twinroute()
        .args(["run", "--config"])
        .arg(folder.path().join("twinroute.toml"))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(75));
    let error = text(&second.stderr);
    assert!(error.contains("another process has it open"), "{error}");
    daemon.signal("-TERM");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    let daemon = TestDaemon::start(folder.path());
    let endpoint = endpoint(&daemon);
    let waiting = endpoint["queued"].as_u64().unwrap() + endpoint["in_flight"].as_u64().unwrap();
    assert_eq!(
        (waiting, &endpoint["discarded"]),
        (1, &0.into()),
        "{endpoint}"
    );
}
