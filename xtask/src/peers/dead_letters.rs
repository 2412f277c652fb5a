//! Dead letters in Azurite, through SAS URIs that Microsoft's own client made, judged by that client.

use super::PeerStage;
use super::scene::{json_line, text};
use crate::process::{self, ChildProgram};
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::{Clock as _, SystemClock, Timestamp};
use twinroute_model::dead_letter::{DeadLetter, DeadLetterReason};
use twinroute_model::endpoint::location::ContainerLocation;
use twinroute_model::event::{Event, EventLimits, EventParts};
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::secret::Secret;
use twinroute_retry::dead_letter::container::{ContainerClient, LetterContainer, PutOutcome};
use twinroute_retry::dead_letter::document::DeadLetterDocument;
use twinroute_retry::dead_letter::fault::{StoreFault, StoreFaultKind};
use twinroute_retry::dead_letter::read;

/// Azurite's published account and its published key.
pub(super) const ACCOUNT: &str = "devstoreaccount1";
pub(super) const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const SCRIPT: &str = "container.mjs";

/// The size of the largest event that these containers hold.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// The check.
pub(super) fn azurite(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let (_azurite, address) = start(stage)?;
    let account = format!("http://{address}/{ACCOUNT}");
    let scene = |step: &str, blobs: &[Value]| json!({ "step": step, "account": account, "key": KEY, "blobs": blobs });
    let command = script(stage, &scene("prepare", &[]));
    let mut prepare = ChildProgram::start("prepare", &command, &stage.folder)?;
    let uris = prepare.await_line("SAS URIs", stage.deadline, json_line)?;
    prepare.succeed(stage.deadline)?;
    let store = LibraryStore::new(uris)?;
    let mut blobs = store.permissions()?;
    blobs.extend(store.same_ids()?);
    store.faults()?;
    let play = |step: &str, blobs: &[Value]| {
        let command = script(stage, &scene(step, blobs));
        ChildProgram::start(step, &command, &stage.folder)?.succeed(stage.deadline)
    };
    store.refused("missing", StoreFaultKind::ContainerMissing)?;
    play("create", &[])?;
    store.written("missing", &event("later", "{}")?)?;
    store.reads_back(&blobs)?;
    play("judge", &blobs)
}

/// Azurite on a free port.
pub(super) fn start(stage: &PeerStage<'_>) -> anyhow::Result<(ChildProgram, SocketAddr)> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new("node");
    let program = "node_modules/azurite/dist/src/blob/main.js";
    command
        .arg(stage.places.azurite().join(program))
        .args(["--blobHost", "127.0.0.1", "--blobPort"])
        .arg(address.port().to_string())
        .args(["--inMemoryPersistence", "--disableTelemetry"])
        // It knows no service version as new as ours.
        .arg("--skipApiVersionCheck");
    let process = ChildProgram::start("azurite", &command, &stage.folder)?;
    process::until("Azurite listens", stage.deadline, || {
        Ok(TcpStream::connect(address).ok())
    })?;
    Ok((process, address))
}

/// One step of the script.
pub(super) fn script(stage: &PeerStage<'_>, scene: &Value) -> Command {
    let mut command = Command::new("node");
    command
        .arg(stage.places.azurite().join(SCRIPT))
        .env("TWINROUTE_EMULATOR", scene.to_string());
    command
}

/// The signature in a SAS URI, as it stands there.
pub(super) fn signature(uri: &str) -> anyhow::Result<&str> {
    let signature = uri
        .split("sig=")
        .nth(1)
        .and_then(|rest| rest.split('&').next());
    signature.context("a URI without a signature")
}

/// The library with everything that a check puts into it.
struct LibraryStore {
    uris: Value,
    client: ContainerClient,
    runtime: tokio::runtime::Runtime,
    died_at: Timestamp,
}

