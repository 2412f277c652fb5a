//! What fe2o3-amqp's errors say, in sentences: some of its texts are Rust debug text (`IO Error Os { code: 104, …`),
//! and these reach `last_error` and logs.

use fe2o3_amqp::connection::OpenError;
use fe2o3_amqp::link::{
    DetachError, LinkStateError, ReceiverAttachError, RecvError, SendError, SenderAttachError,
};
use fe2o3_amqp::session::BeginError;
use fe2o3_amqp::{connection, session, transport};

const UNDECODABLE: &str = "a frame of the peer cannot be decoded";
const CLOSED: &str = "the peer closed the connection without a reason";
const STOPPED: &str = "the connection ended";

pub(super) fn open_text(error: &OpenError) -> String {
    match error {
        OpenError::Io(error) => return error.to_string(),
        OpenError::TransportError(error) => return transport_text(error),
        OpenError::ProtocolHeaderMismatch(_) => "the peer answered with another protocol",
        OpenError::DecodeError(_) => UNDECODABLE,
        OpenError::RemoteClosed => CLOSED,
        _ => "the connection cannot be opened",
    }
    .to_owned()
}

pub(super) fn connection_text(error: &connection::Error) -> String {
    match error {
        connection::Error::TransportError(error) => return transport_text(error),
        connection::Error::RemoteClosed => CLOSED,
        connection::Error::NotFound(_) | connection::Error::NotAllowed(_) => {
            "a frame of the peer is for a session that there is not"
        }
        _ => STOPPED,
    }
    .to_owned()
}

fn transport_text(error: &transport::Error) -> String {
    match error {
        transport::Error::Io(error) => return error.to_string(),
        transport::Error::IdleTimeoutElapsed => "the peer was silent for longer than was agreed",
        transport::Error::DecodeError(_) => UNDECODABLE,
        transport::Error::FramingError => "the peer sent an invalid frame",
        transport::Error::NotImplemented(_) => "the peer sent a frame of an unknown kind",
    }
    .to_owned()
}

pub(super) fn begin_text(error: &BeginError) -> &'static str {
    match error {
        BeginError::RemoteEnded => "the peer ended the session without a reason",
        BeginError::ConnectionStopped(_) | BeginError::ConnectionNotOpened => STOPPED,
        BeginError::LocalChannelMaxReached => "the connection has no room for a session",
        _ => "the session cannot be begun",
    }
}

pub(super) fn session_text(error: &session::Error) -> &'static str {
    match error {
        session::Error::RemoteEnded => "the peer ended the session without a reason",
        session::Error::UnattachedHandle
        | session::Error::HandleInUse
        | session::Error::RemoteAttachingLinkNameNotFound
        | session::Error::TransferFrameToSender => {
            "the peer sent a frame for a link that there is not"
        }
        _ => "the session ended",
    }
}

pub(super) fn sender_attach_text(error: &SenderAttachError) -> &'static str {
    match error {
        SenderAttachError::NonAttachFrameReceived => "the peer did not answer with a link",
        SenderAttachError::ExpectImmediateDetach | SenderAttachError::IncomingTargetIsNone => {
            "the peer refused the link and did not say why"
        }
        SenderAttachError::DuplicatedLinkName => "the link's name is taken",
        _ => "the link cannot be attached",
    }
}

pub(super) fn receiver_attach_text(error: &ReceiverAttachError) -> &'static str {
    match error {
        ReceiverAttachError::NonAttachFrameReceived => "the peer did not answer with a link",
        ReceiverAttachError::ExpectImmediateDetach | ReceiverAttachError::IncomingSourceIsNone => {
            "the peer refused the link and did not say why"
        }
        _ => "the link cannot be attached",
    }
}

pub(super) fn send_text(error: &SendError) -> &'static str {
    match error {
        SendError::NonTerminalDeliveryState => "the peer settled a message without an outcome",
        SendError::MessageEncodeError => "the message cannot be encoded",
        _ => "the message cannot be sent",
    }
}

pub(super) fn receive_text(error: &RecvError) -> &'static str {
    match error {
        RecvError::LinkStateError(_) => "the link ended",
        RecvError::MessageDecode(_) => "a message of the peer cannot be decoded",
        RecvError::TransferLimitExceeded => "the peer sent more messages than were asked for",
        _ => "a message of the peer breaks the protocol",
    }
}

pub(super) fn link_text(error: &LinkStateError) -> &'static str {
    match error {
        LinkStateError::RemoteDetached | LinkStateError::RemoteClosed => {
            "the peer ended the link without a reason"
        }
        _ => "the link ended",
    }
}

pub(super) fn detach_text(error: &DetachError) -> &'static str {
    match error {
        DetachError::ClosedByRemote => "the peer ended the link without a reason",
        _ => "the link ended",
    }
}
