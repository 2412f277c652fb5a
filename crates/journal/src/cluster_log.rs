//! The log that several routers share, as the one trait that its bodies implement.
//!
//! It appends, gives back what was appended, trims, and keeps small entries that change by compare-and-set. It knows
//! nothing of leases, epochs, members or what a record holds: those are decisions of the routers, made of these calls,
//! so that every body of the trait shares them and none can get them wrong.

use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Partitions of a cluster, unless it was made with fewer.
pub const PARTITIONS: u8 = 16;

/// A cluster has at most this many: so many bits of a sequence say which one.
pub const PARTITIONS_MAX: u8 = 16;

/// What one call of a [`ClusterLog`] gives.
pub type LogFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ClusterLogError>> + Send + 'a>>;

/// A replicated log of several partitions, with entries beside it.
///
/// Each partition is one sequence of records, numbered from 1 without a gap, under two subjects. A call that succeeded
/// outlives the loss of any one node, as [`ClusterLogFacts`] says of its disks.
///
/// **Time.** No call sets a limit of its own beside the connection's: whoever calls bounds the wait and drops the future.
///
/// **Dropping** the future of a call that changes something leaves it unknown whether it is done, and so does
/// [`ClusterLogError::Unavailable`]. The caller finds out by doing it again: an append under its message id, an entry
/// under the revision that it expected. Dropping any other future is harmless.
///
/// **Order.** Two appends of which the second begins after the first was answered stand in this order. Of appends that
/// are under way together nothing is promised.
pub trait ClusterLog: Send + Sync + fmt::Debug + 'static {
    /// What the log is: asked once, before anything else, and refused by the caller where it does not fit.
    ///
    /// # Errors
    /// When it cannot be reached, or is not this cluster's.
    fn facts(&self) -> LogFuture<'_, ClusterLogFacts>;

    /// Appends a record and gives its sequence, once a quorum has it.
    ///
    /// A message id that the partition has taken in the last ten minutes is not appended again, whatever is expected: the
    /// answer has the sequence of the first and says so.
    ///
    /// # Errors
    /// [`ClusterLogError::Conflict`] when `expected` is not the last sequence of the subject, [`ClusterLogError::Full`],
    /// [`ClusterLogError::TooLarge`] and [`ClusterLogError::Refused`]: then nothing was appended.
    /// [`ClusterLogError::Unavailable`]: it may have been, or may be yet.
    fn append(&self, append: RecordAppend) -> LogFuture<'_, AppendedRecord>;

    /// The records of a partition from the one with sequence `from` on, and then those to come. Where that one was trimmed
    /// it begins with the first that is there; a caller sees that by its sequence.
    ///
    /// # Errors
    /// When the log cannot be reached or has no such partition.
    fn tail(&self, partition: PartitionNumber, from: u64) -> LogFuture<'_, Box<dyn RecordTail>>;

    /// One record; none when it was trimmed or is not there yet. For events that a lane does not keep in memory.
    ///
    /// # Errors
    /// When the log cannot be reached.
    fn record(
        &self,
        partition: PartitionNumber,
        sequence: u64,
    ) -> LogFuture<'_, Option<ClusterRecord>>;

    /// Where a partition begins and ends, as a majority of its nodes knows it: not older than any append that was answered
    /// before the call.
    ///
    /// # Errors
    /// When the log cannot be reached or has no such partition.
    fn bounds(&self, partition: PartitionNumber) -> LogFuture<'_, PartitionBounds>;

    /// Removes the records of a partition whose sequence is below `before`. What is gone already is no error.
    ///
    /// # Errors
    /// [`ClusterLogError::Unavailable`]: it may be done yet.
    fn trim(&self, partition: PartitionNumber, before: u64) -> LogFuture<'_, ()>;

    /// An entry, as a majority knows it; none where there is none.
    ///
    /// # Errors
    /// When the log cannot be reached.
    fn entry<'a>(&'a self, key: &'a ClusterKey) -> LogFuture<'a, Option<ClusterEntry>>;

    /// All entries of one kind, in the order of their keys.
    ///
    /// # Errors
    /// When the log cannot be reached.
    fn entries(&self, kind: ClusterKeyKind) -> LogFuture<'_, Vec<(ClusterKey, ClusterEntry)>>;

    /// Writes an entry, if its revision is still the expected one, and gives its new revision: higher than that of any
    /// entry of the kind before.
    ///
    /// # Errors
    /// [`ClusterLogError::Conflict`] when it is not: then nothing was written. [`ClusterLogError::Unavailable`]: it may have
    /// been, or may be yet; doing it again then gives a conflict, and the entry's value says whose it is.
    fn write_entry<'a>(
        &'a self,
        key: &'a ClusterKey,
        value: Bytes,
        expected: ExpectedRevision,
    ) -> LogFuture<'a, u64>;

    /// Removes an entry, if its revision is still `revision`. One that is gone already is no error.
    ///
    /// # Errors
    /// As of [`ClusterLog::write_entry`].
    fn remove_entry<'a>(&'a self, key: &'a ClusterKey, revision: u64) -> LogFuture<'a, ()>;
}

