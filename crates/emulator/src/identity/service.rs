//! The identity service: what it signs with, whom it knows, what it was asked.

use super::assertion;
use super::issuer::TokenIssuer;
use super::settings::IdentitySettings;
use crate::lock::lock;
use crate::service_context::ServiceContext;
use crate::settings_error::SettingsError;
use http::Request;
use http::header::HOST;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

/// Requests that are remembered; the oldest go first.
const ASKED_MAX: usize = 1_000;

/// Where a token was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenEndpoint {
    /// The machine's metadata service.
    Imds,
    /// The service of App Service, Functions and Container Apps.
    AppService,
    /// Entra itself.
    Entra,
}

/// One request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// Where.
    pub door: TokenEndpoint,
    /// For what, without `/.default`.
    pub resource: String,
    /// Whom it named, as it did: `client_id=…`, `mi_res_id=…`; empty for the system-assigned identity.
    pub named: String,
    /// The status it was answered with; `None` when it got no answer.
    pub status: Option<u16>,
}

/// The identity service: what it knows and remembers.
#[derive(Debug)]
pub struct IdentityService {
    pub(crate) settings: IdentitySettings,
    pub(crate) issuer: Arc<TokenIssuer>,
    pub(crate) context: ServiceContext,
    /// The port where TLS is spoken; 0 while there is none.
    tls_port: AtomicU16,
    asked: Mutex<VecDeque<TokenRequest>>,
}

impl IdentityService {
    pub(crate) fn new(
        settings: IdentitySettings,
        context: ServiceContext,
    ) -> Result<Self, SettingsError> {
        Ok(Self {
            settings,
            issuer: Arc::new(TokenIssuer::new().ok_or(SettingsError::NoKey)?),
            context,
            tls_port: AtomicU16::new(0),
            asked: Mutex::default(),
        })
    }

    pub(crate) fn set_tls_port(&self, port: u16) {
        self.tls_port.store(port, Ordering::Relaxed);
    }

    /// The service's URL as the client of a request knows it.
    pub(crate) fn base<B>(&self, request: &Request<B>) -> String {
        let named = request.headers().get(HOST);
        let named = named
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        let host = request
            .uri()
            .authority()
            .map_or(named, |host| host.as_str());
        let port = self.tls_port.load(Ordering::Relaxed);
        let tls = port != 0 && host.ends_with(&format!(":{port}"));
        format!("{}://{host}", if tls { "https" } else { "http" })
    }

    /// The requests for tokens so far, the last thousand of them, in order.
    #[must_use]
    pub fn token_requests(&self) -> Vec<TokenRequest> {
        lock(&self.asked).iter().cloned().collect()
    }

    pub(super) fn record(&self, request: TokenRequest) {
        let mut asked = lock(&self.asked);
        if asked.len() >= ASKED_MAX {
            asked.pop_front();
        }
        asked.push_back(request);
    }

    /// A token of the Kubernetes service account `subject`, as its API server writes it to a file.
    #[must_use]
    pub fn service_account_token(&self, subject: &str) -> String {
        let now = self.context.now();
        let life = self.settings.token_life;
        let claims = serde_json::json!({
            "iss": assertion::CLUSTER,
            "sub": subject,
            "aud": [assertion::EXCHANGE],
            "iat": now.unix_seconds(),
            "nbf": now.unix_seconds(),
            "exp": now.after(life).unix_seconds(),
        });
        self.issuer.sign(&claims)
    }
}
