//! Judges a run by its history alone: no clock, no I/O, no chance.

use super::history::{
    Answer, Delivery, Disturbance, Endpoint, Endpoints, Event, EventId, History, Ledger, Post,
};
use std::collections::{HashMap, HashSet};
use std::fmt;
use twinroute_model::clock::Timestamp;

/// Events that one violation names.
const SUSPECTS_MAX: usize = 5;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Acknowledged, matched, and nowhere to be found.
    Lost(Endpoint, EventId),
    /// Arrived where it was not to, or was never accepted.
    Invented(Endpoint, String),
    /// Arrived with other attributes or another payload.
    Altered(Endpoint, EventId),
    /// The post was not acknowledged, and some of it was accepted while this was not.
    Torn(Endpoint, EventId),
    /// First arrived after a later event of its twin.
    OutOfOrder {
        /// Where.
        endpoint: Endpoint,
        /// What came late.
        late: EventId,
        /// What came before it.
        before: EventId,
    },
    /// Arrived twice while nothing was wrong.
    Repeated(Endpoint, EventId),
    /// The sum is wrong.
    Unbalanced {
        /// Whose.
        endpoint: Endpoint,
        /// The place of the snapshot.
        snapshot: usize,
        /// What it told.
        ledger: Ledger,
    },
    /// `matched` is not what was posted and acknowledged by then.
    Miscounted {
        /// Whose.
        endpoint: Endpoint,
        /// The place of the snapshot.
        snapshot: usize,
        /// What it told.
        matched: u64,
        /// What it must be at least.
        least: u64,
        /// What it can be at most.
        most: u64,
    },
    /// The last snapshot shows deliveries that are not settled.
    Pending(Endpoint, Ledger),
    /// More, or less, was given up than there was reason to.
    GivenUp {
        /// By whom.
        endpoint: Endpoint,
        /// What the last snapshot told.
        told: u64,
        /// What never arrived.
        least: u64,
        /// What there was reason for.
        most: u64,
        /// What never arrived and could have, the first few.
        suspects: Vec<EventId>,
    },
    /// The run itself did not go as it must.
    Failed(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(endpoint, event) => write!(out, "lost: event {event} for {endpoint}"),
            Self::Invented(endpoint, id) => write!(out, "invented: event {id:?} at {endpoint}"),
            Self::Altered(endpoint, event) => write!(out, "altered: event {event} at {endpoint}"),
            Self::Torn(endpoint, event) => write!(
                out,
                "torn: event {event} for {endpoint} is missing, while others of its batch were \
                 accepted"
            ),
            Self::OutOfOrder {
                endpoint,
                late,
                before,
            } => write!(
                out,
                "out of order: event {late} came to {endpoint} after event {before} of the same twin"
            ),
            Self::Repeated(endpoint, event) => write!(
                out,
                "repeated: event {event} at {endpoint}, with nothing wrong in between"
            ),
            Self::Unbalanced {
                endpoint,
                snapshot,
                ledger,
            } => write!(
                out,
                "unbalanced: snapshot {snapshot} of {endpoint}: {ledger:?}"
            ),
            Self::Miscounted {
                endpoint,
                snapshot,
                matched,
                least,
                most,
            } => write!(
                out,
                "miscounted: snapshot {snapshot} of {endpoint}: matched is {matched}, not {least} \
                 to {most}"
            ),
            Self::Pending(endpoint, ledger) => write!(out, "pending: {endpoint}: {ledger:?}"),
            Self::GivenUp {
                endpoint,
                told,
                least,
                most,
                suspects,
            } => {
                write!(
                    out,
                    "given up: {endpoint} gave up {told}, not {least} to {most}"
                )?;
                suspects
                    .iter()
                    .try_for_each(|event| write!(out, "; event {event} never arrived"))
            }
            Self::Failed(what) => write!(out, "failed: {what}"),
        }
    }
}

