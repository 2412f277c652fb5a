//! The processes beside this one: the router that is measured and the receiving end.

use crate::BenchError;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// `/proc/PID/stat` counts in hundredths of a second on every Linux that this runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// Where and how things run.
pub(crate) struct DaemonFolder {
    pub(crate) program: PathBuf,
    pub(crate) folder: PathBuf,
    /// The router has the first core, all else the second.
    pub(crate) pin: bool,
}

impl DaemonFolder {
    fn command(&self, program: &Path, core: &str) -> Command {
        if !self.pin {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.args(["-c", core]).arg(program);
        command
    }
}

/// A running router with a journal of its own.
pub(crate) struct BenchDaemon {
    child: Child,
    pid: u32,
    pub(crate) ingress: String,
    admin: String,
}

impl BenchDaemon {
    /// Starts one with an Event Grid endpoint and a route for all at each address.
    pub(crate) async fn start(
        place: &DaemonFolder,
        addresses: &[String],
    ) -> Result<Self, BenchError> {
        drop(fs::remove_dir_all(&place.folder));
        let table = place.folder.join("table");
        fs::create_dir_all(table.join("endpoints"))?;
        fs::create_dir_all(table.join("routes"))?;
        let mut config = "instance = 'plant'\ndefinitions = 'table'\nshutdown_grace = '1s'\n\
             [ingress]\nlisten = ['127.0.0.1:0']\nack = 'durable'\n\
             [admin]\nlisten = ['127.0.0.1:0']\n[log]\nformat = 'json'\n\
             [journal]\npath = 'journal'\nbytes_max = '8GiB'\n"
            .to_owned();
        for (number, address) in addresses.iter().enumerate() {
            let endpoint = format!(
                r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":"c2VjcmV0LWtleQ==",
                "TopicEndpoint":"http://{address}/api/events"}}}}"#
            );
            fs::write(
                table.join(format!("endpoints/grid-{number}.json")),
                endpoint,
            )?;
            let route = format!(
                r#"{{"endpointName":"grid-{number}",
                "filter":"type = 'Microsoft.DigitalTwins.Twin.Update'"}}"#
            );
            fs::write(table.join(format!("routes/route-{number}.json")), route)?;
            config += &format!(
                "[endpoints.grid-{number}]\nqueue_bytes_max = '4GiB'\nqueue_events_max = 4000000\n"
            );
        }
        let file = place.folder.join("twinroute.toml");
        fs::write(&file, config)?;
        let mut child = place.command(&place.program, "0");
        child.args(["run", "--config"]).arg(&file);
        let mut child = child.stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
        let pid = child.id().ok_or("the router ended")?;
        let stderr = child.stderr.take().ok_or("no standard error")?;
        let mut lines = BufReader::new(stderr).lines();
        let ingress = address(&mut lines, "accepts events").await?;
        let admin = address(&mut lines, "/status").await?;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            child,
            pid,
            ingress,
            admin,
        })
    }

    /// Seconds of CPU time it has used, the system's on its behalf included.
    pub(crate) fn cpu(&self) -> Result<f64, BenchError> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no such process")?;
        // proc(5): utime and stime are the 14th and 15th field, and the name is the second.
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: Result<Vec<f64>, _> = ticks.map(str::parse::<f64>).collect();
        Ok(ticks?.iter().sum::<f64>() / TICKS_A_SECOND)
    }

    /// Its memory in MiB, now and at most.
    pub(crate) fn memory(&self) -> Result<(u64, u64), BenchError> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let of = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next());
            kib.and_then(|kib| kib.parse::<u64>().ok())
                .unwrap_or_default()
        };
        Ok((of("VmRSS:") / 1024, of("VmHWM:") / 1024))
    }

    /// A number of every endpoint, in their order.
    pub(crate) async fn status(&self, name: &str) -> Result<Vec<f64>, BenchError> {
        let mut stream = TcpStream::connect(&self.admin).await?;
        let request = b"GET /status HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (_, endpoints) = answer.split_once("\"endpoints\"").ok_or("no endpoints")?;
        let key = format!("\"{name}\":");
        let values = endpoints.split(&*key).skip(1);
        let value = |text: &str| {
            let end = text.find([',', '}']).unwrap_or(text.len());
            text[..end].trim().parse::<f64>()
        };
        Ok(values.map(value).collect::<Result<_, _>>()?)
    }

    pub(crate) async fn stop(mut self) -> Result<(), BenchError> {
        self.child.kill().await?;
        Ok(())
    }
}

async fn address(
    lines: &mut Lines<BufReader<tokio::process::ChildStderr>>,
    part: &str,
) -> Result<String, BenchError> {
    while let Some(line) = lines.next_line().await? {
        if !line.contains(part) {
            continue;
        }
        let (_, address) = line.split_once("\"address\":\"").ok_or("no address")?;
        return Ok(address.split('"').next().unwrap_or_default().to_owned());
    }
    Err("the router did not start".into())
}

/// The receiving end.
pub(crate) struct BenchReceiver {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) addresses: Vec<String>,
}

/// What one of its sockets has seen since the last look.
#[derive(Clone, Copy, Default)]
pub(crate) struct SocketReport {
    /// Events, over all time.
    pub(crate) unique: u64,
    /// Of these repeated, over all time.
    pub(crate) repeated: u64,
    /// From when an event was due at the producer.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl BenchReceiver {
    pub(crate) async fn start(place: &DaemonFolder, sockets: usize) -> Result<Self, BenchError> {
        let mut child = place.command(&std::env::current_exe()?, "1");
        child.args(["receive", &sockets.to_string()]);
        child.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = child.kill_on_drop(true).spawn()?;
        let stdin = child.stdin.take().ok_or("no standard input")?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let addresses = lines.next_line().await?.ok_or("no addresses")?;
        Ok(Self {
            _child: child,
            stdin,
            lines,
            addresses: addresses.split(' ').map(str::to_owned).collect(),
        })
    }

    pub(crate) async fn tell(&mut self, socket: usize, mode: &str) -> Result<(), BenchError> {
        let line = format!("{socket} {mode}\n");
        Ok(self.stdin.write_all(line.as_bytes()).await?)
    }

    pub(crate) async fn report(&mut self) -> Result<Vec<SocketReport>, BenchError> {
        self.stdin.write_all(b"report\n").await?;
        let line = self.lines.next_line().await?.ok_or("no report")?;
        let numbers = line.split(' ').map(str::parse::<f64>);
        let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
        let report = |of: &[f64]| SocketReport {
            unique: of[0] as u64,
            repeated: of[1] as u64,
            p50_ms: of[2],
            p99_ms: of[3],
        };
        Ok(numbers.chunks_exact(4).map(report).collect())
    }

    /// Waits until the sockets have so many events each; the times are of all that came.
    pub(crate) async fn all(
        &mut self,
        sockets: &[usize],
        events: u64,
        longest: Duration,
    ) -> Result<Vec<SocketReport>, BenchError> {
        let deadline = tokio::time::Instant::now() + longest;
        let mut first: Option<Vec<SocketReport>> = None;
        loop {
            let mut now = self.report().await?;
            // Most came before the first look, whose times stand for all.
            if let Some(first) = &first {
                for (now, first) in now.iter_mut().zip(first) {
                    (now.p50_ms, now.p99_ms) = (first.p50_ms, first.p99_ms);
                }
            }
            let there = |socket: &usize| now[*socket].unique >= events;
            if sockets.iter().all(there) || tokio::time::Instant::now() >= deadline {
                return Ok(now);
            }
            first.get_or_insert(now);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
