//! A program's router follows the definitions of an instance in Azure: here those of the management API of our own.

use super::management_client::{
    ARM, LIMIT, ROUTES, ServedManagement, TOKEN, outgoing, put, settings, tokens,
};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use twinroute::azure::{Azure, AzureDefinitions, AzureSettings, TokenSource};
use twinroute::prelude::*;
use twinroute_arm::api::ArmApi;
use twinroute_arm::http::client;
use twinroute_emulator::{
    BrokerSettings, HubSettings, RunningEmulator, Settings as EmulatorSettings,
};
use twinroute_model::clock::SystemClock;

/// An instance `main` with an event hub of the emulator, and a route `warm` to it.
async fn define(api: &ArmApi, path: &str, connection_string: &str) {
    let hub = format!(
        r#"{{"properties":{{"endpointType":"EventHub","connectionStringPrimaryKey":"{connection_string}"}}}}"#
    );
    let instance = r#"{"location":"westus2"}"#;
    put(api, path, ARM, instance).await.unwrap();
    let endpoint = format!("{path}/endpoints/hub-1");
    put(api, &endpoint, ARM, &hub).await.unwrap();
    route(api, "$body.temperature > 20").await;
}

async fn route(api: &ArmApi, filter: &str) {
    let body = format!(r#"{{"endpointName":"hub-1","filter":"{filter}"}}"#);
    let path = "/instances/main/eventroutes/warm";
    put(api, path, ROUTES, &body).await.unwrap();
}

/// Where the secret stands that the API hides.
fn put_secret(folder: &Path, connection_string: &str) {
    let folder = folder.join("hub-1");
    DirBuilder::new().mode(0o700).create(&folder).unwrap();
    let secret = folder.join("connectionStringPrimaryKey");
    let file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(secret);
    file.unwrap()
        .write_all(connection_string.as_bytes())
        .unwrap();
}

fn azure_settings(server: &ServedManagement, secrets: &Path) -> AzureSettings {
    let mut settings = settings(&server.url);
    settings.secrets_folder = Some(secrets.to_owned());
    settings.poll = Duration::from_secs(1);
    settings
}

fn event(id: &str, temperature: f64) -> Event {
    let builder = Event::builder().id(id).source("press-7").event_type("t");
    let data = format!(r#"{{"temperature":{temperature}}}"#);
    builder.json(data).build().unwrap()
}

async fn follow(definitions: &Arc<AzureDefinitions>) -> (Router, impl Drop) {
    let connector = Azure::default().outgoing(outgoing()).into_connector();
    let router = Router::builder()
        .default_instance("main")
        .connect(connector.unwrap());
    let router = router.start().await.unwrap();
    let followed = router.follow(Arc::clone(definitions)).await.unwrap();
    (router, followed)
}

/// Ends when the route's filter is this.
async fn until_filter(router: &Router, filter: &str) {
    let is_there = || {
        let instances = &router.definitions().instances;
        let mut routes = instances.iter().flat_map(|one| &one.routes);
        routes.any(|route| route.filter == filter)
    };
    let waiting = async {
        while !is_there() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, waiting).await.unwrap();
}

#[tokio::test]
async fn definitions_from_azure_are_followed_and_delivered_by() {
    let broker = BrokerSettings {
        hubs: vec![HubSettings::new("hub")],
        ..BrokerSettings::default()
    };
    let emulated = EmulatorSettings {
        broker,
        ..EmulatorSettings::default()
    };
    let clock = Arc::new(SystemClock);
    let emulator = RunningEmulator::start(emulated, clock.clone())
        .await
        .unwrap();
    let hub = emulator.event_hubs_connection_string("hub");
    let server = ServedManagement::start();
    let folder = tempfile::tempdir().unwrap();
    let settings = azure_settings(&server, folder.path());
    let http = client(&outgoing(), None).unwrap();
    let api = ArmApi::new(&server.url, "scope", tokens(), http, clock.clone()).unwrap();
    define(&api, &settings.path(), &hub).await;
    put_secret(folder.path(), &hub);

    let tokens = TokenSource::fixed(TOKEN.into(), clock);
    let definitions = AzureDefinitions::open_with(&settings, tokens, &outgoing()).unwrap();
    let definitions = Arc::new(definitions);
    let (router, _followed) = follow(&definitions).await;
    let delivered = async |events: [Event; 2]| {
        let accepting = router.accept_batch(events).ack(AckLevel::Delivered);
        accepting.deadline(LIMIT).await.unwrap().deliveries
    };
    assert_eq!(delivered([event("1", 19.0), event("2", 21.0)]).await, 1);
    route(&api, "$body.temperature < 20").await;
    until_filter(&router, "$body.temperature < 20").await;
    assert_eq!(delivered([event("3", 19.0), event("4", 21.0)]).await, 1);
    let arrived = emulator.broker().hub_events("hub");
    let bodies: Vec<_> = arrived.iter().map(|one| one.body.to_vec()).collect();
    assert_eq!(
        bodies,
        [&br#"{"temperature":21}"#[..], br#"{"temperature":19}"#]
    );
    assert_eq!(definitions.status().last_error, None);

    // Azure that is gone changes nothing, and the status says so.
    server.end().await;
    let failed = async {
        while definitions.status().last_error.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, failed).await.unwrap();
    assert_eq!(delivered([event("5", 19.0), event("6", 21.0)]).await, 1);
    router.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn definitions_from_azure_that_refuses_are_not_followed() {
    let server = ServedManagement::start();
    let folder = tempfile::tempdir().unwrap();
    let settings = azure_settings(&server, folder.path());
    let tokens = TokenSource::fixed("another".into(), Arc::new(SystemClock));
    let definitions = AzureDefinitions::open_with(&settings, tokens, &outgoing()).unwrap();
    let router = Router::builder().start().await.unwrap();
    let refused = router.follow(definitions).await.map(drop).unwrap_err();
    let text = refused.to_string();
    assert!(text.starts_with("definitions from Azure: "), "{text}");
    assert!(text.contains("401") && !text.contains("another"), "{text}");
    server.end().await;
}
