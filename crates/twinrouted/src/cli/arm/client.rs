//! The connection to a management API, and the calls that commands make.

use super::error_text::{self, TokenSent};
use crate::cli::address::ServerAddress;
use crate::cli::client_certificate;
use anyhow::{Context as _, bail};
use reqwest::{Method, Url};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use twinroute_arm::api::{ApiAnswer, ArmApi, is_local};
use twinroute_arm::error::Error;
use twinroute_arm::http;
use twinroute_credential::token::TokenSource;
use twinroute_model::clock::Clock;
use twinroute_outgoing::{OutgoingConnections, tls_words};

const ROUTES_SCOPE: &str = "https://digitaltwins.azure.net/.default";

/// How long a change may take to come to its end; it goes on after that.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Whether a command returns before what it began has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitMode {
    /// It waits for the end.
    Finish,
    /// It returns once the server has taken it.
    Begin,
}

impl WaitMode {
    /// As `--no-wait` says.
    pub(crate) fn unless(no_wait: bool) -> Self {
        match no_wait {
            true => Self::Begin,
            false => Self::Finish,
        }
    }

    /// What became of a resource that was to be deleted.
    pub(crate) fn deleted(self) -> &'static str {
        match self {
            Self::Finish => "deleted",
            Self::Begin => "being deleted",
        }
    }
}

/// A management API that is there.
pub(crate) struct ManagementClient {
    pub(super) api: ArmApi,
    pub(crate) subscription: String,
    pub(super) tokens: Option<TokenSource>,
    pub(super) http: ClientFactory,
}

/// How to make clients for other addresses.
#[derive(Clone)]
pub(super) struct ClientFactory {
    /// To management APIs, with the client's certificate.
    pub(super) outgoing: OutgoingConnections,
    pub(super) clock: Arc<dyn Clock>,
    /// The socket of a server that is asked over one.
    pub(super) socket: Option<PathBuf>,
}

impl ClientFactory {
    pub(super) fn to(&self, address: &ServerAddress) -> Self {
        let socket = match address {
            ServerAddress::Unix(path) => Some(path.clone()),
            ServerAddress::Url(_) => None,
        };
        Self {
            socket,
            ..self.clone()
        }
    }

    pub(super) fn api(
        &self,
        url: &str,
        scope: &str,
        tokens: Option<&TokenSource>,
    ) -> anyhow::Result<ArmApi> {
        let http = match &self.socket {
            Some(path) => self.outgoing.http().unix_socket(path.as_path()).build()?,
            None => http::client(&self.outgoing, None)?,
        };
        let clock = Arc::clone(&self.clock);
        Ok(match tokens {
            Some(tokens) => ArmApi::new(url, scope, tokens.clone(), http, clock)?,
            None => ArmApi::without_token(url, http, clock)?,
        })
    }
}

impl ManagementClient {
    /// Where it is, for messages.
    fn url(&self) -> String {
        self.api.base().as_str().trim_end_matches('/').to_owned()
    }

    /// Whether it is Azure itself that is asked, of whatever cloud.
    pub(crate) fn is_azure(&self) -> bool {
        const DOMAINS: [&str; 4] = [
            ".azure.com",
            ".azure.cn",
            ".chinacloudapi.cn",
            ".usgovcloudapi.net",
        ];
        let host = self.api.base().host_str().unwrap_or_default();
        DOMAINS.iter().any(|domain| host.ends_with(domain))
    }

    /// The error as users read it; `what` is what was asked for.
    pub(crate) fn explain(&self, error: &Error, what: &str) -> anyhow::Error {
        let credential = match self.tokens {
            Some(_) => TokenSent::Given,
            None => TokenSent::None,
        };
        let url = self.url();
        if let Error::Transport { request, reason } = error {
            let tls = self.http.outgoing.tls();
            let advice = client_certificate::advice_of_handshake(reason, self.api.base(), tls);
            if let Some(advice) = advice {
                let reason = tls_words(reason);
                return anyhow::anyhow!("{url}: {advice}\n  {request}: {reason}");
            }
        }
        error_text::error_text(error, &url, credential, what)
    }

    pub(crate) async fn get(&self, path: &str, version: &str, what: &str) -> anyhow::Result<Value> {
        let answer = self.api.get(path, version).await;
        self.read(answer, what)
    }

    /// Gives nothing when it is not there.
    pub(crate) async fn find(
        &self,
        path: &str,
        version: &str,
        what: &str,
    ) -> anyhow::Result<Option<Value>> {
        match self.api.get(path, version).await {
            Err(Error::Refused(refusal)) if is_absent(refusal.status, &refusal.code) => Ok(None),
            answer => self.read(answer, what).map(Some),
        }
    }

    pub(crate) async fn list(
        &self,
        path: &str,
        version: &str,
        what: &str,
    ) -> anyhow::Result<Vec<Value>> {
        let items = self.api.list(path, version).await;
        let items = items.map_err(|error| self.explain(&error, what))?;
        let items = items.iter().map(|item| serde_json::from_str(item.get()));
        let items: Result<_, _> = items.collect();
        items.context("the answer is no list of resources")
    }

