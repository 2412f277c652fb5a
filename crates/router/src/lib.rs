//! Table, lanes and the embedding API.
//!
//! A [`Router`] matches each event against event routes with the filter language of Azure Digital Twins
//! and delivers it to the endpoints that the matching routes name. Bring your own [`sink::Sink`], or take
//! those of `twinroute-sinks`.
//!
//! ```
//! use futures_util::future::{BoxFuture, FutureExt};
//! use twinroute_model::event::{EventLimits, EventParts};
//! use twinroute_router::Router;
//! use twinroute_router::accept::AckLevel;
//! use twinroute_router::sink::{BatchLimits, Delivery, DeliveryOutcome, Sink};
//!
//! /// Prints what it is given.
//! struct Print;
//!
//! impl Sink for Print {
//!     fn limits(&self) -> BatchLimits {
//!         BatchLimits { events_max: 100, bytes_max: 1 << 20, in_flight_max: 1 }
//!     }
//!
//!     fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
//!         let print = |delivery: &Delivery| {
//!             println!("{} {}", delivery.event.event_type(), delivery.event.id());
//!             DeliveryOutcome::Delivered
//!         };
//!         async move { batch.iter().map(print).collect() }.boxed()
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let router = Router::builder()
//!     .sink("printer", Print)
//!     .route("deletions", "printer", "type = 'Microsoft.DigitalTwins.Twin.Delete'")
//!     .build()?;
//! let event = EventParts::new("1", "contoso.api.weu.digitaltwins.azure.net",
//!     "Microsoft.DigitalTwins.Twin.Delete").build(&EventLimits::default())?;
//! let accepted = router.accept(None, vec![event], AckLevel::Memory).await?;
//! assert_eq!(accepted.deliveries, 1);
//! router.settled().await;
//! assert_eq!(router.status().instances[0].endpoints[0].delivered, 1);
//! # Ok(())
//! # }
//! ```

pub mod accept;
mod build_error;
mod builder;
pub mod cluster_journal;
mod credential_refresh;
mod damage;
pub mod dead_letters;
mod delivery;
mod descriptions;
mod event_journal;
mod expiry;
pub mod history;
mod partition_feed;
pub mod replay;
mod router;
pub mod sink;
pub mod status;
mod status_reporter;
mod table;
pub mod tap;
pub mod trace;
mod unreadable_endpoint;
mod user_code;

pub use accept::{ADMISSION_WAIT_MAX, AdmissionTurn, EventProducer};
pub use accept::{DuplicateWindow, UnreadableDelivery, UnreadableSettings};
pub use build_error::BuildError;
pub use builder::RouterBuilder;
pub use credential_refresh::CredentialRefresh;
pub use damage::{LOST, UNKNOWN};
pub use delivery::{DurationHistogram, EndpointResult, REMAINDER};
pub use router::{Router, WeakRouter};
pub use table::last_definitions::LastDefinitions;
pub use table::{check, source};
pub use unreadable_endpoint::ENDPOINT as UNREADABLE_ENDPOINT;
pub use user_code::IntoMappedEvent;
