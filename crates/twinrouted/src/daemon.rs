//! Wiring: from a configuration to a router that listens. No logic of its own.

use crate::auditing;
use crate::config::LoadedConfig;
use crate::connect::azure_connect;
use crate::file_permissions;
use crate::keys;
use crate::keys::KeyInUse;
use crate::listeners::{self, ConfiguredServer};
use crate::management;
use crate::shared_log;
use crate::source::ConfiguredSource;
use anyhow::Context as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use twinroute::azure::AzureConnect;
use twinroute_admin::{
    AdminServer, CertificateReporter, LogControl, MetricsRecorder, StatusReport,
};
use twinroute_audit::{AuditLog, AuditedChange};
use twinroute_ingress::IngressServer;
use twinroute_journal::storage::FolderStorage;
use twinroute_journal::{DiskJournal, EventSealing, RecoveredJournal};
use twinroute_listen::ListeningSocket;
use twinroute_model::clock::SystemClock;
use twinroute_model::event::EventLimits;
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::cluster_journal::ClusterJournal;
use twinroute_router::source::Definitions;
use twinroute_router::trace::SpanQueue;
use twinroute_router::{Router, RouterBuilder};

/// A router with the real sinks, not yet built.
pub(crate) fn router(outgoing: &OutgoingConnections) -> anyhow::Result<RouterBuilder> {
    Ok(Router::builder().connect(azure_connect(
        None,
        outgoing,
        EventLimits::default().event_bytes_max,
    )?))
}

/// A running daemon.
pub(crate) struct RunningDaemon {
    router: Router,
    phase: watch::Sender<StopPhase>,
    /// Those that take in: requests and changes of the definitions.
    servers: Vec<JoinHandle<()>>,
    admin: JoinHandle<()>,
    /// Sends the spans of traces, where that is configured.
    exporting: Option<JoinHandle<()>>,
    certificates: CertificateReporter,
    /// Until it is gone.
    _key: Option<KeyInUse>,
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum StopPhase {
    Running,
    /// Nothing is taken in any more; lanes finish, the admin API still tells.
    Draining,
    Stopped,
}

impl RunningDaemon {
    /// Opens the listeners and starts.
    ///
    /// # Errors
    /// The first thing that keeps it from starting, with what to do about it.
    pub(crate) async fn start(loaded: LoadedConfig, log: LogControl) -> anyhow::Result<Self> {
        // Before anything that counts is made.
        let metrics = MetricsRecorder::install()?;
        check(&loaded)?;
        let hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be heard")?;
        let outgoing = loaded.outgoing()?;
        let endpoints = Arc::new(azure_connect(
            loaded.login()?,
            &outgoing,
            loaded.config.ingress.event_bytes(),
        )?);
        let loaded = Arc::new(loaded);
        let config = &loaded.config;
        let key = keys::use_key(&loaded)?;
        loaded.find_definitions()?;
        let source = ConfiguredSource::open(Arc::clone(&loaded), &endpoints, &outgoing)?;
        let audit = audited(&source, &loaded)?;
        let (phase, phases) = watch::channel(StopPhase::Running);
        let keeping = source.keep(until(StopPhase::Draining, phases.clone()));
        source.ready().await?;
        let (spans, exporting) = exporting(&loaded, &outgoing, phases.clone())?;
        let cluster = shared_log::open(&loaded, &outgoing).await?;
        let router = built(&loaded, &endpoints, source.definitions()?, spans, cluster)?;
        source.show(&router);
        let listeners = ConfiguredServer::ingress(config).open(&loaded)?;
        let admin_listeners = ConfiguredServer::admin(config).open(&loaded)?;
        let management_listeners = ConfiguredServer::management(config).open(&loaded)?;
        let servers = [&*listeners, &admin_listeners, &management_listeners];
        let certificates = listeners::certificates(servers);
        let certificates = CertificateReporter::new(config.admin.expiry_warning, certificates);
        announce(&listeners, "accepts events");
        announce(&management_listeners, "answers as the management API");
        announce(&admin_listeners, "answers /status and /metrics");
        let gate = ConfiguredServer::ingress(config).gate(&loaded, &outgoing)?;
        let (clock, network) = (Arc::new(SystemClock), source.network());
        let ingress =
            IngressServer::with_gate(&config.ingress, router.clone(), clock, gate, network);
        let draining = until(StopPhase::Draining, phases.clone());
        let ingress = tokio::spawn(async move { ingress.serve(listeners, draining).await });
        let admin = AdminServer::new(router.clone(), metrics)
            .changes(config.admin.changes())
            .gate(ConfiguredServer::admin(config).gate(&loaded, &outgoing)?)
            .audit(audit.clone())
            .log(log)
            .certificates(certificates.clone());
        let limits = config.admin.limits.clone();
        let stopped = until(StopPhase::Stopped, phases.clone());
        let admin =
            tokio::spawn(async move { admin.serve(admin_listeners, &limits, stopped).await });
        let mut servers = vec![ingress];
        servers.extend(keeping);
        let draining = until(StopPhase::Draining, phases.clone());
        let serving = (management_listeners, draining);
        servers.extend(serve_management(&source, &loaded, &outgoing, serving)?);
        let draining = until(StopPhase::Draining, phases);
        servers.push(tokio::spawn(reload(
            source,
            (hangup, audit),
            router.clone(),
            draining,
        )));
        Ok(Self {
            router,
            phase,
            servers,
            admin,
            exporting,
            certificates,
            _key: key,
        })
    }

