//! Checks of what the emulator refuses, and of sessions from the router to real receivers.

use super::PeerStage;
use super::checks::emulator;
use super::scene::{self, EmulatorProcess, RouterProcess, route};
use anyhow::ensure;
use serde_json::json;

/// The Azure clients for Python against what is refused.
pub(super) fn refusals_python(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    emulator(stage, "refusals.py")
}

/// The Azure clients for JavaScript against what is refused.
pub(super) fn refusals_javascript(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    emulator(stage, "refusals.mjs")
}

/// The Service Bus sink with `session = "twin"` into a queue and a subscription with sessions, each read by a
/// real client session by session.
pub(super) fn to_sdk(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let options = [
        "--session-queue",
        "by-twin",
        "--session-subscription",
        "alerts/by-twin",
    ];
    let emulator = EmulatorProcess::start_with(stage, &options)?;
    let address = |of: &str| {
        json!({ "properties": {
            "endpointType": "ServiceBus",
            "authenticationType": "KeyBased",
            "primaryConnectionString": emulator.addresses[of][0]["connectionString"],
        } })
    };
    let endpoints = [("queue", address("queues")), ("topic", address("topics"))];
    let routes = ["queue", "topic"].map(|endpoint| (endpoint, route(endpoint, "true")));
    let settings =
        "[endpoints.queue]\nsession = \"twin\"\n\n[endpoints.topic]\nsession = \"twin\"\n";
    let router = RouterProcess::start(stage, &endpoints, &routes, "", settings)?;
    let mut scene = emulator.addresses.clone();
    scene["ingress"] = json!(router.ingress);
    scene["expectations"] = json!(stage.folder.join("expectations.json"));
    stage.play("sessions.py", &scene)?;
    stage.play("sessions.mjs", &scene)?;
    let status = router.settled(stage.deadline)?;
    for endpoint in scene::endpoints(&status) {
        let accepted = &status["journal"]["accepted"];
        ensure!(
            endpoint["delivered"] == *accepted,
            "accepted {accepted}, but {endpoint}"
        );
    }
    Ok(())
}
