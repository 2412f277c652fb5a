//! What a machine asks for its identity: IMDS, and the service of App IdentityService, Functions and Container Apps.
//!
//! Sources: "How to use managed identities on an Azure VM to acquire an access token", "How to use managed
//! identities for App IdentityService and Azure Functions", REST endpoint reference. The two name the ARM id
//! differently: `msi_res_id` there, `mi_res_id` here.

use super::issuer::MintedToken;
use super::service::{IdentityService, TokenEndpoint};
use super::settings::ManagedIdentitySettings;
use crate::http_server::{FormPairs, private_json};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;

/// Versions of the request that IMDS knows, the ones that clients name.
const IMDS_VERSIONS: [&str; 3] = ["2018-02-01", "2019-08-01", "2021-02-01"];

/// The one version that App IdentityService documents.
const APP_SERVICE_VERSION: &str = "2019-08-01";

/// Who asks for what.
#[derive(Debug)]
pub(super) struct TokenQuestion<'a> {
    pub(super) door: TokenEndpoint,
    pub(super) resource: String,
    pub(super) named: String,
    pub(super) identity: Result<&'a ManagedIdentitySettings, String>,
}

/// Reads a request; what it is answered with otherwise.
pub(super) fn read<'a>(
    service: &'a IdentityService,
    door: TokenEndpoint,
    headers: &HeaderMap,
    query: &FormPairs,
) -> Result<TokenQuestion<'a>, Box<Response<Full<Bytes>>>> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bad = |text: &str| {
        let status = StatusCode::BAD_REQUEST;
        Box::new(refuse(door, status, "invalid_request", text))
    };
    let version = query.get("api-version").unwrap_or_default();
    match door {
        TokenEndpoint::Imds => {
            if header("metadata").is_none_or(|value| !value.eq_ignore_ascii_case("true")) {
                return Err(bad("Required metadata header not specified"));
            }
            if headers.contains_key("x-forwarded-for") {
                return Err(bad("a request with X-Forwarded-For is not served"));
            }
            if !IMDS_VERSIONS.contains(&version) {
                return Err(bad("api-version is missing or not known"));
            }
        }
        TokenEndpoint::AppService | TokenEndpoint::Entra => {
            if header("x-identity-header") != Some(service.settings.header.expose()) {
                let text = "the header X-IDENTITY-HEADER is missing or wrong";
                let refusal = refuse(door, StatusCode::UNAUTHORIZED, "", text);
                return Err(Box::new(refusal));
            }
            if version != APP_SERVICE_VERSION {
                return Err(bad("api-version must be 2019-08-01"));
            }
        }
    }
    let Some(resource) = query.get("resource").filter(|text| !text.is_empty()) else {
        return Err(bad("the parameter resource is missing"));
    };
    let (named, identity) = named(service, door, query);
    Ok(TokenQuestion {
        door,
        resource: resource.to_owned(),
        named,
        identity,
    })
}

/// Whom the request names.
fn named<'a>(
    service: &'a IdentityService,
    door: TokenEndpoint,
    query: &FormPairs,
) -> (String, Result<&'a ManagedIdentitySettings, String>) {
    let (resource_id, other_door) = match door {
        TokenEndpoint::Imds => ("msi_res_id", "mi_res_id"),
        TokenEndpoint::AppService | TokenEndpoint::Entra => ("mi_res_id", "msi_res_id"),
    };
    let given: Vec<(&str, &str)> = [
        "client_id",
        "object_id",
        "principal_id",
        resource_id,
        other_door,
    ]
    .into_iter()
    .filter_map(|name| Some((name, query.get(name)?)))
    .collect();
    let named = given.iter().map(|(name, value)| format!("{name}={value}"));
    let named = named.collect::<Vec<_>>().join("&");
    let known = &service.settings.managed;
    let found = match given.as_slice() {
        [] => known
            .iter()
            .find(|identity| identity.resource_id.is_none())
            .ok_or_else(|| "the machine has no system-assigned identity".to_owned()),
        [(name, _)] if *name == other_door => Err(format!(
            "{other_door} is not known here: the parameter is {resource_id}"
        )),
        [(name, value)] => known
            .iter()
            .find(|identity| match *name {
                "client_id" => identity.client_id.eq_ignore_ascii_case(value),
                "object_id" | "principal_id" => identity.object_id.eq_ignore_ascii_case(value),
                _ => {
                    let id = identity.resource_id.as_deref();
                    id.is_some_and(|id| id.eq_ignore_ascii_case(value))
                }
            })
            .ok_or_else(|| "Identity not found".to_owned()),
        _ => Err("at most one identity may be named".to_owned()),
    };
    (named, found)
}

/// A token, in the words of the door: texts for numbers.
pub(super) fn answer(
    asked: &TokenQuestion<'_>,
    identity: &ManagedIdentitySettings,
    token: &MintedToken,
) -> Response<Full<Bytes>> {
    let mut body = serde_json::json!({
        "access_token": token.text,
        "client_id": identity.client_id,
        "expires_on": token.ends.to_string(),
        "resource": asked.resource,
        "token_type": "Bearer",
    });
    if asked.door == TokenEndpoint::Imds {
        body["expires_in"] = token.seconds.to_string().into();
        body["ext_expires_in"] = token.seconds.to_string().into();
        body["not_before"] = token.begins.to_string().into();
    }
    private_json(StatusCode::OK, &body)
}

/// An error, in the words of the door.
pub(super) fn refuse(
    door: TokenEndpoint,
    status: StatusCode,
    code: &str,
    text: &str,
) -> Response<Full<Bytes>> {
    let body = match door {
        TokenEndpoint::Imds => serde_json::json!({ "error": code, "error_description": text }),
        TokenEndpoint::AppService | TokenEndpoint::Entra => {
            serde_json::json!({ "statusCode": status.as_u16(), "message": text })
        }
    };
    private_json(status, &body)
}
