//! Wiring: the one source of definitions, what it says, and when it says something new.

use crate::cli::exit::{self, ExitReason, ReasonedError};
use crate::config::{LoadedConfig, SourceKind};
use crate::file_permissions;
use crate::keys;
use crate::management;
use crate::paths;
use anyhow::Context as _;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use twinroute::azure::AzureConnect;
use twinroute_arm::source::{AzureSource, SavedFile};
use twinroute_credential::key_vault::KeyVault;
use twinroute_credential::overlay::SecretOverlay;
use twinroute_credential::token::TokenSource;
use twinroute_files::watch::FileWatch;
use twinroute_listen::InstanceNetworks;
use twinroute_management::ManagementServer;
use twinroute_model::clock::SystemClock;
use twinroute_model::secret::Secret;
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::Router;
use twinroute_router::source::{DefinitionFaults, Definitions, StraySettings};
use twinroute_router::status::SourceStatus;

/// Where changes are missed, files are checked this often.
const POLL: Duration = Duration::from_secs(60);

/// How long a start waits for definitions from Azure when none were saved.
const FIRST_POLL_MAX: Duration = Duration::from_secs(30);

/// The source that the configuration names.
pub(crate) struct ConfiguredSource {
    loaded: Arc<LoadedConfig>,
    management: Option<ManagementServer>,
    /// Changes of what is put over the management API, when that is the source.
    stored: Option<watch::Receiver<u64>>,
    azure: Option<Arc<AzureSource>>,
    watch: FileWatch,
    /// From which networks instances are reached; where there is a management API, it keeps this.
    network: InstanceNetworks,
}

impl ConfiguredSource {
    /// Opens it. Blocks on the disk.
    pub(crate) fn open(
        loaded: Arc<LoadedConfig>,
        endpoints: &Arc<AzureConnect>,
        outgoing: &OutgoingConnections,
    ) -> anyhow::Result<Self> {
        let kind = loaded.config.table.source;
        if kind == SourceKind::Files {
            file_permissions::warn(loaded.folder.root());
        }
        // Watched before anything is read, so that no change falls between the two.
        let trees = match kind {
            SourceKind::Files => vec![loaded.folder.root()],
            SourceKind::Store | SourceKind::Azure => Vec::new(),
        };
        let watch = FileWatch::new(&trees, &[&loaded.file], POLL);
        let management = management::open(&loaded, endpoints)?;
        let stored = management.as_ref().filter(|_| kind == SourceKind::Store);
        let azure = match kind {
            SourceKind::Azure => Some(Arc::new(open_azure(&loaded, outgoing)?)),
            SourceKind::Files | SourceKind::Store => None,
        };
        Ok(Self {
            stored: stored.map(ManagementServer::changes),
            network: management
                .as_ref()
                .map(ManagementServer::network)
                .unwrap_or_default(),
            loaded,
            management,
            azure,
            watch,
        })
    }

    /// From which networks instances are reached, at any moment.
    pub(crate) fn network(&self) -> InstanceNetworks {
        self.network.clone()
    }

    /// The management API, where it is served or is the source.
    pub(crate) fn management(&self) -> Option<&ManagementServer> {
        self.management.as_ref()
    }

    /// Keeps definitions from elsewhere current until `stopped` completes.
    pub(crate) fn keep(
        &self,
        stopped: impl Future<Output = ()> + Send + 'static,
    ) -> Option<tokio::task::JoinHandle<()>> {
        let azure = Arc::clone(self.azure.as_ref()?);
        Some(tokio::spawn(async move { azure.run(stopped).await }))
    }

