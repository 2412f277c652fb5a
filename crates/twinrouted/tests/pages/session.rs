//! A shell in a scratch copy of the repository's configurations, with free ports in place of the documented ones.

use crate::compare::compare;
use crate::page::{DocsPage, NumberRule, ShownCommand};
use crate::repository;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than any command takes, so that a hang is a failure and not a wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long what is asked may take to become what the page shows: events are on their way.
const SETTLED: Duration = Duration::from_secs(20);

/// What stands behind each command's output, before its exit code.
const MARK: &str = "\u{1}exit ";

/// Ports that the program itself has as defaults.
const DEFAULTS: [u16; 11] = [
    8080, 8081, 8082, 8083, 5672, 10000, 8443, 5671, 10443, 8444, 8084,
];

/// Folders that only root may make, and those of the session in their place.
const PLACES: [(&str, &str); 2] = [("/run/twinroute", "run"), ("/var/lib/twinroute", "lib")];

/// A server says one of these when it can be asked.
const READY: [&str; 3] = ["answers /status", "Ctrl-C stops it", "\"amqp\""];

/// What only asks can be asked again.
const QUESTIONS: [&str; 9] = [
    "status",
    "ledger",
    "deadletter list",
    "replay list",
    "history",
    "plan",
    "emulator read",
    "journal verify",
    "curl",
];

pub(crate) struct PageSession {
    folder: TempDir,
    shell: Child,
    lines: Receiver<String>,
    /// Documented ports and those in their place.
    ports: BTreeMap<u16, u16>,
}

impl Drop for PageSession {
    fn drop(&mut self) {
        for server in self.servers() {
            let pid = server.file_name().unwrap().to_str().unwrap().to_owned();
            drop(
                Command::new("kill")
                    .args(["-9", &pid])
                    .stderr(Stdio::null())
                    .status(),
            );
        }
        drop(self.shell.kill());
        drop(self.shell.wait());
    }
}

