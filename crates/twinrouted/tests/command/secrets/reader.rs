//! A twinroute that reads what another one keeps.

use super::marks::SecretMarks;
use super::stage::{SecretStage, TYPE};
use crate::azure::SUB;
use crate::harness::write;
use std::path::Path;
use twinroute_emulator::RunningEmulator;

/// One that reads what the other keeps, its secrets from variables and files.
pub(super) fn reader(
    folder: &Path,
    upstream: &SecretStage,
    emulator: &RunningEmulator,
    marks: &mut SecretMarks,
) -> SecretStage {
    let names = ["grid-good", "grid-bad", "hub-good"];
    let admin = marks.plain("a token of the reader's admin API");
    write(folder, "admin.token", &admin);
    write(folder, "azure.token", &upstream.management_token);
    let good = emulator.topic_key1("grid");
    write(folder, "secrets/grid-good/accessKey1", &good);
    let bad = marks.plain("a secret of the overlay that is none");
    write(
        folder,
        "secrets/hub-good/connectionStringPrimaryKey",
        &format!("Endpoint={bad}"),
    );
    let wrong = marks.base64("a secret of the overlay in a variable");
    let management = &upstream.management;
    let text = format!(
        "instance = 'plant'\nshutdown_grace = '0s'\n[table]\nsource = 'azure'\n\
         [azure]\nmanagement_url = 'http://{management}'\nroutes_url = 'http://{management}'\n\
         subscription = '{SUB}'\nresource_group = 'rg'\ninstance = 'plant'\npoll = '1s'\n\
         credential = 'token'\ntoken_file = 'azure.token'\nsecrets_folder = 'secrets'\n\
         [journal]\npath = 'data'\nsegment_bytes = '1 MiB'\n[ingress]\nlisten = ['127.0.0.1:0']\n\
         [admin]\nlisten = ['127.0.0.1:0']\n\
         access = {{ tokens = [{{ name = 'operator', role = 'write', token_file = 'admin.token' }}] }}\n\
         [log]\nfilter = 'trace'\nformat = 'json'\n"
    );
    write(folder, "twinroute.toml", &text);
    let variables = vec![("TWINROUTE_SECRET_GRID_BAD__ACCESS_KEY1", wrong)];
    let stage = SecretStage::start(folder, variables, &admin, "");
    for id in 0..3 {
        let event = format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t"}}"#);
        assert_eq!(stage.post(marks, "/events", TYPE, &event), 202);
    }
    stage.until("the reader's endpoints", |status| {
        let all = status["instances"][0]["endpoints"].as_array().unwrap();
        let state = |name: &str| &all.iter().find(|one| one["name"] == name).unwrap()["state"];
        names.map(|name| state(name).clone()) == ["healthy", "unauthorized", "waiting-for-secret"]
    });
    for path in ["/status", "/metrics", "/ledger"] {
        stage.admin(marks, "GET", path, "");
    }
    stage.with_config(marks, &["validate"]);
    stage.with_admin(marks, &["status"]);
    stage
}