    /// Asks something with a POST.
    pub(crate) async fn post(
        &self,
        path: &str,
        version: &str,
        body: Option<&Value>,
        what: &str,
    ) -> anyhow::Result<Value> {
        let body = body.map(|body| body.to_string().into());
        let answer = self.api.call(Method::POST, path, version, body).await;
        self.read(answer, what)
    }

    /// Changes a resource; gives it as it is then, nothing where there is none left.
    pub(crate) async fn change(
        &self,
        (method, path): (Method, &str),
        version: &str,
        body: Option<&Value>,
        waiting: WaitMode,
        what: &str,
    ) -> anyhow::Result<Value> {
        let body = body.map(|body| body.to_string().into());
        let answer = match waiting {
            WaitMode::Begin => self.api.call(method, path, version, body).await,
            WaitMode::Finish => {
                let api = &self.api;
                api.call_and_wait(method, path, version, body, PATIENCE)
                    .await
            }
        };
        self.read(answer, what)
    }

    fn read(&self, answer: Result<ApiAnswer, Error>, what: &str) -> anyhow::Result<Value> {
        let answer = answer.map_err(|error| self.explain(&error, what))?;
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        answer.json().map_err(|error| self.explain(&error, what))
    }

    /// The data plane of an instance, where its routes are: at `url`, or where the instance says.
    pub(crate) fn routes(&self, url: Option<&str>, instance: &Value) -> anyhow::Result<Self> {
        let (url, http) = match url {
            Some(url) => {
                let address: ServerAddress = url.parse().context("--routes-url")?;
                (address.url(), self.http.to(&address))
            }
            None => (routes_url(self.api.base(), instance)?, self.http.clone()),
        };
        let parsed = Url::parse(&url).context("--routes-url")?;
        let plain = parsed.scheme() != "https" && !is_local(&parsed);
        if plain && self.tokens.is_some() && parsed.origin() != self.api.base().origin() {
            bail!("use https:// for the routes: the token must not go to {url} in the clear");
        }
        let api = http.api(&url, ROUTES_SCOPE, self.tokens.as_ref());
        Ok(Self {
            api: api.context("--routes-url")?,
            subscription: self.subscription.clone(),
            tokens: self.tokens.clone(),
            http,
        })
    }
}

fn is_absent(status: u16, code: &str) -> bool {
    // Device Provisioning Service has numbers for codes.
    status == 404 && (code.ends_with("NotFound") || code.starts_with("404"))
}

/// `hostName` has no scheme: clients put `https://` before it. A twinroute that is asked over plain HTTP
/// names its own address there.
fn routes_url(base: &Url, instance: &Value) -> anyhow::Result<String> {
    let host = instance["properties"]["hostName"].as_str();
    let host = host.unwrap_or_default();
    let host = host.strip_prefix("https://").unwrap_or(host);
    let host = host.trim_end_matches('/');
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]/".contains(&byte);
    if host.is_empty() {
        bail!("wait until the instance is provisioned: it has no address for routes yet");
    }
    if !host.bytes().all(legal) {
        bail!("say where the routes are with --routes-url: the instance's hostName is no host");
    }
    let own = base.host_str().map(|own| match base.port() {
        Some(port) => format!("{own}:{port}"),
        None => own.to_owned(),
    });
    let authority = host.split('/').next();
    let scheme = match authority {
        Some(authority) if own.as_deref() == Some(authority) => base.scheme(),
        _ => "https",
    };
    Ok(format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn routes_are_where_the_instance_says() {
        let check = |base: &str, host: &str, expect: &str| {
            let instance = json!({ "properties": { "hostName": host } });
            let url = routes_url(&Url::parse(base).unwrap(), &instance);
            let url = url.unwrap_or_else(|error| error.to_string());
            assert!(url.starts_with(expect), "{url}");
        };
        let azure = "x.api.eus.digitaltwins.azure.net";
        check(
            "https://management.azure.com",
            azure,
            &format!("https://{azure}"),
        );
        check(
            "https://management.azure.com",
            &format!("https://{azure}/"),
            &format!("https://{azure}"),
        );
        let local = "127.0.0.1:8083/instances/lab";
        check("http://127.0.0.1:8083", local, &format!("http://{local}"));
        check(
            "https://localhost:8443",
            "localhost:8443",
            "https://localhost:8443",
        );
        check(
            "http://127.0.0.1:8083",
            "evil.example",
            "https://evil.example",
        );
        check("http://127.0.0.1:8083", "a@b", "say where the routes are");
        check("http://127.0.0.1:8083", "", "wait until the instance");
    }

    #[test]
    fn what_is_not_there_is_reported_by_its_code() {
        assert!(is_absent(404, "ResourceNotFound") && is_absent(404, "404001"));
        // A web server that is no management API.
        assert!(!is_absent(404, ""));
        assert!(!is_absent(400, "ResourceNotFound"));
    }
}
