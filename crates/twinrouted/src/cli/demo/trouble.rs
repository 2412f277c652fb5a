//! What goes wrong in a demo, on purpose, and what becomes of it.

use crate::cli::output;
use crate::scene;
use anyhow::bail;
use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::sleep;
use twinroute_emulator::{PostAnswer, RunningEmulator, ScriptedFaults, SendAnswer};
use twinroute_router::Router;
use twinroute_router::dead_letters::DeadLetterQueryText;
use twinroute_router::replay::{ReplayRequest, ReplayState, ReplayStatus};

/// Dead letters that are printed.
const LISTED: usize = 5;

/// An endpoint of the demo that misbehaves for the middle third of the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DemoFault {
    endpoint: String,
    kind: TroubleKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TroubleKind {
    /// It cannot be reached.
    Unavailable,
    /// It refuses every event for good.
    Rejects,
}

impl FromStr for DemoFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = scene::endpoints().collect::<Vec<_>>().join(", ");
        let usage = || format!("NAME=unavailable or NAME=rejects, where NAME is one of {names}");
        let (endpoint, kind) = text.split_once('=').ok_or_else(usage)?;
        let kind = match kind {
            "unavailable" => TroubleKind::Unavailable,
            "rejects" => TroubleKind::Rejects,
            _ => return Err(usage()),
        };
        if !scene::endpoints().any(|name| name == endpoint) {
            return Err(usage());
        }
        let endpoint = endpoint.to_owned();
        Ok(Self { endpoint, kind })
    }
}

impl DemoFault {
    /// Begins it; gives a line that says so.
    pub(super) fn begin(&self, emulator: &RunningEmulator) -> String {
        let faults = emulator.faults();
        let entity = match self.endpoint.as_str() {
            "telemetry-hub" => scene::HUB,
            "alerts-topic" => scene::TOPIC,
            _ => scene::GRID,
        };
        let posts = entity == scene::GRID;
        let word = match (self.kind, posts) {
            (TroubleKind::Unavailable, true) => {
                faults.posts(entity, PostAnswer::Drop, ScriptedFaults::ALWAYS);
                "is switched off"
            }
            (TroubleKind::Unavailable, false) => {
                // Links that are there break with the next batch, new ones are refused.
                faults.sends(entity, SendAnswer::Drop, ScriptedFaults::ALWAYS);
                faults.attaches(
                    entity,
                    "com.microsoft:entity-disabled",
                    ScriptedFaults::ALWAYS,
                );
                "is switched off"
            }
            (TroubleKind::Rejects, true) => {
                faults.posts(
                    entity,
                    PostAnswer::Status(400, None),
                    ScriptedFaults::ALWAYS,
                );
                "refuses every event for good"
            }
            (TroubleKind::Rejects, false) => {
                let answer = SendAnswer::Reject("amqp:not-allowed".to_owned());
                faults.sends(entity, answer, ScriptedFaults::ALWAYS);
                "refuses every event for good"
            }
        };
        format!("{} {word}", self.endpoint)
    }
}

/// Lists, shows and replays what stands in the dead-letter container. Gives false when a replay did not
/// come to its end.
pub(super) async fn bring_back(
    emulator: &RunningEmulator,
    router: &Router,
) -> anyhow::Result<bool> {
    let blobs = emulator
        .blob_account()
        .blobs(scene::CONTAINER)
        .unwrap_or_default();
    let Some(first) = blobs.first() else {
        return Ok(true);
    };
    let mut text = format!("\n{} dead letters in the container:\n", blobs.len());
    for blob in blobs.iter().take(LISTED) {
        writeln!(text, "  {}", blob.name)?;
    }
    if blobs.len() > LISTED {
        writeln!(text, "  … and {} more", blobs.len() - LISTED)?;
    }
    writeln!(text, "\nThe first, and what is known of it:")?;
    writeln!(text, "  {}", String::from_utf8_lossy(&first.content))?;
    for (name, value) in &first.metadata {
        writeln!(text, "  {name}: {value}")?;
    }
    output::line(&text)?;
    let mut whole = true;
    for endpoint in scene::endpoints() {
        let prefix = format!("{endpoint}/");
        if !blobs.iter().any(|blob| blob.name.starts_with(&prefix)) {
            continue;
        }
        let replay = replay(router, endpoint, prefix).await?;
        output::line(format_args!(
            "replayed to {endpoint}: {} of them, {} delivered",
            replay.replayed, replay.delivered
        ))?;
        if replay.state != ReplayState::Done {
            output::line(format_args!("the replay stopped: {}", replay.reason))?;
            whole = false;
        }
    }
    Ok(whole)
}

async fn replay(router: &Router, endpoint: &str, prefix: String) -> anyhow::Result<ReplayStatus> {
    let request = ReplayRequest {
        query: DeadLetterQueryText {
            endpoint: endpoint.to_owned(),
            ..DeadLetterQueryText::default()
        },
        container_prefix: Some(prefix),
        ..ReplayRequest::default()
    };
    let number = router.replay(request).await?.number;
    loop {
        let replays = router.replays();
        let Some(replay) = replays.into_iter().find(|replay| replay.number == number) else {
            bail!("the replay {number} is gone");
        };
        match replay.state {
            ReplayState::Running | ReplayState::Waiting => sleep(Duration::from_millis(50)).await,
            _ => return Ok(replay),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_names_an_endpoint_and_a_kind() {
        let trouble: DemoFault = "telemetry-hub=unavailable".parse().unwrap();
        assert_eq!(
            (trouble.endpoint.as_str(), trouble.kind),
            ("telemetry-hub", TroubleKind::Unavailable)
        );
        for wrong in ["telemetry-hub", "telemetry-hub=slow", "other=unavailable"] {
            let error = wrong.parse::<DemoFault>().unwrap_err();
            assert!(error.contains("lifecycle-grid"), "{error}");
        }
    }
}
