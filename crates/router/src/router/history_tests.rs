use super::super::dead_letter_tests::{ended, reject};
use super::super::tests::{ScriptedSink, endpoint_status, event};
use super::*;
use crate::accept::AckLevel;
use crate::history::{
    ComparedTable, DeliveryRow, HistoryQuery, HistoryQueryText, RoutePlan, RouteSnapshot,
};
use crate::replay::{HistoryReplay, ReplayRequest, ReplayState};
use std::sync::Arc;
use std::time::Duration;
use twinroute_journal::sim::SimulatedDisk;
use twinroute_journal::{DiskJournal, JournalSettings};
use twinroute_model::clock::SystemClock;
use twinroute_model::name::InstanceName;
use twinroute_model::route::Route;

const UPDATES: &str = "type = 'Microsoft.DigitalTwins.Twin.Update'";

fn router(sim: &SimulatedDisk, sinks: [(&str, &ScriptedSink, &str); 2]) -> Router {
    let settings = JournalSettings {
        segment_bytes: 64 << 10,
        commit_window: Duration::ZERO,
        settle_delay: Duration::from_millis(1),
        keep_bytes: 1 << 20,
        ..JournalSettings::default()
    };
    let storage = Arc::new(sim.clone());
    let (disk, recovered) = DiskJournal::open(settings, storage, Arc::new(SystemClock)).unwrap();
    let mut builder = Router::builder().journal_on_disk(disk, recovered);
    for (name, sink, filter) in sinks {
        builder = builder
            .sink(name, sink.clone())
            .route(&format!("to-{name}"), name, filter);
    }
    builder.build().unwrap()
}

async fn accept(router: &Router, ids: std::ops::Range<usize>) {
    for id in ids {
        let events = vec![event(id, "a")];
        router
            .accept(None, events, AckLevel::Durable)
            .await
            .unwrap();
    }
    router.settled().await;
    flush(router).await;
}

/// What rides along is on disk.
async fn flush(router: &Router) {
    let disk = router.parts.disk().unwrap();
    disk.flush().await.unwrap();
}

async fn rows(router: &Router, query: HistoryQueryText) -> Vec<DeliveryRow> {
    let history = router.history().unwrap();
    let query = query.parse().unwrap();
    let page = history.rows(query, Default::default(), 1_000).await;
    page.unwrap().rows
}

fn about(rows: &[DeliveryRow]) -> Vec<(&str, &str, &str)> {
    rows.iter()
        .map(|row| (row.id.as_str(), row.endpoint.as_str(), row.outcome.as_str()))
        .collect()
}

#[tokio::test]
async fn a_row_says_which_route_sent_an_event_where_and_what_came_of_it() {
    let (sim, hub, none) = Default::default();
    let (hub, none): (ScriptedSink, ScriptedSink) = (hub, none);
    let router = router(&sim, [("hub", &hub, UPDATES), ("none", &none, "false")]);
    hub.answer([reject()]);
    accept(&router, 0..2).await;
    let all = rows(&router, HistoryQueryText::default()).await;
    assert_eq!(
        about(&all),
        [("0", "hub", "dead-letter"), ("1", "hub", "delivered")]
    );
    assert_eq!((&*all[0].reason, all[0].attempts), ("rejected", 1));
    assert!(!all[0].last_outcome.is_empty(), "{all:?}");
    assert_eq!(all[1].routes, ["to-hub"]);
    assert_eq!((all[1].attempts, all[1].settled_at.is_empty()), (1, false));
    for (query, count) in [
        (
            HistoryQueryText {
                route: "to-hub".to_owned(),
                ..HistoryQueryText::default()
            },
            2,
        ),
        (
            HistoryQueryText {
                route: "to-none".to_owned(),
                ..HistoryQueryText::default()
            },
            0,
        ),
        (
            HistoryQueryText {
                outcome: "delivered".to_owned(),
                ..HistoryQueryText::default()
            },
            1,
        ),
    ] {
        assert_eq!(rows(&router, query.clone()).await.len(), count, "{query:?}");
    }
}

