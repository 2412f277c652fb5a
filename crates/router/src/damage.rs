//! What opening the journal found to be wrong, as status, warnings and metrics show it.

use crate::status::{SyncBucket, SyncStatus};
use metrics::{counter, gauge};
use twinroute_journal::ledger::DiscardReason;
use twinroute_journal::{DiskJournal, RecoveredJournal};

/// What a journal had lost when it was opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct JournalDamage {
    /// Deliveries that were ever lost.
    pub(crate) lost: u64,
    /// Of those, the ones whose endpoints nobody can tell.
    pub(crate) unknown: u64,
    /// What somebody has to know.
    pub(crate) warning: Option<String>,
}

impl JournalDamage {
    /// That of a journal that was just opened.
    pub(crate) fn of(recovered: &RecoveredJournal) -> Self {
        let lanes = recovered.lanes.iter();
        let named = lanes.filter(|lane| lane.name.is_some());
        let known: u64 = named
            .map(|lane| lane.ledger.discarded(DiscardReason::Lost))
            .sum();
        let report = &recovered.report;
        let lost = known + recovered.lost_unknown;
        let warning = (!report.is_whole()).then(|| {
            format!(
                "the journal is damaged in {}: not all of its files are there or could be read, and {lost} \
                 deliveries are lost in all, {} of them for endpoints that are not known; the log of the start \
                 names them. Stop twinroute and run `twinroute journal repair`, and look at the disk",
                places(report.damage.iter().filter(|one| !one.is_cut()).count()),
                recovered.lost_unknown,
            )
        });
        Self {
            lost,
            unknown: recovered.lost_unknown,
            warning,
        }
    }

    /// Counts what no lane does.
    pub(crate) fn count(&self) {
        gauge!("twinroute_journal_lost_deliveries").set(self.lost as f64);
        if self.unknown == 0 {
            return;
        }
        let of = [("adt_instance", ""), ("endpoint", UNKNOWN)];
        let matched = [of[0], of[1], ("outcome", "matched")];
        counter!("twinroute_deliveries_total", &matched).increment(self.unknown);
        let lost = [of[0], of[1], ("reason", LOST)];
        counter!("twinroute_discarded_total", &lost).increment(self.unknown);
    }
}

/// How many times something is damaged; a file may be so in many places, and many files in one gap.
fn places(count: usize) -> String {
    match count.max(1) {
        1 => "one place".to_owned(),
        count => format!("{count} places"),
    }
}

/// The endpoint of deliveries whose endpoints nobody can tell, where an endpoint has to be named. It has no instance.
pub const UNKNOWN: &str = "unknown";

/// The reason of deliveries that damage took.
pub const LOST: &str = DiscardReason::Lost.as_str();

/// How long the syncs of a journal took.
pub(crate) fn syncs(disk: &DiskJournal) -> SyncStatus {
    let times = disk.sync_times();
    let buckets = times.buckets.into_iter();
    SyncStatus {
        count: times.count,
        sum_s: times.sum_s,
        running_s: times.running_s,
        buckets: buckets
            .map(|(le_s, count)| SyncBucket { le_s, count })
            .collect(),
    }
}
