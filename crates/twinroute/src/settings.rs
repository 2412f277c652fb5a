//! How endpoints are delivered to: the settings that [`SinkSetup::settings`](crate::SinkSetup::settings) changes.

/// ```
/// use twinroute::prelude::*;
/// use twinroute::settings::{EndpointSettings, TwinOrdering};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// let setup = SinkSetup::new(sink).settings(|settings: &mut EndpointSettings| {
///     settings.attempts_max = 5;
///     settings.ordering = TwinOrdering::None;
/// });
/// let router = Router::builder().sink("archive", setup).start().await?;
/// assert_eq!(router.status().instances[0].endpoints[0].retry.attempts_max, 5);
/// # Ok(())
/// # }
/// ```
pub use twinroute_model::settings::EndpointSettings;
pub use twinroute_model::settings::{
    AmqpAuth, AmqpTransport, AnswerMeaning, KeptDeadLetters, PartitionKey, SessionKey, TopicSchema,
    TwinOrdering, WhenFull,
};
