//! How endpoints stand, as gauges in Prometheus text format 0.0.4.
//!
//! They are written from a snapshot whenever somebody asks, beside what the process counted: the series of
//! an endpoint that is gone end with it, which a recorder of the process could not make them do.

use crate::status_report::StatusReport;
use std::fmt::{Display, Write as _};
use twinroute_listen::CertificateStatus;
use twinroute_router::sink::FaultKind;
use twinroute_router::status::{
    CredentialStatus, EndpointStatus, STATES, SourceStatus, SyncStatus,
};

/// One endpoint with its instance.
type EndpointLabels<'a> = (&'a str, &'a EndpointStatus);

/// Writes the gauges of all endpoints.
pub(crate) fn render(report: &StatusReport) -> String {
    let status = &report.router;
    let endpoints: Vec<EndpointLabels<'_>> = status
        .instances
        .iter()
        .flat_map(|instance| {
            let endpoints = instance.endpoints.iter();
            endpoints.map(|endpoint| (instance.name.as_str(), endpoint))
        })
        .collect();
    let mut page = MetricsPage {
        text: String::new(),
        endpoints,
    };
    page.source(status.table.source.as_ref());
    page.states();
    page.gauge("queue_bytes", "Bytes of what waits or is in flight", |of| {
        Some(of.queue_bytes)
    });
    let waiting = |of: &EndpointStatus| Some(of.queued + of.in_flight + of.retrying);
    page.gauge("queue_events", "Deliveries not yet settled", waiting);
    page.gauge(
        "oldest_age_seconds",
        "Age of the oldest delivery not yet settled",
        |of| Some(of.oldest_age_ms as f64 / 1_000.0),
    );
    page.dead_letters();
    page.gauge(
        "dead_letter_expiry_seconds",
        "Until the credential of the dead-letter container ends, where that is known",
        |of| of.dead_letters.expires_in_s,
    );
    page.credentials();
    page.certificates(&report.certificates);
    page.gauge(
        "unaccounted_deliveries",
        "Deliveries in no known state: must be 0",
        |of| Some(of.unaccounted()),
    );
    page.syncs(status.journal.syncs.as_ref());
    page.text
}

struct MetricsPage<'a> {
    text: String,
    endpoints: Vec<EndpointLabels<'a>>,
}

