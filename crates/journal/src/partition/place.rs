//! Where an event stands in the log of a cluster, as the one number that all else knows it by.

use crate::cluster_log::{PARTITIONS_MAX, PartitionNumber};

/// A group holds at most so many events: their numbers within it have 12 bits.
pub const GROUP_EVENTS_MAX: usize = 1 << INDEX_BITS;

const INDEX_BITS: u32 = 12;
const PARTITION_BITS: u32 = 4;
const _: () = assert!(PARTITIONS_MAX as usize <= 1 << PARTITION_BITS);

/// An event's place: its partition, its record's sequence there, and its number within the record.
///
/// As one number it has the record in its upper 48 bits, so that within a partition numbers follow the log, and no two
/// events of a cluster have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventPlace {
    /// The sequence of its record: below 2^48, which takes 89 years at 100,000 records a second.
    pub record: u64,
    /// Its partition.
    pub partition: PartitionNumber,
    /// Its number within the record, from 0.
    pub index: u16,
}

impl EventPlace {
    /// As one number.
    #[must_use]
    pub const fn sequence(self) -> u64 {
        (self.record << (PARTITION_BITS + INDEX_BITS))
            | ((self.partition.get() as u64) << INDEX_BITS)
            | self.index as u64
    }

    /// Of that number.
    ///
    /// # Panics
    /// Never: each number of 64 bits is a place.
    #[must_use]
    pub const fn of_sequence(sequence: u64) -> Self {
        let partition = (sequence >> INDEX_BITS) as u8 & (PARTITIONS_MAX - 1);
        Self {
            record: sequence >> (PARTITION_BITS + INDEX_BITS),
            partition: PartitionNumber::new(partition).expect("of as many bits"),
            index: (sequence & (GROUP_EVENTS_MAX as u64 - 1)) as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_log_and_give_their_place_back() {
        let place = |record, partition, index| EventPlace {
            record,
            partition: PartitionNumber::new(partition).unwrap(),
            index,
        };
        assert_eq!(place(1, 0, 0).sequence(), 0x1_0000);
        assert_eq!(place(2, 3, 4).sequence(), 0x2_3004);
        for all in [
            place(1, 0, 0),
            place(7, 15, 4_095),
            place((1 << 48) - 1, 9, 1),
        ] {
            assert_eq!(EventPlace::of_sequence(all.sequence()), all);
        }
        assert!(place(5, 15, 4_095).sequence() < place(6, 0, 0).sequence());
    }
}