#[tokio::test]
async fn unmatched_events_are_found_and_so_is_what_each_route_decided() {
    let sim = SimulatedDisk::default();
    let (hub, none) = (ScriptedSink::default(), ScriptedSink::default());
    let router = router(
        &sim,
        [("hub", &hub, "subject = 'b'"), ("none", &none, "false")],
    );
    accept(&router, 0..3).await;
    let all = rows(
        &router,
        HistoryQueryText {
            unmatched: "true".to_owned(),
            ..HistoryQueryText::default()
        },
    )
    .await;
    assert_eq!(
        about(&all),
        [
            ("0", "", "unmatched"),
            ("1", "", "unmatched"),
            ("2", "", "unmatched")
        ]
    );
    let query = HistoryQueryText {
        id: "1".to_owned(),
        ..HistoryQueryText::default()
    };
    let history = router.history().unwrap();
    let events = history.events(query.parse().unwrap()).await.unwrap();
    assert_eq!(events.len(), 1);
    let decisions: Vec<_> = events[0]
        .routes
        .iter()
        .map(|one| (&*one.route, one.matches))
        .collect();
    assert_eq!(decisions, [("to-hub", false), ("to-none", false)]);
}

#[tokio::test]
async fn past_events_are_replayed_to_where_they_went_and_to_an_endpoint_that_is_named() {
    let sim = SimulatedDisk::default();
    let (hub, fresh) = (ScriptedSink::default(), ScriptedSink::default());
    let router = router(&sim, [("hub", &hub, UPDATES), ("fresh", &fresh, "false")]);
    accept(&router, 0..3).await;
    let replay = |to: &str, id: &str| ReplayRequest {
        history: Some(HistoryReplay {
            query: HistoryQueryText {
                id: id.to_owned(),
                ..HistoryQueryText::default()
            },
            to: to.to_owned(),
        }),
        per_second: 10_000.0,
        ..ReplayRequest::default()
    };
    let again = router.replay(replay("", "1")).await.unwrap();
    let over = ended(&router, again.number).await;
    assert_eq!((over.state, over.replayed), (ReplayState::Done, 1));
    let filled = router.replay(replay("fresh", "")).await.unwrap();
    let over = ended(&router, filled.number).await;
    assert_eq!((over.state, over.replayed), (ReplayState::Done, 3));
    router.settled().await;
    assert_eq!(hub.ids(), ["0", "1", "2", "1"]);
    assert_eq!(fresh.ids(), ["0", "1", "2"]);
    let status = endpoint_status(&router, "fresh");
    assert_eq!(
        (
            status.matched,
            status.replayed,
            status.delivered,
            status.unaccounted()
        ),
        (0, 3, 3, 0)
    );
    let unknown = router.replay(replay("nowhere", "")).await.unwrap_err();
    assert_eq!(unknown.to_string(), "endpoint nowhere: not found");
}

#[tokio::test]
async fn a_replay_of_the_history_leaves_what_is_not_settled_and_stops_when_the_failure_persists() {
    let sim = SimulatedDisk::default();
    let (hub, none) = (ScriptedSink::default(), ScriptedSink::default());
    let router = router(&sim, [("hub", &hub, UPDATES), ("none", &none, "false")]);
    accept(&router, 0..10).await;
    hub.answer(vec![reject(); 100]);
    // A dead letter that is kept here: it is not settled.
    accept(&router, 10..11).await;
    let request = ReplayRequest {
        history: Some(HistoryReplay::default()),
        per_second: 1_000.0,
        ..ReplayRequest::default()
    };
    let number = router.replay(request).await.unwrap().number;
    let over = ended(&router, number).await;
    assert_eq!(over.state, ReplayState::Stopped, "{over:?}");
    assert!(over.reason.contains("the failure persists"), "{over:?}");
    assert!(over.replayed <= 10, "{over:?}");
}

/// Definitions of the two endpoints with other filters.
fn changed(hub: &str, other: &str) -> crate::source::Definitions {
    let mut definitions = crate::source::Definitions::default();
    let instance = InstanceName::new("default").unwrap();
    for (endpoint, filter) in [("hub", hub), ("none", other)] {
        definitions.instance_mut(&instance).routes.push(Route {
            id: RouteId::new(&format!("to-{endpoint}")).unwrap(),
            endpoint_name: EndpointName::new(endpoint).unwrap(),
            filter: filter.to_owned(),
        });
    }
    definitions
}

