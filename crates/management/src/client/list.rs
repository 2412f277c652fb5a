//! Lists, all pages of them.

use super::api::{Api, Request};
use super::error::Error;
use super::link::{Visited, at_home};
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Bytes of all pages of one list.
const LIST_BYTES_MAX: usize = 64 << 20;

/// Pages of one list.
const PAGES_MAX: usize = 5_000;

/// A page as ARM writes it; both members may be null.
#[derive(Deserialize)]
struct Page {
    value: Option<Vec<Box<RawValue>>>,
    #[serde(rename = "nextLink")]
    next_link: Option<String>,
}

impl Api {
    /// A complete list: every item of every page, as its JSON.
    ///
    /// # Errors
    /// [`Error`]; half a list is none. An answer without `value` is no empty list but an error.
    pub async fn list(&self, path: &str, api_version: &str) -> Result<Vec<Box<RawValue>>, Error> {
        let mut request = Request {
            method: Method::GET,
            url: self.url(path, api_version)?,
            body: None,
        };
        let mut visited = Visited::default();
        let mut items = Vec::new();
        let mut bytes = 0;
        for _ in 0..PAGES_MAX {
            if !visited.enter(&request.url) {
                return Err(refuse(
                    &request,
                    "leads back to a page that was read already",
                ));
            }
            let answer = self.send(&request).await?;
            bytes += answer.body.len();
            if bytes > LIST_BYTES_MAX {
                let text = format!("is a list of more than {LIST_BYTES_MAX} bytes");
                return Err(refuse(&request, &text));
            }
            let (value, next) = match page(&answer.body) {
                Some(page) => page,
                None => return Err(refuse(&request, "is no list: it has no `value`")),
            };
            items.extend(value);
            match next.filter(|next| !next.is_empty()) {
                Some(next) => request.url = at_home(self.base(), &request.name(), &next)?,
                None => return Ok(items),
            }
        }
        let text = format!("is a list of more than {PAGES_MAX} pages");
        Err(refuse(&request, &text))
    }
}

/// Items and next link of a page. Device Provisioning Service lists some things as a bare array.
fn page(body: &[u8]) -> Option<(Vec<Box<RawValue>>, Option<String>)> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Some((serde_json::from_slice(body).ok()?, None));
    }
    let page: Page = serde_json::from_slice(body).ok()?;
    Some((page.value?, page.next_link))
}

fn refuse(request: &Request, reason: &str) -> Error {
    Error::Answer {
        request: request.name(),
        reason: reason.to_owned(),
    }
}
