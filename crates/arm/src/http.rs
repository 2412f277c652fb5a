//! HTTP clients for management APIs and for logins.

use reqwest::Client;
use std::path::Path;
use twinroute_outgoing::{Error, OutgoingConnections};

/// Idle connections that are kept for a host; requests come one by one.
const IDLE_CONNECTIONS_MAX: usize = 4;

/// A client that connects as `outgoing` says and, beside what that trusts, trusts the certificates in
/// `ca_file` (PEM).
///
/// It follows no redirects, so that no token goes where it was not meant to. Blocks on the file system.
///
/// # Errors
/// [`Error`].
pub fn client(outgoing: &OutgoingConnections, ca_file: Option<&Path>) -> Result<Client, Error> {
    let http = match ca_file {
        Some(path) => outgoing.with_ca_file(path)?.http(),
        None => outgoing.http(),
    };
    http.user_agent(concat!("twinroute/", env!("CARGO_PKG_VERSION")))
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .build()
        .map_err(Error::Client)
}
