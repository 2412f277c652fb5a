//! Which group of each router comes next: one that comes twice is counted once, and one that is missing is noticed.

use super::group::{EventsHead, GroupOrigin};
use std::collections::BTreeMap;

/// Lives of one router that are remembered: a group of an earlier one may come late.
const LIVES: usize = 2;

/// How far each router has come in a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WriterPlaces {
    counters: BTreeMap<GroupOrigin, u64>,
}

/// What a group is to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupVerdict {
    /// It comes next.
    Next,
    /// It was there before.
    Repeated,
    /// So many before it are not there.
    Gap(u64),
}

impl WriterPlaces {
    /// Takes note of a group.
    pub(crate) fn push(&mut self, head: &EventsHead) -> GroupVerdict {
        let known = self.counters.get(&head.origin).copied();
        let expected = known.unwrap_or_default() + 1;
        if head.counter < expected {
            return GroupVerdict::Repeated;
        }
        if head.counter > expected {
            return GroupVerdict::Gap(head.counter - expected);
        }
        self.set(head.origin.clone(), head.counter);
        GroupVerdict::Next
    }

    /// Takes note of how far an origin had come.
    pub(crate) fn set(&mut self, origin: GroupOrigin, counter: u64) {
        let before = self.counters.insert(origin.clone(), counter);
        if before.is_none() {
            let lives = self.counters.keys();
            let lives = lives.filter(|one| one.router == origin.router);
            if let (true, Some(oldest)) = (lives.clone().count() > LIVES, lives.clone().next()) {
                let oldest = oldest.clone();
                self.counters.remove(&oldest);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = EventsHead> {
        self.counters.iter().map(|(origin, counter)| EventsHead {
            origin: origin.clone(),
            counter: *counter,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_log::RouterName;

    fn head(incarnation: u64, counter: u64) -> EventsHead {
        let router = RouterName::new("west").unwrap();
        EventsHead {
            origin: GroupOrigin {
                router,
                incarnation,
            },
            counter,
        }
    }

    #[test]
    fn a_repeated_group_counts_once_and_a_missing_one_is_noticed() {
        let mut writers = WriterPlaces::default();
        for (incarnation, counter, expect) in [
            (1, 1, GroupVerdict::Next),
            (1, 2, GroupVerdict::Next),
            (1, 2, GroupVerdict::Repeated),
            (1, 1, GroupVerdict::Repeated),
            (1, 5, GroupVerdict::Gap(2)),
            (2, 1, GroupVerdict::Next),
            // The last of the life before may come late.
            (1, 3, GroupVerdict::Next),
            (3, 2, GroupVerdict::Gap(1)),
        ] {
            let verdict = writers.push(&head(incarnation, counter));
            assert_eq!(verdict, expect, "{incarnation}/{counter}");
        }
    }

    #[test]
    fn two_lives_of_a_router_are_remembered() {
        let mut writers = WriterPlaces::default();
        for incarnation in 1..=5 {
            writers.push(&head(incarnation, 1));
        }
        let lives: Vec<_> = writers.iter().map(|head| head.origin.incarnation).collect();
        assert_eq!(lives, [4, 5]);
    }
}
