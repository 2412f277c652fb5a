//! The router that is flooded: the daemon itself, with default settings, on one core.

use crate::http::{self, HttpRequest};
use crate::process::{ChildProgram, until};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(30);

/// A running router.
pub(super) struct FloodedRouter {
    process: ChildProgram,
    ingress: SocketAddr,
    admin: SocketAddr,
}

/// What its status said.
#[derive(Clone, Debug, Default)]
pub(super) struct StatusSample {
    pub(super) accepted: u64,
    /// Deliveries that have not ended.
    pub(super) open: u64,
    pub(super) dead_letters: u64,
    pub(super) discarded: u64,
    pub(super) oldest_age: Duration,
    /// Producers that waited long, and in vain.
    pub(super) slowed: u64,
    pub(super) refused: u64,
}

impl FloodedRouter {
    /// Starts it with an endpoint and a route for each port; every event matches all.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn start(
        program: &Path,
        folder: &Path,
        durable: bool,
        ports: &[u16],
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder.join("table/endpoints"))?;
        std::fs::create_dir_all(folder.join("table/routes"))?;
        let mut config = String::from(
            "instance = \"plant\"\ndefinitions = \"table\"\nshutdown_grace = \"1s\"\n\
             [ingress]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = [\"127.0.0.1:0\"]\n",
        );
        if durable {
            config.push_str("[journal]\npath = \"journal\"\n");
        }
        let config_file = folder.join("twinroute.toml");
        std::fs::write(&config_file, config)?;
        for (index, port) in ports.iter().enumerate() {
            let endpoint = json!({"properties": {
                "endpointType": "EventGrid",
                "accessKey1": "c2VjcmV0LWtleQ==",
                "TopicEndpoint": format!("http://127.0.0.1:{port}/api/events"),
            }});
            let route = json!({
                "endpointName": format!("grid-{index}"),
                "filter": "type = 'Microsoft.DigitalTwins.Twin.Update'",
            });
            let place = |kind: &str| folder.join(format!("table/{kind}/grid-{index}.json"));
            std::fs::write(place("endpoints"), endpoint.to_string())?;
            std::fs::write(place("routes"), route.to_string())?;
        }
        let mut command = on_one_core(program)?;
        command.arg("run").arg("--config").arg(&config_file);
        let mut process = ChildProgram::start("twinroute", &command, folder)?;
        let deadline = Instant::now() + START_MAX;
        let mut address = |what: &str| {
            process.await_line(what, deadline, |line| {
                let (_, address) = line.split_once(what)?.1.split_once("address=")?;
                address.split_whitespace().next()?.parse().ok()
            })
        };
        let ingress = address("accepts events")?;
        let admin = address("answers /status")?;
        let router = Self {
            process,
            ingress,
            admin,
        };
        until("the first status", deadline, || Ok(router.sample().ok()))?;
        Ok(router)
    }

    pub(super) fn ingress(&self) -> SocketAddr {
        self.ingress
    }

    /// Asks how it does.
    ///
    /// # Errors
    /// No answer came in time.
    pub(super) fn sample(&self) -> anyhow::Result<StatusSample> {
        let status = http::ask(self.admin, &HttpRequest::get("/status"))?.body;
        let endpoints = status["instances"][0]["endpoints"].as_array();
        let endpoints = endpoints.context("a status without endpoints")?;
        let sum = |of: &dyn Fn(&Value) -> u64| endpoints.iter().map(of).sum::<u64>();
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let oldest = endpoints.iter().map(|one| number(&one["oldest_age_ms"]));
        Ok(StatusSample {
            accepted: number(&status["journal"]["accepted"]),
            open: sum(&|one| {
                number(&one["queued"]) + number(&one["in_flight"]) + number(&one["retrying"])
            }),
            dead_letters: sum(&|one| {
                let letters = &one["dead_letters"];
                let here = number(&letters["local"]) + number(&letters["awaiting_upload"]);
                here + number(&letters["uploaded"])
            }),
            discarded: sum(&|one| number(&one["discarded"])),
            oldest_age: Duration::from_millis(oldest.max().unwrap_or_default()),
            slowed: number(&status["admission"]["slowed"]),
            refused: number(&status["admission"]["refused"]),
        })
    }

    /// Bytes of memory by their name in `/proc/PID/status`.
    ///
    /// # Errors
    /// The process is gone.
    pub(super) fn memory(&mut self, name: &str) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.process.id());
        let text = std::fs::read_to_string(&path).context(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
        let kib: u64 = kib.and_then(|kib| kib.parse().ok()).context("no memory")?;
        Ok(kib << 10)
    }
}

/// A command that has the first core that we may use, and no other.
fn on_one_core(program: &Path) -> anyhow::Result<Command> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let cores = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first = cores
        .map(str::trim)
        .and_then(|cores| cores.split([',', '-']).next());
    let mut command = Command::new("taskset");
    command.args(["-c", first.context("no core")?]).arg(program);
    Ok(command)
}
