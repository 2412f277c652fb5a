//! Checks of identities: Azure's clients at the emulator's Entra, signed tokens and client certificates at our
//! ingress, and a dead letter that goes to Azurite with a token.

use super::PeerStage;
use super::dead_letters::ACCOUNT;
use super::scene::{self, RouterProcess, json_line, route, text};
use crate::process::{self, ChildProgram};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tokio::sync::oneshot;
use twinroute_emulator::{
    BrokerSettings, HubSettings, IdentitySettings, RunningEmulator, ScriptedFaults, SendAnswer,
    Settings, TlsPorts,
};
use twinroute_model::clock::SystemClock;

const USER_ASSIGNED: &str = "/subscriptions/1/resourceGroups/g/providers/\
                             Microsoft.ManagedIdentity/userAssignedIdentities/router";

const EVENT: &str =
    r#"{"specversion":"1.0","id":"identity-1","source":"contoso","type":"t","data":{"n":1.10}}"#;

/// azure-identity in all its ways, azure-keyvault-secrets, and PyJWT with the published keys.
pub(super) fn azure_identity(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let certificate = application(stage)?;
    let mut command = Command::new(stage.program("twinroute"));
    command
        .args(["emulator", "--json", "--amqp-port", "0", "--http-port", "0"])
        .args([
            "--blob-port",
            "0",
            "--identity-port",
            "0",
            "--entra-port",
            "0",
        ])
        .args(["--amqp-tls-port", "0", "--blob-tls-port", "0"])
        .args(["--user-assigned", USER_ASSIGNED])
        .args([
            "--secret",
            "hub-1--connectionStringPrimaryKey=from=the;vault",
        ])
        .arg("--identities")
        .arg(stage.folder.join("identities"))
        .arg("--certificate")
        .arg(&certificate);
    for number in 0..30 {
        command.arg("--secret").arg(format!("more-{number}=x"));
    }
    let mut emulator = ChildProgram::start("emulator", &command, &stage.folder)?;
    let addresses = emulator.await_line("its addresses", stage.deadline, json_line)?;
    let mut scene = addresses["identity"].clone();
    scene["userAssigned"] = json!(USER_ASSIGNED);
    scene["certificate"] = json!(certificate);
    stage.play("identity.py", &scene)
}

/// The key and certificate of the tests' application, as a file that only the owner may read.
fn application(stage: &PeerStage<'_>) -> anyhow::Result<PathBuf> {
    let pair = "../crates/credential/src/testdata/application.pem";
    let copy = stage.folder.join("application.pem");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(pair), &copy)?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o600))?;
    Ok(copy)
}

/// Tokens of PyJWT at the ingress.
pub(super) fn gate(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let ingress = stage.folder.join("ingress");
    let scene = json!({ "ingress": ingress });
    let command = stage.script("gate.py", &scene);
    let mut script = ChildProgram::start("gate.py", &command, &stage.folder)?;
    let keys = script.await_line("where its keys are", stage.deadline, json_line)?;
    let access = format!(
        "[ingress.access.jwt]\nissuer = {}\naudience = [{}]\njwks_uri = {}\nwrite = [\"Events.Write\"]\n",
        keys["issuer"], keys["audience"], keys["jwks"]
    );
    let router = RouterProcess::start(stage, &[], &[], &access, "")?;
    let draft = stage.folder.join("ingress.new");
    std::fs::write(&draft, &router.ingress)?;
    std::fs::rename(&draft, &ingress)?;
    script.succeed(stage.deadline)
}

