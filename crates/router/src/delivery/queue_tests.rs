use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::time::Duration;
use twinroute_journal::{MemoryJournal, NewEvent};
use twinroute_model::event::{EventLimits, EventParts};

const ROOM: BatchRoom = BatchRoom {
    events_max: 4,
    bytes_max: 1 << 20,
};
const CAPS: QueueCaps = QueueCaps {
    events_max: 1_000,
    bytes_max: 1 << 30,
};

struct QueueScene {
    queue: LaneQueue,
    journal: MemoryJournal,
    now: Instant,
}

impl QueueScene {
    fn new(ordering: TwinOrdering) -> Self {
        let journal = MemoryJournal::new(1 << 30);
        Self {
            queue: LaneQueue::new(ordering),
            journal,
            now: Instant::now(),
        }
    }

    fn waiting(&mut self, twin: u64) -> QueuedDelivery {
        let event = EventParts::new("1", "s", "t")
            .build(&EventLimits::default())
            .unwrap();
        let lanes = Vec::new();
        let new = NewEvent { event, twin, lanes };
        let entry = self.journal.append(vec![new]).unwrap().remove(0);
        QueuedDelivery {
            sequence: entry.sequence,
            twin: entry.twin,
            bytes: entry.event.size() as u32,
            attempts: 0,
            came: self.now,
            age_then: Duration::ZERO,
            ttl_stopped_then: Duration::ZERO,
            event: Some(entry.event),
            trace: None,
        }
    }

    fn push(&mut self, twins: &[u64]) {
        for twin in twins {
            let waiting = self.waiting(*twin);
            self.queue.push(waiting);
            assert!(evicted(&mut self.queue, CAPS).is_empty());
        }
    }

    fn resolve(&mut self, batch: Vec<(u64, Option<DeliveryFate>)>) {
        let (twins, fates): (Vec<u64>, Vec<Option<DeliveryFate>>) = batch.into_iter().unzip();
        let unsettled = fates.into_iter().flatten().collect();
        self.queue.resolve(&twins, unsettled, self.now);
    }

    fn take(&mut self) -> Vec<QueuedDelivery> {
        self.queue.take(ROOM, self.now)
    }
}

/// Lets the oldest go until no more waits than may.
fn evicted(queue: &mut LaneQueue, caps: QueueCaps) -> Vec<u64> {
    let mut evicted = Vec::new();
    while queue.is_above(caps)
        && let Some(oldest) = queue.evict_oldest()
    {
        evicted.push(oldest.sequence);
    }
    evicted
}

fn sequences(batch: &[QueuedDelivery]) -> Vec<u64> {
    batch.iter().map(|waiting| waiting.sequence).collect()
}

fn all(
    batch: Vec<QueuedDelivery>,
    fate: impl Fn(QueuedDelivery) -> Option<DeliveryFate>,
) -> Vec<(u64, Option<DeliveryFate>)> {
    batch
        .into_iter()
        .map(|waiting| (waiting.twin, fate(waiting)))
        .collect()
}

fn settled(batch: Vec<QueuedDelivery>) -> Vec<(u64, Option<DeliveryFate>)> {
    all(batch, |_| None)
}

#[test]
fn a_twin_in_flight_is_passed_by_others_and_followed_in_order() {
    let mut bench = QueueScene::new(TwinOrdering::Twin);
    bench.push(&[7, 7, 8, 9, 7, 10]);
    let first = bench.take();
    assert_eq!(
        sequences(&first),
        [1, 2, 3, 4],
        "a batch may hold a twin several times"
    );
    let second = bench.take();
    assert_eq!(sequences(&second), [6], "twin 7 is held");
    bench.resolve(settled(first));
    assert_eq!(sequences(&bench.take()), [5]);
}

