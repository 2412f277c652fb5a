//! Secrets out of an Azure Key Vault, read in turns, so that the overlay finds them without waiting.
//!
//! A poll lists the vault's secrets and reads those that are an endpoint's and changed. Only a whole poll
//! counts: whatever fails, the last values stay. Names, which Key Vault takes with letters, digits and `-`
//! alone and compares without case:
//!
//! | secret | for |
//! |---|---|
//! | `<prefix><instance>--<endpoint>--<field>` | an endpoint of one instance |
//! | `<prefix><endpoint>--<field>` | endpoints of that name in every instance |
//!
//! The upper one wins. A name that could mean two endpoints (`a--b`, and `b` of the instance `a`) is used for
//! neither. The client is ours, not Azure's crate: that one keeps values in plain strings, which nobody
//! zeroes, and lets the vault's answer say where tokens are got.

mod client;
mod settings;

pub use settings::{KeyVaultSettings, SecretsSettings};

use crate::secret_field::SecretField;
use crate::token::TokenSource;
use azure_core::http::HttpClient;
use client::{ListedSecret, VaultClient, VaultError};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::secret::Secret;

/// Requests to a vault under way at once.
const REQUESTS_MAX: usize = 4;

/// Between failed polls: this, doubled each time, until it is as long as between good ones.
const PAUSE_MIN: Duration = Duration::from_secs(2);

/// Bytes of all secrets of one vault that are held; one has some 150.
const SECRETS_BYTES_MAX: usize = 2 << 20;

/// The longest that [`KeyVault::refresh`] waits.
pub const REFRESH_WAIT_MAX: Duration = Duration::from_secs(15);

/// Between polls that are asked for; a storm of refused endpoints must not become one of requests.
const ASKED_EVERY: Duration = Duration::from_secs(2);

/// Key Vault tells changes by the second, and clocks differ: what changed this shortly before a poll is read
/// again in the next.
const FRESH: Duration = Duration::from_secs(120);

/// Why [`KeyVault::refresh`] brought nothing new.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// The poll failed; the last values are used.
    #[error("{0}")]
    Failed(String),
    /// No poll came to its end in time; it goes on.
    #[error("no read of the key vault ended within {} s", REFRESH_WAIT_MAX.as_secs())]
    Late,
}

/// One vault. Clones share what was read.
#[derive(Clone)]
pub struct KeyVault(Arc<VaultState>);

struct VaultState {
    client: VaultClient,
    settings: KeyVaultSettings,
    clock: Arc<dyn Clock>,
    known: Mutex<KnownSecrets>,
    /// Counts polls that are asked for.
    asked: watch::Sender<u64>,
    /// The last poll that was asked for and is over, and how it ended.
    looked: watch::Sender<(u64, Option<String>)>,
    /// Counts changes of what is known.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct KnownSecrets {
    secrets: SecretsByName,
    error: Option<String>,
    failures: u32,
    checked_at: Option<Timestamp>,
}

/// By name without prefix and field, in lower case, and field.
type SecretsByName = HashMap<(String, SecretField), HeldSecret>;

#[derive(Clone)]
struct HeldSecret {
    secret: Secret,
    updated: Timestamp,
}

impl HeldSecret {
    fn bytes(&self) -> usize {
        self.secret.expose().len()
    }
}

impl std::fmt::Debug for KeyVault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "KeyVault({})", self.0.settings.vault)
    }
}

impl KeyVault {
    /// A vault of checked settings. Asks nobody before [`KeyVault::run`].
    ///
    /// For `http` see [`TokenSource::new`].
    #[must_use]
    pub fn new(
        settings: KeyVaultSettings,
        tokens: TokenSource,
        http: Arc<dyn HttpClient>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let client = VaultClient::new(&settings, tokens, http, Arc::clone(&clock));
        Self(Arc::new(VaultState {
            client,
            settings,
            clock,
            known: Mutex::default(),
            asked: watch::Sender::new(0),
            looked: watch::Sender::new((0, None)),
            changes: watch::Sender::new(0),
        }))
    }

    /// Keeps what is known current. Dropping the future stops that; what is known stays.
    pub async fn run(&self) -> Infallible {
        let inner = &self.0;
        let mut asked = inner.asked.subscribe();
        loop {
            let seen = *asked.borrow_and_update();
            let outcome = inner.poll().await;
            let ended = Instant::now();
            let wait = inner.land(outcome);
            let error = inner.known().error.clone();
            inner.looked.send_replace((seen, error));
            let earliest = match inner.known().failures {
                0 => ended + ASKED_EVERY.min(wait),
                // Whoever asks now is told what failed a moment ago.
                _ => ended + wait,
            };
            sleep_until(earliest).await;
            tokio::select! {
                () = sleep_until(ended + wait) => {}
                changed = asked.changed() => {
                    changed.expect("the sender lives as long as self");
                }
            }
        }
    }

