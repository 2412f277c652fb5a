//! What every body of [`ClusterLog`] must do, as checks that run over any of them: the one in memory and the one on servers.
//!
//! A check takes what it finds in its partition as the beginning, so that checks can run again on the same log. None waits
//! for time to pass, but each call has a limit, after which its check has failed.

mod entries;
mod races;
mod records;

use crate::cluster_log::{
    ClusterLog, ClusterLogError, LogFuture, PartitionBounds, PartitionNumber, RecordAppend,
    RecordSubject, RouterName,
};
use bytes::Bytes;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::timeout;

/// What a check found to be otherwise; a sentence.
pub type ContractBreach = String;

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct ContractCheck {
    /// What is promised.
    pub name: &'static str,
    run: for<'a> fn(&'a ContractScene<'a>) -> CheckFuture<'a>,
}

type CheckFuture<'a> = Pin<Box<dyn Future<Output = Result<(), ContractBreach>> + Send + 'a>>;

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
const GLANCE: Duration = Duration::from_millis(50);

macro_rules! checks {
    ($($module:ident::$name:ident),+ $(,)?) => {
        &[$(ContractCheck {
            name: stringify!($name),
            run: |scene| Box::pin($module::$name(scene)),
        }),+]
    };
}

/// All checks.
pub const CHECKS: &[ContractCheck] = checks![
    records::records_are_numbered_without_a_gap,
    records::a_message_id_is_appended_once_whatever_is_expected,
    records::an_append_behind_another_sequence_is_refused,
    records::a_tail_gives_all_records_in_order_and_those_to_come,
    records::a_dropped_wait_of_a_tail_loses_no_record,
    records::a_tail_from_a_trimmed_place_begins_with_the_first_record,
    records::one_record_is_read_unless_it_is_trimmed_or_to_come,
    records::a_trim_beyond_the_end_skips_no_number,
    records::a_trimmed_record_is_still_known_by_its_message_id,
    records::a_record_that_is_too_long_is_refused_with_the_limit,
    records::a_partition_that_is_not_there_is_refused,
    entries::an_entry_is_written_only_as_it_is_expected,
    entries::a_late_renewal_is_refused,
    entries::an_entry_is_removed_only_as_it_is_expected,
    entries::revisions_rise_over_a_removal,
    entries::entries_are_listed_by_kind_and_in_order,
    races::one_of_several_appends_with_one_expectation_wins,
    races::one_of_several_claims_wins,
    races::appends_with_one_message_id_stand_in_one_place,
];

impl ContractCheck {
    /// Runs the check.
    ///
    /// # Errors
    /// What was otherwise.
    pub async fn run(&self, scene: &ContractScene<'_>) -> Result<(), ContractBreach> {
        (self.run)(scene).await
    }
}

impl ContractScene<'_> {
    /// The answer to a call, in time.
    async fn answer<T>(
        &self,
        call: LogFuture<'_, T>,
    ) -> Result<Result<T, ClusterLogError>, ContractBreach> {
        let answer = timeout(CALL_MAX, call).await;
        answer.map_err(|_| format!("no answer in {} s", CALL_MAX.as_secs()))
    }

    /// What a call that must succeed gives.
    async fn done<T>(&self, what: &str, call: LogFuture<'_, T>) -> Result<T, ContractBreach> {
        self.answer(call)
            .await?
            .map_err(|error| format!("{what}: {error}"))
    }

    async fn bounds(&self) -> Result<PartitionBounds, ContractBreach> {
        self.done("bounds", self.log.bounds(self.partition)).await
    }

    async fn trim(&self, before: u64) -> Result<(), ContractBreach> {
        self.done("trim", self.log.trim(self.partition, before))
            .await
    }

    fn record(&self, subject: RecordSubject, id: &str) -> RecordAppend {
        RecordAppend {
            partition: self.partition,
            subject,
            message_id: format!("{}-{}-{id}", self.run, self.partition).into(),
            expected: None,
            bytes: Bytes::from(format!("record {id}")),
        }
    }

    /// The sequence of a record that no other append may have had.
    async fn append(&self, subject: RecordSubject, id: &str) -> Result<u64, ContractBreach> {
        self.append_as(self.record(subject, id)).await
    }

    async fn append_as(&self, append: RecordAppend) -> Result<u64, ContractBreach> {
        let what = format!("append {}", append.message_id);
        // Where it stands is what counts: what was sent twice on the way is answered as repeated.
        Ok(self.done(&what, self.log.append(append)).await?.sequence)
    }

    fn router(&self, name: &str) -> Result<RouterName, ContractBreach> {
        RouterName::new(&format!("{name}-{}", self.run)).map_err(|error| error.to_string())
    }
}

fn same<T: PartialEq + Debug>(what: &str, found: &T, expect: &T) -> Result<(), ContractBreach> {
    match found == expect {
        true => Ok(()),
        false => Err(format!("{what}: {found:?}, not {expect:?}")),
    }
}
