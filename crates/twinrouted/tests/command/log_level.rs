//! `twinroute log-level`: the log of a running daemon says more or less at once, and the audit log says who wanted it.

use crate::harness::{TestDaemon, scene, text, twinroute, write};

/// The filter without any in the configuration.
const CONFIGURED: &str = "info,azure_identity=warn";

fn log_level(daemon: &TestDaemon, arguments: &[&str]) -> (bool, String) {
    let output = twinroute()
        .arg("log-level")
        .args(arguments)
        .args(["--admin", &daemon.admin])
        .output()
        .unwrap();
    let printed = text(&output.stdout) + &text(&output.stderr);
    (output.status.success(), printed)
}

#[test]
fn the_log_level_changes_while_a_daemon_runs_and_is_audited() {
    let folder = scene();
    let mut daemon = TestDaemon::start(folder.path());
    assert_eq!(log_level(&daemon, &[]), (true, format!("{CONFIGURED}\n")));
    let (ok, printed) = log_level(&daemon, &["warn,twinroute_router=trace"]);
    assert!(ok, "{printed}");
    assert_eq!(
        printed,
        format!("warn,twinroute_router=trace (configured: {CONFIGURED})\n")
    );
    let line = daemon.line("the log filter was changed");
    assert!(line.contains(CONFIGURED), "{line}");
    // A change of the table is said at level INFO of that part.
    write(
        folder.path(),
        "table/routes/all.json",
        r#"{"endpointName":"grid-1","filter":"false"}"#,
    );
    daemon.line("a new table is in use");
    assert!(log_level(&daemon, &["error"]).0);
    write(
        folder.path(),
        "table/routes/all.json",
        r#"{"endpointName":"grid-1","filter":"true"}"#,
    );
    while daemon.status()["table"]["generation"] != 3 {}
    let seen = daemon.seen.len();
    assert!(log_level(&daemon, &["--reset"]).0);
    write(
        folder.path(),
        "table/routes/all.json",
        r#"{"endpointName":"grid-1","filter":"false"}"#,
    );
    let line = daemon.line("a new table is in use");
    assert!(line.contains("\"generation\":4"), "{line}");
    let quiet = daemon.seen[seen..].iter();
    let quiet = quiet.filter(|line| line.contains("a new table"));
    assert_eq!(quiet.count(), 1, "generation 3 was not logged");
}

#[test]
fn a_log_level_that_is_none_is_refused_and_changes_nothing() {
    let folder = scene();
    let daemon = TestDaemon::start(folder.path());
    let (ok, printed) = log_level(&daemon, &["twinroute=loud"]);
    assert!(!ok && printed.contains("the log filter: "), "{printed}");
    assert_eq!(log_level(&daemon, &[]), (true, format!("{CONFIGURED}\n")));
}
