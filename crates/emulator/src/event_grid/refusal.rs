//! Event Grid's shape of an error.

use crate::http_server;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct GridRefusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl GridRefusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: text.into(),
        }
    }

    /// The code once as a number, once as a word.
    pub(crate) fn answer(&self) -> Response<Full<Bytes>> {
        let body = serde_json::json!({
            "error": {
                "code": self.status.as_str(),
                "message": self.message,
                "details": [{ "code": self.code, "message": self.message }],
            }
        });
        http_server::json(self.status, body.to_string())
    }
}
