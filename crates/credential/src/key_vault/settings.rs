//! The TOML table `[secrets]`, and the vault that it names.

use crate::secret_field::SecretField;
use azure_core::http::Url;
use serde::Deserialize;
use std::time::Duration;

/// The audience of vaults in the public cloud.
const SCOPE: &str = "https://vault.azure.net/.default";

/// "Azure Key Vault naming": a name has at most so many characters, so a prefix has fewer.
const PREFIX_BYTES_MAX: usize = 60;

/// The TOML table `[secrets]`: where secrets come from that definitions come without, beside variables and
/// files.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretsSettings {
    /// The URL of an Azure Key Vault; none unless set.
    pub key_vault: Option<String>,
    /// As [`KeyVaultSettings::scope`].
    pub key_vault_scope: String,
    /// As [`KeyVaultSettings::prefix`].
    pub key_vault_prefix: String,
    /// As [`KeyVaultSettings::refresh`].
    #[serde(with = "humantime_serde")]
    pub key_vault_refresh: Duration,
}

impl Default for SecretsSettings {
    fn default() -> Self {
        let vault = KeyVaultSettings::new("");
        Self {
            key_vault: None,
            key_vault_scope: vault.scope,
            key_vault_prefix: vault.prefix,
            key_vault_refresh: vault.refresh,
        }
    }
}

impl SecretsSettings {
    /// The vault, where there is one.
    #[must_use]
    pub fn vault(&self) -> Option<KeyVaultSettings> {
        Some(KeyVaultSettings {
            vault: self.key_vault.clone()?,
            scope: self.key_vault_scope.clone(),
            prefix: self.key_vault_prefix.clone(),
            refresh: self.key_vault_refresh,
        })
    }
}

/// A vault and what of it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVaultSettings {
    /// Its URL, such as `https://name.vault.azure.net`.
    pub vault: String,
    /// What tokens are for; another in sovereign clouds.
    pub scope: String,
    /// What names of ours begin with, where others use the vault too.
    pub prefix: String,
    /// Between two polls: 10 s to 24 h.
    pub refresh: Duration,
}

impl KeyVaultSettings {
    /// A vault that is polled every five minutes.
    pub fn new(vault: impl Into<String>) -> Self {
        Self {
            vault: vault.into(),
            scope: SCOPE.to_owned(),
            prefix: String::new(),
            refresh: Duration::from_secs(300),
        }
    }

    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first value that cannot be used, by its key.
    pub fn check(&self) -> Result<(), String> {
        if self.base().is_none() {
            let rule = "must be https:// and a host, such as https://name.vault.azure.net";
            return Err(format!("key_vault {rule}"));
        }
        if self.scope.is_empty() {
            return Err("key_vault_scope must not be empty".to_owned());
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if self.prefix.len() > PREFIX_BYTES_MAX || !self.prefix.bytes().all(plain) {
            let rule = "must have at most 60 letters, digits and hyphens";
            return Err(format!("key_vault_prefix {rule}"));
        }
        if !(Duration::from_secs(10)..=Duration::from_secs(24 * 3600)).contains(&self.refresh) {
            return Err("key_vault_refresh must be 10s to 24h".to_owned());
        }
        Ok(())
    }

    /// The URL of the vault itself. Tokens go there, so nothing but https will do.
    pub(super) fn base(&self) -> Option<Url> {
        let url = Url::parse(&self.vault).ok()?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let plain = url.username().is_empty() && url.password().is_none();
        (url.scheme() == "https" && bare && plain).then_some(url)
    }

    /// For what a secret of this name is: the name without prefix and field in lower case, and the field.
    pub(super) fn meaning(&self, name: &str) -> Option<(String, SecretField)> {
        let head = name.get(..self.prefix.len())?;
        if !head.eq_ignore_ascii_case(&self.prefix) {
            return None;
        }
        let (key, field) = name[self.prefix.len()..].rsplit_once("--")?;
        let field = SecretField::ALL
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(field))?;
        (!key.is_empty()).then(|| (key.to_ascii_lowercase(), field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_an_endpoint_and_a_field() {
        let mut settings = KeyVaultSettings::new("https://v.vault.azure.net");
        let meaning = |settings: &KeyVaultSettings, name: &str| settings.meaning(name);
        let field = SecretField::AccessKey1;
        for (name, expect) in [
            ("Grid-1--accessKey1", Some(("grid-1".to_owned(), field))),
            (
                "main--grid-1--ACCESSKEY1",
                Some(("main--grid-1".to_owned(), field)),
            ),
            ("--accessKey1", None),
            ("grid-1--password", None),
            ("accessKey1", None),
        ] {
            assert_eq!(meaning(&settings, name), expect, "{name}");
        }
        settings.prefix = "twinroute-".to_owned();
        assert_eq!(meaning(&settings, "grid-1--accessKey1"), None);
        assert_eq!(meaning(&settings, "grid"), None);
        let prefixed = meaning(&settings, "TwinRoute-grid-1--accessKey1");
        assert_eq!(prefixed, Some(("grid-1".to_owned(), field)));
    }

    #[test]
    fn each_value_is_checked_by_its_key() {
        let good = KeyVaultSettings::new("https://v.vault.azure.net");
        assert_eq!(good.check(), Ok(()));
        let refused = |change: fn(&mut KeyVaultSettings)| {
            let mut settings = good.clone();
            change(&mut settings);
            settings.check().unwrap_err()
        };
        for (error, expect) in [
            (
                refused(|s| s.vault = "http://v".into()),
                "key_vault must be https://",
            ),
            (
                refused(|s| s.vault = "https://v/secrets".into()),
                "key_vault must be https://",
            ),
            (
                refused(|s| s.scope = String::new()),
                "key_vault_scope must not",
            ),
            (
                refused(|s| s.prefix = "a_b".into()),
                "key_vault_prefix must have",
            ),
            (
                refused(|s| s.refresh = Duration::from_secs(9)),
                "key_vault_refresh must be",
            ),
        ] {
            assert!(error.starts_with(expect), "{error}");
        }
    }
}
