//! The stand-in of Microsoft Entra and of what machines have of it: tokens that it signs itself.
//!
//! | door | who comes in |
//! |---|---|
//! | `/metadata/identity/oauth2/token` | programs on a virtual machine (IMDS) |
//! | `/msi/token` | programs of App Service, Functions, Container Apps |
//! | `/{tenant}/oauth2/v2.0/token` | applications with a secret, a certificate or a federated token |
//!
//! Nobody's rights are looked at: whoever is known gets a token for whatever they ask.

mod assertion;
mod entra;
mod http;
mod issuer;
mod managed;

pub(crate) use http::run;
pub(crate) use issuer::Issuer;

use crate::settings::IdentitySettings;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use twinroute_model::clock::Timestamp;

/// Requests that are remembered; the oldest go first.
const ASKED_MAX: usize = 1_000;

/// Where a token was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
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
    pub door: Door,
    /// For what, without `/.default`.
    pub resource: String,
    /// Whom it named, as it did: `client_id=…`, `mi_res_id=…`; empty for the system-assigned identity.
    pub named: String,
    /// The status it was answered with; `None` when it got no answer.
    pub status: Option<u16>,
}

/// What the service knows and remembers.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) settings: IdentitySettings,
    pub(crate) issuer: Issuer,
    /// The port where TLS is spoken; 0 while there is none.
    tls_port: AtomicU16,
    asked: Mutex<VecDeque<TokenRequest>>,
}

impl Service {
    /// `None` when the system gives no random bytes.
    pub(crate) fn new(settings: &IdentitySettings) -> Option<Self> {
        Some(Self {
            settings: settings.clone(),
            issuer: Issuer::new()?,
            tls_port: AtomicU16::new(0),
            asked: Mutex::default(),
        })
    }

    pub(crate) fn set_tls_port(&self, port: u16) {
        self.tls_port.store(port, Ordering::Relaxed);
    }

    /// The service's URL as a client that sent this `Host` knows it.
    pub(crate) fn base(&self, host: &str) -> String {
        let port = self.tls_port.load(Ordering::Relaxed);
        let tls = port != 0 && host.ends_with(&format!(":{port}"));
        format!("{}://{host}", if tls { "https" } else { "http" })
    }

    pub(crate) fn asked(&self) -> Vec<TokenRequest> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().cloned().collect()
    }

    fn note(&self, request: TokenRequest) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= ASKED_MAX {
            asked.pop_front();
        }
        asked.push_back(request);
    }

    /// A token of the Kubernetes service account `subject`, as its API server would write it to a file.
    pub(crate) fn service_account_token(&self, subject: &str, now: Timestamp) -> String {
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
