//! Secrets that are put over the management API, and one that reads them from there.

use super::marks::SecretMarks;
use super::nothing_found;
use super::reader::reader;
use super::stage::{ProcessVariables, SecretStage, TYPE, ask};
use crate::azure::SUB;
use crate::harness::write;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Runtime;
use twinroute_emulator::{
    BlobSettings, BrokerSettings, EventGridSettings, EventGridTopicSettings, HubSettings,
    PostAnswer, RunningEmulator, ScriptedFaults, Settings, TopicSettings,
};
use twinroute_model::clock::SystemClock;

const ARM: &str = "?api-version=2023-01-31";
const DPS: &str = "?api-version=2022-12-12";

fn group() -> String {
    format!("/subscriptions/{SUB}/resourceGroups/rg/providers")
}

fn plant() -> String {
    format!(
        "{}/Microsoft.DigitalTwins/digitalTwinsInstances/plant",
        group()
    )
}

fn emulator(runtime: &Runtime, marks: &mut SecretMarks) -> RunningEmulator {
    let settings = Settings {
        broker: BrokerSettings {
            hubs: vec![HubSettings::new("hub")],
            topics: vec![TopicSettings::new("topic", &["sub"])],
            shared_access_key: marks.base64("the key of hub-good and topic-1"),
            secondary_shared_access_key: marks.base64("their second key"),
            ..BrokerSettings::default()
        },
        event_grid: EventGridSettings {
            topics: ["grid", "other"].map(EventGridTopicSettings::new).to_vec(),
            ..EventGridSettings::default()
        },
        blob: BlobSettings {
            containers: vec!["letters".to_owned()],
            account_key: marks
                .base64("the key of the storage account")
                .as_str()
                .into(),
            ..BlobSettings::default()
        },
        ..Settings::default()
    };
    let started = RunningEmulator::start(settings, Arc::new(SystemClock));
    let emulator = runtime.block_on(started).unwrap();
    let keys = [
        marks.base64("accessKey1 of grid-good"),
        marks.base64("accessKey2 of grid-good"),
    ];
    let [key1, key2] = keys;
    emulator.event_grid().set_keys("grid", &key1, &key2);
    emulator
}

/// What the one that keeps the definitions is configured with.
struct StoreScene {
    access_key: String,
    webhook_code: String,
    caller_key: String,
    ingress_token: String,
    admin_token: String,
    management_token: String,
    variables: ProcessVariables,
    /// Files that hold what they must.
    own: Vec<PathBuf>,
}

fn scene(folder: &Path, marks: &mut SecretMarks) -> StoreScene {
    let scene = StoreScene {
        access_key: marks.base64("access_keys"),
        webhook_code: marks.plain("webhook_code"),
        caller_key: marks.base64("a caller's key"),
        ingress_token: marks.plain("a token of the ingress"),
        admin_token: marks.plain("a token of the admin API"),
        management_token: marks.plain("a token of the management API"),
        variables: vec![
            ("MARKED_SEAL", marks.base64("key_variable")),
            ("MARKED_NEXT_SEAL", marks.base64("new_key_variable")),
            ("MARKED_CODE", marks.plain("a variable in the file")),
        ],
        own: ["twinroute.toml", "admin.token"]
            .map(|file| folder.join(file))
            .to_vec(),
    };
    let proxy = marks.plain("the password of the proxy");
    write(folder, "admin.token", &scene.admin_token);
    let text = format!(
        "instance = 'plant'\nshutdown_grace = '0s'\n[table]\nsource = 'store'\n\
         [ingress]\nlisten = ['127.0.0.1:0']\naccess_keys = ['{}', '${{MARKED_CODE}}']\nwebhook_code = '{}'\n\
         access = {{ tokens = [{{ name = 'producer', role = 'write', token = '{}' }}] }}\n\
         [[ingress.callers]]\nname = 'line'\nkeys = ['{}']\nsources = ['line/']\n\
         [admin]\nlisten = ['127.0.0.1:0']\n\
         access = {{ tokens = [{{ name = 'operator', role = 'write', token_file = 'admin.token' }}] }}\n\
         [management]\nlisten = ['127.0.0.1:0']\nkey_variable = 'MARKED_SEAL'\nprovisioning_checks = 'definitions'\n\
         access = {{ tokens = [{{ name = 'owner', role = 'write', token = '{}' }}] }}\n\
         [journal]\npath = 'data'\nsegment_bytes = '1 MiB'\n[outgoing]\nproxy = 'http://user:{proxy}@127.0.0.1:9'\n\
         [endpoints.grid-good]\nattempts_max = 1\n\
         [log]\nfilter = 'trace'\nformat = 'pretty'\n",
        scene.access_key,
        scene.webhook_code,
        scene.ingress_token,
        scene.caller_key,
        scene.management_token,
    );
    write(folder, "twinroute.toml", &text);
    scene
}

