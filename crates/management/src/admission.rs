//! Who may ask what.

use crate::arm::error::Error;
use http::request::Parts;
use http::{Method, header};
use twinroute_listen::access::{AccessDenied, AccessGate, CallerRole};
use twinroute_listen::{ClientPeer, OwnHosts, RequestScheme};

/// Names that lead nowhere but to this machine, or that nobody else can have.
const KNOWN: [&str; 2] = ["*.localhost", "*.digitaltwins.azure.net"];

/// The door of the management API.
pub(crate) struct ManagementAdmission {
    gate: AccessGate,
    hosts: OwnHosts,
}

impl ManagementAdmission {
    pub(crate) fn new(gate: AccessGate, names: &[String]) -> Self {
        let hosts = OwnHosts::new(KNOWN.into_iter().chain(names.iter().map(String::as_str)));
        Self { gate, hosts }
    }

    /// Gives the name of a caller who may ask this. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Why they may not.
    pub(crate) async fn admit(
        &self,
        head: &Parts,
        scheme: RequestScheme,
        peer: ClientPeer,
    ) -> Result<String, Error> {
        let path = head.uri.path().to_ascii_lowercase();
        let reads = head.method == Method::GET || head.method == Method::HEAD;
        // The Azure CLI asks the first of these before it has a token; none tells anything of this server.
        let open = matches!(path.as_str(), "/metadata/endpoints" | "/" | "/openapi.json");
        if open && reads {
            return Ok("anybody".to_owned());
        }
        // Where no token is asked, a page that a browser shows is told from a program here.
        if !self.gate.is_configured() && peer != ClientPeer::Unix {
            if peer.is_local() {
                let known = self.hosts.check_host(&head.uri, &head.headers);
                known.map_err(cross_origin)?;
            }
            let ours = self.hosts.check_origin(scheme, &head.uri, &head.headers);
            ours.map_err(cross_origin)?;
        }
        let caller = self
            .gate
            .admit(head.headers.get(header::AUTHORIZATION))
            .await;
        let caller = caller.map_err(|denied| refusal(denied, head))?;
        let may = caller.require(role(&head.method, &path));
        may.map_err(|denied| refusal(denied, head))?;
        Ok(caller.name)
    }
}

/// What a caller must be to ask this; `path`, or its last segment, is in lower case. To ask whether a name is free is a POST that
/// changes nothing. Only as a POST: any resource may be named so.
pub(crate) fn role(method: &Method, path: &str) -> CallerRole {
    let last = path.rsplit('/').next().unwrap_or_default();
    let asks_for_name = matches!(
        last,
        "checknameavailability" | "checkprovisioningservicenameavailability"
    );
    match *method {
        Method::GET | Method::HEAD => CallerRole::Read,
        Method::POST if asks_for_name => CallerRole::Read,
        _ => CallerRole::Write,
    }
}

fn cross_origin(refused: twinroute_listen::CrossOrigin) -> Error {
    Error::ForeignCaller {
        reason: format!(
            "{refused}; ask by address or as localhost, add the name to tls_names in [management], or \
             configure access tokens"
        ),
    }
}

fn refusal(denied: AccessDenied, head: &Parts) -> Error {
    match denied {
        AccessDenied::NoRole { name } | AccessDenied::RoleTooLow { name } => {
            let action = match head.method {
                Method::GET | Method::HEAD => "read",
                Method::DELETE => "delete",
                Method::POST => "action",
                _ => "write",
            };
            Error::NotAuthorized {
                client: name,
                action: action.to_owned(),
                scope: head.uri.path().to_owned(),
            }
        }
        other => Error::Denied(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use twinroute_listen::access::AccessSettings;
    use twinroute_model::clock::SystemClock;

    fn admission(settings: &str) -> ManagementAdmission {
        let settings: AccessSettings = toml::from_str(settings).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trust = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let gate = AccessGate::new(&settings, Arc::new(SystemClock), &trust).unwrap();
        ManagementAdmission::new(gate, &["twins.example".to_owned()])
    }

    async fn code(
        admission: &ManagementAdmission,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> &'static str {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let peer = ClientPeer::Tcp(([127, 0, 0, 1], 1).into());
        match admission.admit(&head, RequestScheme::Http, peer).await {
            Ok(_) => "passes",
            Err(error) => error.code(),
        }
    }

    #[tokio::test]
    async fn roles_are_asked_for_by_what_is_done() {
        let admission = admission(
            "tokens = [{ name = 'r', role = 'read', token = 'reader-0123456789' },
                       { name = 'w', role = 'write', token = 'writer-0123456789' }]",
        );
        let (reader, writer) = ("Bearer reader-0123456789", "Bearer writer-0123456789");
        for (method, path, token, expect) in [
            ("GET", "/subscriptions", "", "AuthenticationFailed"),
            (
                "GET",
                "/subscriptions",
                "Basic x",
                "AuthenticationFailedInvalidHeader",
            ),
            (
                "GET",
                "/subscriptions",
                "Bearer other-0123456789",
                "InvalidAuthenticationToken",
            ),
            ("GET", "/subscriptions", reader, "passes"),
            ("PUT", "/x", reader, "AuthorizationFailed"),
            ("POST", "/x/listkeys", reader, "AuthorizationFailed"),
            ("POST", "/x/checkNameAvailability", reader, "passes"),
            // A resource of that name is none the less changed.
            (
                "PUT",
                "/eventroutes/checknameavailability",
                reader,
                "AuthorizationFailed",
            ),
            (
                "DELETE",
                "/eventroutes/nameavailability",
                reader,
                "AuthorizationFailed",
            ),
            ("DELETE", "/x", writer, "passes"),
            ("GET", "/", "", "passes"),
            ("GET", "/metadata/endpoints", "", "passes"),
        ] {
            let headers = [("authorization", token)];
            let headers = if token.is_empty() {
                &[][..]
            } else {
                &headers[..]
            };
            let found = code(&admission, method, path, headers).await;
            assert_eq!(found, expect, "{method} {path} {token}");
        }
    }

    #[tokio::test]
    async fn without_tokens_pages_of_browsers_are_kept_out() {
        let admission = admission("");
        for (headers, expect) in [
            (&[("host", "localhost:8443")][..], "passes"),
            (&[("host", "127.0.0.1:8443")], "passes"),
            (&[("host", "one.localhost:8443")], "passes"),
            (&[("host", "twins.example")], "passes"),
            (&[("host", "one.api.wus2.digitaltwins.azure.net")], "passes"),
            (&[("host", "evil.example")], "ForeignCaller"),
            (
                &[("host", "localhost"), ("origin", "http://evil.example")],
                "ForeignCaller",
            ),
        ] {
            let found = code(&admission, "PUT", "/x", headers).await;
            assert_eq!(found, expect, "{headers:?}");
        }
    }
}
