//! The judged server: `twinroute run` with an empty store, and requests to it.

use crate::http::{self, HttpRequest, HttpResponse};
use crate::process::ChildProgram;
use anyhow::ensure;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The instance that is served without a prefix.
pub(super) const DEFAULT_INSTANCE: &str = "conformance";

const START_MAX: Duration = Duration::from_secs(30);

/// Destinations of examples do not exist, so they are not asked.
const CONFIGURATION: &str = r#"
[table]
source = "store"

[ingress]
listen = ["127.0.0.1:0"]

[admin]
listen = []

[management]
listen = ["127.0.0.1:0"]
provisioning_checks = "definitions"

[log]
format = "json"
filter = "info"
"#;

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct RunningServer {
    _process: ChildProgram,
    address: SocketAddr,
}

impl RunningServer {
    /// Starts the built daemon with its files in an empty `folder`.
    ///
    /// # Errors
    /// It does not start in time.
    pub(super) fn start(programs: &Path, folder: &Path) -> anyhow::Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        let file = folder.join("twinroute.toml");
        std::fs::write(
            &file,
            format!("instance = {DEFAULT_INSTANCE:?}\n{CONFIGURATION}"),
        )?;
        let mut command = Command::new(programs.join("twinroute"));
        command.arg("run").arg("--config").arg(&file);
        let mut process = ChildProgram::start("server", &command, folder)?;
        let deadline = Instant::now() + START_MAX;
        let address = process.await_line("its address", deadline, |line| {
            const MESSAGE: &str = "answers as the management API";
            let line: Value = serde_json::from_str(line).ok()?;
            let of = |name: &str| line[name].as_str().or(line["fields"][name].as_str());
            let address = of("address").filter(|_| of("message") == Some(MESSAGE))?;
            address.parse().ok()
        })?;
        Ok(Self {
            _process: process,
            address,
        })
    }

    /// How URLs of this server begin.
    pub(super) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// No whole answer came in time.
    pub(super) fn ask(&self, request: &HttpRequest) -> anyhow::Result<HttpResponse> {
        http::ask(self.address, request)
    }

    /// The answer to a request that must be taken.
    ///
    /// # Errors
    /// It was refused.
    pub(super) fn expect(&self, request: &HttpRequest) -> anyhow::Result<HttpResponse> {
        let answer = self.ask(request)?;
        let (status, text) = (answer.status, &answer.text);
        ensure!(
            (200..300).contains(&status),
            "{} {}: {status} {text}",
            request.method,
            request.target
        );
        Ok(answer)
    }
}
