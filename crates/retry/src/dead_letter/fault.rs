//! What an answer of Blob Storage means for a dead letter that was to be stored or read.
//!
//! | answer | kind |
//! |---|---|
//! | none: the SAS has expired, or is not valid yet | sas-expired, sas-not-yet-valid: nothing was sent |
//! | no connection, no answer in 30 s, broken off | unavailable |
//! | 400 and any other 4xx | invalid |
//! | 401, 403 | refused |
//! | 404 `BlobNotFound` | blob-missing |
//! | any other 404 | container-missing |
//! | 408 | unavailable |
//! | 409 `BlobAlreadyExists`, 412, 403 `UnauthorizedBlobOverwrite` | handled where blobs are written |
//! | any other 409: container being deleted, account disabled, an emulator that is full | unavailable |
//! | 429, 503 | throttled, `Retry-After` |
//! | 3xx, any other 5xx | unavailable, `Retry-After` |
//!
//! Sources: Azure Storage "Common REST API error codes", "Blob service error codes", "Shared access
//! signature error codes"; Azurite 3.35.0 for the emulator that is full.
//!
//! No message holds a signature. A transport's errors carry the URL, so only the innermost cause is
//! told, and what is left is searched for the token.

use azure_core::error::{Error as AzureError, ErrorKind};
use azure_core::http::headers::HeaderName;
use std::error::Error as _;
use std::time::Duration;
use twinroute_model::clock::Timestamp;
use twinroute_model::endpoint::location::{ContainerAccess, ContainerLocation};
use twinroute_model::http_date::clock_difference;
use twinroute_model::retry_after::retry_after;

/// The longest wait that a service is granted.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Characters of a service's own words that are reported.
const WORDS_MAX: usize = 300;

/// Why a dead letter was not stored or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreFault {
    /// What kind of fault.
    pub kind: StoreFaultKind,
    /// How long the service asked to be left alone, at most [`RETRY_AFTER_MAX`].
    pub retry_after: Option<Duration>,
    /// What happened and the way out. Holds no secret.
    pub message: String,
}

/// Kinds of faults. All but [`StoreFaultKind::Invalid`] may pass by themselves or by what an administrator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreFaultKind {
    /// The SAS has expired; nothing was sent.
    SasExpired,
    /// The SAS becomes valid later; nothing was sent.
    SasNotYetValid,
    /// The service does not accept the credential, or it does not allow this.
    Refused,
    /// There is no such container.
    ContainerMissing,
    /// There is no such blob in it.
    BlobMissing,
    /// Asked to slow down.
    Throttled,
    /// No connection, no answer in time, or a failure of the service.
    Unavailable,
    /// The service will never take this request.
    Invalid,
}

impl StoreFaultKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::SasExpired,
        Self::SasNotYetValid,
        Self::Refused,
        Self::ContainerMissing,
        Self::BlobMissing,
        Self::Throttled,
        Self::Unavailable,
        Self::Invalid,
    ];

    /// The word for metrics, logs and the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SasExpired => "sas-expired",
            Self::SasNotYetValid => "sas-not-yet-valid",
            Self::Refused => "refused",
            Self::ContainerMissing => "container-missing",
            Self::BlobMissing => "blob-missing",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Invalid => "invalid",
        }
    }

    /// What to do about it.
    fn way_out(self) -> &'static str {
        match self {
            Self::SasExpired | Self::SasNotYetValid => {
                "put a SAS that is valid into `deadLetterSecret`"
            }
            Self::Refused => {
                "check that the SAS or the role allows this, was made with a current key, and that \
                 the account's firewall lets this machine in"
            }
            Self::ContainerMissing => "create the container or correct its URL",
            Self::BlobMissing => "list the container again",
            Self::Throttled => "it is tried again later",
            Self::Unavailable => "it is tried again",
            Self::Invalid => "the service will not take it as it is",
        }
    }
}

impl StoreFault {
    /// A fault of `location`: what was attempted there and what came of it.
    pub(super) fn new(kind: StoreFaultKind, location: &ContainerLocation, what: &str) -> Self {
        let message = format!(
            "container {}: {what}; {}",
            location.container_url(),
            kind.way_out()
        );
        Self {
            kind,
            retry_after: None,
            message: scrub(message, location),
        }
    }

