//! Makes a connection: TCP, TLS, SASL, open, session, `$cbs` and the sender link.
//!
//! fe2o3-amqp's own `open(url)` sets neither TCP_NODELAY nor a connect timeout and trusts only a
//! built-in list of roots; so the stream is made here and handed over ready.

use super::batch::SizeLimits;
use super::cbs::Cbs;
use super::entity::Entity;
use super::fault_text;
use super::guard::FRAME_BYTES_MAX;
use super::shared::Shared;
use super::stream::{Cut, Severable, severable};
use super::token::{Token, Tokens};
use super::websocket::{self, Scheme};
use crate::status;
use fe2o3_amqp::connection::{ConnectionHandle, ConnectionStopReason, OpenError};
use fe2o3_amqp::link::{
    DetachError, LinkStateError, SendError, SenderAttachError, SessionStopReason,
};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::{BeginError, SessionHandle};
use fe2o3_amqp::{Connection, Sender, Session, connection, session};
use fe2o3_amqp_types::definitions::{
    Error as AmqpError, ErrorCondition, Fields, ReceiverSettleMode, SenderSettleMode,
};
use fe2o3_amqp_types::primitives::{Symbol, Value};
use fe2o3_amqp_types::sasl::SaslCode;
use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::Clock;
use twinroute_model::endpoint::Credential;
use twinroute_model::settings::{AmqpAuth, AmqpTransport};
use twinroute_outgoing::tunnel::{self, Io, Way};
use twinroute_outgoing::{Outgoing, failure_text};
use twinroute_router::sink::{EndpointFault, FaultKind, Reason};

/// We end a connection that is silent for this long; the peer then sends heartbeats.
const IDLE_TIME_OUT_MILLIS: u32 = 60_000;
/// Longest wait for an orderly close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// A batch is at most 1 MiB even where a message may have 100 MB (Azure Service Bus quotas,
/// Premium).
const BATCH_MAX: usize = 1 << 20;
/// Link property of Service Bus: what a batch may have.
const BATCH_SIZE_PROPERTY: &str = "com.microsoft:max-message-batch-size";

/// Everything that is needed to connect to one entity with one credential.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) entity: Entity,
    pub(crate) auth: AmqpAuth,
    pub(crate) container_id: String,
    pub(crate) outgoing: Outgoing,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) transport: AmqpTransport,
    pub(crate) dial: Dial,
}

/// Where a connection's bytes go.
#[derive(Clone)]
pub(crate) enum Dial {
    /// TCP, with TLS unless the connection string is an emulator's.
    Network,
    #[cfg(test)]
    Memory(MemoryDial),
}

#[cfg(test)]
type MemoryDial = Arc<dyn Fn() -> std::io::Result<tokio::io::DuplexStream> + Send + Sync>;

impl Target {
    pub(crate) fn new(
        entity: Entity,
        auth: AmqpAuth,
        container_id: String,
        outgoing: Outgoing,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            entity,
            auth,
            container_id,
            outgoing,
            clock,
            transport: AmqpTransport::Tcp,
            dial: Dial::Network,
        }
    }

    fn sasl(&self) -> Result<SaslProfile, EndpointFault> {
        match (self.auth, &self.entity) {
            (AmqpAuth::Cbs | AmqpAuth::Anonymous, _) => Ok(SaslProfile::Anonymous),
            (AmqpAuth::Plain, Entity::Keys(text)) => match text.credential() {
                Credential::Key { name, key } => Ok(SaslProfile::Plain {
                    username: name.clone(),
                    password: key.expose().to_owned(),
                }),
                Credential::Signature(_) => Err(plain_needs_key()),
            },
            (AmqpAuth::Plain, Entity::Identity(_)) => Err(plain_needs_key()),
        }
    }
}

fn plain_needs_key() -> EndpointFault {
    EndpointFault {
        kind: FaultKind::Unsupported,
        after: None,
        reason: Reason::new("plain-needs-key", super::sink::PLAIN_NEEDS_KEY),
    }
}

/// A link that is ready to send, and what it stands on.
pub(crate) struct Link {
    pub(crate) sender: Sender,
    pub(crate) cbs: Option<Cbs>,
    pub(crate) session: SessionHandle<()>,
    pub(crate) connection: ConnectionHandle<()>,
    pub(crate) limits: SizeLimits,
    /// Last, so that it is dropped last: what stands above must not outlive its stream.
    cut: Cut,
}

