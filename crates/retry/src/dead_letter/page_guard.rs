//! Looks over a page of a listing before Azure's library reads it: a blob of 27 bytes becomes a value of more than
//! a kilobyte there, and however few blobs were asked for, the service decides how many it sends.

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{AsyncRawResponse, HttpClient, Method, Request};
use twinroute_outgoing::azure::BoundedHttp;

/// Blobs on one page of a listing.
pub const PAGE_BLOBS_MAX: i32 = 200;

/// Tags of one page: some eighty of properties a blob, and its metadata.
const TAGS_MAX: usize = 200 * PAGE_BLOBS_MAX as usize;

/// Passes everything on, but no page with more blobs or tags than were asked for.
#[derive(Clone, Debug)]
pub(super) struct PageGuard(pub(super) BoundedHttp);

#[async_trait]
impl HttpClient for PageGuard {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = self.0.execute_request(request).await?;
        if !lists(request) || !answer.status().is_success() {
            return Ok(answer);
        }
        let (status, headers, body) = answer.deconstruct();
        let page = body.collect().await?;
        match fault(&page) {
            Some(fault) => Err(Error::with_message(ErrorKind::Other, fault)),
            None => Ok(AsyncRawResponse::from_bytes(status, headers, page)),
        }
    }
}

/// Whether a request asks for a listing.
pub(super) fn lists(request: &Request) -> bool {
    let mut pairs = request.url().query_pairs();
    request.method() == Method::Get && pairs.any(|pair| pair == ("comp".into(), "list".into()))
}

/// Why a page is not to be read.
fn fault(page: &[u8]) -> Option<String> {
    let (mut tags, mut blobs) = (0, 0);
    for (at, _) in page.iter().enumerate().filter(|(_, byte)| **byte == b'<') {
        tags += 1;
        let name = page[at + 1..].strip_prefix(b"Blob");
        // Not `<Blobs>`, nor `<BlobType>`, nor `<BlobPrefix>`.
        blobs += i32::from(name.is_some_and(|rest| {
            rest.first()
                .is_none_or(|byte| !byte.is_ascii_alphanumeric())
        }));
    }
    if blobs > PAGE_BLOBS_MAX {
        return Some(format!(
            "a page of the listing has more than {PAGE_BLOBS_MAX} blobs"
        ));
    }
    (tags > TAGS_MAX).then(|| format!("a page of the listing has more than {TAGS_MAX} tags"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_answers_in_a_finished_page_are_refused_before_they_are_read() {
        let page = |item: &str, count: usize| {
            let items = item.repeat(count);
            fault(
                format!("<EnumerationResults><Blobs>{items}</Blobs></EnumerationResults>")
                    .as_bytes(),
            )
        };
        let blobs = Some("a page of the listing has more than 200 blobs".to_owned());
        let tags = Some("a page of the listing has more than 40000 tags".to_owned());
        for item in [
            "<Blob><Name>a</Name></Blob>",
            "<Blob/>",
            "<Blob x=''/>",
            "<Blob>\n<BlobType>BlockBlob</BlobType></Blob>",
        ] {
            assert_eq!(page(item, 200), None, "{item}");
            assert_eq!(page(item, 201), blobs, "{item}");
        }
        assert_eq!(page("<a/>", 39_000), None);
        assert_eq!(page("<a/>", 40_000), tags);
        assert_eq!(
            page("<BlobPrefix><Name>a</Name></BlobPrefix>", 10_000),
            tags
        );
    }
}
