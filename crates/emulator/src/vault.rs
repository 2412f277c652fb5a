//! The stand-in of Key Vault: secrets with versions, read by name or listed in pages.
//!
//! Sources: Azure Key Vault REST API, "Get Secret", "Get Secrets" and "Authentication, requests and
//! responses" (the challenge that names authority and resource).

use crate::faults::VaultAnswer;
use crate::http_server::{Answer, Dropped, FormPairs, private_json as json};
use crate::identity::Service;
use crate::settings::IdentitySettings;
use crate::store::Store;
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json as value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
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

#[derive(Debug, Default)]
pub(crate) struct Vault(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    /// By name in lower case, which is the same name.
    secrets: BTreeMap<String, Versions>,
    asked: VecDeque<String>,
    made: u64,
}

#[derive(Debug)]
struct Versions {
    name: String,
    /// The newest last.
    all: Vec<Version>,
}

#[derive(Clone, Debug)]
struct Version {
    id: String,
    value: Secret,
    made: Timestamp,
}

impl Vault {
    pub(crate) fn new(settings: Option<&IdentitySettings>, now: Timestamp) -> Self {
        let vault = Self::default();
        for (name, secret) in settings.iter().flat_map(|settings| &settings.vault_secrets) {
            vault.set(name, secret.clone(), now);
        }
        vault
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, name: &str, value: Secret, now: Timestamp) {
        let mut inside = self.inside();
        inside.made += 1;
        let id = format!("{:032x}", inside.made);
        let made = now;
        let key = name.to_ascii_lowercase();
        let versions = inside.secrets.entry(key).or_insert_with(|| Versions {
            name: name.to_owned(),
            all: Vec::new(),
        });
        if versions.all.len() >= VERSIONS_MAX {
            versions.all.remove(0);
        }
        versions.all.push(Version { id, value, made });
    }

    pub(crate) fn delete(&self, name: &str) {
        self.inside().secrets.remove(&name.to_ascii_lowercase());
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.inside().asked.iter().cloned().collect()
    }

    fn note(&self, what: &str) {
        let mut inside = self.inside();
        if inside.asked.len() >= ASKED_MAX {
            inside.asked.pop_front();
        }
        inside.asked.push_back(what.to_owned());
    }

    fn get(&self, name: &str, version: Option<&str>, base: &str) -> Option<Value> {
        let inside = self.inside();
        let versions = inside.secrets.get(&name.to_ascii_lowercase())?;
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
        let inside = self.inside();
        let page = inside.secrets.values().skip(skip).take(count);
        let page: Vec<Value> = page
            .filter_map(|versions| {
                let newest = versions.all.last()?;
                let id = format!("{base}/secrets/{}", versions.name);
                Some(value!({ "id": id, "attributes": attributes(versions, newest) }))
            })
            .collect();
        let more = skip + count < inside.secrets.len();
        let next = more.then(|| {
            let skip = skip + count;
            format!("{base}/secrets?api-version=7.4&$skiptoken={skip}&maxresults={count}")
        });
        value!({ "value": page, "nextLink": next })
    }
}

fn attributes(versions: &Versions, version: &Version) -> Value {
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

/// Answers a GET below `/secrets`.
pub(crate) async fn answer(
    store: &Store,
    service: &Service,
    path: &[&str],
    headers: &HeaderMap,
    query: &FormPairs,
    base: &str,
) -> Answer {
    if let Err(text) = admit(store, headers) {
        return Ok(challenge(service, base, &text));
    }
    store.vault.note(path.first().copied().unwrap_or("list"));
    let fault = store.faults().next_vault();
    match fault {
        Some(VaultAnswer::Stall) => return std::future::pending().await,
        Some(VaultAnswer::Drop) => return Err(Dropped),
        Some(VaultAnswer::AnswerAfter(wait)) => tokio::time::sleep(wait).await,
        Some(VaultAnswer::Status(status, seconds)) => return Ok(scripted(status, seconds)),
        None => {}
    }
    if query.get("api-version").is_none() {
        let text = "api-version must be specified";
        return Ok(refuse(StatusCode::BAD_REQUEST, "BadParameter", text));
    }
    Ok(match path {
        [] => {
            let number = |name: &str| query.get(name).map(str::parse::<usize>);
            let skip = number("$skiptoken").unwrap_or(Ok(0));
            let count = number("maxresults").unwrap_or(Ok(PAGE_MAX));
            match (skip, count) {
                (Ok(skip), Ok(count @ 1..=PAGE_MAX)) => {
                    json(StatusCode::OK, &store.vault.list(skip, count, base))
                }
                _ => {
                    let text = "maxresults must be 1 to 25";
                    refuse(StatusCode::BAD_REQUEST, "BadParameter", text)
                }
            }
        }
        [name] | [name, _] => {
            let version = path.get(1).copied().filter(|version| !version.is_empty());
            match store.vault.get(name, version, base) {
                Some(secret) => json(StatusCode::OK, &secret),
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

fn admit(store: &Store, headers: &HeaderMap) -> Result<(), String> {
    let header = headers.get(AUTHORIZATION);
    let header = header.and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer "));
    let token = token.ok_or("Request is missing a Bearer or PoP token.")?;
    let issuer = store.issuer().ok_or("there is no identity service")?;
    issuer.check(token, &[AUDIENCE], store.now()).map(|_| ())
}

fn challenge(service: &Service, base: &str, text: &str) -> Response<Full<Bytes>> {
    let mut response = refuse(StatusCode::UNAUTHORIZED, "Unauthorized", text);
    let tenant = &service.settings.tenant_id;
    let challenge = format!("Bearer authorization=\"{base}/{tenant}\", resource=\"{AUDIENCE}\"");
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn scripted(status: u16, retry_after_seconds: Option<u64>) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = refuse(status, "Scripted", "a scripted answer");
    if let Some(seconds) = retry_after_seconds {
        let value = HeaderValue::from(seconds);
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

fn refuse(status: StatusCode, code: &str, text: &str) -> Response<Full<Bytes>> {
    json(
        status,
        &value!({ "error": { "code": code, "message": text } }),
    )
}