#[test]
fn of_a_long_line_only_as_much_is_let_go_as_lands() {
    let mut bench = QueueScene::new(TwinOrdering::Twin);
    bench.push(&[7; 100]);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let batch = bench.take();
        assert_eq!(batch.len(), 4);
        assert!(bench.take().is_empty(), "all others are held");
        seen.extend(sequences(&batch));
        bench.resolve(settled(batch));
        assert_eq!(bench.queue.ready.len(), 4 * RELEASED);
    }
    assert_eq!(seen, (1..=12).collect::<Vec<u64>>());
}

#[test]
fn without_ordering_nothing_is_held() {
    let mut bench = QueueScene::new(TwinOrdering::None);
    bench.push(&[7, 7, 7, 7, 7]);
    assert_eq!(bench.take().len(), 4);
    assert_eq!(sequences(&bench.take()), [5]);
}

#[test]
fn a_retrying_delivery_holds_its_twin_only() {
    let mut bench = QueueScene::new(TwinOrdering::Twin);
    bench.push(&[1, 2, 1, 2]);
    let batch = bench.queue.take(
        BatchRoom {
            events_max: 2,
            ..ROOM
        },
        bench.now,
    );
    let due = bench.now + Duration::from_secs(10);
    let fates = batch.into_iter().map(|waiting| match waiting.twin {
        1 => (
            1,
            Some(DeliveryFate::Retrying(
                QueuedDelivery {
                    attempts: 1,
                    ..waiting
                },
                due,
            )),
        ),
        twin => (twin, None),
    });
    bench.resolve(fates.collect());
    let batch = bench.take();
    assert_eq!(sequences(&batch), [4]);
    bench.resolve(settled(batch));
    assert!(bench.take().is_empty());
    assert_eq!((bench.queue.queued(), bench.queue.retrying()), (1, 1));
    assert_eq!(bench.queue.next_due(), Some(due));
    bench.now = due;
    let batch = bench.take();
    assert_eq!(sequences(&batch), [1]);
    bench.resolve(settled(batch));
    assert_eq!(sequences(&bench.take()), [3]);
}

#[test]
fn what_is_returned_goes_before_what_came_later() {
    let mut bench = QueueScene::new(TwinOrdering::Twin);
    bench.push(&[1, 2, 1, 2, 1]);
    let batch = bench.queue.take(
        BatchRoom {
            events_max: 2,
            ..ROOM
        },
        bench.now,
    );
    assert!(bench.take().is_empty(), "both twins are in flight");
    bench.resolve(all(batch, |waiting| Some(DeliveryFate::Returned(waiting))));
    assert_eq!(sequences(&bench.take()), [1, 2, 3, 4]);
}

#[test]
fn at_the_cap_the_oldest_leaves_wherever_it_waits() {
    let mut bench = QueueScene::new(TwinOrdering::Twin);
    bench.push(&[1, 1, 2]);
    let batch = bench.queue.take(
        BatchRoom {
            events_max: 1,
            ..ROOM
        },
        bench.now,
    );
    let other = bench.take();
    assert_eq!(sequences(&other), [3], "delivery 2 is held");
    let caps = QueueCaps {
        events_max: 2,
        ..CAPS
    };
    let next = bench.waiting(3);
    bench.queue.push(next);
    assert!(evicted(&mut bench.queue, caps).is_empty());
    let next = bench.waiting(4);
    bench.queue.push(next);
    assert_eq!(evicted(&mut bench.queue, caps), [2]);
    bench.resolve(settled(batch));
    bench.resolve(settled(other));
    assert_eq!(sequences(&bench.take()), [4, 5]);
}

#[test]
fn an_event_larger_than_the_room_goes_alone() {
    let mut bench = QueueScene::new(TwinOrdering::Twin);
    bench.push(&[1, 2]);
    let tiny = BatchRoom {
        events_max: 9,
        bytes_max: 1,
    };
    assert_eq!(sequences(&bench.queue.take(tiny, bench.now)), [1]);
    assert_eq!(sequences(&bench.queue.take(tiny, bench.now)), [2]);
}

