//! Requests to the doors, and their answers.

use super::entra::{self, ClientProof, EntraRefusal, TokenVersion};
use super::issuer::MintedToken;
use super::managed::{self, TokenQuestion};
use super::service::{IdentityService, TokenEndpoint, TokenRequest};
use crate::faults::TokenAnswer;
use crate::http_server::{self, ConnectionDropped, FormPairs, HttpAnswer, private_json};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A form holds an assertion at most.
const FORM_BYTES_MAX: usize = 256 << 10;

/// Answers a request to the service.
pub(crate) async fn answer(
    service: Arc<IdentityService>,
    request: Request<Incoming>,
) -> HttpAnswer {
    let service = &*service;
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let query = FormPairs::parse(request.uri().query().unwrap_or_default());
    let base = service.base(&request);
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (request.method().clone(), parts.as_slice()) {
        (Method::GET, ["metadata", "identity", "oauth2", "token"]) => {
            machine(service, TokenEndpoint::Imds, &request, &query, &base).await
        }
        (Method::GET, ["msi", "token"]) => {
            machine(service, TokenEndpoint::AppService, &request, &query, &base).await
        }
        (Method::POST, [tenant, "oauth2", "v2.0", "token"]) => {
            application(service, tenant, request, &base).await
        }
        (Method::GET, ["common", "discovery", "instance"]) => Ok(private_json(
            StatusCode::OK,
            &entra::instances(service, &base),
        )),
        (Method::GET, [tenant, rest @ ..]) if is_tenant(service, tenant) => {
            Ok(document(service, rest, &base))
        }
        _ => Ok(not_found()),
    }
}

fn is_tenant(service: &IdentityService, text: &str) -> bool {
    let known = text.eq_ignore_ascii_case(&service.settings.tenant_id);
    known || matches!(text, "common" | "organizations")
}

fn document(service: &IdentityService, path: &[&str], base: &str) -> Response<Full<Bytes>> {
    match path {
        [".well-known", "openid-configuration"] => {
            let document = entra::discovery(service, base, TokenVersion::One);
            private_json(StatusCode::OK, &document)
        }
        ["v2.0", ".well-known", "openid-configuration"] => {
            let document = entra::discovery(service, base, TokenVersion::Two);
            private_json(StatusCode::OK, &document)
        }
        ["discovery", "keys"] | ["discovery", "v2.0", "keys"] => {
            private_json(StatusCode::OK, &service.issuer.keys())
        }
        _ => not_found(),
    }
}

async fn machine(
    service: &IdentityService,
    door: TokenEndpoint,
    request: &Request<Incoming>,
    query: &FormPairs,
    base: &str,
) -> HttpAnswer {
    let asked = managed::read(service, door, request.headers(), query);
    let asked = match asked {
        Ok(asked) => asked,
        Err(refusal) => return Ok(*refusal),
    };
    let TokenQuestion {
        resource, named, ..
    } = &asked;
    let record_answer = |status| record(service, door, resource, named, status);
    scripted(service, resource, record_answer, |fault| {
        let refuse = |text: &str| {
            let code = "invalid_request";
            managed::refuse(door, StatusCode::BAD_REQUEST, code, text)
        };
        match (fault, &asked.identity) {
            (Some(TokenAnswer::Status(status, _)), _) => {
                let status = http_server::scripted_status(*status);
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
                let token = mint(service, resource, fault, base, claims);
                managed::answer(&asked, identity, &token)
            }
        }
    })
    .await
}

async fn application(
    service: &IdentityService,
    tenant: &str,
    request: Request<Incoming>,
    base: &str,
) -> HttpAnswer {
    let Some(form) = http_server::body(request.into_body(), FORM_BYTES_MAX).await? else {
        return Ok(not_found());
    };
    let form = FormPairs::parse(&String::from_utf8_lossy(&form));
    let now = service.context.now();
    let resource = match entra::resource(&form) {
        Ok(resource) => resource,
        Err(refusal) => return Ok(refusal.answer(now)),
    };
    let named = form.get("client_id").unwrap_or_default();
    let named = format!("client_id={named}");
    let record_answer = |status| record(service, TokenEndpoint::Entra, &resource, &named, status);
    scripted(service, &resource, record_answer, |fault| {
        match (fault, entra::application(service, tenant, &form, now)) {
            (Some(TokenAnswer::Status(status, _)), _) => {
                let status = http_server::scripted_status(*status);
                let body = json!({
                    "error": "temporarily_unavailable", "error_description": "a scripted answer",
                });
                private_json(status, &body)
            }
            (Some(TokenAnswer::Refuse), _) => {
                EntraRefusal::client(7_000_222, "The provided client secret keys are expired")
                    .answer(now)
            }
            (_, Err(refusal)) => refusal.answer(now),
            (fault, Ok((known, proof))) => {
                let acr = match proof {
                    ClientProof::Secret => "1",
                    ClientProof::Assertion => "2",
                };
                let claims = json!({
                    "appid": known.client_id, "appidacr": acr, "idtyp": "app",
                    "oid": known.object_id, "sub": known.object_id, "roles": known.roles,
                });
                let token = mint(service, &resource, fault, base, claims);
                entra::answer(&token)
            }
        }
    })
    .await
}

/// Does what the script says around what `answer` makes of it.
async fn scripted(
    service: &IdentityService,
    resource: &str,
    record_answer: impl FnOnce(Option<u16>),
    answer: impl FnOnce(Option<&TokenAnswer>) -> Response<Full<Bytes>>,
) -> HttpAnswer {
    let fault = service.context.faults.next_token(resource);
    match &fault {
        Some(TokenAnswer::Stall) => {
            record_answer(None);
            return std::future::pending().await;
        }
        Some(TokenAnswer::Drop) => {
            record_answer(None);
            return Err(ConnectionDropped);
        }
        Some(TokenAnswer::AnswerAfter(wait)) => tokio::time::sleep(*wait).await,
        _ => {}
    }
    let mut response = answer(fault.as_ref());
    record_answer(Some(response.status().as_u16()));
    if let Some(TokenAnswer::Status(_, seconds)) = fault {
        http_server::set_retry_after(&mut response, seconds);
    }
    Ok(response)
}

fn record(
    service: &IdentityService,
    door: TokenEndpoint,
    resource: &str,
    named: &str,
    status: Option<u16>,
) {
    service.record(TokenRequest {
        door,
        resource: resource.to_owned(),
        named: named.to_owned(),
        status,
    });
}

/// "Access token claims reference": what both versions have, and what distinguishes them.
fn mint(
    service: &IdentityService,
    resource: &str,
    fault: Option<&TokenAnswer>,
    base: &str,
    mut claims: Value,
) -> MintedToken {
    let tenant = &service.settings.tenant_id;
    let now = service.context.now();
    let life: Duration = match fault {
        Some(TokenAnswer::Life(life)) => *life,
        _ => service.settings.token_life,
    };
    let audience = match fault {
        Some(TokenAnswer::Audience(other)) => other,
        _ => resource,
    };
    let version = TokenVersion::of(resource);
    let (begins, ends) = (now.unix_seconds(), now.after(life).unix_seconds());
    claims["aud"] = audience.into();
    claims["iss"] = version.issuer(base, tenant).into();
    claims["iat"] = begins.into();
    claims["nbf"] = begins.into();
    claims["exp"] = ends.into();
    claims["tid"] = tenant.as_str().into();
    match version {
        TokenVersion::One => claims["ver"] = "1.0".into(),
        TokenVersion::Two => {
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
    private_json(
        StatusCode::NOT_FOUND,
        &json!({ "error": "not_found", "error_description": text }),
    )
}
