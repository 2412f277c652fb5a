//! Sessions with the commands for people, against a running twinroute and its store.

use crate::harness::{PATIENCE, text};
use crate::session::{
    CommandSession, EmulatedSession, bare, emulator, failed, fill, scene, with_input,
};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;

#[test]
fn from_an_instance_to_a_delivered_event_and_back() {
    let started = EmulatedSession::start();
    let (session, emulator, runtime) = (&started.session, &started.emulator, &started.runtime);
    let error = session.refused(&["route", "list"]);
    let expect =
        "twinroute: there is no instance yet; make one: twinroute instance create --dt-name NAME\n";
    assert_eq!(error, expect);
    fill(session, emulator);

    let names = session.said(&["instance", "list"]);
    assert!(
        names.starts_with("name   group      location  state "),
        "{names}"
    );
    let endpoints = session.said(&["endpoint", "list"]);
    let rows: Vec<Vec<&str>> = endpoints
        .lines()
        .map(|row| row.split("  ").collect())
        .collect();
    assert_eq!(rows.len(), 3, "{endpoints}");
    assert!(
        endpoints.contains("in its connection string"),
        "{endpoints}"
    );
    let routes = session.json(&["route", "list"]);
    assert_eq!(
        routes,
        json!([
            { "id": "all", "endpointName": "hub-1", "filter": "true" },
            { "id": "hot", "endpointName": "grid-1", "filter": "type = 't'" },
        ])
    );

    let event = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;
    let output = with_input(session.command(&["route", "test", "-"]), event);
    let judged = text(&output.stdout);
    assert!(judged.contains("route hot -> grid-1: matches"), "{judged}");
    assert!(
        judged.ends_with("\nit goes to: hub-1, grid-1\n"),
        "{judged}"
    );
    let answer = session.daemon.post(1);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let event_grid = Arc::clone(emulator.event_grid());
    let arrived = runtime.block_on(event_grid.wait_for("grid", 1, PATIENCE));
    arrived.unwrap();

    let printed = session.said(&["endpoint", "show", "--en", "hub-1"]);
    let json = session
        .json(&["endpoint", "show", "--en", "hub-1"])
        .to_string();
    for secret in [emulator.topic_key1("grid"), "c2hhcmVk".to_owned()] {
        assert!(
            !printed.contains(&secret) && !json.contains(&secret),
            "{json}"
        );
    }
}

#[test]
fn what_is_in_use_is_deleted_only_after_what_uses_it() {
    let started = EmulatedSession::filled();
    let session = &started.session;
    let error = session.refused(&["endpoint", "delete", "--en", "hub-1", "--yes"]);
    let expect =
        "twinroute: endpoint plant/hub-1 is in use, or its name is taken\n  Conflict (409): ";
    assert!(
        error.starts_with(expect) && error.contains("all"),
        "{error}"
    );
    let error = session.refused(&["endpoint", "delete", "--en", "hub-1"]);
    assert!(
        error.contains("say --yes if you mean to delete it"),
        "{error}"
    );
    assert_eq!(
        session.said(&["route", "delete", "--rn", "all"]),
        "route plant/all: deleted\n"
    );
    let said = session.said(&["endpoint", "delete", "--en", "hub-1", "--yes", "--no-wait"]);
    assert_eq!(said, "endpoint plant/hub-1: being deleted\n");
    session.said(&[
        "endpoint",
        "wait",
        "--en",
        "hub-1",
        "--deleted",
        "--timeout",
        "60",
    ]);
    session.said(&["instance", "delete", "--yes"]);
    assert_eq!(session.json(&["instance", "list"]), json!([]));
}

#[test]
fn errors_say_first_what_to_do() {
    let folder = scene();
    let session = CommandSession::start(folder.path());
    session.said(&[
        "instance",
        "create",
        "-n",
        "plant",
        "-l",
        "eastus",
        "--assign-identity",
    ]);
    let error = session.refused(&["endpoint", "show", "--en", "nothing"]);
    let expect = "twinroute: there is no endpoint plant/nothing; `list` shows which there are\n  \
                  ResourceNotFound (404): ";
    assert!(error.starts_with(expect), "{error}");
    let error = session.refused(&["route", "create", "--rn", "r", "--en", "nothing"]);
    let expect = "twinroute: route plant/r: its endpoint must be there and work: ";
    assert!(error.starts_with(expect), "{error}");
    assert!(
        error.contains("\n  EventRouteEndpointInvalid (400): "),
        "{error}"
    );
    let error = session.refused(&["instance", "show", "-n", "lab"]);
    assert_eq!(
        error,
        "twinroute: there is no instance lab; there are: plant\n"
    );
    let error = session.refused(&["instance", "create", "-n", "a_b"]);
    assert!(
        error.contains("was rejected: correct what is listed below\n  InvalidResourceName"),
        "{error}"
    );
}

