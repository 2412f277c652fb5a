//! Dead letters: how they come about, where they go, how they come back.

use super::tests::{ScriptedSink, accept, endpoint_status, event, fault};
use super::*;
use crate::builder::RouterBuilder;
use crate::dead_letters::{DeadLetterQuery, DeadLetterQueryText};
use crate::replay::{ReplayRequest, ReplayState, ReplayStatus};
use crate::sink::{
    DeadLetterDocument, DeadLetterStore, DeliveryOutcome, EndpointFault, FailureReason, FaultKind,
    StoredLetter, StoredPage,
};
use crate::status::EndpointStatus;
use bytesize::ByteSize;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use std::collections::VecDeque;
use std::sync::Mutex;
use twinroute_journal::ledger::DiscardReason;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetterReason;
use twinroute_model::settings::{AnswerMeaning, EndpointSettings, WhenFull};

/// A store in memory that fails as told.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore(Arc<Mutex<ShelfState>>);

#[derive(Default)]
struct ShelfState {
    letters: Vec<(String, Event)>,
    faults: VecDeque<FaultKind>,
    readable: bool,
    /// Whatever is asked for, the first page comes, with a marker.
    repeating: bool,
}

impl MemoryStore {
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = FaultKind>) {
        self.0.lock().unwrap().faults.extend(faults);
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let ids = state.letters.iter().map(|(_, event)| event.id().to_owned());
        ids.collect()
    }
}

impl DeadLetterStore for MemoryStore {
    fn put<'a>(
        &'a self,
        letter: DeadLetterDocument<'a>,
    ) -> BoxFuture<'a, Result<(), EndpointFault>> {
        let mut state = self.0.lock().unwrap();
        let result = match state.faults.pop_front() {
            Some(kind) => Err(fault(kind)),
            None => {
                let name = format!("{}/{}", letter.endpoint, letter.event.id());
                state.letters.push((name, letter.event.clone()));
                Ok(())
            }
        };
        ready(result).boxed()
    }

    fn expires_at(&self) -> Option<Timestamp> {
        None
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        marker: Option<&'a str>,
    ) -> BoxFuture<'a, Result<StoredPage, EndpointFault>> {
        let state = self.0.lock().unwrap();
        if !state.readable {
            return ready(Err(fault(FaultKind::Unauthorized))).boxed();
        }
        let names = state.letters.iter().map(|(name, _)| name.clone());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        let repeating = state.repeating;
        names.retain(|name| marker.is_none_or(|marker| repeating || name.as_str() > marker));
        let next = (names.len() > 2).then(|| names[1].clone());
        names.truncate(2);
        ready(Ok(StoredPage { names, next })).boxed()
    }

    fn read<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<StoredLetter>, EndpointFault>> {
        let state = self.0.lock().unwrap();
        let found = state.letters.iter().filter(|(known, _)| known == name);
        let letter = |(_, event): &(String, Event)| StoredLetter {
            event: event.clone(),
            about: None,
        };
        ready(Ok(found.map(letter).collect())).boxed()
    }
}

pub(crate) fn reject() -> DeliveryOutcome {
    DeliveryOutcome::Reject(FailureReason::new("bad", "no such field"))
}

pub(super) fn quick() -> EndpointSettings {
    EndpointSettings::default().with(|own| {
        own.retry_schedule = vec![Duration::from_secs(1)];
        own.attempts_max = 2;
    })
}

fn router(sink: &ScriptedSink, settings: EndpointSettings, store: Option<&MemoryStore>) -> Router {
    of(Router::builder(), sink, settings, store)
}

pub(super) fn of(
    builder: RouterBuilder,
    sink: &ScriptedSink,
    settings: EndpointSettings,
    store: Option<&MemoryStore>,
) -> Router {
    let builder = builder.sink_with("only", sink.clone(), settings);
    let builder = match store {
        Some(store) => builder.dead_letters(store.clone()),
        None => builder,
    };
    builder.route("all", "only", "true").build().unwrap()
}

pub(super) fn status(router: &Router) -> EndpointStatus {
    endpoint_status(router, "only")
}

