//! What a router shows of itself.

pub use twinroute_journal::ledger::DiscardReason;
/// ```
/// use twinroute::prelude::*;
/// use twinroute::status::EndpointStatus;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// # let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// let router = Router::builder().sink("archive", sink).route("all", "archive", "true").start().await?;
/// router.accept(event).ack(AckLevel::Delivered).await?;
/// let status = router.status();
/// let archive: &EndpointStatus = &status.instances[0].endpoints[0];
/// assert_eq!(archive.matched + archive.replayed, archive.delivered);
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::status::EndpointStatus;
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// let router = Router::builder().start().await?;
/// assert!(router.readiness().ready);
/// router.stop(Duration::ZERO).await;
/// assert!(!router.readiness().reason.is_empty());
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::status::RouterReadiness;
/// ```
/// use twinroute::prelude::*;
/// use twinroute::status::RouterStatus;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// let router = Router::builder().sink("archive", sink).route("all", "archive", "true").start().await?;
/// let status: RouterStatus = router.status();
/// assert_eq!((status.table.generation, status.journal.accepted), (1, 0));
/// assert_eq!(status.instances[0].routes[0].id, "all");
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::status::RouterStatus;
pub use twinroute_router::status::{
    AdmissionState, AdmissionStatus, CredentialStatus, DeadLetterStatus, EndpointMetrics,
    EndpointState, InstanceStatus, JournalKind, JournalStatus, LetterStoreState, RetryStatus,
    RouteStatus, SourceStatus, SyncBucket, SyncStatus, TableStatus,
};
pub use twinroute_router::{DurationHistogram, REMAINDER};
