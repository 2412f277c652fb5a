//! Secrets in files: definitions, a login, keys of TLS; and what is said of files that are wrong.

use super::marks::SecretMarks;
use super::nothing_found;
use super::stage::{SecretStage, TYPE};
use crate::harness::write;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Runtime;
use twinroute_emulator::{
    ApplicationSettings, BrokerSettings, HubSettings, IdentitySettings, RunningEmulator, Settings,
    TlsPorts,
};
use twinroute_model::clock::SystemClock;

const TENANT: &str = "72f988bf-0000-4000-8000-000000000001";
const CLIENT: &str = "75000000-0000-4000-8000-000000000009";

/// With an application whose secret is another one than the daemon has.
fn emulator(runtime: &Runtime, folder: &Path, marks: &mut SecretMarks) -> RunningEmulator {
    let secret = marks.plain("the application's real secret");
    let settings = Settings {
        broker: BrokerSettings {
            hubs: vec![HubSettings::new("hub")],
            shared_access_key: marks.base64("the key of hub-1"),
            ..BrokerSettings::default()
        },
        identity: Some(IdentitySettings {
            tenant_id: TENANT.to_owned(),
            applications: vec![ApplicationSettings {
                client_id: CLIENT.to_owned(),
                object_id: CLIENT.to_owned(),
                secret: Some(secret.as_str().into()),
                certificates: Vec::new(),
                service_accounts: Vec::new(),
                roles: Vec::new(),
            }],
            ..IdentitySettings::default()
        }),
        tls: Some(TlsPorts::new(folder.join("tls"))),
        ..Settings::default()
    };
    let started = RunningEmulator::start(settings, Arc::new(SystemClock));
    runtime.block_on(started).unwrap()
}

fn put(folder: &Path, own: &mut Vec<PathBuf>, file: &str, content: &str) {
    write(folder, file, content);
    own.push(folder.join(file));
}

/// Writes everything that a daemon with files takes secrets from; gives which files those are.
fn scene(
    folder: &Path,
    emulator: &RunningEmulator,
    admin: &str,
    marks: &mut SecretMarks,
) -> Vec<PathBuf> {
    let mut own = vec![folder.join("admin.token"), folder.join("twinroute.toml")];
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let pem = key.serialize_pem();
    let line = pem.lines().nth(2).unwrap();
    marks.also("the key of [admin.tls]", line);
    put(folder, &mut own, "server.key", &pem);
    let certificate = parameters.self_signed(&key).unwrap();
    write(folder, "server.pem", &certificate.pem());
    put(folder, &mut own, "admin.token", admin);
    let secret = marks.plain("client_secret_file");
    put(folder, &mut own, "client.secret", &secret);
    let header = marks.plain("headers of [tracing]");
    let more = format!(
        "authorization: Bearer {}\n",
        marks.plain("headers_file of [tracing]")
    );
    put(folder, &mut own, "otlp.headers", &more);
    let text = format!(
        "instance = 'demo'\ndefinitions = 'table'\nshutdown_grace = '0s'\n\
         [ingress]\nlisten = ['127.0.0.1:0']\n\
         [admin]\nlisten = ['127.0.0.1:0']\nlisten_tls = ['127.0.0.1:0']\n\
         tls = {{ certificate = 'server.pem', key = 'server.key' }}\n\
         access = {{ tokens = [{{ name = 'operator', role = 'write', token_file = 'admin.token' }}] }}\n\
         [identity]\ncredential = 'client-secret'\ntenant_id = '{TENANT}'\nclient_id = '{CLIENT}'\n\
         client_secret_file = 'client.secret'\nauthority = '{}'\n\
         [outgoing]\nca_files = ['tls/ca.pem']\n\
         [tracing]\nendpoint = 'http://127.0.0.1:9'\ninterval = '100ms'\n\
         headers = ['api-key: {header}']\nheaders_file = 'otlp.headers'\n\
         [log]\nfilter = 'trace'\nformat = 'json'\n",
        emulator.authority_url().unwrap()
    );
    write(folder, "twinroute.toml", &text);
    let port = emulator.amqp_tls_port().unwrap();
    let endpoints: [(&str, Value); 3] = [
        (
            "hub-1",
            json!({ "endpointType": "EventHub",
                "connectionStringPrimaryKey": emulator.event_hubs_connection_string("hub") }),
        ),
        (
            "hub-2",
            json!({ "endpointType": "EventHub", "authenticationType": "IdentityBased",
                "endpointUri": format!("sb://localhost:{port}/"), "entityPath": "hub",
                "identity": { "type": "SystemAssigned" } }),
        ),
        (
            "grid-1",
            json!({ "endpointType": "EventGrid", "TopicEndpoint": "http://127.0.0.1:9/api/events",
                "accessKey1": marks.base64("accessKey1 of grid-1"),
                "deadLetterSecret": format!("http://127.0.0.1:9/devstoreaccount1/letters?sv=2022-11-02&se=2099-01-01T00:00:00Z&sr=c&sp=w&sig={}",
                    marks.plain("the signature of deadLetterSecret")) }),
        ),
    ];
    for (name, properties) in endpoints {
        let body = json!({ "properties": properties }).to_string();
        put(
            folder,
            &mut own,
            &format!("table/endpoints/{name}.json"),
            &body,
        );
        let route = json!({ "endpointName": name, "filter": "true" }).to_string();
        write(folder, &format!("table/routes/{name}.json"), &route);
    }
    own
}

