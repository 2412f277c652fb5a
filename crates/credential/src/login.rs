//! How to log in, and azure_identity's credential for it.

use crate::app_service::{AppService, ServiceAddress};
use crate::certificate::AssertionSigner;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{Secret as AzureSecret, TokenCredential};
use azure_core::http::{ClientOptions, HttpClient, Transport};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use std::path::PathBuf;
use std::sync::Arc;
use twinroute_model::clock::Clock;
use twinroute_model::secret::Secret;

/// Entra of the public cloud.
const AUTHORITY: &str = "https://login.microsoftonline.com";

/// Azure's own variable for another authority.
const AUTHORITY_VARIABLE: &str = "AZURE_AUTHORITY_HOST";

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginMethod {
    /// With this token, which is never renewed.
    Token(Secret),
    /// With the token in this file, which is read again every minute.
    TokenFile(PathBuf),
    /// As the managed identity of the machine, container or function: the system-assigned one, or the
    /// user-assigned one with this client id.
    ManagedIdentity {
        /// The user-assigned identity's.
        client_id: Option<String>,
    },
    /// As the user-assigned managed identity with this ARM resource id.
    UserAssignedIdentity {
        /// `/subscriptions/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/…`.
        resource_id: String,
    },
    /// As a Kubernetes workload identity. What is `None` comes from the variables that its webhook sets:
    /// `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_FEDERATED_TOKEN_FILE`.
    WorkloadIdentity {
        /// The Entra tenant.
        tenant_id: Option<String>,
        /// The application's or identity's.
        client_id: Option<String>,
        /// Where Kubernetes keeps the service account's token.
        token_file: Option<PathBuf>,
        /// Entra's URL; that of the public cloud, or of the variable `AZURE_AUTHORITY_HOST`, when `None`.
        authority: Option<String>,
    },
    /// As an application with its secret.
    ClientSecret {
        /// The Entra tenant.
        tenant_id: String,
        /// The application's.
        client_id: String,
        /// One of the application's secrets.
        secret: Secret,
        /// As for [`LoginMethod::WorkloadIdentity`].
        authority: Option<String>,
    },
    /// As an application with its certificate.
    ClientCertificate {
        /// The Entra tenant.
        tenant_id: String,
        /// The application's.
        client_id: String,
        /// The PEM file of the certificate and its RSA key, which is read for each renewal.
        certificate_file: PathBuf,
        /// As for [`LoginMethod::WorkloadIdentity`].
        authority: Option<String>,
    },
    /// As the user that `az login` logged in; for trying things out.
    AzureCli {
        /// The tenant, where it is not the user's default.
        tenant_id: Option<String>,
    },
}

