use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Spends all that is given without waiting.
async fn spend_all(admission: &AdmissionGate) {
    while let Some(admitted) = admission.admit(100 << 10, SECOND).now_or_never() {
        drop(admitted.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_longer_than_he_may_is_reported_when_to_come_back() {
    // Nobody gives turns.
    let admission = AdmissionGate::new();
    spend_all(&admission).await;
    let begun = Instant::now();
    let refused = admission.admit(1, SECOND).await.unwrap_err();
    assert_eq!(begun.elapsed(), SECOND);
    assert_eq!(
        refused.to_string(),
        "twinroute has more to do than it can: the request waited 1000 ms for its turn; \
         try again in 1 s"
    );
    assert_eq!(admission.waiting(), 0, "who has gone waits no more");
    let counts = admission.slowdown.counts(Instant::now(), 0);
    assert_eq!((counts.refused, counts.lasts), (1, Some(Duration::ZERO)));
    tokio::time::advance(Duration::from_secs(10)).await;
    let counts = admission.slowdown.counts(Instant::now(), 0);
    assert_eq!((counts.refused, counts.lasts), (1, None), "it is over");
}

#[tokio::test(start_paused = true)]
async fn turns_are_given_first_come_first_served_and_to_nobody_who_has_gone() {
    let admission = Arc::new(AdmissionGate::new());
    spend_all(&admission).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for id in 0..20 {
        let (admission, order) = (Arc::clone(&admission), Arc::clone(&order));
        waiting.push(tokio::spawn(async move {
            drop(admission.admit(300 << 10, SECOND).await.unwrap());
            order.lock().unwrap().push(id);
        }));
        yield_now().await;
    }
    assert_eq!(admission.waiting(), 20);
    waiting[0].abort();
    waiting[7].abort();
    drop(tokio::spawn(give_turns(Arc::clone(&admission))));
    for task in waiting {
        drop(task.await);
    }
    let expect: Vec<i32> = (0..20).filter(|id| ![0, 7].contains(id)).collect();
    assert_eq!(*order.lock().unwrap(), expect);
    assert_eq!(admission.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_reported_when_the_router_stops() {
    let admission = Arc::new(AdmissionGate::new());
    spend_all(&admission).await;
    let waits = tokio::spawn({
        let admission = Arc::clone(&admission);
        async move { admission.admit(1, SECOND).await.map(drop) }
    });
    yield_now().await;
    admission.close();
    assert_eq!(waits.await.unwrap(), Err(AcceptError::Stopping));
    let late = admission.admit(1, SECOND).await.map(drop);
    assert_eq!(late, Err(AcceptError::Stopping));
    // The task ends too.
    give_turns(admission).await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_come_after_stops_all_until_it_does() {
    let admission = Arc::new(AdmissionGate::new());
    drop(tokio::spawn(give_turns(Arc::clone(&admission))));
    let first = admission.unsynced(UNSYNCED_BYTES_MAX - 1);
    drop(admission.admit(1, SECOND).await.unwrap());
    let second = admission.unsynced(1);
    let refused = admission.admit(1, SECOND).await.unwrap_err();
    assert!(
        matches!(refused, AcceptError::Overloaded { .. }),
        "{refused}"
    );
    let waits = tokio::spawn({
        let admission = Arc::clone(&admission);
        async move { admission.admit(1, SECOND).await.map(drop) }
    });
    yield_now().await;
    drop(second);
    assert_eq!(waits.await.unwrap(), Ok(()));
    drop(first);
    assert_eq!(admission.unsynced_bytes.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_replay_stands_in_the_line_of_producers_and_is_none_that_is_slowed() {
    let admission = Arc::new(AdmissionGate::new());
    spend_all(&admission).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    let takers = [TurnTaker::Replay].into_iter();
    for taker in takers.chain([TurnTaker::Producer; 5]) {
        let (admission, order) = (Arc::clone(&admission), Arc::clone(&order));
        let turns = if taker == TurnTaker::Replay { 3 } else { 1 };
        waiting.push(tokio::spawn(async move {
            for _ in 0..turns {
                drop(admission.turn(taker, 300 << 10, SECOND).await.unwrap());
                order.lock().unwrap().push(taker);
            }
        }));
        yield_now().await;
    }
    assert_eq!(admission.waiting(), 5, "a replay is no producer");
    tokio::time::advance(Duration::from_millis(300)).await;
    drop(tokio::spawn(give_turns(Arc::clone(&admission))));
    for task in waiting {
        task.await.unwrap();
    }
    let mut expect = vec![TurnTaker::Replay];
    expect.extend([TurnTaker::Producer; 5]);
    expect.extend([TurnTaker::Replay; 2]);
    assert_eq!(*order.lock().unwrap(), expect);
    let counts = admission.slowdown.counts(Instant::now(), 0);
    assert_eq!((counts.slowed, counts.refused), (5, 0));
}