#[derive(Clone, Debug)]
enum QueueAct {
    Push(u64),
    Take(usize),
    /// Resolve the batch at this place; each delivery's fate by its sequence and this number.
    Resolve(usize, u64),
    Pass,
    /// Let go of what is in memory.
    Shed,
    /// The oldest leaves, and must be the oldest.
    Evict,
    RetryNow,
}

fn act() -> impl Strategy<Value = QueueAct> {
    prop_oneof![
        4 => (0..5_u64).prop_map(QueueAct::Push),
        3 => (1..6_usize).prop_map(QueueAct::Take),
        3 => (any::<usize>(), any::<u64>()).prop_map(|(at, seed)| QueueAct::Resolve(at, seed)),
        1 => Just(QueueAct::Pass),
        1 => prop_oneof![Just(QueueAct::Shed), Just(QueueAct::Evict), Just(QueueAct::RetryNow)],
    ]
}

#[test]
fn ordering_may_change_while_events_are_retrying() {
    for (before, after) in [
        (TwinOrdering::None, TwinOrdering::Twin),
        (TwinOrdering::Twin, TwinOrdering::None),
    ] {
        let mut bench = QueueScene::new(before);
        bench.push(&[7]);
        let now = bench.now;
        let batch = bench.take();
        bench.resolve(all(batch, |waiting| {
            Some(DeliveryFate::Retrying(waiting, now))
        }));
        bench.queue.set_ordering(after);
        let batch = bench.take();
        assert_eq!(sequences(&batch), [1]);
        bench.resolve(all(batch, |_| None));
        bench.queue.set_ordering(TwinOrdering::Twin);
        bench.push(&[7]);
        let batch = bench.take();
        assert_eq!(sequences(&batch), [2], "{before:?} to {after:?}");
        bench.resolve(all(batch, |_| None));
        assert!(bench.queue.twins.len() == 0);
    }
}

/// What a twin takes is given back once nothing of it waits, however many there were.
#[test]
fn a_hundred_thousand_twins_leave_nothing_behind() {
    const TWINS: u64 = 100_000;
    let mut bench = QueueScene::new(TwinOrdering::Twin);
    let caps = QueueCaps {
        events_max: usize::MAX,
        ..CAPS
    };
    for twin in (0..TWINS).chain(0..TWINS) {
        let waiting = bench.waiting(twin);
        bench.queue.push(waiting);
        evicted(&mut bench.queue, caps);
    }
    let room = BatchRoom {
        events_max: 1_000,
        bytes_max: usize::MAX,
    };
    let mut taken = 0;
    loop {
        let batch = bench.queue.take(room, bench.now);
        if batch.is_empty() {
            break;
        }
        assert!(bench.queue.twins.len() <= 1_000, "only those in flight");
        taken += batch.len() as u64;
        bench.resolve(settled(batch));
    }
    assert_eq!(taken, 2 * TWINS);
    let queue = &bench.queue;
    assert!(queue.twins.len() == 0 && queue.held.is_empty() && queue.held_fronts.is_empty());
}

