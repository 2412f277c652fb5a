//! Key Vault: secrets with versions, read by name or listed in pages.
//!
//! Sources: Azure Key Vault REST API, "Get Secret", "Get Secrets" and "Authentication, requests and
//! responses" (the challenge that names authority and resource).

use crate::faults::VaultAnswer;
use crate::http_server::{self, ConnectionDropped, FormPairs, HttpAnswer, private_json};
use crate::identity::IdentityService;
use crate::lock::lock;
use crate::service_context::ServiceContext;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use serde_json::{Value, json as value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use twinroute_model::clock::Timestamp;
use twinroute_model::secret::Secret;

/// Whom tokens for vaults are for.
const AUDIENCE: &str = "https://vault.azure.net";

/// "Get Secrets": a page has at most 25 secrets.
const PAGE_MAX: usize = 25;

/// Requests that are remembered; the oldest go first.
const ASKED_MAX: usize = 10_000;

/// Versions of one secret that are kept.
const VERSIONS_MAX: usize = 100;

/// What a key vault holds from the start.
#[derive(Clone, Debug, Default)]
pub struct EmulatedKeyVaultSettings {
    /// Secrets by name.
    pub secrets: Vec<(String, Secret)>,
}

/// The key vault: secrets with their versions, and what it was asked. It outlives a shutdown.
#[derive(Debug)]
pub struct EmulatedKeyVault {
    context: ServiceContext,
    contents: Mutex<VaultContents>,
}

#[derive(Debug, Default)]
struct VaultContents {
    /// By name in lower case, which is the same name.
    secrets: BTreeMap<String, SecretVersions>,
    asked: VecDeque<String>,
    made: u64,
}

#[derive(Debug)]
struct SecretVersions {
    name: String,
    /// The newest last.
    all: Vec<SecretVersion>,
}

#[derive(Clone, Debug)]
struct SecretVersion {
    id: String,
    value: Secret,
    made: Timestamp,
}

impl EmulatedKeyVault {
    pub(crate) fn new(settings: EmulatedKeyVaultSettings, context: ServiceContext) -> Self {
        let vault = Self {
            context,
            contents: Mutex::default(),
        };
        for (name, secret) in settings.secrets {
            vault.set_secret(&name, secret);
        }
        vault
    }

    /// Puts a secret, or a new version of it, into the vault.
    pub fn set_secret(&self, name: &str, value: Secret) {
        let mut contents = lock(&self.contents);
        contents.made += 1;
        let id = format!("{:032x}", contents.made);
        let made = self.context.now();
        let key = name.to_ascii_lowercase();
        let versions = contents
            .secrets
            .entry(key)
            .or_insert_with(|| SecretVersions {
                name: name.to_owned(),
                all: Vec::new(),
            });
        if versions.all.len() >= VERSIONS_MAX {
            versions.all.remove(0);
        }
        versions.all.push(SecretVersion { id, value, made });
    }

    /// Takes a secret out of the vault.
    pub fn delete_secret(&self, name: &str) {
        let name = name.to_ascii_lowercase();
        lock(&self.contents).secrets.remove(&name);
    }

    /// The requests so far: `list`, or the name of the secret that was asked for.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        lock(&self.contents).asked.iter().cloned().collect()
    }

    fn record(&self, what: &str) {
        let mut contents = lock(&self.contents);
        if contents.asked.len() >= ASKED_MAX {
            contents.asked.pop_front();
        }
        contents.asked.push_back(what.to_owned());
    }

    fn get(&self, name: &str, version: Option<&str>, base: &str) -> Option<Value> {
        let contents = lock(&self.contents);
        let versions = contents.secrets.get(&name.to_ascii_lowercase())?;
        let found = match version {
            Some(id) => versions.all.iter().find(|version| version.id == id)?,
            None => versions.all.last()?,
        };
        Some(value!({
            "value": found.value.expose(),
            "id": format!("{base}/secrets/{}/{}", versions.name, found.id),
            "attributes": attributes(versions, found),
        }))
    }

    /// One page, and where the next one begins.
    fn list(&self, skip: usize, count: usize, base: &str) -> Value {
        let contents = lock(&self.contents);
        let page = contents.secrets.values().skip(skip).take(count);
        let page: Vec<Value> = page
            .filter_map(|versions| {
                let newest = versions.all.last()?;
                let id = format!("{base}/secrets/{}", versions.name);
                Some(value!({ "id": id, "attributes": attributes(versions, newest) }))
            })
            .collect();
        let more = skip + count < contents.secrets.len();
        let next = more.then(|| {
            let skip = skip + count;
            format!("{base}/secrets?api-version=7.4&$skiptoken={skip}&maxresults={count}")
        });
        value!({ "value": page, "nextLink": next })
    }
}

