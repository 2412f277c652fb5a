//! Tokens of the identity service, and the vault that takes them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use twinroute_emulator::{
    ApplicationSettings, BlobSettings, IdentitySettings, ManagedIdentitySettings, RunningEmulator,
    ScriptedFaults, Settings, TlsPorts, TokenAnswer, TokenEndpoint, VaultAnswer,
};
use twinroute_model::clock::{ManualClock, Timestamp};

const TENANT: &str = "70000000-0000-4000-8000-000000000001";
const USER_ASSIGNED: &str = "/subscriptions/1/resourceGroups/g/providers/\
                             Microsoft.ManagedIdentity/userAssignedIdentities/router";
const NOW: Timestamp = Timestamp::from_unix_millis(1_774_000_000_000);

struct IdentityScene {
    emulator: RunningEmulator,
    clock: ManualClock,
    http: Client,
    base: String,
}

impl IdentityScene {
    async fn new() -> Self {
        let identity = IdentitySettings {
            managed: vec![
                managed("one", None),
                managed("two", Some(USER_ASSIGNED.to_owned())),
            ],
            applications: vec![ApplicationSettings {
                client_id: "app".to_owned(),
                object_id: "app-object".to_owned(),
                secret: Some("s3cret".into()),
                certificates: Vec::new(),
                service_accounts: vec!["system:serviceaccount:default:twinroute".to_owned()],
                roles: vec!["Events.Write".to_owned()],
            }],
            ..IdentitySettings::default()
        };
        let settings = Settings {
            identity: Some(identity),
            ..Settings::default()
        };
        let clock = ManualClock::new(NOW);
        let emulator = RunningEmulator::start(settings, Arc::new(clock.clone()));
        let emulator = emulator.await.unwrap();
        // Another test may have installed it.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self {
            base: emulator.authority_url().unwrap(),
            http: Client::builder().no_proxy().build().unwrap(),
            emulator,
            clock,
        }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base))
    }

    fn imds(&self, query: &str) -> RequestBuilder {
        let path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=";
        let request = self.get(&format!("{path}https://eventhubs.azure.net{query}"));
        request.header("Metadata", "true")
    }

    fn app_service(&self, query: &str) -> RequestBuilder {
        let path = "/msi/token?api-version=2019-08-01&resource=";
        let request = self.get(&format!("{path}https%3A%2F%2Fservicebus.azure.net{query}"));
        request.header("X-IDENTITY-HEADER", "the-header-of-the-emulator")
    }

    fn entra(&self, form: &str) -> RequestBuilder {
        let url = format!("{}/{TENANT}/oauth2/v2.0/token", self.base);
        let form = format!("grant_type=client_credentials&{form}");
        let kind = "application/x-www-form-urlencoded";
        self.http.post(url).header("content-type", kind).body(form)
    }

    async fn vault_token(&self) -> String {
        let scope = "scope=https%3A%2F%2Fvault.azure.net%2F.default";
        let form = format!("client_id=app&client_secret=s3cret&{scope}");
        let (_, answer) = read(self.entra(&form)).await;
        answer["access_token"].as_str().unwrap().to_owned()
    }
}

fn managed(name: &str, resource_id: Option<String>) -> ManagedIdentitySettings {
    ManagedIdentitySettings {
        client_id: format!("{name}-client"),
        object_id: format!("{name}-object"),
        resource_id,
    }
}

async fn read(request: RequestBuilder) -> (u16, Value) {
    let answer: Response = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (
        status,
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap(),
    )
}

