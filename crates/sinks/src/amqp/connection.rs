//! Makes a connection: TCP, TLS, SASL, open, session, `$cbs` and the sender link.
//!
//! fe2o3-amqp's own `open(url)` sets neither TCP_NODELAY nor a connect timeout and trusts only a
//! built-in list of roots; so the stream is made here and handed over ready.

use super::batch::SizeLimits;
use super::cbs::CbsLinks;
use super::fault::{attach_fault, begin_fault, dial_fault, open_fault};
use super::guard::FRAME_BYTES_MAX;
use super::link_state::LinkState;
use super::stream::{SeverableStream, StreamCut, severable};
use super::target::{AmqpTarget, DialTarget};
use super::token::{ConnectionToken, ConnectionTokens};
use super::websocket::{self, WebSocketScheme};
use crate::status;
use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Connection, Sender, Session};
use fe2o3_amqp_types::definitions::{Fields, ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp_types::primitives::{Symbol, Value};
use std::sync::Arc;
use std::time::Duration;
use twinroute_model::settings::{AmqpAuth, AmqpTransport};
use twinroute_outgoing::tunnel::{self, ByteStream, ProxyUse};
use twinroute_router::sink::EndpointFault;

/// We end a connection that is silent for this long; the peer then sends heartbeats.
const IDLE_TIME_OUT_MILLIS: u32 = 60_000;
/// Longest wait for an orderly close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// A batch is at most 1 MiB even where a message may have 100 MB (Azure Service Bus quotas,
/// Premium).
const BATCH_MAX: usize = 1 << 20;
/// Link property of Service Bus: what a batch may have.
const BATCH_SIZE_PROPERTY: &str = "com.microsoft:max-message-batch-size";

/// A link that is ready to send, and what it stands on.
pub(crate) struct ReadyLink {
    pub(crate) sender: Sender,
    pub(crate) cbs: Option<CbsLinks>,
    pub(crate) session: SessionHandle<()>,
    pub(crate) connection: ConnectionHandle<()>,
    pub(crate) limits: SizeLimits,
    /// Last, so that it is dropped last: what stands above must not outlive its stream.
    cut: StreamCut,
}

impl ReadyLink {
    /// Connects.
    ///
    /// Dropping the future drops what was opened so far; the peer sees the connection close.
    pub(crate) async fn open(
        target: &AmqpTarget,
        state: &LinkState,
    ) -> Result<Self, EndpointFault> {
        // Before there is a connection: the broker gives it 20 s for its first token.
        let tokens = match target.auth {
            AmqpAuth::Cbs => {
                let tokens =
                    ConnectionTokens::new(&target.entity, Arc::clone(&target.clock), state.clone());
                let token = tokens.token().await?;
                Some((tokens, token))
            }
            _ => None,
        };
        let stream = open_stream(target).await?;
        let (stream, cut) = severable(stream);
        let opened = Self::open_over(target, stream, tokens).await;
        let (sender, cbs, session, connection) = opened.map_err(|fault| seen(&cut, fault))?;
        let limits = size_limits(&sender);
        Ok(Self {
            sender,
            cbs,
            session,
            connection,
            limits,
            cut,
        })
    }

    async fn open_over(
        target: &AmqpTarget,
        stream: SeverableStream<Box<dyn ByteStream>>,
        tokens: Option<(ConnectionTokens, ConnectionToken)>,
    ) -> Result<
        (
            Sender,
            Option<CbsLinks>,
            SessionHandle<()>,
            ConnectionHandle<()>,
        ),
        EndpointFault,
    > {
        let mut connection = open_connection(target, stream).await?;
        let mut session = Session::begin(&mut connection)
            .await
            .map_err(|error| begin_fault(&error))?;
        let cbs = match tokens {
            Some((tokens, token)) => Some(CbsLinks::attach(&mut session, tokens, token).await?),
            None => None,
        };
        let sender = Sender::builder()
            .name(format!("{}-sender", target.container_id))
            .source(target.container_id.as_str())
            .target(target.entity.path())
            .sender_settle_mode(SenderSettleMode::Unsettled)
            .receiver_settle_mode(ReceiverSettleMode::First)
            .attach(&mut session)
            .await
            .map_err(|error| attach_fault(&error))?;
        Ok((sender, cbs, session, connection))
    }

    /// A fault of this link, or what the peer sent that led to it.
    pub(crate) fn seen(&self, fault: EndpointFault) -> EndpointFault {
        seen(&self.cut, fault)
    }

    /// Ends link and session in order, within [`CLOSE_TIMEOUT`]; then cuts the connection.
    ///
    /// There is no close frame: see [`super::stream`] for what fe2o3-amqp does while it waits for
    /// the peer's. Nothing is lost by that, for a link that ended in order has nothing unsettled.
    pub(crate) async fn close(self) {
        let Self {
            sender,
            mut session,
            connection,
            cut,
            ..
        } = self;
        let orderly = async {
            // Errors mean that the peer was faster; there is nothing left to end then.
            if sender.close().await.is_ok() {
                session.end().await.ok();
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, orderly).await.is_err() {
            tracing::debug!("link did not close in time");
        }
        drop(connection);
        drop(cut);
    }
}

fn size_limits(sender: &Sender) -> SizeLimits {
    // AMQP 1.0 part 2 §2.7.3: zero, or no value, means no limit.
    let named = sender.max_message_size().filter(|max| *max > 0);
    let message_max = named.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
    let announced =
        sender.properties(|properties| properties.as_ref().and_then(batch_max_property));
    SizeLimits {
        message_max,
        batch_max: announced.unwrap_or(BATCH_MAX).min(message_max),
    }
}

fn batch_max_property(properties: &Fields) -> Option<usize> {
    match properties.get(&Symbol::from(BATCH_SIZE_PROPERTY))? {
        Value::Ulong(bytes) => usize::try_from(*bytes).ok(),
        Value::Long(bytes) => usize::try_from(*bytes).ok(),
        Value::Uint(bytes) => usize::try_from(*bytes).ok(),
        Value::Int(bytes) => usize::try_from(*bytes).ok(),
        _ => None,
    }
    .filter(|bytes| *bytes > 0)
}

fn seen(cut: &StreamCut, fault: EndpointFault) -> EndpointFault {
    match cut.refusal() {
        Some(refusal) => status::unreachable("broken-protocol", refusal),
        None => fault,
    }
}

async fn open_stream(target: &AmqpTarget) -> Result<Box<dyn ByteStream>, EndpointFault> {
    let (outgoing, entity) = (&target.outgoing, &target.entity);
    let proxy_use = match target.transport {
        AmqpTransport::Websocket => ProxyUse::Allowed,
        // An HTTP proxy is for port 443.
        _ => ProxyUse::Never,
    };
    let port = entity.port(target.transport);
    let stream = match &target.dial {
        DialTarget::Network => {
            let dialled = tunnel::dial(outgoing, entity.host(), port, proxy_use).await;
            let stream = dialled.map_err(|error| dial_fault(&error))?;
            match entity.plain() {
                true => stream,
                false => {
                    let secured = tunnel::secure(outgoing, entity.host(), stream).await;
                    secured.map_err(|error| dial_fault(&error))?
                }
            }
        }
        #[cfg(test)]
        DialTarget::Memory(dial) => {
            let stream = dial();
            Box::new(stream.map_err(|error| status::unreachable("connect", error.to_string()))?)
        }
    };
    match target.transport {
        AmqpTransport::Websocket => {
            let scheme = match entity.plain() {
                true => WebSocketScheme::Ws,
                false => WebSocketScheme::Wss,
            };
            let (host, now) = (entity.host(), target.clock.now());
            let socket = websocket::connect(stream, scheme, host, port, now).await?;
            Ok(Box::new(socket))
        }
        _ => Ok(stream),
    }
}

async fn open_connection(
    target: &AmqpTarget,
    stream: SeverableStream<Box<dyn ByteStream>>,
) -> Result<ConnectionHandle<()>, EndpointFault> {
    Connection::builder()
        .container_id(target.container_id.as_str())
        // The namespace alone, as Azure's clients do; its port is not part of it.
        .hostname(Some(target.entity.host()))
        .sasl_hostname(Some(target.entity.host()))
        .scheme("amqp")
        .sasl_profile(target.sasl()?)
        .idle_time_out(IDLE_TIME_OUT_MILLIS)
        .max_frame_size(FRAME_BYTES_MAX)
        .open_with_stream(stream)
        .await
        .map_err(|error| open_fault(&error))
}
