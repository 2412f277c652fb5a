//! Lists, all pages of them.

use super::api::{ApiRequest, ArmApi, PAGE_BYTES_MAX};
use super::error::Error;
use super::link::{VisitedPages, at_home};
use reqwest::Method;
use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Bytes of all pages of one list. Ten thousand definitions have some 10 MB.
const LIST_BYTES_MAX: usize = 32 << 20;

/// Items of one list: each takes more memory than its bytes. A twinroute keeps at most 10,000 by default.
const ITEMS_MAX: usize = 50_000;

/// Items of one page.
const PAGE_ITEMS_MAX: usize = 10_000;

/// Pages of one list.
const PAGES_MAX: usize = 5_000;

/// A page as ARM writes it; both members may be null.
#[derive(serde::Deserialize)]
struct ListPage {
    value: Option<PageItems>,
    #[serde(rename = "nextLink")]
    next_link: Option<String>,
}

/// At most [`PAGE_ITEMS_MAX`] items: a page of commas would take many times its bytes.
struct PageItems(Vec<Box<RawValue>>);

impl<'de> Deserialize<'de> for PageItems {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor;

        impl<'de> Visitor<'de> for ItemsVisitor {
            type Value = PageItems;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "an array of at most {PAGE_ITEMS_MAX} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<PageItems, A::Error> {
                let mut read = Vec::new();
                while let Some(item) = items.next_element()? {
                    if read.len() == PAGE_ITEMS_MAX {
                        return Err(A::Error::invalid_length(read.len() + 1, &self));
                    }
                    read.push(item);
                }
                Ok(PageItems(read))
            }
        }

        deserializer.deserialize_seq(ItemsVisitor)
    }
}

impl ArmApi {
    /// A complete list: every item of every page, as its JSON.
    ///
    /// # Errors
    /// [`Error`]; half a list is none. An answer without `value` is no empty list but an error.
    pub async fn list(&self, path: &str, api_version: &str) -> Result<Vec<Box<RawValue>>, Error> {
        let mut request = ApiRequest {
            method: Method::GET,
            url: self.url(path, api_version)?,
            body: None,
            answer_bytes_max: PAGE_BYTES_MAX,
        };
        let mut visited = VisitedPages::default();
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
                None => {
                    let text = format!(
                        "is no list: it has no `value`, or one of more than {PAGE_ITEMS_MAX} items"
                    );
                    return Err(refuse(&request, &text));
                }
            };
            if items.len() + value.0.len() > ITEMS_MAX {
                let text = format!("is a list of more than {ITEMS_MAX} items");
                return Err(refuse(&request, &text));
            }
            items.extend(value.0);
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
fn page(body: &[u8]) -> Option<(PageItems, Option<String>)> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Some((serde_json::from_slice(body).ok()?, None));
    }
    let page: ListPage = serde_json::from_slice(body).ok()?;
    Some((page.value?, page.next_link))
}

fn refuse(request: &ApiRequest, reason: &str) -> Error {
    Error::Answer {
        request: request.name(),
        reason: reason.to_owned(),
    }
}