/// How much a run was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events in all posts.
    pub posted: u64,
    /// Events in acknowledged posts.
    pub acknowledged: u64,
    /// Events of unanswered posts that arrived all the same.
    pub unanswered_accepted: u64,
    /// Events of unanswered posts that did not.
    pub unanswered_lost: u64,
    /// Different (event, endpoint) pairs that arrived.
    pub delivered: u64,
    /// Deliveries of a pair beyond its first.
    pub duplicates: u64,
    /// Pairs that never arrived, for a good reason.
    pub given_up: u64,
}

/// Everything that is wrong with a run, and how much it was about.
#[must_use]
pub fn check(history: &History) -> (Vec<Violation>, Tally) {
    let mut judge = Judge::new(history);
    judge.arrivals();
    judge.posts();
    judge.snapshots();
    judge.end();
    let failures = history.failures.iter().cloned().map(Violation::Failed);
    judge.violations.extend(failures);
    (judge.violations, judge.tally)
}

struct Judge<'a> {
    history: &'a History,
    known: HashMap<EventId, (&'a Post, &'a Event)>,
    arrived: HashSet<(Endpoint, EventId)>,
    /// Unanswered posts of which something arrived.
    evident: HashSet<(u32, u32)>,
    /// Times in which events were refused for good.
    refusing: Vec<&'a Disturbance>,
    /// Times in which events were parked.
    parking: Vec<&'a Disturbance>,
    /// Per endpoint, accepted deliveries that never arrived, and may not have.
    missing: HashMap<Endpoint, u64>,
    /// Those of them that could have.
    suspects: HashMap<Endpoint, Vec<EventId>>,
    /// Per endpoint, accepted deliveries that it can never take.
    impossible: HashMap<Endpoint, u64>,
    /// Per endpoint, the least and the most that routes can have made.
    matched: HashMap<Endpoint, (u64, u64)>,
    violations: Vec<Violation>,
    tally: Tally,
}

