//! How to log in, as a table of a configuration says it.

use crate::login::LoginMethod;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use twinroute_files::file_permissions::file_exposure;
use twinroute_files::text_file::read_secret;
use twinroute_model::secret::Secret;

/// Secrets of applications have some 40 bytes, tokens some thousands.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// A login that a user chooses; nothing is guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoginSettings {
    /// How; none when nothing shall log in.
    pub credential: Option<CredentialSettings>,
    /// The Entra tenant: for `client-secret` and `client-certificate`; for `workload-identity` and `azure-cli` where it is not
    /// theirs by default.
    pub tenant_id: Option<String>,
    /// The application: for `client-secret` and `client-certificate`; for `workload-identity` where its variables say otherwise;
    /// for `managed-identity` the user-assigned one.
    pub client_id: Option<String>,
    /// The file with the application's secret; else it comes from a variable.
    pub client_secret_file: Option<PathBuf>,
    /// For `client-certificate`, the PEM file of the application's certificate and its RSA key; read again
    /// for each token.
    pub certificate_file: Option<PathBuf>,
    /// For `token` the file with the token, read again every minute; else it comes from a variable. For
    /// `workload-identity` the service account's token file.
    pub token_file: Option<PathBuf>,
    /// Entra's URL in another cloud, for `client-secret`, `client-certificate` and `workload-identity`.
    pub authority: Option<String>,
}

/// How to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CredentialSettings {
    /// As the machine's, container's or function's identity.
    ManagedIdentity,
    /// As whoever `az login` logged in.
    AzureCli,
    /// As a Kubernetes service account.
    WorkloadIdentity,
    /// As an application with its secret.
    ClientSecret,
    /// As an application with its certificate.
    ClientCertificate,
    /// With a ready token.
    Token,
}

/// The variables that secrets come from, where no file is named.
#[derive(Clone, Copy, Debug)]
pub struct SecretVariables {
    /// An application's secret.
    pub client_secret: &'static str,
    /// A ready token.
    pub token: &'static str,
}

impl LoginSettings {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first value that cannot be used, by its key.
    pub fn check(&self) -> Result<(), String> {
        use CredentialSettings as Kind;
        let is = |kinds: &[CredentialSettings]| {
            self.credential
                .is_some_and(|credential| kinds.contains(&credential))
        };
        let applications = is(&[Kind::ClientSecret, Kind::ClientCertificate]);
        let entra = applications || is(&[Kind::WorkloadIdentity]);
        let tenants = entra || is(&[Kind::AzureCli]);
        let clients = entra || is(&[Kind::ManagedIdentity]);
        let files = is(&[Kind::Token, Kind::WorkloadIdentity]);
        // What was set and would be ignored comes first: mostly the credential is another than was
        // meant, and what it lacks would mislead.
        for (key, given, fits) in [
            ("tenant_id", self.tenant_id.is_some(), tenants),
            ("client_id", self.client_id.is_some(), clients),
            (
                "client_secret_file",
                self.client_secret_file.is_some(),
                is(&[Kind::ClientSecret]),
            ),
            (
                "certificate_file",
                self.certificate_file.is_some(),
                is(&[Kind::ClientCertificate]),
            ),
            ("token_file", self.token_file.is_some(), files),
            ("authority", self.authority.is_some(), entra),
        ] {
            if given && self.credential.is_none() {
                return Err(format!("{key} is set, but credential is missing"));
            }
            if given && !fits {
                return Err(format!("{key} does not belong to this credential"));
            }
        }
        let certificate = self.credential == Some(Kind::ClientCertificate);
        for (key, missing) in [
            ("tenant_id", applications && self.tenant_id.is_none()),
            ("client_id", applications && self.client_id.is_none()),
            (
                "certificate_file",
                certificate && self.certificate_file.is_none(),
            ),
        ] {
            if missing {
                let name = if certificate { "certificate" } else { "secret" };
                return Err(format!(
                    "{key} is missing for credential = \"client-{name}\""
                ));
            }
        }
        self.authority.as_deref().map_or(Ok(()), check_authority)
    }

    /// How to log in, `None` where no credential is chosen; `variable` reads the environment. Blocks on
    /// the file system.
    ///
    /// # Errors
    /// What is missing, by its key, or why a file cannot be read.
    pub fn login(
        &self,
        names: SecretVariables,
        variable: impl Fn(&str) -> Option<Secret>,
    ) -> Result<Option<LoginMethod>, String> {
        self.check()?;
        let missing = |key: &str| format!("{key} is missing");
        let Some(credential) = self.credential else {
            return Ok(None);
        };
        Ok(Some(match credential {
            CredentialSettings::ManagedIdentity => LoginMethod::ManagedIdentity {
                client_id: self.client_id.clone(),
            },
            CredentialSettings::AzureCli => LoginMethod::AzureCli {
                tenant_id: self.tenant_id.clone(),
            },
            CredentialSettings::WorkloadIdentity => LoginMethod::WorkloadIdentity {
                tenant_id: self.tenant_id.clone(),
                client_id: self.client_id.clone(),
                token_file: self.token_file.clone(),
                authority: self.authority.clone(),
            },
            CredentialSettings::ClientCertificate => LoginMethod::ClientCertificate {
                tenant_id: self.tenant_id.clone().ok_or_else(|| missing("tenant_id"))?,
                client_id: self.client_id.clone().ok_or_else(|| missing("client_id"))?,
                certificate_file: (self.certificate_file.clone())
                    .ok_or_else(|| missing("certificate_file"))?,
                authority: self.authority.clone(),
            },
            CredentialSettings::ClientSecret => LoginMethod::ClientSecret {
                tenant_id: self.tenant_id.clone().ok_or_else(|| missing("tenant_id"))?,
                client_id: self.client_id.clone().ok_or_else(|| missing("client_id"))?,
                secret: match &self.client_secret_file {
                    Some(path) => secret(path)?,
                    None => variable(names.client_secret).ok_or_else(|| {
                        let name = names.client_secret;
                        format!("set client_secret_file, or the variable {name}")
                    })?,
                },
                authority: self.authority.clone(),
            },
            CredentialSettings::Token => {
                match &self.token_file {
                    Some(path) => LoginMethod::TokenFile(for_the_process_alone(path)?.to_owned()),
                    None => LoginMethod::Token(variable(names.token).ok_or_else(|| {
                        format!("set token_file, or the variable {}", names.token)
                    })?),
                }
            }
        }))
    }
}