/// A new credential, with an empty cache. Reads variables of the environment, and the token file of a
/// workload identity.
pub(crate) fn credential(
    login: &LoginMethod,
    http: &Arc<dyn HttpClient>,
    clock: &Arc<dyn Clock>,
) -> azure_core::Result<Arc<dyn TokenCredential>> {
    let client_options = ClientOptions {
        transport: Some(Transport::new(Arc::clone(http))),
        ..ClientOptions::default()
    };
    let at = |authority: &Option<String>| in_cloud(&client_options, authority.as_deref());
    Ok(match login {
        // These are used as they are, before it comes to this.
        LoginMethod::Token(_) | LoginMethod::TokenFile(_) => {
            let text = "a ready token needs no credential";
            let kind = azure_core::error::ErrorKind::Credential;
            return Err(azure_core::Error::with_message(kind, text));
        }
        LoginMethod::ManagedIdentity { client_id } => {
            let user_assigned_id = client_id.clone().map(UserAssignedId::ClientId);
            managed(user_assigned_id, client_options)?
        }
        LoginMethod::UserAssignedIdentity { resource_id } => {
            user_assigned(resource_id, http, clock, client_options)?
        }
        LoginMethod::WorkloadIdentity {
            tenant_id,
            client_id,
            token_file,
            authority,
        } => WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions {
                client_options: at(authority),
            },
            client_id: client_id.clone(),
            tenant_id: tenant_id.clone(),
            token_file_path: token_file.clone(),
        }))?,
        LoginMethod::ClientSecret {
            tenant_id,
            client_id,
            secret,
            authority,
        } => ClientSecretCredential::new(
            tenant_id,
            client_id.clone(),
            AzureSecret::new(secret.expose().to_owned()),
            Some(ClientSecretCredentialOptions {
                client_options: at(authority),
            }),
        )?,
        LoginMethod::ClientCertificate {
            tenant_id,
            client_id,
            certificate_file,
            authority,
        } => {
            // Read for each token, so a renewed certificate needs no restart.
            let certificate = AssertionSigner {
                file: certificate_file.clone(),
                client_id: client_id.clone(),
                audience: token_endpoint(authority.as_deref(), tenant_id),
                clock: Arc::clone(clock),
            };
            let options = ClientAssertionCredentialOptions {
                client_options: at(authority),
            };
            let (tenant_id, client_id) = (tenant_id.clone(), client_id.clone());
            ClientAssertionCredential::new(tenant_id, client_id, certificate, Some(options))?
        }
        LoginMethod::AzureCli { tenant_id } => {
            AzureCliCredential::new(Some(AzureCliCredentialOptions {
                tenant_id: tenant_id.clone(),
                ..AzureCliCredentialOptions::default()
            }))?
        }
    })
}

/// Where tokens of a tenant are, as azure_identity works it out.
fn token_endpoint(authority: Option<&str>, tenant_id: &str) -> String {
    let host = authority.map(str::to_owned);
    let host = host.or_else(|| std::env::var(AUTHORITY_VARIABLE).ok());
    let host = host.unwrap_or_else(|| AUTHORITY.to_owned());
    format!(
        "{}/{tenant_id}/oauth2/v2.0/token",
        host.trim_end_matches('/')
    )
}

/// The same options for an authority that is named.
fn in_cloud(options: &ClientOptions, authority: Option<&str>) -> ClientOptions {
    let cloud = authority.map(|authority| {
        let mut cloud = CustomConfiguration::default();
        authority.clone_into(&mut cloud.authority_host);
        Arc::new(CloudConfiguration::from(cloud))
    });
    ClientOptions {
        cloud,
        ..options.clone()
    }
}

/// Asks by ARM id: App Service by a request of ours, the service of virtual machines by azure_identity's.
fn user_assigned(
    resource_id: &str,
    http: &Arc<dyn HttpClient>,
    clock: &Arc<dyn Clock>,
    client_options: ClientOptions,
) -> azure_core::Result<Arc<dyn TokenCredential>> {
    if let Some(place) = ServiceAddress::find(|name| std::env::var(name).ok())? {
        return Ok(Arc::new(AppService {
            place,
            resource_id: resource_id.to_owned(),
            http: Arc::clone(http),
            clock: Arc::clone(clock),
        }));
    }
    let user_assigned_id = Some(UserAssignedId::ResourceId(resource_id.to_owned()));
    managed(user_assigned_id, client_options)
}