fn attributes(versions: &SecretVersions, version: &SecretVersion) -> Value {
    let first = versions
        .all
        .first()
        .map_or(version.made, |first| first.made);
    value!({
        "enabled": true,
        "created": first.unix_seconds(),
        "updated": version.made.unix_seconds(),
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": 90,
    })
}

/// Whether a request is one to the vault, which shares its port with the identity service.
pub(crate) fn is_asked<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET && request.uri().path().split('/').nth(1) == Some("secrets")
}

/// Answers a request to the vault; its tokens are those of `identity`.
pub(crate) async fn answer(
    vault: Arc<EmulatedKeyVault>,
    identity: Arc<IdentityService>,
    request: Request<Incoming>,
) -> HttpAnswer {
    let base = identity.base(&request);
    if let Err(text) = admit(&identity, request.headers()) {
        return Ok(challenge(&identity, &base, &text));
    }
    let path = request.uri().path().trim_end_matches('/').split('/');
    let path: Vec<&str> = path.skip(2).collect();
    vault.record(path.first().copied().unwrap_or("list"));
    // Behind the token, as Azure throttles callers that it knows; before anything is looked up.
    match vault.context.faults.next_vault() {
        Some(VaultAnswer::Stall) => return std::future::pending().await,
        Some(VaultAnswer::Drop) => return Err(ConnectionDropped),
        Some(VaultAnswer::AnswerAfter(wait)) => tokio::time::sleep(wait).await,
        Some(VaultAnswer::Status(status, seconds)) => {
            let status = http_server::scripted_status(status);
            let mut response = refuse(status, "Scripted", "a scripted answer");
            http_server::set_retry_after(&mut response, seconds);
            return Ok(response);
        }
        None => {}
    }
    let query = FormPairs::parse(request.uri().query().unwrap_or_default());
    let base = &base;
    if query.get("api-version").is_none() {
        let text = "api-version must be specified";
        return Ok(refuse(StatusCode::BAD_REQUEST, "BadParameter", text));
    }
    Ok(match path.as_slice() {
        [] => {
            let number = |name: &str| query.get(name).map(str::parse::<usize>);
            let skip = number("$skiptoken").unwrap_or(Ok(0));
            let count = number("maxresults").unwrap_or(Ok(PAGE_MAX));
            match (skip, count) {
                (Ok(skip), Ok(count @ 1..=PAGE_MAX)) => {
                    private_json(StatusCode::OK, &vault.list(skip, count, base))
                }
                _ => {
                    let text = "maxresults must be 1 to 25";
                    refuse(StatusCode::BAD_REQUEST, "BadParameter", text)
                }
            }
        }
        [name] | [name, _] => {
            let version = path.get(1).copied().filter(|version| !version.is_empty());
            match vault.get(name, version, base) {
                Some(secret) => private_json(StatusCode::OK, &secret),
                None => {
                    let text = format!(
                        "A secret with (name/id) {} was not found in this key vault. If you \
                         recently deleted this secret you may be able to recover it.",
                        path.join("/")
                    );
                    refuse(StatusCode::NOT_FOUND, "SecretNotFound", &text)
                }
            }
        }
        _ => refuse(StatusCode::NOT_FOUND, "NotFound", "no such path"),
    })
}

fn admit(identity: &IdentityService, headers: &HeaderMap) -> Result<(), String> {
    let header = headers.get(AUTHORIZATION);
    let header = header.and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer "));
    let token = token.ok_or("Request is missing a Bearer or PoP token.")?;
    let checked = identity
        .issuer
        .check(token, &[AUDIENCE], identity.context.now());
    checked.map(|_| ())
}

fn challenge(service: &IdentityService, base: &str, text: &str) -> Response<Full<Bytes>> {
    let mut response = refuse(StatusCode::UNAUTHORIZED, "Unauthorized", text);
    let tenant = &service.settings.tenant_id;
    let challenge = format!("Bearer authorization=\"{base}/{tenant}\", resource=\"{AUDIENCE}\"");
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn refuse(status: StatusCode, code: &str, text: &str) -> Response<Full<Bytes>> {
    private_json(
        status,
        &value!({ "error": { "code": code, "message": text } }),
    )
}
