//! Definitions and sinks that change while a router runs.

use crate::{CollectingSink, closed, event, until};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use twinroute::Source;
use twinroute::definitions::{
    DefinitionFault, DefinitionFaults, Definitions, FolderSource, Instance, Route,
};
use twinroute::name::{EndpointName, InstanceName, RouteId};
use twinroute::prelude::*;

async fn start(sink: &CollectingSink) -> Router {
    let builder = Router::builder().sink("archive", sink.clone());
    let builder = builder.route("all", "archive", "true");
    builder.start().await.unwrap()
}

fn routes(router: &Router) -> Vec<String> {
    let definitions = router.definitions();
    let routes = definitions.instances.iter().flat_map(|one| &one.routes);
    routes
        .map(|route| format!("{}: {}", route.id, route.filter))
        .collect()
}

#[tokio::test]
async fn routes_come_change_and_go() {
    let sink = CollectingSink::default();
    let router = start(&sink).await;
    let first = router.status().table.generation;
    let second = router
        .upsert_route("warm", "archive", "$body.t > 20")
        .await
        .unwrap();
    let third = router
        .upsert_route("warm", "archive", "$body.t > 25")
        .await
        .unwrap();
    assert_eq!((second, third), (first + 1, first + 2));
    assert_eq!(routes(&router), ["all: true", "warm: $body.t > 25"]);
    router.remove_route("all").await.unwrap();
    let accepted = router.accept(event(1)).await.unwrap();
    assert_eq!((accepted.deliveries, accepted.unmatched), (0, 1));
    let gone = router.remove_route("all").await.unwrap_err();
    assert_eq!(
        (gone.to_string(), gone.http_status()),
        ("route default/all: not found".to_owned(), 404)
    );
}

#[tokio::test]
async fn what_is_wrong_changes_nothing() {
    let router = start(&CollectingSink::default()).await;
    let before = router.status().table.generation;
    for (endpoint, filter) in [
        ("elsewhere", "true"),
        ("archive", "$body.t >"),
        ("x", "true"),
    ] {
        let refused = router.upsert_route("all", endpoint, filter).await;
        assert!(refused.is_err(), "{endpoint} {filter}");
    }
    assert!(
        router.remove_sink("archive").await.is_err(),
        "a route names it"
    );
    assert!(
        router.add_sink("archive", closed()).await.is_err(),
        "it is there"
    );
    assert_eq!(routes(&router), ["all: true"]);
    assert_eq!(router.status().table.generation, before);
    assert_eq!(router.accept(event(1)).await.unwrap().deliveries, 1);
}

#[tokio::test(start_paused = true)]
async fn a_sink_comes_goes_and_comes_back_as_another_one() {
    let (first, second) = (CollectingSink::default(), CollectingSink::default());
    let router = start(&CollectingSink::default()).await;
    for sink in [&first, &second] {
        router.add_sink("pager", sink.clone()).await.unwrap();
        router.upsert_route("pages", "pager", "true").await.unwrap();
        router.accept(event(1)).await.unwrap();
        router.settled().await;
        router.remove_route("pages").await.unwrap();
        router.remove_sink("pager").await.unwrap();
    }
    assert_eq!(
        (first.ids(), second.ids()),
        (vec!["1".to_owned()], vec!["1".to_owned()])
    );
    let unknown = router.remove_sink("pagr").await.unwrap_err();
    assert!(format!("{unknown:?}").contains("the program gave no sink of this name"));
}

#[tokio::test]
async fn a_change_that_nobody_waits_for_is_made_or_not_but_known() {
    let router = start(&CollectingSink::default()).await;
    let change = router.upsert_route("warm", "archive", "true").into_future();
    // Polled once, then dropped.
    drop(tokio::time::timeout(Duration::ZERO, change).await);
    while router.status().instances[0].routes.len() < 2 {
        tokio::task::yield_now().await;
    }
    while routes(&router).len() < 2 {
        tokio::task::yield_now().await;
    }
}

fn listing(filter: &str) -> Definitions {
    let route = Route {
        id: RouteId::new("followed").unwrap(),
        endpoint_name: EndpointName::new("archive").unwrap(),
        filter: filter.to_owned(),
    };
    let instance = Instance {
        name: InstanceName::new("default").unwrap(),
        endpoints: Vec::new(),
        routes: vec![route],
        network: twinroute::definitions::NetworkAccess::default(),
    };
    Definitions {
        instances: vec![instance],
        ..Definitions::default()
    }
}

