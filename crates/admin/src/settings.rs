//! The TOML table `[admin]`.

use serde::Deserialize;
use std::time::Duration;
use twinroute_listen::access::AccessSettings;
use twinroute_listen::{
    HttpLimits, IpRule, ListenAddress, MutualTlsSettings, SocketMode, SocketSettings,
};

/// Who is warned for longer stops to listen.
const EXPIRY_WARNING_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Endpoints with metrics of their own, at most: some 100 MB a scrape.
const METRICS_ENDPOINTS_MAX: usize = 100_000;

/// Where the operational API is served.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where to listen for plain HTTP; nowhere when empty.
    pub listen: Vec<ListenAddress>,
    /// Where to listen for HTTPS; nowhere when empty.
    pub listen_tls: Vec<ListenAddress>,
    /// From which addresses connections are taken, on all TCP listeners.
    pub ip_rules: Vec<IpRule>,
    /// The certificate, and whose clients get a connection.
    pub tls: Option<MutualTlsSettings>,
    /// Who may ask, and for what; not looked at on unix sockets.
    pub access: AccessSettings,
    /// Whether listeners that other machines reach take changes too, where `access` is empty.
    pub allow_changes: bool,
    /// How long before its end a credential or a certificate is warned about.
    #[serde(with = "humantime_serde")]
    pub expiry_warning: Duration,
    /// Endpoints that have metrics of their own; those beyond count together.
    pub metrics_endpoints_max: usize,
    /// Permissions of unix sockets.
    pub unix_mode: SocketMode,
    /// Limits of the server.
    pub limits: HttpLimits,
}

/// On which listeners changes are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeListeners {
    /// On those that only this machine reaches: loopback and unix sockets.
    Local,
    /// On all.
    Everywhere,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::Tcp(([127, 0, 0, 1], 8081).into())],
            listen_tls: Vec::new(),
            ip_rules: Vec::new(),
            tls: None,
            access: AccessSettings::default(),
            allow_changes: false,
            expiry_warning: Duration::from_secs(7 * 24 * 60 * 60),
            metrics_endpoints_max: 500,
            unix_mode: SocketMode::default(),
            limits: HttpLimits::default(),
        }
    }
}

impl Settings {
    /// Checks what types cannot. Returns warnings.
    ///
    /// # Errors
    /// The first value that cannot be used, by its key.
    pub fn check(&self) -> Result<Vec<String>, String> {
        if self.expiry_warning > EXPIRY_WARNING_MAX {
            return Err("expiry_warning must be 0s to 90d".to_owned());
        }
        if self.metrics_endpoints_max > METRICS_ENDPOINTS_MAX {
            return Err("metrics_endpoints_max must be 0 to 100000".to_owned());
        }
        self.limits
            .check()
            .map_err(|rule| format!("limits.{rule}"))?;
        self.access
            .check()
            .map_err(|rule| format!("access.{rule}"))?;
        let listened = self.listen.iter().chain(&self.listen_tls);
        let mut warnings = IpRule::check(&self.ip_rules, listened)?;
        let plain = self.listen.iter().filter(|address| !address.is_local());
        if self.access.is_configured() {
            warnings.extend(plain.map(in_the_clear));
            return Ok(warnings);
        }
        let asks_for_certificates = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let tls = self.listen_tls.iter();
        let tls = tls.filter(|address| !address.is_local() && !asks_for_certificates);
        warnings.extend(plain.chain(tls).map(|address| self.open(address)));
        Ok(warnings)
    }

    fn open(&self, address: &ListenAddress) -> String {
        let more = if self.allow_changes {
            " and lets them pause and purge endpoints and replay dead letters"
        } else {
            ""
        };
        format!(
            "{address} shows status, metrics and the events of dead letters to everybody who reaches \
             it{more}"
        )
    }

    /// On which listeners changes are taken.
    #[must_use]
    pub fn changes(&self) -> ChangeListeners {
        if self.allow_changes {
            ChangeListeners::Everywhere
        } else {
            ChangeListeners::Local
        }
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

fn in_the_clear(address: &ListenAddress) -> String {
    format!("{address} accepts tokens over plain HTTP from other machines; use listen_tls")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_sockets_are_warned_about() {
        let settings: Settings =
            toml::from_str("listen = [\"[::]:8081\", \"127.0.0.1:1\"]").unwrap();
        let warning = "[::]:8081 shows status, metrics and the events of dead letters to everybody \
                       who reaches it";
        assert_eq!(settings.check(), Ok(vec![warning.to_owned()]));
        let open = Settings {
            allow_changes: true,
            ..settings
        };
        let more = " and lets them pause and purge endpoints and replay dead letters";
        assert_eq!(open.check(), Ok(vec![format!("{warning}{more}")]));
        assert_eq!(open.changes(), ChangeListeners::Everywhere);
        assert_eq!(Settings::default().check(), Ok(vec![]));
        assert_eq!(Settings::default().changes(), ChangeListeners::Local);
    }

    #[test]
    fn warnings_come_days_before_and_not_years() {
        let settings: Settings = toml::from_str("expiry_warning = \"30d\"").unwrap();
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(settings.expiry_warning, 30 * day);
        assert_eq!(Settings::default().expiry_warning, 7 * day);
        let long: Settings = toml::from_str("expiry_warning = \"1y\"").unwrap();
        let rule = "expiry_warning must be 0s to 90d".to_owned();
        assert_eq!(long.check(), Err(rule));
    }

    #[test]
    fn who_is_asked_for_something_is_not_warned_about() {
        let check = |text: &str| toml::from_str::<Settings>(text).unwrap().check();
        let open = "listen = []\nlisten_tls = [\"0.0.0.0:8443\"]\n";
        assert_eq!(check(open).unwrap().len(), 1);
        let files = "certificate = \"c\"\nkey = \"k\"";
        let mutual = format!("{open}[tls]\n{files}\nclient_ca = \"ca\"");
        assert_eq!(check(&mutual), Ok(vec![]));
        let tokens = "[access]\ntokens = [{ name = \"a\", role = \"read\", token_env = \"A\" }]";
        assert_eq!(check(&format!("{open}{tokens}")), Ok(vec![]));
        let clear = "0.0.0.0:1 accepts tokens over plain HTTP from other machines; use listen_tls";
        let plain = format!("listen = [\"0.0.0.0:1\"]\n{tokens}");
        assert_eq!(check(&plain), Ok(vec![clear.to_owned()]));
        let wrong = "[access]\ntokens = [{ name = \"a\", role = \"read\" }]";
        let error = check(wrong).unwrap_err();
        assert!(error.starts_with("access.tokens[0].token_file"), "{error}");
    }
}
