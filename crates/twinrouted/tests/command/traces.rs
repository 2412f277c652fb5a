//! `[tracing]`: a collector that is not there costs spans, which are counted, and nothing else.

use crate::harness::{PATIENCE, TestDaemon, scene, text, with_config, write};
use std::path::Path;
use std::time::Instant;

/// The scene, with this table.
fn tracing(table: &str) -> tempfile::TempDir {
    let folder = scene();
    let file = folder.path().join("twinroute.toml");
    let before = std::fs::read_to_string(file).unwrap();
    let all = format!("{before}[tracing]\n{table}");
    write(folder.path(), "twinroute.toml", &all);
    folder
}

/// The value of a counter, by the beginning of its line.
fn counted(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0.0, |value| value.trim().parse().unwrap())
}

#[test]
fn a_collector_that_is_not_there_is_logged_once_and_its_spans_are_counted() {
    let folder = tracing("endpoint = 'http://127.0.0.1:9'\ninterval = '100ms'\n");
    let mut daemon = TestDaemon::start(folder.path());
    assert!(daemon.post(1).starts_with("HTTP/1.1 202"));
    let line = daemon.line("the collector takes no spans");
    assert!(line.contains("http://127.0.0.1:9/v1/traces"), "{line}");
    assert!(line.contains("refused"), "{line}");
    let series = "twinroute_spans_dropped_total{reason=\"export-failed\"}";
    let latest = Instant::now() + PATIENCE;
    while counted(&daemon.metrics(), series) < 2.0 {
        assert!(Instant::now() < latest, "{}", daemon.metrics());
        daemon.post(2);
    }
    daemon.signal("-TERM");
    assert!(daemon.child.wait().unwrap().success());
    let rest = daemon.lines.try_iter().chain(daemon.seen.iter().cloned());
    let repeated = rest.filter(|line| line.contains("the collector takes no spans"));
    assert_eq!(repeated.count(), 1);
}

#[test]
fn without_an_endpoint_nothing_is_recorded() {
    let folder = scene();
    let daemon = TestDaemon::start(folder.path());
    assert!(daemon.post(1).starts_with("HTTP/1.1 202"));
    assert!(!daemon.metrics().contains("twinroute_spans"));
}

#[test]
fn a_table_that_cannot_be_used_is_refused_before_anything_starts() {
    let refused = |folder: &Path, command| {
        let output = with_config(command, folder);
        assert_eq!(output.status.code(), Some(78));
        text(&output.stderr)
    };
    for (table, expect) in [
        ("sample = 2.0\n", "[tracing]: sample must be 0.0 to 1.0"),
        ("endpoint = 'h:4318'\n", "[tracing]: endpoint must be http"),
        (
            "headers = ['s3cret']\n",
            "[tracing]: headers: line 1 must be a header, as name: value",
        ),
        (
            "sampel = 1.0\n",
            "tracing.sampel: unknown field `sampel`; did you mean `sample`?",
        ),
    ] {
        let folder = tracing(table);
        for command in ["validate", "run"] {
            let error = refused(folder.path(), command);
            assert!(error.contains(expect), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
    let folder = tracing("endpoint = 'http://127.0.0.1:9'\nheaders_file = 'gone'\n");
    let output = with_config("run", folder.path());
    let error = text(&output.stderr);
    assert!(error.contains("[tracing]: headers_file"), "{error}");
}
