//! Bearer tokens by scope, from one login that the configuration names: none is guessed.
//!
//! azure_identity asks for tokens; the cache is ours. Its own is renewed under a lock in the last five
//! minutes and fails its callers although the old token is still good, and IMDS may take 72 s to say no.
//! Here a token is renewed early and in the background, whoever waits waits a bounded time, and the old
//! token serves until it expires. Each renewal makes a new credential, so the inner cache never answers.

use crate::login::{self, LoginMethod};
use crate::reason::{chain, clock_hint, unanswered};
use crate::token_file;
use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::HttpClient;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::secret::Secret;
use twinroute_outgoing::azure::BoundedHttp;

/// The longest that a caller waits for a token when there is none.
pub const WAIT_MAX: Duration = Duration::from_secs(10);

/// The longest that one renewal goes on in the background; IMDS's own attempts take 72 s.
const RENEWAL_MAX: Duration = Duration::from_secs(120);

/// A token counts as expired this long before it is: it still has to travel.
const EXPIRY_MARGIN: Duration = Duration::from_secs(5);

/// A token is renewed this long before it expires, or after three quarters of what is left of it.
const RENEW_BEFORE_MAX: Duration = Duration::from_secs(600);

/// Between failed renewals: this, doubled each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// But never longer than this.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A token that a server refused is replaced at most this often.
const FORGET_EVERY: Duration = Duration::from_secs(30);

/// Scopes that one source serves. A few are known; a bug must not fill the memory.
const SCOPES_MAX: usize = 64;

/// A file that holds a token is read again after this.
const FILE_EVERY: Duration = Duration::from_secs(60);

/// Bytes of a service's answer with a token; those of users in many groups have some 20 kB.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A token and how long it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedToken {
    /// What stands behind `Bearer `.
    pub secret: Secret,
    /// When it expires; `None` when nobody says.
    pub expires_at: Option<Timestamp>,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The login failed.
    #[error("no token for {scope}: {reason}")]
    Refused {
        /// For what.
        scope: String,
        /// The causes, in one line; no secrets.
        reason: String,
    },
    /// Who gives tokens does not answer, or cannot now.
    #[error("no token for {scope}: {reason}")]
    Unanswered {
        /// For what.
        scope: String,
        /// The causes, in one line; no secrets.
        reason: String,
    },
    /// Nobody answered yet; the renewal goes on.
    #[error("no token for {scope} within {} s; it is still being asked for", waited.as_secs())]
    Late {
        /// For what.
        scope: String,
        /// How long was waited.
        waited: Duration,
    },
    /// A caller makes scopes up.
    #[error("more than {SCOPES_MAX} scopes are asked for")]
    Scopes,
}

/// Gives tokens. Clones share one cache.
#[derive(Clone)]
pub struct TokenSource(Arc<TokenCacheState>);

struct TokenCacheState {
    origin: TokenOrigin,
    clock: Arc<dyn Clock>,
    entries: Mutex<HashMap<String, ScopeEntry>>,
}

type TokenFetch = Box<dyn Fn() -> azure_core::Result<Arc<dyn TokenCredential>> + Send + Sync>;

enum TokenOrigin {
    Fixed(Secret),
    File(PathBuf),
    Azure(TokenFetch),
}

/// What is known of one scope.
#[derive(Default)]
struct ScopeEntry {
    token: Option<CachedToken>,
    /// When it should be renewed.
    due: Option<Timestamp>,
    renewal: Option<watch::Receiver<Option<TokenOutcome>>>,
    failed: Option<FailedRequest>,
    forgotten: Option<Instant>,
}

type TokenOutcome = Result<CachedToken, TokenError>;

struct FailedRequest {
    times: u32,
    error: TokenError,
    /// No renewal before this.
    until: Instant,
}

impl ScopeEntry {
    fn idle(&self) -> bool {
        // A task that panicked closed its end without an outcome.
        let renewal = self.renewal.as_ref();
        renewal.is_none_or(|outcome| outcome.borrow().is_some() || outcome.has_changed().is_err())
    }

    fn paused(&self) -> Option<&FailedRequest> {
        let failed = self.failed.as_ref();
        failed.filter(|failed| Instant::now() < failed.until)
    }
}

enum TokenLookup {
    Have(CachedToken),
    Wait(watch::Receiver<Option<TokenOutcome>>),
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.0.origin {
            TokenOrigin::Fixed(_) => "fixed",
            TokenOrigin::File(_) => "file",
            TokenOrigin::Azure(_) => "azure",
        };
        write!(formatter, "TokenSource({kind})")
    }
}

