//! Every way to log in, with Azure's own library, against the emulator's Entra.

use serde_json::json;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use twinroute_credential::identity::EVENT_HUBS_SCOPE;
use twinroute_credential::key_vault::{KeyVault, KeyVaultSettings, RefreshError};
use twinroute_credential::overlay::SecretOverlay;
use twinroute_credential::secret_field::SecretField;
use twinroute_credential::settings::{LoginSettings, SecretVariables};
use twinroute_credential::token::{TokenError, TokenSource};
use twinroute_emulator::{
    ApplicationSettings, IdentitySettings, RunningEmulator, ScriptedFaults, Settings, TlsPorts,
    TokenAnswer, VaultAnswer,
};
use twinroute_listen::access::{
    AccessDenied, AccessGate, AccessSettings, AuthenticatedCaller, CallerRole,
};
use twinroute_model::clock::{Clock as _, ManualClock, SystemClock};
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_outgoing::OutgoingConnections;

const CLIENT: &str = "73000000-0000-4000-8000-000000000001";
const ACCOUNT: &str = "system:serviceaccount:default:twinroute";
const API: &str = "api://twinroute/.default";
const HUBS: &str = "https://eventhubs.azure.net";
/// A key and its certificate, made for tests alone.
const PAIR: &str = include_str!("../../crates/credential/src/testdata/application.pem");
const NAMES: SecretVariables = SecretVariables {
    client_secret: "THE_SECRET",
    token: "THE_TOKEN",
};

struct LoginScene {
    emulator: RunningEmulator,
    clock: ManualClock,
    outgoing: OutgoingConnections,
    entra: String,
    folder: tempfile::TempDir,
}

impl LoginScene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let application = ApplicationSettings {
            client_id: CLIENT.to_owned(),
            object_id: "74000000-0000-4000-8000-000000000001".to_owned(),
            secret: Some("s3cret".into()),
            certificates: vec![certificate()],
            service_accounts: vec![ACCOUNT.to_owned()],
            roles: vec!["Events.Write".to_owned()],
        };
        let settings = Settings {
            identity: Some(IdentitySettings {
                applications: vec![application],
                ..IdentitySettings::default()
            }),
            tls: Some(TlsPorts::new(folder.path())),
            ..Settings::default()
        };
        // The machine's time, since certificates are checked against it.
        let clock = ManualClock::new(SystemClock.now());
        let emulator = RunningEmulator::start(settings, Arc::new(clock.clone()));
        let emulator = emulator.await.unwrap();
        let ca = emulator.ca_file().unwrap();
        let outgoing = OutgoingConnections::of_environment().unwrap();
        Self {
            outgoing: outgoing.with_ca_file(ca).unwrap(),
            entra: emulator.authority_url().unwrap(),
            emulator,
            clock,
            folder,
        }
    }

    /// A source of tokens, as a table of a configuration says it.
    fn tokens(&self, table: &str) -> TokenSource {
        let entra = &self.entra;
        let tenant = "70000000-0000-4000-8000-000000000001";
        let common =
            format!("tenant_id = '{tenant}'\nclient_id = '{CLIENT}'\nauthority = '{entra}'\n");
        let settings: LoginSettings = toml::from_str(&format!("{common}{table}")).unwrap();
        let variable = |name: &str| (name == NAMES.client_secret).then(|| "s3cret".into());
        let login = settings.login(NAMES, variable).unwrap().unwrap();
        let http = self.outgoing.http().build().unwrap();
        TokenSource::new(login, Arc::new(http), Arc::new(self.clock.clone()))
    }

    fn file(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    fn statuses(&self) -> Vec<Option<u16>> {
        let asked = self.emulator.identity().token_requests();
        asked.iter().map(|request| request.status).collect()
    }

    fn secret(&self) -> TokenSource {
        self.tokens("credential = 'client-secret'")
    }
}

