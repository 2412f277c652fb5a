//! The TOML table `[azure]`: which instance is read, and as whom.

use super::super::api::{base_url, is_local};
use super::super::http;
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use twinroute_credential::login::LoginMethod;
use twinroute_credential::settings::{CredentialSettings, LoginSettings, SecretVariables};
use twinroute_credential::token::TokenSource;
use twinroute_model::clock::Clock;
use twinroute_model::name::InstanceName;
use twinroute_model::secret::Secret;
use twinroute_model::uri::RESERVED;
use twinroute_outgoing::OutgoingConnections;

/// The variable that an application's secret comes from, where no file is named.
pub const CLIENT_SECRET_VARIABLE: &str = "TWINROUTE_AZURE_CLIENT_SECRET";

/// The variable that a ready token comes from, where no file is named.
pub const TOKEN_VARIABLE: &str = "TWINROUTE_AZURE_TOKEN";

const MANAGEMENT_URL: &str = "https://management.azure.com";
const MANAGEMENT_SCOPE: &str = "https://management.azure.com/.default";
const ROUTES_SCOPE: &str = "https://digitaltwins.azure.net/.default";

const VARIABLES: SecretVariables = SecretVariables {
    client_secret: CLIENT_SECRET_VARIABLE,
    token: TOKEN_VARIABLE,
};

/// Which instance is read, where and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AzureSettings {
    /// Azure's management API, or a twinroute's.
    pub management_url: String,
    /// For which the management API's tokens are; another in sovereign clouds.
    pub management_scope: String,
    /// The subscription's id.
    pub subscription: String,
    /// The resource group's name.
    pub resource_group: String,
    /// The Azure Digital Twins instance's name.
    pub instance: String,
    /// Where the event routes are; by default `https://` and the instance's `hostName`.
    pub routes_url: Option<String>,
    /// For which the routes' tokens are; another in sovereign clouds.
    pub routes_scope: String,
    /// Between two polls: 1 s to 1 h.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
    /// Certificates (PEM) that are trusted beside the machine's.
    pub ca_file: Option<PathBuf>,
    /// How to log in; there is no default, since nothing is guessed.
    pub credential: Option<CredentialSettings>,
    /// The Entra tenant: for `client-secret` and `client-certificate`; for `workload-identity` and `azure-cli` where it is not
    /// theirs by default.
    pub tenant_id: Option<String>,
    /// The application: for `client-secret` and `client-certificate`; for `workload-identity` where its variables say otherwise;
    /// for `managed-identity` the user-assigned one.
    pub client_id: Option<String>,
    /// The file with the application's secret; else it comes from [`CLIENT_SECRET_VARIABLE`].
    pub client_secret_file: Option<PathBuf>,
    /// For `client-certificate`, the PEM file of the application's certificate and its RSA key.
    pub certificate_file: Option<PathBuf>,
    /// For `token` the file with the token, read again every minute; else it comes from
    /// [`TOKEN_VARIABLE`]. For `workload-identity` the service account's token file.
    pub token_file: Option<PathBuf>,
    /// Entra's URL in another cloud.
    pub authority: Option<String>,
    /// The folder of the secret overlay.
    pub secrets_folder: Option<PathBuf>,
}

impl Default for AzureSettings {
    fn default() -> Self {
        Self {
            management_url: MANAGEMENT_URL.to_owned(),
            management_scope: MANAGEMENT_SCOPE.to_owned(),
            subscription: String::new(),
            resource_group: String::new(),
            instance: String::new(),
            routes_url: None,
            routes_scope: ROUTES_SCOPE.to_owned(),
            poll: Duration::from_secs(30),
            ca_file: None,
            credential: None,
            tenant_id: None,
            client_id: None,
            client_secret_file: None,
            certificate_file: None,
            token_file: None,
            authority: None,
            secrets_folder: None,
        }
    }
}

