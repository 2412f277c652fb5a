//! A running twinroute whose every word is kept.

use super::marks::SecretMarks;
use crate::harness::{PATIENCE, TestDaemon, address, exchange, twinroute};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

/// The header of a single event.
pub(super) const TYPE: &str = "content-type: application/cloudevents+json\r\n";

/// Variables that every process here gets, daemon and command alike.
pub(super) type ProcessVariables = Vec<(&'static str, String)>;

pub(super) struct SecretStage {
    pub(super) daemon: TestDaemon,
    pub(super) management: String,
    folder: PathBuf,
    variables: ProcessVariables,
    /// Sent with what is asked of the admin and the management API.
    admin_token: String,
    pub(super) management_token: String,
}

impl SecretStage {
    pub(super) fn start(
        folder: &Path,
        variables: ProcessVariables,
        admin_token: &str,
        management_token: &str,
    ) -> Self {
        let given: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let daemon = TestDaemon::start_in(folder, &given);
        let mut lines = daemon.seen.iter();
        let management = lines.find(|line| line.contains("answers as the management API"));
        Self {
            management: management.map(|line| address(line)).unwrap_or_default(),
            daemon,
            folder: folder.to_owned(),
            variables,
            admin_token: admin_token.to_owned(),
            management_token: management_token.to_owned(),
        }
    }

    /// Sends a request to the ingress with these headers.
    pub(super) fn post(
        &self,
        marks: &mut SecretMarks,
        target: &str,
        headers: &str,
        body: &str,
    ) -> u16 {
        ask(marks, &self.daemon.ingress, "POST", target, headers, body).0
    }

    pub(super) fn admin(
        &self,
        marks: &mut SecretMarks,
        method: &str,
        target: &str,
        body: &str,
    ) -> u16 {
        let headers = format!(
            "authorization: Bearer {}\r\ncontent-type: application/json\r\n",
            self.admin_token
        );
        ask(marks, &self.daemon.admin, method, target, &headers, body).0
    }

    pub(super) fn manage(
        &self,
        marks: &mut SecretMarks,
        method: &str,
        target: &str,
        body: &str,
    ) -> (u16, Value) {
        let headers = format!(
            "authorization: Bearer {}\r\ncontent-type: application/json\r\n",
            self.management_token
        );
        ask(marks, &self.management, method, target, &headers, body)
    }

    /// Waits until the status is as wanted.
    pub(super) fn until(&self, what: &str, is: impl Fn(&Value) -> bool) {
        let started = Instant::now();
        let request = format!(
            "GET /status HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
            self.admin_token
        );
        loop {
            let answer = exchange(&self.daemon.admin, &request);
            let status: Value =
                serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
            if is(&status) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{what}: {status:#}");
        }
    }

    /// Runs a command with the configuration of this one.
    pub(super) fn with_config(&self, marks: &mut SecretMarks, words: &[&str]) {
        let file = self.folder.join("twinroute.toml").display().to_string();
        self.run(marks, &[words, &["--config", &file]].concat());
    }

    /// Runs a command that asks the admin API.
    pub(super) fn with_admin(&self, marks: &mut SecretMarks, words: &[&str]) {
        let file = self.folder.join("admin.token").display().to_string();
        let more = [
            "--admin",
            &self.daemon.admin,
            "--admin-token-file",
            file.as_str(),
        ];
        self.run(marks, &[words, &more].concat());
    }

    /// Runs a command that asks the management API.
    pub(super) fn with_management(&self, marks: &mut SecretMarks, words: &[&str]) {
        let url = format!("http://{}", self.management);
        let more = [
            "--management-url",
            &url,
            "--token-env",
            "TOKEN_FOR_COMMANDS",
        ];
        self.run(marks, &[words, &more].concat());
    }

    /// Runs a command as it is.
    pub(super) fn bare(&self, marks: &mut SecretMarks, words: &[&str]) {
        self.run(marks, words);
    }

    fn run(&self, marks: &mut SecretMarks, words: &[&str]) {
        run(marks, &self.variables, &self.management_token, words);
    }

    /// Kills it; keeps what it said, and what it left on disk.
    pub(super) fn end(mut self, marks: &mut SecretMarks, but: &[PathBuf]) -> EndedStage {
        self.daemon.signal("-TERM");
        let mut log = std::mem::take(&mut self.daemon.seen);
        // It ends, and with it its log.
        while let Ok(line) = self.daemon.lines.recv_timeout(PATIENCE) {
            log.push(line);
        }
        self.daemon.child.wait().unwrap();
        let log = log.join("\n");
        assert!(log.contains("TRACE"), "the finest log is asked for");
        marks.saw(format!("the log of {}", self.folder.display()), log);
        marks.saw_folder(&self.folder, but);
        EndedStage {
            folder: self.folder.clone(),
            variables: self.variables.clone(),
        }
    }
}

/// One that is stopped; commands still read what it left.
pub(super) struct EndedStage {
    folder: PathBuf,
    variables: ProcessVariables,
}

impl EndedStage {
    pub(super) fn with_config(&self, marks: &mut SecretMarks, words: &[&str]) {
        let file = self.folder.join("twinroute.toml").display().to_string();
        run(
            marks,
            &self.variables,
            "",
            &[words, &["--config", &file]].concat(),
        );
    }

    pub(super) fn run(&self, marks: &mut SecretMarks, words: &[&str]) {
        run(marks, &self.variables, "", words);
    }
}

fn run(marks: &mut SecretMarks, variables: &ProcessVariables, token: &str, words: &[&str]) {
    let output = twinroute()
        .args(words)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .env("TOKEN_FOR_COMMANDS", token)
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let usage = String::from_utf8_lossy(&said).contains("Usage: ");
    assert!(!usage, "{words:?}: {}", String::from_utf8_lossy(&said));
    marks.saw(format!("twinroute {}", words.join(" ")), said);
}

/// Sends a request, keeps the whole answer; gives its status and its body, where that is JSON.
pub(super) fn ask(
    marks: &mut SecretMarks,
    at: &str,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> (u16, Value) {
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(at, &request);
    let (status, json) = {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    };
    let path = target.split('?').next().unwrap();
    marks.saw(format!("the answer to {method} {path}"), answer);
    (status, json)
}
