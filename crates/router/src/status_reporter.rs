//! One snapshot of a router, put together from its parts.

use crate::accept::{Acceptor, RoomMaker, unreadable_warnings};
use crate::cluster_journal::ClusterJournal;
use crate::damage::{self, JournalDamage};
use crate::expiry;
use crate::status::{
    InstanceStatus, JournalKind, JournalStatus, RouterReadiness, RouterStatus, SourceStatus,
};
use crate::user_code;
use metrics::gauge;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use twinroute_journal::{DiskJournal, JournalHealth};

/// Tells how the source of definitions goes.
pub(crate) type ShowSource = Box<dyn Fn() -> SourceStatus + Send + Sync>;

/// Shows how a router is.
pub(crate) struct StatusReporter {
    pub(crate) acceptor: Arc<Acceptor>,
    /// What had become of the journal when it was opened.
    pub(crate) damage: JournalDamage,
    /// How the source of definitions goes.
    pub(crate) source: OnceLock<ShowSource>,
    /// How long before its end a credential is warned about.
    pub(crate) expiry_warning: Duration,
}

impl StatusReporter {
    fn room(&self) -> &RoomMaker {
        &self.acceptor.appender.room
    }

    /// Whether events are accepted.
    pub(crate) fn readiness(&self) -> RouterReadiness {
        let reason = if self.acceptor.appender.is_stopping() {
            "stopping".to_owned()
        } else {
            match self.room().disk.as_ref().map(DiskJournal::health) {
                None if let Some(cluster) = &self.room().cluster => {
                    cluster.fault().unwrap_or_default()
                }
                None | Some(JournalHealth::Ok) => String::new(),
                Some(JournalHealth::Full(reason)) => {
                    format!("the journal cannot be written: {reason}")
                }
                Some(JournalHealth::Stalled(reason)) => reason.to_string(),
                Some(JournalHealth::Poisoned(reason)) => {
                    format!("the journal is poisoned until a restart: {reason}")
                }
            }
        };
        RouterReadiness {
            ready: reason.is_empty(),
            reason,
        }
    }

    fn warnings(&self, instances: &[InstanceStatus]) -> Vec<String> {
        let mut warnings = expiry::of_endpoints(instances, self.expiry_warning);
        warnings.extend(self.room().full_disk_warning());
        warnings.extend(self.room().kept_warning(instances));
        warnings.extend(unreadable_warnings(instances));
        warnings.extend(self.acceptor.admission.warning());
        warnings.extend(self.damage.warning.clone());
        let cluster = self.room().cluster.iter();
        warnings.extend(cluster.flat_map(ClusterJournal::quarantined));
        warnings
    }

    /// A snapshot of everything.
    pub(crate) fn status(&self) -> RouterStatus {
        let usage = self.room().usage();
        let disk_full = self.room().is_disk_full();
        gauge!("twinroute_journal_disk_full").set(f64::from(u8::from(disk_full)));
        gauge!("twinroute_journal_bytes").set(usage.bytes as f64);
        gauge!("twinroute_journal_bytes_max").set(usage.bytes_max as f64);
        gauge!("twinroute_journal_events").set(usage.events as f64);
        if let Some(duplicates) = &self.acceptor.duplicates {
            gauge!("twinroute_duplicate_window_events").set(duplicates.remembered() as f64);
        }
        let (mut table, instances) = self.acceptor.live.status();
        let source = self.source.get();
        table.source = source.and_then(|source| user_code::call_named("show_source", source));
        let tally = &self.acceptor.tally;
        RouterStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            readiness: self.readiness(),
            warnings: self.warnings(&instances),
            admission: self.acceptor.admission.status(),
            table,
            journal: JournalStatus {
                kind: match (&self.room().disk, &self.room().cluster) {
                    (Some(_), _) => JournalKind::Disk,
                    (None, Some(_)) => JournalKind::Cluster,
                    (None, None) => JournalKind::Memory,
                },
                events: usage.events,
                bytes: usage.bytes,
                bytes_max: usage.bytes_max,
                share_bytes: self.room().share(),
                disk_bytes: self
                    .room()
                    .disk
                    .as_ref()
                    .map_or(0, |disk| disk.usage().disk_bytes),
                disk_full,
                lost: self.acceptor.appender.lost(),
                lost_deliveries: self.damage.lost,
                lost_unknown: self.damage.unknown,
                syncs: self.room().disk.as_ref().map(damage::syncs),
                accepted: tally.accepted.get(),
                unmatched: tally.unmatched.get(),
                changed: tally.changed.get(),
                dropped: tally.dropped.get(),
                duplicates: tally.duplicates.get(),
            },
            instances,
        }
    }
}
