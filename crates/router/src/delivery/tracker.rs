//! What became of the deliveries of one request, for whoever waits for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;
use twinroute_model::name::EndpointName;

/// What became of a request's deliveries to one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointResult {
    /// They arrived.
    pub delivered: u64,
    /// They became dead letters.
    pub dead_lettered: u64,
    /// They were discarded.
    pub discarded: u64,
    /// They wait.
    pub open: u64,
}

/// How a delivery ended, as far as those who wait for it care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryEnd {
    Delivered,
    DeadLettered,
    Discarded,
}

/// Deliveries of one request.
#[derive(Debug)]
pub(crate) struct DeliveryTracker {
    /// Nothing, once nobody waits any more: deliveries may be open for days, and each holds on to this.
    endpoints: Mutex<Option<EndpointOutcomes>>,
    changed: Notify,
}

type EndpointOutcomes = BTreeMap<EndpointName, EndpointResult>;

impl Default for DeliveryTracker {
    fn default() -> Self {
        Self {
            endpoints: Mutex::new(Some(EndpointOutcomes::new())),
            changed: Notify::new(),
        }
    }
}

impl DeliveryTracker {
    fn lock(&self) -> MutexGuard<'_, Option<EndpointOutcomes>> {
        self.endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// One more delivery is waited for. All are registered before the first can end.
    pub(crate) fn expect(&self, endpoint: &EndpointName, deliveries: u64) {
        if let Some(endpoints) = &mut *self.lock() {
            endpoints.entry(endpoint.clone()).or_default().open += deliveries;
        }
    }

    /// A delivery ended.
    pub(crate) fn ended(&self, endpoint: &EndpointName, end: DeliveryEnd) {
        let mut guard = self.lock();
        let Some(endpoints) = &mut *guard else {
            return;
        };
        let outcomes = endpoints.entry(endpoint.clone()).or_default();
        outcomes.open = outcomes.open.saturating_sub(1);
        match end {
            DeliveryEnd::Delivered => outcomes.delivered += 1,
            DeliveryEnd::DeadLettered => outcomes.dead_lettered += 1,
            DeliveryEnd::Discarded => outcomes.discarded += 1,
        }
        let open = is_open(endpoints);
        drop(guard);
        if !open {
            self.changed.notify_waiters();
        }
    }

    /// Nobody waits any more.
    pub(crate) fn abandon(&self) {
        *self.lock() = None;
    }

    /// How things stand.
    pub(crate) fn outcomes(&self) -> BTreeMap<EndpointName, EndpointResult> {
        self.lock().clone().unwrap_or_default()
    }

    /// Resolves when nothing is open.
    pub(crate) async fn all(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.lock().as_ref().is_some_and(is_open) {
                return;
            }
            changed.await;
        }
    }
}

fn is_open(endpoints: &EndpointOutcomes) -> bool {
    endpoints.values().any(|outcomes| outcomes.open > 0)
}

/// Who waits for which deliveries of a lane, by sequence.
#[derive(Debug, Default)]
pub(crate) struct DeliveryTrackers(HashMap<u64, Weak<DeliveryTracker>>);

impl DeliveryTrackers {
    /// Notes who waits for a delivery. Those who have gone are forgotten before there are too many.
    pub(crate) fn add(&mut self, sequence: u64, tracker: &Arc<DeliveryTracker>) {
        if self.0.len() == self.0.capacity() {
            self.0.retain(|_, tracker| tracker.strong_count() > 0);
        }
        self.0.insert(sequence, Arc::downgrade(tracker));
    }

    /// Tells whoever waits for a delivery how it ended.
    pub(crate) fn end(&mut self, sequence: u64, endpoint: &EndpointName, end: DeliveryEnd) {
        if self.0.is_empty() {
            return;
        }
        let tracker = self.0.remove(&sequence);
        if let Some(tracker) = tracker.and_then(|tracker| tracker.upgrade()) {
            tracker.ended(endpoint, end);
        }
    }
}

/// Waits for the ends of a batch's deliveries. Once it is dropped nobody does, and they are not counted.
#[derive(Default)]
pub(crate) struct TrackedBatch(pub(crate) Arc<DeliveryTracker>);

impl Drop for TrackedBatch {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_kept_for_nobody() {
        let name = EndpointName::new("hub-1").unwrap();
        let tracker = DeliveryTracker::default();
        tracker.expect(&name, 3);
        tracker.ended(&name, DeliveryEnd::Delivered);
        let expect = EndpointResult {
            delivered: 1,
            open: 2,
            ..EndpointResult::default()
        };
        assert_eq!(tracker.outcomes()[&name], expect);
        tracker.abandon();
        tracker.ended(&name, DeliveryEnd::Discarded);
        assert!(tracker.lock().is_none());
        tracker.all().await;
    }
}
