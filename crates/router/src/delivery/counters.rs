//! What a lane counts for metrics.

use super::metric_series::{LaneSeries, REMAINDER, SeriesOwner};
use crate::sink::FaultKind;
use metrics::{Counter, Histogram, Label, SharedString, counter, histogram};
use std::cell::OnceCell;
use std::sync::Arc;
use twinroute_journal::ledger::{DiscardReason, Ledger};
use twinroute_model::dead_letter::DeadLetterReason;
use twinroute_model::name::{EndpointName, InstanceName};

/// From acceptance to delivery.
pub(crate) const DELIVERY_DURATION: &str = "twinroute_delivery_duration_seconds";

/// From sending a batch to its last answer.
pub(crate) const ATTEMPT_DURATION: &str = "twinroute_attempt_duration_seconds";

/// The counters of a lane. Those that count every delivery begin at 0 with it, so that a scraper sees the first delivery
/// as an increase. The rest are registered with its first delivery: each costs memory, and of thousands of endpoints most
/// may be idle.
#[derive(Debug)]
pub(super) struct LaneCounters {
    instance: InstanceName,
    name: EndpointName,
    series: LaneSeries,
    pub(super) matched: Counter,
    pub(super) replayed: Counter,
    pub(super) delivered: Counter,
    pub(super) dead_lettered: Counter,
    pub(super) failed_attempts: Counter,
    registered: OnceCell<Box<RegisteredCounters>>,
}

#[derive(Debug)]
pub(super) struct RegisteredCounters {
    pub(super) discarded: [Counter; DiscardReason::ALL.len()],
    pub(super) deaths: [Counter; DeadLetterReason::ALL.len()],
    pub(super) faults: [Counter; FaultKind::ALL.len()],
    pub(super) store_faults: Counter,
    /// From acceptance to delivery, of each delivery that arrived, in seconds.
    pub(super) deliveries: Histogram,
    /// From sending to the last answer, of each batch, in seconds.
    pub(super) attempts: Histogram,
}

impl LaneCounters {
    pub(super) fn new(instance: &InstanceName, name: &EndpointName, series: LaneSeries) -> Self {
        let (shown_instance, shown_name) = labels(instance, name, series.owner);
        let shared = |text: &str| SharedString::from(Arc::<str>::from(text));
        let labelled = [
            Label::new("adt_instance", shared(shown_instance)),
            Label::new("endpoint", shared(shown_name)),
        ];
        let delivery = |outcome: &'static str| {
            let [instance, endpoint] = labelled.clone();
            let labels = vec![
                instance,
                endpoint,
                Label::from_static_parts("outcome", outcome),
            ];
            counter!("twinroute_deliveries_total", labels)
        };
        Self {
            matched: delivery("matched"),
            replayed: delivery("replayed"),
            delivered: delivery("delivered"),
            dead_lettered: delivery("dead_lettered"),
            failed_attempts: counter!("twinroute_failed_attempts_total", labelled.to_vec()),
            instance: instance.clone(),
            name: name.clone(),
            series,
            registered: OnceCell::new(),
        }
    }

    /// There is a delivery: what may become of it begins at 0.
    pub(super) fn register(&self) {
        self.get();
    }

    pub(super) fn get(&self) -> &RegisteredCounters {
        let (instance, name) = labels(&self.instance, &self.name, self.series.owner);
        let register = || {
            Box::new(RegisteredCounters::new(
                instance,
                name,
                self.series.has_durations,
            ))
        };
        self.registered.get_or_init(register)
    }

    pub(super) fn is_in_remainder(&self) -> bool {
        self.series.owner == SeriesOwner::Remainder
    }

    /// Counters go on from what was counted before a restart, so that they add up.
    pub(super) fn go_on(&self, ledger: &Ledger) {
        if *ledger == Ledger::default() {
            return;
        }
        self.matched.increment(ledger.matched);
        self.replayed.increment(ledger.replayed);
        self.delivered.increment(ledger.delivered);
        self.dead_lettered.increment(ledger.dead_lettered);
        let counters = self.get();
        for reason in DiscardReason::ALL {
            counters.discarded[reason as usize].increment(ledger.discarded(reason));
        }
    }
}

/// Under which names an endpoint is counted.
fn labels<'a>(
    instance: &'a InstanceName,
    name: &'a EndpointName,
    series: SeriesOwner,
) -> (&'a str, &'a str) {
    match series {
        SeriesOwner::Endpoint => (instance.as_str(), name.as_str()),
        SeriesOwner::Remainder => (REMAINDER, REMAINDER),
    }
}

impl RegisteredCounters {
    fn new(instance: &str, name: &str, has_durations: bool) -> Self {
        let shared = |text: &str| SharedString::from(Arc::<str>::from(text));
        let (instance, name) = (shared(instance), shared(name));
        let by = |metric: &'static str, label: &'static str, word: &'static str| {
            counter!(metric, "adt_instance" => instance.clone(),
                "endpoint" => name.clone(), label => word)
        };
        let durations = |metric: &'static str| match has_durations {
            true => {
                histogram!(metric, "adt_instance" => instance.clone(), "endpoint" => name.clone())
            }
            false => Histogram::noop(),
        };
        Self {
            discarded: DiscardReason::ALL
                .map(|reason| by("twinroute_discarded_total", "reason", reason.as_str())),
            deaths: DeadLetterReason::ALL
                .map(|reason| by("twinroute_dead_letters_total", "reason", reason.as_str())),
            faults: FaultKind::ALL
                .map(|kind| by("twinroute_endpoint_faults_total", "kind", kind.as_str())),
            store_faults: counter!("twinroute_dead_letter_store_faults_total",
                "adt_instance" => instance.clone(), "endpoint" => name.clone()),
            deliveries: durations(DELIVERY_DURATION),
            attempts: durations(ATTEMPT_DURATION),
        }
    }
}
