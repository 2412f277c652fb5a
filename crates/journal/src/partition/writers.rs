//! Which group of each router comes next: one that comes twice is counted once, and one that is missing is noticed.

use super::group::{EventsHead, GroupOrigin};
use std::collections::BTreeMap;

/// Lives of one router that the fold of a partition remembers: a group of an earlier one may come late, or be missing.
pub const WRITER_LIVES: usize = 8;

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
    /// Takes note of a group. One of a life that was forgotten counts, whatever its number: it was on its way for as
    /// long as two later lives took to write here, and nobody knows any more what came before it.
    pub(crate) fn push(&mut self, head: &EventsHead) -> GroupVerdict {
        let known = self.counters.get(&head.origin).copied();
        if known.is_none() && self.is_forgotten(&head.origin) {
            return GroupVerdict::Next;
        }
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

    /// How many groups of an origin are not there, if it has written as many as `counter`. None of a life that was
    /// forgotten, of which that cannot be said.
    pub(crate) fn missing(&self, origin: &GroupOrigin, counter: u64) -> u64 {
        match self.counters.get(origin) {
            None if self.is_forgotten(origin) => 0,
            known => counter.saturating_sub(known.copied().unwrap_or_default()),
        }
    }

    /// Whether as many lives of the router as are remembered came after this one.
    fn is_forgotten(&self, origin: &GroupOrigin) -> bool {
        let later = self.counters.keys();
        let later = later.filter(|one| one.router == origin.router && *one > origin);
        later.count() >= WRITER_LIVES
    }

    /// Takes note of how far an origin had come.
    pub(crate) fn set(&mut self, origin: GroupOrigin, counter: u64) {
        let before = self.counters.insert(origin.clone(), counter);
        if before.is_none() {
            let lives = self.counters.keys();
            let lives = lives.filter(|one| one.router == origin.router);
            if let (true, Some(oldest)) =
                (lives.clone().count() > WRITER_LIVES, lives.clone().next())
            {
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
    fn a_late_group_of_a_forgotten_life_is_no_gap() {
        let mut writers = WriterPlaces::default();
        for (incarnation, counter) in (1..=9).map(|life| (life, 1)) {
            writers.push(&head(incarnation, counter));
        }
        // Of the first life nothing is known by now, but that its third group was on its way.
        assert_eq!(writers.push(&head(1, 3)), GroupVerdict::Next);
        assert_eq!(writers.push(&head(2, 3)), GroupVerdict::Gap(1));
        assert_eq!(writers.push(&head(3, 2)), GroupVerdict::Next);
    }

    #[test]
    fn groups_that_were_acknowledged_are_missing_unless_their_life_is_forgotten() {
        let mut writers = WriterPlaces::default();
        for (incarnation, counter) in (1..=9).map(|life| (life, 1)).chain([(2, 2)]) {
            writers.push(&head(incarnation, counter));
        }
        for (incarnation, counter, expect) in
            [(1, 9, 0), (2, 2, 0), (2, 4, 2), (3, 1, 0), (10, 3, 3)]
        {
            let origin = head(incarnation, 0).origin;
            assert_eq!(writers.missing(&origin, counter), expect, "{incarnation}");
        }
    }

    #[test]
    fn eight_lives_of_a_router_are_remembered() {
        let mut writers = WriterPlaces::default();
        for incarnation in 1..=11 {
            writers.push(&head(incarnation, 1));
        }
        let lives: Vec<_> = writers.iter().map(|head| head.origin.incarnation).collect();
        assert_eq!(lives, [4, 5, 6, 7, 8, 9, 10, 11]);
    }
}
