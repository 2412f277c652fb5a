//! The rolling hash of a partition's records: two who folded the same records have the same, and who was shown others
//! does not.

use crate::cluster_log::{ClusterRecord, RecordSubject};
use std::collections::VecDeque;
use twinroute_model::stable_hash::mix;

/// The hash, as of every record since the last statement of an owner.
///
/// Each statement takes what stands before it out, so it holds 16 bytes for each record that was folded since: an owner makes
/// one at least every 64 MiB of records.
#[derive(Clone, Debug)]
pub(crate) struct HashChain {
    /// As of the record before `recent`, and its sequence.
    base: u64,
    base_at: u64,
    /// As of the last record.
    hash: u64,
    /// By sequence.
    recent: VecDeque<(u64, u64)>,
}

impl HashChain {
    /// Of a log that is read from the record behind `base_at` on; `base` is the hash as of that one. That of a log without
    /// a record is 0.
    pub(crate) const fn behind(base_at: u64, base: u64) -> Self {
        Self {
            base,
            base_at,
            hash: base,
            recent: VecDeque::new(),
        }
    }

    /// As of the last record.
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// Goes on by a record.
    pub(crate) fn push(&mut self, record: &ClusterRecord) {
        self.hash = mix(self.hash.rotate_left(1) ^ digest(record));
        self.recent.push_back((record.sequence, self.hash));
    }

    /// Whether an owner had the same as of record `folded_to`; takes out what stands before. A statement about records that
    /// were taken out already says nothing new.
    ///
    /// # Errors
    /// The first record that may be another, if it had not.
    pub(crate) fn compare(&mut self, folded_to: u64, stated: u64) -> Result<(), u64> {
        if folded_to < self.base_at {
            return Ok(());
        }
        let from = self.base_at + 1;
        let covered = self.recent.partition_point(|(at, _)| *at <= folded_to);
        if let Some((_, hash)) = self.recent.drain(..covered).next_back() {
            self.base = hash;
        }
        self.base_at = folded_to;
        (self.base == stated).then_some(()).ok_or(from)
    }
}

/// Of all that a record is. It is to notice faults, not forgers.
fn digest(record: &ClusterRecord) -> u64 {
    let subject: u64 = match record.subject {
        RecordSubject::Events => 1,
        RecordSubject::Settlements => 2,
    };
    let checksum = u64::from(crc32c::crc32c(&record.bytes));
    mix((checksum << 32) ^ record.bytes.len() as u64) ^ mix(record.sequence << 2 | subject)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn record(sequence: u64, bytes: &'static [u8]) -> ClusterRecord {
        ClusterRecord {
            sequence,
            subject: RecordSubject::Events,
            bytes: Bytes::from_static(bytes),
        }
    }

    fn chain(records: &[(u64, &'static [u8])]) -> HashChain {
        let mut chain = HashChain::behind(0, 0);
        for (sequence, bytes) in records {
            chain.push(&record(*sequence, bytes));
        }
        chain
    }

    #[test]
    fn the_hash_is_the_same_for_ever() {
        let chain = chain(&[(1, b"one"), (2, b"two")]);
        assert_eq!(chain.hash(), 16_726_449_926_336_050_561);
    }

    #[test]
    fn another_record_another_order_and_another_subject_are_noticed() {
        let good = chain(&[(1, b"one"), (2, b"two")]).hash();
        let other = |records: &[(u64, &'static [u8])]| chain(records).compare(2, good);
        assert_eq!(other(&[(1, b"one"), (2, b"two"), (3, b"x")]), Ok(()));
        assert_eq!(other(&[(1, b"one"), (2, b"twp")]), Err(1));
        assert_eq!(other(&[(1, b"two"), (2, b"one")]), Err(1));
        assert_eq!(other(&[(1, b"one")]), Err(1));
        let mut settlement = record(2, b"two");
        settlement.subject = RecordSubject::Settlements;
        let mut other = chain(&[(1, b"one")]);
        other.push(&settlement);
        assert_eq!(other.compare(2, good), Err(1));
    }

    #[test]
    fn what_was_compared_is_taken_out_and_old_statements_say_nothing() {
        let mut chain = chain(&[(1, b"one"), (2, b"two"), (3, b"three")]);
        let last = chain.hash();
        assert_eq!(chain.compare(3, last), Ok(()));
        assert_eq!(chain.recent.len(), 0);
        assert_eq!(chain.compare(1, 7), Ok(()));
        chain.push(&record(4, b"four"));
        assert_eq!(chain.compare(4, last), Err(4));
    }
}
