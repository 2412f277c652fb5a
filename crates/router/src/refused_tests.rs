//! Endpoints that refuse their credential.

use super::dead_letter_tests::{MemoryStore, reject};
use super::reload_tests::{ScriptedConnect, definitions};
use super::tests::{accept, endpoint_status, event, fault};
use super::*;
use crate::sink::{
    BatchLimits, Connect, ConnectError, CredentialSlot, CredentialState, Delivery, DeliveryOutcome,
    EndpointFault, FaultKind, Sink,
};
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use tokio::time::advance;
use twinroute_model::clock::Timestamp;
use twinroute_model::endpoint::{self, Endpoint};
use twinroute_model::settings::EndpointSettings;

const HOUR: Duration = Duration::from_secs(60 * 60);
const END: Timestamp = Timestamp::from_unix_millis(4_070_908_800_000);

/// A destination with a lock.
#[derive(Clone, Default)]
struct LockedSink(Arc<DoorLock>);

#[derive(Default)]
struct DoorLock {
    locked: AtomicBool,
    /// Lets probes pass although it is locked.
    blind: AtomicBool,
    /// When it was knocked at, since the first knock.
    knocks: Mutex<Vec<Instant>>,
    /// What was sent, arrived or not.
    sent: Mutex<Vec<String>>,
    made: AtomicU64,
}

impl LockedSink {
    fn lock(&self, locked: bool) {
        self.0.locked.store(locked, Ordering::Relaxed);
    }

    fn is_locked(&self) -> bool {
        self.0.locked.load(Ordering::Relaxed)
    }

    fn sent(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.sent.lock().unwrap())
    }

    /// Seconds between knocks.
    fn pauses(&self) -> Vec<f64> {
        let knocks = self.0.knocks.lock().unwrap();
        let pairs = knocks.windows(2);
        pairs
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect()
    }
}

impl Sink for LockedSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 10,
            bytes_max: 1 << 20,
            in_flight_max: 4,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        let ids = batch.iter().map(|delivery| delivery.event.id().to_owned());
        self.0.sent.lock().unwrap().extend(ids);
        let outcome = match self.is_locked() {
            true => DeliveryOutcome::Unavailable(fault(FaultKind::Unauthorized)),
            false => DeliveryOutcome::Delivered,
        };
        ready(vec![outcome; batch.len()]).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), EndpointFault>> {
        self.0.knocks.lock().unwrap().push(Instant::now());
        let refused = self.is_locked() && !self.0.blind.load(Ordering::Relaxed);
        ready(match refused {
            true => Err(fault(FaultKind::Unauthorized)),
            false => Ok(()),
        })
        .boxed()
    }

    fn credentials(&self) -> Vec<CredentialState> {
        let state = |slot, active, expires_at| CredentialState {
            slot,
            active,
            expires_at,
        };
        vec![
            state(CredentialSlot::Primary, false, Some(END)),
            state(CredentialSlot::Secondary, true, None),
        ]
    }
}

impl Connect for LockedSink {
    fn connect(
        &self,
        _endpoint: &Endpoint,
        _settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        self.0.made.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(self.clone()))
    }
}

const ROUTE: [(&str, &str, &str); 1] = [("all", "hub-1", "true")];

fn router(door: &LockedSink, first: Definitions) -> Router {
    Router::builder()
        .connect(door.clone())
        .definitions(first)
        .build()
        .unwrap()
}

