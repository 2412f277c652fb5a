//! When operations that ended are forgotten.

use super::operation::ArmOperation;
use super::state::{StoreChange, StoreState};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use twinroute_model::clock::Timestamp;

/// How long an operation can be asked about after its end.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Operations that are kept; the oldest that ended go first.
const KEPT_MAX: usize = 10_000;

/// How often what ended long ago is searched for.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// When operations were last searched for those that are forgotten.
#[derive(Debug, Default)]
pub(crate) struct OperationExpiry(AtomicI64);

impl OperationExpiry {
    /// Forgets what ended long ago, and the oldest when there are too many; checks now and then only.
    pub(crate) fn due(&self, state: &StoreState, now: Timestamp) -> Vec<StoreChange> {
        let surplus = state.operations().len().saturating_sub(KEPT_MAX);
        let checked_at = Timestamp::from_unix_millis(self.0.load(Ordering::Relaxed));
        if surplus == 0 && now.since(checked_at) < CHECK_INTERVAL {
            return Vec::new();
        }
        self.0.store(now.unix_millis(), Ordering::Relaxed);
        // Some more than must go, so that this is not done at each change.
        let surplus = if surplus == 0 {
            0
        } else {
            surplus + KEPT_MAX / 10
        };
        expired(state, surplus, now)
    }
}

fn expired(state: &StoreState, surplus: usize, now: Timestamp) -> Vec<StoreChange> {
    let ended = |operation: &Arc<ArmOperation>| {
        let ended = operation.ended.as_deref()?;
        Some((Timestamp::parse_rfc3339(ended)?, operation.id))
    };
    let mut over: Vec<_> = state.operations().filter_map(ended).collect();
    over.sort_unstable();
    let gone = over.into_iter().enumerate();
    let gone = gone.filter(|(index, (ended, _))| *index < surplus || now.since(*ended) > KEPT);
    gone.map(|(_, (_, id))| StoreChange::Forget(id)).collect()
}