fn claims(answer: &Value) -> Value {
    let token = answer["access_token"].as_str().unwrap();
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test]
async fn a_machine_gets_tokens_of_the_identity_that_it_names() {
    let scene = IdentityScene::new().await;
    let (status, answer) = read(scene.imds("")).await;
    assert_eq!(status, 200);
    assert_eq!(answer["expires_on"], "1774003600");
    assert_eq!(answer["expires_in"], "3600");
    let claims_of = claims(&answer);
    for (claim, expect) in [
        ("aud", json!("https://eventhubs.azure.net")),
        ("iss", json!(format!("https://sts.windows.net/{TENANT}/"))),
        ("oid", json!("one-object")),
        ("appid", json!("one-client")),
        ("tid", json!(TENANT)),
        ("exp", json!(1_774_003_600)),
    ] {
        assert_eq!(claims_of[claim], expect, "{claim}");
    }
    let id = format!("&msi_res_id={}", USER_ASSIGNED.to_uppercase());
    for query in ["&client_id=two-client", "&object_id=two-object", &id] {
        let (status, answer) = read(scene.imds(query)).await;
        assert_eq!((status, &answer["client_id"]), (200, &json!("two-client")));
        assert_eq!(claims(&answer)["xms_mirid"], USER_ASSIGNED);
    }
    let (_, answer) = read(scene.app_service(&format!("&mi_res_id={USER_ASSIGNED}"))).await;
    assert_eq!(claims(&answer)["aud"], "https://servicebus.azure.net");
    assert!(answer.get("expires_in").is_none(), "{answer}");
    let asked = scene.emulator.identity().token_requests();
    let last = asked.last().unwrap();
    assert_eq!(
        (last.door, last.status),
        (TokenEndpoint::AppService, Some(200))
    );
    assert_eq!(last.named, format!("mi_res_id={USER_ASSIGNED}"));
}

#[tokio::test]
async fn a_machine_is_reported_what_is_wrong_with_its_request() {
    let scene = IdentityScene::new().await;
    let without = scene.get("/metadata/identity/oauth2/token?api-version=2018-02-01&resource=r");
    let stranger = scene.imds("").header("X-Forwarded-For", "10.0.0.1");
    let header = scene.get("/msi/token?api-version=2019-08-01&resource=r");
    for (request, status, words) in [
        (without, 400, "Required metadata header not specified"),
        (stranger, 400, "X-Forwarded-For"),
        (scene.imds("&client_id=three"), 400, "Identity not found"),
        (
            scene.imds("&mi_res_id=/x"),
            400,
            "the parameter is msi_res_id",
        ),
        (
            scene.imds("&client_id=a&object_id=b"),
            400,
            "at most one identity",
        ),
        (
            scene.app_service("&msi_res_id=/x"),
            400,
            "the parameter is mi_res_id",
        ),
        (header, 401, "X-IDENTITY-HEADER is missing or wrong"),
    ] {
        let (found, answer) = read(request).await;
        assert_eq!(found, status, "{answer}");
        assert!(answer.to_string().contains(words), "{words}: {answer}");
    }
}

#[tokio::test]
async fn applications_show_a_secret_or_the_token_of_a_service_account() {
    let scene = IdentityScene::new().await;
    let scope = "scope=https%3A%2F%2Feventhubs.azure.net%2F%2F.default";
    let secret =
        |secret: &str| scene.entra(&format!("client_id=app&client_secret={secret}&{scope}"));
    let (status, answer) = read(secret("s3cret")).await;
    assert_eq!((status, &answer["expires_in"]), (200, &json!(3600)));
    let claims = claims(&answer);
    assert_eq!(claims["aud"], "https://eventhubs.azure.net/");
    assert_eq!(claims["roles"], json!(["Events.Write"]));

    let assertion = |token: &str| {
        let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        scene.entra(&format!(
            "client_id=app&client_assertion_type={kind}&client_assertion={token}&{scope}"
        ))
    };
    let account = |name: &str| scene.emulator.identity().service_account_token(name);
    let good = account("system:serviceaccount:default:twinroute");
    assert_eq!(read(assertion(&format!("{good}%0A"))).await.0, 200);
    let other = account("system:serviceaccount:default:other");
    let (head, _) = good.rsplit_once('.').unwrap();
    for (request, status, words) in [
        (secret("wrong"), 401, "AADSTS7000215"),
        (
            scene.entra(&format!("client_id=b&client_secret=x&{scope}")),
            400,
            "AADSTS700016",
        ),
        (
            scene.entra(&format!("client_id=app&{scope}")),
            401,
            "AADSTS7000218",
        ),
        (
            scene.entra("client_id=app&client_secret=s3cret&scope=a+b"),
            400,
            "AADSTS1002012",
        ),
        (assertion(&other), 401, "AADSTS700213"),
        (assertion(&format!("{head}.AAAA")), 401, "AADSTS700027"),
        (assertion("nonsense"), 401, "AADSTS50027"),
    ] {
        let (found, answer) = read(request).await;
        assert_eq!(found, status, "{answer}");
        let text = answer["error_description"].as_str().unwrap();
        assert!(text.starts_with(words), "{words}: {answer}");
    }
    scene.clock.advance(Duration::from_secs(3_601));
    let (_, answer) = read(assertion(&good)).await;
    assert!(answer.to_string().contains("AADSTS700024"), "{answer}");
}

