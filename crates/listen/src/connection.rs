//! One connection: which protocol it speaks, its requests, its timeouts, its end.
//!
//! hyper's own header timer costs a timer per request and ends idle connections too; the two are
//! told apart here by counters that a request sets and one timer per connection looks at.

use crate::activity::{ConnectionActivity, RequestGuard};
use crate::body::ServerBody;
use crate::io::{HyperIo, READ_BUFFER_BYTES_MAX};
use crate::limits::HttpLimits;
use crate::network::PrivateWay;
use crate::peer::ClientPeer;
use crate::scheme::RequestScheme;
use crate::socket::{AcceptedConnection, ConnectionStream};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What every HTTP/2 client sends first (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of bodies that an HTTP/2 client may have sent on a connection before they are read; hyper's own window is four
/// times as wide.
const HTTP2_WINDOW_BYTES: u32 = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HttpVersion {
    Http1,
    Http2,
}

/// Serves one connection until it ends, times out or `stop` becomes true and its requests are
/// answered.
pub(crate) async fn run<S, F>(
    accepted: AcceptedConnection,
    peer: ClientPeer,
    way: Option<PrivateWay>,
    limits: Arc<HttpLimits>,
    service: S,
    mut stop: watch::Receiver<bool>,
) where
    S: Fn(Request<Incoming>, ClientPeer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<ServerBody>> + Send + 'static,
{
    let first_bytes = tokio::select! {
        biased;
        read = tokio::time::timeout(limits.header_read_timeout, begin(accepted)) => read,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let (stream, version, replay) = match first_bytes {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return tracing::debug!(?peer, %error, "connection broken"),
        Err(_) => return tracing::debug!(?peer, "connection closed: no request in time"),
    };
    let activity = Arc::new(ConnectionActivity::default());
    let scheme = stream.scheme();
    let certificate = stream.client_certificate();
    let io = TokioIo::new(HyperIo::new(stream, replay, Arc::clone(&activity)));
    let headers_max = limits.headers_max;
    let shared = Arc::clone(&activity);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let guard = RequestGuard::new(Arc::clone(&shared));
        let service = service.clone();
        if scheme == RequestScheme::Https {
            request.extensions_mut().insert(scheme);
        }
        if let Some(certificate) = &certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        if let Some(way) = &way {
            request.extensions_mut().insert(way.clone());
        }
        async move {
            let response = if request.headers().len() > headers_max {
                too_many_headers(headers_max)
            } else {
                guarded(async { service(request, peer).await }).await
            };
            if response.status().is_client_error() {
                guard.0.record_refusal();
            }
            Ok::<_, Infallible>(response.map(|body| body.recorded_by(&guard.0)))
        }
    });
    let watch = IdleWatch::new(version, &limits, activity);
    match version {
        HttpVersion::Http1 => {
            let connection = http1(&limits).serve_connection(io, service);
            drive(
                connection,
                http1::Connection::graceful_shutdown,
                watch,
                stop,
            )
            .await;
        }
        HttpVersion::Http2 => {
            let connection = http2(&limits).serve_connection(io, service);
            drive(
                connection,
                http2::Connection::graceful_shutdown,
                watch,
                stop,
            )
            .await;
        }
    }
}

fn http1(limits: &HttpLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_headers(limits.headers_max)
        .max_header_size(limits.header_bytes())
        .max_buf_size(READ_BUFFER_BYTES_MAX.max(limits.header_bytes()));
    builder
}

fn http2(limits: &HttpLimits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .max_concurrent_streams(limits.http2_streams_max)
        .initial_stream_window_size(HTTP2_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_WINDOW_BYTES)
        .max_pending_accept_reset_streams(limits.http2_reset_streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes()).unwrap_or(u32::MAX));
    builder
}

/// Everything before the first request: a TLS handshake if there is to be one, the protocol.
async fn begin(
    accepted: AcceptedConnection,
) -> io::Result<(ConnectionStream, HttpVersion, Vec<u8>)> {
    let mut stream = accepted.greet().await?;
    let (version, read) = sniff(&mut stream).await?;
    Ok((stream, version, read))
}

