//! Faults of an endpoint, out of what fe2o3-amqp and the peer say.

use super::fault_text;
use crate::status;
use fe2o3_amqp::connection::{ConnectionStopReason, OpenError};
use fe2o3_amqp::link::{
    DetachError, LinkStateError, SendError, SenderAttachError, SessionStopReason,
};
use fe2o3_amqp::session::BeginError;
use fe2o3_amqp::{connection, session};
use fe2o3_amqp_types::definitions::{Error as AmqpError, ErrorCondition};
use fe2o3_amqp_types::primitives::Symbol;
use fe2o3_amqp_types::sasl::SaslCode;
use twinroute_outgoing::failure_text;
use twinroute_outgoing::tunnel::TunnelError;
use twinroute_router::sink::{EndpointFault, FailureReason, FaultKind};

/// The fault behind a stream that could not be opened.
pub(crate) fn dial_fault(error: &TunnelError) -> EndpointFault {
    let code = match error {
        TunnelError::Connect(_) => "connect",
        TunnelError::ConnectTimeout => "connect-timeout",
        TunnelError::Name(_) | TunnelError::Tls(_) => "tls",
        TunnelError::TlsTimeout => "tls-timeout",
        // Never unauthorized: that would be the endpoint's credential.
        TunnelError::Proxy { .. } => "proxy",
    };
    status::unreachable(code, failure_text(error))
}

/// The fault behind a connection that could not be opened.
pub(crate) fn open_fault(error: &OpenError) -> EndpointFault {
    match error {
        // SASL outcomes 1 and 2: the credential; 3 and 4: the service (AMQP 1.0 part 5 §5.3.3.6).
        OpenError::SaslError { code, .. } => EndpointFault {
            kind: match code {
                SaslCode::Auth | SaslCode::Sys | SaslCode::SysPerm => FaultKind::Unauthorized,
                _ => FaultKind::Unreachable,
            },
            after: None,
            reason: FailureReason::new("sasl", sasl_text(code)),
        },
        OpenError::RemoteClosedWithError(error) => error_fault(error),
        OpenError::NotImplemented(_) => {
            status::unreachable("sasl", "the broker offers no mechanism that is configured")
        }
        other => status::unreachable("open", fault_text::open_text(other)),
    }
}

/// The fault behind a session that could not begin.
pub(crate) fn begin_fault(error: &BeginError) -> EndpointFault {
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
