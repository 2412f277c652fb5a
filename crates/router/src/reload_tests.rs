//! Definitions that change while a router runs.

use super::tests::{ScriptedSink, accept, endpoint_status, event};
use super::*;
use crate::sink::{Connect, ConnectError, Sink};
use crate::table::source::{Settings, StraySettings};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use twinroute_model::dead_letter::DeadLetterReason;
use twinroute_model::endpoint::{self, Endpoint};
use twinroute_model::instance::Instance;
use twinroute_model::route::Route;
use twinroute_model::settings::EndpointSettings;

/// Makes one scripted sink an endpoint and counts how often it was asked to.
#[derive(Clone, Default)]
pub(crate) struct ScriptedConnect {
    pub(crate) sink: ScriptedSink,
    pub(crate) made: Arc<AtomicU64>,
}

impl Connect for ScriptedConnect {
    fn connect(
        &self,
        endpoint: &Endpoint,
        _settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        if endpoint.name.as_str() == "refused" {
            let endpoint = endpoint.name.to_string();
            return Err(ConnectError {
                endpoint,
                reason: "the script refuses it".to_owned(),
            });
        }
        assert!(
            !matches!(
                endpoint.destination,
                endpoint::EndpointDestination::Waiting(_)
            ),
            "never asked for an endpoint without its secret"
        );
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(self.sink.clone()))
    }
}