/// The endpoint `hub-1` of these properties.
fn with(properties: &str) -> Definitions {
    let mut definitions = definitions(&["hub-1"], &ROUTE);
    let name = EndpointName::new("hub-1").unwrap();
    let body = format!(r#"{{"properties":{{{properties}}}}}"#);
    definitions.instances[0].endpoints = vec![endpoint::parse(&name, &body).unwrap()];
    definitions
}

fn with_key(key: &str) -> Definitions {
    with(&format!(
        r#""endpointType":"EventHub","connectionStringPrimaryKey":
           "Endpoint=sb://ns;SharedAccessKeyName=n;SharedAccessKey={key};EntityPath=hub""#
    ))
}

fn with_identity() -> Definitions {
    with(
        r#""endpointType":"EventHub","authenticationType":"IdentityBased",
           "endpointUri":"sb://ns","entityPath":"hub","identity":{"type":"SystemAssigned"}"#,
    )
}

async fn accept_all(router: &Router, ids: std::ops::Range<usize>) {
    for id in ids {
        accept(router, vec![event(id, "room1")]).await;
    }
}

async fn refused(router: &Router) {
    while endpoint_status(router, "hub-1").state != "unauthorized" {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|id| id.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_refused_credential_holds_the_lane_and_costs_no_event_an_attempt_or_its_time() {
    let door = LockedSink::default();
    door.lock(true);
    let router = router(&door, with_key("a"));
    accept_all(&router, 0..25).await;
    refused(&router).await;
    let first = door.sent();
    tokio::time::sleep(30 * HOUR).await;
    let status = endpoint_status(&router, "hub-1");
    assert_eq!((status.state.as_str(), status.queued), ("unauthorized", 25));
    assert_eq!((status.dead_letters.all(), status.discarded), (0, 0));
    assert_eq!((status.retrying, status.retry.standing_still), (0, true));
    assert!(status.since.is_some());
    assert_eq!(door.sent(), [""; 0], "it is asked, and sent nothing");
    let pauses = door.pauses();
    assert!(pauses.len() > 30 * 60, "{}", pauses.len());
    assert!(pauses.iter().all(|seconds| *seconds <= 60.0), "{pauses:?}");
    assert!(
        pauses[..3].iter().all(|seconds| *seconds < 5.0),
        "{pauses:?}"
    );
    door.lock(false);
    router.settled().await;
    let status = endpoint_status(&router, "hub-1");
    assert_eq!((status.state.as_str(), status.delivered), ("healthy", 25));
    assert_eq!(status.since, None);
    assert_eq!(first[0], "0");
    assert_eq!(door.sent(), ids(0..25), "in order");
}

/// Where the probe knows less than the send, the pauses grow all the same.
#[tokio::test(start_paused = true)]
async fn a_probe_that_passes_is_not_the_last_word() {
    let door = LockedSink::default();
    door.lock(true);
    door.0.blind.store(true, Ordering::Relaxed);
    let router = router(&door, with_key("a"));
    accept_all(&router, 0..1).await;
    tokio::time::sleep(HOUR).await;
    let tries = door.sent().len();
    assert!((60..80).contains(&tries), "{tries}");
    assert_eq!(endpoint_status(&router, "hub-1").state, "unauthorized");
    door.lock(false);
    router.settled().await;
    assert_eq!(endpoint_status(&router, "hub-1").delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_is_used_at_once_and_an_old_one_that_is_read_again_changes_nothing() {
    let door = LockedSink::default();
    door.lock(true);
    let router = router(&door, with_key("a"));
    accept_all(&router, 0..3).await;
    refused(&router).await;
    tokio::time::sleep(HOUR).await;
    let since = endpoint_status(&router, "hub-1").since;
    let knocks = door.pauses().len();
    for _ in 0..100 {
        router.apply(&with_key("a")).unwrap();
    }
    tokio::task::yield_now().await;
    assert_eq!(door.pauses().len(), knocks, "the back-off stays");
    assert_eq!(endpoint_status(&router, "hub-1").since, since);
    assert_eq!(door.0.made.load(Ordering::Relaxed), 1);
    door.lock(false);
    let started = Instant::now();
    router.apply(&with_key("b")).unwrap();
    router.settled().await;
    assert!(started.elapsed() < Duration::from_millis(100));
    assert_eq!(door.0.made.load(Ordering::Relaxed), 2);
    assert_eq!(endpoint_status(&router, "hub-1").delivered, 3);
}

#[tokio::test(start_paused = true)]
async fn from_a_key_to_an_identity_the_lane_and_its_queue_stay() {
    for gone_between in [false, true] {
        let door = LockedSink::default();
        door.lock(true);
        let router = router(&door, with_key("a"));
        accept_all(&router, 0..5).await;
        refused(&router).await;
        drop(door.sent());
        if gone_between {
            router.apply(&definitions(&[], &[])).unwrap();
            assert_eq!(endpoint_status(&router, "hub-1").queued, 5);
        }
        door.lock(false);
        router.apply(&with_identity()).unwrap();
        router.settled().await;
        let status = endpoint_status(&router, "hub-1");
        assert_eq!((status.matched, status.delivered), (5, 5));
        assert_eq!(status.dead_letters.all() + status.discarded, 0);
        assert_eq!(door.sent(), ids(0..5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_has_the_sources_looked_at_and_other_faults_do_not() {
    let scripts = ScriptedConnect::default();
    let router = Router::builder()
        .connect(scripts.clone())
        .definitions(definitions(&["hub-1"], &ROUTE))
        .build()
        .unwrap();
    let mut refresh = router.credential_refresh();
    let due = async |refresh: &mut CredentialRefresh| {
        timeout_at(Instant::now() + HOUR, refresh.due())
            .await
            .is_ok()
    };
    scripts.sink.set_down_as(Some(FaultKind::Unreachable));
    accept_all(&router, 0..1).await;
    assert!(!due(&mut refresh).await);
    scripts.sink.set_down_as(Some(FaultKind::Unauthorized));
    assert!(due(&mut refresh).await);
    scripts.sink.set_down_as(None);
    router.settled().await;
    drop(timeout_at(Instant::now() + HOUR, refresh.due()).await);
    assert!(!due(&mut refresh).await, "nobody is refused any more");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_container_that_refuses_has_the_sources_looked_at() {
    let (scripts, shelf) = (ScriptedConnect::default(), MemoryStore::default());
    shelf.fail([FaultKind::Unauthorized; 3]);
    scripts.sink.answer([reject()]);
    let router = Router::builder()
        .sink("hub-1", scripts.sink.clone())
        .dead_letters(shelf)
        .route("all", "hub-1", "true")
        .build()
        .unwrap();
    let mut refresh = router.credential_refresh();
    accept_all(&router, 0..2).await;
    refresh.due().await;
    let status = endpoint_status(&router, "hub-1");
    assert_eq!(status.dead_letters.store.as_str(), "unauthorized");
    assert_eq!((status.state.as_str(), status.delivered), ("healthy", 1));
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_the_credentials_and_warns_before_one_ends() {
    let door = LockedSink::default();
    let build = |before| {
        let builder = Router::builder().connect(door.clone());
        let builder = builder.definitions(with_key("a")).clock(clock_at(END, 3));
        builder.expiry_warning(before).build().unwrap()
    };
    let router = build(Duration::from_secs(2 * 24 * 60 * 60));
    assert_eq!(router.status().warnings, [""; 0]);
    let credentials = endpoint_status(&router, "hub-1").credentials;
    let credentials: Vec<_> = (credentials.iter())
        .map(|one| (one.slot.as_str(), one.active, one.expires_in_s))
        .collect();
    let three_days = 3 * 24 * 60 * 60;
    assert_eq!(
        credentials,
        [
            ("primary", false, Some(three_days)),
            ("secondary", true, None)
        ]
    );
    advance(Duration::ZERO).await;
    let router = build(Duration::from_secs(7 * 24 * 60 * 60));
    let warning = "endpoint default/hub-1: the SharedAccessSignature of its primary connection string ends at \
                   2099-01-01T00:00:00Z; put a new one there, or SharedAccessKeyName and SharedAccessKey";
    assert_eq!(router.status().warnings, [warning]);
}

fn clock_at(end: Timestamp, days_before: i64) -> twinroute_model::clock::ManualClock {
    let millis = end.unix_millis() - days_before * 24 * 60 * 60 * 1_000;
    twinroute_model::clock::ManualClock::new(Timestamp::from_unix_millis(millis))
}
