//! Clients of Azure's libraries, whose answers end: the libraries collect errors, listings and tokens whole.

use crate::answer::{AnswerError, AnswerHold, error_begin};
use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use futures_util::StreamExt as _;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// An HTTP client for Azure's libraries. A success has at most the bytes that its request may have answered; an
/// error is read as [`crate::answer::read_error`] reads it. Both count against the limit of the process.
#[derive(Clone)]
pub struct BoundedHttp {
    http: Arc<dyn HttpClient>,
    success_bytes_max: Arc<dyn Fn(&Request) -> usize + Send + Sync>,
}

impl BoundedHttp {
    /// Bounds the answers of `http`; `success_bytes_max` says how long the answer to a request may be.
    #[must_use]
    pub fn new(
        http: Arc<dyn HttpClient>,
        success_bytes_max: impl Fn(&Request) -> usize + Send + Sync + 'static,
    ) -> Self {
        Self {
            http,
            success_bytes_max: Arc::new(success_bytes_max),
        }
    }
}

impl fmt::Debug for BoundedHttp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BoundedHttp")
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for BoundedHttp {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let (status, headers, body) = self.http.execute_request(request).await?.deconstruct();
        if !status.is_success() {
            let begin = error_begin(body).await;
            return Ok(AsyncRawResponse::from_bytes(status, headers, begin));
        }
        let hold = AnswerHold::new((self.success_bytes_max)(request));
        // A stream must be `Sync`; nobody else asks for the lock.
        let hold = Mutex::new(hold);
        let body = body.map(move |piece| {
            let piece = piece?;
            let mut hold = hold.lock().unwrap_or_else(PoisonError::into_inner);
            hold.grow(piece.len()).map_err(refused)?;
            Ok(piece)
        });
        Ok(AsyncRawResponse::new(status, headers, Box::pin(body)))
    }
}

fn refused(error: AnswerError) -> Error {
    let kind = match error {
        // Later there is room again.
        AnswerError::Crowded { .. } | AnswerError::Broken(_) => ErrorKind::Io,
        AnswerError::TooLarge { .. } => ErrorKind::Other,
    };
    let text = error.to_string();
    Error::with_error(kind, error, text)
}