    /// Waits until there are definitions to begin with: events that came before would match nothing.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        let Some(azure) = &self.azure else {
            return Ok(());
        };
        if azure.definitions().is_some() {
            return Ok(());
        }
        let polled = tokio::time::timeout(FIRST_POLL_MAX, azure.polled()).await;
        if azure.definitions().is_some() {
            return Ok(());
        }
        let status = azure.status();
        let reason = match (polled, status.last_error) {
            (_, Some(error)) => error,
            (_, None) => format!("no answer within {} s", FIRST_POLL_MAX.as_secs()),
        };
        let text = format!(
            "[azure]: there are no definitions to begin with, and none were saved earlier: {reason}"
        );
        Err(ReasonedError::new(ExitReason::Unavailable, text).into())
    }

    /// Has the router show how the source goes.
    pub(crate) fn show(&self, router: &Router) {
        if let Some(azure) = &self.azure {
            let azure = Arc::clone(azure);
            router.show_source(move || status(&azure));
        }
    }

    /// What the table is to be made of. Blocks on the file system.
    pub(crate) fn definitions(&self) -> Result<Definitions, DefinitionFaults> {
        let elsewhere = |instances| {
            Ok(Definitions {
                settings: self.loaded.settings()?,
                instances,
                strays: StraySettings::Warn,
                folder: None,
            })
        };
        let definitions = match (
            self.loaded.config.table.source,
            &self.management,
            &self.azure,
        ) {
            (SourceKind::Store, Some(management), _) => elsewhere(management.instances())?,
            (SourceKind::Azure, _, Some(azure)) => {
                let snapshot = azure.definitions();
                elsewhere(
                    snapshot
                        .map(|snapshot| snapshot.instances.clone())
                        .unwrap_or_default(),
                )?
            }
            _ => self.loaded.definitions()?,
        };
        match &self.management {
            Some(management) => {
                management.set_beside(definitions.settings.clone());
                if self.stored.is_none() {
                    management.show(&definitions.instances);
                }
            }
            None => {
                let instances = definitions.instances.iter();
                let each = instances.map(|instance| (&instance.name, &instance.network));
                self.network.set(each);
            }
        }
        Ok(definitions)
    }

    /// Has what is polled read now: an endpoint refuses the credential it was given. Files are read again
    /// by [`ConfiguredSource::definitions`].
    pub(crate) fn poll_now(&self) {
        if let Some(azure) = &self.azure {
            azure.poll_now();
        }
    }

    /// Resolves after a change, once what changed can be read. Dropping the future loses no change.
    pub(crate) async fn changed(&mut self) {
        let stored = async {
            match &mut self.stored {
                // An error means that the store is gone, which ends with the daemon.
                Some(stored) => drop(stored.changed().await),
                None => pending().await,
            }
        };
        let azure = async {
            match &self.azure {
                Some(azure) => azure.changed().await,
                None => pending().await,
            }
        };
        // Only one of them is ever set besides the files' watch; whichever it is, all is read again.
        tokio::select! {
            () = stored => {}
            () = azure => {}
            () = self.watch.changed() => {}
        }
    }
}

fn open_azure(
    loaded: &LoadedConfig,
    outgoing: &OutgoingConnections,
) -> anyhow::Result<AzureSource> {
    let settings = &loaded.azure();
    let clock = Arc::new(SystemClock);
    let variable = |name: &str| std::env::var(name).ok().map(|text| Secret::pasted(&text));
    let tokens = settings.tokens(variable, clock.clone(), outgoing);
    let tokens = tokens.map_err(|error| {
        let files = [
            &settings.ca_file,
            &settings.client_secret_file,
            &settings.certificate_file,
            &settings.token_file,
        ];
        let files = files.into_iter().filter_map(Option::as_deref);
        exit::about_files(format!("[azure]: {error}"), files)
    })?;
    let mut overlay = SecretOverlay::from_environment(settings.secrets_folder.clone());
    if let Some(vault) = open_vault(loaded, outgoing)? {
        overlay = overlay.with_key_vault(vault);
    }
    let saved = SavedFile {
        path: paths::saved_file(loaded),
        key: keys::key(loaded)?,
    };
    AzureSource::open(settings, tokens, overlay, Some(saved), clock, outgoing).context("[azure]")
}

/// The key vault of `[secrets]`, which is read as who stands in `[identity]`.
fn open_vault(
    loaded: &LoadedConfig,
    outgoing: &OutgoingConnections,
) -> anyhow::Result<Option<KeyVault>> {
    let Some(settings) = loaded.config.secrets.vault() else {
        return Ok(None);
    };
    let login = loaded.login()?;
    let login = login.context("[secrets]: key_vault needs a credential in [identity]")?;
    let http = outgoing.http().build().context("an HTTP client")?;
    let clock = Arc::new(SystemClock);
    let tokens = TokenSource::new(login, Arc::new(http.clone()), clock.clone());
    Ok(Some(KeyVault::new(settings, tokens, Arc::new(http), clock)))
}

fn status(azure: &AzureSource) -> SourceStatus {
    let status = azure.status();
    let age_ms = status
        .age_seconds
        .map(|seconds| seconds.saturating_mul(1000));
    let mut warnings = status.warnings;
    warnings.extend(status.saved_problem);
    let mut view = SourceStatus::default();
    view.kind = "azure".to_owned();
    view.last_success = status.last_success;
    view.age_ms = age_ms;
    view.last_error = status.last_error.unwrap_or_default();
    view.failures = status.failures;
    view.saved = status.from_saved_file;
    view.waiting = status.waiting;
    view.warnings = warnings;
    view
}