impl TokenSource {
    /// A source that logs in as `login`. Does no I/O: whatever is wrong shows with the first token.
    ///
    /// `http` makes the requests. It must not follow redirects, and for a managed identity it must not
    /// use a proxy: the identity service is on the machine.
    #[must_use]
    pub fn new(login: LoginMethod, http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Self {
        let http: Arc<dyn HttpClient> = Arc::new(BoundedHttp::new(http, |_| ANSWER_BYTES_MAX));
        let origin = match login {
            LoginMethod::Token(secret) => TokenOrigin::Fixed(secret),
            LoginMethod::TokenFile(path) => TokenOrigin::File(path),
            login => {
                let clock = Arc::clone(&clock);
                let make = move || login::credential(&login, &http, &clock);
                TokenOrigin::Azure(Box::new(make))
            }
        };
        Self::of(origin, clock)
    }

    /// A source with a token that is never renewed.
    #[must_use]
    pub fn fixed(token: Secret, clock: Arc<dyn Clock>) -> Self {
        Self::of(TokenOrigin::Fixed(token), clock)
    }

    /// A source that asks what `make` makes, again for each renewal.
    pub fn from_credentials(
        make: impl Fn() -> azure_core::Result<Arc<dyn TokenCredential>> + Send + Sync + 'static,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::of(TokenOrigin::Azure(Box::new(make)), clock)
    }

    fn of(origin: TokenOrigin, clock: Arc<dyn Clock>) -> Self {
        let entries = Mutex::default();
        Self(Arc::new(TokenCacheState {
            origin,
            clock,
            entries,
        }))
    }

    /// A token for `scope`, such as `https://management.azure.com/.default`.
    ///
    /// Answers at once while there is a good one; else waits at most [`WAIT_MAX`]. Must be called within
    /// a tokio runtime. Dropping the future stops no renewal.
    ///
    /// # Errors
    /// [`TokenError`]; also, without asking again, that of a renewal that failed a moment ago.
    pub async fn token(&self, scope: &str) -> Result<CachedToken, TokenError> {
        if let TokenOrigin::Fixed(secret) = &self.0.origin {
            return Ok(CachedToken {
                secret: secret.clone(),
                expires_at: None,
            });
        }
        let deadline = Instant::now() + WAIT_MAX;
        let mut outcome = match self.cached(scope)? {
            TokenLookup::Have(token) => return Ok(token),
            TokenLookup::Wait(outcome) => outcome,
        };
        let completed = timeout_at(deadline, outcome.wait_for(Option::is_some)).await;
        match completed.map(|completed| completed.ok().and_then(|outcome| outcome.clone())) {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(refused(scope, "the renewal ended without a word")),
            Err(_) => Err(TokenError::Late {
                scope: scope.to_owned(),
                waited: WAIT_MAX,
            }),
        }
    }

    /// Drops `token`, which a server refused, so that the next call asks for a new one.
    ///
    /// Returns whether a new one may come: not for fixed tokens, and not when that was tried within the
    /// last half minute, so that a server that refuses all cannot make the login busy.
    pub fn forget(&self, scope: &str, token: &CachedToken) -> bool {
        if matches!(self.0.origin, TokenOrigin::Fixed(_)) {
            return false;
        }
        let mut entries = self.0.entries();
        let Some(entry) = entries.get_mut(scope) else {
            return false;
        };
        if entry.token.as_ref() != Some(token) {
            // Somebody else saw it first; there is a newer one.
            return entry.token.is_some();
        }
        let now = Instant::now();
        if (entry.forgotten).is_some_and(|at| now.duration_since(at) < FORGET_EVERY) {
            return false;
        }
        entry.forgotten = Some(now);
        entry.token = None;
        true
    }

    /// Whether anybody else holds it.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    fn cached(&self, scope: &str) -> Result<TokenLookup, TokenError> {
        let now = self.0.clock.now();
        let mut entries = self.0.entries();
        if !entries.contains_key(scope) && entries.len() >= SCOPES_MAX {
            return Err(TokenError::Scopes);
        }
        let entry = entries.entry(scope.to_owned()).or_default();
        let good = |token: &&CachedToken| {
            (token.expires_at).is_none_or(|expires_at| now.after(EXPIRY_MARGIN) < expires_at)
        };
        let token = entry.token.as_ref().filter(good).cloned();
        let wanted = token.is_none() || entry.due.is_some_and(|due| due <= now);
        if !entry.idle() || !wanted {
            if let Some(token) = token {
                return Ok(TokenLookup::Have(token));
            }
        } else if let Some(failed) = entry.paused() {
            return token
                .map(TokenLookup::Have)
                .ok_or_else(|| failed.error.clone());
        } else {
            self.renew(scope, entry);
        }
        if let Some(token) = token {
            return Ok(TokenLookup::Have(token));
        }
        let renewal = entry.renewal.clone();
        let renewal = renewal.expect("without a good token a renewal runs or was just begun");
        Ok(TokenLookup::Wait(renewal))
    }

