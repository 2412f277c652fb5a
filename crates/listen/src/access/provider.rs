//! The keys of an identity provider: got when first needed, kept, renewed before they are old.
//!
//! However many callers wait, one request is under way; however many unknown keys are named, one request
//! goes out in [`PAUSE`]. Keys that cannot be renewed stay good for [`STALE_MAX`].

use super::gate_error::GateError;
use super::keys::{self, SignatureAlgorithm, VerificationKey};
use super::settings::{self, JwtSettings};
use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use twinroute_outgoing::answer::{AnswerBody, AnswerError, read_success};
use twinroute_outgoing::{OutgoingConnections, failure_text};

/// Between two requests while there are keys.
const PAUSE: Duration = Duration::from_secs(30);

/// Between two requests while there are none.
const PAUSE_WITHOUT: Duration = Duration::from_secs(5);

/// How long keys are good that should have been renewed and could not.
const STALE_MAX: Duration = Duration::from_secs(24 * 3600);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For one request with its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 128 << 10;

/// Why there is no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The provider does not know it.
    Unknown,
    /// The provider cannot be asked.
    Unavailable,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("cannot be asked")]
    Request(#[from] reqwest::Error),
    #[error("{url}: answered {status}")]
    Status { url: Url, status: StatusCode },
    #[error("{url}: cannot be read")]
    Unread { url: Url, source: AnswerError },
    #[error("{url}: answered no such JSON")]
    Malformed { url: Url, source: serde_json::Error },
    #[error("{url}: is about issuer {found:?}, not about the one that is configured")]
    Issuer { url: Url, found: String },
    #[error("{url}: its jwks_uri {rule}")]
    KeysElsewhere { url: Url, rule: &'static str },
    #[error("{url}: holds no key that can be used")]
    NoKeys { url: Url },
}

/// What a discovery document is asked (OpenID Connect Discovery 1.0 §3).
#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
}

enum KeySetLocation {
    Keys(Url),
    Discovery { url: Url, issuer: String },
}

pub(super) struct KeyProvider {
    source: Arc<KeyRequest>,
    cache: Duration,
    fetching: Mutex<FetchingState>,
}

/// What a request under way needs.
struct KeyRequest {
    http: Client,
    place: KeySetLocation,
    known: ArcSwapOption<KnownKeys>,
    failing: AtomicBool,
}

struct KnownKeys {
    keys: Vec<Arc<VerificationKey>>,
    since: Instant,
}

#[derive(Default)]
struct FetchingState {
    begun: Option<Instant>,
    /// The last request, over or not.
    last: Option<(AbortHandle, KeyFetch)>,
}

/// Ends with the request; what came of it is in [`KeyRequest::known`].
type KeyFetch = Shared<BoxFuture<'static, ()>>;

impl KeyProvider {
    /// Asks nobody yet.
    pub(super) fn new(
        settings: &JwtSettings,
        outgoing: &OutgoingConnections,
    ) -> Result<Self, GateError> {
        let url = |text: &str| {
            settings::url(text).map_err(|rule| GateError::Settings(format!("jwt: {text} {rule}")))
        };
        let place = match (&settings.jwks_uri, &settings.openid_configuration) {
            (Some(keys), _) => KeySetLocation::Keys(url(keys)?),
            (None, document) => KeySetLocation::Discovery {
                url: url(document.as_deref().unwrap_or_default())?,
                issuer: settings.issuer.clone(),
            },
        };
        let http = outgoing
            .http()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .pool_max_idle_per_host(0);
        let source = KeyRequest {
            http: http.build().map_err(GateError::Client)?,
            place,
            known: ArcSwapOption::empty(),
            failing: AtomicBool::new(false),
        };
        Ok(Self {
            source: Arc::new(source),
            cache: settings.cache,
            fetching: Mutex::default(),
        })
    }