impl PageSession {
    pub(crate) fn start(page: &DocsPage) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("work");
        copy(&repository().join("config"), &root.join("config"));
        if let Some(scene) = &page.scene {
            copy(scene, &root);
        }
        let ports = ports(&format!("{}{}", page.text, texts(&root)));
        put_in_place(&root, &ports, folder.path());
        for (_, place) in PLACES {
            fs::create_dir(folder.path().join(place)).unwrap();
        }
        fs::create_dir(folder.path().join("servers")).unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        tools(&bin, folder.path(), &ports);
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("bash");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TWINROUTE_")) {
            shell.env_remove(name);
        }
        let mut shell = shell
            .args(["--norc", "--noprofile"])
            .current_dir(&root)
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("TWINROUTE_ADMIN", format!("127.0.0.1:{}", ports[&8081]))
            .env(
                "TWINROUTE_MANAGEMENT_URL",
                format!("http://127.0.0.1:{}", ports[&8083]),
            )
            .env("LC_ALL", "C.UTF-8")
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the pages are run with bash and curl");
        let (sender, lines) = channel();
        let output = BufReader::new(shell.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.split(b'\n') {
                let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut session = Self {
            folder,
            shell,
            lines,
            ports,
        };
        // Job control, as a terminal has it, for `%1`.
        session.prepare("set -m; exec 2>&1");
        session
    }

    /// Runs what has to be there before a block.
    pub(crate) fn prepare(&mut self, command: &str) {
        let (came, code) = self.typed(command);
        assert_eq!(code, 0, "$ {command}\n{came}");
    }

    /// Runs a command and compares what comes with what the page shows.
    pub(crate) fn follow(
        &mut self,
        command: &ShownCommand,
        numbers: NumberRule,
    ) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let (came, code) = self.typed(&command.text);
            if command.output.is_empty() {
                return match code {
                    0 => Ok(()),
                    code => Err(format!("exit code {code}:\n{came}")),
                };
            }
            let compared = compare(&command.output, &came, numbers);
            let asks = QUESTIONS
                .iter()
                .any(|question| command.text.contains(question))
                && !command.text.contains(" -d ");
            if compared.is_ok() || !asks || begun.elapsed() > SETTLED {
                return compared;
            }
        }
    }

    /// Types a command; gives what it printed, with the documented ports, and its exit code.
    fn typed(&mut self, command: &str) -> (String, i32) {
        let command = self.with_free_ports(command);
        let known = self.servers();
        let first = command.split('\n').next().unwrap_or_default();
        let serves = is_server(&command);
        let foreground = serves
            && !first
                .split(" #")
                .next()
                .unwrap_or_default()
                .trim_end()
                .ends_with('&');
        let command = match foreground {
            // As in a terminal of its own.
            true => format!("{command} &"),
            false => command,
        };
        let stdin = self.shell.stdin.as_mut().unwrap();
        // The exit code is there for the next command, which may be `echo $?`.
        write!(
            stdin,
            "{command}\n__code=$?; printf '\\n{MARK}%d\\n' $__code; (exit $__code)\n"
        )
        .unwrap();
        let mut came = String::new();
        let code = loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("$ {command}\nno end after:\n{came}"));
            if let Some(code) = line.strip_prefix(MARK) {
                break code.trim().parse().unwrap();
            }
            // What the shell says of its jobs.
            if !line.contains("Killed") && !line.contains("Terminated") {
                came.push_str(&line);
                came.push('\n');
            }
        };
        if serves {
            let said = self.wait_for_server(&known);
            if foreground {
                came = said;
            }
        }
        (self.with_documented_ports(&came), code)
    }

    /// What servers wrote, each in a file that is named by its process.
    fn servers(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join("servers")).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Waits until the server that was not there before can be asked, or has ended.
    fn wait_for_server(&self, known: &[PathBuf]) -> String {
        let latest = Instant::now() + PATIENCE;
        loop {
            let now = self.servers();
            if let Some(new) = now.iter().find(|file| !known.contains(file)) {
                let said = fs::read_to_string(new).unwrap();
                let pid = new.file_name().unwrap();
                let runs = Path::new("/proc").join(pid).exists();
                if !runs || READY.iter().any(|ready| said.contains(ready)) {
                    return said;
                }
            }
            assert!(Instant::now() < latest, "no server came");
            std::thread::yield_now();
        }
    }

    fn with_free_ports(&self, text: &str) -> String {
        in_place(text, &self.ports, self.folder.path())
    }

    fn with_documented_ports(&self, text: &str) -> String {
        let text = translated(
            text,
            self.ports.iter().map(|(on_page, free)| (*free, *on_page)),
        );
        let folder = self.folder.path().display();
        let text = text.replace(&format!("{folder}/work"), "");
        PLACES.iter().fold(text, |text, (on_page, place)| {
            text.replace(&format!("{folder}/{place}"), on_page)
        })
    }
}

/// A router or an emulator, which runs until it is stopped.
fn is_server(command: &str) -> bool {
    let emulates = command.contains("emulator")
        && !["emulator list", "emulator read", "--help"]
            .iter()
            .any(|look| command.contains(look));
    let program = command.contains("twinroute ") || command.contains("cargo run");
    let runs = command.contains(" run --config") && program && !command.contains("demo");
    let starts = command.starts_with("twinroute") || command.starts_with("cargo run");
    starts && (runs || emulates)
}

/// A free port for every one that the page, or the program by itself, names.
fn ports(text: &str) -> BTreeMap<u16, u16> {
    let mut named: Vec<u16> = DEFAULTS.to_vec();
    for host in ["localhost:", "127.0.0.1:", "0.0.0.0:"] {
        for (at, _) in text.match_indices(host) {
            let digits = text[at + host.len()..].chars();
            let digits: String = digits.take_while(char::is_ascii_digit).collect();
            named.extend(digits.parse::<u16>().ok().filter(|port| *port > 1024));
        }
    }
    named.sort_unstable();
    named.dedup();
    named.into_iter().map(|port| (port, free_port())).collect()
}