/// A managed identity, as azure_identity asks for it.
fn managed(
    user_assigned_id: Option<UserAssignedId>,
    client_options: ClientOptions,
) -> azure_core::Result<Arc<dyn TokenCredential>> {
    let options = ManagedIdentityCredentialOptions {
        user_assigned_id,
        client_options,
    };
    Ok(ManagedIdentityCredential::new(Some(options))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenSource;
    use azure_core::http::headers::Headers;
    use azure_core::http::{AsyncRawResponse, Body, Request, StatusCode};
    use std::sync::Mutex;
    use twinroute_model::clock::{ManualClock, Timestamp};

    /// Answers as Entra and the identity service of a virtual machine do, and keeps what was asked.
    #[derive(Debug, Default)]
    struct FakeEntra(Mutex<Vec<String>>);

    #[async_trait::async_trait]
    impl HttpClient for FakeEntra {
        async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
            let body = match request.body() {
                Body::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                _ => String::new(),
            };
            let asked = format!("{} {} {body}", request.method(), request.url());
            self.0.lock().unwrap().push(asked);
            // Entra says how long, the identity service until when.
            let answer = r#"{"token_type":"Bearer","expires_in":3600,"ext_expires_in":3600,
                "expires_on":"1774003600","resource":"r","access_token":"fresh"}"#;
            let bytes = answer.as_bytes().to_vec();
            Ok(AsyncRawResponse::from_bytes(
                StatusCode::Ok,
                Headers::new(),
                bytes,
            ))
        }
    }

    /// What is asked for a token of `login`.
    async fn asked(login: LoginMethod) -> String {
        let entra = Arc::new(FakeEntra::default());
        let clock = ManualClock::new(Timestamp::from_unix_millis(1_774_000_000_000));
        let http: Arc<dyn HttpClient> = Arc::clone(&entra) as _;
        let tokens = TokenSource::new(login, http, Arc::new(clock));
        let token = tokens.token("https://management.azure.com/.default").await;
        assert_eq!(token.unwrap().secret.expose(), "fresh");
        let asked = entra.0.lock().unwrap();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked[0].clone()
    }

    #[tokio::test]
    async fn an_application_asks_entra_with_its_secret() {
        let asked = asked(LoginMethod::ClientSecret {
            tenant_id: "tenant-1".to_owned(),
            client_id: "app-1".to_owned(),
            secret: "s3cret".into(),
            authority: None,
        })
        .await;
        let head = "POST https://login.microsoftonline.com/tenant-1/oauth2/v2.0/token ";
        assert!(asked.starts_with(head), "{asked}");
        for part in [
            "client_id=app-1",
            "client_secret=s3cret",
            "grant_type=client_credentials",
        ] {
            assert!(asked.contains(part), "{asked}");
        }
        assert!(
            asked.contains("scope=https%3A%2F%2Fmanagement.azure.com%2F.default"),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn a_managed_identity_asks_the_machine() {
        let client_id = Some("identity-1".to_owned());
        let asked = asked(LoginMethod::ManagedIdentity { client_id }).await;
        assert!(asked.starts_with("GET http://169.254.169.254/metadata/identity/oauth2/token?"));
        assert!(asked.contains("client_id=identity-1"), "{asked}");
        assert!(asked.contains("resource=https"), "{asked}");
    }

    #[tokio::test]
    async fn a_user_assigned_identity_is_named_by_its_resource_id() {
        let resource_id = "/subscriptions/1/x".to_owned();
        let asked = asked(LoginMethod::UserAssignedIdentity { resource_id }).await;
        assert!(asked.starts_with("GET http://169.254.169.254/metadata/identity/oauth2/token?"));
        assert!(
            asked.contains("&msi_res_id=%2Fsubscriptions%2F1%2Fx"),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn a_workload_identity_sends_what_kubernetes_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "assertion-1").unwrap();
        let asked = asked(LoginMethod::WorkloadIdentity {
            tenant_id: Some("tenant-1".to_owned()),
            client_id: Some("app-1".to_owned()),
            token_file: Some(path),
            authority: Some("https://login.microsoftonline.us".to_owned()),
        })
        .await;
        let head = "POST https://login.microsoftonline.us/tenant-1/oauth2/v2.0/token ";
        assert!(asked.starts_with(head), "{asked}");
        assert!(asked.contains("client_assertion=assertion-1"), "{asked}");
    }

    #[tokio::test]
    async fn what_is_missing_is_an_error_that_names_it() {
        let http: Arc<dyn HttpClient> = Arc::new(FakeEntra::default());
        let login = LoginMethod::ClientSecret {
            tenant_id: "tenant/1".to_owned(),
            client_id: "app-1".to_owned(),
            secret: "s3cret".into(),
            authority: None,
        };
        let clock = ManualClock::new(Timestamp::from_unix_millis(0));
        let error = TokenSource::new(login, http, Arc::new(clock))
            .token("s")
            .await;
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("tenant") && !error.contains("s3cret"),
            "{error}"
        );
    }
}
