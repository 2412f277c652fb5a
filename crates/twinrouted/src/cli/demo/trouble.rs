//! What goes wrong in a demo, on purpose, and what becomes of it.

use crate::cli::output;
use crate::cli::paint::{PaintedText, TextColor};
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

/// An endpoint of the demo that misbehaves.
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

/// What misbehaves in a demo that is watched; keys change it.
pub(super) struct LiveFaults(Vec<DemoFault>);

impl LiveFaults {
    /// Begins with these.
    pub(super) fn begin(faults: Vec<DemoFault>, emulator: &RunningEmulator) -> Self {
        let faults = Self(faults);
        faults.apply(emulator);
        faults
    }

    /// The key of an endpoint, `1` for the first: switched off, refusing, in order again, in turns.
    pub(super) fn press(&mut self, key: u8, emulator: &RunningEmulator) {
        let number = usize::from(key.wrapping_sub(b'1'));
        let Some(endpoint) = scene::endpoints().nth(number) else {
            return;
        };
        let next = match self.kind(endpoint) {
            None => Some(TroubleKind::Unavailable),
            Some(TroubleKind::Unavailable) => Some(TroubleKind::Rejects),
            Some(TroubleKind::Rejects) => None,
        };
        self.0.retain(|fault| fault.endpoint != endpoint);
        self.0.extend(next.map(|kind| DemoFault {
            endpoint: endpoint.to_owned(),
            kind,
        }));
        self.apply(emulator);
    }

    /// The keys and what they have done, in 80 columns.
    pub(super) fn text(&self) -> PaintedText {
        let mut text = PaintedText::default();
        for (number, endpoint) in scene::endpoints().enumerate() {
            let (color, word) = match self.kind(endpoint) {
                None => (TextColor::Good, "works"),
                Some(TroubleKind::Unavailable) => (TextColor::Bad, "off"),
                Some(TroubleKind::Rejects) => (TextColor::Caution, "rejects"),
            };
            let gap = if number > 0 { "  " } else { "" };
            text.plain(format!("{gap}{} {endpoint} ", number + 1));
            text.add(color, word);
        }
        text.plain("  q end\n");
        text
    }

    fn kind(&self, endpoint: &str) -> Option<TroubleKind> {
        let mut faults = self.0.iter();
        let found = faults.find(|fault| fault.endpoint == endpoint);
        found.map(|fault| fault.kind)
    }

    fn apply(&self, emulator: &RunningEmulator) {
        emulator.faults().clear();
        for fault in &self.0 {
            fault.begin(emulator);
        }
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

    #[tokio::test]
    async fn keys_switch_an_endpoint_off_have_it_refuse_and_bring_it_back() {
        let clock = std::sync::Arc::new(twinroute_model::clock::SystemClock);
        let emulator = RunningEmulator::start(scene::emulator_settings(), clock);
        let emulator = emulator.await.unwrap();
        let hub = scene::endpoints().position(|name| name == "telemetry-hub");
        let key = b'1' + u8::try_from(hub.unwrap()).unwrap();
        let first = vec!["alerts-topic=rejects".parse().unwrap()];
        let mut faults = LiveFaults::begin(first, &emulator);
        for expect in ["off", "rejects", "works"] {
            faults.press(key, &emulator);
            let text = faults.text().to_string();
            assert!(text.contains(&format!("telemetry-hub {expect}")), "{text}");
            assert!(text.contains("alerts-topic rejects"), "{text}");
            assert!(text.trim_end().chars().count() <= 80, "{text}");
        }
        faults.press(b'9', &emulator);
        faults.press(b'\n', &emulator);
        assert!(faults.text().to_string().contains("lifecycle-grid works"));
        emulator.shutdown().await;
    }

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
