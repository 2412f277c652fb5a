use super::super::fake::{ArrivedRequest, FakeArm, FakeReply};
use super::*;
use std::path::Path;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use twinroute_credential::overlay::PREFIX;
use twinroute_credential::settings::CredentialSettings;
use twinroute_model::clock::{ManualClock, Timestamp};
use twinroute_model::endpoint::{EndpointDestination, ProvisioningState};
use twinroute_model::seal::{KEY_BYTES, SealKey};

const HUB: &str = "Endpoint=sb://h/;SharedAccessKeyName=r;SharedAccessKey=s3cret;EntityPath=e";
const INSTANCE: &str = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/resourceGroups/rg/providers/\
                        Microsoft.DigitalTwins/digitalTwinsInstances/main";

/// What the API shows; tests change it.
#[derive(Clone, Default)]
struct AzureModel {
    endpoints: Vec<&'static str>,
    routes: Vec<&'static str>,
    /// Answers whose target holds the text.
    instead: Option<(&'static str, FakeReply)>,
}

impl AzureModel {
    fn answer(&self, request: &ArrivedRequest) -> FakeReply {
        if let Some((part, reply)) = &self.instead
            && request.target.contains(part)
        {
            return reply.clone();
        }
        let (path, query) = request.target.split_once('?').unwrap();
        // Pages of one.
        let page = |items: &[&str]| {
            let at: usize = query
                .split("skip=")
                .nth(1)
                .map_or(0, |rest| rest.split('&').next().unwrap().parse().unwrap());
            let item = items.get(at).copied().unwrap_or_default();
            let next = match at + 1 < items.len() {
                true => format!("\"{path}?api-version=x&skip={}\"", at + 1),
                false => "null".to_owned(),
            };
            FakeReply::new(200, format!(r#"{{"value":[{item}],"nextLink":{next}}}"#))
        };
        if path == INSTANCE {
            let text =
                r#"{"name":"main","properties":{"hostName":null,"provisioningState":"Succeeded"}}"#;
            return FakeReply::new(200, text);
        }
        match path.rsplit('/').next() {
            Some("endpoints") => page(&self.endpoints),
            Some("eventroutes") => page(&self.routes),
            _ => FakeReply::new(
                404,
                r#"{"error":{"code":"ResourceNotFound","message":"no"}}"#,
            ),
        }
    }
}

const HUB_1: &str = r#"{"name":"hub-1","properties":{"endpointType":"EventHub","connectionStringPrimaryKey":"***"}}"#;
const HUB_1_MADE: &str = r#"{"name":"hub-1","properties":{"endpointType":"EventHub","connectionStringPrimaryKey":"***","provisioningState":"Provisioning"}}"#;
const HUB_2: &str = r#"{"name":"hub-2","properties":{"endpointType":"EventHub","authenticationType":"IdentityBased","endpointUri":"sb://n","entityPath":"e"}}"#;
const ROUTE_1: &str = r#"{"id":"r1","endpointName":"hub-1","filter":"true"}"#;
const ROUTE_2: &str = r#"{"id":"r2","endpointName":"hub-2","filter":"true"}"#;

struct FakeAzure {
    fake: FakeArm,
    world: Arc<Mutex<AzureModel>>,
}

impl FakeAzure {
    async fn new() -> Self {
        let world = AzureModel {
            endpoints: vec![HUB_1, HUB_2],
            routes: vec![ROUTE_1, ROUTE_2],
            instead: None,
        };
        let world = Arc::new(Mutex::new(world));
        let view = Arc::clone(&world);
        let fake = FakeArm::serve(move |request| view.lock().unwrap().answer(request)).await;
        Self { fake, world }
    }

    fn change(&self, change: impl FnOnce(&mut AzureModel)) {
        change(&mut self.world.lock().unwrap());
    }
}

fn settings(url: &str) -> AzureSettings {
    AzureSettings {
        management_url: url.to_owned(),
        routes_url: Some(url.to_owned()),
        subscription: "0b1f6471-1bf0-4dda-aec3-cb9272f09590".to_owned(),
        resource_group: "rg".to_owned(),
        instance: "main".to_owned(),
        poll: Duration::from_secs(1),
        credential: Some(CredentialSettings::Token),
        ..AzureSettings::default()
    }
}

/// A source that runs; it stops when this is dropped.
struct RunningSource {
    source: Arc<AzureSource>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

fn outgoing() -> twinroute_outgoing::OutgoingConnections {
    twinroute_outgoing::OutgoingConnections::of_environment().unwrap()
}

fn open(url: &str, overlay: SecretOverlay, saved: Option<SavedFile>) -> AzureSource {
    let clock = Arc::new(ManualClock::new(Timestamp::from_unix_millis(
        1_774_000_000_000,
    )));
    let tokens = TokenSource::fixed("t0ken".into(), clock.clone());
    let source = AzureSource::open(&settings(url), tokens, overlay, saved, clock, &outgoing());
    source.unwrap().hurried()
}

fn start(source: AzureSource) -> RunningSource {
    let source = Arc::new(source);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = Arc::clone(&source);
    let task = tokio::spawn(async move { running.run(async { drop(stopped.await) }).await });
    RunningSource {
        source,
        stop: Some(stop),
        task,
    }
}

/// Ends a test that would wait for ever; nothing waits for its end.
const LIMIT: Duration = Duration::from_secs(30);

impl RunningSource {
    async fn changed(&self) -> Arc<DefinitionsSnapshot> {
        tokio::time::timeout(LIMIT, self.source.changed())
            .await
            .unwrap();
        self.source.definitions().unwrap()
    }

    /// Waits for two whole polls that began after now.
    async fn polls(&self) {
        let mut polls = self.source.polls.subscribe();
        let goal = *polls.borrow() + 2;
        let wait = polls.wait_for(|polls| *polls >= goal);
        drop(tokio::time::timeout(LIMIT, wait).await.unwrap().unwrap());
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        tokio::time::timeout(LIMIT, &mut self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

fn nothing() -> SecretOverlay {
    SecretOverlay::new(None, [])
}

fn key(byte: u8) -> SealKey {
    SealKey::new(&[byte; KEY_BYTES])
}

fn names(snapshot: &DefinitionsSnapshot) -> String {
    let instance = &snapshot.instances[0];
    let endpoints = instance
        .endpoints
        .iter()
        .map(|endpoint| endpoint.name.as_str());
    let routes = instance.routes.iter().map(|route| route.id.as_str());
    endpoints.chain(routes).collect::<Vec<_>>().join(" ")
}

/// A source whose turn comes in an hour.
fn polled_hourly(azure: &FakeAzure) -> AzureSource {
    let clock = Arc::new(ManualClock::new(Timestamp::from_unix_millis(0)));
    let tokens = TokenSource::fixed("t0ken".into(), clock.clone());
    let settings = AzureSettings {
        poll: Duration::from_secs(3_600),
        ..settings(&azure.fake.url)
    };
    AzureSource::open(&settings, tokens, nothing(), None, clock, &outgoing()).unwrap()
}

/// Its turn would come in an hour.
#[tokio::test]
async fn a_check_that_is_asked_for_comes_before_its_turn() {
    let azure = FakeAzure::new().await;
    let running = start(polled_hourly(&azure));
    let first = running.changed().await;
    assert_eq!(names(&first), "hub-1 hub-2 r1 r2");
    azure.change(|world| world.routes = vec![ROUTE_1]);
    let asked = azure.fake.targets().len();
    running.source.poll_now();
    let second = running.changed().await;
    assert_eq!(names(&second), "hub-1 hub-2 r1");
    assert_eq!(azure.fake.targets().len(), asked + 4, "one look");
    running.stop().await;
}

/// Its turn would come in an hour, but its endpoint is on its way.
#[tokio::test]
async fn what_is_being_provisioned_is_checked_soon() {
    let azure = FakeAzure::new().await;
    azure.change(|world| world.endpoints = vec![HUB_1_MADE, HUB_2]);
    let running = start(polled_hourly(&azure).hurried());
    let state =
        |snapshot: &DefinitionsSnapshot| snapshot.instances[0].endpoints[0].provisioning_state;
    let first = running.changed().await;
    assert_eq!(state(&first), Some(ProvisioningState::Provisioning));
    azure.change(|world| world.endpoints = vec![HUB_1, HUB_2]);
    // Hurried, an hour is 36 seconds.
    let second = tokio::time::timeout(Duration::from_secs(20), running.changed()).await;
    assert_eq!(state(&second.unwrap()), None);
    running.stop().await;
}

#[tokio::test]
async fn definitions_follow_the_api_and_unchanged_answers_make_none() {
    let azure = FakeAzure::new().await;
    let running = start(open(&azure.fake.url, nothing(), None));
    tokio::time::timeout(LIMIT, running.source.polled())
        .await
        .unwrap();
    let first = running.changed().await;
    assert_eq!(names(&first), "hub-1 hub-2 r1 r2");
    assert_eq!(first.waiting.len(), 1);
    let paths: Vec<_> = azure.fake.targets().into_iter().take(5).collect();
    let expect = [
        format!("GET {INSTANCE}?api-version=2023-01-31"),
        "GET /eventroutes?api-version=2023-10-31".to_owned(),
        "GET /eventroutes?api-version=x&skip=1".to_owned(),
        format!("GET {INSTANCE}/endpoints?api-version=2023-01-31"),
        format!("GET {INSTANCE}/endpoints?api-version=x&skip=1"),
    ];
    assert_eq!(paths, expect);

    running.polls().await;
    assert_eq!(running.source.status().generation, 1);
    // Another order and another time of change are no other definitions.
    azure.change(|world| world.routes.reverse());
    running.polls().await;
    assert_eq!(running.source.status().generation, 1);

    azure.change(|world| world.routes.truncate(1));
    let second = running.changed().await;
    assert_eq!(
        (names(&second).as_str(), second.generation),
        ("hub-1 hub-2 r2", 2)
    );
    let status = running.source.status();
    assert_eq!(
        status.last_success.map(Timestamp::rfc3339).as_deref(),
        Some("2026-03-20T09:46:40Z")
    );
    assert_eq!(status.age_seconds, Some(0));
    assert_eq!((status.last_error, status.failures), (None, 0));
    assert!(status.waiting[0].starts_with("endpoint main/hub-1: its definition comes without"));
    running.stop().await;
}

#[tokio::test]
async fn whatever_fails_the_last_definitions_stand_and_the_reason_is_shown() {
    let azure = FakeAzure::new().await;
    let running = start(open(&azure.fake.url, nothing(), None));
    let good = running.changed().await;
    let refusal = |status, code: &str| {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"no"}}}}"#);
        FakeReply::new(status, body)
    };
    for (part, reply, expect) in [
        (
            "api-version=2023-01-31",
            refusal(401, "InvalidAuthenticationToken"),
            ": 401: Invalid",
        ),
        (
            "/endpoints",
            refusal(429, "TooManyRequests").with("retry-after", "1"),
            ": 429: Too",
        ),
        (
            "eventroutes",
            refusal(500, "InternalServerError"),
            "/eventroutes: 500: Internal",
        ),
        // Half a list is none.
        (
            "endpoints?api-version=x&skip=1",
            refusal(403, "AuthorizationFailed"),
            "/endpoints: 403: ",
        ),
        (
            "endpoints?api-version=2023",
            FakeReply::new(200, "{}"),
            "is no list",
        ),
        (
            "main?",
            FakeReply::new(200, r#"{"properties":{"provisioningState":"deleting"}}"#),
            "the instance is being deleted",
        ),
        ("main?", FakeReply::new(404, "gone"), "/main: 404"),
        (
            "endpoints?api-version=2023",
            FakeReply::new(200, r#"{"value":[],"nextLink":"https://evil.example/x"}"#),
            "leads to evil.example",
        ),
    ] {
        azure.change(|world| world.instead = Some((part, reply)));
        running.polls().await;
        let status = running.source.status();
        assert!(
            status.last_error.as_deref().unwrap().contains(expect),
            "{status:?}"
        );
        assert!(status.failures > 0);
        assert_eq!(running.source.definitions().unwrap(), good);
    }
    azure.change(|world| world.instead = None);
    running.polls().await;
    assert_eq!(running.source.status().last_error, None);
    assert_eq!(running.source.status().generation, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_start_without_azure_goes_on_with_what_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let saved = SavedFile {
        path: folder.path().join("azure.saved"),
        key: key(1),
    };
    let azure = FakeAzure::new().await;
    let url = azure.fake.url.clone();
    let running = start(open(&url, nothing(), Some(saved.clone())));
    let good = running.changed().await;
    running.polls().await;
    running.stop().await;
    drop(azure);

    let again = start(open(&url, nothing(), Some(saved.clone())));
    let read = again.source.definitions().unwrap();
    assert_eq!((&read.instances, &read.hash), (&good.instances, &good.hash));
    tokio::time::timeout(LIMIT, again.source.polled())
        .await
        .unwrap();
    let status = again.source.status();
    assert!(
        status.from_saved_file && status.last_error.is_some(),
        "{status:?}"
    );
    assert_eq!(again.source.definitions().unwrap(), read);
    again.stop().await;

    let other_key = SavedFile {
        key: key(2),
        ..saved.clone()
    };
    let source = open(&url, nothing(), Some(other_key));
    assert!(source.definitions().is_none());
    let problem = source.status().saved_problem.unwrap();
    assert!(
        problem.contains("another key") && problem.ends_with("; ignored"),
        "{problem}"
    );
    let elsewhere = open("http://127.0.0.1:9", nothing(), Some(saved.clone()));
    assert!(elsewhere.definitions().is_none());
    std::fs::write(&saved.path, "what?").unwrap();
    let source = open(&url, nothing(), Some(saved));
    assert!(
        source
            .status()
            .saved_problem
            .unwrap()
            .contains("no file of ours")
    );
}

#[tokio::test]
async fn a_listing_that_cannot_be_saved_is_used_and_the_reason_shown() {
    let folder = tempfile::tempdir().unwrap();
    // A folder stands where the file would.
    let path = folder.path().to_owned();
    let saved = SavedFile { path, key: key(1) };
    let azure = FakeAzure::new().await;
    let running = start(open(&azure.fake.url, nothing(), Some(saved)));
    running.changed().await;
    running.polls().await;
    assert!(
        running
            .source
            .status()
            .saved_problem
            .unwrap()
            .contains(": not saved: ")
    );
    running.stop().await;
}

#[tokio::test]
async fn a_secret_that_appears_makes_definitions_without_asking_azure() {
    let folder = tempfile::tempdir().unwrap();
    let azure = FakeAzure::new().await;
    let overlay = SecretOverlay::new(Some(folder.path().to_owned()), []);
    let running = start(open(&azure.fake.url, overlay, None));
    let first = running.changed().await;
    assert!(matches!(
        first.instances[0].endpoints[0].destination,
        EndpointDestination::Waiting(_)
    ));
    // From here on Azure answers nothing.
    azure.change(|world| world.instead = Some(("", FakeReply::new(403, ""))));
    place(folder.path(), HUB);
    let second = running.changed().await;
    assert!(matches!(
        second.instances[0].endpoints[0].destination,
        EndpointDestination::EventHub(_)
    ));
    assert_eq!((second.waiting.len(), second.generation), (0, 2));
    let debug_text = format!(
        "{second:?} {:?} {:?}",
        running.source,
        running.source.status()
    );
    assert!(
        !debug_text.contains("s3cret") && !debug_text.contains("t0ken"),
        "{debug_text}"
    );
    running.stop().await;
}

/// As a mount does: the whole file at once.
fn place(folder: &Path, secret: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let draft = folder.join(".draft");
    std::fs::write(&draft, secret).unwrap();
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600)).unwrap();
    let endpoint = folder.join("hub-1");
    std::fs::create_dir(&endpoint).unwrap();
    std::fs::rename(&draft, endpoint.join("connectionStringPrimaryKey")).unwrap();
}

#[tokio::test]
async fn problems_of_the_overlay_are_warnings() {
    let azure = FakeAzure::new().await;
    let variable = (format!("{PREFIX}HUB_9__ACCESS_KEY1"), "k".to_owned());
    let running = start(open(
        &azure.fake.url,
        SecretOverlay::new(None, [variable]),
        None,
    ));
    let snapshot = running.changed().await;
    let expect = "secret overlay: environment variable TWINROUTE_SECRET_HUB_9__ACCESS_KEY1: no such \
                  endpoint";
    assert_eq!(snapshot.warnings[0].to_string(), expect);
    running.stop().await;
}

#[tokio::test]
async fn without_a_host_name_nothing_is_known_of_the_routes() {
    let azure = FakeAzure::new().await;
    let mut source = open(&azure.fake.url, nothing(), None);
    source.api.routes = None;
    let error = source.api.read().await.unwrap_err().to_string();
    assert!(error.contains("has no `hostName` yet"), "{error}");
    let body = r#"{"properties":{"hostName":"main.api.weu.digitaltwins.azure.net/../x"}}"#;
    azure.change(|world| world.instead = Some(("main?", FakeReply::new(200, body))));
    let error = source.api.read().await.unwrap_err().to_string();
    assert!(error.contains("a `hostName` that is no host"), "{error}");
    // Live it has no scheme, in the specification's examples it has one; both are asked over TLS, which
    // this server does not speak.
    for scheme in ["", "https://"] {
        let host = azure.fake.url.strip_prefix("http://").unwrap();
        let body = format!(r#"{{"properties":{{"hostName":"{scheme}{host}"}}}}"#);
        azure.change(|world| world.instead = Some(("main?", FakeReply::new(200, body))));
        let error = source.api.read().await.unwrap_err().to_string();
        assert!(error.starts_with("GET 127.0.0.1/eventroutes: "), "{error}");
    }
}

#[tokio::test]
async fn settings_that_cannot_be_used_open_nothing() {
    let mut settings = settings("http://127.0.0.1:9");
    settings.poll = Duration::ZERO;
    let clock = Arc::new(ManualClock::new(Timestamp::from_unix_millis(0)));
    let tokens = TokenSource::fixed("t".into(), clock.clone());
    let error =
        AzureSource::open(&settings, tokens, nothing(), None, clock, &outgoing()).unwrap_err();
    assert_eq!(error.to_string(), "[azure]: poll must be 1s to 1h");
}
