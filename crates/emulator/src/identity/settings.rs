//! Whom the identity service knows.

use std::time::Duration;
use twinroute_model::secret::Secret;

/// The identity service: whom it knows.
#[derive(Clone, Debug)]
pub struct IdentitySettings {
    /// Its port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// The Entra tenant of all.
    pub tenant_id: String,
    /// What programs of App Service know and put into `X-IDENTITY-HEADER`.
    pub header: Secret,
    /// How long tokens are good.
    pub token_life: Duration,
    /// What the machine is known as.
    pub managed: Vec<ManagedIdentitySettings>,
    /// Applications that log in by themselves.
    pub applications: Vec<ApplicationSettings>,
}

impl Default for IdentitySettings {
    /// A machine with a system-assigned identity, and nobody else.
    fn default() -> Self {
        Self {
            port: 0,
            tenant_id: "70000000-0000-4000-8000-000000000001".to_owned(),
            header: Secret::from("the-header-of-the-emulator"),
            token_life: Duration::from_secs(60 * 60),
            managed: vec![ManagedIdentitySettings {
                client_id: "71000000-0000-4000-8000-000000000001".to_owned(),
                object_id: "72000000-0000-4000-8000-000000000001".to_owned(),
                resource_id: None,
            }],
            applications: Vec::new(),
        }
    }
}

/// A managed identity.
#[derive(Clone, Debug)]
pub struct ManagedIdentitySettings {
    /// Its client id, a GUID.
    pub client_id: String,
    /// Its object id, a GUID, also called the principal's.
    pub object_id: String,
    /// The ARM id of one that is user-assigned; `None` for the system-assigned one.
    pub resource_id: Option<String>,
}

/// An application with what proves that it is.
#[derive(Clone, Debug)]
pub struct ApplicationSettings {
    /// Its client id, a GUID.
    pub client_id: String,
    /// The object id of its service principal, a GUID.
    pub object_id: String,
    /// Its secret, if it has one.
    pub secret: Option<Secret>,
    /// Its certificates, DER.
    pub certificates: Vec<Vec<u8>>,
    /// Kubernetes service accounts that may log in as it, such as
    /// `system:serviceaccount:default:twinroute`.
    pub service_accounts: Vec<String>,
    /// Roles that its tokens name.
    pub roles: Vec<String>,
}