    /// Reads an error of the client library.
    pub(super) fn of(error: &AzureError, location: &ContainerLocation, now: Timestamp) -> Self {
        let ErrorKind::HttpResponse {
            status,
            error_code,
            raw_response,
        } = error.kind()
        else {
            return Self::of_transport(error, location);
        };
        let status = u16::from(*status);
        let (headers, body) = match raw_response {
            Some(raw) => (Some(raw.headers()), raw.body().as_ref()),
            None => (None, &[][..]),
        };
        let code = headers
            .and_then(|headers| {
                headers.get_optional_str(&HeaderName::from_static("x-ms-error-code"))
            })
            .or(error_code.as_deref())
            .unwrap_or_default();
        let words = words(body);
        let mut what = format!("the service answered {status}");
        let date =
            headers.and_then(|headers| headers.get_optional_str(&HeaderName::from_static("date")));
        let date = date.filter(|_| matches!(status, 401 | 403));
        let skew = date.and_then(|date| clock_difference(date, now));
        for said in [code, &words] {
            if !said.is_empty() && said.parse::<u16>().is_err() {
                what.push_str(", ");
                what.push_str(&bounded(said));
            }
        }
        if let Some(skew) = skew {
            what.push_str("; ");
            what.push_str(&skew);
        }
        Self {
            retry_after: headers.and_then(|headers| {
                let pairs = headers.iter();
                let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str()));
                retry_after(pairs, now, RETRY_AFTER_MAX)
            }),
            ..Self::new(kind(status, code), location, &what)
        }
    }

    fn of_transport(error: &AzureError, location: &ContainerLocation) -> Self {
        let (kind, what) = match error.kind() {
            ErrorKind::Connection => (StoreFaultKind::Unavailable, "no connection"),
            ErrorKind::Io => (StoreFaultKind::Unavailable, "the connection broke"),
            ErrorKind::Credential => (
                StoreFaultKind::Refused,
                "no token of the endpoint's identity",
            ),
            _ => (StoreFaultKind::Unavailable, "an invalid answer"),
        };
        let mut cause = None;
        let mut next = error.source();
        while let Some(source) = next {
            cause = Some(source);
            next = source.source();
        }
        match cause.map(|cause| bounded(&cause.to_string())) {
            Some(cause) if !cause.is_empty() => {
                Self::new(kind, location, &format!("{what} ({cause})"))
            }
            _ => Self::new(kind, location, what),
        }
    }
}

/// The table at the top.
fn kind(status: u16, code: &str) -> StoreFaultKind {
    match status {
        401 | 403 => StoreFaultKind::Refused,
        404 if code == "BlobNotFound" => StoreFaultKind::BlobMissing,
        404 => StoreFaultKind::ContainerMissing,
        429 | 503 => StoreFaultKind::Throttled,
        408 | 409 => StoreFaultKind::Unavailable,
        400..=499 => StoreFaultKind::Invalid,
        _ => StoreFaultKind::Unavailable,
    }
}

/// Whether an answer to a conditional write says that the blob is already there.
///
/// With a SAS that may create but not overwrite, Azure may say so with 403 `UnauthorizedBlobOverwrite`.
pub(super) fn is_taken(error: &AzureError) -> bool {
    matches!(
        status_and_code(error),
        Some((409, "BlobAlreadyExists") | (412, _) | (403, "UnauthorizedBlobOverwrite"))
    )
}

/// Whether an answer says that the SAS lacks a permission: for one that may only create, it may stand for
/// a blob that is already there (Azurite 3.35.0).
pub(super) fn is_permission_mismatch(error: &AzureError) -> bool {
    status_and_code(error) == Some((403, "AuthorizationPermissionMismatch"))
}

fn status_and_code(error: &AzureError) -> Option<(u16, &str)> {
    let ErrorKind::HttpResponse {
        status, error_code, ..
    } = error.kind()
    else {
        return None;
    };
    Some((
        u16::from(*status),
        error_code.as_deref().unwrap_or_default(),
    ))
}

/// The `Message` of an error body, without the request id and the time that follow it.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(8 << 10)]);
    let message = text
        .split_once("<Message>")
        .and_then(|(_, rest)| rest.split_once("</Message>"));
    let message = message.map_or("", |(message, _)| message);
    message.lines().next().unwrap_or_default().trim().to_owned()
}

fn bounded(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(WORDS_MAX)
        .collect()
}

/// Puts asterisks where the token stands, whole or its signature alone, encoded or not.
fn scrub(message: String, location: &ContainerLocation) -> String {
    let ContainerAccess::Sas { token, .. } = location.access() else {
        return message;
    };
    let token = token.expose();
    let signature = token
        .split('&')
        .find_map(|pair| pair.strip_prefix("sig="))
        .unwrap_or_default();
    let decoded = super::document::unescape(signature);
    let mut clean = message;
    for secret in [token, signature, &decoded] {
        // One so short is no signature, and would be found everywhere.
        if secret.len() >= 8 && clean.contains(secret) {
            clean = clean.replace(secret, "***");
        }
    }
    clean
}