    /// The key that a token names. Dropping the future does not end a request under way.
    pub(super) async fn key(
        &self,
        id: &str,
        algorithm: SignatureAlgorithm,
    ) -> Result<Arc<VerificationKey>, NoKey> {
        let good = self.cache + STALE_MAX;
        match self.source.age().filter(|age| *age < good) {
            Some(age) if age < self.cache / 4 * 3 => {}
            // Good for a while, or there are no others: nobody waits for new ones.
            Some(age) if age < self.cache || self.source.failing.load(Relaxed) => {
                drop(self.fetch(PAUSE));
            }
            Some(_) => wait(self.fetch(PAUSE)).await,
            None => wait(self.fetch(PAUSE_WITHOUT)).await,
        }
        let find = || {
            let known = self.source.known.load_full();
            let known = known.filter(|known| known.since.elapsed() < good);
            let known = known.ok_or(NoKey::Unavailable)?;
            let found = known.keys.iter().find(|key| key.is(id, algorithm));
            found.cloned().ok_or(NoKey::Unknown)
        };
        match find() {
            // It may be newer than what is known.
            Err(NoKey::Unknown) => {
                wait(self.fetch(PAUSE)).await;
                find()
            }
            found => found,
        }
    }

    /// The request under way, or a new one if the last began more than `pause` ago.
    fn fetch(&self, pause: Duration) -> Option<KeyFetch> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((task, fetch)) = &fetching.last
            && !task.is_finished()
        {
            return Some(fetch.clone());
        }
        if fetching.begun.is_some_and(|begun| begun.elapsed() < pause) {
            return None;
        }
        // A task of its own, so that the caller who began it may go away.
        let task = tokio::spawn(Arc::clone(&self.source).renew());
        let handle = task.abort_handle();
        let fetch = task.map(drop).boxed().shared();
        *fetching = FetchingState {
            begun: Some(Instant::now()),
            last: Some((handle, fetch.clone())),
        };
        Some(fetch)
    }
}

async fn wait(fetch: Option<KeyFetch>) {
    if let Some(fetch) = fetch {
        fetch.await;
    }
}

impl KeyRequest {
    fn age(&self) -> Option<Duration> {
        self.known
            .load()
            .as_ref()
            .map(|known| known.since.elapsed())
    }

    async fn renew(self: Arc<Self>) {
        let since = Instant::now();
        match self.get().await {
            Ok(keys) => {
                let keys = keys.into_iter().map(Arc::new).collect();
                self.known.store(Some(Arc::new(KnownKeys { keys, since })));
                if self.failing.swap(false, Relaxed) {
                    tracing::info!("keys of the identity provider could be read again");
                }
            }
            Err(error) => {
                if !self.failing.swap(true, Relaxed) {
                    let cause = std::error::Error::source(&error).map(failure_text);
                    tracing::warn!(%error, cause, "no keys from the identity provider");
                }
            }
        }
    }

    async fn get(&self) -> Result<Vec<VerificationKey>, FetchError> {
        let url = match &self.place {
            KeySetLocation::Keys(url) => url.clone(),
            KeySetLocation::Discovery { url, issuer } => {
                let answer = self.answer(url).await?;
                let found: DiscoveryDocument =
                    serde_json::from_slice(&answer).map_err(malformed(url))?;
                let url = url.clone();
                // OpenID Connect Discovery 1.0 §4.3: must be the same.
                if found.issuer != *issuer {
                    let found = found.issuer.chars().take(200).collect();
                    return Err(FetchError::Issuer { url, found });
                }
                let secure = url.scheme() == "https";
                match settings::url(&found.jwks_uri) {
                    Ok(keys) if secure && keys.scheme() != "https" => {
                        let rule = "must begin with https:// as well";
                        return Err(FetchError::KeysElsewhere { url, rule });
                    }
                    Ok(keys) => keys,
                    Err(rule) => return Err(FetchError::KeysElsewhere { url, rule }),
                }
            }
        };
        let keys = keys::parse(&self.answer(&url).await?).map_err(malformed(&url))?;
        if keys.is_empty() {
            return Err(FetchError::NoKeys { url });
        }
        Ok(keys)
    }

    async fn answer(&self, url: &Url) -> Result<AnswerBody, FetchError> {
        let response = self.http.get(url.clone()).send().await?;
        let status = response.status();
        let url = url.clone();
        if status != StatusCode::OK {
            return Err(FetchError::Status { url, status });
        }
        let answer = read_success(response, ANSWER_BYTES_MAX).await;
        answer.map_err(|source| FetchError::Unread { url, source })
    }
}

fn malformed(url: &Url) -> impl FnOnce(serde_json::Error) -> FetchError {
    let url = url.clone();
    |source| FetchError::Malformed { url, source }
}
