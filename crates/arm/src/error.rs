//! What goes wrong between a management API and us.

use serde::Deserialize;
use std::fmt;
use std::time::Duration;
use twinroute_credential::token::TokenError;
use twinroute_model::visible::cut;

/// How much of a server's text is kept.
const TEXT_BYTES_MAX: usize = 1_000;

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configured or given address is none.
    #[error("{text:?} {reason}")]
    Url {
        /// The address, without its query.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No answer came.
    #[error("{request}: {reason}")]
    Transport {
        /// Method, host and path.
        request: String,
        /// The causes in one line.
        reason: String,
    },
    /// The server refused.
    #[error(transparent)]
    Refused(#[from] ArmRefusal),
    /// An answer that is not what the API answers.
    #[error("{request}: the answer {reason}")]
    Answer {
        /// Method, host and path.
        request: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A next page or an operation at another host; the token does not go there.
    #[error("{request}: the answer leads to {host}, not to the configured host; not followed")]
    Foreign {
        /// Method, host and path.
        request: String,
        /// The other host.
        host: String,
    },
    /// A long-running operation ended badly.
    #[error("{request}: the operation ended as {status}: {code}: {message}")]
    Operation {
        /// Method, host and path of what began it.
        request: String,
        /// `Failed` or `Canceled`.
        status: String,
        /// The error's code.
        code: String,
        /// The error's text.
        message: String,
    },
    /// A long-running operation goes on.
    #[error("{request}: accepted, but not finished within {} s; it may still finish", waited.as_secs())]
    Unfinished {
        /// Method, host and path of what began it.
        request: String,
        /// How long was waited.
        waited: Duration,
    },
}

impl Error {
    /// The refusal, where it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&ArmRefusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the server ended the TLS connection and said why: it will say so again.
    #[must_use]
    pub fn is_alert(&self) -> bool {
        // As rustls writes it; through reqwest there is no type to ask.
        matches!(self, Self::Transport { reason, .. } if reason.contains("received fatal alert"))
    }
}

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ArmRefusal {
    /// Method, host and path.
    pub request: String,
    /// The HTTP status.
    pub status: u16,
    /// `error.code`, or the flat numeric one; empty when the body has none.
    pub code: String,
    /// `error.message`; empty when the body has none.
    pub message: String,
    /// `x-ms-request-id`, for a question to the vendor.
    pub request_id: Option<String>,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for ArmRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.request, self.status)?;
        for text in [&self.code, &self.message] {
            if !text.is_empty() {
                write!(formatter, ": {text}")?;
            }
        }
        if let Some(id) = &self.request_id {
            write!(formatter, " (request {id})")?;
        }
        Ok(())
    }
}

/// Code and message of an error body.
///
/// ARM: `{"error":{"code","message"}}`. Device Provisioning Service: flat, with a numeric `code`
/// (Microsoft.Devices 2022-12-12, `ErrorDetails`); some providers leave the envelope out.
pub(super) fn error_text(body: &[u8]) -> (String, String) {
    #[derive(Deserialize)]
    struct ErrorEnvelope {
        error: Option<ErrorDetail>,
    }
    #[derive(Deserialize)]
    struct ErrorDetail {
        code: Option<serde_json::Value>,
        message: Option<serde_json::Value>,
    }
    let enveloped = serde_json::from_slice::<ErrorEnvelope>(body);
    let detail = enveloped.ok().and_then(|envelope| envelope.error);
    let detail = detail.or_else(|| serde_json::from_slice(body).ok());
    let text = |value: Option<serde_json::Value>| match value {
        Some(serde_json::Value::String(text)) => bounded(&text),
        Some(serde_json::Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    detail.map_or_else(Default::default, |detail| {
        (text(detail.code), text(detail.message))
    })
}

/// A text in one line, cut where it is too long.
pub(super) fn bounded(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > TEXT_BYTES_MAX {
            return format!("{}…", cut(&line, TEXT_BYTES_MAX));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_of_errors_are_read() {
        let check = |body: &str, code: &str, message: &str| {
            let expect = (code.to_owned(), message.to_owned());
            assert_eq!(error_text(body.as_bytes()), expect, "{body}");
        };
        check(
            r#"{"error":{"code":"A","message":"b\n c","details":[]}}"#,
            "A",
            "b c",
        );
        check(
            r#"{"code":412001,"httpStatusCode":"X","message":"b"}"#,
            "412001",
            "b",
        );
        check(r#"{"error":{"code":null}}"#, "", "");
        check(r#"{"error":"x"}"#, "", "");
        check("<html>", "", "");
        check("", "", "");
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let text = bounded(&"äb".repeat(1_000));
        assert!(text.len() <= TEXT_BYTES_MAX + 3 && text.ends_with('…'));
        assert_eq!(bounded(" a\r\n b "), "a b");
    }
}
