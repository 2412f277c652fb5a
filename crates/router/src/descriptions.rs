//! What the metrics of a router are, as `# HELP` says it. Metrics that are rare begin at 0, so that a scraper sees the
//! first of them as an increase.

use crate::delivery::{ATTEMPT_DURATION, DELIVERY_DURATION};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};

/// Describes them to the recorder that is installed, if any.
pub(crate) fn describe() {
    for (name, help) in COUNTERS {
        describe_counter!(name, Unit::Count, help);
    }
    for (name, help) in GAUGES {
        match name.contains("_bytes") {
            true => describe_gauge!(name, Unit::Bytes, help),
            false => describe_gauge!(name, Unit::Count, help),
        }
    }
    for (name, help) in HISTOGRAMS {
        describe_histogram!(name, Unit::Seconds, help);
    }
    counter!("twinroute_events_lost_total").increment(0);
    counter!("twinroute_table_refusals_total").increment(0);
}

const COUNTERS: [(&str, &str); 17] = [
    (
        "twinroute_admission_refused_total",
        "Producers that waited for their turn as long as they may and were refused",
    ),
    (
        "twinroute_admission_slowed_total",
        "Producers that waited long for their turn and were let in",
    ),
    (
        "twinroute_dead_letter_store_faults_total",
        "Times that a dead-letter container did not take a dead letter",
    ),
    (
        "twinroute_dead_letters_total",
        "Deliveries that became dead letters, by reason",
    ),
    (
        "twinroute_deliveries_total",
        "Deliveries that were made, by matching or by replays, and that ended, by outcome",
    ),
    (
        "twinroute_discarded_total",
        "Deliveries that were discarded, by reason",
    ),
    (
        "twinroute_endpoint_faults_total",
        "Times that an endpoint took nothing, by kind of fault",
    ),
    (
        "twinroute_events_accepted_total",
        "Events accepted, each once",
    ),
    (
        "twinroute_events_changed_total",
        "Accepted events that the embedding program changed before they were matched",
    ),
    (
        "twinroute_events_dropped_total",
        "Accepted events that the embedding program dropped before they were matched",
    ),
    (
        "twinroute_events_duplicate_total",
        "Repeats of accepted events",
    ),
    (
        "twinroute_events_lost_total",
        "Events acknowledged in memory that did not reach the disk",
    ),
    (
        "twinroute_events_refused_total",
        "Events that were read and refused",
    ),
    (
        "twinroute_events_unmatched_total",
        "Accepted events that matched no route",
    ),
    (
        "twinroute_failed_attempts_total",
        "Attempts to deliver an event that failed, of each event of a batch",
    ),
    (
        "twinroute_spans_dropped_total",
        "Spans of traces that were recorded and not exported, by reason",
    ),
    (
        "twinroute_table_refusals_total",
        "Checks that found definitions with errors",
    ),
];

const GAUGES: [(&str, &str); 9] = [
    (
        "twinroute_admission_waiting",
        "Producers that wait for their turn",
    ),
    (
        "twinroute_duplicate_window_events",
        "Events that are remembered to know their repeats",
    ),
    (
        "twinroute_journal_bytes",
        "Bytes that the journal holds of what is not settled",
    ),
    (
        "twinroute_journal_bytes_max",
        "Bytes that the journal may hold",
    ),
    (
        "twinroute_journal_disk_full",
        "1 while the disk is full before the journal is, else 0",
    ),
    (
        "twinroute_journal_events",
        "Events that the journal holds and that are not settled",
    ),
    (
        "twinroute_journal_lost_deliveries",
        "Deliveries that damage of the disk took, ever",
    ),
    (
        "twinroute_table_faults",
        "Errors in the newest definitions; 0 when they are in use",
    ),
    (
        "twinroute_table_generation",
        "Counts the tables of this process",
    ),
];

const HISTOGRAMS: [(&str, &str); 2] = [
    (
        DELIVERY_DURATION,
        "From the acceptance of an event to its delivery",
    ),
    (ATTEMPT_DURATION, "From sending a batch to its last answer"),
];
