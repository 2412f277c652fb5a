//! A router whose table is what is put over its management API.

use super::PeerStage;
use super::scene::json_line;
use crate::http::{self, HttpRequest, HttpResponse};
use crate::process::{self, ChildProgram};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// The instance that is served without a prefix.
pub(super) const INSTANCE: &str = "peers";

/// What clients must send.
pub(super) const TOKEN: &str = "cGVlcnMtbWF5LXJlYWQtYW5kLXdyaXRlLWhlcmUtMDAwMQ";

/// Whether destinations are asked before an endpoint is in use.
#[derive(Clone, Copy, Debug)]
pub(super) enum DestinationChecks {
    Definitions,
    Destinations,
}

/// `twinroute run` with its store in the check's folder.
pub(super) struct ManagedRouter {
    pub(super) process: ChildProgram,
    /// Where to post events, without a path.
    pub(super) ingress: String,
    plain: SocketAddr,
    tls: SocketAddr,
    /// The certificate authority that was made for development.
    ca: PathBuf,
    folder: PathBuf,
}

impl ManagedRouter {
    /// Writes a configuration without certificates, so that those for development are made, and starts it on
    /// free ports.
    pub(super) fn start(stage: &PeerStage<'_>, checks: DestinationChecks) -> anyhow::Result<Self> {
        Self::start_with(stage, checks, TOKEN)
    }

    /// As [`Self::start`], with a token of the check's own.
    pub(super) fn start_with(
        stage: &PeerStage<'_>,
        checks: DestinationChecks,
        token: &str,
    ) -> anyhow::Result<Self> {
        let folder = stage.folder.join("router");
        std::fs::create_dir_all(&folder)?;
        let checks = match checks {
            DestinationChecks::Definitions => "definitions",
            DestinationChecks::Destinations => "destinations",
        };
        let text = format!(
            "instance = \"{INSTANCE}\"\n\n[table]\nsource = \"store\"\n\n\
             [management]\nlisten = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\n\
             provisioning_checks = \"{checks}\"\n\n\
             [[management.access.tokens]]\nname = \"peers\"\nrole = \"write\"\ntoken = \"{token}\"\n\n\
             [ingress]\nlisten = [\"127.0.0.1:0\"]\n\n[admin]\nlisten = []\n\n\
             [log]\nformat = \"json\"\nfilter = \"info\"\n"
        );
        std::fs::write(folder.join("twinroute.toml"), text)?;
        Self::again(stage, folder, "router")
    }

    /// Starts it once more with the store it had; call it after its end.
    pub(super) fn restart(&self, stage: &PeerStage<'_>, name: &str) -> anyhow::Result<Self> {
        Self::again(stage, self.folder.clone(), name)
    }

    fn again(stage: &PeerStage<'_>, folder: PathBuf, name: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(stage.program("twinroute"));
        command.arg("run").arg("--config");
        command.arg(folder.join("twinroute.toml"));
        let mut process = ChildProgram::start(name, &command, &stage.folder)?;
        let ingress = process.await_line("where it takes events", stage.deadline, |line| {
            address(line, "accepts events")
        })?;
        let ca = process.await_line("its certificate authority", stage.deadline, |line| {
            let line = json_line(line)?;
            let ca = line["ca"].as_str().or(line["fields"]["ca"].as_str());
            ca.map(PathBuf::from)
        })?;
        // Plain first, then TLS, each with a line of its own.
        let found = process::until("both addresses", stage.deadline, || {
            let output = process.output();
            let lines = output.lines();
            let found: Vec<SocketAddr> = lines
                .filter_map(|line| address(line, "answers as the management API"))
                .collect();
            Ok(<[SocketAddr; 2]>::try_from(found).ok())
        })?;
        Ok(Self {
            process,
            ingress: format!("http://{ingress}"),
            plain: found[0],
            tls: found[1],
            ca,
            folder,
        })
    }

    /// What scripts are told: over HTTPS, with unmodified clients.
    pub(super) fn over_tls(&self) -> Value {
        json!({
            "base": format!("https://localhost:{}", self.tls.port()),
            "ca": self.ca,
            "token": TOKEN,
            "instance": INSTANCE,
            "ingress": self.ingress,
        })
    }

    /// What scripts are told: over plain HTTP.
    pub(super) fn over_http(&self) -> Value {
        let mut scene = self.over_tls();
        scene["base"] = json!(format!("http://{}", self.plain));
        scene
    }

    /// Runs a script for Node, which finds the certificate authority in its environment.
    pub(super) fn play_node(
        &self,
        stage: &PeerStage<'_>,
        file: &str,
        scene: &Value,
    ) -> anyhow::Result<()> {
        let mut command = stage.script(file, scene);
        command.env("NODE_EXTRA_CA_CERTS", &self.ca);
        ChildProgram::start(file, &command, &stage.folder)?.succeed(stage.deadline)
    }

    /// One request over plain HTTP.
    pub(super) fn ask(&self, request: &HttpRequest) -> anyhow::Result<HttpResponse> {
        http::ask(self.plain, &with_token(request.clone()))
    }

    /// Where requests over plain HTTP go.
    pub(super) fn plain(&self) -> SocketAddr {
        self.plain
    }
}

/// A request of a client that may write.
pub(super) fn with_token(mut request: HttpRequest) -> HttpRequest {
    let token = ("authorization".to_owned(), format!("Bearer {TOKEN}"));
    request.headers.push(token);
    request
}

/// The address that a line of the log tells, if it says so.
fn address(line: &str, message: &str) -> Option<SocketAddr> {
    let line = json_line(line)?;
    let of = |name: &str| line[name].as_str().or(line["fields"][name].as_str());
    of("address")
        .filter(|_| of("message") == Some(message))?
        .parse()
        .ok()
}