/// Records of a partition, one after the other.
pub trait RecordTail: Send {
    /// The next record; waits for it without an end, and for the log while that is unavailable. Records come in the order of
    /// their sequences, none twice. Dropping the future loses none.
    ///
    /// # Errors
    /// [`ClusterLogError::Refused`] when there can be no next one, such as after the partition was deleted.
    fn next(&mut self) -> LogFuture<'_, ClusterRecord>;
}

/// What a log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterLogFacts {
    /// How many partitions the cluster was made with: 1 to [`PARTITIONS_MAX`].
    pub partitions: u8,
    /// The longest record, in bytes.
    pub record_bytes_max: usize,
    /// The longest value of an entry, in bytes.
    pub entry_bytes_max: usize,
    /// Whether an append is synced on a quorum's disks before it is answered. If not, why, with what to do.
    pub durable: Result<(), String>,
}

/// A partition's number: from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionNumber(u8);

/// Under what a record stands in its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordSubject {
    /// Accepted events, of any router.
    Events,
    /// What became of deliveries, of the partition's owner.
    Settlements,
}

/// A record on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordAppend {
    /// Where to.
    pub partition: PartitionNumber,
    /// Under what.
    pub subject: RecordSubject,
    /// Says that two appends are of the same record: at most 128 visible ASCII characters.
    pub message_id: Arc<str>,
    /// The last sequence of the subject (0: it has no record, or none any more), if the record may stand behind that one
    /// only. So whoever expects a record keeps it from being trimmed.
    pub expected: Option<u64>,
    /// What it holds.
    pub bytes: Bytes,
}

/// Where an appended record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedRecord {
    /// Its sequence in the partition.
    pub sequence: u64,
    /// It was there already, under the same message id.
    pub is_repeated: bool,
}

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRecord {
    /// Its place in the partition.
    pub sequence: u64,
    /// Under what it stands.
    pub subject: RecordSubject,
    /// What it holds.
    pub bytes: Bytes,
}

/// Where a partition begins and ends. Without a record, `first` is `last` + 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionBounds {
    /// The sequence of the first record.
    pub first: u64,
    /// The sequence of the last record.
    pub last: u64,
}

/// The name of a router in its cluster: 1 to 32 lower-case letters, digits and hyphens, neither first nor last a hyphen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterName(Arc<str>);

/// A name that no router can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "router name {0:?}: must have 1 to 32 lower-case letters, digits and hyphens, and neither begin nor end with a hyphen"
)]
pub struct InvalidRouterName(String);

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterKeyKind {
    /// Routers that are there.
    Member,
    /// Who owns which partition.
    Lease,
    /// Where the fold of a partition may begin.
    Checkpoint,
}

/// The key of an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterKey {
    /// A router that is there.
    Member(RouterName),
    /// Who owns a partition.
    Lease(PartitionNumber),
    /// Where the fold of a partition may begin.
    Checkpoint(PartitionNumber),
}

/// An entry's value, as of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterEntry {
    /// Which writing of it this is; never used again.
    pub revision: u64,
    /// What was written.
    pub value: Bytes,
}

/// What must be true of an entry for it to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedRevision {
    /// It is not there.
    Absent,
    /// It was not written since.
    Revision(u64),
}

