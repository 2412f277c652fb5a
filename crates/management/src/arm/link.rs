//! URLs that are given out: absolute, as the caller sees this server; and the tokens of lists within them.

use super::error::Error;
use super::request::ArmRequest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, utf8_percent_encode};
use twinroute_model::uri::RESERVED;

/// What is escaped in the path of a URL that is given out.
const ESCAPED_PATH: &AsciiSet = &RESERVED.remove(b'/').remove(b'$');

/// The URL of the page that begins at a token: the same list, asked for as before.
pub(crate) fn next(request: &ArmRequest, token: &str) -> String {
    let mut link = versioned(request, &request.path());
    for kept in ["$top", "$filter"] {
        if let Some(value) = request.query(kept) {
            link.push_str(&format!("&{kept}={}", escape(value)));
        }
    }
    link.push_str(&format!("&$skipToken={token}"));
    link
}

/// An absolute URL of this server.
pub(crate) fn url(request: &ArmRequest, path: &str) -> String {
    format!(
        "{}{}",
        request.base,
        utf8_percent_encode(path, ESCAPED_PATH)
    )
}

/// As [`url`], with the version that the caller asked with.
pub(crate) fn versioned(request: &ArmRequest, path: &str) -> String {
    let version = request.query("api-version").unwrap_or_default();
    format!("{}?api-version={}", url(request, path), escape(version))
}

pub(crate) fn escape(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

pub(crate) fn token(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// # Errors
/// When it is none of ours.
pub(crate) fn read_token(token: &str, name: &'static str) -> Result<String, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| not_a_token(name))
}

pub(crate) fn not_a_token(name: &'static str) -> Error {
    Error::invalid(name, "is not a token of this server; start the list again")
}
