use super::*;
use crate::overlay::SecretOverlay;
use async_trait::async_trait;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Request, StatusCode};
use std::collections::{BTreeMap, VecDeque};
use tokio::sync::Semaphore;
use twinroute_model::clock::ManualClock;
use twinroute_model::name::{EndpointName, InstanceName};

const VAULT: &str = "https://v.vault.azure.net";
const START: i64 = 1_774_000_000;
/// Three hours after [`START`].
const DATE: &str = "Fri, 20 Mar 2026 12:46:40 GMT";
const FIELD: SecretField = SecretField::AccessKey1;

/// A vault with two secrets a page, whose answers wait for permits.
#[derive(Debug)]
struct FakeVault {
    /// Value and when it was changed, by name.
    secrets: Mutex<BTreeMap<String, (String, i64)>>,
    scripted: Mutex<VecDeque<(u16, Option<u64>)>>,
    asked: Mutex<Vec<String>>,
    permits: Semaphore,
    under_way: Mutex<(usize, usize)>,
    elsewhere: Mutex<bool>,
}

#[async_trait]
impl HttpClient for FakeVault {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let url = request.url();
        assert_eq!(url.origin().ascii_serialization(), VAULT);
        let path = url.path().to_owned();
        self.asked.lock().unwrap().push(path.clone());
        {
            let mut under_way = self.under_way.lock().unwrap();
            under_way.0 += 1;
            under_way.1 = under_way.1.max(under_way.0);
        }
        self.permits.acquire().await.unwrap().forget();
        self.under_way.lock().unwrap().0 -= 1;
        let mut headers = Headers::new();
        headers.insert("date", DATE);
        if let Some((status, after)) = self.scripted.lock().unwrap().pop_front() {
            if let Some(after) = after {
                headers.insert("retry-after", after.to_string());
            }
            let body = b"s3cret words".to_vec();
            return Ok(AsyncRawResponse::from_bytes(
                StatusCode::from(status),
                headers,
                body,
            ));
        }
        let secrets = self.secrets.lock().unwrap();
        let body = match path.strip_prefix("/secrets/") {
            Some(name) => {
                let (value, _) = &secrets[name];
                format!(r#"{{"value":"{value}","id":"{VAULT}/secrets/{name}/1"}}"#)
            }
            None => {
                let skip = url.query_pairs().find(|(name, _)| name == "skip");
                let skip: usize = skip.map_or(0, |(_, skip)| skip.parse().unwrap());
                let item = |(name, (_, updated)): (&String, &(String, i64))| {
                    format!(
                        r#"{{"id":"{VAULT}/secrets/{name}","attributes":{{"enabled":{},"updated":{updated}}}}}"#,
                        !name.ends_with("off")
                    )
                };
                let page: Vec<_> = secrets.iter().skip(skip).take(2).map(item).collect();
                let host = match *self.elsewhere.lock().unwrap() {
                    true => "https://evil.example",
                    false => VAULT,
                };
                let next = match skip + 2 < secrets.len() {
                    true => format!(r#""{host}/secrets?api-version=7.4&skip={}""#, skip + 2),
                    false => "null".to_owned(),
                };
                format!(r#"{{"value":[{}],"nextLink":{next}}}"#, page.join(","))
            }
        };
        Ok(AsyncRawResponse::from_bytes(
            StatusCode::Ok,
            headers,
            body.into_bytes(),
        ))
    }
}

struct VaultTokens {
    vault: Arc<FakeVault>,
    clock: ManualClock,
    key_vault: KeyVault,
}

fn scene(secrets: &[(&str, &str)], permits: usize) -> VaultTokens {
    let all = secrets.iter().map(|(name, value)| {
        let changed = START - 3_600;
        ((*name).to_owned(), ((*value).to_owned(), changed))
    });
    let vault = Arc::new(FakeVault {
        secrets: Mutex::new(all.collect()),
        scripted: Mutex::default(),
        asked: Mutex::default(),
        permits: Semaphore::new(permits),
        under_way: Mutex::default(),
        elsewhere: Mutex::default(),
    });
    let clock = ManualClock::new(Timestamp::from_unix_millis(START * 1_000));
    let tokens = TokenSource::fixed("t0ken".into(), Arc::new(clock.clone()));
    let http: Arc<dyn HttpClient> = Arc::clone(&vault) as _;
    let settings = KeyVaultSettings::new(VAULT);
    let key_vault = KeyVault::new(settings, tokens, http, Arc::new(clock.clone()));
    VaultTokens {
        vault,
        clock,
        key_vault,
    }
}

impl VaultTokens {
    fn start(&self) -> tokio::task::JoinHandle<Infallible> {
        let key_vault = self.key_vault.clone();
        tokio::spawn(async move { key_vault.run().await })
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.vault.asked.lock().unwrap())
    }

    fn set(&self, name: &str, value: &str, changed: i64) {
        let mut secrets = self.vault.secrets.lock().unwrap();
        secrets.insert(name.to_owned(), (value.to_owned(), changed));
    }

    fn found(&self, name: &str) -> Option<String> {
        let found = self.key_vault.find(name, FIELD);
        found.map(|secret| secret.expose().to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn only_secrets_of_endpoints_are_read_and_again_when_they_changed() {
    let scene = scene(
        &[
            ("Hub-1--accessKey1", "one"),
            ("hub-2--accessKey1", "two"),
            ("hub-3--accessKey1", "three"),
            ("password", "other"),
            ("x--off", "disabled"),
        ],
        1_000,
    );
    let _running = scene.start();
    scene.key_vault.refresh().await.unwrap();
    assert_eq!(scene.found("hub-1").as_deref(), Some("one"));
    let mut asked = scene.asked();
    asked.sort();
    let expect = [
        "/secrets",
        "/secrets",
        "/secrets",
        "/secrets/Hub-1--accessKey1",
        "/secrets/hub-2--accessKey1",
        "/secrets/hub-3--accessKey1",
    ];
    assert_eq!(asked, expect);

    scene.clock.advance(Duration::from_secs(300));
    scene.set("hub-2--accessKey1", "new", START + 299);
    scene
        .vault
        .secrets
        .lock()
        .unwrap()
        .remove("hub-3--accessKey1");
    let mut changes = scene.key_vault.changes();
    let began = Instant::now();
    changes.changed().await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(300));
    assert_eq!(scene.found("hub-2").as_deref(), Some("new"));
    assert_eq!(scene.found("hub-3"), None);
    assert_eq!(
        scene.asked(),
        ["/secrets", "/secrets", "/secrets/hub-2--accessKey1"]
    );

    // What changed within the second of the look itself is seen too.
    scene.clock.advance(Duration::from_secs(1));
    scene.set("hub-2--accessKey1", "newer", START + 299);
    scene.key_vault.refresh().await.unwrap();
    assert_eq!(scene.found("hub-2").as_deref(), Some("newer"));
}

#[tokio::test(start_paused = true)]
async fn the_last_values_stay_while_the_vault_is_away_and_its_wish_is_respected() {
    let scene = scene(&[("hub-1--accessKey1", "one")], 1_000);
    let _running = scene.start();
    scene.key_vault.refresh().await.unwrap();
    scene.asked();
    scene
        .vault
        .scripted
        .lock()
        .unwrap()
        .push_back((429, Some(400)));
    let error = scene.key_vault.refresh().await.unwrap_err();
    let text = format!("key vault {VAULT}: answered 429: too many requests");
    assert_eq!(error, RefreshError::Failed(text.clone()));
    assert_eq!(scene.asked(), ["/secrets"]);
    assert_eq!(scene.found("hub-1").as_deref(), Some("one"));
    let problem = scene.key_vault.problem().unwrap();
    assert_eq!(problem, format!("{text}; what was read before is used"));

    // Nobody is asked before the time that the vault named, whoever wants it.
    let mut changes = scene.key_vault.changes();
    let began = Instant::now();
    let late = scene.key_vault.refresh().await.unwrap_err();
    assert_eq!(late, RefreshError::Late);
    assert_eq!(scene.asked(), [] as [&str; 0]);
    changes.changed().await.unwrap();
    let waited = began.elapsed().as_secs();
    assert!((390..=401).contains(&waited), "{waited}");
    assert_eq!(scene.key_vault.problem(), None);
}

#[tokio::test(start_paused = true)]
async fn callers_share_a_look_and_requests_are_bounded() {
    let names: Vec<String> = (0..20).map(|n| format!("hub-{n:02}--accessKey1")).collect();
    let secrets: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let scene = scene(&secrets, 0);
    let _running = scene.start();
    let (one, two) = (scene.key_vault.refresh(), scene.key_vault.refresh());
    let answer = async {
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            scene.vault.permits.add_permits(1);
        }
    };
    let (one, two, ()) = tokio::join!(one, two, answer);
    one.unwrap();
    two.unwrap();
    assert_eq!(scene.asked().len(), 30, "ten pages, twenty secrets, once");
    assert_eq!(scene.vault.under_way.lock().unwrap().1, REQUESTS_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_silent_vault_costs_a_bounded_wait() {
    let scene = scene(&[], 0);
    let _running = scene.start();
    let began = Instant::now();
    assert_eq!(scene.key_vault.refresh().await, Err(RefreshError::Late));
    assert_eq!(began.elapsed(), REFRESH_WAIT_MAX);
    let mut changes = scene.key_vault.changes();
    changes.changed().await.unwrap();
    let problem = scene.key_vault.problem().unwrap();
    assert!(problem.contains("no answer within 30 s"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn tokens_go_to_the_vault_alone_and_answers_are_not_repeated() {
    let scene = scene(&[("a", "1"), ("b", "2"), ("c", "3")], 1_000);
    *scene.vault.elsewhere.lock().unwrap() = true;
    let _running = scene.start();
    let error = scene.key_vault.refresh().await.unwrap_err().to_string();
    assert!(error.ends_with("its next page is not its own"), "{error}");
    for (status, words) in [
        (403, "give it the role Key Vault Secrets User"),
        (401, "does not take the token of [identity]"),
        (500, "answered 500"),
    ] {
        tokio::time::sleep(Duration::from_secs(299)).await;
        scene
            .vault
            .scripted
            .lock()
            .unwrap()
            .extend([(status, None); 20]);
        tokio::time::sleep(Duration::from_secs(301)).await;
        let problem = scene.key_vault.problem().unwrap();
        scene.vault.scripted.lock().unwrap().clear();
        assert!(
            problem.contains(words) && !problem.contains("s3cret"),
            "{problem}"
        );
        let skewed = problem.contains("; this machine's clock is 3 h 0 min behind");
        assert_eq!(skewed, status != 500, "clock_skew_hint: {problem}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_overlay_takes_from_the_vault_what_it_finds_nowhere_else() {
    let scene = scene(
        &[
            ("hub-1--accessKey1", "wide"),
            ("main--hub-1--accessKey2", "narrow"),
            ("abc--def--accessKey1", "two could be meant"),
        ],
        1_000,
    );
    let variables = [(
        "TWINROUTE_SECRET_HUB_2__ACCESSKEY1".to_owned(),
        "variable".to_owned(),
    )];
    let overlay = SecretOverlay::new(None, variables).with_key_vault(scene.key_vault.clone());
    scene.set("hub-2--accessKey1", "vault", 0);
    let overlay = Arc::new(overlay);
    let mut watch = overlay.watch();
    let running = Arc::clone(&overlay);
    let _running = tokio::spawn(async move { running.keep().await });
    overlay.refresh().await.unwrap();
    watch.changed().await;
    let endpoint = |instance: &str, endpoint: &str| {
        let instance = InstanceName::new(instance).unwrap();
        (instance, EndpointName::new(endpoint).unwrap())
    };
    let all = [
        endpoint("main", "Hub-1"),
        endpoint("main", "hub-2"),
        endpoint("abc", "def"),
        endpoint("main", "abc--def"),
    ];
    let secrets = overlay.secrets(all.iter().map(|(instance, endpoint)| (instance, endpoint)));
    let found = |index: usize, field| {
        let (instance, endpoint): &(InstanceName, EndpointName) = &all[index];
        let secret = secrets.get(instance, endpoint, field);
        secret.map(|secret| secret.expose().to_owned())
    };
    assert_eq!(found(0, SecretField::AccessKey1).as_deref(), Some("wide"));
    assert_eq!(found(0, SecretField::AccessKey2).as_deref(), Some("narrow"));
    assert_eq!(
        found(1, SecretField::AccessKey1).as_deref(),
        Some("variable")
    );
    assert_eq!(
        (
            found(2, SecretField::AccessKey1),
            found(3, SecretField::AccessKey1)
        ),
        (None, None)
    );
    let expect = "key vault secret abc--def--…: may mean endpoint abc/def or endpoint abc--def and \
                  is used for neither; use files, or rename one";
    assert_eq!(secrets.problems(), [expect]);
    let ways = secrets.ways(&all[1].0, &all[1].1, SecretField::AccessKey2);
    let expect = "or the secret hub-2--accessKey2 of the key vault";
    assert!(ways.ends_with(expect), "{ways}");
}