/// Why a call of the log did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterLogError {
    /// Nobody answers for the partition or the entries just now, or the answer was lost. It may have been done.
    #[error("the cluster's log does not answer: {0}")]
    Unavailable(Arc<str>),
    /// Another was faster, or had been all along: nothing was done.
    #[error("the cluster's log is at {found}, where {expected} was expected")]
    Conflict {
        /// The last sequence or the revision that was expected; 0: none.
        expected: u64,
        /// The one that is there; 0: none.
        found: u64,
    },
    /// The partition holds as many bytes as it may.
    #[error("partition {0} of the cluster's log is full")]
    Full(PartitionNumber),
    /// The record or the value is longer than the log takes.
    #[error("{bytes} bytes are more than the {bytes_max} that the cluster's log takes at once")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The log will go on refusing until somebody changes something; says what.
    #[error("the cluster's log refuses: {0}")]
    Refused(Arc<str>),
}

impl PartitionNumber {
    /// The partition with this number; none from [`PARTITIONS_MAX`] on.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < PARTITIONS_MAX {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The partition of a twin, by its stable hash.
    ///
    /// # Panics
    /// Unless `partitions` is 1 to [`PARTITIONS_MAX`].
    #[must_use]
    pub fn of_twin(twin: u64, partitions: u8) -> Self {
        assert!(
            (1..=PARTITIONS_MAX).contains(&partitions),
            "checked when the log was opened"
        );
        let number = twin % u64::from(partitions);
        Self(u8::try_from(number).expect("below a number of 8 bits"))
    }

    /// All partitions of a cluster.
    pub fn all(partitions: u8) -> impl Iterator<Item = Self> + Clone {
        (0..partitions.min(PARTITIONS_MAX)).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for PartitionNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02}", self.0)
    }
}

impl RouterName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 32;

    /// Checks a name.
    ///
    /// # Errors
    /// When it is not one.
    pub fn new(name: &str) -> Result<Self, InvalidRouterName> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_right = (1..=Self::BYTES_MAX).contains(&name.len())
            && name.bytes().all(legal)
            && !name.starts_with('-')
            && !name.ends_with('-');
        match is_right {
            true => Ok(Self(name.into())),
            false => Err(InvalidRouterName(name.to_owned())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RouterName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl RecordSubject {
    /// The subject's last word: `e` or `s`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "e",
            Self::Settlements => "s",
        }
    }
}

impl ClusterKey {
    /// What the entry is for.
    #[must_use]
    pub const fn kind(&self) -> ClusterKeyKind {
        match self {
            Self::Member(_) => ClusterKeyKind::Member,
            Self::Lease(_) => ClusterKeyKind::Lease,
            Self::Checkpoint(_) => ClusterKeyKind::Checkpoint,
        }
    }
}

/// Within its kind: `member.<router>`, `part.NN`, `pNN`.
impl fmt::Display for ClusterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(router) => write!(formatter, "member.{router}"),
            Self::Lease(partition) => write!(formatter, "part.{partition}"),
            Self::Checkpoint(partition) => write!(formatter, "p{partition}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_stays_in_its_partition_for_ever() {
        // Events already in a log depend on it.
        for (twin, expect) in [
            (0, 0),
            (15, 15),
            (16, 0),
            (0x009e_862b_9aba_1246, 6),
            (u64::MAX, 15),
        ] {
            let partition = PartitionNumber::of_twin(twin, PARTITIONS);
            assert_eq!(partition.get(), expect, "{twin:x}");
        }
        assert_eq!(PartitionNumber::of_twin(7, 3).get(), 1);
    }

    #[test]
    fn only_what_can_stand_in_a_subject_is_a_router_name() {
        for right in ["r", "router-1", "0", &"a".repeat(32)] {
            assert_eq!(RouterName::new(right).unwrap().as_str(), right);
        }
        for wrong in ["", "-a", "a-", "A", "a.b", "a b", "a>", &"a".repeat(33)] {
            let error = RouterName::new(wrong).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("router name {wrong:?}: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn keys_are_what_stands_in_the_log() {
        let partition = PartitionNumber::new(3).unwrap();
        assert_eq!(ClusterKey::Lease(partition).to_string(), "part.03");
        assert_eq!(ClusterKey::Checkpoint(partition).to_string(), "p03");
        let router = RouterName::new("west").unwrap();
        assert_eq!(ClusterKey::Member(router).to_string(), "member.west");
        assert_eq!(PartitionNumber::new(16), None);
    }
}
