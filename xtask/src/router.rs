//! The router that is measured: the daemon itself, on the cores that it is given.

use crate::cores;
use crate::http::{self, HttpRequest};
use crate::process::{ChildProgram, until};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(30);

/// A running router.
pub(crate) struct MeasuredRouter {
    process: ChildProgram,
    ingress: SocketAddr,
    admin: SocketAddr,
}

/// What its status said.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatusSample {
    pub(crate) accepted: u64,
    /// Deliveries that arrived.
    pub(crate) delivered: u64,
    /// Deliveries that have not ended.
    pub(crate) open: u64,
    pub(crate) dead_letters: u64,
    pub(crate) discarded: u64,
    pub(crate) oldest_age: Duration,
    /// Producers that waited long, and in vain.
    pub(crate) slowed: u64,
    pub(crate) refused: u64,
}

/// What it is started with. Files are made below `folder`.
pub(crate) struct RouterSetup<'a> {
    pub(crate) program: &'a Path,
    pub(crate) folder: &'a Path,
    /// Cores, as `taskset` takes them.
    pub(crate) cores: &'a str,
    /// What stands in the configuration besides where to listen, in TOML: beginning with more of `[ingress]`.
    pub(crate) config: &'a str,
    /// Definitions by their names.
    pub(crate) endpoints: Vec<(String, Value)>,
    pub(crate) routes: Vec<(String, Value)>,
}

impl MeasuredRouter {
    /// Starts one on free ports.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start(setup: &RouterSetup<'_>) -> anyhow::Result<Self> {
        for (kind, definitions) in [("endpoints", &setup.endpoints), ("routes", &setup.routes)] {
            let folder = setup.folder.join("table").join(kind);
            std::fs::create_dir_all(&folder)?;
            for (name, definition) in definitions {
                std::fs::write(folder.join(format!("{name}.json")), definition.to_string())?;
            }
        }
        let config = format!(
            "instance = \"plant\"\ndefinitions = \"table\"\nshutdown_grace = \"1s\"\n\
             [admin]\nlisten = [\"127.0.0.1:0\"]\n[ingress]\nlisten = [\"127.0.0.1:0\"]\n{}",
            setup.config
        );
        let config_file = setup.folder.join("twinroute.toml");
        std::fs::write(&config_file, config)?;
        let mut command = cores::pinned(setup.cores, setup.program);
        command.arg("run").arg("--config").arg(&config_file);
        let mut process = ChildProgram::start("twinroute", &command, setup.folder)?;
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

    /// The program itself.
    pub(crate) fn process(&self) -> &ChildProgram {
        &self.process
    }

    pub(crate) fn ingress(&self) -> SocketAddr {
        self.ingress
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Asks how it does.
    ///
    /// # Errors
    /// No answer came in time.
    pub(crate) fn sample(&self) -> anyhow::Result<StatusSample> {
        let status = http::ask(self.admin, &HttpRequest::get("/status"))?.body;
        let endpoints = status["instances"][0]["endpoints"].as_array();
        let endpoints = endpoints.context("a status without endpoints")?;
        let sum = |of: &dyn Fn(&Value) -> u64| endpoints.iter().map(of).sum::<u64>();
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let oldest = endpoints.iter().map(|one| number(&one["oldest_age_ms"]));
        Ok(StatusSample {
            accepted: number(&status["journal"]["accepted"]),
            delivered: sum(&|one| number(&one["delivered"])),
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
}

/// An Event Grid topic at a port of this machine.
pub(crate) fn event_grid_topic(port: u16) -> Value {
    json!({"properties": {
        "endpointType": "EventGrid",
        "accessKey1": "c2VjcmV0LWtleQ==",
        "TopicEndpoint": format!("http://127.0.0.1:{port}/api/events"),
    }})
}
