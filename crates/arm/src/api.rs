//! Requests to a management API: ARM's, the data plane's, or a twinroute's.
//!
//! Source: public ARM resource provider contract; the Azure guidelines' retry rules as Azure's own
//! clients keep them.

use super::error::{ArmRefusal, Error, bounded, error_text};
use super::retry;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use serde::de::DeserializeOwned;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use twinroute_credential::token::{CachedToken, TokenSource};
use twinroute_model::clock::Clock;
use twinroute_model::http_date::clock_difference;
use twinroute_outgoing::answer::{self, AnswerError};
use twinroute_outgoing::failure_text;

/// The longest that one request takes, its answer read.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// No single answer is larger: resources have some 10 kB.
pub const ANSWER_BYTES_MAX: usize = 256 << 10;

/// No page of a list is larger: they have some 100 kB.
pub(super) const PAGE_BYTES_MAX: usize = 1 << 20;

const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

/// A management API at one origin. Clones share connections and tokens.
#[derive(Clone)]
pub struct ArmApi {
    http: Client,
    base: Url,
    scope: Arc<str>,
    /// None where the server asks for no token.
    tokens: Option<TokenSource>,
    clock: Arc<dyn Clock>,
    /// What waits are multiplied with: 1 but in tests against sockets, where time cannot be paused.
    pace: f64,
}

impl std::fmt::Debug for ArmApi {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Api")
            .field("base", &self.base.as_str())
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// One request, made up to [`retry::ATTEMPTS_MAX`] times.
#[derive(Clone)]
pub(super) struct ApiRequest {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Option<Bytes>,
    pub(super) answer_bytes_max: usize,
}

impl ApiRequest {
    pub(super) fn new(method: Method, url: Url, body: Option<Bytes>) -> Self {
        Self {
            method,
            url,
            body,
            answer_bytes_max: ANSWER_BYTES_MAX,
        }
    }

