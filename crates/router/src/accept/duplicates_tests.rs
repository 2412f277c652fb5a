use super::*;
use proptest::prelude::*;
use twinroute_model::event::{EventLimits, EventParts};

fn key(number: u64) -> EventKey {
    // Spread like a hash, which the table relies on.
    EventKey([number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number])
}

fn keys(numbers: impl IntoIterator<Item = u64>) -> Vec<EventKey> {
    numbers.into_iter().map(key).collect()
}

fn seconds(length: u64, events_max: usize) -> DuplicateWindow {
    DuplicateWindow {
        length: Duration::from_secs(length),
        events_max,
    }
}

/// What the window does, said as simply as possible.
#[derive(Default)]
struct WindowModel {
    /// Key, and when it was accepted.
    accepted: Vec<(u64, u64)>,
    /// Batch, and what it claimed.
    on_their_way: Vec<(BatchNumber, Vec<u64>)>,
}

impl WindowModel {
    fn expire(&mut self, settings: DuplicateWindow, now: u64) {
        let length = settings.length.as_secs();
        self.accepted.retain(|(_, at)| at + length > now);
        let surplus = self.accepted.len().saturating_sub(settings.events_max);
        self.accepted.drain(..surplus);
    }

    fn claim(&self, numbers: &[u64]) -> Result<Vec<bool>, BatchNumber> {
        for number in numbers {
            let mut claims = self.on_their_way.iter();
            if let Some((batch, _)) = claims.find(|(_, claimed)| claimed.contains(number)) {
                return Err(*batch);
            }
        }
        let repeats = numbers.iter().enumerate().map(|(index, number)| {
            numbers[..index].contains(number) || self.accepted.iter().any(|(key, _)| key == number)
        });
        Ok(repeats.collect())
    }
}

#[derive(Clone, Debug)]
enum WindowStep {
    BatchClaim(Vec<u64>),
    /// Ends one of the batches on their way.
    End {
        which: prop::sample::Index,
        accepted: bool,
    },
    Pass(u64),
}

fn step() -> impl Strategy<Value = WindowStep> {
    prop_oneof![
        3 => prop::collection::vec(0_u64..12, 0..5).prop_map(WindowStep::BatchClaim),
        2 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(which, accepted)| WindowStep::End { which, accepted }),
        1 => (0_u64..8).prop_map(WindowStep::Pass),
    ]
}