impl AzureSettings {
    /// Checks what types cannot. Returns warnings.
    ///
    /// # Errors
    /// The first value that cannot be used, by its key.
    pub fn check(&self) -> Result<Vec<String>, String> {
        let Some(credential) = self.credential else {
            return Err(
                "credential is missing: managed-identity, workload-identity, client-secret, \
                        client-certificate, azure-cli or token"
                    .to_owned(),
            );
        };
        let id = |text: &str| {
            (1..=64).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if !id(&self.subscription) {
            return Err("subscription must be the subscription's id, a GUID".to_owned());
        }
        let group = |char: char| char.is_alphanumeric() || "-_().".contains(char);
        let length = self.resource_group.chars().count();
        if !(1..=90).contains(&length)
            || !self.resource_group.chars().all(group)
            || self.resource_group.ends_with('.')
        {
            return Err(
                "resource_group must have 1 to 90 letters, digits and -_(). and end in no dot"
                    .to_owned(),
            );
        }
        self.instance_name()?;
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&self.poll) {
            return Err("poll must be 1s to 1h".to_owned());
        }
        let mut warnings = Vec::new();
        self.check_url(
            "management_url",
            &self.management_url,
            credential,
            &mut warnings,
        )?;
        if let Some(url) = &self.routes_url {
            self.check_url("routes_url", url, credential, &mut warnings)?;
        }
        self.log_in().check()?;
        Ok(warnings)
    }

    /// A token goes in the clear only where it cannot leave the machine, or where the user made it.
    fn check_url(
        &self,
        key: &str,
        text: &str,
        credential: CredentialSettings,
        warnings: &mut Vec<String>,
    ) -> Result<(), String> {
        let url = base_url(text).map_err(|error| format!("{key}: {error}"))?;
        if url.scheme() == "https" || is_local(&url) {
            return Ok(());
        }
        if credential == CredentialSettings::Token {
            warnings.push(format!(
                "{key} is http://: the token can be read on the way"
            ));
            return Ok(());
        }
        Err(format!(
            "{key} must be https://: Entra tokens do not go over the network in the clear"
        ))
    }

    fn log_in(&self) -> LoginSettings {
        LoginSettings {
            credential: self.credential,
            tenant_id: self.tenant_id.clone(),
            client_id: self.client_id.clone(),
            client_secret_file: self.client_secret_file.clone(),
            certificate_file: self.certificate_file.clone(),
            token_file: self.token_file.clone(),
            authority: self.authority.clone(),
        }
    }

