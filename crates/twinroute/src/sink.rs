//! Sinks of a program's own: what takes the deliveries of one endpoint.

mod own_kinds;
mod send;
mod setup;

pub(crate) use own_kinds::OwnKinds;
pub use send::{SendError, SendOutcome, SendResult, Sink, sink_fn};
pub(crate) use setup::EndpointSink;
pub use setup::SinkSetup;
/// ```
/// use twinroute::prelude::*;
///
/// # fn main() -> Result<(), twinroute::Error> {
/// let limits = BatchLimits { events_max: 10, ..BatchLimits::default() };
/// assert_eq!(limits.in_flight_max, 1);
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::sink::BatchLimits;
/// The module `azure` makes one. Sinks of a program's own need none: see
/// [`RouterBuilder::sinks_of_kind`](crate::RouterBuilder::sinks_of_kind).
pub use twinroute_router::sink::Connect;
/// ```
/// use twinroute::prelude::*;
///
/// # fn main() -> Result<(), twinroute::Error> {
/// let event = Event::builder().id("1").source("press-7").event_type("t").subject("room7").build()?;
/// let delivery = Delivery::new(17, event);
/// assert_eq!((delivery.sequence, delivery.event.subject(), delivery.attempts), (17, Some("room7"), 0));
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::sink::Delivery;
/// ```
/// use twinroute::prelude::*;
///
/// # fn main() -> Result<(), twinroute::Error> {
/// let retry = DeliveryOutcome::retry("the line is engaged");
/// let never = DeliveryOutcome::reject("nobody is named");
/// assert_ne!(retry, never);
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::sink::DeliveryOutcome;
pub use twinroute_router::sink::{
    ConnectError, CredentialSlot, CredentialState, DeadLetterDocument, DeadLetterStore,
    EndpointFault, FailureReason, FaultKind, HeldEvent, StoredLetter, StoredPage,
};
