//! What tests of the commands for people share: a twinroute that is managed, and somebody who asks it.

use crate::harness::{TestDaemon, address, text, twinroute, write};
use serde_json::Value;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use tokio::runtime::Runtime;
use twinroute_emulator::{
    BrokerSettings, EventGridSettings, EventGridTopicSettings, HubSettings, RunningEmulator,
    Settings,
};
use twinroute_model::clock::SystemClock;

/// A configuration whose definitions are put over the management API.
pub(crate) fn scene() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "twinroute.toml",
        "instance = 'plant'\nshutdown_grace = '0s'\n[table]\nsource = 'store'\n\
         [ingress]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = ['127.0.0.1:0']\n\
         [management]\nlisten = ['127.0.0.1:0']\n[log]\nformat = 'json'\n",
    );
    folder
}

/// A running twinroute, as somebody at a terminal asks it.
pub(crate) struct CommandSession {
    pub(crate) daemon: TestDaemon,
    pub(crate) url: String,
}

impl CommandSession {
    pub(crate) fn start(folder: &Path) -> Self {
        let daemon = TestDaemon::start(folder);
        let mut seen = daemon.seen.iter();
        let line = seen.find(|line| line.contains("answers as the management API"));
        let url = format!("http://{}", address(line.unwrap()));
        Self { daemon, url }
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = bare(words);
        command.args(["--management-url", &self.url]);
        command
    }

    /// What a command that succeeds prints.
    pub(crate) fn said(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {error}");
        text(&output.stdout)
    }

    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let said = self.said(&[words, &["--json"]].concat());
        serde_json::from_str(&said).unwrap()
    }

    /// What a command that fails says about it.
    pub(crate) fn refused(&self, words: &[&str]) -> String {
        failed(&self.command(words).output().unwrap())
    }
}

/// Without what the environment of the tests may hold.
pub(crate) fn bare(words: &[&str]) -> Command {
    let mut command = twinroute();
    command.args(words).stdin(Stdio::null());
    for name in [
        "MANAGEMENT_URL",
        "SUBSCRIPTION",
        "RESOURCE_GROUP",
        "ROUTES_URL",
        "ADMIN",
    ] {
        command.env_remove(format!("TWINROUTE_{name}"));
    }
    command
}

pub(crate) fn failed(output: &Output) -> String {
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    text(&output.stderr)
}

pub(crate) fn with_input(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// A session beside an emulator that its endpoints may send to. It ends in the order of its members.
pub(crate) struct EmulatedSession {
    pub(crate) session: CommandSession,
    _folder: tempfile::TempDir,
    pub(crate) emulator: RunningEmulator,
    pub(crate) runtime: Runtime,
}

impl EmulatedSession {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let emulator = emulator(&runtime);
        let folder = scene();
        let session = CommandSession::start(folder.path());
        Self {
            session,
            _folder: folder,
            emulator,
            runtime,
        }
    }

    /// With what [`fill`] makes.
    pub(crate) fn filled() -> Self {
        let started = Self::start();
        fill(&started.session, &started.emulator);
        started
    }
}

pub(crate) fn emulator(runtime: &Runtime) -> RunningEmulator {
    let settings = Settings {
        broker: BrokerSettings {
            hubs: vec![HubSettings::new("hub")],
            ..BrokerSettings::default()
        },
        event_grid: EventGridSettings {
            topics: vec![EventGridTopicSettings::new("grid")],
            ..EventGridSettings::default()
        },
        ..Settings::default()
    };
    let started = RunningEmulator::start(settings, Arc::new(SystemClock));
    runtime.block_on(started).unwrap()
}

/// Makes an instance, an endpoint of each kind of secret's way in, and a route.
pub(crate) fn fill(session: &CommandSession, emulator: &RunningEmulator) {
    let made = session.said(&["instance", "create", "-n", "plant", "--tags", "site=north"]);
    assert!(made.contains("state          Succeeded\n"), "{made}");
    assert!(made.contains("tags           site=north\n"), "{made}");
    let topic = emulator.topic_endpoint("grid");
    let words = [
        "endpoint",
        "create",
        "event-grid",
        "--en",
        "grid-1",
        "--topic-endpoint",
        &topic,
    ];
    let command = session.command(&[&words[..], &["--key", "-"]].concat());
    let output = with_input(command, &format!("{}\n", emulator.topic_key1("grid")));
    let made = text(&output.stdout);
    assert!(made.contains("Succeeded"), "{made}{}", text(&output.stderr));
    // As the portal gives it out: without the hub.
    let string = emulator.event_hubs_connection_string("hub");
    let string = string.rsplit_once(";EntityPath=").unwrap().0.to_owned();
    let words = [
        "endpoint",
        "create",
        "event-hubs",
        "-n",
        "plant",
        "-g",
        "twinroute",
    ];
    let more = [
        "--en",
        "hub-1",
        "--eh",
        "hub",
        "--connection-string-env",
        "HUB_STRING",
    ];
    let mut command = session.command(&[&words[..], &more[..]].concat());
    let output = command.env("HUB_STRING", string).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let words = [
        "route",
        "create",
        "--rn",
        "hot",
        "--en",
        "grid-1",
        "--filter",
        "type = 't'",
    ];
    let made = session.said(&words);
    assert_eq!(
        made,
        "name      hot\nendpoint  grid-1\nfilter    type = 't'\n"
    );
    session.said(&["route", "create", "--rn", "all", "--en", "hub-1"]);
}