    /// Stops: no more requests, then no more deliveries. Gives the last status.
    pub(crate) async fn stop(self, grace: Duration) -> StatusReport {
        self.phase.send_replace(StopPhase::Draining);
        for task in self.servers {
            ended(task.await);
        }
        let status = self.router.stop(grace).await;
        self.phase.send_replace(StopPhase::Stopped);
        ended(self.admin.await);
        if let Some(exporting) = self.exporting {
            ended(exporting.await);
        }
        self.certificates.report(status)
    }
}

/// Answers as the management API until `draining` completes, where it is served.
fn serve_management(
    source: &ConfiguredSource,
    loaded: &LoadedConfig,
    outgoing: &OutgoingConnections,
    (listeners, draining): (
        Vec<ListeningSocket>,
        impl Future<Output = ()> + Send + 'static,
    ),
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(management) = source.management().cloned() else {
        return Ok(None);
    };
    let gate = ConfiguredServer::management(&loaded.config).gate(loaded, outgoing)?;
    let serving = async move { management.serve(listeners, gate, draining).await };
    Ok(Some(tokio::spawn(serving)))
}

/// Refuses settings that cannot be used, and warns of others.
fn check(loaded: &LoadedConfig) -> anyhow::Result<()> {
    let warnings = loaded.config.check();
    for warning in warnings.map_err(|errors| anyhow::anyhow!(errors.join("\n")))? {
        tracing::warn!(warning, "warning about the configuration");
    }
    for warning in file_permissions::open_folders(loaded) {
        tracing::warn!(warning, "warning about a data folder");
    }
    Ok(())
}

/// The router with its journal and its first table.
pub(crate) fn built(
    loaded: &LoadedConfig,
    endpoints: &Arc<AzureConnect>,
    definitions: Definitions,
    spans: SpanQueue,
    cluster: Option<ClusterJournal>,
) -> anyhow::Result<Router> {
    let config = &loaded.config;
    listeners::warn_of_unnamed(config, &definitions.instances);
    let builder = Router::builder()
        .connect(Arc::clone(endpoints))
        .default_instance(&config.instance)
        .journal_bytes_max(config.journal.bytes_max.as_u64())
        .removed_grace(config.removed_grace)
        .expiry_warning(config.admin.expiry_warning)
        .metrics_endpoints_max(config.admin.metrics_endpoints_max)
        .unreadable(config.ingress.unreadable())
        .spans(spans)
        .definitions(definitions);
    Ok(with_journal(builder, loaded, cluster)?.build()?)
}

/// Where the router records spans; they are exported until it has stopped, and nothing is where that is not configured.
fn exporting(
    loaded: &LoadedConfig,
    outgoing: &OutgoingConnections,
    phases: watch::Receiver<StopPhase>,
) -> anyhow::Result<(SpanQueue, Option<JoinHandle<()>>)> {
    let Some((spans, export)) = loaded.span_export(outgoing)? else {
        return Ok((SpanQueue::default(), None));
    };
    let stopped = until(StopPhase::Stopped, phases);
    Ok((spans, Some(tokio::spawn(export.run(stopped)))))
}

/// Opens the audit log, and has the management API note its changes there.
fn audited(source: &ConfiguredSource, loaded: &LoadedConfig) -> anyhow::Result<AuditLog> {
    let audit = auditing::open(loaded)?;
    if let Some(management) = source.management() {
        management.set_audit(audit.clone());
    }
    Ok(audit)
}

/// Has the router keep its events where the configuration says.
fn with_journal(
    builder: RouterBuilder,
    loaded: &LoadedConfig,
    cluster: Option<ClusterJournal>,
) -> anyhow::Result<RouterBuilder> {
    let config = &loaded.config.journal;
    let builder = match config.duplicates() {
        None => builder,
        Some(window) => builder.duplicate_window(window),
    };
    if let Some(cluster) = cluster {
        return Ok(builder.journal_in_cluster(cluster));
    }
    let Some(folder) = loaded.journal_folder() else {
        tracing::warn!(
            "the journal is in memory: accepted events that were not delivered yet are lost with the process (a crash, \
             SIGKILL, a loss of power); set [journal] path to keep them"
        );
        return Ok(builder);
    };
    let sealing = keys::sealing(loaded, &folder)?;
    let (disk, recovered) = open_journal(&folder, config.settings(), &sealing)?;
    let builder = builder.journal_on_disk(disk, recovered);
    let builder = match management::last_definitions(loaded)? {
        Some(file) => builder.last_definitions(file),
        None => builder,
    };
    Ok(builder.replay_notes(folder.join("replays")))
}

/// Opens the journal and says what was found in it.
fn open_journal(
    folder: &Path,
    settings: twinroute_journal::JournalSettings,
    sealing: &EventSealing,
) -> anyhow::Result<(DiskJournal, RecoveredJournal)> {
    let storage = FolderStorage::create(folder)
        .with_context(|| format!("[journal]: the folder {}", folder.display()))?;
    let (disk, recovered) =
        DiskJournal::open_sealed(settings, Arc::new(storage), Arc::new(SystemClock), sealing)?;
    let pending: usize = recovered.lanes.iter().map(|lane| lane.pending.len()).sum();
    for cut in recovered.report.cuts() {
        tracing::warn!(
            folder = %folder.display(),
            %cut,
            "the last group of the journal was torn by a crash; nothing of it was known to be on disk"
        );
    }
    if recovered.report.is_whole() {
        tracing::info!(folder = %folder.display(), pending, "the journal is open");
    } else {
        tracing::error!(folder = %folder.display(), pending, report = %recovered.report,
            "the journal is open, but not all of it could be read");
    }
    Ok((disk, recovered))
}

fn ended(result: Result<(), tokio::task::JoinError>) {
    if let Err(error) = result {
        tracing::error!(%error, "a task failed");
    }
}

fn announce(listeners: &[ListeningSocket], what: &'static str) {
    for listener in listeners {
        let address = listener.address();
        match listener.private() {
            None => tracing::info!(%address, "{what}"),
            Some(connection) => {
                tracing::info!(%address, %connection, "{what} over a private endpoint connection");
            }
        }
    }
}

/// Resolves once a stop has come so far.
async fn until(phase: StopPhase, mut phases: watch::Receiver<StopPhase>) {
    // An error means that nobody can stop us any more, which is a stop too.
    drop(phases.wait_for(|present| *present >= phase).await);
}

/// Why definitions are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReloadOccasion {
    /// They changed, or somebody says so.
    Change,
    /// An endpoint refuses its credential: there may be a new one.
    Refusal,
}

