//! Endpoints that are there but may not be sent to: their events wait.

use super::dead_letter_tests::MemoryStore;
use super::reload_tests::{ScriptedConnect, definitions};
use super::tests::{accept, endpoint_status, event};
use super::*;
use crate::dead_letters::DeadLetterQuery;
use crate::table::source::Settings;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use tokio::time::advance;
use twinroute_journal::RecoveredJournal;
use twinroute_journal::sim::SimulatedDisk;
use twinroute_model::clock::{ManualClock, Timestamp};
use twinroute_model::dead_letter::DeadLetterReason;
use twinroute_model::endpoint::{
    EndpointDestination, EndpointType, ProvisioningState, WaitingDestination,
};
use twinroute_model::settings::{EndpointSettings, WhenFull};

const ROUTE: [(&str, &str, &str); 1] = [("all", "hub-1", "true")];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One endpoint, `hub-1`, in that state.
fn in_state(state: ProvisioningState) -> Definitions {
    let mut definitions = definitions(&["hub-1"], &ROUTE);
    definitions.instances[0].endpoints[0].provisioning_state = Some(state);
    definitions
}

fn failed(error: &str) -> Definitions {
    let mut definitions = in_state(ProvisioningState::Failed);
    definitions.instances[0].endpoints[0].provisioning_error = Some(error.to_owned());
    definitions
}

/// As Azure gives it: with a mask where the key is.
fn without_secret() -> Definitions {
    let mut definitions = in_state(ProvisioningState::Succeeded);
    definitions.instances[0].endpoints[0].destination =
        EndpointDestination::Waiting(WaitingDestination {
            endpoint_type: EndpointType::EventGrid,
            missing: "accessKey1 is masked; put it into secrets/hub-1".to_owned(),
        });
    definitions
}

fn router(scripts: &ScriptedConnect, first: Definitions) -> Router {
    Router::builder()
        .connect(scripts.clone())
        .definitions(first)
        .build()
        .unwrap()
}

async fn accept_all(router: &Router, ids: std::ops::Range<usize>) {
    for id in ids {
        accept(router, vec![event(id, &format!("twin{}", id % 3))]).await;
    }
}

