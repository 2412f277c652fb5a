//! Definitions that change while a router runs.

use super::tests::{Script, accept, endpoint_status, event};
use super::*;
use crate::sink::{Connect, ConnectError, Sink};
use crate::source::{Settings, Strays};
use twinroute_model::endpoint::{self, Endpoint};
use twinroute_model::instance::Instance;
use twinroute_model::route::Route;
use twinroute_model::settings::EndpointSettings;

/// Makes one scripted sink an endpoint and counts how often it was asked to.
#[derive(Clone, Default)]
pub(super) struct Scripts {
    pub(super) sink: Script,
    pub(super) made: Arc<AtomicU64>,
}

impl Connect for Scripts {
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
            !matches!(endpoint.destination, endpoint::Destination::Waiting(_)),
            "never asked for an endpoint without its secret"
        );
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(self.sink.clone()))
    }
}

pub(super) fn definitions(endpoints: &[&str], routes: &[(&str, &str, &str)]) -> Definitions {
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
    };
    Definitions {
        instances: vec![instance],
        ..Definitions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_unchanged_endpoints_and_a_faulty_one_changes_nothing() {
    let scripts = Scripts::default();
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
    let scripts = Scripts::default();
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
        (status.delivered, status.dead_letters.by_reason["removed"]),
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
    let early = EndpointSettings {
        attempts_max: 3,
        ..EndpointSettings::default()
    };
    stray.settings = set("Hub-2", early.clone());
    let router = Router::builder()
        .connect(Scripts::default())
        .build()
        .unwrap();
    let refused = router.apply(&stray).unwrap_err().to_string();
    let words = "[endpoints.\"hub-2\"]: no endpoint has this name";
    assert_eq!(refused, words);
    stray.strays = Strays::Warn;
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
    let broken = EndpointSettings {
        attempts_max: 0,
        ..early
    };
    stray.settings = set("hub-3", broken);
    let refused = router.apply(&stray).unwrap_err().to_string();
    assert!(refused.contains("attempts_max must be"), "{refused}");
}