/// Secrets and assertions go there, so nothing but https will do.
fn check_authority(text: &str) -> Result<(), String> {
    let url = azure_core::http::Url::parse(text).ok();
    let good = url.is_some_and(|url| {
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        url.scheme() == "https" && bare && url.username().is_empty()
    });
    if good {
        return Ok(());
    }
    Err(
        "authority must be https:// and a host, such as https://login.microsoftonline.us"
            .to_owned(),
    )
}

/// Refuses a token that others may read. One that is not there yet may come.
fn for_the_process_alone(path: &Path) -> Result<&Path, String> {
    let metadata = std::fs::metadata(path).ok();
    match metadata.and_then(|metadata| file_exposure(path, &metadata)) {
        Some(exposure) => Err(format!("token_file {}: {exposure}", path.display())),
        None => Ok(path),
    }
}

fn secret(path: &Path) -> Result<Secret, String> {
    let secret = read_secret("client_secret_file", path, SECRET_BYTES_MAX);
    let reason = match secret {
        Ok(secret) if !secret.expose().is_empty() => return Ok(secret),
        Ok(_) => "holds no text".to_owned(),
        Err(error) => error.reason(),
    };
    Err(format!("client_secret_file {}: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    const NAMES: SecretVariables = SecretVariables {
        client_secret: "THE_SECRET",
        token: "THE_TOKEN",
    };

    #[test]
    fn nothing_logs_in_unless_a_credential_is_chosen() {
        let none = LoginSettings::default();
        assert_eq!(none.login(NAMES, |_| Some("x".into())), Ok(None));
        let half = LoginSettings {
            client_id: Some("c".to_owned()),
            ..LoginSettings::default()
        };
        let error = half.check().unwrap_err();
        assert_eq!(error, "client_id is set, but credential is missing");
    }

    #[test]
    fn secrets_come_from_the_variables_that_are_named() {
        let token = LoginSettings {
            credential: Some(CredentialSettings::Token),
            ..LoginSettings::default()
        };
        let login = token.login(NAMES, |name| (name == "THE_TOKEN").then(|| "t".into()));
        assert_eq!(login, Ok(Some(LoginMethod::Token("t".into()))));
        let secret = LoginSettings {
            credential: Some(CredentialSettings::ClientSecret),
            tenant_id: Some("t".to_owned()),
            client_id: Some("c".to_owned()),
            ..LoginSettings::default()
        };
        let error = secret.login(NAMES, |_| None).unwrap_err();
        assert_eq!(error, "set client_secret_file, or the variable THE_SECRET");
    }

    #[test]
    fn a_token_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let settings = LoginSettings {
            credential: Some(CredentialSettings::Token),
            token_file: Some(path.clone()),
            ..LoginSettings::default()
        };
        let login = || settings.login(NAMES, |_| None);
        let expect = Ok(Some(LoginMethod::TokenFile(path.clone())));
        assert_eq!(login(), expect, "it may come later");
        std::fs::write(&path, "t").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, Permissions::from_mode(mode));
        mode(0o604).unwrap();
        let error = login().unwrap_err();
        let names_way_out = error.starts_with("token_file ") && error.contains("chmod 0600");
        assert!(names_way_out, "{error}");
        mode(0o600).unwrap();
        assert_eq!(login(), expect);
    }

    #[test]
    fn a_certificate_needs_its_file_and_other_clouds_their_https_url() {
        let good = LoginSettings {
            credential: Some(CredentialSettings::ClientCertificate),
            tenant_id: Some("t".to_owned()),
            client_id: Some("c".to_owned()),
            certificate_file: Some("app.pem".into()),
            authority: Some("https://login.microsoftonline.us".to_owned()),
            ..LoginSettings::default()
        };
        let login = good.login(NAMES, |_| None);
        assert!(matches!(
            login,
            Ok(Some(LoginMethod::ClientCertificate { .. }))
        ));
        let refused = |change: fn(&mut LoginSettings)| {
            let mut settings = good.clone();
            change(&mut settings);
            settings.check().unwrap_err()
        };
        let error = refused(|settings| settings.certificate_file = None);
        let expect = "certificate_file is missing for credential = \"client-certificate\"";
        assert_eq!(error, expect);
        let error =
            refused(|settings| settings.credential = Some(CredentialSettings::ClientSecret));
        assert_eq!(error, "certificate_file does not belong to this credential");
        for text in [
            "http://login.example",
            "login.example",
            "https://h/path",
            "https://u@h",
        ] {
            let mut settings = good.clone();
            settings.authority = Some(text.to_owned());
            let error = settings.check().unwrap_err();
            assert!(
                error.starts_with("authority must be https://"),
                "{text}: {error}"
            );
        }
    }
}
