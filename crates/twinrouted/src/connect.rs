//! Wiring: what makes the sinks of endpoints and the containers of their dead letters, as the library does.

use twinroute::azure::{Azure, AzureConnect};
use twinroute_credential::login::LoginMethod;
use twinroute_outgoing::OutgoingConnections;

/// Endpoints with an identity log in as `login`; without one they wait. `event_bytes_max` bounds the blobs that are read.
///
/// # Errors
/// When no HTTP client can be made.
pub(crate) fn azure_connect(
    login: Option<LoginMethod>,
    outgoing: &OutgoingConnections,
    event_bytes_max: usize,
) -> anyhow::Result<AzureConnect> {
    let azure = match login {
        None => Azure::default().without_login(),
        Some(login) => Azure::default().login(login),
    };
    let azure = azure.outgoing(outgoing.clone());
    Ok(azure.event_bytes_max(event_bytes_max).into_connector()?)
}
