//! Judges a run by its history alone: no clock, no I/O, no chance.

mod letters;
mod violation;

pub use violation::{Violation, Wrong};

use super::history::{Answer, Delivery, Disturbance, Endpoint, Event, EventId, History, Post};
use letters::{Lies, early};
use std::collections::HashMap;
use std::time::Duration;
use twinroute_model::clock::Timestamp;

/// How late a destination may take what was sent to it: it shares a busy machine.
const LAG: Duration = Duration::from_secs(1);

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
    /// Pairs that stand in a container.
    pub uploaded: u64,
    /// Pairs that are kept as dead letters.
    pub kept: u64,
    /// Pairs that stand in a container under both of their names.
    pub second_names: u64,
    /// Pairs that are dead letters and arrived as well.
    pub also_arrived: u64,
    /// Dead letters that were put back by replays.
    pub replayed: u64,
}

/// Everything that is wrong with a run, and how much it was about.
#[must_use]
pub fn check(history: &History) -> (Vec<Violation>, Tally) {
    let mut judge = RunJudge::new(history);
    judge.arrivals();
    judge.letters();
    judge.posts();
    judge.snapshots();
    judge.end();
    let failures = history.failures.iter().cloned().map(Violation::Failed);
    judge.violations.extend(failures);
    (judge.violations, judge.tally)
}

struct RunJudge<'a> {
    history: &'a History,
    known: HashMap<EventId, (&'a Post, &'a Event)>,
    /// When each arrived last.
    arrived: HashMap<(Endpoint, EventId), Timestamp>,
    /// Dead letters.
    lying: HashMap<(Endpoint, EventId), Lies>,
    /// Unanswered posts of which something arrived, or became a dead letter: the last event of each that
    /// did.
    evident: HashMap<(u32, u32), usize>,
    /// Times in which events were refused for good.
    refusing: Vec<&'a Disturbance>,
    /// Per endpoint, dead letters of events that it could have taken.
    refused: HashMap<Endpoint, u64>,
    /// Per endpoint, what became of accepted deliveries.
    ends: HashMap<Endpoint, Ends>,
    violations: Vec<Violation>,
    tally: Tally,
}

/// What became of the accepted deliveries of an endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    matched: u64,
    uploaded: u64,
    kept: u64,
}

