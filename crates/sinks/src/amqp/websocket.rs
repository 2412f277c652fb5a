//! AMQP within WebSockets, for networks that let only port 443 out.
//!
//! The socket is `wss://<host>/$servicebus/websocket` with the subprotocol `AMQPWSB10`; its binary
//! messages carry AMQP's bytes, cut anywhere. Pings are answered while there is something to read.
//! Sources: Azure Service Bus, "AMQP protocol guide"; OASIS "AMQP WebSocket Binding 1.0" §2.
//!
//! | answer to the handshake | outcome |
//! |---|---|
//! | 101 with the subprotocol | goes on |
//! | 401, 403 | unauthorized: what stands before the service lets nobody in; no key is shown yet |
//! | 404, 410 | gone |
//! | 429, 503 | throttled |
//! | 3xx | unreachable: redirects are not followed |
//! | any other, no HTTP, no answer in 10 s | unreachable |

use crate::headers::{clock_hint, retry_after};
use crate::status;
use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use twinroute_model::clock::Timestamp;
use twinroute_outgoing::tunnel::ByteStream;
use twinroute_router::sink::{EndpointFault, FailureReason};

const PATH: &str = "/$servicebus/websocket";
const SUBPROTOCOL: &str = "AMQPWSB10";
/// Longest wait for the answer to the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a message that comes in. Azure puts one AMQP frame in each.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a message that goes out.
const OUT_BYTES_MAX: usize = 64 << 10;
/// Bytes that may wait to be written: one message with its head, and a pong.
const WAITING_BYTES_MAX: usize = OUT_BYTES_MAX + (1 << 10);
/// Bytes of one read.
const READ_BYTES: usize = 16 << 10;
/// Pings and pongs that are skipped before others get a turn.
const CONTROL_MESSAGES_MAX: u32 = 64;

/// Whether TLS lies below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WebSocketScheme {
    Ws,
    Wss,
}

/// Does the handshake over a stream to `host`.
///
/// Dropping the future drops the stream.
pub(super) async fn connect(
    stream: Box<dyn ByteStream>,
    scheme: WebSocketScheme,
    host: &str,
    port: u16,
    now: Timestamp,
) -> Result<WebSocketBytes, EndpointFault> {
    let (scheme, usual) = match scheme {
        WebSocketScheme::Ws => ("ws", 80),
        WebSocketScheme::Wss => ("wss", 443),
    };
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let authority = match port == usual {
        true => host,
        false => format!("{host}:{port}"),
    };
    let request = format!("{scheme}://{authority}{PATH}").into_client_request();
    let mut request = request.map_err(|error| handshake_fault(&error, now))?;
    let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
    let headers = request.headers_mut();
    headers.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WAITING_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    // Boxed: its state is large, and it would stand in every caller's future.
    let shaking = Box::pin(client_async_with_config(request, stream, Some(config)));
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking).await {
        Ok(Ok((socket, _))) => Ok(WebSocketBytes::of(socket)),
        Ok(Err(error)) => Err(handshake_fault(&error, now)),
        Err(_) => {
            let detail = "no answer to the WebSocket handshake within 10 s";
            Err(status::unreachable("websocket-timeout", detail))
        }
    }
}

fn handshake_fault(error: &tungstenite::Error, now: Timestamp) -> EndpointFault {
    match error {
        tungstenite::Error::Http(response) => {
            let (status, headers) = (response.status().as_u16(), response.headers());
            let fault = status::websocket_fault(status);
            let detail = match clock_hint(status, headers, now) {
                Some(skew) => format!("{skew}; {}", fault.reason.detail),
                None => fault.reason.detail.to_string(),
            };
            EndpointFault {
                // The longer of both: None is shorter than any.
                after: retry_after(headers, now).max(fault.after),
                reason: FailureReason::new(fault.reason.code.clone(), detail),
                ..fault
            }
        }
        other => status::unreachable("websocket", status::bounded(&other.to_string())),
    }
}

/// The bytes within a WebSocket.
#[derive(Debug)]
pub(super) struct WebSocketBytes {
    socket: WebSocketStream<Box<dyn ByteStream>>,
    unread: Bytes,
}

impl WebSocketBytes {
    pub(super) fn of(socket: WebSocketStream<Box<dyn ByteStream>>) -> Self {
        Self {
            socket,
            unread: Bytes::new(),
        }
    }
}

impl AsyncRead for WebSocketBytes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        let mut skipped = 0;
        while this.unread.is_empty() {
            match ready!(Pin::new(&mut this.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => this.unread = bytes,
                Some(Ok(Message::Text(_))) => {
                    let text = "a WebSocket message of text, where AMQP is binary";
                    return Poll::Ready(Err(Error::new(ErrorKind::InvalidData, text)));
                }
                // The server has ended it; whether it also hangs up is not waited for.
                Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(())),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                None => return Poll::Ready(Ok(())),
            }
            skipped += 1;
            if this.unread.is_empty() && skipped >= CONTROL_MESSAGES_MAX {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let bytes = this.unread.len().min(buffer.remaining());
        buffer.put_slice(&this.unread[..bytes]);
        this.unread.advance(bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WebSocketBytes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let mut socket = Pin::new(&mut self.socket);
        ready!(socket.as_mut().poll_ready(context)).map_err(io_error)?;
        let bytes = &bytes[..bytes.len().min(OUT_BYTES_MAX)];
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        socket.start_send(message).map_err(io_error)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        let socket = Pin::new(&mut self.socket);
        socket.poll_flush(context).map_err(io_error)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        let socket = Pin::new(&mut self.socket);
        socket.poll_close(context).map_err(io_error)
    }
}

fn io_error(error: tungstenite::Error) -> Error {
    match error {
        tungstenite::Error::Io(error) => error,
        other => Error::new(ErrorKind::InvalidData, other),
    }
}
