//! AMQP within WebSockets, on the port of AMQP itself: the first byte distinguishes them.
//!
//! The path and the subprotocol are the service's: `/$servicebus/websocket` and `AMQPWSB10`; rhea asks
//! for both that and `amqp`.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

const PATH: &str = "/$servicebus/websocket";
const SUBPROTOCOL: &str = "AMQPWSB10";
/// Bytes of a message that comes in.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes on the way between the socket and the protocol.
const PIPE_BYTES: usize = 64 << 10;
/// How long the first byte, and then the handshake, may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(20);

/// Whether a client begins with an HTTP request; nothing when it sends nothing. Looks at its first byte and
/// takes none.
pub(super) async fn is_http(stream: &TcpStream) -> Option<bool> {
    let mut first = [0];
    match tokio::time::timeout(HANDSHAKE_WAIT, stream.peek(&mut first)).await {
        Ok(Ok(1)) => Some(first == *b"G"),
        _ => None,
    }
}

/// Serves one connection to its end: `inside` gets what its messages carry.
pub(super) async fn serve<F: Future<Output = ()>>(
    stream: TcpStream,
    inside: impl FnOnce(DuplexStream) -> F,
) {
    let config = WebSocketConfig::default()
        .write_buffer_size(0)
        .max_write_buffer_size(2 * PIPE_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let accepting = tokio_tungstenite::accept_hdr_async_with_config(stream, upgrade, Some(config));
    let socket = match tokio::time::timeout(HANDSHAKE_WAIT, accepting).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return tracing::debug!(%error, "WebSocket handshake failed"),
        Err(_) => return tracing::debug!("no WebSocket handshake in time"),
    };
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    tokio::join!(inside(near), pump(socket, far));
}

#[allow(
    clippy::result_large_err,
    reason = "the type of the handshake's callback"
)]
fn upgrade(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    if request.uri().path() != PATH {
        return Err(refusal(404, "WebSockets are at /$servicebus/websocket"));
    }
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.iter().filter_map(|value| value.to_str().ok());
    let mut offered = offered.flat_map(|value| value.split(','));
    if !offered.any(|name| name.trim() == SUBPROTOCOL) {
        return Err(refusal(400, "the subprotocol is AMQPWSB10"));
    }
    let chosen = HeaderValue::from_static(SUBPROTOCOL);
    response
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, chosen);
    Ok(response)
}

fn refusal(status: u16, text: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(text.to_owned()));
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status of ours");
    response
}

/// Carries bytes both ways until one side ends.
async fn pump(socket: WebSocketStream<TcpStream>, pipe: DuplexStream) {
    let (sending, receiving) = socket.split();
    let (reader, writer) = tokio::io::split(pipe);
    // Once one direction has ended nobody could use the other, so both are dropped.
    tokio::select! {
        () = outwards(reader, sending) => {}
        () = inwards(receiving, writer) => {}
    }
}

async fn outwards(
    mut reader: ReadHalf<DuplexStream>,
    mut sending: futures_util::stream::SplitSink<WebSocketStream<TcpStream>, Message>,
) {
    let mut chunk = vec![0; PIPE_BYTES];
    // Errors mean that the client is gone.
    while let Ok(read @ 1..) = reader.read(&mut chunk).await {
        let message = Message::Binary(Bytes::copy_from_slice(&chunk[..read]));
        if sending.send(message).await.is_err() {
            return;
        }
    }
    sending.close().await.ok();
}

async fn inwards(
    mut receiving: futures_util::stream::SplitStream<WebSocketStream<TcpStream>>,
    mut writer: WriteHalf<DuplexStream>,
) {
    while let Some(Ok(message)) = receiving.next().await {
        match message {
            Message::Binary(bytes) if writer.write_all(&bytes).await.is_err() => return,
            Message::Text(_) | Message::Close(_) => return,
            _ => {}
        }
    }
}
