//! Definitions from Azure, or from another twinroute, kept current.
//!
//! One future polls the API, another makes definitions of what it saw and of the overlay's
//! secrets. Whatever fails, the last good definitions stand: only a complete listing replaces them. The
//! listing is saved too, so that a start needs no Azure.

mod poll;
mod saved;
mod settings;
mod snapshot;
mod status;

pub use saved::SavedFile;
pub use settings::{AzureSettings, CLIENT_SECRET_VARIABLE, TOKEN_VARIABLE};
pub use snapshot::DefinitionsSnapshot;
pub use status::AzureStatus;

use super::api::ArmApi;
use super::error::Error;
use super::http;
use super::read::{self, InstanceListing, ListingResult};
use arc_swap::ArcSwapOption;
use poll::{InstanceApi, digest, pause};
use status::PollProgress;
use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use twinroute_credential::overlay::SecretOverlay;
use twinroute_credential::token::TokenSource;
use twinroute_model::clock::Clock;
use twinroute_model::name::InstanceName;
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::source::DefinitionFault;

/// The longest between two polls while an endpoint is on its way to another state, such as `Provisioning`: its
/// events wait for the end of that.
const CHANGING_POLL: Duration = Duration::from_secs(5);

/// Why there is no source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A setting cannot be used.
    #[error("[azure]: {0}")]
    Settings(String),
    /// No HTTP client can be made.
    #[error("[azure]")]
    Http(#[from] twinroute_outgoing::Error),
    /// An address cannot be used.
    #[error("[azure]")]
    Address(#[source] Error),
}

/// A listing that differs from the one before.
struct ChangedListing {
    listing: Arc<InstanceListing>,
    digest: String,
    /// Told when it is made into definitions and saved.
    done: oneshot::Sender<()>,
}

/// The source `azure`.
pub struct AzureSource {
    instance: InstanceName,
    poll: Duration,
    api: InstanceApi,
    overlay: Arc<SecretOverlay>,
    saved: Option<SavedFile>,
    clock: Arc<dyn Clock>,
    /// The last good listing, and its digest.
    listing: Mutex<Option<(Arc<InstanceListing>, String)>>,
    current: ArcSwapOption<DefinitionsSnapshot>,
    progress: Mutex<PollProgress>,
    news: Notify,
    /// Somebody wants a poll before its turn: of the API, and of the secrets.
    hurry: [Notify; 2],
    /// Looks that came to an end, good or bad.
    polls: watch::Sender<u64>,
}

impl std::fmt::Debug for AzureSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AzureSource")
            .field("management", &self.api.management)
            .field("path", &self.api.path)
            .finish_non_exhaustive()
    }
}

impl AzureSource {
    /// A source of these settings, with the definitions that were saved last, where there are any. Asks
    /// nobody yet; blocks on the file system.
    ///
    /// `tokens` comes from [`AzureSettings::tokens`], `overlay` looks into
    /// [`AzureSettings::secrets_folder`].
    ///
    /// # Errors
    /// [`SourceError`]. A saved file that cannot be used is no error: that is logged and shown in
    /// [`AzureSource::status`].
    pub fn open(
        settings: &AzureSettings,
        tokens: TokenSource,
        overlay: SecretOverlay,
        saved: Option<SavedFile>,
        clock: Arc<dyn Clock>,
        outgoing: &OutgoingConnections,
    ) -> Result<Self, SourceError> {
        settings.check().map_err(SourceError::Settings)?;
        let instance = settings.instance_name().map_err(SourceError::Settings)?;
        let api = |url: &str, scope: &str| {
            let client = http::client(outgoing, settings.ca_file.as_deref())?;
            ArmApi::new(url, scope, tokens.clone(), client, Arc::clone(&clock))
                .map_err(SourceError::Address)
        };
        let management = api(&settings.management_url, &settings.management_scope)?;
        let routes = settings.routes_url.as_deref();
        let routes = routes.map(|url| api(url, &settings.routes_scope));
        let source = Self {
            instance,
            poll: settings.poll,
            api: InstanceApi {
                path: settings.path(),
                routes: routes.transpose()?,
                management,
                routes_scope: settings.routes_scope.clone(),
            },
            overlay: Arc::new(overlay),
            saved,
            clock,
            listing: Mutex::default(),
            current: ArcSwapOption::empty(),
            progress: Mutex::default(),
            news: Notify::new(),
            hurry: Default::default(),
            polls: watch::Sender::new(0),
        };
        source.load();
        Ok(source)
    }