impl MetricsPage<'_> {
    /// How long syncs of the journal took, where it is on disk.
    fn syncs(&mut self, syncs: Option<&SyncStatus>) {
        const NAME: &str = "twinroute_journal_sync_seconds";
        const RUNNING: &str = "journal_sync_running_seconds";
        let Some(syncs) = syncs else {
            return;
        };
        let text = &mut self.text;
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        line(format!("# HELP {NAME} How long syncs of the journal took"));
        line(format!("# TYPE {NAME} histogram"));
        for bucket in &syncs.buckets {
            let (bound, count) = (bucket.le_s, bucket.count);
            line(format!("{NAME}_bucket{{le=\"{bound}\"}} {count}"));
        }
        line(format!("{NAME}_bucket{{le=\"+Inf\"}} {}", syncs.count));
        line(format!("{NAME}_sum {}", syncs.sum_s));
        line(format!("{NAME}_count {}", syncs.count));
        self.head(
            RUNNING,
            "How long the write or sync that goes on has taken by now",
        );
        let running = format!("twinroute_{RUNNING} {}\n", syncs.running_s);
        self.text.push_str(&running);
    }

    /// How the source of the definitions goes, where it is one that can lag.
    fn source(&mut self, source: Option<&SourceStatus>) {
        let Some(source) = source else {
            return;
        };
        let age = source.age_ms.map(|age_ms| age_ms as f64 / 1_000.0);
        let waiting = source.waiting.len() as f64;
        for (name, help, value) in [
            (
                "source_age_seconds",
                "Since the definitions were last seen to be current",
                age,
            ),
            (
                "source_failures",
                "Reads of the source of the definitions that failed since the last good one",
                Some(f64::from(source.failures)),
            ),
            (
                "source_waiting",
                "Endpoints that wait for a secret",
                Some(waiting),
            ),
        ] {
            if let Some(value) = value {
                self.head(name, help);
                let written = writeln!(self.text, "twinroute_{name} {value}");
                written.expect("a String takes everything");
            }
        }
    }

    fn head(&mut self, name: &str, help: &str) {
        let written = write!(
            self.text,
            "# HELP twinroute_{name} {help}\n# TYPE twinroute_{name} gauge\n"
        );
        written.expect("a String takes everything");
    }

    /// One line; names of instances and endpoints have nothing to escape.
    fn line(&mut self, name: &str, index: usize, label: Option<(&str, &str)>, value: impl Display) {
        let (instance, endpoint) = self.endpoints[index];
        let label = label.map(|(name, value)| format!(",{name}=\"{value}\""));
        let written = writeln!(
            self.text,
            "twinroute_{name}{{adt_instance=\"{instance}\",endpoint=\"{}\"{}}} {value}",
            endpoint.name,
            label.unwrap_or_default()
        );
        written.expect("a String takes everything");
    }

    fn gauge<T: Display>(
        &mut self,
        name: &str,
        help: &str,
        value: impl Fn(&EndpointStatus) -> Option<T>,
    ) {
        self.head(name, help);
        for index in 0..self.endpoints.len() {
            if let Some(value) = value(self.endpoints[index].1) {
                self.line(name, index, None, value);
            }
        }
    }

    fn states(&mut self) {
        self.head("endpoint_state", "1 for the present state of an endpoint");
        for index in 0..self.endpoints.len() {
            let present = &self.endpoints[index].1.state;
            for state in STATES
                .into_iter()
                .chain(FaultKind::ALL.map(FaultKind::as_str))
            {
                let value = u8::from(present == state);
                self.line("endpoint_state", index, Some(("state", state)), value);
            }
        }
    }

    /// The credentials of endpoints: one label value each.
    fn credentials(&mut self) {
        self.head(
            "credential_active",
            "1 for the credential that an endpoint uses, 0 for its others",
        );
        self.each_credential("credential_active", |of| Some(i64::from(of.active)));
        self.head(
            "credential_expiry_seconds",
            "Until a credential of an endpoint ends, where that is known",
        );
        self.each_credential("credential_expiry_seconds", |of| of.expires_in_s);
    }

    fn certificates(&mut self, certificates: &[CertificateStatus]) {
        if certificates.is_empty() {
            return;
        }
        const NAME: &str = "certificate_expiry_seconds";
        self.head(
            NAME,
            "Until the first certificate in a file of a server ends",
        );
        for known in certificates {
            let CertificateStatus {
                server,
                what,
                expires_in_s,
                ..
            } = known;
            let written = writeln!(
                self.text,
                "twinroute_{NAME}{{server=\"{server}\",what=\"{what}\"}} {expires_in_s}"
            );
            written.expect("a String takes everything");
        }
    }

    fn each_credential(&mut self, name: &str, value: impl Fn(&CredentialStatus) -> Option<i64>) {
        for index in 0..self.endpoints.len() {
            for credential in &self.endpoints[index].1.credentials {
                if let Some(value) = value(credential) {
                    self.line(name, index, Some(("slot", &credential.slot)), value);
                }
            }
        }
    }

    fn dead_letters(&mut self) {
        self.head("dead_letters", "Dead letters, by where they are");
        for index in 0..self.endpoints.len() {
            let dead = &self.endpoints[index].1.dead_letters;
            for (place, count) in [
                ("uploaded", dead.uploaded),
                ("awaiting_upload", dead.awaiting_upload),
                ("local", dead.local),
            ] {
                self.line("dead_letters", index, Some(("where", place)), count);
            }
        }
    }
}
