//! The process's metrics in Prometheus text.

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;

/// How often histograms are folded, so that they stay small while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Shows what the process counted. Cheap to clone.
#[derive(Clone)]
pub struct MetricsRecorder(PrometheusHandle);

/// Metrics that could not be set up: another recorder was there first.
#[derive(Debug, thiserror::Error)]
#[error("cannot install the metrics recorder")]
pub struct InstallError(#[source] BuildError);

impl MetricsRecorder {
    /// Makes this process count. Must come before anything that registers a counter is built.
    ///
    /// # Errors
    /// When the process already has a recorder.
    pub fn install() -> Result<Self, InstallError> {
        let builder = PrometheusBuilder::new();
        builder.install_recorder().map(Self).map_err(InstallError)
    }

    /// Metrics that stay empty: for programs that do their own.
    #[must_use]
    pub fn none() -> Self {
        Self(PrometheusBuilder::new().build_recorder().handle())
    }

    pub(crate) fn render(&self) -> String {
        self.0.render()
    }

    /// Never ends.
    pub(crate) async fn upkeep(&self) {
        loop {
            tokio::time::sleep(UPKEEP).await;
            self.0.run_upkeep();
        }
    }
}
