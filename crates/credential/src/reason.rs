//! What an error of a login says, and whether anybody said it.

use azure_core::error::{Error as AzureError, ErrorKind};
use azure_core::http::StatusCode;
use azure_core::http::headers::HeaderName;
use std::error::Error;
use twinroute_model::clock::Timestamp;
use twinroute_model::http_date::clock_difference;
use twinroute_model::visible::cut;
use twinroute_outgoing::failure_text;

/// How much of an error's text is kept.
const REASON_BYTES_MAX: usize = 600;

/// An error and its causes in one bounded line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let text = failure_text(error);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&text, REASON_BYTES_MAX).to_owned()
}

/// Whether nobody said no: there was no answer, or one that asks to come again.
///
/// Source: "How to use managed identities on an Azure VM to acquire an access token", Retry guidance:
/// 404, 410, 429 and 5xx pass. Entra says no with 400 and 401.
pub(crate) fn unanswered(error: &AzureError) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let kind = error.downcast_ref::<AzureError>().map(AzureError::kind);
        match kind {
            Some(ErrorKind::Connection | ErrorKind::Io) => return true,
            Some(ErrorKind::HttpResponse { status, .. }) => return passes(*status),
            _ => next = error.source(),
        }
    }
    false
}

/// What an answer's `Date` says of our clock.
pub(crate) fn clock_hint(error: &AzureError, now: Timestamp) -> Option<String> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let kind = error.downcast_ref::<AzureError>().map(AzureError::kind);
        if let Some(ErrorKind::HttpResponse {
            raw_response: Some(answer),
            ..
        }) = kind
        {
            let date = HeaderName::from_static("date");
            return clock_difference(answer.headers().get_optional_str(&date)?, now);
        }
        next = error.source();
    }
    None
}

/// Whether an answer with this status is none for long.
pub(crate) fn passes(status: StatusCode) -> bool {
    matches!(u16::from(status), 404 | 408 | 410 | 429 | 500..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> AzureError {
        let kind = ErrorKind::HttpResponse {
            status: StatusCode::from(status),
            error_code: None,
            raw_response: None,
        };
        let inner = AzureError::with_message(kind, "the answer");
        AzureError::with_error(ErrorKind::Credential, inner, "no luck")
    }

    #[test]
    fn what_passes_is_told_apart_from_a_no() {
        for (status, expect) in [
            (400, false),
            (401, false),
            (403, false),
            (404, true),
            (410, true),
            (429, true),
            (500, true),
            (504, true),
        ] {
            assert_eq!(unanswered(&answered(status)), expect, "{status}");
        }
        let cut = AzureError::with_message(ErrorKind::Io, "reset");
        let cut = AzureError::with_error(ErrorKind::Credential, cut, "no luck");
        assert!(unanswered(&cut));
        let refused = AzureError::with_message(ErrorKind::Credential, "no such tenant");
        assert!(!unanswered(&refused));
    }
}
