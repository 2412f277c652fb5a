//! The two requests that a vault is asked.
//!
//! Source: Azure Key Vault REST API 7.4, "Get Secrets" (pages of at most 25, `nextLink`), "Get Secret", "Azure
//! Key Vault throttling guidance" (429).

use super::settings::KeyVaultSettings;
use crate::reason::chain;
use crate::secret_field::SECRET_BYTES_MAX;
use crate::token::{CachedToken, TokenError, TokenSource};
use azure_core::http::headers::HeaderName;
use azure_core::http::{HttpClient, Method, Request, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::http_date::clock_difference;
use twinroute_model::retry_after::retry_after;
use twinroute_model::secret::Secret;
use twinroute_outgoing::azure::BoundedHttp;

const API_VERSION: &str = "7.4";

/// For one request with its answer.
const REQUEST_WAIT: Duration = Duration::from_secs(30);

/// A page holds 25 names; a secret at most 25 KB.
const ANSWER_BYTES_MAX: usize = 128 << 10;

/// A mistyped vault must not be read for ever.
const PAGES_MAX: usize = 400;

/// Names of one listing: all that so many pages of a vault hold.
const NAMES_MAX: usize = 25 * PAGES_MAX;

/// Characters of a secret's name. Source: "About keys, secrets, and certificates", object identifiers.
const NAME_CHARS_MAX: usize = 127;

/// The longest wait that a vault is granted.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// Why a vault cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum VaultError {
    #[error("key vault {vault}: {source}")]
    Token { vault: String, source: TokenError },
    #[error("key vault {vault}: {reason}")]
    Unanswered { vault: String, reason: String },
    #[error("key vault {vault}: answered {status}{words}{}", clock_text(.clock))]
    Status {
        vault: String,
        status: u16,
        words: &'static str,
        /// How far the clocks differ, where it refuses a token: tokens are good for a time.
        clock: Option<String>,
        retry_after: Option<Duration>,
    },
    #[error("key vault {vault}: {reason}")]
    Malformed { vault: String, reason: String },
}

fn clock_text(clock: &Option<String>) -> String {
    clock
        .as_ref()
        .map_or_else(String::new, |clock| format!("; {clock}"))
}

