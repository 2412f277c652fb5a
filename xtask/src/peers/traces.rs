//! Traces from a producer through a running twinroute to its destinations, decoded by OpenTelemetry's own package.

use super::PeerStage;
use super::scene::{EmulatorProcess, RouterProcess, json_line, route};
use crate::process::ChildProgram;
use anyhow::Context as _;
use serde_json::json;

/// What the script's servers are for.
const TOPICS: [&str; 2] = ["busy", "refusing"];

/// The script is producer, collector and two topics; the hub is the emulator's.
pub(super) fn decoded(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let emulator = EmulatorProcess::start(stage)?;
    let router_file = stage.folder.join("router.json");
    let mut scene = emulator.addresses.clone();
    scene["router"] = json!(router_file);
    let mut script = ChildProgram::start(
        "traces.py",
        &stage.script("traces.py", &scene),
        &stage.folder,
    )?;
    let servers = script.await_line("its port", stage.deadline, json_line)?;
    let port = servers["port"].as_u64().context("a port")?;
    let mut endpoints = emulator.endpoints();
    endpoints.retain(|(name, _)| *name == "hub");
    for topic in TOPICS {
        let definition = json!({ "properties": {
            "endpointType": "EventGrid",
            "TopicEndpoint": format!("http://127.0.0.1:{port}/{topic}/api/events"),
            "accessKey1": "a2V5",
        } });
        endpoints.push((topic, definition));
    }
    let names = endpoints.iter().map(|(name, _)| *name);
    let routes: Vec<_> = names.map(|name| (name, route(name, "true"))).collect();
    let tracing = format!(
        "[tracing]\nendpoint = \"http://127.0.0.1:{port}\"\nheaders = [\"api-key: peers-key\"]\n\
         service_name = \"peers-router\"\ninterval = \"200ms\"\nsample = 0.0\n"
    );
    let router = RouterProcess::start(stage, &endpoints, &routes, "", &tracing)?;
    let written = router_file.with_extension("new");
    std::fs::write(&written, json!({ "ingress": router.ingress }).to_string())?;
    std::fs::rename(&written, &router_file)?;
    script.succeed(stage.deadline)?;
    let output = script.output();
    let is_tree = |line: &&str| line.starts_with("trace ") || line.starts_with("  ");
    for line in output.lines().filter(is_tree) {
        println!("   {line}");
    }
    Ok(())
}
