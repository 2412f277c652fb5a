//! Wiring: from a configuration to a router that listens. No logic of its own.

use crate::config::Loaded;
use anyhow::Context as _;
use std::future::Future;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use twinroute_admin::{Admin, Metrics};
use twinroute_ingress::Ingress;
use twinroute_listen::Listener;
use twinroute_model::clock::{Clock, SystemClock};
use twinroute_router::source::Watch;
use twinroute_router::status::Status;
use twinroute_router::{Builder, Router};
use twinroute_sinks::connect::Connector;
use twinroute_sinks::tls;

/// A router with the real sinks, not yet built.
pub(crate) fn router() -> anyhow::Result<Builder> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tls = tls::platform().context("the system's certificates cannot be used")?;
    Ok(Router::builder().connect(Connector::new(clock, tls)))
}

/// A running daemon.
pub(crate) struct Daemon {
    pub(crate) router: Router,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Daemon {
    /// Opens the listeners and starts.
    ///
    /// # Errors
    /// The first thing that keeps it from starting, with what to do about it.
    pub(crate) fn start(loaded: Loaded) -> anyhow::Result<Self> {
        let config = &loaded.config;
        let metrics = Metrics::install()?;
        for warning in config
            .ingress
            .check()
            .map_err(anyhow::Error::msg)
            .context("[ingress]")?
        {
            tracing::warn!(warning, "about [ingress]");
        }
        for warning in config
            .admin
            .check()
            .map_err(anyhow::Error::msg)
            .context("[admin]")?
        {
            tracing::warn!(warning, "about [admin]");
        }
        let definitions = loaded
            .definitions()
            .map_err(|faults| loaded.folder.locate(faults))?;
        let ingress_listeners =
            Listener::bind_all(&config.ingress.listen, &config.ingress.sockets())?;
        let admin_listeners = Listener::bind_all(&config.admin.listen, &config.admin.sockets())?;
        let router = router()?
            .default_instance(&config.instance)
            .journal_bytes_max(config.journal.bytes_max.as_u64())
            .removed_grace(config.removed_grace)
            .definitions(definitions)
            .build()
            .map_err(|error| match error {
                twinroute_router::BuildError::Definitions(faults) => {
                    anyhow::Error::new(loaded.folder.locate(faults))
                }
                twinroute_router::BuildError::Name(error) => error.into(),
            })?;
        let (stop, stopped) = watch::channel(false);
        let ingress = Ingress::new(&config.ingress, router.clone(), Arc::new(SystemClock));
        let admin = Admin::new(router.clone(), metrics);
        let admin_limits = config.admin.limits.clone();
        for listener in &ingress_listeners {
            tracing::info!(address = %listener.address(), "takes events");
        }
        for listener in &admin_listeners {
            tracing::info!(address = %listener.address(), "answers /status and /metrics");
        }
        let until_stopped = until(stopped.clone());
        let mut tasks = vec![tokio::spawn(async move {
            ingress.serve(ingress_listeners, until_stopped).await;
        })];
        let until_stopped = until(stopped.clone());
        tasks.push(tokio::spawn(async move {
            admin
                .serve(admin_listeners, &admin_limits, until_stopped)
                .await;
        }));
        tasks.push(tokio::spawn(reload(loaded, router.clone(), stopped)));
        Ok(Self {
            router,
            stop,
            tasks,
        })
    }

    /// Stops: no more requests, then no more deliveries. Gives the last status.
    pub(crate) async fn stop(self, grace: std::time::Duration) -> Status {
        let status = self.router.stop(grace).await;
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task did not end well");
            }
        }
        status
    }
}

fn until(mut stopped: watch::Receiver<bool>) -> impl Future<Output = ()> + Send + 'static {
    async move {
        // An error means that nobody can stop us any more, which is a stop too.
        drop(stopped.wait_for(|stopped| *stopped).await);
    }
}

/// Applies the definitions again whenever their files change, and on SIGHUP.
async fn reload(loaded: Loaded, router: Router, stopped: watch::Receiver<bool>) {
    let stopped = until(stopped);
    tokio::pin!(stopped);
    let watch = Watch::new(&[loaded.folder.root()], &[loaded.config_folder()]);
    if let Err(error) = &watch {
        tracing::warn!(
            error = error as &dyn std::error::Error,
            "files are not watched; send SIGHUP after a change"
        );
    }
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => Some(hangup),
        Err(error) => {
            tracing::warn!(%error, "SIGHUP is not heard");
            None
        }
    };
    let loaded = Arc::new(loaded);
    loop {
        tokio::select! {
            () = changed(watch.as_ref().ok()) => {}
            () = heard(hangup.as_mut()) => tracing::info!("SIGHUP: reading the definitions again"),
            () = &mut stopped => return,
        }
        let read = Arc::clone(&loaded);
        match tokio::task::spawn_blocking(move || read.definitions()).await {
            Ok(Ok(definitions)) => {
                // What is wrong is logged and shown by the router.
                let applied = router.apply(&definitions);
                if let Err(faults) = applied {
                    router.refuse(&loaded.folder.locate(faults));
                }
            }
            Ok(Err(faults)) => router.refuse(&faults),
            Err(error) => tracing::error!(%error, "the definitions could not be read"),
        }
    }
}

async fn changed(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

async fn heard(hangup: Option<&mut tokio::signal::unix::Signal>) {
    let heard = match hangup {
        Some(hangup) => hangup.recv().await,
        None => None,
    };
    if heard.is_none() {
        std::future::pending().await
    }
}
