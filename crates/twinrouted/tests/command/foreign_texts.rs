//! Texts of peers, producers and files on the terminal and in the log: nothing of them moves a cursor, forges a line or
//! turns the direction of another text.

use crate::harness::{PATIENCE, TestDaemon, exchange, scene, text, twinroute, with_config, write};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::time::Instant;

/// What hides or turns; as JSON writes it, for what may hold no control characters.
const MARKS: &str = "\u{2028}\u{2029}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}";

/// What forges lines, moves cursors and sets titles, as JSON writes it.
const CONTROLS: &str = r"\r\nERROR forged\u001b[2J\u001b]0;title\u0007\u009b31m\u0085\u007f\u0008";

/// No line has anything of it. Ends of lines are the command's own.
fn check(name: &str, output: &[u8]) -> String {
    let printed = String::from_utf8(output.to_vec()).unwrap();
    let raw = |character: char| {
        let marks = MARKS.contains(character);
        marks || (character.is_control() && !matches!(character, '\n' | '\t'))
    };
    assert!(!printed.contains(raw), "{name}: {printed:?}");
    let forged = printed
        .lines()
        .find(|line| line.starts_with("ERROR forged"));
    assert_eq!(forged, None, "{name}: {printed:?}");
    printed
}

fn checked(name: &str, output: &Output) -> String {
    check(name, &output.stderr);
    check(name, &output.stdout)
}

/// An Event Grid topic that refuses every request, with such a text.
fn topic() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Errors mean that the test is over.
            drop(stream.and_then(refuse));
        }
    });
    address
}

fn refuse(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    let mut piece = [0; 4_096];
    while !request.ends_with(b"]") {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&piece[..read]),
        }
    }
    let body =
        format!(r#"{{"error":{{"code":"Bad{MARKS}","message":"no {CONTROLS}{MARKS} end"}}}}"#);
    let head = format!("HTTP/1.1 400 Bad\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// An event whose data is an attack, as is whatever else of it may be one.
fn event() -> String {
    format!(
        r#"{{"specversion":"1.0","id":"id{MARKS}","source":"s","type":"t{MARKS}","subject":"sub{MARKS}","data":{{"a":"{CONTROLS}{MARKS}"}}}}"#
    )
}

fn post(daemon: &TestDaemon) {
    let event = event();
    let request = format!(
        "POST /events HTTP/1.1\r\nhost: t\r\ncontent-type: application/cloudevents+json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{event}",
        event.len()
    );
    let answer = exchange(&daemon.ingress, &request);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

fn wait_for_dead_letter(daemon: &TestDaemon) {
    let begun = Instant::now();
    while daemon.status()["instances"][0]["endpoints"][0]["dead_letters"]["local"] != 1 {
        assert!(begun.elapsed() < PATIENCE, "{:#}", daemon.status());
        std::thread::yield_now();
    }
}

fn ask(daemon: &TestDaemon, arguments: &[&str]) -> Output {
    let admin = ["--admin", &daemon.admin];
    twinroute().args(arguments).args(admin).output().unwrap()
}

#[test]
fn peer_texts_of_a_topic_and_a_producer_reach_no_terminal_as_they_are() {
    for format in ["json", "pretty"] {
        let folder = scene();
        let file = "twinroute.toml";
        let config = std::fs::read_to_string(folder.path().join(file)).unwrap();
        let config = config.replace("'json'", &format!("'{format}'\nfilter = 'trace'"));
        write(folder.path(), file, &config);
        let endpoint = format!(
            r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":"a2V5","TopicEndpoint":"http://{}/api/events"}}}}"#,
            topic()
        );
        write(folder.path(), "table/endpoints/grid-1.json", &endpoint);
        let daemon = TestDaemon::start(folder.path());
        post(&daemon);
        wait_for_dead_letter(&daemon);
        let list = text(&ask(&daemon, &["deadletter", "list", "--json"]).stdout);
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let sequence = list["dead_letters"][0]["sequence"].to_string();
        for arguments in [
            &["status"][..],
            &["status", "--json"],
            &["ledger"],
            &["ledger", "--json"],
            &["deadletter", "list"],
            &["deadletter", "list", "--json"],
            &["deadletter", "show", "grid-1", &sequence],
            &["deadletter", "show", "grid-1", &sequence, "--json"],
            &["replay", "list"],
            &["endpoint", "pause", "none\u{1b}[2J\u{202e}"],
        ] {
            let output = ask(&daemon, arguments);
            let view = checked(&arguments.join(" "), &output);
            if arguments.contains(&"--json") {
                let _: serde_json::Value = serde_json::from_str(&view).unwrap();
            }
        }
        // Into a pipe data goes byte for byte.
        let exported = ask(&daemon, &["deadletter", "export"]);
        let exported = text(&exported.stdout);
        assert!(exported.contains(&event()), "{exported}");
        daemon.signal("-TERM");
        let mut log = daemon.seen.join("\n");
        while let Ok(line) = daemon.lines.recv_timeout(PATIENCE) {
            log = format!("{log}\n{line}");
        }
        check(&format!("log, {format}"), log.as_bytes());
        assert!(log.contains("400"), "{log}");
    }
}

#[test]
fn peer_texts_in_files_reach_no_terminal_as_they_are() {
    let folder = scene();
    let filter = format!(r#"{{"endpointName":"grid-1","filter":"type = 'a{CONTROLS}{MARKS}'"}}"#);
    write(folder.path(), "table/routes/all.json", &filter);
    checked("validate", &with_config("validate", folder.path()));
    write(folder.path(), "event.json", &event());
    for more in [&[][..], &["--json"]] {
        let output = explain(folder.path(), more);
        let printed = checked("explain", &output);
        assert!(
            printed.contains("all"),
            "{printed} {}",
            text(&output.stderr)
        );
    }
    for filter in [
        format!("$body.a = '{CONTROLS}{MARKS}'"),
        format!("nonsense {CONTROLS}{MARKS}"),
        format!("type = '{MARKS}"),
    ] {
        let route = format!(r#"{{"endpointName":"grid-1","filter":"{filter}"}}"#);
        write(folder.path(), "table/routes/all.json", &route);
        checked("validate", &with_config("validate", folder.path()));
        checked("explain", &explain(folder.path(), &[]));
    }
    for (file, body) in [
        ("table/routes/bad\u{1b}[2J\u{202e}.json", "{}".to_owned()),
        (
            "table/routes/all.json",
            format!("{{\"a\":\"{CONTROLS}{MARKS}\""),
        ),
        (
            "table/endpoints/grid-1.json",
            format!(r#"{{"properties":{{"endpointType":"x{CONTROLS}{MARKS}"}}}}"#),
        ),
        ("twinroute.toml", format!("instance = '{MARKS}'\nx = 1\n")),
    ] {
        write(folder.path(), file, &body);
        checked("validate", &with_config("validate", folder.path()));
    }
}

fn explain(folder: &Path, more: &[&str]) -> Output {
    let mut command = twinroute();
    command.arg("explain").arg("--config");
    command.arg(folder.join("twinroute.toml"));
    command.arg(folder.join("event.json"));
    command.args(more).output().unwrap()
}
