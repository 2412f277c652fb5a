//! Makes a connection: TCP, TLS, SASL, open, session, `$cbs` and the sender link.
//!
//! fe2o3-amqp's own `open(url)` sets neither TCP_NODELAY nor a connect timeout and trusts only a
//! built-in list of roots; so the stream is made here and handed over ready.

use super::batch::SizeLimits;
use super::cbs::Cbs;
use super::entity::Entity;
use super::stream::{Cut, severable};
use super::token::Tokens;
use crate::status;
use fe2o3_amqp::connection::{ConnectionHandle, ConnectionStopReason, OpenError};
use fe2o3_amqp::link::{
    DetachError, LinkStateError, SendError, SenderAttachError, SessionStopReason,
};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Connection, Sender, Session, connection, session};
use fe2o3_amqp_types::definitions::{
    Error as AmqpError, ErrorCondition, Fields, ReceiverSettleMode, SenderSettleMode,
};
use fe2o3_amqp_types::primitives::{Symbol, Value};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use twinroute_model::clock::Clock;
use twinroute_model::endpoint::Credential;
use twinroute_model::settings::AmqpAuth;
use twinroute_router::sink::{EndpointFault, FaultKind, Reason};

/// Longest wait for TCP, and again for TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
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
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) transport: Transport,
}

