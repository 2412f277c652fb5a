//! Where what a command prints cannot be written: its reader is gone, or the disk is full.

use crate::durable;
use crate::harness::{
    PATIENCE, TestDaemon, post_to, repository, scene as files, text, twinroute, write,
};
use crate::session::{CommandSession, bare, emulator, scene, with_input};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, pipe};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;
use tokio::runtime::Runtime;
use twinroute_emulator::PostAnswer;

const HUB: &str = "HostName=h.azure-devices.net;SharedAccessKeyName=o;SharedAccessKey=a2V5LWlvdA==";

/// What standard output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutputSink {
    /// A pipe whose reader is gone.
    Closed,
    /// A disk without room.
    Full,
}

impl OutputSink {
    fn open(self) -> Stdio {
        match self {
            Self::Closed => pipe().unwrap().1.into(),
            Self::Full => full().into(),
        }
    }

    fn check(self, words: &[&str], output: &Output) {
        let error = text(&output.stderr);
        let (code, last) = match self {
            Self::Closed => (141, None),
            Self::Full => (
                74,
                Some("twinroute: standard output: No space left on device (os error 28)"),
            ),
        };
        assert_eq!(
            output.status.code(),
            Some(code),
            "{self:?} {words:?}: {error}"
        );
        assert!(!error.contains("panicked"), "{self:?} {words:?}: {error}");
        // Warnings of the log may stand before it.
        let said = error
            .lines()
            .last()
            .filter(|line| !line.starts_with("warning: "));
        assert_eq!(said, last, "{self:?} {words:?}: {error}");
    }
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

/// The commands that there are, and those that ran.
struct CommandRuns {
    sink: OutputSink,
    known: BTreeSet<String>,
    ran: BTreeSet<String>,
}

impl CommandRuns {
    /// Runs one whose output goes nowhere; what it is asked stands in `input`.
    fn check(&mut self, mut command: Command, input: &str) {
        let words: Vec<String> = command
            .get_args()
            .map(|word| word.to_str().unwrap().to_owned())
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut stdin = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap();
        std::io::Seek::rewind(&mut stdin).unwrap();
        let output = command
            .stdin(stdin)
            .stdout(self.sink.open())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        self.sink.check(&words, &output);
        let names = (1..=words.len()).rev();
        let mut names = names.map(|count| words[..count].join(" "));
        let name = names.find(|name| self.known.contains(name));
        self.ran.insert(name.unwrap());
    }
}

/// All commands that have none below them, as their help names them.
fn commands() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut above = vec![String::new()];
    while let Some(name) = above.pop() {
        let words = name.split_whitespace();
        let output = bare(&words.collect::<Vec<_>>()).arg("--help").output();
        let help = text(&output.unwrap().stdout);
        let below: Vec<String> = help
            .lines()
            .skip_while(|line| *line != "Commands:")
            .skip(1)
            .take_while(|line| !line.is_empty())
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|word| *word != "help")
            .map(|word| format!("{name} {word}").trim().to_owned())
            .collect();
        if below.is_empty() {
            found.insert(name);
        } else {
            above.extend(below);
        }
    }
    found
}

/// Each of them, with an output that cannot be written.
fn every_command(sink: OutputSink) {
    let mut run = CommandRuns {
        sink,
        // They run, and have commands below them.
        known: commands()
            .into_iter()
            .chain(["emulator", "history", "replay"].map(str::to_owned))
            .collect(),
        ran: BTreeSet::new(),
    };
    let runtime = Runtime::new().unwrap();
    let emulator = emulator(&runtime);
    let folder = scene();
    let session = CommandSession::start(folder.path());
    resources(&mut run, &session, &emulator);
    running(&mut run, &session, &emulator);
    deletions(&mut run, &session);
    drop(session);
    store(&mut run, folder.path());
    journal(&mut run, &emulator);
    alone(&mut run);
    // It prints nothing but its log: see below.
    run.ran.insert("run".to_owned());
    let names = |all: &BTreeSet<String>| all.iter().cloned().collect::<Vec<_>>().join("\n");
    assert!(run.known.len() > 40, "{:?}", run.known);
    assert_eq!(
        names(&run.ran),
        names(&run.known),
        "every command needs a line in this file"
    );
}