    fn renew(&self, scope: &str, entry: &mut ScopeEntry) {
        let (sender, outcome) = watch::channel(None);
        entry.renewal = Some(outcome);
        let inner = Arc::clone(&self.0);
        let scope = scope.to_owned();
        tokio::spawn(async move {
            let fetched = timeout(RENEWAL_MAX, inner.fetch(&scope)).await;
            let fetched = fetched.unwrap_or_else(|_| {
                Err(TokenError::Unanswered {
                    reason: format!("no answer within {} s", RENEWAL_MAX.as_secs()),
                    scope: scope.clone(),
                })
            });
            inner.land(&scope, &fetched);
            sender.send_replace(Some(fetched));
        });
    }
}

impl TokenCacheState {
    fn entries(&self) -> MutexGuard<'_, HashMap<String, ScopeEntry>> {
        // What panicked while it held the lock changed a field at most.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, scope: &str) -> TokenOutcome {
        match &self.origin {
            TokenOrigin::Fixed(secret) => Ok(CachedToken {
                secret: secret.clone(),
                expires_at: None,
            }),
            TokenOrigin::File(path) => {
                let read = path.clone();
                let read = tokio::task::spawn_blocking(move || token_file::read(&read)).await;
                let read = read.unwrap_or_else(|error| Err(error.to_string()));
                let secret = read.map_err(|reason| {
                    refused(scope, &format!("token file {}: {reason}", path.display()))
                })?;
                let expires_at = Some(self.clock.now().after(2 * FILE_EVERY));
                Ok(CachedToken { secret, expires_at })
            }
            TokenOrigin::Azure(make) => {
                let failed = |error: azure_core::Error| match unanswered(&error) {
                    true => TokenError::Unanswered {
                        scope: scope.to_owned(),
                        reason: chain(&error),
                    },
                    // Assertions are good for a time, too.
                    false => match clock_hint(&error, self.clock.now()) {
                        Some(hint) => refused(scope, &format!("{hint}; {}", chain(&error))),
                        None => refused(scope, &chain(&error)),
                    },
                };
                let credential = make().map_err(failed)?;
                let token = credential.get_token(&[scope], None).await.map_err(failed)?;
                let expires_at = token.expires_on.unix_timestamp().saturating_mul(1_000);
                Ok(CachedToken {
                    secret: Secret::new(token.token.secret()),
                    expires_at: Some(Timestamp::from_unix_millis(expires_at)),
                })
            }
        }
    }

    fn land(&self, scope: &str, fetched: &TokenOutcome) {
        let now = self.clock.now();
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(scope) else {
            return;
        };
        match fetched {
            Ok(token) => {
                if entry.failed.take().is_some() {
                    tracing::info!(scope, "a token was obtained again");
                }
                entry.due = token.expires_at.map(|at| due(now, at, &self.origin));
                entry.token = Some(token.clone());
            }
            Err(error) => {
                let times = entry.failed.as_ref().map_or(0, |failed| failed.times);
                if times == 0 {
                    tracing::warn!(scope, error = %error, "a token could not be renewed");
                }
                let pause = PAUSE_MIN.saturating_mul(1 << times.min(16)).min(PAUSE_MAX);
                entry.failed = Some(FailedRequest {
                    times: times + 1,
                    error: error.clone(),
                    until: Instant::now() + pause,
                });
            }
        }
    }
}

/// When a token that expires at `at` should be renewed.
fn due(now: Timestamp, at: Timestamp, origin: &TokenOrigin) -> Timestamp {
    if matches!(origin, TokenOrigin::File(_)) {
        return now.after(FILE_EVERY);
    }
    let left = at.since(now);
    now.after(left - (left / 4).min(RENEW_BEFORE_MAX))
}

fn refused(scope: &str, reason: &str) -> TokenError {
    TokenError::Refused {
        scope: scope.to_owned(),
        reason: reason.to_owned(),
    }
}

/// For clients of other Azure services, so that they share the cache.
#[async_trait]
impl TokenCredential for TokenSource {
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let failed = |text: String| azure_core::Error::with_message(ErrorKind::Credential, text);
        let &[scope] = scopes else {
            return Err(failed("exactly one scope is needed".to_owned()));
        };
        let token = self.token(scope).await;
        // A cause, not a message: clients tell causes.
        let token = token.map_err(|error| {
            let kind = match error {
                TokenError::Refused { .. } | TokenError::Scopes => ErrorKind::Credential,
                TokenError::Unanswered { .. } | TokenError::Late { .. } => ErrorKind::Connection,
            };
            azure_core::Error::new(kind, error)
        })?;
        // What never expires is checked again in an hour.
        let in_an_hour = self.0.clock.now().after(Duration::from_secs(3600));
        let expires_at = token.expires_at.unwrap_or(in_an_hour).unix_seconds();
        let expires_on = azure_core::time::OffsetDateTime::from_unix_timestamp(expires_at);
        Ok(AccessToken {
            token: token.secret.expose().to_owned().into(),
            expires_on: expires_on.map_err(|error| failed(error.to_string()))?,
        })
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
