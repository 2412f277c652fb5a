//! What the HTTP servers share: accepting connections, reading bodies, dropping both as scripted.

use crate::server::ACCEPT_PAUSE;
use crate::store::Store;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// How long a body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// Ends a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped as scripted")]
pub(crate) struct Dropped;

/// What a request is answered with.
pub(crate) type Answer = Result<Response<Full<Bytes>>, Dropped>;

/// Serves until `stop` fires or its sender is gone, then drops every connection at once.
///
/// Dropping the future drops them too.
pub(crate) async fn run<F>(
    listener: TcpListener,
    store: Arc<Store>,
    mut stop: oneshot::Receiver<()>,
    answer: fn(Arc<Store>, Request<Incoming>) -> F,
) where
    F: Future<Output = Answer> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if connections.len() >= store.settings.limits.connections_max {
                        continue;
                    }
                    let store = Arc::clone(&store);
                    connections.spawn(async move {
                        let service =
                            service_fn(move |request| answer(Arc::clone(&store), request));
                        let mut builder = auto::Builder::new(TokioExecutor::new());
                        // With a timer, headers that do not arrive end the connection.
                        builder.http1().timer(TokioTimer::new());
                        builder.http2().timer(TokioTimer::new());
                        let served = builder.serve_connection(TokioIo::new(stream), service).await;
                        if let Err(error) = served {
                            tracing::debug!(%error, "connection lost");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    connections.shutdown().await;
}

/// Reads a whole body; `None` when it is larger than `bytes_max`.
///
/// # Errors
/// [`Dropped`] when the client went away or was too slow.
pub(crate) async fn body(incoming: Incoming, bytes_max: usize) -> Result<Option<Bytes>, Dropped> {
    let collected = Limited::new(incoming, bytes_max).collect();
    match tokio::time::timeout(BODY_WAIT, collected).await {
        Ok(Ok(body)) => Ok(Some(body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Ok(None),
        Ok(Err(_)) | Err(_) => Err(Dropped),
    }
}
