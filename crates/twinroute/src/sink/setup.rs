//! A sink with what else its endpoint has.

use super::send::LaneSink;
use super::{DeadLetterStore, Sink};
use crate::settings::EndpointSettings;
use std::sync::Arc;

/// A sink, how its endpoint is delivered to, and where its dead letters go.
///
/// ```
/// use twinroute::prelude::*;
/// use twinroute::settings::TwinOrdering;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// let send = |_: Vec<Delivery>| async { Ok(SendOutcome::all_delivered()) };
/// let setup = SinkSetup::new(sink_fn(send)).settings(|settings| {
///     settings.ordering = TwinOrdering::None;
///     settings.attempts_max = 3;
/// });
/// let router = Router::builder().sink("archive", setup).start().await?;
/// assert_eq!(router.status().instances[0].endpoints[0].retry.attempts_max, 3);
/// # Ok(())
/// # }
/// ```
pub struct SinkSetup(EndpointSink);

/// The parts of a [`SinkSetup`].
pub(crate) struct EndpointSink {
    pub(crate) sink: Arc<dyn twinroute_router::sink::Sink>,
    pub(crate) settings: EndpointSettings,
    pub(crate) store: Option<Arc<dyn DeadLetterStore>>,
}

impl SinkSetup {
    /// A sink with default settings; its dead letters are kept by the router.
    #[must_use]
    pub fn new(sink: impl Sink) -> Self {
        Self::of_lane_sink(Arc::new(LaneSink(sink)))
    }

    /// A sink as lanes call it, which is what [`Connect`](super::Connect) makes.
    #[must_use]
    pub fn of_lane_sink(sink: Arc<dyn twinroute_router::sink::Sink>) -> Self {
        Self(EndpointSink {
            sink,
            settings: EndpointSettings::default(),
            store: None,
        })
    }

    /// Changes how the endpoint is delivered to. What is out of range is refused when the sink is added.
    #[must_use]
    pub fn settings(mut self, change: impl FnOnce(&mut EndpointSettings)) -> Self {
        change(&mut self.0.settings);
        self
    }

    /// Writes the endpoint's dead letters to a store.
    #[must_use]
    pub fn dead_letters(mut self, store: impl DeadLetterStore) -> Self {
        self.0.store = Some(Arc::new(store));
        self
    }

    pub(crate) fn into_parts(self) -> EndpointSink {
        self.0
    }
}

impl<S: Sink> From<S> for SinkSetup {
    fn from(sink: S) -> Self {
        Self::new(sink)
    }
}
