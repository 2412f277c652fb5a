//! Steering a running twinroute: endpoints, dead letters, replays, the ledger.

use crate::durable::scene;
use crate::harness::{PATIENCE, TestDaemon, text, twinroute};
use expect_test::{Expect, expect};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;
use twinroute_emulator::{
    EventGridSettings, EventGridTopicSettings, PostAnswer, RunningEmulator, Settings,
};
use twinroute_model::clock::SystemClock;

fn emulator(runtime: &Runtime) -> RunningEmulator {
    let settings = Settings {
        event_grid: EventGridSettings {
            topics: vec![EventGridTopicSettings::new("grid")],
            ..EventGridSettings::default()
        },
        ..Settings::default()
    };
    let started = RunningEmulator::start(settings, Arc::new(SystemClock));
    runtime.block_on(started).unwrap()
}

fn command(daemon: &TestDaemon, arguments: &str) -> Command {
    let mut command = twinroute();
    command
        .args(arguments.split_whitespace())
        .args(["--admin", &daemon.admin])
        .stdin(Stdio::null());
    command
}

fn run(daemon: &TestDaemon, arguments: &str) -> Output {
    command(daemon, arguments).output().unwrap()
}

/// What a command that succeeds prints.
fn said(daemon: &TestDaemon, arguments: &str) -> String {
    let output = run(daemon, arguments);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments}: {error}");
    text(&output.stdout)
}

/// What a command that fails says about it.
fn refused(daemon: &TestDaemon, arguments: &str) -> String {
    let output = run(daemon, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments}");
    text(&output.stderr)
}

