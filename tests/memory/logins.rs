//! Token services, key vaults and the keys of identity providers.

use super::hostile::{ANSWERS, HostileServer};
use super::{COST_BYTES_MAX, cost, outgoing, together};
use async_trait::async_trait;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, Url};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::sync::Arc;
use std::time::Duration;
use twinroute_credential::key_vault::{KeyVault, KeyVaultSettings};
use twinroute_credential::login::LoginMethod;
use twinroute_credential::token::TokenSource;
use twinroute_listen::access::{AccessGate, AccessSettings};
use twinroute_model::clock::{Clock, SystemClock};

/// Stands in the place of every host: names of Azure, and addresses of a virtual machine.
#[derive(Debug)]
struct Everywhere {
    http: Arc<dyn HttpClient>,
    url: Url,
}

#[async_trait]
impl HttpClient for Everywhere {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut led = Request::new(self.url.clone(), request.method());
        led.set_body(request.body().clone());
        self.http.execute_request(&led).await
    }
}

pub(crate) async fn attack() {
    for answer in ANSWERS {
        let server = HostileServer::start(answer).await;
        let everywhere: Arc<dyn HttpClient> = Arc::new(Everywhere {
            http: Arc::new(outgoing().http().build().unwrap()),
            url: Url::parse(&server.url()).unwrap(),
        });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        for (whom, login) in [
            (
                "identity service",
                LoginMethod::ManagedIdentity { client_id: None },
            ),
            (
                "Entra",
                LoginMethod::ClientSecret {
                    tenant_id: "t".to_owned(),
                    client_id: "c".to_owned(),
                    secret: "s3cret".into(),
                    authority: None,
                },
            ),
        ] {
            let tokens = TokenSource::new(login, Arc::clone(&everywhere), Arc::clone(&clock));
            let name = format!("{whom}: {} without end", answer.name);
            let ask = |number| ask(tokens.clone(), number);
            cost(&name, COST_BYTES_MAX, together(ask)).await;
        }
        let tokens = TokenSource::fixed("t".into(), Arc::clone(&clock));
        let settings = KeyVaultSettings::new("https://vault.example");
        let vault = KeyVault::new(settings, tokens, Arc::clone(&everywhere), clock);
        let name = format!("key vault: {} without end", answer.name);
        let look =
            async { drop(tokio::time::timeout(Duration::from_millis(800), vault.run()).await) };
        cost(&name, COST_BYTES_MAX, look).await;
        provider(&server, answer.name).await;
    }
}

/// Each scope is asked for on its own, so that all are under way at a time. They go on in the background for longer
/// than their callers wait.
async fn ask(tokens: TokenSource, number: usize) {
    let scope = format!("https://{number}.example/.default");
    drop(tokio::time::timeout(Duration::from_millis(800), tokens.token(&scope)).await);
}

/// The keys and the metadata of an identity provider.
async fn provider(server: &HostileServer, answer: &str) {
    for place in ["jwks_uri", "openid_configuration"] {
        let text = format!(
            "[jwt]\nissuer = 'https://i.example'\naudience = ['a']\n{place} = '{}/keys'\nread = ['R']\n",
            server.url()
        );
        let settings: AccessSettings = toml::from_str(&text).unwrap();
        let gate =
            AccessGate::with_outgoing(&settings, Arc::new(SystemClock), &outgoing()).unwrap();
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = format!(
            "Bearer {}.{}.{}",
            part(r#"{"alg":"RS256","kid":"k"}"#),
            part(r#"{"iss":"https://i.example","aud":"a","exp":9999999999}"#),
            part(&"s".repeat(256))
        );
        let token = http::HeaderValue::try_from(token).unwrap();
        let name = format!("identity provider, {place}: {answer} without end");
        let admitted = gate.admit(Some(&token));
        let admit =
            async { drop(tokio::time::timeout(Duration::from_millis(800), admitted).await) };
        cost(&name, COST_BYTES_MAX, admit).await;
    }
}