#[test]
fn an_endpoint_that_does_not_work_is_reported_with_its_reason() {
    let started = EmulatedSession::start();
    let (session, emulator) = (&started.session, &started.emulator);
    session.said(&["instance", "create", "-n", "plant"]);
    // Provisioning asks the destination: this key is refused there.
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
    let error = session.refused(&[&words[..], &["--key", "d3Jvbmc="]].concat());
    let expect = "twinroute: endpoint plant/grid-1 does not work: correct it and create it again\n  \
                  DestinationUnauthorized: ";
    assert!(
        error.starts_with(expect) && !error.contains("d3Jvbmc="),
        "{error}"
    );
    let error = session.refused(&["endpoint", "wait", "--en", "grid-1", "--created"]);
    let expect = "twinroute: endpoint plant/grid-1 is Failed: correct it and create it again\n  \
                  DestinationUnauthorized: ";
    assert!(error.starts_with(expect), "{error}");
    let said = session.said(&[
        "endpoint",
        "wait",
        "--en",
        "grid-1",
        "--custom-state",
        "failed",
    ]);
    assert!(
        said.contains("reason          DestinationUnauthorized: "),
        "{said}"
    );
}

#[test]
fn names_are_checked_and_who_is_not_there_is_named() {
    let folder = scene();
    let session = CommandSession::start(folder.path());
    session.said(&["instance", "create", "-n", "plant"]);
    let taken = session
        .command(&["instance", "check-name", "-n", "plant"])
        .output()
        .unwrap();
    assert_eq!(taken.status.code(), Some(1));
    assert!(text(&taken.stdout).contains("already exists"));
    assert_eq!(
        session.said(&["instance", "check-name", "-n", "lab"]),
        "'lab' is available.\n"
    );
    let changed = session.json(&["instance", "update", "--tags", "--pna", "disabled"]);
    assert_eq!(changed["properties"]["publicNetworkAccess"], "Disabled");

    let gone = "http://127.0.0.1:9";
    let output = bare(&["instance", "list", "--management-url", gone])
        .output()
        .unwrap();
    let error = failed(&output);
    let expect = "twinroute: nothing answers at http://127.0.0.1:9: start a server there, or";
    assert!(
        error.starts_with(expect) && error.contains("twinroute run --config FILE"),
        "{error}"
    );
    let mut command = session.command(&["instance", "list", "--token-env", "TWINROUTE_NO_TOKEN"]);
    let error = failed(&command.output().unwrap());
    assert!(
        error.contains("set the environment variable TWINROUTE_NO_TOKEN"),
        "{error}"
    );
}

#[test]
fn private_endpoints_are_asked_for_approved_and_rejected() {
    let folder = scene();
    let session = CommandSession::start(folder.path());
    session.said(&["instance", "create", "-n", "plant"]);
    let error = session.refused(&["private-endpoint", "approve", "--cn", "c1"]);
    assert!(
        error.starts_with("twinroute: there is no connection plant/c1;"),
        "{error}"
    );
    let made = session.said(&["private-endpoint", "create", "--cn", "c1"]);
    assert!(made.contains("status            Pending\n"), "{made}");
    let error = session.refused(&["private-endpoint", "create", "--cn", "c1"]);
    assert!(
        error.contains("is there already; approve it, reject it or delete it"),
        "{error}"
    );
    let words = [
        "private-endpoint",
        "approve",
        "--cn",
        "c1",
        "--desc",
        "for the lab",
    ];
    let state = session.json(&words)["properties"]["privateLinkServiceConnectionState"].clone();
    assert_eq!(
        (&state["status"], &state["description"]),
        (&json!("Approved"), &json!("for the lab"))
    );
    session.said(&["private-endpoint", "reject", "--cn", "c1"]);
    let list = session.said(&["private-endpoint", "list"]);
    assert_eq!(
        list,
        "name  status    description\nc1    Rejected  rejected\n"
    );
    session.said(&["private-endpoint", "delete", "--cn", "c1"]);
    assert_eq!(session.json(&["private-endpoint", "list"]), json!([]));
}

