//! The options that name a management API, and how they become a client.

use super::client::{ClientFactory, ManagementClient};
use super::error_text::not_listening;
use crate::cli::address::ServerAddress;
use crate::cli::client_certificate::ClientCertificateOptions;
use crate::cli::output;
use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::Url;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use twinroute_arm::api::is_local;
use twinroute_arm::http;
use twinroute_credential::login::LoginMethod;
use twinroute_credential::token::TokenSource;
use twinroute_model::clock::{Clock, SystemClock};
use twinroute_model::secret::Secret;
use twinroute_outgoing::OutgoingConnections;

const MANAGEMENT_SCOPE: &str = "https://management.azure.com/.default";

/// How long a server on this machine may take to be there.
const KNOCK: Duration = Duration::from_secs(5);

/// Whom to ask, and as whom.
#[derive(Args, Debug)]
#[command(next_help_heading = "Management API")]
pub(crate) struct ServerOptions {
    /// Where it is: https://management.azure.com, or a twinroute's address: `localhost:8083`,
    /// `https://router.example:8443`, `unix:/run/twinroute-management.sock`.
    #[arg(
        long,
        value_name = "URL",
        env = "TWINROUTE_MANAGEMENT_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8083"
    )]
    management_url: String,
    /// The subscription: a GUID.
    #[arg(
        long,
        value_name = "GUID",
        env = "TWINROUTE_SUBSCRIPTION",
        hide_env_values = true,
        default_value = "00000000-0000-0000-0000-000000000000"
    )]
    subscription: String,
    /// Sends the token in this environment variable; without any of these options, none is sent.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["token_file", "azure_cli"])]
    token_env: Option<String>,
    /// Sends the token in this file.
    #[arg(long, value_name = "FILE", conflicts_with = "azure_cli")]
    token_file: Option<PathBuf>,
    /// Asks as whoever `az login` logged in.
    #[arg(long)]
    azure_cli: bool,
    /// Certificates (PEM) that are trusted beside the machine's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    #[command(flatten)]
    client_certificate: ClientCertificateOptions,
    /// Prints JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

impl ServerOptions {
    /// Makes a client. Asks nothing yet, but whether a server on this machine is there at all.
    pub(crate) async fn client(&self) -> anyhow::Result<ManagementClient> {
        let outgoing = OutgoingConnections::of_environment()?;
        let outgoing = match &self.ca_file {
            Some(path) => outgoing.with_ca_file(path)?,
            None => outgoing,
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        // Logins go to others than who is to see the certificate.
        let tokens = self.tokens(&outgoing, &clock)?;
        let address: ServerAddress = self.management_url.parse().context("--management-url")?;
        let certificate = self
            .client_certificate
            .read(&self.management_url, address.wire())?;
        let outgoing = match certificate {
            Some(certificate) => outgoing.with_client_certificate(certificate),
            None => outgoing,
        };
        let connections = ClientFactory {
            outgoing,
            clock,
            socket: None,
        };
        let connections = connections.to(&address);
        let api = connections.api(&address.url(), MANAGEMENT_SCOPE, tokens.as_ref());
        let api = api.context("--management-url")?;
        self.check_wire(api.base())?;
        match &address {
            ServerAddress::Unix(path) => knock_socket(path, &address).await?,
            ServerAddress::Url(_) => knock(api.base()).await?,
        }
        Ok(ManagementClient {
            api,
            subscription: self.subscription.clone(),
            tokens,
            http: connections,
        })
    }

    fn tokens(
        &self,
        outgoing: &OutgoingConnections,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Option<TokenSource>> {
        let clock = Arc::clone(clock);
        if let Some(name) = &self.token_env {
            let token = std::env::var(name).ok().filter(|token| !token.is_empty());
            let Some(token) = token else {
                bail!("set the environment variable {name}, which --token-env names");
            };
            return Ok(Some(TokenSource::fixed(Secret::pasted(&token), clock)));
        }
        let login = match (&self.token_file, self.azure_cli) {
            (Some(path), _) => LoginMethod::TokenFile(path.clone()),
            (None, true) => LoginMethod::AzureCli { tenant_id: None },
            (None, false) => return Ok(None),
        };
        let http = http::client(outgoing, None)?;
        Ok(Some(TokenSource::new(login, Arc::new(http), clock)))
    }

    /// A token goes in the clear only where it cannot leave the machine, or where the user made it.
    fn check_wire(&self, base: &Url) -> anyhow::Result<()> {
        if base.scheme() == "https" || is_local(base) {
            return Ok(());
        }
        if self.azure_cli {
            bail!(
                "use https:// in --management-url: Entra tokens do not go over the network in the clear"
            );
        }
        if self.token_env.is_some() || self.token_file.is_some() {
            output::error_line(format_args!(
                "warning: {base} is http://: the token can be read on the way"
            ));
        }
        Ok(())
    }
}

/// A server on this machine that is not there is reported at once, not after the repetitions of a call.
async fn knock(base: &Url) -> anyhow::Result<()> {
    if !is_local(base) {
        return Ok(());
    }
    let host = base.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = base.port_or_known_default().unwrap_or_default();
    match timeout(KNOCK, TcpStream::connect((host, port))).await {
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            let url = base.as_str().trim_end_matches('/');
            Err(not_listening(url))
        }
        // Whatever else there is, the call tells.
        _ => Ok(()),
    }
}

/// As [`knock`], at a unix socket.
async fn knock_socket(path: &Path, address: &ServerAddress) -> anyhow::Result<()> {
    match timeout(KNOCK, UnixStream::connect(path)).await {
        Ok(Err(error))
            if matches!(
                error.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::NotFound
            ) =>
        {
            Err(not_listening(&address.to_string()))
        }
        _ => Ok(()),
    }
}
