//! Which routers are there, and which of them is to own a partition.

use crate::acknowledged::{AcknowledgedGroup, AcknowledgedText};
use crate::entry_text::{EntryReader, EntryWriter};
use crate::lease::WatchedRevision;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::partition::WRITER_LIVES;
use twinroute_journal::{ClusterEntry, PartitionNumber, RouterName};
use twinroute_model::stable_hash::{mix, stable_hash};

/// What a router says of itself, again and again: that it does is what keeps it a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// Its name.
    pub router: RouterName,
    /// Which start of it: it distinguishes two that have one name.
    pub incarnation: u64,
    /// The layout of records that it writes.
    pub version: u64,
    /// How often it has said so.
    pub beat: u64,
    /// Whether it has left in order. What it was acknowledged stays.
    pub has_left: bool,
    /// What it was acknowledged in each partition, and its lives before.
    pub acknowledged: Vec<AcknowledgedGroup>,
}

const KIND: &str = "member";

/// Lives of a router before the one that runs, of which it is remembered what they were acknowledged: fewer than the fold
/// knows, and more than any router has before somebody has looked for what it was acknowledged.
const LIVES_REMEMBERED: usize = 7;
const _: () = assert!(LIVES_REMEMBERED < WRITER_LIVES);

impl MemberRecord {
    /// As an entry.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        EntryWriter::new(KIND)
            .field("router", &self.router)
            .field("incarnation", self.incarnation)
            .field("version", self.version)
            .field("beat", self.beat)
            .field("left", self.has_left)
            .field("acknowledged", AcknowledgedText(self.acknowledged.clone()))
            .finish()
    }

    /// Reads an entry; none where it is no member of this version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = EntryReader::new(bytes, KIND)?;
        Some(Self {
            router: RouterName::new(&reader.field::<String>("router")?).ok()?,
            incarnation: reader.field("incarnation")?,
            version: reader.field("version")?,
            beat: reader.field("beat")?,
            has_left: reader.field("left")?,
            acknowledged: reader.field::<AcknowledgedText>("acknowledged")?.0,
        })
    }

    /// What is to be remembered of the lives before `incarnation`: of the last seven that were acknowledged
    /// anything.
    #[must_use]
    pub fn acknowledged_before(&self, incarnation: u64) -> Vec<AcknowledgedGroup> {
        let mut before = self.acknowledged.clone();
        before.retain(|group| group.incarnation < incarnation);
        let lives: BTreeSet<_> = before.iter().map(|group| group.incarnation).collect();
        if let Some(oldest) = lives.iter().rev().nth(LIVES_REMEMBERED - 1) {
            before.retain(|group| group.incarnation >= *oldest);
        }
        before
    }
}

/// The routers of a cluster, as one of them sees them.
#[derive(Clone, Debug, Default)]
pub struct MemberWatch {
    seen: BTreeMap<RouterName, WatchedRevision>,
}

impl MemberWatch {
    /// After a look at all members that was answered at `now`.
    pub fn look<'a>(
        &mut self,
        entries: impl Iterator<Item = (&'a RouterName, &'a ClusterEntry)>,
        now: Instant,
    ) {
        let before = std::mem::take(&mut self.seen);
        for (router, entry) in entries {
            let watched = before.get(router).copied();
            let watched = WatchedRevision::seen(watched, entry.revision, now);
            self.seen.insert(router.clone(), watched);
        }
    }

    /// Those that have said something within `within`.
    #[must_use]
    pub fn live(&self, within: Duration, now: Instant) -> BTreeSet<RouterName> {
        let live = self.seen.iter();
        let live = live.filter(|(_, seen)| now.duration_since(seen.since) < within);
        live.map(|(router, _)| router.clone()).collect()
    }
}

/// The member that is to own a partition: the one whose name and the partition hash highest together. So a member that
/// comes or goes moves its own share of the partitions and no other.
#[must_use]
pub fn rendezvous_owner(
    partition: PartitionNumber,
    members: &BTreeSet<RouterName>,
) -> Option<&RouterName> {
    let weight = |router: &&RouterName| {
        let weight = mix(stable_hash(router.as_str(), "") ^ mix(u64::from(partition.get()) + 1));
        (weight, (*router).clone())
    };
    members.iter().max_by_key(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinroute_journal::PARTITIONS;

    fn members(names: &[&str]) -> BTreeSet<RouterName> {
        names
            .iter()
            .map(|name| RouterName::new(name).unwrap())
            .collect()
    }

    fn owners(names: &[&str]) -> Vec<String> {
        let members = members(names);
        PartitionNumber::all(PARTITIONS)
            .map(|partition| rendezvous_owner(partition, &members).unwrap().to_string())
            .collect()
    }

    #[test]
    fn a_member_is_read_as_it_is_written() {
        let member = MemberRecord {
            router: RouterName::new("west").unwrap(),
            incarnation: 3,
            version: 1,
            beat: 12,
            has_left: false,
            acknowledged: vec![acknowledged(3, 0, 7)],
        };
        assert_eq!(MemberRecord::decode(&member.encode()), Some(member));
    }

    fn acknowledged(incarnation: u64, partition: u8, counter: u64) -> AcknowledgedGroup {
        AcknowledgedGroup {
            incarnation,
            partition: PartitionNumber::new(partition).unwrap(),
            counter,
            sequence: counter,
        }
    }

    #[test]
    fn what_the_last_lives_were_acknowledged_is_remembered() {
        let groups: Vec<_> = (1..=9)
            .flat_map(|life| [acknowledged(life, 0, 3), acknowledged(life, 1, 2)])
            .collect();
        let member = MemberRecord {
            router: RouterName::new("west").unwrap(),
            incarnation: 9,
            version: 1,
            beat: 1,
            has_left: true,
            acknowledged: groups.clone(),
        };
        assert_eq!(member.acknowledged_before(5), groups[..8]);
        assert_eq!(member.acknowledged_before(9), groups[2..16]);
        assert_eq!(member.acknowledged_before(10), groups[4..]);
        assert_eq!(member.acknowledged_before(1), []);
    }

    #[test]
    fn all_routers_choose_the_same_owners_for_ever() {
        let letters: String = owners(&["east", "north", "west"])
            .iter()
            .map(|name| &name[..1])
            .collect();
        assert_eq!(letters, "eenewnwnneenwnee");
        assert_eq!(
            rendezvous_owner(PartitionNumber::new(0).unwrap(), &members(&[])),
            None
        );
    }

    #[test]
    fn a_member_that_comes_or_goes_moves_its_own_share_alone() {
        let three = owners(&["a", "b", "c"]);
        let two = owners(&["a", "c"]);
        for (three, two) in three.iter().zip(&two) {
            assert!(three == two || three == "b");
        }
        for router in ["a", "b", "c"] {
            assert!(
                three.iter().any(|owner| owner == router),
                "{router} has none"
            );
        }
    }

    #[test]
    fn a_member_is_live_while_its_entry_changes() {
        let start = Instant::now();
        let router = RouterName::new("a").unwrap();
        let within = Duration::from_secs(10);
        let mut watch = MemberWatch::default();
        let mut look = |revision: u64, seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            let value = Bytes::new();
            let entry = ClusterEntry { revision, value };
            watch.look([(&router, &entry)].into_iter(), now);
            watch.live(within, now).len()
        };
        assert_eq!([look(1, 0), look(1, 9), look(1, 10)], [1, 1, 0]);
        assert_eq!(look(2, 11), 1);
        watch.look([].into_iter(), start);
        assert!(watch.live(within, start).is_empty());
    }
}
