//! Child processes that cannot outlive us: each in a group of its own, killed when dropped.

use anyhow::{Context as _, bail};
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a process or its log is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Lines of a log that are shown after a failure.
const TAIL_LINES: usize = 40;

/// A running program whose output goes to a file.
#[derive(Debug)]
pub(crate) struct ChildProgram {
    child: Child,
    name: String,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl ChildProgram {
    /// Starts `command` with its output in `folder/name.log`.
    ///
    /// Where `setpriv` exists the program also ends when we are killed.
    pub(crate) fn start(name: &str, command: &Command, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("cannot write {name}.log"))?;
        let mut guarded = guarded(command);
        guarded
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let child = guarded
            .spawn()
            .with_context(|| format!("cannot start {name}: {}", said(command)))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            log,
            ended: None,
        })
    }

    /// What the program printed so far.
    pub(crate) fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The first value that `find` makes of a whole line of the output.
    pub(crate) fn await_line<T>(
        &mut self,
        what: &str,
        deadline: Instant,
        find: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        loop {
            let ended = self.has_ended()?;
            let output = self.output();
            let whole = output.rfind('\n').map_or("", |end| &output[..end]);
            if let Some(value) = whole.lines().find_map(&find) {
                return Ok(value);
            }
            if let Some(status) = ended {
                bail!(
                    "{} ended with {status} before it reported {what}",
                    self.name
                );
            }
            if Instant::now() > deadline {
                bail!("{} did not tell {what} in time", self.name);
            }
            pause(GLANCE);
        }
    }

    /// Waits for a good end.
    pub(crate) fn succeed(&mut self, deadline: Instant) -> anyhow::Result<()> {
        loop {
            match self.has_ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{}: {status}: {}", self.name, self.last_line()),
                None if Instant::now() > deadline => bail!("{} did not end in time", self.name),
                None => pause(GLANCE),
            }
        }
    }

    /// Waits for the address that follows `listens ` in its output, or all of them.
    pub(crate) fn listens<T: FromIterator<SocketAddr>>(
        &mut self,
        deadline: Instant,
    ) -> anyhow::Result<T> {
        self.await_line("where it listens", deadline, |line| {
            let addresses = line.strip_prefix("listens ")?.split(' ');
            addresses.map(|address| address.parse().ok()).collect()
        })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal such as `STOP` or `KILL` to the program and what it started.
    pub(crate) fn signal(&self, signal: &str) -> anyhow::Result<()> {
        // The shell's own `kill`: the program of that name is not on every system.
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$1\" -- -\"$2\"", "sh", signal])
            .arg(self.child.id().to_string())
            .stderr(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("{} took no signal {signal}", self.name);
        }
        Ok(())
    }

    /// Kills the program and waits until it is gone.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.signal("KILL")?;
        self.ended = Some(self.child.wait()?);
        Ok(())
    }

    fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    fn last_line(&self) -> String {
        let output = self.output();
        let last = output.lines().rfind(|line| !line.trim().is_empty());
        last.unwrap_or("no output").to_owned()
    }
}

impl Drop for ChildProgram {
    fn drop(&mut self) {
        if matches!(self.has_ended(), Ok(None)) && self.kill().is_err() {
            eprintln!("xtask: {} could not be killed", self.name);
        }
    }
}

/// Runs a program to its good end, at most so long; a failure shows its last lines.
pub(crate) fn run(
    name: &str,
    command: &Command,
    folder: &Path,
    time_max: Duration,
) -> anyhow::Result<()> {
    let mut process = ChildProgram::start(name, command, folder)?;
    if let Err(error) = process.succeed(Instant::now() + time_max) {
        bail!(
            "{error}\n    `{}`\n{}",
            said(command),
            tail(&process.output())
        );
    }
    Ok(())
}

/// Waits until `look` finds something.
pub(crate) fn until<T>(
    what: &str,
    deadline: Instant,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    loop {
        if let Some(value) = look()? {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("not in time: {what}");
        }
        pause(GLANCE);
    }
}

/// The last lines of a text, indented.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(TAIL_LINES);
    let lines: Vec<String> = lines[start..]
        .iter()
        .map(|line| format!("    {line}"))
        .collect();
    lines.join("\n")
}

#[expect(
    clippy::disallowed_methods,
    reason = "no runtime here, and nothing but other processes to wait for"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The same command, made to end with us.
fn guarded(command: &Command) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    let mut guarded = if setpriv.exists() {
        let mut guarded = Command::new(setpriv);
        guarded
            .args(["--pdeathsig", "KILL", "--"])
            .arg(command.get_program());
        guarded
    } else {
        Command::new(command.get_program())
    };
    guarded.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => guarded.env(name, value),
            None => guarded.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        guarded.current_dir(folder);
    }
    guarded
}

fn said(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    let mut text = program.to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
