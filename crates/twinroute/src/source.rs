//! Wiring: the one source of definitions, what it says, and when it says something new.

use crate::config::{Kind, Loaded};
use crate::containers::Endpoints;
use anyhow::{Context as _, bail};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use twinroute_credential::key_file;
use twinroute_listen::{Listener, Tls, TlsSettings};
use twinroute_management::{Backing, Management};
use twinroute_model::clock::SystemClock;
use twinroute_model::name::InstanceName;
use twinroute_model::seal::SealKey;
use twinroute_model::secret::Secret;
use twinroute_router::source::{Definitions, Faults, Strays, Watch};

/// Where nothing is watched, a look is taken this often.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The source that the configuration names.
pub(crate) struct Source {
    loaded: Arc<Loaded>,
    management: Option<Management>,
    /// Changes of what is put over the management API, when that is the source.
    stored: Option<watch::Receiver<u64>>,
    watch: Option<Watch>,
}

impl Source {
    /// Opens it. Blocks on the disk.
    pub(crate) fn open(loaded: Arc<Loaded>, endpoints: &Arc<Endpoints>) -> anyhow::Result<Self> {
        let kind = loaded.config.table.source;
        // Watched before anything is read, so that no change falls between the two.
        let trees = match kind {
            Kind::Files => vec![loaded.folder.root()],
            Kind::Store => Vec::new(),
        };
        let watch = match Watch::new(&trees, &[&loaded.file]) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "files are not watched but looked at once a minute; SIGHUP has them read at once"
                );
                None
            }
        };
        let management = open_management(&loaded, endpoints)?;
        let stored = management.as_ref().filter(|_| kind == Kind::Store);
        Ok(Self {
            stored: stored.map(Management::changes),
            loaded,
            management,
            watch,
        })
    }

    /// The management API, where it is served or is the source.
    pub(crate) fn management(&self) -> Option<&Management> {
        self.management.as_ref()
    }

    /// What the table is to be made of. Blocks on the file system.
    pub(crate) fn definitions(&self) -> Result<Definitions, Faults> {
        let definitions = match (self.loaded.config.table.source, &self.management) {
            (Kind::Store, Some(management)) => Definitions {
                settings: self.loaded.settings()?,
                instances: management.instances(),
                strays: Strays::Warn,
                folder: None,
            },
            (Kind::Files | Kind::Store, _) => self.loaded.definitions()?,
        };
        if let Some(management) = &self.management {
            management.set_beside(definitions.settings.clone());
            if self.stored.is_none() {
                management.show(&definitions.instances);
            }
        }
        Ok(definitions)
    }

    /// Resolves after a change, once what changed can be read. Dropping the future loses no change.
    pub(crate) async fn changed(&mut self) {
        let stored = async {
            match &mut self.stored {
                // An error means that the store is gone, which ends with the daemon.
                Some(stored) => stored.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let files = async {
            match &self.watch {
                Some(watch) => watch.changed().await,
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        };
        tokio::select! {
            _ = stored => {}
            () = files => {}
        }
    }
}

/// Opens the management API, if it is served or is the source.
fn open_management(
    loaded: &Loaded,
    endpoints: &Arc<Endpoints>,
) -> anyhow::Result<Option<Management>> {
    let settings = &loaded.config.management;
    let served = !settings.listen.is_empty() || !settings.listen_tls.is_empty();
    let backing = match loaded.config.table.source {
        Kind::Store => Backing::Disk {
            path: store_folder(loaded).join("store.redb"),
            key: key(loaded)?,
        },
        Kind::Files if served => Backing::Mirror(format!(
            "the definitions come from the files in {}; change them there, or set source = \"store\" in [table]",
            loaded.folder.root().display()
        )),
        Kind::Files => return Ok(None),
    };
    let default_instance = InstanceName::new(&loaded.config.instance)?;
    let connect = Arc::clone(endpoints);
    let management = Management::open(
        settings,
        backing,
        default_instance,
        connect,
        Arc::new(SystemClock),
    );
    management.map(Some).context("[management]")
}

fn store_folder(loaded: &Loaded) -> PathBuf {
    loaded.path(&loaded.config.management.path)
}

/// The key that what is stored is sealed with.
fn key(loaded: &Loaded) -> anyhow::Result<SealKey> {
    let settings = &loaded.config.management;
    if !settings.key_variable.is_empty() {
        let name = &settings.key_variable;
        let value = std::env::var(name);
        let value = value.with_context(|| {
            format!("[management] key_variable: the environment variable {name}")
        })?;
        return Ok(key_file::from_variable(name, &Secret::new(value))?);
    }
    let path = if settings.key_file.as_os_str().is_empty() {
        store_folder(loaded).join("store.key")
    } else {
        loaded.path(&settings.key_file)
    };
    Ok(key_file::load_or_make(&path)?)
}

/// Opens the listeners of the management API, those with TLS too.
pub(crate) fn management_listeners(loaded: &Loaded) -> anyhow::Result<Vec<Listener>> {
    let settings = &loaded.config.management;
    let mut listeners = Listener::bind_all(&settings.listen, &settings.sockets())?;
    if settings.listen_tls.is_empty() {
        return Ok(listeners);
    }
    let tls = tls(loaded)?;
    for listener in Listener::bind_all(&settings.listen_tls, &settings.sockets())? {
        listeners.push(listener.with_tls(&tls));
    }
    Ok(listeners)
}

fn tls(loaded: &Loaded) -> anyhow::Result<Tls> {
    let settings = &loaded.config.management;
    let files = match &settings.tls {
        Some(files) => TlsSettings {
            certificate: loaded.path(&files.certificate),
            key: loaded.path(&files.key),
        },
        None => bail!("[management] listen_tls needs `tls` with a certificate and its key"),
    };
    Tls::load(&files).context("[management] tls")
}