impl Link {
    /// Connects.
    ///
    /// Dropping the future drops what was opened so far; the peer sees the connection close.
    pub(crate) async fn open(target: &Target, shared: &Shared) -> Result<Self, EndpointFault> {
        // Before there is a connection: the broker gives it 20 s for its first token.
        let tokens = match target.auth {
            AmqpAuth::Cbs => {
                let tokens = Tokens::new(&target.entity, Arc::clone(&target.clock), shared.clone());
                let token = tokens.token().await?;
                Some((tokens, token))
            }
            AmqpAuth::Plain | AmqpAuth::Anonymous => None,
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
        target: &Target,
        stream: Severable<Box<dyn Io>>,
        tokens: Option<(Tokens, Token)>,
    ) -> Result<(Sender, Option<Cbs>, SessionHandle<()>, ConnectionHandle<()>), EndpointFault> {
        let mut connection = open_connection(target, stream).await?;
        let mut session = Session::begin(&mut connection)
            .await
            .map_err(|error| begin_fault(&error))?;
        let cbs = match tokens {
            Some((tokens, token)) => Some(Cbs::attach(&mut session, tokens, token).await?),
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
    let told = sender.properties(|properties| properties.as_ref().and_then(batch_max_property));
    SizeLimits {
        message_max,
        batch_max: told.unwrap_or(BATCH_MAX).min(message_max),
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

fn seen(cut: &Cut, fault: EndpointFault) -> EndpointFault {
    match cut.refusal() {
        Some(refusal) => status::unreachable("broken-protocol", refusal),
        None => fault,
    }
}

async fn open_stream(target: &Target) -> Result<Box<dyn Io>, EndpointFault> {
    let (outgoing, entity) = (&target.outgoing, &target.entity);
    let way = match target.transport {
        // An HTTP proxy is for port 443.
        AmqpTransport::Tcp => Way::Direct,
        AmqpTransport::Websocket => Way::Proxied,
    };
    let port = entity.port(target.transport);
    let stream = match &target.dial {
        Dial::Network => {
            let dialled = outgoing.dial(entity.host(), port, way).await;
            let stream = dialled.map_err(|error| dial_fault(&error))?;
            match entity.plain() {
                true => stream,
                false => {
                    let secured = outgoing.secure(entity.host(), stream).await;
                    secured.map_err(|error| dial_fault(&error))?
                }
            }
        }
        #[cfg(test)]
        Dial::Memory(dial) => {
            let stream = dial();
            Box::new(stream.map_err(|error| status::unreachable("connect", error.to_string()))?)
        }
    };
    match target.transport {
        AmqpTransport::Tcp => Ok(stream),
        AmqpTransport::Websocket => {
            let scheme = match entity.plain() {
                true => Scheme::Ws,
                false => Scheme::Wss,
            };
            let (host, now) = (entity.host(), target.clock.now());
            let socket = websocket::connect(stream, scheme, host, port, now).await?;
            Ok(Box::new(socket))
        }
    }
}

fn dial_fault(error: &tunnel::Error) -> EndpointFault {
    use tunnel::Error;
    let code = match error {
        Error::Connect(_) => "connect",
        Error::ConnectTimeout => "connect-timeout",
        Error::Name(_) | Error::Tls(_) => "tls",
        Error::TlsTimeout => "tls-timeout",
        // Never unauthorized: that would be the endpoint's credential.
        Error::Proxy { .. } => "proxy",
    };
    status::unreachable(code, failure_text(error))
}

async fn open_connection(
    target: &Target,
    stream: Severable<Box<dyn Io>>,
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

fn open_fault(error: &OpenError) -> EndpointFault {
    match error {
        // SASL outcomes 1 and 2: the credential; 3 and 4: the service (AMQP 1.0 part 5 §5.3.3.6).
        OpenError::SaslError { code, .. } => EndpointFault {
            kind: match code {
                SaslCode::Auth | SaslCode::Sys | SaslCode::SysPerm => FaultKind::Unauthorized,
                _ => FaultKind::Unreachable,
            },
            after: None,
            reason: Reason::new("sasl", sasl_text(code)),
        },
        OpenError::RemoteClosedWithError(error) => error_fault(error),
        OpenError::NotImplemented(_) => {
            status::unreachable("sasl", "the broker offers no mechanism that is configured")
        }
        other => status::unreachable("open", fault_text::open_text(other)),
    }
}

fn begin_fault(error: &BeginError) -> EndpointFault {
    match error {
        BeginError::RemoteEndedWithError(error) => error_fault(error),
        BeginError::ConnectionStopped(reason) => connection_stop_fault(reason),
        other => status::unreachable("begin", fault_text::begin_text(other)),
    }
}

/// SASL outcomes: AMQP 1.0 part 5 §5.3.3.6.
fn sasl_text(code: &SaslCode) -> &'static str {
    match code {
        SaslCode::Ok => "the broker accepted the credential and went no further",
        SaslCode::Auth => "the broker refused the credential",
        SaslCode::Sys => "the broker could not check the credential",
        SaslCode::SysPerm => "the broker cannot check the credential, and will not be able to",
        SaslCode::SysTemp => "the broker cannot check the credential now",
    }
}

/// The fault behind a link that could not be attached.
pub(crate) fn attach_fault(error: &SenderAttachError) -> EndpointFault {
    match error {
        SenderAttachError::RemoteClosedWithError(error) => error_fault(error),
        SenderAttachError::SessionStopped(reason) => stop_fault(reason),
        other => status::unreachable("attach", fault_text::sender_attach_text(other)),
    }
}

/// The fault behind a send that failed before an outcome.
pub(crate) fn send_fault(error: &SendError) -> EndpointFault {
    match error {
        SendError::LinkStateError(error) => link_state_fault(error),
        SendError::Detached(error) => detach_fault(error),
        other => status::unreachable("send", fault_text::send_text(other)),
    }
}

fn link_state_fault(error: &LinkStateError) -> EndpointFault {
    match error {
        LinkStateError::RemoteDetachedWithError(error)
        | LinkStateError::RemoteClosedWithError(error) => error_fault(error),
        LinkStateError::SessionStopped(reason) => stop_fault(reason),
        other => status::unreachable("link-lost", fault_text::link_text(other)),
    }
}

/// The fault behind a link that the peer ended.
pub(crate) fn detach_fault(error: &DetachError) -> EndpointFault {
    match error {
        DetachError::RemoteDetachedWithError(error) | DetachError::RemoteClosedWithError(error) => {
            error_fault(error)
        }
        DetachError::SessionStopped(reason) => stop_fault(reason),
        other => status::unreachable("link-lost", fault_text::detach_text(other)),
    }
}

/// The fault behind a session that ended.
pub(crate) fn session_fault(result: &Result<(), session::Error>) -> EndpointFault {
    match result {
        Err(session::Error::RemoteEndedWithError(error)) => error_fault(error),
        Err(session::Error::ConnectionStopped(reason)) => connection_stop_fault(reason),
        Err(error) => status::unreachable("session-lost", fault_text::session_text(error)),
        Ok(()) => status::unreachable("session-lost", ""),
    }
}

/// The fault behind a connection that closed.
pub(crate) fn connection_fault(result: &Result<(), connection::Error>) -> EndpointFault {
    match result {
        Err(connection::Error::RemoteClosedWithError(error)) => error_fault(error),
        Err(error) => status::unreachable("connection-lost", fault_text::connection_text(error)),
        Ok(()) => status::unreachable("connection-lost", ""),
    }
}

fn stop_fault(reason: &SessionStopReason) -> EndpointFault {
    match reason {
        SessionStopReason::RemoteEndedWithError(error)
        | SessionStopReason::EndedWithError(error) => error_fault(error),
        SessionStopReason::ConnectionStopped(reason) => connection_stop_fault(reason),
        _ => status::unreachable("session-lost", ""),
    }
}

fn connection_stop_fault(reason: &ConnectionStopReason) -> EndpointFault {
    match reason {
        ConnectionStopReason::RemoteClosedWithError(error)
        | ConnectionStopReason::ClosedWithError(error) => error_fault(error),
        _ => status::unreachable("connection-lost", ""),
    }
}

fn error_fault(error: &AmqpError) -> EndpointFault {
    let (condition, description) = parts(error);
    status::fault(condition.as_str(), description)
}

/// The fault of a `$cbs` request that was rejected.
pub(crate) fn optional_error_fault(error: Option<&AmqpError>) -> EndpointFault {
    error.map_or_else(|| status::unreachable("cbs-rejected", ""), error_fault)
}

/// Condition and description of an AMQP error.
pub(crate) fn parts(error: &AmqpError) -> (Symbol, &str) {
    let condition = match &error.condition {
        ErrorCondition::AmqpError(condition) => Symbol::from(condition),
        ErrorCondition::ConnectionError(condition) => Symbol::from(condition),
        ErrorCondition::SessionError(condition) => Symbol::from(condition),
        ErrorCondition::LinkError(condition) => Symbol::from(condition),
        ErrorCondition::Custom(condition) => condition.clone(),
        #[allow(
            unreachable_patterns,
            reason = "more variants exist with other features"
        )]
        _ => Symbol::from("amqp:internal-error"),
    };
    (condition, error.description.as_deref().unwrap_or_default())
}
