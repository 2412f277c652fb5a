//! Whatever code of the program does, it is the fault of its endpoint alone.

use super::*;
use crate::Router;
use crate::accept::AckLevel;
use crate::build_error::BuildError;
use crate::replay::{ReplayRequest, ReplayState, ReplayStatus};
use crate::router::reload_tests::definitions;
use crate::router::tests::{ScriptedSink, accept, endpoint_status, event, fault};
use crate::sink::CredentialSlot;
use crate::status::{EndpointStatus, SourceStatus};
use futures_util::future::{FutureExt as _, pending, ready};
use std::sync::Mutex;
use tokio::time::{Instant, sleep};

#[path = "user_code_builder_tests.rs"]
mod built;
#[path = "user_code_connect_tests.rs"]
mod connected;

/// How a call misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallVice {
    /// Before there is a future.
    PanicsAtOnce,
    /// In the future.
    PanicsLater,
    /// It never ends, and panics when it is dropped.
    NeverEnds,
    /// So many outcomes, whatever was sent.
    Gives(usize),
}

/// Misbehaves where it is told to, so many times; then it takes everything.
#[derive(Clone, Default)]
struct RudeSink(Arc<Mutex<RudeState>>);

#[derive(Default)]
struct RudeState {
    send: Vec<CallVice>,
    probe: Vec<CallVice>,
    put: Vec<CallVice>,
    limits: usize,
    always: bool,
    /// Refuses its credential so many times.
    unauthorized: usize,
    delivered: usize,
    stored: usize,
}

impl RudeSink {
    fn with(change: impl FnOnce(&mut RudeState)) -> Self {
        let rude = Self::default();
        change(&mut rude.0.lock().unwrap());
        rude
    }
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("on purpose, in drop");
    }
}

fn misbehave<'a, T: Send + 'a>(vice: Option<CallVice>, well: T) -> BoxFuture<'a, T> {
    match vice {
        None | Some(CallVice::Gives(_)) => ready(well).boxed(),
        Some(CallVice::PanicsAtOnce) => panic!("on purpose, at once"),
        Some(CallVice::PanicsLater) => async { panic!("on purpose, later") }.boxed(),
        Some(CallVice::NeverEnds) => async {
            let _held = PanicsWhenDropped;
            pending().await
        }
        .boxed(),
    }
}

impl Sink for RudeSink {
    fn limits(&self) -> BatchLimits {
        let fails = {
            let mut state = self.0.lock().unwrap();
            let fails = state.always || state.limits > 0;
            state.limits = state.limits.saturating_sub(1);
            fails
        };
        assert!(!fails, "on purpose, in limits");
        BatchLimits {
            events_max: 10,
            bytes_max: 1 << 20,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        let vice = self.0.lock().unwrap().send.pop();
        let mut state = self.0.lock().unwrap();
        if state.unauthorized > 0 {
            state.unauthorized -= 1;
            let refused = DeliveryOutcome::Unavailable(fault(FaultKind::Unauthorized));
            return ready(vec![refused; batch.len()]).boxed();
        }
        if vice.is_none() {
            state.delivered += batch.len();
        }
        drop(state);
        let given = match vice {
            Some(CallVice::Gives(given)) => given,
            _ => batch.len(),
        };
        misbehave(vice, vec![DeliveryOutcome::Delivered; given])
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), EndpointFault>> {
        let vice = self.0.lock().unwrap().probe.pop();
        misbehave(vice, Ok(()))
    }

    fn credentials(&self) -> Vec<CredentialState> {
        let always = self.0.lock().unwrap().always;
        assert!(!always, "on purpose, in credentials");
        vec![CredentialState {
            slot: CredentialSlot::Primary,
            active: true,
            expires_at: None,
        }]
    }
}

impl DeadLetterStore for RudeSink {
    fn put<'a>(
        &'a self,
        _letter: DeadLetterDocument<'a>,
    ) -> BoxFuture<'a, Result<(), EndpointFault>> {
        let vice = self.0.lock().unwrap().put.pop();
        if vice.is_none() {
            self.0.lock().unwrap().stored += 1;
        }
        misbehave(vice, Ok(()))
    }

    fn expires_at(&self) -> Option<Timestamp> {
        let always = self.0.lock().unwrap().always;
        assert!(!always, "on purpose, in expires_at");
        None
    }

    fn list<'a>(
        &'a self,
        _prefix: &'a str,
        _marker: Option<&'a str>,
    ) -> BoxFuture<'a, Result<StoredPage, EndpointFault>> {
        let vice = self.0.lock().unwrap().probe.pop();
        let names = vec!["one".to_owned()];
        misbehave(vice, Ok(StoredPage { names, next: None }))
    }

    fn read<'a>(
        &'a self,
        _name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<StoredLetter>, EndpointFault>> {
        let vice = self.0.lock().unwrap().send.pop();
        misbehave(vice, Ok(Vec::new()))
    }
}

