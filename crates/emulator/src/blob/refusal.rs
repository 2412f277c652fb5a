//! Why a request is refused: status and error code as the service has them, a text of our own.
//!
//! Source: Azure Storage REST API, "Common REST API error codes" and "Blob service error codes".

use http::StatusCode;

/// A refusal; its texts are safe to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlobRefusal {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) retry_after_seconds: Option<u64>,
}

impl BlobRefusal {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            retry_after_seconds: None,
        }
    }

    pub(super) fn bad(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn forbidden(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// The request proves nothing, or proves it wrongly.
    pub(super) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::forbidden("AuthenticationFailed", message)
    }

    pub(super) fn container_not_found(container: &str) -> Self {
        let text = format!("there is no container {container}");
        Self::new(StatusCode::NOT_FOUND, "ContainerNotFound", text)
    }

    pub(super) fn blob_not_found(blob: &str) -> Self {
        let text = format!("there is no blob {blob}");
        Self::new(StatusCode::NOT_FOUND, "BlobNotFound", text)
    }

    /// What Azurite 3.35 says when its memory is full; a real account is not filled so easily.
    pub(super) fn full() -> Self {
        let text = "the emulator holds as much as its limits allow";
        Self::new(StatusCode::CONFLICT, "MemoryExtentStoreAtSizeLimit", text)
    }

    pub(super) fn condition_not_met() -> Self {
        let text = "a condition in the headers does not hold";
        Self::new(StatusCode::PRECONDITION_FAILED, "ConditionNotMet", text)
    }

    pub(super) fn header_value(name: &str, why: &str) -> Self {
        Self::bad("InvalidHeaderValue", format!("header {name}: {why}"))
    }

    pub(super) fn query_value(name: &str, why: &str) -> Self {
        let text = format!("query parameter {name}: {why}");
        Self::bad("InvalidQueryParameterValue", text)
    }
}