/// Gives what it was set to, and counts how often it is read.
#[derive(Clone, Default)]
struct ToldSource(Arc<ToldState>);

#[derive(Default)]
struct ToldState {
    filter: Mutex<String>,
    changed: Notify,
    reads: AtomicUsize,
}

impl ToldSource {
    fn tell(&self, filter: &str) {
        filter.clone_into(&mut self.0.filter.lock().unwrap());
        self.0.changed.notify_one();
    }
}

impl Source for ToldSource {
    async fn read(&self) -> Result<Definitions, DefinitionFaults> {
        self.0.reads.fetch_add(1, Ordering::Relaxed);
        let filter = self.0.filter.lock().unwrap().clone();
        match &*filter {
            "panic" => panic!("of the source"),
            "refuse" => {
                let fault = DefinitionFault::new("the table", "is elsewhere");
                Err(DefinitionFaults(vec![fault]))
            }
            filter => Ok(listing(filter)),
        }
    }

    async fn changed(&self) {
        self.0.changed.notified().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_is_followed_its_faults_are_shown_and_its_panics_outlived() {
    let source = ToldSource::default();
    source.tell("true");
    let router = start(&CollectingSink::default()).await;
    let followed = router.follow(source.clone()).await.unwrap();
    assert_eq!(routes(&router), ["followed: true"]);
    source.tell("false");
    until(|| routes(&router) == ["followed: false"]).await;
    for (message, expected) in [
        ("refuse", "the table: is elsewhere"),
        (
            "panic",
            "definitions: panicked in read; fix the program's source",
        ),
    ] {
        source.tell(message);
        until(|| router.status().table.errors == [expected]).await;
        assert_eq!(routes(&router), ["followed: false"]);
    }
    source.tell("true");
    until(|| routes(&router) == ["followed: true"]).await;
    assert!(router.status().table.errors.is_empty());
    drop(followed);
    source.tell("false");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(routes(&router), ["followed: true"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_read_again_without_a_word() {
    let source = ToldSource::default();
    source.tell("true");
    let router = start(&CollectingSink::default()).await;
    let _followed = router.follow(source.clone()).await.unwrap();
    source.tell("refuse");
    until(|| !router.status().table.errors.is_empty()).await;
    "false".clone_into(&mut source.0.filter.lock().unwrap());
    until(|| routes(&router) == ["followed: false"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_be_read_at_first_is_not_followed() {
    let source = ToldSource::default();
    source.tell("refuse");
    let router = start(&CollectingSink::default()).await;
    let refused = router.follow(source.clone()).await.map(drop).unwrap_err();
    assert_eq!(refused.to_string(), "the table: is elsewhere");
    assert_eq!(routes(&router), ["all: true"]);
}

#[tokio::test]
async fn whoever_is_followed_keeps_no_router_alive() {
    let folder = tempfile::tempdir().unwrap();
    let source = ToldSource::default();
    "true".clone_into(&mut source.0.filter.lock().unwrap());
    let open = || {
        let builder = Router::builder().journal(folder.path());
        builder.sink("archive", closed()).start()
    };
    let router = open().await.unwrap();
    let _followed = router.follow(source.clone()).await.unwrap();
    drop(router);
    // Its journal is closed, so that the next one may open it.
    open().await.unwrap();
}

fn write(folder: &Path, filter: &str) {
    let routes = folder.join("routes");
    std::fs::create_dir_all(&routes).unwrap();
    let body = format!(r#"{{"endpointName":"archive","filter":"{filter}"}}"#);
    std::fs::write(routes.join("from-file.json"), body).unwrap();
}

#[tokio::test]
async fn a_folder_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "true");
    let router = start(&CollectingSink::default()).await;
    let source = FolderSource::new(folder.path(), router.default_instance().clone());
    let _followed = router.follow(source).await.unwrap();
    assert_eq!(routes(&router), ["from-file: true"]);
    write(folder.path(), "false");
    until(|| routes(&router) == ["from-file: false"]).await;
}