    /// Method, host and path, for messages: queries may hold signatures.
    pub(super) fn name(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        format!("{} {host}{}", self.method, self.url.path())
    }
}

/// A successful answer.
#[derive(Clone)]
pub struct ApiAnswer {
    /// The HTTP status, below 300.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body; empty for 204.
    pub body: Bytes,
    request: String,
}

/// Bodies may hold keys, headers signed URLs.
impl std::fmt::Debug for ApiAnswer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Answer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl ApiAnswer {
    /// The body as JSON.
    ///
    /// # Errors
    /// [`Error::Answer`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        // .NET services begin some bodies with a byte order mark.
        let body = self
            .body
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(&self.body);
        serde_json::from_slice(body).map_err(|error| Error::Answer {
            request: self.request.clone(),
            // serde_json's text may quote a value, but not the line and column of it.
            reason: match error.classify() {
                serde_json::error::Category::Data => "is JSON of another shape".to_owned(),
                _ => format!(
                    "is no JSON (line {}, column {})",
                    error.line(),
                    error.column()
                ),
            },
        })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl ArmApi {
    /// The API at `base`, such as `https://management.azure.com` or `http://127.0.0.1:8081`; a path in it
    /// goes before every path. Tokens are asked for with `scope`.
    ///
    /// `http` comes from [`super::http::client`].
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(
        base: &str,
        scope: &str,
        tokens: TokenSource,
        http: Client,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        Ok(Self {
            http,
            base: base_url(base)?,
            scope: scope.into(),
            tokens: Some(tokens),
            clock,
            pace: 1.0,
        })
    }

    /// As [`ArmApi::new`], for a server that asks for no token: none is sent.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn without_token(base: &str, http: Client, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Ok(Self {
            http,
            base: base_url(base)?,
            scope: "".into(),
            tokens: None,
            clock,
            pace: 1.0,
        })
    }

    /// The same client and tokens for another API.
    pub(super) fn elsewhere(&self, base: &str, scope: &str) -> Result<Self, Error> {
        Ok(Self {
            base: base_url(base)?,
            scope: scope.into(),
            ..self.clone()
        })
    }

    #[cfg(test)]
    pub(super) fn hurried(mut self) -> Self {
        self.pace = 0.01;
        self
    }

    pub(super) async fn sleep(&self, wait: Duration) {
        tokio::time::sleep(wait.mul_f64(self.pace)).await;
    }

    /// Where it is.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Makes one call: `path` begins with `/` and is percent-encoded already; `body` is JSON.
    ///
    /// Repeats what may be repeated, at most four times in all, and asks once more with a new token after
    /// a 401. Follows no operation: see [`ArmApi::call_and_wait`]. Dropping the future leaves it unknown
    /// whether the server acted.
    ///
    /// # Errors
    /// [`Error`]; any status from 300 on is a refusal.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        api_version: &str,
        body: Option<Bytes>,
    ) -> Result<ApiAnswer, Error> {
        let url = self.url(path, api_version)?;
        self.send(&ApiRequest::new(method, url, body)).await
    }

    /// A GET, as [`ArmApi::call`].
    ///
    /// # Errors
    /// As [`ArmApi::call`].
    pub async fn get(&self, path: &str, api_version: &str) -> Result<ApiAnswer, Error> {
        self.call(Method::GET, path, api_version, None).await
    }

    pub(super) fn url(&self, path: &str, api_version: &str) -> Result<Url, Error> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
        if !path.starts_with('/') || dots {
            return Err(Error::Url {
                text: path.to_owned(),
                reason: "is no path: it begins with / and has no dots for a segment",
            });
        }
        let mut url = self.base.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}{path}"));
        url.set_query((!query.is_empty()).then_some(query));
        url.query_pairs_mut()
            .append_pair("api-version", api_version);
        Ok(url)
    }

    pub(super) async fn send(&self, request: &ApiRequest) -> Result<ApiAnswer, Error> {
        let id = uuid::Uuid::new_v4().to_string();
        let mut renewed = false;
        let mut failures = 0;
        loop {
            let token = match &self.tokens {
                Some(tokens) => Some(tokens.token(&self.scope).await?),
                None => None,
            };
            let (error, again) = match self.exchange(request, token.as_ref(), &id).await {
                Ok(answer) => return Ok(answer),
                Err(Error::Refused(refusal)) if refusal.status == 401 && !renewed => {
                    renewed = true;
                    if let (Some(tokens), Some(token)) = (&self.tokens, &token)
                        && tokens.forget(&self.scope, token)
                    {
                        continue;
                    }
                    (Error::Refused(refusal), false)
                }
                Err(Error::Refused(refusal)) => {
                    let again = retry::repeats(&request.method, refusal.status);
                    (Error::Refused(refusal), again)
                }
                // A request that was not answered may have been acted on.
                Err(error @ Error::Transport { .. }) => {
                    let again = request.method.is_idempotent() && !error.is_alert();
                    (error, again)
                }
                Err(error) => (error, false),
            };
            failures += 1;
            let after = error.refusal().and_then(|refusal| refusal.retry_after);
            let patient = after.is_none_or(|after| after <= retry::WAIT_MAX);
            if !again || !patient || failures >= retry::ATTEMPTS_MAX {
                return Err(error);
            }
            let wait = retry::wait(failures, after, fastrand::f64());
            tracing::debug!(error = %error, wait = ?wait, "a request is repeated");
            self.sleep(wait).await;
        }
    }

    async fn exchange(
        &self,
        request: &ApiRequest,
        token: Option<&CachedToken>,
        id: &str,
    ) -> Result<ApiAnswer, Error> {
        let mut builder = self
            .http
            .request(request.method.clone(), request.url.clone())
            .header(ACCEPT, "application/json")
            .header(CLIENT_REQUEST_ID, id);
        if let Some(token) = token {
            let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.secret.expose()))
                .map_err(|_| Error::Transport {
                    request: request.name(),
                    reason: "the token holds characters that no header has".to_owned(),
                })?;
            bearer.set_sensitive(true);
            builder = builder.header(AUTHORIZATION, bearer);
        }
        if let Some(body) = &request.body {
            builder = builder
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        } else if request.method == Method::POST {
            builder = builder.body("");
        }
        // Boxed: reqwest's state is large, and it would stand in every caller's future.
        let answered = timeout(REQUEST_TIMEOUT, self.receive(request, builder).boxed()).await;
        answered.unwrap_or_else(|_| {
            Err(Error::Transport {
                request: request.name(),
                reason: format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()),
            })
        })
    }

    async fn receive(
        &self,
        request: &ApiRequest,
        builder: reqwest::RequestBuilder,
    ) -> Result<ApiAnswer, Error> {
        let failed = |error: reqwest::Error| Error::Transport {
            request: request.name(),
            reason: transport_text(error),
        };
        let response = builder.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        if (200..300).contains(&status) {
            let body = answer::read_success(response, request.answer_bytes_max).await;
            let body = body.map_err(|error| unread(request, error))?;
            return Ok(ApiAnswer {
                status,
                headers,
                body: body.into_bytes(),
                request: request.name(),
            });
        }
        let (code, mut message) = error_text(&answer::read_error(response).await);
        let date = headers.get(DATE).filter(|_| matches!(status, 401 | 403));
        let date = date.and_then(|date| date.to_str().ok());
        if let Some(skew) = date.and_then(|date| clock_difference(date, self.clock.now())) {
            let gap = if message.is_empty() { "" } else { "; " };
            message = format!("{message}{gap}{skew}");
        }
        let request_id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        Err(ArmRefusal {
            request: request.name(),
            status,
            code,
            message,
            request_id: request_id.map(bounded),
            retry_after: retry::after(&headers, self.clock.now()),
        }
        .into())
    }

    pub(super) fn now(&self) -> twinroute_model::clock::Timestamp {
        self.clock.now()
    }
}

/// Reads the address of an API.
pub(super) fn base_url(text: &str) -> Result<Url, Error> {
    let refuse = |reason| Error::Url {
        text: bounded(text.split('?').next().unwrap_or_default()),
        reason,
    };
    let url = Url::parse(text).map_err(|_| refuse("is no URL: https://<host>[:<port>]"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refuse(
            "must be https://<host>[:<port>], or http:// for a local one",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::Url {
            text: url.host_str().unwrap_or_default().to_owned(),
            reason: "must name no user",
        });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("must have no query and no fragment"));
    }
    Ok(url)
}

/// Whether what is sent there stays on this machine.
#[must_use]
pub fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

/// What a success is whose body cannot be had: it may be asked for again unless it is too large.
fn unread(request: &ApiRequest, error: AnswerError) -> Error {
    let request = request.name();
    match error {
        AnswerError::TooLarge { bytes_max } => Error::Answer {
            request,
            reason: format!("is larger than {bytes_max} bytes"),
        },
        AnswerError::Broken(cause) => Error::Transport {
            request,
            reason: match cause.downcast() {
                Ok(cause) => transport_text(*cause),
                Err(cause) => bounded(&cause.to_string()),
            },
        },
        error @ AnswerError::Crowded { .. } => Error::Transport {
            request,
            reason: error.to_string(),
        },
    }
}

/// The causes of a failed exchange, without its URL.
fn transport_text(error: reqwest::Error) -> String {
    bounded(&failure_text(&error.without_url()))
}
