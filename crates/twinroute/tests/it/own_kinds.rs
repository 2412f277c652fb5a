//! Definitions that name a sink of the program's own kind.

use crate::{CollectingSink, event};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use twinroute::definitions::{CustomDestination, Definitions, Endpoint, EndpointDestination};
use twinroute::name::{EndpointName, InstanceName};
use twinroute::prelude::*;

/// Sinks by the number that their definition gives them.
type MadeSinks = Arc<Mutex<BTreeMap<String, CollectingSink>>>;

fn builder(made: &MadeSinks) -> twinroute::RouterBuilder {
    let made = Arc::clone(made);
    Router::builder().sinks_of_kind("pager", move |wanted| {
        let number = wanted.property("number");
        let number = number.ok_or("`number` is missing")?.to_owned();
        let sink = CollectingSink::default();
        made.lock().unwrap().insert(number, sink.clone());
        Ok::<_, &str>(sink)
    })
}

fn pagers(
    destinations: impl IntoIterator<Item = (&'static str, CustomDestination)>,
) -> Definitions {
    let mut definitions = Definitions::default();
    let default = InstanceName::new("default").unwrap();
    let endpoints = destinations.into_iter().map(|(name, destination)| {
        let name = EndpointName::new(name).unwrap();
        Endpoint::new(name, EndpointDestination::Custom(destination))
    });
    definitions.instance_mut(&default).endpoints = endpoints.collect();
    definitions
}

fn pager(number: &str) -> CustomDestination {
    let destination = CustomDestination::new("pager").address("pager.example:7");
    destination.with("number", number)
}

#[tokio::test(start_paused = true)]
async fn a_definition_of_an_own_kind_is_delivered_to() {
    let made = MadeSinks::default();
    let router = builder(&made).start().await.unwrap();
    let both = pagers([("first", pager("1")), ("second", pager("2"))]);
    router.apply(both).await.unwrap();
    router.upsert_route("all", "first", "true").await.unwrap();
    router
        .upsert_route("some", "second", "id = '2'")
        .await
        .unwrap();
    router.accept_batch([event(1), event(2)]).await.unwrap();
    router.settled().await;
    let ids = |number: &str| made.lock().unwrap()[number].ids();
    assert_eq!(
        (ids("1"), ids("2")),
        (vec!["1".to_owned(), "2".to_owned()], vec!["2".to_owned()])
    );
    let view = &router.status().instances[0].endpoints[0];
    assert_eq!(
        (&*view.endpoint_type, &*view.address),
        ("pager", "pager.example:7")
    );
}

#[tokio::test(start_paused = true)]
async fn a_sink_of_an_own_kind_stays_until_its_definition_changes() {
    let made = MadeSinks::default();
    let router = builder(&made).start().await.unwrap();
    for (number, expect) in [("1", 1), ("1", 0), ("2", 1)] {
        made.lock().unwrap().clear();
        router
            .apply(pagers([("first", pager(number))]))
            .await
            .unwrap();
        assert_eq!(made.lock().unwrap().len(), expect, "{number}");
    }
}

#[tokio::test]
async fn kinds_that_nobody_makes_and_properties_that_are_missing_are_refused_by_name() {
    let router = builder(&MadeSinks::default()).start().await.unwrap();
    for (destination, expect) in [
        (
            CustomDestination::new("pagr"),
            "endpoint default/first: this router has no sinks of kind \"pagr\", it has: pager; \
             give its builder a function that makes them with `sinks_of_kind`",
        ),
        (
            CustomDestination::new("pager"),
            "endpoint default/first: `number` is missing",
        ),
    ] {
        let refused = router.apply(pagers([("first", destination)])).await;
        assert_eq!(refused.unwrap_err().to_string(), expect);
    }
    assert!(
        router
            .definitions()
            .instances
            .iter()
            .all(|one| one.endpoints.is_empty())
    );
}

#[tokio::test]
async fn properties_are_not_shown() {
    let router = builder(&MadeSinks::default()).start().await.unwrap();
    router
        .apply(pagers([("first", pager("0049-secret"))]))
        .await
        .unwrap();
    let view = format!("{:?} {:?}", router.definitions(), router.status());
    assert!(
        view.contains("pager") && !view.contains("0049-secret"),
        "{view}"
    );
}
