//! Level `delivered`: the answer waits for the ends of the deliveries.

use super::{ScriptedSink, begin, endpoint, event, events, outcomes};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::endpoint::Endpoint;
use twinroute_model::instance::Instance;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::route::Route;
use twinroute_model::settings::{EndpointSettings, WhenFull};
use twinroute_router::Router;
use twinroute_router::accept::AckLevel::{Delivered, Memory};
use twinroute_router::sink::{Connect, ConnectError, Sink};
use twinroute_router::source::Definitions;

fn router(sink: &ScriptedSink) -> Router {
    let router = Router::builder().sink("only", sink.clone());
    router.route("all", "only", "true").build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_tells_how_its_deliveries_ended() {
    let small = EndpointSettings::default().with(|own| {
        own.queue_events_max = 1;
        own.when_full = WhenFull::DiscardOldest;
    });
    let router = Router::builder()
        .sink("good", ScriptedSink::default())
        .sink("picky", ScriptedSink::rejecting(1))
        .sink_with("small", ScriptedSink::default(), small)
        .sink("unused", ScriptedSink::default())
        .route("all", "good", "true")
        .route("again", "GOOD", "true")
        .route("some", "picky", "true")
        .route("few", "small", "true")
        .build()
        .unwrap();
    let accepted = router.accept(None, events(0..3), Delivered).await.unwrap();
    let expect = [
        ("good", [3, 0, 0, 0]),
        ("picky", [2, 1, 0, 0]),
        ("small", [1, 0, 2, 0]),
    ];
    assert_eq!(outcomes(&accepted), expect.into());
    assert!(accepted.is_ended() && !accepted.is_open());
    assert_eq!(accepted.deliveries, 9);
    // Whoever asks for less does not wait and is told nothing.
    let accepted = router.accept(None, events(3..4), Memory).await.unwrap();
    assert_eq!(outcomes(&accepted), [].into());
    assert_eq!(router.status().journal.accepted, 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_open_at_the_deadline_is_said_and_goes_on() {
    let sink = ScriptedSink::closed();
    let router = router(&sink);
    let begun = Instant::now();
    let deadline = Duration::from_secs(7);
    let accepted = router.accept_within(None, events(0..2), Delivered, deadline);
    let accepted = accepted.await.unwrap();
    assert_eq!(begun.elapsed(), deadline);
    assert_eq!(outcomes(&accepted), [("only", [0, 0, 0, 2])].into());
    assert!(accepted.is_open() && !accepted.is_ended());
    assert_eq!(accepted.open(), 2);
    sink.gate.add_permits(10);
    router.settled().await;
    assert_eq!(endpoint(&router, "only").delivered, 2);
    // A deadline that no clock reaches is none.
    let accepted = router.accept_within(None, events(2..3), Delivered, Duration::MAX);
    assert!(accepted.await.unwrap().is_ended());
}

#[tokio::test(start_paused = true)]
async fn nothing_to_deliver_is_nothing_to_wait_for() {
    let sink = ScriptedSink::closed();
    let router = Router::builder().sink("only", sink);
    let router = router.route("none", "only", "false").build().unwrap();
    let accepted = router.accept(None, events(0..2), Delivered).await.unwrap();
    assert_eq!((accepted.unmatched, accepted.is_ended()), (2, true));
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_leaves_undoes_nothing() {
    let sink = ScriptedSink::closed();
    let router = router(&sink);
    let answer = begin(&router, 0..2, Delivered).await;
    answer.abort();
    assert!(answer.await.unwrap_err().is_cancelled());
    sink.gate.add_permits(10);
    router.settled().await;
    assert_eq!(sink.ids(), ["0", "1"]);
    assert_eq!(router.status().journal.accepted, 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_whoever_waits() {
    let sink = ScriptedSink::closed();
    let router = router(&sink);
    let answer = begin(&router, 0..1, Delivered).await;
    let begun = Instant::now();
    router.stop(Duration::from_secs(2)).await;
    let accepted = answer.await.unwrap().unwrap();
    assert_eq!(outcomes(&accepted), [("only", [0, 0, 0, 1])].into());
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn the_grace_of_a_stop_is_waited_for() {
    let sink = ScriptedSink::closed();
    let router = router(&sink);
    let answer = begin(&router, 0..1, Delivered).await;
    let stop = router.stop(Duration::from_secs(2));
    let (_, ()) = tokio::join!(stop, async {
        super::others().await;
        sink.gate.add_permits(1);
    });
    let accepted = answer.await.unwrap().unwrap();
    assert_eq!(outcomes(&accepted), [("only", [1, 0, 0, 0])].into());
}

/// Makes one scripted sink an endpoint.
struct ScriptedConnect(ScriptedSink);

impl Connect for ScriptedConnect {
    fn connect(&self, _: &Endpoint, _: &EndpointSettings) -> Result<Arc<dyn Sink>, ConnectError> {
        Ok(Arc::new(self.0.clone()))
    }
}

fn definitions(endpoints: &[&str]) -> Definitions {
    let body = r#"{"properties":{"endpointType":"EventGrid","accessKey1":"k",
        "TopicEndpoint":"https://t/api/events"}}"#;
    let name = |name: &&str| EndpointName::new(name).unwrap();
    let endpoint = |text: &&str| twinroute_model::endpoint::parse(&name(text), body).unwrap();
    let route = |text: &&str| Route {
        id: RouteId::new(text).unwrap(),
        endpoint_name: name(text),
        filter: "true".to_owned(),
    };
    let instance = Instance {
        name: InstanceName::new("default").unwrap(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        routes: endpoints.iter().map(route).collect(),
        network: twinroute_model::network::NetworkAccess::default(),
    };
    Definitions {
        instances: vec![instance],
        ..Definitions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_removed_meanwhile_has_an_end_too() {
    let sink = ScriptedSink::closed();
    let router = Router::builder()
        .connect(ScriptedConnect(sink.clone()))
        .removed_grace(Duration::from_secs(3))
        .definitions(definitions(&["hub-1", "hub-2"]))
        .build()
        .unwrap();
    // The first event is in flight, the second waits behind it: one twin.
    let first = begin(&router, 0..1, Delivered).await;
    tokio::time::advance(Duration::from_millis(10)).await;
    super::others().await;
    let second = router.accept(None, vec![event(0)], Delivered);
    let removal = async {
        super::others().await;
        router.apply(&definitions(&["hub-1"])).unwrap();
    };
    let (second, ()) = tokio::join!(second, removal);
    let expect = [("hub-1", [0, 0, 0, 1]), ("hub-2", [0, 1, 0, 0])];
    assert_eq!(outcomes(&second.unwrap()), expect.into());
    let expect = [("hub-1", [0, 0, 0, 1]), ("hub-2", [0, 0, 0, 1])];
    assert_eq!(outcomes(&first.await.unwrap().unwrap()), expect.into());
}
