//! A router for digital-twin events in your own program.
//!
//! Events come in, are matched against *routes* with the filter language of Azure Digital Twins, and go, at least once,
//! to the *endpoints* that the matching routes name. Here the endpoint is a file of the program's own:
//!
//! ```standalone_crate
//! use twinroute::prelude::*;
//!
//! struct Lines(PathBuf);
//! impl Sink for Lines {
//!     async fn send(&self, batch: &[Delivery]) -> SendResult {
//!         let mut file = File::options().create(true).append(true).open(&self.0).await?;
//!         for delivery in batch { file.write_all(&delivery.event.to_json_line()).await?; }
//!         file.sync_data().await?;
//!         Ok(SendOutcome::all_delivered())
//!     }
//! }
//!
//! # // The same without the lines that are for the test alone stands in the guide.
//! #[tokio::main]
//! async fn main() -> Result<(), twinroute::Error> {
//! #   let folder = tempfile::tempdir()?;
//! #   std::env::set_current_dir(folder.path())?;
//! #   let bytes = r#"{"specversion":"1.0","id":"1","source":"press-7","type":"t","data":{"temperature":21}}"#;
//!     let router = Router::builder()
//!         .journal("data")
//!         .sink("archive", Lines("out.jsonl".into()))
//!         .route("warm", "archive", "$body.temperature > 20")
//!         .map_event(|event| event.with_extension("site", "berlin"))
//!         .start().await?;
//!     router.accept(Event::from_json(bytes)?).await?;
//!     router.stop(Duration::from_secs(5)).await;
//! #   let written = Event::from_json(std::fs::read("out.jsonl")?)?;
//! #   assert_eq!(written.extension("site"), Some(ExtensionValue::String("berlin")));
//! #   assert_eq!(written.json_data(), Some(r#"{"temperature":21}"#));
//! #   assert!(std::fs::read_dir("data")?.count() > 0);
//!     Ok(())
//! }
//! ```
//!
//! With a journal, what was accepted outlives the process: it is on disk before `accept` ends. What the sink did not
//! get is sent again, after a restart too; while its endpoint is unavailable the others go on.
//!
//! # Features
//!
//! | feature | on unless switched off | what it brings |
//! |---|---|---|
//! | `journal` | yes | a journal on disk |
//! | `watch` | yes | following a folder of definitions |
//! | `azure` | | sinks of Event Grid, Event Hubs and Service Bus, containers of dead letters, identities, Azure as a source |
//! | `ingress` | | events over HTTP, in a server of the program's own |
//! | `cloudevents-sdk` | | conversion to and from the events of that crate |

mod accept;
#[cfg(feature = "azure")]
pub mod azure;
mod builder;
pub mod clock;
pub mod dead_letters;
pub mod definitions;
mod error;
pub mod event;
pub mod filter;
#[cfg(feature = "journal")]
pub mod history;
#[cfg(feature = "ingress")]
pub mod ingress;
#[cfg(feature = "journal")]
mod journal;
pub mod layers;
pub mod name;
pub mod prelude;
mod router;
pub mod settings;
pub mod sink;
pub mod status;
pub mod testing;
pub mod trace;

pub use accept::AcceptRequest;
pub use builder::RouterBuilder;
pub use definitions::Source;
pub use error::Error;
#[cfg(feature = "journal")]
pub use journal::JournalOptions;
pub use router::Router;
pub use sink::{SendError, SendOutcome, SendResult, Sink, SinkSetup, sink_fn};
#[cfg(feature = "cloudevents-sdk")]
pub use twinroute_cloudevents_sdk as cloudevents_sdk;
#[cfg(feature = "journal")]
pub use twinroute_journal::JournalOpenError;
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// let starting = Router::builder().route("all", "archive", "true").start();
/// let Err(twinroute::Error::Build(wrong)) = starting.await else {
///     panic!("no sink has that name");
/// };
/// assert!(wrong.to_string().contains("archive"));
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::BuildError;
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// let window = twinroute::DuplicateWindow::new(Duration::from_secs(60), 10_000);
/// let builder = Router::builder().duplicate_window(window);
/// let router = builder.sink("archive", sink).route("all", "archive", "true").start().await?;
/// let event = || Event::builder().id("1").source("press-7").event_type("t").build();
/// assert_eq!(router.accept(event()?).await?.duplicates, 0);
/// assert_eq!(router.accept(event()?).await?.duplicates, 1);
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::DuplicateWindow;
pub use twinroute_router::EndpointResult;
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// # let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// let builder = Router::builder().map_event(|event| (event.subject() == Some("room7")).then_some(event));
/// let router = builder.sink("archive", sink).route("all", "archive", "true").start().await?;
/// let accepted = router.accept(event).await?;
/// assert_eq!((accepted.dropped, accepted.deliveries), (1, 0));
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::IntoMappedEvent;
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// let router = Router::builder().start().await?;
/// let refused = router.accept_batch([event]).instance("elsewhere").await.unwrap_err();
/// assert_eq!((refused.http_status(), refused.is_retryable()), (404, false));
/// assert!(refused.to_string().contains("elsewhere"));
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::accept::AcceptError;
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// # let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// let router = Router::builder().sink("archive", sink).route("all", "archive", "true").start().await?;
/// let accepted = router.accept(event).ack(AckLevel::Delivered).await?;
/// assert_eq!((accepted.events, accepted.deliveries, accepted.unmatched), (1, 1, 0));
/// assert_eq!(accepted.outcomes.values().map(|endpoint| endpoint.delivered).sum::<u64>(), 1);
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::accept::AcceptedBatch;
/// ```
/// use twinroute::prelude::*;
///
/// # fn main() -> Result<(), twinroute::Error> {
/// assert_eq!(AckLevel::parse("durable"), Some(AckLevel::Durable));
/// assert_eq!(AckLevel::Delivered.as_str(), "delivered");
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::accept::AckLevel;
