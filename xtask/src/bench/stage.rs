//! The processes of one measurement: who is measured, who posts, who receives.

use super::cases::{AckMoment, CaseLoad, CaseSetup, LoadPace};
use crate::cores;
use crate::http::{self, HttpRequest};
use crate::process::ChildProgram;
use crate::router::{MeasuredRouter, RouterSetup, event_grid_topic};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(30);
const LOAD_MAX: Duration = Duration::from_secs(300);
const UPDATE: &str = "type = 'Microsoft.DigitalTwins.Twin.Update'";
const HUB: &str = "measured";
const LARGE_QUEUE: &str = "[journal]\nbytes_max = \"8GiB\"\n[endpoints.endpoint-0]\n\
     queue_bytes_max = \"4GiB\"\nqueue_events_max = 4000000\n";

/// Where everything runs.
pub(super) struct BenchStage {
    pub(super) folder: PathBuf,
    pub(super) measure: PathBuf,
    pub(super) router: PathBuf,
    /// Of the measured program, and of all else.
    pub(super) cores: [usize; 2],
}

/// Who is measured.
pub(super) enum MeasuredProgram {
    Bare,
    Floor,
    Router,
    OtherRouter(String, PathBuf),
}

impl MeasuredProgram {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Bare => "bare",
            Self::Floor => "floor",
            Self::Router => "router",
            Self::OtherRouter(name, _) => name,
        }
    }
}

/// A running program that is measured.
pub(super) enum MeasuredProcess {
    Plain(ChildProgram, SocketAddr),
    Router(MeasuredRouter),
}

impl MeasuredProcess {
    pub(super) fn id(&self) -> u32 {
        match self {
            Self::Plain(process, _) => process.id(),
            Self::Router(router) => router.process().id(),
        }
    }

    fn ingress(&self) -> SocketAddr {
        match self {
            Self::Plain(_, address) => *address,
            Self::Router(router) => router.ingress(),
        }
    }
}

/// What receives: endpoints of ours, or the emulator's event hub.
pub(super) struct EventReceivers {
    _process: ChildProgram,
    pub(super) sockets: Vec<SocketAddr>,
    hub: Option<Value>,
}

