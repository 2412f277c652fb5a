//! Keys are rotated under load, a few times.
//!
//! `cargo xtask rotate` does it longer.

use crate::harness::twinroute;
use twinroute_tests::rotation::{Options, Until, run};

#[test]
fn rotated_keys_under_load_cost_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        program: twinroute().get_program().into(),
        folder: folder.path().to_owned(),
        until: Until::Rotations(3),
    };
    let mut lines = Vec::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let report = runtime.block_on(run(&options, |line| lines.push(line.to_owned())));
    let report = report.unwrap_or_else(|error| panic!("{error:#}\n{}", lines.join("\n")));
    let output = lines.join("\n");
    assert_eq!(report.violations, [""; 0], "{report}{output}");
    // It was about something.
    assert_eq!((report.polite, report.rude), (2, 1), "{output}");
    assert!(report.events > 300, "{report}{output}");
}