fn made(scripts: &ScriptedConnect) -> u64 {
    scripts.made.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn every_state_sends_or_waits() {
    use ProvisioningState as P;
    for (state, word) in [
        (P::Succeeded, Some("healthy")),
        (P::Warning, Some("healthy")),
        (P::Provisioning, Some("provisioning")),
        (P::Updating, Some("updating")),
        (P::Failed, Some("failed")),
        (P::Canceled, Some("canceled")),
        (P::Suspending, Some("suspending")),
        (P::Restoring, Some("restoring")),
        (P::Moving, Some("moving")),
        (P::Disabled, Some("disabled")),
        (P::Deleting, None),
        (P::Deleted, None),
    ] {
        let scripts = ScriptedConnect::default();
        let Some(word) = word else {
            let mut absent = in_state(state);
            let built = Router::builder().connect(scripts.clone());
            assert!(built.definitions(absent.clone()).build().is_err());
            absent.instances[0].routes.clear();
            let status = router(&scripts, absent).status();
            assert!(status.instances[0].endpoints.is_empty(), "{state:?}");
            continue;
        };
        let router = router(&scripts, in_state(state));
        accept_all(&router, 0..1).await;
        let sends = word == "healthy";
        if sends {
            router.settled().await;
        } else {
            advance(DAY).await;
        }
        let status = endpoint_status(&router, "hub-1");
        assert_eq!(status.state, word);
        assert_eq!(
            (status.queued, made(&scripts)),
            (1 - u64::from(sends), u64::from(sends))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_while_provisioning_is_delivered_in_order_however_long_that_took() {
    let scripts = ScriptedConnect::default();
    let router = router(&scripts, in_state(ProvisioningState::Provisioning));
    accept_all(&router, 0..25).await;
    advance(3 * DAY).await;
    accept_all(&router, 25..30).await;
    let status = endpoint_status(&router, "hub-1");
    assert_eq!((status.state.as_str(), status.queued), ("provisioning", 30));
    assert!(status.retry.standing_still);
    assert!(
        status.last_error.contains("Provisioning"),
        "{}",
        status.last_error
    );
    assert_eq!(
        made(&scripts),
        0,
        "not asked for a sink that would not be used"
    );

    router
        .apply(&in_state(ProvisioningState::Succeeded))
        .unwrap();
    router.settled().await;
    let ids: Vec<String> = (0..30).map(|id| id.to_string()).collect();
    assert_eq!(scripts.sink.ids(), ids);
    let status = endpoint_status(&router, "hub-1");
    assert_eq!((status.state.as_str(), status.delivered), ("healthy", 30));
    assert_eq!(status.last_error, "");
    assert!(!status.retry.standing_still);
}

#[tokio::test(start_paused = true)]
async fn one_that_failed_says_why_and_goes_on_when_it_is_fixed() {
    let scripts = ScriptedConnect::default();
    let router = router(&scripts, in_state(ProvisioningState::Succeeded));
    accept_all(&router, 0..3).await;
    router.settled().await;
    router
        .apply(&failed("the namespace does not answer"))
        .unwrap();
    accept_all(&router, 3..6).await;
    let status = endpoint_status(&router, "hub-1");
    assert_eq!((status.state.as_str(), status.queued), ("failed", 3));
    let why = "its provisioning state is Failed: the namespace does not answer; \
               its events wait until that is Succeeded";
    assert_eq!(status.last_error, why);
    // Another reason is told, and nothing else happens.
    router.apply(&failed("401")).unwrap();
    let status = endpoint_status(&router, "hub-1");
    assert!(
        status.last_error.contains("Failed: 401"),
        "{}",
        status.last_error
    );
    assert_eq!((status.matched, status.queued), (6, 3));

    router
        .apply(&in_state(ProvisioningState::Succeeded))
        .unwrap();
    router.settled().await;
    assert_eq!(scripts.sink.ids(), ["0", "1", "2", "3", "4", "5"]);
    let (generation, sinks) = (router.status().table.generation, made(&scripts));
    // A state in which it is sent to all the same changes nothing.
    let unchanged = router.apply(&in_state(ProvisioningState::Warning)).unwrap();
    assert_eq!((unchanged, made(&scripts)), (generation, sinks));
}

#[tokio::test(start_paused = true)]
async fn one_without_its_secret_waits_for_it() {
    let scripts = ScriptedConnect::default();
    let router = router(&scripts, without_secret());
    accept_all(&router, 0..5).await;
    advance(2 * DAY).await;
    let status = endpoint_status(&router, "hub-1");
    let seen = (
        status.state.as_str(),
        status.endpoint_type.as_str(),
        status.queued,
    );
    assert_eq!(seen, ("waiting-for-secret", "EventGrid", 5));
    assert!(
        status.last_error.contains("secrets/hub-1"),
        "{}",
        status.last_error
    );
    router
        .apply(&in_state(ProvisioningState::Succeeded))
        .unwrap();
    router.settled().await;
    assert_eq!(scripts.sink.ids(), ["0", "1", "2", "3", "4"]);
    // It is taken away again, and comes back.
    router.apply(&without_secret()).unwrap();
    accept_all(&router, 5..7).await;
    advance(2 * DAY).await;
    router
        .apply(&in_state(ProvisioningState::Succeeded))
        .unwrap();
    router.settled().await;
    assert_eq!(scripts.sink.ids().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn at_its_cap_it_does_what_its_settings_say() {
    for (when_full, dead, discarded) in [
        (WhenFull::DeadLetterOldest, 2, 0),
        (WhenFull::DiscardOldest, 0, 2),
        (WhenFull::Refuse, 0, 0),
    ] {
        let scripts = ScriptedConnect::default();
        let settings = EndpointSettings::default().with(|own| {
            own.queue_events_max = 3;
            own.when_full = when_full;
        });
        let full = |mut definitions: Definitions| {
            definitions.settings = Settings::new([("hub-1".to_owned(), settings.clone())]);
            definitions
        };
        let router = router(&scripts, full(failed("no answer")));
        let mut refused = 0;
        for id in 0..5 {
            let one = vec![event(id, "a")];
            let accepted = router.accept(None, one, AckLevel::Memory).await;
            refused += usize::from(accepted.is_err());
        }
        assert_eq!(refused, if when_full == WhenFull::Refuse { 2 } else { 0 });
        let status = endpoint_status(&router, "hub-1");
        let seen = (status.queued, status.dead_letters.local, status.discarded);
        assert_eq!(seen, (3, dead, discarded), "{when_full:?}");
        if dead > 0 {
            let query = DeadLetterQuery::default();
            let page = router.dead_letters(&query, None, 1).await;
            let outcome = &page.dead_letters[0].outcome;
            assert!(outcome.contains("Failed: no answer"), "{outcome}");
        }
        router
            .apply(&full(in_state(ProvisioningState::Succeeded)))
            .unwrap();
        router.settled().await;
        assert_eq!(scripts.sink.ids().len(), 3);
        accept(&router, vec![event(9, "a")]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_removed_waits_the_grace_time_and_is_dead_letters_then() {
    let scripts = ScriptedConnect::default();
    let router = router(&scripts, in_state(ProvisioningState::Disabled));
    accept_all(&router, 0..2).await;
    router.apply(&definitions(&[], &[])).unwrap();
    assert_eq!(endpoint_status(&router, "hub-1").state, "removed");
    router.settled().await;
    let dead = endpoint_status(&router, "hub-1").dead_letters;
    assert_eq!(
        (dead.local, dead.by_reason[&DeadLetterReason::Removed]),
        (2, 2)
    );
    assert!(scripts.sink.ids().is_empty());
}

/// Dead letters of an endpoint that is held go to their store all the same.
struct WithStore(ScriptedConnect, MemoryStore);

impl crate::sink::Connect for WithStore {
    fn connect(
        &self,
        endpoint: &twinroute_model::endpoint::Endpoint,
        settings: &EndpointSettings,
    ) -> Result<Arc<dyn crate::sink::Sink>, crate::sink::ConnectError> {
        self.0.connect(endpoint, settings)
    }

    fn dead_letters(
        &self,
        _endpoint: &twinroute_model::endpoint::Endpoint,
    ) -> Result<Option<Arc<dyn crate::sink::DeadLetterStore>>, crate::sink::ConnectError> {
        Ok(Some(Arc::new(self.1.clone())))
    }
}

#[tokio::test(start_paused = true)]
async fn its_dead_letters_are_stored_meanwhile() {
    let shelf = MemoryStore::default();
    let mut first = without_secret();
    let settings = EndpointSettings::default().with(|own| own.queue_events_max = 1);
    first.settings = Settings::new([("hub-1".to_owned(), settings)]);
    let router = Router::builder()
        .connect(WithStore(ScriptedConnect::default(), shelf.clone()))
        .definitions(first)
        .build()
        .unwrap();
    accept_all(&router, 0..4).await;
    while endpoint_status(&router, "hub-1").dead_letters.uploaded < 3 {
        tokio::task::yield_now().await;
    }
    let stored: BTreeSet<String> = shelf.ids().into_iter().collect();
    assert_eq!(stored, ["0", "1", "2"].map(str::to_owned).into());
}

fn open(sim: &SimulatedDisk, clock: &ManualClock) -> (DiskJournal, RecoveredJournal) {
    let settings = twinroute_journal::JournalSettings {
        segment_bytes: 64 << 10,
        commit_window: Duration::ZERO,
        ..twinroute_journal::JournalSettings::default()
    };
    DiskJournal::open(settings, Arc::new(sim.clone()), Arc::new(clock.clone())).unwrap()
}

fn on_disk(
    sim: &SimulatedDisk,
    clock: &ManualClock,
    scripts: &ScriptedConnect,
    first: Definitions,
) -> Router {
    let (disk, recovered) = open(sim, clock);
    Router::builder()
        .clock(clock.clone())
        .connect(scripts.clone())
        .journal_on_disk(disk, recovered)
        .definitions(first)
        .build()
        .unwrap()
}

#[tokio::test]
async fn restarts_in_between_lose_neither_events_nor_time() {
    let clock = ManualClock::new(Timestamp::from_unix_millis(1_700_000_000_000));
    let (sim, scripts) = (SimulatedDisk::default(), ScriptedConnect::default());
    let holds = [
        in_state(ProvisioningState::Provisioning),
        without_secret(),
        failed("no answer"),
    ];
    for (round, hold) in holds.into_iter().enumerate() {
        let router = on_disk(&sim, &clock, &scripts, hold);
        let status = endpoint_status(&router, "hub-1");
        assert_eq!(status.queued, 5 * round as u64);
        assert!(status.retry.standing_still);
        for id in 0..5 {
            let one = vec![event(5 * round + id, "a")];
            router.accept(None, one, AckLevel::Durable).await.unwrap();
        }
        let status = endpoint_status(&router, "hub-1");
        assert_eq!(status.memory_bytes, 0, "others need the memory");
        router.stop(Duration::ZERO).await;
        clock.advance(2 * DAY);
    }
    let router = on_disk(&sim, &clock, &scripts, failed("still none"));
    clock.advance(2 * DAY);
    router
        .apply(&in_state(ProvisioningState::Succeeded))
        .unwrap();
    router.settled().await;
    let ids: Vec<String> = (0..15).map(|id| id.to_string()).collect();
    assert_eq!(scripts.sink.ids(), ids);
    let status = endpoint_status(&router, "hub-1");
    assert_eq!((status.delivered, status.dead_letters.all()), (15, 0));
    router.stop(Duration::ZERO).await;

    // Ready at the restart already: what passed meanwhile counts as waited for.
    let hold = failed("once more");
    let router = on_disk(&sim, &clock, &scripts, hold);
    router
        .accept(None, vec![event(15, "a")], AckLevel::Durable)
        .await
        .unwrap();
    router.stop(Duration::ZERO).await;
    clock.advance(2 * DAY);
    let router = on_disk(
        &sim,
        &clock,
        &scripts,
        in_state(ProvisioningState::Succeeded),
    );
    router.settled().await;
    assert_eq!(endpoint_status(&router, "hub-1").delivered, 16);
}