/// The rude endpoint, and one beside it that behaves.
fn beside_another(rude: &RudeSink) -> (Router, ScriptedSink) {
    let other = ScriptedSink::default();
    let router = Router::builder()
        .sink("rude", rude.clone())
        .sink("other", other.clone())
        .route("rude", "rude", "true")
        .route("other", "other", "true")
        .build()
        .unwrap();
    (router, other)
}

fn rude_status(router: &Router) -> EndpointStatus {
    endpoint_status(router, "rude")
}

/// Fails in place of waiting for ever.
async fn within<T>(what: impl Future<Output = T>) -> T {
    let ended = timeout(Duration::from_secs(1_000), what).await;
    ended.expect("it has not ended within 1,000 s")
}

async fn error_of(router: &Router, word: &str) -> String {
    let until = Instant::now() + Duration::from_secs(1_000);
    while Instant::now() < until {
        let error = rude_status(router).last_error;
        if error.contains(word) {
            return error;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("{word} never came up: {}", rude_status(router).last_error);
}

/// Everything arrives in the end, at the other endpoint at once, and the router knows when.
async fn takes_only_its_endpoint_down(rude: RudeSink, code: &str, state: &str) -> String {
    let (router, other) = beside_another(&rude);
    let begun = Instant::now();
    accept(&router, vec![event(1, "a"), event(2, "b")]).await;
    let error = error_of(&router, code).await;
    assert_eq!(rude_status(&router).state, state, "{error}");
    accept(&router, vec![event(3, "c")]).await;
    while other.ids().len() < 3 {
        assert!(
            begun.elapsed() < Duration::from_secs(150),
            "the other endpoint waits"
        );
        sleep(Duration::from_millis(1)).await;
    }
    within(router.settled()).await;
    let status = rude_status(&router);
    assert_eq!((status.delivered, status.discarded), (3, 0), "{status:?}");
    assert_eq!(rude.0.lock().unwrap().delivered, 3);
    assert_eq!(router.stop(Duration::from_secs(1)).await.instances.len(), 1);
    error
}

async fn a_send_that(vice: CallVice, code: &str) -> String {
    let rude = RudeSink::with(|state| state.send = vec![vice; 2]);
    takes_only_its_endpoint_down(rude, code, "unreachable").await
}

#[tokio::test(start_paused = true)]
async fn a_send_that_panics_before_its_future() {
    let error = a_send_that(CallVice::PanicsAtOnce, "sink-panicked").await;
    assert_eq!(error, "sink-panicked: the sink panicked in send");
}

#[tokio::test(start_paused = true)]
async fn a_send_that_panics_in_its_future() {
    a_send_that(CallVice::PanicsLater, "sink-panicked").await;
}

#[tokio::test(start_paused = true)]
async fn a_send_that_never_ends_and_panics_when_it_is_dropped() {
    let error = a_send_that(CallVice::NeverEnds, "sink-timeout").await;
    assert_eq!(
        error,
        "sink-timeout: the sink did not end send within 130 s"
    );
}

#[tokio::test(start_paused = true)]
async fn a_send_that_gives_fewer_outcomes() {
    let error = a_send_that(CallVice::Gives(1), "sink-outcomes").await;
    assert_eq!(
        error,
        "sink-outcomes: the sink gave 1 outcomes for 2 deliveries: none is believed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_send_that_gives_more_outcomes() {
    a_send_that(CallVice::Gives(30), "sink-outcomes").await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_or_never_ends() {
    for vice in [
        CallVice::PanicsAtOnce,
        CallVice::PanicsLater,
        CallVice::NeverEnds,
    ] {
        let rude = RudeSink::with(|state| {
            state.unauthorized = 1;
            state.probe = vec![vice];
        });
        let code = if vice == CallVice::NeverEnds {
            "sink-timeout"
        } else {
            "sink-panicked"
        };
        takes_only_its_endpoint_down(rude, code, "unreachable").await;
    }
}

#[tokio::test(start_paused = true)]
async fn limits_that_panic_are_nobodys_fault_who_accepts() {
    let rude = RudeSink::with(|state| state.limits = 3);
    let error = takes_only_its_endpoint_down(rude, "sink-panicked", "unreachable").await;
    assert_eq!(error, "sink-panicked: the sink panicked in limits");
}

#[tokio::test(start_paused = true)]
async fn credentials_that_panic_leave_status_and_stop_alone() {
    let rude = RudeSink::default();
    let (router, other) = beside_another(&rude);
    accept(&router, vec![event(1, "a")]).await;
    within(router.settled()).await;
    assert_eq!(rude_status(&router).credentials.len(), 1);
    rude.0.lock().unwrap().always = true;
    let status = rude_status(&router);
    assert!(status.credentials.is_empty());
    assert_eq!(
        status.last_error,
        "sink-panicked: the sink panicked in credentials"
    );
    assert_eq!(other.ids().len(), 1);
    let last = router.stop(Duration::from_secs(1)).await;
    assert_eq!(last.instances[0].endpoints.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_put_that_panics_or_never_ends() {
    for vice in [
        CallVice::PanicsAtOnce,
        CallVice::PanicsLater,
        CallVice::NeverEnds,
    ] {
        let (sink, store) = (
            ScriptedSink::default(),
            RudeSink::with(|state| state.put = vec![vice; 2]),
        );
        sink.answer([DeliveryOutcome::Reject(FailureReason::new("bad", ""))]);
        let router = Router::builder()
            .sink("rude", sink)
            .dead_letters(store.clone())
            .route("rude", "rude", "true")
            .build()
            .unwrap();
        accept(&router, vec![event(1, "a"), event(2, "b")]).await;
        let dead = || rude_status(&router).dead_letters;
        within(async {
            while dead().uploaded == 0 {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        let code = if vice == CallVice::NeverEnds {
            "store-timeout"
        } else {
            "store-panicked"
        };
        assert!(dead().last_error.starts_with(code), "{:?}", dead());
        assert_eq!(store.0.lock().unwrap().stored, 1);
        within(router.settled()).await;
        assert_eq!(rude_status(&router).delivered, 1, "deliveries go on");
    }
}

#[tokio::test(start_paused = true)]
async fn an_expires_at_that_panics() {
    let store = RudeSink::with(|state| state.always = true);
    let router = Router::builder()
        .sink("rude", ScriptedSink::default())
        .dead_letters(store)
        .build()
        .unwrap();
    let dead = rude_status(&router).dead_letters;
    assert_eq!(
        dead.last_error,
        "store-panicked: the store panicked in expires_at"
    );
    router.stop(Duration::ZERO).await;
}

async fn replay(store: RudeSink) -> ReplayStatus {
    let router = Router::builder()
        .sink("rude", ScriptedSink::default())
        .dead_letters(store)
        .build()
        .unwrap();
    let mut request = ReplayRequest {
        container_prefix: Some(String::new()),
        ..ReplayRequest::default()
    };
    request.query.endpoint = "rude".to_owned();
    let replay = router.replay(request).await.unwrap();
    let ended = crate::router::dead_letter_tests::ended(&router, replay.number);
    within(ended).await
}

#[tokio::test(start_paused = true)]
async fn a_list_or_a_read_that_panics_or_never_ends() {
    for vice in [
        CallVice::PanicsAtOnce,
        CallVice::PanicsLater,
        CallVice::NeverEnds,
    ] {
        let listed = replay(RudeSink::with(|state| state.probe = vec![vice])).await;
        assert_eq!(listed.state, ReplayState::Stopped);
        assert!(listed.reason.contains("list"), "{listed:?}");
        let read = replay(RudeSink::with(|state| state.send = vec![vice])).await;
        assert_eq!((read.state, read.skipped), (ReplayState::Done, 1));
    }
}

/// Tells the time once.
struct BrokenClock(AtomicBool);

impl Clock for BrokenClock {
    fn now(&self) -> Timestamp {
        assert!(!self.0.swap(true, Ordering::Relaxed), "on purpose, in now");
        Timestamp::from_unix_millis(1_000)
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_panics_stands_still() {
    let sink = ScriptedSink::default();
    let router = Router::builder()
        .clock(BrokenClock(AtomicBool::new(false)))
        .sink("rude", sink.clone())
        .route("rude", "rude", "true")
        .build()
        .unwrap();
    accept(&router, vec![event(1, "a")]).await;
    within(router.settled()).await;
    assert_eq!(rude_status(&router).delivered, 1);
    let never = UserClock::new(BrokenClock(AtomicBool::new(true)));
    assert!(
        never.now() > Timestamp::from_unix_millis(1_000),
        "the machine's clock"
    );
}

#[tokio::test(start_paused = true)]
async fn functions_for_the_status_that_panic_show_nothing() {
    let router = Router::builder().build().unwrap();
    router.show_source(|| -> SourceStatus { panic!("on purpose, in show_source") });
    assert!(router.status().table.source.is_none());
}

/// The files of this crate, without tests, that may name what they call nothing of.
const NAME_ONLY: [&str; 4] = ["user_code.rs", "sink.rs", "lib.rs", "hold.rs"];

/// Methods of the program's objects are reachable through their guard alone.
#[test]
fn code_of_the_program_is_called_in_one_place() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if NAME_ONLY.contains(&&*name) || name.ends_with("tests.rs") {
                continue;
            }
            seen += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            let refused = [
                "dyn Sink>",
                "&dyn Sink",
                "dyn DeadLetterStore",
                "connect.connect(",
                "connect.dead_letters(",
                "catch_unwind",
            ];
            for part in refused {
                let made = name == "builder.rs" && part == "dyn Sink>";
                assert!(
                    made || !text.contains(part),
                    "{name}: {part}: call the program's code through user_code.rs"
                );
            }
        }
    }
    assert!(seen > 30, "{seen} files were looked at");
}
