//! What a request is answered with, and how moments are written in it.

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, StatusCode};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};
use twinroute_model::clock::Timestamp;

/// RFC 9110 section 5.6.7, IMF-fixdate.
const HTTP_DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// What a request is answered with, before the headers that all answers have.
#[derive(Debug)]
pub(super) struct BlobReply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    pub(super) headers: HeaderMap,
}

impl BlobReply {
    pub(super) fn new(status: StatusCode) -> Self {
        Self {
            status,
            body: Bytes::new(),
            headers: HeaderMap::new(),
        }
    }

    pub(super) fn xml(status: StatusCode, xml: String) -> Self {
        let mut reply = Self::new(status).with("content-type", "application/xml");
        reply.body = Bytes::from(xml);
        reply
    }

    /// Adds a header; one that HTTP cannot hold is left out.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            self.headers.insert(name, value);
        }
        self
    }
}

/// A moment as HTTP writes it.
pub(super) fn http_date(moment: Timestamp) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(moment.unix_seconds());
    let moment = moment.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(HTTP_DATE).unwrap_or_default()
}

/// A moment that HTTP wrote.
pub(super) fn parse_http_date(text: &str) -> Option<Timestamp> {
    let moment = PrimitiveDateTime::parse(text, HTTP_DATE).ok()?.assume_utc();
    let millis = moment.unix_timestamp().checked_mul(1_000)?;
    Some(Timestamp::from_unix_millis(millis))
}