/// Waits until a replay has ended.
pub(crate) async fn ended(router: &Router, number: u64) -> ReplayStatus {
    loop {
        let replays = router.replays();
        let replay = replays.into_iter().find(|replay| replay.number == number);
        let replay = replay.unwrap();
        if !matches!(replay.state, ReplayState::Running | ReplayState::Waiting) {
            return replay;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_found_by_what_is_asked() {
    let sink = ScriptedSink::default();
    let retry = DeliveryOutcome::Retry {
        after: None,
        reason: FailureReason::new("busy", "later"),
    };
    sink.answer([reject(), retry.clone(), reject(), retry]);
    let router = router(&sink, quick(), None);
    let events = vec![event(1, "a"), event(2, "b"), event(3, "c"), event(4, "d")];
    accept(&router, events).await;
    sink.answer([reject(), reject()]);
    router.settled().await;
    let ask = async |text: DeadLetterQueryText| {
        let page = router.dead_letters(&text.parse().unwrap(), None, 100).await;
        let ids = page.dead_letters.iter().map(|letter| letter.id.clone());
        ids.collect::<Vec<_>>().join(" ")
    };
    let with = |change: fn(&mut DeadLetterQueryText)| {
        let mut text = DeadLetterQueryText::default();
        change(&mut text);
        text
    };
    assert_eq!(ask(with(|_| {})).await, "1 2 3 4");
    assert_eq!(
        ask(with(|text| text.reason = "rejected".into())).await,
        "1 2 3 4"
    );
    assert_eq!(ask(with(|text| text.endpoint = "other".into())).await, "");
    assert_eq!(
        ask(with(|text| text.filter = "subject = 'c'".into())).await,
        "3"
    );
    assert_eq!(ask(with(|text| text.event_type = "other".into())).await, "");
    assert_eq!(
        ask(with(|text| text.since = "2999-01-01T00:00:00Z".into())).await,
        ""
    );
    let wrong = with(|text| text.filter = "subject is".into()).parse();
    assert!(wrong.unwrap_err().starts_with("filter: "));

    // Page by page comes the same.
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let query = DeadLetterQuery::default();
        let page = router.dead_letters(&query, after.as_ref(), 1).await;
        ids.extend(page.dead_letters.into_iter().map(|letter| letter.id));
        if page.next.is_empty() {
            break;
        }
        after = Some(page.next.parse().unwrap());
    }
    assert_eq!(ids, ["1", "2", "3", "4"]);
    let (view, event) = router.dead_letter(None, "ONLY", 1).await.unwrap();
    assert_eq!(
        (view.outcome.as_str(), event.id()),
        ("bad: no such field", "1")
    );
}

#[tokio::test(start_paused = true)]
async fn a_replay_from_the_container_reads_what_stands_there() {
    let (sink, shelf) = (ScriptedSink::default(), MemoryStore::default());
    sink.answer(vec![reject(); 5]);
    let router = router(&sink, quick(), Some(&shelf));
    accept(&router, (1..=5).map(|id| event(id, "a")).collect()).await;
    router.settled().await;
    assert_eq!(status(&router).dead_letters.uploaded, 5);
    let request = ReplayRequest {
        query: DeadLetterQueryText {
            endpoint: "only".to_owned(),
            ..DeadLetterQueryText::default()
        },
        container_prefix: Some("only/".to_owned()),
        ..ReplayRequest::default()
    };
    let number = router.replay(request.clone()).await.unwrap().number;
    let refused = ended(&router, number).await;
    assert!(refused.reason.contains("as the script says"), "{refused:?}");
    shelf.0.lock().unwrap().readable = true;
    let number = router.replay(request).await.unwrap().number;
    let replay = ended(&router, number).await;
    assert_eq!((replay.state, replay.delivered), (ReplayState::Done, 5));
    assert_eq!(replay.container_names["default/only"], "only/5");
    assert_eq!(status(&router).dead_letters.uploaded, 5);
    assert_eq!(sink.ids().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn endless_answers_of_a_container_that_lists_the_same_page_again_stop_a_replay() {
    let (sink, shelf) = (ScriptedSink::default(), MemoryStore::default());
    sink.answer(vec![reject(); 5]);
    let router = router(&sink, quick(), Some(&shelf));
    accept(&router, (1..=5).map(|id| event(id, "a")).collect()).await;
    router.settled().await;
    {
        let mut state = shelf.0.lock().unwrap();
        (state.readable, state.repeating) = (true, true);
    }
    let request = ReplayRequest {
        query: DeadLetterQueryText {
            endpoint: "only".to_owned(),
            ..DeadLetterQueryText::default()
        },
        container_prefix: Some("only/".to_owned()),
        ..ReplayRequest::default()
    };
    let number = router.replay(request).await.unwrap().number;
    let replay = ended(&router, number).await;
    assert_eq!((replay.state, replay.replayed), (ReplayState::Stopped, 2));
    let text = "names must grow from page to page";
    assert!(replay.reason.contains(text), "{replay:?}");
}

#[tokio::test(start_paused = true)]
async fn time_to_live_stands_still_while_an_endpoint_is_unavailable_or_refuses_us() {
    for kind in FaultKind::ALL {
        let sink = ScriptedSink::default();
        sink.set_down_as(Some(kind));
        let router = router(&sink, quick(), None);
        accept(&router, vec![event(1, "a")]).await;
        tokio::time::sleep(Duration::from_secs(24 * 60 * 60 + 1)).await;
        let status = status(&router);
        assert!(status.retry.standing_still);
        assert_eq!(status.dead_letters.all(), 0, "{kind:?}: {status:?}");
        sink.set_down(false);
        router.settled().await;
        assert_eq!(sink.ids().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_endpoint_sends_nothing_and_a_purge_empties_it() {
    let sink = ScriptedSink::default();
    let router = router(&sink, quick(), None);
    let endpoint = router.endpoint(None, "only").unwrap();
    assert!(router.endpoint(None, "other").is_none());
    endpoint.pause();
    accept(&router, vec![event(1, "a"), event(2, "a")]).await;
    tokio::time::sleep(Duration::from_secs(30 * 60 * 60)).await;
    assert_eq!(
        (status(&router).state.as_str(), status(&router).queued),
        ("paused", 2)
    );
    assert_eq!(endpoint.purge(false).queued, 2);
    assert_eq!(status(&router).discarded_by[&DiscardReason::Purged], 2);
    accept(&router, vec![event(3, "a")]).await;
    endpoint.resume();
    router.settled().await;
    assert_eq!(sink.ids(), ["3"]);
}

#[tokio::test(start_paused = true)]
async fn limits_do_what_was_set() {
    let full = |when_full, dead_letter_bytes_max| {
        EndpointSettings::default().with(|own| {
            own.queue_events_max = 2;
            own.queue_age_max = Duration::from_secs(60);
            own.when_full = when_full;
            own.dead_letter_bytes_max = dead_letter_bytes_max;
        })
    };
    let down = ScriptedSink::default();
    down.set_down(true);
    let four = || (1..=4).map(|id| event(id, "a")).collect::<Vec<_>>();

    let dead = router(&down, full(WhenFull::DeadLetterOldest, ByteSize(0)), None);
    accept(&dead, four()).await;
    assert_eq!(
        status(&dead).dead_letters.by_reason[&DeadLetterReason::Overflow],
        2
    );
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(
        (status(&dead).queued, status(&dead).dead_letters.local),
        (0, 4)
    );

    let kept = ByteSize(event(1, "a").size() as u64);
    let few = router(&down, full(WhenFull::DeadLetterOldest, kept), None);
    accept(&few, four()).await;
    assert_eq!(
        (status(&few).dead_letters.local, status(&few).discarded),
        (1, 1)
    );

    let discard = router(&down, full(WhenFull::DiscardOldest, ByteSize(0)), None);
    accept(&discard, four()).await;
    assert_eq!(status(&discard).discarded_by[&DiscardReason::Overflow], 2);
    assert_eq!(status(&discard).dead_letters.all(), 0);

    let refuse = router(&down, full(WhenFull::Refuse, ByteSize(0)), None);
    accept(&refuse, vec![event(1, "a"), event(2, "a")]).await;
    let refused = refuse
        .accept(None, vec![event(3, "a")], AckLevel::Memory)
        .await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(&refused, AcceptError::EndpointFull { .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("endpoint default/only"),
        "{refused}"
    );
    down.set_down(false);
    refuse.settled().await;
    accept(&refuse, vec![event(4, "a")]).await;
    assert_eq!(
        (status(&refuse).matched, status(&refuse).dead_letters.all()),
        (3, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_means_what_the_settings_say() {
    let sink = ScriptedSink::default();
    sink.answer([reject(), DeliveryOutcome::Delivered]);
    let settings =
        quick().with(|own| own.answers = [("bad".to_owned(), AnswerMeaning::Retry)].into());
    let router = router(&sink, settings, None);
    accept(&router, vec![event(1, "a")]).await;
    router.settled().await;
    assert_eq!(sink.ids(), ["1", "1"]);
    assert_eq!(status(&router).delivered, 1);
    assert_eq!(status(&router).retry.answers["bad"], AnswerMeaning::Retry);
}
