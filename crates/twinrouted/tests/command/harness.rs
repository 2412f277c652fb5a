//! What the tests share: the command, a configuration, a running daemon.

use crate::metric_rules::MetricsScrape;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longer than anything here takes, so that a hang is a failure and not a wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn twinroute() -> Command {
    Command::new(env!("CARGO_BIN_EXE_twinroute"))
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn write(folder: &Path, file: &str, content: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Some hold secrets, which must be for their owner alone.
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
}

/// A configuration on free ports whose endpoint nobody serves.
pub(crate) fn scene() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "twinroute.toml",
        "instance = 'demo'\ndefinitions = 'table'\nshutdown_grace = '0s'\n\
         [ingress]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = ['127.0.0.1:0']\n\
         [log]\nformat = 'json'\n",
    );
    write(
        folder.path(),
        "table/endpoints/grid-1.json",
        r#"{"properties":{"endpointType":"EventGrid","accessKey1":"c2VjcmV0LWtleQ==",
            "TopicEndpoint":"http://127.0.0.1:9/api/events"}}"#,
    );
    write(
        folder.path(),
        "table/routes/all.json",
        r#"{"endpointName":"grid-1","filter":"true"}"#,
    );
    folder
}

pub(crate) fn with_config(command: &str, folder: &Path) -> Output {
    let file = folder.join("twinroute.toml");
    twinroute()
        .arg(command)
        .arg("--config")
        .arg(file)
        .output()
        .unwrap()
}

/// A running `twinroute run`, killed when the test ends.
pub(crate) struct TestDaemon {
    pub(crate) child: Child,
    pub(crate) lines: Receiver<String>,
    pub(crate) seen: Vec<String>,
    pub(crate) ingress: String,
    pub(crate) admin: String,
}

impl Drop for TestDaemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl TestDaemon {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_in(folder, &[])
    }

    /// With these variables of the environment.
    pub(crate) fn start_in(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let mut child = twinroute()
            .envs(variables.iter().copied())
            .args(["run", "--config"])
            .arg(folder.join("twinroute.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines() {
                if sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut daemon = Self {
            child,
            lines,
            seen: Vec::new(),
            ingress: String::new(),
            admin: String::new(),
        };
        daemon.ingress = address(&daemon.line("accepts events"));
        daemon.admin = address(&daemon.line("/status"));
        daemon
    }

    /// Waits for a line of the log that holds `part`.
    pub(crate) fn line(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {part:?} in {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    pub(crate) fn post(&self, id: usize) -> String {
        let event = format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t"}}"#);
        let head = format!(
            "POST /events HTTP/1.1\r\nhost: t\r\ncontent-type: application/cloudevents+json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{event}",
            event.len()
        );
        exchange(&self.ingress, &head)
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let answer = exchange(
            &self.admin,
            "GET /status HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
        );
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// A scrape, which keeps the conventions.
    pub(crate) fn metrics(&self) -> String {
        let answer = exchange(
            &self.admin,
            "GET /metrics HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
        );
        MetricsScrape::checked(&answer);
        answer
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

/// The address in a line of the log, of either format.
pub(crate) fn address(line: &str) -> String {
    if let Ok(line) = serde_json::from_str::<serde_json::Value>(line) {
        return line["address"].as_str().unwrap().to_owned();
    }
    let (_, address) = line.split_once("address=").unwrap();
    address.split(' ').next().unwrap().to_owned()
}

pub(crate) fn exchange(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
