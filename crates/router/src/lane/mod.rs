//! The lane of one endpoint: its queue, its ledger, its back-off.
//!
//! State stands behind one mutex that is never held across an await: accepting pushes under it, the
//! lane's loop takes batches and notes outcomes under it, status reads it. So every snapshot adds up.

pub(crate) mod durable;
pub(crate) mod queue;
mod run;
mod state;

pub(crate) use run::spawn;
pub(crate) use state::Offer;

use crate::sink::Sink;
use crate::status::EndpointStatus;
use durable::Origin;
use queue::Waiting;
use state::{Retirement, State};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::settings::EndpointSettings;
use twinroute_retry::journal::{Entry, LaneNumber};
use twinroute_retry::ledger::Discard;

/// Longer than any batch takes from its match to its lanes.
const LATECOMERS: Duration = Duration::from_secs(5);

/// A lane. Cheap to share; the loop that drives it ends when it was retired and is empty.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) instance: InstanceName,
    pub(crate) name: EndpointName,
    /// Its number in the journal on disk.
    pub(crate) number: Option<LaneNumber>,
    state: Mutex<State>,
    wake: Notify,
    /// Tells whoever waits for the lane to be empty that it may be.
    settled: Notify,
}

/// What a lane is made of and may be given anew while it runs.
pub(crate) struct Setup {
    pub(crate) endpoint_type: &'static str,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) settings: EndpointSettings,
}

impl Lane {
    pub(crate) fn new(
        instance: InstanceName,
        name: EndpointName,
        setup: Setup,
        origin: Origin,
    ) -> Arc<Self> {
        let state = State::new(&instance, &name, setup, origin);
        let number = state.number();
        Arc::new(Self {
            instance,
            name,
            number,
            state: Mutex::new(state),
            wake: Notify::new(),
            settled: Notify::new(),
        })
    }

    /// A lane that panicked elsewhere left a state that still adds up: every change is made at once.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues events, in order. Never refuses: at its cap the lane gives up its oldest and counts them.
    pub(crate) fn push(&self, deliveries: &[(Entry, u64)], accepted: Instant) {
        let mut evicted = 0;
        let mut wake = false;
        {
            let mut state = self.lock();
            for (entry, twin) in deliveries {
                let waiting = Waiting {
                    entry: entry.clone(),
                    twin: *twin,
                    attempts: 0,
                    accepted,
                };
                match state.offer(waiting) {
                    Offer::Queued {
                        wake: needed,
                        evicted: count,
                    } => {
                        wake |= needed;
                        evicted += count;
                    }
                    Offer::Ended => {}
                }
            }
        }
        if evicted > 0 {
            self.settled.notify_waiters();
        }
        if wake {
            self.wake.notify_one();
        }
    }

    /// Takes a new sink and settings; what waits stays, back-off begins anew.
    pub(crate) fn reconfigure(&self, setup: Setup) {
        self.lock().reconfigure(setup);
        self.wake.notify_one();
    }

    /// Lets the lane finish until `deadline`, after which the rest is given up as removed.
    ///
    /// It does not end at once when it is empty: a batch that was matched against the table before may
    /// still be on its way here.
    pub(crate) fn retire(&self, deadline: Instant) {
        self.lock().retire(Retirement {
            not_before: Instant::now() + LATECOMERS,
            deadline,
            reason: Discard::Removed,
        });
        self.wake.notify_one();
    }

    /// As [`Self::retire`], because the process stops.
    pub(crate) fn stop(&self, deadline: Instant) {
        let not_before = Instant::now();
        self.lock().retire(Retirement {
            not_before,
            deadline,
            reason: Discard::Stopped,
        });
        self.wake.notify_one();
    }

    /// Takes a retirement back. False when the lane has ended already.
    pub(crate) fn revive(&self) -> bool {
        self.lock().revive()
    }

    /// Whether it is neither over nor about to be.
    pub(crate) fn is_running(&self) -> bool {
        self.lock().is_running()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().has_ended()
    }

    pub(crate) fn status(&self) -> EndpointStatus {
        self.lock().status(self.name.as_str(), Instant::now())
    }

    /// Resolves when nothing waits and nothing is in flight, or the lane has ended.
    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.settled.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.lock().is_idle() {
                return;
            }
            notified.await;
        }
    }
}
