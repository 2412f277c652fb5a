//! Installs the real peers, pinned, below `target/peers`; a stamp of the pins saves the next run.

use super::az;
use crate::process;
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a check needs to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerProgram {
    /// The Azure clients for Python and the client of Qpid Proton.
    Python,
    /// The Azure clients for JavaScript.
    Node,
    /// The broker that Qpid Proton ships as an example in C.
    Proton,
    /// Azurite, and the client of Azure Storage for JavaScript.
    Azurite,
    /// The Azure CLI.
    AzureCli,
    /// What people ask with at a prompt.
    Curl,
    /// The client of OpenSSL.
    OpenSsl,
    /// The server and its `promtool`, Debian's.
    Prometheus,
}

/// Where peers are installed and where their scripts stand.
#[derive(Debug)]
pub(super) struct PeerPlaces {
    /// `target/peers`.
    pub(super) home: PathBuf,
    /// `xtask/peers` of the sources.
    pub(super) scripts: PathBuf,
}

const PYTHON_PINS: &str = include_str!("../../peers/requirements.txt");
const NODE_PINS: &str = include_str!("../../peers/package-lock.json");
const AZURITE_PINS: &str = include_str!("../../peers/azurite/package-lock.json");

/// Debian's package with the broker's source; the version is the distribution's.
const PROTON_PACKAGE: &str = "libqpid-proton11-dev-examples";
const PROTON_SOURCE: &str = "/usr/share/proton/examples/c/broker.c";

/// The Azure CLI alone is 730 MB on disk.
const DOWNLOAD_MAX: Duration = Duration::from_secs(900);
const STEP_MAX: Duration = Duration::from_secs(90);

impl PeerProgram {
    pub(super) const ALL: [Self; 8] = [
        Self::Python,
        Self::Node,
        Self::Proton,
        Self::Azurite,
        Self::AzureCli,
        Self::Curl,
        Self::OpenSsl,
        Self::Prometheus,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Python => "install-python",
            Self::Node => "install-node",
            Self::Proton => "install-proton",
            Self::Azurite => "install-azurite",
            Self::AzureCli => "install-azure-cli",
            Self::Curl => "install-curl",
            Self::OpenSsl => "install-openssl",
            Self::Prometheus => "install-prometheus",
        }
    }

    /// Installs what is not there yet.
    pub(super) fn install(self, places: &PeerPlaces) -> anyhow::Result<()> {
        match self {
            Self::Python => python(places),
            Self::Node => node(&places.scripts, &places.node(), NODE_PINS, places),
            Self::Proton => proton(places),
            Self::AzureCli => az::install(places),
            Self::Curl if works(Command::new("curl").arg("--version")) => Ok(()),
            Self::Curl => apt(&places.home, &["curl"]),
            Self::OpenSsl if works(Command::new("openssl").arg("version")) => Ok(()),
            Self::OpenSsl => apt(&places.home, &["openssl"]),
            Self::Prometheus if works(Command::new("promtool").arg("--version")) => Ok(()),
            Self::Prometheus => apt(&places.home, &["prometheus"]),
            Self::Azurite => {
                let scripts = places.scripts.join("azurite");
                node(&scripts, &places.azurite(), AZURITE_PINS, places)
            }
        }
    }
}

impl PeerPlaces {
    pub(super) fn python(&self) -> PathBuf {
        self.home.join("python/bin/python")
    }

    /// The folder with `node_modules`: Node finds packages only beside or above a script.
    pub(super) fn node(&self) -> PathBuf {
        self.home.join("node")
    }

    /// The folder with Azurite's own `node_modules`: it is large, and few checks need it.
    pub(super) fn azurite(&self) -> PathBuf {
        self.home.join("azurite")
    }

    pub(super) fn broker(&self) -> PathBuf {
        self.home.join("proton/broker")
    }
}

fn python(places: &PeerPlaces) -> anyhow::Result<()> {
    let requirements = places.scripts.join("requirements.txt");
    let folder = places.home.join("python");
    venv(&folder, &requirements, PYTHON_PINS, &places.home)
}

