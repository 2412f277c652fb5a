use super::*;
use crate::{
    ClientPeer, HttpLimits, ListenAddress, ListeningSocket, ServerBody, SocketSettings, serve,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::RootCertStore;
use rustls::crypto::ring as provider;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::task::JoinHandle;
use twinroute_model::clock::{ManualClock, Timestamp};

/// Seconds since 1970; tokens here are good for an hour from it.
pub(super) const NOW: i64 = 1_790_000_000;
const ISSUER: &str = "https://login.example/tenant/v2.0";
const AUDIENCE: &str = "api://twinroute";

/// Keys and tokens that another implementation made: pyca/cryptography 48. Nobody has the private keys.
fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

/// A server with keys: a status and a body for each path, and how often it was asked.
pub(super) struct KeyServer {
    base: String,
    answers: Arc<Mutex<HashMap<String, (u16, String)>>>,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KeyServer {
    pub(super) fn start() -> Self {
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = ListeningSocket::bind(&address, &SocketSettings::default()).unwrap();
        let ListenAddress::Tcp(address) = *listener.address() else {
            panic!("a TCP listener");
        };
        let answers = Arc::new(Mutex::new(HashMap::<String, (u16, String)>::new()));
        let asked = Arc::new(AtomicUsize::new(0));
        let (served, counted) = (Arc::clone(&answers), Arc::clone(&asked));
        let service = move |request: Request<Incoming>, _: ClientPeer| {
            counted.fetch_add(1, SeqCst);
            let answer = served.lock().unwrap().get(request.uri().path()).cloned();
            async move {
                let (status, body) = answer.unwrap_or((404, String::new()));
                let mut response = Response::new(ServerBody::new(Bytes::from(body)));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response
            }
        };
        let task = tokio::spawn(async move {
            serve(vec![listener], &HttpLimits::default(), service, pending()).await;
        });
        Self {
            base: format!("http://{address}"),
            answers,
            asked,
            task,
        }
    }

    pub(super) fn answer(&self, path: &str, status: u16, body: &impl ToString) {
        let answer = (status, body.to_string());
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    pub(super) fn settings(&self) -> AccessSettings {
        jwt(&format!("jwks_uri = '{}/keys'", self.base))
    }
}

fn jwt(place: &str) -> AccessSettings {
    let text = format!(
        "[jwt]\nissuer = '{ISSUER}'\naudience = ['{AUDIENCE}']\n{place}\n\
         read = ['Twinroute.Read']\nwrite = ['Twinroute.Write']\n"
    );
    toml::from_str(&text).unwrap()
}

/// A private key with its name.
pub(super) struct TestSigner {
    kid: &'static str,
    pair: EcdsaKeyPair,
}

impl TestSigner {
    pub(super) fn new(kid: &'static str) -> Self {
        let random = ring::rand::SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        Self { kid, pair }
    }

    pub(super) fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        json!({"kid": self.kid, "kty": "EC", "crv": "P-256", "use": "sig", "x": x, "y": y})
    }

    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let random = ring::rand::SystemRandom::new();
        let signature = self.pair.sign(&random, message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(
            &json!({"alg": "ES256", "kid": self.kid, "typ": "JWT"}),
            claims,
        )
    }
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

pub(super) fn set(signers: &[&TestSigner]) -> Value {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()})
}

pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "nbf": NOW, "exp": NOW + 3600,
        "azp": "client-1", "roles": ["Twinroute.Read"],
    })
}

pub(super) fn with(changes: Value) -> Value {
    let mut all = claims();
    let all_map = all.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap().clone() {
        match value {
            Value::Null => drop(all_map.remove(&name)),
            value => drop(all_map.insert(name, value)),
        }
    }
    all
}

pub(super) fn gate_at(
    settings: &AccessSettings,
    clock: ManualClock,
) -> Result<AccessGate, GateError> {
    let tls = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    AccessGate::new(settings, Arc::new(clock), &tls)
}

pub(super) fn clock(seconds: i64) -> ManualClock {
    ManualClock::new(Timestamp::from_unix_millis(seconds * 1000))
}

pub(super) fn gate(settings: &AccessSettings) -> AccessGate {
    gate_at(settings, clock(NOW + 1)).unwrap()
}