/// What a connection runs over.
#[derive(Clone)]
pub(crate) enum Transport {
    /// TCP, with TLS unless the connection string is an emulator's.
    Tcp,
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
        tls: Arc<ClientConfig>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            entity,
            auth,
            container_id,
            tls,
            clock,
            transport: Transport::Tcp,
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
    pub(crate) async fn open(target: &Target) -> Result<Self, EndpointFault> {
        // Before there is a connection: the broker gives it 20 s for its first token.
        let tokens = match target.auth {
            AmqpAuth::Cbs => {
                let tokens = Tokens::new(&target.entity, Arc::clone(&target.clock));
                let token = tokens.token().await?;
                Some((tokens, token))
            }
            AmqpAuth::Plain | AmqpAuth::Anonymous => None,
        };
        let (cut, mut connection) = open_transport(target).await?;
        let mut session = Session::begin(&mut connection)
            .await
            .map_err(|error| status::unreachable("begin", error.to_string()))?;
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
    let message_max = sender
        .max_message_size()
        .map_or(BATCH_MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
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

/// The cut must live as long as the connection shall.
async fn open_transport(target: &Target) -> Result<(Cut, ConnectionHandle<()>), EndpointFault> {
    match &target.transport {
        Transport::Tcp if target.entity.plain() => {
            open_connection(target, dial(target).await?).await
        }
        Transport::Tcp => {
            let stream = dial(target).await?;
            open_connection(target, handshake(target, stream).await?).await
        }
        #[cfg(test)]
        Transport::Memory(dial) => {
            let stream =
                dial().map_err(|error| status::unreachable("connect", error.to_string()))?;
            open_connection(target, stream).await
        }
    }
}

async fn dial(target: &Target) -> Result<TcpStream, EndpointFault> {
    let address = (target.entity.host(), target.entity.port());
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .map_err(|_| status::unreachable("connect-timeout", "no TCP connection within 10 s"))?
        .map_err(|error| status::unreachable("connect", error.to_string()))?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10));
    let socket = SockRef::from(&stream);
    socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .map_err(|error| status::unreachable("socket", error.to_string()))?;
    Ok(stream)
}

async fn handshake(
    target: &Target,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, EndpointFault> {
    let name = ServerName::try_from(target.entity.host().to_owned())
        .map_err(|error| status::unreachable("tls", error.to_string()))?;
    let connector = TlsConnector::from(Arc::clone(&target.tls));
    tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(name, stream))
        .await
        .map_err(|_| status::unreachable("tls-timeout", "no TLS session within 10 s"))?
        .map_err(|error| status::unreachable("tls", error.to_string()))
}

async fn open_connection<Io>(
    target: &Target,
    stream: Io,
) -> Result<(Cut, ConnectionHandle<()>), EndpointFault>
where
    Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + std::fmt::Debug + Send + Unpin + 'static,
{
    let (stream, cut) = severable(stream);
    let connection = Connection::builder()
        .container_id(target.container_id.as_str())
        // The namespace alone, as Azure's clients do; its port is not part of it.
        .hostname(Some(target.entity.host()))
        .sasl_hostname(Some(target.entity.host()))
        .scheme("amqp")
        .sasl_profile(target.sasl()?)
        .idle_time_out(IDLE_TIME_OUT_MILLIS)
        .open_with_stream(stream)
        .await
        .map_err(|error| open_fault(&error))?;
    Ok((cut, connection))
}

fn open_fault(error: &OpenError) -> EndpointFault {
    match error {
        // SASL outcomes 1 and 2: the credential; 3 and 4: the service (AMQP 1.0 part 5 §5.3.3.6).
        OpenError::SaslError { code, .. } => EndpointFault {
            kind: match code {
                fe2o3_amqp_types::sasl::SaslCode::Auth
                | fe2o3_amqp_types::sasl::SaslCode::Sys
                | fe2o3_amqp_types::sasl::SaslCode::SysPerm => FaultKind::Unauthorized,
                _ => FaultKind::Unreachable,
            },
            after: None,
            reason: Reason::new("sasl", format!("{code:?}")),
        },
        OpenError::RemoteClosedWithError(error) => error_fault(error),
        OpenError::NotImplemented(_) => {
            status::unreachable("sasl", "the broker offers no mechanism that is configured")
        }
        other => status::unreachable("open", other.to_string()),
    }
}

/// The fault behind a link that could not be attached.
pub(crate) fn attach_fault(error: &SenderAttachError) -> EndpointFault {
    match error {
        SenderAttachError::RemoteClosedWithError(error) => error_fault(error),
        SenderAttachError::SessionStopped(reason) => stop_fault(reason),
        other => status::unreachable("attach", other.to_string()),
    }
}

/// The fault behind a send that failed before an outcome.
pub(crate) fn send_fault(error: &SendError) -> EndpointFault {
    match error {
        SendError::LinkStateError(error) => link_state_fault(error),
        SendError::Detached(error) => detach_fault(error),
        other => status::unreachable("send", other.to_string()),
    }
}

fn link_state_fault(error: &LinkStateError) -> EndpointFault {
    match error {
        LinkStateError::RemoteDetachedWithError(error)
        | LinkStateError::RemoteClosedWithError(error) => error_fault(error),
        LinkStateError::SessionStopped(reason) => stop_fault(reason),
        other => status::unreachable("link-lost", other.to_string()),
    }
}

/// The fault behind a link that the peer ended.
pub(crate) fn detach_fault(error: &DetachError) -> EndpointFault {
    match error {
        DetachError::RemoteDetachedWithError(error) | DetachError::RemoteClosedWithError(error) => {
            error_fault(error)
        }
        DetachError::SessionStopped(reason) => stop_fault(reason),
        other => status::unreachable("link-lost", other.to_string()),
    }
}

/// The fault behind a session that ended.
pub(crate) fn session_fault(result: &Result<(), session::Error>) -> EndpointFault {
    match result {
        Err(session::Error::RemoteEndedWithError(error)) => error_fault(error),
        Err(session::Error::ConnectionStopped(reason)) => connection_stop_fault(reason),
        Err(error) => status::unreachable("session-lost", error.to_string()),
        Ok(()) => status::unreachable("session-lost", ""),
    }
}

/// The fault behind a connection that closed.
pub(crate) fn connection_fault(result: &Result<(), connection::Error>) -> EndpointFault {
    match result {
        Err(connection::Error::RemoteClosedWithError(error)) => error_fault(error),
        Err(error) => status::unreachable("connection-lost", error.to_string()),
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
