//! `twinroute plan`: what a change would do, beside a running twinroute and in the folder that it leaves.

use crate::harness::{PATIENCE, TestDaemon, exchange, scene, text, twinroute, write};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use std::time::Instant;

/// A twinroute with a history of three events: two of press-1, one of press-2, which no route takes.
fn with_history() -> (tempfile::TempDir, TestDaemon) {
    let folder = scene();
    let config = folder.path().join("twinroute.toml");
    let config = std::fs::read_to_string(config).unwrap();
    let journal = "[journal]\npath = 'data'\nsegment_bytes = '1MiB'\nkeep = '64MiB'\n";
    let config = config.replace("[log]", &format!("{journal}[log]"));
    write(folder.path(), "twinroute.toml", &config);
    let route = r#"{"endpointName":"grid-1","filter":"subject = 'press-1'"}"#;
    write(folder.path(), "table/routes/all.json", route);
    let daemon = TestDaemon::start(folder.path());
    for (id, subject) in [("one", "press-1"), ("two", "press-2"), ("three", "press-1")] {
        post(&daemon, id, subject);
    }
    recorded(&daemon, folder.path(), 3);
    (folder, daemon)
}

/// Waits until the history has so many events: what is recorded beside them rides along with the next group.
fn recorded(daemon: &TestDaemon, folder: &Path, events: u64) {
    let latest = Instant::now() + PATIENCE;
    let table = folder.join("table");
    while report(&plan(&["--admin", &daemon.admin], &table))["events"] != events {
        assert!(Instant::now() < latest, "the history has not all of it");
        std::thread::yield_now();
    }
}

fn post(daemon: &TestDaemon, id: &str, subject: &str) {
    let event = json!({"specversion": "1.0", "id": id, "source": "plant", "type": "Moved", "subject": subject});
    let event = event.to_string();
    let request = format!(
        "POST /events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{event}",
        event.len()
    );
    let answer = exchange(&daemon.ingress, &request);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

fn plan(place: &[&str], changed: &Path) -> Output {
    let mut command = twinroute();
    command.args(["plan", "--json"]).arg(changed).args(place);
    command.output().unwrap()
}

fn report(output: &Output) -> Value {
    let (printed, complaints) = (text(&output.stdout), text(&output.stderr));
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}{complaints}"))
}

/// Exit code, matched before and after, unmatched after.
fn counts(output: &Output) -> (i32, u64, u64, u64) {
    let report = report(output);
    let hub = &report["endpoints"]["demo/grid-1"];
    let number = |value: &Value| value.as_u64().unwrap();
    (
        output.status.code().unwrap(),
        number(&hub["before"]),
        number(&hub["after"]),
        number(&report["unmatched"]["after"]),
    )
}

/// Makes the change that `all.json` is; what is counted then is what was planned.
fn make_it(daemon: &TestDaemon, folder: &Path, route: &Value) {
    let planned = counts(&plan(&["--admin", &daemon.admin], &folder.join("all.json")));
    let before = daemon.status();
    write(folder, "table/routes/all.json", &route.to_string());
    daemon.signal("-HUP");
    let latest = Instant::now() + PATIENCE;
    while daemon.status()["table"]["generation"] == before["table"]["generation"] {
        assert!(Instant::now() < latest, "the change is not in use");
        std::thread::yield_now();
    }
    for (id, subject) in [("one", "press-1"), ("two", "press-2"), ("three", "press-1")] {
        post(daemon, &format!("{id}-again"), subject);
    }
    let after = daemon.status();
    let matched = |status: &Value| {
        status["instances"][0]["endpoints"][0]["matched"]
            .as_u64()
            .unwrap()
    };
    let unmatched = |status: &Value| status["journal"]["unmatched"].as_u64().unwrap();
    assert_eq!(matched(&after) - matched(&before), planned.2);
    assert_eq!(unmatched(&after) - unmatched(&before), planned.3);
}

