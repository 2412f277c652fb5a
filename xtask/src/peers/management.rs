//! Checks of the management API: real clients lead whole lives of its resources, what they put delivers, and a
//! killed router comes back with what it answered for.

use super::PeerStage;
use super::managed::{DestinationChecks, ManagedRouter};
use super::scene::EmulatorProcess;
use crate::http::{HttpRequest, HttpResponse};
use crate::process::ChildProgram;
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::process::Command;

/// The clients for Python, over HTTPS as they are shipped.
pub(super) fn python(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let router = ManagedRouter::start(stage, DestinationChecks::Definitions)?;
    stage.play("management.py", &router.over_tls())
}

/// The same over plain HTTP, with a policy that sends the token there too.
pub(super) fn python_over_http(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let router = ManagedRouter::start(stage, DestinationChecks::Definitions)?;
    stage.play("management.py", &router.over_http())
}

/// The clients for JavaScript, over HTTPS.
pub(super) fn javascript(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let router = ManagedRouter::start(stage, DestinationChecks::Definitions)?;
    router.play_node(stage, "management.mjs", &router.over_tls())
}

/// The clients of the Device Provisioning Service.
pub(super) fn provisioning(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let router = ManagedRouter::start(stage, DestinationChecks::Definitions)?;
    let mut scene = router.over_tls();
    scene["deviceCa"] = json!(stage.folder.join("device-ca.pem"));
    stage.play("provisioning.py", &scene)?;
    router.play_node(stage, "provisioning.mjs", &scene)
}

/// As `az rest` asks: curl over both, with the headers of ARM.
pub(super) fn curl(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    const TARGET: &str = "/subscriptions/7c1d1f1e-0f6c-4f5e-9d9b-7c3c2d1a0b9e/resourceGroups/rg/providers/\
                          Microsoft.DigitalTwins/digitalTwinsInstances/by-curl?api-version=2023-01-31";
    let router = ManagedRouter::start(stage, DestinationChecks::Definitions)?;
    for (scene, name) in [(router.over_tls(), "tls"), (router.over_http(), "http")] {
        let text = |member: &str| scene[member].as_str().unwrap_or_default().to_owned();
        let url = text("base") + TARGET;
        let bearer = format!("authorization: Bearer {}", text("token"));
        for (method, body, status) in [
            ("PUT", "{\"location\":\"westus2\"}", "201"),
            ("GET", "", "200"),
            ("DELETE", "", "202"),
        ] {
            let mut command = Command::new("curl");
            command
                .args([
                    "--silent",
                    "--show-error",
                    "--max-time",
                    "10",
                    "--cacert",
                    &text("ca"),
                ])
                .args(["--request", method, "--header", &bearer])
                .args(["--write-out", "\nstatus %{http_code}\n"]);
            if !body.is_empty() {
                command.args(["--header", "content-type: application/json", "--data", body]);
            }
            command.arg(&url);
            let mut curl =
                ChildProgram::start(&format!("curl-{name}-{method}"), &command, &stage.folder)?;
            curl.succeed(stage.deadline)?;
            let output = curl.output();
            ensure!(
                output.contains(&format!("status {status}")),
                "{method} {url}: {output}"
            );
            if method == "PUT" {
                // Quick as it is, the operation has to be over before the instance goes.
                await_state(&router, TARGET)?;
            }
        }
        let gone = || Ok((router.ask(&HttpRequest::get(TARGET))?.status == 404).then_some(()));
        crate::process::until("the instance is gone", stage.deadline, gone)?;
    }
    Ok(())
}

/// The state at the end of an operation.
pub(super) fn await_state(router: &ManagedRouter, target: &str) -> anyhow::Result<HttpResponse> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    crate::process::until("the resource is provisioned", deadline, || {
        let answer = router.ask(&HttpRequest::get(target))?;
        ensure!(
            answer.status == 200,
            "{target}: {} {}",
            answer.status,
            answer.text
        );
        match answer.body["properties"]["provisioningState"].as_str() {
            Some("Succeeded") => Ok(Some(answer)),
            Some("Failed" | "Canceled") => bail!("{target}: {}", answer.text),
            _ => Ok(None),
        }
    })
    .with_context(|| target.to_owned())
}

/// What is put is asked whether it answers, is in the table at once, and delivers.
pub(super) fn to_delivery(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let emulator = EmulatorProcess::start(stage)?;
    let router = ManagedRouter::start(stage, DestinationChecks::Destinations)?;
    let mut scene = emulator.addresses.clone();
    for (name, value) in router.over_tls().as_object().into_iter().flatten() {
        scene[name] = value.clone();
    }
    let mut script = ChildProgram::start(
        "management_to_delivery.py",
        &stage.script("management_to_delivery.py", &scene),
        &stage.folder,
    )?;
    let ended = script.succeed(stage.deadline);
    for line in script
        .output()
        .lines()
        .filter(|line| line.starts_with("ok "))
    {
        println!("  {line}");
    }
    ended
}

/// A body that is as wanted, or what is wrong.
pub(super) fn is_whole(body: &Value, members: &[(&str, String)]) -> anyhow::Result<()> {
    for (pointer, wanted) in members {
        let found = body.pointer(pointer).unwrap_or(&Value::Null);
        ensure!(
            *found == json!(wanted),
            "{pointer} is {found}, not {wanted}: {body}"
        );
    }
    Ok(())
}
