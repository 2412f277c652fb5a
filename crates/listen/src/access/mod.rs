//! Who asks, and whether they may: bearer tokens that stand for themselves or that an identity provider
//! signed.
//!
//! A token is never shown: not in an error, not in a log, not in what `Debug` prints.

mod caller;
mod gate_error;
mod jwt;
mod keys;
mod provider;
mod settings;
mod tokens;

use self::jwt::TokenVerifier;
use self::settings::is_token;
use self::tokens::TokenFile;
use http::HeaderValue;
use rustls::ClientConfig;
use std::fmt;
use std::sync::Arc;
use twinroute_model::clock::Clock;
use twinroute_outgoing::OutgoingConnections;

pub use self::caller::{AccessDenied, AuthenticatedCaller, CallerRole};
pub use self::gate_error::GateError;
pub use self::settings::{
    AccessSettings, AnonymousAccess, JwtSettings, OpenListener, TokenSettings, require_configured,
};

/// Lets in who may come in.
pub struct AccessGate {
    tokens: TokenFile,
    jwt: Option<TokenVerifier>,
    open: bool,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for AccessGate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Gate");
        debug.field("open", &self.open).finish_non_exhaustive()
    }
}

impl AccessGate {
    /// As [`AccessGate::with_outgoing`], with the trust of `tls` and no proxy.
    ///
    /// # Errors
    /// [`GateError`], naming key, file or variable, never what it holds.
    pub fn new(
        settings: &AccessSettings,
        clock: Arc<dyn Clock>,
        tls: &ClientConfig,
    ) -> Result<Self, GateError> {
        Self::with_outgoing(
            settings,
            clock,
            &OutgoingConnections::direct(Arc::new(tls.clone())),
        )
    }

    /// Reads tokens from where the settings say; keys of an identity provider are got, connecting as
    /// `outgoing` says, when the first signed token comes. Blocks on the file system.
    ///
    /// # Errors
    /// [`GateError`], naming key, file or variable, never what it holds.
    pub fn with_outgoing(
        settings: &AccessSettings,
        clock: Arc<dyn Clock>,
        outgoing: &OutgoingConnections,
    ) -> Result<Self, GateError> {
        settings.check().map_err(GateError::Settings)?;
        let jwt = settings.jwt.as_ref();
        Ok(Self {
            tokens: TokenFile::new(&settings.tokens)?,
            jwt: jwt
                .map(|jwt| TokenVerifier::new(jwt, outgoing))
                .transpose()?,
            open: !settings.is_configured(),
            clock,
        })
    }

    /// Whether anybody is asked for anything. Who listens where other machines come in makes sure with
    /// [`require_configured`].
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !self.open
    }

    /// Says who asks by the header `Authorization` (RFC 6750 §2.1). With nothing configured everybody is
    /// `local` and may write.
    ///
    /// Waits for the identity provider at most some 20 s. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`AccessDenied`]. What they may do is still to be checked: [`AuthenticatedCaller::require`].
    pub async fn admit(
        &self,
        authorization: Option<&HeaderValue>,
    ) -> Result<AuthenticatedCaller, AccessDenied> {
        if self.open {
            return Ok(AuthenticatedCaller {
                name: "local".to_owned(),
                role: CallerRole::Write,
            });
        }
        let token =
            bearer(authorization.ok_or(AccessDenied::Missing)?).ok_or(AccessDenied::NotBearer)?;
        if !is_token(token) {
            return Err(AccessDenied::Invalid);
        }
        if let Some(caller) = self.tokens.find(token).await {
            return Ok(caller);
        }
        match &self.jwt {
            Some(jwt) => jwt.admit(token, self.clock.now()).await,
            None => Err(AccessDenied::Invalid),
        }
    }
}

/// The token of a header. The scheme's case does not matter (RFC 9110 §11.1).
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
#[cfg(test)]
mod tokens_tests;
