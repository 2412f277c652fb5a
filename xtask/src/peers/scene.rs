//! What checks put on: our emulator, a router with a configuration made for it, Proton's broker.

use super::PeerStage;
use crate::process::{self, ChildProgram};
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the admin may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How long a broken or a good change of the definitions may take to show.
const RELOAD_MAX: Duration = Duration::from_secs(10);

/// `twinroute emulator` with one hub, one topic, one Event Grid topic.
pub(super) struct EmulatorProcess {
    pub(super) process: ChildProgram,
    /// What it printed: addresses and connection strings.
    pub(super) addresses: Value,
}

impl EmulatorProcess {
    /// Starts it on free ports.
    pub(super) fn start(stage: &PeerStage<'_>) -> anyhow::Result<Self> {
        Self::start_with(stage, &[])
    }

    /// The same with more options.
    pub(super) fn start_with(stage: &PeerStage<'_>, options: &[&str]) -> anyhow::Result<Self> {
        Self::start_at(stage, "emulator", [0, 0, 0], options)
    }

    /// Starts it again, empty, on the ports it had; call it after its end.
    pub(super) fn again(&self, stage: &PeerStage<'_>) -> anyhow::Result<Self> {
        let port = |name: &str| -> anyhow::Result<u16> {
            let address = text(&self.addresses[name])?.trim_start_matches("http://");
            Ok(address.parse::<SocketAddr>()?.port())
        };
        let ports = [port("amqp")?, port("http")?, port("blob")?];
        Self::start_at(stage, "emulator-again", ports, &[])
    }

    fn start_at(
        stage: &PeerStage<'_>,
        name: &str,
        [amqp_port, http_port, blob_port]: [u16; 3],
        options: &[&str],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(stage.program("twinroute"));
        command
            .args([
                "emulator",
                "--json",
                "--hub",
                "telemetry:4",
                "--grid",
                "lifecycle",
            ])
            .args(["--topic", "alerts:python,javascript"])
            .args(["--amqp-port", &amqp_port.to_string()])
            .args(["--http-port", &http_port.to_string()])
            .args(["--blob-port", &blob_port.to_string()])
            .args(options);
        let mut process = ChildProgram::start(name, &command, &stage.folder)?;
        let addresses = process.await_line("its addresses", stage.deadline, json_line)?;
        Ok(Self { process, addresses })
    }

    /// The definitions of endpoints `hub`, `topic` and `grid` at this emulator.
    pub(super) fn endpoints(&self) -> Vec<(&'static str, Value)> {
        let at = &self.addresses;
        let (hub, topic, grid) = (&at["hubs"][0], &at["topics"][0], &at["eventGridTopics"][0]);
        vec![
            ("hub", event_hub(&hub["connectionString"])),
            (
                "topic",
                json!({ "properties": {
                    "endpointType": "ServiceBus",
                    "authenticationType": "KeyBased",
                    "primaryConnectionString": topic["connectionString"],
                } }),
            ),
            (
                "grid",
                json!({ "properties": {
                    "endpointType": "EventGrid",
                    "TopicEndpoint": grid["endpoint"],
                    "accessKey1": grid["key"],
                    "accessKey2": grid["key"],
                } }),
            ),
        ]
    }
}

/// The definition of an event hub.
pub(super) fn event_hub(connection_string: &Value) -> Value {
    json!({ "properties": {
        "endpointType": "EventHub",
        "authenticationType": "KeyBased",
        "connectionStringPrimaryKey": connection_string,
    } })
}

/// A route.
pub(super) fn route(endpoint: &str, filter: &str) -> Value {
    json!({ "endpointName": endpoint, "filter": filter })
}

/// `twinroute run` with a configuration of its own.
pub(super) struct RouterProcess {
    pub(super) process: ChildProgram,
    /// Where to post events, without a path.
    pub(super) ingress: String,
    admin: SocketAddr,
    definitions: PathBuf,
}

impl RouterProcess {
    /// Starts it on free ports. `ingress` are lines of `[ingress]`, `endpoint_settings` whole tables.
    pub(super) fn start(
        stage: &PeerStage<'_>,
        endpoints: &[(&str, Value)],
        routes: &[(&str, Value)],
        ingress: &str,
        endpoint_settings: &str,
    ) -> anyhow::Result<Self> {
        Self::start_with(stage, &[], endpoints, routes, ingress, endpoint_settings)
    }

    /// The same with variables of the environment.
    pub(super) fn start_with(
        stage: &PeerStage<'_>,
        variables: &[(&str, String)],
        endpoints: &[(&str, Value)],
        routes: &[(&str, Value)],
        ingress: &str,
        endpoint_settings: &str,
    ) -> anyhow::Result<Self> {
        // Beside busy logs, which must not pass for changes of the configuration.
        let definitions = stage.folder.join("definitions");
        for folder in ["endpoints", "routes"] {
            std::fs::create_dir_all(definitions.join(folder))?;
        }
        for (name, body) in endpoints {
            write(
                &definitions.join("endpoints").join(format!("{name}.json")),
                body,
            )?;
        }
        for (id, body) in routes {
            write(&definitions.join("routes").join(format!("{id}.json")), body)?;
        }
        let config = stage.folder.join("twinroute.toml");
        let text = format!(
            "instance = \"peers\"\ndefinitions = \"definitions\"\n\n\
             [ingress]\nlisten = [\"127.0.0.1:0\"]\n{ingress}\n\n\
             [admin]\nlisten = [\"127.0.0.1:0\"]\n\n\
             [log]\nformat = \"json\"\nfilter = \"info\"\n\n{endpoint_settings}"
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(stage.program("twinroute"));
        command.arg("run").arg("--config").arg(&config);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let mut process = ChildProgram::start("router", &command, &stage.folder)?;
        let mut address = |message: &'static str| {
            process.await_line(message, stage.deadline, |line| {
                let line = json_line(line)?;
                let said = line["message"] == message || line["fields"]["message"] == message;
                let address = line["address"]
                    .as_str()
                    .or(line["fields"]["address"].as_str());
                address.filter(|_| said).map(str::to_owned)
            })
        };
        let ingress = format!("http://{}", address("accepts events")?);
        let admin = address("answers /status and /metrics")?.parse()?;
        Ok(Self {
            process,
            ingress,
            admin,
            definitions,
        })
    }