/// Instances, endpoints, routes, connections and services.
fn resources(
    run: &mut CommandRuns,
    session: &CommandSession,
    emulator: &twinroute_emulator::RunningEmulator,
) {
    let key = emulator.topic_key1("grid");
    let topic = emulator.topic_endpoint("grid");
    let hub = emulator.event_hubs_connection_string("hub");
    let bus = "Endpoint=sb://127.0.0.1:9;SharedAccessKeyName=s;SharedAccessKey=c2VjcmV0;EntityPath=t;\
               UseDevelopmentEmulator=true";
    let mut check = |words: &[&str], input: &str| run.check(session.command(words), input);
    check(&["instance", "create", "-n", "plant"], "");
    check(&["instance", "create", "-n", "lab"], "");
    check(&["instance", "delete", "-n", "lab", "--yes"], "");
    check(&["instance", "list"], "");
    check(&["instance", "show"], "");
    check(&["instance", "update", "--tags", "a=b"], "");
    check(&["instance", "wait", "--created"], "");
    check(&["instance", "check-name", "-n", "other"], "");
    let grid = [
        "endpoint",
        "create",
        "event-grid",
        "--en",
        "grid-1",
        "--key",
        "-",
    ];
    check(&[&grid[..], &["--topic-endpoint", &topic]].concat(), &key);
    let hubs = ["endpoint", "create", "event-hubs", "--en", "hub-1"];
    check(&[&hubs[..], &["--connection-string", "-"]].concat(), &hub);
    let topics = [
        "endpoint",
        "create",
        "service-bus",
        "--en",
        "bus-1",
        "--no-wait",
    ];
    check(&[&topics[..], &["--connection-string", "-"]].concat(), bus);
    check(
        &[
            "endpoint",
            "update",
            "--en",
            "hub-1",
            "--secondary-connection-string",
            "-",
        ],
        &hub,
    );
    check(&["endpoint", "rotate-key", "--en", "hub-1", "--swap"], "");
    check(&["endpoint", "list"], "");
    check(&["endpoint", "show", "--en", "grid-1"], "");
    check(&["endpoint", "wait", "--en", "grid-1", "--created"], "");
    check(&["route", "create", "--rn", "all", "--en", "grid-1"], "");
    check(&["route", "list"], "");
    check(&["route", "show", "--rn", "all"], "");
    let event = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;
    check(&["route", "test", "-"], event);
    for step in ["create", "approve", "reject", "show", "list"] {
        let name: &[&str] = if step == "list" { &[] } else { &["--cn", "c1"] };
        check(&[&["private-endpoint", step], name].concat(), "");
    }
    check(&["private-endpoint", "delete", "--cn", "c1"], "");
    check(&["dps", "create", "-n", "dps1", "--hub", "-"], HUB);
    check(&["dps", "show"], "");
    check(&["dps", "list"], "");
    check(&["dps", "update", "--tags", "a=b"], "");
    check(&["dps", "keys"], "");
}

