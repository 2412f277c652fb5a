//! The checks.

use super::az;
use super::daemon_dead_letters;
use super::dead_letters;
use super::flow;
use super::identities;
use super::install::PeerProgram::{
    AzureCli, Azurite, Curl, Node, OpenSsl, Prometheus, Proton, Python,
};
use super::management;
use super::management_kill;
use super::prometheus;
use super::scene::{self, EmulatorProcess, RouterProcess, json_line, route};
use super::sessions;
use super::traces;
use super::{PeerCheck, PeerStage};
use crate::process::ChildProgram;
use anyhow::ensure;
use serde_json::json;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Every check, in the order they run.
pub(super) const ALL: &[PeerCheck] = &[
    PeerCheck {
        name: "emulator-event-hubs-python",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(3),
        run: |stage| emulator(stage, "event_hubs.py"),
    },
    PeerCheck {
        name: "emulator-service-bus-python",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(3),
        run: |stage| emulator(stage, "service_bus.py"),
    },
    PeerCheck {
        name: "emulator-event-hubs-python-websocket",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(3),
        run: |stage| emulator_over_websockets(stage, "event_hubs.py"),
    },
    PeerCheck {
        name: "emulator-service-bus-python-websocket",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(3),
        run: |stage| emulator_over_websockets(stage, "service_bus.py"),
    },
    PeerCheck {
        name: "emulator-event-grid-python",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(2),
        run: |stage| emulator(stage, "event_grid.py"),
    },
    PeerCheck {
        name: "emulator-blob-python",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(2),
        run: |stage| emulator(stage, "blob.py"),
    },
    PeerCheck {
        name: "emulator-event-hubs-javascript",
        needs: &[Node],
        time_max: MINUTE.saturating_mul(3),
        run: |stage| emulator(stage, "event_hubs.mjs"),
    },
    PeerCheck {
        name: "emulator-service-bus-javascript",
        needs: &[Node],
        time_max: MINUTE.saturating_mul(3),
        run: |stage| emulator(stage, "service_bus.mjs"),
    },
    PeerCheck {
        name: "emulator-event-grid-javascript",
        needs: &[Node],
        time_max: MINUTE.saturating_mul(2),
        run: |stage| emulator(stage, "event_grid.mjs"),
    },
    PeerCheck {
        name: "emulator-blob-javascript",
        needs: &[Node],
        time_max: MINUTE.saturating_mul(2),
        run: |stage| emulator(stage, "blob.mjs"),
    },
    PeerCheck {
        name: "emulator-refusals-python",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(3),
        run: sessions::refusals_python,
    },
    PeerCheck {
        name: "emulator-refusals-javascript",
        needs: &[Node],
        time_max: MINUTE.saturating_mul(3),
        run: sessions::refusals_javascript,
    },
    PeerCheck {
        name: "sessions-to-sdk",
        needs: &[Python, Node],
        time_max: MINUTE.saturating_mul(3),
        run: sessions::to_sdk,
    },
    PeerCheck {
        name: "router-to-sdk",
        needs: &[Python, Node],
        time_max: MINUTE.saturating_mul(3),
        run: router_to_sdk,
    },
    PeerCheck {
        name: "traces-decoded",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(3),
        run: traces::decoded,
    },
    PeerCheck {
        name: "sink-to-proton",
        needs: &[Python, Proton],
        time_max: MINUTE.saturating_mul(2),
        run: sink_to_proton,
    },
    PeerCheck {
        name: "sink-to-proton-websocket",
        needs: &[Python, Proton],
        time_max: MINUTE.saturating_mul(2),
        run: sink_to_proton_over_websockets,
    },
    PeerCheck {
        name: "prometheus-alerts",
        needs: &[Prometheus],
        time_max: MINUTE,
        run: prometheus::alerts,
    },
    PeerCheck {
        name: "prometheus-dashboard",
        needs: &[Prometheus],
        time_max: MINUTE.saturating_mul(2),
        run: prometheus::dashboard,
    },
    PeerCheck {
        name: "publishers-to-ingress",
        needs: &[Python, Node],
        time_max: MINUTE.saturating_mul(2),
        run: publishers_to_ingress,
    },
    PeerCheck {
        name: "dead-letters-to-azurite",
        needs: &[Azurite],
        time_max: MINUTE.saturating_mul(2),
        run: dead_letters::azurite,
    },
    PeerCheck {
        name: "dead-letters-through-the-daemon",
        needs: &[Azurite],
        time_max: MINUTE,
        run: daemon_dead_letters::through_the_daemon,
    },
    PeerCheck {
        name: "identities-python",
        needs: &[Python],
        time_max: MINUTE,
        run: identities::azure_identity,
    },
    PeerCheck {
        name: "tokens-at-the-ingress",
        needs: &[Python],
        time_max: MINUTE,
        run: identities::gate,
    },
    PeerCheck {
        name: "client-certificates-at-the-ingress",
        needs: &[Python, Curl, OpenSsl],
        time_max: MINUTE,
        run: identities::mutual_tls,
    },
    PeerCheck {
        name: "dead-letter-to-azurite-with-a-token",
        needs: &[Azurite, Curl],
        time_max: MINUTE,
        run: identities::dead_letter,
    },
    PeerCheck {
        name: "kill-emulator",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(3),
        run: flow::kill_emulator,
    },
    PeerCheck {
        name: "table-edit",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(3),
        run: flow::table_edit,
    },
    PeerCheck {
        name: "management-python",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(2),
        run: management::python,
    },
    PeerCheck {
        name: "management-python-over-http",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(2),
        run: management::python_over_http,
    },
    PeerCheck {
        name: "management-javascript",
        needs: &[Node],
        time_max: MINUTE.saturating_mul(2),
        run: management::javascript,
    },
    PeerCheck {
        name: "management-provisioning-service",
        needs: &[Python, Node],
        time_max: MINUTE.saturating_mul(3),
        run: management::provisioning,
    },
    PeerCheck {
        name: "management-provisioning-service-newest",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(2),
        run: az::newest,
    },
    PeerCheck {
        name: "management-azure-cli",
        needs: &[AzureCli],
        time_max: MINUTE.saturating_mul(8),
        run: az::cli,
    },
    PeerCheck {
        name: "management-curl",
        needs: &[Curl],
        time_max: MINUTE,
        run: management::curl,
    },
    PeerCheck {
        name: "management-to-delivery",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(2),
        run: management::to_delivery,
    },
    PeerCheck {
        name: "management-kill",
        needs: &[],
        time_max: MINUTE.saturating_mul(3),
        run: management_kill::kill,
    },
];

