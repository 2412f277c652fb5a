//! Wiring: the sockets of each server, with TLS and without, and who is let in there.

use crate::cli::exit;
use crate::config::{Config, LoadedConfig};
use anyhow::Context as _;
use std::sync::Arc;
use twinroute_listen::access::{AccessGate, AccessSettings};
use twinroute_listen::development;
use twinroute_listen::{
    CertificateStatus, IpRule, IpRules, ListenAddress, ListeningSocket, MutualTlsSettings,
    PrivateSettings, PrivateWay, ServerTls, SocketSettings,
};
use twinroute_model::clock::{Clock as _, SystemClock};
use twinroute_model::instance::Instance;
use twinroute_model::name::InstanceName;
use twinroute_outgoing::OutgoingConnections;

/// A server as its table of the configuration says.
pub(crate) struct ConfiguredServer<'a> {
    table: &'static str,
    listen: &'a [ListenAddress],
    listen_tls: &'a [ListenAddress],
    private: &'a [PrivateSettings],
    ip_rules: &'a [IpRule],
    sockets: SocketSettings,
    tls: Option<MutualTlsSettings>,
    access: &'a AccessSettings,
}

impl<'a> ConfiguredServer<'a> {
    pub(crate) fn ingress(config: &'a Config) -> Self {
        let settings = &config.ingress;
        Self {
            table: "ingress",
            listen: &settings.listen,
            listen_tls: &settings.listen_tls,
            private: &settings.private,
            ip_rules: &settings.ip_rules,
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
            private: &[],
            ip_rules: &settings.ip_rules,
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
            private: &settings.private,
            ip_rules: &settings.ip_rules,
            sockets: settings.sockets(),
            tls: settings.tls.clone(),
            access: &settings.access,
        }
    }

    /// Who may ask; the keys of an identity provider are fetched as `outgoing` says. Blocks on the file system.
    pub(crate) fn gate(
        &self,
        loaded: &LoadedConfig,
        outgoing: &OutgoingConnections,
    ) -> anyhow::Result<AccessGate> {
        let mut access = self.access.clone();
        for token in &mut access.tokens {
            token.token_file = token.token_file.as_deref().map(|file| loaded.path(file));
        }
        let gate = AccessGate::with_outgoing(&access, Arc::new(SystemClock), outgoing);
        gate.map_err(|error| {
            let files = access.tokens.iter();
            let files = files.filter_map(|token| token.token_file.as_deref());
            let error = anyhow::Error::from(error).context(format!("[{}]", self.table));
            exit::about_files(format!("{error:#}"), files)
        })
    }

    /// Opens the listeners, those with TLS and those of private endpoint connections too; the public ones come
    /// first. Blocks on the file system.
    pub(crate) fn open(&self, loaded: &LoadedConfig) -> anyhow::Result<Vec<ListeningSocket>> {
        let asked = self.private.iter().any(|one| !one.listen_tls.is_empty());
        let tls = if asked || !self.listen_tls.is_empty() {
            Some(self.tls(loaded)?)
        } else {
            None
        };
        let bind = |plain, secure| self.bind(plain, secure, tls.as_ref());
        let mut listeners = bind(self.listen, self.listen_tls)?;
        for private in self.private {
            let name = private.instance.as_ref();
            let name = name.unwrap_or(&loaded.config.instance);
            let way = PrivateWay::new(InstanceName::new(name)?, &private.connection);
            let bound = bind(&private.listen, &private.listen_tls)?;
            let each = bound.into_iter();
            listeners.extend(each.map(|listener| listener.with_private(&way)));
        }
        if self.ip_rules.is_empty() {
            return Ok(listeners);
        }
        let rules = IpRules::new(self.ip_rules, self.table);
        let listeners = listeners.into_iter();
        Ok(listeners
            .map(|listener| listener.with_rules(&rules))
            .collect())
    }

    fn bind(
        &self,
        plain: &[ListenAddress],
        secure: &[ListenAddress],
        tls: Option<&ServerTls>,
    ) -> anyhow::Result<Vec<ListeningSocket>> {
        let mut listeners = ListeningSocket::bind_all(plain, &self.sockets)?;
        for listener in ListeningSocket::bind_all(secure, &self.sockets)? {
            let tls = tls.context("listen_tls has no certificate")?;
            listeners.push(listener.with_tls(tls));
        }
        Ok(listeners)
    }

