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
pub mod dead_letters;
pub mod definitions;
mod error;
#[cfg(feature = "journal")]
pub mod history;
#[cfg(feature = "ingress")]
pub mod ingress;
#[cfg(feature = "journal")]
mod journal;
pub mod layers;
pub mod prelude;
mod router;
pub mod sink;
pub mod testing;

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
pub use twinroute_router::accept::{AcceptError, AcceptedBatch, AckLevel};
pub use twinroute_router::{BuildError, DuplicateWindow, EndpointResult, IntoMappedEvent};

/// Events: read, built, written.
pub mod event {
    pub use twinroute_model::event::{
        Event, EventBuilder, EventData, EventLimits, EventProblem, ExtensionValue, InvalidEvent,
        TypedPayload,
    };
    pub use twinroute_model::twin::TwinKey;
}

/// How endpoints are delivered to: the settings that [`SinkSetup::settings`] changes.
pub mod settings {
    pub use twinroute_model::settings::{
        AmqpAuth, AmqpTransport, AnswerMeaning, EndpointSettings, KeptDeadLetters, PartitionKey,
        SessionKey, TopicSchema, TwinOrdering, WhenFull,
    };
}

/// Names of instances, endpoints and routes.
pub mod name {
    pub use twinroute_model::name::{EndpointName, InstanceName, InvalidName, RouteId};
}

/// Traces: what destinations continue of them, and the spans of a router's own.
pub mod trace {
    pub use twinroute_router::trace::{
        SpanQueue, SpanReceiver, SpanSettings, SpanStep, SpanValue, TraceContext, TraceParent,
        TraceSpan,
    };
}

/// What a router shows of itself.
pub mod status {
    pub use twinroute_journal::ledger::DiscardReason;
    pub use twinroute_router::status::{
        AdmissionState, AdmissionStatus, CredentialStatus, DeadLetterStatus, EndpointMetrics,
        EndpointState, EndpointStatus, InstanceStatus, JournalKind, JournalStatus,
        LetterStoreState, RetryStatus, RouteStatus, RouterReadiness, RouterStatus, SourceStatus,
        SyncBucket, SyncStatus, TableStatus,
    };
    pub use twinroute_router::{DurationHistogram, REMAINDER};
}

/// Filters: parsed, and explained.
pub mod filter {
    pub use twinroute_filter::anchor::{FieldCondition, FilterAnchor, IndexedField, StringTest};
    pub use twinroute_filter::ast::{
        CompareExpr, CompareOp, CompareOperand, ExprGroup, FieldPath, FilterExpr, FilterFunction,
        FilterSpan, FunctionCall, LiteralValue, PathTarget,
    };
    pub use twinroute_filter::check::{CheckCode, FilterWarning};
    pub use twinroute_filter::explain::{ClauseResult, FilterExplanation, SeenValue};
    pub use twinroute_filter::{FilterOptions, RouteFilter};
}

/// Time, for programs that bring a clock of their own.
pub mod clock {
    pub use twinroute_model::clock::{Clock, SteadyTime, SystemClock, Timestamp};
}
