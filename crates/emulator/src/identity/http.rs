//! The HTTP server of the doors, and of the vault beside them.

use super::entra::{self, Proof, Refusal, Version};
use super::issuer::MintedToken;
use super::managed::{self, Asked};
use super::{Door, Service, TokenRequest};
use crate::faults::TokenAnswer;
use crate::http_server::{self, Answer, Dropped, FormPairs, private_json as json_answer};
use crate::store::Store;
use crate::vault;
use http::header::{HOST, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A form holds an assertion at most.
const FORM_BYTES_MAX: usize = 256 << 10;

/// Serves until `stop` fires or its sender is gone, then drops every connection at once.
pub(crate) async fn run(listener: TcpListener, store: Arc<Store>, stop: oneshot::Receiver<()>) {
    http_server::run(listener, store, stop, answer).await;
}

async fn answer(store: Arc<Store>, request: Request<Incoming>) -> Answer {
    let Some(service) = store.identity.as_ref() else {
        return Ok(not_found());
    };
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let query = FormPairs::parse(request.uri().query().unwrap_or_default());
    let host = request.headers().get(HOST).cloned();
    let host = request.uri().authority().map_or_else(
        || host.and_then(|host| host.to_str().ok().map(str::to_owned)),
        |authority| Some(authority.to_string()),
    );
    let base = service.base(&host.unwrap_or_default());
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (request.method().clone(), parts.as_slice()) {
        (Method::GET, ["metadata", "identity", "oauth2", "token"]) => {
            machine(&store, service, Door::Imds, &request, &query, &base).await
        }
        (Method::GET, ["msi", "token"]) => {
            machine(&store, service, Door::AppService, &request, &query, &base).await
        }
        (Method::POST, [tenant, "oauth2", "v2.0", "token"]) => {
            application(&store, service, tenant, request, &base).await
        }
        (Method::GET, ["common", "discovery", "instance"]) => Ok(json_answer(
            StatusCode::OK,
            &entra::instances(service, &base),
        )),
        (Method::GET, [tenant, rest @ ..]) if is_tenant(service, tenant) => {
            Ok(document(service, rest, &base))
        }
        (Method::GET, ["secrets", rest @ ..]) => {
            let headers = request.headers();
            vault::answer(&store, service, rest, headers, &query, &base).await
        }
        _ => Ok(not_found()),
    }
}

fn is_tenant(service: &Service, text: &str) -> bool {
    let known = text.eq_ignore_ascii_case(&service.settings.tenant_id);
    known || matches!(text, "common" | "organizations")
}

fn document(service: &Service, path: &[&str], base: &str) -> Response<Full<Bytes>> {
    match path {
        [".well-known", "openid-configuration"] => {
            let document = entra::discovery(service, base, Version::One);
            json_answer(StatusCode::OK, &document)
        }
        ["v2.0", ".well-known", "openid-configuration"] => {
            let document = entra::discovery(service, base, Version::Two);
            json_answer(StatusCode::OK, &document)
        }
        ["discovery", "keys"] | ["discovery", "v2.0", "keys"] => {
            json_answer(StatusCode::OK, &service.issuer.keys())
        }
        _ => not_found(),
    }
}

async fn machine(
    store: &Store,
    service: &Service,
    door: Door,
    request: &Request<Incoming>,
    query: &FormPairs,
    base: &str,
) -> Answer {
    let asked = managed::read(service, door, request.headers(), query);
    let asked = match asked {
        Ok(asked) => asked,
        Err(refusal) => return Ok(*refusal),
    };
    let Asked {
        resource, named, ..
    } = &asked;
    let note = |status| note(service, door, resource, named, status);
    scripted(store, resource, note, |fault| {
        let refuse = |text: &str| {
            let code = "invalid_request";
            managed::refuse(door, StatusCode::BAD_REQUEST, code, text)
        };
        match (fault, &asked.identity) {
            (Some(TokenAnswer::Status(status, _)), _) => {
                let status = StatusCode::from_u16(*status);
                let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                managed::refuse(door, status, "scripted", "a scripted answer")
            }
            (Some(TokenAnswer::Refuse), _) => refuse("Identity not found"),
            (_, Err(text)) => refuse(text),
            (fault, Ok(identity)) => {
                let client = &identity.client_id;
                let mut claims = json!({
                    "appid": client, "appidacr": "2", "idtyp": "app",
                    "oid": identity.object_id, "sub": identity.object_id,
                });
                if let Some(id) = &identity.resource_id {
                    claims["xms_mirid"] = id.as_str().into();
                }
                let token = mint(store, service, resource, fault, base, claims);
                managed::answer(&asked, identity, &token)
            }
        }
    })
    .await
}

async fn application(
    store: &Store,
    service: &Service,
    tenant: &str,
    request: Request<Incoming>,
    base: &str,
) -> Answer {
    let Some(form) = http_server::body(request.into_body(), FORM_BYTES_MAX).await? else {
        return Ok(not_found());
    };
    let form = FormPairs::parse(&String::from_utf8_lossy(&form));
    let now = store.now();
    let resource = match entra::resource(&form) {
        Ok(resource) => resource,
        Err(refusal) => return Ok(refusal.answer(now)),
    };
    let named = form.get("client_id").unwrap_or_default();
    let named = format!("client_id={named}");
    let note = |status| note(service, Door::Entra, &resource, &named, status);
    scripted(store, &resource, note, |fault| {
        match (fault, entra::application(service, tenant, &form, now)) {
            (Some(TokenAnswer::Status(status, _)), _) => {
                let status = StatusCode::from_u16(*status);
                let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let body = json!({
                    "error": "temporarily_unavailable", "error_description": "a scripted answer",
                });
                json_answer(status, &body)
            }
            (Some(TokenAnswer::Refuse), _) => {
                Refusal::client(7_000_222, "The provided client secret keys are expired")
                    .answer(now)
            }
            (_, Err(refusal)) => refusal.answer(now),
            (fault, Ok((known, proof))) => {
                let acr = match proof {
                    Proof::Secret => "1",
                    Proof::Assertion => "2",
                };
                let claims = json!({
                    "appid": known.client_id, "appidacr": acr, "idtyp": "app",
                    "oid": known.object_id, "sub": known.object_id, "roles": known.roles,
                });
                let token = mint(store, service, &resource, fault, base, claims);
                entra::answer(&token)
            }
        }
    })
    .await
}

/// Does what the script says around what `answer` makes of it.
async fn scripted(
    store: &Store,
    resource: &str,
    note: impl FnOnce(Option<u16>),
    answer: impl FnOnce(Option<&TokenAnswer>) -> Response<Full<Bytes>>,
) -> Answer {
    let fault = store.faults().next_token(resource);
    match &fault {
        Some(TokenAnswer::Stall) => {
            note(None);
            return std::future::pending().await;
        }
        Some(TokenAnswer::Drop) => {
            note(None);
            return Err(Dropped);
        }
        Some(TokenAnswer::AnswerAfter(wait)) => tokio::time::sleep(*wait).await,
        _ => {}
    }
    let mut response = answer(fault.as_ref());
    note(Some(response.status().as_u16()));
    if let Some(TokenAnswer::Status(_, Some(seconds))) = fault {
        let value = HeaderValue::from(seconds);
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    Ok(response)
}

fn note(service: &Service, door: Door, resource: &str, named: &str, status: Option<u16>) {
    service.note(TokenRequest {
        door,
        resource: resource.to_owned(),
        named: named.to_owned(),
        status,
    });
}

/// "Access token claims reference": what both versions have, and what tells them apart.
fn mint(
    store: &Store,
    service: &Service,
    resource: &str,
    fault: Option<&TokenAnswer>,
    base: &str,
    mut claims: Value,
) -> MintedToken {
    let tenant = &service.settings.tenant_id;
    let now = store.now();
    let life: Duration = match fault {
        Some(TokenAnswer::Life(life)) => *life,
        _ => service.settings.token_life,
    };
    let audience = match fault {
        Some(TokenAnswer::Audience(other)) => other,
        _ => resource,
    };
    let version = Version::of(resource);
    let (begins, ends) = (now.unix_seconds(), now.after(life).unix_seconds());
    claims["aud"] = audience.into();
    claims["iss"] = version.issuer(base, tenant).into();
    claims["iat"] = begins.into();
    claims["nbf"] = begins.into();
    claims["exp"] = ends.into();
    claims["tid"] = tenant.as_str().into();
    match version {
        Version::One => claims["ver"] = "1.0".into(),
        Version::Two => {
            claims["ver"] = "2.0".into();
            let id = claims["appid"].take();
            claims["azp"] = id;
            let acr = claims["appidacr"].take();
            claims["azpacr"] = acr;
            if let Some(claims) = claims.as_object_mut() {
                claims.retain(|_, value| !value.is_null());
            }
        }
    }
    MintedToken {
        text: service.issuer.sign(&claims),
        begins,
        ends,
        seconds: ends - begins,
    }
}

fn not_found() -> Response<Full<Bytes>> {
    let text = "nothing is served at this path with this method";
    json_answer(
        StatusCode::NOT_FOUND,
        &json!({ "error": "not_found", "error_description": text }),
    )
}