impl LibraryStore {
    fn new(uris: Value) -> anyhow::Result<Self> {
        // Plain HTTP to this machine: no server's certificate is trusted, and none is shown.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            uris,
            client: ContainerClient::new(Arc::new(http), EVENT_BYTES_MAX),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            died_at: Timestamp::from_unix_millis(1_772_409_600_000),
        })
    }

    fn container(&self, uri: &str) -> anyhow::Result<LetterContainer> {
        let uri = Secret::new(text(&self.uris[uri])?);
        let location = ContainerLocation::from_secret(&uri)?;
        Ok(LetterContainer::with_sas(&self.client, location)?)
    }

    /// Puts `event` through the SAS URI of this name; `now` is the time that its times are compared with.
    fn put(
        &self,
        uri: &str,
        event: &Event,
        now: Timestamp,
    ) -> anyhow::Result<(Result<PutOutcome, StoreFault>, Value)> {
        let dead = DeadLetter {
            reason: DeadLetterReason::Exhausted,
            attempts: 30,
            died_at: self.died_at,
            last_attempt_at: Some(self.died_at),
            outcome: "http-404: größer als 100 %".into(),
        };
        let letter = DeadLetterDocument {
            instance: &InstanceName::new("contoso")?,
            endpoint: &EndpointName::new("hub")?,
            event,
            accepted_at: self.died_at,
            dead: &dead,
        };
        let put = self
            .runtime
            .block_on(self.container(uri)?.put(&letter, now));
        let stored = json!({
            "name": put.as_ref().map(PutOutcome::name).unwrap_or_default(),
            "content": String::from_utf8(letter.content())?,
            "metadata": letter.metadata(),
        });
        Ok((put, stored))
    }

    /// Puts and expects it to be written; gives what the blob should be.
    fn written(&self, uri: &str, event: &Event) -> anyhow::Result<Value> {
        match self.put(uri, event, SystemClock.now())? {
            (Ok(PutOutcome::Written { .. }), stored) => Ok(stored),
            (other, _) => bail!("{uri}: {other:?}"),
        }
    }

    fn refused(&self, uri: &str, kind: StoreFaultKind) -> anyhow::Result<()> {
        self.refused_at(uri, kind, SystemClock.now())
    }

    fn refused_at(&self, uri: &str, kind: StoreFaultKind, now: Timestamp) -> anyhow::Result<()> {
        let (put, _) = self.put(uri, &event("refused", "{}")?, now)?;
        let fault = put.err().with_context(|| format!("{uri} was taken"))?;
        ensure!(fault.kind == kind, "{uri}: {:?}: {fault}", fault.kind);
        let signature = signature(text(&self.uris[uri])?)?;
        ensure!(!fault.message.contains(signature), "it tells the signature");
        Ok(())
    }

    /// Writing alone and creating alone are enough, whatever the id.
    fn permissions(&self) -> anyhow::Result<Vec<Value>> {
        Ok(vec![
            self.written("write", &event("written", r#"{"n":1.10}"#)?)?,
            self.written("create", &event("created", "{}")?)?,
            self.written("write", &event("../a/b%2F?c#d\\ü~.", "{}")?)?,
            self.written("write", &event(&"long/".repeat(300), "{}")?)?,
        ])
    }

    /// Events with one id in one hour, through either kind of SAS.
    fn same_ids(&self) -> anyhow::Result<Vec<Value>> {
        let mut blobs = Vec::new();
        for uri in ["write", "create"] {
            let id = format!("same-{uri}");
            blobs.push(self.written(uri, &event(&id, r#"{"which":1}"#)?)?);
            let second = self.written(uri, &event(&id, r#"{"which":2}"#)?)?;
            let hash = text(&second["name"])?.len() - text(&blobs[blobs.len() - 1]["name"])?.len();
            ensure!(hash == 65, "{second}");
            blobs.push(second);
        }
        // Once more, as after a crash that forgot the answer.
        let again = event("same-write", r#"{"which":2}"#)?;
        let (known, stored) = self.put("write", &again, SystemClock.now())?;
        ensure!(matches!(known, Ok(PutOutcome::Known { .. })), "{known:?}");
        ensure!(blobs.contains(&stored), "{stored}");
        // Azurite does not tell a blob that is there from a permission that is not: it stays open.
        let again = event("same-create", r#"{"which":2}"#)?;
        let (open, _) = self.put("create", &again, SystemClock.now())?;
        let fault = open.err().context("known by a SAS that only creates")?;
        ensure!(fault.kind == StoreFaultKind::Refused, "{fault}");
        Ok(blobs)
    }

    fn faults(&self) -> anyhow::Result<()> {
        self.refused("wrong", StoreFaultKind::Refused)?;
        self.refused("read", StoreFaultKind::Refused)?;
        self.refused("expired", StoreFaultKind::SasExpired)?;
        self.refused("early", StoreFaultKind::SasNotYetValid)?;
        // Sent all the same when our clock is wrong.
        let hours = |back: i64| SystemClock.now().unix_millis() - back * 3_600_000;
        let earlier = Timestamp::from_unix_millis(hours(1) - 60_000);
        self.refused_at("expired", StoreFaultKind::Refused, earlier)?;
        let later = SystemClock.now().after(Duration::from_secs(3_660));
        self.refused_at("early", StoreFaultKind::Refused, later)?;
        let writer = self.container("write")?;
        let now = SystemClock.now();
        let listed = self.runtime.block_on(writer.list("", None, now));
        ensure!(listed.is_err_and(|fault| fault.kind == StoreFaultKind::Refused));
        ensure!(!writer.location().listable() && !writer.location().readable());
        Ok(())
    }

    /// Lists everything and reads it.
    fn reads_back(&self, blobs: &[Value]) -> anyhow::Result<()> {
        let container = self.container("all")?;
        let now = SystemClock.now();
        let page = self
            .runtime
            .block_on(container.list("hub/2026/", None, now))?;
        ensure!(
            page.next.is_none() && page.blobs.len() == blobs.len(),
            "{page:?}"
        );
        for listed in &page.blobs {
            let expected = blobs.iter().find(|blob| blob["name"] == listed.name);
            let expected = expected.with_context(|| listed.name.clone())?;
            let blob = self.runtime.block_on(container.read(&listed.name, now))?;
            ensure!(*blob.content == *text(&expected["content"])?.as_bytes());
            ensure!(
                json!(blob.metadata) == expected["metadata"],
                "{:?}",
                blob.metadata
            );
            ensure!(listed.metadata == blob.metadata, "{:?}", listed.metadata);
            ensure!(listed.bytes == blob.content.len() as u64 && listed.modified_at.is_some());
            let back = read::parse(&blob.content, &blob.metadata, &EventLimits::default())?;
            let known = &back[0].as_ref().map_err(Clone::clone)?.known;
            ensure!(
                known.reason == Some(DeadLetterReason::Exhausted),
                "{known:?}"
            );
            ensure!(known.outcome.as_deref() == Some("http-404: größer als 100 %"));
        }
        let other = self.runtime.block_on(container.list("other/", None, now))?;
        ensure!(other.blobs.is_empty(), "{other:?}");
        let missing = self.runtime.block_on(container.read("missing", now));
        ensure!(missing.is_err_and(|fault| fault.kind == StoreFaultKind::BlobMissing));
        Ok(())
    }
}

fn event(id: &str, data: &str) -> anyhow::Result<Event> {
    let source = "contoso.api.weu.digitaltwins.azure.net";
    let parts = EventParts::new(id, source, "Microsoft.DigitalTwins.Twin.Delete");
    Ok(parts.json(data).build(&EventLimits::default())?)
}