pub(super) async fn admit(
    gate: &AccessGate,
    token: &str,
) -> Result<AuthenticatedCaller, AccessDenied> {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    gate.admit(Some(&value)).await
}

/// Lets time pass without waiting; sockets go on as they are.
async fn pass(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

pub(super) fn caller(name: &str, role: CallerRole) -> Result<AuthenticatedCaller, AccessDenied> {
    Ok(AuthenticatedCaller {
        name: name.to_owned(),
        role,
    })
}

#[tokio::test]
async fn tokens_that_another_implementation_signed_are_taken() {
    let (keys, vectors) = (KeyServer::start(), vectors());
    keys.answer("/keys", 200, &vectors["jwks"]);
    let gate = gate(&keys.settings());
    for (algorithm, token) in vectors["tokens"].as_object().unwrap() {
        let token = token.as_str().unwrap();
        let admitted = admit(&gate, token).await;
        assert_eq!(
            admitted,
            caller("client-1", CallerRole::Write),
            "{algorithm}"
        );
        for other in ["RS256", "PS256", "ES256"]
            .iter()
            .filter(|other| *other != algorithm)
        {
            // The same signature under another name.
            let (_, rest) = token.split_once('.').unwrap();
            let kid = if algorithm == "ES256" {
                "ec-1"
            } else {
                "rsa-1"
            };
            let header = json!({"alg": other, "kid": kid}).to_string();
            let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
            assert_eq!(admit(&gate, &forged).await, Err(AccessDenied::Invalid));
        }
        let middle = token.len() - 100;
        let flipped = if &token[middle..=middle] == "A" {
            "B"
        } else {
            "A"
        };
        let broken = format!("{}{flipped}{}", &token[..middle], &token[middle + 1..]);
        assert_eq!(admit(&gate, &broken).await, Err(AccessDenied::Invalid));
    }
    assert_eq!(keys.asked(), 1);
}

#[tokio::test]
async fn claims_say_who_when_and_what_for() {
    let (keys, signer) = (KeyServer::start(), TestSigner::new("k"));
    keys.answer("/keys", 200, &set(&[&signer]));
    let gate = gate(&keys.settings());
    let no_role = AccessDenied::NoRole {
        name: "client-1".to_owned(),
    };
    for (changes, expect) in [
        (json!({}), caller("client-1", CallerRole::Read)),
        (
            json!({"roles": ["Twinroute.Read", "Twinroute.Write"]}),
            caller("client-1", CallerRole::Write),
        ),
        (
            json!({"roles": "openid Twinroute.Read"}),
            caller("client-1", CallerRole::Read),
        ),
        (json!({"roles": ["twinroute.read"]}), Err(no_role.clone())),
        (json!({"roles": null}), Err(no_role.clone())),
        (json!({"roles": {"Twinroute.Write": true}}), Err(no_role)),
        (
            json!({"preferred_username": "ada@example.com"}),
            caller("ada@example.com", CallerRole::Read),
        ),
        (json!({"azp": "a\nb"}), caller("a?b", CallerRole::Read)),
        (json!({"azp": null}), caller("nameless", CallerRole::Read)),
        (
            json!({"aud": ["other", AUDIENCE]}),
            caller("client-1", CallerRole::Read),
        ),
        (
            json!({"aud": "api://twinroute/"}),
            Err(AccessDenied::WrongAudience),
        ),
        (json!({"aud": []}), Err(AccessDenied::WrongAudience)),
        (json!({"aud": null}), Err(AccessDenied::WrongAudience)),
        (
            json!({"iss": "https://login.example/other/v2.0"}),
            Err(AccessDenied::WrongIssuer),
        ),
        (json!({"iss": [ISSUER]}), Err(AccessDenied::WrongIssuer)),
        (json!({"iss": null}), Err(AccessDenied::WrongIssuer)),
        // One second has passed; clocks may differ by 60.
        (
            json!({"exp": NOW - 58}),
            caller("client-1", CallerRole::Read),
        ),
        (json!({"exp": NOW - 59}), Err(AccessDenied::Expired)),
        (json!({"exp": -1e300}), Err(AccessDenied::Expired)),
        (json!({"exp": 1e300}), caller("client-1", CallerRole::Read)),
        (json!({"exp": "1790003600"}), Err(AccessDenied::Invalid)),
        (json!({"exp": null}), Err(AccessDenied::Invalid)),
        (
            json!({"nbf": NOW + 61}),
            caller("client-1", CallerRole::Read),
        ),
        (json!({"nbf": NOW + 62}), Err(AccessDenied::NotYetValid)),
        (json!({"nbf": null}), caller("client-1", CallerRole::Read)),
        (json!({"nbf": "now"}), Err(AccessDenied::Invalid)),
    ] {
        let admitted = admit(&gate, &signer.token(&with(changes.clone()))).await;
        assert_eq!(admitted, expect, "{changes}");
    }
}

#[tokio::test]
async fn what_is_not_signed_as_it_should_be_is_refused() {
    let (keys, signer, vectors) = (KeyServer::start(), TestSigner::new("k"), vectors());
    let mut all = vectors["jwks"].clone();
    all["keys"].as_array_mut().unwrap().insert(0, signer.jwk());
    keys.answer("/keys", 200, &all);
    let gate = gate(&keys.settings());
    assert!(admit(&gate, &signer.token(&claims())).await.is_ok());
    let hs256 = |secret: &[u8], kid: &str| {
        let message = message(&json!({"alg": "HS256", "kid": kid}), &claims());
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let tag = ring::hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let rsa = &all["keys"][1];
    let modulus = rsa["n"].as_str().unwrap();
    let none = message(&json!({"alg": "none", "kid": "k"}), &claims());
    let header = |header: Value| signer.sign(&header, &claims());
    for token in [
        format!("{none}."),
        format!(
            "{}.",
            message(&json!({"alg": "None", "kid": "k"}), &claims())
        ),
        none.clone(),
        // The public key as a secret, in each form in which it is about.
        hs256(signer.pair.public_key().as_ref(), "k"),
        hs256(modulus.as_bytes(), "rsa-1"),
        hs256(&URL_SAFE_NO_PAD.decode(modulus).unwrap(), "rsa-1"),
        hs256(rsa.to_string().as_bytes(), "rsa-1"),
        hs256(b"secret", "oct-1"),
        TestSigner::new("k").token(&claims()),
        header(json!({"alg": "ES256", "kid": "rsa-1"})),
        header(json!({"alg": "RS256", "kid": "k"})),
        header(json!({"alg": "ES256"})),
        header(json!({"alg": "ES256", "kid": "k", "crit": ["exp"], "exp": 1})),
        header(json!({"alg": ["ES256"], "kid": "k"})),
        header(json!(["ES256", "k"])),
        signer.sign(&json!({"alg": "ES256", "kid": "k"}), &json!("claims")),
        signer.token(&claims()) + ".more",
        signer.token(&claims()) + "=",
        format!("{}.x", signer.token(&claims())),
        "neither.a.token.at.all".to_owned(),
        "................".to_owned(),
    ] {
        assert_eq!(
            admit(&gate, &token).await,
            Err(AccessDenied::Invalid),
            "{token}"
        );
    }
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once_in_a_while() {
    let (keys, old, new) = (
        KeyServer::start(),
        TestSigner::new("old"),
        TestSigner::new("new"),
    );
    keys.answer("/keys", 200, &set(&[&old]));
    let gate = gate(&keys.settings());
    let (first, second) = (old.token(&claims()), new.token(&claims()));
    assert!(admit(&gate, &first).await.is_ok());
    // Just asked: whoever invents names causes no request.
    for _ in 0..20 {
        assert_eq!(admit(&gate, &second).await, Err(AccessDenied::Invalid));
    }
    assert_eq!(keys.asked(), 1);
    keys.answer("/keys", 200, &set(&[&new]));
    pass(Duration::from_secs(31)).await;
    assert!(admit(&gate, &second).await.is_ok());
    assert_eq!(keys.asked(), 2);
    assert_eq!(
        admit(&gate, &first).await,
        Err(AccessDenied::Invalid),
        "withdrawn"
    );
    assert_eq!(keys.asked(), 2);
}

#[tokio::test]
async fn many_who_wait_cause_one_request() {
    let (keys, signer) = (KeyServer::start(), TestSigner::new("k"));
    keys.answer("/keys", 200, &set(&[&signer]));
    let gate = gate(&keys.settings());
    let token = signer.token(&claims());
    let all = join_all((0..50).map(|_| admit(&gate, &token))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(keys.asked(), 1);
}

#[tokio::test]
async fn keys_are_renewed_before_they_are_old_and_kept_while_they_cannot_be() {
    let (keys, signer) = (KeyServer::start(), TestSigner::new("k"));
    keys.answer("/keys", 200, &set(&[&signer]));
    let gate = gate(&keys.settings());
    let token = signer.token(&claims());
    assert!(admit(&gate, &token).await.is_ok());
    pass(Duration::from_secs(44 * 60)).await;
    assert!(admit(&gate, &token).await.is_ok());
    assert_eq!(keys.asked(), 1);
    // Three quarters of the hour are over. Who asks does not wait; 50 who ask cause one request.
    pass(Duration::from_secs(2 * 60)).await;
    keys.answer("/keys", 500, &"");
    let all = join_all((0..50).map(|_| admit(&gate, &token))).await;
    assert!(all.iter().all(Result::is_ok));
    until_asked(&keys, 2, &gate, &token).await;
    // Too old, and the provider is broken: better those than none.
    pass(Duration::from_secs(3600)).await;
    until_asked(&keys, 3, &gate, &token).await;
    pass(Duration::from_secs(25 * 3600)).await;
    assert_eq!(
        admit(&gate, &token).await,
        Err(AccessDenied::KeysUnavailable)
    );
    keys.answer("/keys", 200, &set(&[&signer]));
    pass(Duration::from_secs(6)).await;
    assert!(admit(&gate, &token).await.is_ok());
}

/// Lets callers come until the provider was asked so often. None of them waits for it.
async fn until_asked(keys: &KeyServer, times: usize, gate: &AccessGate, token: &str) {
    let asked = async {
        while keys.asked() < times {
            assert!(admit(gate, token).await.is_ok());
            tokio::task::yield_now().await;
        }
    };
    let asked = tokio::time::timeout(Duration::from_secs(20), asked).await;
    asked.expect("the provider is asked");
}

#[tokio::test]
async fn without_keys_nobody_is_judged() {
    let (signer, long) = (TestSigner::new("k"), "x".repeat(300 << 10));
    let token = signer.token(&claims());
    for (status, body) in [
        (500, set(&[&signer]).to_string()),
        (302, String::new()),
        (200, "no JSON".to_owned()),
        (200, json!({"keys": []}).to_string()),
        (
            200,
            json!({"keys": [signer.jwk()], "more": long}).to_string(),
        ),
    ] {
        let keys = KeyServer::start();
        keys.answer("/keys", status, &body);
        let gate = gate(&keys.settings());
        for _ in 0..5 {
            assert_eq!(
                admit(&gate, &token).await,
                Err(AccessDenied::KeysUnavailable)
            );
        }
        assert_eq!(keys.asked(), 1);
        keys.answer("/keys", 200, &set(&[&signer]));
        pass(Duration::from_secs(6)).await;
        assert!(admit(&gate, &token).await.is_ok());
    }
}

#[tokio::test]
async fn a_discovery_document_leads_to_the_keys_of_its_issuer_alone() {
    let (keys, signer) = (KeyServer::start(), TestSigner::new("k"));
    keys.answer("/keys", 200, &set(&[&signer]));
    let place = format!("openid_configuration = '{}/c'", keys.base);
    let token = signer.token(&claims());
    let there = format!("{}/keys", keys.base);
    for (issuer, jwks_uri, good) in [
        (ISSUER, there.as_str(), true),
        ("https://login.example/other/v2.0", &there, false),
        (ISSUER, "http://login.example/keys", false),
        (ISSUER, "file:///keys", false),
    ] {
        let document = json!({"issuer": issuer, "jwks_uri": jwks_uri, "more": []});
        keys.answer("/c", 200, &document);
        let admitted = admit(&gate(&jwt(&place)), &token).await;
        assert_eq!(admitted.is_ok(), good, "{document}: {admitted:?}");
        assert!(good || admitted == Err(AccessDenied::KeysUnavailable));
    }
}
