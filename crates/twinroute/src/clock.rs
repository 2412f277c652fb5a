//! Time, for programs that bring a clock of their own.

/// ```
/// use twinroute::clock::{Clock, Timestamp};
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// /// Always noon.
/// struct NoonClock;
/// impl Clock for NoonClock {
///     fn now(&self) -> Timestamp {
///         Timestamp::from_unix_millis(1_795_348_800_000)
///     }
/// }
///
/// # let sink = sink_fn(|_| async { Err(SendError::unavailable("closed")) });
/// # let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// let router = Router::builder().clock(NoonClock).sink("archive", sink).start().await?;
/// let since = router.status().table.since;
/// assert_eq!(since.map(Timestamp::rfc3339).as_deref(), Some("2026-11-22T12:00:00Z"));
/// # Ok(())
/// # }
/// ```
pub use twinroute_model::clock::Clock;
/// ```
/// use std::time::Duration;
/// use twinroute::clock::Timestamp;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let noon = Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").ok_or("no time")?;
/// assert_eq!(noon.after(Duration::from_secs(60)).rfc3339(), "2026-11-22T12:01:00Z");
/// # Ok(())
/// # }
/// ```
pub use twinroute_model::clock::Timestamp;
pub use twinroute_model::clock::{SteadyTime, SystemClock};
