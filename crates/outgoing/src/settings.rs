//! The table `[outgoing]`.

use crate::proxy::{ProxyAddress, ProxyExemption};
use serde::Deserialize;
use std::path::PathBuf;
use twinroute_model::secret::Secret;

/// Files that `ca_files` may name.
const FILES_MAX: usize = 64;
/// Entries of `no_proxy`.
const EXEMPT_MAX: usize = 256;

/// How connections to others are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// PEM files of authorities that are trusted beside the machine's.
    pub ca_files: Vec<PathBuf>,
    /// Whether `ca_files` are trusted and nothing else.
    pub ca_only: bool,
    /// `http://[user:password@]host[:port]`, or `https://` where the proxy itself speaks TLS; in place of
    /// `HTTPS_PROXY`.
    pub proxy: Option<Secret>,
    /// Where no proxy is used, as `NO_PROXY` has it; in place of that variable.
    pub no_proxy: Vec<String>,
}

impl Settings {
    /// Checks what types cannot, but reads no file.
    ///
    /// # Errors
    /// The first value that cannot be used, by its key; never the proxy's address, which may hold a
    /// password.
    pub fn check(&self) -> Result<(), String> {
        if self.ca_only && self.ca_files.is_empty() {
            return Err("ca_only needs ca_files: nothing would be trusted".to_owned());
        }
        if self.ca_files.len() > FILES_MAX {
            return Err(format!("ca_files must name at most {FILES_MAX} files"));
        }
        if let Some(proxy) = &self.proxy {
            ProxyAddress::parse(proxy.expose()).map_err(|rule| format!("proxy {rule}"))?;
        }
        if self.no_proxy.len() > EXEMPT_MAX {
            return Err(format!("no_proxy must have at most {EXEMPT_MAX} entries"));
        }
        for entry in &self.no_proxy {
            ProxyExemption::parse(entry).map_err(|rule| format!("no_proxy: {entry:?} {rule}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_checked_by_its_key_and_no_password_is_shown() {
        let check = |text: &str, expect: &str| {
            let settings: Settings = toml::from_str(text).unwrap();
            let error = settings.check().unwrap_err();
            assert!(error.starts_with(expect), "{error}");
            assert!(!format!("{error} {settings:?}").contains("s3cret"));
        };
        check("ca_only = true", "ca_only needs ca_files");
        check("proxy = 'socks5://u:s3cret@h'", "proxy must be http://");
        check("proxy = 'http://u:s3cret@'", "proxy must be http://");
        check("proxy = 'http://u:s3cret@h/path'", "proxy must be http://");
        check(
            "proxy = 'http://u:s3%0Acret@h'",
            "proxy has a name or password",
        );
        check("no_proxy = ['a b']", "no_proxy: \"a b\" must be a host");
        assert_eq!(Settings::default().check(), Ok(()));
    }
}
