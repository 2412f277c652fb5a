//! Configurations: made, shown, checked.

use crate::harness::{scene, text, write};
use crate::session::{bare, with_input};
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn with_file(words: &[&str], folder: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = bare(words);
    command.envs(variables.iter().copied());
    command.arg("--config").arg(folder.join("twinroute.toml"));
    command.output().unwrap()
}

#[test]
fn config_init_makes_what_validates() {
    for (kind, expect) in [
        ("sidecar", "valid: 1 instance, 0 endpoints, 0 routes"),
        ("daemon", "valid: 1 instance, 0 endpoints, 0 routes"),
        ("azure", "valid; definitions are not in files"),
        ("cluster", "valid: 1 instance, 0 endpoints, 0 routes"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("twinroute.toml");
        let init = |folder: &Path| {
            let mut command = bare(&["config", "init", kind]);
            command.arg(folder.join("twinroute.toml")).output().unwrap()
        };
        let made = init(folder.path());
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
        let printed = bare(&["config", "init", kind]).output().unwrap().stdout;
        assert_eq!(std::fs::read(&file).unwrap(), printed);
        let key = [("TWINROUTE_ACCESS_KEY", "a-key-for-the-test")];
        let output = with_file(&["validate"], folder.path(), &key);
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(said.contains(expect), "{kind}: {said}{errors}");
        // What is there is not written over.
        assert_eq!(init(folder.path()).status.code(), Some(1));
    }
}

#[test]
fn validate_names_all_mistakes_of_the_configuration_with_their_places() {
    let folder = scene();
    let config = "[ingress]\nlissten = []\n[journal]\nseal = 'x'\n";
    write(folder.path(), "twinroute.toml", config);
    let output = with_file(&["validate"], folder.path(), &[]);
    assert_eq!(output.status.code(), Some(78));
    let errors = text(&output.stderr).replace(&folder.path().display().to_string(), "");
    let lines: Vec<_> = errors.lines().collect();
    assert_eq!(lines.len(), 3, "{errors}");
    assert!(
        lines[0].starts_with("error: /twinroute.toml:2:1: ingress.lissten: "),
        "{errors}"
    );
    assert!(
        lines[1].starts_with("error: /twinroute.toml:4:8: journal.seal: "),
        "{errors}"
    );
    assert_eq!(lines[2], "twinroute: /twinroute.toml: 2 errors in all");
}

#[test]
fn validate_as_json_and_with_warnings_denied() {
    let folder = scene();
    let output = with_file(&["validate", "--json"], folder.path(), &[]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        (&said["valid"], &said["endpoints"]),
        (&true.into(), &1.into()),
        "{said}"
    );
    assert_ne!(said["warnings"], serde_json::json!([]));
    let output = with_file(&["validate", "--deny-warnings"], folder.path(), &[]);
    assert_eq!(output.status.code(), Some(78));
    let errors = text(&output.stderr);
    assert!(
        errors.trim_end().ends_with(", which are denied"),
        "{errors}"
    );
}

#[test]
fn validate_finds_ports_that_are_taken_twice_and_folders_that_cannot_be() {
    let folder = scene();
    write(folder.path(), "file", "");
    let config = "definitions = 'table'\n[ingress]\nlisten = ['127.0.0.1:8080', 'unix:/run/a.sock']\n\
                  [admin]\nlisten = ['0.0.0.0:8080', 'unix:/run/a.sock', '127.0.0.1:0', '127.0.0.1:0']\n\
                  [journal]\npath = 'file/below'\n";
    write(folder.path(), "twinroute.toml", config);
    let output = with_file(&["validate"], folder.path(), &[]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{errors}");
    assert_eq!(
        errors.matches("is taken by [ingress] listen").count(),
        2,
        "{errors}"
    );
    assert!(
        errors.contains("warning: [journal] path: the folder "),
        "{errors}"
    );
}

#[test]
fn config_show_and_run_know_variables() {
    let folder = scene();
    let variables = [("TWINROUTE_INGRESS__BATCH_EVENTS_MAX", "7")];
    let printed = with_file(&["config", "show", "--set"], folder.path(), &variables);
    let printed = text(&printed.stdout);
    let line = printed
        .lines()
        .find(|line| line.contains("batch_events_max"))
        .unwrap();
    assert!(
        line.starts_with("ingress.batch_events_max = 7 "),
        "{printed}"
    );
    assert!(
        line.ends_with("# TWINROUTE_INGRESS__BATCH_EVENTS_MAX"),
        "{printed}"
    );
    assert!(printed.contains("twinroute.toml:1"), "{printed}");
    let wrong = [("TWINROUTE_INGRESS__BATCH_EVENTS_MAX", "many")];
    let refused = with_file(&["validate"], folder.path(), &wrong);
    assert_eq!(refused.status.code(), Some(78));
    let error = text(&refused.stderr);
    assert!(
        error.starts_with("error: TWINROUTE_INGRESS__BATCH_EVENTS_MAX: "),
        "{error}"
    );
}

#[test]
fn test_cases_pass_or_show_what_differs() {
    let folder = scene();
    let event = r#"{"specversion":"1.0","id":"e-1","source":"s","type":"t"}"#;
    let json =
        format!(r#"[{{"name":"all","event":[{event}],"routes":["all"],"endpoints":["grid-1"]}}]"#);
    write(folder.path(), "good.json", &json);
    let toml = "[[cases]]\nname = 'none'\nroutes = []\nendpoints = ['grid-1', 'hub-1']\n\
                [cases.event]\nspecversion = '1.0'\nid = 'e-2'\nsource = 's'\ntype = 't'\n";
    write(folder.path(), "bad.toml", toml);
    let cases = |files: &[&str]| {
        let mut command = bare(&["test", "--config", "twinroute.toml"]);
        command
            .args(files)
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let good = cases(&["good.json"]);
    assert_eq!(
        text(&good.stdout),
        "ok    good.json: all\n1 passed, 0 failed\n"
    );
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    let both = cases(&["good.json", "bad.toml"]);
    assert_eq!(both.status.code(), Some(1));
    assert_eq!(
        text(&both.stdout),
        "ok    good.json: all\nFAIL  bad.toml: none\n        \
         + route all: event e-2 reaches it and must not\n        \
         - endpoint hub-1: event e-2 must reach it and does not\n1 passed, 1 failed\n"
    );
}

#[test]
fn explain_of_a_filter_alone_says_so_by_its_exit_code() {
    let event = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;
    for (filter, code, expect) in [
        ("type = 't'", 0, "event 1 of twin s/s: matches"),
        ("type = 'u'", 1, "event 1 of twin s/s: does not match"),
    ] {
        let output = with_input(bare(&["explain", "--filter", filter, "-"]), event);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        assert!(said.starts_with(expect), "{said}");
    }
}

#[test]
fn help_is_short_or_long_and_manual_pages_are_written() {
    let said = |words: &[&str]| text(&bare(words).output().unwrap().stdout);
    assert!(!said(&["status", "-h"]).contains("Examples:"));
    assert!(said(&["status", "--help"]).contains("Examples:\n  twinroute status --problems"));
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().to_str().unwrap();
    assert!(said(&["man", pages]).contains("written"));
    for page in [
        "twinroute.1",
        "twinroute-status.1",
        "twinroute-endpoint-pause.1",
    ] {
        assert!(folder.path().join(page).exists(), "{page}");
    }
    assert!(said(&["man"]).contains(".TH twinroute 1"));
}