/// A script against the emulator alone.
pub(super) fn emulator(stage: &PeerStage<'_>, script: &str) -> anyhow::Result<()> {
    let serve = Command::new(stage.program("examples/serve"));
    let mut serve = ChildProgram::start("emulator", &serve, &stage.folder)?;
    let addresses = serve.await_line("its addresses", stage.deadline, json_line)?;
    stage.play(script, &addresses)
}

/// The same with a client that speaks AMQP within WebSockets.
fn emulator_over_websockets(stage: &PeerStage<'_>, script: &str) -> anyhow::Result<()> {
    let serve = Command::new(stage.program("examples/serve"));
    let mut serve = ChildProgram::start("emulator", &serve, &stage.folder)?;
    let mut addresses = serve.await_line("its addresses", stage.deadline, json_line)?;
    addresses["websocket"] = addresses["amqp"].clone();
    stage.play(script, &addresses)
}

/// Real readers take from the emulator what the router sent it.
fn router_to_sdk(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let emulator = EmulatorProcess::start(stage)?;
    let routes = ["hub", "topic", "grid"].map(|endpoint| (endpoint, route(endpoint, "true")));
    let router = RouterProcess::start(stage, &emulator.endpoints(), &routes, "", "")?;
    let mut scene = emulator.addresses.clone();
    scene["ingress"] = json!(router.ingress);
    scene["expectations"] = json!(stage.folder.join("expectations.json"));
    stage.play("router_to_sdk.py", &scene)?;
    stage.play("router_to_sdk.mjs", &scene)?;
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

/// Another AMQP 1.0 broker, which knows neither tokens nor batches.
fn sink_to_proton(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let (_broker, address) = scene::broker(stage)?;
    to_proton(stage, address, &address.to_string(), "")
}

/// The same through WebSockets that are not ours.
fn sink_to_proton_over_websockets(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let (_broker, address) = scene::broker(stage)?;
    let scene = json!({ "broker": address.to_string() });
    let relay = stage.script("websocket_relay.py", &scene);
    let mut relay = ChildProgram::start("relay", &relay, &stage.folder)?;
    let first_line = relay.await_line("its address", stage.deadline, json_line)?;
    let at = scene::text(&first_line["relay"])?;
    to_proton(stage, address, at, "amqp_transport = \"websocket\"\n")
}

/// Sends to the broker by way of another address, and reads there.
fn to_proton(
    stage: &PeerStage<'_>,
    address: SocketAddr,
    by_way_of: &str,
    setting: &str,
) -> anyhow::Result<()> {
    let hub = scene::event_hub(&json!(format!(
        "Endpoint=sb://{by_way_of};SharedAccessKeyName=none;SharedAccessKey=bm9uZQ==;\
         UseDevelopmentEmulator=true;EntityPath=twins"
    )));
    let settings = format!("[endpoints.hub]\namqp_auth = \"anonymous\"\nbatch = false\n{setting}");
    let routes = [("all", route("hub", "true"))];
    let router = RouterProcess::start(stage, &[("hub", hub)], &routes, "", &settings)?;
    let scene = json!({
        "ingress": router.ingress,
        "broker": address.to_string(),
        "queue": "twins",
    });
    stage.play("sink_to_proton.py", &scene)?;
    router.settled(stage.deadline)?;
    Ok(())
}

/// Real publishers of Event Grid events, pointed at the router.
fn publishers_to_ingress(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    const KEY: &str = "a2V5LW9mLXRoZS1pbmdyZXNz";
    let emulator = EmulatorProcess::start(stage)?;
    let routes = [("all", route("grid", "true"))];
    let keys = format!("access_keys = [\"{KEY}\"]");
    let router = RouterProcess::start(stage, &emulator.endpoints(), &routes, &keys, "")?;
    let mut scene = emulator.addresses.clone();
    scene["ingress"] = json!(router.ingress);
    scene["accessKey"] = json!(KEY);
    stage.play("publishers.py", &scene)?;
    stage.play("publishers.mjs", &scene)?;
    router.settled(stage.deadline)?;
    Ok(())
}