/// Puts endpoints of each kind: some that work, some whose credentials are refused, some that are not there.
fn define(stage: &SecretStage, marks: &mut SecretMarks, emulator: &RunningEmulator) {
    let (status, _) = stage.manage(marks, "PUT", &format!("{}{ARM}", plant()), HERE);
    assert_eq!(status, 201);
    let signature = marks.plain("the signature of deadLetterSecret");
    let letters = format!(
        "{}?sv=2022-11-02&se=2099-01-01T00:00:00Z&sr=c&sp=w&sig={signature}",
        emulator.container_url("letters")
    );
    let hub = emulator.event_hubs_connection_string("hub");
    let wrong = marks.base64("the key of hub-bad");
    let refused = hub
        .split(';')
        .map(|part| match part.starts_with("SharedAccessKey=") {
            true => format!("SharedAccessKey={wrong}"),
            false => part.to_owned(),
        });
    let refused = refused.collect::<Vec<String>>().join(";");
    let gone = marks.base64("the key of hub-gone");
    let gone = format!(
        "Endpoint=sb://127.0.0.1:9;SharedAccessKeyName=n;SharedAccessKey={gone};EntityPath=e;\
         UseDevelopmentEmulator=true"
    );
    let bodies = [
        (
            "grid-good",
            json!({ "endpointType": "EventGrid", "TopicEndpoint": emulator.topic_endpoint("grid"),
                "accessKey1": emulator.topic_key1("grid"), "accessKey2": emulator.topic_key2("grid"),
                "deadLetterSecret": letters }),
        ),
        (
            "grid-bad",
            json!({ "endpointType": "EventGrid", "TopicEndpoint": emulator.topic_endpoint("other"),
                "accessKey1": marks.base64("accessKey1 of grid-bad") }),
        ),
        (
            "grid-far",
            json!({ "endpointType": "EventGrid", "TopicEndpoint": "https://t.example/api/events",
                "accessKey1": marks.base64("accessKey1 of grid-far") }),
        ),
        (
            "hub-good",
            json!({ "endpointType": "EventHub", "connectionStringPrimaryKey": hub }),
        ),
        (
            "hub-bad",
            json!({ "endpointType": "EventHub", "connectionStringPrimaryKey": refused }),
        ),
        (
            "hub-gone",
            json!({ "endpointType": "EventHub", "connectionStringPrimaryKey": gone }),
        ),
        (
            "topic-1",
            json!({ "endpointType": "ServiceBus",
                "primaryConnectionString": emulator.service_bus_connection_string("topic") }),
        ),
    ];
    for (name, properties) in bodies {
        let path = format!("{}/endpoints/{name}{ARM}", plant());
        let body = json!({ "properties": properties }).to_string();
        // Before the instance is there it is a conflict.
        let put = loop {
            let (status, answer) = stage.manage(marks, "PUT", &path, &body);
            if status != 409 {
                break (status, answer);
            }
        };
        assert_eq!(put.0, 201, "{name}: {:#}", put.1);
        let route = json!({ "endpointName": name, "filter": "true" }).to_string();
        let path = format!("/instances/plant/eventroutes/{name}?api-version=2023-10-31");
        while stage.manage(marks, "PUT", &path, &route).0 == 400 {}
    }
}

const HERE: &str = r#"{"location":"westus2"}"#;

