//! How endpoints, routes and the process stand, in Prometheus text format 0.0.4.
//!
//! It is written from a snapshot whenever somebody asks, beside what the process counted: the series of
//! an endpoint that is gone end with it, which a recorder of the process could not make them do. Endpoints beyond
//! `[admin] metrics_endpoints_max` share one row, the remainder.

mod endpoint_rows;
mod page;
mod route_rows;

use crate::status_report::StatusReport;
use endpoint_rows::{EndpointRow, seconds_of};
use page::{MetricType, MetricsPage};
use route_rows::route_rows;
use twinroute_listen::CertificateStatus;
use twinroute_router::DurationHistogram;
use twinroute_router::status::{SourceStatus, SyncStatus};

/// Writes everything that is not in the recorder.
pub(crate) fn render(report: &StatusReport) -> String {
    let status = &report.router;
    let rows = endpoint_rows::endpoint_rows(&status.instances);
    let mut page = MetricsPage::default();
    build_info(&mut page, &status.version);
    if let Some(source) = &status.table.source {
        source_gauges(&mut page, source);
    }
    endpoint_gauges(&mut page, &rows);
    credentials(&mut page, &rows);
    certificates(&mut page, &report.certificates);
    histograms(&mut page, &rows);
    page.family(
        "twinroute_route_matched_total",
        MetricType::Counter,
        "Events that a route matched, under this table and those before it",
    );
    for row in route_rows(&status.instances) {
        let (labels, route) = (row.labels, row.route);
        page.sample(&labels, &[("route", route)], row.matched);
    }
    if let Some(syncs) = &status.journal.syncs {
        sync_durations(&mut page, syncs);
    }
    page.into_text()
}

fn build_info(page: &mut MetricsPage, version: &str) {
    page.family(
        "twinroute_build_info",
        MetricType::Gauge,
        "1, labelled with the version",
    );
    page.sample(&[], &[("version", version)], 1);
}

/// How the source of the definitions goes, where it is one that can lag.
fn source_gauges(page: &mut MetricsPage, source: &SourceStatus) {
    if let Some(age_ms) = source.age_ms {
        page.gauge(
            "twinroute_source_age_seconds",
            "Since the definitions were last seen to be current",
            age_ms as f64 / 1_000.0,
        );
    }
    page.gauge(
        "twinroute_source_failures",
        "Reads of the source of the definitions that failed since the last good one",
        source.failures,
    );
    page.gauge(
        "twinroute_source_waiting",
        "Endpoints that wait for a secret",
        source.waiting.len(),
    );
}

fn endpoint_gauges(page: &mut MetricsPage, rows: &[EndpointRow<'_>]) {
    let gauge = MetricType::Gauge;
    page.family(
        "twinroute_endpoint_state",
        gauge,
        "Endpoints in this state: 1 for the present state of one",
    );
    for row in rows {
        page.samples(row, "state", &row.states);
    }
    page.family(
        "twinroute_queue_bytes",
        gauge,
        "Bytes of what waits or is in flight",
    );
    for row in rows {
        page.sample(&row.labels, &[], row.queue_bytes);
    }
    page.family(
        "twinroute_queue_events",
        gauge,
        "Deliveries not yet settled",
    );
    for row in rows {
        page.sample(&row.labels, &[], row.queue_events);
    }
    page.family(
        "twinroute_oldest_age_seconds",
        gauge,
        "Age of the oldest delivery not yet settled",
    );
    for row in rows {
        page.sample(&row.labels, &[], row.oldest_age_ms as f64 / 1_000.0);
    }
    page.family(
        "twinroute_dead_letters",
        gauge,
        "Dead letters, by where they are",
    );
    for row in rows {
        page.samples(row, "where", &row.dead_letters);
    }
    page.family(
        "twinroute_unaccounted_deliveries",
        gauge,
        "Deliveries in no known state: must be 0",
    );
    for row in rows {
        page.sample(&row.labels, &[], row.unaccounted);
    }
}

/// The credentials of endpoints, and when they end.
fn credentials(page: &mut MetricsPage, rows: &[EndpointRow<'_>]) {
    let gauge = MetricType::Gauge;
    page.family(
        "twinroute_credential_active",
        gauge,
        "Endpoints that use this credential: 1 for the one that an endpoint uses",
    );
    for row in rows {
        page.samples(row, "slot", &row.active);
    }
    page.family(
        "twinroute_credential_expiry_timestamp_seconds",
        gauge,
        "When a credential of an endpoint ends, where that is known",
    );
    for row in rows {
        page.samples(row, "slot", &row.credential_ends);
    }
    page.family(
        "twinroute_dead_letter_credential_expiry_timestamp_seconds",
        gauge,
        "When the credential of the dead-letter container ends, where that is known",
    );
    for row in rows {
        if let Some(end) = row.container_end {
            page.sample(&row.labels, &[], end);
        }
    }
}

fn certificates(page: &mut MetricsPage, certificates: &[CertificateStatus]) {
    if certificates.is_empty() {
        return;
    }
    page.family(
        "twinroute_certificate_expiry_timestamp_seconds",
        MetricType::Gauge,
        "When the first certificate in a file of a server ends",
    );
    for known in certificates {
        if let Some(end) = seconds_of(&known.expires_at) {
            let labels = [("server", known.server), ("what", known.what)];
            page.sample(&[], &labels, end);
        }
    }
}

fn histograms(page: &mut MetricsPage, rows: &[EndpointRow<'_>]) {
    let mut family =
        |name, help, of: for<'r, 'a> fn(&'r EndpointRow<'a>) -> &'r DurationHistogram| {
            page.family(name, MetricType::Histogram, help);
            // Those without any would be most of the page.
            for row in rows.iter().filter(|row| of(row).count() > 0) {
                let known = of(row);
                page.histogram(&row.labels, known.buckets(), known.count(), known.sum_s());
            }
        };
    family(
        "twinroute_delivery_duration_seconds",
        "From the acceptance of an event to its delivery",
        |row| &row.delivery,
    );
    family(
        "twinroute_attempt_duration_seconds",
        "From sending a batch to its last answer",
        |row| &row.attempt,
    );
}

/// How long syncs of the journal took, where it is on disk.
fn sync_durations(page: &mut MetricsPage, syncs: &SyncStatus) {
    page.family(
        "twinroute_journal_sync_seconds",
        MetricType::Histogram,
        "How long syncs of the journal took",
    );
    let buckets = syncs.buckets.iter();
    let buckets = buckets.map(|bucket| (bucket.le_s, bucket.count));
    page.histogram(&[], buckets, syncs.count, syncs.sum_s);
    page.gauge(
        "twinroute_journal_sync_running_seconds",
        "How long the write or sync that goes on has taken by now",
        syncs.running_s,
    );
}
