//! Reads Event Grid's answer: status, `Retry-After` and the error text, all bounded.

use crate::status::{PAYLOAD_TOO_LARGE, bounded};
use http::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use std::borrow::Cow;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use twinroute_model::clock::Clock;
use twinroute_router::sink::{EndpointFault, FaultKind, Reason};

/// Bytes of an error body that are looked at.
const ERROR_BYTES_MAX: usize = 8 << 10;
/// How long a body is waited for: the status is known and stands.
const BODY_WAIT: Duration = Duration::from_secs(2);

/// What an answer means for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Event Grid has all of it.
    Delivered,
    /// Some event in it is not taken.
    Refused(Reason),
    /// Event Grid takes nothing just now.
    Unavailable(EndpointFault),
}

/// Reads the answer; what is left of its body is dropped with the connection.
pub(crate) async fn read(mut response: reqwest::Response, clock: &dyn Clock) -> (u16, Answer) {
    let status = response.status().as_u16();
    let after = retry_after(response.headers(), clock);
    let mut body = Vec::new();
    let collecting = async {
        // A success has no body to speak of, but reading it to its end keeps the connection.
        while body.len() < ERROR_BYTES_MAX {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    let room = ERROR_BYTES_MAX - body.len();
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                }
                // The status stands, whatever became of the text behind it.
                Ok(None) | Err(_) => break,
            }
        }
    };
    // Likewise.
    tokio::time::timeout(BODY_WAIT, collecting).await.ok();
    (status, answer(status, after, &error_text(&body)))
}

/// The table at the top of [`super`].
fn answer(status: u16, after: Option<Duration>, detail: &str) -> Answer {
    let code = Cow::Owned(format!("http-{status}"));
    let kind = match status {
        200..=204 => return Answer::Delivered,
        400 | 422 => return Answer::Refused(Reason::new(code, detail)),
        413 => return Answer::Refused(Reason::new(PAYLOAD_TOO_LARGE, detail)),
        401 | 403 => FaultKind::Unauthorized,
        404 | 410 => FaultKind::Gone,
        429 | 503 => FaultKind::Throttled,
        _ => FaultKind::Unreachable,
    };
    Answer::Unavailable(EndpointFault {
        kind,
        after,
        reason: Reason::new(code, detail),
    })
}

/// RFC 9110 §10.2.3: seconds, or a date. The lane caps it.
fn retry_after(headers: &HeaderMap, clock: &dyn Clock) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let moment = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    let seconds = moment.unix_timestamp() - clock.now().unix_seconds();
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
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
    use twinroute_model::clock::{ManualClock, Timestamp};

    #[test]
    fn every_status_has_its_answer() {
        let shown = |status| match answer(status, None, "") {
            Answer::Delivered => "delivered".to_owned(),
            Answer::Refused(reason) => format!("refused {}", reason.code),
            Answer::Unavailable(fault) => format!("{} {}", fault.kind.as_str(), fault.reason.code),
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
            assert_eq!(shown(status), expected);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // 1994-11-06T08:49:07Z.
        let clock = ManualClock::new(Timestamp::from_unix_millis(784_111_747_000));
        for (text, seconds) in [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(
                retry_after(&headers, &clock),
                seconds.map(Duration::from_secs),
                "{text}"
            );
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