/// Makes a virtual environment of Python in `folder` with the packages of `requirements`, whose text `pins`
/// is; what the steps print goes to `logs`.
///
/// # Errors
/// What is missing and may not be installed, or the step that failed.
pub(crate) fn venv(
    folder: &Path,
    requirements: &Path,
    pins: &str,
    logs: &Path,
) -> anyhow::Result<()> {
    if !works(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
        apt(logs, &["python3", "python3-venv"])?;
    }
    let version = printed(Command::new("python3").arg("--version"))?;
    let pins = format!("{version}\n{pins}");
    if is_stamped(folder, &pins) {
        return Ok(());
    }
    empty(folder)?;
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(folder);
    process::run("venv", &venv, logs, STEP_MAX)?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ])
    .args(["--no-deps", "--requirement"])
    .arg(requirements);
    process::run("pip", &pip, logs, DOWNLOAD_MAX)?;
    stamp(folder, &pins)
}

/// Installs the packages of `scripts` into `folder` and copies the scripts beside them.
fn node(scripts: &Path, folder: &Path, pins: &str, places: &PeerPlaces) -> anyhow::Result<()> {
    if !works(Command::new("node").arg("--version")) || !works(Command::new("npm").arg("--version"))
    {
        apt(&places.home, &["nodejs", "npm"])?;
    }
    let version = printed(Command::new("node").arg("--version"))?;
    let pins = format!("{version}\n{pins}");
    if !is_stamped(folder, &pins) {
        empty(folder)?;
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(scripts.join(file), folder.join(file))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund"])
            .current_dir(folder);
        process::run("npm", &npm, &places.home, DOWNLOAD_MAX)?;
        stamp(folder, &pins)?;
    }
    for entry in std::fs::read_dir(scripts)? {
        let script = entry?.path();
        if script
            .extension()
            .is_some_and(|extension| extension == "mjs")
        {
            let name = script.file_name().context("a script has a name")?;
            std::fs::copy(&script, folder.join(name))?;
        }
    }
    Ok(())
}

fn proton(places: &PeerPlaces) -> anyhow::Result<()> {
    let folder = places.home.join("proton");
    if !works(Command::new("cc").arg("--version")) {
        apt(&places.home, &["gcc", "libc6-dev"])?;
    }
    if !Path::new(PROTON_SOURCE).exists() {
        apt(&places.home, &[PROTON_PACKAGE])?;
    }
    let pins = std::fs::read_to_string(PROTON_SOURCE).context(PROTON_SOURCE)?;
    if is_stamped(&folder, &pins) {
        return Ok(());
    }
    empty(&folder)?;
    let mut cc = Command::new("cc");
    // By path: the package has no unversioned names of these two for the linker.
    cc.args(["-O1", PROTON_SOURCE, "-o"])
        .arg(places.broker())
        .arg(library("libqpid-proton-proactor.so.1")?)
        .arg(library("libqpid-proton-core.so.10")?)
        .arg("-lpthread");
    process::run("cc", &cc, &places.home, STEP_MAX)?;
    stamp(&folder, &pins)
}

/// A shared library below `/usr/lib/<architecture>`.
fn library(name: &str) -> anyhow::Result<PathBuf> {
    for entry in std::fs::read_dir("/usr/lib")? {
        let path = entry?.path().join(name);
        if path.exists() {
            return Ok(path);
        }
    }
    bail!("{name} is not below /usr/lib")
}

/// Installs Debian packages as root, or says what to install.
fn apt(logs: &Path, packages: &[&str]) -> anyhow::Result<()> {
    let list = packages.join(" ");
    if printed(Command::new("id").arg("-u"))? != "0" {
        bail!("missing and only root may install it: apt-get install {list}");
    }
    let mut update = Command::new("apt-get");
    update.args(["update", "-qq"]);
    process::run("apt-update", &update, logs, DOWNLOAD_MAX)?;
    let mut install = Command::new("apt-get");
    install
        .args(["install", "--yes", "-qq", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    process::run("apt-install", &install, logs, DOWNLOAD_MAX)
}

pub(crate) fn works(command: &mut Command) -> bool {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn printed(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn is_stamped(folder: &Path, pins: &str) -> bool {
    std::fs::read_to_string(folder.join("stamp")).is_ok_and(|stamped| stamped == pins)
}

fn stamp(folder: &Path, pins: &str) -> anyhow::Result<()> {
    Ok(std::fs::write(folder.join("stamp"), pins)?)
}

fn empty(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(std::fs::create_dir_all(folder)?)
}
