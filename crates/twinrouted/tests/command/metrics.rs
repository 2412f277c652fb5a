//! `/metrics`: everything that a running twinroute shows is as Prometheus wants it, and as the page says.

use crate::harness::{PATIENCE, TestDaemon, repository, write};
use crate::metric_rules::{MetricsScrape, documented};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;
use twinroute_emulator::{EventGridSettings, EventGridTopicSettings, RunningEmulator, Settings};
use twinroute_model::clock::SystemClock;

/// Those that need what this scene has not: another source, callers, or a request answered 503.
const ELSEWHERE: [&str; 5] = [
    "twinroute_ingress_refused_total",
    "twinroute_ingress_unavailable_total",
    "twinroute_source_age_seconds",
    "twinroute_source_failures",
    "twinroute_source_waiting",
];

fn emulator(runtime: &Runtime) -> RunningEmulator {
    let settings = Settings {
        event_grid: EventGridSettings {
            topics: vec![EventGridTopicSettings::new("grid")],
            ..EventGridSettings::default()
        },
        ..Settings::default()
    };
    let started = RunningEmulator::start(settings, Arc::new(SystemClock));
    runtime.block_on(started).unwrap()
}

/// A twinroute that has some of everything: a journal on disk, rules, a caller, TLS, credentials that end.
fn scene(folder: &Path, emulator: &RunningEmulator, admin: &str) {
    let settings = format!(
        "instance = 'demo'\ndefinitions = 'table'\nshutdown_grace = '0s'\n\
         [ingress]\nlisten = ['127.0.0.1:0']\n\
         ip_rules = [{{ name = 'lab', action = 'reject', ip_mask = '10.0.0.0/8' }}]\n\
         [admin]\nlisten = ['127.0.0.1:0']\nlisten_tls = ['127.0.0.1:0']\n{admin}\n\
         [management]\npath = 'management'\n\
         [journal]\npath = 'data'\nsegment_bytes = '1MiB'\nduplicate_window = '1m'\n\
         [tracing]\nendpoint = 'http://127.0.0.1:9'\n\
         [log]\nformat = 'json'\n"
    );
    write(folder, "twinroute.toml", &settings);
    let (topic, key) = (emulator.topic_endpoint("grid"), emulator.topic_key1("grid"));
    let container = "http://127.0.0.1:9/devstoreaccount1/letters?sv=2022-11-02&se=2099-01-01T00:00:00Z&sr=c&sp=w&sig=c2ln";
    let signed = "Endpoint=sb://127.0.0.1:9;SharedAccessSignature=SharedAccessSignature sr=sb%3a%2f%2f127.0.0.1%3a9%2fhub&sig=c2ln&se=4070908800&skn=send;EntityPath=hub";
    for (name, properties) in [
        (
            "grid-1",
            format!(
                r#""endpointType":"EventGrid","TopicEndpoint":"{topic}","accessKey1":"{key}","deadLetterSecret":"{container}""#
            ),
        ),
        (
            "grid-2",
            r#""endpointType":"EventGrid","TopicEndpoint":"http://127.0.0.1:9/api/events","accessKey1":"a2V5""#.to_owned(),
        ),
        (
            "hub-1",
            format!(
                r#""endpointType":"EventHub","connectionStringPrimaryKey":"{signed}","deadLetterSecret":"{container}""#
            ),
        ),
    ] {
        let body = format!(r#"{{"properties":{{{properties}}}}}"#);
        write(folder, &format!("table/endpoints/{name}.json"), &body);
    }
    for (name, filter) in [("grid-1", "true"), ("grid-2", "true"), ("hub-1", "false")] {
        let route = format!(r#"{{"endpointName":"{name}","filter":"{filter}"}}"#);
        write(folder, &format!("table/routes/{name}.json"), &route);
    }
}

/// A scrape of a daemon to whose first endpoint some events were delivered.
fn scraped(admin: &str) -> (MetricsScrape, tempfile::TempDir) {
    let runtime = Runtime::new().unwrap();
    let emulator = emulator(&runtime);
    let folder = tempfile::tempdir().unwrap();
    scene(folder.path(), &emulator, admin);
    let daemon = TestDaemon::start(folder.path());
    for id in 0..3 {
        assert!(daemon.post(id).starts_with("HTTP/1.1 202"));
    }
    let started = Instant::now();
    let count = |name: &str| {
        let status = daemon.status();
        let endpoints = status["instances"][0]["endpoints"].as_array().unwrap();
        let of = endpoints.iter().find(|one| one["name"] == name);
        of.unwrap().clone()
    };
    while count("grid-1")["delivered"] != 3 || count("grid-2")["state"] != "unreachable" {
        assert!(started.elapsed() < PATIENCE, "{:#}", daemon.status());
    }
    (MetricsScrape::checked(&daemon.metrics()), folder)
}

#[test]
fn every_metric_keeps_the_conventions_and_is_described() {
    let (scrape, _folder) = scraped("");
    let names: BTreeSet<String> = scrape.families.keys().cloned().collect();
    let expect = documented().into_keys();
    let expect = expect.filter(|name| !ELSEWHERE.contains(&name.as_str()));
    let absent: Vec<String> = expect.filter(|name| !names.contains(name)).collect();
    assert_eq!(absent, Vec::<String>::new(), "documented, and not there");
    for name in [
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    ] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
    let of = r#"adt_instance="demo",endpoint="grid-1""#;
    for series in [
        format!("twinroute_route_matched_total{{{of},route=\"grid-1\"}}"),
        format!("twinroute_delivery_duration_seconds_count{{{of}}}"),
        format!("twinroute_deliveries_total{{{of},outcome=\"delivered\"}}"),
    ] {
        assert_eq!(scrape.series.get(&series), Some(&3.0), "{series}");
    }
    let version = env!("CARGO_PKG_VERSION");
    let build = format!("twinroute_build_info{{version=\"{version}\"}}");
    assert_eq!(scrape.series.get(&build), Some(&1.0));
    let failed = r#"twinroute_failed_attempts_total{adt_instance="demo",endpoint="grid-2"}"#;
    assert!(scrape.series[failed] >= 1.0);
}

/// Routes apart, which have one each.
#[test]
fn an_idle_endpoint_has_16_series_at_most() {
    let (scrape, _folder) = scraped("");
    let of = r#"adt_instance="demo",endpoint="hub-1""#;
    let own = scrape.series.keys().filter(|series| series.contains(of));
    let own = own.filter(|series| !series.starts_with("twinroute_route_"));
    let own: Vec<&String> = own.collect();
    assert!((8..=16).contains(&own.len()), "{own:#?}");
    let states = own
        .iter()
        .filter(|series| series.contains("endpoint_state"));
    assert_eq!(states.count(), 1, "{own:#?}");
}

#[test]
fn endpoints_beyond_the_limit_share_the_remainder() {
    let (scrape, _folder) = scraped("metrics_endpoints_max = 0");
    let named = scrape.series.keys();
    let named: Vec<&String> = named.filter(|series| series.contains("\"grid-")).collect();
    assert_eq!(named, Vec::<&String>::new());
    let of = r#"adt_instance="_other",endpoint="_other""#;
    for (series, expect) in [
        (
            format!("twinroute_endpoint_state{{{of},state=\"healthy\"}}"),
            2.0,
        ),
        (
            format!("twinroute_endpoint_state{{{of},state=\"unreachable\"}}"),
            1.0,
        ),
        (format!("twinroute_queue_events{{{of}}}"), 3.0),
        (
            format!("twinroute_deliveries_total{{{of},outcome=\"matched\"}}"),
            6.0,
        ),
        (
            format!("twinroute_delivery_duration_seconds_count{{{of}}}"),
            3.0,
        ),
        (
            format!("twinroute_route_matched_total{{{of},route=\"_other\"}}"),
            6.0,
        ),
        (format!("twinroute_unaccounted_deliveries{{{of}}}"), 0.0),
    ] {
        assert_eq!(scrape.series.get(&series), Some(&expect), "{series}");
    }
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_exist() {
    let known = documented();
    for file in ["prometheus/alerts.yml", "grafana/twinroute.json"] {
        let text = std::fs::read_to_string(repository().join("deploy").join(file)).unwrap();
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let words = text.split(|letter| !is_part(letter));
        let names: BTreeSet<&str> = words
            .filter(|word| word.starts_with("twinroute_"))
            .collect();
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            let ends = ["_bucket", "_sum", "_count"].iter();
            let base = ends.filter_map(|end| name.strip_suffix(end)).next();
            let is_known = known.contains_key(base.unwrap_or(name)) || known.contains_key(name);
            assert!(is_known, "{file}: {name}");
        }
    }
}