    /// Polls now, or as soon as the vault allows, and waits for the end of that poll; but not longer than
    /// [`REFRESH_WAIT_MAX`]. Callers at the same time share one poll.
    ///
    /// Dropping the future stops the waiting, not the read.
    ///
    /// # Errors
    /// [`RefreshError`]: the values of before are used.
    pub async fn refresh(&self) -> Result<(), RefreshError> {
        let mut number = 0;
        self.0.asked.send_modify(|asked| {
            *asked += 1;
            number = *asked;
        });
        let mut looked = self.0.looked.subscribe();
        let over = looked.wait_for(|(over, _)| *over >= number);
        match timeout(REFRESH_WAIT_MAX, over).await {
            Ok(Ok(ended)) => match &ended.1 {
                None => Ok(()),
                Some(error) => Err(RefreshError::Failed(error.clone())),
            },
            Ok(Err(_)) | Err(_) => Err(RefreshError::Late),
        }
    }

    /// Counts changes of what [`KeyVault::find`] and [`KeyVault::problem`] say.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// The secret with this name, which is in lower case, without prefix and field.
    pub(crate) fn find(&self, name: &str, field: SecretField) -> Option<Secret> {
        let known = self.0.known();
        let held = known.secrets.get(&(name.to_owned(), field))?;
        Some(held.secret.clone())
    }

    /// What is wrong with the last poll.
    pub(crate) fn problem(&self) -> Option<String> {
        let error = self.0.known().error.clone()?;
        Some(format!("{error}; what was read before is used"))
    }

    /// The name of a secret, in messages.
    pub(crate) fn name(&self, name: &str, field: SecretField) -> String {
        let prefix = &self.0.settings.prefix;
        format!("{prefix}{name}--{}", field.name())
    }
}

impl VaultState {
    fn known(&self) -> MutexGuard<'_, KnownSecrets> {
        // What panicked while it held the lock changed a field at most.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is new; gives all that is to be known.
    async fn poll(&self) -> Result<(SecretsByName, Timestamp), VaultError> {
        let began = self.clock.now();
        let listed = self.client.list().await?;
        let (before, checked_at) = {
            let known = self.known();
            (known.secrets.clone(), known.checked_at)
        };
        let mut now = HashMap::new();
        let mut changed = Vec::new();
        for ListedSecret { name, updated } in listed {
            let Some((key, field)) = self.settings.meaning(&name) else {
                continue;
            };
            let held = before.get(&(key.clone(), field));
            let settled = checked_at.is_some_and(|checked_at| updated.after(FRESH) < checked_at);
            match held.filter(|held| held.updated == updated && settled) {
                Some(held) => drop(now.insert((key, field), held.clone())),
                None => changed.push((name, key, field, updated)),
            }
        }
        let bytes = &AtomicUsize::new(now.values().map(|held: &HeldSecret| held.bytes()).sum());
        let reading = stream::iter(changed).map(|(name, key, field, updated)| async move {
            let secret = self.client.get(&name).await?;
            let held = secret.map(|secret| HeldSecret { secret, updated });
            let more = held.as_ref().map_or(0, HeldSecret::bytes);
            if bytes.fetch_add(more, Ordering::Relaxed) + more > SECRETS_BYTES_MAX {
                return Err(self.client.too_much(SECRETS_BYTES_MAX));
            }
            Ok(held.map(|held| ((key, field), held)))
        });
        let read: Vec<_> = reading
            .buffer_unordered(REQUESTS_MAX)
            .try_collect::<Vec<_>>()
            .await?;
        now.extend(read.into_iter().flatten());
        Ok((now, began))
    }

    /// Takes what came of a poll; says how long to wait for the next.
    fn land(&self, outcome: Result<(SecretsByName, Timestamp), VaultError>) -> Duration {
        let every = self.settings.refresh;
        let mut known = self.known();
        let before = known.error.clone();
        let mut changed = false;
        let wait = match outcome {
            Ok((secrets, began)) => {
                if known.error.take().is_some() {
                    tracing::info!(vault = %self.settings.vault, "the key vault can be read again");
                }
                known.failures = 0;
                known.checked_at = Some(began);
                changed |= secrets.len() != known.secrets.len();
                for (key, held) in &secrets {
                    let old = known.secrets.get(key);
                    changed |= old.is_none_or(|old| old.secret != held.secret);
                }
                known.secrets = secrets;
                every
            }
            Err(error) => {
                let text = error.to_string();
                if known.error.is_none() {
                    tracing::warn!(error = text, "the key vault cannot be read");
                }
                let doublings = known.failures.min(16);
                known.failures = known.failures.saturating_add(1);
                known.error = Some(text);
                let pause = PAUSE_MIN.saturating_mul(1 << doublings).min(every);
                pause.max(error.retry_after().unwrap_or_default())
            }
        };
        changed |= known.error != before;
        drop(known);
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
        wait
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