#[tokio::test]
async fn faults_are_scripted_by_resource() {
    let scene = IdentityScene::new().await;
    let faults = scene.emulator.faults();
    let hubs = "https://eventhubs.azure.net/";
    faults.tokens(hubs, TokenAnswer::Status(429, Some(7)), 1);
    faults.tokens(hubs, TokenAnswer::Refuse, 1);
    faults.tokens(hubs, TokenAnswer::Audience("https://other".to_owned()), 1);
    faults.tokens(
        ScriptedFaults::ANY,
        TokenAnswer::Life(Duration::from_secs(5)),
        2,
    );
    let answer = scene.imds("").send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "7");
    let (_, other) = read(scene.app_service("")).await;
    assert_eq!(other["expires_on"], "1774000005");
    assert_eq!(read(scene.imds("")).await.0, 400);
    let (_, wrong) = read(scene.imds("")).await;
    assert_eq!(claims(&wrong)["aud"], "https://other");
    assert_eq!(read(scene.imds("")).await.1["expires_in"], "5");
    faults.tokens(
        ScriptedFaults::ANY,
        TokenAnswer::Drop,
        ScriptedFaults::ALWAYS,
    );
    assert!(scene.imds("").send().await.is_err());
    faults.clear_tokens();
    assert_eq!(read(scene.imds("")).await.0, 200);
    let asked = scene.emulator.identity().token_requests();
    let statuses: Vec<_> = asked.iter().map(|one| one.status).collect();
    let expect = [429, 200, 400, 200, 200].map(Some);
    assert_eq!(statuses[..5], expect);
    assert_eq!(statuses[5..], [None, Some(200)]);
}

#[tokio::test]
async fn the_documents_name_the_place_that_was_asked() {
    let scene = IdentityScene::new().await;
    let path = format!("/{TENANT}/v2.0/.well-known/openid-configuration");
    let (_, document) = read(scene.get(&path)).await;
    let base = &scene.base;
    assert_eq!(document["issuer"], format!("{base}/{TENANT}/v2.0"));
    let keys = document["jwks_uri"].as_str().unwrap();
    let (_, keys) = read(scene.http.get(keys)).await;
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    let (_, instances) = read(scene.get("/common/discovery/instance?api-version=1.1")).await;
    let expect = format!("{base}{path}");
    assert_eq!(instances["tenant_discovery_endpoint"], expect);
    assert_eq!(read(scene.get("/elsewhere")).await.0, 404);
}