impl<'a> Judge<'a> {
    fn new(history: &'a History) -> Self {
        let known = history.posts.iter().flat_map(|post| {
            let with_id = move |(index, event)| (id(post, index), (post, event));
            post.events.iter().enumerate().map(with_id)
        });
        let disturbances = |wanted: fn(&&Disturbance) -> bool| {
            let all = history.disturbances.iter();
            all.filter(wanted).collect()
        };
        Self {
            history,
            known: known.collect(),
            arrived: HashSet::new(),
            evident: HashSet::new(),
            refusing: disturbances(|disturbance| disturbance.refusals > 0),
            parking: disturbances(|disturbance| disturbance.parks),
            suspects: HashMap::new(),
            missing: HashMap::new(),
            impossible: HashMap::new(),
            matched: HashMap::new(),
            violations: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// What arrived was posted, as it was posted, in order, and twice only for a reason.
    fn arrivals(&mut self) {
        let mut latest: HashMap<(Endpoint, u32), EventId> = HashMap::new();
        for delivery in &self.history.deliveries {
            let endpoint = delivery.endpoint;
            let Some((id, post, event)) = self.source(delivery) else {
                let id = delivery.id.clone();
                self.violations.push(Violation::Invented(endpoint, id));
                continue;
            };
            if event.content != delivery.content {
                self.violations.push(Violation::Altered(endpoint, id));
            }
            if !self.arrived.insert((endpoint, id)) {
                self.tally.duplicates += 1;
                if !self.disturbed(endpoint, post.sent_at, delivery.at) {
                    self.violations.push(Violation::Repeated(endpoint, id));
                }
                continue;
            }
            self.tally.delivered += 1;
            if post.answer == Answer::None {
                self.evident.insert((post.producer, post.number));
            }
            if self.failed_alone(endpoint, post, event, delivery.at) {
                continue;
            }
            let before = latest.entry((endpoint, event.twin)).or_insert(id);
            if *before > id {
                let before = *before;
                self.violations.push(Violation::OutOfOrder {
                    endpoint,
                    late: id,
                    before,
                });
            } else {
                *before = id;
            }
        }
    }

    /// The posted event that a delivery is of, if it may be there at all.
    fn source(&self, delivery: &Delivery) -> Option<(EventId, &'a Post, &'a Event)> {
        let id = EventId::parse(&delivery.id)?;
        let (post, event) = *self.known.get(&id)?;
        let accepted = !matches!(post.answer, Answer::Refused(_));
        (accepted && event.matched.has(delivery.endpoint)).then_some((id, post, event))
    }

    /// Whether something was wrong in that time, so that a duplicate may come of it.
    fn disturbed(&self, endpoint: Endpoint, from: Timestamp, to: Timestamp) -> bool {
        let mut all = self.history.disturbances.iter();
        all.any(|disturbance| disturbance.touches(endpoint, from, to))
    }

    /// Whether an accepted delivery may end without having arrived by then: the one place that says so.
    ///
    /// What ends so is counted as dead-lettered or as discarded, and [`Self::end`] holds the two
    /// counts together against the number of these.
    fn refusable(&self, endpoint: Endpoint, post: &Post, event: &Event, by: Timestamp) -> bool {
        let mut refusing = self.refusing.iter();
        event.refused_by.has(endpoint)
            || refusing.any(|disturbance| disturbance.touches(endpoint, post.sent_at, by))
    }

    /// Whether an event may have failed alone by then, so that its order is not promised.
    ///
    /// What was refused and is sent once more after a crash comes late, and rightly so. Events of one
    /// twin that were parked together come back in any order, each at its own moment: that is as it is
    /// and not as it should be.
    fn failed_alone(&self, endpoint: Endpoint, post: &Post, event: &Event, by: Timestamp) -> bool {
        let mut parking = self.parking.iter();
        self.refusable(endpoint, post, event, by)
            || parking.any(|disturbance| disturbance.touches(endpoint, post.sent_at, by))
    }

    /// What was acknowledged arrived; what was not, arrived whole or not at all.
    fn posts(&mut self) {
        for post in &self.history.posts {
            let events = post.events.len() as u64;
            self.tally.posted += events;
            let evident = self.evident.contains(&(post.producer, post.number));
            match post.answer {
                Answer::Refused(_) => continue,
                Answer::Acknowledged(_) => self.tally.acknowledged += events,
                Answer::None if evident => self.tally.unanswered_accepted += events,
                Answer::None => {
                    self.tally.unanswered_lost += events;
                    self.unproven(post);
                    continue;
                }
            }
            for (index, event) in post.events.iter().enumerate() {
                for endpoint in event.matched.iter() {
                    self.accepted(endpoint, post, event, id(post, index));
                }
            }
        }
    }

    /// An unanswered post of which nothing arrived: not accepted, unless nothing of it ever could.
    fn unproven(&mut self, post: &Post) {
        let could_arrive = |event: &Event| event.matched.without(event.refused_by);
        let events = || post.events.iter();
        if events().any(|event| could_arrive(event) != Endpoints::default()) {
            return;
        }
        for endpoint in events().flat_map(|event| event.matched.iter()) {
            self.matched.entry(endpoint).or_default().1 += 1;
            *self.impossible.entry(endpoint).or_default() += 1;
        }
    }

    fn accepted(&mut self, endpoint: Endpoint, post: &Post, event: &Event, id: EventId) {
        let (least, most) = self.matched.entry(endpoint).or_default();
        *least += 1;
        *most += 1;
        if event.refused_by.has(endpoint) {
            *self.impossible.entry(endpoint).or_default() += 1;
        }
        if self.arrived.contains(&(endpoint, id)) {
            return;
        }
        let end = Timestamp::from_unix_millis(i64::MAX);
        if self.refusable(endpoint, post, event, end) {
            *self.missing.entry(endpoint).or_default() += 1;
            self.tally.given_up += 1;
            let suspects = self.suspects.entry(endpoint).or_default();
            if !event.refused_by.has(endpoint) && suspects.len() < SUSPECTS_MAX {
                suspects.push(id);
            }
        } else if post.answer == Answer::None {
            self.violations.push(Violation::Torn(endpoint, id));
        } else {
            self.violations.push(Violation::Lost(endpoint, id));
        }
    }

    /// Every snapshot adds up, and counts what was acknowledged and nothing that was not posted.
    fn snapshots(&mut self) {
        for (place, endpoint) in Endpoint::ALL.into_iter().enumerate() {
            let acknowledged = self.deliveries(endpoint, |post| match post.answer {
                Answer::Acknowledged(at) => Some(at),
                Answer::Refused(_) | Answer::None => None,
            });
            let possible = self.deliveries(endpoint, |post| match post.answer {
                Answer::Acknowledged(_) | Answer::None => Some(post.sent_at),
                Answer::Refused(_) => None,
            });
            for (number, snapshot) in self.history.snapshots.iter().enumerate() {
                let ledger = snapshot.ledgers[place];
                if !ledger.adds_up() {
                    self.violations.push(Violation::Unbalanced {
                        endpoint,
                        snapshot: number,
                        ledger,
                    });
                }
                let least = acknowledged.partition_point(|at| *at < snapshot.asked_at) as u64;
                let most = possible.partition_point(|at| *at <= snapshot.answered_at) as u64;
                self.count(endpoint, number, ledger.matched, (least, most));
            }
        }
    }

    /// The moments, in order, of all deliveries that routes make of some posts.
    fn deliveries(
        &self,
        endpoint: Endpoint,
        moment: impl Fn(&Post) -> Option<Timestamp>,
    ) -> Vec<Timestamp> {
        let mut moments = Vec::new();
        for post in &self.history.posts {
            let Some(at) = moment(post) else { continue };
            let events = post.events.iter();
            let matched = events.filter(|event| event.matched.has(endpoint));
            moments.extend(matched.map(|_| at));
        }
        moments.sort_unstable();
        moments
    }

    fn count(
        &mut self,
        endpoint: Endpoint,
        snapshot: usize,
        matched: u64,
        (least, most): (u64, u64),
    ) {
        if !(least..=most).contains(&matched) {
            self.violations.push(Violation::Miscounted {
                endpoint,
                snapshot,
                matched,
                least,
                most,
            });
        }
    }

    /// In the end all is settled, and the counts are those of what happened.
    fn end(&mut self) {
        let Some(last) = self.history.snapshots.last() else {
            let what = "there is no last snapshot".to_owned();
            self.violations.push(Violation::Failed(what));
            return;
        };
        let number = self.history.snapshots.len() - 1;
        for (endpoint, ledger) in Endpoint::ALL.into_iter().zip(last.ledgers) {
            if ledger.pending() > 0 {
                self.violations.push(Violation::Pending(endpoint, ledger));
            }
            let matched = self.matched.get(&endpoint).copied().unwrap_or_default();
            self.count(endpoint, number, ledger.matched, matched);
            let refused = self.history.disturbances.iter();
            let refused: u64 = refused
                .filter(|disturbance| disturbance.endpoints.has(endpoint))
                .map(|disturbance| u64::from(disturbance.refusals))
                .sum();
            let of = |counts: &HashMap<Endpoint, u64>| counts.get(&endpoint).copied().unwrap_or(0);
            let (least, most) = (of(&self.missing), of(&self.impossible) + refused);
            if !(least..=most).contains(&ledger.given_up()) {
                self.violations.push(Violation::GivenUp {
                    endpoint,
                    told: ledger.given_up(),
                    least,
                    most,
                    suspects: self.suspects.remove(&endpoint).unwrap_or_default(),
                });
            }
        }
    }
}

fn id(post: &Post, index: usize) -> EventId {
    EventId {
        producer: post.producer,
        post: post.number,
        index: u32::try_from(index).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
#[path = "oracle_tests.rs"]
mod tests;
