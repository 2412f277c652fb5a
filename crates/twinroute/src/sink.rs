//! Sinks of a program's own: what takes the deliveries of one endpoint.

mod own_kinds;
mod send;
mod setup;

pub(crate) use own_kinds::OwnKinds;
pub use send::{SendError, SendOutcome, SendResult, Sink, sink_fn};
pub(crate) use setup::EndpointSink;
pub use setup::SinkSetup;
pub use twinroute_router::sink::{
    BatchLimits, Connect, ConnectError, CredentialSlot, CredentialState, DeadLetterDocument,
    DeadLetterStore, Delivery, DeliveryOutcome, EndpointFault, FailureReason, FaultKind, HeldEvent,
    StoredLetter, StoredPage,
};