impl BenchStage {
    /// Empties the folder and starts what receives.
    pub(super) fn receivers(&self, setup: &CaseSetup) -> anyhow::Result<EventReceivers> {
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)?;
        }
        std::fs::create_dir_all(&self.folder)?;
        let deadline = Instant::now() + START_MAX;
        if setup.is_hub {
            let mut command = self.beside(&self.router);
            command.args(["emulator", "--json", "--hub", HUB]);
            for port in ["--amqp-port", "--http-port", "--blob-port"] {
                command.args([port, "0"]);
            }
            let mut process = ChildProgram::start("emulator", &command, &self.folder)?;
            let addresses: Value = process.await_line("its addresses", deadline, |line| {
                serde_json::from_str(line).ok().filter(Value::is_object)
            })?;
            return Ok(EventReceivers {
                _process: process,
                sockets: Vec::new(),
                hub: Some(addresses["hubs"][0]["connectionString"].clone()),
            });
        }
        let mut command = self.beside(&self.measure);
        command
            .arg("sinks")
            .arg(format!("count={}", setup.endpoints));
        let mut process = ChildProgram::start("sinks", &command, &self.folder)?;
        Ok(EventReceivers {
            sockets: process.listens(deadline)?,
            _process: process,
            hub: None,
        })
    }

    /// Starts the program that is measured.
    pub(super) fn measured(
        &self,
        program: &MeasuredProgram,
        setup: &CaseSetup,
        receivers: &EventReceivers,
    ) -> anyhow::Result<MeasuredProcess> {
        let mut words: Vec<String> = Vec::new();
        match program {
            MeasuredProgram::Router => return self.router(&self.router, setup, receivers),
            MeasuredProgram::OtherRouter(_, path) => return self.router(path, setup, receivers),
            MeasuredProgram::Bare => words.push("bare".to_owned()),
            MeasuredProgram::Floor => {
                let sockets: Vec<String> = receivers
                    .sockets
                    .iter()
                    .map(SocketAddr::to_string)
                    .collect();
                words.push("floor".to_owned());
                words.push(format!("sinks={}", sockets.join(",")));
                words.extend(setup.routes.map(|routes| format!("routes={routes}")));
                match setup.ack {
                    AckMoment::Memory => {}
                    AckMoment::Durable => {
                        words.push("ack=synced".to_owned());
                        words.push(format!("log={}", self.folder.join("log").display()));
                    }
                    AckMoment::Delivered => words.push("ack=delivered".to_owned()),
                }
            }
        }
        let mut command = cores::pinned(&self.cores[0].to_string(), &self.measure);
        command.args(words);
        let mut process = ChildProgram::start(program.name(), &command, &self.folder)?;
        let addresses: Vec<SocketAddr> = process.listens(Instant::now() + START_MAX)?;
        let address = *addresses.first().context("no address")?;
        Ok(MeasuredProcess::Plain(process, address))
    }

    fn router(
        &self,
        program: &Path,
        setup: &CaseSetup,
        receivers: &EventReceivers,
    ) -> anyhow::Result<MeasuredProcess> {
        let name = |index: usize| format!("endpoint-{index}");
        let mut endpoints: Vec<(String, Value)> = Vec::new();
        if let Some(connection_string) = &receivers.hub {
            let hub = json!({"properties": {
                "endpointType": "EventHub",
                "authenticationType": "KeyBased",
                "connectionStringPrimaryKey": connection_string,
            }});
            endpoints.push((name(0), hub));
        }
        for (index, socket) in receivers.sockets.iter().enumerate() {
            endpoints.push((name(index), event_grid_topic(socket.port())));
        }
        let route = |index: usize, endpoint: usize, filter: String| {
            let route = json!({"endpointName": name(endpoint), "filter": filter});
            (format!("route-{index}"), route)
        };
        let routes = match setup.routes {
            None => (0..setup.endpoints)
                .map(|index| route(index, index, UPDATE.to_owned()))
                .collect(),
            Some(0) => vec![route(0, 0, "type = 'none'".to_owned())],
            Some(routes) => (0..routes)
                .map(|area| {
                    let filter = format!("{UPDATE} AND STARTS_WITH(subject, 'area-{area:05}/')");
                    route(area, 0, filter)
                })
                .collect(),
        };
        let config = match setup.ack {
            // The emulator shares its core with the load and is slower: what waits for it must have room.
            AckMoment::Memory if setup.is_hub => LARGE_QUEUE,
            AckMoment::Memory => "",
            AckMoment::Durable => "[journal]\npath = \"journal\"\n",
            AckMoment::Delivered => "ack = \"delivered\"\n",
        };
        let [first, second] = self.cores;
        let cores = match setup.workers {
            1 => first.to_string(),
            _ => format!("{first},{second}"),
        };
        let router = MeasuredRouter::start(&RouterSetup {
            program,
            folder: &self.folder,
            cores: &cores,
            config,
            endpoints,
            routes,
        })?;
        Ok(MeasuredProcess::Router(router))
    }

    /// Posts a load, the first event having the number `first`; what the load says of it.
    pub(super) fn post(
        &self,
        process: &MeasuredProcess,
        setup: &CaseSetup,
        load: &CaseLoad,
        first: u64,
        rate: u64,
    ) -> anyhow::Result<Value> {
        let connections = match (rate, load.batch) {
            (0, 1) => 128,
            (0, _) => 16,
            _ => 256,
        };
        let areas = setup.routes.unwrap_or_default().max(10);
        let mut command = self.beside(&self.measure);
        command.arg("load");
        for (name, value) in [
            ("address", process.ingress().to_string()),
            ("events", load.events.to_string()),
            ("first", first.to_string()),
            ("batch", load.batch.to_string()),
            ("bytes", load.bytes.to_string()),
            ("areas", areas.to_string()),
            ("connections", connections.to_string()),
            ("rate", rate.to_string()),
        ] {
            command.arg(format!("{name}={value}"));
        }
        if matches!(load.pace, LoadPace::Twice(_)) {
            // Those that come too late for a connection wait in the load, for as long as that goes on.
            command.arg("moments=sent");
        }
        let mut load = ChildProgram::start("load", &command, &self.folder)?;
        load.await_line("what it posted", Instant::now() + LOAD_MAX, |line| {
            serde_json::from_str(line.strip_prefix("posted ")?).ok()
        })
    }

    fn beside(&self, program: &Path) -> Command {
        cores::pinned(&self.cores[1].to_string(), program)
    }
}

impl EventReceivers {
    /// What an endpoint says: how many events it has, and with `times` how old they were.
    pub(super) fn ask(&self, socket: SocketAddr, times: bool) -> anyhow::Result<Value> {
        let target = if times { "/times" } else { "/" };
        Ok(http::ask(socket, &HttpRequest::get(target))?.body)
    }
}