    /// The definitions, once there are any.
    #[must_use]
    pub fn definitions(&self) -> Option<Arc<DefinitionsSnapshot>> {
        self.current.load_full()
    }

    /// Resolves when [`AzureSource::definitions`] are others than at the last time. For one caller.
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&self) {
        self.news.notified().await;
    }

    /// Has the API and the secrets polled now and not in their turn, because an endpoint refuses what it was
    /// given. While polls of the API fail, those wait for their turn all the same. Bound how often this is called.
    pub fn poll_now(&self) {
        self.hurry.iter().for_each(Notify::notify_one);
    }

    /// Resolves when the first poll has come to its end, good (its definitions are there then) or bad;
    /// bound the wait for it.
    pub async fn polled(&self) {
        let mut polls = self.polls.subscribe();
        // The sender lives in `self`.
        drop(polls.wait_for(|polls| *polls > 0).await);
    }

    /// How it goes.
    #[must_use]
    pub fn status(&self) -> AzureStatus {
        let current = self.definitions();
        self.progress().show(current.as_deref(), self.clock.now())
    }

    /// Keeps the definitions current until `shutdown` resolves.
    ///
    /// Dropping the future stops it at once; what it gave stays.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let (sender, listings) = mpsc::channel(1);
        // Only the shutdown ends this; were one of the others to end, the definitions would stay as they
        // are, unseen.
        tokio::select! {
            () = shutdown => {}
            () = self.poll_in_turns(sender) => {}
            () = self.make(listings) => {}
            () = self.overlay.keep() => {}
        }
    }

    async fn poll_in_turns(&self, listings: mpsc::Sender<ChangedListing>) {
        let mut last = self.listing().as_ref().map(|(_, digest)| digest.clone());
        let mut poll = self.poll;
        loop {
            let error = match self.api.read().await {
                Ok(listing) => {
                    self.progress().succeeded(self.clock.now());
                    let digest = digest(&listing);
                    poll = match listing.is_changing() {
                        true => self.poll.min(CHANGING_POLL),
                        false => self.poll,
                    };
                    if last.as_ref() != Some(&digest) {
                        last = Some(digest.clone());
                        let (done, taken) = oneshot::channel();
                        let listing = Arc::new(listing);
                        let fresh = ChangedListing {
                            listing,
                            digest,
                            done,
                        };
                        if listings.send(fresh).await.is_err() || taken.await.is_err() {
                            return;
                        }
                    }
                    None
                }
                Err(error) => {
                    self.progress().failed(&error, self.clock.now());
                    Some(error)
                }
            };
            self.polls.send_modify(|polls| *polls += 1);
            let failures = self.progress().failures();
            let after = error.as_ref().and_then(Error::refusal);
            let after = after.and_then(|refusal| refusal.retry_after);
            let wait = pause(poll, failures, after, fastrand::f64());
            // While Azure fails nothing shortens the wait: whoever asks for haste must not take the
            // back-off away.
            tokio::select! {
                () = self.api.management.sleep(wait) => {}
                () = self.hurry[0].notified(), if failures == 0 => {}
            }
        }
    }

    /// Makes definitions of each new listing, and again when secrets change.
    async fn make(&self, mut listings: mpsc::Receiver<ChangedListing>) {
        let mut secrets = self.overlay.watch();
        loop {
            // One listing or one change of secrets at a time, so that what is taken last was also made
            // last.
            let fresh = tokio::select! {
                fresh = listings.recv() => match fresh {
                    Some(fresh) => Some(fresh),
                    None => return,
                },
                () = secrets.changed() => None,
                () = async {
                    self.hurry[1].notified().await;
                    // Why a vault cannot be read is shown with its problems.
                    drop(self.overlay.refresh().await);
                } => None,
            };
            let done = fresh.map(|fresh| {
                *self.listing() = Some((fresh.listing, fresh.digest));
                fresh.done
            });
            let Some((listing, digest)) = self.listing().clone() else {
                continue;
            };
            let overlay = Arc::clone(&self.overlay);
            let (instance, of) = (self.instance.clone(), Arc::clone(&listing));
            let reading =
                tokio::task::spawn_blocking(move || reading(&instance, &of, &overlay)).await;
            match reading {
                Ok((reading, problems)) => self.take(reading, problems, digest),
                Err(error) => {
                    tracing::error!(%error, "definitions could not be made of a listing");
                }
            }
            if let Some(done) = done {
                self.save(listing).await;
                if done.send(()).is_err() {
                    return;
                }
            }
        }
    }

    fn take(&self, reading: ListingResult, problems: Vec<String>, hash: String) {
        let before = self.definitions();
        let mut warnings = reading.warnings.clone();
        let problem = |problem| DefinitionFault::new("secret overlay", problem);
        warnings.extend(problems.into_iter().map(problem));
        let snapshot = DefinitionsSnapshot {
            generation: before.as_ref().map_or(1, |before| before.generation + 1),
            hash,
            waiting: reading.waiting(),
            instances: vec![reading.instance],
            warnings,
        };
        let same = before.as_ref().is_some_and(|before| {
            before.instances == snapshot.instances && before.warnings == snapshot.warnings
        });
        if same {
            return;
        }
        let known = before.iter().flat_map(|before| before.warnings.iter());
        let known: HashSet<String> = known.map(DefinitionFault::to_string).collect();
        for warning in snapshot.warnings.iter().map(DefinitionFault::to_string) {
            if !known.contains(&warning) {
                tracing::warn!(warning, "warning about definitions from Azure");
            }
        }
        tracing::info!(
            generation = snapshot.generation,
            endpoints = snapshot.instances[0].endpoints.len(),
            routes = snapshot.instances[0].routes.len(),
            waiting = snapshot.waiting.len(),
            "definitions from Azure changed"
        );
        self.current.store(Some(Arc::new(snapshot)));
        self.news.notify_one();
    }

    /// What a saved file is sealed for.
    fn context(&self) -> String {
        saved::context(self.api.management.base(), &self.api.path)
    }

    fn load(&self) {
        let Some(saved) = &self.saved else {
            return;
        };
        match saved.load(&self.context()) {
            Ok(None) => {}
            Ok(Some((listing, at))) => {
                let digest = digest(&listing);
                let (reading, problems) = reading(&self.instance, &listing, &self.overlay);
                self.take(reading, problems, digest.clone());
                *self.listing() = Some((Arc::new(listing), digest));
                self.progress().loaded(at);
                let saved_at = at.map(|at| at.rfc3339()).unwrap_or_default();
                tracing::info!(saved_at, "using the definitions that were saved last");
            }
            Err(error) => {
                let path = saved.path.display();
                tracing::warn!(%path, %error, "saved definitions are ignored");
                self.progress().saved_problem = Some(format!("{path}: {error}; ignored"));
            }
        }
    }

    async fn save(&self, listing: Arc<InstanceListing>) {
        let Some(saved) = self.saved.clone() else {
            return;
        };
        let path = saved.path.display().to_string();
        let (context, at) = (self.context(), self.clock.now());
        let store = move || {
            saved
                .store(&context, &listing, at)
                .map_err(|e| e.to_string())
        };
        let stored = tokio::task::spawn_blocking(store).await;
        let stored = stored.unwrap_or_else(|error| Err(error.to_string()));
        if let Err(error) = &stored {
            tracing::warn!(
                path,
                error,
                "definitions could not be saved; a start needs Azure"
            );
        }
        let problem = stored
            .err()
            .map(|error| format!("{path}: not saved: {error}"));
        self.progress().saved_problem = problem;
    }

    fn listing(&self) -> MutexGuard<'_, Option<(Arc<InstanceListing>, String)>> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, PollProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn hurried(mut self) -> Self {
        self.api.management = self.api.management.hurried();
        self.api.routes = self.api.routes.map(ArmApi::hurried);
        self
    }
}

/// Blocks on the file system, for the secrets.
fn reading(
    instance: &InstanceName,
    listing: &InstanceListing,
    overlay: &SecretOverlay,
) -> (ListingResult, Vec<String>) {
    let names = listing.endpoint_names();
    let secrets = overlay.secrets(names.iter().map(|name| (instance, name)));
    let reading = read::read(instance, listing, &secrets);
    (reading, secrets.problems().to_vec())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