proptest! {
    /// First attempts follow acceptance order per twin, a twin is never in two batches, nothing is lost.
    #[test]
    fn order_and_conservation(acts in proptest::collection::vec(act(), 0..200)) {
        let mut bench = QueueScene::new(TwinOrdering::Twin);
        let mut flights: Vec<Vec<QueuedDelivery>> = Vec::new();
        let mut pushed = 0_usize;
        let mut done = 0_usize;
        let mut last_first_attempt: HashMap<u64, u64> = HashMap::new();
        let mut tried = std::collections::HashSet::new();
        // Of each twin, what is not settled.
        let mut open: BTreeMap<u64, std::collections::BTreeSet<u64>> = BTreeMap::new();
        for act in acts {
            match act {
                QueueAct::Push(twin) => {
                    bench.push(&[twin]);
                    pushed += 1;
                    open.entry(twin).or_default().insert(pushed as u64);
                }
                QueueAct::Shed => bench.queue.shed(),
                QueueAct::RetryNow => bench.queue.retry_now(bench.now),
                QueueAct::Evict => {
                    let oldest = bench.queue.oldest().map(|oldest| oldest.sequence);
                    let evicted = bench.queue.evict_oldest();
                    prop_assert_eq!(evicted.as_ref().map(|evicted| evicted.sequence), oldest);
                    if let Some(evicted) = evicted {
                        done += 1;
                        open.entry(evicted.twin).or_default().remove(&evicted.sequence);
                    }
                }
                QueueAct::Take(events_max) => {
                    let batch = bench.queue.take(BatchRoom { events_max, ..ROOM }, bench.now);
                    for waiting in &batch {
                        let older = open[&waiting.twin].range(..waiting.sequence);
                        for older in older {
                            let along = batch.iter().any(|other| other.sequence == *older);
                            prop_assert!(along, "{} went before {older}", waiting.sequence);
                        }
                        for flight in &flights {
                            prop_assert!(flight.iter().all(|other| other.twin != waiting.twin));
                        }
                        if tried.insert(waiting.sequence) {
                            let last = last_first_attempt.insert(waiting.twin, waiting.sequence);
                            prop_assert!(last.is_none_or(|last| last < waiting.sequence));
                        }
                    }
                    if !batch.is_empty() { flights.push(batch); }
                }
                QueueAct::Resolve(at, seed) if !flights.is_empty() => {
                    let batch = flights.swap_remove(at % flights.len());
                    let mut fates = Vec::new();
                    let mut cut = std::collections::HashSet::new();
                    for waiting in batch {
                        let twin = waiting.twin;
                        // A fault of the endpoint hits a twin's later events of the batch too.
                        let choice = (waiting.sequence ^ seed) % 4;
                        let fate = match if cut.contains(&twin) { 1 } else { choice } {
                            0 => {
                                let attempts = waiting.attempts + 1;
                                let due = bench.now + Duration::from_millis(5);
                                Some(DeliveryFate::Retrying(QueuedDelivery { attempts, ..waiting }, due))
                            }
                            1 => {
                                cut.insert(twin);
                                if waiting.attempts == 0 {
                                    tried.remove(&waiting.sequence);
                                    undo(&mut last_first_attempt, &waiting);
                                }
                                Some(DeliveryFate::Returned(waiting))
                            }
                            _ => {
                                done += 1;
                                open.entry(twin).or_default().remove(&waiting.sequence);
                                None
                            }
                        };
                        fates.push((twin, fate));
                    }
                    bench.resolve(fates);
                }
                QueueAct::Resolve(..) => {}
                QueueAct::Pass => bench.now += Duration::from_millis(3),
            }
            let in_flight: usize = flights.iter().map(Vec::len).sum();
            prop_assert_eq!(bench.queue.in_flight(), in_flight);
            prop_assert_eq!(bench.queue.recount(), bench.queue.queued());
            prop_assert_eq!(pushed, done + in_flight + bench.queue.queued() + bench.queue.retrying());
        }
        // Everything comes out in the end.
        loop {
            bench.now += Duration::from_secs(1);
            for flight in std::mem::take(&mut flights) { done += flight.len(); bench.resolve(settled(flight)); }
            let batch = bench.take();
            if batch.is_empty() { break; }
            flights.push(batch);
        }
        prop_assert_eq!(pushed, done);
        prop_assert_eq!((bench.queue.bytes(), bench.queue.memory()), (0, 0));
        prop_assert!(bench.queue.twins.len() == 0 && bench.queue.is_empty());
    }
}

/// A delivery that was returned counts as never tried, unless it had failed alone before.
fn undo(last: &mut HashMap<u64, u64>, waiting: &QueuedDelivery) {
    if let Some(sequence) = last.get_mut(&waiting.twin) {
        *sequence = (*sequence).min(waiting.sequence.saturating_sub(1));
    }
}