/// Reads until it is plain whether the client speaks HTTP/2 with prior knowledge (RFC 9113 §3.3).
async fn sniff(stream: &mut ConnectionStream) -> io::Result<(HttpVersion, Vec<u8>)> {
    let mut read = Vec::with_capacity(HTTP2_PREFACE.len());
    loop {
        let mut rest = [0; HTTP2_PREFACE.len()];
        let wanted = HTTP2_PREFACE.len() - read.len();
        let count = stream.read(&mut rest[..wanted]).await?;
        read.extend_from_slice(&rest[..count]);
        if read == HTTP2_PREFACE {
            return Ok((HttpVersion::Http2, read));
        }
        if count == 0 || !HTTP2_PREFACE.starts_with(&read) {
            return Ok((HttpVersion::Http1, read));
        }
    }
}

/// Runs `connection` beside its timer and the signal to stop.
async fn drive<C>(
    connection: C,
    graceful_shutdown: impl Fn(Pin<&mut C>),
    mut watch: IdleWatch,
    mut stop: watch::Receiver<bool>,
) where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let mut timer = pin!(sleep_until(watch.next()));
    let mut stopped = pin!(stop.wait_for(|stop| *stop).fuse());
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection broken");
                }
                return;
            }
            () = timer.as_mut() => match watch.look(Instant::now()) {
                None => timer.as_mut().reset(watch.next()),
                Some(reason) => return tracing::debug!(reason, "connection closed"),
            },
            _ = stopped.as_mut() => graceful_shutdown(connection.as_mut()),
        }
    }
}

/// Decides when a connection has waited long enough.
struct IdleWatch {
    version: HttpVersion,
    activity: Arc<ConnectionActivity>,
    header_read_timeout: Duration,
    keep_alive_timeout: Duration,
    finished: usize,
    head_since: Option<Instant>,
    idle_since: Option<Instant>,
}

impl IdleWatch {
    fn new(version: HttpVersion, limits: &HttpLimits, activity: Arc<ConnectionActivity>) -> Self {
        Self {
            version,
            activity,
            header_read_timeout: limits.header_read_timeout,
            keep_alive_timeout: limits.keep_alive_timeout,
            finished: 0,
            head_since: None,
            idle_since: None,
        }
    }

    /// When to look again: a quarter of the shorter timeout.
    fn next(&self) -> Instant {
        let shorter = self.header_read_timeout.min(self.keep_alive_timeout);
        Instant::now() + (shorter / 4).max(Duration::from_millis(1))
    }

    fn look(&mut self, now: Instant) -> Option<&'static str> {
        let finished = self.activity.finished();
        let busy = self.activity.is_busy();
        if busy || finished != self.finished {
            self.finished = finished;
            self.head_since = None;
            self.idle_since = None;
        }
        if busy {
            return None;
        }
        let idle = now - *self.idle_since.get_or_insert(now);
        // HTTP/2 frames that belong to no request come at any time; they only must not keep it
        // open.
        if self.version == HttpVersion::Http1 && self.activity.has_head() {
            let waited = now - *self.head_since.get_or_insert(now);
            (waited >= self.header_read_timeout).then_some("headers not complete in time")
        } else {
            (idle >= self.keep_alive_timeout).then_some("idle")
        }
    }
}

/// Turns a panic of a handler into an answer.
async fn guarded(handler: impl Future<Output = Response<ServerBody>>) -> Response<ServerBody> {
    match AssertUnwindSafe(handler).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let reason = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no text");
            tracing::error!(reason, "a request handler panicked");
            error_response(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "this request met a defect in twinroute, which its log describes",
            )
        }
    }
}

fn too_many_headers(headers_max: usize) -> Response<ServerBody> {
    error_response(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "TooManyHeaders",
        &format!("the request has more than {headers_max} headers, which is the limit"),
    )
}

fn error_response(status: StatusCode, code: &str, message: &str) -> Response<ServerBody> {
    let json = format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"{message}\"}}}}");
    let mut response = Response::new(ServerBody::new(Bytes::from(json)));
    *response.status_mut() = status;
    let json_type = HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, json_type);
    response
}