impl VaultError {
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A secret that can be read.
pub(super) struct ListedSecret {
    pub(super) name: String,
    pub(super) updated: Timestamp,
}

pub(super) struct VaultClient {
    vault: String,
    base: Option<Url>,
    scope: String,
    tokens: TokenSource,
    http: BoundedHttp,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VaultPage {
    value: Vec<VaultItem>,
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct VaultItem {
    id: String,
    attributes: VaultAttributes,
}

#[derive(Deserialize)]
struct VaultAttributes {
    #[serde(default = "enabled")]
    enabled: bool,
    #[serde(default)]
    updated: i64,
}

fn enabled() -> bool {
    true
}

#[derive(Deserialize)]
struct SecretBundle {
    value: Secret,
}

/// What came back.
enum VaultResponse<T> {
    Good(T),
    Missing,
}

impl VaultClient {
    pub(super) fn new(
        settings: &KeyVaultSettings,
        tokens: TokenSource,
        http: Arc<dyn HttpClient>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let http = BoundedHttp::new(http, |_| ANSWER_BYTES_MAX);
        Self {
            vault: settings.vault.clone(),
            base: settings.base(),
            scope: settings.scope.clone(),
            tokens,
            http,
            clock,
        }
    }

    /// All secrets that are enabled, by name.
    pub(super) async fn list(&self) -> Result<Vec<ListedSecret>, VaultError> {
        let mut listed = Vec::new();
        let mut next = Some(self.url(&["secrets"])?);
        for _ in 0..PAGES_MAX {
            let Some(url) = next.take() else {
                return Ok(listed);
            };
            let VaultResponse::Good(page) = self.ask::<VaultPage>(&url).await? else {
                return Err(self.malformed("there is no vault at this URL"));
            };
            for item in page.value {
                let id = Url::parse(&item.id).ok();
                let name = id
                    .as_ref()
                    .and_then(|id| id.path().strip_prefix("/secrets/"));
                let name = name.map(|name| name.split('/').next().unwrap_or(name));
                // A longer one is no name of a vault's secret.
                let legal = |name: &&str| name.len() <= NAME_CHARS_MAX && item.attributes.enabled;
                let Some(name) = name.filter(legal) else {
                    continue;
                };
                if listed.len() == NAMES_MAX {
                    return Err(self.malformed(format!("holds more than {NAMES_MAX} secrets")));
                }
                let updated = item.attributes.updated.saturating_mul(1_000);
                listed.push(ListedSecret {
                    name: name.to_owned(),
                    updated: Timestamp::from_unix_millis(updated),
                });
            }
            next = match page.next_link.filter(|link| !link.is_empty()) {
                Some(link) => Some(self.next(&link)?),
                None => None,
            };
        }
        let reason = format!("holds more than {PAGES_MAX} pages of secrets");
        Err(self.malformed(reason))
    }

    /// The present value; `None` when it was deleted meanwhile.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Secret>, VaultError> {
        let url = self.url(&["secrets", name])?;
        let VaultResponse::Good(bundle) = self.ask::<SecretBundle>(&url).await? else {
            return Ok(None);
        };
        let text = bundle.value.expose();
        if text.is_empty() || text.len() > SECRET_BYTES_MAX || bundle.value.is_masked() {
            let rule = format!("must have 1 to {SECRET_BYTES_MAX} bytes and be no mask");
            return Err(self.malformed(format!("the secret {name} {rule}")));
        }
        Ok(Some(bundle.value))
    }

    fn url(&self, path: &[&str]) -> Result<Url, VaultError> {
        let base = self.base.clone();
        let mut url = base.ok_or_else(|| self.malformed("is no https URL"))?;
        url.path_segments_mut()
            .map_err(|()| self.malformed("is no https URL"))?
            .clear()
            .extend(path);
        url.query_pairs_mut()
            .append_pair("api-version", API_VERSION);
        Ok(url)
    }

    /// The next page must be the same vault's: the token goes there.
    fn next(&self, link: &str) -> Result<Url, VaultError> {
        let url = Url::parse(link).ok();
        let same = |url: &Url| {
            let base = self.base.as_ref();
            base.is_some_and(|base| base.origin() == url.origin())
        };
        url.filter(same)
            .ok_or_else(|| self.malformed("its next page is not its own"))
    }

    async fn ask<T: DeserializeOwned>(&self, url: &Url) -> Result<VaultResponse<T>, VaultError> {
        let token = self.token().await?;
        match self.send(url, &token).await {
            Err(VaultError::Status { status: 401, .. })
                if self.tokens.forget(&self.scope, &token) =>
            {
                let token = self.token().await?;
                self.send(url, &token).await
            }
            answered => answered,
        }
    }

    async fn token(&self) -> Result<CachedToken, VaultError> {
        let token = self.tokens.token(&self.scope).await;
        token.map_err(|source| VaultError::Token {
            vault: self.vault.clone(),
            source,
        })
    }

    async fn send<T: DeserializeOwned>(
        &self,
        url: &Url,
        token: &CachedToken,
    ) -> Result<VaultResponse<T>, VaultError> {
        let unanswered = |reason: String| VaultError::Unanswered {
            vault: self.vault.clone(),
            reason,
        };
        let mut request = Request::new(url.clone(), Method::Get);
        request.insert_header("authorization", format!("Bearer {}", token.secret.expose()));
        request.insert_header("accept", "application/json");
        let asking = async {
            let answer = self.http.execute_request(&request).await?;
            let status = answer.status();
            let headers = answer.headers().iter();
            let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
            let after = retry_after(headers, self.clock.now(), RETRY_AFTER_MAX);
            let date = HeaderName::from_static("date");
            let date = answer.headers().get_optional_str(&date);
            let date = date.filter(|_| matches!(u16::from(status), 401 | 403));
            let clock = date.and_then(|date| clock_difference(date, self.clock.now()));
            let mut body = zeroize::Zeroizing::new(vec![0; ANSWER_BYTES_MAX]);
            let bytes = answer.into_body().collect_into(&mut body).await?;
            body.truncate(bytes);
            Ok::<_, azure_core::Error>((status, after, clock, body))
        };
        let asked = timeout(REQUEST_WAIT, asking).await;
        let asked = asked.map_err(|_| {
            let seconds = REQUEST_WAIT.as_secs();
            unanswered(format!("no answer within {seconds} s"))
        })?;
        let (status, retry_after, clock, body) =
            asked.map_err(|error| unanswered(chain(&error)))?;
        match status {
            StatusCode::Ok => {
                // Not serde's words: the answer holds the secret.
                let good = serde_json::from_slice(&body).ok();
                let good = good.ok_or_else(|| self.malformed("gave an answer that is no secret's"));
                good.map(VaultResponse::Good)
            }
            StatusCode::NotFound => Ok(VaultResponse::Missing),
            status => Err(VaultError::Status {
                vault: self.vault.clone(),
                status: status.into(),
                words: match u16::from(status) {
                    401 => ", so it does not take the token of [identity]",
                    403 => {
                        ": the identity may not list or read secrets; give it the role Key Vault \
                         Secrets User"
                    }
                    429 => ": too many requests",
                    _ => "",
                },
                clock,
                retry_after,
            }),
        }
    }

    pub(super) fn too_much(&self, bytes_max: usize) -> VaultError {
        self.malformed(format!(
            "its secrets have more than {bytes_max} bytes together"
        ))
    }

    fn malformed(&self, reason: impl Into<String>) -> VaultError {
        VaultError::Malformed {
            vault: self.vault.clone(),
            reason: reason.into(),
        }
    }
}