/// OpenSSL, curl and Python with client certificates at a listener that asks for them.
pub(super) fn mutual_tls(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let folder = &stage.folder;
    stage.play(
        "mutual_tls.py",
        &json!({ "step": "make", "folder": folder }),
    )?;
    let tls = "listen_tls = [\"127.0.0.1:0\"]\n[ingress.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"ca.pem\"\n";
    let router = RouterProcess::start(stage, &[], &[], tls, "")?;
    // Plain first, then TLS, each with a line of its own.
    let output = router.process.output();
    let lines = output.lines().filter_map(json_line);
    let mut listeners = lines.filter(|line| line["message"] == "accepts events");
    let address = listeners.next_back().context("no listener")?["address"].clone();
    let address: SocketAddr = text(&address)?.parse()?;
    let port = address.port();
    let scene = json!({ "step": "ask", "folder": folder, "port": port });
    stage.play("mutual_tls.py", &scene)?;
    for (presented, welcome) in [
        (Some("client.pem"), true),
        (Some("other.pem"), false),
        (None, false),
    ] {
        let name = presented.unwrap_or("none");
        let mut openssl = Command::new("openssl");
        openssl
            .args([
                "s_client",
                "-connect",
                &format!("localhost:{port}"),
                "-CAfile",
            ])
            .arg(folder.join("ca.pem"))
            .args(["-verify_return_error", "-servername", "localhost"])
            // What comes after the handshake is read too: in TLS 1.3 that is where a no comes.
            .args(["-ign_eof", "-quiet"]);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "10", "--cacert"])
            .arg(folder.join("ca.pem"))
            .args(["--header", "content-type: application/cloudevents+json"])
            .args(["--data", EVENT, "--write-out", "\nstatus %{http_code}\n"])
            .arg(format!("https://localhost:{port}/events"));
        if let Some(file) = presented {
            openssl.arg("-cert").arg(folder.join(file));
            curl.arg("--cert").arg(folder.join(file));
        }
        let said = run_with_input(&mut openssl, "GET / HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
        let answered = said.contains("HTTP/1.0 ") || said.contains("HTTP/1.1 ");
        ensure!(answered == welcome, "openssl with {name}: {said}");
        let said = run_with_input(&mut curl, "")?;
        ensure!(
            said.contains("status 202") == welcome,
            "curl with {name}: {said}"
        );
    }
    Ok(())
}

/// Runs a command to its end, good or bad; gives what it printed.
fn run_with_input(command: &mut Command, input: &str) -> anyhow::Result<String> {
    use std::io::Write as _;
    use std::process::Stdio;
    let program = command.get_program().to_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A client that was refused may be gone already.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A dead letter of an endpoint with an identity goes to Azurite, which asks for tokens over TLS.
pub(super) fn dead_letter(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let namespace = RefusingNamespace::start(stage)?;
    let ca = namespace
        .emulator
        .ca_file()
        .context("no authority")?
        .to_owned();
    let azurite = azurite(stage, &ca)?;
    let account = format!("https://localhost:{}/{ACCOUNT}", azurite.1.port());
    let machine = namespace
        .emulator
        .identity_address()
        .context("no identity service")?;
    let door = format!("http://{machine}/msi/token");
    let curl = TrustingCurl {
        stage,
        ca: ca.clone(),
    };
    let question = format!("{door}?api-version=2019-08-01&resource=https://storage.azure.com");
    let header = IdentitySettings::default().header;
    let header = format!("X-IDENTITY-HEADER: {}", header.expose());
    let token: Value = serde_json::from_str(&curl.ask("GET", &question, &[&header])?)?;
    let bearer = format!("Authorization: Bearer {}", text(&token["access_token"])?);
    let version = "x-ms-version: 2021-08-06";
    let container = format!("{account}/letters");
    curl.ask(
        "PUT",
        &format!("{container}?restype=container"),
        &[&bearer, version],
    )?;
    let router = router(stage, &namespace.emulator, &container)?;
    router.post(EVENT)?;
    router.shows("the dead letter is in Azurite", stage.deadline, |status| {
        scene::endpoints(status)
            .first()
            .is_some_and(|endpoint| endpoint["dead_letters"]["uploaded"] == 1)
    })?;
    let list = format!("{container}?restype=container&comp=list");
    let listed = curl.ask("GET", &list, &[&bearer, version])?;
    let name = listed
        .split("<Name>")
        .nth(1)
        .and_then(|rest| rest.split("</Name>").next());
    let name = name.with_context(|| format!("no blob in {listed}"))?;
    ensure!(
        name.starts_with("hub/") && name.ends_with("/identity-1.json"),
        "{name}"
    );
    let blob = curl.ask("GET", &format!("{container}/{name}"), &[&bearer, version])?;
    ensure!(blob == EVENT, "the dead letter is {blob}");
    let refused = curl.ask("GET", &format!("{container}/{name}"), &[version]);
    ensure!(refused.is_err(), "Azurite asks nobody for a token");
    Ok(())
}

/// A router with an endpoint at the hub that refuses, which the machine's identity opens.
fn router(
    stage: &PeerStage<'_>,
    emulator: &RunningEmulator,
    container: &str,
) -> anyhow::Result<RouterProcess> {
    let machine = emulator.identity_address().context("no identity service")?;
    let port = emulator.amqp_tls_port().context("no TLS")?;
    let endpoint = json!({ "properties": {
        "endpointType": "EventHub", "authenticationType": "IdentityBased",
        "endpointUri": format!("sb://localhost:{port}/"), "entityPath": "refused",
        "identity": { "type": "SystemAssigned" }, "deadLetterUri": container,
    } });
    let settings = format!(
        "[identity]\ncredential = \"managed-identity\"\n\n[outgoing]\nca_files = [{}]\n",
        json!(emulator.ca_file())
    );
    let variables = [
        ("IDENTITY_ENDPOINT", format!("http://{machine}/msi/token")),
        (
            "IDENTITY_HEADER",
            IdentitySettings::default().header.expose().to_owned(),
        ),
    ];
    RouterProcess::start_with(
        stage,
        &variables,
        &[("hub", endpoint)],
        &[("hub", route("hub", "true"))],
        "",
        &settings,
    )
}

/// curl that trusts the emulator's authority.
struct TrustingCurl<'a> {
    stage: &'a PeerStage<'a>,
    ca: PathBuf,
}

