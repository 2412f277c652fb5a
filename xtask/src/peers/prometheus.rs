//! A real Prometheus judges `deploy/`: the alerts with their tests, and every query of the dashboard against a running
//! twinroute that it scrapes.

use super::PeerStage;
use super::scene::{EmulatorProcess, RouterProcess, route};
use crate::process::{self, ChildProgram};
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long one run of `promtool` may take.
const TOOL_MAX: Duration = Duration::from_secs(60);

/// How long after the first deliveries every query must have an answer.
const ANSWERS_MAX: Duration = Duration::from_secs(20);

/// Metrics without a series in the scene, so that queries for them have an empty answer: no signature ends there.
const ABSENT: [&str; 1] = ["twinroute_credential_expiry_timestamp_seconds"];

/// `deploy` of the sources.
fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// The rules are well formed, and each alert fires and stays quiet when its tests say so.
pub(super) fn alerts(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let folder = deploy().join("prometheus");
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let mut tool = Command::new("promtool");
        tool.args(arguments).current_dir(&folder);
        let name = format!("promtool-{}", arguments[0]);
        process::run(&name, &tool, &stage.folder, TOOL_MAX)?;
    }
    Ok(())
}

/// Every query of the dashboard has an answer, no rule fails, and an endpoint that is down is noticed.
pub(super) fn dashboard(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let emulator = EmulatorProcess::start(stage)?;
    let router = scene(stage, &emulator)?;
    let prometheus = ScrapingServer::start(stage, &router)?;
    for number in 0..20 {
        let event =
            json!({ "specversion": "1.0", "id": number.to_string(), "source": "s", "type": "t" });
        router.post(&event.to_string())?;
    }
    router.shows("deliveries", stage.deadline, |status| {
        let endpoints = super::scene::endpoints(status).iter();
        let delivered = endpoints.filter(|endpoint| endpoint["delivered"] == 20);
        delivered.count() == 3
    })?;
    let rate = r#"rate(twinroute_deliveries_total{outcome="delivered"}[10s]) > 0"#;
    prometheus.await_answer(rate, stage.deadline)?;
    let pending =
        r#"ALERTS{alertname="TwinrouteEndpointUnavailable", endpoint="down", state="unreachable"}"#;
    prometheus.await_answer(pending, stage.deadline)?;
    prometheus.await_answer("prometheus_rule_evaluations_total > 0", stage.deadline)?;
    let failed = prometheus.answer("prometheus_rule_evaluation_failures_total > 0")?;
    ensure!(
        failed.is_empty(),
        "rules that cannot be evaluated: {failed}"
    );
    let file = deploy().join("grafana/twinroute.json");
    let board: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let queries = queries(&board)?;
    ensure!(queries.len() > 30, "only {} queries", queries.len());
    let (mut wrong, until) = (Vec::new(), Instant::now() + ANSWERS_MAX);
    for query in &queries {
        let answer = prometheus.answer(query).context(query.clone())?;
        let may_be_empty = ABSENT.iter().any(|name| query.contains(name));
        // A series that is new has a rate with its second sample.
        if answer.is_empty() && !may_be_empty && prometheus.await_answer(query, until).is_err() {
            wrong.push(query.as_str());
        }
    }
    ensure!(wrong.is_empty(), "without an answer:\n{}", wrong.join("\n"));
    println!("   {} queries answered", queries.len());
    Ok(())
}

/// A router with a journal on disk, three endpoints that take events and one that is down.
fn scene(stage: &PeerStage<'_>, emulator: &EmulatorProcess) -> anyhow::Result<RouterProcess> {
    let mut endpoints = emulator.endpoints();
    let container =
        "http://127.0.0.1:9/d/letters?sv=2022-11-02&se=2099-01-01T00:00:00Z&sr=c&sp=w&sig=c2ln";
    endpoints.push((
        "down",
        json!({ "properties": {
            "endpointType": "EventGrid",
            "TopicEndpoint": "http://127.0.0.1:9/api/events",
            "accessKey1": "a2V5",
            "deadLetterSecret": container,
        } }),
    ));
    let names: Vec<&str> = endpoints.iter().map(|(name, _)| *name).collect();
    let routes: Vec<_> = names
        .iter()
        .map(|name| (*name, route(name, "true")))
        .collect();
    let journal = "[journal]\npath = \"data\"\nsegment_bytes = \"1MiB\"\n";
    RouterProcess::start(stage, &endpoints, &routes, "", journal)
}