impl<'a> RunJudge<'a> {
    fn new(history: &'a History) -> Self {
        let known = history.posts.iter().flat_map(|post| {
            let with_id = move |(index, event)| (id(post, index), (post, event));
            post.events.iter().enumerate().map(with_id)
        });
        let disturbances = history.disturbances.iter();
        Self {
            history,
            known: known.collect(),
            arrived: HashMap::new(),
            lying: HashMap::new(),
            evident: HashMap::new(),
            refusing: disturbances.filter(|one| one.refusals > 0).collect(),
            refused: HashMap::new(),
            ends: HashMap::new(),
            violations: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// What arrived was posted, as it was posted, in order, and twice only for a reason.
    fn arrivals(&mut self) {
        let mut latest: HashMap<(Endpoint, u32), (EventId, Timestamp)> = HashMap::new();
        for delivery in &self.history.deliveries {
            let endpoint = delivery.endpoint;
            let Some((id, post, event)) = self.accepted_event(endpoint, &delivery.id) else {
                let id = delivery.id.clone();
                self.violations.push(Violation::Invented(endpoint, id));
                continue;
            };
            if event.content != delivery.content {
                self.violations.push(Violation::Altered(endpoint, id));
            }
            if self.is_stray(post, delivery) {
                self.violations.push(Violation::Stray(endpoint, id));
            }
            if let Some(before) = self.arrived.insert((endpoint, id), delivery.at) {
                self.tally.duplicates += 1;
                if !self.disturbed(endpoint, early(before).max(post.sent_at), delivery.at) {
                    self.violations.push(Violation::Repeated(endpoint, id));
                }
                continue;
            }
            self.tally.delivered += 1;
            self.show(post, id);
            let now = (id, delivery.at);
            let before = latest.entry((endpoint, event.twin)).or_insert(now);
            if before.0 <= id {
                *before = now;
            } else if !self.may_be_late(post, before.1, delivery) {
                let before = before.0;
                self.violations.push(Violation::OutOfOrder {
                    endpoint,
                    late: id,
                    before,
                });
            }
        }
    }

    /// The posted event with this id, if it may be at that endpoint at all.
    fn accepted_event(
        &self,
        endpoint: Endpoint,
        id: &str,
    ) -> Option<(EventId, &'a Post, &'a Event)> {
        let id = EventId::parse(id)?;
        let (post, event) = *self.known.get(&id)?;
        let accepted = !matches!(post.answer, Answer::Refused(_));
        (accepted && event.matched.has(endpoint)).then_some((id, post, event))
    }

    /// Whether something arrived although it was settled, and only other endpoints' dead letters go
    /// round again.
    fn is_stray(&self, post: &Post, delivery: &Delivery) -> bool {
        let Some(calm_from) = self.history.calm_from else {
            return false;
        };
        let mut replays = self.history.replays.iter();
        post.sent_at < calm_from
            && delivery.at >= calm_from
            && !replays.any(|replay| replay.endpoint == delivery.endpoint)
    }

    /// Whether something was wrong in that time, so that a duplicate may come of it.
    fn disturbed(&self, endpoint: Endpoint, from: Timestamp, to: Timestamp) -> bool {
        let mut all = self.history.disturbances.iter();
        all.any(|disturbance| disturbance.touches(endpoint, from, to))
    }

    /// Whether an accepted delivery that the endpoint could take may have been refused for good by then.
    fn refusable(&self, endpoint: Endpoint, post: &Post, by: Timestamp) -> bool {
        let mut refusing = self.refusing.iter();
        refusing.any(|disturbance| disturbance.touches(endpoint, post.sent_at, by))
    }

    /// Whether a delivery may come behind that of a later event of its twin.
    ///
    /// It may have been refused for good, the twin went on, and then it was sent once more: by a replay, or
    /// because a kill came before its death was on disk.
    ///
    /// Or its request failed alone while the next one was on its way: AMQP sinks send the transfers of one
    /// batch without waiting for each other's outcomes. So what came before it must have come in the life
    /// of such a fault. In a later one nothing of its twin passes it.
    fn may_be_late(&self, post: &Post, passed_at: Timestamp, late: &Delivery) -> bool {
        let endpoint = late.endpoint;
        let mut replays = self.history.replays.iter();
        let mut kills = self.history.disturbances.iter().filter(|one| one.kill);
        let again = replays.any(|replay| replay.endpoint == endpoint && replay.from <= late.at)
            || kills.any(|kill| kill.touches(endpoint, post.sent_at, late.at));
        if again && self.refusable(endpoint, post, late.at) {
            return true;
        }
        let faults = self.history.disturbances.iter();
        let mut faults = faults.filter(|one| one.alone && endpoint.has_pipeline());
        faults.any(|fault| {
            fault.touches(endpoint, post.sent_at, late.at)
                && fault.touches(endpoint, passed_at, passed_at)
        })
    }

    /// Takes note of a trace of an unanswered post.
    fn show(&mut self, post: &Post, id: EventId) {
        if post.answer == Answer::None {
            let last = self.evident.entry((post.producer, post.number));
            let last = last.or_default();
            *last = (*last).max(id.index as usize);
        }
    }

    /// What was acknowledged arrived or is a dead letter. What was not, is so up to an event: a kill in the
    /// middle of the write may keep the beginning of a batch, and never more than that.
    fn posts(&mut self) {
        for post in &self.history.posts {
            let events = post.events.len() as u64;
            self.tally.posted += events;
            let evident = self.evident.get(&(post.producer, post.number));
            let mut accepted = post.events.len();
            match post.answer {
                Answer::Refused(_) => continue,
                Answer::Acknowledged(_) => self.tally.acknowledged += events,
                Answer::None => {
                    accepted = evident.map_or(0, |last| last + 1);
                    self.tally.unanswered_accepted += accepted as u64;
                    self.tally.unanswered_lost += events - accepted as u64;
                }
            }
            for (index, event) in post.events.iter().enumerate().take(accepted) {
                for endpoint in event.matched.iter() {
                    self.accepted(endpoint, post, id(post, index));
                }
            }
        }
    }

    fn accepted(&mut self, endpoint: Endpoint, post: &Post, id: EventId) {
        let ends = self.ends.entry(endpoint).or_default();
        ends.matched += 1;
        match self.lying.get(&(endpoint, id)) {
            Some(lies) if lies.uploaded => ends.uploaded += 1,
            Some(_) => ends.kept += 1,
            None if self.arrived.contains_key(&(endpoint, id)) => {}
            None if post.answer == Answer::None => {
                self.violations.push(Violation::Torn(endpoint, id));
            }
            None => self.violations.push(Violation::Lost(endpoint, id)),
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
            let uploads = self.uploads(endpoint);
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
                let stored = uploads.partition_point(|at| *at <= snapshot.answered_at) as u64;
                let dead = ledger.dead_letters;
                let mut count = |what, reported, between| {
                    self.count((endpoint, number), what, reported, between);
                };
                count("matched", ledger.matched, (least, most));
                // What is uploaded can be seen there by then.
                count("uploaded", dead.uploaded, (0, stored));
                // Only what is kept is replayed, so each takes the place of one.
                let replayed = ledger.replayed;
                count("replayed dead letters", dead.replayed, (replayed, replayed));
                count("discarded", ledger.discarded, (0, 0));
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
        (endpoint, snapshot): (Endpoint, usize),
        what: &'static str,
        reported: u64,
        (least, most): (u64, u64),
    ) {
        if !(least..=most).contains(&reported) {
            self.violations.push(Violation::Miscounted {
                endpoint,
                snapshot,
                what,
                reported,
                least,
                most,
            });
        }
    }

    /// In the end all is settled, and the counts are exactly those of what happened.
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
            self.tally.replayed += ledger.replayed;
            let ends = self.ends.get(&endpoint).copied().unwrap_or_default();
            let dead = ledger.dead_letters;
            let delivered = ends.matched - ends.uploaded - ends.kept;
            for (what, reported, exact) in [
                ("matched", ledger.matched, ends.matched),
                ("uploaded", dead.uploaded, ends.uploaded),
                ("local", dead.local, ends.kept),
                ("delivered", ledger.delivered, delivered),
            ] {
                self.count((endpoint, number), what, reported, (exact, exact));
            }
            self.excess_dead_letters(endpoint);
        }
    }

    fn excess_dead_letters(&mut self, endpoint: Endpoint) {
        let touched = self
            .refusing
            .iter()
            .filter(|one| one.endpoints.has(endpoint));
        let refusals = touched.map(|one| u64::from(one.refusals)).sum();
        let letters = self.refused.get(&endpoint).copied().unwrap_or(0);
        if letters > refusals {
            self.violations.push(Violation::ExcessDeadLetters {
                endpoint,
                letters,
                refusals,
            });
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
