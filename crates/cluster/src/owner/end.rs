//! Why a router owns a partition no longer.

use twinroute_journal::ClusterLogError;
use twinroute_journal::partition::HistoryDamage;

/// Why a router owns a partition no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OwnerEnd {
    /// It was handed over in order.
    HandedOver,
    /// Another was faster, or is owner by now.
    Lost,
    /// Its log is damaged.
    Damaged(HistoryDamage),
    /// The log refuses for good.
    Log(ClusterLogError),
}

impl From<ClusterLogError> for OwnerEnd {
    fn from(error: ClusterLogError) -> Self {
        Self::Log(error)
    }
}

impl From<HistoryDamage> for OwnerEnd {
    fn from(damage: HistoryDamage) -> Self {
        Self::Damaged(damage)
    }
}