/// A port that is free and that no other session has been given: it is bound only later, and the system might hand it
/// out twice meanwhile.
fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap();
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if given.insert(port) {
            return port;
        }
    }
}

/// Puts other ports in where a port stands behind a host.
fn translated(text: &str, ports: impl Iterator<Item = (u16, u16)>) -> String {
    let ports: BTreeMap<u16, u16> = ports.collect();
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(':') {
        out.push_str(&rest[..=at]);
        rest = &rest[at + 1..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if let Some(port) = rest[..digits]
            .parse()
            .ok()
            .and_then(|port: u16| ports.get(&port))
        {
            out.push_str(&port.to_string());
            rest = &rest[digits..];
        }
    }
    out.push_str(rest);
    out
}

/// What is documented, with free ports and the session's own folders.
fn in_place(text: &str, ports: &BTreeMap<u16, u16>, folder: &Path) -> String {
    let text = translated(text, ports.iter().map(|(on_page, free)| (*on_page, *free)));
    PLACES.iter().fold(text, |text, (on_page, place)| {
        text.replace(on_page, &folder.join(place).display().to_string())
    })
}

/// Copies a folder, but for data of somebody who tried it there.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if !entry.file_type().unwrap().is_dir() {
            fs::copy(entry.path(), &target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        } else if entry.file_name() != "data" && entry.file_name() != "management" {
            copy(&entry.path(), &target);
        }
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

fn texts(folder: &Path) -> String {
    let files = files(folder).into_iter();
    files
        .map(|file| fs::read_to_string(file).unwrap())
        .collect()
}

fn put_in_place(root: &Path, ports: &BTreeMap<u16, u16>, folder: &Path) {
    for file in files(root) {
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, in_place(&text, ports, folder)).unwrap();
    }
}

/// The commands that a page takes for granted: this build of twinroute, also by cargo, and a curl without a meter.
fn tools(bin: &Path, folder: &Path, ports: &BTreeMap<u16, u16>) {
    let real = env!("CARGO_BIN_EXE_twinroute");
    let servers = folder.join("servers");
    let (amqp, http, blob) = (ports[&5672], ports[&8082], ports[&10000]);
    let (identity, entra) = (ports[&8084], ports[&8444]);
    let (amqp_tls, blob_tls) = (ports[&5671], ports[&10443]);
    let twinroute = format!(
        r#"#!/bin/bash
serve() {{
    # The log is where the page has it, or with the others.
    if [ -f /dev/stdout ]; then
        ln -s "$(readlink /proc/$$/fd/1)" {servers}/$$
        exec {real} "$@"
    fi
    exec {real} "$@" > {servers}/$$ 2>&1
}}
case "$1 $2" in
'emulator list' | 'emulator read') exec {real} "$@" --at 127.0.0.1:{http} ;;
'emulator '*)
    case "$*" in *--help*) ;; *-port*) ;;
    *) set -- "$@" --amqp-port {amqp} --http-port {http} --blob-port {blob} ;; esac
    case "$*" in *--identities*)
        set -- "$@" --identity-port {identity} --entra-port {entra}
        set -- "$@" --amqp-tls-port {amqp_tls} --blob-tls-port {blob_tls} ;; esac
    serve "$@" ;;
'run '*) serve "$@" ;;
esac
exec {real} "$@"
"#,
        servers = servers.display()
    );
    let cargo = r#"#!/bin/bash
while [ "$1" != -- ]; do shift; done
shift
exec twinroute "$@"
"#;
    let curl = "#!/bin/bash\nPATH=${PATH#*:} exec curl -sS \"$@\"\n";
    for (name, script) in [
        ("twinroute", twinroute.as_str()),
        ("cargo", cargo),
        ("curl", curl),
    ] {
        let path = bin.join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}
