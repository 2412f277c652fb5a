//! What a check of the contract works on, and how it asks.

use crate::cluster_log::{
    ClusterLog, ClusterLogError, LogFuture, PartitionBounds, PartitionNumber, RecordAppend,
    RecordSubject, RouterName,
};
use bytes::Bytes;
use std::fmt::Debug;
use std::time::Duration;
use tokio::time::timeout;

/// What a check found to be otherwise; a sentence.
pub type ContractBreach = String;

/// What a check works on.
#[derive(Debug)]
pub struct ContractScene<'a> {
    /// The log.
    pub log: &'a dyn ClusterLog,
    /// A partition that nobody else writes to.
    pub partition: PartitionNumber,
    /// Made a part of message ids and members' names: another one for each run over one log, at most 8 letters and digits.
    pub run: &'a str,
}

/// The longest that one call may take: a node's loss included.
const CALL_MAX: Duration = Duration::from_secs(30);

/// A call that would wait for ever is left after this.
pub(super) const GLANCE: Duration = Duration::from_millis(50);

impl ContractScene<'_> {
    /// The answer to a call, in time.
    pub(super) async fn answer<T>(
        &self,
        call: LogFuture<'_, T>,
    ) -> Result<Result<T, ClusterLogError>, ContractBreach> {
        let answer = timeout(CALL_MAX, call).await;
        answer.map_err(|_| format!("no answer in {} s", CALL_MAX.as_secs()))
    }

    /// What a call that must succeed gives.
    pub(super) async fn done<T>(
        &self,
        what: &str,
        call: LogFuture<'_, T>,
    ) -> Result<T, ContractBreach> {
        self.answer(call)
            .await?
            .map_err(|error| format!("{what}: {error}"))
    }

    pub(super) async fn bounds(&self) -> Result<PartitionBounds, ContractBreach> {
        self.done("bounds", self.log.bounds(self.partition)).await
    }

    pub(super) async fn trim(&self, before: u64) -> Result<(), ContractBreach> {
        self.done("trim", self.log.trim(self.partition, before))
            .await
    }

    pub(super) fn record(&self, subject: RecordSubject, id: &str) -> RecordAppend {
        RecordAppend {
            partition: self.partition,
            subject,
            message_id: format!("{}-{}-{id}", self.run, self.partition).into(),
            expected: None,
            bytes: Bytes::from(format!("record {id}")),
        }
    }

    /// The sequence of a record that no other append may have had.
    pub(super) async fn append(
        &self,
        subject: RecordSubject,
        id: &str,
    ) -> Result<u64, ContractBreach> {
        self.append_as(self.record(subject, id)).await
    }

    pub(super) async fn append_as(&self, append: RecordAppend) -> Result<u64, ContractBreach> {
        let what = format!("append {}", append.message_id);
        // Where it stands is what counts: what was sent twice on the way is answered as repeated.
        Ok(self.done(&what, self.log.append(append)).await?.sequence)
    }

    pub(super) fn router(&self, name: &str) -> Result<RouterName, ContractBreach> {
        RouterName::new(&format!("{name}-{}", self.run)).map_err(|error| error.to_string())
    }
}

pub(super) fn same<T: PartialEq + Debug>(
    what: &str,
    found: &T,
    expect: &T,
) -> Result<(), ContractBreach> {
    match found == expect {
        true => Ok(()),
        false => Err(format!("{what}: {found:?}, not {expect:?}")),
    }
}
