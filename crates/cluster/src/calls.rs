//! Calls of the log with a limit to their time, and entries whose writing may have been done though nobody said so.

use crate::settings::ClusterContext;
use bytes::Bytes;
use tokio::time::{sleep, timeout};
use twinroute_journal::{ClusterEntry, ClusterKey, ClusterLogError, ExpectedRevision, LogFuture};

impl ClusterContext {
    /// The answer to a call, or that there was none in time.
    pub async fn call<T>(&self, call: LogFuture<'_, T>) -> Result<T, ClusterLogError> {
        let answer = timeout(self.times.call_max, call)
            .await
            .unwrap_or_else(|_| {
                let waited = self.times.call_max.as_secs_f32();
                Err(ClusterLogError::Unavailable(
                    format!("no answer in {waited} s").into(),
                ))
            });
        if !matches!(answer, Err(ClusterLogError::Unavailable(_))) {
            self.health.answered();
        }
        answer
    }

    /// The answer to a call that is made until there is one. Dropping it is what ends it otherwise.
    pub(crate) async fn insist<'a, T>(
        &self,
        mut call: impl FnMut() -> LogFuture<'a, T>,
    ) -> Result<T, ClusterLogError> {
        loop {
            match self.call(call()).await {
                Err(ClusterLogError::Unavailable(reason)) => {
                    tracing::debug!(%reason, "a call of the cluster's log is made again");
                    sleep(self.times.again).await;
                }
                answer => return answer,
            }
        }
    }

    /// Writes an entry until it is known to be written or not to be.
    ///
    /// # Errors
    /// [`ClusterLogError::Conflict`] when another wrote it, and what stays so.
    pub(crate) async fn write(
        &self,
        key: &ClusterKey,
        value: &Bytes,
        expected: ExpectedRevision,
    ) -> Result<u64, ClusterLogError> {
        let mut is_unknown = false;
        loop {
            match self
                .call(self.log.write_entry(key, value.clone(), expected))
                .await
            {
                Err(ClusterLogError::Unavailable(_)) => is_unknown = true,
                Err(conflict @ ClusterLogError::Conflict { .. }) if is_unknown => {
                    // Perhaps with what this very call wrote before.
                    let entry = self.insist(|| self.log.entry(key)).await?;
                    return match entry {
                        Some(ClusterEntry {
                            revision,
                            value: found,
                        }) if found == *value => Ok(revision),
                        _ => Err(conflict),
                    };
                }
                answer => return answer,
            }
            sleep(self.times.again).await;
        }
    }
}

/// The revision that an entry must have to be written over what was read.
pub(crate) fn expected_of(entry: Option<&ClusterEntry>) -> ExpectedRevision {
    entry.map_or(ExpectedRevision::Absent, |entry| {
        ExpectedRevision::Revision(entry.revision)
    })
}
