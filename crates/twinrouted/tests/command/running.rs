//! `twinroute run`: what it does with its files, its signals and its events.

use crate::harness::{PATIENCE, TestDaemon, exchange, scene, text, with_config, write};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Instant;

/// The soft and the hard limit of a daemon's core dumps.
#[cfg(target_os = "linux")]
fn core_limits(setting: &str) -> Vec<String> {
    let folder = scene();
    let file = folder.path().join("twinroute.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{setting}\n{settings}")).unwrap();
    let daemon = TestDaemon::start(folder.path());
    let limits = format!("/proc/{}/limits", daemon.child.id());
    let limits = std::fs::read_to_string(limits).unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let words = line.unwrap().split_whitespace();
    words.take(2).map(str::to_owned).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_daemon_leaves_no_core_dump_unless_told_to() {
    assert_eq!(core_limits(""), ["0", "0"]);
    let ours = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = ours
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let ours: Vec<&str> = line.unwrap().split_whitespace().take(2).collect();
    assert_eq!(core_limits("core_dumps = true"), ours);
}

#[test]
fn a_table_edit_takes_over_and_a_broken_one_changes_nothing() {
    let folder = scene();
    let mut daemon = TestDaemon::start(folder.path());
    let counts = "twinroute-accepted: 1\r\ntwinroute-unmatched: 0\r\ntwinroute-generation: 1\r\n";
    assert!(daemon.post(1).contains(counts));

    write(
        folder.path(),
        "table/routes/all.json",
        "{\"endpointName\":\"grid-1\",\n\"filter\":\"x is\"}",
    );
    daemon.line("the definitions were refused");
    let table = daemon.status()["table"].clone();
    assert_eq!(table["generation"], 1);
    let error = table["errors"][0].as_str().unwrap();
    assert!(
        error.contains("all.json:2:1: route demo/all: Parsing error, Line=1, Position=3"),
        "{error}"
    );
    assert!(
        daemon
            .post(2)
            .contains("twinroute-unmatched: 0\r\ntwinroute-generation: 1")
    );

    write(
        folder.path(),
        "table/routes/all.json",
        r#"{"endpointName":"grid-1","filter":"false"}"#,
    );
    daemon.line("a new table is in use");
    assert_eq!(daemon.status()["table"]["errors"], serde_json::json!([]));
    assert!(
        daemon
            .post(3)
            .contains("twinroute-unmatched: 1\r\ntwinroute-generation: 2")
    );
    let endpoint = daemon.status()["instances"][0]["endpoints"][0].clone();
    assert_eq!(
        (&endpoint["matched"], &endpoint["delivered"]),
        (&2.into(), &0.into())
    );
}

#[test]
fn signals_reload_and_stop_and_what_is_discarded_is_said() {
    let folder = scene();
    let mut daemon = TestDaemon::start(folder.path());
    daemon.signal("-HUP");
    daemon.line("SIGHUP");
    daemon.post(1);
    daemon.signal("-TERM");
    daemon.line("events will not be delivered: stopped");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    daemon.lines.iter().for_each(|line| daemon.seen.push(line));
    let log = daemon.seen.join("\n");
    assert!(
        !log.contains("c2VjcmV0LWtleQ"),
        "the access key must not be in the log: {log}"
    );
}

#[test]
fn a_second_signal_ends_a_stop_that_takes_its_time() {
    let folder = scene();
    let file = folder.path().join("twinroute.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config.replace("'0s'", "'60s'")).unwrap();
    let mut daemon = TestDaemon::start(folder.path());
    daemon.post(1);
    daemon.signal("-TERM");
    daemon.line("stopping: lanes finish what they have");
    daemon.signal("-INT");
    daemon.line("stopped at once by a second signal; what was not delivered waits in the journal");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(1));
}

#[test]
fn validate_refuses_what_run_refuses() {
    let folder = scene();
    write(
        folder.path(),
        "twinroute.toml",
        "definitions = 'table'\n[ingress]\nack = 'durable'\n[admin.limits]\nheaders_max = 0\n\
         [log]\nfilter = 'a=b=c'\n",
    );
    let output = with_config("validate", folder.path());
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{errors}");
    for error in [
        "error: [ingress]: ack = \"durable\" is not available: the journal is in memory; \
         set [journal] path, or use \"memory\"",
        "error: [admin]: limits.headers_max must be 1 to 1000",
        "error: [log]: the log filter \"a=b=c\": ",
    ] {
        assert!(errors.contains(error), "{errors}");
    }
    assert_eq!(with_config("run", folder.path()).status.code(), Some(78));
}

