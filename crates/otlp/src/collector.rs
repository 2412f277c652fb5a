//! The HTTP client that the exporter sends with: ours, with our trust, proxies and limits.

use crate::refused::PartialRefusal;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use reqwest::Client;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use twinroute_model::visible;
use twinroute_outgoing::answer::{read_error, read_success};
use twinroute_outgoing::failure_text;

/// Bytes of an answer: it says at most which spans were refused.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Bytes of a collector's reason that are shown.
const REASON_BYTES_MAX: usize = 300;

/// Sends what the exporter encoded.
#[derive(Clone, Debug)]
pub(crate) struct CollectorClient {
    client: Client,
    headers: HeaderMap,
    limit: Duration,
    /// Why the last request failed: the exporter does not repeat it.
    fault: Arc<Mutex<String>>,
    /// What it refused of the last request that it took, which the exporter does not hand on.
    refused: Arc<Mutex<PartialRefusal>>,
}

impl CollectorClient {
    pub(crate) fn new(client: Client, headers: HeaderMap, limit: Duration) -> Self {
        Self {
            client,
            headers,
            limit,
            fault: Arc::default(),
            refused: Arc::default(),
        }
    }

    /// Why the last request failed; nothing where the exporter itself failed.
    pub(crate) fn take_fault(&self) -> String {
        std::mem::take(&mut *self.fault.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was refused of the last request that was taken.
    pub(crate) fn take_refused(&self) -> PartialRefusal {
        std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn failed(&self, fault: String) -> HttpError {
        let fault = visible::one_line(visible::cut(&fault, REASON_BYTES_MAX)).into_owned();
        let mut last = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone_from(&fault);
        fault.into()
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let mut post = self.client.post(head.uri.to_string());
        // Its other headers come from the environment, which is not asked.
        if let Some(content_type) = head.headers.get(CONTENT_TYPE) {
            post = post.header(CONTENT_TYPE, content_type);
        }
        let sent = post.headers(self.headers.clone()).body(body).send().await;
        let answer = sent.map_err(|error| self.failed(failure_text(&error.without_url())))?;
        let status = answer.status();
        if !status.is_success() {
            let begin = read_error(answer).await;
            let text = String::from_utf8_lossy(&begin);
            let fault = self.failed(format!("{}: {}", status.as_u16(), text.trim()));
            return Err(fault);
        }
        let body = read_success(answer, ANSWER_BYTES_MAX).await;
        let body = body.map_err(|error| self.failed(failure_text(&error)))?;
        let body = body.into_bytes();
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused = PartialRefusal::read(&body);
        Ok(Response::new(body))
    }
}

#[async_trait]
impl HttpClient for CollectorClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        match timeout(self.limit, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.failed(format!("no answer within {:?}", self.limit))),
        }
    }
}
