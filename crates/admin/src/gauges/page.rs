//! The text: families of metrics and their samples.

use super::endpoint_rows::EndpointRow;
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

/// Names and values of labels. Values have nothing to escape: they are names of instances, endpoints and routes, or
/// words of ours.
pub(super) type SampleLabels<'a> = [(&'a str, &'a str)];

#[derive(Clone, Copy, Debug)]
pub(super) enum MetricType {
    Counter,
    Gauge,
    Histogram,
}

/// The page as far as it is written.
#[derive(Default)]
pub(super) struct MetricsPage {
    text: String,
    /// The family whose samples follow.
    name: &'static str,
    /// It is written with its first sample.
    head: Option<(MetricType, &'static str)>,
}

impl MetricsPage {
    /// Begins a family; it does not appear while it has no samples.
    pub(super) fn family(&mut self, name: &'static str, kind: MetricType, help: &'static str) {
        self.name = name;
        self.head = Some((kind, help));
    }

    /// A family of one sample.
    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str, value: impl Display) {
        self.family(name, MetricType::Gauge, help);
        self.sample(&[], &[], value);
    }

    pub(super) fn sample(
        &mut self,
        labels: &SampleLabels<'_>,
        further: &SampleLabels<'_>,
        value: impl Display,
    ) {
        self.suffixed("", labels, further, value);
    }

    /// A sample for each value of a label.
    pub(super) fn samples(
        &mut self,
        row: &EndpointRow<'_>,
        label: &str,
        values: &BTreeMap<&str, impl Display>,
    ) {
        for (word, value) in values {
            self.sample(&row.labels, &[(label, word)], value);
        }
    }

    /// The samples of a histogram: how many stayed within each bound, growing, then all, and their sum.
    pub(super) fn histogram(
        &mut self,
        labels: &SampleLabels<'_>,
        buckets: impl Iterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) {
        for (bound, within) in buckets {
            self.suffixed("_bucket", labels, &[("le", &bound.to_string())], within);
        }
        self.suffixed("_bucket", labels, &[("le", "+Inf")], count);
        self.suffixed("_sum", labels, &[], sum);
        self.suffixed("_count", labels, &[], count);
    }

    fn suffixed(
        &mut self,
        suffix: &str,
        labels: &SampleLabels<'_>,
        further: &SampleLabels<'_>,
        value: impl Display,
    ) {
        let name = self.name;
        if let Some((kind, help)) = self.head.take() {
            let word = match kind {
                MetricType::Counter => "counter",
                MetricType::Gauge => "gauge",
                MetricType::Histogram => "histogram",
            };
            self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {word}\n"));
        }
        self.write(format_args!("{name}{suffix}"));
        let mut before = '{';
        for (label, word) in labels.iter().chain(further) {
            self.write(format_args!("{before}{label}=\"{word}\""));
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        self.write(format_args!(" {value}\n"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        let written = self.text.write_fmt(text);
        written.expect("a String takes everything");
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}