pub(crate) fn definitions(endpoints: &[&str], routes: &[(&str, &str, &str)]) -> Definitions {
    let endpoint = |name: &&str| {
        let body = r#"{"properties":{"endpointType":"EventGrid","accessKey1":"k",
            "TopicEndpoint":"https://t/api/events"}}"#;
        endpoint::parse(&EndpointName::new(name).unwrap(), body).unwrap()
    };
    let route = |(id, endpoint, filter): &(&str, &str, &str)| Route {
        id: RouteId::new(id).unwrap(),
        endpoint_name: EndpointName::new(endpoint).unwrap(),
        filter: (*filter).to_owned(),
    };
    let instance = Instance {
        name: InstanceName::new("default").unwrap(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        routes: routes.iter().map(route).collect(),
        network: twinroute_model::network::NetworkAccess::default(),
    };
    Definitions {
        instances: vec![instance],
        ..Definitions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_unchanged_endpoints_and_a_faulty_one_changes_nothing() {
    let scripts = ScriptedConnect::default();
    let routes = [("r1", "hub-1", "true")];
    let first = definitions(&["hub-1"], &routes);
    let router = Router::builder()
        .connect(scripts.clone())
        .definitions(first.clone())
        .build()
        .unwrap();
    let hash = router.status().table.hash;
    assert_eq!(router.apply(&first).unwrap(), 1, "nothing changed");

    let broken = definitions(
        &["hub-1", "refused"],
        &[("r1", "hub-1", "this is not"), ("r2", "hub-2", "true")],
    );
    let faults = router.apply(&broken).unwrap_err();
    assert_eq!(
        faults.to_string(),
        "endpoint default/refused: the script refuses it\n\
         route default/r1: Parsing error, Line=1, Position=6, Message=Unexpected input 'is'\n    \
         this is not\n         ^^\n\
         route default/r2: endpoint hub-2 is not defined; defined are: hub-1"
    );
    let status = router.status();
    assert_eq!((status.table.generation, status.table.errors.len()), (1, 3));
    assert_eq!(status.table.hash, hash);
    accept(&router, vec![event(1, "a")]).await;

    let second = definitions(
        &["hub-1", "hub-2"],
        &[("r1", "hub-1", "true"), ("r2", "HUB-2", "true")],
    );
    assert_eq!(router.apply(&second).unwrap(), 2);
    assert_eq!(
        scripts.made.load(Ordering::Relaxed),
        2,
        "hub-1 keeps its sink"
    );
    let status = router.status();
    assert!(status.table.errors.is_empty());
    assert_eq!(
        status.instances[0].routes[0].matched, 1,
        "counts outlive the table"
    );
    router.settled().await;
    assert_eq!(endpoint_status(&router, "hub-1").delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn a_removed_endpoint_finishes_and_one_that_returns_keeps_its_queue() {
    let scripts = ScriptedConnect::default();
    scripts.sink.set_down(true);
    let with = definitions(&["hub-1"], &[("r1", "hub-1", "true")]);
    let without = definitions(&[], &[]);
    let router = Router::builder()
        .connect(scripts.clone())
        .definitions(with.clone())
        .build()
        .unwrap();
    accept(&router, vec![event(1, "a")]).await;
    router.apply(&without).unwrap();
    assert_eq!(accept(&router, vec![event(2, "a")]).await.unmatched, 1);
    router.apply(&with).unwrap();
    scripts.sink.set_down(false);
    router.settled().await;
    assert_eq!(scripts.sink.ids(), ["1"]);

    scripts.sink.set_down(true);
    accept(&router, vec![event(3, "a")]).await;
    router.apply(&without).unwrap();
    assert_eq!(endpoint_status(&router, "hub-1").queued, 1);
    router.settled().await;
    let status = endpoint_status(&router, "hub-1");
    assert_eq!(
        (
            status.delivered,
            status.dead_letters.by_reason[&DeadLetterReason::Removed]
        ),
        (1, 1),
        "the grace time passed"
    );
    router.apply(&with).unwrap();
    scripts.sink.set_down(false);
    accept(&router, vec![event(4, "a")]).await;
    router.settled().await;
    assert_eq!(scripts.sink.ids(), ["1", "4"]);
}

#[tokio::test]
async fn settings_without_an_endpoint_are_refused_or_warned_about() {
    let set = |key: &str, settings| Settings::new([(key.to_owned(), settings)]);
    let mut stray = definitions(&["hub-1"], &[]);
    let early = EndpointSettings::default().with(|own| own.attempts_max = 3);
    stray.settings = set("Hub-2", early.clone());
    let router = Router::builder()
        .connect(ScriptedConnect::default())
        .build()
        .unwrap();
    let refused = router.apply(&stray).unwrap_err().to_string();
    let words = "[endpoints.\"hub-2\"]: no endpoint has this name";
    assert_eq!(refused, words);
    stray.strays = StraySettings::Warn;
    router.apply(&stray).unwrap();
    let warnings = router.status().table.warnings;
    assert!(
        warnings.len() == 1 && warnings[0].starts_with(words),
        "{warnings:?}"
    );
    // Once it is there they count, whichever way they name it.
    for key in ["hub-2", "DEFAULT/Hub-2"] {
        let mut there = definitions(&["hub-1", "HUB-2"], &[]);
        there.settings = set(key, early.clone());
        router.apply(&there).unwrap();
        assert!(router.status().table.warnings.is_empty());
        assert_eq!(endpoint_status(&router, "HUB-2").retry.attempts_max, 3);
    }
    // A value out of range is a mistake, whether or not there is an endpoint.
    let broken = early.with(|own| own.attempts_max = 0);
    stray.settings = set("hub-3", broken);
    let refused = router.apply(&stray).unwrap_err().to_string();
    assert!(refused.contains("attempts_max must be"), "{refused}");
}

/// It differs from none by its name alone, which was no part of the hash.
#[tokio::test(start_paused = true)]
async fn no_endpoints_takes_events_as_soon_as_the_instance_is_there() {
    let none = definitions(&[], &[]);
    let router = Router::builder()
        .connect(ScriptedConnect::default())
        .definitions(none.clone());
    let router = router.build().unwrap();
    let take = |name: &'static str| {
        let router = router.clone();
        async move {
            router
                .accept(Some(name), vec![event(1, "a")], AckLevel::Memory)
                .await
        }
    };
    assert!(matches!(
        take("it1").await,
        Err(AcceptError::UnknownInstance { .. })
    ));
    let mut with = none.clone();
    with.instances.push(Instance {
        name: InstanceName::new("it1").unwrap(),
        ..none.instances[0].clone()
    });
    assert_eq!(router.apply(&with).unwrap(), 2);
    let accepted = take("it1").await.unwrap();
    assert_eq!(
        (accepted.events, accepted.unmatched, accepted.generation),
        (1, 1, 2)
    );
    assert!(take("IT1").await.is_ok(), "names ignore case");
    assert_eq!(router.apply(&with).unwrap(), 2, "it is the same table");
    assert_eq!(router.apply(&none).unwrap(), 3);
    assert!(matches!(
        take("it1").await,
        Err(AcceptError::UnknownInstance { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn the_hash_is_that_of_the_definitions_however_they_came_about() {
    let all = definitions(
        &["hub-1", "hub-2"],
        &[("r1", "hub-1", "true"), ("r2", "hub-2", "true")],
    );
    let hash_of = |router: &Router| router.status().table.hash;
    let fresh = |definitions: &Definitions| {
        let router = Router::builder()
            .connect(ScriptedConnect::default())
            .definitions(definitions.clone());
        router.build().unwrap()
    };
    let expected = hash_of(&fresh(&all));
    let mut turned = all.clone();
    turned.instances[0].endpoints.reverse();
    turned.instances[0].routes.reverse();
    assert_eq!(hash_of(&fresh(&turned)), expected);
    // Grown piece by piece, changed and changed back.
    let router = fresh(&definitions(&["hub-2"], &[("r2", "hub-2", "false")]));
    assert_ne!(hash_of(&router), expected);
    router.apply(&all).unwrap();
    assert_eq!(hash_of(&router), expected);
    let mut other = all.clone();
    other.instances[0].routes[0].filter = "type = 'a'".to_owned();
    router.apply(&other).unwrap();
    assert_ne!(hash_of(&router), expected);
    assert_eq!(router.apply(&all).unwrap(), 4);
    assert_eq!(hash_of(&router), expected);
    assert_eq!(router.apply(&turned).unwrap(), 4, "the order means nothing");
    // A secret shows in no hash, but its sink is made again.
    let mut rotated = all.clone();
    let destination = &mut rotated.instances[0].endpoints[0].destination;
    let endpoint::EndpointDestination::EventGrid(topic) = destination else {
        panic!("an Event Grid topic")
    };
    topic.access_key1 = "another".into();
    assert_eq!(router.apply(&rotated).unwrap(), 5);
    assert_eq!(hash_of(&router), expected);
}

#[tokio::test(start_paused = true)]
async fn what_did_not_change_is_not_made_again() {
    let scripts = ScriptedConnect::default();
    let all = definitions(
        &["hub-1", "hub-2"],
        &[("r1", "hub-1", "true"), ("r2", "hub-2", "type = 'a'")],
    );
    let router = Router::builder()
        .connect(scripts.clone())
        .definitions(all.clone())
        .build()
        .unwrap();
    let compiled = || router.parts.acceptor.instance(None).unwrap().0;
    let before = compiled();
    let mut changed = all.clone();
    changed.settings = Settings::new([(
        "hub-2".to_owned(),
        EndpointSettings::default().with(|own| own.attempts_max = 2),
    )]);
    router.apply(&changed).unwrap();
    assert!(
        Arc::ptr_eq(&before, &compiled()),
        "lanes and routes are the same"
    );
    assert_eq!(endpoint_status(&router, "hub-2").retry.attempts_max, 2);
    assert_eq!(scripts.made.load(Ordering::Relaxed), 3);
    changed.instances[0].routes[1].filter = "type = 'b'".to_owned();
    router.apply(&changed).unwrap();
    let after = compiled();
    let shared = |route: usize| {
        Arc::ptr_eq(
            &before.routes[route].definition,
            &after.routes[route].definition,
        )
    };
    assert_eq!((shared(0), shared(1)), (true, false));
    assert_eq!(scripts.made.load(Ordering::Relaxed), 3);
    // What is gone is forgotten, and made again when it comes back.
    router.apply(&definitions(&[], &[])).unwrap();
    router.apply(&changed).unwrap();
    assert!(!Arc::ptr_eq(
        &after.routes[0].definition,
        &compiled().routes[0].definition
    ));
    assert_eq!(scripts.made.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn what_is_defined_twice_is_refused_and_few_names_are_listed() {
    let many: Vec<String> = (0..50).map(|number| format!("hub-{number}")).collect();
    let mut names: Vec<&str> = many.iter().map(String::as_str).collect();
    let router = Router::builder()
        .connect(ScriptedConnect::default())
        .build()
        .unwrap();
    let missing = definitions(&names, &[("r1", "elsewhere", "true")]);
    let fault = router.apply(&missing).unwrap_err().to_string();
    assert!(fault.ends_with("hub-18, hub-19 and 30 more"), "{fault}");
    names.push("HUB-7");
    let mut twice = definitions(&names, &[("r1", "hub-1", "true"), ("r1", "hub-2", "true")]);
    twice.instances.push(twice.instances[0].clone());
    let faults = router.apply(&twice).unwrap_err().to_string();
    assert_eq!(
        faults,
        "endpoint default/HUB-7: is defined twice\n\
         route default/r1: is defined twice\n\
         instance default: is defined twice"
    );
}

#[tokio::test]
async fn other_warnings_about_the_same_table_are_shown_without_a_new_one() {
    let mut same = definitions(&["hub-1"], &[]);
    same.strays = StraySettings::Warn;
    let router = Router::builder()
        .connect(ScriptedConnect::default())
        .build()
        .unwrap();
    let generation = router.apply(&same).unwrap();
    same.settings = Settings::new([("hub-9".to_owned(), EndpointSettings::default())]);
    assert_eq!(router.apply(&same).unwrap(), generation);
    assert_eq!(router.status().table.warnings.len(), 1);
}
