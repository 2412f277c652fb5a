//! The AMQP server, over TCP and over WebSockets: one task per connection, which owns its socket and its
//! protocol state.

mod address;
mod attach;
mod context;
mod control;
mod entity_management;
mod incoming;
mod limits;
mod outgoing;
mod peer;
mod reader;
mod session;
mod settle;
mod websocket;

#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod tests;

use crate::broker::message_broker::MessageBroker;
use crate::listener;
use context::{OUT_BYTES_MAX, PeerEnding};
use peer::AmqpPeer;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Bytes asked for in one read.
const READ_BYTES: usize = 64 * 1024;
/// How long the last frames of a closing connection may take.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Accepts connections until `stop` fires or its sender is gone, then drops them all at once.
///
/// Dropping the future drops them too.
pub(crate) async fn run(
    listener: TcpListener,
    connections_max: usize,
    stop: oneshot::Receiver<()>,
    broker: Arc<MessageBroker>,
) {
    listener::accept(listener, connections_max, stop, |stream| {
        broker.add_connection();
        let refused = broker.context.faults.next_connection_refused();
        (!refused).then(|| enter(stream, Arc::clone(&broker)))
    })
    .await;
}

async fn enter(stream: TcpStream, broker: Arc<MessageBroker>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "socket option refused");
    }
    match websocket::is_http(&stream).await {
        Some(true) => websocket::serve(stream, |inside| serve(inside, broker)).await,
        Some(false) => serve(stream, broker).await,
        None => tracing::debug!("a connection sent nothing in time"),
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, broker: Arc<MessageBroker>) {
    let mut peer = AmqpPeer::new(broker);
    match exchange(&mut stream, &mut peer).await {
        Ok(PeerEnding::Drop) => return,
        Ok(PeerEnding::Flush) => {}
        Err(error) => {
            tracing::debug!(%error, "connection lost");
            return;
        }
    }
    let rest = peer.take_output();
    let flush = async {
        stream.write_all(&rest).await?;
        stream.shutdown().await
    };
    if !matches!(tokio::time::timeout(FLUSH_MAX, flush).await, Ok(Ok(()))) {
        tracing::debug!("the last frames could not be written");
    }
}

async fn exchange<S>(stream: &mut S, peer: &mut AmqpPeer) -> std::io::Result<PeerEnding>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut input = bytes::BytesMut::new();
    let wake = peer.waker();
    loop {
        let waiting = peer.output().len();
        let timer = peer.next_timer();
        input.reserve(READ_BYTES);
        // A client that does not read what it is sent is not read either, so that output stays bounded.
        let step = tokio::select! {
            read = reader.read_buf(&mut input), if waiting < OUT_BYTES_MAX => {
                if read? == 0 {
                    return Ok(PeerEnding::Drop);
                }
                peer.feed(&mut input)
            }
            written = writer.write_buf(peer.output()), if waiting > 0 => {
                written?;
                peer.written()
            }
            () = wake.notified() => peer.pump(),
            () = tokio::time::sleep_until(timer) => peer.tick(),
        };
        if let Err(ending) = step {
            return Ok(ending);
        }
    }
}
