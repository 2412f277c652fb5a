//! The process's metrics in Prometheus text.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;

/// How often histograms are folded, so that they stay small while nobody scrapes: until then each request that was
/// answered takes 8 bytes.
const UPKEEP: Duration = Duration::from_secs(1);

/// Upper bounds of the buckets of durations, in seconds.
const DURATION_BOUNDS_S: [f64; 12] = [
    0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0,
];

/// Shows what the process counted. Cheap to clone.
#[derive(Clone)]
pub struct MetricsRecorder {
    handle: PrometheusHandle,
    /// None where the process counts elsewhere.
    process: Option<ProcessMetrics>,
}

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
        let durations = Matcher::Suffix("_duration_seconds".to_owned());
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets_for_metric(durations, &DURATION_BOUNDS_S);
        let handle = builder.and_then(PrometheusBuilder::install_recorder);
        Ok(Self {
            handle: handle.map_err(InstallError)?,
            process: Some(ProcessMetrics::new()),
        })
    }

    /// Metrics that stay empty: for programs that do their own.
    #[must_use]
    pub fn none() -> Self {
        Self {
            handle: PrometheusBuilder::new().build_recorder().handle(),
            process: None,
        }
    }

    pub(crate) fn render(&self) -> String {
        if let Some(process) = &self.process {
            process.collect();
        }
        self.handle.render()
    }

    /// Never ends.
    pub(crate) async fn upkeep(&self) {
        loop {
            tokio::time::sleep(UPKEEP).await;
            self.handle.run_upkeep();
        }
    }
}

/// Memory, CPU time, open files of the process, as `process_*`. Nothing but on Linux.
#[derive(Clone)]
struct ProcessMetrics {
    #[cfg(target_os = "linux")]
    collector: metrics_process::Collector,
}

impl ProcessMetrics {
    /// Must be made after the recorder is installed.
    fn new() -> Self {
        let metrics = Self {
            #[cfg(target_os = "linux")]
            collector: metrics_process::Collector::default(),
        };
        #[cfg(target_os = "linux")]
        metrics.collector.describe();
        metrics
    }

    /// Sets them to what holds now.
    fn collect(&self) {
        #[cfg(target_os = "linux")]
        self.collector.collect();
    }
}
