//! Endpoints with an identity in place of keys, end to end: the emulator's identity service, its namespace and
//! its storage account behind TLS.

use crate::harness::{PATIENCE, TestDaemon, write};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;
use twinroute_emulator::{
    BlobSettings, BrokerSettings, HubSettings, IdentitySettings, ManagedIdentitySettings,
    RunningEmulator, ScriptedFaults, SendAnswer, Settings, TlsPorts, TokenAnswer, TokenEndpoint,
    TopicSettings,
};
use twinroute_model::clock::SystemClock;

const USER_ASSIGNED: &str = "/subscriptions/1/resourceGroups/g/providers/Microsoft.ManagedIdentity/\
                             userAssignedIdentities/router";

fn until(daemon: &TestDaemon, wanted: impl Fn(&Value) -> bool) {
    let latest = Instant::now() + PATIENCE;
    loop {
        let endpoints = daemon.status()["instances"][0]["endpoints"].clone();
        if endpoints.as_array().unwrap().iter().all(&wanted) {
            return;
        }
        assert!(Instant::now() < latest, "{endpoints:#}");
        std::thread::yield_now();
    }
}

fn scene(folder: &Path, amqp: u16, container: &str) {
    write(
        folder,
        "twinroute.toml",
        "instance = 'demo'\ndefinitions = 'table'\nshutdown_grace = '0s'\n\
         [ingress]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = ['127.0.0.1:0']\n\
         [identity]\ncredential = 'managed-identity'\n[outgoing]\nca_files = ['tls/ca.pem']\n[log]\nformat = 'json'\n",
    );
    let uri = format!("sb://localhost:{amqp}/");
    let user = json!({ "type": "UserAssigned", "userAssignedIdentity": USER_ASSIGNED });
    for (name, kind, entity, identity) in [
        (
            "hub-1",
            "EventHub",
            "hub",
            json!({ "type": "SystemAssigned" }),
        ),
        ("topic-1", "ServiceBus", "topic", user),
    ] {
        let endpoint = json!({ "properties": {
            "endpointType": kind, "authenticationType": "IdentityBased", "endpointUri": uri,
            "entityPath": entity, "identity": identity, "deadLetterUri": container,
        } });
        let file = format!("table/endpoints/{name}.json");
        write(folder, &file, &endpoint.to_string());
        let route = json!({ "endpointName": name, "filter": "true" }).to_string();
        write(folder, &format!("table/routes/{name}.json"), &route);
    }
}

fn emulator(folder: &Path) -> Settings {
    let mut identity = IdentitySettings::default();
    identity.managed.push(ManagedIdentitySettings {
        client_id: "75000000-0000-4000-8000-000000000001".to_owned(),
        object_id: "76000000-0000-4000-8000-000000000001".to_owned(),
        resource_id: Some(USER_ASSIGNED.to_owned()),
    });
    Settings {
        broker: BrokerSettings {
            hubs: vec![HubSettings::new("hub")],
            topics: vec![TopicSettings::new("topic", &["sub"])],
            ..BrokerSettings::default()
        },
        blob: BlobSettings {
            containers: vec!["letters".to_owned()],
            ..BlobSettings::default()
        },
        identity: Some(identity),
        tls: Some(TlsPorts::new(folder.join("tls"))),
        ..Settings::default()
    }
}

#[test]
fn identities_open_hub_topic_and_container_and_nothing_is_lost_while_they_are_refused() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let started = RunningEmulator::start(emulator(folder.path()), Arc::new(SystemClock));
    let emulator = runtime.block_on(started).unwrap();
    let faults = emulator.faults();
    let container = emulator.container_tls_url("letters").unwrap();
    scene(folder.path(), emulator.amqp_tls_port().unwrap(), &container);
    faults.tokens(
        ScriptedFaults::ANY,
        TokenAnswer::Refuse,
        ScriptedFaults::ALWAYS,
    );
    let machine = emulator.identity_address().unwrap();
    let daemon = TestDaemon::start_in(
        folder.path(),
        &[
            ("IDENTITY_ENDPOINT", &format!("http://{machine}/msi/token")),
            ("IDENTITY_HEADER", "the-header-of-the-emulator"),
        ],
    );
    for id in 0..3 {
        assert!(daemon.post(id).starts_with("HTTP/1.1 202"));
    }
    until(&daemon, |of| of["state"] == "unauthorized");
    let waiting = |of: &Value| {
        let counts = ["queued", "in_flight", "retrying"].map(|key| of[key].as_u64().unwrap());
        counts.iter().sum::<u64>()
    };
    until(&daemon, |of| waiting(of) == 3 && of["delivered"] == 0);

    // The first token is for somebody else; the namespace says so, and another one is asked for.
    let other = TokenAnswer::Audience("https://other.azure.net".to_owned());
    faults.tokens("https://servicebus.azure.net", other, 1);
    faults.clear_tokens_of(ScriptedFaults::ANY);
    until(&daemon, |of| {
        of["state"] == "healthy" && of["delivered"] == 3
    });
    assert_eq!(emulator.broker().hub_events("hub").len(), 3);
    let arrived = emulator.broker().subscription_messages("topic", "sub");
    assert_eq!(arrived.len(), 3);

    for entity in ["hub", "topic"] {
        let refuse = SendAnswer::Reject("amqp:not-allowed".to_owned());
        faults.sends(entity, refuse, 1);
    }
    assert!(daemon.post(3).starts_with("HTTP/1.1 202"));
    let stored = emulator.blob_account().wait_for("letters", 2, PATIENCE);
    runtime.block_on(stored).unwrap();

    let asked = emulator.identity().token_requests();
    assert!(
        asked
            .iter()
            .all(|request| request.door == TokenEndpoint::AppService)
    );
    let about = |resource: &'static str| {
        let all = asked.iter();
        all.filter(move |request| request.resource == resource)
    };
    assert!(about("https://eventhubs.azure.net").all(|request| request.named.is_empty()));
    let router = format!("mi_res_id={USER_ASSIGNED}");
    assert!(about("https://servicebus.azure.net").all(|request| request.named == router));
    let granted = about("https://servicebus.azure.net");
    let granted = granted.filter(|request| request.status == Some(200));
    assert_eq!(
        granted.count(),
        2,
        "one for another audience, one that is good"
    );
    assert!(about("https://storage.azure.com").next().is_some());
}
