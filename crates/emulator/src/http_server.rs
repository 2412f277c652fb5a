//! What the HTTP servers share: reading bodies and forms, answering, dropping connections as scripted.

use crate::listener;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde_json::Value;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// How long a body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// Ends a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped as scripted")]
pub(crate) struct ConnectionDropped;

/// Pairs of a query or a form.
#[derive(Debug)]
pub(crate) struct FormPairs(Vec<(String, String)>);

impl FormPairs {
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        let found = pairs.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What a request is answered with.
pub(crate) type HttpAnswer = Result<Response<Full<Bytes>>, ConnectionDropped>;

/// Serves until `stop` fires or its sender is gone, then drops every connection at once.
///
/// Dropping the future drops them too.
pub(crate) async fn run<F>(
    listener: TcpListener,
    connections_max: usize,
    stop: oneshot::Receiver<()>,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = HttpAnswer> + Send + 'static,
{
    let connection = |stream| Some(serve(stream, answer.clone()));
    listener::accept(listener, connections_max, stop, connection).await;
}

async fn serve<F>(stream: TcpStream, answer: impl Fn(Request<Incoming>) -> F)
where
    F: Future<Output = HttpAnswer> + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // With a timer, headers that do not arrive end the connection.
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    let served = builder.serve_connection(TokioIo::new(stream), service_fn(answer));
    if let Err(error) = served.await {
        tracing::debug!(%error, "connection lost");
    }
}

/// Reads a whole body; `None` when it is larger than `bytes_max`.
///
/// # Errors
/// [`ConnectionDropped`] when the client went away or was too slow.
pub(crate) async fn body(
    incoming: Incoming,
    bytes_max: usize,
) -> Result<Option<Bytes>, ConnectionDropped> {
    let collected = Limited::new(incoming, bytes_max).collect();
    match tokio::time::timeout(BODY_WAIT, collected).await {
        Ok(Ok(body)) => Ok(Some(body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Ok(None),
        Ok(Err(_)) | Err(_) => Err(ConnectionDropped),
    }
}

/// An answer of JSON.
pub(crate) fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let media = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

/// An answer of JSON that no cache may keep.
pub(crate) fn private_json(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = json(status, body.to_string());
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

/// The status of a scripted answer; 500 for a number that is none.
pub(crate) fn scripted_status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Says when to ask again, if that is scripted.
pub(crate) fn set_retry_after(response: &mut Response<Full<Bytes>>, seconds: Option<u64>) {
    if let Some(seconds) = seconds {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}
