//! What every body of [`crate::ClusterLog`] must do, as checks that run over any of them: the one in memory and the one on servers.
//!
//! A check takes what it finds in its partition as the beginning, so that checks can run again on the same log. None waits
//! for time to pass, but each call has a limit, after which its check has failed.

mod entries;
mod races;
mod records;
mod scene;

pub use scene::{ContractBreach, ContractScene};

use std::future::Future;
use std::pin::Pin;

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct ContractCheck {
    /// What is promised.
    pub name: &'static str,
    run: for<'a> fn(&'a ContractScene<'a>) -> CheckFuture<'a>,
}

type CheckFuture<'a> = Pin<Box<dyn Future<Output = Result<(), ContractBreach>> + Send + 'a>>;

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