    fn tls(&self, loaded: &LoadedConfig) -> anyhow::Result<ServerTls> {
        let files = match &self.tls {
            Some(files) => MutualTlsSettings {
                certificate: loaded.path(&files.certificate),
                key: loaded.path(&files.key),
                client_ca: files.client_ca.as_deref().map(|file| loaded.path(file)),
            },
            None => development(loaded, self.table)?,
        };
        ServerTls::load_mutual(&files).with_context(|| format!("[{}] tls", self.table))
    }
}

/// Warnings about private listeners whose connection no definition names: they answer nobody.
pub(crate) fn unnamed(config: &Config, instances: &[Instance]) -> Vec<String> {
    let servers = [
        ConfiguredServer::ingress(config),
        ConfiguredServer::management(config),
    ];
    let all = servers.iter().flat_map(|server| {
        let each = server.private.iter();
        each.map(move |private| (server.table, private))
    });
    let warning = |(table, private): (&str, &PrivateSettings)| {
        let (name, connection) = (private.instance.as_ref(), &private.connection);
        let name = name.unwrap_or(&config.instance);
        let mut same = instances
            .iter()
            .filter(|instance| instance.name.as_str().eq_ignore_ascii_case(name));
        let named = same.any(|instance| instance.network.connection(connection).is_some());
        (!named).then(|| {
            format!(
                "[{table}]: no definition names the private endpoint connection {name}/{connection}, so its \
                 listeners answer nobody"
            )
        })
    };
    all.filter_map(warning).collect()
}

pub(crate) fn warn_of_unnamed(config: &Config, instances: &[Instance]) {
    for warning in unnamed(config, instances) {
        tracing::warn!(warning, "warning about private listeners");
    }
}

/// Tells when the certificates of the servers `ingress`, `admin` and `management` end.
pub(crate) fn certificates(
    servers: [&[ListeningSocket]; 3],
) -> impl Fn() -> Vec<CertificateStatus> + Send + Sync + use<> {
    let tables = ["ingress", "admin", "management"];
    // The listeners of a server share one.
    let shared =
        |listeners: &[ListeningSocket]| listeners.iter().find_map(ListeningSocket::tls).cloned();
    let known = servers.map(shared);
    move || {
        let now = SystemClock.now();
        let known = tables.iter().zip(&known);
        let ends = known.filter_map(|(table, tls)| Some((table, tls.as_ref()?.ends())));
        ends.flat_map(|(table, ends)| ends.into_iter().map(|end| end.status(table, now)))
            .collect()
    }
}

/// One certificate for all servers, so that one CA file makes a client trust each of them.
fn development(loaded: &LoadedConfig, table: &'static str) -> anyhow::Result<MutualTlsSettings> {
    let folder = loaded.store_folder().join("tls");
    let names = &loaded.config.management.tls_names;
    let made = development::certificates(&folder, names).with_context(|| format!("[{table}]"))?;
    tracing::info!(table, ca = %made.ca.display(),
        "HTTPS with a certificate for development; clients trust it by this CA file");
    Ok(made.tls.into())
}

/// Addresses that two listeners are to be bound to. Blocks nothing: only the configuration is compared.
pub(crate) fn taken_twice(config: &Config) -> Vec<String> {
    let (ingress, admin, management) = (&config.ingress, &config.admin, &config.management);
    let lists = [
        ("[ingress] listen", &ingress.listen),
        ("[ingress] listen_tls", &ingress.listen_tls),
        ("[admin] listen", &admin.listen),
        ("[admin] listen_tls", &admin.listen_tls),
        ("[management] listen", &management.listen),
        ("[management] listen_tls", &management.listen_tls),
    ];
    let all: Vec<(&str, &ListenAddress)> = lists
        .into_iter()
        .flat_map(|(key, list)| list.iter().map(move |address| (key, address)))
        .collect();
    let mut errors = Vec::new();
    for (place, (key, address)) in all.iter().enumerate() {
        let before = all[..place]
            .iter()
            .find(|(_, other)| collide(address, other));
        if let Some((other_key, other)) = before {
            errors.push(format!(
                "{key}: {address} is taken by {other_key} ({other}); give each another port or path"
            ));
        }
    }
    errors
}

fn collide(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
            let is_everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
            let is_one = one.ip() == other.ip() || is_everywhere;
            // Port 0 is another one each time.
            one.port() != 0 && one.port() == other.port() && is_one
        }
        (ListenAddress::Unix(one), ListenAddress::Unix(other)) => one == other,
        _ => false,
    }
}