/// Compares but for times.
fn check(printed: &str, expect: &Expect) {
    const TIME: &str = "dddd-dd-dd dd:dd:dd";
    let mut timeless = String::new();
    let mut rest = printed;
    while let Some(first) = rest.chars().next() {
        let shape = rest.get(..TIME.len()).map(|time| {
            let digits = |c: char| if c.is_ascii_digit() { 'd' } else { c };
            time.chars().map(digits).collect::<String>()
        });
        let length = if shape.as_deref() == Some(TIME) {
            timeless.push_str(TIME);
            TIME.len()
        } else {
            timeless.push(first);
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    expect.assert_eq(&timeless);
}

/// Looks until the endpoint shows this.
fn until(daemon: &TestDaemon, wanted: impl Fn(&serde_json::Value) -> bool) {
    let latest = Instant::now() + PATIENCE;
    loop {
        let endpoint = daemon.status()["instances"][0]["endpoints"][0].clone();
        if wanted(&endpoint) {
            return;
        }
        assert!(Instant::now() < latest, "{endpoint:#}");
        std::thread::yield_now();
    }
}

#[test]
fn a_paused_endpoint_keeps_its_events_until_it_is_resumed() {
    let runtime = Runtime::new().unwrap();
    let emulator = emulator(&runtime);
    let folder = scene(&emulator);
    let stopped = runtime.block_on(emulator.shutdown());
    let daemon = TestDaemon::start(folder.path());
    let paused = said(&daemon, "endpoint pause GRID-1");
    assert_eq!(paused, "demo/grid-1: paused, backlog 0\n");
    for number in 1..=3 {
        assert!(daemon.post(number).starts_with("HTTP/1.1 202"));
    }
    let status = said(&daemon, "status");
    let line = status.lines().find(|line| line.contains("grid-1")).unwrap();
    assert!(line.ends_with("  paused"), "{status}");
    let emulator = runtime.block_on(stopped.restart()).unwrap();
    let retried = said(&daemon, "endpoint retry-now grid-1 --instance demo");
    assert_eq!(retried, "demo/grid-1: paused, backlog 3\n");
    assert_eq!(emulator.event_grid().events("grid").len(), 0);
    check(
        &said(&daemon, "ledger"),
        &expect![[r#"
        endpoint              matched  replayed    queued in flight  retrying delivered dead-lettered discarded
        demo/grid-1                 3         0         3         0         0         0             0         0
        total                       3         0         3         0         0         0             0         0

        dead letters: 0 uploaded, 0 awaiting upload, 0 local, 0 replayed
        unmatched events: 0

        matched + replayed = queued + in_flight + retrying + delivered + dead_lettered + discarded
        3 + 0 = 3 + 0 + 0 + 0 + 0 + 0
        unaccounted 0
    "#]],
    );
    assert!(said(&daemon, "endpoint resume grid-1").starts_with("demo/grid-1: healthy, "));
    let arrived = emulator.event_grid().wait_for("grid", 3, PATIENCE);
    runtime.block_on(arrived).unwrap();
    until(&daemon, |endpoint| endpoint["delivered"] == 3);
    let ledger: serde_json::Value = serde_json::from_str(&said(&daemon, "ledger --json")).unwrap();
    assert_eq!(ledger["total"]["delivered"], 3);
    assert_eq!(ledger["total"]["unaccounted"], 0);
    let unknown = refused(&daemon, "endpoint pause grid-2");
    assert_eq!(
        unknown,
        "twinroute: endpoint grid-2: not found; there are demo/grid-1\n"
    );
}

/// Six dead letters, of an endpoint that rejects everything until its faults are cleared.
fn rejected(runtime: &Runtime) -> (RunningEmulator, tempfile::TempDir, TestDaemon) {
    let emulator = emulator(runtime);
    let folder = scene(&emulator);
    let daemon = TestDaemon::start(folder.path());
    emulator
        .faults()
        .posts("grid", PostAnswer::Status(400, None), 1_000);
    for number in 1..=6 {
        daemon.post(number);
        until(&daemon, |of| of["dead_letters"]["local"] == number);
    }
    (emulator, folder, daemon)
}

#[test]
fn dead_letters_are_listed_shown_and_exported() {
    let runtime = Runtime::new().unwrap();
    let (_emulator, _folder, daemon) = rejected(&runtime);
    check(
        &said(
            &daemon,
            "deadletter list --endpoint GRID-1 --since 2h --most 4",
        ),
        &expect![[r#"
            demo/grid-1
               sequence  reason     died at (UTC)        tries  id                type
                      1  rejected   dddd-dd-dd dd:dd:dd      1  1                 t
                      2  rejected   dddd-dd-dd dd:dd:dd      1  2                 t
                      3  rejected   dddd-dd-dd dd:dd:dd      1  3                 t
                      4  rejected   dddd-dd-dd dd:dd:dd      1  4                 t

            there may be more: --after demo/grid-1/4
        "#]],
    );
    let none = said(
        &daemon,
        "deadletter list --reason expired --until 2020-01-01T00:00:00Z",
    );
    assert_eq!(none, "no dead letters\n");
    let text = said(&daemon, "deadletter show grid-1 2");
    assert!(text.contains("reason     rejected\n"), "{text}");
    let event = r#"{"specversion":"1.0","id":"2","source":"s","type":"t"}"#;
    assert!(text.ends_with(&format!("\n\n{event}\n")), "{text}");
    let exported = said(&daemon, "deadletter export --endpoint grid-1 --type t");
    assert_eq!(exported.lines().count(), 6, "{exported}");
    assert!(
        exported
            .lines()
            .nth(1)
            .unwrap()
            .ends_with(&format!("\"event\":{event}}}"))
    );
    check(
        &said(
            &daemon,
            "deadletter replay --endpoint grid-1 --sequence 3 5 --dry-run",
        ),
        &expect![[r#"
            demo/grid-1
               sequence  reason     died at (UTC)        tries  id                type
                      3  rejected   dddd-dd-dd dd:dd:dd      1  3                 t
                      5  rejected   dddd-dd-dd dd:dd:dd      1  5                 t
            2 would be replayed; nothing was
        "#]],
    );
}

#[test]
fn dead_letters_are_replayed_once_the_endpoint_is_fixed() {
    let runtime = Runtime::new().unwrap();
    let (emulator, _folder, daemon) = rejected(&runtime);
    let output = run(&daemon, "deadletter replay --endpoint grid-1");
    assert_eq!(output.status.code(), Some(1));
    let said_first = text(&output.stdout);
    assert!(
        said_first.starts_with("replay 1 stopped: endpoint demo/grid-1: the failure persists: "),
        "{said_first}"
    );
    emulator.faults().clear();
    until(&daemon, |of| of["dead_letters"]["local"] == 6);
    let done = said(&daemon, "deadletter replay --endpoint grid-1 --rate 1000");
    assert_eq!(done, "replay 2 done; 6 replayed, 6 delivered\n");
    assert_eq!(emulator.event_grid().events("grid").len(), 6);
    let list = said(&daemon, "replay list");
    assert!(
        list.contains("\n     2  done              6          6"),
        "{list}"
    );
    let ledger = said(&daemon, "ledger");
    assert!(ledger.ends_with("\nunaccounted 0\n"), "{ledger}");
    assert!(ledger.contains("0 awaiting upload, 0 local, "), "{ledger}");
}

#[test]
fn a_purge_asks_first_and_says_what_it_discarded() {
    let runtime = Runtime::new().unwrap();
    let emulator = emulator(&runtime);
    let folder = scene(&emulator);
    let daemon = TestDaemon::start(folder.path());
    emulator
        .faults()
        .posts("grid", PostAnswer::Status(400, None), 1);
    daemon.post(1);
    until(&daemon, |of| of["dead_letters"]["local"] == 1);
    said(&daemon, "endpoint pause grid-1");
    daemon.post(2);
    daemon.post(3);
    assert_eq!(
        refused(&daemon, "endpoint purge grid-1 --dead-letters"),
        "twinroute: demo/grid-1: a purge discards 2 queued events and 1 dead letters for good; say \
         --yes if you mean it\n"
    );
    assert_eq!(
        said(&daemon, "endpoint purge grid-1 --yes"),
        "demo/grid-1: discarded 2 queued events and 0 dead letters\n"
    );
    assert_eq!(
        said(&daemon, "endpoint purge Grid-1 --dead-letters --yes"),
        "demo/grid-1: discarded 0 queued events and 1 dead letters\n"
    );
    check(
        &said(&daemon, "ledger"),
        &expect![[r#"
        endpoint              matched  replayed    queued in flight  retrying delivered dead-lettered discarded
        demo/grid-1                 3         0         0         0         0         0             0         3
        total                       3         0         0         0         0         0             0         3

        dead letters: 0 uploaded, 0 awaiting upload, 0 local, 0 replayed
        discarded: 3 purged
        unmatched events: 0

        matched + replayed = queued + in_flight + retrying + delivered + dead_lettered + discarded
        3 + 0 = 0 + 0 + 0 + 0 + 0 + 3
        unaccounted 0
    "#]],
    );
}

#[test]
fn a_replay_goes_on_when_nobody_looks_and_is_ended_by_its_number() {
    let runtime = Runtime::new().unwrap();
    let emulator = emulator(&runtime);
    let folder = scene(&emulator);
    let daemon = TestDaemon::start(folder.path());
    emulator
        .faults()
        .posts("grid", PostAnswer::Status(400, None), 1);
    daemon.post(1);
    until(&daemon, |of| of["dead_letters"]["local"] == 1);
    said(&daemon, "endpoint pause grid-1");
    let mut child = command(&daemon, "deadletter replay --endpoint grid-1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stderr = child.stderr.take().unwrap();
    BufReader::new(stderr).read_line(&mut line).unwrap();
    assert_eq!(
        line,
        "replay 1 waiting: it is paused (http-400: 400: a scripted answer); 0 replayed, 0 delivered\n"
    );
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupted.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let admin = &daemon.admin;
    assert_eq!(
        text(&output.stdout),
        format!("replay 1 goes on; to end it: twinroute replay cancel 1 --admin {admin}\n")
    );
    let list = said(&daemon, "replay list");
    assert!(list.contains("     1  waiting "), "{list}");
    let ended = said(&daemon, "replay cancel 1");
    assert_eq!(ended, "replay 1 cancelled; 0 replayed, 0 delivered\n");
}
