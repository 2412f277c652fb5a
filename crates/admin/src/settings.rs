//! The TOML table `[admin]`.

use serde::Deserialize;
use twinroute_listen::{Address, Limits, SocketMode, SocketSettings};

/// Where the operational API is served.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where to listen; nowhere when empty.
    pub listen: Vec<Address>,
    /// Whether listeners that other machines reach take changes too.
    pub allow_changes: bool,
    /// Permissions of unix sockets.
    pub unix_mode: SocketMode,
    /// Limits of the server.
    pub limits: Limits,
}

/// On which listeners changes are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// On those that only this machine reaches: loopback and unix sockets.
    Local,
    /// On all.
    Everywhere,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![Address::Tcp(([127, 0, 0, 1], 8081).into())],
            allow_changes: false,
            unix_mode: SocketMode::default(),
            limits: Limits::default(),
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
        let remote = self.listen.iter().filter(|address| !address.is_local());
        Ok(remote
            .map(|address| {
                let more = if self.allow_changes {
                    " and lets them pause and purge endpoints and replay dead letters"
                } else {
                    ""
                };
                format!(
                    "{address} shows status, metrics and the events of dead letters to everybody \
                     who reaches it{more}"
                )
            })
            .collect())
    }

    /// On which listeners changes are taken.
    #[must_use]
    pub fn changes(&self) -> Changes {
        if self.allow_changes {
            Changes::Everywhere
        } else {
            Changes::Local
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
        assert_eq!(open.changes(), Changes::Everywhere);
        assert_eq!(Settings::default().check(), Ok(vec![]));
        assert_eq!(Settings::default().changes(), Changes::Local);
    }
}