/// The queries of all panels and variables, with values in place of variables, each once.
fn queries(board: &Value) -> anyhow::Result<BTreeSet<String>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = BTreeSet::new();
    for panel in list(&board["panels"]) {
        for target in list(&panel["targets"]) {
            let query = target["expr"].as_str().context("a target has a query")?;
            found.insert(query.to_owned());
        }
    }
    for variable in list(&board["templating"]["list"]) {
        let Some(query) = variable["query"]["query"].as_str() else {
            continue;
        };
        // `label_values(selector, label)`: of the series, the label alone is shown.
        let selector = query
            .strip_prefix("label_values(")
            .and_then(|query| query.rsplit_once(','));
        found.insert(
            selector
                .context("variables ask for values of a label")?
                .0
                .to_owned(),
        );
    }
    let filled = found.into_iter().map(|query| {
        query
            .replace("$__rate_interval", "10s")
            .replace("$job", "twinroute")
            .replace("$adt_instance", ".*")
            .replace("$endpoint", ".*")
    });
    let filled: BTreeSet<String> = filled.collect();
    if let Some(query) = filled.iter().find(|query| query.contains('$')) {
        bail!("a variable that nobody fills: {query}");
    }
    Ok(filled)
}

/// A Prometheus that scrapes a router and itself every second.
struct ScrapingServer {
    _process: ChildProgram,
    address: String,
    /// For what its client prints.
    folder: PathBuf,
}

impl ScrapingServer {
    fn start(stage: &PeerStage<'_>, router: &RouterProcess) -> anyhow::Result<Self> {
        // It cannot tell a port that the system chose, so one is chosen and freed for it.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let rules = deploy().join("prometheus/alerts.yml").canonicalize()?;
        let settings = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": [rules],
            "scrape_configs": [
                { "job_name": "twinroute", "static_configs": [{ "targets": [router.admin().to_string()] }] },
                { "job_name": "prometheus", "static_configs": [{ "targets": [&address] }] },
            ],
        });
        // JSON is YAML.
        let file = stage.folder.join("prometheus.yml");
        std::fs::write(&file, settings.to_string())?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                stage.folder.join("tsdb").display()
            ))
            .arg(format!("--web.listen-address={address}"));
        let process = ChildProgram::start("prometheus", &command, &stage.folder)?;
        let server = Self {
            _process: process,
            address: format!("http://{address}"),
            folder: stage.folder.clone(),
        };
        server.await_answer(r#"up{job="twinroute"} == 1"#, stage.deadline)?;
        Ok(server)
    }

    /// What Prometheus's own client prints of a query; nothing where no series is found.
    fn answer(&self, query: &str) -> anyhow::Result<String> {
        let mut tool = Command::new("promtool");
        tool.args(["query", "instant", &self.address, query]);
        process::run("promtool-query", &tool, &self.folder, TOOL_MAX)?;
        let printed = std::fs::read_to_string(self.folder.join("promtool-query.log"))?;
        Ok(printed.trim().to_owned())
    }

    fn await_answer(&self, query: &str, deadline: Instant) -> anyhow::Result<()> {
        let asked = || {
            // Before it listens it answers nothing.
            let answer = self.answer(query).unwrap_or_default();
            Ok((!answer.is_empty()).then_some(()))
        };
        process::until(query, deadline, asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() {
        let text = |file: &str| std::fs::read_to_string(deploy().join("prometheus").join(file));
        let (rules, tests) = (
            text("alerts.yml").unwrap(),
            text("alerts_test.yml").unwrap(),
        );
        let alerts = rules.lines();
        let alerts = alerts.filter_map(|line| line.trim().strip_prefix("- alert: "));
        let alerts: BTreeSet<&str> = alerts.collect();
        assert!(alerts.len() > 10, "{alerts:?}");
        for alert in alerts {
            let name = format!("alertname: {alert}\n");
            let expected = tests.split(&name).skip(1);
            let quiet = expected.map(|text| text.trim_start().starts_with("exp_alerts: []"));
            let quiet: BTreeSet<bool> = quiet.collect();
            assert_eq!(quiet, BTreeSet::from([false, true]), "{alert}");
        }
    }

    #[test]
    fn queries_of_panels_and_variables_are_filled() {
        let board = json!({
            "panels": [{ "targets": [{ "expr": "rate(a{job=\"$job\"}[$__rate_interval])" }] }, {}],
            "templating": { "list": [{ "query": "prometheus" },
                { "query": { "query": "label_values(b{job=\"$job\"}, endpoint)" } }] },
        });
        let expect = ["b{job=\"twinroute\"}", "rate(a{job=\"twinroute\"}[10s])"];
        assert_eq!(queries(&board).unwrap(), expect.map(str::to_owned).into());
        let board = json!({ "panels": [{ "targets": [{ "expr": "a{b=\"$c\"}" }] }] });
        assert!(queries(&board).is_err());
    }
}
