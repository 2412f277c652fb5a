//! Answers of token services end: azure_identity collects them whole.

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use futures_util::StreamExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of any answer that are taken; a token has a few thousand.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// An HTTP client whose answers are at most [`ANSWER_BYTES_MAX`] long.
#[derive(Debug)]
pub(crate) struct Bounded(pub(crate) Arc<dyn HttpClient>);

#[async_trait]
impl HttpClient for Bounded {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let (status, headers, body) = self.0.execute_request(request).await?.deconstruct();
        let taken = AtomicUsize::new(0);
        let body = body.map(move |chunk| {
            let chunk = chunk?;
            let before = taken.fetch_add(chunk.len(), Ordering::Relaxed);
            if before + chunk.len() > ANSWER_BYTES_MAX {
                let words = "the answer is longer than any that is read";
                return Err(Error::with_message(ErrorKind::Other, words));
            }
            Ok(chunk)
        });
        Ok(AsyncRawResponse::new(status, headers, Box::pin(body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Login, TokenSource};
    use azure_core::http::StatusCode;
    use azure_core::http::headers::Headers;
    use twinroute_model::clock::{ManualClock, Timestamp};

    /// A token service that never comes to an end.
    #[derive(Debug)]
    struct Endless(StatusCode, Arc<AtomicUsize>);

    #[async_trait]
    impl HttpClient for Endless {
        async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
            let sent = Arc::clone(&self.1);
            let body = futures_util::stream::repeat_with(move || {
                sent.fetch_add(1 << 16, Ordering::SeqCst);
                Ok(vec![b' '; 1 << 16].into())
            });
            Ok(AsyncRawResponse::new(
                self.0,
                Headers::new(),
                Box::pin(body),
            ))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_end_is_not_collected() {
        for status in [StatusCode::Ok, StatusCode::BadRequest] {
            for login in [
                Login::ManagedIdentity { client_id: None },
                Login::ClientSecret {
                    tenant_id: "t".to_owned(),
                    client_id: "c".to_owned(),
                    secret: "s3cret".into(),
                    authority: None,
                },
            ] {
                let sent = Arc::new(AtomicUsize::new(0));
                let http = Arc::new(Endless(status, Arc::clone(&sent)));
                let clock = ManualClock::new(Timestamp::from_unix_millis(1_774_000_000_000));
                let tokens = TokenSource::new(login, http, Arc::new(clock));
                let scope = "https://management.azure.com/.default";
                let refused = tokens.token(scope).await.unwrap_err().to_string();
                assert!(!refused.contains("s3cret"), "{refused}");
                // Azure's library tries again a few times.
                let sent = sent.load(Ordering::SeqCst);
                assert!(sent <= 10 * (ANSWER_BYTES_MAX + (1 << 16)), "{sent} bytes");
            }
        }
    }
}