#[test]
fn a_plan_counts_the_same_for_a_folder_and_for_a_file_and_without_a_running_twinroute() {
    let (folder, daemon) = with_history();
    let table = folder.path().join("table");
    let same = table.join("routes/all.json");
    let route = json!({"endpointName": "grid-1", "filter": "subject = 'press-2'"});
    // The changed route by its file's name, in a list as Azure answers it, and in a folder of all definitions.
    write(folder.path(), "all.json", &route.to_string());
    let mut listed = route.clone();
    listed["id"] = "all".into();
    write(
        folder.path(),
        "list.json",
        &json!({"value": [listed]}).to_string(),
    );
    let grid = std::fs::read_to_string(table.join("endpoints/grid-1.json")).unwrap();
    write(folder.path(), "changed/endpoints/grid-1.json", &grid);
    write(folder.path(), "changed/routes/all.json", &route.to_string());
    // What is added takes nothing away.
    let added = json!({"endpointName": "grid-1", "filter": "true"});
    write(folder.path(), "more.json", &added.to_string());
    let check = |place: &[&str]| {
        for (changed, expect) in [
            (table.as_path(), (0, 2, 2, 1)),
            (same.as_path(), (0, 2, 2, 1)),
            (&folder.path().join("all.json"), (2, 2, 1, 2)),
            (&folder.path().join("list.json"), (2, 2, 1, 2)),
            (&folder.path().join("changed"), (2, 2, 1, 2)),
            (&folder.path().join("more.json"), (2, 2, 3, 0)),
        ] {
            assert_eq!(
                counts(&plan(place, changed)),
                expect,
                "{}",
                changed.display()
            );
        }
    };
    check(&["--admin", &daemon.admin]);
    let changed = plan(&["--admin", &daemon.admin], &folder.path().join("all.json"));
    let changed = report(&changed);
    let hub = &changed["endpoints"]["demo/grid-1"];
    assert_eq!(
        (&hub["come_ids"], &hub["go_ids"]),
        (&json!(["two"]), &json!(["one", "three"]))
    );
    assert_eq!(hub["limits"]["rate_scope"], "topic");
    assert_eq!(hub["load_after"]["events_per_second"], 1);

    make_it(&daemon, folder.path(), &route);
    recorded(&daemon, folder.path(), 6);
    drop(daemon);

    // In the folder the table of the last event is the one that changes.
    let data = folder.path().join("data");
    let config = folder.path().join("twinroute.toml");
    let (data, config) = (data.to_str().unwrap(), config.to_str().unwrap());
    for place in [
        &["--journal", data][..],
        &["--journal", data, "--config", config],
    ] {
        let found = counts(&plan(place, &folder.path().join("more.json")));
        assert_eq!(found, (2, 2, 6, 0), "{place:?}");
    }
}

#[test]
fn changed_definitions_that_cannot_be_used_are_named_with_file_and_reason() {
    let (folder, daemon) = with_history();
    let place = ["--admin", daemon.admin.as_str()];
    let wrong = json!({"endpointName": "gird-1", "filter": "true"});
    write(folder.path(), "wrong.json", &wrong.to_string());
    let filter = json!({"endpointName": "grid-1", "filter": "subject = AND"});
    write(folder.path(), "filter.json", &filter.to_string());
    write(folder.path(), "changed/routes/all.json", &wrong.to_string());
    write(
        folder.path(),
        "text.json",
        "{\n\"endpointName\": \"grid-1\",\n",
    );
    for (changed, parts) in [
        (
            "wrong.json",
            &["wrong.json: route demo/wrong: endpoint gird-1 is not found; did you mean grid-1?"][..],
        ),
        ("filter.json", &["filter.json: route demo/filter: ", "AND"]),
        (
            "changed",
            &[
                "changed/routes/all.json:1:",
                "route demo/all: endpoint gird-1 is not defined",
            ],
        ),
        ("text.json", &["text.json:3:1: is not JSON: "]),
        (
            "none.json",
            &["none.json: cannot be read: No such file or directory"],
        ),
    ] {
        let output = plan(&place, &folder.path().join(changed));
        let complaint = text(&output.stderr);
        assert!(
            output.stdout.is_empty() && output.status.code() != Some(2),
            "{complaint}"
        );
        for part in parts {
            assert!(complaint.contains(part), "{part}: {complaint}");
        }
    }
    let both = twinroute()
        .arg("plan")
        .args([
            folder.path().join("table"),
            folder.path().join("wrong.json"),
        ])
        .args(place)
        .output()
        .unwrap();
    let complaint = text(&both.stderr);
    assert!(
        complaint.contains("a folder stands for all definitions"),
        "{complaint}"
    );
}