    /// The instance's name.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn instance_name(&self) -> Result<InstanceName, String> {
        InstanceName::new(&self.instance).map_err(|error| format!("instance: {error}"))
    }

    /// The path of the instance's resource.
    #[must_use]
    pub fn path(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.DigitalTwins/\
             digitalTwinsInstances/{}",
            encode(&self.subscription),
            encode(&self.resource_group),
            encode(&self.instance)
        )
    }

    /// How to log in; `variable` reads the environment. Blocks on the file system.
    ///
    /// # Errors
    /// What is missing, by its key, or why a file cannot be read.
    pub fn login(&self, variable: impl Fn(&str) -> Option<Secret>) -> Result<LoginMethod, String> {
        self.check()?;
        let login = self.log_in().login(VARIABLES, variable)?;
        login.ok_or_else(|| "credential is missing".to_owned())
    }

    /// Where tokens come from, with a client that fits the login. Blocks on the file system.
    ///
    /// # Errors
    /// As [`AzureSettings::login`], and when the certificates cannot be used.
    pub fn tokens(
        &self,
        variable: impl Fn(&str) -> Option<Secret>,
        clock: Arc<dyn Clock>,
        outgoing: &OutgoingConnections,
    ) -> Result<TokenSource, String> {
        let login = self.login(variable)?;
        let http = http::client(outgoing, self.ca_file.as_deref());
        let http = http.map_err(|error| format!("ca_file: {error}"))?;
        Ok(TokenSource::new(login, Arc::new(http), clock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> AzureSettings {
        AzureSettings {
            subscription: "0b1f6471-1bf0-4dda-aec3-cb9272f09590".to_owned(),
            resource_group: "my (group)".replace(' ', "_"),
            instance: "main".to_owned(),
            credential: Some(CredentialSettings::ManagedIdentity),
            ..AzureSettings::default()
        }
    }

    #[test]
    fn each_value_is_checked_by_its_key() {
        assert_eq!(good().check(), Ok(Vec::new()));
        let check = |change: fn(&mut AzureSettings), expect: &str| {
            let mut settings = good();
            change(&mut settings);
            let error = settings.check().unwrap_err();
            assert!(error.starts_with(expect), "{error}");
        };
        check(|s| s.credential = None, "credential is missing");
        check(|s| s.subscription = "a/b".into(), "subscription must");
        check(|s| s.resource_group = "a/b".into(), "resource_group must");
        check(|s| s.resource_group = "ab.".into(), "resource_group must");
        check(|s| s.instance = "x".into(), "instance: instance name \"x\"");
        check(
            |s| s.poll = Duration::from_millis(999),
            "poll must be 1s to 1h",
        );
        check(|s| s.management_url = "h".into(), "management_url: ");
        check(
            |s| s.management_url = "http://10.0.0.1".into(),
            "management_url must be https://",
        );
        check(
            |s| s.routes_url = Some("http://h".into()),
            "routes_url must be https://",
        );
        check(
            |s| s.tenant_id = Some("t".into()),
            "tenant_id does not belong",
        );
        check(
            |s| s.token_file = Some("t".into()),
            "token_file does not belong",
        );
        check(
            |s| s.credential = Some(CredentialSettings::ClientSecret),
            "tenant_id is missing",
        );
        let mut local = good();
        local.management_url = "http://127.0.0.1:8081".to_owned();
        assert_eq!(local.check(), Ok(Vec::new()));
        local.credential = Some(CredentialSettings::Token);
        local.management_url = "http://twinroute:8081".to_owned();
        assert_eq!(local.check().unwrap().len(), 1);
    }

    #[test]
    fn secrets_come_from_files_or_from_named_variables() {
        use std::os::unix::fs::PermissionsExt as _;

        let mut settings = good();
        settings.credential = Some(CredentialSettings::Token);
        let error = settings.login(|_| None).unwrap_err();
        assert_eq!(
            error,
            "set token_file, or the variable TWINROUTE_AZURE_TOKEN"
        );
        let login = settings.login(|name| (name == TOKEN_VARIABLE).then(|| "t".into()));
        assert_eq!(login, Ok(LoginMethod::Token("t".into())));
        settings.credential = Some(CredentialSettings::ClientSecret);
        settings.tenant_id = Some("t".to_owned());
        settings.client_id = Some("c".to_owned());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        settings.client_secret_file = Some(path.clone());
        assert!(
            settings
                .login(|_| None)
                .unwrap_err()
                .contains("No such file")
        );
        std::fs::write(&path, "s3cret\n").unwrap();
        let mode = |mode| {
            let rights = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, rights).unwrap();
        };
        mode(0o644);
        let refused = settings.login(|_| None).unwrap_err();
        assert!(refused.contains("run: chmod 0600 "), "{refused}");
        mode(0o600);
        let login = settings.login(|_| None).unwrap();
        assert!(
            matches!(&login, LoginMethod::ClientSecret { secret, .. } if secret.expose() == "s3cret")
        );
        assert!(!format!("{login:?}").contains("s3cret"));
    }

    #[test]
    fn names_are_escaped_in_the_path() {
        let mut settings = good();
        settings.resource_group = "grüße(1)".to_owned();
        let path = settings.path();
        assert!(
            path.contains("/resourceGroups/gr%C3%BC%C3%9Fe%281%29/"),
            "{path}"
        );
    }
}
