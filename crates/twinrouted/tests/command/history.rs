//! `twinroute history`: what became of events, while a twinroute runs and after it has ended.

use crate::harness::{PATIENCE, TestDaemon, scene, text, twinroute, write};
use std::path::Path;
use std::time::Instant;

fn with_journal() -> tempfile::TempDir {
    let folder = scene();
    let config = folder.path().join("twinroute.toml");
    let config = std::fs::read_to_string(config).unwrap();
    let journal = "[journal]\npath = 'data'\nsegment_bytes = '1MiB'\nkeep = '64MiB'\n";
    write(
        folder.path(),
        "twinroute.toml",
        &config.replace("[log]", &format!("{journal}[log]")),
    );
    let route = r#"{"endpointName":"grid-1","filter":"subject = 'press-1'"}"#;
    write(folder.path(), "table/routes/all.json", route);
    folder
}

fn post(daemon: &TestDaemon, id: &str, subject: &str) {
    let body = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"plant","type":"Moved","subject":"{subject}"}}"#
    );
    let request = format!(
        "POST /events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = crate::harness::exchange(&daemon.ingress, &request);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

fn printed(place: &[&str], words: &[&str]) -> String {
    let output = twinroute()
        .arg("history")
        .args(words)
        .args(place)
        .output()
        .unwrap();
    let complaints = text(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    text(&output.stdout)
}

fn rows(place: &[&str], words: &[&str]) -> Vec<serde_json::Value> {
    let printed = printed(place, &[words, &["--json"]].concat());
    let lines = printed.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn check(place: &[&str]) {
    let all = rows(place, &[]);
    let known: Vec<_> = all
        .iter()
        .map(|row| {
            (
                row["id"].as_str().unwrap(),
                row["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(known, [("one", "queued"), ("two", "unmatched")]);
    assert_eq!(all[0]["routes"], serde_json::json!(["all"]));
    assert_eq!(all[0]["address"], "127.0.0.1");
    for (words, expect) in [
        (&["--twin", "press-1"][..], &["one"][..]),
        (&["--unmatched"], &["two"]),
        (&["--outcome", "queued", "--endpoint", "GRID-1"], &["one"]),
        (&["--route", "all", "--instance", "demo"], &["one"]),
        (&["--id", "two", "--source", "plant"], &["two"]),
        (&["--type", "Moved", "--since", "1h"], &["one", "two"]),
        (&["--until", "1h"], &[]),
        (&["--type", "moved"], &[]),
        (&["--most", "1"], &["one"]),
    ] {
        let found = rows(place, words);
        let ids: Vec<_> = found
            .iter()
            .map(|row| row["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, expect, "{words:?}");
    }
    let text = printed(place, &["show", "one"]);
    for part in [
        "route all -> grid-1: matches",
        "endpoint demo/grid-1: queued, attempts 0",
        "Connection refused",
        r#""subject":"press-1""#,
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = printed(place, &["show", "two"]);
    assert!(
        text.contains("route all -> grid-1: does not match"),
        "{text}"
    );
    assert!(text.contains("no route matched it"), "{text}");
}

#[test]
fn events_are_found_while_twinroute_runs_and_in_the_folder_that_it_leaves() {
    let folder = with_journal();
    let daemon = TestDaemon::start(folder.path());
    post(&daemon, "one", "press-1");
    post(&daemon, "two", "press-2");
    let admin = daemon.admin.clone();
    let place = ["--admin", admin.as_str()];
    let latest = Instant::now() + PATIENCE;
    // What is recorded beside the events rides along with the next group.
    while rows(&place, &[]).len() < 2
        || !printed(&place, &["show", "one"]).contains("Connection refused")
    {
        assert!(Instant::now() < latest, "{:?}", rows(&place, &[]));
        std::thread::yield_now();
    }
    check(&place);
    let explained = printed(&place, &["explain", "two"]);
    let (then, now) = explained.split_once("\nnow:").unwrap();
    for decisions in [then, now] {
        let verdict = "route all -> grid-1: does not match";
        assert!(decisions.contains(verdict), "{explained}");
    }
    let changed = folder.path().join("changed");
    let grid = std::fs::read_to_string(folder.path().join("table/endpoints/grid-1.json")).unwrap();
    write(&changed, "endpoints/grid-1.json", &grid);
    for (filter, code) in [("subject = 'press-1'", 0), ("subject = 'press-2'", 2)] {
        let route = serde_json::json!({"endpointName": "grid-1", "filter": filter});
        write(&changed, "routes/all.json", &route.to_string());
        let output = twinroute()
            .arg("plan")
            .arg(&changed)
            .args(place)
            .output()
            .unwrap();
        let printed = text(&output.stdout);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{printed}{}",
            text(&output.stderr)
        );
        assert!(printed.contains("2 events"), "{printed}");
    }
    drop(daemon);
    let data = folder.path().join("data");
    check(&["--journal", data.to_str().unwrap()]);
    let missing = Path::new("nowhere");
    let output = twinroute()
        .args(["history", "--journal"])
        .arg(missing)
        .output()
        .unwrap();
    assert!(!output.status.success());
}

fn explained(words: &[&str]) -> (String, String) {
    let output = twinroute()
        .args(["explain", "--id"])
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    let (then, now) = shown.split_once("\nnow").unwrap();
    (then.to_owned(), now.to_owned())
}

/// Under the table of then, and under today's: that of the configuration that is named, else of the twinroute that runs.
#[test]
fn explain_of_a_past_event_asks_the_routes_of_then_and_those_of_today() {
    const YES: &str = "route all -> grid-1: matches";
    const NO: &str = "route all -> grid-1: does not match";
    let folder = with_journal();
    let changed = with_journal();
    let route = r#"{"endpointName":"grid-1","filter":"subject = 'press-2'"}"#;
    write(changed.path(), "table/routes/all.json", route);
    let changed = changed.path().join("twinroute.toml");
    let changed = changed.to_str().unwrap();
    let daemon = TestDaemon::start(folder.path());
    post(&daemon, "one", "press-1");
    let admin = daemon.admin.clone();
    let place = ["--admin", admin.as_str()];
    for (words, verdict) in [(&[][..], YES), (&["--config", changed], NO)] {
        let (then, now) = explained(&[&["one"], &place[..], words].concat());
        assert!(then.contains(YES) && now.contains(verdict), "{then}{now}");
        assert!(now.contains("subject is 'press-1'"), "each clause: {now}");
    }
    drop(daemon);
    let data = folder.path().join("data");
    let place = [
        "one",
        "--source",
        "plant",
        "--journal",
        data.to_str().unwrap(),
    ];
    let (then, now) = explained(&[&place[..], &["--config", changed]].concat());
    assert!(then.contains(YES) && now.contains(NO), "{then}{now}");
    let (then, now) = explained(&place);
    assert!(then.contains(YES), "{then}");
    assert_eq!(now, ": no route was asked\n");
    let missing = twinroute()
        .args([
            "explain",
            "--id",
            "none",
            "--journal",
            data.to_str().unwrap(),
        ])
        .output()
        .unwrap();
    let complaint = text(&missing.stderr);
    assert!(
        complaint.contains("event \"none\": not in the history"),
        "{complaint}"
    );
}

/// The key opens what it sealed, from one start to the next; without it nothing is shown.
#[test]
fn the_history_of_a_sealed_journal_is_searched_with_its_key() {
    let folder = with_journal();
    let config = folder.path().join("twinroute.toml");
    let plain = std::fs::read_to_string(&config).unwrap();
    let sealed = plain.replace("[journal]\n", "[journal]\nseal = true\n");
    write(folder.path(), "twinroute.toml", &sealed);
    for id in ["one", "two"] {
        let daemon = TestDaemon::start(folder.path());
        post(&daemon, id, "press-1");
        let found = rows(
            &["--admin", daemon.admin.as_str()],
            &["--twin", "press-1", "--id", id],
        );
        assert_eq!(found.len(), 1, "{id}: {found:?}");
        drop(daemon);
    }
    let data = folder.path().join("data");
    let place = ["--journal", data.to_str().unwrap()];
    let config = config.to_str().unwrap();
    let with_key = [&place[..], &["--config", config]].concat();
    let found = rows(&with_key, &["--source", "plant"]);
    let ids: Vec<_> = found
        .iter()
        .map(|row| row["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["one", "two"]);
    let shown = printed(&with_key, &["show", "one"]);
    assert!(shown.contains(r#""subject":"press-1""#), "{shown}");
    let output = twinroute().arg("history").args(place).output().unwrap();
    assert!(!output.status.success(), "without the key");
    let complaint = text(&output.stderr);
    assert!(
        complaint.contains("sealed") && complaint.contains("--config"),
        "{complaint}"
    );
}

/// What became of deliveries lately is known without a journal on disk; the events are not.
#[test]
fn the_latest_outcomes_are_shown_though_the_journal_is_in_memory() {
    let folder = scene();
    let route = r#"{"endpointName":"grid-1","filter":"subject = 'press-1'"}"#;
    write(folder.path(), "table/routes/all.json", route);
    let daemon = TestDaemon::start(folder.path());
    post(&daemon, "two", "press-2");
    let place = ["--admin", daemon.admin.as_str()];
    let found = rows(&place, &["--twin", "press-2"]);
    let about: Vec<_> = found
        .iter()
        .map(|row| (&row["id"], &row["outcome"]))
        .collect();
    assert_eq!(about, [(&"two".into(), &"unmatched".into())]);
    assert!(rows(&place, &["--outcome", "delivered"]).is_empty());
    for words in [&["history", "show", "two"][..], &["explain", "--id", "two"]] {
        let output = twinroute().args(words).args(place).output().unwrap();
        let complaint = text(&output.stderr);
        assert!(!output.status.success());
        assert!(complaint.contains("set [journal] path"), "{complaint}");
    }
}