impl TrustingCurl<'_> {
    fn ask(&self, method: &str, url: &str, headers: &[&str]) -> anyhow::Result<String> {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--fail-with-body",
            "--max-time",
            "10",
            "--cacert",
        ])
        .arg(&self.ca)
        .args(["--request", method]);
        for header in headers {
            curl.args(["--header", header]);
        }
        curl.arg(url);
        let mut process = ChildProgram::start("curl", &curl, &self.stage.folder)?;
        let ended = process.succeed(self.stage.deadline);
        ended.with_context(|| format!("{method} {url}: {}", process.output()))?;
        Ok(process.output())
    }
}

/// Azurite over TLS, with the emulator's certificate, where tokens are asked for.
fn azurite(stage: &PeerStage<'_>, ca: &Path) -> anyhow::Result<(ChildProgram, SocketAddr)> {
    let folder = ca.parent().context("the authority is in a folder")?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new("node");
    let program = "node_modules/azurite/dist/src/blob/main.js";
    command
        .arg(stage.places.azurite().join(program))
        .args(["--blobHost", "127.0.0.1", "--blobPort"])
        .arg(address.port().to_string())
        .args([
            "--inMemoryPersistence",
            "--disableTelemetry",
            "--skipApiVersionCheck",
        ])
        .args(["--oauth", "basic", "--cert"])
        .arg(folder.join("server.pem"))
        .arg("--key")
        .arg(folder.join("server.key"));
    let process = ChildProgram::start("azurite", &command, &stage.folder)?;
    process::until("Azurite listens", stage.deadline, || {
        Ok(TcpStream::connect(address).ok())
    })?;
    Ok((process, address))
}

/// A namespace whose hub refuses everything, in this process, since its faults are scripted.
struct RefusingNamespace {
    emulator: RunningEmulator,
    /// Dropped after the emulator; its thread ends with it.
    _stop: oneshot::Sender<()>,
}

impl RefusingNamespace {
    fn start(stage: &PeerStage<'_>) -> anyhow::Result<Self> {
        let settings = Settings {
            broker: BrokerSettings {
                hubs: vec![HubSettings::new("refused")],
                ..BrokerSettings::default()
            },
            identity: Some(IdentitySettings::default()),
            tls: Some(TlsPorts::new(stage.folder.join("tls"))),
            ..Settings::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let emulator = runtime.block_on(RunningEmulator::start(settings, Arc::new(SystemClock)))?;
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("emulator".to_owned())
            .spawn(move || drop(runtime.block_on(stopped)))?;
        let refuse = SendAnswer::Reject("amqp:not-allowed".to_owned());
        emulator
            .faults()
            .sends("refused", refuse, ScriptedFaults::ALWAYS);
        Ok(Self {
            emulator,
            _stop: stop,
        })
    }
}
