//! The Azure CLI against the management API: a peer of its own, since it is large and pins other versions of the SDKs.

use super::Stage;
use super::install::{Places, venv};
use super::managed::{Checks, Managed};
use crate::process::Process;
use anyhow::ensure;
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;

const PINS: &str = include_str!("../../peers/az/requirements.txt");

/// A token in the form of a JWT: the CLI reads the tenant (`tid`) out of it. It is signed by nobody.
const TOKEN: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.\
                     eyJ0aWQiOiIxMTExMTExMS0xMTExLTExMTEtMTExMS0xMTExMTExMTExMTEiLCJvaWQiOiJwZWVycyJ9.\
                     cGVlcnMtbWF5LXJlYWQtYW5kLXdyaXRlLWhlcmUtMDAwMQ";

/// Installs the CLI into an environment of its own.
pub(super) fn install(places: &Places) -> anyhow::Result<()> {
    let requirements = places.scripts.join("az/requirements.txt");
    venv(&folder(places), &requirements, PINS, &places.home)
}

fn folder(places: &Places) -> PathBuf {
    places.home.join("az")
}

/// `az resource`, `az provider`, `az iot dps` and what they ask on their way.
pub(super) fn cli(stage: &Stage<'_>) -> anyhow::Result<()> {
    let router = Managed::start_with(stage, Checks::Definitions, TOKEN)?;
    let mut scene = router.over_tls();
    scene["token"] = json!(TOKEN);
    scene["folder"] = json!(stage.folder);
    scene["topic"] = json!("https://topic.example/api/events");
    let mut command = Command::new(folder(stage.places).join("bin/python"));
    command
        .arg(stage.places.scripts.join("az/az.py"))
        .env("TWINROUTE_EMULATOR", scene.to_string())
        .env("PYTHONUNBUFFERED", "1");
    let mut script = Process::start("az.py", &command, &stage.folder)?;
    script.succeed(stage.deadline)?;
    ensure!(
        script.output().contains("ok: the Azure CLI"),
        "{}",
        script.output()
    );
    Ok(())
}

/// The client of the Device Provisioning Service with the api-version that it has by default.
pub(super) fn newest(stage: &Stage<'_>) -> anyhow::Result<()> {
    let router = Managed::start(stage, Checks::Definitions)?;
    stage.play("provisioning_newest.py", &router.over_tls())
}
