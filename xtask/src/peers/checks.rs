//! The checks.

use super::install::Peer::{Node, Python};
use super::process::Process;
use super::scene::json_line;
use super::{Check, Stage};
use std::process::Command;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Every check, in the order they run.
pub(super) const ALL: &[Check] = &[
    Check {
        name: "emulator-event-hubs-python",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(3),
        run: |stage| emulator(stage, "event_hubs.py"),
    },
    Check {
        name: "emulator-service-bus-python",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(3),
        run: |stage| emulator(stage, "service_bus.py"),
    },
    Check {
        name: "emulator-event-grid-python",
        needs: &[Python],
        time_max: MINUTE.saturating_mul(2),
        run: |stage| emulator(stage, "event_grid.py"),
    },
    Check {
        name: "emulator-event-hubs-javascript",
        needs: &[Node],
        time_max: MINUTE.saturating_mul(3),
        run: |stage| emulator(stage, "event_hubs.mjs"),
    },
    Check {
        name: "emulator-service-bus-javascript",
        needs: &[Node],
        time_max: MINUTE.saturating_mul(3),
        run: |stage| emulator(stage, "service_bus.mjs"),
    },
    Check {
        name: "emulator-event-grid-javascript",
        needs: &[Node],
        time_max: MINUTE.saturating_mul(2),
        run: |stage| emulator(stage, "event_grid.mjs"),
    },
];

/// A script against the stand-ins alone.
fn emulator(stage: &Stage<'_>, script: &str) -> anyhow::Result<()> {
    let serve = Command::new(stage.program("examples/serve"));
    let mut serve = Process::start("emulator", &serve, &stage.folder)?;
    let addresses = serve.await_line("its addresses", stage.deadline, json_line)?;
    stage.play(script, &addresses)
}
