//! The process under test: `twinroute run`, one life after the other in one folder.

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout};

/// Longer than any step takes, so that a hang is a failure and not a wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a process is asked whether it has ended.
const GLANCE: Duration = Duration::from_millis(5);

/// The log of all lives, beside the journal.
pub(crate) const LOG: &str = "twinroute.log";

/// One life; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    lines: UnboundedReceiver<String>,
    started: Instant,
}

/// Where a process that is ready listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) ingress: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Daemon {
    /// Starts a life with the configuration in `folder`.
    pub(crate) fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        Self::start_with(program, folder, &[])
    }

    /// The same, with variables in its environment.
    pub(crate) fn start_with(
        program: &Path,
        folder: &Path,
        variables: &[(&str, &PathBuf)],
    ) -> anyhow::Result<Self> {
        let log = folder.join(LOG);
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let started = Instant::now();
        let mut child = Command::new(program)
            .args(["run", "--config", "twinroute.toml"])
            .current_dir(folder)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stderr = child.stderr.take().context("there is no standard error")?;
        let (sender, lines) = unbounded_channel();
        std::thread::spawn(move || copy(stderr, log, &sender));
        Ok(Self {
            child,
            lines,
            started,
        })
    }

    /// Waits until events are taken; gives also how long that took since the start.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<(Addresses, Duration)> {
        let addresses = Addresses {
            ingress: self.address("accepts events").await?,
            admin: self.address("/status").await?,
        };
        Ok((addresses, self.started.elapsed()))
    }

    /// The address in a line of the log that holds `part`.
    async fn address(&mut self, part: &str) -> anyhow::Result<SocketAddr> {
        let mut seen = String::new();
        let line = async {
            while let Some(line) = self.lines.recv().await {
                if line.contains(part) {
                    return Ok(line);
                }
                seen = line;
            }
            bail!("the process ended before it said {part:?}; its last line: {seen}")
        };
        let line = timeout(PATIENCE, line).await;
        let line = line.with_context(|| format!("the process did not say {part:?} in time"))??;
        let line: Value = serde_json::from_str(&line)?;
        let address = line["address"].as_str().context("there is no address")?;
        Ok(address.parse()?)
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop: SIGTERM.
    pub(crate) fn ask_to_stop(&self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("the process has no id")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.ask_to_stop()?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(
                Instant::now() < deadline,
                "the process did not stop in time"
            );
            tokio::time::sleep(GLANCE).await;
        };
        ensure!(status.success(), "the process stopped with {status}");
        Ok(())
    }

    /// How it ended, if it did by itself.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }
}

/// Takes the log to its file and to whoever waits for a line of it.
fn copy(stderr: ChildStderr, mut log: File, lines: &UnboundedSender<String>) {
    for line in BufReader::new(stderr).lines() {
        let Ok(line) = line else { return };
        if writeln!(log, "{line}").is_err() {
            return;
        }
        // Nobody may wait any more.
        drop(lines.send(line));
    }
}

/// Runs `twinroute journal verify`.
pub(crate) fn verify(program: &Path, folder: &Path) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(["journal", "verify", "data"])
        .current_dir(folder)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "journal verify: {said}");
    Ok(())
}