#[test]
fn provisioning_services_are_made_changed_and_deleted() {
    const HUB: &str =
        "HostName=h.azure-devices.net;SharedAccessKeyName=o;SharedAccessKey=a2V5LWlvdA==";
    let folder = scene();
    let session = CommandSession::start(folder.path());
    let words = ["dps", "create", "-n", "dps1", "-l", "eastus", "--hub", "-"];
    let hub = format!("{HUB};AllocationWeight=3");
    let output = with_input(session.command(&words), &hub);
    let made = text(&output.stdout);
    assert!(
        made.contains("hubs          h.azure-devices.net\n"),
        "{made}{}",
        text(&output.stderr)
    );
    let changed = session.json(&["dps", "update", "--tags", "a=b"]);
    assert_eq!(changed["tags"], json!({ "a": "b" }));
    let mut command =
        session.command(&["dps", "update", "--unit", "2", "--hub-env", "HUB", "--json"]);
    let output = command.env("HUB", HUB).output().unwrap();
    let changed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(changed["sku"]["capacity"], 2, "{}", text(&output.stderr));
    assert!(!changed.to_string().contains("a2V5LWlvdA"), "{changed}");
    let keys = session.json(&["dps", "keys"]);
    assert_eq!(keys[0]["primaryKey"], "***");
    let name = keys[0]["keyName"].as_str().unwrap();
    let revealed = session.json(&["dps", "keys", "--kn", name, "--reveal"]);
    assert!(
        revealed[0]["primaryKey"].as_str().unwrap().len() > 20,
        "{revealed}"
    );
    assert!(session.said(&["dps", "list"]).contains("Active"));
    assert_eq!(
        session.said(&["dps", "delete", "--yes"]),
        "provisioning service dps1: deleted\n"
    );
}

#[test]
fn a_store_is_exported_and_imported_while_nobody_serves_it() {
    let runtime = Runtime::new().unwrap();
    let emulator = emulator(&runtime);
    let folder = scene();
    let config = folder.path().join("twinroute.toml");
    let config = config.to_str().unwrap();
    let error = failed(
        &bare(&["management", "export", "-c", config])
            .output()
            .unwrap(),
    );
    assert!(error.contains("nothing has been put yet"), "{error}");
    let session = CommandSession::start(folder.path());
    fill(&session, &emulator);
    let error = failed(
        &bare(&["management", "export", "-c", config])
            .output()
            .unwrap(),
    );
    assert!(
        error.starts_with("twinroute: stop the twinroute that has the store open: "),
        "{error}"
    );
    drop(session);

    let masked = bare(&["management", "export", "-c", config])
        .output()
        .unwrap();
    let revealed = bare(&["management", "export", "-c", config, "--with-secrets"])
        .output()
        .unwrap();
    assert!(text(&revealed.stderr).contains("warning: this holds secrets in the clear"));
    let key = emulator.topic_key1("grid");
    assert!(!text(&masked.stdout).contains(&key) && text(&revealed.stdout).contains(&key));

    let other = scene();
    let config = other.path().join("twinroute.toml");
    let config = config.to_str().unwrap();
    let import = ["management", "import", "-c", config, "-"];
    let error = failed(&with_input(bare(&import), &text(&masked.stdout)));
    assert!(
        error.contains("holds masks for secrets: properties.accessKey1"),
        "{error}"
    );
    assert!(
        error.ends_with("twinroute: nothing was imported: correct 2 resources\n"),
        "{error}"
    );
    let output = with_input(bare(&import), &text(&revealed.stdout));
    assert_eq!(
        text(&output.stdout),
        "imported: 6 new, 0 replaced, 0 kept as they were\n"
    );
    let output = with_input(bare(&import), &text(&revealed.stdout));
    assert!(
        text(&output.stdout).starts_with("imported: 0 new, 0 replaced, 6 kept"),
        "{}",
        text(&output.stderr)
    );
    serves_what_was_imported(other.path());
}

fn serves_what_was_imported(folder: &Path) {
    let session = CommandSession::start(folder);
    for endpoint in ["grid-1", "hub-1"] {
        session.said(&[
            "endpoint",
            "wait",
            "--en",
            endpoint,
            "--created",
            "--timeout",
            "60",
        ]);
    }
    assert_eq!(
        session.json(&["route", "list"]).as_array().unwrap().len(),
        2
    );
    let answer = session.daemon.post(1);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

#[test]
fn shells_complete_the_commands() {
    for (shell, expect) in [
        ("bash", "_twinroute()"),
        ("zsh", "#compdef twinroute"),
        ("fish", "complete -c twinroute"),
    ] {
        let output = bare(&["completions", shell]).output().unwrap();
        let script = text(&output.stdout);
        assert!(
            script.contains(expect) && script.contains("private-endpoint"),
            "{shell}"
        );
    }
}
