//! What a lane counts for metrics.

use super::metric_labels::{REMAINDER, SeriesOwner};
use crate::sink::FaultKind;
use metrics::{Counter, SharedString, counter};
use std::cell::OnceCell;
use std::sync::Arc;
use twinroute_journal::ledger::{DiscardReason, Ledger};
use twinroute_model::dead_letter::DeadLetterReason;
use twinroute_model::name::{EndpointName, InstanceName};

/// The counters of a lane. They are registered with its first delivery: each costs memory, and of thousands
/// of endpoints most may be idle.
#[derive(Debug)]
pub(super) struct LaneCounters {
    instance: InstanceName,
    name: EndpointName,
    series: SeriesOwner,
    registered: OnceCell<Box<RegisteredCounters>>,
}

#[derive(Debug)]
pub(super) struct RegisteredCounters {
    pub(super) matched: Counter,
    pub(super) replayed: Counter,
    pub(super) delivered: Counter,
    pub(super) dead_lettered: Counter,
    pub(super) discarded: [Counter; DiscardReason::ALL.len()],
    pub(super) deaths: [Counter; DeadLetterReason::ALL.len()],
    pub(super) faults: [Counter; FaultKind::ALL.len()],
    pub(super) store_faults: Counter,
    pub(super) failed_attempts: Counter,
}

impl LaneCounters {
    pub(super) fn new(instance: &InstanceName, name: &EndpointName, series: SeriesOwner) -> Self {
        Self {
            instance: instance.clone(),
            name: name.clone(),
            series,
            registered: OnceCell::new(),
        }
    }

    pub(super) fn get(&self) -> &RegisteredCounters {
        let (instance, name) = match self.series {
            SeriesOwner::Endpoint => (self.instance.as_str(), self.name.as_str()),
            SeriesOwner::Remainder => (REMAINDER, REMAINDER),
        };
        let register = || Box::new(RegisteredCounters::new(instance, name));
        self.registered.get_or_init(register)
    }

    pub(super) fn is_in_remainder(&self) -> bool {
        self.series == SeriesOwner::Remainder
    }

    /// Counters go on from what was counted before a restart, so that they add up.
    pub(super) fn go_on(&self, ledger: &Ledger) {
        if *ledger == Ledger::default() {
            return;
        }
        let counters = self.get();
        counters.matched.increment(ledger.matched);
        counters.replayed.increment(ledger.replayed);
        counters.delivered.increment(ledger.delivered);
        counters.dead_lettered.increment(ledger.dead_lettered);
        for reason in DiscardReason::ALL {
            counters.discarded[reason as usize].increment(ledger.discarded(reason));
        }
    }
}

impl RegisteredCounters {
    fn new(instance: &str, name: &str) -> Self {
        let shared = |text: &str| SharedString::from(Arc::<str>::from(text));
        let (instance, name) = (shared(instance), shared(name));
        let delivery = |outcome: &'static str| {
            counter!("twinroute_deliveries_total", "adt_instance" => instance.clone(),
                "endpoint" => name.clone(), "outcome" => outcome)
        };
        let by = |metric: &'static str, label: &'static str, word: &'static str| {
            counter!(metric, "adt_instance" => instance.clone(),
                "endpoint" => name.clone(), label => word)
        };
        Self {
            matched: delivery("matched"),
            replayed: delivery("replayed"),
            delivered: delivery("delivered"),
            dead_lettered: delivery("dead_lettered"),
            discarded: DiscardReason::ALL
                .map(|reason| by("twinroute_discarded_total", "reason", reason.as_str())),
            deaths: DeadLetterReason::ALL
                .map(|reason| by("twinroute_dead_letters_total", "reason", reason.as_str())),
            faults: FaultKind::ALL
                .map(|kind| by("twinroute_endpoint_faults_total", "kind", kind.as_str())),
            store_faults: counter!("twinroute_dead_letter_store_faults_total",
                "adt_instance" => instance.clone(), "endpoint" => name.clone()),
            failed_attempts: counter!("twinroute_failed_attempts_total",
                "adt_instance" => instance.clone(), "endpoint" => name.clone()),
        }
    }
}
