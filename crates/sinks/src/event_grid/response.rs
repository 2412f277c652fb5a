//! Reads Event Grid's answer: status, `Retry-After` and the error text, all bounded.

use crate::headers::{clock_hint, retry_after};
use crate::status::{PAYLOAD_TOO_LARGE, bounded};
use serde::Deserialize;
use std::borrow::Cow;
use std::time::Duration;
use twinroute_model::clock::Clock;
use twinroute_outgoing::answer::read_error;
use twinroute_router::sink::{EndpointFault, FailureReason, FaultKind};

/// What an answer means for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResponseMeaning {
    /// Event Grid has all of it.
    Delivered,
    /// Some event in it is not taken.
    Refused(FailureReason),
    /// Event Grid takes nothing just now.
    Unavailable(EndpointFault),
}

/// Reads the answer; what is left of its body is dropped with the connection.
pub(crate) async fn read(response: reqwest::Response, clock: &dyn Clock) -> (u16, ResponseMeaning) {
    let status = response.status().as_u16();
    let after = retry_after(response.headers(), clock.now());
    let skew = clock_hint(status, response.headers(), clock.now());
    // A success has no body to speak of, but reading it to its end keeps the connection. The status stands,
    // whatever becomes of the text behind it.
    let body = read_error(response).await;
    let mut text = error_text(&body);
    if let Some(skew) = skew {
        text = format!("{skew}; {text}");
    }
    (status, answer(status, after, &text))
}

/// The table at the top of [`super`].
fn answer(status: u16, after: Option<Duration>, detail: &str) -> ResponseMeaning {
    let code = Cow::Owned(format!("http-{status}"));
    let kind = match status {
        200..=204 => return ResponseMeaning::Delivered,
        400 | 422 => return ResponseMeaning::Refused(FailureReason::new(code, detail)),
        413 => return ResponseMeaning::Refused(FailureReason::new(PAYLOAD_TOO_LARGE, detail)),
        401 | 403 => FaultKind::Unauthorized,
        404 | 410 => FaultKind::Gone,
        429 | 503 => FaultKind::Throttled,
        _ => FaultKind::Unreachable,
    };
    ResponseMeaning::Unavailable(EndpointFault {
        kind,
        after,
        reason: FailureReason::new(code, detail),
    })
}

/// `{"error":{"code":…,"message":…}}`; azure-eventgrid 4.22.1 documents `details` too, which
/// repeat it.
#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorObject,
}

#[derive(Deserialize)]
struct ErrorObject {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

fn error_text(body: &[u8]) -> String {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { error }) => bounded(&format!("{}: {}", error.code, error.message)),
        Err(_) => bounded(&String::from_utf8_lossy(body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_answer() {
        let text = |status| match answer(status, None, "") {
            ResponseMeaning::Delivered => "delivered".to_owned(),
            ResponseMeaning::Refused(reason) => format!("refused {}", reason.code),
            ResponseMeaning::Unavailable(fault) => {
                format!("{} {}", fault.kind.as_str(), fault.reason.code)
            }
        };
        for (status, expected) in [
            (200, "delivered"),
            (202, "delivered"),
            (204, "delivered"),
            (302, "unreachable http-302"),
            (400, "refused http-400"),
            (401, "unauthorized http-401"),
            (403, "unauthorized http-403"),
            (404, "gone http-404"),
            (408, "unreachable http-408"),
            (410, "gone http-410"),
            (413, "refused payload-too-large"),
            (418, "unreachable http-418"),
            (422, "refused http-422"),
            (429, "throttled http-429"),
            (500, "unreachable http-500"),
            (503, "throttled http-503"),
        ] {
            assert_eq!(text(status), expected);
        }
    }

    #[test]
    fn the_error_is_read_and_bounded() {
        let body = br#"{"error":{"code":"BadRequest","message":"no","details":[]}}"#;
        assert_eq!(error_text(body), "BadRequest: no");
        assert_eq!(error_text(b"<html>"), "<html>");
        assert!(error_text(&[b'x'; 100_000]).len() < 2_000);
    }
}
