//! The audit log of a running twinroute: what is recorded of changes and of who may not make them, and what is
//! left of it after a kill.

use crate::harness::{TestDaemon, address, exchange, scene, text, twinroute, write};
use std::fs;
use std::io::Write as _;
use std::path::Path;

const GRID: &str = "c2VjcmV0LW9mLWdyaWQ=";
const PLANT: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/\
                     Microsoft.DigitalTwins/digitalTwinsInstances/plant";

fn guarded() -> tempfile::TempDir {
    let folder = scene();
    write(
        folder.path(),
        "twinroute.toml",
        "instance = 'plant'\nshutdown_grace = '0s'\n[table]\nsource = 'store'\n\
         [ingress]\nlisten = ['127.0.0.1:0']\n\
         [admin]\nlisten = ['127.0.0.1:0']\n\
         [management]\nlisten = ['127.0.0.1:0']\n[management.access]\n\
         tokens = [{ name = 'looks', role = 'read', token = 'looks-0123456789abcdef' },\n\
                   { name = 'steers', role = 'write', token = 'steers-0123456789abcdef' }]\n\
         [log]\nformat = 'json'\n",
    );
    folder
}

/// Where the management API answers.
fn management(daemon: &TestDaemon) -> String {
    let mut seen = daemon.seen.iter();
    let line = seen.find(|line| line.contains("answers as the management API"));
    address(line.unwrap())
}

/// Sends a request with a token; gives the status.
fn send(api: &str, method: &str, path: &str, token: &str, body: &str) -> u16 {
    let request = format!(
        "{method} {path}?api-version=2023-01-31 HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/json\r\nauthorization: Bearer {token}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(api, &request);
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn audit(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = twinroute()
        .args(["audit", "--config"])
        .arg(folder.join("twinroute.toml"))
        .args(arguments)
        .output()
        .unwrap();
    (
        output.status.code(),
        text(&output.stdout) + &text(&output.stderr),
    )
}

/// What follows the time in each row.
fn rows(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let (code, said) = audit(folder, arguments);
    assert_eq!(code, Some(0), "{said}");
    let rows = said.lines().skip(2);
    // A time whose milliseconds end in zeros is shorter, and padded.
    rows.map(|row| row.split_once("Z ").unwrap().1.trim_start().to_owned())
        .collect()
}

#[test]
fn changes_and_attempts_are_recorded_and_outlive_a_kill() {
    let folder = guarded();
    let mut daemon = TestDaemon::start(folder.path());
    let api = management(&daemon);
    let (looks, steers) = ("looks-0123456789abcdef", "steers-0123456789abcdef");
    let here = r#"{"location":"westus2"}"#;
    assert_eq!(send(&api, "PUT", PLANT, steers, here), 201);
    assert_eq!(send(&api, "GET", PLANT, looks, ""), 200);
    assert_eq!(send(&api, "DELETE", PLANT, looks, ""), 403);
    assert_eq!(
        send(&api, "DELETE", PLANT, "nobody-0123456789abcdef", ""),
        401
    );
    let endpoint = format!("{PLANT}/endpoints/grid-1");
    let body = format!(
        r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":"{GRID}","accessKey2":"{GRID}",
            "TopicEndpoint":"http://127.0.0.1:9/api/events"}}}}"#
    );
    while send(&api, "PUT", &endpoint, steers, &body) == 409 {}
    let pause = "POST /endpoints/plant/grid-1/pause HTTP/1.1\r\nhost: 127.0.0.1\r\n\
                 content-type: application/json\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    // The lane is there once the table is.
    while !exchange(&daemon.admin, pause).starts_with("HTTP/1.1 200") {}
    daemon.signal("-KILL");
    daemon.child.wait().unwrap();

    let accepted = rows(folder.path(), &["--who", "steers"]);
    assert_eq!(accepted.len(), 3, "{accepted:#?}");
    assert!(
        accepted[0].starts_with("accepted  steers (token)        127.0.0.1:"),
        "{accepted:#?}"
    );
    assert!(
        accepted[2].ends_with("digitalTwinsInstances/plant/endpoints/grid-1"),
        "{accepted:#?}"
    );
    let refused = rows(folder.path(), &["--who", "looks"]);
    assert!(
        refused[0].contains("digitalTwinsInstances/delete"),
        "{refused:#?}"
    );
    assert!(
        refused[0].ends_with("403 AuthorizationFailed"),
        "{refused:#?}"
    );
    let unknown = rows(folder.path(), &["--who", "unknown"]);
    assert!(
        unknown[0].ends_with("401 InvalidAuthenticationToken"),
        "{unknown:#?}"
    );
    let paused = rows(folder.path(), &["--resource", "plant/grid-1"]);
    let last = paused.last().unwrap();
    assert!(
        last.contains("local (anonymous)") && last.contains("endpoint/pause"),
        "{paused:#?}"
    );
    let (_, json) = audit(folder.path(), &["--json"]);
    assert!(
        json.contains(r#""after":{"id""#) && !json.contains(GRID),
        "{json}"
    );
    assert_eq!(audit(folder.path(), &["--verify"]).0, Some(0));
    goes_on(folder.path());
}

/// What a kill tore is cut off at the next start, and named; what is changed later is seen.
fn goes_on(folder: &Path) {
    let file = folder.join("management/audit/audit-00000001.jsonl");
    let mut torn = fs::OpenOptions::new().append(true).open(&file).unwrap();
    torn.write_all(br#"{"n":99,"at":"20"#).unwrap();
    let mut daemon = TestDaemon::start(folder);
    daemon
        .seen
        .iter()
        .find(|line| line.contains("ended within a line"))
        .unwrap();
    let opened = rows(folder, &["--resource", "management/audit"]);
    assert!(opened[0].contains("audit/opened"), "{opened:#?}");
    assert_eq!(audit(folder, &["--verify"]).0, Some(0));
    daemon.signal("-HUP");
    daemon.line("SIGHUP");
    while rows(folder, &["--who", "unknown"]).len() < 2 {}
    drop(daemon);

    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.replacen("steers", "looks!", 1)).unwrap();
    let (code, said) = audit(folder, &["--verify"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("IT WAS CHANGED\n  audit-00000001.jsonl line 1: was changed"),
        "{said}"
    );
}