/// Definitions that are wrong, with secrets in what is wrong about them.
fn broken_definitions(
    folder: &Path,
    stage: &mut SecretStage,
    own: &mut Vec<PathBuf>,
    marks: &mut SecretMarks,
) {
    let key = marks.base64("a key in definitions that are wrong");
    let plain = marks.plain("a secret in definitions that is none");
    let wrong = [
        format!(r#"{{"properties":"{key}"}}"#),
        format!(r#"{{"properties":{{"endpointType":"{key}"}}}}"#),
        format!(r#"{{"properties":{{"endpointType":"EventHub","authenticationType":"{key}"}}}}"#),
        format!(r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":"{key}""#),
        format!(r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":{{"a":"{key}"}}}}}}"#),
        format!(
            r#"{{"properties":{{"endpointType":"EventHub","connectionStringPrimaryKey":"{plain}"}}}}"#
        ),
        format!(
            r#"{{"properties":{{"endpointType":"EventHub","connectionStringPrimaryKey":"Endpoint=sb://h;SharedAccessKey={key};{plain}"}}}}"#
        ),
        format!(
            r#"{{"properties":{{"endpointType":"EventHub","connectionStringPrimaryKey":"Endpoint=sb://h;{plain}={key};SharedAccessKeyName=n;EntityPath=e"}}}}"#
        ),
        format!(
            r#"{{"properties":{{"endpointType":"EventGrid","TopicEndpoint":"https://t.example/api/events","accessKey1":"{key}","deadLetterSecret":"{plain}"}}}}"#
        ),
    ];
    for (number, body) in wrong.iter().enumerate() {
        let file = format!("table/endpoints/wrong-{number}.json");
        put(folder, own, &file, body);
        stage.with_config(marks, &["validate"]);
    }
    stage.daemon.signal("-HUP");
    stage.daemon.line("the definitions were refused");
    stage.admin(marks, "GET", "/status", "");
    for number in 0..wrong.len() {
        std::fs::remove_file(folder.join(format!("table/endpoints/wrong-{number}.json"))).unwrap();
    }
}

/// Configurations that are wrong, in a folder of their own.
fn broken_configurations(stage: &SecretStage, folder: &Path, marks: &mut SecretMarks) {
    let secret = marks.plain("a secret in a configuration that is wrong");
    let wrong = [
        format!("[ingress]\naccess_keys = ['{secret}'\nwebhook_code = 7\n"),
        format!("[ingress]\naccess_keys = '{secret}'\n"),
        format!("[ingress]\naccess_keys = [{{ key = '{secret}' }}]\n"),
        format!("[ingress]\nwebhook_code = ['{secret}']\n"),
        format!("[ingress]\nwebhook_cod = '{secret}'\n"),
        format!("[ingress]\nwebhook_code = '{secret}\n"),
        format!("[ingress]\naccess_keys = ['{secret}', '{secret}']\nlissten = []\n"),
        format!(
            "[ingress]\naccess = {{ tokens = [{{ name = 'a', rol = 'read', token = '{secret}' }}] }}\n"
        ),
        format!(
            "[ingress]\naccess = {{ tokens = [{{ name = 'a', role = 'read', token = ['{secret}'] }}] }}\n"
        ),
        format!("[[ingress.callers]]\nname = 'a'\nkeys = '{secret}'\n"),
        format!("[outgoing]\nproxy = 'ftp://user:{secret}@h'\n"),
        format!("[outgoing]\nproxy = 'http://user:{secret}@h:port'\n"),
        format!("[outgoing]\nproxy = 'user:{secret}@h'\n"),
        format!("[outgoing]\nproxy = ['http://user:{secret}@h:1']\n"),
    ];
    for (number, text) in wrong.iter().enumerate() {
        let name = format!("wrong-{number}.toml");
        // Whatever passes ends at an address that nobody has here.
        let nowhere = "[admin]\nlisten = ['192.0.2.1:1']\n";
        write(folder, &name, &format!("{text}{nowhere}"));
        let file = folder.join(name).display().to_string();
        for command in ["validate", "run"] {
            stage.bare(marks, &[command, "--config", &file]);
        }
    }
}

#[test]
fn what_stands_in_files_is_shown_nowhere() {
    let runtime = Runtime::new().unwrap();
    let mut marks = SecretMarks::new();
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let emulated = tempfile::tempdir().unwrap();
    let emulator = emulator(&runtime, emulated.path(), &mut marks);
    std::fs::create_dir(folder.path().join("tls")).unwrap();
    let authority = emulator.ca_file().unwrap();
    std::fs::copy(authority, folder.path().join("tls/ca.pem")).unwrap();
    let admin = marks.plain("a token of the admin API");
    let mut own = scene(folder.path(), &emulator, &admin, &mut marks);
    let mut stage = SecretStage::start(folder.path(), Vec::new(), &admin, "");
    for id in 0..3 {
        let event = format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t"}}"#);
        assert_eq!(stage.post(&mut marks, "/events", TYPE, &event), 202);
    }
    stage.until("endpoints are what they are", |status| {
        let all = status["instances"][0]["endpoints"].as_array().unwrap();
        let one = |name: &str| all.iter().find(|one| one["name"] == name).unwrap();
        one("hub-1")["delivered"] == 3
            && one("hub-2")["state"] == "unauthorized"
            && one("grid-1")["last_error"] != ""
    });
    broken_definitions(folder.path(), &mut stage, &mut own, &mut marks);
    broken_configurations(&stage, other.path(), &mut marks);
    for path in ["/status", "/metrics", "/ledger", "/dead-letters"] {
        assert_eq!(stage.admin(&mut marks, "GET", path, ""), 200);
    }
    stage.with_config(&mut marks, &["validate"]);
    stage.with_admin(&mut marks, &["status"]);
    stage.end(&mut marks, &own);
    nothing_found(&marks);
}
