use super::*;
use crate::Router;
use crate::dead_letters::{DeadLetterPage, DeadLetterQuery};
use crate::replay::{ReplayRequest, ReplayState};
use crate::router::dead_letter_tests::ended;
use crate::router::tests::ScriptedSink;
use twinroute_journal::ledger::DiscardReason;
use twinroute_journal::sim::{PowerLossRemains, SimulatedDisk};
use twinroute_journal::{DiskJournal, JournalSettings};
use twinroute_model::clock::SystemClock;

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;

fn unreadable(bytes: &str) -> UnreadableDelivery {
    UnreadableDelivery {
        bytes: Bytes::copy_from_slice(bytes.as_bytes()),
        path: "/events".to_owned(),
        reason: "event 1: attribute `subject`: must not be empty".to_owned(),
    }
}

fn without_subject(id: usize) -> String {
    EVENT.replace(r#""1","#, &format!(r#""{id}","subject":"","#))
}

/// A router that sends everything to `sink`.
fn router(
    sim: Option<&SimulatedDisk>,
    sink: &ScriptedSink,
    settings: UnreadableSettings,
) -> Router {
    let mut builder = Router::builder()
        .unreadable(settings)
        .sink("only", sink.clone())
        .route("all", "only", "true");
    if let Some(sim) = sim {
        let settings = JournalSettings {
            segment_bytes: 64 << 10,
            commit_window: Duration::ZERO,
            ..JournalSettings::default()
        };
        let opened = DiskJournal::open(settings, Arc::new(sim.clone()), Arc::new(SystemClock));
        let (disk, recovered) = opened.unwrap();
        builder = builder.journal_on_disk(disk, recovered);
    }
    builder.build().unwrap()
}

/// The endpoint that keeps it, once it has nothing more to do; its counts add up.
async fn kept(router: &Router) -> EndpointStatus {
    router.settled().await;
    let status = router.status();
    let mut endpoints = status.instances[0].endpoints.iter();
    let found = endpoints.find(|endpoint| endpoint.name == ENDPOINT);
    let found = found.expect("it is shown").clone();
    assert_eq!(found.unaccounted(), 0, "{found:?}");
    found
}

async fn listed(router: &Router) -> DeadLetterPage {
    router
        .dead_letters(&DeadLetterQuery::default(), None, 100)
        .await
}

async fn replayed(router: &Router) -> crate::replay::ReplayStatus {
    let started = router.replay(ReplayRequest::default()).await.unwrap();
    ended(router, started.number).await
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_listed_with_its_bytes_and_the_reason() {
    let router = router(
        None,
        &ScriptedSink::default(),
        UnreadableSettings::default(),
    );
    let bad = without_subject(2);
    let text = "no JSON at all";
    let binary = UnreadableDelivery {
        bytes: Bytes::from_static(b"\xff\x00"),
        ..unreadable("")
    };
    let deliveries = vec![unreadable(&bad), unreadable(text), binary.clone()];
    router.keep_unreadable(None, deliveries).await.unwrap();
    let status = kept(&router).await;
    assert_eq!((status.matched, status.dead_letters.local), (3, 3));
    assert_eq!(status.endpoint_type, "Unreadable");
    let warnings = router.status().warnings;
    assert!(
        warnings[0].starts_with("instance default: webhook deliveries"),
        "{warnings:?}"
    );
    let page = listed(&router).await;
    let listed = page
        .dead_letters
        .iter()
        .map(|dead| (dead.reason.as_str(), &*dead.outcome));
    let listed: Vec<_> = listed.collect();
    assert_eq!(
        listed[0],
        (
            "rejected",
            "unreadable: attribute `subject`: must not be empty"
        )
    );
    assert_eq!(
        listed[1],
        (
            "rejected",
            "unreadable: the event is not a JSON object: expected ident at line 1 column 2"
        )
    );
    let bytes = [bad.as_bytes(), text.as_bytes(), &binary.bytes];
    for (dead, bytes) in page.dead_letters.iter().zip(bytes) {
        let found = router.dead_letter(None, ENDPOINT, dead.sequence).await;
        let (_, event) = found.unwrap();
        assert_eq!(&*event.payload().bytes, bytes);
        let reason = event.attribute(REASON);
        assert_eq!(
            reason,
            Some("event 1: attribute `subject`: must not be empty")
        );
        assert_eq!(event.source(), "/events");
    }
    // Legible where it can be.
    let (_, event) = router
        .dead_letter(None, ENDPOINT, page.dead_letters[0].sequence)
        .await
        .unwrap();
    assert_eq!(event.json_data(), Some(&*bad));
}

#[tokio::test(start_paused = true)]
async fn what_is_still_unreadable_stays_and_what_can_be_read_is_accepted() {
    let sink = ScriptedSink::default();
    let router = router(None, &sink, UnreadableSettings::default());
    // Enough in a row that would end a replay of another endpoint; then one that a newer reader takes.
    let mut deliveries: Vec<_> = (10..17)
        .map(|id| unreadable(&without_subject(id)))
        .collect();
    deliveries.push(unreadable("[1"));
    router.keep_unreadable(None, deliveries).await.unwrap();
    assert_eq!(kept(&router).await.dead_letters.local, 8);
    // Events among it, as after an upgrade: they are delivered at once, what is none stays.
    let mixed = format!("[{EVENT},{}]", without_subject(20));
    router
        .keep_unreadable(None, vec![unreadable(&mixed)])
        .await
        .unwrap();
    let status = kept(&router).await;
    assert_eq!((status.delivered, status.dead_letters.local), (1, 9));
    assert_eq!(sink.ids(), ["1"]);
    let replay = replayed(&router).await;
    assert_eq!(
        (replay.state, replay.replayed, replay.dead_lettered),
        (ReplayState::Done, 9, 9)
    );
    assert_eq!(kept(&router).await.dead_letters.local, 9);
}

#[tokio::test(start_paused = true)]
async fn an_event_above_a_limit_is_accepted_by_a_replay_once_the_limit_is_raised() {
    let sim = SimulatedDisk::default();
    let tight = UnreadableSettings {
        limits: EventLimits {
            event_bytes_max: 20,
            ..EventLimits::default()
        },
        ..UnreadableSettings::default()
    };
    let sink = ScriptedSink::default();
    let before = router(Some(&sim), &sink, tight);
    before
        .keep_unreadable(None, vec![unreadable(EVENT)])
        .await
        .unwrap();
    let status = kept(&before).await;
    assert_eq!((status.dead_letters.local, sink.ids().len()), (1, 0));
    before.stop(Duration::ZERO).await;

    let router = router(Some(&sim.fork()), &sink, UnreadableSettings::default());
    assert_eq!(
        kept(&router).await.dead_letters.local,
        1,
        "shown before anything new comes"
    );
    let replay = replayed(&router).await;
    assert_eq!(
        (replay.state, replay.replayed, replay.delivered),
        (ReplayState::Done, 1, 1)
    );
    let status = kept(&router).await;
    assert_eq!(
        (status.dead_letters.local, status.dead_letters.replayed),
        (0, 1)
    );
    assert_eq!(sink.ids(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn it_is_on_disk_before_the_answer_wherever_the_power_goes() {
    let sim = SimulatedDisk::default();
    let sink = ScriptedSink::default();
    let before = router(Some(&sim), &sink, UnreadableSettings::default());
    for id in 0..3 {
        let kept = before
            .keep_unreadable(None, vec![unreadable(&without_subject(id))])
            .await;
        kept.unwrap();
        // Right after the answer: whether it is a dead letter yet is not on disk.
        let crashed = sim.fork();
        crashed.power_off();
        crashed.power_on(PowerLossRemains::Nothing);
        let router = router(Some(&crashed), &sink, UnreadableSettings::default());
        let status = self::kept(&router).await;
        assert_eq!(
            (status.matched, status.dead_letters.local),
            (id as u64 + 1, id as u64 + 1)
        );
        let page = listed(&router).await;
        assert_eq!(page.dead_letters.len(), id + 1);
        let last = page.dead_letters.last().unwrap();
        let (_, event) = router
            .dead_letter(None, ENDPOINT, last.sequence)
            .await
            .unwrap();
        assert_eq!(event.json_data(), Some(&*without_subject(id)));
    }
    assert!(sink.ids().is_empty());
}

#[tokio::test(start_paused = true)]
async fn at_its_limit_the_oldest_is_discarded_and_counted() {
    let settings = UnreadableSettings {
        bytes_max: ByteSize::kib(4),
        ..UnreadableSettings::default()
    };
    let router = router(None, &ScriptedSink::default(), settings);
    for id in 0..20 {
        let large = without_subject(id).replace("\"t\"", &format!("\"{}\"", "t".repeat(500)));
        router
            .keep_unreadable(None, vec![unreadable(&large)])
            .await
            .unwrap();
        kept(&router).await;
    }
    let status = kept(&router).await;
    assert_eq!(status.matched, 20);
    assert!(status.dead_letters.bytes <= 4 << 10, "{status:?}");
    assert!((1..10).contains(&status.dead_letters.local), "{status:?}");
    assert_eq!(status.discarded, 20 - status.dead_letters.local);
    assert_eq!(
        status.discarded_by[&DiscardReason::Overflow],
        status.discarded
    );
    let page = listed(&router).await;
    let last = page.dead_letters.last().unwrap().sequence;
    assert_eq!(last, 20, "the newest stay");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_refused_and_comes_again() {
    let router = Router::builder().journal_bytes_max(2_000).build().unwrap();
    let large = "x".repeat(1_200);
    router
        .keep_unreadable(None, vec![unreadable(&large)])
        .await
        .unwrap();
    let full = router
        .keep_unreadable(None, vec![unreadable(&large)])
        .await
        .unwrap_err();
    assert!(matches!(full, AcceptError::Full { .. }), "{full}");
    let unknown = router
        .keep_unreadable(Some("other"), vec![unreadable("x")])
        .await;
    assert!(matches!(unknown, Err(AcceptError::UnknownInstance { .. })));
    router.stop(Duration::ZERO).await;
    let stopping = router
        .keep_unreadable(None, vec![unreadable("x")])
        .await
        .unwrap_err();
    assert_eq!(stopping, AcceptError::Stopping);
}

#[tokio::test(start_paused = true)]
async fn its_endpoint_is_nobodys_but_ours() {
    let sink = ScriptedSink::default();
    let builder = Router::builder().sink(ENDPOINT, sink.clone());
    let Err(refused) = builder.build() else {
        panic!("the name was taken");
    };
    assert!(
        refused
            .to_string()
            .contains(crate::unreadable_endpoint::RESERVED),
        "{refused}"
    );
    // It outlives other definitions, and takes no part in them.
    let router = router(None, &sink, UnreadableSettings::default());
    router
        .keep_unreadable(None, vec![unreadable("x")])
        .await
        .unwrap();
    router
        .apply(&crate::table::source::Definitions::default())
        .unwrap();
    assert_eq!(kept(&router).await.state, "healthy");
    router
        .keep_unreadable(None, vec![unreadable("y")])
        .await
        .unwrap();
    assert_eq!(kept(&router).await.dead_letters.local, 2);
}
