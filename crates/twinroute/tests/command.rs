//! The command as a user runs it: arguments, output, exit codes, signals.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than anything here takes, so that a hang is a failure and not a wait.
const PATIENCE: Duration = Duration::from_secs(60);

fn twinroute() -> Command {
    Command::new(env!("CARGO_BIN_EXE_twinroute"))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn write(folder: &Path, file: &str, content: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A configuration on free ports whose endpoint nobody serves.
fn scene() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "twinroute.toml",
        "instance = 'demo'\ndefinitions = 'table'\nshutdown_grace = '0s'\n\
         [ingress]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = ['127.0.0.1:0']\n\
         [log]\nformat = 'json'\n",
    );
    write(
        folder.path(),
        "table/endpoints/grid-1.json",
        r#"{"properties":{"endpointType":"EventGrid","accessKey1":"c2VjcmV0LWtleQ==",
            "TopicEndpoint":"http://127.0.0.1:9/api/events"}}"#,
    );
    write(
        folder.path(),
        "table/routes/all.json",
        r#"{"endpointName":"grid-1","filter":"true"}"#,
    );
    folder
}

fn with_config(command: &str, folder: &Path) -> Output {
    let file = folder.join("twinroute.toml");
    twinroute()
        .arg(command)
        .arg("--config")
        .arg(file)
        .output()
        .unwrap()
}

#[test]
fn the_shipped_configurations_are_valid() {
    for file in ["config/sidecar.toml", "config/daemon.toml"] {
        let output = twinroute()
            .current_dir(repository())
            .env("TWINROUTE_ACCESS_KEY", "a-key-for-the-test")
            .args(["validate", "--config", file])
            .output()
            .unwrap();
        let expect = format!("{file}: valid: 1 instance, 3 endpoints, 6 routes\n");
        assert_eq!(text(&output.stdout), expect, "{}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(0));
    }
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
        "error: /table/endpoints/hub-1.json:1: endpoint hub-1: `properties.endpointType`: must be \
         EventGrid, EventHub or ServiceBus, not \"Hub\"\n\
         error: /table/routes/bad.json:1: route bad: `(body)`: not a route: invalid type: integer \
         `7`, expected a string at line 2 column 12\n\
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
            "error: /table/routes/bad.json:1: route demo/bad: endpoint hub-1 is not defined; \
         defined are: grid-1\n\
         error: /table/routes/bad.json:2: route demo/bad: Parsing error, Line=1, Position="
        ),
        "{errors}"
    );
}

#[test]
fn a_bad_configuration_is_refused_by_its_key() {
    let folder = scene();
    write(folder.path(), "twinroute.toml", "[ingress]\nlissten = []\n");
    for command in ["validate", "run"] {
        let output = with_config(command, folder.path());
        assert_eq!(output.status.code(), Some(78));
        let error = text(&output.stderr);
        assert!(
            error.contains("unknown field `lissten`") && error.contains("line 2"),
            "{error}"
        );
        assert!(
            error.starts_with("twinroute: in the configuration "),
            "{error}"
        );
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
            "--hub", "h:2", "--topic", "t:a,b", "--queue", "q", "--grid", "g",
        ])
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
    assert_eq!(grid["endpoint"], format!("{http}/topics/g/api/events"));
    assert_eq!(grid["events"], format!("{http}/events?topic=g"));
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

/// A running `twinroute run`, killed when the test ends.
struct Daemon {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    ingress: String,
    admin: String,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Daemon {
    fn start(folder: &Path) -> Self {
        let mut child = twinroute()
            .args(["run", "--config"])
            .arg(folder.join("twinroute.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines() {
                if sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut daemon = Self {
            child,
            lines,
            seen: Vec::new(),
            ingress: String::new(),
            admin: String::new(),
        };
        daemon.ingress = address(&daemon.line("takes events"));
        daemon.admin = address(&daemon.line("/status"));
        daemon
    }

    /// Waits for a line of the log that holds `part`.
    fn line(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {part:?} in {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    fn post(&self, id: usize) -> String {
        let event = format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t"}}"#);
        let head = format!(
            "POST /events HTTP/1.1\r\nhost: t\r\ncontent-type: application/cloudevents+json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{event}",
            event.len()
        );
        exchange(&self.ingress, &head)
    }

    fn status(&self) -> serde_json::Value {
        let answer = exchange(
            &self.admin,
            "GET /status HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
        );
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn metrics(&self) -> String {
        exchange(
            &self.admin,
            "GET /metrics HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
        )
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

fn address(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    line["address"].as_str().unwrap().to_owned()
}

fn exchange(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_table_edit_takes_over_and_a_broken_one_changes_nothing() {
    let folder = scene();
    let mut daemon = Daemon::start(folder.path());
    assert!(
        daemon
            .post(1)
            .contains("{\"accepted\":1,\"generation\":1,\"unmatched\":0}")
    );

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
        error.contains("all.json:2: route demo/all: Parsing error, Line=1, Position=3"),
        "{error}"
    );
    assert!(daemon.post(2).contains("\"generation\":1,\"unmatched\":0"));

    write(
        folder.path(),
        "table/routes/all.json",
        r#"{"endpointName":"grid-1","filter":"false"}"#,
    );
    daemon.line("a new table is in use");
    assert_eq!(daemon.status()["table"]["errors"], serde_json::json!([]));
    assert!(daemon.post(3).contains("\"generation\":2,\"unmatched\":1"));
    let endpoint = daemon.status()["instances"][0]["endpoints"][0].clone();
    assert_eq!(
        (&endpoint["matched"], &endpoint["delivered"]),
        (&2.into(), &0.into())
    );
}

#[test]
fn signals_reload_and_stop_and_what_is_given_up_is_said() {
    let folder = scene();
    let mut daemon = Daemon::start(folder.path());
    daemon.signal("-HUP");
    daemon.line("SIGHUP");
    daemon.post(1);
    daemon.signal("-TERM");
    daemon.line("events were given up: stopped");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    daemon.lines.iter().for_each(|line| daemon.seen.push(line));
    let log = daemon.seen.join("\n");
    assert!(
        !log.contains("c2VjcmV0LWtleQ"),
        "the access key must not be in the log: {log}"
    );
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
        "error: [ingress]: ack = \"durable\" is not available: the journal is in memory; use \"memory\"",
        "error: [admin]: limits.headers_max must be 1 to 1000",
        "error: [log]: the log filter \"a=b=c\": ",
    ] {
        assert!(errors.contains(error), "{errors}");
    }
    assert_eq!(with_config("run", folder.path()).status.code(), Some(78));
}

#[test]
fn an_endpoint_whose_fault_changes_is_told_again_and_a_removed_one_is_shown_as_removed() {
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
    let mut daemon = Daemon::start(folder.path());
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
    daemon.line("events were given up: removed");
    let ended =
        |daemon: &Daemon| daemon.status()["instances"][0]["endpoints"][0]["state"] == "removed";
    let latest = Instant::now() + PATIENCE;
    while !ended(&daemon) {
        assert!(Instant::now() < latest, "{}", daemon.status());
        std::thread::yield_now();
    }
}

#[test]
fn refused_events_and_the_journals_limit_are_counted() {
    let folder = scene();
    let daemon = Daemon::start(folder.path());
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
