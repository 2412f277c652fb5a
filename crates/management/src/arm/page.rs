//! Lists in pages: `{"value": […], "nextLink": "…"}`.
//!
//! ARM RPC 1.0: `nextLink` is absolute and absent on the last page; the key of the place to go on is
//! `$skipToken`. The token is the key of the last item that was given, so that a list that changes
//! meanwhile neither repeats nor loses what stays in it.

use super::error::Error;
use super::request::Request;
use crate::store::State;
use crate::store::record::Record;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// Items of a page, unless fewer are asked for with `$top`.
pub(crate) const ITEMS_MAX: usize = 500;

/// What stands unescaped in a URL that is given out.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
const ESCAPED_PATH: &AsciiSet = &ESCAPED.remove(b'/').remove(b'$');

/// The records below a prefix that one page holds, and where the next begins.
pub(crate) struct Page {
    pub(crate) records: Vec<Record>,
    pub(crate) next: Option<String>,
}

impl Page {
    /// Takes the page that follows `after`.
    pub(crate) fn of(state: &State, prefix: &str, after: Option<&str>, items_max: usize) -> Self {
        let mut rest = state.range(prefix, after);
        let records: Vec<_> = rest.by_ref().take(items_max).collect();
        let more = rest.next().is_some();
        let last = records.last().filter(|_| more);
        Self {
            next: last.map(|record| token(&record.id.key()[prefix.len()..])),
            records,
        }
    }
}

/// A list of ARM resources.
///
/// # Errors
/// When the token is none of ours.
pub(crate) fn list(
    request: &Request,
    state: &State,
    prefix: &str,
    render: impl Fn(&Record) -> Value,
) -> Result<Value, Error> {
    let after = match request.query("$skipToken") {
        None => None,
        Some(token) => Some(format!("{prefix}{}", read_token(token, "$skipToken")?)),
    };
    let items_max = items_max(request)?;
    let page = Page::of(state, prefix, after.as_deref(), items_max);
    let value: Vec<Value> = page.records.iter().map(render).collect();
    let mut body = json!({ "value": value });
    if let Some(token) = page.next {
        body["nextLink"] = next(request, &token).into();
    }
    Ok(body)
}

/// How many items a page has: `$top` of them at most.
///
/// # Errors
/// When `$top` is no number of items.
pub(crate) fn items_max(request: &Request) -> Result<usize, Error> {
    let Some(top) = request.query("$top").filter(|top| !top.is_empty()) else {
        return Ok(ITEMS_MAX);
    };
    let is_number = top.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| top.parse().unwrap_or(usize::MAX));
    match number {
        Some(items @ 1..) => Ok(items.min(ITEMS_MAX)),
        _ => Err(Error::Invalid {
            target: "$top".to_owned(),
            rule: "must be a whole number from 1 on".to_owned(),
        }),
    }
}

/// The URL of the page that begins at a token: the same list, asked for as before.
pub(crate) fn next(request: &Request, token: &str) -> String {
    let mut link = url(request, &request.path());
    let version = request.query("api-version").unwrap_or_default();
    link.push_str(&format!("?api-version={}", escape(version)));
    for kept in ["$top", "$filter"] {
        if let Some(value) = request.query(kept) {
            link.push_str(&format!("&{kept}={}", escape(value)));
        }
    }
    link.push_str(&format!("&$skipToken={token}"));
    link
}

/// An absolute URL of this server.
pub(crate) fn url(request: &Request, path: &str) -> String {
    format!(
        "{}{}",
        request.base,
        utf8_percent_encode(path, ESCAPED_PATH)
    )
}

pub(crate) fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

pub(crate) fn token(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// # Errors
/// When it is none of ours.
pub(crate) fn read_token(token: &str, name: &'static str) -> Result<String, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Error::Invalid {
        target: name.to_owned(),
        rule: "is not a token of this server; begin the list anew".to_owned(),
    })
}