proptest! {
    #[test]
    fn the_window_does_as_the_model(
        length in 1_u64..15,
        events_max in 1_usize..8,
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let settings = seconds(length, events_max);
        let begun = Instant::now();
        let (mut window, mut model) = (SeenEvents::new(settings, begun), WindowModel::default());
        let mut passed = 0;
        for step in steps {
            let now = begun + Duration::from_secs(passed);
            match step {
                WindowStep::Pass(some) => passed += some,
                WindowStep::BatchClaim(numbers) => {
                    model.expire(settings, passed);
                    match (window.claim(&keys(numbers.clone()), now), model.claim(&numbers)) {
                        (WindowClaim::Wait(batch), Err(expected)) => prop_assert_eq!(batch, expected),
                        (WindowClaim::Taken { batch, repeats }, Ok(expected)) => {
                            prop_assert_eq!(&repeats, &expected);
                            let new = numbers.into_iter().zip(repeats);
                            let new = new.filter(|(_, repeat)| !repeat).map(|(number, _)| number);
                            model.on_their_way.push((batch, new.collect()));
                        }
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                WindowStep::End { which, accepted } if !model.on_their_way.is_empty() => {
                    let index = which.index(model.on_their_way.len());
                    let (_, numbers) = model.on_their_way.remove(index);
                    let claimed = keys(numbers.iter().copied());
                    if accepted {
                        window.accept(&claimed, now);
                        model.accepted.extend(numbers.into_iter().map(|number| (number, passed)));
                        model.expire(settings, passed);
                    } else {
                        window.forget(&claimed);
                    }
                }
                WindowStep::End { .. } => {}
            }
            let on_their_way: usize = model.on_their_way.iter().map(|(_, keys)| keys.len()).sum();
            prop_assert!(window.len() <= events_max);
            prop_assert_eq!(window.keys.len(), window.len() + on_their_way);
        }
    }
}

#[test]
fn a_remembered_event_takes_no_more_bytes_than_said() {
    let begun = Instant::now();
    for events_max in [1000, 8193, 60_000, 100_000, 114_700] {
        let mut window = SeenEvents::new(seconds(600, events_max), begun);
        // More than fit, so that the oldest leave.
        for number in 0..events_max as u64 * 5 / 4 {
            let keys = [key(number)];
            assert!(matches!(
                window.claim(&keys, begun),
                WindowClaim::Taken { .. }
            ));
            window.accept(&keys, begun);
        }
        assert_eq!(window.len(), events_max);
        // A table is at most seven eighths full; each place has a byte of control.
        let place = size_of::<(EventKey, KeyStanding)>() + 1;
        let table = window.keys.capacity() / 7 * 8 * place;
        let line = window.accepted.capacity() * size_of::<EventKey>();
        let each = (table + line).div_ceil(events_max);
        assert!(each <= 96, "{each} bytes of each of {events_max}");
    }
}

fn event(id: &str, source: &str) -> Event {
    let parts = EventParts::new(id, source, "t");
    parts.build(&EventLimits::default()).unwrap()
}

#[tokio::test]
async fn keys_tell_instances_sources_and_ids_apart() {
    let duplicates = SharedDuplicateWindow::new(seconds(60, 10));
    let name = |text: &str| InstanceName::new(text).unwrap();
    let key = |instance: &str, source: &str, id: &str| {
        duplicates.keys(&name(instance), &[event(id, source)])[0]
    };
    let all = [
        key("plant-1", "a", "b"),
        key("plant-2", "a", "b"),
        key("plant-1", "ab", "b"),
        key("plant-1", "a", "bb"),
        key("plant-1", "b", "a"),
    ];
    let distinct: HashSet<EventKey> = all.iter().copied().collect();
    assert_eq!(distinct.len(), all.len());
    assert_eq!(key("PLANT-1", "a", "b"), all[0], "names ignore case");
    let EventKey([first, second]) = all[0];
    assert_ne!(first, second);
    let other = SharedDuplicateWindow::new(seconds(60, 10));
    let foreign = other.keys(&name("plant-1"), &[event("b", "a")])[0];
    assert_ne!(foreign, all[0], "each window has a secret of its own");
}

#[tokio::test(start_paused = true)]
async fn a_repeat_shares_the_fate_of_what_is_on_its_way() {
    let duplicates = SharedDuplicateWindow::new(seconds(60, 10));
    let (one, both) = (keys([1]), keys([1, 2]));
    for accepted in [false, true] {
        let first = duplicates.claim(&one).await.unwrap();
        assert_eq!(first.repeats, [false]);
        let repeat = tokio::spawn({
            let (duplicates, both) = (Arc::clone(&duplicates), both.clone());
            async move { duplicates.claim(&both).await }
        });
        tokio::task::yield_now().await;
        assert!(!repeat.is_finished());
        if accepted {
            first.claim.accept();
            let repeat = repeat.await.unwrap().unwrap();
            assert_eq!(repeat.repeats, [true, false]);
            assert!(repeat.earlier);
        } else {
            drop(first);
            assert_eq!(repeat.await.unwrap().unwrap_err(), FirstFailed);
        }
        assert!(duplicates.lock().waiting.is_empty());
    }
    // The last claim was dropped: what only it held is new again.
    let again = duplicates.claim(&keys([2, 2])).await.unwrap();
    assert_eq!((again.repeats, again.earlier), (vec![false, true], false));
}
