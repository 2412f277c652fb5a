//! Who asks, what they may do, and why somebody does not pass.

use http::StatusCode;
use serde::Deserialize;

/// What a caller may do. The later includes the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CallerRole {
    /// Look.
    Read,
    /// Change as well.
    Write,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticatedCaller {
    /// For logs and answers: no control characters, at most 512 bytes.
    pub name: String,
    /// What they may do.
    pub role: CallerRole,
}

impl AuthenticatedCaller {
    /// Passes who may do what needs `role`.
    ///
    /// # Errors
    /// [`AccessDenied::RoleTooLow`].
    pub fn require(&self, role: CallerRole) -> Result<(), AccessDenied> {
        if self.role >= role {
            return Ok(());
        }
        Err(AccessDenied::RoleTooLow {
            name: self.name.clone(),
        })
    }
}

/// Why somebody does not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessDenied {
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
    /// Whether it is well signed is not known.
    #[error("the keys of the identity provider are not to be had at present")]
    KeysUnavailable,
}

impl AccessDenied {
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
