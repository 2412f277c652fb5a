//! What runs, as it is watched: status, events as they pass, one screen of it.

use crate::harness::{PATIENCE, TestDaemon, scene, text};
use crate::session::{bare, with_input};
use serde_json::Value;
use std::process::{Child, Output, Stdio};
use std::time::Instant;

/// A command that ends by itself once enough events passed.
fn watching(daemon: &TestDaemon, words: &[&str]) -> Child {
    let mut command = bare(words);
    command.args(["--admin", &daemon.admin]);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Posts until it has seen enough: when it begins to watch, nobody knows.
fn posting(daemon: &TestDaemon, mut child: Child) -> Output {
    let latest = Instant::now() + PATIENCE;
    let mut id = 0;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < latest, "nothing passed");
        id += 1;
        assert!(daemon.post(id).starts_with("HTTP/1.1 202"));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn tap_shows_events_of_a_running_twinroute() {
    let folder = scene();
    let daemon = TestDaemon::start(folder.path());
    let words = ["tap", "-n", "2", "--json", "--body", "--endpoint", "grid-1"];
    let output = posting(&daemon, watching(&daemon, &words));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let lines = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    assert_eq!(lines.len(), 2, "{printed}");
    assert_eq!(lines[0]["outcome"], "accepted", "{printed}");
    assert_eq!(lines[0]["event"]["id"], lines[0]["id"]);
    let printed = text(&posting(&daemon, watching(&daemon, &["tap", "-n", "1"])).stdout);
    assert!(printed.contains("  -> grid-1 (all)"), "{printed}");
}

#[test]
fn tap_with_a_mistake_is_refused() {
    let folder = scene();
    let daemon = TestDaemon::start(folder.path());
    let tap = watching(&daemon, &["tap", "--outcome", "gone"]);
    let output = tap.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("outcome: \"gone\" is no outcome"), "{error}");
}

#[test]
fn tap_ends_with_the_daemon_and_does_not_keep_it() {
    let folder = scene();
    let mut daemon = TestDaemon::start(folder.path());
    let mut tap = watching(&daemon, &["tap", "-n", "1000000"]);
    // It watches for certain once it has printed something.
    let mut first = [0];
    let mut printed = tap.stdout.take().unwrap();
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || std::io::Read::read_exact(&mut printed, &mut first));
        while !reading.is_finished() {
            daemon.post(1);
        }
    });
    daemon.signal("-TERM");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    // Its reader is gone, or the router: it ends either way.
    assert!(tap.wait().unwrap().code().is_some());
}

#[test]
fn status_shows_what_is_asked_for() {
    let folder = scene();
    let daemon = TestDaemon::start(folder.path());
    assert!(daemon.post(1).starts_with("HTTP/1.1 202"));
    let latest = Instant::now() + PATIENCE;
    while daemon.status()["instances"][0]["endpoints"][0]["state"] == "healthy" {
        assert!(Instant::now() < latest);
        std::thread::yield_now();
    }
    let ask = |words: &[&str]| {
        let mut command = bare(words);
        command
            .env("COLUMNS", "80")
            .args(["--admin", &daemon.admin]);
        command.output().unwrap()
    };
    let problems = text(&ask(&["status", "--problems"]).stdout);
    assert!(problems.contains("127.0.0.1:9, since "), "{problems}");
    let fits = |line: &str| line.chars().count() <= 80;
    assert!(problems.lines().all(fits), "{problems}");
    let healthy = text(&ask(&["status", "--state", "healthy"]).stdout);
    assert!(healthy.contains("no endpoint is like that"), "{healthy}");
    let json = ask(&["status", "--problems", "--json"]).stdout;
    let json: Value = serde_json::from_slice(&json).unwrap();
    let address = &json["instances"][0]["endpoints"][0]["address"];
    assert_eq!(address, "127.0.0.1:9");
    let wrong = text(&ask(&["status", "--endpoint", "grid-2"]).stderr);
    assert!(wrong.contains("did you mean grid-1?"), "{wrong}");
    // Without a terminal it is one screen.
    let top = text(&ask(&["top"]).stdout);
    assert!(
        top.contains("grid-1") && top.contains("unreachable"),
        "{top}"
    );
    assert!(top.lines().all(fits), "{top}");
}

#[test]
fn events_of_a_file_are_sent_and_counted() {
    let folder = scene();
    let daemon = TestDaemon::start(folder.path());
    let send = |input: &str, more: &[&str]| {
        let mut command = bare(&["send", "-", "--batch", "2", "--to", &daemon.ingress]);
        command.args(more);
        with_input(command, input)
    };
    let event =
        |id: &str| format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t"}}"#);
    let output = send(&["1", "2", "3"].map(event).join("\n"), &[]);
    assert_eq!(
        text(&output.stdout),
        "accepted 3, unmatched 0\n",
        "{}",
        text(&output.stderr)
    );
    let output = send(&event("4"), &["--json", "--instance", "demo"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["accepted"], 1);
    for (input, more, expect) in [
        ("{}", &[][..], "standard input: event 1: "),
        (
            &event("5"),
            &["--instance", "other"],
            "nothing was accepted: refused with 404: ",
        ),
        (
            &event("5"),
            &["--ack", "durable"],
            "nothing was accepted: refused with ",
        ),
    ] {
        let output = send(input, more);
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        assert!(
            error.starts_with(&format!("twinroute: {expect}")),
            "{error}"
        );
    }
    assert_eq!(daemon.status()["journal"]["accepted"], 4);
    let mut graph = bare(&["graph", "--format", "dot"]);
    graph.args(["--admin", &daemon.admin]);
    let drawn = text(&graph.output().unwrap().stdout);
    assert!(drawn.contains("i0r0 -> i0e0;"), "{drawn}");
}
