//! Headers of requests to a collector; their values may be keys.

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers of a request.
const HEADERS_MAX: usize = 32;

/// Reads `name: value` in each line; empty ones count for nothing.
///
/// # Errors
/// The line, from 1, and what it must be; never what it holds.
pub(crate) fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (number, line) in lines.enumerate() {
        let number = number + 1;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let pair = line.split_once(':');
        let pair = pair.and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            Some((name, value.trim()))
        });
        let Some((name, value)) = pair else {
            return Err(format!("line {number} must be a header, as name: value"));
        };
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| format!("line {number} has a value that no header can have"))?;
        value.set_sensitive(true);
        let ours = [
            CONTENT_ENCODING,
            CONTENT_LENGTH,
            CONTENT_TYPE,
            HOST,
            TRANSFER_ENCODING,
        ];
        if ours.contains(&name) || headers.contains_key(&name) {
            return Err(format!(
                "line {number} names a header that is there already"
            ));
        }
        if headers.len() >= HEADERS_MAX {
            return Err(format!("there may be {HEADERS_MAX} headers at most"));
        }
        headers.insert(name, value);
    }
    Ok(headers)
}
