//! The Azure CLI against the management API: a peer of its own, since it is large and pins other versions of the SDKs.

use super::PeerStage;
use super::install::{PeerPlaces, venv};
use super::managed::{DestinationChecks, ManagedRouter};
use crate::process::ChildProgram;
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
pub(super) fn install(places: &PeerPlaces) -> anyhow::Result<()> {
    let requirements = places.scripts.join("az/requirements.txt");
    venv(&folder(places), &requirements, PINS, &places.home)
}

fn folder(places: &PeerPlaces) -> PathBuf {
    places.home.join("az")
}

/// `az resource`, `az provider`, `az iot dps` and what they ask on their way.
pub(super) fn cli(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let router = ManagedRouter::start_with(stage, DestinationChecks::Definitions, TOKEN)?;
    let mut scene = router.over_tls();
    scene["token"] = json!(TOKEN);
    scene["folder"] = json!(stage.folder);
    scene["topic"] = json!("https://topic.example/api/events");
    let mut command = Command::new(folder(stage.places).join("bin/python"));
    command
        .arg(stage.places.scripts.join("az/az.py"))
        .env("TWINROUTE_EMULATOR", scene.to_string())
        .env("PYTHONUNBUFFERED", "1");
    let mut script = ChildProgram::start("az.py", &command, &stage.folder)?;
    script.succeed(stage.deadline)?;
    ensure!(
        script.output().contains("ok: the Azure CLI"),
        "{}",
        script.output()
    );
    Ok(())
}

/// The client of the Device Provisioning Service with the api-version that it has by default.
pub(super) fn newest(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let router = ManagedRouter::start(stage, DestinationChecks::Definitions)?;
    stage.play("provisioning_newest.py", &router.over_tls())
}