/// What a running router is asked.
fn running(
    run: &mut CommandRuns,
    session: &CommandSession,
    emulator: &twinroute_emulator::RunningEmulator,
) {
    let admin = &session.daemon.admin;
    let command = |words: &[&str]| {
        let mut command = bare(words);
        command.args(["--admin", admin]);
        command
    };
    emulator
        .faults()
        .posts("grid", PostAnswer::Status(400, None), 1);
    let answer = session.daemon.post(1);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let latest = Instant::now() + PATIENCE;
    while session.daemon.status()["instances"][0]["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .all(|endpoint| endpoint["dead_letters"]["local"] == 0)
    {
        assert!(Instant::now() < latest, "{:#}", session.daemon.status());
        std::thread::yield_now();
    }
    let mut check = |words: &[&str]| run.check(command(words), "");
    check(&["status"]);
    check(&["top"]);
    let done = std::sync::atomic::AtomicBool::new(false);
    let ingress = &session.daemon.ingress;
    std::thread::scope(|scope| {
        // An event has to pass for it to print.
        scope.spawn(|| {
            let mut id = 100;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                id += 1;
                post_to(ingress, id);
            }
        });
        check(&["tap", "-n", "1"]);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let mut send = bare(&["send", "-", "--to"]);
    send.arg(&session.daemon.ingress);
    let event = r#"{"specversion":"1.0","id":"s","source":"s","type":"t"}"#;
    run.check(send, event);
    let mut check = |words: &[&str]| run.check(command(words), "");
    check(&["ledger"]);
    check(&["cluster", "status"]);
    check(&["cluster", "members"]);
    check(&["cluster", "partitions"]);
    check(&["log-level"]);
    check(&["deadletter", "list"]);
    check(&["deadletter", "show", "grid-1", "1"]);
    check(&["deadletter", "export"]);
    check(&["deadletter", "replay", "--endpoint", "grid-1"]);
    check(&["replay", "list"]);
    check(&["endpoint", "pause", "grid-1"]);
    check(&["endpoint", "retry-now", "grid-1"]);
    check(&["endpoint", "resume", "grid-1"]);
    check(&["endpoint", "purge", "grid-1", "--dead-letters", "--yes"]);
    check(&["replay", "cancel", "1"]);
    let topic = emulator.topic_endpoint("grid");
    let at = topic.split("/topics/").next().unwrap();
    run.check(bare(&["emulator", "list", "--at", at]), "");
    run.check(bare(&["emulator", "read", "grid", "--at", at]), "");
}

fn deletions(run: &mut CommandRuns, session: &CommandSession) {
    let mut check = |words: &[&str]| run.check(session.command(words), "");
    check(&["route", "delete", "--rn", "all"]);
    check(&["endpoint", "delete", "--en", "grid-1", "--yes"]);
    check(&["dps", "delete", "--yes"]);
}

/// A store that nobody serves.
fn store(run: &mut CommandRuns, folder: &Path) {
    let config = folder.join("twinroute.toml");
    let config = config.to_str().unwrap();
    let export = bare(&["management", "export", "-c", config, "--with-secrets"]);
    let document = text(&with_input(export, "").stdout);
    let mut check = |words: &[&str], input: &str| run.check(bare(words), input);
    check(&["management", "export", "-c", config], "");
    check(&["management", "import", "-c", config, "-"], &document);
    check(&["management", "rotate-key", "-c", config], "");
    check(&["audit", "-c", config], "");
    check(&["audit", "-c", config, "--verify"], "");
}

/// A journal that nobody has open.
fn journal(run: &mut CommandRuns, emulator: &twinroute_emulator::RunningEmulator) {
    let folder = durable::scene(emulator);
    let daemon = TestDaemon::start(folder.path());
    assert!(daemon.post(1).starts_with("HTTP/1.1 202"));
    let table = folder.path().join("table");
    let table = table.to_str().unwrap();
    let admin = daemon.admin.as_str();
    run.check(bare(&["plan", table, "--admin", admin]), "");
    let replay = ["replay", "--from", "history", "--dry-run", "--admin", admin];
    run.check(bare(&replay), "");
    drop(daemon);
    let data = folder.path().join("data");
    let history = data.to_str().unwrap();
    run.check(bare(&["history", "--journal", history]), "");
    run.check(bare(&["history", "show", "1", "--journal", history]), "");
    run.check(bare(&["history", "explain", "1", "--journal", history]), "");
    for step in ["verify", "dump", "repair"] {
        run.check(bare(&["journal", step, data.to_str().unwrap()]), "");
    }
}

/// What needs nobody else.
fn alone(run: &mut CommandRuns) {
    let event = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;
    let mut check = |words: &[&str], input: &str| {
        let mut command = bare(words);
        command.current_dir(repository());
        run.check(command, input);
    };
    check(&["validate", "--config", "config/sidecar.toml"], "");
    check(&["explain", "--config", "config/sidecar.toml", "-"], event);
    check(&["config", "init", "sidecar"], "");
    check(&["config", "show", "--config", "config/sidecar.toml"], "");
    check(&["config", "schema"], "");
    check(&["graph", "--config", "config/sidecar.toml"], "");
    let cases = tempfile::tempdir().unwrap();
    let case = r#"[{"name":"a","event":EVENT,"routes":[]}]"#.replace("EVENT", event);
    fs::write(cases.path().join("a.json"), case).unwrap();
    let case = cases.path().join("a.json");
    let case = case.to_str().unwrap();
    check(&["test", "--config", "config/sidecar.toml", case], "");
    check(&["man"], "");
    check(&["demo", "--events", "3"], "");
    let ports = ["--amqp-port", "0", "--http-port", "0", "--blob-port", "0"];
    check(&[&["emulator"], &ports[..]].concat(), "");
    check(&["completions", "bash"], "");
}

#[test]
fn closed_pipe_ends_every_command_quietly() {
    every_command(OutputSink::Closed);
}

#[test]
fn full_disk_is_an_error_of_every_command() {
    every_command(OutputSink::Full);
}

#[test]
fn closed_pipe_and_full_disk_of_help_and_version() {
    for sink in [OutputSink::Closed, OutputSink::Full] {
        for words in [
            &["--help"][..],
            &["help"],
            &["--version"],
            &["status", "--help"],
            &["help", "endpoint", "create"],
        ] {
            let mut command = bare(words);
            let output = command.stdout(sink.open()).stderr(Stdio::piped()).output();
            sink.check(words, &output.unwrap());
        }
    }
}

#[test]
fn closed_standard_error_changes_no_exit_code() {
    let folder = files();
    write(folder.path(), "twinroute.toml", "[ingress]\nlissten = []\n");
    let config = folder.path().join("twinroute.toml");
    for sink in [OutputSink::Closed, OutputSink::Full] {
        for (words, code) in [
            (&["validate", "--config", config.to_str().unwrap()][..], 78),
            (&["run", "--config", config.to_str().unwrap()], 78),
            (&["status", "--admin", "127.0.0.1:9"], 1),
            (&["status", "--no-such-option"], 2),
        ] {
            let output = bare(words).stderr(sink.open()).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{sink:?} {words:?}");
        }
    }
}

#[test]
fn closed_log_pipe_leaves_the_daemon_at_work() {
    let folder = files();
    let mut child = twinroute()
        .args(["run", "--config"])
        .arg(folder.path().join("twinroute.toml"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut address = |part: &str| {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the log ended");
        }
        crate::harness::address(&line)
    };
    let ingress = address("accepts events");
    let admin = address("/status");
    drop(log);
    let (sender, lines) = std::sync::mpsc::channel();
    drop(sender);
    let mut daemon = TestDaemon {
        child,
        lines,
        seen: Vec::new(),
        ingress,
        admin,
    };
    // Each of these is logged.
    daemon.signal("-HUP");
    write(folder.path(), "table/routes/all.json", "{");
    let latest = Instant::now() + PATIENCE;
    while daemon.status()["table"]["errors"] == serde_json::json!([]) {
        assert!(Instant::now() < latest);
        std::thread::yield_now();
    }
    assert!(daemon.post(1).starts_with("HTTP/1.1 202"));
    daemon.signal("-TERM");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}

#[test]
fn full_disk_of_the_log_leaves_the_daemon_at_work() {
    let folder = files();
    fs::write(folder.path().join("twinroute.toml"), {
        let socket = folder.path().join("admin.sock");
        format!(
            "instance = 'demo'\ndefinitions = 'table'\nshutdown_grace = '0s'\n[ingress]\n\
             listen = ['127.0.0.1:0']\n[admin]\nlisten = ['unix:{}']\n",
            socket.display()
        )
    })
    .unwrap();
    let mut child = twinroute()
        .args(["run", "--config"])
        .arg(folder.path().join("twinroute.toml"))
        .stderr(full())
        .spawn()
        .unwrap();
    let socket = format!("unix:{}", folder.path().join("admin.sock").display());
    let latest = Instant::now() + PATIENCE;
    while !bare(&["status", "--admin", &socket])
        .output()
        .unwrap()
        .status
        .success()
    {
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < latest);
    }
    let pid = child.id().to_string();
    let stopped = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(stopped.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