    /// Where it is scraped.
    pub(super) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What it shows of itself.
    pub(super) fn status(&self) -> anyhow::Result<Value> {
        self.get("/status")
    }

    /// What became of every delivery.
    pub(super) fn ledger(&self) -> anyhow::Result<Value> {
        self.get("/ledger")
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        let body = ask(self.admin, "GET", path, "").context("no answer from the router")?;
        Ok(serde_json::from_str(&body)?)
    }

    /// Posts one event in CloudEvents JSON format.
    pub(super) fn post(&self, event: &str) -> anyhow::Result<()> {
        let address = self.ingress.trim_start_matches("http://").parse()?;
        ask(address, "POST", "/events", event).with_context(|| format!("posted {event}"))?;
        Ok(())
    }

    /// A command of ours that asks this router.
    pub(super) fn command(&self, stage: &PeerStage<'_>, arguments: &[&str]) -> Command {
        let mut command = Command::new(stage.program("twinroute"));
        command.args(arguments).arg("--admin");
        command.arg(self.admin.to_string());
        command
    }

    /// Waits until its status is as it should be.
    pub(super) fn shows(
        &self,
        what: &str,
        deadline: Instant,
        right: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        process::until(what, deadline, || {
            let status = self.status()?;
            Ok(right(&status).then_some(status))
        })
        .with_context(|| {
            self.status()
                .map_or_else(|e| e.to_string(), |s| s.to_string())
        })
    }

    /// Waits until nothing waits any more and checks its sums: everything matched was delivered.
    pub(super) fn settled(&self, deadline: Instant) -> anyhow::Result<Value> {
        let status = self.shows("every delivery settled", deadline, |status| {
            let open = ["queued", "in_flight", "retrying"];
            let settled = |endpoint: &Value| open.iter().all(|state| endpoint[*state] == 0);
            endpoints(status).iter().all(settled)
        })?;
        for endpoint in endpoints(&status) {
            ensure!(endpoint["discarded"] == 0, "discarded: {endpoint}");
            ensure!(
                endpoint["matched"] == endpoint["delivered"],
                "unaccounted: {endpoint}"
            );
        }
        Ok(status)
    }

    /// Replaces a route's file as an editor does, and waits until the router shows what came of it.
    pub(super) fn edit_route(
        &self,
        id: &str,
        text: &str,
        shows: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        self.replace("routes", id, text)?;
        let deadline = Instant::now() + RELOAD_MAX;
        process::until("the table shows the change", deadline, || {
            let status = self.status()?;
            Ok(shows(&status["table"]).then_some(status))
        })
        .with_context(|| format!("route {id} := {text}"))
    }

    /// Replaces an endpoint's file as an editor does.
    pub(super) fn edit_endpoint(&self, name: &str, body: &Value) -> anyhow::Result<()> {
        self.replace("endpoints", name, &body.to_string())
    }

    fn replace(&self, folder: &str, name: &str, text: &str) -> anyhow::Result<()> {
        let file = self.definitions.join(folder).join(format!("{name}.json"));
        let new = file.with_extension("new");
        std::fs::write(&new, text)?;
        Ok(std::fs::rename(&new, &file)?)
    }
}

/// The endpoints of the only instance.
pub(super) fn endpoints(status: &Value) -> &[Value] {
    let endpoints = status["instances"][0]["endpoints"].as_array();
    endpoints.map_or(&[], Vec::as_slice)
}

/// Qpid Proton's broker; gives its address.
pub(super) fn broker(stage: &PeerStage<'_>) -> anyhow::Result<(ChildProgram, SocketAddr)> {
    // The broker cannot tell a port that the system chose, so one is chosen and freed for it.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new(stage.places.broker());
    command.arg("127.0.0.1").arg(address.port().to_string());
    let process = ChildProgram::start("broker", &command, &stage.folder)?;
    process::until("the broker listens", stage.deadline, || {
        Ok(TcpStream::connect(address).ok())
    })?;
    Ok((process, address))
}

/// A value that must be a string.
pub(super) fn text(value: &Value) -> anyhow::Result<&str> {
    value
        .as_str()
        .with_context(|| format!("no string but {value}"))
}

/// A line that is a JSON object.
pub(super) fn json_line(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok().filter(Value::is_object)
}

fn write(file: &Path, value: &Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// One request over HTTP/1.0, with an event if it has a body: the connection ends with the answer.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: {address}\r\ncontent-length: {length}\r\n\
         content-type: application/cloudevents+json\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer has no body")?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        bail!("{}: {body}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}
