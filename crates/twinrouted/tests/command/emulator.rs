//! `twinroute emulator`: what it says of ports, and the look at what a running one holds.

use super::harness::{text, twinroute};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::Arc;
use tokio::runtime::Runtime;
use twinroute_emulator::{
    BlobSettings, BrokerSettings, EventGridSettings, EventGridTopicSettings, HubSettings,
    QueueSettings, RunningEmulator, Settings,
};
use twinroute_model::clock::SystemClock;

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"n":25.50,
"e":"\u001b[2J"}}"#;

fn emulator(runtime: &Runtime) -> RunningEmulator {
    let settings = Settings {
        broker: BrokerSettings {
            hubs: vec![HubSettings::new("telemetry")],
            queues: vec![QueueSettings {
                requires_session: true,
                ..QueueSettings::new("by-twin")
            }],
            ..BrokerSettings::default()
        },
        event_grid: EventGridSettings {
            topics: vec![EventGridTopicSettings::new("lifecycle")],
            ..EventGridSettings::default()
        },
        blob: BlobSettings {
            containers: vec!["dead-letters".to_owned()],
            ..BlobSettings::default()
        },
        ..Settings::default()
    };
    let started = RunningEmulator::start(settings, Arc::new(SystemClock));
    runtime.block_on(started).unwrap()
}

/// Posts [`EVENT`] to the Event Grid topic.
fn post(emulator: &RunningEmulator) {
    let mut stream = TcpStream::connect(emulator.http_address()).unwrap();
    let (key, length) = (emulator.topic_key1("lifecycle"), EVENT.len());
    write!(
        stream,
        "POST /topics/lifecycle/api/events?api-version=2018-01-01 HTTP/1.1\r\nhost: x\r\n\
         connection: close\r\naeg-sas-key: {key}\r\ncontent-length: {length}\r\n\
         content-type: application/cloudevents+json\r\n\r\n{EVENT}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn look(emulator: &RunningEmulator, arguments: &[&str]) -> Output {
    let mut command = twinroute();
    command.arg("emulator").args(arguments);
    command.arg("--at").arg(emulator.http_address().to_string());
    command.output().unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_string()
}

#[test]
fn look_inside_by_list_and_read_of_a_running_emulator() {
    let runtime = Runtime::new().unwrap();
    let emulator = emulator(&runtime);
    post(&emulator);
    emulator
        .blob_account()
        .put_blob("dead-letters", "one.json", "{\"n\":1}\n\u{1b}[2J");

    let list = printed(&look(&emulator, &["list"]));
    let lines: Vec<Vec<&str>> = list
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0][..4],
        ["hub", "telemetry", "0", "events,"],
        "{list}"
    );
    assert!(
        list.contains("by-twin") && list.contains("with sessions"),
        "{list}"
    );
    assert!(
        list.contains("dead-letters") && list.contains("1 blobs"),
        "{list}"
    );

    let read = printed(&look(&emulator, &["read", "lifecycle"]));
    assert!(read.starts_with("1  20"), "{read}");
    assert!(read.contains(r#""id":"1","source":"s""#), "{read}");
    assert!(
        read.contains(r#"{"n":25.50,\n"e":"\u001b[2J"}"#),
        "as it came, in a line: {read}"
    );
    let json = printed(&look(&emulator, &["read", "topic:lifecycle", "--json"]));
    assert_eq!(json.lines().count(), 1, "{json}");
    assert!(
        json.contains(r#""n":25.50"#),
        "bytes are shown as they came: {json}"
    );
    let after = look(&emulator, &["read", "lifecycle", "--json", "--after", "1"]);
    assert_eq!(printed(&after), "");
    let blob = printed(&look(&emulator, &["read", "dead-letters"]));
    assert!(blob.contains(r#"{"n":1}\n\u001b[2J"#), "{blob}");

    for (arguments, expect) in [
        (
            &["read", "telemetri"][..],
            "there are: telemetry, by-twin, lifecycle, dead-letters",
        ),
        (
            &["read", "telemetry", "--partition", "7"],
            "has the partitions 0 to 3",
        ),
        (
            &["read", "telemetry", "--dead-letters"],
            "only queues and subscriptions have any",
        ),
        (
            &["read", "dead-letters", "--follow"],
            "a container cannot be followed",
        ),
    ] {
        let refused = look(&emulator, arguments);
        assert!(!refused.status.success(), "{arguments:?}");
        let error = text(&refused.stderr).to_string();
        assert!(error.contains(expect), "{error}");
    }
}

#[test]
fn look_inside_where_no_emulator_is_says_so() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let mut command = twinroute();
    let output = command
        .args(["emulator", "list", "--at", &address])
        .output()
        .unwrap();
    let error = text(&output.stderr).to_string();
    assert!(error.contains("is an emulator there?"), "{error}");
}

#[test]
fn a_busy_port_names_the_option_that_changes_it() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let options = [
        "--amqp-port",
        "--http-port",
        "--blob-port",
        "--identity-port",
        "--entra-port",
        "--amqp-tls-port",
        "--blob-tls-port",
    ];
    for busy_option in options {
        let mut command = twinroute();
        command
            .arg("emulator")
            .arg("--identities")
            .arg(folder.path());
        for option in options {
            let port = if option == busy_option { &port } else { "0" };
            command.args([option, port]);
        }
        let output = command.output().unwrap();
        let error = text(&output.stderr).to_string();
        assert!(!output.status.success());
        let expect = format!("give another port than {port} with {busy_option}");
        assert!(error.contains(&expect), "{error}");
    }
}