/// Applies the definitions again whenever their source changed, on SIGHUP, and when an endpoint refuses its
/// credential.
async fn reload(
    mut source: ConfiguredSource,
    (mut hangup, audit): (Signal, AuditLog),
    router: Router,
    stopped: impl Future<Output = ()>,
) {
    tokio::pin!(stopped);
    let mut refresh = router.credential_refresh();
    loop {
        // One occasion at a time: definitions that are applied later were also read later.
        let occasion = tokio::select! {
            () = source.changed() => ReloadOccasion::Change,
            Some(()) = hangup.recv() => {
                tracing::info!("SIGHUP: reading the definitions again");
                let reload = AuditedChange::step("definitions/reload", "");
                if let Err(error) = audit.accept_one(&auditing::signal(), reload).await {
                    let error = error.error_chain();
                    tracing::error!(error, "the definitions stay as they are: the reload cannot be recorded in the audit log");
                    continue;
                }
                ReloadOccasion::Change
            }
            () = refresh.due() => {
                tracing::info!("a credential is refused: definitions and secrets are read again");
                source.poll_now();
                ReloadOccasion::Refusal
            }
            () = &mut stopped => return,
        };
        let router = router.clone();
        let applied = tokio::task::spawn_blocking(move || {
            match (source.definitions(), occasion) {
                // The router logs and shows what is wrong.
                (Ok(definitions), _) => drop(router.apply(&definitions)),
                (Err(faults), ReloadOccasion::Change) => router.refuse(&faults),
                // Somebody may be about to write them; then their change is reported.
                (Err(_), ReloadOccasion::Refusal) => {}
            }
            source
        });
        source = match applied.await {
            Ok(source) => source,
            Err(error) => {
                tracing::error!(%error, "definitions are not checked any more");
                return;
            }
        };
    }
}
