//! The identity service of App Service, Functions and Container Apps, asked by ARM resource id.
//!
//! azure_identity refuses resource ids there, for it would send them under the wrong name
//! (Azure/azure-sdk-for-rust, issue 2407). Source: "How to use managed identities for App Service and
//! Azure Functions", REST endpoint reference: `mi_res_id`, where the service of virtual machines says
//! `msi_res_id`; `expires_on` is a text with seconds since 1970.

use crate::reason::passes;
use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{HttpClient, Method, Request, Url};
use azure_core::time::OffsetDateTime;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::secret::Secret;

/// Of an answer that is a no, this much is reported.
const WORDS_CHARS_MAX: usize = 200;

/// Where the service is, by the variables that it sets.
#[derive(Clone, Debug)]
pub(crate) struct ServiceAddress {
    endpoint: Url,
    header: Secret,
}

impl ServiceAddress {
    /// `None` where this is not App Service; Service Fabric, which sets a variable more, is not.
    pub(crate) fn find(
        variable: impl Fn(&str) -> Option<String>,
    ) -> azure_core::Result<Option<Self>> {
        let (Some(endpoint), Some(header), None) = (
            variable("IDENTITY_ENDPOINT"),
            variable("IDENTITY_HEADER"),
            variable("IDENTITY_SERVER_THUMBPRINT"),
        ) else {
            return Ok(None);
        };
        let endpoint = Url::parse(&endpoint);
        let endpoint =
            endpoint.map_err(|_| failed("the variable IDENTITY_ENDPOINT holds no URL".into()))?;
        Ok(Some(Self {
            endpoint,
            header: Secret::new(header),
        }))
    }
}

/// One user-assigned identity.
pub(crate) struct AppService {
    pub(crate) place: ServiceAddress,
    pub(crate) resource_id: String,
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
struct ServiceToken {
    access_token: String,
    #[serde(default)]
    expires_on: Option<NumberOrText>,
    #[serde(default)]
    expires_in: Option<NumberOrText>,
}

/// The service writes numbers as texts, its emulators as numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(f64),
    Text(String),
}

impl NumberOrText {
    /// Whole seconds.
    fn seconds(&self) -> Option<i64> {
        let text = match self {
            // Truncated, and saturated where it is too large.
            Self::Number(number) => return number.is_finite().then_some(*number as i64),
            Self::Text(text) => text.trim(),
        };
        let whole = text.split('.').next().unwrap_or(text);
        whole.parse().ok()
    }
}

impl ServiceToken {
    /// When the token ends: seconds since 1970, a moment of RFC 3339, or seconds from `now` on.
    fn expires_on(&self, now: Timestamp) -> Option<OffsetDateTime> {
        let seconds = match (&self.expires_on, &self.expires_in) {
            (Some(NumberOrText::Text(text)), _) if text.contains('T') => {
                Timestamp::parse_rfc3339(text.trim())?.unix_seconds()
            }
            (Some(on), _) => on.seconds()?,
            (None, Some(within)) => now.unix_seconds().checked_add(within.seconds()?)?,
            (None, None) => return None,
        };
        OffsetDateTime::from_unix_timestamp(seconds).ok()
    }
}

impl fmt::Debug for AppService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AppService")
            .field("place", &self.place)
            .field("resource_id", &self.resource_id)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenCredential for AppService {
    /// Asks once: whoever wants the token asks again.
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let &[scope] = scopes else {
            return Err(failed("exactly one scope is needed".to_owned()));
        };
        let mut url = self.place.endpoint.clone();
        url.query_pairs_mut()
            .append_pair("api-version", "2019-08-01")
            .append_pair("resource", scope.strip_suffix("/.default").unwrap_or(scope))
            .append_pair("mi_res_id", &self.resource_id);
        let mut request = Request::new(url, Method::Get);
        request.insert_header("x-identity-header", self.place.header.expose().to_owned());
        let answer = self.http.execute_request(&request).await?;
        let status = answer.status();
        // Bounded by the client.
        let body = answer.into_body().collect().await?;
        let body = &body[..];
        if !status.is_success() {
            let words = String::from_utf8_lossy(body);
            let words: String = words.chars().take(WORDS_CHARS_MAX).collect();
            let text = format!("the identity service answered {status}: {words}");
            return Err(match passes(status) {
                true => Error::with_message(ErrorKind::Io, text),
                false => failed(text),
            });
        }
        // Not serde's words: the answer holds the token.
        let malformed = || failed("the identity service's answer holds no token".to_owned());
        let answer: ServiceToken = serde_json::from_slice(body).map_err(|_| malformed())?;
        let expires_on = answer.expires_on(self.clock.now()).ok_or_else(malformed)?;
        Ok(AccessToken::new(answer.access_token, expires_on))
    }
}

fn failed(text: String) -> Error {
    Error::with_message(ErrorKind::Credential, text)
}