#[test]
fn an_endpoint_whose_fault_changes_is_reported_again_and_a_removed_one_is_shown_as_removed() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let folder = scene();
    let config = folder.path().join("twinroute.toml");
    let toml = format!(
        "removed_grace = '0s'\n{}",
        fs::read_to_string(&config).unwrap()
    );
    fs::write(&config, toml).unwrap();
    let endpoint = format!(
        r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":"c2VjcmV0LWtleQ==",
            "TopicEndpoint":"http://{address}/api/events"}}}}"#
    );
    write(folder.path(), "table/endpoints/grid-1.json", &endpoint);
    let mut daemon = TestDaemon::start(folder.path());
    daemon.post(1);
    daemon.line("\"kind\":\"unreachable\"");
    let topic = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for stream in topic.incoming() {
            let refusal =
                "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let mut stream = stream.unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(refusal.as_bytes()).unwrap();
        }
    });
    daemon.line("\"kind\":\"unauthorized\"");
    let metrics = daemon.metrics();
    let refused = "endpoint=\"grid-1\",kind=\"unauthorized\"} ";
    assert!(
        metrics.contains(refused) && !metrics.contains(&format!("{refused}0")),
        "{metrics}"
    );

    fs::remove_file(folder.path().join("table/routes/all.json")).unwrap();
    fs::remove_file(folder.path().join("table/endpoints/grid-1.json")).unwrap();
    daemon.line("events will not be delivered: removed");
    let ended =
        |daemon: &TestDaemon| daemon.status()["instances"][0]["endpoints"][0]["state"] == "removed";
    let latest = Instant::now() + PATIENCE;
    while !ended(&daemon) {
        assert!(Instant::now() < latest, "{}", daemon.status());
        std::thread::yield_now();
    }
}

#[test]
fn refused_events_and_the_journals_limit_are_counted() {
    let folder = scene();
    let daemon = TestDaemon::start(folder.path());
    let event = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;
    let batch = format!("[{event},{event}]");
    let request = format!(
        "POST /events HTTP/1.1\r\nhost: t\r\ncontent-type: application/cloudevents-batch+json\r\n\
         twinroute-ack: durable\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{batch}",
        batch.len()
    );
    assert!(exchange(&daemon.ingress, &request).contains("AckUnavailable"));
    let metrics = daemon.metrics();
    for line in [
        "twinroute_events_refused_total 2\n",
        "twinroute_journal_bytes_max 268435456\n",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[test]
fn what_keeps_it_from_starting_is_said_once() {
    let folder = scene();
    write(
        folder.path(),
        "table/routes/all.json",
        r#"{"endpointName":"grid-1","filter":"x is"}"#,
    );
    let output = with_config("run", folder.path());
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{errors}");
    assert_eq!(errors.matches("Parsing error").count(), 1, "{errors}");
    assert!(!errors.contains("the old table stays"), "{errors}");
}

#[test]
fn json_log_holds_json_alone_from_the_first_line_to_the_last_status() {
    let folder = scene();
    let mut daemon = TestDaemon::start(folder.path());
    daemon.post(1);
    daemon.signal("-TERM");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    daemon.lines.iter().for_each(|line| daemon.seen.push(line));
    let lines = daemon.seen.iter();
    let events: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    let last = events.last().unwrap();
    assert_eq!(last["message"], "the last status", "{last}");
    assert_eq!(last["status"]["journal"]["accepted"], 1);
    assert_eq!(last["status"]["instances"][0]["endpoints"][0]["matched"], 1);
    for event in &events {
        for member in ["timestamp", "level", "message", "target"] {
            assert!(event[member].is_string(), "{event}");
        }
    }
    // Why it does not start is an event too.
    fs::remove_dir_all(folder.path().join("table")).unwrap();
    let output = with_config("run", folder.path());
    for line in text(&output.stderr).lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert!(text(&output.stderr).contains("\"exit_code\":66"));
}

#[test]
fn lost_watch_of_definitions_that_are_moved_away_and_back() {
    let folder = scene();
    let mut daemon = TestDaemon::start(folder.path());
    let (table, elsewhere) = (folder.path().join("table"), folder.path().join("x"));
    fs::rename(&table, &elsewhere).unwrap();
    fs::rename(&elsewhere, &table).unwrap();
    write(
        folder.path(),
        "table/routes/all.json",
        r#"{"endpointName":"grid-1","filter":"false"}"#,
    );
    // Long before the poll: the tests' patience is no longer than that.
    let begun = Instant::now();
    daemon.line("a new table is in use");
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
}

#[test]
fn memory_journal_says_once_what_a_crash_loses() {
    let folder = scene();
    let mut daemon = TestDaemon::start(folder.path());
    daemon.signal("-TERM");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    daemon.lines.iter().for_each(|line| daemon.seen.push(line));
    let said = daemon
        .seen
        .iter()
        .filter(|line| line.contains("the journal is in memory"));
    assert_eq!(said.count(), 1, "{:#?}", daemon.seen);
}

#[test]
fn key_in_the_clear_is_warned_about_wherever_warnings_are() {
    let folder = scene();
    write(
        folder.path(),
        "table/endpoints/grid-1.json",
        r#"{"properties":{"endpointType":"EventGrid","accessKey1":"c2VjcmV0LWtleQ==",
            "TopicEndpoint":"http://192.0.2.1:9/api/events"}}"#,
    );
    let expect = "endpoint demo/grid-1: its key goes to 192.0.2.1 in the clear";
    let validated = text(&with_config("validate", folder.path()).stderr);
    assert!(validated.contains(expect), "{validated}");
    let mut daemon = TestDaemon::start(folder.path());
    let warnings = daemon.status()["table"]["warnings"].to_string();
    assert!(warnings.contains(expect), "{warnings}");
    daemon.signal("-TERM");
    daemon.child.wait().unwrap();
    daemon.lines.iter().for_each(|line| daemon.seen.push(line));
    assert!(daemon.seen.join("\n").contains(expect));
}