fn certificate() -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(PAIR.as_bytes())
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn each_login_gets_a_token_that_our_own_gate_takes() {
    let scene = LoginScene::new().await;
    let account = scene.emulator.identity().service_account_token(ACCOUNT);
    let token_file = scene.file("token", &format!("{account}\n"));
    let pair = scene.file("application.pem", PAIR);
    let entra = &scene.entra;
    let tenant = "70000000-0000-4000-8000-000000000001";
    let access: AccessSettings = serde_json::from_value(json!({ "jwt": {
        "issuer": format!("{entra}/{tenant}/v2.0"),
        "audience": ["api://twinroute"],
        "openid_configuration": format!("{entra}/{tenant}/v2.0/.well-known/openid-configuration"),
        "write": ["Events.Write"],
        "clock_skew": "0s",
    } }))
    .unwrap();
    let gate =
        AccessGate::new(&access, Arc::new(scene.clock.clone()), scene.outgoing.tls()).unwrap();
    for table in [
        "credential = 'client-secret'".to_owned(),
        format!("credential = 'client-certificate'\ncertificate_file = '{pair}'"),
        format!("credential = 'workload-identity'\ntoken_file = '{token_file}'"),
    ] {
        let token = scene.tokens(&table).token(API).await.unwrap();
        let bearer = format!("Bearer {}", token.secret.expose());
        let caller = gate.admit(Some(&bearer.parse().unwrap())).await;
        let expect = AuthenticatedCaller {
            name: CLIENT.to_owned(),
            role: CallerRole::Write,
        };
        assert_eq!(caller, Ok(expect), "{table}");
    }
    let token = scene.secret().token(EVENT_HUBS_SCOPE).await.unwrap();
    let bearer = format!("Bearer {}", token.secret.expose());
    let caller = gate.admit(Some(&bearer.parse().unwrap())).await;
    assert_eq!(caller, Err(AccessDenied::WrongIssuer));
    let token = scene.secret().token(API).await.unwrap();
    scene.clock.advance(Duration::from_secs(3_600));
    let bearer = format!("Bearer {}", token.secret.expose());
    let caller = gate.admit(Some(&bearer.parse().unwrap())).await;
    assert_eq!(caller, Err(AccessDenied::Expired));
}

#[tokio::test]
async fn a_no_is_reported_with_entras_words() {
    let scene = LoginScene::new().await;
    let token_file = scene.file("token", "nonsense");
    let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
    let elliptic = format!("{}{}", other.signing_key.serialize_pem(), other.cert.pem());
    let elliptic = scene.file("elliptic.pem", &elliptic);
    let wrong = scene.file("wrong", "wrong");
    for (table, words) in [
        (
            format!("credential = 'client-secret'\nclient_secret_file = '{wrong}'"),
            "AADSTS7000215",
        ),
        (
            format!("credential = 'workload-identity'\ntoken_file = '{token_file}'"),
            "AADSTS50027",
        ),
        (
            format!("credential = 'client-certificate'\ncertificate_file = '{elliptic}'"),
            "elliptic.pem: its key is not an RSA key",
        ),
    ] {
        let error = scene.tokens(&table).token(API).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, TokenError::Refused { .. }), "{text}");
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[tokio::test]
async fn the_token_of_a_service_account_is_read_again() {
    let scene = LoginScene::new().await;
    let token = |subject| scene.emulator.identity().service_account_token(subject);
    let file = scene.file("token", &token("system:serviceaccount:default:other"));
    let table = format!("credential = 'workload-identity'\ntoken_file = '{file}'");
    let tokens = scene.tokens(&table);
    let error = tokens.token(API).await.unwrap_err().to_string();
    assert!(error.contains("AADSTS700213"), "{error}");
    fs::write(Path::new(&file), token(ACCOUNT)).unwrap();
    assert!(tokens.token(API).await.is_err(), "there is a pause");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    tokens.token(API).await.unwrap();
}

