//! How a request came in: in the clear or over TLS.

use http::{Extensions, Request};

/// How a request came in: what an absolute URL that leads back here begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestScheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl RequestScheme {
    /// The scheme of a request that [`serve`](crate::serve) gave to its service.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Self {
        Self::of_extensions(request.extensions())
    }

    /// As [`RequestScheme::of`], of a request whose extensions were taken out.
    #[must_use]
    pub fn of_extensions(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self::Http)
    }

    /// `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}
