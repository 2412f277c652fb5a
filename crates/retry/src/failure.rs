//! Classes of failures: whose fault it is, and why, in words that hold no secret.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Why something failed. Goes into logs, metrics and dead letters: never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailureReason {
    /// A short stable word: `server-busy`, `http-503`, `timeout`.
    pub code: Cow<'static, str>,
    /// The destination's own words, or ours.
    pub detail: String,
}

impl FailureReason {
    /// A reason.
    pub fn new(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            detail: detail.into(),
        }
    }
}

/// Words without a code of their own, which get the code `failed`.
impl From<&str> for FailureReason {
    fn from(detail: &str) -> Self {
        Self::new("failed", detail)
    }
}

/// As the reason of a borrowed text.
impl From<String> for FailureReason {
    fn from(detail: String) -> Self {
        Self::new("failed", detail)
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() {
            return formatter.write_str(&self.code);
        }
        write!(formatter, "{}: {}", self.code, self.detail)
    }
}

/// An endpoint that takes nothing just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointFault {
    /// What kind of fault.
    pub kind: FaultKind,
    /// How long the endpoint asked to be left alone.
    pub after: Option<Duration>,
    /// Why.
    pub reason: FailureReason,
}

/// Kinds of endpoint faults: what `/status` shows as the endpoint's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// No connection, or no answer in time.
    Unreachable,
    /// Asked to slow down.
    Throttled,
    /// The credential was refused.
    Unauthorized,
    /// The entity is not there, or disabled.
    Gone,
    /// The definition asks for something that is not available.
    Unsupported,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Unreachable,
        Self::Throttled,
        Self::Unauthorized,
        Self::Gone,
        Self::Unsupported,
    ];

    /// The word for metrics and `/status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Throttled => "throttled",
            Self::Unauthorized => "unauthorized",
            Self::Gone => "gone",
            Self::Unsupported => "unsupported",
        }
    }
}
