//! Wiring: the sockets of each server, with TLS and without, and who is let in there.

use crate::config::{Config, Loaded};
use crate::serving;
use anyhow::Context as _;
use rustls::ClientConfig;
use std::sync::Arc;
use twinroute_listen::access::{AccessSettings, Gate};
use twinroute_listen::development;
use twinroute_listen::{Address, Listener, MutualTlsSettings, SocketSettings, Tls};
use twinroute_model::clock::SystemClock;

/// A server as its table of the configuration says.
pub(crate) struct Server<'a> {
    table: &'static str,
    listen: &'a [Address],
    listen_tls: &'a [Address],
    sockets: SocketSettings,
    tls: Option<MutualTlsSettings>,
    access: &'a AccessSettings,
}

impl<'a> Server<'a> {
    pub(crate) fn ingress(config: &'a Config) -> Self {
        let settings = &config.ingress;
        Self {
            table: "ingress",
            listen: &settings.listen,
            listen_tls: &settings.listen_tls,
            sockets: settings.sockets(),
            tls: settings.tls.clone(),
            access: &settings.access,
        }
    }

    pub(crate) fn admin(config: &'a Config) -> Self {
        let settings = &config.admin;
        Self {
            table: "admin",
            listen: &settings.listen,
            listen_tls: &settings.listen_tls,
            sockets: settings.sockets(),
            tls: settings.tls.clone(),
            access: &settings.access,
        }
    }

    pub(crate) fn management(config: &'a Config) -> Self {
        let settings = &config.management;
        Self {
            table: "management",
            listen: &settings.listen,
            listen_tls: &settings.listen_tls,
            sockets: settings.sockets(),
            tls: settings.tls.clone().map(Into::into),
            access: &settings.access,
        }
    }

    /// Who may ask; the keys of an identity provider are fetched with `trust`. Blocks on the file system.
    pub(crate) fn gate(&self, loaded: &Loaded, trust: &ClientConfig) -> anyhow::Result<Gate> {
        let mut access = self.access.clone();
        for token in &mut access.tokens {
            token.token_file = token.token_file.as_deref().map(|file| loaded.path(file));
        }
        let gate = Gate::new(&access, Arc::new(SystemClock), trust);
        gate.with_context(|| format!("[{}]", self.table))
    }

    /// Opens the listeners, those with TLS too. Blocks on the file system.
    pub(crate) fn open(&self, loaded: &Loaded) -> anyhow::Result<Vec<Listener>> {
        let mut listeners = Listener::bind_all(self.listen, &self.sockets)?;
        if self.listen_tls.is_empty() {
            return Ok(listeners);
        }
        let tls = self.tls(loaded)?;
        for listener in Listener::bind_all(self.listen_tls, &self.sockets)? {
            listeners.push(listener.with_tls(&tls));
        }
        Ok(listeners)
    }

    fn tls(&self, loaded: &Loaded) -> anyhow::Result<Tls> {
        let files = match &self.tls {
            Some(files) => MutualTlsSettings {
                certificate: loaded.path(&files.certificate),
                key: loaded.path(&files.key),
                client_ca: files.client_ca.as_deref().map(|file| loaded.path(file)),
            },
            None => development(loaded, self.table)?,
        };
        Tls::load_mutual(&files).with_context(|| format!("[{}] tls", self.table))
    }
}

/// One certificate for all servers, so that one CA file makes a client trust each of them.
fn development(loaded: &Loaded, table: &'static str) -> anyhow::Result<MutualTlsSettings> {
    let folder = serving::folder(loaded).join("tls");
    let names = &loaded.config.management.tls_names;
    let made = development::certificates(&folder, names).with_context(|| format!("[{table}]"))?;
    tracing::info!(table, ca = %made.ca.display(),
        "HTTPS with a certificate for development; clients trust it by this CA file");
    Ok(made.tls.into())
}