/// Puts that are refused, with secrets in them.
fn refused_puts(stage: &SecretStage, marks: &mut SecretMarks) {
    let secret = marks.base64("a secret in a body that is refused");
    let plain = marks.plain("a secret that is no base64");
    let bodies = [
        format!(r#"{{"properties":"{secret}"}}"#),
        format!(r#"{{"properties":{{"endpointType":"{secret}"}}}}"#),
        format!(
            r#"{{"properties":{{"endpointType":"EventHub","authenticationType":"{secret}"}}}}"#
        ),
        format!(r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":"{secret}""#),
        format!(r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":["{secret}"]}}}}"#),
        format!(
            r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":"{secret}","TopicEndpoint":7}}}}"#
        ),
        format!(
            r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":"{secret}","TopicEndpoint":"ftp://x"}}}}"#
        ),
        format!(
            r#"{{"properties":{{"endpointType":"EventHub","connectionStringPrimaryKey":"{plain}"}}}}"#
        ),
        format!(
            r#"{{"properties":{{"endpointType":"EventHub","connectionStringPrimaryKey":"Endpoint=sb://h;SharedAccessKey={secret};Odd{plain}=1"}}}}"#
        ),
        format!(
            r#"{{"properties":{{"endpointType":"EventHub","connectionStringPrimaryKey":"Endpoint=x{plain};SharedAccessKeyName=n;SharedAccessKey={secret};EntityPath=e"}}}}"#
        ),
        format!(
            r#"{{"properties":{{"endpointType":"ServiceBus","primaryConnectionString":{{"a":"{secret}"}}}}}}"#
        ),
        format!(
            r#"{{"properties":{{"endpointType":"EventGrid","TopicEndpoint":"https://t.example/api/events","accessKey1":"{secret}","deadLetterSecret":"{plain}"}}}}"#
        ),
        format!(
            r#"{{"properties":{{"endpointType":"EventGrid","TopicEndpoint":"https://t.example/api/events","accessKey1":"{secret}","deadLetterSecret":"https://b.example/c?sv=1&sig={plain}&st=x"}}}}"#
        ),
    ];
    let path = format!("{}/endpoints/wrong-1{ARM}", plant());
    for body in bodies {
        let (status, _) = stage.manage(marks, "PUT", &path, &body);
        assert_eq!(status, 400, "{body}");
    }
    let hub = |string: &str| {
        json!({ "location": "westus2", "sku": { "name": "S1", "capacity": 1 },
            "properties": { "iotHubs": [{ "location": "westus2", "connectionString": string }] } })
        .to_string()
    };
    let service = format!(
        "{}/Microsoft.Devices/provisioningServices/dps-1{DPS}",
        group()
    );
    assert_eq!(stage.manage(marks, "PUT", &service, &hub(&plain)).0, 400);
    let key = marks.base64("the key of a linked hub");
    let string =
        format!("HostName=h.azure-devices.net;SharedAccessKeyName=owner;SharedAccessKey={key}");
    let put = stage.manage(marks, "PUT", &service, &hub(&string)).0;
    assert_eq!(put, 201);
}

/// Requests with credentials that are wrong, in all the places where one may stand.
fn strangers(stage: &SecretStage, scene: &StoreScene, marks: &mut SecretMarks) {
    let wrong = marks.plain("what a stranger shows");
    let token = format!("eyJhbGciOiJSUzI1NiJ9.{wrong}.{wrong}");
    let signed = format!("r=http%3a%2f%2fh%2fevents&e=1%2f1%2f2030&s={wrong}");
    let event = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;
    let servers = [
        stage.daemon.ingress.clone(),
        stage.daemon.admin.clone(),
        stage.management.clone(),
    ];
    for server in &servers {
        for header in [
            format!("authorization: Bearer {wrong}\r\n"),
            format!("authorization: Bearer {token}\r\n"),
            format!("authorization: Basic {wrong}\r\n"),
            format!("authorization: SharedAccessSignature {wrong}\r\n"),
            format!("aeg-sas-key: {wrong}\r\n"),
            format!("aeg-sas-token: {signed}\r\n"),
            format!("cookie: session={wrong}\r\n"),
        ] {
            let headers = format!("{header}{TYPE}");
            ask(marks, server, "POST", "/events", &headers, event);
            ask(marks, server, "GET", "/status", &header, "");
        }
        for name in [
            "code",
            "sig",
            "key",
            "aeg-sas-key",
            "access_token",
            "subscription-key",
        ] {
            for path in ["/events", "/nowhere", "/status", "/dead-letters"] {
                let target = format!("{path}?{name}={wrong}");
                ask(marks, server, "POST", &target, TYPE, event);
            }
        }
    }
    let (key, caller) = (&scene.access_key, &scene.caller_key);
    let webhook = format!("/events?code={}", scene.webhook_code);
    let bodies = [event, "{", "", r#"{"specversion":"1.0"}"#];
    for body in bodies {
        stage.post(
            marks,
            "/events",
            &format!("aeg-sas-key: {key}\r\n{TYPE}"),
            body,
        );
        stage.post(
            marks,
            "/events",
            &format!("aeg-sas-key: {caller}\r\n{TYPE}"),
            body,
        );
        stage.post(marks, &webhook, TYPE, body);
        let bearer = format!("authorization: Bearer {}\r\n{TYPE}", scene.ingress_token);
        stage.post(marks, "/events", &bearer, body);
        let grid = "/api/events?api-version=2018-01-01";
        stage.post(marks, grid, &format!("aeg-sas-key: {key}\r\n{TYPE}"), body);
    }
    let headers = "webhook-request-origin: eventgrid.azure.net\r\n";
    ask(marks, &servers[0], "OPTIONS", &webhook, headers, "");
}

fn everything_that_is_read(stage: &SecretStage, marks: &mut SecretMarks) {
    for path in [
        "/",
        "/livez",
        "/readyz",
        "/status?pretty",
        "/ledger",
        "/metrics",
        "/dead-letters",
        "/dead-letters/export",
        "/replays",
    ] {
        let status = stage.admin(marks, "GET", path, "");
        assert_eq!(status, 200, "{path}");
    }
    for (step, body) in [("pause", "{}"), ("resume", "{}"), ("retry-now", "{}")] {
        let path = format!("/endpoints/plant/hub-bad/{step}");
        assert_eq!(stage.admin(marks, "POST", &path, body), 200, "{step}");
    }
    stage.admin(
        marks,
        "POST",
        "/replays",
        r#"{"query":{"endpoint":"grid-good"}}"#,
    );
    let purge = r#"{"confirm":"hub-gone"}"#;
    stage.admin(marks, "POST", "/endpoints/plant/hub-gone/purge", purge);
    stage.admin(marks, "POST", "/replays", "{");
    let (group, plant) = (group(), plant());
    let mut paths = vec![
        format!("{plant}{ARM}"),
        format!("{plant}/endpoints{ARM}"),
        format!("{plant}/privateEndpointConnections{ARM}"),
        format!("{group}/Microsoft.DigitalTwins/digitalTwinsInstances{ARM}"),
        format!("{group}/Microsoft.Devices/provisioningServices{DPS}"),
        format!("{group}/Microsoft.Devices/provisioningServices/dps-1{DPS}"),
        format!("{group}/Microsoft.Devices/provisioningServices/dps-1/skus{DPS}"),
        "/instances/plant/eventroutes?api-version=2023-10-31".to_owned(),
        "/providers/Microsoft.DigitalTwins/operations?api-version=2023-01-31".to_owned(),
    ];
    for name in ["grid-good", "grid-bad", "hub-good", "hub-bad", "topic-1"] {
        paths.push(format!("{plant}/endpoints/{name}{ARM}"));
    }
    for path in paths {
        let (status, body) = stage.manage(marks, "GET", &path, "");
        assert_eq!(status, 200, "{path}");
        if path.contains("/endpoints/grid-good") {
            assert_eq!(body["properties"]["accessKey1"], "***", "{body:#}");
        }
    }
}

fn commands(stage: &SecretStage, folder: &Path, marks: &mut SecretMarks) {
    let event = folder.join("event.json").display().to_string();
    write(
        folder,
        "event.json",
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#,
    );
    stage.with_config(marks, &["validate"]);
    stage.with_config(marks, &["explain", &event]);
    stage.with_config(marks, &["audit"]);
    stage.with_config(marks, &["audit", "--json"]);
    for words in [
        "status",
        "status --json",
        "ledger",
        "deadletter list",
        "deadletter export",
        "replay list",
        "endpoint retry-now hub-bad",
    ] {
        stage.with_admin(marks, &words.split(' ').collect::<Vec<&str>>());
    }
    for words in [
        "instance list",
        "instance show -n plant",
        "endpoint list -n plant",
        "endpoint list -n plant --json",
        "endpoint show -n plant --en grid-good",
        "endpoint show -n plant --en hub-bad --json",
        "route list -n plant",
        "private-endpoint list -n plant",
        "dps list",
        "dps show -n dps-1 --json",
        "dps keys -n dps-1",
        "dps keys -n dps-1 --json",
    ] {
        let subscription = ["--subscription", SUB];
        let words: Vec<&str> = words.split(' ').collect();
        stage.with_management(marks, &[&words[..], &subscription].concat());
    }
}

#[test]
fn what_is_put_is_shown_nowhere() {
    let runtime = Runtime::new().unwrap();
    let mut marks = SecretMarks::new();
    let emulator = emulator(&runtime, &mut marks);
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let scene = scene(folder.path(), &mut marks);
    let stage = SecretStage::start(
        folder.path(),
        scene.variables.clone(),
        &scene.admin_token,
        &scene.management_token,
    );
    define(&stage, &mut marks, &emulator);
    refused_puts(&stage, &mut marks);
    let reject = PostAnswer::Status(400, None);
    emulator
        .faults()
        .posts("grid", reject, ScriptedFaults::ALWAYS);
    strangers(&stage, &scene, &mut marks);
    let key = format!("aeg-sas-key: {}\r\n{TYPE}", scene.access_key);
    for id in 0..5 {
        let event = format!(r#"{{"specversion":"1.0","id":"e{id}","source":"s","type":"t"}}"#);
        assert_eq!(stage.post(&mut marks, "/events", &key, &event), 202);
    }
    stage.until("endpoints are what they are", |status| {
        let all = status["instances"][0]["endpoints"].as_array().unwrap();
        let one = |name: &str| all.iter().find(|one| one["name"] == name).unwrap();
        let refused = ["grid-bad", "hub-bad"].map(|name| one(name)["state"] == "unauthorized");
        let gone = ["grid-far", "hub-gone"].map(|name| one(name)["last_error"] != "");
        refused == [true; 2]
            && gone == [true; 2]
            && one("hub-good")["delivered"].as_u64() > Some(4)
            && one("topic-1")["delivered"].as_u64() > Some(4)
            && one("grid-good")["dead_letters"]["last_error"] != ""
    });
    everything_that_is_read(&stage, &mut marks);
    commands(&stage, folder.path(), &mut marks);
    emulator.faults().clear();
    let reader = reader(other.path(), &stage, &emulator, &mut marks);

    let secrets = other.path().join("secrets");
    let own = [
        other.path().join("twinroute.toml"),
        other.path().join("admin.token"),
        other.path().join("azure.token"),
        secrets.join("grid-good/accessKey1"),
        secrets.join("hub-good/connectionStringPrimaryKey"),
    ];
    reader.end(&mut marks, &own);
    let ended = stage.end(&mut marks, &scene.own);
    ended.with_config(&mut marks, &["management", "export"]);
    let next = ["--new-key-variable", "MARKED_NEXT_SEAL"];
    let rotate = [&["management", "rotate-key"][..], &next].concat();
    ended.with_config(&mut marks, &rotate);
    ended.with_config(&mut marks, &["audit", "--verify"]);
    let journal = folder.path().join("data").display().to_string();
    ended.run(&mut marks, &["journal", "verify", &journal]);
    ended.run(&mut marks, &["journal", "dump", &journal]);
    marks.saw_folder(folder.path(), &scene.own);
    nothing_found(&marks);
}
