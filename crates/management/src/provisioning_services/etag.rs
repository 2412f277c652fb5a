//! Etags: made again with each change, and demanded by callers who change what they have read.
//!
//! Recorded of Azure: the etag of a service travels in the body of a PUT or in `If-Match`, that of a
//! certificate in `If-Match`, with and without quotes. A service's is eight bytes in base64, a
//! certificate's a quoted text in base64.

use crate::arm::error::{Error, ServiceRefusal};
use crate::arm::request::ArmRequest;
use crate::store::record::ResourceRecord;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::IF_MATCH;
use uuid::Uuid;

pub(super) fn of_service() -> String {
    let random = Uuid::new_v4();
    STANDARD.encode(&random.as_bytes()[8..])
}

pub(super) fn of_certificate() -> String {
    STANDARD.encode(format!("\"{}\"", Uuid::new_v4()))
}

/// The etags that a caller has read; all must be the present one.
#[derive(Debug)]
pub(super) struct EtagDemand {
    header: Option<String>,
    body: Option<String>,
}

impl EtagDemand {
    /// `If-Match`, and the etag of the body if that is where it may stand, too.
    pub(super) fn of(request: &ArmRequest, body: Option<&str>) -> Self {
        let headers = request.headers.get_all(IF_MATCH).iter();
        // What is no text can match nothing, but must not pass for "not sent" either.
        let headers: Vec<_> = headers
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        let sent = |text: &str| (!text.trim().is_empty()).then(|| text.to_owned());
        Self {
            header: sent(&headers.join(",")),
            body: body.and_then(sent),
        }
    }

    pub(super) fn is_there(&self) -> bool {
        self.header.is_some() || self.body.is_some()
    }

    /// Whether the present resource, if there is one, is what the caller has read.
    pub(super) fn check(&self, present: Option<&ResourceRecord>, name: &str) -> Result<(), Error> {
        let etag = present.map(|record| record.text("etag").unwrap_or_default());
        let matches = |sent: &str| {
            etag.is_some_and(|etag| {
                let mut sent = sent.split(',').map(|one| one.trim().trim_matches('"'));
                sent.any(|one| one == "*" || one == etag)
            })
        };
        let sent = [&self.header, &self.body];
        if sent.into_iter().flatten().all(|sent| matches(sent)) {
            return Ok(());
        }
        let what = match present {
            Some(_) => "has changed since it was read: read it again and send its present etag",
            None => "is not there: leave the etag out to create it",
        };
        let message = format!("Invalid ETag supplied. '{name}' {what}, errorcode: IH412001.");
        Err(Error::service(ServiceRefusal::StaleEtag, message))
    }

    /// As [`Self::check`], for changes that must not be made blindly.
    pub(super) fn require(&self, present: &ResourceRecord, name: &str) -> Result<(), Error> {
        if self.is_there() {
            return self.check(Some(present), name);
        }
        let message = format!(
            "The If-Match header is required to change '{name}': send its present etag, or *."
        );
        Err(Error::service(ServiceRefusal::EtagRequired, message))
    }
}
