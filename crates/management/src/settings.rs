//! The TOML table `[management]`.

use serde::Deserialize;
use std::path::PathBuf;
use twinroute_listen::access::{AccessSettings, AnonymousAccess, require_configured};
use twinroute_listen::{
    HttpLimits, IpRule, ListenAddress, MutualTlsSettings, PrivateSettings, SocketMode,
    SocketSettings,
};

/// Where and how the management API is served.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where to listen for plain HTTP; nowhere when empty.
    pub listen: Vec<ListenAddress>,
    /// Where to listen for HTTPS, which the Azure SDKs insist on; nowhere when empty.
    pub listen_tls: Vec<ListenAddress>,
    /// Listeners that stand for private endpoint connections: for the paths of event routes.
    pub private: Vec<PrivateSettings>,
    /// From which addresses connections are taken, on all TCP listeners.
    pub ip_rules: Vec<IpRule>,
    /// The certificate, and whose clients get a connection; a certificate is made for development where none is
    /// set.
    pub tls: Option<MutualTlsSettings>,
    /// Names, beside localhost, that the certificate for development is for.
    pub tls_names: Vec<String>,
    /// Permissions of unix sockets.
    pub unix_mode: SocketMode,
    /// Who may ask, and for what.
    pub access: AccessSettings,
    /// Lets a socket that other machines reach be open to everybody.
    pub allow_anonymous: bool,
    /// The subscription that is shown where none is known: a GUID.
    pub subscription: String,
    /// The resource group under which definitions from files are shown.
    pub resource_group: String,
    /// The region under which they are shown.
    pub location: String,
    /// What is checked before an endpoint is `Succeeded`.
    pub provisioning_checks: ProvisioningChecks,
    /// Instances in all. Azure: 10 a region and subscription.
    pub instances_max: usize,
    /// Endpoints of one instance. Azure: 6.
    pub endpoints_max: usize,
    /// Event routes of one instance. Azure: 6.
    pub routes_max: usize,
    /// Limits of the server.
    pub limits: HttpLimits,
    /// The folder of the store, its key and certificates for development, relative to the configuration.
    pub path: PathBuf,
    /// The file of the key that the store is sealed with; `store.key` in `path` when empty, made where there is none.
    pub key_file: PathBuf,
    /// The environment variable that holds the key instead; none when empty.
    pub key_variable: String,
}

/// How thoroughly an endpoint is checked before it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProvisioningChecks {
    /// The definition, the dead-letter credential, and whether the destination answers and takes the credential.
    Destinations,
    /// The definition and the dead-letter credential alone.
    Definitions,
}

/// Bytes of a request's body. Azure takes 32 KB of a data-plane request.
const BODY_BYTES_MAX: u64 = 256 << 10;

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            listen_tls: Vec::new(),
            private: Vec::new(),
            ip_rules: Vec::new(),
            tls: None,
            tls_names: Vec::new(),
            unix_mode: SocketMode::default(),
            access: AccessSettings::default(),
            allow_anonymous: false,
            subscription: "00000000-0000-0000-0000-000000000000".to_owned(),
            resource_group: "twinroute".to_owned(),
            location: "westus2".to_owned(),
            provisioning_checks: ProvisioningChecks::Destinations,
            instances_max: 1_000,
            endpoints_max: 10_000,
            routes_max: 10_000,
            limits: HttpLimits {
                body_bytes_max: bytesize::ByteSize(BODY_BYTES_MAX),
                ..HttpLimits::default()
            },
            path: PathBuf::from("management"),
            key_file: PathBuf::new(),
            key_variable: String::new(),
        }
    }
}

impl Settings {
    /// Checks what types cannot. Returns warnings.
    ///
    /// # Errors
    /// The first value that cannot be used, by its key.
    pub fn check(&self) -> Result<Vec<String>, String> {
        self.limits
            .check()
            .map_err(|rule| format!("limits.{rule}"))?;
        if uuid::Uuid::parse_str(&self.subscription).is_err() {
            return Err(
                "subscription must be a GUID, such as 00000000-0000-0000-0000-000000000000"
                    .to_owned(),
            );
        }
        for (key, value) in [
            ("instances_max", self.instances_max),
            ("endpoints_max", self.endpoints_max),
            ("routes_max", self.routes_max),
        ] {
            if !(1..=100_000).contains(&value) {
                return Err(format!("{key} must be 1 to 100000"));
            }
        }
        self.access
            .check()
            .map_err(|rule| format!("access.{rule}"))?;
        let anonymous = if self.allow_anonymous {
            AnonymousAccess::Everywhere
        } else {
            AnonymousAccess::Local
        };
        PrivateSettings::check(&self.private)?;
        let private = self.private.iter();
        let private = private.flat_map(|private| [&private.listen, &private.listen_tls]);
        let listened: Vec<_> = [&self.listen, &self.listen_tls]
            .into_iter()
            .chain(private)
            .collect();
        let mut warnings = IpRule::check(&self.ip_rules, listened.iter().copied().flatten())?;
        for addresses in listened {
            require_configured(addresses, &self.access, anonymous)
                .map_err(|error| error.to_string())?;
        }
        let private = self.private.iter().flat_map(|private| &private.listen);
        let plain = self.listen.iter().chain(private);
        let remote = plain.filter(|address| !address.is_local());
        warnings.extend(remote.map(|address| {
            format!("{address} accepts secrets and tokens over plain HTTP from other machines; use listen_tls")
        }));
        Ok(warnings)
    }

    /// Whether it is served anywhere.
    #[must_use]
    pub fn is_served(&self) -> bool {
        !self.listen.is_empty() || !self.listen_tls.is_empty() || !self.private.is_empty()
    }

    /// How the sockets are opened.
    #[must_use]
    pub fn sockets(&self) -> SocketSettings {
        SocketSettings {
            unix_mode: self.unix_mode,
            ..SocketSettings::default()
        }
    }
}
