//! `create-drops`: endpoints are updated and their keys rotated without dropping anything.

use crate::session::EmulatedSession;
use serde_json::json;

const SAS: &str =
    "https://acct.blob.core.windows.net/dead?sv=2024-11-04&sr=c&sp=w&se=2099-01-01&sig=c2ln";

#[test]
fn create_drops_nothing_without_a_word_and_update_nothing_at_all() {
    let started = EmulatedSession::filled();
    let (session, emulator) = (&started.session, &started.emulator);
    let letters = [
        "endpoint",
        "update",
        "--en",
        "grid-1",
        "--deadletter-sas-uri",
        SAS,
    ];
    let said = session.said(&letters);
    assert!(
        said.contains("dead letters    container, by SAS\n"),
        "{said}"
    );

    let (first, second) = (emulator.topic_key1("grid"), emulator.topic_key2("grid"));
    let topic = emulator.topic_endpoint("grid");
    let create = [
        "endpoint",
        "create",
        "event-grid",
        "--en",
        "grid-1",
        "--topic-endpoint",
        &topic,
        "--key",
        &second,
    ];
    let error = session.refused(&create);
    let expect = "twinroute: endpoint plant/grid-1 is there already: say --yes if you mean to replace it, or \
                  change it with `update`; this would:\n  set properties.accessKey1\n  \
                  remove properties.deadLetterSecret\n";
    assert_eq!(error, expect);

    let rotate = |words: &[&str]| {
        let words = [&["endpoint", "rotate-key", "--en", "grid-1"], words].concat();
        session.said(&words)
    };
    let said = rotate(&["--key", &second, "--slot", "secondary"]);
    assert!(said.contains("state           Succeeded\n"), "{said}");
    // The destination is asked with the key that is used now: both are good there.
    let said = rotate(&["--swap"]);
    assert!(said.contains("state           Succeeded\n"), "{said}");
    let said = rotate(&["--key", &format!("\u{feff}\"{first}\"\n")]);
    assert!(said.contains("state           Succeeded\n"), "{said}");
    let view = session.json(&["endpoint", "show", "--en", "grid-1"]);
    let properties = &view["properties"];
    for member in ["accessKey1", "accessKey2", "deadLetterSecret"] {
        assert_eq!(properties[member], "***", "{properties}");
    }
    let bad = session.refused(&["endpoint", "rotate-key", "--en", "hub-1", "--swap"]);
    assert!(bad.contains("there are no two keys to swap"), "{bad}");

    session.said(&[&create[..], &["--yes"]].concat());
    let view = session.json(&["endpoint", "show", "--en", "grid-1"]);
    assert!(
        view["properties"].get("deadLetterSecret").is_none(),
        "{view}"
    );
}

/// Neighbours: whatever else is made by a PUT that replaces the whole.
#[test]
fn create_drops_neither_tags_nor_hubs_nor_filters() {
    let started = EmulatedSession::filled();
    let session = &started.session;
    let error = session.refused(&["instance", "create", "-n", "plant"]);
    assert!(error.contains("\n  remove tags.site (north)\n"), "{error}");
    let error = session.refused(&["route", "create", "--rn", "hot", "--en", "grid-1"]);
    assert!(
        error.contains("\n  change filter (type = 't') to (true)\n"),
        "{error}"
    );
    // What changes nothing asks nothing.
    session.said(&["route", "create", "--rn", "all", "--en", "hub-1"]);
    let hub = "HostName=h.azure-devices.net;SharedAccessKeyName=o;SharedAccessKey=a2V5";
    session.said(&["dps", "create", "-n", "dps1", "-l", "eastus", "--hub", hub]);
    let error = session.refused(&["dps", "create", "-n", "dps1", "-l", "eastus"]);
    assert!(error.contains("\n  remove properties.iotHubs\n"), "{error}");
    // Reads, changes, writes back.
    session.said(&[
        "dps",
        "update",
        "-n",
        "dps1",
        "--allocation-policy",
        "Static",
    ]);
    let view = session.json(&["dps", "show", "-n", "dps1"]);
    assert_eq!(view["properties"]["allocationPolicy"], "Static");
    assert_eq!(
        view["properties"]["iotHubs"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(view["tags"], json!({}));
}

/// `expired-sas` and `text-hygiene`, as files have them.
#[test]
fn expired_sas_in_a_file_is_a_warning_and_a_mark_before_it_nothing() {
    let folder = tempfile::tempdir().unwrap();
    crate::harness::write(
        folder.path(),
        "twinroute.toml",
        "definitions = 'table'\n[ingress]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = []\n",
    );
    let sas = SAS.replace("2099", "2020");
    let body = format!(
        "\u{feff}{{\"properties\":{{\"endpointType\":\"EventGrid\",\"TopicEndpoint\":\"https://t.example/api/events\",\
         \"accessKey1\":\" c2VjcmV0\\n\",\"deadLetterSecret\":\"{sas}\\n\"}}}}"
    );
    crate::harness::write(folder.path(), "table/endpoints/grid-1.json", &body);
    let mut command = crate::harness::twinroute();
    command
        .args(["validate", "--config"])
        .arg(folder.path().join("twinroute.toml"));
    let output = command.output().unwrap();
    let said = crate::harness::text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let expect = "grid-1: its dead letters stay here: the SAS of deadLetterSecret expired at 2020-01-01T00:00:00Z";
    assert!(said.contains(expect), "{said}");
}
