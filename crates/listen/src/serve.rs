//! The accept loop of one listener and its orderly end.

use crate::body::ServerBody;
use crate::connection;
use crate::limits::HttpLimits;
use crate::peer::ClientPeer;
use crate::socket::ListeningSocket;
use crate::tls::ServerTls;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use http::{Request, Response};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Pause after the system refused to accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that a rule rejects are logged this often at most, by listener.
const REJECTION_EVERY: Duration = Duration::from_secs(60);

/// Answers every request on `listeners` with `service` until `shutdown` completes.
///
/// Then it stops accepting, closes idle connections, lets running requests end for at most
/// [`HttpLimits::shutdown_grace`], and returns. A panic in `service` becomes a 500 for that request
/// alone. Dropping the future ends all connections at once.
pub async fn serve<S, F>(
    listeners: Vec<ListeningSocket>,
    limits: &HttpLimits,
    service: S,
    shutdown: impl Future<Output = ()>,
) where
    S: Fn(Request<Incoming>, ClientPeer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<ServerBody>> + Send + 'static,
{
    let limits = Arc::new(limits.clone());
    let shutdown = shutdown.shared();
    let each = listeners.into_iter().map(|listener| {
        serve_one(
            listener,
            Arc::clone(&limits),
            service.clone(),
            shutdown.clone(),
        )
    });
    join_all(each).await;
}

async fn serve_one<S, F>(
    listener: ListeningSocket,
    limits: Arc<HttpLimits>,
    service: S,
    shutdown: impl Future<Output = ()>,
) where
    S: Fn(Request<Incoming>, ClientPeer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<ServerBody>> + Send + 'static,
{
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut certificates = pin!(follow(listener.tls().cloned()));
    let mut refusing = false;
    let mut rejections = RejectionLog::default();
    tracing::debug!(address = %listener.address(), "listening");
    loop {
        // In this order: a flood of new connections keeps neither the shutdown waiting nor connections
        // that ended from making room. At the limit nobody is accepted, and waits in the backlog of the
        // socket.
        tokio::select! {
            biased;
            () = shutdown.as_mut() => break,
            Some(ended) = connections.join_next() => report(ended),
            never = certificates.as_mut() => match never {},
            accepted = listener.accept(), if connections.len() < limits.connections_max => {
                match accepted {
                    Ok((accepted, peer)) => {
                        refusing = false;
                        if let Some(rule) = listener.reject(peer) {
                            rejections.note(&listener, peer, rule);
                            continue;
                        }
                        let (limits, service) = (Arc::clone(&limits), service.clone());
                        let (way, stopping) = (listener.private().cloned(), stopping.clone());
                        let serving = connection::run(accepted, peer, way, limits, service, stopping);
                        connections.spawn(serving);
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut refusing, true) {
                            tracing::warn!(address = %listener.address(), %error, "cannot accept");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }
    let address = listener.address().clone();
    drop(listener);
    stop.send_replace(true);
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(limits.shutdown_grace, drained)
        .await
        .is_err()
    {
        let open = connections.len();
        tracing::warn!(%address, open, "connections cut off: requests did not end in time");
        connections.shutdown().await;
    }
    tracing::info!(%address, "stopped listening");
}

/// When the log last had a connection that a rule rejects: whoever is kept out may try all day.
#[derive(Default)]
struct RejectionLog(Option<Instant>);

impl RejectionLog {
    fn note(&mut self, listener: &ListeningSocket, peer: ClientPeer, rule: &str) {
        let now = Instant::now();
        let due = self.0.is_none_or(|last| now - last >= REJECTION_EVERY);
        if due {
            self.0 = Some(now);
            tracing::warn!(address = %listener.address(), ?peer, rule,
                "connections are closed by ip_rules; this one and more are counted in metrics");
        }
    }
}

async fn follow(tls: Option<ServerTls>) -> Infallible {
    match tls {
        Some(tls) => tls.follow().await,
        None => pending().await,
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}
