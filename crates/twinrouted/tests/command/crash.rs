//! The crash oracle, short: the process dies ten times under load while destinations misbehave.
//!
//! `cargo xtask crash` does it longer, and with any seed.

use crate::harness::twinroute;
use std::time::Duration;
use twinroute_tests::crash::{Options, run};

const SEED: u64 = 1;
const KILLS: u32 = 10;

#[test]
fn ten_kills_under_load_break_no_promise() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        program: twinroute().get_program().into(),
        folder: folder.path().to_owned(),
        seed: SEED,
        kills: KILLS,
        time_max: Duration::from_secs(60),
        with_trials: false,
    };
    let mut lines = Vec::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let report = runtime.block_on(run(&options, |line| lines.push(line.to_owned())));
    let report = report.unwrap();
    assert_eq!(report.violations, [], "{report}{}", lines.join("\n"));
    assert_eq!(report.kills, KILLS);
    // It was about something.
    let tally = report.tally;
    assert!(tally.acknowledged > 500, "{report}");
    assert!(tally.delivered > tally.acknowledged, "{report}");
    assert!(tally.uploaded > 100, "{report}");
    assert!(tally.kept > 0 && tally.replayed > 0, "{report}");
}