fn routes_of(definitions: &crate::source::Definitions) -> Vec<RouteSnapshot> {
    let instance = &definitions.instances[0];
    let routes = instance.routes.iter().map(|route| RouteSnapshot {
        instance: instance.name.to_string(),
        route: route.id.to_string(),
        endpoint: route.endpoint_name.to_string(),
        filter: route.filter.clone(),
    });
    routes.collect()
}

fn sorted(mut routes: Vec<RouteSnapshot>) -> Vec<RouteSnapshot> {
    routes.sort_by(|left, right| left.route.cmp(&right.route));
    routes
}

async fn send_each(router: &Router, twins: &[&str]) {
    for (id, twin) in twins.iter().enumerate() {
        let events = vec![event(id, twin)];
        let accepted = router.accept(None, events, AckLevel::Durable).await;
        accepted.unwrap();
    }
    router.settled().await;
    flush(router).await;
}

#[tokio::test]
async fn a_plan_counts_what_the_real_change_then_counts() {
    let sim = SimulatedDisk::default();
    let (hub, none) = (ScriptedSink::default(), ScriptedSink::default());
    let router = router(&sim, [("hub", &hub, UPDATES), ("none", &none, "false")]);
    let twins = ["a", "b", "c", "a", "b", "a"];
    send_each(&router, &twins).await;
    let default = router.default_instance().to_string();
    let mut definitions = changed("subject = 'a'", "subject = 'b' OR subject = 'a'");
    definitions.instances[0].name = router.default_instance().clone();
    let before = changed(UPDATES, "false");
    let mut before = routes_of(&before);
    before
        .iter_mut()
        .for_each(|route| route.instance.clone_from(&default));
    let history = router.history().unwrap();
    assert_eq!(history.last_routes().await.unwrap(), sorted(before.clone()));
    let [before, after] = [before, routes_of(&definitions)].map(|routes| ComparedTable {
        routes,
        ..ComparedTable::default()
    });
    let mut plan = RoutePlan::new(&before, &after).unwrap();
    let past = history
        .export(HistoryQuery::default(), Default::default(), 1_000)
        .await
        .unwrap();
    past.events.iter().for_each(|one| plan.add(one));
    let report = plan.report();
    assert!(report.is_change());
    assert_eq!(report.events, 6);

    let counted = |name: &str| {
        let status = endpoint_status(&router, name);
        (status.matched, router.status().journal.unmatched)
    };
    let (hub_before, unmatched_before) = counted("hub");
    let (none_before, _) = counted("none");
    router.apply(&definitions).unwrap();
    send_each(&router, &twins).await;
    let (hub_after, unmatched_after) = counted("hub");
    let (none_after, _) = counted("none");
    let of = |endpoint: &str| &report.endpoints[&format!("{default}/{endpoint}")];
    let events = |endpoint: &str| &of(endpoint).events;
    assert_eq!(events("hub").after, hub_after - hub_before);
    assert_eq!(events("none").after, none_after - none_before);
    assert_eq!(report.unmatched.after, unmatched_after - unmatched_before);
    assert_eq!((events("hub").before, hub_before), (6, 6));
    assert_eq!((events("hub").go, events("none").come), (3, 5));
    assert_eq!(events("none").come_ids, ["0", "1", "3"]);
    assert_eq!(
        (report.unmatched.come, &*report.unmatched.come_ids),
        (1, &["2".to_owned()][..])
    );
    // The same event under the table of then and of now.
    let query = HistoryQueryText {
        id: "1".to_owned(),
        ..HistoryQueryText::default()
    };
    let events = router.past_events(query.parse().unwrap()).await.unwrap();
    let verdicts = |decisions: &[crate::history::RouteDecision]| {
        decisions.iter().map(|one| one.matches).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(&events[0].routes), [true, false]);
    assert_eq!(verdicts(&events[0].now), [false, true]);
    assert_eq!(verdicts(&events[1].routes), [false, true]);
}
