//! Listening on a loopback port: the one loop that accepts connections, for every server, and its end.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;
/// The wait after a failed accept, such as one for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server in a task of its own. Dropping it ends the task without waiting for that.
#[derive(Debug)]
pub(crate) struct RunningServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl RunningServer {
    /// Starts `run` on a listener; it is to end when the channel fires or its sender is gone.
    ///
    /// # Errors
    /// The system does not say which port was bound.
    pub(crate) fn spawn<F>(
        listener: TcpListener,
        run: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> F,
    ) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        Ok(Self {
            address: listener.local_addr()?,
            stop: Some(stop),
            task: tokio::spawn(run(listener, stopped)),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks it to end, and waits for nothing.
    pub(crate) fn ask_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Ends it and waits for that.
    pub(crate) async fn stop(mut self) {
        self.ask_to_stop();
        if let Err(error) = (&mut self.task).await {
            tracing::warn!(%error, "a server failed");
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Binds a loopback port; one that was used a moment ago may be bound again.
///
/// # Errors
/// What the system said.
pub(crate) fn bind(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.listen(BACKLOG)
}

/// Accepts connections until `stop` fires or its sender is gone, then drops them all at once.
///
/// `serve` makes what a connection is served with; `None` closes it, as does one over `connections_max`.
/// Dropping the future drops all connections too.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    connections_max: usize,
    mut stop: oneshot::Receiver<()>,
    mut serve: impl FnMut(TcpStream) -> Option<F>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        // Connections that ended are taken out as they end: they count towards the limit until then.
        tokio::select! {
            _ = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let serving = serve(stream);
                    if let Some(serving) = serving.filter(|_| connections.len() < connections_max) {
                        connections.spawn(serving);
                    }
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