#[tokio::test]
async fn an_old_token_serves_while_entra_throttles_and_fails_and_many_ask_once() {
    let scene = LoginScene::new().await;
    let tokens = scene.secret();
    let many = (0..20).map(|_| {
        let tokens = tokens.clone();
        tokio::spawn(async move { tokens.token(EVENT_HUBS_SCOPE).await.unwrap() })
    });
    let many: Vec<_> = many.collect();
    let mut old = None;
    for one in many {
        old = Some(one.await.unwrap());
    }
    let old = old.unwrap();
    assert_eq!(scene.statuses(), [Some(200)]);

    let faults = scene.emulator.faults();
    faults.tokens(HUBS, TokenAnswer::Status(429, Some(1)), 1);
    faults.tokens(HUBS, TokenAnswer::Status(500, None), 1);
    scene.clock.advance(Duration::from_secs(3_001));
    let limit = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let now = tokens.token(EVENT_HUBS_SCOPE).await.unwrap();
        if now != old {
            break;
        }
        assert!(std::time::Instant::now() < limit, "{:?}", scene.statuses());
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.statuses(), [200, 429, 500, 200].map(Some));
}

#[tokio::test]
async fn a_silent_entra_costs_a_bounded_wait_and_an_expired_token_is_not_used() {
    let scene = LoginScene::new().await;
    let tokens = scene.secret();
    let faults = scene.emulator.faults();
    faults.tokens(
        ScriptedFaults::ANY,
        TokenAnswer::Life(Duration::from_secs(60)),
        1,
    );
    tokens.token(EVENT_HUBS_SCOPE).await.unwrap();
    faults.tokens(
        ScriptedFaults::ANY,
        TokenAnswer::Stall,
        ScriptedFaults::ALWAYS,
    );
    scene.clock.advance(Duration::from_secs(61));
    tokio::time::pause();
    let error = tokens.token(EVENT_HUBS_SCOPE).await.unwrap_err();
    assert!(matches!(error, TokenError::Late { .. }), "{error}");
}

#[tokio::test]
async fn the_vault_is_read_with_the_tokens_of_a_login() {
    let scene = LoginScene::new().await;
    for number in 0..60 {
        let name = format!("hub-{number}--connectionStringPrimaryKey");
        scene.emulator.key_vault().set_secret(&name, "first".into());
        scene
            .emulator
            .key_vault()
            .set_secret(&format!("other-{number}"), "x".into());
    }
    let settings = KeyVaultSettings::new(&scene.entra);
    settings.check().unwrap();
    let http = scene.outgoing.http().build().unwrap();
    let clock = Arc::new(scene.clock.clone());
    let vault = KeyVault::new(settings, scene.secret(), Arc::new(http), clock);
    let overlay = Arc::new(SecretOverlay::new(None, []).with_key_vault(vault));
    let running = Arc::clone(&overlay);
    tokio::spawn(async move { running.keep().await });
    overlay.refresh().await.unwrap();
    let found = |name: &str| {
        let instance = InstanceName::new("main").unwrap();
        let endpoint = EndpointName::new(name).unwrap();
        let secrets = overlay.secrets([(&instance, &endpoint)]);
        let field = SecretField::ConnectionStringPrimaryKey;
        let secret = secrets.get(&instance, &endpoint, field);
        let secret = secret.map(|secret| secret.expose().to_owned());
        (secret, secrets.problems().join(" "))
    };
    assert_eq!(found("hub-59"), (Some("first".to_owned()), String::new()));
    let asked = scene.emulator.key_vault().requests();
    assert_eq!(asked.iter().filter(|what| *what == "list").count(), 5);
    assert_eq!(asked.len(), 65);

    let busy = VaultAnswer::Status(429, Some(30));
    scene.emulator.faults().vault(busy, 1);
    scene
        .emulator
        .key_vault()
        .set_secret("hub-59--connectionStringPrimaryKey", "second".into());
    let Err(RefreshError::Failed(error)) = overlay.refresh().await else {
        panic!("the vault is throttled");
    };
    assert!(error.contains("answered 429"), "{error}");
    let (kept, problem) = found("hub-59");
    assert_eq!(kept.as_deref(), Some("first"));
    assert!(
        problem.ends_with("what was read before is used"),
        "{problem}"
    );
}
