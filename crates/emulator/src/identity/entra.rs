//! What applications ask of Entra itself.
//!
//! Sources: "Microsoft identity platform and the OAuth 2.0 client credentials flow", "Microsoft Entra
//! authentication and authorization error codes", OpenID Connect Discovery 1.0 §3.

use super::assertion;
use super::issuer::MintedToken;
use super::service::IdentityService;
use super::settings::ApplicationSettings;
use crate::http_server::{FormPairs, private_json};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::Value;
use twinroute_model::clock::Timestamp;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Why there is no token.
#[derive(Debug)]
pub(super) struct EntraRefusal {
    status: StatusCode,
    error: &'static str,
    number: u32,
    text: String,
}

/// How an application said who it is, as claim `appidacr` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientProof {
    Secret,
    Assertion,
}

impl EntraRefusal {
    fn bad(error: &'static str, number: u32, text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            number,
            text: text.into(),
        }
    }

    /// The application is not who it says.
    pub(super) fn client(number: u32, text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            ..Self::bad("invalid_client", number, text)
        }
    }

    pub(super) fn answer(&self, now: Timestamp) -> Response<Full<Bytes>> {
        let body = serde_json::json!({
            "error": self.error,
            "error_description": format!("AADSTS{}: {}", self.number, self.text),
            "error_codes": [self.number],
            "timestamp": now.rfc3339(),
            "trace_id": "00000000-0000-4000-8000-000000000000",
            "correlation_id": "00000000-0000-4000-8000-000000000000",
        });
        private_json(self.status, &body)
    }
}

/// For what a form asks, without `/.default`.
pub(super) fn resource(form: &FormPairs) -> Result<String, EntraRefusal> {
    if form.get("grant_type") != Some("client_credentials") {
        let text = "only grant_type client_credentials is served here";
        return Err(EntraRefusal::bad("unsupported_grant_type", 70_003, text));
    }
    let scope = form.get("scope").unwrap_or_default();
    let mut scopes = scope.split(' ').filter(|scope| !scope.is_empty());
    match (
        scopes.next().and_then(|one| one.strip_suffix("/.default")),
        scopes.next(),
    ) {
        (Some(resource), None) if !resource.is_empty() => Ok(resource.to_owned()),
        _ => {
            let text = format!("the scope {scope:?} is not one resource and /.default");
            Err(EntraRefusal::bad("invalid_scope", 1_002_012, text))
        }
    }
}

/// Who asks, once they have shown it.
pub(super) fn application<'a>(
    service: &'a IdentityService,
    tenant: &str,
    form: &FormPairs,
    now: Timestamp,
) -> Result<(&'a ApplicationSettings, ClientProof), EntraRefusal> {
    let settings = &service.settings;
    if !tenant.eq_ignore_ascii_case(&settings.tenant_id) {
        let text = format!("Tenant {tenant:?} not found");
        return Err(EntraRefusal::bad("invalid_request", 90_002, text));
    }
    let id = form.get("client_id").unwrap_or_default();
    let known = settings
        .applications
        .iter()
        .find(|known| known.client_id.eq_ignore_ascii_case(id))
        .ok_or_else(|| {
            let text = format!("Application with identifier {id:?} was not found in the directory");
            EntraRefusal::bad("unauthorized_client", 700_016, text)
        })?;
    if let Some(secret) = form.get("client_secret") {
        let right = known
            .secret
            .as_ref()
            .is_some_and(|own| own.expose() == secret);
        return match right {
            true => Ok((known, ClientProof::Secret)),
            false => {
                let text = format!("Invalid client secret provided for app {id:?}");
                Err(EntraRefusal::client(7_000_215, text))
            }
        };
    }
    let Some(given) = form.get("client_assertion") else {
        let text = "The request body must contain client_assertion or client_secret";
        return Err(EntraRefusal::client(7_000_218, text));
    };
    if form.get("client_assertion_type") != Some(ASSERTION_TYPE) {
        let text = format!("client_assertion_type must be {ASSERTION_TYPE}");
        return Err(EntraRefusal::bad("invalid_request", 900_144, text));
    }
    let endpoint = format!("/{}/oauth2/v2.0/token", settings.tenant_id);
    assertion::check(&service.issuer, known, given, &endpoint, now)
        .map_err(|(number, text)| EntraRefusal::client(number, text))?;
    Ok((known, ClientProof::Assertion))
}

/// The answer with a token: numbers are numbers.
pub(super) fn answer(token: &MintedToken) -> Response<Full<Bytes>> {
    let body = serde_json::json!({
        "token_type": "Bearer",
        "expires_in": token.seconds,
        "ext_expires_in": token.seconds,
        "access_token": token.text,
    });
    private_json(StatusCode::OK, &body)
}

/// The discovery document of a version: that of 1.0 is about the tokens of Azure's own services, that of
/// 2.0 about those of `api://…`.
pub(super) fn discovery(service: &IdentityService, base: &str, version: TokenVersion) -> Value {
    let tenant = &service.settings.tenant_id;
    let (path, keys) = match version {
        TokenVersion::One => ("oauth2", "discovery/keys"),
        TokenVersion::Two => ("oauth2/v2.0", "discovery/v2.0/keys"),
    };
    serde_json::json!({
        "issuer": version.issuer(base, tenant),
        "token_endpoint": format!("{base}/{tenant}/{path}/token"),
        "authorization_endpoint": format!("{base}/{tenant}/{path}/authorize"),
        "jwks_uri": format!("{base}/{tenant}/{keys}"),
        "token_endpoint_auth_methods_supported":
            ["client_secret_post", "private_key_jwt"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "tenant_region_scope": "WW",
        "cloud_instance_name": "microsoftonline.com",
    })
}

/// Of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenVersion {
    One,
    Two,
}

impl TokenVersion {
    /// Azure's services take tokens of version 1, from Entra's v2.0 endpoint too.
    pub(super) fn of(resource: &str) -> Self {
        match resource.starts_with("api://") {
            true => Self::Two,
            false => Self::One,
        }
    }

    pub(super) fn issuer(self, base: &str, tenant: &str) -> String {
        match self {
            Self::One => format!("https://sts.windows.net/{tenant}/"),
            Self::Two => format!("{base}/{tenant}/v2.0"),
        }
    }
}

/// What clients ask before they trust an authority that they do not know.
pub(super) fn instances(service: &IdentityService, base: &str) -> Value {
    let tenant = &service.settings.tenant_id;
    let host = base.split_once("://").map_or(base, |(_, host)| host);
    serde_json::json!({
        "tenant_discovery_endpoint": format!("{base}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{
            "preferred_network": host, "preferred_cache": host, "aliases": [host],
        }],
    })
}