#[tokio::test]
async fn the_vault_gives_secrets_to_its_own_tokens_alone() {
    let scene = IdentityScene::new().await;
    scene
        .emulator
        .key_vault()
        .set_secret("Hub-1--accessKey1", "first".into());
    scene
        .emulator
        .key_vault()
        .set_secret("Hub-1--accessKey1", "second".into());
    for number in 0..30 {
        scene
            .emulator
            .key_vault()
            .set_secret(&format!("more-{number}"), "x".into());
    }
    let one = "/secrets/hub-1--accesskey1";
    let answer = scene.get(one).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let base = &scene.base;
    let challenge =
        format!("Bearer authorization=\"{base}/{TENANT}\", resource=\"https://vault.azure.net\"");
    assert_eq!(answer.headers()["www-authenticate"], challenge);

    let (_, hubs) = read(scene.imds("")).await;
    let wrong = hubs["access_token"].as_str().unwrap();
    let version = "api-version=7.4";
    let refused = scene.get(&format!("{one}?{version}")).bearer_auth(wrong);
    assert_eq!(read(refused).await.0, 401);

    let token = scene.vault_token().await;
    let get = |path: &str| scene.get(path).bearer_auth(&token);
    assert_eq!(read(get(one)).await.0, 400);
    let (status, secret) = read(get(&format!("{one}?{version}"))).await;
    assert_eq!((status, &secret["value"]), (200, &json!("second")));
    let id = secret["id"].as_str().unwrap();
    let head = format!("{base}/secrets/Hub-1--accessKey1/");
    assert!(id.starts_with(&head), "{id}");
    let (status, missing) = read(get(&format!("/secrets/none?{version}"))).await;
    assert_eq!(
        (status, &missing["error"]["code"]),
        (404, &json!("SecretNotFound"))
    );

    let (_, page) = read(get(&format!("/secrets?{version}"))).await;
    assert_eq!(page["value"].as_array().unwrap().len(), 25);
    assert_eq!(
        page["value"][0]["id"],
        format!("{base}/secrets/Hub-1--accessKey1")
    );
    let next = page["nextLink"].as_str().unwrap();
    let (_, rest) = read(scene.http.get(next).bearer_auth(&token)).await;
    assert_eq!(rest["value"].as_array().unwrap().len(), 6);
    assert_eq!(rest["nextLink"], Value::Null);

    let busy = VaultAnswer::Status(429, Some(3));
    scene.emulator.faults().vault(busy, 1);
    let answer = get(&format!("{one}?{version}")).send().await.unwrap();
    assert_eq!(answer.headers()["retry-after"], "3");
    scene
        .emulator
        .key_vault()
        .delete_secret("hub-1--accesskey1");
    assert_eq!(read(get(&format!("{one}?{version}"))).await.0, 404);
    assert_eq!(
        scene.emulator.key_vault().requests()[0],
        "hub-1--accesskey1"
    );
}

#[tokio::test]
async fn tls_is_spoken_before_the_identity_service_and_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        blob: BlobSettings {
            containers: vec!["letters".to_owned()],
            ..BlobSettings::default()
        },
        identity: Some(IdentitySettings::default()),
        tls: Some(TlsPorts::new(folder.path())),
        ..Settings::default()
    };
    let clock = Arc::new(ManualClock::new(NOW));
    let emulator = RunningEmulator::start(settings, clock).await.unwrap();
    drop(rustls::crypto::ring::default_provider().install_default());
    let ca = std::fs::read(emulator.ca_file().unwrap()).unwrap();
    let ca = reqwest::Certificate::from_pem(&ca).unwrap();
    let http = Client::builder().no_proxy().tls_certs_only([ca]);
    let http = http.pool_max_idle_per_host(0).build().unwrap();
    let base = emulator.authority_url().unwrap();
    assert!(base.starts_with("https://localhost:"), "{base}");
    let path = format!("{base}/{TENANT}/.well-known/openid-configuration");
    let (_, document) = read(http.get(&path)).await;
    let keys = document["jwks_uri"].as_str().unwrap();
    assert_eq!(keys, format!("{base}/{TENANT}/discovery/keys"));
    let (_, before) = read(http.get(keys)).await;
    let container = emulator.container_tls_url("letters").unwrap();
    let refused = http.get(format!("{container}/none")).send().await.unwrap();
    assert_eq!(refused.status(), 401);

    let emulator = emulator.shutdown().await.restart().await.unwrap();
    assert_eq!(emulator.authority_url().unwrap(), base);
    let (_, after) = read(http.get(keys)).await;
    assert_eq!(after, before, "the key outlives a restart");
    assert_eq!(emulator.container_tls_url("letters").unwrap(), container);
}
