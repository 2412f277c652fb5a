//! Who asks, and whether they may: bearer tokens that stand for themselves or that an identity provider
//! signed.
//!
//! A token is never shown: not in an error, not in a log, not in what `Debug` prints.

mod jwt;
mod keys;
mod provider;
mod settings;
mod tokens;

use self::jwt::Verifier;
use self::tokens::{Tokens, is_token};
use http::{HeaderValue, StatusCode};
use rustls::ClientConfig;
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use twinroute_model::clock::Clock;
use twinroute_outgoing::Outgoing;

pub use self::settings::{
    AccessSettings, Anonymous, JwtSettings, OpenListener, TokenSettings, require_configured,
};

/// What a caller may do. The later includes the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Read,
    /// Change as well.
    Write,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// For logs and answers: no control characters, at most 512 bytes.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

impl Caller {
    /// Passes who may do what needs `role`.
    ///
    /// # Errors
    /// [`Denied::RoleTooLow`].
    pub fn require(&self, role: Role) -> Result<(), Denied> {
        if self.role >= role {
            return Ok(());
        }
        Err(Denied::RoleTooLow {
            name: self.name.clone(),
        })
    }
}

/// Why somebody does not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// They say nothing of themselves.
    #[error("the authorization header is missing")]
    Missing,
    /// They say it in another way.
    #[error("the authorization header is not `Bearer` and a token")]
    NotBearer,
    /// The token is not one of ours, or not well signed.
    #[error("the access token is invalid")]
    Invalid,
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
    /// Its time is to come.
    #[error("the access token is not valid yet")]
    NotYetValid,
    /// Another tenant or provider signed it.
    #[error("the access token is from another issuer")]
    WrongIssuer,
    /// It is for another server.
    #[error("the access token is for another audience")]
    WrongAudience,
    /// It names no role that means something here.
    #[error("{name} has no role here")]
    NoRole {
        /// Whose.
        name: String,
    },
    /// Reading is allowed, this is not.
    #[error("{name} may read only")]
    RoleTooLow {
        /// Who.
        name: String,
    },
    /// Whether it is well signed cannot be told.
    #[error("the keys of the identity provider are not to be had at present")]
    KeysUnavailable,
}

impl Denied {
    /// The status of an answer that says so.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.answer().0
    }

    /// The code in the APIs that are our own, which do not tell kinds of bad tokens apart.
    #[must_use]
    pub fn short_code(&self) -> &'static str {
        self.answer().1
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Missing
            | Self::NotBearer
            | Self::Invalid
            | Self::Expired
            | Self::NotYetValid
            | Self::WrongIssuer
            | Self::WrongAudience => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::NoRole { .. } | Self::RoleTooLow { .. } => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::KeysUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "IdentityProviderUnavailable",
            ),
        }
    }

    /// The code that Azure Resource Manager has for it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "AuthenticationFailed",
            Self::NotBearer => "AuthenticationFailedInvalidHeader",
            Self::Invalid | Self::NotYetValid => "InvalidAuthenticationToken",
            Self::Expired => "ExpiredAuthenticationToken",
            Self::WrongIssuer => "InvalidAuthenticationTokenTenant",
            Self::WrongAudience => "InvalidAuthenticationTokenAudience",
            Self::NoRole { .. } | Self::RoleTooLow { .. } => "AuthorizationFailed",
            Self::KeysUnavailable => "ServiceUnavailable",
        }
    }
}

/// Why there is no [`Gate`].
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A value of the settings cannot be used.
    #[error("access: {0}")]
    Settings(String),
    /// A file holds no token.
    #[error("access: token file {} of {name:?}: {reason}", path.display())]
    File {
        /// Whose.
        name: String,
        /// Which.
        path: PathBuf,
        /// Why; nothing of what it holds.
        reason: String,
    },
    /// A variable holds no token.
    #[error(
        "access: environment variable {variable} of {name:?}: must have 16 to 16384 visible ASCII \
         characters"
    )]
    Variable {
        /// Whose.
        name: String,
        /// Which.
        variable: String,
    },
    /// Two names for one token.
    #[error("access: {name:?} and {other:?} have the same token; give each one of its own")]
    Same {
        /// The one.
        name: String,
        /// The other.
        other: String,
    },
    /// The HTTP client that gets keys.
    #[error("access: HTTP client")]
    Client(#[source] reqwest::Error),
    /// The system gives no random bytes.
    #[error("access: the system gives no random bytes")]
    Random,
}

/// Lets in who may come in.
pub struct Gate {
    tokens: Tokens,
    jwt: Option<Verifier>,
    open: bool,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Gate");
        shown.field("open", &self.open).finish_non_exhaustive()
    }
}

impl Gate {
    /// As [`Gate::with_outgoing`], with the trust of `tls` and no proxy.
    ///
    /// # Errors
    /// [`GateError`], naming key, file or variable, never what it holds.
    pub fn new(
        settings: &AccessSettings,
        clock: Arc<dyn Clock>,
        tls: &ClientConfig,
    ) -> Result<Self, GateError> {
        Self::with_outgoing(settings, clock, &Outgoing::direct(Arc::new(tls.clone())))
    }

    /// Reads tokens from where the settings say; keys of an identity provider are got, connecting as
    /// `outgoing` says, when the first signed token comes. Blocks on the file system.
    ///
    /// # Errors
    /// [`GateError`], naming key, file or variable, never what it holds.
    pub fn with_outgoing(
        settings: &AccessSettings,
        clock: Arc<dyn Clock>,
        outgoing: &Outgoing,
    ) -> Result<Self, GateError> {
        settings.check().map_err(GateError::Settings)?;
        let jwt = settings.jwt.as_ref();
        Ok(Self {
            tokens: Tokens::new(&settings.tokens)?,
            jwt: jwt.map(|jwt| Verifier::new(jwt, outgoing)).transpose()?,
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
    /// [`Denied`]. What they may do is still to be checked: [`Caller::require`].
    pub async fn admit(&self, authorization: Option<&HeaderValue>) -> Result<Caller, Denied> {
        if self.open {
            return Ok(Caller {
                name: "local".to_owned(),
                role: Role::Write,
            });
        }
        let token = bearer(authorization.ok_or(Denied::Missing)?).ok_or(Denied::NotBearer)?;
        if !is_token(token) {
            return Err(Denied::Invalid);
        }
        if let Some(caller) = self.tokens.find(token).await {
            return Ok(caller);
        }
        match &self.jwt {
            Some(jwt) => jwt.admit(token, self.clock.now()).await,
            None => Err(Denied::Invalid),
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
